//! What a node remembers of others from run to run: where the network is, should it lose it.
//!
//! The directory forgets whoever is silent; this does not, because a node that was off or cut off
//! for a week must find its network again although the address it was configured with is gone.
//! What is remembered tells only where to dial: it is not passed on.
//!
//! **Invariant:** only presences that were verified in this run are kept, never one of a barred
//! node, at most [`MEMORY_MAX`].

use std::collections::BTreeMap;

use shared::feed::ChainIds;
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::time::{Tick, Timestamp};

use crate::limits::{MEMORY_FRESH_MS, MEMORY_MAX, MEMORY_SAVE_MS, MEMORY_SETTLE_MS};

/// The role of a node that introduces newcomers.
pub(crate) const RENDEZVOUS: &str = "rendezvous";

#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: BTreeMap<NodeName, SignedPresence>,
    /// When what changed is to be saved.
    save_due: Option<Tick>,
    saved: Option<Tick>,
}

impl Memory {
    /// Keeps a verified presence. A mere repetition is not worth a write.
    pub(crate) fn keep(&mut self, signed: &SignedPresence, now: Tick) {
        let presence = &signed.presence;
        if presence.addresses.is_empty() {
            return;
        }
        if let Some(old) = self.known.get(&presence.node) {
            let aged = presence.at.ms_since(old.presence.at) >= MEMORY_FRESH_MS;
            let moved = old.presence.addresses != presence.addresses;
            let worth = aged || moved || old.presence.roles != presence.roles;
            if !worth || presence.at < old.presence.at {
                return;
            }
        } else if !self.make_room(is_rendezvous(signed), presence.at) {
            return;
        }
        self.known.insert(presence.node.clone(), signed.clone());
        self.changed(now);
    }

    /// Forgets whoever is not in any more, because the feed bars it; says whom.
    pub(crate) fn retain(&mut self, is_in: impl Fn(&ChainIds) -> bool, now: Tick) -> Vec<NodeName> {
        let out = self.known.iter().filter(|(_, signed)| !is_in(&signed.member.ids));
        let out: Vec<NodeName> = out.map(|(node, _)| node.clone()).collect();
        for node in &out {
            self.known.remove(node);
        }
        if !out.is_empty() {
            self.changed(now);
        }
        out
    }

    /// Whether it is time to save; then it is taken for saved.
    pub(crate) fn save_due(&mut self, now: Tick) -> bool {
        let due = self.save_due.is_some_and(|due| now >= due);
        if due {
            (self.save_due, self.saved) = (None, Some(now));
        }
        due
    }

    /// The statements, to be saved.
    pub(crate) fn statements(&self) -> Vec<Vec<u8>> {
        self.known.values().map(|signed| signed.bytes.to_vec()).collect()
    }

    /// Everybody with their addresses, and whether it introduces newcomers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &[String], bool)> {
        let view = |(node, signed): (_, _)| -> (&NodeName, &[String], bool) {
            let signed: &SignedPresence = signed;
            (node, &signed.presence.addresses, is_rendezvous(signed))
        };
        self.known.iter().map(view)
    }

    /// A burst is written once, and not much oftener than once a minute.
    fn changed(&mut self, now: Tick) {
        let soon = now.plus_ms(MEMORY_SETTLE_MS);
        let earliest = self.saved.map_or(soon, |saved| saved.plus_ms(MEMORY_SAVE_MS));
        self.save_due.get_or_insert(soon.max(earliest));
    }

    /// Room for one more: the longest unheard gives way, those that introduce newcomers last.
    fn make_room(&mut self, rendezvous: bool, at: Timestamp) -> bool {
        if self.known.len() < MEMORY_MAX {
            return true;
        }
        let rank = |signed: &SignedPresence| (is_rendezvous(signed), signed.presence.at);
        let least = self.known.iter().min_by_key(|(_, signed)| rank(signed));
        let least = least.filter(|(_, signed)| rank(signed) < (rendezvous, at));
        let least = least.map(|(node, _)| node.clone());
        least.is_some_and(|node| self.known.remove(&node).is_some())
    }
}

fn is_rendezvous(signed: &SignedPresence) -> bool {
    signed.presence.roles.iter().any(|role| role.as_str() == RENDEZVOUS)
}
