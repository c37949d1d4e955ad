//! Frames in the hall: pings, presences, messages and their receipts.

use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::wire::{Body, Message, Receipt};

use super::Node;
use crate::action::{Action, Event, Outcome, RequestId};
use crate::dialling::{By, DialFailure};
use crate::links::LinkId;

impl Node {
    /// A frame came on a link. A refusal ends the link: the driver tells the other side the code.
    ///
    /// # Errors
    /// [`Refusal`] if the frame breaks the protocol; the node has forgotten the link then.
    pub fn handle_body(&mut self, link: LinkId, body: Body, now: Now) -> Result<(), Refusal> {
        if self.links.get(link).is_none() {
            return Ok(());
        }
        self.links.heard(link, now.tick);
        let outcome = self.take_body(link, body, now);
        if let Err(refusal) = &outcome
            && let Some(gone) = self.links.remove(link)
        {
            let node = gone.member.node().clone();
            self.forget_link(link, &node, now);
            let (address, code, detail) = (gone.address, refusal.code, refusal.detail.clone());
            let (by, at) = (By::Us, now.wall);
            let failure = DialFailure { code: Some(code), by, detail: detail.clone(), at };
            self.dialling.failed(&node, Some(failure), now.tick, &mut self.jitter);
            self.tell(Event::Refused { node, address, code, detail });
        }
        outcome
    }

    fn take_body(&mut self, link: LinkId, body: Body, now: Now) -> Result<(), Refusal> {
        match body {
            Body::Ping(nonce) => self.send(link, &Body::Pong(nonce)),
            Body::Pong(nonce) => {
                self.push(Action::Ponged { link, nonce });
                if let Some(request) = self.mail.answered(nonce, link) {
                    self.answer(request, Outcome::Delivered);
                }
            }
            Body::Feed(part) => return self.take_part(link, part, now),
            Body::FeedWant(number) => self.send_feed(link, number),
            Body::FeedAck(ack) => self.carry_back(link, ack),
            Body::Presences(list, _) => self.take_presences(link, &list, now)?,
            Body::Message(message) => self.take_message(link, message, now)?,
            Body::Pack(pack) => self.take_pack(link, pack, now)?,
            Body::Broadcast(broadcast) => self.take_spoken(link, broadcast, now)?,
            Body::Carried(bytes) => self.take_carried(link, &bytes, now)?,
            Body::Told(told) => self.take_told(link, told, now),
            Body::Receipt(receipt) => self.take_receipt(link, &receipt),
            Body::Bye => self.take_leave(link, now),
            Body::Trace(trace) => self.take_trace(link, trace, now),
            Body::Renewal(renewal) => self.take_renewal(link, renewal, now),
            Body::Post(post) => return self.take_post(link, post, now),
            Body::Spread(spread) => return self.take_spread(link, spread, now),
            Body::Circuit(circuit) => return self.take_circuit(link, circuit, now),
            Body::Shown(bytes) => self.push(Action::Shown { link, bytes }),
            Body::Policy(bytes) => self.take_policy(link, &bytes, now),
            Body::PolicyWant(number) => self.send_policy(link, number),
            Body::PolicyAck(ack) => self.carry_policy_ack_back(link, ack),
            Body::Hello(_) | Body::Welcome(_) | Body::Refused(_) | Body::Bulk(_) => {
                return Err(Refusal::new(Code::Malformed, "a frame that has no place here"));
            }
        }
        Ok(())
    }

    fn take_message(&mut self, link: LinkId, message: Message, now: Now) -> Result<(), Refusal> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        if entry.is_visitor() {
            return Err(Refusal::new(Code::Malformed, "the authority sends no messages"));
        }
        let (from, instance) = (entry.member.node().clone(), entry.presence.instance);
        self.talk_with(&from, now);
        let Message { id, body } = message;
        if let Err(code) = self.may_hear(link, 1, body.len(), now) {
            self.handle_stored(link, id, Some(code));
            return Ok(());
        }
        self.push(Action::Deliver { link, from, instance, id, body });
        Ok(())
    }

    fn take_receipt(&mut self, link: LinkId, receipt: &Receipt) {
        if let Some(request) = self.mail.answered(receipt.id, link) {
            let outcome = receipt.refused.map_or(Outcome::Delivered, Outcome::Refused);
            self.answer(request, outcome);
        } else {
            self.heard_on(receipt.id, link, receipt.refused);
        }
    }

    /// The inbox has taken a message, or has not.
    pub fn handle_stored(&mut self, link: LinkId, id: u64, refused: Option<Code>) {
        if self.links.get(link).is_some() {
            self.send(link, &Body::Receipt(Receipt { id, refused }));
        }
    }

    /// Somebody wants a message sent.
    pub fn handle_send(&mut self, request: RequestId, to: &NodeName, body: Vec<u8>, now: Now) {
        if body.len() > shared::limits::MESSAGE_BYTES_MAX {
            return self.answer(request, Outcome::Refused(Code::Quota));
        }
        if let Err(code) = self.may_tell(to) {
            return self.answer(request, Outcome::Refused(code));
        }
        if self.must_wait(to) {
            return self.park(request, to, Some(body), now);
        }
        if let Some((link, id)) = self.begin(request, to, now) {
            self.send(link, &Body::Message(Message { id, body }));
        }
    }

    /// A message found its link's queue full: its sender hears it at once instead of waiting.
    pub fn handle_overflow(&mut self, link: LinkId, id: u64) {
        if let Some(request) = self.mail.answered(id, link) {
            self.answer(request, Outcome::Refused(Code::Quota));
        }
    }

    /// Somebody wants to know whether a node is there.
    pub fn handle_ping(&mut self, request: RequestId, to: &NodeName, now: Now) {
        if self.must_wait(to) {
            return self.park(request, to, None, now);
        }
        if let Some((link, nonce)) = self.begin(request, to, now) {
            self.push(Action::Ping { link, nonce });
        }
    }

    pub(super) fn begin(
        &mut self,
        request: RequestId,
        to: &NodeName,
        now: Now,
    ) -> Option<(LinkId, u64)> {
        self.talk_with(to, now);
        let link = self.links.member_link(to).filter(|(_, link)| link.ready).map(|(id, _)| id);
        let Some(link) = link else {
            let outcome = self.why_not(to);
            self.answer(request, outcome);
            return None;
        };
        let Some(id) = self.mail.begin(request, link, now.tick) else {
            self.answer(request, Outcome::Refused(Code::Quota));
            return None;
        };
        Some((link, id))
    }

    /// Why there is no link: barred by the feed, refused by one of us, or simply not there.
    pub(super) fn why_not(&self, to: &NodeName) -> Outcome {
        let marks = self.verifier.read_set(|set| (set.revocation_of(to), set.hold_of(to)));
        match marks {
            Ok((_, Some(_))) => return Outcome::Refused(Code::Suspended),
            Ok((Some(_), None)) => return Outcome::Refused(Code::Revoked),
            Ok((None, None)) => {}
            Err(_) => return Outcome::Refused(Code::Policy),
        }
        let failure = self.dialling.iter().find(|(node, _)| *node == to);
        let code = failure.and_then(|(_, prospect)| prospect.last_failure.as_ref()?.code);
        match code {
            Some(code) => Outcome::Refused(code),
            None if *to == self.settings.node => Outcome::Unreachable("that is this node itself"),
            None if self.directory.presences().any(|known| known.node == *to) => {
                Outcome::Unreachable("it is known but not linked")
            }
            None => Outcome::Unreachable("no such node is known here"),
        }
    }
}
