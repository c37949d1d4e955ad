//! What an authority that is online does by itself: signs the feed again in time, renews its own
//! certificate, learns who is there, and writes down what was refused.
//!
//! **Invariant:** nothing here ends because one turn failed; it is said and tried again, what is
//! left of it too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::join::KnownPeer;
use shared::limits::ADDRESSES_MAX;
use shared::name::NodeName;

use super::desk::Desk;
use super::mesh::Mesh;
use super::{Serve, reachable};
use crate::authority::Authority;
use crate::error::CaError;
use crate::publish::{News, Publish};

/// How often it is looked at what is due. Lives are minutes at least; a look costs a read.
const TURN: Duration = Duration::from_secs(5);
/// Turns between two records of refusals: one a minute at most.
const REFUSALS_TURNS: u32 = 12;

/// Who looks after the authority.
pub(super) struct Keeper {
    pub(super) desk: Arc<Desk>,
    /// Shows the authority's certificate at the door.
    pub(super) door: Arc<tls::Listener>,
    pub(super) peer: Arc<Mesh>,
    /// The authority's own certificate as the peer shows it, DER.
    pub(super) shown: Vec<u8>,
    /// Whether a feed was signed that has not gone out yet.
    pub(super) owes_feed: bool,
}

/// What one turn found to do besides.
#[derive(Default)]
struct Due {
    identity: Option<tls::Identity>,
    feed_signed: bool,
}

impl Keeper {
    /// Looks after the authority until it is aborted.
    pub(super) async fn keep(mut self, how: Serve) {
        let mut turns = tokio::time::interval(TURN);
        let mut count = 0_u32;
        loop {
            turns.tick().await;
            count = count.wrapping_add(1);
            if let Err(error) = self.turn(count.is_multiple_of(REFUSALS_TURNS)).await {
                tracing::warn!("not done, and tried again: {error}");
            }
            introduce(&self.desk, &self.peer, &how).await;
        }
    }

    async fn turn(&mut self, record: bool) -> Result<(), CaError> {
        let (desk, door) = (Arc::clone(&self.desk), Arc::clone(&self.door));
        let shown = self.shown.clone();
        // It reads and writes files.
        let looked = tokio::task::spawn_blocking(move || look(&desk, &door, &shown, record)).await;
        let due = looked.map_err(|_| CaError::Unusable)??;
        self.owes_feed |= due.feed_signed;
        let shown = match due.identity {
            Some(identity) => self.show(identity).await,
            None => Ok(()),
        };
        self.send_feed().await.and(shown)
    }

    async fn show(&mut self, identity: tls::Identity) -> Result<(), CaError> {
        let leaf = identity.chain.first().cloned().unwrap_or_default();
        let taken = self.peer.renew(identity).await;
        taken.map_err(|fault| CaError::Tls(fault.to_string()))?;
        self.shown = leaf;
        tracing::info!("the authority's own certificate was renewed");
        Ok(())
    }

    async fn send_feed(&mut self) -> Result<(), CaError> {
        if !self.owes_feed {
            return Ok(());
        }
        let what = Publish { news: News::Both, ..Publish::default() };
        let report = self.peer.publish(&self.desk.authority, &what).await?;
        self.owes_feed = false;
        let (heard, _) = report.acknowledged();
        let of = report.peers.len();
        tracing::info!(number = report.number, heard, of, "the feed was signed again");
        Ok(())
    }
}

/// Finds what is due; the authority's own certificate as long as it is not the one that is shown.
fn look(desk: &Desk, door: &tls::Listener, shown: &[u8], record: bool) -> Result<Due, CaError> {
    let authority: &Authority = &desk.authority;
    let mut due = Due::default();
    if authority.certificate_succeeds(shown) {
        let failed = |error: tls::TlsError| CaError::Tls(error.to_string());
        door.replace(&super::shown(authority)?).map_err(failed)?;
        let (chain, key) = authority.certificate()?;
        due.identity = Some(tls::Identity { chain, key });
    }
    if authority.feed_is_due()? {
        authority.refresh_feed()?;
        due.feed_signed = true;
    }
    if record {
        note_refusals(desk)?;
    }
    Ok(due)
}

