//! PUBLISH, the packet that there are many of (MQTT 5.0 §3.3).

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use shared::policy::is_topic;

use super::error::{DecodeError, malformed, protocol};
use super::packet::{Publish, Qos, Version};
use super::properties::{self, id};
use super::read::Body;
use super::reason::Reason;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

pub(super) fn read(
    flags: u8,
    mut body: Body,
    version: Version,
    side: Side,
) -> Result<Publish, DecodeError> {
    let three = || malformed("the quality of service 3");
    let qos = Qos::from_bits(flags >> 1 & 3).ok_or_else(three)?;
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    if dup && qos == Qos::AtMostOnce {
        return Err(malformed("a repetition of what is sent once"));
    }
    let topic = body.text()?;
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(body.packet_id()?) };
    let mut said = Said::default();
    if version == Version::V5 {
        said.read(&mut body, side, Kind::Publish)?;
    }
    let nameless = topic.is_empty() && said.alias.is_some();
    if !nameless && !is_topic(&topic) {
        return Err(DecodeError::new(Reason::TopicNameInvalid, "no topic name"));
    }
    said.check_payload(&body.0)?;
    Ok(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        alias: said.alias,
        expiry_s: said.expiry_s,
        subscription_ids: said.subscription_ids,
        properties: said.passed_on,
        payload: body.0,
    })
}

/// What the properties of a PUBLISH, or of a will, say.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) alias: Option<NonZeroU16>,
    pub(super) expiry_s: Option<u32>,
    pub(super) delay_s: u32,
    pub(super) subscription_ids: Vec<u32>,
    pub(super) passed_on: Bytes,
    is_text: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Will,
}

/// Of both; a will has a delay besides, a PUBLISH an alias, one from a server subscription
/// identifiers.
const COMMON: [u8; 6] = [
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
];

impl Said {
    pub(super) fn read(
        &mut self,
        body: &mut Body,
        side: Side,
        kind: Kind,
    ) -> Result<(), DecodeError> {
        let mut allowed = [0; 8];
        let (common, own) = allowed.split_at_mut(COMMON.len());
        common.copy_from_slice(&COMMON);
        own.copy_from_slice(match (kind, side) {
            (Kind::Will, _) => &[id::WILL_DELAY, id::WILL_DELAY],
            (Kind::Publish, Side::Server) => &[id::ALIAS, id::ALIAS],
            (Kind::Publish, Side::Client) => &[id::ALIAS, id::SUBSCRIPTION_ID],
        });
        let mut kept = Kept::default();
        properties::read(body, &allowed, |id, value, bytes| {
            match id {
                id::MESSAGE_EXPIRY => self.expiry_s = value.u32(),
                id::WILL_DELAY => self.delay_s = value.u32().unwrap_or_default(),
                id::ALIAS => self.alias = value.u16().and_then(NonZeroU16::new),
                id::SUBSCRIPTION_ID => self.subscription_ids.extend(value.u32()),
                id::PAYLOAD_FORMAT => {
                    self.is_text = value.flag() == Some(true);
                    kept.add(bytes);
                }
                id::RESPONSE_TOPIC => {
                    if !value.text().is_some_and(|topic: ByteString| is_topic(&topic)) {
                        return Err(protocol("a response topic that is no topic name"));
                    }
                    kept.add(bytes);
                }
                _ => kept.add(bytes),
            }
            Ok(())
        })?;
        self.passed_on = kept.finish();
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

/// Properties that are passed on: in the usual case one piece of what was read.
#[derive(Debug, Default)]
struct Kept {
    piece: Bytes,
    joined: Option<BytesMut>,
}

impl Kept {
    fn add(&mut self, bytes: Bytes) {
        match &mut self.joined {
            Some(joined) => joined.extend_from_slice(&bytes),
            None if self.piece.is_empty() => self.piece = bytes,
            None => {
                let mut joined = BytesMut::with_capacity(self.piece.len() + bytes.len());
                joined.extend_from_slice(&self.piece);
                joined.extend_from_slice(&bytes);
                self.joined = Some(joined);
            }
        }
    }

    fn finish(self) -> Bytes {
        self.joined.map_or(self.piece, BytesMut::freeze)
    }
}
