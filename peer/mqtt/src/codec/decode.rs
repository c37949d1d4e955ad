//! From octets to packets: lengths, fixed headers, and which packet may come when.
//!
//! **Invariant:** no octet is taken from the buffer before its packet is whole, and a length over
//! the bound is refused before the packet is waited for.

use bytes::{Buf, Bytes, BytesMut};

use super::connect;
use super::error::{DecodeError, malformed, protocol};
use super::packet::{
    Ack, Auth, Disconnect, Options, Packet, Qos, RetainHandling, SubAck, Subscribe, Unsubscribe,
    Version,
};
use super::properties::{self, id};
use super::publish::{self, Side};
use super::read::{Body, varint};
use super::reason::Reason;
use crate::limits::{CONNECT_BYTES_MAX, FILTERS_PER_PACKET_MAX, PACKET_BYTES_MAX};
use crate::topic::Wanted;

/// Reads the packets of one connection.
#[derive(Debug)]
pub struct Decoder {
    side: Side,
    version: Option<Version>,
    /// What a CONNECT said that could not be read to its end.
    said: Option<Version>,
}

impl Decoder {
    /// For what a client sends: the first packet is CONNECT, and says which MQTT is spoken.
    #[must_use]
    pub const fn server() -> Self {
        Self { side: Side::Server, version: None, said: None }
    }

    /// For what a server sends to a client of this version.
    #[must_use]
    pub const fn client(version: Version) -> Self {
        Self { side: Side::Client, version: Some(version), said: None }
    }

    /// Which MQTT is spoken, once it is known.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Which MQTT a refusal is to be written in.
    #[must_use]
    pub const fn said(&self) -> Option<Version> {
        if self.version.is_some() { self.version } else { self.said }
    }

    /// Takes the first packet off a buffer; `None` if it does not hold it whole yet.
    ///
    /// # Errors
    /// [`DecodeError`]; the connection ends then.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let Some((head, rest)) = buffer.split_first() else { return Ok(None) };
        let head = *head;
        if self.version.is_none() && head >> 4 != 1 {
            return Err(protocol("something before CONNECT"));
        }
        let Some((length, used)) = varint(rest)? else { return Ok(None) };
        let bound = if self.version.is_some() { PACKET_BYTES_MAX } else { CONNECT_BYTES_MAX };
        if length > bound {
            return Err(DecodeError::new(Reason::PacketTooLarge, "a packet that is too large"));
        }
        let whole = 1 + used + usize::try_from(length).unwrap_or(usize::MAX);
        if buffer.len() < whole {
            return Ok(None);
        }
        let mut packet = buffer.split_to(whole).freeze();
        packet.advance(1 + used);
        self.packet(head, packet).map(Some)
    }

    fn packet(&mut self, head: u8, body: Bytes) -> Result<Packet, DecodeError> {
        let (kind, flags) = (head >> 4, head & 0x0f);
        let Some(version) = self.version else {
            self.said = connect::said(&body);
            if flags != 0 {
                return Err(malformed("reserved flags"));
            }
            let connect = connect::read(Body(body))?;
            self.version = Some(connect.version);
            return Ok(Packet::Connect(Box::new(connect)));
        };
        if kind == 3 {
            return publish::read(flags, Body(body), version, self.side).map(Packet::Publish);
        }
        let expected = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        if flags != expected {
            return Err(malformed("reserved flags"));
        }
        let body = Body(body);
        match (self.side, kind) {
            (_, 4) => ack(body, version, PUBACK).map(Packet::PubAck),
            (_, 5) => ack(body, version, PUBACK).map(Packet::PubRec),
            (_, 6) => ack(body, version, PUBREL).map(Packet::PubRel),
            (_, 7) => ack(body, version, PUBREL).map(Packet::PubComp),
            (Side::Server, 8) => subscribe(body, version).map(Packet::Subscribe),
            (Side::Server, 10) => unsubscribe(body, version).map(Packet::Unsubscribe),
            (Side::Server, 12) => body.end().map(|()| Packet::PingReq),
            (Side::Server, 14) => disconnect(body, version, self.side).map(Packet::Disconnect),
            (Side::Client, 2) => connect::read_ack(body, version).map(Packet::ConnAck),
            (Side::Client, 9) => sub_ack(body, version).map(Packet::SubAck),
            (Side::Client, 11) => unsub_ack(body, version).map(Packet::UnsubAck),
            (Side::Client, 13) => body.end().map(|()| Packet::PingResp),
            (Side::Client, 14) if version == Version::V5 => {
                disconnect(body, version, self.side).map(Packet::Disconnect)
            }
            (_, 15) if version == Version::V5 => auth(body).map(Packet::Auth),
            _ => Err(protocol("a packet that this side does not send")),
        }
    }
}

/// Reason codes of PUBACK and PUBREC (§3.4.2.1), and of PUBREL and PUBCOMP (§3.6.2.1).
const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBREL: &[u8] = &[0x00, 0x92];
/// Of DISCONNECT from a client, and from a server (§3.14.2.1).
const LEAVE: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
const DISMISS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

fn reason(body: &mut Body, allowed: &[u8]) -> Result<Reason, DecodeError> {
    let octet = body.octet()?;
    let known = Reason::from_octet(octet).filter(|_| allowed.contains(&octet));
    known.ok_or_else(|| protocol("a reason code that this packet does not have"))
}

