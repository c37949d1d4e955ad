//! The MQTT endpoint of a running peer: its doors, its connections, its file.
//!
//! What MQTT is, the crate `mqtt` knows; here are sockets, certificates and the disk. A program
//! comes in over TLS with a certificate of the network, judged by the verifier that judges links;
//! or from this very machine, over loopback or the bundle's Unix socket, and then it is the peer
//! itself, or whom `node.yaml` maps its user name to.
//!
//! **Invariant:** a connection that came by certificate ends within a moment of the end of that
//! certificate's standing.

mod bridge;
mod caller;
mod disk;
mod doors;
mod guests;
mod notary;
mod peering;
mod serve;
mod status;
mod websocket;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use host::clock::Clock;
use host::fault::Fault;
use mqtt::{Broker, Identity, Rights, Settings};
use peer_core::Signer;
use shared::cert::Attributes;
use shared::name::NodeName;
use shared::policy::Policy;
use shared::time::Timestamp;
use shared::verify::Verifier;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::config;
use crate::control::bridge::BridgeStatus;
use crate::limits::MQTT_STRANGERS_MAX;
use bridge::Bridges;
use disk::Disk;
use guests::Guests;
use notary::NodeNotary;
use peering::Peers;

pub(crate) use bridge::Plans;
pub use bridge::{Checked, check, version_words};
pub use caller::{CallError, Caller, plain_connect};
use doors::Bound;
pub use doors::SOCKET;

/// How often what time brings is looked at: wills, expiries, ends of certificates.
const LOOK: Duration = Duration::from_millis(500);
/// How often `$SYS` is told.
const TELL: Duration = Duration::from_secs(10);

/// What an endpoint starts with.
pub(crate) struct Opening<'o> {
    /// What `node.yaml` and the command line say.
    pub(crate) config: &'o config::Mqtt,
    /// This peer.
    pub(crate) node: &'o NodeName,
    /// What its certificate says of it.
    pub(crate) attributes: &'o Attributes,
    /// This run, for identifiers given to clients.
    pub(crate) run: u64,
    /// Its bundle.
    pub(crate) folder: PathBuf,
    /// The policy that holds.
    pub(crate) policy: &'o Policy,
    /// Signs what this peer says of its links.
    pub(crate) signer: Signer,
    /// Judges certificates.
    pub(crate) verifier: Arc<Verifier>,
    /// Shakes hands.
    pub(crate) listener: Arc<tls::Listener>,
    /// Engines that topics are exchanged with.
    pub(crate) plans: Plans<'o>,
    /// The daemon's.
    pub(crate) clock: Clock,
}

/// A running endpoint.
pub(crate) struct Endpoint {
    broker: Arc<Broker>,
    /// Where it listens.
    doors: Vec<Bound>,
    shared: Arc<Shared>,
    peers: Peers,
    bridges: Bridges,
    tasks: Vec<JoinHandle<()>>,
}

/// What its connections share.
pub(super) struct Shared {
    broker: Arc<Broker>,
    clock: Clock,
    verifier: Arc<Verifier>,
    listener: Arc<tls::Listener>,
    own: RwLock<Arc<Identity>>,
    users: Arc<BTreeMap<String, Arc<Identity>>>,
    guests: Guests,
    room: Arc<Semaphore>,
}

impl Endpoint {
    /// Opens the file and the doors.
    ///
    /// # Errors
    /// [`Fault`] if one of them cannot be opened.
    pub(crate) async fn open(opening: Opening<'_>) -> Result<Self, Fault> {
        let own = Arc::new(Identity {
            name: Arc::new(opening.node.clone()),
            attributes: opening.attributes.clone(),
        });
        let rights = Rights::new(opening.policy, own.who());
        let bounds = opening.config.bounds;
        let settings = Settings {
            node: opening.node.clone(),
            run: opening.run,
            bounds,
            purge_retained: opening.config.purge_retained,
        };
        let broker = Arc::new(Broker::new(settings, rights));
        let verifier = Arc::clone(&opening.verifier);
        let notary = NodeNotary { signer: opening.signer, verifier: Arc::clone(&verifier) };
        broker.set_notary(Arc::new(notary));
        broker.set_barred(Box::new(move |name, since| is_out(&verifier, name, since)));
        let disk = Disk::open(&opening.folder.join("mqtt.redb"))?;
        disk.recall(&broker, opening.clock.now().wall)?;
        let shared = Arc::new(Shared {
            broker: Arc::clone(&broker),
            clock: opening.clock,
            verifier: opening.verifier,
            listener: opening.listener,
            own: RwLock::new(own),
            users: Arc::new(opening.config.users.clone()),
            guests: Guests::default(),
            room: Arc::new(Semaphore::new(bounds.sessions + MQTT_STRANGERS_MAX)),
        });
        let (doors, mut tasks) = doors::open(opening.config, &opening.folder, &shared).await?;
        tasks.push(tokio::spawn(disk.run(Arc::clone(&broker))));
        tasks.push(tokio::spawn(look(Arc::clone(&shared))));
        tasks.push(tokio::spawn(tell(Arc::clone(&shared))));
        let bridges = Bridges::begin(opening.plans, &opening.folder, &shared).await?;
        Ok(Self { broker, doors, shared, peers: Peers::default(), bridges, tasks })
    }

