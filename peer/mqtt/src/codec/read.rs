//! A bounded cursor over the body of one packet.
//!
//! **Invariant:** it never reads past the body, and what it gives is borrowed from it.

use std::num::NonZeroU16;

use super::error::{DecodeError, malformed, protocol};
use super::packet::PacketId;
use super::text;

/// What is left of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'b>(&'b [u8]);

impl<'b> Body<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn octet(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer (MQTT 5.0 §1.5.5), in as few octets as it needs.
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let read = varint(self.0)?.ok_or(SHORT)?;
        if read.padded {
            return Err(PADDED);
        }
        self.take(read.octets)?;
        Ok(read.value)
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(protocol("the packet identifier 0"))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Binary data (§1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'b [u8], DecodeError> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    /// A UTF-8 encoded string (§1.5.4).
    pub(super) fn text(&mut self) -> Result<&'b str, DecodeError> {
        text::parse(self.binary()?)
    }

    /// A part of it with a length in front.
    pub(super) fn section(&mut self) -> Result<Self, DecodeError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX)).map(Self)
    }

    /// All that is left.
    pub(super) const fn rest(self) -> &'b [u8] {
        self.0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may follow.
    pub(super) const fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("more octets than the packet has")) }
    }
}

/// A variable byte integer as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Varint {
    pub(super) value: u32,
    /// How many octets it takes.
    pub(super) octets: usize,
    /// Fewer would have done.
    pub(super) padded: bool,
}

/// Reads one at the beginning of some octets; `None` if they end before it does.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<Varint>, DecodeError> {
    let mut value = 0_u32;
    for (index, octet) in bytes.iter().take(4).enumerate() {
        value |= u32::from(octet & 0x7f) << (7 * index);
        if octet & 0x80 == 0 {
            let padded = *octet == 0 && index > 0;
            return Ok(Some(Varint { value, octets: index + 1, padded }));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(malformed("a length of more than four octets"))
}

const SHORT: DecodeError = malformed("a packet that ends too early");

/// What is wrong with a padded one (§1.5.5); MQTT 3 does not say so of its lengths.
pub(super) const PADDED: DecodeError = malformed("a length in more octets than it needs");
