//! docs/benchmarks.json, and the table in docs/benchmarks.md made from it.
//!
//! A run that measured some figures replaces those and leaves the others standing.
//!
//! **Invariant:** the table says nothing that does not stand in the JSON file or in [`TARGETS`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::harness::Figure;

/// What is to be reached.
enum Target {
    RatioMin(f64),
    RatioMax(f64),
    ValueMin(f64),
    ValueMax(f64),
    P99Max(f64, f64),
}

const TARGETS: &[(&str, Target)] = &[
    ("handshake.rate", Target::RatioMin(0.9)),
    ("handshake.rate.fresh", Target::RatioMin(0.9)),
    ("handshake.rate.revoked_1m", Target::RatioMin(0.9)),
    ("handshake.rate.revoked_1m.against_none", Target::RatioMin(0.95)),
    ("join.linked_ms", Target::ValueMax(500.0)),
    ("enrol.durable_rate_16", Target::ValueMin(1000.0)),
    ("renew.ms", Target::ValueMax(100.0)),
    ("store.100k.list_ms", Target::ValueMax(50.0)),
    ("store.100k.show_ms", Target::ValueMax(50.0)),
    ("store.100k.revoke_ms", Target::ValueMax(50.0)),
    ("issue.memory", Target::RatioMax(1.3)),
    ("issue.durable_8", Target::ValueMin(1000.0)),
    ("link.bulk", Target::RatioMin(0.9)),
    ("link.messages_64", Target::RatioMin(0.8)),
    ("link.ping_us", Target::RatioMax(1.3)),
    ("memory.idle_link_kib", Target::ValueMax(40.0)),
    ("mqtt.q0_64", Target::RatioMin(10.0)),
    ("mqtt.q0_64.mtls", Target::RatioMin(10.0)),
    ("mqtt.q0_64.nats", Target::RatioMin(1.0)),
    ("mqtt.q1_64", Target::RatioMin(10.0)),
    ("mqtt.q1_64.mtls", Target::RatioMin(10.0)),
    ("mqtt.q1_64.nats", Target::RatioMin(1.0)),
    ("mqtt.q0_1k.nats", Target::RatioMin(1.0)),
    ("mqtt.q1_1k.nats", Target::RatioMin(1.0)),
    ("mqtt.unbatched_64", Target::RatioMin(3.0)),
    ("mqtt.unbatched_64.nats", Target::RatioMin(1.0)),
    ("mqtt.fanout_50", Target::RatioMin(20.0)),
    ("mqtt.fanout_50.nats", Target::RatioMin(1.0)),
    ("mqtt.fanin_50.nats", Target::RatioMin(1.0)),
    ("mqtt.latency_q0_us", Target::RatioMax(1.2)),
    ("mqtt.latency_q0_us.nats", Target::RatioMax(1.0)),
    ("mqtt.latency_q1_us", Target::RatioMax(1.2)),
    ("mqtt.latency_q1_us.nats", Target::RatioMax(1.0)),
    ("mqtt.mesh_q0", Target::RatioMin(10.0)),
    ("mqtt.mesh_q1", Target::RatioMin(10.0)),
    ("mqtt.durable_q1", Target::ValueMin(20_000.0)),
    ("mqtt.session_kib", Target::ValueMax(4.0)),
    ("broadcast.direct_20", Target::ValueMin(400_000.0)),
    ("broadcast.tree_20", Target::ValueMin(80_000.0)),
    ("relay.connect_ms", Target::ValueMax(20.0)),
    ("relay.cut_ms", Target::ValueMax(50.0)),
    ("relay.punch_ms", Target::ValueMax(50.0)),
    ("revoke.cut_ms.peers_32", Target::P99Max(250.0, 1000.0)),
    ("send.durable_256", Target::ValueMin(50_000.0)),
    ("send.memory_256", Target::RatioMin(0.8)),
    ("start.listening_ms", Target::ValueMax(150.0)),
    ("verify.us.revoked_1m.against_none", Target::RatioMax(1.05)),
    ("sim.revoke_ms.nodes_1000.p100", Target::ValueMax(1000.0)),
    ("sim.revoke_ms.nodes_10000.p100", Target::ValueMax(2000.0)),
    ("idle.cpu_percent", Target::ValueMax(1.0)),
    ("idle.bytes_s", Target::ValueMax(5000.0)),
    ("time.nts_rate", Target::RatioMin(1.0)),
    ("time.ke_rate", Target::RatioMin(1.0)),
    ("time.offset_us.loopback", Target::ValueMax(20.0)),
    ("time.offset_us.veth", Target::ValueMax(20.0)),
    ("time.sim.skew_us.two_liars", Target::ValueMax(1000.0)),
    ("time.sim.skew_us.isolated", Target::ValueMax(100.0)),
    ("time.idle_percent", Target::ValueMax(0.1)),
];

