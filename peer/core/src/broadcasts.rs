//! Broadcasts to linked nodes: which of ours are not answered by all yet, and which of others' were
//! heard already.
//!
//! **Invariant:** at most [`BROADCASTS_MAX`] are under way, and each is answered once: when every
//! link it was queued on has answered, ended or had its time.

use std::collections::BTreeMap;

use shared::id::InstanceId;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Tick;

use crate::action::{Reach, RequestId};
use crate::limits::{ANSWER_MS, BROADCAST_ORIGINS_MAX, BROADCASTS_MAX};
use crate::links::LinkId;
use crate::window::Window;

#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    under_way: BTreeMap<u64, UnderWay>,
    origins: BTreeMap<NodeName, Origin>,
}

#[derive(Debug)]
struct UnderWay {
    request: RequestId,
    waiting: BTreeMap<LinkId, NodeName>,
    reach: Reach,
    until: Tick,
}

/// What was heard of a node's latest run.
#[derive(Debug)]
struct Origin {
    instance: InstanceId,
    window: Window,
    used: Tick,
}

impl Broadcasts {
    /// Whether another one may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < BROADCASTS_MAX
    }

    /// One is queued on these links.
    pub(crate) fn begin(
        &mut self,
        id: u64,
        request: RequestId,
        waiting: BTreeMap<LinkId, NodeName>,
        now: Tick,
    ) {
        let (reach, until) = (Reach::default(), now.plus_ms(ANSWER_MS));
        self.under_way.insert(id, UnderWay { request, waiting, reach, until });
    }

    /// A link answered: taken, or why not. Gives the request if all have.
    pub(crate) fn answered(
        &mut self,
        id: u64,
        link: LinkId,
        refused: Option<Code>,
    ) -> Option<(RequestId, Reach)> {
        let under_way = self.under_way.get_mut(&id)?;
        let node = under_way.waiting.remove(&link)?;
        match refused {
            None => under_way.reach.taken += 1,
            Some(code) => drop(under_way.reach.missed.insert(node, code)),
        }
        if !under_way.waiting.is_empty() {
            return None;
        }
        self.under_way.remove(&id).map(|done| (done.request, done.reach))
    }

    /// Which wait for a link.
    pub(crate) fn waiting_on(&self, link: LinkId) -> Vec<u64> {
        let waiting = self.under_way.iter().filter(|(_, one)| one.waiting.contains_key(&link));
        waiting.map(|(id, _)| *id).collect()
    }

    /// Whose time is over: whoever has not answered was not reached.
    pub(crate) fn overdue(&mut self, now: Tick) -> Vec<(RequestId, Reach)> {
        let late = |one: &UnderWay| now >= one.until;
        let late: Vec<u64> =
            self.under_way.iter().filter(|(_, one)| late(one)).map(|(id, _)| *id).collect();
        let late = late.iter().filter_map(|id| self.under_way.remove(id));
        late.map(|mut one| {
            let silent = one.waiting.into_values().map(|node| (node, Code::Unreachable));
            one.reach.missed.extend(silent);
            (one.request, one.reach)
        })
        .collect()
    }

    /// Whether a broadcast is another one than those that were heard; it counts as heard from now
    /// on. The caller knows that the run is its origin's.
    pub(crate) fn is_new(
        &mut self,
        origin: &NodeName,
        instance: InstanceId,
        id: u64,
        now: Tick,
    ) -> bool {
        if !self.origins.contains_key(origin) && self.origins.len() >= BROADCAST_ORIGINS_MAX {
            let oldest = self.origins.iter().min_by_key(|(_, origin)| origin.used);
            if let Some(oldest) = oldest.map(|(node, _)| node.clone()) {
                self.origins.remove(&oldest);
            }
        }
        let fresh = || Origin { instance, window: Window::default(), used: now };
        let origin = self.origins.entry(origin.clone()).or_insert_with(fresh);
        if origin.instance != instance {
            *origin = fresh();
        }
        origin.used = now;
        origin.window.hear(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn two() -> BTreeMap<LinkId, NodeName> {
        BTreeMap::from([(LinkId(1), name("bob")), (LinkId(2), name("carol"))])
    }

    #[test]
    fn another_run_and_another_node_have_their_own_numbers() {
        let mut broadcasts = Broadcasts::default();
        let (first, second) = (InstanceId::new([1; 16]), InstanceId::new([2; 16]));
        assert!(broadcasts.is_new(&name("bob"), first, 7, at(0)));
        assert!(broadcasts.is_new(&name("carol"), first, 7, at(0)));
        assert!(broadcasts.is_new(&name("bob"), second, 7, at(0)));
        assert!(!broadcasts.is_new(&name("bob"), second, 7, at(0)));
    }

    #[test]
    fn origins_are_bounded_and_the_longest_silent_gives_way() {
        let mut broadcasts = Broadcasts::default();
        let run = InstanceId::new([1; 16]);
        for n in 0..=BROADCAST_ORIGINS_MAX as u64 {
            assert!(broadcasts.is_new(&name(&format!("n{n}")), run, 1, at(n)));
        }
        assert_eq!(broadcasts.origins.len(), BROADCAST_ORIGINS_MAX);
        assert!(!broadcasts.origins.contains_key(&name("n0")));
        assert!(!broadcasts.is_new(&name("n1"), run, 1, at(9_999)));
    }

    #[test]
    fn it_is_answered_when_the_last_has_answered_and_only_by_those_it_went_to() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.begin(7, 70, two(), at(0));
        assert_eq!(broadcasts.answered(7, LinkId(3), None), None);
        assert_eq!(broadcasts.answered(7, LinkId(1), None), None);
        assert_eq!(broadcasts.answered(7, LinkId(1), None), None, "it answers once");
        let missed = BTreeMap::from([(name("carol"), Code::Quota)]);
        let done = broadcasts.answered(7, LinkId(2), Some(Code::Quota));
        assert_eq!(done, Some((70, Reach { taken: 1, missed })));
        assert_eq!(broadcasts.answered(7, LinkId(2), None), None);
    }

    #[test]
    fn whoever_does_not_answer_in_time_was_not_reached() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.begin(7, 70, two(), at(0));
        assert_eq!(broadcasts.waiting_on(LinkId(1)), [7]);
        assert_eq!(broadcasts.answered(7, LinkId(1), None), None);
        assert!(broadcasts.waiting_on(LinkId(1)).is_empty());
        assert!(broadcasts.overdue(at(ANSWER_MS - 1)).is_empty());
        let missed = BTreeMap::from([(name("carol"), Code::Unreachable)]);
        assert_eq!(broadcasts.overdue(at(ANSWER_MS)), [(70, Reach { taken: 1, missed })]);
        assert!(broadcasts.has_room());
    }
}
