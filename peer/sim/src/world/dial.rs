//! Dials: connect, handshake and greeting, each after the round trips it takes.
//!
//! SYN, SYN-ACK, ClientHello, the server's flight: four one-way trips until the dialler knows the
//! listener's certificate and says HELLO; it is heard, with the dialler's certificate, after the
//! fifth; WELCOME after the sixth.

use peer_core::{Arrival, By, Call, Decision, DialFailure, Direction, Ended, LinkId};
use shared::cert::Usage;
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Timestamp;
use shared::verify::{Member, Verified};
use shared::wire::Greeting;

use super::{Dial, Happening, World};
use crate::authority::START;

/// How long connecting to a machine that does not answer takes, in ms, as in the daemon.
const CONNECT_MS: u64 = 3_000;
/// What a handshake sends, hybrid key exchange and headers included: the dialler's two flights.
const DIALLER_BYTES: u64 = 2_200;
/// The listener's flight.
const LISTENER_BYTES: u64 = 2_000;

impl World {
    pub(super) fn dial(&mut self, from: usize, call: Call) {
        let to = match &call {
            Call::Known { address, .. } | Call::Unnamed { address } => address.clone(),
            // A relay's circuits are the shell's: `tests/relay.rs` has them.
            _ => return,
        };
        let found = self.by_address.get(&to).copied();
        if found.is_none() {
            *self.knocks.entry(to).or_default() += 1;
        }
        let (now_ms, trip) = (self.now_ms(), self.weather.one_way_ms);
        let dial = Dial { from, run: self.hosts[from].run, call, to: found.unwrap_or(from) };
        if found.is_none_or(|to| !self.hosts[to].up) {
            let failure = failed(By::Neither, None, "connection refused");
            return self.queue.put(now_ms + 2 * trip, Happening::Failed { dial, failure });
        }
        if !self.reachable(from, dial.to) {
            let failure = failed(By::Neither, None, "no answer");
            return self.queue.put(now_ms + CONNECT_MS, Happening::Failed { dial, failure });
        }
        let delay: u64 = (0..4).map(|_| self.weather.delay(0, &mut self.random)).sum();
        self.hosts[from].sent.bytes += DIALLER_BYTES;
        self.hosts[dial.to].sent.bytes += LISTENER_BYTES;
        self.queue.put(now_ms + delay, Happening::Secured { dial });
    }

    /// What one host's verifier says of another's chain.
    fn judge(&self, judge: usize, of: usize, usage: Usage) -> Result<Verified<Member>, Refusal> {
        let now = self.now_at(judge).wall;
        self.hosts[judge].verifier.admit(&self.hosts[of].chain(), usage, None, now)
    }

    pub(super) fn say_hello(&mut self, dial: Dial) {
        let expected = match &dial.call {
            Call::Known { node, .. } => Some(node),
            _ => None,
        };
        let wrong = |server: &Verified<Member>| expected.is_some_and(|name| name != server.node());
        let code = match self.judge(dial.from, dial.to, Usage::Server) {
            Ok(server) if wrong(&server) => Some(Code::WrongName),
            Ok(_) => None,
            Err(refusal) => Some(refusal.code),
        };
        if code.is_some() {
            return self.hear_failed(&dial, failed(By::Us, code, "refused"));
        }
        let greeting = self.hosts[dial.from].node.greeting();
        self.hosts[dial.from].sent.bytes += greeting.presence.len() as u64;
        let at = self.now_ms() + self.weather.delay(greeting.presence.len(), &mut self.random);
        self.queue.put(at, Happening::Hello { dial, greeting });
    }

    pub(super) fn hear_hello(&mut self, dial: Dial, greeting: Greeting) {
        if !self.hosts[dial.to].up || !self.is_current(&dial) {
            return self.answer(dial, failed(By::Neither, None, "connection reset"));
        }
        let client = match self.judge(dial.to, dial.from, Usage::Client) {
            Ok(client) => client,
            Err(refusal) => {
                return self.answer(dial, failed(By::Them, Some(refusal.code), "refused"));
            }
        };
        let Ok(server) = self.judge(dial.from, dial.to, Usage::Server) else {
            return self.answer(dial, failed(By::Us, Some(Code::Revoked), "refused"));
        };
        let (near, far) = self.wires.number();
        let (to, now) = (dial.to, self.now_at(dial.to));
        let arrival = arrival(far, client, greeting, Direction::In);
        match self.hosts[to].node.handle_arrival(arrival, now) {
            Decision::Welcome(greeting) => self.welcome(dial, (near, far), greeting, server),
            Decision::Goodbye => self.answer(dial, None),
            Decision::Refuse(refusal) => {
                self.answer(dial, failed(By::Them, Some(refusal.code), &refusal.detail));
            }
        }
        self.settle(to);
    }

