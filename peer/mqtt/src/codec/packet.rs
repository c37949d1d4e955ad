//! What packets say, once they are parsed (MQTT 5.0 §3, MQTT 3.1.1 §3, MQTT 3.1).

use std::num::NonZeroU16;

use bytes::Bytes;
use bytestring::ByteString;

use super::reason::Reason;

/// A packet identifier (MQTT 5.0 §2.2.1).
pub type PacketId = NonZeroU16;

/// Which MQTT a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1, `MQIsdp` and level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

/// Quality of service (MQTT 5.0 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// Reads two bits; three is nothing.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Its two bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// One packet, from a client or from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// §3.1
    Connect(Box<Connect>),
    /// §3.2
    ConnAck(Box<ConnAck>),
    /// §3.3
    Publish(Publish),
    /// §3.4
    PubAck(Ack),
    /// §3.5
    PubRec(Ack),
    /// §3.6
    PubRel(Ack),
    /// §3.7
    PubComp(Ack),
    /// §3.8
    Subscribe(Subscribe),
    /// §3.9
    SubAck(SubAck),
    /// §3.10
    Unsubscribe(Unsubscribe),
    /// §3.11
    UnsubAck(SubAck),
    /// §3.12
    PingReq,
    /// §3.13
    PingResp,
    /// §3.14
    Disconnect(Disconnect),
    /// §3.15
    Auth(Auth),
}

/// CONNECT (§3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which MQTT.
    pub version: Version,
    /// A bridge said so in the highest bit of the level, as Mosquitto does (MQTT 3 only).
    pub bridge: bool,
    /// Clean Start, called Clean Session before MQTT 5.
    pub clean_start: bool,
    /// Seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Session Expiry Interval. Before MQTT 5: 0 if clean, else `u32::MAX`.
    pub session_expiry_s: u32,
    /// Receive Maximum; 65,535 unless said. Never 0.
    pub receive_max: u16,
    /// Maximum Packet Size, if said. Never 0.
    pub packet_bytes_max: Option<u32>,
    /// Topic Alias Maximum; 0 unless said.
    pub alias_max: u16,
    /// Request Response Information.
    pub wants_response_information: bool,
    /// Request Problem Information: whether reason strings and user properties are wanted.
    pub wants_problem_information: bool,
    /// Authentication Method: enhanced authentication is asked for.
    pub auth_method: Option<ByteString>,
    /// The client's identifier; may be empty.
    pub client_id: ByteString,
    /// The will.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<ByteString>,
    /// Password; nobody looks at it here, certificates say who somebody is.
    pub has_password: bool,
}

/// A will (§3.1.2.5, §3.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// How sure.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Will Delay Interval.
    pub delay_s: u32,
    /// Message Expiry Interval.
    pub expiry_s: Option<u32>,
    /// Where.
    pub topic: ByteString,
    /// See [`Publish::properties`].
    pub properties: Bytes,
    /// What.
    pub payload: Bytes,
}

/// CONNACK (§3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Session Present.
    pub session_present: bool,
    /// Connect Reason Code; before MQTT 5 it is translated to a return code and back.
    pub reason: Reason,
    /// What the server grants; not written before MQTT 5.
    pub granted: Granted,
}

/// The properties of a CONNACK; what is `None` or as the standard's default is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    /// Session Expiry Interval, if it is not what was asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum.
    pub receive_max: Option<u16>,
    /// Maximum QoS, if it is not 2.
    pub qos_max: Option<Qos>,
    /// Retain Available, if it is not.
    pub no_retain: bool,
    /// Maximum Packet Size.
    pub packet_bytes_max: Option<u32>,
    /// Assigned Client Identifier.
    pub client_id: Option<ByteString>,
    /// Topic Alias Maximum.
    pub alias_max: Option<u16>,
    /// Reason String.
    pub reason_string: Option<ByteString>,
    /// Server Keep Alive.
    pub keep_alive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<ByteString>,
    /// Wildcard Subscription Available, if they are not.
    pub no_wildcards: bool,
    /// Shared Subscription Available, if they are not.
    pub no_shared: bool,
}

/// PUBLISH (§3.3), from a client or for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// It may have been sent before.
    pub dup: bool,
    /// How sure.
    pub qos: Qos,
    /// To be retained, or was.
    pub retain: bool,
    /// Topic name, valid; empty only with an alias.
    pub topic: ByteString,
    /// There if the QoS is not 0.
    pub packet_id: Option<PacketId>,
    /// Topic Alias.
    pub alias: Option<NonZeroU16>,
    /// Message Expiry Interval.
    pub expiry_s: Option<u32>,
    /// Subscription Identifiers; a client may send none.
    pub subscription_ids: Vec<u32>,
    /// The other properties, checked, in their encoding and order, without a length: payload
    /// format, content type, response topic, correlation data, user properties. They are passed on
    /// as they are (§3.3.2.3).
    pub properties: Bytes,
    /// What is said.
    pub payload: Bytes,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which.
    pub packet_id: PacketId,
    /// What became of it; `Success` before MQTT 5.
    pub reason: Reason,
    /// Reason String, to be written.
    pub reason_string: Option<ByteString>,
}

/// SUBSCRIBE (§3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Which.
    pub packet_id: PacketId,
    /// Subscription Identifier, 1 to 268,435,455.
    pub id: Option<u32>,
    /// What, at least one. The filters are checked text, and no more than that.
    pub filters: Vec<(ByteString, Options)>,
}

/// Subscription Options (§3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Maximum QoS.
    pub qos: Qos,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent (§3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// At each subscribe.
    #[default]
    Always = 0,
    /// If the subscription is new.
    IfNew = 1,
    /// Not.
    Never = 2,
}

/// SUBACK or UNSUBACK (§3.9, §3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// Which.
    pub packet_id: PacketId,
    /// One for each filter. Not written in an UNSUBACK before MQTT 5.
    pub reasons: Vec<Reason>,
}

/// UNSUBSCRIBE (§3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Which.
    pub packet_id: PacketId,
    /// What, at least one.
    pub filters: Vec<ByteString>,
}

/// DISCONNECT (§3.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: Reason,
    /// Session Expiry Interval, from a client that changes its mind.
    pub session_expiry_s: Option<u32>,
    /// Reason String.
    pub reason_string: Option<ByteString>,
    /// Server Reference, from a server.
    pub server_reference: Option<ByteString>,
}

/// AUTH (§3.15): read so that it can be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Why.
    pub reason: Reason,
    /// Authentication Method.
    pub method: Option<ByteString>,
}
