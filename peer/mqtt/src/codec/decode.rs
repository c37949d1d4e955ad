//! From octets to packets: where one ends, and who reads it.
//!
//! What a PUBLISH says stays in the buffer it was read into, because it is passed on at once. What
//! other packets say is copied, because it lasts: a client's identifier would hold the whole buffer
//! for as long as the session lives.
//!
//! **Invariant:** no octet is taken from the buffer before its packet is whole.

use bytes::{Buf, BytesMut};

use super::error::{DecodeError, malformed};
use super::head::{Head, Side, kind};
use super::packet::{Packet, Version};
use super::read::Body;
use super::{acks, connect, leave, publish, subscribe};

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
        let Some(head) = Head::read(buffer, self.side, self.version)? else { return Ok(None) };
        if buffer.len() < head.whole {
            return Ok(None);
        }
        head.check_length(self.version)?;
        if let (kind::PUBLISH, Some(version)) = (head.kind, self.version) {
            let mut frame = buffer.split_to(head.whole).freeze();
            frame.advance(head.octets);
            let publish = publish::read(head.flags, frame, version, self.side)?;
            return Ok(Some(Packet::Publish(publish)));
        }
        let body = Body::new(buffer.get(head.octets..head.whole).unwrap_or_default());
        let packet = match self.version {
            None => self.connect(head, body)?,
            Some(version) => self.packet(head.kind, body, version)?,
        };
        buffer.advance(head.whole);
        Ok(Some(packet))
    }

    fn connect(&mut self, head: Head, body: Body<'_>) -> Result<Packet, DecodeError> {
        self.said = connect::said(body);
        head.check_length(self.said)?;
        let connect = connect::read(body)?;
        self.version = Some(connect.version);
        Ok(Packet::Connect(Box::new(connect)))
    }

    fn packet(&self, kind: u8, body: Body<'_>, version: Version) -> Result<Packet, DecodeError> {
        Ok(match kind {
            kind::CONNACK => Packet::ConnAck(Box::new(connect::read_ack(body, version)?)),
            kind::PUBACK => Packet::PubAck(acks::arrived(body, version)?),
            kind::PUBREC => Packet::PubRec(acks::arrived(body, version)?),
            kind::PUBREL => Packet::PubRel(acks::released(body, version)?),
            kind::PUBCOMP => Packet::PubComp(acks::released(body, version)?),
            kind::SUBSCRIBE => Packet::Subscribe(subscribe::read(body, version)?),
            kind::SUBACK => Packet::SubAck(acks::subscribed(body, version)?),
            kind::UNSUBSCRIBE => Packet::Unsubscribe(subscribe::read_end(body, version)?),
            kind::UNSUBACK => Packet::UnsubAck(acks::unsubscribed(body, version)?),
            kind::PINGREQ => body.end().map(|()| Packet::PingReq)?,
            kind::PINGRESP => body.end().map(|()| Packet::PingResp)?,
            kind::DISCONNECT => Packet::Disconnect(leave::read(body, version, self.side)?),
            kind::AUTH => Packet::Auth(leave::read_auth(body, self.side)?),
            _ => return Err(malformed("an unknown packet type")),
        })
    }
}
