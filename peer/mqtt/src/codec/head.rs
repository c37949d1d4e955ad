//! The fixed header (MQTT 5.0 §2.1): which packet, its flags, how long it is.
//!
//! **Invariant:** a packet that may not come, has other flags than it must, or is longer than the
//! bound is refused as soon as that is read, and not waited for.

use super::error::{DecodeError, malformed, protocol};
use super::packet::{Qos, Version};
use super::read::{PADDED, varint};
use super::reason::Reason;
use crate::limits::{CONNECT_BYTES_MAX, PACKET_BYTES_MAX};

/// Control packet types (§2.1.2).
pub(super) mod kind {
    pub(in super::super) const CONNECT: u8 = 1;
    pub(in super::super) const CONNACK: u8 = 2;
    pub(in super::super) const PUBLISH: u8 = 3;
    pub(in super::super) const PUBACK: u8 = 4;
    pub(in super::super) const PUBREC: u8 = 5;
    pub(in super::super) const PUBREL: u8 = 6;
    pub(in super::super) const PUBCOMP: u8 = 7;
    pub(in super::super) const SUBSCRIBE: u8 = 8;
    pub(in super::super) const SUBACK: u8 = 9;
    pub(in super::super) const UNSUBSCRIBE: u8 = 10;
    pub(in super::super) const UNSUBACK: u8 = 11;
    pub(in super::super) const PINGREQ: u8 = 12;
    pub(in super::super) const PINGRESP: u8 = 13;
    pub(in super::super) const DISCONNECT: u8 = 14;
    pub(in super::super) const AUTH: u8 = 15;
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// A fixed header that may stand where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Octets of the header.
    pub(super) octets: usize,
    /// Octets of the packet, with it.
    pub(super) whole: usize,
    /// The length has more octets than it needs.
    pub(super) padded: bool,
}

impl Head {
    /// Reads a header; `None` if it is not whole yet.
    pub(super) fn read(
        bytes: &[u8],
        side: Side,
        version: Option<Version>,
    ) -> Result<Option<Self>, DecodeError> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let (kind, flags) = (first >> 4, first & 0x0f);
        check_kind(kind, side, version)?;
        check_flags(kind, flags, version)?;
        let Some(length) = varint(rest)? else { return Ok(None) };
        let octets = 1 + length.octets;
        let whole = usize::try_from(length.value).map_or(usize::MAX, |value| value + octets);
        let bound = if version.is_some() { PACKET_BYTES_MAX } else { CONNECT_BYTES_MAX };
        if whole > usize::try_from(bound).unwrap_or(usize::MAX) {
            return Err(DecodeError::new(Reason::PacketTooLarge, "a packet that is too large"));
        }
        Ok(Some(Self { kind, flags, octets, whole, padded: length.padded }))
    }

    /// Only MQTT 5 says that a length is not padded, and only CONNECT says that it is MQTT 5.
    pub(super) fn check_length(self, version: Option<Version>) -> Result<(), DecodeError> {
        if self.padded && version == Some(Version::V5) { Err(PADDED) } else { Ok(()) }
    }
}

fn check_kind(kind: u8, side: Side, version: Option<Version>) -> Result<(), DecodeError> {
    let server = side == Side::Server;
    if version.is_none() && kind != kind::CONNECT {
        return Err(protocol("something before CONNECT"));
    }
    let may_come = match kind {
        kind::PUBLISH | kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => true,
        kind::CONNECT if server && version.is_some() => return Err(protocol("a second CONNECT")),
        kind::CONNECT | kind::SUBSCRIBE | kind::UNSUBSCRIBE | kind::PINGREQ => server,
        kind::CONNACK | kind::SUBACK | kind::UNSUBACK | kind::PINGRESP => !server,
        kind::DISCONNECT => server || version == Some(Version::V5),
        kind::AUTH => version == Some(Version::V5),
        _ => return Err(malformed("the packet type 0")),
    };
    if may_come { Ok(()) } else { Err(protocol("a packet that this side does not send")) }
}

fn check_flags(kind: u8, flags: u8, version: Option<Version>) -> Result<(), DecodeError> {
    let right = match kind {
        kind::PUBLISH => return publish_flags(flags).map(drop),
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => {
            // Before they were reserved, the highest said that it may have been sent before.
            flags == 0b0010 || (flags == 0b1010 && version == Some(Version::V31))
        }
        _ => flags == 0,
    };
    if right { Ok(()) } else { Err(malformed("reserved flags")) }
}

/// The flags of a PUBLISH (§3.3.1): sent before, how sure, retained.
pub(super) fn publish_flags(flags: u8) -> Result<(bool, Qos, bool), DecodeError> {
    let qos = Qos::from_bits(flags >> 1 & 3).ok_or(malformed("the quality of service 3"))?;
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    if dup && qos == Qos::AtMostOnce {
        return Err(malformed("a repetition of what is sent once"));
    }
    Ok((dup, qos, retain))
}
