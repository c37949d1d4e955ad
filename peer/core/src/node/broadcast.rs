//! Broadcasts in the hall: for whoever listens now at every node that is linked.
//!
//! The frame is made once and is the same on each link. Every receiver answers as it answers a
//! pack, and the sender learns of each that was not reached: a slow one is named, and holds up
//! nobody but those who send it more.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::wire::{Broadcast, Pack};

use super::Node;
use crate::action::{Action, Outcome, Reach, RequestId, Spreading};
use crate::links::{Link, LinkId, is_authority};

impl Node {
    /// An application has something for all that listen now. In a full mesh it goes to every linked
    /// node that the policy lets us send to; in a larger network they pass it on.
    pub fn handle_broadcast(&mut self, request: RequestId, mut pack: Pack, now: Now) {
        if pack.count == 0 {
            return self.answer(request, Outcome::Refused(Code::Malformed));
        }
        if self.topology.is_partial() {
            return self.handle_wide(request, pack, now);
        }
        if !self.broadcasts.has_room() {
            return self.answer(request, Outcome::Refused(Code::Quota));
        }
        let to = self.listeners();
        if to.is_empty() {
            return self.push(Action::Reached { request, reach: Reach::default() });
        }
        let id = self.mail.number();
        let links = to.keys().copied().collect();
        self.broadcasts.begin(id, request, to, now.tick);
        pack.id = id;
        let broadcast = Broadcast { instance: self.settings.instance, pack };
        let what = Spreading::Direct(id);
        self.push(Action::Spread { links, what, frame: broadcast.to_frame() });
    }

    /// A broadcast found a link's queue full, or the link gone.
    pub fn handle_unheard(&mut self, link: LinkId, what: Spreading, code: Code) {
        match what {
            Spreading::Direct(id) => self.heard_on(id, link, Some(code)),
            Spreading::Carried(broadcast) => self.uncarried(link, broadcast, code),
        }
    }

    /// Whoever is linked and may hear us.
    fn listeners(&self) -> BTreeMap<LinkId, NodeName> {
        let hears = |link: &Link| {
            let open = link.ready && link.retiring.is_none() && !is_authority(&link.member);
            open && self.may_tell_member(&link.member)
        };
        let links = self.links.iter().filter(|(_, link)| hears(link));
        links.map(|(id, link)| (id, link.member.node().clone())).collect()
    }

    pub(super) fn take_spoken(
        &mut self,
        link: LinkId,
        broadcast: Broadcast,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        if is_authority(&entry.member) {
            return Err(Refusal::new(Code::Malformed, "the authority sends no messages"));
        }
        let Broadcast { instance, pack } = broadcast;
        if instance != entry.presence.instance {
            return Err(Refusal::new(Code::Malformed, "a broadcast of another run"));
        }
        let from = entry.member.node().clone();
        if !self.broadcasts.is_new(&from, instance, pack.id, now.tick) {
            return Ok(());
        }
        self.talk_with(&from, now);
        match self.may_hear(link, pack.count as usize, pack.bytes(), now) {
            Ok(()) => self.hand(link, from, pack),
            Err(code) => self.handle_stored(link, pack.id, Some(code)),
        }
        Ok(())
    }

    pub(super) fn heard_on(&mut self, id: u64, link: LinkId, refused: Option<Code>) {
        if let Some((request, reach)) = self.broadcasts.answered(id, link, refused) {
            self.push(Action::Reached { request, reach });
        }
    }

    /// A link ended: whoever was behind it does not answer any more.
    pub(super) fn reached_ended(&mut self, link: LinkId) {
        for id in self.broadcasts.waiting_on(link) {
            self.heard_on(id, link, Some(Code::Unreachable));
        }
        self.carrier_ended(link);
    }

    pub(super) fn look_at_broadcasts(&mut self, now: Now) {
        for (request, reach) in self.broadcasts.overdue(now.tick) {
            self.push(Action::Reached { request, reach });
        }
    }
}
