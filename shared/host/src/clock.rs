//! The two clocks, read here and nowhere else.
//!
//! Wall time is for certificates and signed times and may jump; monotonic time is for intervals
//! and may not. The cores take both as a [`Now`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shared::time::{Now, Tick, Timestamp};

/// The wall clock. A clock set before 1970 reads as 1970, in which no certificate is valid.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Both clocks; ticks count from [`Clock::start`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting ticks at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks at this moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { tick: Tick::from_ms(ms), wall: wall() }
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
    fn the_wall_clock_shows_this_century() {
        assert!(wall() > Timestamp::from_s(1_700_000_000));
        assert!(wall() < Timestamp::MAX);
    }
}
