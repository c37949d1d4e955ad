//! What has to outlast the program: rows of a few tables, gathered until a writer takes them.
//!
//! The writer commits what has gathered in one transaction; a hundred messages share one sync of
//! the disk. A row that is gone again before it was written is never written.
//!
//! **Invariant:** rows are taken in such groups that what the disk holds is at every moment a state
//! that was.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::limits::JOURNAL_ROWS_HIGH;
use crate::receipt::Hold;

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Sessions by number.
    Sessions,
    /// Messages that wait in them, by session and place.
    Queue,
    /// Packet identifiers of QoS 2 that came and are not released, by session.
    Received,
    /// Retained messages by topic.
    Retained,
    /// Link states by node, as they were signed.
    Chart,
    /// Wills by session.
    Wills,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sessions, Self::Queue, Self::Received, Self::Retained, Self::Chart, Self::Wills];

    /// Its name in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Queue => "queue",
            Self::Received => "received",
            Self::Retained => "retained",
            Self::Chart => "chart",
            Self::Wills => "wills",
        }
    }
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added(Vec<u8>),
    /// It may have been there before.
    Put(Vec<u8>),
    /// It goes.
    Gone,
}

/// Rows for one transaction.
#[derive(Debug, Default)]
pub struct Group {
    /// What becomes of which row.
    pub changes: BTreeMap<(Table, Vec<u8>), Change>,
    /// Who waits for the commit; without any it needs no sync.
    pub holds: Vec<Hold>,
}

/// Where rows gather.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    group: Group,
    waker: Option<Waker>,
}

impl Journal {
    /// A row comes or changes; `hold` is let go when it is on the disk.
    pub fn write(&self, table: Table, key: Vec<u8>, change: Change, hold: Option<Hold>) {
        let mut gathered = self.lock();
        let changes = &mut gathered.group.changes;
        let row = (table, key);
        if change == Change::Gone && matches!(changes.get(&row), Some(Change::Added(_))) {
            changes.remove(&row);
            return;
        }
        changes.insert(row, change);
        gathered.group.holds.extend(hold);
        let group = &gathered.group;
        let due = !group.holds.is_empty() || group.changes.len() >= JOURNAL_ROWS_HIGH;
        if let Some(waker) = due.then(|| gathered.waker.take()).flatten() {
            drop(gathered);
            waker.wake();
        }
    }

    /// Takes what has gathered as soon as somebody waits for it, or when it is much.
    pub fn poll_held(&self, cx: &Context<'_>) -> Poll<Group> {
        let mut gathered = self.lock();
        let Gathered { group, waker } = &mut *gathered;
        if group.holds.is_empty() && group.changes.len() < JOURNAL_ROWS_HIGH {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(group))
    }

    /// Takes what has gathered, if anything has.
    pub fn take(&self) -> Option<Group> {
        let mut gathered = self.lock();
        let group = &mut gathered.group;
        let empty = group.changes.is_empty() && group.holds.is_empty();
        (!empty).then(|| std::mem::take(group))
    }

    /// How many rows wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().group.changes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a row that belongs to something numbered.
#[must_use]
pub(crate) fn key(owner: u64, place: u64) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.extend(place.to_be_bytes());
    key
}

/// Takes such a key apart.
#[must_use]
pub(crate) fn parts(key: &[u8]) -> Option<(u64, u64)> {
    let (owner, place) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*owner), u64::from_be_bytes(place.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::receipt::Receipt;

    #[test]
    fn what_comes_and_goes_is_never_written() {
        let journal = Journal::default();
        journal.write(Table::Queue, key(1, 1), Change::Added(vec![1]), None);
        journal.write(Table::Queue, key(1, 2), Change::Added(vec![2]), None);
        journal.write(Table::Queue, key(1, 1), Change::Gone, None);
        let group = journal.take().unwrap();
        assert_eq!(group.changes.len(), 1);
        journal.write(Table::Queue, key(1, 2), Change::Gone, None);
        let group = journal.take().unwrap();
        assert_eq!(group.changes[&(Table::Queue, key(1, 2))], Change::Gone);
        assert!(journal.take().is_none());
        assert_eq!(parts(&key(1, 2)), Some((1, 2)));
    }

    #[test]
    fn a_hold_is_let_go_with_its_group_even_if_the_row_is_gone() {
        let (journal, receipt) = (Journal::default(), Arc::new(Receipt::default()));
        journal.write(Table::Queue, key(1, 1), Change::Added(vec![]), Some(receipt.hold()));
        journal.write(Table::Queue, key(1, 1), Change::Gone, None);
        assert!(!receipt.is_settled(Waker::noop()));
        let held = journal.poll_held(&Context::from_waker(Waker::noop()));
        assert!(held.is_ready());
        drop(held);
        assert!(receipt.is_settled(Waker::noop()));
    }
}
