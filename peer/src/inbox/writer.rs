//! The thread that writes the inbox.
//!
//! **Invariant:** an answer goes out after the commit that it is about.

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Database, Error};
use tokio::sync::{mpsc, oneshot, watch};

use super::table::{self, Fill, Open};
use super::{InboxError, Incoming, Stored};
use crate::config::InboxBounds;
use crate::limits::{INBOX_GROUP, INBOX_SEEN_EXTRA};
use crate::store::StoreError;

/// Where an answer goes.
type Answer<T> = oneshot::Sender<Result<T, InboxError>>;

/// What the thread is asked.
pub(super) enum Order {
    Put { message: Incoming, answer: Answer<Stored> },
    Drop { through: u64, answer: Answer<u64> },
}

/// An answer that waits for the commit.
enum Ready {
    Put(Answer<Stored>, Result<Stored, InboxError>),
    Drop(Answer<u64>, u64),
}

pub(super) struct Writer {
    database: Arc<Database>,
    path: PathBuf,
    bounds: InboxBounds,
    fill: Fill,
    tell: watch::Sender<u64>,
}

impl Writer {
    pub(super) const fn new(
        database: Arc<Database>,
        path: PathBuf,
        bounds: InboxBounds,
        fill: Fill,
        tell: watch::Sender<u64>,
    ) -> Self {
        Self { database, path, bounds, fill, tell }
    }

    /// Until nobody can ask any more.
    pub(super) fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.blocking_recv() {
            let mut group = vec![first];
            while group.len() < INBOX_GROUP {
                let Ok(next) = orders.try_recv() else { break };
                group.push(next);
            }
            self.group(group);
        }
    }

    fn group(&mut self, group: Vec<Order>) {
        let mut ready = Vec::with_capacity(group.len());
        match self.commit(group, &mut ready) {
            Ok(fill) => {
                self.fill = fill;
                self.tell.send_if_modified(|last| std::mem::replace(last, fill.last) != fill.last);
                ready.into_iter().for_each(Ready::answer);
            }
            Err(error) => {
                let error = StoreError::new(&self.path, &error);
                tracing::error!(%error, "inbox: nothing is stored");
                ready.into_iter().for_each(|ready| ready.refuse(&InboxError::from(error.clone())));
            }
        }
    }

    /// One transaction. Orders that an error leaves behind are dropped, and their askers learn that
    /// from the answer that never comes.
    fn commit(&self, group: Vec<Order>, ready: &mut Vec<Ready>) -> Result<Fill, Error> {
        let mut fill = self.fill;
        let txn = self.database.begin_write()?;
        {
            let mut open = Open::new(&txn)?;
            for order in group {
                ready.push(match order {
                    Order::Put { message, answer } => {
                        let stored = self.put(&mut open, &mut fill, message)?;
                        Ready::Put(answer, stored)
                    }
                    Order::Drop { through, answer } => {
                        let (count, bytes) = open.remove(through)?;
                        fill.count = fill.count.saturating_sub(count);
                        fill.bytes = fill.bytes.saturating_sub(bytes);
                        Ready::Drop(answer, count)
                    }
                });
            }
            open.forget(self.bounds.count.saturating_add(INBOX_SEEN_EXTRA))?;
        }
        txn.commit()?;
        Ok(fill)
    }

    fn put(
        &self,
        open: &mut Open<'_>,
        fill: &mut Fill,
        message: Incoming,
    ) -> Result<Result<Stored, InboxError>, Error> {
        if let Some(stored) = open.known(&message)? {
            return Ok(Ok(stored));
        }
        let key = table::key(&message);
        let record = table::record(message);
        let bytes = fill.bytes.saturating_add(record.len() as u64);
        if fill.count >= self.bounds.count || bytes > self.bounds.bytes {
            return Ok(Err(InboxError::Full));
        }
        let seq = fill.last.saturating_add(1);
        open.insert(seq, &record, &key)?;
        *fill = Fill { count: fill.count + 1, bytes, last: seq };
        Ok(Ok(Stored { seq, duplicate: false }))
    }
}

impl Ready {
    /// An asker that has gone does not want the answer.
    fn answer(self) {
        match self {
            Self::Put(answer, result) => drop(answer.send(result)),
            Self::Drop(answer, count) => drop(answer.send(Ok(count))),
        }
    }

    fn refuse(self, error: &InboxError) {
        match self {
            Self::Put(answer, _) => drop(answer.send(Err(error.clone()))),
            Self::Drop(answer, _) => drop(answer.send(Err(error.clone()))),
        }
    }
}
