//! The chart: who is linked with whom and wants what, as everybody says of himself; and from it the
//! ways to peers that we are not linked with.
//!
//! Link states are passed on from neighbour to neighbour. A neighbour says by its heads what it
//! has; it gets what is newer, unless whoever brought it to us is linked with that neighbour too,
//! and so brings it there itself: in a full mesh nobody passes anything on.
//!
//! **Invariant:** a way leads over links that both of their ends speak of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use bytestring::ByteString;
use shared::link_state::LinkState;
use shared::name::NodeName;
use shared::time::{Tick, Timestamp};

use crate::limits::{ANNOUNCE_MS, ANNOUNCE_S, CHARTED_MAX, SETTLE_MS};
use crate::topic::Wanted;
use crate::trie::Trie;

/// Which of two link states of one node is newer.
pub(crate) type Order = (u64, u64);

/// What a neighbour has, by its own word.
pub(crate) type Heads = BTreeMap<NodeName, Order>;

/// Filters of peers, by the group that shares one (or none) and the peer; and how such a filter is
/// written with its group.
type Wishes = Trie<(ByteString, NodeName), Option<ByteString>>;

/// See above.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    own: Option<Own>,
    known: BTreeMap<NodeName, Known>,
    wishes: Wishes,
    /// Who has a connection here now.
    linked: BTreeSet<NodeName>,
    /// Who had one a moment ago, and since when not.
    left: BTreeMap<NodeName, Timestamp>,
    /// Who has a session here, with a connection or without.
    held: BTreeSet<NodeName>,
    /// Who is told.
    neighbours: BTreeMap<NodeName, Neighbour>,
    /// What linked peers have; of one that has not said it, nothing is known.
    has: BTreeMap<NodeName, Heads>,
    ways: Arc<Ways>,
}

/// Our own link state.
#[derive(Debug)]
struct Own {
    order: Order,
    told: Told,
    at: Timestamp,
    signed: Tick,
    sealed: Bytes,
}

/// What a link state of ours says: links, and the version of our wishes, if it says these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) links: BTreeSet<NodeName>,
    pub(crate) wishes: Option<u64>,
}

/// A link state that we have.
#[derive(Debug)]
struct Known {
    order: Order,
    at: Timestamp,
    links: BTreeSet<NodeName>,
    wanted: Vec<Wanted>,
    /// As it was signed.
    sealed: Bytes,
}

/// A neighbour that link states are passed on to.
#[derive(Debug)]
struct Neighbour {
    connection: u64,
    waker: Option<Waker>,
}

/// Where what is for a peer goes next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ways {
    next: BTreeMap<NodeName, NodeName>,
    /// Whom a way leads to now.
    pub(crate) reachable: BTreeSet<NodeName>,
}

impl Ways {
    /// The linked peer that brings something nearer to another one.
    pub(crate) fn next(&self, node: &NodeName) -> Option<&NodeName> {
        self.next.get(node)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&NodeName, &NodeName)> {
        self.next.iter()
    }
}

impl Chart {
    /// A peer has a connection here from now on.
    pub(crate) fn link(&mut self, node: &NodeName, me: &NodeName) {
        self.linked.insert(node.clone());
        self.held.insert(node.clone());
        self.left.remove(node);
        self.find_ways(me);
    }

    /// It has none any more; whether it may come back at once, and is waited for.
    pub(crate) fn unlink(&mut self, node: &NodeName, back: bool, me: &NodeName, now: Timestamp) {
        if self.linked.remove(node) {
            if back {
                self.left.insert(node.clone(), now);
            }
            self.has.remove(node);
            self.find_ways(me);
        }
    }

    /// A peer's session was found on the disk.
    pub(crate) fn hold(&mut self, node: &NodeName, me: &NodeName) {
        self.held.insert(node.clone());
        self.find_ways(me);
    }

    /// A peer's session ended.
    pub(crate) fn let_go(&mut self, node: &NodeName, me: &NodeName) {
        self.held.remove(node);
        self.find_ways(me);
    }

    /// Link states are passed on to a neighbour from now on.
    pub(crate) fn hear(&mut self, node: &NodeName, connection: u64) {
        let neighbour = Neighbour { connection, waker: None };
        self.neighbours.insert(node.clone(), neighbour);
    }

    /// And to this one not any more.
    pub(crate) fn deafen(&mut self, node: &NodeName, connection: u64) {
        if self.neighbours.get(node).is_some_and(|known| known.connection == connection) {
            self.neighbours.remove(node);
        }
    }

    /// Our links, with those that may come back at once: what goes over them waits, so that nothing
    /// overtakes it on another way.
    pub(crate) fn links(&self) -> BTreeSet<NodeName> {
        self.linked.iter().chain(self.left.keys()).cloned().collect()
    }

    /// Whether there is a peer that we are not linked with, and that so has to know our wishes; one
    /// that cannot be reached now too, for he is to know them when he can.
    pub(crate) fn is_partial(&self) -> bool {
        self.known.keys().any(|node| !self.is_link(node))
    }

