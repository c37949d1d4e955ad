//! Connections that are not simply dialled or accepted: through a relay, for others as a relay, and
//! by meeting at an agreed moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peer_core::{Direction, LinkId};
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::wire::{Body, Circuit, Token};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::circuits::CircuitNews;
use super::connection::{Connector, GREETING, dial_failure};
use super::meeting::Over;
use super::news::News;
use crate::link::{self, Allowance, Failure, Pass, Protocol, Relay, Secured, Tunnel, splice};

impl Connector {
    async fn reach(
        &self,
        relay: &NodeName,
        address: &str,
        say: Circuit,
        any: bool,
    ) -> Result<Tunnel, Failure> {
        let relay = Relay { node: relay, address, any, home: self.meeting.home };
        let first = self.meeting.first().await;
        let tunnel = link::reach(relay, say, &self.dialler).await?;
        if !tunnel.places.is_empty() {
            self.meeting.seen();
            self.hear(News::Circuit(CircuitNews::Seen(tunnel.places.clone()))).await;
        }
        drop(first);
        Ok(tunnel)
    }

    /// Asks a relay for a node and serves the link until it ends.
    pub(super) async fn dial_relayed(
        self: Arc<Self>,
        node: NodeName,
        relay: NodeName,
        address: String,
    ) {
        let greeted = async {
            let any = node.as_str() == NodeName::AUTHORITY;
            let tunnel = self.reach(&relay, &address, Circuit::Ask(node.clone()), any).await;
            let tunnel = tunnel.map_err(|failure| by_relay(failure, &relay))?;
            let secured = link::dial_through(tunnel, node.clone(), &self.dialler).await?;
            self.greet_as_dialler(secured).await
        }
        .await;
        match greeted {
            Ok(Some((secured, link))) => self.run(secured, link).await,
            Ok(None) => self.hear(News::DialFailed { node, failure: None }).await,
            Err(failure) => {
                let failure = Some(dial_failure(failure));
                self.hear(News::DialFailed { node, failure }).await;
            }
        }
    }

    /// Takes a call and serves the link until it ends.
    pub(super) async fn answer_call(
        self: Arc<Self>,
        node: NodeName,
        relay: NodeName,
        address: String,
        token: Token,
    ) {
        match self.take_call(&node, &relay, &address, token).await {
            Ok(Some((secured, link))) => self.run(secured, link).await,
            Ok(None) => {}
            Err(Failure { code, by, detail, .. }) => {
                let who = format!("{node} through {relay}");
                self.turned_away(who, code, by == link::By::Us, detail);
            }
        }
    }

    async fn take_call(
        self: &Arc<Self>,
        node: &NodeName,
        relay: &NodeName,
        address: &str,
        token: Token,
    ) -> Result<Option<(Secured, LinkId)>, Failure> {
        let any = self.is_authority || node.as_str() == NodeName::AUTHORITY;
        let tunnel = self.reach(relay, address, Circuit::Take(token), any).await?;
        let secured = link::accept_through(tunnel, &self.listener).await?;
        let fit = secured.protocol == Protocol::Link && secured.member.node() == node;
        if fit {
            return self.greet_as_listener(secured).await;
        }
        let detail = format!("{relay} said {node}, and {} came", secured.member.node());
        let failure = super::connection::refused(&Refusal::new(Code::WrongName, detail), &secured);
        secured.refuse(Code::WrongName).await;
        Err(failure)
    }

    /// Serves a member that came for a circuit: as the one who asks, or as the one called.
    pub(super) async fn serve_circuit(self: Arc<Self>, mut secured: Secured, pass: Pass) {
        match secured.read_body(GREETING).await {
            Ok(Body::Circuit(Circuit::Ask(to))) => self.serve_asker(secured, to, pass).await,
            Ok(Body::Circuit(Circuit::Take(token))) => {
                self.serve_taker(secured, token, pass).await;
            }
            Ok(_) => {
                let remote = secured.remote.to_string();
                secured.refuse(Code::Malformed).await;
                let detail = "it came for a circuit and said something else".to_owned();
                self.turned_away(remote, Some(Code::Malformed), true, detail);
            }
            Err(Failure { code, by, detail, remote }) => {
                let remote = remote.map(|remote| remote.to_string()).unwrap_or_default();
                self.turned_away(remote, code, by == link::By::Us, detail);
            }
        }
    }

