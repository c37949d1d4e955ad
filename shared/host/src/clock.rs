//! The two clocks, read here and nowhere else.
//!
//! Wall time is for certificates and signed times and may jump; monotonic time is for intervals
//! and may not. The cores take both as a [`Now`].

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use shared::time::{Now, Tick, Timestamp};

/// The wall clock. A clock set before 1970 reads as 1970, in which no certificate is valid.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The wall clock in nanoseconds since 1970; one set before 1970 reads as 1970.
#[must_use]
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds of the count that nobody sets and that goes on while the machine sleeps.
#[must_use]
pub fn count_ns() -> u64 {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let count = rustix::time::clock_gettime(id);
    let (s, ns) = (count.tv_sec.unsigned_abs(), count.tv_nsec.unsigned_abs());
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// What shows the time instead of the system's clock.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Both clocks; ticks count from [`Clock::start`], and while the machine sleeps too.
#[derive(Clone)]
pub struct Clock {
    start_ns: u64,
    wall: Wall,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("start_ns", &self.start_ns).finish_non_exhaustive()
    }
}

impl Clock {
    /// Starts counting ticks at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { start_ns: count_ns(), wall: Arc::new(wall) }
    }

    /// The same with another clock in place of the system's.
    #[must_use]
    pub fn showing(self, wall: Wall) -> Self {
        Self { wall, ..self }
    }

    /// Both clocks at this moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let passed_ns = count_ns().saturating_sub(self.start_ns);
        Now { tick: Tick::from_ms(passed_ns / 1_000_000), wall: (self.wall)() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_do_not_run_backwards() {
        let clock = Clock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.tick <= second.tick);
        assert!(first.tick.ms() < 60_000, "counted from the start, not from 1970");
    }

    #[test]
    fn the_count_goes_on_and_is_no_wall_clock() {
        let (first, second) = (count_ns(), count_ns());
        assert!(first <= second && second - first < 60_000_000_000);
        assert!(wall_ns() / 1_000_000 >= wall().ms() - 60_000);
    }

    #[test]
    fn the_wall_clock_shows_this_century() {
        assert!(wall() > Timestamp::from_s(1_700_000_000));
        assert!(wall() < Timestamp::MAX);
    }
}
