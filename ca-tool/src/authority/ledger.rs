//! The feed as the authority has it: how the next head, snapshot and CRL come about.
//!
//! A change is computed beside the ledger, verified exactly as a peer would verify it, committed,
//! and only then taken over and published. What is published is always what is in the store.
//!
//! **Invariant:** no signed head leaves this process before the transaction that holds it is on
//! the disk, so the feed never forks.

use shared::cert::{CaSigner, CrlDraft, CrlEntry};
use shared::feed::{Act, Entry, Feed, Head, News, RevocationSet, Snapshot, Update, chunk_entries};
use shared::limits::{FEED_DELTA_MAX, FEED_ENTRIES_MAX};
use shared::name::NetworkName;
use shared::time::Timestamp;
use shared::verify::Anchors;

use crate::error::CaError;
use crate::store::{FEED_CHUNKS, FEED_ENTRIES, META, Reads, Txn, meta};

/// Below this many entries, expired ones are not worth a snapshot.
const EXPIRED_MIN: usize = 64;

/// What the authority believes of its own feed.
pub(crate) struct Ledger {
    pub(crate) feed: Feed,
    pub(crate) set: RevocationSet,
    /// When each held entry may be forgotten.
    expiries: Vec<Timestamp>,
}

/// Who signs, for which network, and for how long.
pub(crate) struct Signing<'a> {
    pub(crate) signer: &'a CaSigner,
    pub(crate) network: &'a NetworkName,
    pub(crate) anchors: &'a Anchors,
    pub(crate) life_s: i64,
}

/// A change that was verified and is not yet committed.
pub(crate) struct Change {
    next: Feed,
    news: News,
    update: Update,
    head_at: Timestamp,
    /// The number of the entry, if the change has one.
    entry: Option<u64>,
}

impl Ledger {
    /// Reads the committed feed.
    pub(crate) fn load(
        reads: &impl Reads,
        network: &NetworkName,
        anchors: &Anchors,
    ) -> Result<Self, CaError> {
        let mut feed = Feed::empty(network.clone());
        let mut set = RevocationSet::default();
        if let Some(head) = reads.get(META, meta::FEED_HEAD)? {
            let values = |pairs: Vec<(Vec<u8>, Vec<u8>)>| pairs.into_iter().map(|(_, v)| v);
            let snapshot = match reads.get(META, meta::FEED_SNAPSHOT)? {
                Some(signed) => Some((signed, values(reads.scan(FEED_CHUNKS, &[])?).collect())),
                None => None,
            };
            let entries = values(reads.scan(FEED_ENTRIES, &[])?).collect();
            // Our own head is judged at the moment it was signed, whatever the clock shows now.
            let at = i64::try_from(reads.number(meta::FEED_HEAD_AT)?).unwrap_or(i64::MAX);
            let update = Update { snapshot, entries, head };
            let mut news =
                feed.apply(update, &RevocationSet::default(), anchors, Timestamp::from_ms(at))?;
            news.apply_to(&mut set);
        }
        let expiries = feed.entries().iter().map(|entry| entry.expires).collect();
        Ok(Self { feed, set, expiries })
    }

    /// The change that one more entry makes; with it a snapshot, where one is due.
    pub(crate) fn with_entry(
        &self,
        entry: &Entry,
        signing: &Signing<'_>,
        now: Timestamp,
    ) -> Result<Change, CaError> {
        let snapshot = if self.wants_snapshot(now) {
            Some(self.snapshot(signing, entry.at, now)?)
        } else if self.feed.delta_len() + 1 > FEED_DELTA_MAX {
            return Err(CaError::FeedFull { max: FEED_ENTRIES_MAX });
        } else {
            None
        };
        let hash = self.feed.hash_with(entry);
        let update = |head| Update { snapshot, entries: vec![entry.to_bytes()], head };
        self.change(entry.number, hash, entry.at, update, signing, Some(entry.number))
    }

    /// The same feed, signed again.
    pub(crate) fn refreshed(
        &self,
        signing: &Signing<'_>,
        now: Timestamp,
    ) -> Result<Change, CaError> {
        let position = self.feed.position();
        let at = now.max(Timestamp::from_ms(position.at.ms().saturating_add(1)));
        let update = |head| Update { snapshot: None, entries: Vec::new(), head };
        self.change(position.number, self.feed.hash(), at, update, signing, None)
    }

