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
    /// Messages that other peers brought.
    pub carried: u64,
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
