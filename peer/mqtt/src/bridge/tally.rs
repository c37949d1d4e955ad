//! What a bridge counts, over all its connections.

use std::sync::{Mutex, PoisonError};

use crate::counters::Counter;

/// Figures of one run, and what was refused last.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages that came in.
    pub incoming: Counter,
    /// Messages that went out.
    pub outgoing: Counter,
    /// Messages that had been where they would have gone.
    pub looped: Counter,
    /// Messages that nobody asked for any more.
    pub strays: Counter,
    /// Messages too large for the other side, or with too many properties.
    pub unfit: Counter,
    /// Messages of QoS 0 for a side that did not keep up.
    pub lost: Counter,
    /// Messages that this peer's policy or queues refused.
    pub refused_here: Counter,
    /// Messages that the engine refused.
    pub refused_there: Counter,
    /// Filters that are refused in this connection, each with its reason.
    refused: Mutex<Vec<String>>,
}

impl Tally {
    /// Filters that are refused in this connection, each with its reason.
    #[must_use]
    pub fn refused_filters(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn refuse_filters(&self, more: impl IntoIterator<Item = String>) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
    }

    pub(super) fn begin(&self) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
