//! What the daemon says of its bridges; part of the control protocol.

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

/// How a bridge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BridgeState {
    /// Both sides are connected, and asked for what is to be carried.
    Up,
    /// It tries.
    Connecting,
    /// It waits before it tries again.
    Waiting,
}

impl BridgeState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
        }
    }
}

/// One bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeStatus {
    /// The engine's name, escaped.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Which MQTT is spoken with it.
    pub version: String,
    /// The file of roots that its certificate hangs from, if they are not the network's.
    pub ca: Option<String>,
    /// How it is.
    pub state: BridgeState,
    /// Since when.
    pub since: Timestamp,
    /// Messages that came in.
    pub incoming: u64,
    /// Messages that went out.
    pub outgoing: u64,
    /// Messages dropped because they had been where they would have gone.
    pub looped: u64,
    /// Messages dropped because nobody asked for them any more.
    pub strays: u64,
    /// Messages dropped because they were too large for the other side.
    pub unfit: u64,
    /// Messages of QoS 0 dropped because the other side did not keep up.
    pub lost: u64,
    /// Messages that this peer's policy or queues refused.
    pub refused_here: u64,
    /// Messages that the engine refused.
    pub refused_there: u64,
    /// Filters that are refused, each with its reason, escaped.
    pub refused_filters: Vec<String>,
    /// Why it was down last, escaped.
    pub last_error: Option<String>,
}