/// Writes into the log what was refused since the last time.
pub(super) fn note_refusals(desk: &Desk) -> Result<(), CaError> {
    match desk.take_unlogged() {
        Some((count, last)) => desk.authority.note_refusals(count, &last),
        None => Ok(()),
    }
}

/// Learns whom newcomers may dial first: the authority's own peer, then whoever is there. One of
/// them is remembered for commands that find nobody online.
pub(super) async fn introduce(desk: &Desk, peer: &Mesh, how: &Serve) {
    let others = peer.acquaintances().await;
    let first = others.iter().find_map(|known| known.addresses.first());
    if let Some(address) =
        first.filter(|_| desk.authority.settings().is_ok_and(|s| s.via.is_empty()))
        && let Err(error) = desk.authority.remember_via(address)
    {
        tracing::warn!("a peer is not remembered: {error}");
    }
    let own = own_addresses(peer.listening, how);
    let own = (!own.is_empty()).then(|| KnownPeer { node: NodeName::authority(), addresses: own });
    let peers = own.into_iter().chain(others).collect();
    desk.meet(|around| around.peers = peers);
}

/// Where members link with the authority; behind a port forwarding on the host that is advertised.
/// Nowhere, if it only dials.
fn own_addresses(listening: SocketAddr, how: &Serve) -> Vec<String> {
    let port = listening.port();
    if port == 0 {
        return Vec::new();
    }
    let hosts = how.advertise.iter().filter_map(|address| Some(address.rsplit_once(':')?.0));
    let mut addresses: Vec<String> = hosts.map(|host| format!("{host}:{port}")).collect();
    if addresses.is_empty() {
        addresses = reachable(listening);
    }
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use host::clock::Clock;
    use host::seal::Cost;
    use shared::key::Algorithm;
    use shared::name::NetworkName;
    use shared::time::Timestamp;

    use super::*;
    use crate::authority::Init;

    #[test]
    fn a_certificate_is_taken_until_it_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let network = NetworkName::parse("mesh.example").unwrap();
        let clock: crate::authority::Clock = Arc::new(|| Timestamp::from_s(1_795_000_000));
        let (algorithm, passphrase, cost) = (Algorithm::P256, None, Cost::TEST);
        let init = Init { network, algorithm, passphrase, cost, clock };
        let state = place.path().join("state");
        Authority::init(&state, &init).unwrap();
        let registry = crate::Registry::open(&state, |_| {}).unwrap();
        let registry = registry.with_clock(Arc::clone(&init.clock));
        let authority = Arc::new(registry.unlock(|| panic!("it is in the clear")).unwrap());
        let door = super::super::listener(&authority).unwrap();
        let (chain, _) = authority.certificate().unwrap();
        let desk = Desk::new(authority, 0, Clock::start());
        let found = |shown: &[u8]| look(&desk, &door, shown, false).unwrap().identity;
        assert!(found(&chain[0]).is_none());
        // Whatever came in between, an earlier one is not what is to be shown.
        for _ in 0..2 {
            assert_eq!(found(b"an earlier one").unwrap().chain, chain);
        }
    }

    #[test]
    fn who_listens_nowhere_has_no_address_to_tell() {
        let how = |advertise: &[&str]| Serve {
            listen: "0.0.0.0:7443".to_owned(),
            advertise: advertise.iter().map(|&address| address.to_owned()).collect(),
            mesh: "none".to_owned(),
            metrics: None,
            grace_s: 0,
        };
        let at = |text: &str| text.parse().unwrap();
        let outside = ["ca.example:443"];
        assert!(own_addresses(at("0.0.0.0:0"), &how(&outside)).is_empty());
        assert!(own_addresses(at("0.0.0.0:0"), &how(&[])).is_empty());
        assert_eq!(own_addresses(at("192.0.2.1:7400"), &how(&outside)), ["ca.example:7400"]);
        assert_eq!(own_addresses(at("192.0.2.1:7400"), &how(&[])), ["192.0.2.1:7400"]);
    }
}
