//! The two signed things of a feed: its head, and a snapshot that stands for what came before.

use minicbor::{Decode, Encode};

use super::entry::Entry;
use crate::cert::CaSigner;
use crate::id::{ChainHash, sha256};
use crate::key::KeyError;
use crate::limits::{FEED_CHUNK_BYTES, FEED_CHUNKS_MAX};
use crate::name::NetworkName;
use crate::statement::{self, Topic, cbor};
use crate::time::Timestamp;

/// What the authority signs after each act, and again before it goes stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Head {
    /// The last entry's number; 0 if there is none.
    #[n(0)]
    pub number: u64,
    /// The chain's hash there.
    #[n(1)]
    pub hash: ChainHash,
    /// When it was signed.
    #[n(2)]
    pub at: Timestamp,
    /// By when the authority means to sign again.
    #[n(3)]
    pub next_update: Timestamp,
}

impl Head {
    /// Signs the head.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(&self, network: &NetworkName, signer: &CaSigner) -> Result<Vec<u8>, KeyError> {
        let payload = cbor(|e| e.encode(self)?.ok());
        let chain = [signer.cert().der.as_slice()];
        statement::sign(Topic::FeedHead, network, signer.key(), &chain, &payload)
    }
}

/// A signed summary: the entries up to a number that are still needed, by the digests of their
/// chunks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Snapshot {
    /// The number of the last entry it stands for.
    #[n(0)]
    pub number: u64,
    /// The chain's hash there.
    #[n(1)]
    pub hash: ChainHash,
    /// When it was made.
    #[n(2)]
    pub at: Timestamp,
    /// SHA-256 of the digests of all chunks, in order; the digests travel beside it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub digests_hash: [u8; 32],
    /// How many chunks there are.
    #[n(4)]
    pub chunks: u32,
}

impl Snapshot {
    /// A snapshot of encoded chunks.
    #[must_use]
    pub fn of_chunks(number: u64, hash: ChainHash, at: Timestamp, chunks: &[Vec<u8>]) -> Self {
        let digests: Vec<u8> = chunks.iter().flat_map(|chunk| sha256(chunk)).collect();
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        Self { number, hash, at, digests_hash: sha256(&digests), chunks: count }
    }

    /// Whether these are the chunks that were signed.
    #[must_use]
    pub fn is_of(&self, chunks: &[Vec<u8>]) -> bool {
        chunks.len() <= FEED_CHUNKS_MAX
            && *self == Self::of_chunks(self.number, self.hash, self.at, chunks)
    }

    /// Signs the snapshot.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(&self, network: &NetworkName, signer: &CaSigner) -> Result<Vec<u8>, KeyError> {
        let payload = cbor(|e| e.encode(self)?.ok());
        let chain = [signer.cert().der.as_slice()];
        statement::sign(Topic::FeedSnapshot, network, signer.key(), &chain, &payload)
    }
}

/// Packs entries into chunks, each a CBOR sequence (RFC 8742) of byte strings.
pub fn chunk_entries<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<u8> = Vec::new();
    for entry in entries {
        let item = cbor(|e| e.bytes(&entry.to_bytes())?.ok());
        if !chunk.is_empty() && chunk.len() + item.len() > FEED_CHUNK_BYTES {
            chunks.push(std::mem::take(&mut chunk));
        }
        chunk.extend_from_slice(&item);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Reads the entries of one chunk.
#[must_use]
pub(super) fn read_chunk(chunk: &[u8]) -> Option<Vec<Entry>> {
    let mut decoder = minicbor::Decoder::new(chunk);
    let mut entries = Vec::new();
    while decoder.position() < chunk.len() {
        entries.push(Entry::from_bytes(decoder.bytes().ok()?)?);
    }
    Some(entries)
}
