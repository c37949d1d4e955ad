//! The extension fields of NTS in a datagram (RFC 8915 §5), read and sealed.
//!
//! **Invariant:** the authenticator is the last field, as chrony has it too: nothing that it does
//! not cover is ever read. Its own paddings, which nothing covers, must be zero.

use crate::cookie::COOKIE_BYTES;
use crate::key::{Key, NONCE_BYTES, TAG_BYTES};
use crate::limits::{DATAGRAM_BYTES_MAX, UNIQUE_BYTES_MAX};
use crate::ntp::{FieldError, Fields, HEADER_BYTES};
use crate::octets::{Octets, Sheet};

pub(crate) const UNIQUE: u16 = 0x0104;
pub(crate) const COOKIE: u16 = 0x0204;
pub(crate) const PLACEHOLDER: u16 = 0x0304;
const AUTHENTICATOR: u16 = 0x0404;

/// The least unique identifier (RFC 8915 §5.3).
const UNIQUE_BYTES_MIN: usize = 32;
/// What a question's nonce and padding must have, so that an answer's nonce fits (RFC 8915 §5.6).
const NONCE_ROOM_MIN: usize = 16;
/// Octets of an authenticator around what is encrypted: type, length, two lengths, nonce, tag.
pub(crate) const AUTHENTICATOR_BYTES: usize = 4 + 4 + NONCE_BYTES + TAG_BYTES;
/// Octets of one of our cookies as a field.
pub(crate) const COOKIE_FIELD_BYTES: usize = 4 + COOKIE_BYTES;

/// What is wrong with a datagram before any key was asked; always the sender's doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header, or longer than anybody has reason to.
    #[error("a datagram of {0} octets")]
    Size(usize),
    /// A field of impossible length, or too many.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A field of NTS is there twice, or has a length that it must not have.
    #[error("the fields of NTS are not as RFC 8915 has them")]
    Nts,
    /// Something stands behind the authenticator.
    #[error("an authenticator that is not the last field")]
    NotLast,
    /// A part of what NTS needs is missing.
    #[error("fields of NTS without the others that belong to them")]
    Incomplete,
}

/// The fields of NTS in a datagram; other fields are passed over.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) unique: Option<&'a [u8]>,
    pub(crate) cookie: Option<&'a [u8]>,
    /// Placeholders that one of our cookies fits in.
    pub(crate) placeholders: usize,
    /// Whether there are any, of whatever size.
    pub(crate) has_placeholder: bool,
    pub(crate) seal: Option<Seal<'a>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let rest = datagram.get(HEADER_BYTES..).filter(|_| datagram.len() <= DATAGRAM_BYTES_MAX);
        let rest = rest.ok_or(Malformed::Size(datagram.len()))?;
        let mut parts = Self::default();
        for field in Fields::outside(rest) {
            let field = field?;
            if parts.seal.is_some() {
                return Err(Malformed::NotLast);
            }
            match field.kind {
                UNIQUE => parts.unique(field.body)?,
                COOKIE if parts.cookie.is_none() => parts.cookie = Some(field.body),
                COOKIE => return Err(Malformed::Nts),
                PLACEHOLDER => {
                    parts.has_placeholder = true;
                    parts.placeholders += usize::from(field.body.len() >= COOKIE_BYTES);
                }
                AUTHENTICATOR => {
                    let signed = datagram.get(..HEADER_BYTES + field.at);
                    parts.seal = signed.and_then(|signed| Seal::read(signed, field.body));
                    parts.seal.ok_or(Malformed::Nts)?;
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    /// Whether nothing in it has to do with NTS; a unique identifier alone may stand anywhere.
    pub(crate) const fn is_plain(&self) -> bool {
        self.cookie.is_none() && self.seal.is_none() && !self.has_placeholder
    }

    fn unique(&mut self, body: &'a [u8]) -> Result<(), Malformed> {
        let fits = (UNIQUE_BYTES_MIN..=UNIQUE_BYTES_MAX).contains(&body.len());
        if !fits || self.unique.is_some() {
            return Err(Malformed::Nts);
        }
        self.unique = Some(body);
        Ok(())
    }
}

/// An authenticator and what it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal<'a> {
    signed: &'a [u8],
    nonce: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
    text: &'a [u8],
    /// Octets that an answer's nonce may take.
    nonce_room: usize,
}

impl<'a> Seal<'a> {
    fn read(signed: &'a [u8], body: &'a [u8]) -> Option<Self> {
        let mut octets = Octets::new(body);
        let (nonce_len, text_len) = (usize::from(octets.u16()?), usize::from(octets.u16()?));
        let (nonce, nonce_padding) = padded(&mut octets, nonce_len)?;
        let (text, text_padding) = padded(&mut octets, text_len)?;
        let spare = octets.rest();
        let (tag, text) = text.split_first_chunk()?;
        let paddings = [nonce_padding, text_padding, spare];
        let is_clean = paddings.iter().copied().flatten().all(|octet| *octet == 0);
        let nonce_room = nonce.len() + nonce_padding.len() + spare.len();
        let seal = Self { signed, nonce, tag, text, nonce_room };
        (is_clean && !nonce.is_empty()).then_some(seal)
    }

    /// Whether an answer's nonce fits, which only questions have to see to.
    pub(crate) const fn has_nonce_room(&self) -> bool {
        self.nonce_room >= NONCE_ROOM_MIN
    }

    /// What was encrypted, decrypted into `room`; `None` if this is not authentic under the key.
    pub(crate) fn open<'r>(&self, key: &Key, room: &'r mut Room) -> Option<&'r [u8]> {
        let text = room.0.get_mut(..self.text.len())?;
        text.copy_from_slice(self.text);
        key.open(&[self.signed, self.nonce], text, self.tag)?;
        Some(text)
    }
}

