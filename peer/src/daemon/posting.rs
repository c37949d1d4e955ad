//! Between the node and its two boxes: what is read, written and taken, without ever waiting.
//!
//! **Invariant:** orders to the outbox keep their order, and those that wait for room are bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use peer_core::{LinkId, Node, StreamId, Want};
use shared::name::NodeName;
use shared::receipt::SignedReceipt;
use shared::refusal::Code;
use shared::time::{Now, Timestamp};
use shared::wire::{HEADER_BYTES, Kind, Number, Priority};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::news::News;
use crate::inbox::Inbox;
use crate::limits::{OUTBOX_ORDERS_MAX, OUTBOX_READS};
use crate::outbox::{Order, Outbox, OutboxError, Tell};

/// What is read for the node.
pub(super) enum Read {
    Page(Want, Timestamp),
    Missing(NodeName),
    Claimed { link: LinkId, from: NodeName, numbers: Vec<Number> },
}

/// The outbox as the driver uses it.
pub(super) struct Posting {
    outbox: Arc<Outbox>,
    reads: mpsc::Sender<Read>,
    backlog: VecDeque<Order>,
    pub(super) news: mpsc::Sender<News>,
    looked: Timestamp,
}

impl Posting {
    /// Starts the thread that reads.
    pub(super) fn start(
        outbox: Arc<Outbox>,
        inbox: Arc<Inbox>,
        news: mpsc::Sender<News>,
    ) -> std::io::Result<Self> {
        let (reads, wanted) = mpsc::channel(OUTBOX_READS);
        let (shelf, to) = (Arc::clone(&outbox), news.clone());
        std::thread::Builder::new()
            .name("outbox-reads".to_owned())
            .spawn(move || serve(&shelf, &inbox, wanted, &to))?;
        let looked = Timestamp::default();
        Ok(Self { outbox, reads, backlog: VecDeque::new(), news, looked })
    }

    /// Tells the node what an earlier run has left.
    pub(super) fn recall(&self, node: &mut Node, now: Now) -> Result<(), OutboxError> {
        for (stream, newest) in self.outbox.streams()? {
            node.handle_queued(&stream, newest, now);
        }
        Ok(())
    }

    pub(super) fn load(&self, node: &mut Node, want: Want, now: Now) {
        if let Err(error) = self.reads.try_send(Read::Page(want, now.wall))
            && let Read::Page(want, _) = error.into_inner()
        {
            node.handle_unread(&want, now);
        }
    }

    /// What is not read now is asked again on the next link.
    pub(super) fn read(&self, read: Read) {
        let _ = self.reads.try_send(read);
    }

    pub(super) fn settle(&mut self, stream: StreamId, through: Number) {
        self.order(Order::Settle { stream, through });
    }

    pub(super) fn discard(
        &mut self,
        stream: StreamId,
        code: Code,
        before: Option<Timestamp>,
        at: Timestamp,
    ) {
        let (reason, tell) = (code.to_string(), self.tell());
        self.order(Order::Discard { stream, before, at, reason, tell });
    }

    pub(super) fn keep(&mut self, signed: Box<SignedReceipt>) {
        self.order(Order::Keep(signed));
    }

    /// A regular look: sends what waited for room, and drops what is too old but not under way.
    pub(super) fn look(&mut self, node: &Node, now: Now) {
        self.flush();
        if now.wall.ms_since(self.looked) < 1000 || !self.outbox.is_due(now.wall) {
            return;
        }
        self.looked = now.wall;
        let linked = node.streams().into_iter().filter(|view| view.linked);
        let flying: BTreeMap<StreamId, Number> =
            linked.map(|view| (view.stream, view.sent)).collect();
        let tell = self.tell();
        self.order(Order::Expire { at: now.wall, flying, tell });
    }

    fn tell(&self) -> Tell {
        let news = self.news.clone();
        Box::new(move |notices| {
            if !notices.is_empty() {
                let _ = news.blocking_send(News::Dropped(notices));
            }
        })
    }

    fn order(&mut self, order: Order) {
        // What would not fit is done later for another reason: settled again, expired again.
        if self.backlog.len() < OUTBOX_ORDERS_MAX {
            self.backlog.push_back(order);
        }
        self.flush();
    }

    fn flush(&mut self) {
        let Some(orders) = self.outbox.orders() else { return };
        while let Some(order) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(order)) = orders.try_send(order) {
                self.backlog.push_front(order);
                return;
            }
        }
    }
}

/// Reads until the driver is gone. What cannot be read is told of once, and tried again by the
/// node's own waiting.
fn serve(
    outbox: &Outbox,
    inbox: &Inbox,
    mut wanted: mpsc::Receiver<Read>,
    news: &mpsc::Sender<News>,
) {
    while let Some(read) = wanted.blocking_recv() {
        let found = match read {
            Read::Page(want, at) => match outbox.page(&want, at) {
                Ok((page, whole)) => News::Page { want, page: page.map(Box::new), whole },
                Err(error) => {
                    tracing::debug!(%error, "the outbox cannot be read");
                    News::Unread(want)
                }
            },
            Read::Missing(to) => match outbox.missing(&to) {
                Ok(numbers) if !numbers.is_empty() => News::Missing { to, numbers },
                _ => continue,
            },
            Read::Claimed { link, from, numbers } => match inbox.owed(&from, &numbers) {
                Ok(owed) if !owed.is_empty() => News::Claimed { link, from, owed },
                _ => continue,
            },
        };
        if news.blocking_send(found).is_err() {
            return;
        }
    }
}

/// Which stream and round a batch is of, by its frame.
pub(super) fn batch_of(frame: &[u8]) -> Option<(Priority, u32)> {
    let kind = frame.get(4).copied().and_then(Kind::from_octet)?;
    let priority = frame.get(HEADER_BYTES).copied().and_then(Priority::from_octet)?;
    let round = frame.get(HEADER_BYTES + 1..HEADER_BYTES + 5)?;
    let round = u32::from_be_bytes(round.try_into().ok()?);
    (kind == Kind::Batch).then_some((priority, round))
}
