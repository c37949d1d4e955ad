//! Messages and pings that wait for their answer.
//!
//! **Invariant:** at most [`OUTSTANDING_MAX`] wait, and each is answered once: by the other side,
//! by the end of its link, or by its deadline.

use std::collections::BTreeMap;

use shared::time::Tick;

use crate::action::RequestId;
use crate::limits::{ANSWER_MS, OUTSTANDING_MAX};
use crate::links::LinkId;

#[derive(Debug)]
struct Waiting {
    request: RequestId,
    link: LinkId,
    until: Tick,
}

#[derive(Debug, Default)]
pub(crate) struct Mail {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

impl Mail {
    /// Gives a number to what is sent; `None` if too much waits already.
    pub(crate) fn begin(&mut self, request: RequestId, link: LinkId, now: Tick) -> Option<u64> {
        if self.waiting.len() >= OUTSTANDING_MAX {
            return None;
        }
        self.next += 1;
        let until = now.plus_ms(ANSWER_MS);
        self.waiting.insert(self.next, Waiting { request, link, until });
        Some(self.next)
    }

    /// The next number, for what waits elsewhere for its answers.
    pub(crate) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The answer came on this link; who waited for it.
    pub(crate) fn answered(&mut self, id: u64, link: LinkId) -> Option<RequestId> {
        self.waiting.get(&id).filter(|waiting| waiting.link == link)?;
        self.waiting.remove(&id).map(|waiting| waiting.request)
    }

    /// Whether an answer is still to come on a link.
    pub(crate) fn waits_on(&self, link: LinkId) -> bool {
        self.waiting.values().any(|waiting| waiting.link == link)
    }

    /// A link ended; who waited on it.
    pub(crate) fn ended(&mut self, link: LinkId) -> Vec<RequestId> {
        self.take(|waiting| waiting.link == link)
    }

    /// Whose time is over.
    pub(crate) fn overdue(&mut self, now: Tick) -> Vec<RequestId> {
        self.take(|waiting| now >= waiting.until)
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<RequestId> {
        let ids: Vec<u64> =
            self.waiting.iter().filter(|(_, w)| which(w)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.waiting.remove(id)).map(|w| w.request).collect()
    }
}
