//! Which links we want: all of them in a small network, a handful in a large one.
//!
//! Up to `full_mesh` nodes everybody is linked with everybody: nothing is quicker and nothing is
//! simpler. Above, a node wants HyParView's neighbours (the tree of the broadcast), a few anchors
//! it drew itself from the directory (nobody else can choose them, and they keep the feed's way
//! short), and whoever it talks to for as long as it talks. All else may come and go.
//!
//! **Invariant:** in a large network at most a bounded number of links is wanted.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::NodeName;
use shared::time::Tick;

use crate::limits::{ANCHORS, SETTLED_MS, TALK_MS, TALKS_MAX};

#[derive(Debug)]
pub(crate) struct Topology {
    full_mesh: usize,
    partial: bool,
    neighbours: BTreeSet<NodeName>,
    anchors: BTreeSet<NodeName>,
    /// When one anchor gives way to another.
    turn_due: Tick,
    talks: BTreeMap<NodeName, Tick>,
}

impl Topology {
    pub(crate) const fn new(full_mesh: usize) -> Self {
        Self {
            full_mesh,
            partial: false,
            neighbours: BTreeSet::new(),
            anchors: BTreeSet::new(),
            turn_due: Tick::from_ms(0),
            talks: BTreeMap::new(),
        }
    }

    /// So many nodes are known, ourselves included; says whether that changes the kind of network.
    /// Between three quarters of the bound and the bound it stays what it was.
    pub(crate) const fn resize(&mut self, nodes: usize) -> bool {
        let partial =
            if self.partial { nodes > self.full_mesh / 4 * 3 } else { nodes > self.full_mesh };
        let changed = partial != self.partial;
        self.partial = partial;
        changed
    }

    /// Whether the network is too large for a full mesh.
    pub(crate) const fn is_partial(&self) -> bool {
        self.partial
    }

    /// Whether a link with this node is wanted.
    pub(crate) fn wants(&self, node: &NodeName) -> bool {
        !self.partial
            || self.neighbours.contains(node)
            || self.anchors.contains(node)
            || self.talks.contains_key(node)
    }

    /// It is a neighbour, or may become one.
    pub(crate) fn keep(&mut self, node: NodeName) {
        self.neighbours.insert(node);
    }

    pub(crate) fn release(&mut self, node: &NodeName) {
        self.neighbours.remove(node);
    }

    /// We talk to it, or it to us. Gives the talk that is over because of that.
    pub(crate) fn talk(&mut self, node: &NodeName, now: Tick) -> Option<NodeName> {
        let full = !self.talks.contains_key(node) && self.talks.len() >= TALKS_MAX;
        let oldest = self.talks.iter().filter(|_| full).min_by_key(|(_, until)| **until);
        let oldest = oldest.map(|(node, _)| node.clone());
        if let Some(oldest) = &oldest {
            self.talks.remove(oldest);
        }
        self.talks.insert(node.clone(), now.plus_ms(TALK_MS));
        oldest
    }

    /// What we talked about is settled: the talk is over soon.
    pub(crate) fn settle(&mut self, node: &NodeName, now: Tick) {
        if let Some(until) = self.talks.get_mut(node) {
            *until = (*until).min(now.plus_ms(SETTLED_MS));
        }
    }

    /// The talks that are over; they are forgotten.
    pub(crate) fn fallen_silent(&mut self, now: Tick) -> Vec<NodeName> {
        let over = self.talks.iter().filter(|(_, until)| now >= **until);
        let over: Vec<NodeName> = over.map(|(node, _)| node.clone()).collect();
        self.talks.retain(|_, until| now < *until);
        over
    }

    /// Whether another anchor is to be drawn.
    pub(crate) fn lacks_anchor(&self) -> bool {
        self.partial && self.anchors.len() < ANCHORS
    }

    pub(crate) fn anchor(&mut self, node: NodeName) {
        self.anchors.insert(node);
    }

    /// Lets one anchor go if it is time: whoever only keeps what it has never meets the other half
    /// of a network that was divided.
    pub(crate) fn turn(&mut self, dice: u64, wait_ms: u64, now: Tick) -> Option<NodeName> {
        if self.anchors.len() < ANCHORS || now < self.turn_due {
            return None;
        }
        self.turn_due = now.plus_ms(wait_ms);
        let at = usize::try_from(dice % self.anchors.len() as u64).unwrap_or_default();
        let gone = self.anchors.iter().nth(at).cloned()?;
        self.anchors.remove(&gone);
        Some(gone)
    }

    /// A node did not answer, or is gone.
    pub(crate) fn give_up(&mut self, node: &NodeName) {
        self.neighbours.remove(node);
        self.anchors.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: usize) -> NodeName {
        NodeName::parse(&format!("n{index}")).unwrap()
    }

    #[test]
    fn a_small_network_wants_everybody_and_a_large_one_a_few() {
        let mut topology = Topology::new(64);
        assert!(!topology.resize(64));
        assert!(topology.wants(&node(1)));
        assert!(topology.resize(65));
        assert!(!topology.wants(&node(1)));
        topology.keep(node(1));
        topology.anchor(node(2));
        topology.talk(&node(3), Tick::from_ms(0));
        assert!((1..4).all(|index| topology.wants(&node(index))));
        topology.release(&node(1));
        topology.give_up(&node(2));
        assert_eq!(topology.fallen_silent(Tick::from_ms(TALK_MS)), [node(3)]);
        assert!((1..4).all(|index| !topology.wants(&node(index))));
        assert!(!topology.resize(49), "in between it stays what it was");
        assert!(topology.resize(48) && topology.wants(&node(9)));
    }

    #[test]
    fn one_anchor_at_a_time_gives_way_when_it_is_time() {
        let mut topology = Topology::new(0);
        topology.resize(1);
        let now = Tick::from_ms(1_000);
        assert_eq!(topology.turn(0, 500, now), None, "there is none yet");
        for index in 0..ANCHORS {
            topology.anchor(node(index));
        }
        assert_eq!(topology.turn(1, 500, now), Some(node(1)));
        topology.anchor(node(9));
        assert_eq!(topology.turn(1, 500, Tick::from_ms(1_499)), None, "not yet");
        assert!(topology.turn(1, 500, Tick::from_ms(1_500)).is_some());
    }

    #[test]
    fn what_is_settled_is_over_soon_and_may_begin_anew() {
        let mut topology = Topology::new(0);
        topology.resize(1);
        let (start, soon) = (Tick::from_ms(0), Tick::from_ms(SETTLED_MS));
        topology.settle(&node(1), start);
        assert!(!topology.wants(&node(1)), "it is no talk");
        topology.talk(&node(1), start);
        topology.settle(&node(1), start);
        assert_eq!(topology.fallen_silent(Tick::from_ms(SETTLED_MS - 1)), []);
        assert_eq!(topology.fallen_silent(soon), [node(1)]);
        topology.talk(&node(1), soon);
        assert_eq!(topology.fallen_silent(soon.plus_ms(TALK_MS - 1)), []);
    }

    #[test]
    fn talks_are_bounded_and_the_oldest_gives_way() {
        let mut topology = Topology::new(0);
        topology.resize(1);
        for index in 0..=TALKS_MAX {
            let over = topology.talk(&node(index), Tick::from_ms(index as u64));
            assert_eq!(over, (index == TALKS_MAX).then(|| node(0)));
        }
        assert!(!topology.wants(&node(0)));
        assert!(topology.wants(&node(1)) && topology.wants(&node(TALKS_MAX)));
    }
}
