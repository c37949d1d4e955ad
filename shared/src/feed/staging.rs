//! What arrives of a feed, piece by piece, before any of it is believed.
//!
//! On a link and in a file a feed is a run of [`Part`]s that ends with a head. A delta is entries
//! and a head; a whole feed is a snapshot, its chunks, entries and a head; a refreshed head comes
//! alone.
//!
//! **Invariant:** a staging holds at most one snapshot's chunks and [`FEED_DELTA_MAX`] entries.

use minicbor::{Decode, Encode};

use crate::limits::{
    ENTRY_BYTES_MAX, FEED_CHUNK_BYTES, FEED_CHUNKS_MAX, FEED_DELTA_MAX, STATEMENT_BYTES_MAX,
};
use crate::statement::cbor;

/// One piece of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Part {
    /// A signed snapshot; whatever was staged before is dropped.
    #[n(0)]
    Snapshot(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// One chunk of the snapshot's entries.
    #[n(1)]
    Chunk(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// One entry after the snapshot, or after what the receiver has.
    #[n(2)]
    Entry(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The signed head that covers all before it.
    #[n(3)]
    Head(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

impl Part {
    /// Its encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }

    /// Reads one part.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let part: Self = decoder.decode().ok()?;
        (decoder.position() == bytes.len()).then_some(part)
    }
}

/// A complete set of parts, ready to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// A snapshot and its chunks.
    pub snapshot: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Entries, encoded, in order.
    pub entries: Vec<Vec<u8>>,
    /// The signed head.
    pub head: Vec<u8>,
}

impl Update {
    /// The parts to send or store, in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Some((snapshot, chunks)) = self.snapshot {
            parts.push(Part::Snapshot(snapshot));
            parts.extend(chunks.into_iter().map(Part::Chunk));
        }
        parts.extend(self.entries.into_iter().map(Part::Entry));
        parts.push(Part::Head(self.head));
        parts
    }
}

/// Collects parts until a head completes them.
#[derive(Debug, Default)]
pub struct Staging {
    snapshot: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    entries: Vec<Vec<u8>>,
}

impl Staging {
    /// Takes one part; gives the update when it is complete. `Err` if a bound is exceeded or the
    /// order makes no sense: the sender is at fault and the staging is empty again.
    ///
    /// # Errors
    /// The unit error says only that the parts are refused.
    pub fn take(&mut self, part: Part) -> Result<Option<Update>, Refused> {
        let outcome = self.stage(part);
        if outcome.is_err() {
            *self = Self::default();
        }
        outcome
    }

    fn stage(&mut self, part: Part) -> Result<Option<Update>, Refused> {
        match part {
            Part::Snapshot(signed) => {
                check(signed.len() <= STATEMENT_BYTES_MAX)?;
                self.entries.clear();
                self.snapshot = Some((signed, Vec::new()));
            }
            Part::Chunk(chunk) => {
                let (_, chunks) = self.snapshot.as_mut().ok_or(Refused)?;
                check(self.entries.is_empty() && chunks.len() < FEED_CHUNKS_MAX)?;
                check(chunk.len() <= FEED_CHUNK_BYTES + ENTRY_BYTES_MAX)?;
                chunks.push(chunk);
            }
            Part::Entry(entry) => {
                check(self.entries.len() < FEED_DELTA_MAX && entry.len() <= ENTRY_BYTES_MAX)?;
                self.entries.push(entry);
            }
            Part::Head(head) => {
                check(head.len() <= STATEMENT_BYTES_MAX)?;
                let Self { snapshot, entries } = std::mem::take(self);
                return Ok(Some(Update { snapshot, entries, head }));
            }
        }
        Ok(None)
    }
}

/// The parts make no sense or exceed a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feed's parts come in no order or exceed a bound")]
pub struct Refused;

const fn check(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order_or_not_at_all() {
        let mut staging = Staging::default();
        assert_eq!(staging.take(Part::Chunk(vec![])), Err(Refused), "a chunk of no snapshot");
        assert_eq!(staging.take(Part::Entry(vec![1])), Ok(None));
        let update = staging.take(Part::Head(vec![2])).unwrap().unwrap();
        assert_eq!((update.entries.len(), update.snapshot.is_none()), (1, true));
        for _ in 0..FEED_DELTA_MAX {
            staging.take(Part::Entry(vec![1])).unwrap();
        }
        assert_eq!(staging.take(Part::Entry(vec![1])), Err(Refused));
        let update = staging.take(Part::Head(vec![2])).unwrap().unwrap();
        assert!(update.entries.is_empty(), "a refusal empties the staging");
    }

    #[test]
    fn a_part_is_read_whole() {
        let bytes = Part::Entry(vec![1, 2, 3]).to_bytes();
        assert!(Part::from_bytes(&bytes).is_some());
        for cut in 0..bytes.len() {
            assert!(Part::from_bytes(&bytes[..cut]).is_none());
        }
    }
}
