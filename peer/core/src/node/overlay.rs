//! The overlay in the hall: broadcast, which links are wanted, whom a large network keeps.

use bytes::Bytes;
use shared::name::NodeName;
use shared::time::Now;
use shared::wire::{Body, Spread};

use super::Node;
use crate::action::Way;
use crate::gossip::Wish;
use crate::limits::{
    ANCHOR_MS, FORGET_PRESENCES, GOSSIP_WAITING_MAX, GOSSIP_WAITING_NODES_MAX, PRESENCE_EACH_MS,
    PRESENCE_MAX_MS, PRESENCE_MS, SURPLUS_MS,
};
use crate::links::{LinkId, RELAY_ROLE};
use crate::whom::Whom;

/// What a broadcast holds, by its first octet.
const PRESENCE: u8 = 0;

impl Node {
    /// Our presence or somebody's, to everybody.
    pub(super) fn broadcast_presence(&mut self, statement: &[u8], now: Now) {
        let content = [&[PRESENCE], statement].concat();
        self.gossip.broadcast(Bytes::from(content), now.tick);
        self.grant_wishes(now);
    }

    /// Octets of the broadcast machine came on a link.
    pub(super) fn take_gossip(&mut self, link: LinkId, frame: &[u8], now: Now) -> Option<()> {
        let from = Whom::of(self.links.get(link)?.member.node());
        self.gossip.set_carries(!self.directory.is_crowded());
        self.gossip.handle_frame(from, frame, now.tick)?;
        self.grant_wishes(now);
        Some(())
    }

    pub(super) fn grant_wishes(&mut self, now: Now) {
        while let Some(wish) = self.gossip.poll_wish() {
            match wish {
                Wish::Send(to, frame) => self.send_gossip(to, frame, now),
                Wish::Keep(whom) => {
                    if let Some(node) = self.directory.name(whom).cloned() {
                        self.topology.keep(node.clone());
                        self.rewant(&node);
                    }
                }
                Wish::Release(whom) => {
                    if let Some(node) = self.directory.name(whom).cloned() {
                        self.topology.release(&node);
                        self.rewant(&node);
                    }
                }
                Wish::Heard(from, content) => self.take_broadcast(from, &content, now),
            }
        }
    }

    fn take_broadcast(&mut self, from: Whom, content: &[u8], now: Now) {
        let Some(from) = self.directory.name(from).cloned() else { return };
        if let Some((&PRESENCE, statement)) = content.split_first() {
            self.take_presence(statement, &from, now);
            self.dial_due(now);
        }
    }

    /// To a linked node at once; to one that is not, when there is a link.
    fn send_gossip(&mut self, to: Whom, frame: Vec<u8>, now: Now) {
        let Some(node) = self.directory.name(to).cloned() else {
            return self.gossip.handle_gone(to, now.tick);
        };
        let body = Body::Spread(Spread::Gossip(frame));
        let linked = self.links.member_link(&node).filter(|(_, link)| link.ready);
        if let Some((link, _)) = linked {
            return self.send(link, &body);
        }
        let room =
            self.waiting.contains_key(&node) || self.waiting.len() < GOSSIP_WAITING_NODES_MAX;
        let out = self.barred || self.is_out(&node);
        let queue = self.waiting.entry(node.clone()).or_default();
        if !room || out || queue.len() >= GOSSIP_WAITING_MAX {
            self.waiting.remove(&node);
            return self.gossip.handle_gone(to, now.tick);
        }
        queue.push(body);
        // For as long as a talk: whoever becomes a neighbour is kept when the machine says so.
        self.topology.talk(&node, now.tick);
        self.rewant(&node);
        self.dialling.encourage_once(&node, now.tick);
    }

    /// A link is ready: what waited for it goes out, and it may bring us into the overlay.
    pub(super) fn join_overlay(&mut self, link: LinkId, node: &NodeName, now: Now) {
        for body in self.waiting.remove(node).unwrap_or_default() {
            self.send(link, &body);
        }
        if !self.topology.wants(node) {
            self.send(link, &Body::Spread(Spread::Wanted(false)));
        }
        self.gossip.handle_link(Whom::of(node), now.tick);
        self.grant_wishes(now);
        self.unpark(node, now);
    }

    /// No link any more, or none came about.
    pub(super) fn leave_overlay(&mut self, node: &NodeName, now: Now) {
        self.waiting.remove(node);
        self.topology.give_up(node);
        self.gossip.handle_gone(Whom::of(node), now.tick);
        self.grant_wishes(now);
        self.rewant(node);
    }

    /// The other side wants the link kept, or does not care.
    pub(super) fn take_wanted(&mut self, link: LinkId, wanted: bool) {
        if let Some(entry) = self.links.get_mut(link) {
            entry.theirs_wanted = wanted;
        }
    }

    /// Something is said to a node, or it says something: the link stays for a while.
    pub(super) fn talk_with(&mut self, node: &NodeName, now: Now) {
        if self.topology.is_partial() {
            let over = self.topology.talk(node, now.tick);
            self.rewant(node);
            if let Some(over) = over {
                self.rewant(&over);
            }
        }
    }

