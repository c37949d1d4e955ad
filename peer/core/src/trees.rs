//! Broadcasts that others carry: which way each node's come and go, and how far they came.
//!
//! Flood and prune, as RFC 3973 has it for networks: the first broadcast of a run goes over every
//! link, whoever has it from another already says so, and that way is left out from then on. What
//! remains is a tree that follows the fastest ways. While several are under way, each may be first
//! by another: so a node keeps the way it has, and never says of it that it is not needed. Whoever
//! loses it says so to everybody, and so do those behind; besides, a way is tried again after
//! [`PRUNED_MS`].
//!
//! Whoever passes one on waits for those it passed it on to, and answers whoever it had it from:
//! that holds the sender back to what the slowest can take, and tells it how far it came.
//!
//! **Invariant:** a number that was heard is never new again in its run: a run's window is
//! forgotten only when whatever was signed in it is too old to be believed.
//! **Invariant:** at most [`TREES_UNDER_WAY_MAX`] are under way, and each is answered once.

use std::collections::BTreeMap;

use shared::id::InstanceId;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Tick;
use shared::wire::BroadcastId;

use crate::action::{Reach, RequestId};
use crate::bucket::Bucket;
use crate::limits::{
    ANSWER_MS, BROADCAST_ORIGINS_MAX, BROADCAST_STALE_MS, MISSED_MAX, PARENT_SILENT_MS, PRUNED_MS,
    TREES_UNDER_WAY_MAX, UNPROVEN_BROADCASTS,
};
use crate::links::LinkId;
use crate::window::Window;

#[derive(Debug, Default)]
pub(crate) struct Trees {
    origins: BTreeMap<NodeName, Tree>,
    under_way: BTreeMap<BroadcastId, UnderWay>,
    /// What each link may bring that cannot be proven.
    unproven: BTreeMap<LinkId, Bucket>,
}

/// The ways of a node's latest run.
#[derive(Debug)]
struct Tree {
    instance: InstanceId,
    window: Window,
    /// The way they come, and when it last brought one.
    parent: Option<(LinkId, Tick)>,
    /// Ways that are not needed, until when.
    pruned: BTreeMap<LinkId, Tick>,
    used: Tick,
}

/// Who is to be told how far a broadcast came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The application that sent it, here.
    Application(RequestId),
    /// Whoever brought it.
    Link(LinkId),
}

#[derive(Debug)]
struct UnderWay {
    asker: Asker,
    waiting: BTreeMap<LinkId, NodeName>,
    /// Until when our own application may take it.
    own: Option<Tick>,
    reach: Reach,
    until: Tick,
}

/// A broadcast of which everything is known that will be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) broadcast: BroadcastId,
    pub(crate) asker: Asker,
    pub(crate) reach: Reach,
}

