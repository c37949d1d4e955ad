//! A redb file with one writer: many orders share one durable commit.
//!
//! The writer is a thread. It takes what waits, up to a group, into one transaction, and only then
//! answers: what is acknowledged survives a power cut, and a hundred askers share one fsync. After
//! an error of the disk redb wants the file opened anew; that is done here, so that a disk that has
//! room again is used again.
//!
//! **Invariant:** an answer goes out after the commit that it is about.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::{Database, Durability, Error, WriteTransaction};
use tokio::sync::mpsc;

use crate::store::{self, StoreError};

/// The open file, shared by its writer and its readers.
pub(crate) struct Shelf {
    path: PathBuf,
    database: RwLock<Option<Database>>,
}

impl Shelf {
    /// Opens a file, made if there is none.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let database = RwLock::new(Some(store::open(path)?));
        Ok(Arc::new(Self { path: path.to_owned(), database }))
    }

    /// Does something with the file.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::Io(std::io::Error::other("it could not be opened again"));
        let result = database.as_ref().ok_or_else(closed).and_then(act);
        result.map_err(|error| StoreError::new(&self.path, &error))
    }

    /// Opens the file anew; readers find it closed if that does not work.
    fn reopen(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        *database = store::open(&self.path).ok();
    }
}

/// What is done with the orders of one kind of file.
pub(crate) trait Ledger: Send + 'static {
    /// What is asked.
    type Order: Send + 'static;
    /// An answer that waits for its commit.
    type Ready;

    /// Does a group of orders; says how lasting the commit has to be. Orders that an error leaves
    /// behind are dropped, and their askers learn that from the answer that never comes.
    fn apply(
        &mut self,
        txn: &WriteTransaction,
        group: Vec<Self::Order>,
        ready: &mut Vec<Self::Ready>,
    ) -> Result<Durability, Error>;

    /// The commit is on the disk.
    fn done(&mut self, ready: Vec<Self::Ready>);

    /// Nothing of the group is on the disk.
    fn failed(&mut self, ready: Vec<Self::Ready>, error: &StoreError);
}

/// The sending end of a writer. Its thread ends with the last order when this goes away.
pub(crate) struct Desk<O> {
    orders: Option<mpsc::Sender<O>>,
    thread: Option<JoinHandle<()>>,
}

impl<O: Send + 'static> Desk<O> {
    /// Starts a writer: `waiting_max` orders wait, `group_max` share a commit.
    pub(crate) fn start<L: Ledger<Order = O>>(
        name: &str,
        shelf: Arc<Shelf>,
        ledger: L,
        (waiting_max, group_max): (usize, usize),
    ) -> std::io::Result<Self> {
        let (orders, taken) = mpsc::channel(waiting_max);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&shelf, ledger, taken, group_max))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Where orders go; none once it is closing.
    pub(crate) const fn orders(&self) -> Option<&mpsc::Sender<O>> {
        self.orders.as_ref()
    }
}

impl<O> Drop for Desk<O> {
    /// Waits for the thread, which finishes what was asked of it.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run<L: Ledger>(
    shelf: &Shelf,
    mut ledger: L,
    mut orders: mpsc::Receiver<L::Order>,
    group_max: usize,
) {
    let mut group = Vec::new();
    while let Some(first) = orders.blocking_recv() {
        group.push(first);
        while group.len() < group_max {
            let Ok(next) = orders.try_recv() else { break };
            group.push(next);
        }
        let mut ready = Vec::with_capacity(group.len());
        let orders = std::mem::take(&mut group);
        match shelf.with(|database| commit(database, &mut ledger, orders, &mut ready)) {
            Ok(()) => ledger.done(ready),
            Err(error) => {
                shelf.reopen();
                ledger.failed(ready, &error);
            }
        }
    }
}

fn commit<L: Ledger>(
    database: &Database,
    ledger: &mut L,
    group: Vec<L::Order>,
    ready: &mut Vec<L::Ready>,
) -> Result<(), Error> {
    let mut txn = database.begin_write()?;
    let durability = ledger.apply(&txn, group, ready)?;
    txn.set_durability(durability)?;
    Ok(txn.commit()?)
}
