//! The two clocks, read here and nowhere else.
//!
//! Wall time is for certificates and signed times and may jump; monotonic time is for intervals
//! and may not. The cores take both as a [`Now`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::ClockId;
use shared::time::{Now, Tick, Timestamp};

/// No machine sleeps for less, in ns: it takes longer to fall asleep.
const SLEPT_NS_MIN: u64 = 1_000_000;
/// How often it is looked before it is believed that the machine slept.
const SLEPT_LOOKS: usize = 4;

/// What the machine has slept, as far as was seen, in ns.
static SLEPT: AtomicU64 = AtomicU64::new(0);

/// When that was looked at last, by the count without it.
static LOOKED: AtomicU64 = AtomicU64::new(0);

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

/// Nanoseconds of the count that goes on while the machine sleeps, and that nobody sets or slews:
/// whoever keeps the system's clock makes `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` faster and slower,
/// by a tenth if it is in a hurry.
#[must_use]
pub fn count_ns() -> u64 {
    #[cfg(target_os = "linux")]
    let id = ClockId::MonotonicRaw;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    let awake = read_ns(id);
    // This count stands still while the machine sleeps: so short a time after it, nobody minds.
    if awake.saturating_sub(LOOKED.load(Ordering::Relaxed)) < SLEPT_NS_MIN {
        return awake.saturating_add(SLEPT.load(Ordering::Relaxed));
    }
    let slept = slept_ns();
    LOOKED.fetch_max(awake, Ordering::Relaxed);
    awake.saturating_add(slept)
}

/// How long the machine has slept since it was started, in nanoseconds.
#[must_use]
pub fn slept_ns() -> u64 {
    // One is the other and what was slept, however fast they go.
    #[cfg(target_os = "linux")]
    let seen = || {
        let awake = read_ns(ClockId::Monotonic);
        read_ns(ClockId::Boottime).saturating_sub(awake)
    };
    #[cfg(not(target_os = "linux"))]
    let seen = || 0;
    slept(&SLEPT, seen)
}

/// What was slept by what is known and what is seen; the latter is too much if the thread had to
/// wait between its two readings.
fn slept(known: &AtomicU64, mut seen: impl FnMut() -> u64) -> u64 {
    let before = known.load(Ordering::Relaxed);
    let least = before.saturating_add(SLEPT_NS_MIN);
    if seen() < least {
        return before;
    }
    let now = (0..SLEPT_LOOKS).map(|_| seen()).fold(u64::MAX, u64::min);
    if now < least { before } else { known.fetch_max(now, Ordering::Relaxed).max(now) }
}

fn read_ns(id: ClockId) -> u64 {
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
    fn the_count_is_the_machines_whoever_slews_the_others() {
        let (raw, slept) = (read_ns(ClockId::MonotonicRaw), slept_ns());
        assert!(count_ns() - raw - slept < 60_000_000_000);
        let awake = read_ns(ClockId::Monotonic);
        let boot = read_ns(ClockId::Boottime) - awake;
        assert!(boot.abs_diff(slept) < 60_000_000_000, "{slept} {boot}");
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_thread_that_had_to_wait_is_no_sleep_of_the_machine() {
        let known = AtomicU64::new(5_000 * MS);
        let mut late =
            [9_000 * MS, 5_000 * MS + 40, 5_200 * MS, 5_300 * MS, 5_400 * MS].into_iter();
        assert_eq!(slept(&known, || late.next().unwrap()), 5_000 * MS);
        assert_eq!(known.load(Ordering::Relaxed), 5_000 * MS);
    }

    #[test]
    fn a_sleep_is_counted_once_and_never_taken_back() {
        let known = AtomicU64::new(0);
        let looks = [70_000 * MS, 70_900 * MS, 70_000 * MS + 30, 70_100 * MS, 70_000 * MS + 90];
        let mut looks = looks.into_iter();
        assert_eq!(slept(&known, || looks.next().unwrap()), 70_000 * MS + 30);
        assert_eq!(slept(&known, || 70_000 * MS), 70_000 * MS + 30);
        assert_eq!(slept(&known, || 0), 70_000 * MS + 30);
        assert_eq!(slept(&known, || 80_000 * MS), 80_000 * MS);
    }

    #[test]
    fn the_wall_clock_shows_this_century() {
        assert!(wall() > Timestamp::from_s(1_700_000_000));
        assert!(wall() < Timestamp::MAX);
    }
}
