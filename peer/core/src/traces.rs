//! Questions for the way to a node that are under way here: ours, and those passed on for others.
//!
//! **Invariant:** at most [`TRACES_MAX`] at once, each answered once and only by whom it was asked;
//! a neighbour asks within [`TRACE_ASKS`].

use std::collections::BTreeMap;

use shared::time::Tick;

use crate::action::RequestId;
use crate::bucket::Bucket;
use crate::limits::{TRACE_ASKS, TRACE_MS, TRACES_MAX};
use crate::links::LinkId;

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A command of our own.
    Request(RequestId),
    /// A neighbour, with its number for it.
    Link(LinkId, u64),
}

#[derive(Debug)]
struct Open {
    waits: Waits,
    asked: Vec<LinkId>,
    since: Tick,
}

#[derive(Debug, Default)]
pub(crate) struct Traces {
    open: BTreeMap<u64, Open>,
    next: u64,
    budgets: BTreeMap<LinkId, Bucket>,
}

impl Traces {
    /// Whether a neighbour may ask now.
    pub(crate) fn may_ask(&mut self, link: LinkId, now: Tick) -> bool {
        let full = || Bucket::full(TRACE_ASKS, now);
        self.budgets.entry(link).or_insert_with(full).take(TRACE_ASKS, now)
    }

    /// A question goes out on these links; its number, unless too many are under way.
    pub(crate) fn ask(&mut self, waits: Waits, asked: &[LinkId], now: Tick) -> Option<u64> {
        if self.open.len() >= TRACES_MAX || asked.is_empty() {
            return None;
        }
        self.next += 1;
        self.open.insert(self.next, Open { waits, asked: asked.to_vec(), since: now });
        Some(self.next)
    }

    /// An answer came on a link: who waits for it, and how long it took in ms.
    pub(crate) fn found(&mut self, id: u64, link: LinkId, now: Tick) -> Option<(Waits, u64)> {
        let open = self.open.get(&id).filter(|open| open.asked.contains(&link))?;
        let found = (open.waits, now.ms_since(open.since));
        self.open.remove(&id);
        Some(found)
    }

    /// Questions of our own that nobody answered in time; a neighbour's are forgotten.
    pub(crate) fn overdue(&mut self, now: Tick) -> Vec<RequestId> {
        let late: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| now.ms_since(open.since) >= TRACE_MS)
            .map(|(id, _)| *id)
            .collect();
        let gone = late.iter().filter_map(|id| self.open.remove(id));
        let ours = gone.filter_map(|open| match open.waits {
            Waits::Request(request) => Some(request),
            Waits::Link(..) => None,
        });
        ours.collect()
    }

    pub(crate) fn ended(&mut self, link: LinkId) {
        self.budgets.remove(&link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    #[test]
    fn the_first_of_those_who_were_asked_answers_and_nobody_else() {
        let mut traces = Traces::default();
        let id = traces.ask(Waits::Request(9), &LINKS, at(0)).unwrap();
        assert_eq!(traces.found(id, LinkId(3), at(5)), None, "it was not asked");
        assert_eq!(traces.found(id + 1, LinkId(1), at(5)), None, "it was not asked that");
        assert_eq!(traces.found(id, LinkId(2), at(5)), Some((Waits::Request(9), 5)));
        assert_eq!(traces.found(id, LinkId(1), at(6)), None, "twice");
        assert_eq!(traces.ask(Waits::Request(9), &[], at(0)), None, "nobody to ask");
    }

    #[test]
    fn what_nobody_answers_ends_and_there_are_never_too_many() {
        let mut traces = Traces::default();
        traces.ask(Waits::Link(LinkId(1), 4), &LINKS, at(0));
        let asked = (0..1000).filter(|n| traces.ask(Waits::Request(*n), &LINKS, at(0)).is_some());
        assert_eq!(asked.count(), TRACES_MAX - 1);
        assert!(traces.overdue(at(TRACE_MS - 1)).is_empty());
        assert_eq!(traces.overdue(at(TRACE_MS)).len(), TRACES_MAX - 1, "only our own are told");
        assert!(traces.ask(Waits::Request(1), &LINKS, at(TRACE_MS)).is_some());
    }

    #[test]
    fn a_neighbour_that_asks_and_asks_is_not_heard() {
        let mut traces = Traces::default();
        let heard = (0..1000).filter(|_| traces.may_ask(LinkId(1), at(0))).count();
        assert_eq!(heard, TRACE_ASKS.burst as usize);
        assert!(traces.may_ask(LinkId(2), at(0)));
    }
}
