//! The hall: sessions, topics and retained messages of one peer, shared by all its connections.
//!
//! Locks are taken in this order, and never the other way round: sessions, topics, one session,
//! shelf. Nobody holds one while waiting for anything else.
//!
//! **Invariant:** what the tree of topics holds is what the sessions hold.

mod bridging;
mod charting;
mod figures;
mod metering;
mod onward;
mod peers;
mod recall;
mod retain;
mod sessions;
mod subscriptions;
mod wills;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytestring::ByteString;
use shared::name::NodeName;
use shared::time::Timestamp;

use crate::chart::Chart;
use crate::counters::Counters;
use crate::held::Held;
use crate::identity::{Identity, Rights};
use crate::interest::Interest;
use crate::journal::Journal;
use crate::limits;
use crate::message::{Message, SessionId};
use crate::publication::Publication;
use crate::queue::Total;
use crate::receipt::Receipt;
use crate::retained::{RetainedBounds, Shelf};
use crate::route::{From, Route, Spread, Spreading, Topics};
use crate::seen::Seen;
use crate::session::{Owner, Session};

pub use charting::Notary;
pub(crate) use charting::{HEADS, LINK_STATE};
pub use figures::{SessionView, WayView};
pub(crate) use peers::{DIGEST, PEER_CLIENT, TAKEN};
pub(crate) use sessions::Leaving;

/// How much a peer's endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Bytes of one session's queue.
    pub queue_bytes: usize,
    /// Retained messages.
    pub retained: RetainedBounds,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            sessions: limits::SESSIONS,
            queue_bytes: limits::QUEUE_BYTES,
            retained: RetainedBounds { count: limits::RETAINED, bytes: limits::RETAINED_BYTES },
        }
    }
}

/// What the endpoint is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This peer.
    pub node: NodeName,
    /// Its run, for identifiers that it gives to clients.
    pub run: u64,
    /// How much it holds.
    pub bounds: Bounds,
    /// Whether what an identity retained goes when it is out.
    pub purge_retained: bool,
}

/// The MQTT endpoint of a peer, without its sockets.
pub struct Broker {
    pub(crate) settings: Settings,
    /// What has to be written to the disk.
    pub journal: Journal,
    /// Figures of this run.
    pub counters: Counters,
    rights: RwLock<(u64, Arc<Rights>)>,
    sessions: Mutex<Sessions>,
    topics: RwLock<Topics>,
    /// Goes up with every change of topics or rights: routes found before are found anew.
    version: AtomicU64,
    turn: AtomicUsize,
    meters: Mutex<metering::Meters>,
    shelf: Mutex<Shelf>,
    pub(crate) interest: Interest,
    chart: Mutex<Chart>,
    /// Goes up with every change of the chart that neighbours may have to hear of.
    edition: AtomicU64,
    /// Whether there are peers that we are not linked with and that are brought messages.
    partial: AtomicBool,
    /// Whether the ways may have changed since what waits was looked at.
    moving: AtomicBool,
    notary: RwLock<Option<Arc<dyn Notary>>>,
    /// Numbers given to messages that cross several links, and those that came.
    numbered: AtomicU64,
    seen: Mutex<Seen>,
    /// Whose word from other peers is not passed on: those who are out.
    barred: RwLock<Option<Barred>>,
}

/// Whether somebody is out whose certificate is valid since a moment.
pub type Barred = Box<dyn Fn(&NodeName, Timestamp) -> bool + Send + Sync>;

/// All sessions.
#[derive(Debug, Default)]
struct Sessions {
    by_owner: BTreeMap<Owner, Arc<Session>>,
    by_id: BTreeMap<SessionId, Arc<Session>>,
    /// Those of other peers.
    peers: BTreeSet<SessionId>,
    last_id: SessionId,
    last_connection: u64,
    /// When to look at which session: its will, or its end; and the same by session.
    due: BTreeSet<(Timestamp, SessionId)>,
    due_of: BTreeMap<SessionId, Vec<Timestamp>>,
    /// Bytes that wait in all of them.
    queued: Total,
    /// Wills that wait (§3.1.3.2.2).
    wills: BTreeMap<SessionId, (Timestamp, Message)>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("node", &self.settings.node).finish_non_exhaustive()
    }
}

