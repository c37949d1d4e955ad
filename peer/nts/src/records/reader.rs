//! Cuts what arrives, in whatever pieces, into one message of records.

use super::{CRITICAL, kind};
use crate::limits::{EXCHANGE_BYTES_MAX, RECORDS_MAX};
use crate::octets::Octets;

/// Octets of a record's type and length.
const HEAD_BYTES: usize = 4;

/// What is wrong with a row of records; the other side's doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// A message without end.
    #[error("a key exchange of more than {EXCHANGE_BYTES_MAX} octets or {RECORDS_MAX} records")]
    TooLong,
    /// The last record has a body, is not critical, or was not the last.
    #[error("a key exchange that does not end as it must")]
    End,
    /// The connection ended before the message did.
    #[error("a key exchange that breaks off")]
    Cut,
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: u16,
    pub(super) is_critical: bool,
    pub(super) body: &'a [u8],
}

/// Collects a message.
#[derive(Debug, Default)]
pub struct Reader {
    octets: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    records: usize,
    is_done: bool,
}

impl Reader {
    /// Takes what arrived, and says whether the message is complete.
    ///
    /// # Errors
    /// The message is longer than anybody needs, or does not end as it must. Nothing may be taken
    /// after that.
    pub fn take(&mut self, octets: &[u8]) -> Result<bool, ReadError> {
        if self.is_done && !octets.is_empty() {
            return Err(ReadError::End);
        }
        if self.octets.len() + octets.len() > EXCHANGE_BYTES_MAX {
            return Err(ReadError::TooLong);
        }
        self.octets.extend_from_slice(octets);
        while let Some((record, len)) = self.next() {
            let (is_end, is_right) = (record.kind == kind::END, record.is_critical);
            let is_right = is_right && record.body.is_empty();
            self.at += len;
            self.records += 1;
            if self.records > RECORDS_MAX {
                return Err(ReadError::TooLong);
            }
            if is_end {
                self.is_done = is_right && self.at == self.octets.len();
                return if self.is_done { Ok(true) } else { Err(ReadError::End) };
            }
        }
        Ok(false)
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// The message is not complete.
    pub const fn finish(&self) -> Result<(), ReadError> {
        if self.is_done { Ok(()) } else { Err(ReadError::Cut) }
    }

    fn next(&self) -> Option<(Record<'_>, usize)> {
        record(&mut Octets::new(self.octets.get(self.at..)?))
    }

    /// The records of a complete message, without the one that ends it; none before it is.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let whole = if self.is_done { &self.octets[..] } else { &[] };
        let mut octets = Octets::new(whole);
        let records = std::iter::from_fn(move || record(&mut octets).map(|(record, _)| record));
        records.filter(|record| record.kind != kind::END)
    }
}

fn record<'a>(octets: &mut Octets<'a>) -> Option<(Record<'a>, usize)> {
    let (kind, len) = (octets.u16()?, usize::from(octets.u16()?));
    let body = octets.take(len)?;
    let is_critical = kind & CRITICAL != 0;
    Some((Record { kind: kind & !CRITICAL, is_critical, body }, HEAD_BYTES + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: [u8; 16] = [0x80, 1, 0, 2, 0, 0, 0x80, 4, 0, 2, 0, 15, 0x80, 0, 0, 0];

    #[test]
    fn pieces_are_put_together() {
        for piece in 1..=MESSAGE.len() {
            let mut reader = Reader::default();
            let done: Vec<_> = MESSAGE.chunks(piece).map(|some| reader.take(some)).collect();
            let (last, before) = done.split_last().unwrap();
            assert_eq!(*last, Ok(true));
            assert!(before.iter().all(|done| *done == Ok(false)));
            assert_eq!(reader.finish(), Ok(()));
            let records: Vec<_> = reader.records().map(|record| record.kind).collect();
            assert_eq!(records, [1, 4]);
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        for cut in 0..MESSAGE.len() {
            let mut reader = Reader::default();
            assert_eq!(reader.take(&MESSAGE[..cut]), Ok(false));
            assert_eq!(reader.finish(), Err(ReadError::Cut));
            assert_eq!(reader.records().count(), 0);
        }
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut reader = Reader::default();
        assert_eq!(reader.take(&[&MESSAGE[..], &[0]].concat()), Err(ReadError::End));
        let mut reader = Reader::default();
        assert_eq!(reader.take(&MESSAGE), Ok(true));
        assert_eq!(reader.take(&[0]), Err(ReadError::End));
    }

    #[test]
    fn an_end_that_is_not_one_is_refused() {
        for end in [&[0, 0, 0, 0][..], &[0x80, 0, 0, 1, 0]] {
            assert_eq!(Reader::default().take(end), Err(ReadError::End));
        }
    }

    #[test]
    fn there_is_an_end_to_patience() {
        let many = [0, 99, 0, 0].repeat(RECORDS_MAX + 1);
        assert_eq!(Reader::default().take(&many), Err(ReadError::TooLong));
        let mut reader = Reader::default();
        assert_eq!(reader.take(&[0, 99, 0xFF, 0xFF]), Ok(false));
        assert_eq!(reader.take(&[0; EXCHANGE_BYTES_MAX]), Err(ReadError::TooLong));
    }
}
