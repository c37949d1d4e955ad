//! What commands ask the driver, and what it answers.

use std::time::Duration;

use peer_core::{
    Lead, LinkView, NodeView, Outcome, Prospect, Reach, Receiver, Renewed, StreamView, Target,
};
use shared::feed::{FeedError, Position, Update};
use shared::id::{InstanceId, Serial};
use shared::name::NodeName;
use shared::policy::Policy;
use shared::time::{Now, Timestamp};
use shared::wire::{Hop, Pack};

use super::renewal::RenewalView;
use super::telling::Incident;
use crate::control::policy::{Question, Why};

/// A question or an order.
pub(super) enum Ask {
    /// How are things?
    Status,
    /// Who is known?
    Nodes,
    /// Which way is it there?
    Trace { to: NodeName },
    /// Send a message.
    Send { to: NodeName, body: Vec<u8> },
    /// Send what only counts now.
    Pack { to: NodeName, pack: Pack },
    /// Send it to all that are linked.
    Broadcast { pack: Pack },
    /// Is it there?
    Ping { to: NodeName },
    /// Who is meant, and may they be sent to?
    Receivers(Target),
    /// How far are the queued messages?
    Streams,
    /// Which policy holds?
    Policy,
    /// May somebody do this?
    Why { from: NodeName, to: NodeName, question: Question },
    /// Ask the authority to certify a key.
    Renew { csr: Vec<u8> },
    /// A feed from a file.
    Feed(Box<Update>),
}

/// The answer.
pub(super) enum Answer {
    /// How things are.
    Status(Box<Snapshot>),
    /// Who is known, and when that was so.
    Nodes(Vec<(NodeView, Traffic)>, Now),
    /// The way to a node, and how long it took there and back.
    Way { path: Vec<Hop>, after: Duration },
    /// What became of a message or ping.
    Outcome { outcome: Outcome, after: Duration },
    /// How far a broadcast came.
    Reached(Reach),
    /// Who is meant.
    Receivers(Vec<Receiver>),
    /// How far queued messages are.
    Streams(Vec<StreamView>),
    /// The policy that holds.
    Policy(Box<Policy>),
    /// Whether somebody may; none if one of them is not known.
    Why(Option<Box<Why>>),
    /// What the authority said to a request to certify.
    Renewed(Renewed),
    /// What became of a feed: links cut, and the number now.
    Fed { outcome: Result<u32, FeedError>, number: u64 },
}

/// What went over a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) rtt: Option<Duration>,
}

/// How things are.
pub(super) struct Snapshot {
    pub(super) instance: InstanceId,
    pub(super) listening: String,
    pub(super) since: Timestamp,
    pub(super) position: Position,
    pub(super) next_update: Option<Timestamp>,
    pub(super) stale: bool,
    pub(super) links: Vec<(LinkView, Traffic)>,
    pub(super) known: Vec<(NodeName, Prospect)>,
    pub(super) leads: Vec<(String, Lead)>,
    pub(super) events: Vec<Incident>,
    pub(super) certificate: (Serial, Timestamp),
    pub(super) renewal: RenewalView,
    pub(super) now: Now,
}