impl Trees {
    /// Whether another one may be under way.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < TREES_UNDER_WAY_MAX
    }

    /// Whether one was heard already.
    pub(crate) fn knows(&self, origin: &NodeName, broadcast: BroadcastId) -> bool {
        let tree = self.origins.get(origin).filter(|tree| tree.instance == broadcast.instance);
        tree.is_some_and(|tree| tree.window.knows(broadcast.number))
    }

    /// Whether a link may bring one more that cannot be proven.
    pub(crate) fn forgive(&mut self, link: LinkId, now: Tick) -> bool {
        let full = || Bucket::full(UNPROVEN_BROADCASTS, now);
        self.unproven.entry(link).or_insert_with(full).take(UNPROVEN_BROADCASTS, now)
    }

    /// One is heard for the first time, from a link or from ourselves. `false` if there is no room
    /// for its origin. The caller knows that the run is its origin's.
    pub(crate) fn hear(
        &mut self,
        origin: &NodeName,
        broadcast: BroadcastId,
        from: Option<LinkId>,
        now: Tick,
    ) -> bool {
        if !self.origins.contains_key(origin) && !self.make_room(now) {
            return false;
        }
        let instance = broadcast.instance;
        let fresh = || {
            let (window, pruned) = (Window::default(), BTreeMap::new());
            Tree { instance, window, parent: None, pruned, used: now }
        };
        let tree = self.origins.entry(origin.clone()).or_insert_with(fresh);
        if tree.instance != instance {
            *tree = fresh();
        }
        tree.used = now;
        tree.came(from, now);
        tree.window.hear(broadcast.number)
    }

    /// One that was heard came again on a link. `true` if that is the way they come: it is needed.
    pub(crate) fn repeats(&mut self, origin: &NodeName, link: LinkId, now: Tick) -> bool {
        let Some(tree) = self.origins.get_mut(origin) else { return false };
        let is_parent = tree.parent.is_some_and(|(parent, _)| parent == link);
        if is_parent {
            tree.came(Some(link), now);
        }
        is_parent
    }

    /// An origin that has been silent for so long that nothing of it could be said again gives way.
    fn make_room(&mut self, now: Tick) -> bool {
        if self.origins.len() < BROADCAST_ORIGINS_MAX {
            return true;
        }
        let oldest = self.origins.iter().min_by_key(|(_, tree)| tree.used);
        let stale = oldest.filter(|(_, tree)| now.ms_since(tree.used) > BROADCAST_STALE_MS);
        let Some(origin) = stale.map(|(origin, _)| origin.clone()) else { return false };
        self.origins.remove(&origin);
        true
    }

    /// Whether an origin's broadcasts go over a link.
    pub(crate) fn leads_over(&self, origin: &NodeName, link: LinkId, now: Tick) -> bool {
        let Some(tree) = self.origins.get(origin) else { return true };
        tree.pruned.get(&link).is_none_or(|until| now >= *until)
    }

    /// One goes out on these links, and is handed to our own application if `own`.
    pub(crate) fn begin(
        &mut self,
        broadcast: BroadcastId,
        asker: Asker,
        waiting: BTreeMap<LinkId, NodeName>,
        own: bool,
        now: Tick,
    ) {
        // What those behind us have to say is worth waiting for even if our application is slow.
        let own = own.then(|| now.plus_ms(ANSWER_MS / 2));
        let until = now.plus_ms(ANSWER_MS);
        let reach = Reach::default();
        self.under_way.insert(broadcast, UnderWay { asker, waiting, own, reach, until });
    }

    /// Gives one that nobody is to answer.
    pub(crate) fn nobody_waits(&mut self, broadcast: BroadcastId) -> Option<Done> {
        self.done(broadcast)
    }

    /// Our own application has taken one, or has not.
    pub(crate) fn decided(
        &mut self,
        broadcast: BroadcastId,
        refused: Option<(NodeName, Code)>,
    ) -> Option<Done> {
        let under_way = self.under_way.get_mut(&broadcast)?;
        under_way.own.take()?;
        match refused {
            None => under_way.reach.taken = under_way.reach.taken.saturating_add(1),
            Some((me, code)) => under_way.miss(me, code),
        }
        self.done(broadcast)
    }

    /// Whoever is behind a link had one from another: the way is not needed.
    pub(crate) fn had(&mut self, broadcast: BroadcastId, link: LinkId, now: Tick) -> Option<Done> {
        self.under_way.get_mut(&broadcast)?.waiting.remove(&link)?;
        if let Some(tree) = self.tree_mut(broadcast.instance) {
            tree.pruned.insert(link, now.plus_ms(PRUNED_MS));
        }
        self.done(broadcast)
    }

    /// One came this far behind a link.
    pub(crate) fn reached(
        &mut self,
        broadcast: BroadcastId,
        link: LinkId,
        reach: Reach,
    ) -> Option<Done> {
        let under_way = self.under_way.get_mut(&broadcast)?;
        under_way.waiting.remove(&link)?;
        under_way.reach.taken = under_way.reach.taken.saturating_add(reach.taken);
        for (node, code) in reach.missed {
            under_way.miss(node, code);
        }
        self.done(broadcast)
    }

    /// One did not go over a link.
    pub(crate) fn missed(
        &mut self,
        broadcast: BroadcastId,
        link: LinkId,
        code: Code,
    ) -> Option<Done> {
        let under_way = self.under_way.get_mut(&broadcast)?;
        let node = under_way.waiting.remove(&link)?;
        under_way.miss(node, code);
        self.done(broadcast)
    }

    /// Whoever is behind a link lost its way: it needs this one. `true` if it was ours as well, and
    /// everybody else is to be told the same.
    pub(crate) fn again(&mut self, instance: InstanceId, link: LinkId) -> bool {
        let Some(tree) = self.tree_mut(instance) else { return false };
        tree.pruned.remove(&link);
        tree.lose(link)
    }

    /// A link is gone: what is done by it, and the runs whose way to us it was.
    pub(crate) fn ended(&mut self, link: LinkId) -> (Vec<Done>, Vec<InstanceId>) {
        self.unproven.remove(&link);
        let mut lost = Vec::new();
        for tree in self.origins.values_mut() {
            tree.pruned.remove(&link);
            if tree.lose(link) {
                lost.push(tree.instance);
            }
        }
        let waiting = self.under_way.iter().filter(|(_, one)| one.waiting.contains_key(&link));
        let waiting: Vec<BroadcastId> = waiting.map(|(broadcast, _)| *broadcast).collect();
        let missed = |broadcast| self.missed(broadcast, link, Code::Unreachable);
        (waiting.into_iter().filter_map(missed).collect(), lost)
    }

    /// Whose time is over: whoever has not answered was not reached.
    pub(crate) fn overdue(&mut self, me: &NodeName, now: Tick) -> Vec<Done> {
        let mut all = Vec::new();
        for (broadcast, one) in &mut self.under_way {
            if one.own.take_if(|until| now >= *until).is_some() {
                one.miss(me.clone(), Code::Quota);
                all.push(*broadcast);
            }
            if now >= one.until {
                for node in std::mem::take(&mut one.waiting).into_values() {
                    one.miss(node, Code::Unreachable);
                }
                all.push(*broadcast);
            }
        }
        all.into_iter().filter_map(|broadcast| self.done(broadcast)).collect()
    }

    fn tree_mut(&mut self, instance: InstanceId) -> Option<&mut Tree> {
        self.origins.values_mut().find(|tree| tree.instance == instance)
    }

    fn done(&mut self, broadcast: BroadcastId) -> Option<Done> {
        let one = self.under_way.get(&broadcast)?;
        if one.own.is_some() || !one.waiting.is_empty() {
            return None;
        }
        let UnderWay { asker, reach, .. } = self.under_way.remove(&broadcast)?;
        Some(Done { broadcast, asker, reach })
    }
}

