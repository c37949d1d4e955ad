//! The outbox: messages for others on the disk, until they have arrived, expired or been dropped.
//!
//! One thread writes (`ledger.rs`); what was queued survives a power cut. A message has a number
//! (run, count), and streams (receiver, priority) are read in the order of the numbers. When there
//! is no room, whoever wants to send is refused: nothing that was queued makes way. What is too old
//! goes, the oldest first, with a record; so does what a receiver may not have any more.
//!
//! **Invariant:** messages and bytes stay within the bounds, in all and for each receiver.
//! **Invariant:** whatever leaves without having arrived leaves a record.

mod table;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use host::fault::Fault;
use peer_core::{StreamId, Want};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::{Number, Page};
use tokio::sync::oneshot;

pub use table::{Gone, Kept, Queued};
pub(crate) use writer::{Notice, Order, Tell};

use crate::config::OutboxBounds;
use crate::ledger::{Desk, Shelf};
use crate::limits::{OUTBOX_GROUP, OUTBOX_QUEUE};
use crate::store::StoreError;
use writer::Writer;

/// Why the outbox cannot be used or does not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It holds as much as it may. Whose fault: whoever sends faster than others take.
    #[error("the outbox is full")]
    Full,
    /// It holds as much for one receiver as it may.
    #[error("the outbox is full for {0}")]
    FullFor(NodeName),
    /// What the disk says; nothing was queued.
    #[error("{0}")]
    Disk(String),
    /// Its thread has ended.
    #[error("the outbox is closed")]
    Closed,
    /// Written by a newer program.
    #[error("the outbox has format {found}, this program knows {known}")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
}

impl OutboxError {
    /// What whoever wants to send is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::Quota
    }
}

impl From<StoreError> for OutboxError {
    fn from(error: StoreError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<OutboxError> for Fault {
    fn from(error: OutboxError) -> Self {
        let hint = match &error {
            OutboxError::Full | OutboxError::FullFor(_) => "peer outbox BUNDLE",
            OutboxError::Newer { .. } => "run the newer peer on this bundle",
            OutboxError::Disk(_) | OutboxError::Closed => "look at the disk: df -h",
        };
        Self::failed(error.to_string()).hint(hint)
    }
}

/// Messages for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The stream they join.
    pub stream: StreamId,
    /// When they are queued.
    pub at: Timestamp,
    /// When they are too old.
    pub expires: Timestamp,
    /// Whether the receiver is to sign receipts.
    pub receipt: bool,
    /// What they say.
    pub bodies: Vec<Vec<u8>>,
}

/// Messages that are on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The numbers of those that were taken, in order.
    pub numbers: Vec<Number>,
    /// Why the others were not.
    pub refused: Option<OutboxError>,
}

/// What became of a queued message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is on the receiver's disk.
    Arrived,
    /// And here is the receiver's signature.
    Receipted(Vec<u8>),
    /// It is no more, and why.
    Dropped(String),
}

/// Where a fate goes.
pub type Watch = oneshot::Sender<Fate>;

/// The open outbox. Cheap to share behind an [`Arc`]; its thread ends with the last one.
pub struct Outbox {
    shelf: Arc<Shelf>,
    desk: Desk<Order>,
    soonest: Arc<AtomicI64>,
}

impl Outbox {
    /// Opens the outbox for a run; the file is made if it is not there.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn open(path: &Path, bounds: OutboxBounds, boot: u64) -> Result<Self, OutboxError> {
        let shelf = Shelf::open(path)?;
        let fill = shelf.with(table::prepare)??;
        let soonest = Arc::new(AtomicI64::new(fill.soonest));
        let writer = Writer::new(bounds, fill, boot, Arc::clone(&soonest));
        let sizes = (OUTBOX_QUEUE, OUTBOX_GROUP);
        let desk = Desk::start("outbox", Arc::clone(&shelf), writer, sizes)
            .map_err(|error| OutboxError::Disk(format!("no thread for the outbox: {error}")))?;
        Ok(Self { shelf, desk, soonest })
    }

    /// Queues messages; returns when they are on the disk. Each of the first may be watched.
    ///
    /// # Errors
    /// [`OutboxError`]; nothing was queued then.
    pub async fn put(&self, draft: Draft, watches: Vec<Watch>) -> Result<Taken, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let orders = self.desk.orders().ok_or(OutboxError::Closed)?;
        let order = Order::Put { draft, watches, answer };
        orders.send(order).await.map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?
    }

    /// Drops one message, as a person asks; says whether it was there.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn remove(&self, number: Number, at: Timestamp) -> Result<bool, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let orders = self.desk.orders().ok_or(OutboxError::Closed)?;
        let order = Order::Remove { number, at, answer };
        orders.send(order).await.map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?
    }

    /// Where orders go that nobody waits for.
    pub(crate) fn orders(&self) -> Option<&tokio::sync::mpsc::Sender<Order>> {
        self.desk.orders()
    }

    /// Whether some message may be too old by now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.soonest.load(Ordering::Relaxed) <= now.ms()
    }

    /// The streams that have messages, and their newest numbers.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn streams(&self) -> Result<Vec<(StreamId, Number)>, OutboxError> {
        Ok(self.shelf.with(table::streams)?)
    }

    /// The next messages of a stream that are not too old, as many as fit a batch; `true` if there
    /// are no more of those that are wanted.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn page(&self, want: &Want, now: Timestamp) -> Result<(Option<Page>, bool), OutboxError> {
        Ok(self.shelf.with(|database| table::page(database, want, now))?)
    }

    /// Messages of a receiver's that have arrived and whose receipts have not come.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn missing(&self, to: &NodeName) -> Result<Vec<Number>, OutboxError> {
        Ok(self.shelf.with(|database| table::missing(database, to))?)
    }

    /// Messages that wait, after a place in the list, at most so many; and the next place.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn list(&self, after: &[u8], max: usize) -> Result<Vec<(Vec<u8>, Queued)>, OutboxError> {
        Ok(self.shelf.with(|database| table::list(database, after, max))?)
    }

    /// What was dropped of late, the newest last.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn gone(&self) -> Result<Vec<Gone>, OutboxError> {
        Ok(self.shelf.with(table::gone)?)
    }

    /// The receipts that came, after a number, at most so many.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn receipts(&self, after: Number, max: usize) -> Result<Vec<Kept>, OutboxError> {
        Ok(self.shelf.with(|database| table::receipts(database, after, max))?)
    }
}

#[cfg(test)]
mod tests;
