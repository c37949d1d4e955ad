//! Circuits through us, as the driver holds them: who waits for whom, and what to cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peer_core::{CircuitId, Event};
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::{Member, Verified};
use shared::wire::Token;
use tokio::sync::oneshot;

use super::driver::Driver;
use super::fabric::Fabric;
use crate::link::{KillSwitch, Secured};

/// Where the one who asked waits for the other end, or for the reason why there is none.
pub(super) type Partner = oneshot::Sender<Result<Box<Secured>, Code>>;

/// What happens at a relay.
pub(super) enum CircuitNews {
    /// A member asks for another.
    Asked {
        asker: Verified<Member>,
        address: String,
        to: NodeName,
        kill: KillSwitch,
        partner: Partner,
        decide: oneshot::Sender<Result<CircuitId, Code>>,
    },
    /// Somebody brings the token of a call; the answer is who waits for it.
    Taken {
        taker: Verified<Member>,
        address: String,
        token: Token,
        kill: KillSwitch,
        decide: oneshot::Sender<Result<Partner, Code>>,
    },
    /// A circuit is over.
    Ended(CircuitId),
    /// Not at a relay but by one: where it sees our listening port.
    Seen(Vec<SocketAddr>),
}

/// The circuits there are.
#[derive(Default)]
pub(super) struct Switchboard(BTreeMap<CircuitId, Line>);

struct Line {
    kills: Vec<KillSwitch>,
    partner: Option<Partner>,
}

impl Switchboard {
    /// Cuts a circuit, or tells the one who still waits for it.
    pub(super) fn end(&mut self, circuit: CircuitId, code: Code) {
        let Some(line) = self.0.remove(&circuit) else { return };
        match line.partner {
            Some(partner) => drop(partner.send(Err(code))),
            None => line.kills.iter().for_each(KillSwitch::kill),
        }
    }

    fn take(&mut self, circuit: CircuitId, kill: KillSwitch) -> Option<Partner> {
        let line = self.0.get_mut(&circuit)?;
        line.kills.push(kill);
        line.partner.take()
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        let kills = self.0.values().flat_map(|line| &line.kills);
        kills.for_each(KillSwitch::kill);
    }
}

impl<F: Fabric> Driver<F> {
    pub(super) fn hear_circuit(&mut self, news: CircuitNews, now: Now) {
        match news {
            CircuitNews::Asked { asker, address, to, kill, partner, decide } => {
                let asked = token()
                    .and_then(|token| self.node.handle_circuit_asked(&asker, &to, token, now));
                if let Ok(circuit) = &asked {
                    let line = Line { kills: vec![kill], partner: Some(partner) };
                    self.circuits.0.insert(*circuit, line);
                }
                let _ =
                    decide.send(asked.map_err(|refusal| self.refused(&asker, address, refusal)));
            }
            CircuitNews::Taken { taker, address, token, kill, decide } => {
                let gone = || Refusal::new(Code::Unreachable, "the one who called is gone");
                let taken = self.node.handle_circuit_taken(&taker, token, now);
                let partner = taken.and_then(|id| self.circuits.take(id, kill).ok_or_else(gone));
                let refused = partner.map_err(|refusal| self.refused(&taker, address, refusal));
                let _ = decide.send(refused);
            }
            CircuitNews::Seen(places) => self.node.handle_seen(places),
            CircuitNews::Ended(circuit) => {
                self.node.handle_circuit_ended(circuit);
                self.circuits.0.remove(&circuit);
            }
        }
    }

    fn refused(&mut self, member: &Verified<Member>, address: String, refusal: Refusal) -> Code {
        let Refusal { code, detail } = refusal;
        let node = member.node().clone();
        self.tell(&Event::Refused { node, address, code, detail });
        code
    }
}

fn token() -> Result<Token, Refusal> {
    let octets = host::random::bytes();
    octets.map(Token::new).map_err(|error| Refusal::new(Code::Policy, error.to_string()))
}
