//! What commands and the daemon say about queued messages and about messages to many.

use peer_core::Target;
use serde::{Deserialize, Serialize};
use shared::name::{Label, NodeName};
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::Priority;

use super::protocol::{Body, code};

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// One node.
    Node(NodeName),
    /// A group.
    Group(Label),
    /// All.
    Everyone,
}

impl From<To> for Target {
    fn from(to: To) -> Self {
        match to {
            To::Node(node) => Self::Node(node),
            To::Group(group) => Self::Group(group),
            To::Everyone => Self::Everyone,
        }
    }
}

/// Messages to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailing {
    /// To whom.
    pub to: To,
    /// What, in this order.
    pub bodies: Vec<Body>,
    /// How to queue them; without it they are delivered now or not at all.
    pub queue: Option<Queueing>,
    /// How long to wait until they have arrived, in milliseconds.
    pub wait_ms: u64,
}

/// How messages are queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queueing {
    /// How urgent.
    #[serde(with = "priority")]
    pub priority: Priority,
    /// How long they may wait, in seconds.
    pub ttl_s: i64,
    /// Whether the receiver is to sign receipts.
    pub receipt: bool,
}

/// What became of messages to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailReply {
    /// The node.
    pub node: NodeName,
    /// What became of the last of them.
    #[serde(flatten)]
    pub outcome: MailOutcome,
    /// How many were taken.
    pub count: u64,
    /// The number of the last, if they were queued.
    pub id: Option<String>,
    /// After how long, in milliseconds.
    pub ms: u64,
    /// The receipt.
    pub receipt: Option<Body>,
}

/// What became of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum MailOutcome {
    /// They are on the receiver's disk.
    Delivered,
    /// They wait.
    Queued {
        /// Until then.
        until: Timestamp,
        /// For what.
        why: Option<String>,
    },
    /// One side refused.
    Refused {
        /// Why.
        #[serde(with = "code")]
        code: Code,
    },
    /// There is no way to the receiver.
    Unreachable {
        /// Why.
        why: String,
    },
    /// They were queued and dropped.
    Dropped {
        /// Why.
        why: String,
    },
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedItem {
    /// Its number.
    pub id: String,
    /// For whom.
    pub to: NodeName,
    /// How urgent.
    #[serde(with = "priority")]
    pub priority: Priority,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Bytes of its body.
    pub bytes: u64,
    /// Whether a receipt is wanted.
    pub receipt: bool,
    /// How often its stream began again.
    pub tries: u32,
    /// What it waits for.
    pub why: String,
}

/// Messages that were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneItem {
    /// When.
    pub at: Timestamp,
    /// For whom they were.
    pub to: NodeName,
    /// How urgent.
    #[serde(with = "priority")]
    pub priority: Priority,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: String,
    /// The last.
    pub last: String,
    /// Why.
    pub reason: String,
}

/// A receipt that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptItem {
    /// Of which message.
    pub id: String,
    /// The signed statement.
    pub statement: Body,
}

/// A priority as its word.
mod priority {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use shared::wire::Priority;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
    pub(super) fn serialize<S: Serializer>(it: &Priority, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(it.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Priority, D::Error> {
        let text = String::deserialize(from)?;
        Priority::parse(&text).ok_or_else(|| serde::de::Error::custom("not a priority"))
    }
}
