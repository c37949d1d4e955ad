//! Circuits in the hall: as a relay for others, as the one who asks, and as the one called.
//!
//! **Invariant:** whoever the set bars has no circuit here, nor has one a relay that it bars.
//! **Invariant:** no circuit here is from one that may not connect the other by the policy.

use shared::name::NodeName;
use shared::policy::{Request, Who};
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::{Member, Verified};
use shared::wire::{Body, Circuit, Token};

use super::Node;
use crate::action::{Action, Call, Event};
use crate::circuits::{CircuitBounds, CircuitId, End};
use crate::dialling::{By, DialFailure, Way};
use crate::limits::{CARRIED_MAX, CARRIERS_TRIED};
use crate::links::{Direction, Link, LinkId, RELAY_ROLE, is_authority};

impl Node {
    /// Somebody asks for a circuit to a node. The random token goes to that node, as soon as its
    /// link is ready; whoever brings it is the other end.
    ///
    /// # Errors
    /// [`Refusal`]: the asker is told its code.
    pub fn handle_circuit_asked(
        &mut self,
        asker: &Verified<Member>,
        to: &NodeName,
        token: Token,
        now: Now,
    ) -> Result<CircuitId, Refusal> {
        self.verifier.recheck(asker, now.wall)?;
        if !self.is_relay() {
            self.may_carry(asker, to)?;
        }
        let unreachable = || Refusal::new(Code::Unreachable, format!("{to} is not linked here"));
        let (link, entry) = self.links.direct(to).ok_or_else(unreachable)?;
        let (called, ready) = (&entry.member, entry.ready);
        self.may_join(asker, called)?;
        let id = self.circuits.ask(End::of(asker), End::of(called), token, now.tick)?;
        if ready {
            self.tell_calls(link, to);
        }
        Ok(id)
    }

    /// A node hears who asked for it, on its link: now, and when the link has become ready.
    pub(super) fn tell_calls(&mut self, link: LinkId, node: &NodeName) {
        for (token, from) in self.circuits.untold(node) {
            self.send(link, &Body::Circuit(Circuit::Call { token, from }));
        }
    }

    /// A link that was coming up ended: whoever asked for its node need not wait.
    pub(super) fn lose_calls(&mut self, node: &NodeName) {
        if self.links.direct(node).is_some() {
            return;
        }
        for circuit in self.circuits.unheard(node) {
            self.push(Action::EndCircuit { circuit, code: Code::Unreachable });
        }
    }

    /// Somebody brings the token of a call.
    ///
    /// # Errors
    /// [`Refusal`]: the taker is told its code.
    pub fn handle_circuit_taken(
        &mut self,
        taker: &Verified<Member>,
        token: Token,
        now: Now,
    ) -> Result<CircuitId, Refusal> {
        self.verifier.recheck(taker, now.wall)?;
        let id = self.circuits.take(End::of(taker), token, now.tick)?;
        if let Some((from, to)) = self.circuits.ends(id) {
            self.tell(Event::CircuitMade { from, to });
        }
        Ok(id)
    }

    /// A circuit ended by itself, or never became one.
    pub fn handle_circuit_ended(&mut self, circuit: CircuitId) {
        self.circuits.ended(circuit);
    }

    /// How many circuits go through us, open calls included.
    #[must_use]
    pub fn circuits(&self) -> usize {
        self.circuits.len()
    }

    /// Changes how much of others' traffic we carry; the circuits there are stay.
    pub const fn set_circuit_bounds(&mut self, bounds: CircuitBounds) {
        self.circuits.bounds = bounds;
    }

    fn is_relay(&self) -> bool {
        self.settings.roles.iter().any(|role| role.as_str() == RELAY_ROLE)
    }

    pub(super) fn take_circuit(
        &mut self,
        link: LinkId,
        circuit: Circuit,
        now: Now,
    ) -> Result<(), Refusal> {
        match circuit {
            Circuit::Call { token, from } => self.take_call(link, token, from, now),
            Circuit::Decline { token, code } => self.take_decline(link, token, code),
            Circuit::Punch { step, addresses } => self.take_punch(link, step, &addresses, now),
            Circuit::Ask(_) | Circuit::Take(_) | Circuit::Ready(_) => {
                return Err(Refusal::new(Code::Malformed, "a frame that has no place on a link"));
            }
        }
        Ok(())
    }

    /// A relay says that somebody wants to talk with us.
    fn take_call(&mut self, link: LinkId, token: Token, from: NodeName, now: Now) {
        let Some(entry) = self.links.get(link) else { return };
        let relay = entry.member.node().clone();
        // Any member that is linked with the authority carries for it.
        let any = self.is_the_authority() || is_called_authority(&from);
        let relays = any || entry.member.cert.attributes.has_role(RELAY_ROLE);
        let fit = entry.via.is_none() && relays;
        let barred = self.is_out(&from) || self.barred || from == self.settings.node;
        match self.relay_address(&relay, any).filter(|_| fit && !barred && self.has_time(now)) {
            Some(address) => {
                let call = Call::Answered { node: from, relay, address, token };
                self.push(Action::Dial(call));
            }
            None => {
                let code = Code::Policy;
                self.send(link, &Body::Circuit(Circuit::Decline { token, code }));
            }
        }
    }

