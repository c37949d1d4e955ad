//! The authority as a member: linked, found, and asked for renewals like any other peer, in this
//! process and under an identity that is in memory alone.
//!
//! **Invariant:** what is spread is the committed feed and policy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use host::fault::Fault;
use host::files::{self, Mode};
use peer::bundle::Bundle;
use peer::config::Template;
use peer::daemon::{Acknowledgement, Daemon, FindBy, NewsError, Of, RenewalRequest, Spread, Start};
use shared::cert::request;
use shared::feed::FeedError;
use shared::join::{Failure, KnownPeer};
use shared::limits::GRANT_PEERS_MAX;
use shared::name::NodeName;
use shared::wire::Ack;
use tokio::sync::mpsc;

use super::desk::Desk;
use crate::authority::{Authority, Holder};
use crate::error::CaError;
use crate::publish::{ACKS, Listening, Numbers, Publish, Report, absent};

/// Since when a member must have spoken to be expected to hear news, if it is not linked with us:
/// twice as long as a presence may be silent.
const RECENT_S: i64 = 15 * 60;

/// The authority's own peer.
pub(super) struct Mesh {
    daemon: Daemon,
    /// Where it listens.
    pub(super) listening: SocketAddr,
    /// The certificate it began with, DER.
    pub(super) shown: Vec<u8>,
    /// Up to where the peer has the feed.
    told: AtomicU64,
}

impl Mesh {
    /// Starts the peer. Peers that once answered are where it looks first.
    pub(super) async fn enter(authority: &Authority, listen: &str) -> Result<Self, Fault> {
        let bundle = open(authority)?;
        let lock = bundle.lock()?;
        let told = AtomicU64::new(bundle.feed.position().number);
        let shown = bundle.cert.der.clone();
        let seeds = authority.settings()?.via;
        let daemon = Daemon::start(Start {
            bundle,
            lock,
            listen: Some(listen.to_owned()),
            peers: Vec::new(),
            finding: FindBy { seeds, no_lan: false },
            mqtt: peer::config::MqttDoors::default(),
            time: peer::config::TimeDoors::default(),
            on_listening: Box::new(|_| {}),
        })
        .await?;
        let listening = daemon.listening;
        Ok(Self { daemon, listening, shown, told })
    }

    /// Says goodbye to every link.
    pub(super) async fn leave(self: Arc<Self>) {
        if let Some(mesh) = Arc::into_inner(self) {
            mesh.daemon.stop().await;
        }
    }

    /// Presents the authority's renewed certificate.
    pub(super) async fn renew(&self, identity: tls::Identity) -> Result<(), Fault> {
        self.daemon.replace_identity(identity).await
    }

    /// What members want certified.
    pub(super) async fn renewals(&self) -> mpsc::Receiver<RenewalRequest> {
        self.daemon.renewals().await
    }

    /// Nodes that a newcomer may dial first.
    pub(super) async fn acquaintances(&self) -> Vec<KnownPeer> {
        let mut known = self.daemon.acquaintances().await;
        known.truncate(GRANT_PEERS_MAX - 1);
        known
    }

    /// Brings feed and policy to everybody, and waits for acknowledgements.
    pub(super) async fn publish(
        &self,
        authority: &Authority,
        what: &Publish,
    ) -> Result<Report, CaError> {
        let number = authority.feed_position()?.number;
        let policy = authority.policy()?;
        let start = Instant::now();
        let feed = self.spread_feed(authority).await?;
        let spread_policy = match &policy {
            Some(held) => self.spread_policy(held.bytes.clone()).await?,
            None => None,
        };
        let policy = policy.map_or(0, |held| held.policy.number);
        let policy_sent = spread_policy.as_ref().is_some_and(|spread| spread.news);
        let mut report = Report { number, policy, ..Report::default() };
        let numbers = Numbers { feed: number, policy, policy_sent };
        let mut listening = Listening::new(numbers, what.news, start);
        if let Some(spread) = feed.or(spread_policy) {
            let recent = authority.now().plus_s(-RECENT_S);
            for expected in &spread.expected {
                if expected.linked || expected.said_at > recent {
                    let (node, theirs) = (expected.node.clone(), expected.policy_number);
                    listening.expect(node, theirs, what);
                }
            }
            listening.all_known = true;
            hear(spread.acknowledgements, &mut listening, start + ACKS).await;
        }
        report.peers = listening.into_peers();
        report.via = (!report.peers.is_empty()).then(|| self.listening.to_string());
        report.offline = absent(authority, what, &report)?;
        Ok(report)
    }

