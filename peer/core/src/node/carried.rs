//! Broadcasts in the hall of a network that is larger than a full mesh: signed by their sender, and
//! passed on by everybody who hears them.
//!
//! A broadcast goes only to nodes that may hear its sender, so those who may not neither read nor
//! carry it. What cannot be proven goes no further than here.

use std::collections::BTreeMap;

use shared::limits::{AHEAD_S, BROADCAST_BYTES_MAX, MISSED_TOLD_MAX};
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::Member;
use shared::wire::{Body, BroadcastId, Kind, Pack, Spoken, Told, Unproven, frame_into};

use super::Node;
use crate::action::{Action, AnswerTo, Outcome, Reach, RequestId, Spreading};
use crate::links::{Link, LinkId, is_authority};
use crate::trees::{Asker, Done};

impl Node {
    /// An application has something for all that listen now, wherever they are.
    pub(super) fn handle_wide(&mut self, request: RequestId, mut pack: Pack, now: Now) {
        pack.id = self.mail.number();
        let (origin, instance) = (self.settings.node.clone(), self.settings.instance);
        let broadcast = BroadcastId { instance, number: pack.id };
        let spoken = Spoken { origin, instance, at: now.wall, pack };
        let Ok(statement) = self.signer.sign_broadcast(&spoken) else {
            return self.answer(request, Outcome::Refused(Code::Malformed));
        };
        let fits = statement.len() <= BROADCAST_BYTES_MAX && self.trees.has_room();
        if !fits || !self.trees.hear(&spoken.origin, broadcast, None, now.tick) {
            return self.answer(request, Outcome::Refused(Code::Quota));
        }
        let links = self.ways(None, None, now);
        let asker = Asker::Application(request);
        self.trees.begin(broadcast, asker, links.clone(), false, now.tick);
        self.carry(links, broadcast, &statement);
        let done = self.trees.nobody_waits(broadcast);
        self.done_with(done);
    }

    /// The ways a broadcast goes: to whoever is linked and may hear its sender (`None`: us), except
    /// where it came from and where it is not needed.
    fn ways(
        &self,
        sender: Option<&Member>,
        from: Option<LinkId>,
        now: Now,
    ) -> BTreeMap<LinkId, NodeName> {
        let origin = sender.map_or(&self.settings.node, |member| member.node());
        let leads = |id: LinkId, link: &Link| {
            let open = link.ready && link.retiring.is_none() && !is_authority(&link.member);
            open && Some(id) != from
                && link.member.node() != origin
                && self.trees.leads_over(origin, id, now.tick)
                && match sender {
                    None => self.may_tell_member(&link.member),
                    Some(sender) => self.may_reach(sender, &link.member),
                }
        };
        let links = self.links.iter().filter(|(id, link)| leads(*id, link));
        links.map(|(id, link)| (id, link.member.node().clone())).collect()
    }

    fn carry(
        &mut self,
        links: BTreeMap<LinkId, NodeName>,
        broadcast: BroadcastId,
        statement: &[u8],
    ) {
        if links.is_empty() {
            return;
        }
        let mut frame = Vec::new();
        let _ = frame_into(&mut frame, Kind::Carried, statement);
        let links = links.into_keys().collect();
        self.push(Action::Spread { links, what: Spreading::Carried(broadcast), frame });
    }

    /// A signed broadcast came on a link: it is proven, handed over and passed on.
    pub(super) fn take_carried(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        if is_authority(&entry.member) {
            return Err(Refusal::new(Code::Malformed, "the authority carries no broadcasts"));
        }
        let malformed = |error: &dyn std::fmt::Display| {
            Refusal::new(Code::Malformed, format!("a broadcast: {error}"))
        };
        let unproven = Unproven::parse(bytes).map_err(|error| malformed(&error))?;
        let broadcast = BroadcastId { instance: unproven.instance(), number: unproven.number() };
        let origin = unproven.origin();
        if *origin == self.settings.node || self.trees.knows(origin, broadcast) {
            let told = if self.trees.repeats(origin, link, now.tick) {
                Told::Reached { broadcast, taken: 0, missed: Vec::new() }
            } else {
                Told::Had(broadcast)
            };
            self.send(link, &Body::Told(told));
            return Ok(());
        }
        let known = match self.believable(&unproven, now) {
            Ok(known) => known.clone(),
            Err(code) => return self.not_heard(link, broadcast, code, now),
        };
        let network = self.signer.network();
        let Ok(spoken) = unproven.prove(network, &known.member.cert.public) else {
            return self.not_heard(link, broadcast, Code::Malformed, now);
        };
        // The way it came is needed, whether or not the link was wanted before.
        if let Some(carrier) = self.links.get(link).map(|link| link.member.node().clone()) {
            self.talk_with(&carrier, now);
        }
        self.pass_on_spoken(link, spoken, &known.member, bytes, now);
        Ok(())
    }

