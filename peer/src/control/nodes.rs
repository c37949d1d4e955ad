//! What the daemon says of the nodes it knows; part of the control protocol.

use serde::{Deserialize, Serialize};
use shared::name::NodeName;
use shared::time::Timestamp;

use super::protocol::Direction;

/// The way to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Path {
    /// It is this node itself.
    Own,
    /// A link of our own.
    Direct,
    /// A link through a relay.
    Relay {
        /// Through whom.
        via: NodeName,
    },
    /// Known, and not linked.
    Known,
    /// One side refused the other.
    Refused,
    /// It does not answer.
    Unreachable,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own => f.write_str("this node"),
            Self::Direct => f.write_str("direct"),
            Self::Relay { via } => write!(f, "relay via {via}"),
            Self::Known => f.write_str("known"),
            Self::Refused => f.write_str("refused"),
            Self::Unreachable => f.write_str("unreachable"),
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeName,
    /// The way there.
    pub path: Path,
    /// Where it says it can be dialled, or where we would.
    pub addresses: Vec<String>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// The neighbour that told us of it first, unless it came itself.
    pub introduced_by: Option<NodeName>,
    /// The link with it.
    pub link: Option<NodeLink>,
    /// What it said of itself; none if it was never heard.
    pub said: Option<Said>,
    /// The certificate it said it with.
    pub certificate: Option<Certificate>,
}

/// The way to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// From the first neighbour to the node itself; none if there is no way.
    pub steps: Vec<Step>,
    /// There and back, in microseconds.
    pub us: u64,
    /// Why there is none.
    pub why: Option<String>,
}

/// One step on the way to a node, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who.
    pub node: NodeName,
    /// The relay that carries its link to the next step.
    pub via: Option<NodeName>,
    /// How long it waited for the next step, in milliseconds.
    pub ms: u32,
}

/// The link with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLink {
    /// The other end.
    pub address: String,
    /// Who dialled.
    pub direction: Direction,
    /// Since when.
    pub since: Timestamp,
    /// The last round trip, in microseconds.
    pub rtt_us: Option<u64>,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The running instance, hexadecimal.
    pub instance: String,
    /// How often it has started.
    pub boot: u64,
    /// When it said so.
    pub at: Timestamp,
    /// The roles it fills.
    pub roles: Vec<String>,
    /// The feed's number it has.
    pub feed_number: u64,
    /// The policy's number it has.
    pub policy_number: u64,
    /// Relays through which it can be reached.
    pub relays: Vec<NodeName>,
}

/// A node's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial, hexadecimal.
    pub serial: String,
    /// SHA-256 of its key, hexadecimal.
    pub key: String,
    /// The groups it names.
    pub groups: Vec<String>,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
}
