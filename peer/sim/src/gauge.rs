//! What the simulation itself costs: the one place that looks at this machine.

/// The memory this process holds, in KiB; nothing where there is no `/proc`.
#[must_use]
pub fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    number.unwrap_or(0.0)
}

/// The time this process spent on a processor, in seconds; nothing where there is no `/proc`.
#[must_use]
pub fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}
