//! What will happen, and when: the only clock of a simulation.
//!
//! **Invariant:** what was put in first for a moment comes out first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

struct Due<T> {
    at: u64,
    sequence: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Happenings in order of their time, in ms.
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    now_ms: u64,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), now_ms: 0, sequence: 0 }
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
        self.sequence
    }

    /// Puts something in; what lies in the past happens now.
    pub fn put(&mut self, at: u64, what: T) {
        self.sequence += 1;
        let (at, sequence) = (at.max(self.now_ms), self.sequence);
        self.heap.push(Reverse(Due { at, sequence, what }));
    }

    /// Takes the next one if it is due by `end`; time goes forward to it.
    pub fn take(&mut self, end: u64) -> Option<T> {
        if self.next_ms()? > end {
            return None;
        }
        let Reverse(due) = self.heap.pop()?;
        self.now_ms = due.at;
        Some(due.what)
    }

    /// When something happens next.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// Lets time go forward although nothing happens.
    pub fn advance_to(&mut self, ms: u64) {
        self.now_ms = self.now_ms.max(ms);
    }
}