    fn welcome(
        &mut self,
        dial: Dial,
        (near, far): (LinkId, LinkId),
        greeting: Box<Greeting>,
        server: Verified<Member>,
    ) {
        let (to, now_ms) = (dial.to, self.now_ms());
        self.wires.lay((near, dial.from), (far, to), now_ms);
        let delay = self.weather.delay(greeting.presence.len(), &mut self.random);
        self.hosts[to].sent.bytes += greeting.presence.len() as u64;
        let at = self.wires.arrival(far, now_ms, delay).unwrap_or(now_ms);
        self.queue.put(at, Happening::Welcome { dial, near, greeting, server });
        let now = self.now_at(to);
        self.hosts[to].node.handle_ready(far, now);
    }

    pub(super) fn hear_welcome(
        &mut self,
        dial: Dial,
        near: LinkId,
        greeting: Greeting,
        server: Verified<Member>,
    ) {
        if self.wires.get(near).is_none() || !self.is_current(&dial) {
            return self.hear_failed(&dial, failed(By::Neither, None, "connection reset"));
        }
        let (from, now) = (dial.from, self.now_at(dial.from));
        let met = server.node().clone();
        let decision = self.hosts[from]
            .node
            .handle_arrival(arrival(near, server, greeting, Direction::Out), now);
        match decision {
            Decision::Welcome(_) => {
                self.meet(&dial, &met);
                self.hosts[from].node.handle_ready(near, now);
                self.settle(from);
            }
            Decision::Goodbye => {
                self.hang_up(near, Ended { refused: None, detail: "goodbye".to_owned() });
                self.hear_failed(&dial, None);
            }
            Decision::Refuse(refusal) => {
                let (code, detail) = (refusal.code, refusal.detail);
                let ended = Ended { refused: Some((code, By::Them)), detail: detail.clone() };
                self.hang_up(near, ended);
                self.hear_failed(&dial, failed(By::Us, Some(code), &detail));
            }
        }
    }

    /// Tells a dialler after a trip how it ended.
    fn answer(&mut self, dial: Dial, failure: Option<DialFailure>) {
        let at = self.now_ms() + self.weather.delay(0, &mut self.random);
        self.queue.put(at, Happening::Failed { dial, failure });
    }

    fn meet(&mut self, dial: &Dial, met: &NodeName) {
        let now = self.now_at(dial.from);
        if let Call::Unnamed { address } = &dial.call {
            self.hosts[dial.from].node.handle_met(address, met, now);
        }
    }

    pub(super) fn hear_failed(&mut self, dial: &Dial, failure: Option<DialFailure>) {
        if !self.is_current(dial) {
            return;
        }
        let now = self.now_at(dial.from);
        let node = &mut self.hosts[dial.from].node;
        match (&dial.call, failure) {
            (Call::Known { node: name, .. }, failure) => {
                node.handle_dial_failed(name, failure, now);
            }
            (Call::Unnamed { address }, Some(failure)) => {
                node.handle_lead_failed(address, failure, now);
            }
            (Call::Unnamed { .. }, None) => self.meet(dial, &crate::host::name(dial.to)),
            _ => {}
        }
        self.settle(dial.from);
    }

    /// Whether the dialler still is in the run in which it dialled.
    fn is_current(&self, dial: &Dial) -> bool {
        let host = &self.hosts[dial.from];
        host.up && host.run == dial.run
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a node is told of failures as an option")]
fn failed(by: By, code: Option<Code>, detail: &str) -> Option<DialFailure> {
    Some(DialFailure { code, by, detail: detail.to_owned(), at: Timestamp::from_s(START) })
}

fn arrival(
    link: LinkId,
    member: Verified<Member>,
    greeting: Greeting,
    direction: Direction,
) -> Arrival {
    let address = "simulated:1".to_owned();
    Arrival { link, member, greeting, direction, address, via: None }
}