    /// Whether we want a link with this node may have changed: the dialler and, if there is a link,
    /// its other side are told.
    fn rewant(&mut self, node: &NodeName) {
        let wanted = self.topology.wants(node) || self.is_way_in(node);
        self.dialling.set_wanted(node, wanted);
        let Some((link, entry)) = self.links.member_link(node) else { return };
        if entry.wanted != wanted {
            let ready = entry.ready;
            if let Some(entry) = self.links.get_mut(link) {
                entry.wanted = wanted;
            }
            if ready {
                self.send(link, &Body::Spread(Spread::Wanted(wanted)));
            }
        }
    }

    /// Whoever was configured is wanted as long as we have no neighbour: it is the way in.
    fn is_way_in(&self, node: &NodeName) -> bool {
        !self.gossip.is_joined() && self.dialling.is_configured(node)
    }

    /// The part of the regular look that is about the overlay.
    pub(super) fn look_at_overlay(&mut self, now: Now) {
        if self.topology.resize(self.directory.len() + 1) {
            self.dialling.set_eager(!self.topology.is_partial());
            for node in self.dialling.names() {
                self.rewant(&node);
            }
        }
        for node in self.post.views().into_iter().map(|view| view.stream.to) {
            self.talk_with(&node, now);
        }
        for node in self.topology.fallen_silent(now.tick) {
            self.rewant(&node);
        }
        if !self.gossip.is_joined() {
            self.seek_neighbour(now);
        }
        let (dice, wait_ms) = (self.jitter.below(u64::MAX), self.jitter.around(ANCHOR_MS));
        if let Some(node) = self.topology.turn(dice, wait_ms, now.tick) {
            self.rewant(&node);
        }
        if self.topology.lacks_anchor() {
            self.draw_anchor();
        }
        self.close_surplus(now);
    }

    /// Anybody we have a link with may bring us in; without one, whoever was configured.
    fn seek_neighbour(&mut self, now: Now) {
        let linked = self.links.iter().filter(|(_, l)| l.ready && !l.is_visitor());
        let linked: Vec<Whom> = linked.map(|(_, link)| Whom::of(link.member.node())).collect();
        match usize::try_from(self.jitter.below(linked.len() as u64)).map(|at| linked.get(at)) {
            Ok(Some(whom)) => self.gossip.handle_link(*whom, now.tick),
            _ => {
                for node in self.dialling.configured() {
                    self.rewant(&node);
                }
            }
        }
        self.grant_wishes(now);
    }

    /// One of the directory, by our own dice. A node that cannot be dialled looks for relays first:
    /// through them it is reached.
    fn draw_anchor(&mut self) {
        let dice = self.jitter.below(u64::MAX);
        let relay = if self.settings.addresses.is_empty() {
            let has_role = |signed: &shared::presence::SignedPresence| {
                signed.member.cert.attributes.has_role(RELAY_ROLE)
            };
            let relays = self.directory.iter().filter(|(_, signed, _)| has_role(signed));
            let relays: Vec<&NodeName> = relays.map(|(node, ..)| node).collect();
            let count = relays.len().max(1) as u64;
            usize::try_from(dice % count).ok().and_then(|at| relays.get(at).copied())
        } else {
            None
        };
        let drawn = relay.or_else(|| self.directory.pick(dice)).cloned();
        if let Some(node) = drawn.filter(|node| !self.topology.wants(node) && !self.is_out(node)) {
            self.topology.anchor(node.clone());
            self.rewant(&node);
        }
    }

    /// Links that neither side wants any more go, the rest stays.
    fn close_surplus(&mut self, now: Now) {
        let surplus = |link: &crate::links::Link| {
            let idle = now.tick.ms_since(link.opened) >= SURPLUS_MS;
            link.ready && !link.wanted && !link.theirs_wanted && idle && !link.is_visitor()
        };
        let surplus = self.links.iter().filter(|(_, link)| surplus(link));
        for link in surplus.map(|(id, _)| id).collect::<Vec<_>>() {
            self.end(link, Way::Close, "nobody needs it now", now);
        }
    }

    /// Makes room for a newcomer: the oldest link that neither side wants gives way, if there is
    /// one.
    pub(super) fn close_idle(&mut self, now: Now) -> bool {
        let idle = self.links.iter().filter(|(_, link)| {
            link.ready && !link.wanted && !link.theirs_wanted && !link.is_visitor()
        });
        let oldest = idle.min_by_key(|(_, link)| link.opened).map(|(id, _)| id);
        if let Some(oldest) = oldest {
            self.end(oldest, Way::Close, "a newcomer needs its place", now);
        }
        oldest.is_some()
    }

    /// How long a presence stands before it is signed again.
    pub(super) fn presence_ms(&self) -> u64 {
        let known = u64::try_from(self.directory.len()).unwrap_or(u64::MAX);
        known.saturating_mul(PRESENCE_EACH_MS).clamp(PRESENCE_MS, PRESENCE_MAX_MS)
    }

    /// How long a node may be silent before it is forgotten. It may know more nodes than we do, and
    /// so speak more seldom than we: twice as many are allowed for.
    pub(super) fn forget_ms(&self) -> u64 {
        (self.presence_ms() * 2).min(PRESENCE_MAX_MS) * FORGET_PRESENCES
    }
}
