//! What an authority that is online does by itself: signs the feed again in time, renews its own
//! certificate, learns who is there, and writes down what was refused.
//!
//! **Invariant:** nothing here ends because one turn failed; it is said and tried again.

use std::sync::Arc;
use std::time::Duration;

use shared::join::KnownPeer;
use shared::limits::ADDRESSES_MAX;
use shared::name::NodeName;

use super::desk::Desk;
use super::mesh::Mesh;
use super::{Serve, reachable, shown};
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
}

/// What one turn found to do besides.
#[derive(Default)]
struct Due {
    identity: Option<tls::Identity>,
    feed_signed: bool,
}

impl Keeper {
    /// Looks after the authority until it is aborted.
    pub(super) async fn keep(self, how: Serve) {
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

    async fn turn(&self, record: bool) -> Result<(), CaError> {
        let (desk, door) = (Arc::clone(&self.desk), Arc::clone(&self.door));
        // It reads and writes files.
        let looked = tokio::task::spawn_blocking(move || look(&desk, &door, record)).await;
        let due = looked.map_err(|_| CaError::Unusable)??;
        if let Some(identity) = due.identity {
            let taken = self.peer.renew(identity).await;
            taken.map_err(|fault| CaError::Tls(fault.to_string()))?;
            tracing::info!("the authority's own certificate was renewed");
        }
        if due.feed_signed {
            let what = Publish { news: News::Both, ..Publish::default() };
            let report = self.peer.publish(&self.desk.authority, &what).await?;
            let (heard, _) = report.acknowledged();
            let of = report.peers.len();
            tracing::info!(number = report.number, heard, of, "the feed was signed again");
        }
        Ok(())
    }
}

fn look(desk: &Desk, door: &tls::Listener, record: bool) -> Result<Due, CaError> {
    let authority: &Authority = &desk.authority;
    let mut due = Due::default();
    if authority.certificate_is_due() {
        let failed = |error: tls::TlsError| CaError::Tls(error.to_string());
        door.replace(&shown(authority)?).map_err(failed)?;
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
    let own = KnownPeer { node: NodeName::authority(), addresses: own_addresses(peer, how) };
    let peers = std::iter::once(own).chain(others).collect();
    desk.meet(|around| around.peers = peers);
}

/// Where members link with the authority; behind a port forwarding on the host that is advertised.
fn own_addresses(peer: &Mesh, how: &Serve) -> Vec<String> {
    let port = peer.listening.port();
    let hosts = how.advertise.iter().filter_map(|address| Some(address.rsplit_once(':')?.0));
    let mut addresses: Vec<String> = hosts.map(|host| format!("{host}:{port}")).collect();
    if addresses.is_empty() {
        addresses = reachable(peer.listening);
    }
    addresses.truncate(ADDRESSES_MAX);
    addresses
}
