//! PUBLISH, the packet that there are many of (MQTT 5.0 §3.3).
//!
//! What a server changes or uses is taken out of the properties; all others are checked and stay as
//! they are, in one piece of the buffer they were read into unless something was taken from
//! between.

use std::num::NonZeroU16;
use std::ops::Range;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::error::{DecodeError, protocol};
use super::head::{Side, publish_flags};
use super::packet::{Publish, Version};
use super::properties::{self, Set, id};
use super::read::Body;
use super::reason::Reason;
use super::text;

/// What a PUBLISH may have, and what a will (§2.2.2.2).
pub(super) const PUBLISH: Set = Set::of(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::ALIAS,
    id::SUBSCRIPTION_ID,
]);
pub(super) const WILL: Set = Set::of(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::WILL_DELAY,
]);

/// Reads what follows the fixed header.
pub(super) fn read(
    flags: u8,
    mut frame: Bytes,
    version: Version,
    side: Side,
) -> Result<Publish, DecodeError> {
    let (dup, qos, retain) = publish_flags(flags)?;
    let mut body = Body::new(&frame);
    let name = body.binary()?;
    let packet_id = if qos.bits() == 0 { None } else { Some(body.packet_id()?) };
    let mut said = Said::default();
    if version == Version::V5 {
        said.read(&mut body, PUBLISH)?;
        said.check(name, side)?;
    }
    let payload = body.rest();
    said.check_payload(payload)?;
    let (name, payload) = (2..2 + name.len(), frame.len() - payload.len());
    let (alias, expiry_s, subscription_ids) = (said.alias, said.expiry_s, said.subscription_ids);
    let properties = said.kept.into_bytes(|piece| frame.slice_ref(piece));
    let topic = match alias {
        Some(_) if name.is_empty() => ByteString::new(),
        _ => text::topic(frame.slice(name))?,
    };
    frame.advance(payload);
    Ok(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        alias,
        expiry_s,
        subscription_ids,
        properties,
        payload: frame,
    })
}

/// What the properties of a PUBLISH, or of a will, say.
#[derive(Debug, Default)]
pub(super) struct Said<'b> {
    pub(super) alias: Option<NonZeroU16>,
    pub(super) expiry_s: Option<u32>,
    pub(super) delay_s: u32,
    pub(super) subscription_ids: Vec<u32>,
    pub(super) kept: Kept<'b>,
    is_text: bool,
}

impl<'b> Said<'b> {
    pub(super) fn read(&mut self, body: &mut Body<'b>, allowed: Set) -> Result<(), DecodeError> {
        if body.rest().first() == Some(&0) {
            return body.octet().map(drop);
        }
        let section = body.section()?;
        self.kept.section = section.rest();
        properties::walk(section, allowed, |id, value, at| {
            match id {
                id::MESSAGE_EXPIRY => self.expiry_s = value.u32(),
                id::WILL_DELAY => self.delay_s = value.u32().unwrap_or_default(),
                id::ALIAS => self.alias = value.u16().and_then(NonZeroU16::new),
                id::SUBSCRIPTION_ID => self.subscription_ids.extend(value.u32()),
                id::PAYLOAD_FORMAT => {
                    self.is_text = value.flag() == Some(true);
                    self.kept.add(at);
                }
                id::RESPONSE_TOPIC => {
                    text::check_topic(value.text().unwrap_or_default().as_bytes())?;
                    self.kept.add(at);
                }
                _ => self.kept.add(at),
            }
            Ok(())
        })
    }

    /// Only a server tells a subscription's identifier [MQTT-3.3.4-6], and only with an alias is a
    /// topic left out (§3.3.2.1).
    fn check(&self, name: &[u8], side: Side) -> Result<(), DecodeError> {
        if side == Side::Server && !self.subscription_ids.is_empty() {
            return Err(protocol("a subscription identifier from a client"));
        }
        if name.is_empty() && self.alias.is_none() {
            return Err(protocol("neither a topic nor an alias"));
        }
        Ok(())
    }

    /// What is said to be text is (§3.3.2.3.2).
    pub(super) fn check_payload(&self, payload: &[u8]) -> Result<(), DecodeError> {
        if self.is_text && std::str::from_utf8(payload).is_err() {
            return Err(DecodeError::new(Reason::PayloadFormatInvalid, "text that is not UTF-8"));
        }
        Ok(())
    }
}

/// Properties that are passed on: a piece of the section, joined over what was taken out of it.
#[derive(Debug, Default)]
pub(super) struct Kept<'b> {
    section: &'b [u8],
    piece: Range<usize>,
    /// Empty while one piece does.
    joined: Vec<u8>,
}

impl Kept<'_> {
    fn add(&mut self, at: Range<usize>) {
        if !self.joined.is_empty() {
            self.joined.extend_from_slice(self.section.get(at).unwrap_or_default());
        } else if self.piece.is_empty() {
            self.piece = at;
        } else if self.piece.end == at.start {
            self.piece.end = at.end;
        } else {
            let piece = |at| self.section.get(at).unwrap_or_default();
            self.joined = [piece(self.piece.clone()), piece(at)].concat();
        }
    }

    /// With `slice` for the one piece.
    pub(super) fn into_bytes(self, slice: impl FnOnce(&[u8]) -> Bytes) -> Bytes {
        if !self.joined.is_empty() {
            return self.joined.into();
        }
        let piece = self.section.get(self.piece).unwrap_or_default();
        if piece.is_empty() { Bytes::new() } else { slice(piece) }
    }
}
