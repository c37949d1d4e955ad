//! The directory: every presence known, newest first to win, forgotten after silence.
//!
//! Two directories are compared by 256 sums (exclusive or) of the numbers of their statements, by
//! node: equal ones say so in 2 KiB, unequal ones name only what is in the sums that differ.
//!
//! A network may be larger than the directory. A full one is *crowded*: it keeps those whose rank
//! is lowest, a number drawn from the node's name and our own seed. So everybody holds a sample of
//! his own that no order of arrival and no number of repetitions can bias (Bortnikov and others,
//! Brahms, 2009). Crowded directories have nothing to compare; samples are exchanged instead.
//!
//! **Invariant:** only presences that were verified are kept, and never one of a barred node.
//! **Invariant:** the sums are those of the statements held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::id::sha256;
use shared::name::{Label, NodeName};
use shared::presence::{Presence, SignedPresence};
use shared::time::Tick;
use shared::wire::{DIGEST_SUMS, StatementId};

use crate::limits::{PRESENCES_FRAME_BYTES, PRESENCES_PER_FRAME};
use crate::whom::Whom;

#[derive(Debug)]
struct Known {
    signed: SignedPresence,
    heard: Tick,
    id: StatementId,
    whom: Whom,
    rank: u64,
}

#[derive(Debug)]
pub(crate) struct Directory {
    bound: usize,
    seed: u64,
    crowded: bool,
    /// Nobody was heard of before this.
    silent_since: Tick,
    by_rank: BTreeMap<u64, NodeName>,
    known: BTreeMap<NodeName, Known>,
    numbers: BTreeMap<Whom, NodeName>,
    by_id: BTreeMap<StatementId, NodeName>,
    sums: Vec<u64>,
}

impl Directory {
    pub(crate) fn new(bound: usize, seed: u64) -> Self {
        let (known, numbers, by_id, by_rank) = Default::default();
        let (crowded, silent_since) = (false, Tick::from_ms(0));
        let sums = vec![0; DIGEST_SUMS];
        Self { bound, seed, crowded, silent_since, by_rank, known, numbers, by_id, sums }
    }

    /// Whether there are more nodes than this holds: it was full, and still is by three quarters.
    pub(crate) const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// How many more it would take from anybody.
    pub(crate) fn room(&self) -> usize {
        self.bound.saturating_sub(self.known.len())
    }

    /// Whether exactly this statement is known: most of what arrives is, and is then not even
    /// parsed.
    pub(crate) fn has(&self, statement: &[u8]) -> bool {
        let holder = self.by_id.get(&id_of(statement)).and_then(|node| self.known.get(node));
        holder.is_some_and(|known| *known.signed.bytes == *statement)
    }

    /// Whether a presence is newer than what is known, so that verifying it is worth the work.
    pub(crate) fn wants(&self, presence: &Presence) -> bool {
        match self.known.get(&presence.node) {
            Some(known) => presence.supersedes(&known.signed.presence),
            None => self.has_room_for(&presence.node),
        }
    }

    /// Whether there is room, or somebody of a higher rank who would give way.
    fn has_room_for(&self, node: &NodeName) -> bool {
        let ranks_lower = |(worst, _): (&u64, _)| Whom::of(node).rank(self.seed) < *worst;
        self.room() > 0 || self.by_rank.last_key_value().is_some_and(ranks_lower)
    }

    /// Whether a presence and what is known cannot both be the one run of an uncopied bundle.
    pub(crate) fn contradicts(&self, presence: &Presence) -> bool {
        let known = self.known.get(&presence.node);
        known.is_some_and(|known| presence.contradicts(&known.signed.presence))
    }

    /// What is known of a node, as it was signed.
    pub(crate) fn signed(&self, node: &NodeName) -> Option<&SignedPresence> {
        self.known.get(node).map(|known| &known.signed)
    }

    /// Whose number this is.
    pub(crate) fn name(&self, whom: Whom) -> Option<&NodeName> {
        self.numbers.get(&whom)
    }