impl Broker {
    /// An endpoint without sessions.
    #[must_use]
    pub fn new(settings: Settings, rights: Rights) -> Self {
        Self {
            shelf: Mutex::new(Shelf::new(settings.bounds.retained)),
            settings,
            journal: Journal::default(),
            counters: Counters::default(),
            rights: RwLock::new((1, Arc::new(rights))),
            sessions: Mutex::default(),
            topics: RwLock::default(),
            version: AtomicU64::new(1),
            turn: AtomicUsize::new(0),
            meters: Mutex::default(),
            interest: Interest::default(),
            chart: Mutex::default(),
            edition: AtomicU64::new(1),
            partial: AtomicBool::new(false),
            moving: AtomicBool::new(false),
            notary: RwLock::new(None),
            numbered: AtomicU64::new(0),
            seen: Mutex::default(),
            barred: RwLock::new(None),
        }
    }

    /// This peer's name.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.settings.node
    }

    /// How much it holds.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        self.settings.bounds
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The policy that holds, and a number that tells it from others.
    pub(crate) fn rights(&self) -> (u64, Arc<Rights>) {
        let rights = self.rights.read().unwrap_or_else(PoisonError::into_inner);
        (rights.0, Arc::clone(&rights.1))
    }

    pub(crate) fn rights_number(&self) -> u64 {
        self.rights.read().unwrap_or_else(PoisonError::into_inner).0
    }

    /// A new policy: subscriptions that it does not allow any more end.
    pub fn set_rights(&self, rights: Rights) {
        {
            let mut current = self.rights.write().unwrap_or_else(PoisonError::into_inner);
            *current = (current.0 + 1, Arc::new(rights));
        }
        self.changed();
        self.judge_subscriptions();
    }

    /// The receivers of a topic: whose sessions are here, and peers further off.
    pub(crate) fn route(&self, topic: &str, from: From) -> Route {
        let (ways, far) = match from {
            From::Peer => Default::default(),
            _ => self.far(topic),
        };
        let mut route = Route::find(&self.topics(), topic, from, &ways);
        self.add_far(&mut route, topic, &far);
        route
    }

    /// Hands a message to everybody on this peer who wants it, and retains it if it is to be.
    pub(crate) fn spread(
        &self,
        route: &Route,
        publication: &mut Publication,
        receipt: &mut Option<Arc<Receipt>>,
        held: &mut Held,
    ) -> Spread {
        let retained = !publication.message.retain || self.retain(publication, receipt);
        let peers = match publication.stamp {
            Some(_) => self.readers(&publication.message.topic),
            None => Vec::new(),
        };
        if route.is_far || self.is_partial() {
            self.number(publication);
        }
        let mut spreading =
            Spreading { publication, receipt, held, journal: &self.journal, turn: &self.turn };
        let mut spread = route.spread(&mut spreading, &peers);
        for group in route.groups() {
            spread = spread.and(route.share(group, &mut spreading));
        }
        spread.refused |= !retained;
        spread
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_mut(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client's own identifier, if it has none (§3.1.3.1).
    pub(crate) fn assigned_client_id(&self, number: u64) -> ByteString {
        ByteString::from(format!("auto-{:x}-{number:x}", self.settings.run))
    }

    /// Whether somebody may publish here on a topic.
    #[must_use]
    pub fn may_publish(&self, identity: &Identity, client: &str, topic: &str) -> bool {
        let (_, rights) = self.rights();
        rights.may_publish(&rights.standing(identity.who()), client, topic)
    }
}
