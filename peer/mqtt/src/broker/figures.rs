//! What the hall says of itself: `$SYS`, and the status for people.

use shared::name::NodeName;

use super::Broker;
use crate::limits::FILTERS_SHOWN;
use crate::session::Session;

/// The names and meanings that Mosquitto made usual.
const CONNECTED: &str = "$SYS/broker/clients/connected";
const SESSIONS: &str = "$SYS/broker/clients/total";
const RECEIVED: &str = "$SYS/broker/messages/received";
const SENT: &str = "$SYS/broker/messages/sent";
const DROPPED: &str = "$SYS/broker/publish/messages/dropped";
const RETAINED: &str = "$SYS/broker/retained messages/count";
const SUBSCRIPTIONS: &str = "$SYS/broker/subscriptions/count";
const UPTIME: &str = "$SYS/broker/uptime";
const VERSION: &str = "$SYS/broker/version";

/// One session, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Whose.
    pub identity: String,
    /// By which identifier.
    pub client: String,
    /// Whether it has a connection.
    pub connected: bool,
    /// Its first filters.
    pub filters: Vec<String>,
    /// How many it has.
    pub filter_count: usize,
    /// Messages of QoS 1 and 2 that wait.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Messages that found no room.
    pub dropped: u64,
    /// How long it lasts without a connection.
    pub expiry_s: u32,
}

/// The way to a peer that we have no link with, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayView {
    /// Which peer.
    pub node: String,
    /// The linked peer that brings things nearer to it.
    pub next: String,
    /// Whether the way leads there now; if not, that is where its messages wait.
    pub reachable: bool,
    /// How many filters it said that it wants.
    pub filter_count: usize,
}

impl Broker {
    /// Topics of `$SYS` with their values.
    #[must_use]
    pub fn figures(&self, uptime_s: i64) -> Vec<(&'static str, String)> {
        let all: Vec<_> = self.sessions().by_id.values().cloned().collect();
        let connected = all.iter().filter(|session| session.lock().online.is_some()).count();
        let dropped: u64 = all.iter().map(|session| session.lock().dropped).sum();
        let counters = &self.counters;
        vec![
            (CONNECTED, connected.to_string()),
            (SESSIONS, all.len().to_string()),
            (RECEIVED, counters.received.get().to_string()),
            (SENT, counters.sent.get().to_string()),
            (DROPPED, (dropped + counters.denied.get()).to_string()),
            (RETAINED, self.shelf().count().to_string()),
            (SUBSCRIPTIONS, self.topics().len().to_string()),
            (UPTIME, format!("{uptime_s} seconds")),
            (VERSION, format!("conclave {}", env!("CARGO_PKG_VERSION"))),
        ]
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions().by_id.len()
    }

    /// The first sessions, for people.
    #[must_use]
    pub fn views(&self, max: usize) -> Vec<SessionView> {
        let all: Vec<_> = self.sessions().by_owner.values().take(max).cloned().collect();
        all.iter().map(|session| view(session)).collect()
    }

    /// The ways to peers that we have no link with.
    #[must_use]
    pub fn ways(&self, max: usize) -> Vec<WayView> {
        let chart = self.chart();
        let ways = chart.ways();
        let view = |(node, next): (&NodeName, &NodeName)| WayView {
            node: node.to_string(),
            next: next.to_string(),
            reachable: ways.reachable.contains(node),
            filter_count: chart.wish_count(node),
        };
        ways.all().take(max).map(view).collect()
    }

    /// How many filters other peers are asked for.
    #[must_use]
    pub fn interest_count(&self) -> usize {
        self.interest.len()
    }

    /// How many messages are retained.
    #[must_use]
    pub fn retained_count(&self) -> usize {
        self.shelf().count()
    }
}

fn view(session: &Session) -> SessionView {
    let inside = session.lock();
    let shown = inside.subscriptions.keys().take(FILTERS_SHOWN);
    SessionView {
        identity: session.owner.identity.to_string(),
        client: session.owner.client.to_string(),
        connected: inside.online.is_some(),
        filters: shown.map(ToString::to_string).collect(),
        filter_count: inside.subscriptions.len(),
        queued: inside.queue.len(),
        queued_bytes: inside.queue.bytes(),
        dropped: inside.dropped,
        expiry_s: inside.expiry_s,
    }
}
