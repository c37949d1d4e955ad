//! What others have signed about their clocks: the last few of each, to see who has two faces.
//!
//! **Invariant:** of a node that is no member any more nothing is kept, and no more than
//! `SPEAKERS_MAX` nodes are remembered; who speaks last replaces nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::name::NodeName;
use shared::shown::{Contradiction, Proof, SignedShown};

use crate::limits::{SPEAKERS_MAX, STATEMENTS_MAX};

/// The memory.
#[derive(Debug, Default)]
pub struct Statements {
    of: BTreeMap<NodeName, VecDeque<SignedShown>>,
    /// Those against whom a proof was given out, and of what.
    told: BTreeSet<(NodeName, Contradiction)>,
}

impl Statements {
    /// Takes a verified statement, from whomever it came; the proof, if it is the first
    /// of its kind against its node.
    pub fn take(&mut self, said: SignedShown) -> Option<Proof> {
        let node = said.shown.node.clone();
        if !self.of.contains_key(&node) && self.of.len() >= SPEAKERS_MAX {
            return None;
        }
        let known = self.of.entry(node.clone()).or_default();
        let proof = known.iter().find_map(|before| Proof::of(before, &said));
        if known.iter().all(|before| before.shown != said.shown) {
            if known.len() >= STATEMENTS_MAX {
                known.pop_front();
            }
            known.push_back(said);
        }
        proof.filter(|proof| self.told.insert((node, proof.shows)))
    }

    /// Forgets whoever is not a member any more.
    pub fn keep(&mut self, members: impl Fn(&NodeName) -> bool) {
        self.of.retain(|node, _| members(node));
        self.told.retain(|(node, _)| members(node));
    }
}
