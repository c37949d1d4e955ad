//! What the daemon says of its MQTT endpoint; part of the control protocol.

use serde::{Deserialize, Serialize};

/// The endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MqttStatus {
    /// Where it listens.
    pub doors: Vec<DoorStatus>,
    /// How many sessions there are.
    pub session_count: usize,
    /// The first of them, connected or not.
    pub sessions: Vec<SessionStatus>,
    /// Filters that other peers are asked for.
    pub interest: usize,
    /// Peers that this one has no link with, and the way to each.
    pub ways: Vec<WayStatus>,
    /// Messages that other peers brought.
    pub carried: u64,
    /// Messages to peers further off that nobody could bring nearer.
    pub lost: u64,
    /// Retained messages.
    pub retained: usize,
    /// PUBLISH packets that came from clients.
    pub received: u64,
    /// Messages of QoS 1 and 2 written for clients.
    pub sent: u64,
    /// Messages that the policy did not let pass.
    pub denied: u64,
    /// Messages beyond a quota, refused or dropped.
    pub beyond_quota: u64,
    /// How often a connection was not read for a while because of a quota.
    pub slowed: u64,
}

/// One door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorStatus {
    /// `mqtt`, `mqtts`, `mqtt-ws` or `unix`.
    pub kind: String,
    /// `HOST:PORT`, or a path.
    pub address: String,
}

/// The way to one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayStatus {
    /// Which peer.
    pub node: String,
    /// The linked peer that its messages go to next.
    pub next: String,
    /// Whether the way leads to it now; if not, its messages wait at its end.
    pub reachable: bool,
    /// How many filters it said that it wants.
    pub filter_count: usize,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The certificate's node, or the peer's own.
    pub identity: String,
    /// The client's identifier, escaped.
    pub client: String,
    /// Whether it has a connection.
    pub connected: bool,
    /// Its first filters, escaped.
    pub filters: Vec<String>,
    /// How many it has.
    pub filter_count: usize,
    /// Messages of QoS 1 and 2 that wait.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Messages that found no room.
    pub dropped: u64,
    /// How long it lasts without a connection, in seconds.
    pub expiry_s: u32,
}