    /// How many nodes are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// One of the known nodes, by a random number.
    pub(crate) fn pick(&self, random: u64) -> Option<&NodeName> {
        let bound = u64::try_from(self.known.len()).ok().filter(|bound| *bound > 0)?;
        self.known.keys().nth(usize::try_from(random % bound).ok()?)
    }

    /// Everybody, with the time each was last heard of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &SignedPresence, Tick)> {
        self.known.iter().map(|(node, known)| (node, &known.signed, known.heard))
    }

    /// Keeps a verified presence if it is newer and there is room; for one whose node is `linked`
    /// there always is.
    pub(crate) fn keep(&mut self, signed: SignedPresence, linked: bool, now: Tick) -> bool {
        let node = signed.presence.node.clone();
        let welcome = linked && !self.known.contains_key(&node);
        if !welcome && !self.wants(&signed.presence) {
            return false;
        }
        self.take_out(&node);
        let (id, whom) = (id_of(&signed.bytes), Whom::of(&node));
        let rank = whom.rank(self.seed);
        self.add_up(whom, id);
        self.numbers.insert(whom, node.clone());
        self.by_id.insert(id, node.clone());
        self.by_rank.insert(rank, node.clone());
        self.known.insert(node, Known { signed, heard: now, id, whom, rank });
        self.crowded |= self.known.len() >= self.bound;
        true
    }

    /// Over the bound, whoever has the highest rank and is not needed gives way; says who.
    pub(crate) fn crowd_out(&mut self, needed: impl Fn(&NodeName) -> bool) -> Option<NodeName> {
        if self.known.len() <= self.bound {
            return None;
        }
        let gone = self.by_rank.values().rev().find(|node| !needed(node)).cloned()?;
        self.remove(&gone);
        Some(gone)
    }

    pub(crate) fn remove(&mut self, node: &NodeName) {
        self.take_out(node);
        self.crowded &= self.known.len() > self.bound / 4 * 3;
    }

    fn take_out(&mut self, node: &NodeName) {
        if let Some(gone) = self.known.remove(node) {
            self.add_up(gone.whom, gone.id);
            self.numbers.remove(&gone.whom);
            self.by_id.remove(&gone.id);
            self.by_rank.remove(&gone.rank);
        }
    }

    /// Some of those whom `fresh` accepts, by a random number.
    pub(crate) fn sample(
        &self,
        dice: u64,
        count: usize,
        fresh: impl Fn(&Presence) -> bool,
    ) -> Vec<Vec<u8>> {
        let from_there = self.by_id.range(dice..).chain(self.by_id.range(..dice));
        let known = from_there.filter_map(|(_, node)| self.known.get(node));
        let fresh = known.filter(|known| fresh(&known.signed.presence));
        fresh.take(count).map(|known| known.signed.bytes.to_vec()).collect()
    }

    /// Forgets whoever was silent for so long and is not linked; says whom.
    pub(crate) fn forget(
        &mut self,
        now: Tick,
        silence_ms: u64,
        linked: impl Fn(&NodeName) -> bool,
    ) -> Vec<NodeName> {
        if now.ms_since(self.silent_since) < silence_ms {
            return Vec::new();
        }
        let silent = |known: &Known| now.ms_since(known.heard) >= silence_ms;
        let gone: Vec<NodeName> = self
            .known
            .iter()
            .filter(|(node, known)| silent(known) && !linked(node))
            .map(|(node, _)| node.clone())
            .collect();
        for node in &gone {
            self.remove(node);
        }
        self.silent_since = self.known.values().map(|known| known.heard).min().unwrap_or(now);
        gone
    }

    /// The sums over all statements.
    pub(crate) fn digest(&self) -> Vec<u64> {
        self.sums.clone()
    }

    /// The numbers of what is held, by sum, where `theirs` differ.
    pub(crate) fn differing(&self, theirs: &[u64]) -> BTreeMap<u8, Vec<StatementId>> {
        let sums = self.sums.iter().zip(theirs).zip(0..=u8::MAX);
        let differ = sums.filter(|((ours, theirs), _)| ours != theirs);
        let mut lists: BTreeMap<u8, Vec<StatementId>> =
            differ.map(|(_, sum)| (sum, Vec::new())).collect();
        if !lists.is_empty() {
            for known in self.known.values() {
                if let Some(list) = lists.get_mut(&known.whom.sum()) {
                    list.push(known.id);
                }
            }
        }
        lists
    }

    /// Of what the other side holds: the numbers that we lack, and the nodes of ours that it lacks.
    pub(crate) fn compare(
        &self,
        theirs: &[(u8, Vec<StatementId>)],
    ) -> (Vec<StatementId>, BTreeSet<NodeName>) {
        let held: BTreeSet<StatementId> = theirs.iter().flat_map(|(_, ids)| ids).copied().collect();
        let sums: BTreeSet<u8> = theirs.iter().map(|(sum, _)| *sum).collect();
        let lacked = held.iter().filter(|id| !self.by_id.contains_key(id)).copied().collect();
        let ours = self
            .known
            .iter()
            .filter(|(_, known)| sums.contains(&known.whom.sum()) && !held.contains(&known.id));
        (lacked, ours.map(|(node, _)| node.clone()).collect())
    }

    /// The nodes behind numbers, as far as they are known.
    pub(crate) fn nodes_of(&self, ids: &[StatementId]) -> BTreeSet<NodeName> {
        ids.iter().filter_map(|id| self.by_id.get(id).cloned()).collect()
    }

    /// The signed presences of those `of` accepts, in lists that fit a frame each.
    pub(crate) fn lists(&self, of: impl Fn(&NodeName) -> bool) -> Vec<Vec<Vec<u8>>> {
        lists(self.known.iter().filter(|(node, _)| of(node)).map(|(_, known)| known))
    }

    /// The signed presences of these, in lists that fit a frame each.
    pub(crate) fn lists_of(&self, nodes: &BTreeSet<NodeName>) -> Vec<Vec<Vec<u8>>> {
        lists(nodes.iter().filter_map(|node| self.known.get(node)))
    }

    /// Where a node with a role in its certificate says that it can be dialled.
    pub(crate) fn address_of(&self, node: &NodeName, role: Option<&str>) -> Option<String> {
        let signed = &self.known.get(node)?.signed;
        let fit = role.is_none_or(|role| signed.member.cert.attributes.has_role(role));
        signed.presence.addresses.first().filter(|_| fit).cloned()
    }

    /// The nodes of a group, by their certificates; without one, all.
    pub(crate) fn nodes(&self, group: Option<&Label>) -> Vec<NodeName> {
        let is_in = |known: &Known| {
            group.is_none_or(|group| known.signed.member.cert.attributes.groups.contains(group))
        };
        self.known.iter().filter(|(_, known)| is_in(known)).map(|(n, _)| n.clone()).collect()
    }

    pub(crate) fn presences(&self) -> impl Iterator<Item = &Arc<Presence>> {
        self.known.values().map(|known| &known.signed.presence)
    }

    pub(crate) fn chains(&self) -> impl Iterator<Item = (&NodeName, &shared::feed::ChainIds)> {
        self.known.iter().map(|(node, known)| (node, &known.signed.member.ids))
    }

    /// Adds a number to its sum, or takes it away: exclusive or does both.
    fn add_up(&mut self, whom: Whom, id: StatementId) {
        if let Some(sum) = self.sums.get_mut(usize::from(whom.sum())) {
            *sum ^= id;
        }
    }
}

fn id_of(statement: &[u8]) -> StatementId {
    let hash = sha256(statement);
    hash.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

fn lists<'k>(of: impl Iterator<Item = &'k Known>) -> Vec<Vec<Vec<u8>>> {
    let mut lists = vec![Vec::new()];
    let mut bytes = 0;
    for known in of {
        let length = known.signed.bytes.len();
        let full = |list: &Vec<Vec<u8>>| {
            list.len() >= PRESENCES_PER_FRAME || bytes + length > PRESENCES_FRAME_BYTES
        };
        if lists.last().is_some_and(full) {
            lists.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(list) = lists.last_mut() {
            list.push(known.signed.bytes.to_vec());
        }
    }
    lists
}
