//! What commands and the daemon say to one another: one JSON value a line.
//!
//! A connection carries one [`Request`] and then [`Reply`] lines, of which the last is
//! [`Reply::Done`] or [`Reply::Fault`]; a stream without one was cut.
//!
//! **Invariant:** a line is at most `CONTROL_LINE_BYTES_MAX` bytes.

use std::path::PathBuf;

use host::fault::{Exit, Fault};
use serde::{Deserialize, Serialize};
use shared::name::{NetworkName, NodeName};
use shared::refusal::Code;
use shared::time::Timestamp;

use super::bridge::BridgeStatus;
use super::metrics::Metric;
use super::mqtt::MqttStatus;
use super::nodes::{NodeStatus, Way};
use super::policy::{PolicyStatus, Why};
use super::post::{GoneItem, MailReply, Mailing, QueuedItem, ReceiptItem};
pub(super) use super::refusals::code;
pub use super::refusals::{By, Event, LastRefusal};
use super::time::{TimeAsk, TimeReply};
use crate::base64;

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How things are: one [`Reply::Status`].
    Status,
    /// The nodes that are known: [`Reply::Node`] for each.
    Nodes,
    /// The way to a node: one [`Reply::Way`].
    Trace {
        /// Which node.
        to: NodeName,
    },
    /// The policy that holds: one [`Reply::Policy`].
    Policy,
    /// Whether somebody may do something: one [`Reply::Why`].
    PolicyWhy {
        /// Who asks; this node, unless given.
        from: Option<NodeName>,
        /// Of whom.
        to: NodeName,
        /// What, as it is typed.
        action: String,
    },
    /// Sends one message: one [`Reply::Sent`].
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        body: Body,
        /// How long to wait for the receipt, in milliseconds.
        wait_ms: u64,
    },
    /// Sends messages to one or many, now or queued: one [`Reply::Mailed`] for each node.
    Mail(Mailing),
    /// What waits: [`Reply::Waiting`] for each message; and [`Reply::Gone`] for what was dropped.
    Outbox,
    /// Drops a message that waits: one [`Reply::Cleared`].
    OutboxDrop {
        /// Its number.
        id: String,
    },
    /// The mesh clock: [`Reply::Time`], as the question says.
    Time(TimeAsk),
    /// The MQTT endpoint: one [`Reply::Mqtt`].
    Mqtt,
    /// What is counted: one [`Reply::Metrics`].
    Metrics,
    /// Its bridges: [`Reply::Bridge`] for each.
    Bridges,
    /// Receipts that came: [`Reply::Receipt`] for each.
    Receipts,
    /// Measures the way to a node: [`Reply::Pong`] for each.
    Ping {
        /// Which node.
        to: NodeName,
        /// How often.
        count: u32,
    },
    /// Messages that came in: [`Reply::Item`] for each.
    Inbox {
        /// Only those after this number.
        after: u64,
        /// At most so many; without `follow`.
        max: u64,
        /// Go on with those that come.
        follow: bool,
    },
    /// Forgets messages: one [`Reply::Cleared`].
    InboxClear {
        /// Up to this number.
        through: u64,
    },
    /// Reads a feed file: one [`Reply::Feed`].
    FeedImport {
        /// Its absolute path.
        path: PathBuf,
    },
    /// Renews the certificate now: one [`Reply::Renewed`].
    Renew {
        /// For the key there is, instead of a fresh one.
        keep_key: bool,
    },
    /// Reads the bundle again.
    Reload,
    /// Ends the daemon.
    Stop,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// How things are.
    Status(Box<Status>),
    /// One node.
    Node(Box<NodeStatus>),
    /// The way to a node.
    Way(Way),
    /// The policy.
    Policy(PolicyStatus),
    /// The mesh clock.
    Time(TimeReply),
    /// The MQTT endpoint.
    Mqtt(Box<MqttStatus>),
    /// What is counted.
    Metrics {
        /// Each figure.
        metrics: Vec<Metric>,
    },
    /// A bridge.
    Bridge(Box<BridgeStatus>),
    /// Whether somebody may, and by which rule.
    Why(Why),
    /// What became of a message.
    Sent(SendReply),
    /// What became of messages to one node.
    Mailed(MailReply),
    /// A message that waits.
    Waiting(QueuedItem),
    /// Messages that were dropped.
    Gone(GoneItem),
    /// A receipt.
    Receipt(ReceiptItem),
    /// One ping.
    Pong(PingReply),
    /// One message.
    Item(InboxItem),
    /// How many messages were forgotten.
    Cleared {
        /// So many.
        count: u64,
    },
    /// The feed after an import.
    Feed {
        /// Its number.
        number: u64,
        /// Whether that was news.
        fresh: bool,
    },
    /// The certificate is renewed.
    Renewed {
        /// Until when.
        not_after: Timestamp,
    },
    /// Nothing more comes.
    Done,
    /// It did not work, and nothing more comes.
    Fault(FaultText),
}

