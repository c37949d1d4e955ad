//! Queued messages in the hall: who may get them, what is sent next, what is taken and receipted.
//!
//! The outbox and the inbox are the driver's; here is when to read the one and what to ask of the
//! other. Policy and quotas are asked at both ends.

use shared::name::{Label, NodeName};
use shared::receipt::{Receipt, SignedReceipt};
use shared::refusal::{Code, Refusal};
use shared::time::{Now, Timestamp};
use shared::wire::{Batch, Body, Number, Page, Post, Priority, Taken, Verdict};

use super::Node;
use crate::action::{Action, Class};
use crate::links::LinkId;
use crate::post::{Effect, StreamId, StreamView, Want};

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One node.
    Node(NodeName),
    /// Every known node whose certificate names this group.
    Group(Label),
    /// Every known node.
    Everyone,
}

/// A node a message may go to, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Who.
    pub node: NodeName,
    /// Why nothing may be sent to it.
    pub refused: Option<Code>,
    /// Whether there is a link.
    pub linked: bool,
    /// Whether anything is known of it.
    pub known: bool,
}

/// What the inbox did with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// The stream is on the disk up to here.
    pub through: Number,
    /// And this batch.
    pub verdict: Verdict,
    /// Receipts that are owed for it.
    pub owed: Vec<Owed>,
}

/// A message on our disk whose sender wants a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The sender's number.
    pub number: Number,
    /// SHA-256 of its body.
    pub digest: [u8; 32],
    /// When it was stored.
    pub at: Timestamp,
}

impl Node {
    /// Whether anything may be sent to a node: its standing, and the policy.
    fn may_send(&self, to: &NodeName) -> Result<(), Code> {
        let marked = self.verifier.read_set(|set| set.revocation_of(to).is_some());
        // A name that was revoked may have been enrolled again: then a presence shows it.
        let back = self.directory.presences().any(|known| known.node == *to);
        match marked {
            Err(_) => Err(Code::Policy),
            Ok(true) if !back => Err(Code::Revoked),
            Ok(_) => self.may_tell(to),
        }
    }

    /// Who is meant, and whether they may be sent to.
    #[must_use]
    pub fn receivers(&self, target: &Target) -> Vec<Receiver> {
        let nodes = match target {
            Target::Node(node) => vec![node.clone()],
            Target::Group(group) => self.directory.nodes(Some(group)),
            Target::Everyone => self.directory.nodes(None),
        };
        let own =
            |node: &NodeName| *node == self.settings.node && !matches!(target, Target::Node(_));
        nodes.into_iter().filter(|node| !own(node)).map(|node| self.receiver(node)).collect()
    }

    fn receiver(&self, node: NodeName) -> Receiver {
        let own = node == self.settings.node;
        let refused = if own { Some(Code::WrongName) } else { self.may_send(&node).err() };
        let linked = self.link_to(&node).is_some();
        let known = linked || self.dialling.iter().any(|(name, _)| *name == node);
        Receiver { node, refused, linked, known }
    }

    fn link_to(&self, node: &NodeName) -> Option<LinkId> {
        self.links.member_link(node).filter(|(_, link)| link.ready).map(|(id, _)| id)
    }

