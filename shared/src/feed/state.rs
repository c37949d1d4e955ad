//! What a holder of the feed believes, and how it changes: forward, verified, or not at all.
//!
//! **Invariant:** after [`Feed::apply`] returns an error the feed is exactly what it was.

use std::sync::Arc;

use super::entry::{Entry, extend, origin};
use super::head::{Head, Snapshot, read_chunk};
use super::set::RevocationSet;
use super::staging::Update;
use crate::cert::CaCert;
use crate::id::ChainHash;
use crate::limits::{AHEAD_S, FEED_ENTRIES_MAX};
use crate::name::NetworkName;
use crate::refusal::Refusal;
use crate::statement::{StatementError, Topic, Unverified};
use crate::time::Timestamp;
use crate::verify::Anchors;

/// Why an update is refused. Whose fault: the sender's, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// A statement in it.
    #[error("feed: {0}")]
    Statement(#[from] StatementError),
    /// Its signer is no authority of ours.
    #[error("feed: signed by nobody we trust: {0}")]
    Signer(Refusal),
    /// It cannot be read.
    #[error("feed: {0}")]
    Malformed(&'static str),
    /// It is older than what we have: a rollback, if it was meant as news.
    #[error("feed: number {theirs} is older than our {ours}")]
    Older {
        /// Our number.
        ours: u64,
        /// Theirs.
        theirs: u64,
    },
    /// It begins after what we have; more is needed.
    #[error("feed: entries after {ours} are missing")]
    Gap {
        /// Our number.
        ours: u64,
    },
    /// Two signed histories with one number: the authority's key signs for two masters. The two
    /// signed heads are the evidence.
    #[error("feed: two different histories are signed under number {number}")]
    Equivocation {
        /// The number.
        number: u64,
        /// The head we have, signed.
        ours: Vec<u8>,
        /// The other, signed.
        theirs: Vec<u8>,
    },
    /// A signed history that does not extend ours.
    #[error("feed: number {theirs} does not continue our number {ours}")]
    Fork {
        /// Our number.
        ours: u64,
        /// Theirs.
        theirs: u64,
        /// The head we have, signed.
        our_head: Vec<u8>,
        /// The other, signed.
        their_head: Vec<u8>,
    },
    /// Signed in the future.
    #[error("feed: signed at {at}, which lies ahead")]
    FromTheFuture {
        /// When.
        at: Timestamp,
    },
    /// A snapshot that forgets a revocation.
    #[error("feed: the snapshot at {number} forgets a revocation that has not expired")]
    Forgets {
        /// The snapshot's number.
        number: u64,
    },
}

/// What an accepted update brought. The holder applies it to its [`RevocationSet`] with
/// [`News::apply_to`], at once and before anything else.
#[derive(Debug, Clone)]
#[must_use]
pub struct News {
    /// The entries that are new to us.
    pub entries: Vec<Entry>,
    /// With a snapshot: the set it stands for, to which `entries` are then added.
    pub replaced: Option<Box<RevocationSet>>,
    /// Whether anything changed at all; a head signed earlier than ours changes nothing.
    pub fresh: bool,
}

impl News {
    /// Whether somebody's standing may have changed.
    #[must_use]
    pub fn concerns_somebody(&self) -> bool {
        self.replaced.is_some() || !self.entries.is_empty()
    }

    /// Brings a set up to date.
    pub fn apply_to(&mut self, set: &mut RevocationSet) {
        if let Some(replaced) = self.replaced.take() {
            *set = *replaced;
        }
        for entry in &self.entries {
            set.apply(entry);
        }
    }
}

/// Where a holder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The number; 0 if there is no feed yet.
    pub number: u64,
    /// When its head was signed.
    pub at: Timestamp,
}

/// A verified snapshot.
#[derive(Debug)]
struct Base {
    snapshot: Snapshot,
    signed: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

/// The feed as one holder has it. Cheap to clone: entries are shared.
#[derive(Debug, Clone)]
pub struct Feed {
    network: NetworkName,
    head: Option<(Head, Vec<u8>)>,
    base: Option<Arc<Base>>,
    delta: Vec<Arc<[u8]>>,
}

impl Feed {
    /// No feed yet.
    #[must_use]
    pub const fn empty(network: NetworkName) -> Self {
        Self { network, head: None, base: None, delta: Vec::new() }
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|(head, _)| head)
    }

