//! The directory: every presence known, newest first to win, forgotten after silence.
//!
//! **Invariant:** only presences that were verified are kept, and never one of a barred node.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::{Label, NodeName};
use shared::presence::{Presence, SignedPresence};
use shared::time::Tick;

use crate::limits::{DIRECTORY_MAX, FORGET_MS, PRESENCES_FRAME_BYTES, PRESENCES_PER_FRAME};

#[derive(Debug)]
struct Known {
    signed: SignedPresence,
    heard: Tick,
}

#[derive(Debug, Default)]
pub(crate) struct Directory {
    known: BTreeMap<NodeName, Known>,
    /// The statements themselves: most of what arrives is known to the byte, and is then not even
    /// parsed.
    statements: BTreeSet<Vec<u8>>,
}

impl Directory {
    /// Whether exactly this statement is known.
    pub(crate) fn has(&self, statement: &[u8]) -> bool {
        self.statements.contains(statement)
    }

    /// Whether a presence is newer than what is known, so that verifying it is worth the work.
    pub(crate) fn wants(&self, presence: &Presence) -> bool {
        let older = self.known.get(&presence.node);
        older.is_none_or(|known| presence.supersedes(&known.signed.presence))
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

    /// Everybody, with the time each was last heard of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &SignedPresence, Tick)> {
        self.known.iter().map(|(node, known)| (node, &known.signed, known.heard))
    }

    /// Keeps a verified presence if it is newer and there is room.
    pub(crate) fn keep(&mut self, signed: SignedPresence, now: Tick) -> bool {
        let node = signed.presence.node.clone();
        let room = self.known.len() < DIRECTORY_MAX || self.known.contains_key(&node);
        if !room || !self.wants(&signed.presence) {
            return false;
        }
        self.statements.insert(signed.bytes.clone());
        let old = self.known.insert(node, Known { signed, heard: now });
        if let Some(old) = old {
            self.statements.remove(&old.signed.bytes);
        }
        true
    }

    pub(crate) fn remove(&mut self, node: &NodeName) {
        if let Some(gone) = self.known.remove(node) {
            self.statements.remove(&gone.signed.bytes);
        }
    }

    /// Forgets whoever was silent too long and is not linked; says whom.
    pub(crate) fn forget(
        &mut self,
        now: Tick,
        linked: impl Fn(&NodeName) -> bool,
    ) -> Vec<NodeName> {
        let silent = |known: &Known| now.ms_since(known.heard) >= FORGET_MS;
        let gone: Vec<NodeName> = self
            .known
            .iter()
            .filter(|(node, known)| silent(known) && !linked(node))
            .map(|(node, _)| node.clone())
            .collect();
        for node in &gone {
            self.remove(node);
        }
        gone
    }

    /// The signed presences of those `of` accepts, in lists that fit a frame each.
    pub(crate) fn lists(&self, of: impl Fn(&NodeName) -> bool) -> Vec<Vec<Vec<u8>>> {
        let mut lists = vec![Vec::new()];
        let mut bytes = 0;
        for (_, known) in self.known.iter().filter(|(node, _)| of(node)) {
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
                list.push(known.signed.bytes.clone());
            }
        }
        lists
    }

    /// Where a node with a role in its certificate says that it can be dialled.
    pub(crate) fn address_of(&self, node: &NodeName, role: &str) -> Option<String> {
        let signed = &self.known.get(node)?.signed;
        let fit = signed.member.cert.attributes.has_role(role);
        signed.presence.addresses.first().filter(|_| fit).cloned()
    }

    /// The nodes of a group, by their certificates; without one, all.
    pub(crate) fn nodes(&self, group: Option<&Label>) -> Vec<NodeName> {
        let is_in = |known: &Known| {
            group.is_none_or(|group| known.signed.member.cert.attributes.groups.contains(group))
        };
        self.known.iter().filter(|(_, known)| is_in(known)).map(|(n, _)| n.clone()).collect()
    }

    pub(crate) fn presences(&self) -> impl Iterator<Item = &Presence> {
        self.known.values().map(|known| &known.signed.presence)
    }

    pub(crate) fn chains(&self) -> impl Iterator<Item = (&NodeName, &shared::feed::ChainIds)> {
        self.known.iter().map(|(node, known)| (node, &known.signed.member.ids))
    }
}