    async fn serve_asker(&self, secured: Secured, to: NodeName, pass: Pass) {
        let (partner, other_end) = oneshot::channel();
        let (decide, decision) = oneshot::channel();
        let (asker, kill) = (secured.member.clone(), secured.kill.clone());
        let address = secured.remote.to_string();
        let asked = CircuitNews::Asked { asker, address, to, kill, partner, decide };
        self.hear(News::Circuit(asked)).await;
        let decision = decision.await;
        drop(pass);
        let circuit = match decision {
            Ok(Ok(circuit)) => circuit,
            Ok(Err(code)) => return secured.refuse(code).await,
            Err(_) => return,
        };
        let wait = Duration::from_millis(peer_core::limits::CALL_MS);
        match tokio::time::timeout(wait, other_end).await {
            Ok(Ok(Ok(other))) => self.join(secured, *other).await,
            Ok(Ok(Err(code))) => secured.refuse(code).await,
            Ok(Err(_)) | Err(_) => secured.refuse(Code::Unreachable).await,
        }
        self.hear(News::Circuit(CircuitNews::Ended(circuit))).await;
    }

    async fn serve_taker(&self, secured: Secured, token: Token, pass: Pass) {
        let (decide, decision) = oneshot::channel();
        let (taker, kill) = (secured.member.clone(), secured.kill.clone());
        let address = secured.remote.to_string();
        let taken = CircuitNews::Taken { taker, address, token, kill, decide };
        self.hear(News::Circuit(taken)).await;
        let decision = decision.await;
        drop(pass);
        match decision {
            Ok(Ok(partner)) => {
                if let Err(Ok(secured)) = partner.send(Ok(Box::new(secured))) {
                    secured.refuse(Code::Unreachable).await;
                }
            }
            Ok(Err(code)) => secured.refuse(code).await,
            Err(_) => {}
        }
    }

    /// Tells both ends that the circuit is theirs, and carries it until it ends.
    async fn join(&self, mut asker: Secured, mut called: Secured) {
        let (here, there) = (asker.remote, called.remote);
        let early = !asker.is_quiet() || !called.is_quiet();
        let ready = |address| Body::Circuit(Circuit::Ready(address));
        if early || called.write_body(&ready(there)).await.is_err() {
            let code = if early { Code::Malformed } else { Code::Unreachable };
            return asker.refuse(code).await;
        }
        if asker.write_body(&ready(here)).await.is_ok() {
            splice(asker, called, self.allowance()).await;
        }
    }

    /// Begins to meet a node at each of its addresses; an earlier try is over.
    pub(super) fn meet_node(
        self: Arc<Self>,
        node: NodeName,
        addresses: Vec<SocketAddr>,
        direction: Direction,
    ) {
        let Some(home) = self.meeting.home else { return };
        let over = self.meeting.begin(&node, &addresses);
        let mut tries = JoinSet::new();
        for address in addresses {
            let (connector, node) = (Arc::clone(&self), node.clone());
            tries.spawn(async move {
                let tcp = connector.meeting.meet(address, home).await.ok()?;
                let secured = match direction {
                    Direction::Out => link::secure_as_dialler(tcp, node, &connector.dialler).await,
                    Direction::In => link::accept(tcp, &connector.listener).await,
                };
                secured.ok().inspect(Secured::settle)
            });
        }
        drop(match direction {
            Direction::Out => tokio::spawn(self.greet_first(tries, over)),
            Direction::In => tokio::spawn(self.welcome_each(tries, over)),
        });
    }

    /// The first connection that becomes a link stays.
    async fn greet_first(self: Arc<Self>, mut tries: Tries, mut over: Over) {
        while let Some(secured) = next_met(&mut tries, &mut over).await {
            if let Ok(Some((secured, link))) = self.greet_as_dialler(secured).await {
                drop(tries);
                return self.run(secured, link).await;
            }
        }
    }

    /// Which connection becomes a link is up to the other end.
    async fn welcome_each(self: Arc<Self>, mut tries: Tries, mut over: Over) {
        while let Some(secured) = next_met(&mut tries, &mut over).await {
            let connector = Arc::clone(&self);
            tokio::spawn(async move {
                if let Ok(Some((secured, link))) = connector.greet_as_listener(secured).await {
                    connector.run(secured, link).await;
                }
            });
        }
    }

    fn allowance(&self) -> Allowance {
        Allowance { per_second: self.circuit_rate, ..Allowance::default() }
    }
}

/// Connections with the places where a node may be met.
type Tries = JoinSet<Option<Secured>>;

/// The next one that is secured; none when all have failed, or when another try has begun.
async fn next_met(tries: &mut Tries, over: &mut Over) -> Option<Secured> {
    loop {
        let tried = tokio::select! {
            biased;
            _ = &mut *over => None,
            tried = tries.join_next() => tried,
        }?;
        if let Ok(Some(secured)) = tried {
            return Some(secured);
        }
    }
}

/// A relay's refusal as the one who dialled sees it; that a node is not there is nobody's refusal.
fn by_relay(failure: Failure, relay: &NodeName) -> Failure {
    let code = failure.code.filter(|code| *code != Code::Unreachable);
    Failure { code, detail: format!("through {relay}: {}", failure.detail), ..failure }
}
