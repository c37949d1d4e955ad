//! The outbox's tables: messages by receiver, priority and number; what is still waited for; what
//! came of the others.

use std::collections::BTreeMap;
use std::ops::Bound;

use minicbor::{Decode, Encode};
use peer_core::{StreamId, Want};
use redb::{
    Database, Error, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use shared::name::NodeName;
use shared::time::Timestamp;
use shared::wire::{Item, Number, Page, Priority};

use super::OutboxError;
use crate::limits::{OUTBOX_GONE_MAX, OUTBOX_MISSING_MAX, OUTBOX_RECEIPTS_MAX};

/// The newest format this program knows.
const FORMAT: u64 = 1;

type Bytes = &'static [u8];

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const QUEUE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("queue");
/// Arrived, with the digest of the body and the time after which the receipt is not wanted.
const MISSING: TableDefinition<'static, Bytes, (&'static [u8; 32], i64)> =
    TableDefinition::new("missing");
const RECEIPTS: TableDefinition<'static, &'static [u8; 16], Bytes> =
    TableDefinition::new("receipts");
const GONE: TableDefinition<'static, u64, Bytes> = TableDefinition::new("gone");

/// Octets before a body: queued, expires, receipt.
const HEAD_BYTES: usize = 8 + 8 + 1;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub number: Number,
    /// When it was queued.
    pub at: Timestamp,
    /// When it is too old.
    pub expires: Timestamp,
    /// Whether a receipt is wanted.
    pub receipt: bool,
    /// Bytes of its body.
    pub bytes: u64,
}

/// Messages that left without having arrived.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Gone {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// For whom they were.
    #[n(1)]
    pub to: NodeName,
    /// At which priority.
    #[n(2)]
    pub priority: Priority,
    /// How many.
    #[n(3)]
    pub count: u64,
    /// Bytes of their bodies.
    #[n(4)]
    pub bytes: u64,
    /// The first number.
    #[n(5)]
    pub first: Number,
    /// The last.
    #[n(6)]
    pub last: Number,
    /// Why: `expired`, `dropped` by a person, or the code of a refusal.
    #[n(7)]
    pub reason: String,
}

/// A receipt that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of which message.
    pub number: Number,
    /// The statement.
    pub bytes: Vec<u8>,
}

/// How full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) each: BTreeMap<NodeName, (u64, u64)>,
    /// When the first message is too old, at the earliest.
    pub(super) soonest: i64,
}

impl Default for Fill {
    fn default() -> Self {
        Self { count: 0, bytes: 0, each: BTreeMap::new(), soonest: i64::MAX }
    }
}

impl Fill {
    pub(super) fn add(&mut self, to: &NodeName, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        if let Some((count, held)) = self.each.get_mut(to) {
            (*count, *held) = (*count + 1, *held + bytes);
        } else {
            self.each.insert(to.clone(), (1, bytes));
        }
    }

    pub(super) fn remove(&mut self, to: &NodeName, count: u64, bytes: u64) {
        self.count = self.count.saturating_sub(count);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some((held, size)) = self.each.get_mut(to) {
            (*held, *size) = (held.saturating_sub(count), size.saturating_sub(bytes));
            if *held == 0 {
                self.each.remove(to);
            }
        }
    }
}

/// Makes the tables if need be, and counts.
pub(super) fn prepare(database: &Database) -> Result<Result<Fill, OutboxError>, Error> {
    let txn = database.begin_write()?;
    let fill = {
        let mut meta = txn.open_table(META)?;
        let format = meta.get("format")?.map(|found| found.value());
        if let Some(found) = format.filter(|found| *found > FORMAT) {
            return Ok(Err(OutboxError::Newer { found, known: FORMAT }));
        }
        meta.insert("format", FORMAT)?;
        let open = Open::new(&txn)?;
        open.count()?
    };
    txn.commit()?;
    Ok(Ok(fill))
}

/// The tables, open for one group of changes.
pub(super) struct Open<'t> {
    pub(super) queue: Table<'t, Bytes, Bytes>,
    missing: Table<'t, Bytes, (&'static [u8; 32], i64)>,
    receipts: Table<'t, &'static [u8; 16], Bytes>,
    gone: Table<'t, u64, Bytes>,
}