fn padded<'a>(octets: &mut Octets<'a>, len: usize) -> Option<(&'a [u8], &'a [u8])> {
    let text = octets.take(len)?;
    Some((text, octets.take(len.next_multiple_of(4) - len)?))
}

/// Where a text is decrypted: on the stack, for the longest datagram there is.
pub(crate) struct Room([u8; DATAGRAM_BYTES_MAX]);

impl Room {
    pub(crate) const fn new() -> Self {
        Self([0; DATAGRAM_BYTES_MAX])
    }
}

/// Writes one field; the body's length must be a multiple of four.
pub(crate) fn put_field(sheet: &mut Sheet<'_>, kind: u16, body: &[u8]) -> Option<()> {
    put_head(sheet, kind, body.len())?;
    sheet.put(body)
}

/// Writes the type and length of a field whose body follows.
pub(crate) fn put_head(sheet: &mut Sheet<'_>, kind: u16, len: usize) -> Option<()> {
    sheet.put_u16(kind)?;
    sheet.put_u16(u16::try_from(len + 4).ok()?)
}

/// Makes the authenticator in `field`: what is to be encrypted lies in it already, behind the
/// first [`AUTHENTICATOR_BYTES`]; `signed` is all of the datagram that stands before.
pub(crate) fn seal(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    signed: &[u8],
    field: &mut [u8],
) -> Option<()> {
    let len = field.len();
    let (head, text) = field.split_at_mut_checked(AUTHENTICATOR_BYTES)?;
    let text_len = u16::try_from(TAG_BYTES + text.len()).ok()?;
    let tag = key.seal(&[signed, nonce], text)?;
    let mut sheet = Sheet::new(head);
    put_head(&mut sheet, AUTHENTICATOR, len - 4)?;
    sheet.put_u16(u16::try_from(NONCE_BYTES).ok()?)?;
    sheet.put_u16(text_len)?;
    sheet.put(nonce)?;
    sheet.put(&tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::new([4; 32]);

    fn datagram(text: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 1024];
        let mut sheet = Sheet::new(&mut octets);
        sheet.put(&[0x23; HEADER_BYTES]).unwrap();
        put_field(&mut sheet, UNIQUE, &[1; 32]).unwrap();
        put_field(&mut sheet, COOKIE, &[2; 100]).unwrap();
        put_field(&mut sheet, PLACEHOLDER, &[0; 100]).unwrap();
        put_field(&mut sheet, PLACEHOLDER, &[0; COOKIE_BYTES]).unwrap();
        let (signed, field) = sheet.split(AUTHENTICATOR_BYTES + text.len()).unwrap();
        field[AUTHENTICATOR_BYTES..].copy_from_slice(text);
        seal(&KEY, &[5; 16], signed, field).unwrap();
        let len = sheet.len();
        octets.truncate(len);
        octets
    }

    fn open(datagram: &[u8]) -> Option<Vec<u8>> {
        let seal = Parts::read(datagram).ok()?.seal?;
        seal.open(&KEY, &mut Room::new()).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_is_sealed_opens() {
        let datagram = datagram(b"sixteen octets !");
        let parts = Parts::read(&datagram).unwrap();
        assert_eq!(parts.unique, Some(&[1; 32][..]));
        assert_eq!(parts.cookie, Some(&[2; 100][..]));
        assert_eq!((parts.placeholders, parts.is_plain()), (1, false));
        assert!(parts.seal.unwrap().has_nonce_room());
        assert_eq!(open(&datagram).unwrap(), b"sixteen octets !");
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let whole = datagram(b"four");
        assert!(open(&whole).is_some());
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&changed), None, "{bit}");
        }
    }

    #[test]
    fn nothing_may_follow() {
        let more = [&datagram(b"")[..], &[0, 9, 0, 16], &[0; 12]].concat();
        assert_eq!(Parts::read(&more).err(), Some(Malformed::NotLast));
    }

    #[test]
    fn what_must_be_there_once_may_not_be_there_twice() {
        for (kind, len) in [(UNIQUE, 32), (COOKIE, 100)] {
            let mut octets = vec![0; 500];
            let mut sheet = Sheet::new(&mut octets);
            sheet.put(&[0x23; HEADER_BYTES]).unwrap();
            put_field(&mut sheet, kind, &vec![0; len]).unwrap();
            put_field(&mut sheet, kind, &vec![0; len]).unwrap();
            let len = sheet.len();
            assert_eq!(Parts::read(&octets[..len]).err(), Some(Malformed::Nts));
        }
    }

    #[test]
    fn a_unique_identifier_has_a_least_and_a_greatest_length() {
        for (len, fits) in [(28, false), (32, true), (128, true), (132, false)] {
            let mut octets = vec![0; 500];
            let mut sheet = Sheet::new(&mut octets);
            sheet.put(&[0x23; HEADER_BYTES]).unwrap();
            put_field(&mut sheet, UNIQUE, &vec![0; len]).unwrap();
            let all = sheet.len();
            assert_eq!(Parts::read(&octets[..all]).is_ok(), fits, "{len}");
        }
    }

    #[test]
    fn sizes_beyond_reason_are_refused() {
        for len in [0, 47, DATAGRAM_BYTES_MAX + 1] {
            assert_eq!(Parts::read(&vec![0; len]).err(), Some(Malformed::Size(len)));
        }
    }

    #[test]
    fn a_short_nonce_needs_padding_and_the_padding_is_nothing() {
        let body = |nonce: u16, spare: usize, fill: u8| {
            let mut body = [nonce.to_be_bytes(), 16u16.to_be_bytes()].concat();
            body.resize(4 + usize::from(nonce).next_multiple_of(4) + 16, 1);
            body.resize(body.len() + spare, fill);
            body
        };
        let room = |body: &[u8]| Seal::read(&[], body).map(|seal| seal.has_nonce_room());
        assert_eq!(room(&body(16, 0, 0)), Some(true));
        assert_eq!(room(&body(12, 0, 0)), Some(false));
        assert_eq!(room(&body(12, 4, 0)), Some(true));
        assert_eq!(room(&body(12, 4, 1)), None);
        assert_eq!(room(&body(0, 16, 0)), None);
    }
}
