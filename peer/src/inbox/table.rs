//! The inbox's tables: messages by number, and who sent which of them.
//!
//! **Invariant:** `seen` and `seen-order` hold the same messages, newest first to go last.

use minicbor::{Decode, Encode};
use redb::{
    Database, Error, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use shared::name::NodeName;
use shared::time::Timestamp;

use super::{InboxError, Incoming, Stored};

/// The newest format this program knows.
const FORMAT: u64 = 1;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const ITEMS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("items");
const SEEN: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("seen");
const SEEN_ORDER: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("seen-order");

/// A message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number here, from 1, never used again.
    pub seq: u64,
    /// From whom.
    pub from: NodeName,
    /// When it came.
    pub at: Timestamp,
    /// What it says.
    pub body: Vec<u8>,
}

/// As it stands in the table.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Record {
    #[n(0)]
    from: String,
    #[n(1)]
    at: Timestamp,
    #[cbor(n(2), with = "minicbor::bytes")]
    body: Vec<u8>,
}

/// How full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fill {
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) last: u64,
}

/// Makes the tables if need be, and counts.
pub(super) fn prepare(database: &Database) -> Result<Result<Fill, InboxError>, Error> {
    let txn = database.begin_write()?;
    let mut fill = Fill::default();
    {
        let mut meta = txn.open_table(META)?;
        let format = meta.get("format")?.map(|found| found.value());
        if let Some(found) = format.filter(|found| *found > FORMAT) {
            return Ok(Err(InboxError::Newer { found, known: FORMAT }));
        }
        if format.is_none() {
            meta.insert("format", FORMAT)?;
        }
        fill.last = meta.get("last")?.map_or(0, |found| found.value());
        for entry in txn.open_table(ITEMS)?.iter()? {
            let (_, value) = entry?;
            fill.count += 1;
            fill.bytes += value.value().len() as u64;
        }
        txn.open_table(SEEN)?;
        txn.open_table(SEEN_ORDER)?;
    }
    txn.commit()?;
    Ok(Ok(fill))
}

/// Messages after a number.
pub(super) fn list(database: &Database, after: u64, max: usize) -> Result<Vec<Item>, Error> {
    let txn = database.begin_read()?;
    let items = txn.open_table(ITEMS)?;
    let mut found = Vec::new();
    for entry in items.range(after.saturating_add(1)..)?.take(max) {
        let (seq, value) = entry?;
        let wrong = |what: &str| Error::Corrupted(format!("message {}: {what}", seq.value()));
        let record: Record =
            minicbor::decode(value.value()).map_err(|error| wrong(&error.to_string()))?;
        let from = NodeName::parse(&record.from).map_err(|error| wrong(&error.to_string()))?;
        found.push(Item { seq: seq.value(), from, at: record.at, body: record.body });
    }
    Ok(found)
}

/// The tables, open for one group of changes.
pub(super) struct Open<'t> {
    meta: Table<'t, &'static str, u64>,
    items: Table<'t, u64, &'static [u8]>,
    seen: Table<'t, &'static [u8], u64>,
    order: Table<'t, u64, &'static [u8]>,
}

impl<'t> Open<'t> {
    pub(super) fn new(txn: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: txn.open_table(META)?,
            items: txn.open_table(ITEMS)?,
            seen: txn.open_table(SEEN)?,
            order: txn.open_table(SEEN_ORDER)?,
        })
    }

    /// The number of a message that was stored before.
    pub(super) fn known(&self, message: &Incoming) -> Result<Option<Stored>, Error> {
        let seq = self.seen.get(key(message).as_slice())?.map(|found| found.value());
        Ok(seq.map(|seq| Stored { seq, duplicate: true }))
    }

    /// Stores a message as number `seq`.
    pub(super) fn insert(&mut self, seq: u64, record: &[u8], key: &[u8]) -> Result<(), Error> {
        self.items.insert(seq, record)?;
        self.seen.insert(key, seq)?;
        self.order.insert(seq, key)?;
        self.meta.insert("last", seq)?;
        Ok(())
    }

    /// Forgets who sent the oldest messages until `max` are remembered.
    pub(super) fn forget(&mut self, max: u64) -> Result<(), Error> {
        while self.order.len()? > max {
            let Some((_, key)) = self.order.pop_first()? else { break };
            self.seen.remove(key.value())?;
        }
        Ok(())
    }

    /// Removes messages up to a number; returns how many and their bytes.
    pub(super) fn remove(&mut self, through: u64) -> Result<(u64, u64), Error> {
        let (mut count, mut bytes) = (0, 0);
        while self.items.first()?.is_some_and(|(seq, _)| seq.value() <= through) {
            if let Some((_, value)) = self.items.pop_first()? {
                count += 1;
                bytes += value.value().len() as u64;
            }
        }
        Ok((count, bytes))
    }
}

/// What tells a message from every other: sender, instance, number.
pub(super) fn key(message: &Incoming) -> Vec<u8> {
    let mut key = message.from.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(message.instance.as_bytes());
    key.extend_from_slice(&message.id.to_be_bytes());
    key
}

/// A message as it is stored.
pub(super) fn record(message: Incoming) -> Vec<u8> {
    let from = message.from.as_str().to_owned();
    let record = Record { from, at: message.at, body: message.body };
    // Writing into memory cannot fail; an empty record would be seen as corrupted, not as valid.
    minicbor::to_vec(record).unwrap_or_default()
}
