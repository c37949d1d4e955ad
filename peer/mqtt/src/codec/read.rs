//! A bounded cursor over the body of one packet.
//!
//! **Invariant:** it never reads past the body, and what it gives is a part of the same buffer.

use std::num::NonZeroU16;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::error::DecodeError;
use super::packet::PacketId;
use super::reason::Reason;

/// What is left of a packet's body.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl Body {
    pub(super) fn octet(&mut self) -> Result<u8, DecodeError> {
        if self.0.is_empty() { Err(short()) } else { Ok(self.0.get_u8()) }
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        if self.0.len() < 2 { Err(short()) } else { Ok(self.0.get_u16()) }
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        if self.0.len() < 4 { Err(short()) } else { Ok(self.0.get_u32()) }
    }

    /// A variable byte integer (MQTT 5.0 §1.5.5), in as few octets as it needs.
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        match varint(&self.0)? {
            Some((value, used)) => {
                self.0.advance(used);
                Ok(value)
            }
            None => Err(short()),
        }
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let zero = || DecodeError::new(Reason::ProtocolError, "the packet identifier 0");
        NonZeroU16::new(self.u16()?).ok_or_else(zero)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if self.0.len() < length { Err(short()) } else { Ok(self.0.split_to(length)) }
    }

    /// Binary data (§1.5.6).
    pub(super) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    /// A UTF-8 encoded string (§1.5.4): no surrogates, no NUL; U+FEFF is a character like others.
    pub(super) fn text(&mut self) -> Result<ByteString, DecodeError> {
        let bytes = self.binary()?;
        let wrong = |what| DecodeError::new(Reason::MalformedPacket, what);
        if bytes.contains(&0) {
            return Err(wrong("a string with a NUL"));
        }
        ByteString::try_from(bytes).map_err(|_| wrong("a string that is not UTF-8"))
    }

    /// A part of it with a length in front.
    pub(super) fn section(&mut self) -> Result<Self, DecodeError> {
        let length = self.varint()?;
        Ok(Self(self.take(usize::try_from(length).unwrap_or(usize::MAX))?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(DecodeError::new(Reason::MalformedPacket, "more octets than the packet has"))
    }
}

/// A variable byte integer at the beginning of some octets, and how many it takes; `None` if they
/// end before it does.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0_u32;
    for (index, octet) in bytes.iter().take(4).enumerate() {
        value |= u32::from(octet & 0x7f) << (7 * index);
        if octet & 0x80 == 0 {
            if *octet == 0 && index > 0 {
                let what = "a length in more octets than it needs";
                return Err(DecodeError::new(Reason::MalformedPacket, what));
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(DecodeError::new(Reason::MalformedPacket, "a length of more than four octets"))
}

fn short() -> DecodeError {
    DecodeError::new(Reason::MalformedPacket, "a packet that ends too early")
}
