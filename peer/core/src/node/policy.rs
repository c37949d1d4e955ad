//! Policy in the hall: a newer one is applied to live links at once, passed on, acknowledged.
//!
//! The authority is never barred by it: it must always be able to say something else.

use shared::cert::Attributes;
use shared::name::NodeName;
use shared::policy::{Decision, Policy, PolicyError, Request, SignedPolicy, Who};
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::Member;
use shared::wire::{Ack, Body};

use super::Node;
use crate::action::{Action, Event, Of, Way};
use crate::dialling::{By, DialFailure};
use crate::feeding::Back;
use crate::links::{Direction, Link, LinkId, is_authority};
use crate::policing::Novelty;

impl Node {
    /// The policy that holds.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.law.policy()
    }

    /// The signed policy that holds, to be saved; none before one was heard.
    #[must_use]
    pub fn policy_statement(&self) -> Option<Vec<u8>> {
        self.law.statement().map(<[u8]>::to_vec)
    }

    /// Takes what our certificate says of us: after a renewal it may be something else.
    pub fn set_attributes(&mut self, attributes: Attributes) {
        self.settings.roles = attributes.roles.iter().cloned().collect();
        self.presence.roles.clone_from(&self.settings.roles);
        self.settings.attributes = attributes;
    }

    /// A policy from our own disk, or brought in by a person.
    ///
    /// # Errors
    /// [`PolicyError`]; nothing has changed then.
    pub fn handle_policy(&mut self, bytes: &[u8], now: Now) -> Result<(), PolicyError> {
        let signed = self.verify_policy(bytes, now)?;
        if self.law.novelty(signed.policy.number, bytes) == Novelty::News {
            self.decrees.came_from(signed.policy.number, None);
            self.adopt_policy(signed, None, now);
        }
        Ok(())
    }

    fn verify_policy(&self, bytes: &[u8], now: Now) -> Result<SignedPolicy, PolicyError> {
        let unusable = |error: shared::verify::VerifierError| {
            PolicyError::Signer(Refusal::new(Code::Policy, error.to_string()))
        };
        let anchors = self.verifier.anchors().map_err(unusable)?;
        SignedPolicy::verify(bytes, &anchors, now.wall)
    }

    pub(super) fn take_policy(&mut self, link: LinkId, bytes: &[u8], now: Now) {
        let number = SignedPolicy::peek(bytes).unwrap_or_default();
        let novelty = self.law.novelty(number, bytes);
        match (novelty, self.verify_policy(bytes, now)) {
            (Novelty::News, Ok(signed)) => {
                self.decrees.came_from(number, Some(link));
                self.adopt_policy(signed, Some(link), now);
                self.acknowledge_policy(link);
            }
            (Novelty::Same, Ok(_)) => self.acknowledge_policy(link),
            // It may not have heard of ours.
            (Novelty::Older, Ok(_)) => self.send_policy(link, number),
            (Novelty::Equivocation, Ok(_)) => {
                let why = format!("another policy under the number {number}");
                self.report_policy(link, why, true);
            }
            (_, Err(error)) => self.report_policy(link, error.to_string(), false),
        }
    }

    fn acknowledge_policy(&mut self, link: LinkId) {
        let (number, node) = (self.law.number(), self.settings.node.clone());
        let cut = self.decrees.cut_for(number);
        self.send(link, &Body::PolicyAck(Ack { number, node, cut }));
    }

    fn report_policy(&mut self, link: LinkId, why: String, serious: bool) {
        if let Some(from) = self.links.get(link).map(|link| link.member.node().clone()) {
            self.tell(Event::PolicyRefused { from, why, serious });
        }
    }

    /// It holds now: cut whom it forbids, pass it on, save it.
    fn adopt_policy(&mut self, signed: SignedPolicy, from: Option<LinkId>, now: Now) {
        let number = signed.policy.number;
        self.law.adopt(signed);
        self.presence.policy_number = number;
        // A key that gives no signature has been told of when it signed no presence.
        let _ = self.sign_presence(now);
        let cut = self.cut_forbidden(now);
        self.cut_forbidden_circuits();
        self.decrees.note_cut(number, cut);
        for node in self.dialling.names() {
            self.dialling.encourage(&node, now.tick);
        }
        for link in self.ready_links().into_iter().filter(|link| Some(*link) != from) {
            self.send_policy(link, 0);
        }
        self.push(Action::SavePolicy);
        self.tell(Event::PolicyApplied { number, cut });
        self.dial_due(now);
    }

    fn cut_forbidden(&mut self, now: Now) -> u32 {
        let judged = self.links.iter().filter_map(|(id, link)| {
            let refusal = self.may_connect(&link.member, link.direction).err()?;
            Some((id, link.member.node().clone(), refusal))
        });
        let judged: Vec<(LinkId, NodeName, Refusal)> = judged.collect();
        let count = u32::try_from(judged.len()).unwrap_or(u32::MAX);
        for (link, node, refusal) in judged {
            self.send(link, &Body::Refused(refusal.code));
            self.end(link, Way::Close, &refusal.detail, now);
            let failure = DialFailure {
                code: Some(refusal.code),
                by: By::Us,
                detail: refusal.detail,
                at: now.wall,
            };
            self.dialling.failed(&node, Some(failure), now.tick, &mut self.jitter);
        }
        count
    }

    /// What the other side lacks, if ours is newer than `theirs`; an authority on a visit has it.
    pub(super) fn send_policy(&mut self, link: LinkId, theirs: u64) {
        let visitor = self.links.get(link).is_none_or(Link::is_visitor);
        let newer = self.law.number() > theirs;
        let statement = self.law.statement().filter(|_| newer && !visitor);
        if let Some(bytes) = statement.map(<[u8]>::to_vec) {
            self.send(link, &Body::Policy(bytes));
        }
    }

    pub(super) fn carry_policy_ack_back(&mut self, link: LinkId, ack: Ack) {
        match self.decrees.way_back(ack.number, &ack.node, link) {
            Some(Back::Link(back)) => self.send(back, &Body::PolicyAck(ack)),
            Some(Back::Here) => self.push(Action::Acknowledged { of: Of::Policy, ack }),
            None => {}
        }
    }

    /// Whether we are the authority ourselves.
    pub(super) fn is_the_authority(&self) -> bool {
        self.settings.node.as_str() == NodeName::AUTHORITY
            && self.settings.attributes.has_role(NodeName::AUTHORITY)
    }

    fn own(&self) -> Who<'_> {
        Who { node: &self.settings.node, attributes: &self.settings.attributes }
    }

    /// Whether a link with a member is allowed: whoever dials, asks.
    pub(super) fn may_connect(&self, member: &Member, direction: Direction) -> Result<(), Refusal> {
        if is_authority(member) || self.is_the_authority() {
            return Ok(());
        }
        let (own, theirs) = (self.own(), who(member));
        let decision = match direction {
            Direction::Out => self.law.decide(own, theirs, Request::Connect),
            Direction::In => self.law.decide(theirs, own, Request::Connect),
        };
        allowed(&decision, "connect")
    }

    /// Whether we may carry a circuit: whether the one may connect the other.
    pub(super) fn may_join(&self, asker: &Member, called: &Member) -> Result<(), Refusal> {
        if is_authority(asker) || is_authority(called) {
            return Ok(());
        }
        let decision = self.law.decide(who(asker), who(called), Request::Connect);
        allowed(&decision, &format!("connect to {}", called.node()))
    }

    /// Whether we may dial a node, as far as its certificate is known.
    pub(super) fn may_dial(&self, node: &NodeName) -> bool {
        let known = self.directory.signed(node);
        known.is_none_or(|known| {
            let may = self.may_connect(&known.member, Direction::Out);
            may.and_then(|()| self.refuse_if_shut(&known.member)).is_ok()
        })
    }

    /// Whether we may send a node messages, as far as its certificate is known.
    pub(super) fn may_tell(&self, to: &NodeName) -> Result<(), Code> {
        let linked = self.links.member_link(to).map(|(_, link)| &*link.member);
        let Some(member) = linked.or_else(|| Some(&**self.directory.signed(to)?.member)) else {
            return Ok(());
        };
        let decision = self.law.decide(self.own(), who(member), Request::Send);
        allowed(&decision, "send").map_err(|refusal| refusal.code)
    }

    /// Whether we may send the member of a link messages.
    pub(super) fn may_tell_member(&self, member: &Member) -> bool {
        self.law.decide(self.own(), who(member), Request::Send).allowed
    }

    /// Whether one member may send another messages: what we pass on goes to nobody else.
    pub(super) fn may_reach(&self, from: &Member, to: &Member) -> bool {
        self.law.decide(who(from), who(to), Request::Send).allowed
    }

    /// Whether the member of a link may send us so many messages now, and its quota is charged.
    pub(super) fn may_hear(
        &mut self,
        link: LinkId,
        messages: usize,
        bytes: usize,
        now: Now,
    ) -> Result<(), Code> {
        let Some(entry) = self.links.get(link) else { return Ok(()) };
        let member = entry.member.clone();
        self.may_hear_member(&member, messages, bytes, now)
    }

    /// Whether a member may reach us with so many messages now, and its quota is charged.
    pub(super) fn may_hear_member(
        &mut self,
        member: &Member,
        messages: usize,
        bytes: usize,
        now: Now,
    ) -> Result<(), Code> {
        let decision = self.law.decide(who(member), self.own(), Request::Send);
        allowed(&decision, "send").map_err(|refusal| refusal.code)?;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let fits = self.law.may_say(who(member), count(messages), count(bytes), now.tick);
        if fits { Ok(()) } else { Err(Code::Quota) }
    }

    /// Whether a member may begin another link now, and its quota is charged.
    pub(super) fn may_begin(&mut self, member: &Member, now: Now) -> Result<(), Refusal> {
        if is_authority(member) || self.law.may_begin(who(member), now.tick) {
            return Ok(());
        }
        Err(Refusal::new(Code::Quota, "it begins more links than the policy lets it"))
    }

    /// Whether one node may do something with another, and by which rule. `None` if one of them is
    /// not known here.
    #[must_use]
    pub fn why(
        &self,
        from: &NodeName,
        to: &NodeName,
        request: Request<'_>,
    ) -> Option<Decision<'_>> {
        let find = |node: &NodeName| {
            if *node == self.settings.node {
                return Some(self.settings.attributes.clone());
            }
            self.directory.signed(node).map(|known| known.member.cert.attributes.clone())
        };
        let (ours, theirs) = (find(from)?, find(to)?);
        let from = Who { node: from, attributes: &ours };
        Some(self.law.decide(from, Who { node: to, attributes: &theirs }, request))
    }
}

fn who(member: &Member) -> Who<'_> {
    Who { node: member.node(), attributes: &member.cert.attributes }
}

fn allowed(decision: &Decision<'_>, what: &str) -> Result<(), Refusal> {
    if decision.allowed {
        return Ok(());
    }
    let by = match decision.by {
        Some((_, name)) => format!("the policy's rule {name} denies {what}"),
        None => format!("no rule of the policy allows {what}"),
    };
    Err(Refusal::new(Code::Policy, by))
}
