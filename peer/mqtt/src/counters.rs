//! What a broker counts, for `$SYS` and for people.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Figures of one run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that said CONNECT and were welcome.
    pub connected: Counter,
    /// Connections that were refused.
    pub refused: Counter,
    /// PUBLISH packets that came.
    pub received: Counter,
    /// Messages that other peers brought.
    pub carried: Counter,
    /// PUBLISH packets of QoS 1 and 2 that were written for clients.
    pub sent: Counter,
    /// Messages that found no room at a session.
    pub dropped: Counter,
    /// Messages beyond a quota, which were refused or dropped.
    pub beyond_quota: Counter,
    /// How often reading from a connection stopped for a quota.
    pub slowed: Counter,
    /// Messages to peers further off that nobody could bring nearer.
    pub lost: Counter,
    /// Messages that waited for a peer and went another way.
    pub moved: Counter,
    /// Messages that came again over another way.
    pub again: Counter,
    /// Messages that the policy did not let pass.
    pub denied: Counter,
}
