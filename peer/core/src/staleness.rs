//! Whether the feed is stale: its age is read off its head when the head comes, and counted from
//! then on by the machine's own count, which goes on while the machine sleeps.
//!
//! Wall time alone would let whoever sets a clock back keep an old feed young. A clock that was
//! behind when the head came, and is right now, makes the feed as old as it is.
//!
//! **Invariant:** a head never grows younger.

use shared::feed::Head;
use shared::time::{Now, Tick, Timestamp};

/// What is known of the head's age, and what was told about it.
#[derive(Debug, Default)]
pub(crate) struct Staleness {
    head: Option<Timestamp>,
    since: Tick,
    age_then_ms: u64,
    told: Option<bool>,
}

impl Staleness {
    /// Looks at the head that there is now.
    pub(crate) fn look(&mut self, head: &Head, now: Now) {
        let (age_ms, since) = (self.age_ms(head, now), now.tick);
        *self = Self { head: Some(head.at), since, age_then_ms: age_ms, told: self.told };
    }

    /// Whether it is past the time by which it should have been signed again.
    pub(crate) fn is_stale(&self, head: &Head, now: Now) -> bool {
        self.age_ms(head, now) > life_ms(head)
    }

    /// What is to be told now, if it is news: that it is past its time (`true`), or will be soon.
    pub(crate) fn news(&mut self, head: &Head, now: Now) -> Option<bool> {
        let (age_ms, life_ms) = (self.age_ms(head, now), life_ms(head).max(1));
        let told = match age_ms {
            age_ms if age_ms >= life_ms => Some(true),
            age_ms => (age_ms >= life_ms / 3 * 2).then_some(false),
        };
        let news = told.filter(|_| told != self.told);
        self.told = told;
        news
    }

    /// Another head has come: what was told was of the one before.
    pub(crate) const fn forget(&mut self) {
        self.told = None;
    }

    fn age_ms(&self, head: &Head, now: Now) -> u64 {
        let by_day_ms = u64::try_from(now.wall.ms_since(head.at)).unwrap_or(0);
        let counted = (self.head == Some(head.at))
            .then(|| self.age_then_ms.saturating_add(now.tick.ms_since(self.since)));
        by_day_ms.max(counted.unwrap_or(0))
    }
}

fn life_ms(head: &Head) -> u64 {
    u64::try_from(head.next_update.ms_since(head.at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use shared::id::ChainHash;

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn head(day: i64) -> Head {
        let at = Timestamp::from_ms(day * DAY_MS);
        let next_update = Timestamp::from_ms((day + 3) * DAY_MS);
        Head { number: 1, hash: ChainHash::new([0; 32]), at, next_update }
    }

    /// So many days after the start, while the wall shows this day.
    fn now(count: i64, wall: i64) -> Now {
        let tick = Tick::from_ms((count * DAY_MS).unsigned_abs());
        Now { tick, wall: Timestamp::from_ms(wall * DAY_MS) }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_feed_younger() {
        let mut staleness = Staleness::default();
        staleness.look(&head(100), now(0, 101));
        assert!(!staleness.is_stale(&head(100), now(2, 103)));
        assert!(staleness.is_stale(&head(100), now(3, 50)));
        staleness.look(&head(100), now(1, 50));
        assert!(!staleness.is_stale(&head(100), now(2, 50)));
        assert!(staleness.is_stale(&head(100), now(3, 50)), "however often one looks");
    }

    #[test]
    fn a_clock_that_was_behind_when_the_head_came_is_believed_when_it_is_right() {
        let mut staleness = Staleness::default();
        staleness.look(&head(100), now(0, 100));
        assert!(!staleness.is_stale(&head(100), now(1, 103)), "to the last");
        assert!(staleness.is_stale(&head(100), now(1, 130)));
    }

    #[test]
    fn another_head_has_an_age_of_its_own_and_is_told_of_anew() {
        let mut staleness = Staleness::default();
        assert_eq!(staleness.news(&head(100), now(0, 101)), None);
        staleness.look(&head(100), now(0, 101));
        assert_eq!(staleness.news(&head(100), now(1, 0)), Some(false));
        assert_eq!(staleness.news(&head(100), now(1, 0)), None, "told once");
        assert_eq!(staleness.news(&head(100), now(2, 0)), Some(true));
        staleness.forget();
        assert_eq!(staleness.news(&head(104), now(4, 104)), None);
        assert!(!staleness.is_stale(&head(104), now(4, 104)));
    }
}