    /// Another policy holds.
    pub(crate) fn set_policy(&self, policy: &Policy) {
        let own = self.shared.own();
        self.broker.set_rights(Rights::new(policy, own.who()));
        self.bridges.kick();
    }

    /// `node.yaml` says something else of bridges now; says whether it does.
    ///
    /// # Errors
    /// [`Fault`] if a file that a bridge names cannot be read; nothing has changed then.
    pub(crate) fn set_bridges(&self, bridges: &[config::Bridge]) -> Result<bool, Fault> {
        self.bridges.replace(bridges, &self.shared)
    }

    /// How the bridges are.
    pub(crate) fn bridges(&self) -> Vec<BridgeStatus> {
        self.bridges.status(self.shared.clock.now())
    }

    /// We have another certificate, which may say something else of us.
    pub(crate) fn set_identity(&self, attributes: &Attributes, policy: &Policy, signer: Signer) {
        let verifier = Arc::clone(&self.shared.verifier);
        self.broker.set_notary(Arc::new(NodeNotary { signer, verifier }));
        let name = Arc::clone(&self.shared.own().name);
        let own = Arc::new(Identity { name, attributes: attributes.clone() });
        *self.shared.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        self.set_policy(policy);
    }

    /// The set of those who are out has changed: whoever is, is cut off here and now.
    pub(crate) fn judge(&self) {
        self.shared.judge();
    }

    /// Tells every client that this peer stops, and gives their wills time to be written.
    pub(crate) async fn close(&self) {
        self.broker.close();
        let empty = async {
            while self.shared.room.available_permits() < self.shared.room_max() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            while self.broker.journal.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), empty).await;
        self.bridges.abort();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn own(&self) -> Arc<Identity> {
        Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn room_max(&self) -> usize {
        self.broker.bounds().sessions + MQTT_STRANGERS_MAX
    }

    fn judge(&self) {
        let now = self.clock.now().wall;
        for name in self.guests.judge(&self.verifier, now) {
            tracing::info!(client = %name, "cut off: its certificate does not stand any more");
        }
        for name in self.broker.identities() {
            let mark = self.verifier.read_set(|set| set.revocation_of(&name));
            // A set that cannot be read bars everybody.
            let out = mark.map_or(Some(now), |mark| mark.map(|mark| mark.at));
            if let Some(at) = out {
                self.broker.expel_before(&name, at, now);
            }
        }
    }
}

/// Whether somebody is out who showed a certificate that is valid since a moment. A set that cannot
/// be read bars everybody.
fn is_out(verifier: &Verifier, name: &NodeName, since: Timestamp) -> bool {
    let read = verifier.read_set(|set| {
        let revoked = set.revocation_of(name).is_some_and(|mark| since.s() <= mark.at.s());
        revoked || set.hold_of(name).is_some()
    });
    read.unwrap_or(true)
}

async fn look(shared: Arc<Shared>) {
    let mut turn = tokio::time::interval(LOOK);
    loop {
        turn.tick().await;
        let now = shared.clock.now().wall;
        shared.broker.handle_timeout(now);
        shared.broker.sweep_retained(now);
        for name in shared.guests.judge(&shared.verifier, now) {
            tracing::info!(client = %name, "cut off: its certificate ended");
        }
    }
}

async fn tell(shared: Arc<Shared>) {
    let mut turn = tokio::time::interval(TELL);
    let began = shared.clock.now().wall;
    loop {
        turn.tick().await;
        let now = shared.clock.now().wall;
        for (topic, value) in shared.broker.figures(now.ms_since(began) / 1000) {
            shared.broker.tell(topic, &value, now);
        }
    }
}
