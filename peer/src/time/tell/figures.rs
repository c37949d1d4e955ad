//! What became of the questions, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use nts::server::{Silence, Verdict};

use crate::control::metrics::Metric;

/// The counters of a server of time; they only grow.
#[derive(Default, Debug)]
pub(super) struct Figures {
    questions: AtomicU64,
    sealed: AtomicU64,
    plain: AtomicU64,
    naks: AtomicU64,
    not_admitted: AtomicU64,
    too_often: AtomicU64,
    dropped: AtomicU64,
    exchanges: AtomicU64,
    refused: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Figures {
    /// One question was handled.
    pub(super) fn count(&self, verdict: &Verdict) {
        add(&self.questions);
        add(match verdict {
            Verdict::Sealed { .. } => &self.sealed,
            Verdict::Plain { .. } => &self.plain,
            Verdict::Nak { .. } => &self.naks,
            Verdict::Silence(Silence::NotAdmitted(_)) => &self.not_admitted,
            Verdict::Silence(Silence::TooOften) => &self.too_often,
            Verdict::Silence(_) => &self.dropped,
        });
    }

    /// Somebody got keys.
    pub(super) fn exchanged(&self) {
        add(&self.exchanges);
    }

    /// Somebody got none.
    pub(super) fn refused(&self) {
        add(&self.refused);
    }

    /// All of them.
    pub(super) fn metrics(&self) -> [Metric; 9] {
        let row = |name, what, counter: &AtomicU64| {
            Metric::counter(name, what, counter.load(Ordering::Relaxed))
        };
        [
            row("time_questions", "Questions about the time.", &self.questions),
            row("time_answers_sealed", "Answers under NTS.", &self.sealed),
            row("time_answers_plain", "Answers that nobody can trust.", &self.plain),
            row("nts_naks", "Cookies that did not open.", &self.naks),
            row("time_not_admitted", "Questions of clients that are out.", &self.not_admitted),
            row("time_too_often", "Questions beyond the rate of an address.", &self.too_often),
            row("time_dropped", "Datagrams that were no question.", &self.dropped),
            row("nts_key_exchanges", "Clients that got keys.", &self.exchanges),
            row("nts_key_exchanges_refused", "Clients that got none.", &self.refused),
        ]
    }
}
