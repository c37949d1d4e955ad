//! A token bucket: so many at once after a pause, then one now and again.
//!
//! **Invariant:** over any stretch of time no more is granted than the burst and what came back.

use shared::time::Tick;

/// How much a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many at once after a pause.
    pub burst: u32,
    /// Then one every so many ms.
    pub every_ms: u64,
}

impl Rate {
    const fn full_ms(self) -> u64 {
        self.every_ms.saturating_mul(self.burst as u64)
    }
}

/// What is left, counted in ms: one token is `every_ms` of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    left_ms: u64,
    at: Tick,
}

impl Bucket {
    pub(crate) const fn full(rate: Rate, now: Tick) -> Self {
        Self { left_ms: rate.full_ms(), at: now }
    }

    /// Takes one if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Tick) -> bool {
        self.left_ms = self.left_ms.saturating_add(now.ms_since(self.at)).min(rate.full_ms());
        self.at = now;
        match self.left_ms.checked_sub(rate.every_ms) {
            Some(left_ms) => {
                self.left_ms = left_ms;
                true
            }
            None => false,
        }
    }

    /// Puts one back.
    pub(crate) fn give_back(&mut self, rate: Rate) {
        self.left_ms = self.left_ms.saturating_add(rate.every_ms).min(rate.full_ms());
    }

    /// Whether it is as full as a new one.
    pub(crate) const fn is_full(&self, rate: Rate, now: Tick) -> bool {
        self.left_ms.saturating_add(now.ms_since(self.at)) >= rate.full_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_now_and_again_and_never_more_than_it_holds() {
        let rate = Rate { burst: 3, every_ms: 100 };
        let at = Tick::from_ms;
        let mut bucket = Bucket::full(rate, at(0));
        let taken = (0..5).filter(|_| bucket.take(rate, at(0))).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(rate, at(99)));
        assert!(bucket.take(rate, at(100)));
        bucket.give_back(rate);
        assert!(bucket.take(rate, at(100)) && !bucket.take(rate, at(199)));
        assert!(!bucket.is_full(rate, at(100)) && bucket.is_full(rate, at(1000)));
        let taken = (0..9).filter(|_| bucket.take(rate, at(100_000))).count();
        assert_eq!(taken, 3);
    }
}
