//! Extension fields, which follow the header (RFC 7822).
//!
//! **Invariant:** what is not entirely a row of well-formed fields is refused as a whole. A
//! message authentication code of older kinds at the end is refused by that too: no keys for one
//! are known here.

use crate::limits::FIELDS_MAX;
use crate::octets::Octets;

/// The least length of a field on the outside (RFC 7822 §7.5).
const OUTSIDE_MIN: usize = 16;
/// Inside the encrypted part there is nothing to mistake a short one for.
const INSIDE_MIN: usize = 4;

/// What is wrong with extension fields; always the sender's doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FieldError {
    /// A length below the least, not a multiple of four, or beyond the end.
    #[error("an extension field of impossible length")]
    Length,
    /// More of them than anybody needs.
    #[error("more than {FIELDS_MAX} extension fields")]
    Count,
}

/// One field; the body includes its padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Its type.
    pub kind: u16,
    /// What follows type and length.
    pub body: &'a [u8],
    /// Where the field begins, counted from where its row begins.
    pub at: usize,
}

/// A row of fields. Ends at the first that is wrong.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    octets: Octets<'a>,
    least: usize,
    at: usize,
    count: usize,
}

impl<'a> Fields<'a> {
    /// Those behind a header.
    #[must_use]
    pub const fn outside(octets: &'a [u8]) -> Self {
        Self { octets: Octets::new(octets), least: OUTSIDE_MIN, at: 0, count: 0 }
    }

    /// Those that were encrypted.
    #[must_use]
    pub const fn inside(octets: &'a [u8]) -> Self {
        Self { octets: Octets::new(octets), least: INSIDE_MIN, at: 0, count: 0 }
    }

    fn field(&mut self) -> Result<Field<'a>, FieldError> {
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(FieldError::Count);
        }
        let (kind, len) = self.octets.u16().zip(self.octets.u16()).ok_or(FieldError::Length)?;
        let len = usize::from(len);
        if len < self.least || !len.is_multiple_of(4) {
            return Err(FieldError::Length);
        }
        let body = self.octets.take(len - 4).ok_or(FieldError::Length)?;
        let field = Field { kind, body, at: self.at };
        self.at += len;
        Ok(field)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, FieldError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.octets.rest().is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.octets = Octets::new(&[]);
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: u16, len: u16) -> Vec<u8> {
        let mut octets = [kind.to_be_bytes(), len.to_be_bytes()].concat();
        octets.resize(usize::from(len).max(4), 7);
        octets
    }

    fn read(octets: &[u8]) -> Result<Vec<(u16, usize)>, FieldError> {
        Fields::outside(octets).map(|field| field.map(|f| (f.kind, f.at))).collect()
    }

    #[test]
    fn a_row_is_read_to_its_end() {
        let row = [field(0x104, 36), field(0x204, 128), field(9, 16)].concat();
        assert_eq!(read(&row), Ok(vec![(0x104, 0), (0x204, 36), (9, 164)]));
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn every_cut_is_refused_but_between_fields() {
        let row = [field(0x104, 36), field(0x204, 20)].concat();
        for cut in (1..row.len()).filter(|cut| *cut != 36) {
            assert_eq!(read(&row[..cut]), Err(FieldError::Length), "{cut}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for len in [0, 3, 4, 12, 15, 17, 18] {
            assert_eq!(read(&field(1, len)), Err(FieldError::Length), "{len}");
        }
        assert_eq!(read(&field(1, 16)).map(|row| row.len()), Ok(1));
        assert_eq!(Fields::inside(&field(1, 4)).count(), 1);
    }

    #[test]
    fn an_old_authentication_code_is_refused() {
        for len in [4, 20, 24] {
            assert!(read(&[[0, 0, 0, 1].to_vec(), vec![0xAA; len - 4]].concat()).is_err(), "{len}");
        }
    }

    #[test]
    fn there_is_an_end_to_patience() {
        assert!(read(&field(1, 16).repeat(FIELDS_MAX)).is_ok());
        assert_eq!(read(&field(1, 16).repeat(FIELDS_MAX + 1)), Err(FieldError::Count));
    }
}
