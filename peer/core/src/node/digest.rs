//! Directories in the hall: presences that come, and digests that find what is missing.
//!
//! When a link comes up its dialler sends the sums of its directory; the listener answers with
//! what it holds where they differ, and each sends what the other lacks. Whoever learnt something
//! by it compares with a few others soon: so two halves of a network that meet again become one,
//! link by link, and where nothing is new it costs 2 KiB.
//!
//! A crowded directory, one of a network larger than itself, differs from every other and always
//! will. It sends a sample where it would send sums, and answers sums with a larger one.

use shared::name::NodeName;
use shared::presence::{Presence, SignedPresence};
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::wire::{Body, Spread, StatementId};

use super::Node;
use crate::limits::{
    DIGEST_FANOUT, DIGEST_MISSED_MS, DIGEST_MS, DIGEST_SOON_MS, PRESENCES_PER_FRAME, SAMPLE,
};
use crate::links::{Link, LinkId, is_visitor};

impl Node {
    /// Presences that a digest found missing, or that an older way of asking brought.
    pub(super) fn take_presences(
        &mut self,
        link: LinkId,
        list: &[Vec<u8>],
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(from) = self.links.get(link).map(|link| link.member.node().clone()) else {
            return Ok(());
        };
        let mut news = false;
        for bytes in list {
            let malformed = || Refusal::new(Code::Malformed, "an unreadable presence");
            let said = SignedPresence::peek(bytes).ok_or_else(malformed)?;
            // What a node says of itself, it says to everybody.
            let missed = said.node != from && now.wall.ms_since(said.at) >= DIGEST_MISSED_MS;
            news |= self.take_presence(bytes, &from, now) && missed;
        }
        if news && !self.directory.is_crowded() {
            let soon = now.tick.plus_ms(DIGEST_SOON_MS);
            self.digest_due = self.digest_due.min(soon);
            self.digest_news = true;
        }
        self.dial_due(now);
        Ok(())
    }

    /// One presence, by whatever way; says whether it was news. One that does not verify is
    /// dropped, not punished: its node may just have been revoked, and the messenger may not know.
    pub(super) fn take_presence(&mut self, bytes: &[u8], from: &NodeName, now: Now) -> bool {
        if self.directory.has(bytes) {
            return false;
        }
        let Some(said) = SignedPresence::peek(bytes) else { return false };
        if said.node == self.settings.node || !self.directory.wants(&said) {
            self.suspect(bytes, &said, now);
            return false;
        }
        let network = &self.settings.network;
        let signed = SignedPresence::verify(bytes, network, &self.verifier, now.wall);
        let signed = signed.ok().filter(|signed| !is_visitor(&signed.member, &signed.presence));
        signed.is_some_and(|signed| self.learn(signed, from, now))
    }

    /// The sums of what we hold, or a sample of it if others cannot hold the same.
    pub(super) fn send_digest(&mut self, link: LinkId, now: Now) {
        if self.directory.is_crowded() {
            return self.send_sample(link, SAMPLE, now);
        }
        let digest = self.directory.digest();
        self.send(link, &Body::Spread(Spread::Digest(digest)));
    }

    pub(super) fn take_spread(
        &mut self,
        link: LinkId,
        spread: Spread,
        now: Now,
    ) -> Result<(), Refusal> {
        let visitor = self.links.get(link).is_some_and(Link::is_visitor);
        if visitor {
            return Err(Refusal::new(Code::Malformed, "the authority keeps no directory"));
        }
        match spread {
            Spread::Gossip(frame) => {
                let malformed = || Refusal::new(Code::Malformed, "an unreadable broadcast");
                self.take_gossip(link, &frame, now).ok_or_else(malformed)?;
            }
            Spread::Digest(sums) => self.take_digest(link, &sums, now),
            Spread::Holds(lists) => self.take_holds(link, &lists),
            Spread::Lacks(ids) => {
                let nodes = self.directory.nodes_of(&ids);
                self.send_lists(link, self.directory.lists_of(&nodes));
            }
            Spread::Wanted(wanted) => self.take_wanted(link, wanted),
        }
        Ok(())
    }

    /// Some of those we know, by our own dice. What was signed too long ago is not
    /// passed on: a node that is gone would otherwise never be forgotten by all.
    fn send_sample(&mut self, link: LinkId, count: usize, now: Now) {
        let dice = self.jitter.below(u64::MAX);
        let silence_ms = i64::try_from(self.forget_ms()).unwrap_or(i64::MAX);
        let fresh = |said: &Presence| now.wall.ms_since(said.at) < silence_ms;
        let sample = self.directory.sample(dice, count, fresh);
        self.send_lists(link, vec![sample]);
    }

