//! The inbox: messages on the disk, each stored once, until somebody reads and clears them.
//!
//! One thread writes. It takes what waits, up to a group, into one durable transaction, and only
//! then answers: what is acknowledged survives a power cut, and a hundred senders share one fsync.
//!
//! **Invariant:** one message (sender, instance, number) is stored at most once, as long as it is
//! remembered.
//! **Invariant:** messages and bytes stay within the bounds; what does not fit is refused.

mod table;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use host::fault::Fault;
use host::files::{self, FileError};
use redb::Database;
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

pub use table::Item;

use crate::config::InboxBounds;
use crate::limits::{INBOX_PAGE, INBOX_QUEUE};
use crate::store::{self, StoreError};
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

/// A message on its way to the disk.
pub struct Pending(oneshot::Receiver<Result<Stored, InboxError>>);

impl Pending {
    /// Waits until it is on the disk, or is not.
    ///
    /// # Errors
    /// [`InboxError`]; nothing was stored then.
    pub async fn stored(self) -> Result<Stored, InboxError> {
        self.0.await.map_err(|_| InboxError::Closed)?
    }
}

/// The open inbox. Cheap to share behind an [`Arc`]; its thread ends with the last one.
pub struct Inbox {
    path: PathBuf,
    database: Arc<Database>,
    orders: Option<mpsc::Sender<Order>>,
    last: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    /// Opens the inbox of a folder; both are made if they are not there.
    ///
    /// # Errors
    /// [`InboxError`].
    pub fn open(folder: &Path, bounds: InboxBounds) -> Result<Self, InboxError> {
        files::make_private_dir(folder)?;
        let path = folder.join("inbox.redb");
        let database = Arc::new(store::open(&path)?);
        let wrong = |error: redb::Error| InboxError::from(StoreError::new(&path, &error));
        let fill = table::prepare(&database).map_err(wrong)??;
        let (tell, last) = watch::channel(fill.last);
        let (orders, taken) = mpsc::channel(INBOX_QUEUE);
        let writer = Writer::new(Arc::clone(&database), path.clone(), bounds, fill, tell);
        let thread = std::thread::Builder::new()
            .name("inbox".to_owned())
            .spawn(move || writer.run(taken))
            .map_err(|error| InboxError::Disk(format!("no thread for the inbox: {error}")))?;
        Ok(Self { path, database, orders: Some(orders), last, thread: Some(thread) })
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
    pub async fn submit(&self, message: Incoming) -> Result<Pending, InboxError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Put { message, answer }).await?;
        Ok(Pending(answered))
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
        let orders = self.orders.as_ref().ok_or(InboxError::Closed)?;
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
        table::list(&self.database, after, max)
            .map_err(|error| StoreError::new(&self.path, &error).into())
    }

    /// The number of the newest message, and news of the next ones.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.clone()
    }

    async fn order(&self, order: Order) -> Result<(), InboxError> {
        let orders = self.orders.as_ref().ok_or(InboxError::Closed)?;
        orders.send(order).await.map_err(|_| InboxError::Closed)
    }
}

impl Drop for Inbox {
    /// Waits for the thread, which finishes what was asked of it.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
