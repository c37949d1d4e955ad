//! Signed time statements: once a minute ours goes to all links, and what comes is verified, given
//! to the keeper and passed on a little.
//!
//! A node with two faces tells each neighbour another time; nobody sees that who hears it alone. So
//! what a neighbour says of its own clock is passed on to two others, in turn: within minutes
//! everybody has compared everything.
//!
//! **Invariant:** nothing is passed on twice, or further than one step; a link costs so many
//! verifications a minute and no more.

use std::collections::{BTreeMap, VecDeque};

use peer_core::{Class, LinkId};
use shared::id::sha256;
use shared::shown::{Shown, SignedShown};
use shared::time::{Now, Tick};
use shared::wire::Body;

use super::driver::Driver;
use super::fabric::Fabric;
use crate::limits::{SHOWN_MS, SHOWN_PASSED_ON, SHOWN_PER_LINK, SHOWN_SEEN_MAX};
use crate::time::Ordered;

/// What is remembered of statements.
#[derive(Debug, Default)]
pub(super) struct Sayings {
    sequence: u64,
    next: Tick,
    seen: VecDeque<[u8; 32]>,
    /// How many each link brought in this minute.
    brought: BTreeMap<LinkId, u32>,
    turn: usize,
}

impl Sayings {
    /// Whether a minute has passed; begins another one then.
    fn is_due(&mut self, now: Tick) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now.plus_ms(SHOWN_MS);
            self.brought.clear();
        }
        due
    }

    /// Whether what a link brought is worth a look: it is new, and the link has brought few.
    fn wants(&mut self, link: LinkId, bytes: &[u8]) -> bool {
        let hash = sha256(bytes);
        let brought = self.brought.entry(link).or_default();
        if *brought >= SHOWN_PER_LINK || self.seen.contains(&hash) {
            return false;
        }
        *brought += 1;
        if self.seen.len() >= SHOWN_SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(hash);
        true
    }

    /// To whom of these something is passed on: each gets its turn.
    fn next_few(&mut self, others: &[LinkId]) -> Vec<LinkId> {
        self.turn = self.turn.wrapping_add(SHOWN_PASSED_ON);
        let few = others.iter().cycle().skip(self.turn.checked_rem(others.len()).unwrap_or(0));
        few.take(SHOWN_PASSED_ON.min(others.len())).copied().collect()
    }
}

impl<F: Fabric> Driver<F> {
    /// Says what our clock shows, once a minute, if it rests on something.
    pub(super) fn look_at_sayings(&mut self, now: Now) {
        if !self.timing.sayings.is_due(now.tick) {
            return;
        }
        self.timing.sayings.sequence += 1;
        let sequence = self.timing.sayings.sequence;
        let node = self.reloader.bundle.config.node.clone();
        let Some(shown) = self.timing.kept.statement(node, self.node.instance(), sequence) else {
            return;
        };
        let Some(bytes) = self.sign_shown(&shown) else { return };
        let frame = Body::Shown(bytes).to_frame();
        for view in self.node.links() {
            self.send(view.id, Class::Control, frame.clone());
        }
    }

    fn sign_shown(&self, shown: &Shown) -> Option<Vec<u8>> {
        let bundle = &self.reloader.bundle;
        let chain: Vec<&[u8]> = bundle.identity.chain.iter().map(Vec::as_slice).collect();
        shown.sign(&bundle.config.network, &bundle.identity.key, &chain).ok()
    }

    /// Somebody said what a clock showed. What does not verify here was perhaps good where it came
    /// from: it is left alone, and its bringer too.
    pub(super) fn hear_shown(&mut self, link: LinkId, bytes: Vec<u8>, now: Now) {
        let Some(from) = self.node.links().into_iter().find(|view| view.id == link) else { return };
        let from = &from.node;
        if !self.timing.sayings.wants(link, &bytes) {
            return;
        }
        let bundle = &self.reloader.bundle;
        let network = &bundle.config.network;
        let said = match SignedShown::verify(&bytes, network, &bundle.verifier, now.wall) {
            Ok(said) => said,
            Err(refusal) => {
                tracing::debug!(%from, code = %refusal.code, "a time statement is not believed");
                return;
            }
        };
        // Of a run that nobody knows of it says nothing: who has another one for each neighbour
        // never contradicts himself. After a restart it is heard again in a minute.
        let node = &said.shown.node;
        let alive = self.node.instance_of(node) == Some(said.shown.instance);
        if *node == bundle.config.node || !alive {
            tracing::debug!(%from, %node, "a time statement of ours, or of an unknown run");
            return;
        }
        if said.shown.node == *from {
            let others = self.node.links().into_iter().map(|view| view.id);
            let others: Vec<LinkId> = others.filter(|other| *other != link).collect();
            let frame = Body::Shown(bytes).to_frame();
            for other in self.timing.sayings.next_few(&others) {
                self.send(other, Class::Control, frame.clone());
            }
        }
        self.timing.kept.tell(Ordered::Said(Box::new(said)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_brings_so_many_a_minute_and_nothing_twice() {
        let mut sayings = Sayings::default();
        let (one, other) = (LinkId(1), LinkId(2));
        assert!(sayings.wants(one, b"a") && !sayings.wants(other, b"a"));
        let taken = (0..100_u8).filter(|number| sayings.wants(one, &[*number])).count();
        assert_eq!(taken as u32, SHOWN_PER_LINK - 1);
        assert!(sayings.wants(other, b"b"), "others are not held back");
        assert!(sayings.is_due(Tick::from_ms(0)) && !sayings.is_due(Tick::from_ms(SHOWN_MS - 1)));
        assert!(sayings.wants(one, b"c"), "another minute");
        for number in 0..10_000_u32 {
            sayings.brought.clear();
            sayings.wants(one, &number.to_be_bytes());
        }
        assert_eq!(sayings.seen.len(), SHOWN_SEEN_MAX);
    }

    #[test]
    fn everybody_gets_a_turn() {
        let mut sayings = Sayings::default();
        let others: Vec<LinkId> = (0..5).map(LinkId).collect();
        let mut served = std::collections::BTreeSet::new();
        (0..5).for_each(|_| served.extend(sayings.next_few(&others)));
        assert_eq!(served.len(), 5);
        assert_eq!(sayings.next_few(&others[..1]), [LinkId(0)]);
        assert_eq!(sayings.next_few(&[]), []);
    }
}
