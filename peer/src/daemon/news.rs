//! What the driver hears: everything that happens to a daemon, in one type and one bounded queue.

use std::path::PathBuf;

use peer_core::{
    AnswerTo, Arrival, Decision, DialFailure, Ended, Intake, LinkId, Owed, StreamId, Want,
};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::{Body, Number, Page, Priority};
use tokio::sync::{mpsc, oneshot};

use super::authority::Order;
use super::circuits::CircuitNews;
use super::finding::Finding;
use super::live::Handed;
use super::view::{Answer, Ask};
use crate::link::{KillSwitch, Queue};
use crate::outbox::Notice;

/// News waiting for the driver. Each link may have one batch in it at a time, so 1024 is a full
/// mesh of 128 links and all that arrives meanwhile.
pub(super) const NEWS_MAX: usize = 1024;

/// Something that happened.
pub(super) enum News {
    /// A greeting was read; the decision goes back to its connection.
    Arrived { arrival: Arrival, kill: KillSwitch, decide: oneshot::Sender<Decision> },
    /// The link can carry frames.
    Ready { link: LinkId, queue: Queue },
    /// Frames of one read, parsed.
    Bodies { link: LinkId, bodies: Vec<Body> },
    /// A link is gone.
    Ended { link: LinkId, ended: Ended },
    /// A dial did not become a link; `None`: there is a link with that node already.
    DialFailed { node: NodeName, failure: Option<DialFailure> },
    /// Something about finding others.
    Finding(Finding),
    /// Somebody at the door was refused before the node heard of them.
    TurnedAway { address: String, code: Option<Code>, by_us: bool, detail: String },
    /// The inbox has taken a message, or has not.
    Stored { link: LinkId, id: u64, refused: Option<Code> },
    /// An application has taken a pack.
    Handed(AnswerTo),
    /// An application listens.
    Listening(mpsc::Sender<Handed>),
    /// Something about a circuit through us.
    Circuit(CircuitNews),
    /// The inbox has taken a batch, or has not.
    Taken { link: LinkId, from: NodeName, priority: Priority, round: u32, intake: Intake },
    /// The outbox has something new.
    Queued { stream: StreamId, newest: Number },
    /// What the outbox has of a stream.
    Page { want: Want, page: Option<Box<Page>>, whole: bool },
    /// The outbox cannot be read now.
    Unread(Want),
    /// The outbox has dropped something.
    Dropped(Vec<Notice>),
    /// Receipts that have not come.
    Missing { to: NodeName, numbers: Vec<Number> },
    /// Receipts that were asked for again.
    Claimed { link: LinkId, from: NodeName, owed: Vec<Owed> },
    /// A command wants something.
    Asked { ask: Ask, reply: oneshot::Sender<Answer> },
    /// The program that this peer is a part of wants something.
    Order(Order),
    /// These files of the bundle changed; SIGHUP and commands name them all.
    Reload(Vec<PathBuf>),
}
