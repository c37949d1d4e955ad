//! When a certificate is renewed: in good time, not all at once, and louder the later it gets.
//!
//! The moment lies in a tenth of the certificate's life, a little before two thirds of it have
//! passed, by the node's own dice: a thousand nodes that were enrolled in one minute do not renew
//! in one.
//! After a failure the next try waits twice as long as the last, but never more than a fixed part
//! of what is left: near the end it is tried often.
//!
//! **Invariant:** without a failure a certificate is renewed before a third of its life is left, so
//! whoever hears of it at all has something to do.

use shared::time::Timestamp;

use crate::limits::{
    RENEW_ENDED_MS, RENEW_LEFT_PARTS, RENEW_MARGIN_PARTS, RENEW_RETRY_FIRST_MS, RENEW_RETRY_MAX_MS,
    RENEW_SPREAD_PARTS,
};
use crate::random::Jitter;

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It is young.
    Fresh,
    /// The time to renew it has come.
    Due,
    /// Less than a third of its life is left.
    Late,
    /// It is over.
    Ended,
}

impl Urgency {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Late => "late",
            Self::Ended => "ended",
        }
    }

    /// Of a certificate of this life, when nothing is known of a renewal.
    #[must_use]
    pub fn of(from: Timestamp, until: Timestamp, now: Timestamp) -> Self {
        if now >= until {
            Self::Ended
        } else if until.ms_since(now) < until.ms_since(from) / 3 {
            Self::Late
        } else {
            Self::Fresh
        }
    }
}

/// A renewal that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// When.
    pub at: Timestamp,
    /// In words, for people.
    pub why: String,
    /// How many in a row.
    pub count: u32,
}

/// When one certificate is renewed.
#[derive(Debug, Clone)]
pub struct Calendar {
    from: Timestamp,
    until: Timestamp,
    next: Timestamp,
    setback: Option<Setback>,
    jitter: Jitter,
}