    fn change(
        &self,
        number: u64,
        hash: shared::id::ChainHash,
        at: Timestamp,
        update: impl FnOnce(Vec<u8>) -> Update,
        signing: &Signing<'_>,
        entry: Option<u64>,
    ) -> Result<Change, CaError> {
        let head = Head { number, hash, at, next_update: at.plus_s(signing.life_s) };
        let update = update(head.sign(signing.network, signing.signer)?);
        let mut next = self.feed.clone();
        let news = next.apply(update.clone(), &self.set, signing.anchors, at)?;
        Ok(Change { next, news, update, head_at: at, entry })
    }

    fn wants_snapshot(&self, now: Timestamp) -> bool {
        let held = self.expiries.len();
        let expired = self.expiries.iter().filter(|expires| **expires <= now).count();
        let stale = expired > EXPIRED_MIN && expired * 4 > held;
        self.feed.delta_len() >= FEED_DELTA_MAX || stale
    }

    fn snapshot(
        &self,
        signing: &Signing<'_>,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), CaError> {
        let entries = self.feed.entries();
        let kept: Vec<&Entry> = entries.iter().filter(|e| self.is_needed(e, now)).collect();
        if kept.len() > FEED_ENTRIES_MAX {
            return Err(CaError::FeedFull { max: FEED_ENTRIES_MAX });
        }
        let chunks = chunk_entries(kept.into_iter());
        let number = self.feed.position().number;
        let snapshot = Snapshot::of_chunks(number, self.feed.hash(), at, &chunks);
        Ok((snapshot.sign(signing.network, signing.signer)?, chunks))
    }

    /// A revocation until it expires, a hold while it stands.
    fn is_needed(&self, entry: &Entry, now: Timestamp) -> bool {
        match entry.act {
            Act::Revoke => entry.expires > now,
            Act::Suspend => {
                self.set.hold_of(&entry.node).is_some_and(|mark| mark.number == entry.number)
            }
            Act::Resume => false,
        }
    }

    /// Takes over a change that is on the disk.
    pub(crate) fn take(&mut self, mut change: Change) {
        let whole = change.news.replaced.is_some();
        change.news.apply_to(&mut self.set);
        self.feed = change.next;
        if whole {
            self.expiries = self.feed.entries().iter().map(|entry| entry.expires).collect();
        } else {
            self.expiries.extend(change.news.entries.iter().map(|entry| entry.expires));
        }
    }

    /// The feed as a file.
    pub(crate) fn file(&self) -> Option<Vec<u8>> {
        self.feed.update_since(0).map(shared::feed::write_file)
    }
}

impl Change {
    /// Writes the change into the transaction of the act.
    pub(crate) fn store(&self, txn: &Txn) -> Result<(), CaError> {
        if let Some((signed, chunks)) = &self.update.snapshot {
            txn.clear(FEED_ENTRIES)?;
            txn.clear(FEED_CHUNKS)?;
            txn.put(META, meta::FEED_SNAPSHOT, signed)?;
            for (index, chunk) in (0_u32..).zip(chunks) {
                txn.put(FEED_CHUNKS, &index.to_be_bytes(), chunk)?;
            }
        }
        if let (Some(number), Some(entry)) = (self.entry, self.update.entries.first()) {
            txn.put(FEED_ENTRIES, &number.to_be_bytes(), entry)?;
        }
        txn.put(META, meta::FEED_HEAD, &self.update.head)?;
        txn.put_number(meta::FEED_HEAD_AT, u64::try_from(self.head_at.ms()).unwrap_or(0))
    }
}

/// Signs the CRL of what the store bars, and writes it into the transaction.
pub(crate) fn store_crl(txn: &Txn, signing: &Signing<'_>, now: Timestamp) -> Result<(), CaError> {
    let number = txn.number(meta::CRL_NUMBER)? + 1;
    let mut entries = Vec::new();
    for bar in txn.bars()? {
        if bar.not_after > now {
            entries.push(CrlEntry { serial: bar.serial, at: bar.at, reason: bar.reason });
        } else {
            txn.remove_bar(&bar.serial)?;
        }
    }
    let draft =
        CrlDraft { number, this_update: now, next_update: now.plus_s(signing.life_s), entries };
    txn.put(META, meta::CRL, &signing.signer.sign_crl(&draft)?)?;
    txn.put_number(meta::CRL_NUMBER, number)
}