    fn take_digest(&mut self, link: LinkId, sums: &[u64], now: Now) {
        if self.directory.is_crowded() {
            return self.send_sample(link, PRESENCES_PER_FRAME, now);
        }
        let differing = self.directory.differing(sums);
        let mut lists: Vec<(u8, Vec<StatementId>)> = Vec::new();
        let mut count = 0;
        for (sum, ids) in differing {
            // A sum costs three octets more than its numbers; a frame takes this many safely.
            count += ids.len() + 1;
            if count > shared::limits::SPREAD_IDS_MAX {
                let full = std::mem::take(&mut lists);
                self.send(link, &Body::Spread(Spread::Holds(full)));
                count = ids.len() + 1;
            }
            lists.push((sum, ids));
        }
        if !lists.is_empty() {
            self.send(link, &Body::Spread(Spread::Holds(lists)));
        }
    }

    fn take_holds(&mut self, link: LinkId, theirs: &[(u8, Vec<StatementId>)]) {
        let (mut lacked, ours) = self.directory.compare(theirs);
        lacked.truncate(self.directory.room());
        for ids in lacked.chunks(shared::limits::SPREAD_IDS_MAX) {
            self.send(link, &Body::Spread(Spread::Lacks(ids.to_vec())));
        }
        self.send_lists(link, self.directory.lists_of(&ours));
    }

    /// To the authority: those whose acknowledgement it should wait for. In a full mesh that is
    /// whoever is linked, in a large network whoever is known.
    pub(super) fn send_expected(&mut self, link: LinkId) {
        let (links, partial) = (&self.links, self.topology.is_partial());
        let linked = |node: &NodeName| links.member_link(node).is_some_and(|(_, l)| l.ready);
        let lists = self.directory.lists(|node| partial || linked(node));
        let count = lists.len();
        for (index, list) in lists.into_iter().enumerate() {
            self.send(link, &Body::Presences(list, index + 1 == count));
        }
    }

    fn send_lists(&mut self, link: LinkId, lists: Vec<Vec<Vec<u8>>>) {
        for list in lists.into_iter().filter(|list| !list.is_empty()) {
            self.send(link, &Body::Presences(list, false));
        }
    }

    /// The part of the regular look that is about the directory.
    pub(super) fn look_at_directory(&mut self, now: Now) {
        if now.tick >= self.digest_due {
            let fanout = if self.digest_news { DIGEST_FANOUT } else { 1 };
            self.digest_news = false;
            self.digest_due = now.tick.plus_ms(self.jitter.around(DIGEST_MS));
            for link in self.some_links(fanout) {
                self.send_digest(link, now);
            }
        }
        self.crowd_out();
        let (links, silence) = (&self.links, self.forget_ms());
        let linked = |node: &NodeName| links.member_link(node).is_some();
        for node in self.directory.forget(now.tick, silence, linked) {
            self.lose_sight(&node);
        }
    }

    /// A directory over its bound lets go whom we need least.
    pub(super) fn crowd_out(&mut self) {
        let (links, topology) = (&self.links, &self.topology);
        let needed = |node: &NodeName| {
            links.member_link(node).is_some() || topology.is_partial() && topology.wants(node)
        };
        let mut gone = Vec::new();
        while let Some(node) = self.directory.crowd_out(needed) {
            gone.push(node);
        }
        for node in gone {
            self.lose_sight(&node);
        }
    }

    /// It is not in the directory any more, and not for what it did.
    fn lose_sight(&mut self, node: &NodeName) {
        self.topology.give_up(node);
        if !self.dialling.is_configured(node) {
            self.dialling.forget(node);
            self.introducers.forget(node);
        }
    }

    /// Some members' links by our own dice, wanted ones first.
    fn some_links(&mut self, count: usize) -> Vec<LinkId> {
        let members = self.links.iter().filter(|(_, l)| l.ready && !l.is_visitor());
        let mut all: Vec<(bool, LinkId)> = members.map(|(id, l)| (!l.wanted, id)).collect();
        let dice = self.jitter.below(u64::MAX);
        all.sort_by_key(|(surplus, id)| (*surplus, id.0.wrapping_mul(dice | 1)));
        all.into_iter().take(count).map(|(_, id)| id).collect()
    }
}