/// A [`Fault`] on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultText {
    /// The exit code.
    pub exit: u8,
    /// What was wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Fault> for FaultText {
    fn from(fault: &Fault) -> Self {
        let hint = fault.hint_text().map(str::to_owned);
        Self { exit: fault.exit() as u8, what: fault.to_string(), hint }
    }
}

impl From<FaultText> for Fault {
    fn from(text: FaultText) -> Self {
        let make = match text.exit {
            code if code == Exit::Usage as u8 => Self::usage,
            code if code == Exit::Refused as u8 => Self::refused,
            code if code == Exit::NotRunning as u8 => Self::not_running,
            _ => Self::failed,
        };
        let fault = make(text.what);
        match text.hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// Bytes as base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Body(pub Vec<u8>);

impl TryFrom<String> for Body {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        base64::decode(&text).map(Self).ok_or("not base64")
    }
}

impl From<Body> for String {
    fn from(body: Body) -> Self {
        base64::encode(&body.0)
    }
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// Its network.
    pub network: NetworkName,
    /// The running instance, hexadecimal.
    pub instance: String,
    /// How often it has started.
    pub boot: u64,
    /// Where it listens.
    pub listening: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// Its certificate.
    pub certificate: CertificateStatus,
    /// Its feed.
    pub feed: FeedStatus,
    /// Its links.
    pub links: Vec<LinkStatus>,
    /// The other nodes it knows.
    pub known: Vec<KnownStatus>,
    /// Addresses whose node is not known.
    #[serde(default)]
    pub leads: Vec<LeadStatus>,
    /// Pieces of evidence in the bundle.
    #[serde(default)]
    pub evidence: usize,
    /// Refusals of late, the newest first.
    pub events: Vec<Event>,
}

/// Our certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its serial, hexadecimal.
    pub serial: String,
    /// notAfter.
    pub not_after: Timestamp,
    /// Whole days until then.
    pub days_left: i64,
    /// `fresh`, `due`, `late` (less than a third is left) or `ended`.
    pub urgency: String,
    /// When it is renewed, or tried again; none if somebody else does it.
    pub renewal: Option<Timestamp>,
    /// Why the last try did not succeed.
    pub setback: Option<String>,
}

/// Our feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its number.
    pub number: u64,
    /// When its head was signed.
    pub at: Option<Timestamp>,
    /// By when the authority means to sign again.
    pub next_update: Option<Timestamp>,
    /// Whether that has passed.
    pub stale: bool,
}

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// We.
    Out,
    /// They.
    In,
}

impl Direction {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// To whom.
    pub node: NodeName,
    /// The other end.
    pub address: String,
    /// Who dialled.
    pub direction: Direction,
    /// `direct`, or `relay via NODE`.
    pub path: String,
    /// Since when.
    pub since: Timestamp,
    /// notAfter of the other's certificate.
    pub cert_not_after: Timestamp,
    /// The number of the other's feed, as last heard.
    pub feed_number: u64,
    /// The last round trip, in microseconds.
    pub rtt_us: Option<u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
}

/// How we stand with a known node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownState {
    /// There is a link.
    Linked,
    /// We are at it.
    Dialling,
    /// One side refused.
    Refused,
    /// Nobody answered.
    Unreachable,
}

impl KnownState {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Dialling => "dialling",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A node we know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStatus {
    /// Its name.
    pub node: NodeName,
    /// Where we would dial it.
    pub address: Option<String>,
    /// How we stand.
    pub state: KnownState,
    /// The last refusal between us.
    pub last_refusal: Option<LastRefusal>,
    /// When we dial again.
    pub next_try: Option<Timestamp>,
}

/// An address whose node is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadStatus {
    /// The address.
    pub address: String,
    /// Whether a person gave it (`told`) or the local network did (`found`).
    pub source: String,
    /// The last refusal or failure there.
    pub last_failure: Option<String>,
    /// When we dial again.
    pub next_try: Timestamp,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReply {
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// After how long, in milliseconds.
    pub ms: u64,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// It is on the receiver's disk.
    Delivered,
    /// One side refused it.
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
}

/// One ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReply {
    /// Which one, from 1.
    pub seq: u32,
    /// The round trip in microseconds; none if there was no answer.
    pub rtt_us: Option<u64>,
    /// Why there was none.
    pub why: Option<String>,
}

/// One message that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Its number here.
    pub seq: u64,
    /// From whom.
    pub from: NodeName,
    /// When it was stored.
    pub at: Timestamp,
    /// What it says.
    pub body: Body,
}
