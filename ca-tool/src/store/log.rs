//! The log: every act of the authority, each chained to the one before by SHA-256.
//!
//! A record is written in the transaction of the act itself, so that there is no act without its
//! record. The hash of the newest record stands apart: cutting off the end shows too.
//!
//! **Invariant:** a changed, missing or added record is found by [`verify`].

use shared::id::sha256;
use shared::time::Timestamp;

use super::record::{self, LogRecord};
use super::{LOG, META, Reads, Store, Txn, meta};
use crate::error::CaError;

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFault {
    /// The record that does not fit.
    pub seq: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl Txn {
    /// Appends to the log.
    pub(crate) fn log(
        &self,
        at: Timestamp,
        act: &str,
        subject: &str,
        detail: String,
    ) -> Result<(), CaError> {
        let (last, prev) = head(self)?;
        let seq = last + 1;
        let record =
            LogRecord { seq, prev, at, act: act.to_owned(), subject: subject.to_owned(), detail };
        let bytes = record::to_bytes(&record)?;
        self.put(LOG, &seq.to_be_bytes(), &bytes)?;
        let mut head = seq.to_be_bytes().to_vec();
        head.extend_from_slice(&sha256(&bytes));
        self.put(META, meta::LOG_HEAD, &head)
    }
}

impl Store {
    /// The whole log, oldest first.
    ///
    /// # Errors
    /// What the disk says, or that a record is unreadable.
    pub fn log(&self) -> Result<Vec<LogRecord>, CaError> {
        self.read()?.all(LOG, &[])
    }

    /// At most `max` records after a number, oldest first.
    ///
    /// # Errors
    /// As [`Store::log`].
    pub fn log_after(&self, after: u64, max: usize) -> Result<Vec<LogRecord>, CaError> {
        let from = after.saturating_add(1).to_be_bytes();
        self.read()?.from(LOG, &from, max, Ok)
    }

    /// When the newest record was written.
    ///
    /// # Errors
    /// As [`Store::log`].
    pub fn newest(&self) -> Result<Timestamp, CaError> {
        newest(&self.read()?)
    }

    /// Checks the chain from the first record to the head: how many records, or where it breaks.
    ///
    /// # Errors
    /// What the disk says; a broken chain is an `Ok(Err(…))`.
    pub fn verify_log(&self) -> Result<Result<u64, LogFault>, CaError> {
        let view = self.read()?;
        let (last, last_hash) = head(&view)?;
        let (mut seq, mut hash) = (0_u64, [0; 32]);
        for (key, bytes) in view.scan(LOG, &[])? {
            seq += 1;
            let fault = |what| Ok(Err(LogFault { seq, what }));
            let Ok(record) = record::from_bytes::<LogRecord>(&bytes) else {
                return fault("it is unreadable");
            };
            if key != seq.to_be_bytes() || record.seq != seq {
                return fault("a record is missing before it");
            }
            if record.prev != hash {
                return fault("it does not continue the record before it");
            }
            hash = sha256(&bytes);
        }
        if (seq, hash) == (last, last_hash) {
            Ok(Ok(seq))
        } else {
            Ok(Err(LogFault { seq, what: "it is not the record the log ends with" }))
        }
    }
}

/// When the newest record was written; 1970 if there is none.
pub(crate) fn newest(reads: &impl Reads) -> Result<Timestamp, CaError> {
    let (last, _) = head(reads)?;
    let record: Option<LogRecord> = reads.one(LOG, &last.to_be_bytes())?;
    Ok(record.map_or_else(Timestamp::default, |record| record.at))
}

fn head(reads: &impl Reads) -> Result<(u64, [u8; 32]), CaError> {
    let Some(bytes) = reads.get(META, meta::LOG_HEAD)? else { return Ok((0, [0; 32])) };
    let parts = bytes.split_first_chunk::<8>();
    let parts = parts.and_then(|(seq, hash)| Some((*seq, <[u8; 32]>::try_from(hash).ok()?)));
    let (seq, hash) = parts.ok_or_else(|| CaError::Damaged("the log has no head".to_owned()))?;
    Ok((u64::from_be_bytes(seq), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_records(count: u64) -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::create(&place.path().join("store.redb"), "a.b").unwrap();
        for n in 0..count {
            let at = Timestamp::from_s(n as i64);
            store.write(|txn| txn.log(at, "enroll", "bob", format!("serial {n}"))).unwrap();
        }
        (place, store)
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let (_place, store) = with_records(3);
        assert_eq!(store.verify_log().unwrap(), Ok(3));
        for seq in 1..=3_u64 {
            let key = seq.to_be_bytes();
            let good = store.read().unwrap().get(LOG, &key).unwrap().unwrap();
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                store.write(|txn| txn.put(LOG, &key, &bad)).unwrap();
                assert!(store.verify_log().unwrap().is_err(), "record {seq} byte {at}");
            }
            store.write(|txn| txn.put(LOG, &key, &good)).unwrap();
        }
    }

    #[test]
    fn a_missing_record_is_found_wherever_it_stood() {
        for gone in 1..=3_u64 {
            let (_place, store) = with_records(3);
            store.write(|txn| txn.remove(LOG, &gone.to_be_bytes())).unwrap();
            assert!(store.verify_log().unwrap().is_err(), "record {gone}");
        }
    }
}