impl Target {
    fn text(&self) -> String {
        match self {
            Self::RatioMin(x) => format!("ratio ≥ {x}"),
            Self::RatioMax(x) => format!("ratio ≤ {x}"),
            Self::ValueMin(x) => format!("≥ {x}"),
            Self::ValueMax(x) => format!("≤ {x}"),
            Self::P99Max(p99, max) => format!("p99 ≤ {p99}, max ≤ {max}"),
        }
    }

    const fn is_of_a_ratio(&self) -> bool {
        matches!(self, Self::RatioMin(_) | Self::RatioMax(_))
    }

    fn is_met_by(&self, figure: &Figure) -> bool {
        let ratio = figure.ratio.unwrap_or(f64::NAN);
        match *self {
            Self::RatioMin(x) => ratio >= x,
            Self::RatioMax(x) => ratio <= x,
            Self::ValueMin(x) => figure.median >= x,
            Self::ValueMax(x) => figure.median <= x,
            Self::P99Max(p99, max) => {
                figure.p99.is_some_and(|found| found <= p99) && figure.max <= max
            }
        }
    }
}

/// A line for whoever watches.
pub(crate) fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

/// Merges figures into the files of a folder and prints the table's lines.
pub(crate) fn write(folder: &Path, figures: &[Figure]) -> Result<()> {
    let json = folder.join("benchmarks.json");
    let mut all = read(&json)?;
    for figure in figures {
        all.insert(figure.name.clone(), figure.clone());
    }
    let list: Vec<&Figure> = all.values().collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(&json, serde_json::to_string_pretty(&list)? + "\n")?;
    std::fs::write(folder.join("benchmarks.md"), page(&list))?;
    let lines: String = figures.iter().map(row).collect();
    print(&lines)
}

/// What the run is for.
pub(crate) fn print(text: &str) -> Result<()> {
    Ok(write!(std::io::stdout(), "{text}")?)
}

fn read(json: &Path) -> Result<BTreeMap<String, Figure>> {
    if !json.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(json)?;
    let list: Vec<Figure> =
        serde_json::from_str(&text).with_context(|| format!("{}", json.display()))?;
    Ok(list.into_iter().map(|figure| (figure.name.clone(), figure)).collect())
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `make bench` from [benchmarks.json](benchmarks.json); do not edit by hand.

Every figure was measured in rounds that take turns with the thing it is held against, in one
process run, on a shared machine; the ratio is the median of the rounds' ratios, ours over the
limit's. For a rate more is better, for a time or a size less. One figure again:
`cargo run --release -p benches --bin bench -- GROUP`; benchmarks.json names the group of each.

";

/// The table's first two lines.
pub(crate) const HEADER: &str = "\
| figure | unit | median | min | max | p99 | runs | against (its median) | ratio | target |
|---|---|--:|--:|--:|--:|--:|---|--:|---|
";

fn page(figures: &[&Figure]) -> String {
    let mut text = format!("{INTRODUCTION}{HEADER}");
    text.extend(figures.iter().map(|figure| row(figure)));
    text
}

fn row(figure: &Figure) -> String {
    let target = TARGETS.iter().find(|(name, _)| *name == figure.name).map(|(_, target)| {
        let met = match target.is_met_by(figure) {
            _ if target.is_of_a_ratio() && figure.ratio.is_none() => "not compared",
            true => "met",
            false => "**missed**",
        };
        format!("{}: {met}", target.text())
    });
    let or_dash = |value: Option<f64>, digits| value.map_or("–".into(), |v| fixed(v, digits));
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        line,
        "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        figure.name,
        figure.unit,
        plain(figure.median),
        plain(figure.min),
        plain(figure.max),
        figure.p99.map_or("–".into(), plain),
        figure.runs,
        if figure.against.is_empty() { "–" } else { &figure.against },
        or_dash(figure.ratio, 3),
        target.unwrap_or_else(|| "–".into()),
    );
    line
}

fn fixed(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// A number with three or four digits that matter.
pub(crate) fn plain(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    fixed(value, digits)
}
