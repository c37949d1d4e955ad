//! The inbox's tables: messages by number, who sent which of them, how far each stream has come,
//! and which receipts are owed.
//!
//! **Invariant:** `seen` and `seen-order`, `owed` and `owed-order` hold the same messages, newest
//! first to go last.

use minicbor::Decode;
use peer_core::Owed;
use redb::{
    Database, Error, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use shared::name::NodeName;
use shared::time::Timestamp;
use shared::wire::{Number, Priority};

use super::{InboxError, Incoming, Stored};

/// The newest format this program knows.
const FORMAT: u64 = 2;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const ITEMS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("items");
const SEEN: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("seen");
const SEEN_ORDER: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("seen-order");

/// The last number taken of a sender's stream.
const STREAMS: TableDefinition<'static, &'static [u8], &'static [u8; 16]> =
    TableDefinition::new("streams");
/// Digest and time of messages whose senders want receipts.
const OWED: TableDefinition<'static, &'static [u8], (u64, &'static [u8; 32], i64)> =
    TableDefinition::new("owed");
const OWED_ORDER: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("owed-order");

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
#[derive(Decode)]
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
        // Format 1 had no streams: it has become one that has none yet.
        if format != Some(FORMAT) {
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
        txn.open_table(STREAMS)?;
        txn.open_table(OWED)?;
        txn.open_table(OWED_ORDER)?;
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
    streams: Table<'t, &'static [u8], &'static [u8; 16]>,
    owed: Table<'t, &'static [u8], (u64, &'static [u8; 32], i64)>,
    owed_order: Table<'t, u64, &'static [u8]>,
}

impl<'t> Open<'t> {
    pub(super) fn new(txn: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: txn.open_table(META)?,
            items: txn.open_table(ITEMS)?,
            seen: txn.open_table(SEEN)?,
            order: txn.open_table(SEEN_ORDER)?,
            streams: txn.open_table(STREAMS)?,
            owed: txn.open_table(OWED)?,
            owed_order: txn.open_table(OWED_ORDER)?,
        })
    }

    /// The number of a message that was stored before.
    pub(super) fn known(&self, message: &Incoming) -> Result<Option<Stored>, Error> {
        let seq = self.seen.get(key(message).as_slice())?.map(|found| found.value());
        Ok(seq.map(|seq| Stored { seq, duplicate: true }))
    }

    /// Stores a message as number `seq`.
    pub(super) fn insert(&mut self, seq: u64, record: &[u8]) -> Result<(), Error> {
        self.items.insert(seq, record)?;
        Ok(())
    }

    /// Remembers who sent the message `seq`.
    pub(super) fn remember(&mut self, seq: u64, key: &[u8]) -> Result<(), Error> {
        self.seen.insert(key, seq)?;
        self.order.insert(seq, key)?;
        Ok(())
    }

    /// The greatest number that was given is never given again.
    pub(super) fn number(&mut self, last: u64) -> Result<(), Error> {
        self.meta.insert("last", last)?;
        Ok(())
    }

    /// The last number taken of a stream.
    pub(super) fn last(&self, stream: &[u8]) -> Result<Option<Number>, Error> {
        Ok(self.streams.get(stream)?.map(|found| Number::from_octets(*found.value())))
    }

    /// How many streams there are.
    pub(super) fn streams(&self) -> Result<u64, Error> {
        Ok(self.streams.len()?)
    }

    /// A stream was taken up to a number.
    pub(super) fn advance(&mut self, stream: &[u8], through: Number) -> Result<(), Error> {
        self.streams.insert(stream, &through.to_octets())?;
        Ok(())
    }

    /// A receipt is owed.
    pub(super) fn owe(&mut self, from: &NodeName, owed: &Owed) -> Result<(), Error> {
        let place = self.owed_order.last()?.map_or(0, |(place, _)| place.value()) + 1;
        let key = owed_key(from, owed.number);
        self.owed.insert(key.as_slice(), (place, &owed.digest, owed.at.ms()))?;
        self.owed_order.insert(place, key.as_slice())?;
        Ok(())
    }

    /// Forgets who sent the oldest messages until `max` are remembered, and the oldest receipts
    /// until `owed_max` are.
    pub(super) fn forget(&mut self, max: u64, owed_max: u64) -> Result<(), Error> {
        while self.order.len()? > max {
            let Some((_, key)) = self.order.pop_first()? else { break };
            self.seen.remove(key.value())?;
        }
        while self.owed_order.len()? > owed_max {
            let Some((_, key)) = self.owed_order.pop_first()? else { break };
            self.owed.remove(key.value())?;
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

/// What tells a stream from every other: sender, priority.
pub(super) fn stream_key(from: &NodeName, priority: Priority) -> Vec<u8> {
    [from.as_str().as_bytes(), &[0, priority.octet()]].concat()
}

fn owed_key(from: &NodeName, number: Number) -> Vec<u8> {
    [from.as_str().as_bytes(), &[0], &number.to_octets()].concat()
}

/// Those of some receipts that are owed.
pub(super) fn owed(
    database: &Database,
    from: &NodeName,
    numbers: &[Number],
) -> Result<Vec<Owed>, Error> {
    let txn = database.begin_read()?;
    let table = txn.open_table(OWED)?;
    let mut found = Vec::new();
    for number in numbers {
        if let Some(entry) = table.get(owed_key(from, *number).as_slice())? {
            let (_, digest, at) = entry.value();
            let at = Timestamp::from_ms(at);
            found.push(Owed { number: *number, digest: *digest, at });
        }
    }
    Ok(found)
}

/// A message as it is stored.
pub(super) fn record(from: &str, at: Timestamp, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(body.len() + from.len() + 24);
    let mut encoder = minicbor::Encoder::new(&mut octets);
    // Writing into memory cannot fail; an empty record would be seen as corrupted, not as valid.
    let written = (|| encoder.array(3)?.str(from)?.encode(at)?.bytes(body)?.ok())();
    if written.is_err() { Vec::new() } else { octets }
}