impl Calendar {
    /// For a certificate of this life; the same seed gives the same moments.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp, seed: u64) -> Self {
        let mut jitter = Jitter::new(seed);
        let life_ms = until.ms_since(from).max(0);
        let spread = u64::try_from(life_ms / RENEW_SPREAD_PARTS).unwrap_or_default();
        let early = i64::try_from(jitter.below(spread.max(1))).unwrap_or_default();
        let last = life_ms / 3 * 2 - life_ms / RENEW_MARGIN_PARTS;
        let next = Timestamp::from_ms(from.ms().saturating_add(last - early));
        Self { from, until, next, setback: None, jitter }
    }

    /// Whether it is to be tried now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next
    }

    /// When it is tried next.
    #[must_use]
    pub const fn next(&self) -> Timestamp {
        self.next
    }

    /// Tries at once.
    pub fn hurry(&mut self, now: Timestamp) {
        self.next = self.next.min(now);
    }

    /// A try that did not succeed; after a refusal that does not pass by itself, the next waits
    /// longer.
    pub fn failed(&mut self, why: &str, passing: bool, now: Timestamp) {
        let count = self.setback.as_ref().map_or(0, |last| last.count).saturating_add(1);
        let shift = if passing { count - 1 } else { count.saturating_add(2) };
        let wait = RENEW_RETRY_FIRST_MS.saturating_mul(1 << shift.min(16));
        let left_ms = u64::try_from(self.until.ms_since(now)).unwrap_or_default();
        let most = match left_ms / RENEW_LEFT_PARTS {
            _ if left_ms == 0 => RENEW_ENDED_MS,
            part => part.clamp(RENEW_RETRY_FIRST_MS, RENEW_RETRY_MAX_MS),
        };
        let wait = i64::try_from(self.jitter.around(wait.min(most))).unwrap_or(i64::MAX);
        self.next = Timestamp::from_ms(now.ms().saturating_add(wait));
        self.setback = Some(Setback { at: now, why: why.to_owned(), count });
    }

    /// The last try, if it did not succeed.
    #[must_use]
    pub const fn setback(&self) -> Option<&Setback> {
        self.setback.as_ref()
    }

    /// How the certificate stands.
    #[must_use]
    pub fn urgency(&self, now: Timestamp) -> Urgency {
        let age = Urgency::of(self.from, self.until, now);
        let tried = self.setback.is_some() || self.is_due(now);
        if age == Urgency::Fresh && tried { Urgency::Due } else { age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn lives() -> [i64; 4] {
        [30_000, 3_600_000, 7 * DAY_MS, 90 * DAY_MS]
    }

    #[test]
    fn a_thousand_nodes_of_one_minute_spread_over_a_tenth_of_their_life() {
        for life in lives() {
            let mut due: Vec<i64> = (0..1000)
                .map(|seed| Calendar::new(at(0), at(life), seed * 7919).next().ms())
                .collect();
            due.sort_unstable();
            let (first, last) = (due[0], due[999]);
            assert!(first >= life / 3 * 2 - life / 10 - life / 30, "{life}");
            assert!(last <= life / 3 * 2 - life / 30, "{life}");
            assert!(last - first > life / 11, "they use the whole tenth");
            // No hundredth of the life sees more than twice its share of a tenth.
            for from in (first..last).step_by(usize::try_from(life / 100).unwrap()) {
                let here = due.iter().filter(|ms| (from..from + life / 100).contains(*ms)).count();
                assert!(here < 200, "{here} of 1000 in one hundredth of {life}");
            }
        }
    }

    #[test]
    fn it_is_never_late_before_it_was_tried() {
        for seed in 0..1000 {
            for life in lives() {
                let calendar = Calendar::new(at(0), at(life), seed);
                // Whoever renews at once has a thirtieth of the life for it.
                let in_time = calendar.next().ms() + life / 30 - 1;
                assert_eq!(calendar.urgency(at(in_time)), Urgency::Due);
                let just_before = calendar.next().ms() - 1;
                assert_eq!(calendar.urgency(at(just_before)), Urgency::Fresh);
                assert_eq!(calendar.urgency(calendar.next()), Urgency::Due);
            }
        }
    }

    #[test]
    fn tries_are_bounded_and_denser_near_the_end() {
        for seed in 0..100 {
            let life = 7 * DAY_MS;
            let mut calendar = Calendar::new(at(0), at(life), seed);
            let (mut tries, mut last_wait) = (0, 0);
            let mut now = calendar.next();
            while now < at(life) {
                calendar.failed("nobody answers", true, now);
                last_wait = calendar.next().ms_since(now);
                assert!(last_wait >= i64::try_from(RENEW_RETRY_FIRST_MS / 2).unwrap());
                assert!(last_wait <= i64::try_from(RENEW_RETRY_MAX_MS).unwrap());
                now = calendar.next();
                tries += 1;
            }
            assert!((50..2_000).contains(&tries), "{tries}");
            assert!(last_wait <= 60_000, "the last waits are short");
            assert_eq!(calendar.urgency(at(life)), Urgency::Ended);
            assert_eq!(calendar.setback().unwrap().count, tries);
        }
    }

    #[test]
    fn a_short_life_is_tried_several_times() {
        let mut calendar = Calendar::new(at(0), at(30_000), 1);
        let mut tries = 0;
        while calendar.next() < at(30_000) {
            let now = calendar.next();
            calendar.failed("nobody answers", true, now);
            tries += 1;
        }
        assert!(tries >= 5, "{tries}");
    }

    #[test]
    fn a_lasting_refusal_waits_longer_and_a_wish_does_not() {
        let mut passing = Calendar::new(at(0), at(90 * DAY_MS), 1);
        let mut lasting = passing.clone();
        let now = passing.next();
        passing.failed("busy", true, now);
        lasting.failed("denied", false, now);
        assert!(passing.next() < lasting.next());
        lasting.hurry(now);
        assert!(lasting.is_due(now));
        assert_eq!(lasting.urgency(now), Urgency::Due);
    }
}
