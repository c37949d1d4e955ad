//! The inbox: messages on the disk, each stored once, until somebody reads and clears them.
//!
//! One thread writes (`ledger.rs`): what is acknowledged survives a power cut, and a hundred
//! senders share one fsync. A message sent at once is known by (sender, instance, number) for a
//! while; a queued one by its place in its stream (sender, priority), of which only the last number
//! is kept.
//!
//! **Invariant:** one message is stored at most once, as long as it is remembered; a message of a
//! stream once and after its predecessors, for ever.
//! **Invariant:** messages and bytes stay within the bounds; what does not fit is refused.

mod table;
mod writer;

use std::path::Path;
use std::sync::Arc;

use host::fault::Fault;
use host::files::{self, FileError};
use peer_core::{Intake, Owed};
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::{Batch, Number};
use tokio::sync::{oneshot, watch};

pub use table::Item;

use crate::config::InboxBounds;
use crate::ledger::{Desk, Shelf};
use crate::limits::{INBOX_GROUP, INBOX_PAGE, INBOX_QUEUE};
use crate::store::StoreError;
use writer::{Order, Writer};

/// Why the inbox cannot be used or does not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// It holds as much as it may. Whose fault: whoever does not read it.
    #[error("the inbox is full")]
    Full,
    /// What the disk says; nothing was stored.
    #[error("{0}")]
    Disk(String),
    /// Its thread has ended.
    #[error("the inbox is closed")]
    Closed,
    /// Written by a newer program.
    #[error("the inbox has format {found}, this program knows {known}")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
}

impl InboxError {
    /// What the sender is told: there is no room, whatever the reason.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::Quota
    }
}

impl From<StoreError> for InboxError {
    fn from(error: StoreError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<FileError> for InboxError {
    fn from(error: FileError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<InboxError> for Fault {
    fn from(error: InboxError) -> Self {
        let hint = match &error {
            InboxError::Full => "peer inbox --clear",
            InboxError::Newer { .. } => "run the newer peer on this bundle",
            InboxError::Disk(_) | InboxError::Closed => "look at the disk: df -h",
        };
        Self::failed(error.to_string()).hint(hint)
    }
}

/// A message to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// From whom.
    pub from: NodeName,
    /// The sender's running instance.
    pub instance: InstanceId,
    /// The sender's number for it.
    pub id: u64,
    /// When it came.
    pub at: Timestamp,
    /// What it says.
    pub body: Vec<u8>,
}

/// A message that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its number here.
    pub seq: u64,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// A batch of queued messages to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// From whom.
    pub from: NodeName,
    /// When it came.
    pub at: Timestamp,
    /// The messages.
    pub batch: Batch,
}

/// Something on its way to the disk.
pub struct Pending<T>(oneshot::Receiver<Result<T, InboxError>>);

impl<T> Pending<T> {
    /// Waits until it is on the disk, or is not.
    ///
    /// # Errors
    /// [`InboxError`]; nothing was stored then.
    pub async fn stored(self) -> Result<T, InboxError> {
        self.0.await.map_err(|_| InboxError::Closed)?
    }
}

/// The open inbox. Cheap to share behind an [`Arc`]; its thread ends with the last one.
pub struct Inbox {
    shelf: Arc<Shelf>,
    desk: Desk<Order>,
    last: watch::Receiver<u64>,
}

impl Inbox {
    /// Opens the inbox of a folder; both are made if they are not there.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn open(folder: &Path, bounds: InboxBounds) -> Result<Self, InboxError> {
        files::make_private_dir(folder)?;
        let shelf = Shelf::open(&folder.join("inbox.redb"))?;
        let fill = shelf.with(table::prepare)??;
        let (tell, last) = watch::channel(fill.last);
        let writer = Writer::new(bounds, fill, tell);
        let sizes = (INBOX_QUEUE, INBOX_GROUP);
        let desk = Desk::start("inbox", Arc::clone(&shelf), writer, sizes)
            .map_err(|error| InboxError::Disk(format!("no thread for the inbox: {error}")))?;
        Ok(Self { shelf, desk, last })
    }

    /// Stores a message; returns when it is on the disk.
    ///
    /// # Errors
    /// [`InboxError`]; nothing was stored then.
    pub async fn put(&self, message: Incoming) -> Result<Stored, InboxError> {
        self.submit(message).await?.stored().await
    }

    /// Hands a message over, in order, without waiting for the disk: many share one commit.
    ///
    /// # Errors
    /// [`InboxError`]; nothing is stored then.
    pub async fn submit(&self, message: Incoming) -> Result<Pending<Stored>, InboxError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Put { message, answer }).await?;
        Ok(Pending(answered))
    }

    /// Hands over a batch of queued messages, as [`Inbox::submit`].
    ///
    /// # Errors
    /// [`InboxError`]; nothing is stored then.
    pub async fn take(&self, parcel: Parcel) -> Result<Pending<Intake>, InboxError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Take { parcel, answer }).await?;
        Ok(Pending(answered))
    }

    /// Which of these messages of a sender are owed a receipt.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn owed(&self, from: &NodeName, numbers: &[Number]) -> Result<Vec<Owed>, InboxError> {
        Ok(self.shelf.with(|database| table::owed(database, from, numbers))?)
    }

    /// Forgets messages up to a number; returns how many there were.
    ///
    /// # Errors
    /// [`InboxError`].
    pub async fn drop_through(&self, seq: u64) -> Result<u64, InboxError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Drop { through: seq, answer }).await?;
        answered.await.map_err(|_| InboxError::Closed)?
    }

    /// As [`Inbox::drop_through`], outside a runtime.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn drop_through_blocking(&self, seq: u64) -> Result<u64, InboxError> {
        let (answer, answered) = oneshot::channel();
        let orders = self.desk.orders().ok_or(InboxError::Closed)?;
        let order = Order::Drop { through: seq, answer };
        orders.blocking_send(order).map_err(|_| InboxError::Closed)?;
        answered.blocking_recv().map_err(|_| InboxError::Closed)?
    }

    /// Messages after a number, oldest first: at most `max`, and at most a page.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn list(&self, after: u64, max: usize) -> Result<Vec<Item>, InboxError> {
        let max = max.min(INBOX_PAGE);
        Ok(self.shelf.with(|database| table::list(database, after, max))?)
    }

    /// The number of the newest message, and news of the next ones.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.clone()
    }

    async fn order(&self, order: Order) -> Result<(), InboxError> {
        let orders = self.desk.orders().ok_or(InboxError::Closed)?;
        orders.send(order).await.map_err(|_| InboxError::Closed)
    }
}

#[cfg(test)]
mod tests;
