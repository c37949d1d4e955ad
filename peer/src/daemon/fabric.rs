//! How links come and go: the seam where another kind of network can stand beside direct TCP.
//!
//! The driver knows only [`Fabric`]: dial a node, carry frames, cut. [`DirectFabric`] does it with
//! TCP: to known addresses, through members that are relays, and by meeting at an agreed moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use peer_core::{Call, LinkId, Way};
use shared::limits::{FEED_CHUNKS_MAX, FEED_DELTA_MAX};
use tokio::sync::mpsc;

use super::connection::Connector;
use crate::link::{Class, KillSwitch, Queue, QueueError};

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Queued.
    Yes,
    /// The link's queue of that class is full.
    Full,
    /// There is no such link any more.
    Gone,
}

/// Links, as the driver sees them. Events (a link came up, frames, it ended) arrive as news.
pub trait Fabric: Send + 'static {
    /// Begins to dial; the outcome arrives as news.
    fn dial(&mut self, call: Call);
    /// A connection asks to become a link: from now on it can be cut.
    fn register(&mut self, link: LinkId, kill: KillSwitch);
    /// The link can carry frames.
    fn open(&mut self, link: LinkId, queue: Queue);
    /// Queues a frame; never waits.
    fn send(&mut self, link: LinkId, class: Class, frame: Bytes) -> Carried;
    /// Ends a link and forgets it.
    fn end(&mut self, link: LinkId, way: Way);
    /// Forgets a link that ended by itself.
    fn forget(&mut self, link: LinkId);
}

/// Control frames that wait beside a link's full queue: the parts of the largest feed. A newcomer
/// without a feed is sent all of it at once; everybody else stays within the queue.
const BACKLOG_MAX: usize = FEED_CHUNKS_MAX + FEED_DELTA_MAX + 1024;

struct Slot {
    kill: KillSwitch,
    queue: Option<Queue>,
    /// Once the queue was full: where its control frames wait, in order.
    backlog: Option<mpsc::Sender<Bytes>>,
}

impl Slot {
    fn send(&mut self, class: Class, frame: Bytes) -> Carried {
        let Some(queue) = &self.queue else { return Carried::Gone };
        if let Some(backlog) = self.backlog.as_ref().filter(|_| class == Class::Control) {
            return carried(backlog.try_send(frame));
        }
        match queue.push(class, frame.clone()) {
            Ok(()) => Carried::Yes,
            Err(QueueError::Closed) => Carried::Gone,
            Err(QueueError::Full) if class == Class::Control => {
                let (backlog, waiting) = mpsc::channel(BACKLOG_MAX);
                tokio::spawn(feed(queue.clone(), waiting));
                let outcome = carried(backlog.try_send(frame));
                self.backlog = Some(backlog);
                outcome
            }
            Err(QueueError::Full) => Carried::Full,
        }
    }
}

fn carried(sent: Result<(), mpsc::error::TrySendError<Bytes>>) -> Carried {
    match sent {
        Ok(()) => Carried::Yes,
        Err(mpsc::error::TrySendError::Full(_)) => Carried::Full,
        Err(mpsc::error::TrySendError::Closed(_)) => Carried::Gone,
    }
}

/// Moves what waits into the queue as room comes; ends with the link.
async fn feed(queue: Queue, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(frame) = waiting.recv().await {
        if queue.push_wait(Class::Control, frame).await.is_err() {
            return;
        }
    }
}

/// Links over TCP to known addresses.
pub struct DirectFabric {
    connector: Arc<Connector>,
    slots: BTreeMap<LinkId, Slot>,
}

impl DirectFabric {
    pub(super) const fn new(connector: Arc<Connector>) -> Self {
        Self { connector, slots: BTreeMap::new() }
    }
}

impl Fabric for DirectFabric {
    fn dial(&mut self, call: Call) {
        tracing::debug!(?call, "dialling");
        let connector = Arc::clone(&self.connector);
        match call {
            Call::Known { node, address } => drop(tokio::spawn(connector.dial(node, address))),
            Call::Unnamed { address } => drop(tokio::spawn(connector.dial_unnamed(address))),
            Call::Relayed { node, relay, address } => {
                tokio::spawn(connector.dial_relayed(node, relay, address));
            }
            Call::Answered { node, relay, address, token } => {
                tokio::spawn(connector.answer_call(node, relay, address, token));
            }
            Call::Punched { node, addresses, direction } => {
                connector.meet_node(node, addresses, direction);
            }
        }
    }

    fn register(&mut self, link: LinkId, kill: KillSwitch) {
        self.slots.insert(link, Slot { kill, queue: None, backlog: None });
    }

    fn open(&mut self, link: LinkId, queue: Queue) {
        match self.slots.get_mut(&link) {
            Some(slot) => slot.queue = Some(queue),
            // It was ended before it was open: nothing may hold it up now.
            None => queue.close(),
        }
    }

    fn send(&mut self, link: LinkId, class: Class, frame: Bytes) -> Carried {
        self.slots.get_mut(&link).map_or(Carried::Gone, |slot| slot.send(class, frame))
    }

    fn end(&mut self, link: LinkId, way: Way) {
        let Some(slot) = self.slots.remove(&link) else { return };
        match (way, slot.queue) {
            (Way::Close, Some(queue)) => {
                let goodbye = Bytes::from(shared::wire::Body::Bye.to_frame());
                if queue.push(Class::Control, goodbye).is_err() {
                    slot.kill.kill();
                }
                queue.close();
            }
            _ => slot.kill.kill(),
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.slots.remove(&link);
    }
}

impl Drop for DirectFabric {
    fn drop(&mut self) {
        for slot in self.slots.values() {
            slot.kill.kill();
        }
    }
}