    fn take_decline(&mut self, link: LinkId, token: Token, code: Code) {
        let Some(by) = self.links.get(link).map(|entry| entry.member.node().clone()) else {
            return;
        };
        if let Some(circuit) = self.circuits.decline(&by, token) {
            self.push(Action::EndCircuit { circuit, code });
        }
    }

    /// Ends every circuit of which one end is out now.
    pub(super) fn cut_circuits(&mut self) {
        let circuits = &mut self.circuits;
        let read = self.verifier.read_set(|set| circuits.barred(|ids| set.judge(ids)));
        for (circuit, node, mark) in read.unwrap_or_default() {
            self.push(Action::EndCircuit { circuit, code: Code::Unreachable });
            self.tell(Event::CircuitCut { node, mark });
        }
    }

    /// Ends every circuit that the policy denies now.
    pub(super) fn cut_forbidden_circuits(&mut self) {
        let law = &self.law;
        let may = |from: Who<'_>, to: Who<'_>| {
            from.is_authority()
                || to.is_authority()
                || law.decide(from, to, Request::Connect).allowed
        };
        for (circuit, from, to) in self.circuits.forbidden(may) {
            self.push(Action::EndCircuit { circuit, code: Code::Policy });
            self.tell(Event::CircuitForbidden { from, to });
        }
    }

    /// Calls nobody took, and circuits that had their time.
    pub(super) fn look_at_circuits(&mut self, now: Now) {
        for circuit in self.circuits.overdue(now.tick) {
            self.push(Action::EndCircuit { circuit, code: Code::Unreachable });
        }
    }

    /// Names the relays we are linked with in our presence, and says so when they change.
    pub(super) fn look_at_relays(&mut self, now: Now) {
        let most = shared::limits::RELAYS_MAX;
        let linked = self.links.relays().map(|link| link.member.node().clone());
        let mut linked: Vec<NodeName> = linked.collect();
        linked.sort();
        linked.dedup();
        // Those that were named already stay: others may be on their way through them.
        linked.sort_by_key(|node| !self.presence.relays.contains(node));
        linked.truncate(most);
        if linked != self.presence.relays {
            self.presence.relays = linked;
            if self.sign_presence(now).is_ok() {
                self.announce(now);
            }
        }
    }

    /// The call for one way to a node.
    pub(super) fn call(&mut self, node: NodeName, way: Way, now: Now) {
        match way {
            Way::Address(address) => self.push(Action::Dial(Call::Known { node, address })),
            Way::Relay(relay) => match self.relay_address(&relay, is_called_authority(&node)) {
                Some(address) => {
                    self.meetings.call(&node, now.tick);
                    self.push(Action::Dial(Call::Relayed { node, relay, address }));
                }
                None => {
                    let detail = format!("the relay {relay} is not known here");
                    let failure = DialFailure { code: None, by: By::Neither, detail, at: now.wall };
                    self.dialling.failed(&node, Some(failure), now.tick, &mut self.jitter);
                }
            },
        }
    }

    /// Where a relay can be dialled: where we dialled it, or where it says it is. `any` member will
    /// do for the authority.
    fn relay_address(&self, relay: &NodeName, any: bool) -> Option<String> {
        if *relay == self.settings.node || self.is_out(relay) {
            return None;
        }
        let dialled = |(_, link): (LinkId, &Link)| {
            let ours = link.direction == Direction::Out && link.via.is_none();
            ours.then(|| link.address.clone())
        };
        let linked = self.links.member_link(relay).and_then(dialled);
        let role = (!any).then_some(RELAY_ROLE);
        linked.or_else(|| self.directory.address_of(relay, role))
    }

    /// Relays that we are linked with, for nodes that name none themselves.
    pub(super) fn own_relays(&self) -> Vec<NodeName> {
        self.presence.relays.clone()
    }

    /// Whether we carry for two members although we are no relay: if one of them is the authority,
    /// and it is not much.
    fn may_carry(&self, asker: &Member, to: &NodeName) -> Result<(), Refusal> {
        if !is_authority(asker) && !is_called_authority(to) {
            return Err(Refusal::new(Code::Policy, "this node is no relay for it"));
        }
        if self.circuits.len() >= CARRIED_MAX {
            return Err(Refusal::new(Code::Quota, "no room for another circuit"));
        }
        Ok(())
    }

    /// Some neighbours that may be linked with the authority, other ones each time.
    pub(super) fn carriers(&mut self) -> Vec<NodeName> {
        let fit = |link: &&Link| link.ready && link.via.is_none() && !link.is_visitor();
        let linked = self.links.iter().map(|(_, link)| link).filter(fit);
        let mut names: Vec<NodeName> = linked.map(|link| link.member.node().clone()).collect();
        let count = u64::try_from(names.len()).unwrap_or_default();
        let turn = usize::try_from(self.jitter.below(count)).unwrap_or_default();
        names.rotate_left(turn);
        names.truncate(CARRIERS_TRIED);
        names
    }

    fn has_time(&self, now: Now) -> bool {
        !(self.settings.refuse_when_stale && self.is_stale(now))
    }
}

fn is_called_authority(node: &NodeName) -> bool {
    node.as_str() == NodeName::AUTHORITY
}
