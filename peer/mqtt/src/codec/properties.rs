//! Properties (MQTT 5.0 §2.2.2): which packet may have which, and what each may be.
//!
//! **Invariant:** what passes here is allowed in its packet, stands there once unless it may stand
//! often, and is within its range.

use std::ops::Range;

use super::error::{DecodeError, malformed, protocol};
use super::read::Body;
use super::reason::Reason;
use crate::limits::PROPERTIES_MAX;

/// Identifiers (§2.2.2.2).
pub(super) mod id {
    pub(in super::super) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(in super::super) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(in super::super) const CONTENT_TYPE: u8 = 0x03;
    pub(in super::super) const RESPONSE_TOPIC: u8 = 0x08;
    pub(in super::super) const CORRELATION_DATA: u8 = 0x09;
    pub(in super::super) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(in super::super) const SESSION_EXPIRY: u8 = 0x11;
    pub(in super::super) const CLIENT_ID: u8 = 0x12;
    pub(in super::super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(in super::super) const AUTH_METHOD: u8 = 0x15;
    pub(in super::super) const AUTH_DATA: u8 = 0x16;
    pub(in super::super) const WANTS_PROBLEM: u8 = 0x17;
    pub(in super::super) const WILL_DELAY: u8 = 0x18;
    pub(in super::super) const WANTS_RESPONSE: u8 = 0x19;
    pub(in super::super) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(in super::super) const SERVER_REFERENCE: u8 = 0x1C;
    pub(in super::super) const REASON_STRING: u8 = 0x1F;
    pub(in super::super) const RECEIVE_MAX: u8 = 0x21;
    pub(in super::super) const ALIAS_MAX: u8 = 0x22;
    pub(in super::super) const ALIAS: u8 = 0x23;
    pub(in super::super) const QOS_MAX: u8 = 0x24;
    pub(in super::super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(in super::super) const USER: u8 = 0x26;
    pub(in super::super) const PACKET_BYTES_MAX: u8 = 0x27;
    pub(in super::super) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(in super::super) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(in super::super) const SHARED_AVAILABLE: u8 = 0x2A;
}

/// Identifiers that a packet may have; all are less than 64.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Set(u64);

impl Set {
    pub(super) const fn of(ids: &[u8]) -> Self {
        let (mut bits, mut rest) = (0, ids);
        while let [first, others @ ..] = rest {
            bits |= 1 << *first;
            rest = others;
        }
        Self(bits)
    }

    const fn has(self, id: u32) -> bool {
        id < u64::BITS && self.0 >> id & 1 == 1
    }
}

/// Who may stand there more than once: a subscription identifier in what a server sends, and user
/// properties.
const OFTEN: Set = Set::of(&[id::USER, id::SUBSCRIPTION_ID]);

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Flag(bool),
    U16(u16),
    U32(u32),
    Text(&'b str),
    Binary,
    /// A user property: read and left where it is.
    Pair,
}

impl<'b> Value<'b> {
    pub(super) const fn u32(self) -> Option<u32> {
        match self {
            Self::U32(value) => Some(value),
            _ => None,
        }
    }

    pub(super) const fn u16(self) -> Option<u16> {
        match self {
            Self::U16(value) => Some(value),
            _ => None,
        }
    }

    pub(super) const fn flag(self) -> Option<bool> {
        match self {
            Self::Flag(value) => Some(value),
            _ => None,
        }
    }

    pub(super) const fn text(self) -> Option<&'b str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }
}

/// Reads a property section; see [`walk`].
pub(super) fn read<'b>(
    body: &mut Body<'b>,
    allowed: Set,
    take: impl FnMut(u8, Value<'b>, Range<usize>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    walk(body.section()?, allowed, take)
}

/// Walks over the properties; `allowed` are the identifiers that this packet may have, and each is
/// given to `take` with where it stands in the section.
pub(super) fn walk<'b>(
    section: Body<'b>,
    allowed: Set,
    mut take: impl FnMut(u8, Value<'b>, Range<usize>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let (mut left, mut seen, mut count) = (section, Set::default(), 0);
    let at = |left: Body<'b>| section.rest().len() - left.rest().len();
    while !left.is_empty() {
        count += 1;
        if count > PROPERTIES_MAX {
            return Err(DecodeError::new(Reason::QuotaExceeded, "too many properties"));
        }
        let from = at(left);
        let identifier = left.varint()?;
        if !allowed.has(identifier) {
            return Err(malformed("a property that this packet does not have"));
        }
        if seen.has(identifier) && !OFTEN.has(identifier) {
            return Err(protocol("a property that stands there twice"));
        }
        seen.0 |= 1 << identifier;
        let identifier = u8::try_from(identifier).unwrap_or_default();
        let value = value(identifier, &mut left)?;
        take(identifier, value, from..at(left))?;
    }
    Ok(())
}

fn value<'b>(identifier: u8, body: &mut Body<'b>) -> Result<Value<'b>, DecodeError> {
    Ok(match identifier {
        id::PAYLOAD_FORMAT
        | id::WANTS_PROBLEM
        | id::WANTS_RESPONSE
        | id::QOS_MAX
        | id::RETAIN_AVAILABLE
        | id::WILDCARDS_AVAILABLE
        | id::SUBSCRIPTION_IDS_AVAILABLE
        | id::SHARED_AVAILABLE => match body.octet()? {
            0 => Value::Flag(false),
            1 => Value::Flag(true),
            _ => return Err(protocol("a property that is neither 0 nor 1")),
        },
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY => Value::U32(body.u32()?),
        id::PACKET_BYTES_MAX => Value::U32(positive(body.u32()?)?),
        id::SUBSCRIPTION_ID => Value::U32(positive(body.varint()?)?),
        id::SERVER_KEEP_ALIVE | id::ALIAS_MAX => Value::U16(body.u16()?),
        id::RECEIVE_MAX => Value::U16(positive(body.u16()?)?),
        id::ALIAS => match body.u16()? {
            0 => return Err(DecodeError::new(Reason::TopicAliasInvalid, "the topic alias 0")),
            alias => Value::U16(alias),
        },
        id::CORRELATION_DATA | id::AUTH_DATA => {
            body.binary()?;
            Value::Binary
        }
        id::USER => {
            body.text()?;
            body.text()?;
            Value::Pair
        }
        _ => Value::Text(body.text()?),
    })
}

fn positive<T: Default + PartialEq>(value: T) -> Result<T, DecodeError> {
    if value == T::default() { Err(protocol("a property that is 0")) } else { Ok(value) }
}