fn ack(mut body: Body, version: Version, allowed: &[u8]) -> Result<Ack, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut ack = Ack { packet_id, reason: Reason::Success, reason_string: None };
    if version == Version::V5 && !body.is_empty() {
        ack.reason = reason(&mut body, allowed)?;
        if !body.is_empty() {
            properties::read(&mut body, &[id::REASON_STRING, id::USER], |_, value, _| {
                ack.reason_string = value.text().or(ack.reason_string.take());
                Ok(())
            })?;
        }
    }
    body.end().map(|()| ack)
}

fn subscribe(mut body: Body, version: Version) -> Result<Subscribe, DecodeError> {
    let mut subscribe = Subscribe { packet_id: body.packet_id()?, id: None, filters: Vec::new() };
    if version == Version::V5 {
        properties::read(&mut body, &[id::SUBSCRIPTION_ID, id::USER], |_, value, _| {
            let twice = value.u32().is_some_and(|number| subscribe.id.replace(number).is_some());
            if twice { Err(protocol("two subscription identifiers")) } else { Ok(()) }
        })?;
    }
    while !body.is_empty() {
        let filter = filter(&mut body)?;
        let options = options(body.octet()?, version)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(protocol("no local on a shared subscription"));
        }
        subscribe.filters.push((filter, options));
        few(subscribe.filters.len())?;
    }
    if subscribe.filters.is_empty() {
        return Err(protocol("a subscription to nothing"));
    }
    Ok(subscribe)
}

fn unsubscribe(mut body: Body, version: Version) -> Result<Unsubscribe, DecodeError> {
    let mut unsubscribe = Unsubscribe { packet_id: body.packet_id()?, filters: Vec::new() };
    if version == Version::V5 {
        properties::read(&mut body, &[id::USER], |_, _, _| Ok(()))?;
    }
    while !body.is_empty() {
        unsubscribe.filters.push(filter(&mut body)?);
        few(unsubscribe.filters.len())?;
    }
    if unsubscribe.filters.is_empty() {
        return Err(protocol("no filter to unsubscribe from"));
    }
    Ok(unsubscribe)
}

fn few(filters: usize) -> Result<(), DecodeError> {
    if filters > FILTERS_PER_PACKET_MAX {
        return Err(DecodeError::new(Reason::QuotaExceeded, "too many filters in one packet"));
    }
    Ok(())
}

fn filter(body: &mut Body) -> Result<bytestring::ByteString, DecodeError> {
    let text = body.text()?;
    if Wanted::parse(&text).is_none() {
        return Err(DecodeError::new(Reason::TopicFilterInvalid, "no topic filter"));
    }
    Ok(text)
}

fn options(bits: u8, version: Version) -> Result<Options, DecodeError> {
    let qos = Qos::from_bits(bits & 3).ok_or_else(|| malformed("the quality of service 3"))?;
    if version != Version::V5 {
        let plain = Options { qos, ..Options::default() };
        return if bits > 2 { Err(malformed("reserved bits")) } else { Ok(plain) };
    }
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        3 => return Err(protocol("the retain handling 3")),
        _ => return Err(malformed("reserved bits")),
    };
    let (no_local, retain_as_published) = (bits & 4 != 0, bits & 8 != 0);
    Ok(Options { qos, no_local, retain_as_published, retain_handling })
}

fn disconnect(mut body: Body, version: Version, side: Side) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect {
        reason: Reason::Success,
        session_expiry_s: None,
        reason_string: None,
        server_reference: None,
    };
    if version == Version::V5 && !body.is_empty() {
        let (codes, own) = match side {
            Side::Server => (LEAVE, id::SESSION_EXPIRY),
            Side::Client => (DISMISS, id::SERVER_REFERENCE),
        };
        disconnect.reason = reason(&mut body, codes)?;
        if !body.is_empty() {
            properties::read(&mut body, &[id::REASON_STRING, id::USER, own], |id, value, _| {
                match id {
                    id::SESSION_EXPIRY => disconnect.session_expiry_s = value.u32(),
                    id::REASON_STRING => disconnect.reason_string = value.text(),
                    id::SERVER_REFERENCE => disconnect.server_reference = value.text(),
                    _ => {}
                }
                Ok(())
            })?;
        }
    }
    body.end().map(|()| disconnect)
}

fn auth(mut body: Body) -> Result<Auth, DecodeError> {
    let mut auth = Auth { reason: Reason::Success, method: None };
    if !body.is_empty() {
        auth.reason = reason(&mut body, &[0x00, 0x18, 0x19])?;
        let allowed = [id::AUTH_METHOD, id::AUTH_DATA, id::REASON_STRING, id::USER];
        properties::read(&mut body, &allowed, |id, value, _| {
            if id == id::AUTH_METHOD {
                auth.method = value.text();
            }
            Ok(())
        })?;
    }
    body.end().map(|()| auth)
}

/// Of SUBACK (§3.9.3) and UNSUBACK (§3.11.3).
const GRANTED: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
const RELEASED: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];

fn sub_ack(mut body: Body, version: Version) -> Result<SubAck, DecodeError> {
    let mut ack = acked(&mut body, version)?;
    while !body.is_empty() {
        ack.reasons.push(reason(&mut body, GRANTED)?);
    }
    Ok(ack)
}

fn unsub_ack(mut body: Body, version: Version) -> Result<SubAck, DecodeError> {
    let mut ack = acked(&mut body, version)?;
    while version == Version::V5 && !body.is_empty() {
        ack.reasons.push(reason(&mut body, RELEASED)?);
    }
    body.end().map(|()| ack)
}

fn acked(body: &mut Body, version: Version) -> Result<SubAck, DecodeError> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::read(body, &[id::REASON_STRING, id::USER], |_, _, _| Ok(()))?;
    }
    Ok(SubAck { packet_id, reasons: Vec::new() })
}