    /// Number and time of the head.
    #[must_use]
    pub fn position(&self) -> Position {
        self.head().map_or_else(Position::default, |h| Position { number: h.number, at: h.at })
    }

    /// The chain's hash at the head.
    #[must_use]
    pub fn hash(&self) -> ChainHash {
        self.head().map_or_else(|| origin(&self.network), |head| head.hash)
    }

    /// How many entries stand after the snapshot.
    #[must_use]
    pub fn delta_len(&self) -> usize {
        self.delta.len()
    }

    /// The number the snapshot stands for; 0 without one.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.snapshot.number)
    }

    /// The hash after one more entry: what the authority signs next.
    #[must_use]
    pub fn hash_with(&self, entry: &Entry) -> ChainHash {
        extend(&self.hash(), &entry.to_bytes())
    }

    /// All entries still held, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let chunks = self.base.iter().flat_map(|base| &base.chunks);
        let base = chunks.filter_map(|chunk| read_chunk(chunk)).flatten();
        base.chain(self.delta.iter().filter_map(|bytes| Entry::from_bytes(bytes))).collect()
    }

    /// What a holder at `number` needs to stand where we stand; `None` if we have no head.
    #[must_use]
    pub fn update_since(&self, number: u64) -> Option<Update> {
        let (_, signed) = self.head.as_ref()?;
        let whole = self.base.as_ref().filter(|base| number < base.snapshot.number);
        let known = number.saturating_sub(self.base());
        let skip = usize::try_from(known).unwrap_or(usize::MAX);
        Some(Update {
            snapshot: whole.map(|base| (base.signed.clone(), base.chunks.clone())),
            entries: self.delta.iter().skip(skip).map(|entry| entry.to_vec()).collect(),
            head: signed.clone(),
        })
    }

    /// Verifies an update and applies it. `set` is the holder's set as it stands; the caller brings
    /// it up to date with the [`News`].
    ///
    /// # Errors
    /// [`FeedError`]; nothing has changed then.
    pub fn apply(
        &mut self,
        update: Update,
        set: &RevocationSet,
        anchors: &Anchors,
        now: Timestamp,
    ) -> Result<News, FeedError> {
        let Update { snapshot, entries, head: signed } = update;
        // News floods, so that most copies of a head come after the first: the very bytes that were
        // verified once need no second look.
        if self.head.as_ref().is_some_and(|(_, ours)| *ours == signed) {
            return Ok(News { entries: Vec::new(), replaced: None, fresh: false });
        }
        let head = self.open_head(&signed, anchors, now)?;
        let ours = self.position();
        if head.number < ours.number {
            return Err(FeedError::Older { ours: ours.number, theirs: head.number });
        }
        if head.number == ours.number && self.head.is_some() {
            return self.refresh(head, signed);
        }
        let mut next = self.clone();
        let mut replaced = None;
        if let Some((signed, chunks)) = snapshot {
            let (fresh, base) = self.open_snapshot(signed, chunks, anchors, now)?;
            if !set.is_kept_by(&fresh, now) {
                return Err(FeedError::Forgets { number: base.snapshot.number });
            }
            next = Self { base: Some(Arc::new(base)), ..Self::empty(self.network.clone()) };
            replaced = Some(Box::new(fresh));
        }
        let entries = next.extend_with(entries, &head)?;
        if next.hash_of_delta() != head.hash {
            return Err(self.fork(ours.number, head.number, signed));
        }
        next.head = Some((head, signed));
        *self = next;
        Ok(News { entries, replaced, fresh: true })
    }

    fn fork(&self, ours: u64, theirs: u64, their_head: Vec<u8>) -> FeedError {
        let our_head = self.head.as_ref().map(|(_, signed)| signed.clone()).unwrap_or_default();
        FeedError::Fork { ours, theirs, our_head, their_head }
    }

    /// A head with our number: the same history signed again, or a proof of equivocation.
    fn refresh(&mut self, head: Head, signed: Vec<u8>) -> Result<News, FeedError> {
        let Some((ours, our_signed)) = self.head.as_mut() else {
            return Err(FeedError::Malformed("no head to refresh"));
        };
        if ours.hash != head.hash {
            return Err(FeedError::Equivocation {
                number: head.number,
                ours: our_signed.clone(),
                theirs: signed,
            });
        }
        let fresh = head.at > ours.at;
        if fresh {
            (*ours, *our_signed) = (head, signed);
        }
        Ok(News { entries: Vec::new(), replaced: None, fresh })
    }

    fn hash_of_delta(&self) -> ChainHash {
        let base =
            self.base.as_ref().map_or_else(|| origin(&self.network), |base| base.snapshot.hash);
        self.delta.iter().fold(base, |hash, entry| extend(&hash, entry))
    }

    /// Appends entries that continue ours; gives those that are new.
    fn extend_with(&mut self, entries: Vec<Vec<u8>>, head: &Head) -> Result<Vec<Entry>, FeedError> {
        let have = self.base() + self.delta.len() as u64;
        let mut new = Vec::new();
        for bytes in entries {
            let entry =
                Entry::from_bytes(&bytes).ok_or(FeedError::Malformed("an entry is unreadable"))?;
            if entry.number <= have {
                continue;
            }
            if entry.number != have + 1 + new.len() as u64 {
                return Err(FeedError::Gap { ours: have });
            }
            self.delta.push(bytes.into());
            new.push(entry);
        }
        if self.base() + self.delta.len() as u64 != head.number {
            return Err(FeedError::Gap { ours: have });
        }
        Ok(new)
    }

    fn open_head(
        &self,
        signed: &[u8],
        anchors: &Anchors,
        now: Timestamp,
    ) -> Result<Head, FeedError> {
        let statement = Unverified::parse(Topic::FeedHead, signed)?;
        let issuer = signer(statement.chain(), anchors, now)?;
        let payload = statement.verify(&self.network, &issuer.public)?;
        let head: Head = minicbor::decode(payload)
            .map_err(|_| FeedError::Malformed("the head is unreadable"))?;
        if head.at > now.plus_s(AHEAD_S) {
            return Err(FeedError::FromTheFuture { at: head.at });
        }
        Ok(head)
    }

    fn open_snapshot(
        &self,
        signed: Vec<u8>,
        chunks: Vec<Vec<u8>>,
        anchors: &Anchors,
        now: Timestamp,
    ) -> Result<(RevocationSet, Base), FeedError> {
        let statement = Unverified::parse(Topic::FeedSnapshot, &signed)?;
        let issuer = signer(statement.chain(), anchors, now)?;
        let payload = statement.verify(&self.network, &issuer.public)?;
        let snapshot: Snapshot = minicbor::decode(payload)
            .map_err(|_| FeedError::Malformed("the snapshot is unreadable"))?;
        if !snapshot.is_of(&chunks) {
            return Err(FeedError::Malformed("the snapshot's entries are not the signed ones"));
        }
        let set = set_of_chunks(&chunks, snapshot.number)?;
        Ok((set, Base { snapshot, signed, chunks }))
    }
}

fn set_of_chunks(chunks: &[Vec<u8>], number: u64) -> Result<RevocationSet, FeedError> {
    let mut set = RevocationSet::default();
    let (mut last, mut count) = (0, 0_usize);
    for chunk in chunks {
        let entries = read_chunk(chunk).ok_or(FeedError::Malformed("a chunk is unreadable"))?;
        for entry in entries {
            count += 1;
            let ordered = entry.number > last && entry.number <= number;
            if !ordered || count > FEED_ENTRIES_MAX {
                return Err(FeedError::Malformed("the snapshot's entries are in no order"));
            }
            last = entry.number;
            set.apply(&entry);
        }
    }
    Ok(set)
}

/// The authority behind a statement: one issuing certificate under a trusted root, with cRLSign.
fn signer(chain: &[&[u8]], anchors: &Anchors, now: Timestamp) -> Result<CaCert, FeedError> {
    let [issuing] = chain else {
        return Err(FeedError::Malformed("it carries not exactly one issuing certificate"));
    };
    anchors.verify_issuing(issuing, now).map_err(FeedError::Signer)
}
