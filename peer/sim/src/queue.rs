//! What will happen, and when: the only clock of a simulation.
//!
//! A moment is a millisecond, and thousands of things happen in one: so each has a queue of its
//! own, and only the moments are kept in order.
//!
//! **Invariant:** what was put in first for a moment comes out first.

use std::collections::{BTreeMap, VecDeque};

/// Happenings in order of their time, in ms.
pub struct Queue<T> {
    moments: BTreeMap<u64, VecDeque<T>>,
    now_ms: u64,
    count: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { moments: BTreeMap::new(), now_ms: 0, count: 0 }
    }
}

impl<T> Queue<T> {
    /// The simulated time.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// How many happenings there ever were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Puts something in; what lies in the past happens now.
    pub fn put(&mut self, at: u64, what: T) {
        self.count += 1;
        self.moments.entry(at.max(self.now_ms)).or_default().push_back(what);
    }

    /// Takes the next one if it is due by `end`; time goes forward to it.
    pub fn take(&mut self, end: u64) -> Option<T> {
        let mut moment = self.moments.first_entry()?;
        if *moment.key() > end {
            return None;
        }
        self.now_ms = *moment.key();
        let what = moment.get_mut().pop_front();
        if moment.get().is_empty() {
            moment.remove();
        }
        what
    }

    /// When something happens next.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.moments.first_key_value().map(|(at, _)| *at)
    }

    /// Lets time go forward although nothing happens.
    pub fn advance_to(&mut self, ms: u64) {
        self.now_ms = self.now_ms.max(ms);
    }
}