    /// What the peer does not have of the feed; everything, if it cannot be continued.
    async fn spread_feed(&self, authority: &Authority) -> Result<Option<Spread>, CaError> {
        for from in [self.told.load(Ordering::Relaxed), 0] {
            match self.daemon.feed(authority.feed_update(from)?).await {
                Ok(spread) => {
                    self.told.store(spread.number, Ordering::Relaxed);
                    return Ok(Some(spread));
                }
                Err(NewsError::Feed(FeedError::Gap { .. })) => {}
                Err(NewsError::Feed(FeedError::Older { theirs: ours, ours: theirs })) => {
                    // The network has a later one: the store is an old copy.
                    let via = self.listening.to_string();
                    return Err(CaError::RolledBack { ours, theirs, via });
                }
                Err(error) => return Err(CaError::Tls(error.to_string())),
            }
        }
        Ok(None)
    }

    async fn spread_policy(&self, bytes: Vec<u8>) -> Result<Option<Spread>, CaError> {
        let spread = self.daemon.policy(bytes).await;
        spread.map(Some).map_err(|error| CaError::Tls(error.to_string()))
    }
}

async fn hear(
    mut acknowledgements: mpsc::Receiver<Acknowledgement>,
    listening: &mut Listening,
    deadline: Instant,
) {
    while !listening.is_complete() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(Some(heard)) = tokio::time::timeout(left, acknowledgements.recv()).await else {
            return;
        };
        let Acknowledgement { of, number, node, cut } = heard;
        let ack = Ack { number, node, cut };
        match of {
            Of::Feed => listening.take_feed(&ack),
            Of::Policy => listening.take_policy(&ack),
        }
    }
}

/// Certifies members that ask over their links, until the peer ends.
pub(super) async fn certify(desk: Arc<Desk>, mut requests: mpsc::Receiver<RenewalRequest>) {
    while let Some(request) = requests.recv().await {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let RenewalRequest { from, csr, reply, .. } = request;
            let here = Arc::clone(&desk);
            let decided = desk.act(move || renew(&here, &from, &csr)).await;
            if let Err(failure) = &decided {
                desk.counters.refused(failure.code);
            }
            let _ = reply.send(decided);
        });
    }
}

fn renew(desk: &Desk, node: &NodeName, csr: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let authority = &desk.authority;
    let renewed = request::read(csr)
        .map_err(CaError::from)
        .and_then(|key| authority.renew(node, Some(Holder::Proven(&key))));
    match renewed {
        Ok(issued) => {
            desk.counters.renewed();
            tracing::info!(%node, serial = %issued.serial, "renewed over its link");
            Ok(issued.chain)
        }
        Err(error) => {
            tracing::info!(%node, "not renewed: {error}");
            Err(authority.failure(&error))
        }
    }
}

/// The folder the peer runs in: like a bundle, but without a key.
fn open(authority: &Authority) -> Result<Bundle, Fault> {
    let folder = authority.layout().mesh();
    files::make_private_dir(&folder)?;
    let template = Template::new(authority.network().clone(), NodeName::authority());
    let yaml = folder.join("node.yaml");
    if yaml.symlink_metadata().is_err() {
        files::write_atomic(&yaml, template.to_string().as_bytes(), Mode::Public)?;
    }
    let trust = authority.trust_pem();
    files::write_atomic(&folder.join("trust.pem"), trust.as_bytes(), Mode::Public)?;
    files::write_atomic(&folder.join("feed"), &authority.feed_file()?, Mode::Public)?;
    if let Some(policy) = authority.policy()? {
        files::write_atomic(&folder.join("policy"), &policy.bytes, Mode::Public)?;
    }
    let identity = authority.identity()?;
    let shown = tls::Identity { chain: identity.chain, key: identity.key };
    Ok(Bundle::open_as(&folder, shown, identity.boot)?)
}