    /// Whether our own link state says so already, and not too long ago.
    pub(crate) fn has_told(&self, told: &Told, now: Timestamp) -> bool {
        let fresh = |own: &&Own| own.told == *told && now < own.at.plus_s(ANNOUNCE_S);
        self.own.as_ref().filter(fresh).is_some()
    }

    /// When the next link state of ours may be signed.
    pub(crate) fn next_announcement(&self) -> Option<Tick> {
        self.own.as_ref().map(|own| own.signed.plus_ms(ANNOUNCE_MS))
    }

    /// The number of our next link state.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.own.as_ref().map_or(1, |own| own.order.1 + 1)
    }

    /// Takes over our own link state: everybody gets it.
    pub(crate) fn set_own(&mut self, state: &LinkState, told: Told, sealed: Bytes, signed: Tick) {
        self.own = Some(Own { order: state.order(), told, at: state.at, signed, sealed });
    }

    /// What we have of everybody, ourselves too.
    pub(crate) fn heads(&self, me: &NodeName) -> Heads {
        let own = self.own.as_ref().map(|own| (me.clone(), own.order));
        self.known.iter().map(|(node, known)| (node.clone(), known.order)).chain(own).collect()
    }

    /// A neighbour says what it has.
    pub(crate) fn hear_heads(&mut self, node: &NodeName, heads: Heads) {
        if self.linked.contains(node) {
            self.has.insert(node.clone(), heads);
        }
    }

    /// Whether a link state of a node would be news; whoever brings it has it.
    pub(crate) fn is_news(&mut self, from: &NodeName, node: &NodeName, order: Order) -> bool {
        if let Some(has) = self.has.get_mut(from) {
            let known = has.entry(node.clone()).or_insert(order);
            *known = order.max(*known);
        }
        self.known.get(node).is_none_or(|known| known.order < order)
    }

    /// Takes a verified link state that a neighbour brought; false if its filters are none, or it
    /// is one too many.
    pub(crate) fn accept(
        &mut self,
        from: &NodeName,
        me: &NodeName,
        state: LinkState,
        sealed: Bytes,
    ) -> bool {
        let order = state.order();
        let parsed = state.wishes.iter().map(|text| Wanted::parse(text));
        let Some(wanted) = parsed.collect::<Option<Vec<Wanted>>>() else { return false };
        let room = self.known.len() < CHARTED_MAX || self.known.contains_key(&state.node);
        if !room || state.node == *me || !self.is_news(from, &state.node, order) {
            return false;
        }
        let node = state.node.clone();
        self.forget(&node);
        for wish in &wanted {
            let shared = wish.group.as_ref().map(|_| wish.text());
            let group = wish.group.clone().unwrap_or_default();
            self.wishes.insert(wish.filter.as_str(), (group, node.clone()), shared);
        }
        let links = state.links.into_iter().collect();
        let known = Known { order, at: state.at, links, wanted, sealed };
        self.known.insert(node.clone(), known);
        let theirs = self.known.get(from).map(|known| known.links.clone()).unwrap_or_default();
        for (_, has) in self.has.iter_mut().filter(|(neighbour, _)| theirs.contains(*neighbour)) {
            has.insert(node.clone(), order);
        }
        self.find_ways(me);
        true
    }

    /// Drops what a node said.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        let Some(gone) = self.known.remove(node) else { return };
        for wish in &gone.wanted {
            let group = wish.group.clone().unwrap_or_default();
            self.wishes.remove(wish.filter.as_str(), &(group, node.clone()));
        }
    }

    /// Drops what is over, and looks for ways that time opens; says whether any changed.
    pub(crate) fn handle_timeout(&mut self, me: &NodeName, now: Timestamp) -> bool {
        let life = shared::limits::LINK_STATE_LIFE_S;
        let over = self.known.iter().filter(|(_, known)| known.at.plus_s(life) < now);
        let over: Vec<NodeName> = over.map(|(node, _)| node.clone()).collect();
        over.iter().for_each(|node| self.forget(node));
        self.left.retain(|_, left| now.ms_since(*left) < SETTLE_MS);
        let before = Arc::clone(&self.ways);
        self.find_ways(me);
        self.ways != before
    }

    /// Link states that a neighbour has not, as far as `room` goes; `waker` is woken for more.
    pub(crate) fn news_for(
        &mut self,
        node: &NodeName,
        me: &NodeName,
        room: usize,
        waker: &Waker,
    ) -> Vec<Bytes> {
        let Some(neighbour) = self.neighbours.get_mut(node) else { return Vec::new() };
        neighbour.waker = Some(waker.clone());
        let Some(has) = self.has.get_mut(node) else { return Vec::new() };
        let own = self.own.as_ref().map(|own| (me, own.order, &own.sealed));
        let others = self.known.iter().map(|(node, known)| (node, known.order, &known.sealed));
        let mut left = room;
        let mut news = Vec::new();
        for (about, order, sealed) in own.into_iter().chain(others) {
            let new = has.get(about).is_none_or(|known| *known < order);
            if about == node || !new {
                continue;
            }
            let Some(rest) = left.checked_sub(sealed.len()) else { break };
            left = rest;
            has.insert(about.clone(), order);
            news.push(sealed.clone());
        }
        news
    }

    /// Whether somebody we are not linked with is brought messages, or waits for them.
    pub(crate) fn has_far(&self) -> bool {
        let waits =
            |(node, known): (&NodeName, &Known)| !self.is_link(node) && !known.wanted.is_empty();
        !self.ways.next.is_empty() || self.known.iter().any(waits)
    }

    /// Calls `found` with every peer that wants a topic and is not linked: how a group wrote its
    /// filter, and the peer whose session takes it: on the way, or its own where there is none.
    /// Groups do not wait for members that cannot be reached.
    pub(crate) fn far(
        &self,
        topic: &str,
        mut found: impl FnMut(&NodeName, Option<&ByteString>, &NodeName),
    ) {
        self.wishes.matches(topic, |(_, node), shared| {
            let waits = shared.is_none() || self.ways.reachable.contains(node);
            if !self.is_link(node) && waits {
                found(node, shared.as_ref(), self.ways.next(node).unwrap_or(node));
            }
        });
    }

    /// The ways as they are.
    pub(crate) const fn ways(&self) -> &Arc<Ways> {
        &self.ways
    }

    /// When a peer spoke of itself last.
    pub(crate) fn heard_at(&self, node: &NodeName) -> Option<Timestamp> {
        self.known.get(node).map(|known| known.at)
    }

    /// Whether two are linked, as far as we know; of somebody unknown it is believed.
    pub(crate) fn are_linked(&self, one: &NodeName, other: &NodeName) -> bool {
        self.known.get(one).is_none_or(|known| known.links.contains(other))
    }

    /// Peers that have no link with us, and whether there is a way to each.
    pub(crate) fn far_states(&self) -> Vec<(NodeName, bool)> {
        let far = self.known.keys().filter(|node| !self.is_link(node));
        far.map(|node| (node.clone(), self.ways.reachable.contains(node))).collect()
    }

    fn is_link(&self, node: &NodeName) -> bool {
        self.linked.contains(node) || self.left.contains_key(node)
    }

    /// How many filters a peer said that it wants.
    pub(crate) fn wish_count(&self, node: &NodeName) -> usize {
        self.known.get(node).map_or(0, |known| known.wanted.len())
    }

    /// Wakes whoever tells neighbours.
    pub(crate) fn wake(&mut self) {
        let wakers = self.neighbours.values_mut().filter_map(|neighbour| neighbour.waker.take());
        wakers.for_each(Waker::wake);
    }

    /// Shortest ways, the same at every call: neighbours in the order of their names. What is for
    /// somebody whom no way leads to goes as near as it can and waits there: at a peer that he, or
    /// somebody on the way to him, was linked with; first of all in his own session here.
    fn find_ways(&mut self, me: &NodeName) {
        let mut first: BTreeMap<&NodeName, &NodeName> = BTreeMap::new();
        let mut queue: VecDeque<&NodeName> = VecDeque::new();
        for node in self.linked.iter().chain(self.left.keys()) {
            first.insert(node, node);
            queue.push_back(node);
        }
        let both = |node: &NodeName| {
            let known = self.known.get_key_value(node);
            let links = known.into_iter().flat_map(|(node, known)| {
                known.links.iter().filter(|next| self.speaks_of(next, node))
            });
            links.collect::<Vec<_>>()
        };
        let near = walk(me, &mut first, queue, both);
        let reachable = near.iter().copied().cloned().collect();
        let mut queue = near;
        for node in &self.held {
            if !first.contains_key(node) {
                first.insert(node, node);
                queue.push_back(node);
            }
        }
        if self.known.keys().any(|node| !first.contains_key(node)) {
            let mut edges: BTreeMap<&NodeName, Vec<&NodeName>> = BTreeMap::new();
            for (node, known) in &self.known {
                for other in &known.links {
                    edges.entry(node).or_default().push(other);
                    edges.entry(other).or_default().push(node);
                }
            }
            let one = |node: &NodeName| edges.get(node).cloned().unwrap_or_default();
            walk(me, &mut first, queue, one);
        }
        let next = first.into_iter().filter(|(node, by)| node != by);
        let next = next.map(|(node, by)| (node.clone(), by.clone())).collect();
        self.ways = Arc::new(Ways { next, reachable });
    }

    fn speaks_of(&self, node: &NodeName, other: &NodeName) -> bool {
        self.known.get(node).is_some_and(|known| known.links.contains(other))
    }
}

/// Goes on from those in the queue over `links`; gives all in the order of their distance.
fn walk<'c>(
    me: &NodeName,
    first: &mut BTreeMap<&'c NodeName, &'c NodeName>,
    mut queue: VecDeque<&'c NodeName>,
    links: impl Fn(&NodeName) -> Vec<&'c NodeName>,
) -> VecDeque<&'c NodeName> {
    let mut near = VecDeque::new();
    while let Some(node) = queue.pop_front() {
        near.push_back(node);
        let Some(by) = first.get(node).copied() else { continue };
        for next in links(node).into_iter().filter(|next| *next != me) {
            if !first.contains_key(next) {
                first.insert(next, by);
                queue.push_back(next);
            }
        }
    }
    near
}
