//! A circuit's end: our connection with a relay, which from "ready" on carries the other end's
//! octets.
//!
//! **Invariant:** the relay has proved its role before it is told whom we look for; for the
//! authority any member will do.

use std::net::SocketAddr;

use peer_core::Via;
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::wire::{Body, Circuit};
use tls::Dialler;

use super::connect::connect_from;
use super::failure::Failure;
use super::handshake::{Patience, secure};
use super::kill::{Guarded, KillSwitch};
use super::secured::{Protocol, Secured};
use crate::limits;

/// The role of a certificate whose node may carry circuits.
const ROLE: &str = "relay";

/// A relay, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Relay<'a> {
    /// Whom to expect.
    pub node: &'a NodeName,
    /// `HOST:PORT`.
    pub address: &'a str,
    /// Whether any member will do, because one of the two ends is the authority.
    pub any: bool,
    /// Where we listen, so that the relay sees that port; `None` to use any other.
    pub home: Option<SocketAddr>,
}

/// A circuit that carries nothing yet.
pub struct Tunnel {
    pub(super) io: Guarded,
    pub(super) kill: KillSwitch,
    pub(super) remote: SocketAddr,
    /// The relay.
    pub via: Via,
    /// Where our listening port may be met: where the relay sees it, and where it is. None if the
    /// connection was made from another port.
    pub places: Vec<SocketAddr>,
}

/// Asks a relay for a circuit to a node, or takes a call; `say` is which.
///
/// # Errors
/// [`Failure`]: the relay's refusal, or that it cannot be reached.
pub async fn reach(relay: Relay<'_>, say: Circuit, dialler: &Dialler) -> Result<Tunnel, Failure> {
    let patience = Patience::default();
    let (tcp, from_home) = connect_from(relay.address, relay.home, patience.connect).await?;
    let here = tcp.local_addr().ok().filter(|_| from_home);
    let expected = Some(relay.node.clone());
    let mut secured = secure(tcp, expected, dialler, Protocol::Circuit, patience).await?;
    if !relay.any && !secured.member.cert.attributes.has_role(ROLE) {
        let detail = format!("{} has no certificate of a relay", relay.node);
        secured.refuse(Code::Policy).await;
        return Err(Failure::by_us(Refusal::new(Code::Policy, detail)));
    }
    secured.write_body(&Body::Circuit(say)).await?;
    match secured.read_body(limits::CIRCUIT_READY).await? {
        Body::Circuit(Circuit::Ready(seen)) => Ok(tunnel(secured, here, seen)),
        _ => {
            let failure = Failure::by_us(Refusal::new(Code::Malformed, "not what a relay says"));
            secured.refuse(Code::Malformed).await;
            Err(failure)
        }
    }
}

fn tunnel(secured: Secured, here: Option<SocketAddr>, seen: SocketAddr) -> Tunnel {
    let Secured { stream, buffer, kill, member, remote, .. } = secured;
    let mut places = Vec::new();
    if let Some(here) = here {
        places.push(seen);
        if here != seen {
            places.push(here);
        }
    }
    let io = Guarded::relayed(stream, buffer, kill.clone());
    Tunnel { io, kill, remote, via: Via { relay: member }, places }
}
