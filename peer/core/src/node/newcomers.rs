//! Newcomers and whoever introduces them: shares, budgets, and the role `rendezvous`.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::time::Now;

use super::Node;
use crate::action::Way;
use crate::limits::{INTRODUCTION_MS, LINKS_MAX, RENDEZVOUS_RESERVE, RENDEZVOUS_REST_MS};
use crate::links::{Direction, Link, LinkId};
use crate::memory::RENDEZVOUS;

impl Node {
    /// A link came about: who dials us answers for itself, and an address that we dialled is good.
    pub(super) fn note_way(&mut self, node: &NodeName, direction: Direction) {
        match direction {
            Direction::In => self.introducers.came(node),
            Direction::Out => {
                let known = self.dialling.iter().find(|(name, _)| *name == node);
                let Some((_, known)) = known else { return };
                if let Some(address) = &known.dialled {
                    self.introducers.proved(node, address, &known.addresses);
                }
            }
        }
    }

    /// How many links we dialled, or are dialling, because of each introducer.
    pub(super) fn supplied(&self) -> BTreeMap<NodeName, usize> {
        let mut supplied = BTreeMap::new();
        let links = self.links.iter().filter(|(_, link)| link.direction == Direction::Out);
        let linked = links.map(|(_, link)| link.member.node());
        let dialled = self.dialling.iter().filter(|(_, known)| known.is_being_dialled());
        for node in linked.chain(dialled.map(|(node, _)| node)) {
            if let Some(by) = self.introducers.of(node) {
                *supplied.entry(by.clone()).or_default() += 1;
            }
        }
        supplied
    }

    /// When room runs short, a link that nobody wants gives way. A rendezvous goes further: whoever
    /// has been there longest knows the others by now and gives way, with a goodbye.
    pub(super) fn make_room(&mut self, now: Now) {
        let short = self.links.members() + RENDEZVOUS_RESERVE >= LINKS_MAX;
        if !short || self.close_idle(now) {
            return;
        }
        if !self.settings.roles.iter().any(|role| role.as_str() == RENDEZVOUS) {
            return;
        }
        let introduced = |link: &Link| {
            link.ready
                && link.direction == Direction::In
                && !link.is_visitor()
                && !has_role(link)
                && now.wall.ms_since(link.since) >= INTRODUCTION_MS
        };
        let links = self.links.iter().filter(|(_, link)| introduced(link));
        let oldest = links.min_by_key(|(_, link)| link.since).map(|(id, _)| id);
        if let Some(oldest) = oldest {
            self.end(oldest, Way::Close, "introduced; it makes room for a newcomer", now);
        }
    }

    /// The other side said goodbye. A rendezvous may mean: you know the others now.
    pub(super) fn take_leave(&mut self, link: LinkId, now: Now) {
        let rendezvous = self.links.get(link).filter(|link| has_role(link));
        let node = rendezvous.map(|link| link.member.node().clone());
        self.end(link, Way::Close, "it said goodbye", now);
        if let Some(node) = node.filter(|_| self.links.members() > 0) {
            let rest = self.jitter.around(RENDEZVOUS_REST_MS);
            self.dialling.defer(&node, now.tick.plus_ms(rest));
        }
    }
}

fn has_role(link: &Link) -> bool {
    link.presence.roles.iter().any(|role| role.as_str() == RENDEZVOUS)
}