impl<'t> Open<'t> {
    pub(super) fn new(txn: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            queue: txn.open_table(QUEUE)?,
            missing: txn.open_table(MISSING)?,
            receipts: txn.open_table(RECEIPTS)?,
            gone: txn.open_table(GONE)?,
        })
    }

    /// How full the outbox is.
    pub(super) fn count(&self) -> Result<Fill, Error> {
        let mut fill = Fill::default();
        for entry in self.queue.iter()? {
            let (key, value) = entry?;
            let found = read(key.value(), value.value())?;
            fill.add(&found.stream.to, found.bytes);
            fill.soonest = fill.soonest.min(found.expires.ms());
        }
        Ok(fill)
    }

    pub(super) fn insert(&mut self, key: &[u8], record: &[u8]) -> Result<(), Error> {
        self.queue.insert(key, record)?;
        Ok(())
    }

    /// Removes the messages of a stream up to a number that are so; hands each to the caller.
    pub(super) fn take(
        &mut self,
        stream: &StreamId,
        through: Number,
        mut is_so: impl FnMut(&Queued, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let (first, last) = (key(stream, Number::ZERO), key(stream, through));
        let mut wrong = None;
        self.queue.retain_in(first.as_slice()..=last.as_slice(), |key, value| {
            match read(key, value) {
                Ok(found) => !is_so(&found, value.get(HEAD_BYTES..).unwrap_or_default()),
                Err(error) => {
                    wrong = Some(error);
                    true
                }
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    /// The stream of a number, if that message waits.
    pub(super) fn find(&self, number: Number) -> Result<Option<StreamId>, Error> {
        for entry in self.queue.iter()? {
            let (key, value) = entry?;
            let found = read(key.value(), value.value())?;
            if found.number == number {
                return Ok(Some(found.stream));
            }
        }
        Ok(None)
    }

    /// The streams in which something is too old.
    pub(super) fn expired(&self, now: Timestamp) -> Result<(Vec<StreamId>, i64), Error> {
        let (mut streams, mut soonest) = (Vec::new(), i64::MAX);
        for entry in self.queue.iter()? {
            let (key, value) = entry?;
            let found = read(key.value(), value.value())?;
            if found.expires > now {
                soonest = soonest.min(found.expires.ms());
            } else if streams.last() != Some(&found.stream) {
                streams.push(found.stream);
            }
        }
        Ok((streams, soonest))
    }

    /// Whether a stream has nothing.
    pub(super) fn is_empty(&self, stream: &StreamId) -> Result<bool, Error> {
        let (first, last) = (key(stream, Number::ZERO), key(stream, LAST));
        Ok(self.queue.range(first.as_slice()..=last.as_slice())?.next().is_none())
    }

    /// A message has arrived, its receipt has not.
    pub(super) fn await_receipt(&mut self, found: &Queued, digest: &[u8; 32]) -> Result<(), Error> {
        let key = missing_key(&found.stream.to, found.number);
        self.missing.insert(key.as_slice(), (digest, found.expires.ms()))?;
        while self.missing.len()? > OUTBOX_MISSING_MAX {
            self.missing.pop_first()?;
        }
        Ok(())
    }

    /// Keeps a receipt if it is waited for and about the right body; says whether it is kept.
    pub(super) fn keep(
        &mut self,
        to: &NodeName,
        number: Number,
        digest: &[u8; 32],
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let key = missing_key(to, number);
        let wanted = self.missing.get(key.as_slice())?.map(|found| *found.value().0);
        if wanted != Some(*digest) {
            return Ok(false);
        }
        self.missing.remove(key.as_slice())?;
        self.receipts.insert(&number.to_octets(), bytes)?;
        while self.receipts.len()? > OUTBOX_RECEIPTS_MAX {
            self.receipts.pop_first()?;
        }
        Ok(true)
    }

    /// Receipts that nobody waits for any more.
    pub(super) fn give_up(&mut self, now: Timestamp) -> Result<(), Error> {
        Ok(self.missing.retain(|_, (_, expires)| expires > now.ms())?)
    }

    /// Records what left without having arrived.
    pub(super) fn record(&mut self, gone: &Gone) -> Result<(), Error> {
        let place = self.gone.last()?.map_or(0, |(place, _)| place.value()) + 1;
        // Writing into memory cannot fail.
        let record = minicbor::to_vec(gone).unwrap_or_default();
        self.gone.insert(place, record.as_slice())?;
        while self.gone.len()? > OUTBOX_GONE_MAX {
            self.gone.pop_first()?;
        }
        Ok(())
    }
}

/// After all numbers.
pub(super) const LAST: Number = Number { boot: u64::MAX, sequence: u64::MAX };

/// The place of a message in the table.
pub(super) fn key(stream: &StreamId, number: Number) -> Vec<u8> {
    let name = stream.to.as_str().as_bytes();
    [name, &[0, stream.priority.octet()], &number.to_octets()].concat()
}

/// A message as it is stored.
pub(super) fn record(at: Timestamp, expires: Timestamp, receipt: bool, body: &[u8]) -> Vec<u8> {
    let head = [at.ms().to_be_bytes(), expires.ms().to_be_bytes()].concat();
    [head.as_slice(), &[u8::from(receipt)], body].concat()
}

fn missing_key(to: &NodeName, number: Number) -> Vec<u8> {
    [to.as_str().as_bytes(), &[0], &number.to_octets()].concat()
}

/// Reads the head of a record.
fn read(key: &[u8], value: &[u8]) -> Result<Queued, Error> {
    parse(key, value).ok_or_else(|| Error::Corrupted("a message of the outbox".to_owned()))
}

fn parse(key: &[u8], value: &[u8]) -> Option<Queued> {
    let (name, rest) = key.split_at_checked(key.iter().position(|octet| *octet == 0)?)?;
    let [_, priority, number @ ..] = rest else { return None };
    let to = NodeName::parse(std::str::from_utf8(name).ok()?).ok()?;
    let priority = Priority::from_octet(*priority)?;
    let (at, rest) = value.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (receipt, body) = rest.split_first()?;
    let moment = |octets: [u8; 8]| Timestamp::from_ms(i64::from_be_bytes(octets));
    Some(Queued {
        stream: StreamId { to, priority },
        number: Number::from_octets(number.try_into().ok()?),
        at: moment(*at),
        expires: moment(*expires),
        receipt: *receipt == 1,
        bytes: body.len() as u64,
    })
}

pub(super) fn streams(database: &Database) -> Result<Vec<(StreamId, Number)>, Error> {
    let txn = database.begin_read()?;
    let queue = txn.open_table(QUEUE)?;
    let mut found: Vec<(StreamId, Number)> = Vec::new();
    for entry in queue.iter()? {
        let (key, value) = entry?;
        let queued = read(key.value(), value.value())?;
        match found.last_mut().filter(|(stream, _)| *stream == queued.stream) {
            Some((_, newest)) => *newest = queued.number,
            None => found.push((queued.stream, queued.number)),
        }
    }
    Ok(found)
}

/// The hot path: a record is copied once, into the frame that carries it.
pub(super) fn page(
    database: &Database,
    want: &Want,
    now: Timestamp,
) -> Result<(Option<Page>, bool), Error> {
    let txn = database.begin_read()?;
    let queue = txn.open_table(QUEUE)?;
    let (after, through) = (key(&want.stream, want.after), key(&want.stream, want.through));
    let range = (Bound::Excluded(after.as_slice()), Bound::Included(through.as_slice()));
    let (mut page, mut whole) = (Page::default(), true);
    for entry in queue.range::<&[u8]>(range)? {
        let (key, value) = entry?;
        let (key, value) = (key.value(), value.value());
        let number = key.last_chunk::<16>().map(|octets| Number::from_octets(*octets));
        let head = value.split_at_checked(HEAD_BYTES);
        let Some((number, (head, body))) = number.zip(head) else {
            return Err(Error::Corrupted("a message of the outbox".to_owned()));
        };
        let expires = head.get(8..16).and_then(|octets| octets.try_into().ok());
        if expires.is_some_and(|octets| i64::from_be_bytes(octets) <= now.ms()) {
            continue;
        }
        let receipt = head.last() == Some(&1);
        if !page.push(&Item { number, receipt, body }) {
            whole = false;
            break;
        }
    }
    Ok(((page.count > 0).then_some(page), whole))
}

pub(super) fn missing(database: &Database, to: &NodeName) -> Result<Vec<Number>, Error> {
    let txn = database.begin_read()?;
    let missing = txn.open_table(MISSING)?;
    let (first, last) = (missing_key(to, Number::ZERO), missing_key(to, LAST));
    let mut found = Vec::new();
    for entry in missing.range(first.as_slice()..=last.as_slice())? {
        let (key, _) = entry?;
        found.extend(key.value().last_chunk::<16>().map(|octets| Number::from_octets(*octets)));
    }
    Ok(found)
}

pub(super) fn list(
    database: &Database,
    after: &[u8],
    max: usize,
) -> Result<Vec<(Vec<u8>, Queued)>, Error> {
    let txn = database.begin_read()?;
    let queue = txn.open_table(QUEUE)?;
    let mut found = Vec::new();
    for entry in queue.range::<&[u8]>((Bound::Excluded(after), Bound::Unbounded))?.take(max) {
        let (key, value) = entry?;
        found.push((key.value().to_vec(), read(key.value(), value.value())?));
    }
    Ok(found)
}

pub(super) fn gone(database: &Database) -> Result<Vec<Gone>, Error> {
    let txn = database.begin_read()?;
    let gone = txn.open_table(GONE)?;
    let mut found = Vec::new();
    for entry in gone.iter()? {
        let (_, value) = entry?;
        let record = minicbor::decode(value.value());
        found.push(record.map_err(|error| Error::Corrupted(error.to_string()))?);
    }
    Ok(found)
}

pub(super) fn receipts(database: &Database, after: Number, max: usize) -> Result<Vec<Kept>, Error> {
    let txn = database.begin_read()?;
    let receipts = txn.open_table(RECEIPTS)?;
    let after = after.to_octets();
    let mut found = Vec::new();
    let range = (Bound::Excluded(&after), Bound::Unbounded);
    for entry in receipts.range::<&[u8; 16]>(range)?.take(max) {
        let (key, value) = entry?;
        let (number, bytes) = (Number::from_octets(*key.value()), value.value().to_vec());
        found.push(Kept { number, bytes });
    }
    Ok(found)
}