    /// The presence of whoever says it, if it may be they, now.
    fn believable(&self, unproven: &Unproven<'_>, now: Now) -> Result<&SignedPresence, Code> {
        if self.is_out(unproven.origin()) {
            return Err(Code::Suspended);
        }
        let known = self.directory.signed(unproven.origin()).ok_or(Code::NoCertificate)?;
        if known.presence.instance != unproven.instance() || is_authority(&known.member) {
            return Err(Code::NoCertificate);
        }
        match unproven.at() {
            at if at > now.wall.plus_s(AHEAD_S) => Err(Code::NotYetValid),
            at if now.wall > at.plus_s(AHEAD_S) => Err(Code::Expired),
            _ => Ok(known),
        }
    }

    fn not_heard(
        &mut self,
        link: LinkId,
        broadcast: BroadcastId,
        code: Code,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.trees.forgive(link, now.tick) {
            return Err(Refusal::new(Code::Malformed, "too many broadcasts that are not proven"));
        }
        let missed = vec![(self.settings.node.clone(), code)];
        self.send(link, &Body::Told(Told::Reached { broadcast, taken: 0, missed }));
        Ok(())
    }

    fn pass_on_spoken(
        &mut self,
        link: LinkId,
        spoken: Spoken,
        sender: &Member,
        bytes: &[u8],
        now: Now,
    ) {
        let Spoken { origin, instance, pack, .. } = spoken;
        let broadcast = BroadcastId { instance, number: pack.id };
        let may = self.may_hear_member(sender, pack.count as usize, pack.bytes(), now);
        let may = may.and_then(|()| {
            let room = self.trees.has_room();
            let heard = room && self.trees.hear(&origin, broadcast, Some(link), now.tick);
            if heard { Ok(()) } else { Err(Code::Quota) }
        });
        if let Err(code) = may {
            let missed = vec![(self.settings.node.clone(), code)];
            return self.send(link, &Body::Told(Told::Reached { broadcast, taken: 0, missed }));
        }
        let links = self.ways(Some(sender), Some(link), now);
        self.trees.begin(broadcast, Asker::Link(link), links.clone(), true, now.tick);
        self.carry(links, broadcast, bytes);
        self.push(Action::Hand { to: AnswerTo::Carried(broadcast), from: origin, pack });
    }

    /// A signed broadcast found a link's queue full, or the link gone.
    pub(super) fn uncarried(&mut self, link: LinkId, broadcast: BroadcastId, code: Code) {
        let done = self.trees.missed(broadcast, link, code);
        self.done_with(done);
    }

    /// Our application has taken a signed broadcast, or has not.
    pub(super) fn carried_heard(&mut self, broadcast: BroadcastId, refused: Option<Code>) {
        let refused = refused.map(|code| (self.settings.node.clone(), code));
        let done = self.trees.decided(broadcast, refused);
        self.done_with(done);
    }

    pub(super) fn take_told(&mut self, link: LinkId, told: Told, now: Now) {
        let done = match told {
            Told::Had(broadcast) => self.trees.had(broadcast, link, now.tick),
            Told::Reached { broadcast, taken, missed } => {
                let reach = Reach { taken, missed: missed.into_iter().collect() };
                self.trees.reached(broadcast, link, reach)
            }
            Told::Again(instance) => {
                if self.trees.again(instance, link) {
                    self.ask_again(&[instance], link);
                }
                None
            }
        };
        self.done_with(done);
    }

    /// Tells everybody but one that the way to these runs is lost.
    fn ask_again(&mut self, lost: &[shared::id::InstanceId], but: LinkId) {
        let open = |link: &Link| link.ready && !is_authority(&link.member);
        let links = self.links.iter().filter(|(id, link)| *id != but && open(link));
        for link in links.map(|(id, _)| id).collect::<Vec<_>>() {
            for instance in lost {
                self.send(link, &Body::Told(Told::Again(*instance)));
            }
        }
    }

    /// A link ended: whoever was behind it does not answer any more.
    pub(super) fn carrier_ended(&mut self, link: LinkId) {
        let (done, lost) = self.trees.ended(link);
        self.ask_again(&lost, link);
        done.into_iter().for_each(|done| self.done_with(Some(done)));
    }

    pub(super) fn look_at_trees(&mut self, now: Now) {
        let done = self.trees.overdue(&self.settings.node, now.tick);
        done.into_iter().for_each(|done| self.done_with(Some(done)));
    }

    fn done_with(&mut self, done: Option<Done>) {
        let Some(Done { broadcast, asker, reach }) = done else { return };
        match asker {
            Asker::Application(request) => self.push(Action::Reached { request, reach }),
            Asker::Link(link) => {
                let Reach { taken, missed } = reach;
                let missed = missed.into_iter().take(MISSED_TOLD_MAX).collect();
                if self.links.get(link).is_some() {
                    self.send(link, &Body::Told(Told::Reached { broadcast, taken, missed }));
                }
            }
        }
    }
}