    /// The streams, for people.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamView> {
        self.post.views()
    }

    /// The outbox has messages of a stream up to a number; at the start, of each it was left with.
    pub fn handle_queued(&mut self, stream: &StreamId, newest: Number, now: Now) {
        self.talk_with(&stream.to, now);
        self.post.queued(stream, newest, self.link_to(&stream.to));
        let mark = self.verifier.read_set(|set| set.revocation_of(&stream.to)).ok().flatten();
        if let Some(mark) = mark {
            let (stream, code, before) = (stream.clone(), Code::Revoked, Some(mark.at));
            self.push(Action::Discard { stream, code, before });
        }
        self.pump(&stream.to);
    }

    /// The outbox has nothing of a stream any more, up to a number.
    pub fn handle_emptied(&mut self, stream: &StreamId, through: Number) {
        self.post.emptied(stream, through);
    }

    /// The outbox cannot be read now.
    pub fn handle_unread(&mut self, want: &Want, now: Now) {
        self.post.no_room(&want.stream, want.round, now.tick);
    }

    /// What the outbox has of a stream: nothing, or a page; `whole` if it has no more of what was
    /// wanted.
    pub fn handle_page(&mut self, want: &Want, page: Option<Page>, whole: bool, now: Now) {
        let size = page.as_ref().map(|page| (page.last, page.bytes()));
        let place = self.post.read(want, size, whole, now.tick);
        if let Some(((link, prev), page)) = place.zip(page) {
            let frame = page.into_frame(want.stream.priority, want.round, prev);
            self.push(Action::Send { link, class: Class::Message, frame });
        }
        self.pump(&want.stream.to);
    }

    /// A batch found its link's queue full.
    pub fn handle_batch_overflow(
        &mut self,
        link: LinkId,
        priority: Priority,
        round: u32,
        now: Now,
    ) {
        if let Some(entry) = self.links.get(link) {
            let stream = StreamId { to: entry.member.node().clone(), priority };
            self.post.no_room(&stream, round, now.tick);
        }
    }

    /// Asks for everything there is room for, the most urgent first.
    fn pump(&mut self, to: &NodeName) {
        while let Some(want) = self.post.want(to) {
            self.push(Action::Load(want));
        }
    }

    /// A link can carry frames: everything that is not settled goes over it.
    pub(super) fn begin_post(&mut self, link: LinkId, node: &NodeName) {
        self.post.linked(node, link);
        self.push(Action::Missing(node.clone()));
        self.pump(node);
    }

    /// Streams whose wait is over, or whose receiver is silent.
    pub(super) fn post_due(&mut self, now: Now) {
        for node in self.post.overdue(now.tick, &mut self.jitter) {
            self.pump(&node);
        }
    }

    /// A node is out: what is queued for it is dropped.
    pub(super) fn drop_post(&mut self, node: &NodeName, code: Code) {
        for priority in Priority::ALL {
            let stream = StreamId { to: node.clone(), priority };
            if let Some(newest) = self.post.newest(&stream) {
                self.post.emptied(&stream, newest);
                self.push(Action::Discard { stream, code, before: None });
            }
        }
    }

    pub(super) fn take_post(&mut self, link: LinkId, post: Post, now: Now) -> Result<(), Refusal> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        if entry.is_visitor() {
            return Err(Refusal::new(Code::Malformed, "the authority sends no messages"));
        }
        let from = entry.member.node().clone();
        match post {
            Post::Batch(batch) => self.take_batch(link, from, batch, now),
            Post::Taken(taken) => self.hear_taken(&from, &taken, now),
            Post::Claims(numbers) => self.push(Action::Claimed { link, from, numbers }),
            Post::Receipt(bytes) => self.take_signed(&from, &bytes, now)?,
        }
        Ok(())
    }

    fn take_batch(&mut self, link: LinkId, from: NodeName, batch: Batch, now: Now) {
        self.talk_with(&from, now);
        match self.may_hear(link, batch.count as usize, batch.bytes(), now) {
            Ok(()) => self.push(Action::Store { link, from, batch }),
            Err(code) => {
                let (priority, round) = (batch.priority, batch.round);
                let verdict = Verdict::Refused(code);
                let taken = Taken { priority, round, through: Number::ZERO, verdict };
                self.send(link, &Body::Post(Post::Taken(taken)));
            }
        }
    }

    /// The inbox has taken a batch, or has not.
    pub fn handle_taken(
        &mut self,
        link: LinkId,
        from: &NodeName,
        priority: Priority,
        round: u32,
        intake: &Intake,
    ) {
        let Intake { through, verdict, owed } = intake;
        let taken = Taken { priority, round, through: *through, verdict: *verdict };
        if self.links.get(link).is_some() {
            self.send(link, &Body::Post(Post::Taken(taken)));
            self.send_receipts(link, from, owed);
        }
    }

    /// Receipts that a sender asked for again, as far as they are still known.
    pub fn handle_claimed(&mut self, link: LinkId, from: &NodeName, owed: &[Owed]) {
        if self.links.get(link).is_some() {
            self.send_receipts(link, from, owed);
        }
    }

    fn send_receipts(&mut self, link: LinkId, from: &NodeName, owed: &[Owed]) {
        for Owed { number, digest, at } in owed.iter().cloned() {
            let (from, to) = (from.clone(), self.settings.node.clone());
            // A key that gives no signature has been told of when it signed no presence.
            if let Ok(bytes) = self.signer.sign_receipt(&Receipt { from, to, number, digest, at }) {
                self.send(link, &Body::Post(Post::Receipt(bytes)));
            }
        }
    }

    fn hear_taken(&mut self, from: &NodeName, taken: &Taken, now: Now) {
        self.talk_with(from, now);
        for effect in self.post.taken(from, taken, now.tick, &mut self.jitter) {
            match effect {
                Effect::Settle(stream, through) => self.push(Action::Settle { stream, through }),
                Effect::Drop(stream, code) => {
                    let newest = self.post.newest(&stream).unwrap_or_default();
                    self.post.emptied(&stream, newest);
                    self.push(Action::Discard { stream, code, before: None });
                }
            }
        }
        self.pump(from);
    }

    /// Messages of ours whose receipts have not come although they have arrived.
    pub fn handle_missing(&mut self, to: &NodeName, numbers: &[Number]) {
        let Some(link) = self.link_to(to) else { return };
        for part in numbers.chunks(shared::limits::CLAIMS_MAX) {
            self.send(link, &Body::Post(Post::Claims(part.to_vec())));
        }
    }

    /// A receipt must be its sender's own and about a message of ours; anything else is a forgery.
    fn take_signed(&mut self, from: &NodeName, bytes: &[u8], now: Now) -> Result<(), Refusal> {
        let network = &self.settings.network;
        let signed = SignedReceipt::verify(bytes, network, &self.verifier, now.wall)?;
        if signed.receipt.to != *from || signed.receipt.from != self.settings.node {
            let detail = "a receipt that is not between the two of us";
            return Err(Refusal::new(Code::Malformed, detail));
        }
        self.push(Action::Receipted(Box::new(signed)));
        Ok(())
    }
}