impl Tree {
    /// One came on a link. That becomes the way if there is none, or the one there is has been
    /// silent for longer than two ways differ.
    fn came(&mut self, from: Option<LinkId>, now: Tick) {
        let Some(link) = from else { return };
        let keeps = self
            .parent
            .is_some_and(|(parent, at)| parent != link && now.ms_since(at) <= PARENT_SILENT_MS);
        if !keeps {
            self.parent = Some((link, now));
        }
    }

    fn lose(&mut self, link: LinkId) -> bool {
        self.parent.take_if(|(parent, _)| *parent == link).is_some()
    }
}

impl UnderWay {
    fn miss(&mut self, node: NodeName, code: Code) {
        if self.reach.missed.len() < MISSED_MAX {
            self.reach.missed.insert(node, code);
        }
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

    fn one(number: u64) -> BroadcastId {
        BroadcastId { instance: InstanceId::new([1; 16]), number }
    }

    #[test]
    fn a_run_that_could_still_be_believed_is_never_forgotten() {
        let mut trees = Trees::default();
        for n in 0..BROADCAST_ORIGINS_MAX as u64 {
            assert!(trees.hear(&name(&format!("n{n}")), one(1), None, at(n)));
        }
        let next = name("next");
        assert!(!trees.hear(&next, one(1), None, at(BROADCAST_STALE_MS)));
        assert!(!trees.hear(&name("n0"), one(1), None, at(BROADCAST_STALE_MS)), "heard already");
        assert!(trees.hear(&next, one(1), None, at(2 * BROADCAST_STALE_MS + 1)));
        assert_eq!(trees.origins.len(), BROADCAST_ORIGINS_MAX);
        assert!(trees.knows(&next, one(1)) && !trees.knows(&next, one(2)));
        let later = BroadcastId { instance: InstanceId::new([2; 16]), number: 1 };
        assert!(!trees.knows(&next, later) && trees.hear(&next, later, None, at(0)));
    }

    #[test]
    fn a_slow_application_is_named_before_those_behind_it() {
        let mut trees = Trees::default();
        let asker = Asker::Link(LinkId(9));
        let waiting = BTreeMap::from([(LinkId(1), name("bob"))]);
        trees.begin(one(1), asker, waiting, true, at(0));
        assert_eq!(trees.overdue(&name("me"), at(ANSWER_MS / 2)), []);
        assert_eq!(trees.decided(one(1), None), None, "too late");
        let behind = Reach { taken: 3, missed: BTreeMap::new() };
        let missed = BTreeMap::from([(name("me"), Code::Quota)]);
        let reach = Reach { taken: 3, missed };
        let done = Done { broadcast: one(1), asker, reach };
        assert_eq!(trees.reached(one(1), LinkId(1), behind.clone()), Some(done));
        assert_eq!(trees.reached(one(1), LinkId(1), behind), None, "it is answered once");
    }

    #[test]
    fn names_of_the_missed_and_what_is_under_way_are_bounded() {
        let mut trees = Trees::default();
        let waiting = BTreeMap::from([(LinkId(1), name("bob")), (LinkId(2), name("carol"))]);
        for number in 0..TREES_UNDER_WAY_MAX as u64 {
            assert!(trees.has_room());
            trees.begin(one(number), Asker::Application(1), waiting.clone(), false, at(0));
        }
        assert!(!trees.has_room());
        let missed = (0..500).map(|n| (name(&format!("n{n}")), Code::Quota)).collect();
        let much = Reach { taken: u32::MAX, missed };
        assert_eq!(trees.reached(one(0), LinkId(1), much.clone()), None);
        assert_eq!(trees.reached(one(0), LinkId(1), much.clone()), None, "once for each link");
        let done = trees.reached(one(0), LinkId(2), much).unwrap();
        assert_eq!((done.reach.taken, done.reach.missed.len()), (u32::MAX, MISSED_MAX));
        let (done, lost) = trees.ended(LinkId(1));
        assert!(done.is_empty() && lost.is_empty() && trees.has_room());
        assert_eq!(trees.overdue(&name("me"), at(ANSWER_MS)).len(), TREES_UNDER_WAY_MAX - 1);
    }
}
