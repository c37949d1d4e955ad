//! From packets to octets, for all three versions and both directions.

use std::num::NonZeroU16;

use bytestring::ByteString;

use super::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Options, Packet, PacketId, Publish, Qos, SubAck,
    Subscribe, Unsubscribe, Version, Will,
};
use super::properties::id;
use super::reason::Reason;

/// A PUBLISH to be written, borrowed from wherever it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'p> {
    /// It may have been sent before.
    pub dup: bool,
    /// How sure.
    pub qos: Qos,
    /// As in the packet.
    pub retain: bool,
    /// Empty if the alias stands for it.
    pub topic: &'p str,
    /// There if the QoS is not 0.
    pub packet_id: Option<PacketId>,
    /// Topic Alias.
    pub alias: Option<NonZeroU16>,
    /// Message Expiry Interval.
    pub expiry_s: Option<u32>,
    /// Subscription Identifiers.
    pub subscription_ids: &'p [u32],
    /// Other properties, encoded.
    pub properties: &'p [u8],
    /// What is said.
    pub payload: &'p [u8],
}

impl Outgoing<'_> {
    fn properties_bytes(&self) -> usize {
        let alias = if self.alias.is_some() { 3 } else { 0 };
        let expiry = if self.expiry_s.is_some() { 5 } else { 0 };
        let ids: usize =
            self.subscription_ids.iter().map(|id| 1 + varint_bytes(*id as usize)).sum();
        alias + expiry + ids + self.properties.len()
    }

    fn body_bytes(&self, version: Version, properties: usize) -> usize {
        let id = if self.packet_id.is_some() { 2 } else { 0 };
        let section =
            if version == Version::V5 { varint_bytes(properties) + properties } else { 0 };
        2 + self.topic.len() + id + section + self.payload.len()
    }
}

/// The size of a whole PUBLISH.
#[must_use]
pub fn publish_bytes(publish: &Outgoing<'_>, version: Version) -> usize {
    let body = publish.body_bytes(version, publish.properties_bytes());
    1 + varint_bytes(body) + body
}

/// Appends a PUBLISH.
pub fn encode_publish(publish: &Outgoing<'_>, version: Version, out: &mut Vec<u8>) {
    let properties = publish.properties_bytes();
    let body = publish.body_bytes(version, properties);
    out.reserve(5 + body);
    let flags = u8::from(publish.dup) << 3 | publish.qos.bits() << 1 | u8::from(publish.retain);
    out.push(0x30 | flags);
    varint(out, body);
    text(out, publish.topic);
    if let Some(packet_id) = publish.packet_id {
        out.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    if version == Version::V5 {
        varint(out, properties);
        if let Some(alias) = publish.alias {
            u16_property(out, id::ALIAS, alias.get());
        }
        if let Some(expiry_s) = publish.expiry_s {
            u32_property(out, id::MESSAGE_EXPIRY, expiry_s);
        }
        for number in publish.subscription_ids {
            out.push(id::SUBSCRIPTION_ID);
            varint(out, *number as usize);
        }
        out.extend_from_slice(publish.properties);
    }
    out.extend_from_slice(publish.payload);
}

impl Publish {
    /// The same, borrowed.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: self.packet_id,
            alias: self.alias,
            expiry_s: self.expiry_s,
            subscription_ids: &self.subscription_ids,
            properties: &self.properties,
            payload: &self.payload,
        }
    }
}

/// Appends any packet.
pub fn encode(packet: &Packet, version: Version, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let head = match packet {
        Packet::Publish(publish) => return encode_publish(&publish.outgoing(), version, out),
        Packet::PubAck(said) => return ack(out, 0x40, said, version),
        Packet::PubRec(said) => return ack(out, 0x50, said, version),
        Packet::PubRel(said) => return ack(out, 0x62, said, version),
        Packet::PubComp(said) => return ack(out, 0x70, said, version),
        Packet::Connect(said) => connect(&mut body, said, &[]),
        Packet::ConnAck(said) => conn_ack(&mut body, said, version),
        Packet::Subscribe(said) => subscribe(&mut body, said, version),
        Packet::SubAck(said) => sub_ack(&mut body, 0x90, said, version),
        Packet::Unsubscribe(said) => unsubscribe(&mut body, said, version),
        Packet::UnsubAck(said) => sub_ack(&mut body, 0xB0, said, version),
        Packet::PingReq => return out.extend_from_slice(&[0xC0, 0]),
        Packet::PingResp => return out.extend_from_slice(&[0xD0, 0]),
        Packet::Disconnect(said) => disconnect(&mut body, said, version),
        Packet::Auth(said) => auth(&mut body, said),
    };
    out.push(head);
    varint(out, body.len());
    out.extend_from_slice(&body);
}

/// Appends a CONNECT with a password, if it says that it has one.
pub fn encode_connect(said: &Connect, password: &[u8], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    out.push(connect(&mut body, said, password));
    section(out, &body);
}

/// One for each PUBLISH that is acknowledged: as short as it may be, and without an allocation.
fn ack(out: &mut Vec<u8>, head: u8, ack: &Ack, version: Version) {
    let [high, low] = ack.packet_id.get().to_be_bytes();
    let reason = ack.reason.octet();
    match &ack.reason_string {
        Some(words) if version == Version::V5 => {
            let mut said = vec![high, low, reason];
            let words = cut(words);
            varint(&mut said, 3 + words.len());
            said.push(id::REASON_STRING);
            text(&mut said, words);
            out.push(head);
            section(out, &said);
        }
        None if version == Version::V5 && ack.reason != Reason::Success => {
            out.extend_from_slice(&[head, 3, high, low, reason]);
        }
        _ => out.extend_from_slice(&[head, 2, high, low]),
    }
}

fn connect(body: &mut Vec<u8>, connect: &Connect, password: &[u8]) -> u8 {
    let (name, level) = match connect.version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    text(body, name);
    let bridge = connect.bridge && connect.version != Version::V5;
    body.push(level | u8::from(bridge) << 7);
    let will = connect
        .will
        .as_ref()
        .map_or(0, |will| 4 | will.qos.bits() << 3 | u8::from(will.retain) << 5);
    let clean = u8::from(connect.clean_start) << 1;
    let known = u8::from(connect.username.is_some()) << 7 | u8::from(connect.has_password) << 6;
    body.push(will | clean | known);
    body.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
    if connect.version == Version::V5 {
        let mut said = Vec::new();
        u32_unless(&mut said, id::SESSION_EXPIRY, connect.session_expiry_s, 0);
        u16_unless(&mut said, id::RECEIVE_MAX, connect.receive_max, u16::MAX);
        u32_if(&mut said, id::PACKET_BYTES_MAX, connect.packet_bytes_max);
        u16_unless(&mut said, id::ALIAS_MAX, connect.alias_max, 0);
        flag_if(&mut said, id::WANTS_RESPONSE, connect.wants_response_information, 1);
        flag_if(&mut said, id::WANTS_PROBLEM, !connect.wants_problem_information, 0);
        text_property(&mut said, id::AUTH_METHOD, connect.auth_method.as_ref());
        section(body, &said);
    }
    text(body, &connect.client_id);
    if let Some(will) = &connect.will {
        write_will(body, will, connect.version);
    }
    if let Some(username) = &connect.username {
        text(body, username);
    }
    if connect.has_password {
        binary(body, password);
    }
    0x10
}

fn write_will(body: &mut Vec<u8>, will: &Will, version: Version) {
    if version == Version::V5 {
        let mut said = Vec::new();
        u32_unless(&mut said, id::WILL_DELAY, will.delay_s, 0);
        u32_if(&mut said, id::MESSAGE_EXPIRY, will.expiry_s);
        said.extend_from_slice(&will.properties);
        section(body, &said);
    }
    text(body, &will.topic);
    binary(body, &will.payload);
}

fn conn_ack(body: &mut Vec<u8>, ack: &ConnAck, version: Version) -> u8 {
    // In MQTT 3.1 the first octet is reserved; who is refused has no session [MQTT-3.2.2-6].
    let may_be_present = version != Version::V31 && !ack.reason.is_error();
    body.push(u8::from(ack.session_present && may_be_present));
    if version != Version::V5 {
        body.push(ack.reason.return_code());
        return 0x20;
    }
    body.push(ack.reason.octet());
    let (granted, mut said) = (&ack.granted, Vec::new());
    u32_if(&mut said, id::SESSION_EXPIRY, granted.session_expiry_s);
    u16_if(&mut said, id::RECEIVE_MAX, granted.receive_max);
    if let Some(qos) = granted.qos_max.filter(|qos| *qos != Qos::ExactlyOnce) {
        said.extend_from_slice(&[id::QOS_MAX, qos.bits()]);
    }
    flag_if(&mut said, id::RETAIN_AVAILABLE, granted.no_retain, 0);
    flag_if(&mut said, id::WILDCARDS_AVAILABLE, granted.no_wildcards, 0);
    flag_if(&mut said, id::SHARED_AVAILABLE, granted.no_shared, 0);
    u32_if(&mut said, id::PACKET_BYTES_MAX, granted.packet_bytes_max);
    text_property(&mut said, id::CLIENT_ID, granted.client_id.as_ref());
    u16_if(&mut said, id::ALIAS_MAX, granted.alias_max);
    text_property(&mut said, id::REASON_STRING, granted.reason_string.as_ref());
    u16_if(&mut said, id::SERVER_KEEP_ALIVE, granted.keep_alive_s);
    text_property(&mut said, id::RESPONSE_INFORMATION, granted.response_information.as_ref());
    section(body, &said);
    0x20
}

fn subscribe(body: &mut Vec<u8>, subscribe: &Subscribe, version: Version) -> u8 {
    body.extend_from_slice(&subscribe.packet_id.get().to_be_bytes());
    if version == Version::V5 {
        let mut said = Vec::new();
        if let Some(number) = subscribe.id {
            said.push(id::SUBSCRIPTION_ID);
            varint(&mut said, number as usize);
        }
        section(body, &said);
    }
    for (filter, options) in &subscribe.filters {
        text(body, filter);
        body.push(option_bits(*options, version));
    }
    0x82
}

fn option_bits(options: Options, version: Version) -> u8 {
    if version == Version::V5 { options.bits() } else { options.qos.bits() }
}

impl Options {
    /// Its octet (§3.8.3.1).
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.qos.bits()
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

fn unsubscribe(body: &mut Vec<u8>, unsubscribe: &Unsubscribe, version: Version) -> u8 {
    body.extend_from_slice(&unsubscribe.packet_id.get().to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    unsubscribe.filters.iter().for_each(|filter| text(body, filter));
    0xA2
}

fn sub_ack(body: &mut Vec<u8>, head: u8, ack: &SubAck, version: Version) -> u8 {
    body.extend_from_slice(&ack.packet_id.get().to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    } else if head == 0xB0 {
        return head;
    }
    body.extend(ack.reasons.iter().map(|reason| match version {
        // One code for every failure (MQTT 3.1.1 §3.9.3).
        Version::V31 | Version::V311 if reason.is_error() => 0x80,
        _ => reason.octet(),
    }));
    head
}

fn disconnect(body: &mut Vec<u8>, disconnect: &Disconnect, version: Version) -> u8 {
    let said = [&disconnect.reason_string, &disconnect.server_reference];
    let more = disconnect.session_expiry_s.is_some() || said.iter().any(|text| text.is_some());
    if version == Version::V5 && (more || disconnect.reason != Reason::Success) {
        body.push(disconnect.reason.octet());
        let mut said = Vec::new();
        u32_if(&mut said, id::SESSION_EXPIRY, disconnect.session_expiry_s);
        text_property(&mut said, id::REASON_STRING, disconnect.reason_string.as_ref());
        text_property(&mut said, id::SERVER_REFERENCE, disconnect.server_reference.as_ref());
        if more {
            section(body, &said);
        }
    }
    0xE0
}

fn auth(body: &mut Vec<u8>, auth: &Auth) -> u8 {
    if auth.reason != Reason::Success || auth.method.is_some() {
        body.push(auth.reason.octet());
        let mut said = Vec::new();
        text_property(&mut said, id::AUTH_METHOD, auth.method.as_ref());
        section(body, &said);
    }
    0xF0
}

const fn varint_bytes(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// What is written here was bounded long before.
fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    binary(out, cut(text).as_bytes());
}

/// As much of it as a string can hold.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    text.get(..end).unwrap_or_default()
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

fn section(body: &mut Vec<u8>, said: &[u8]) {
    varint(body, said.len());
    body.extend_from_slice(said);
}

fn u32_property(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn u16_property(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn u32_if(out: &mut Vec<u8>, id: u8, value: Option<u32>) {
    if let Some(value) = value {
        u32_property(out, id, value);
    }
}

fn u16_if(out: &mut Vec<u8>, id: u8, value: Option<u16>) {
    if let Some(value) = value {
        u16_property(out, id, value);
    }
}

fn u32_unless(out: &mut Vec<u8>, id: u8, value: u32, usual: u32) {
    u32_if(out, id, Some(value).filter(|value| *value != usual));
}

fn u16_unless(out: &mut Vec<u8>, id: u8, value: u16, usual: u16) {
    u16_if(out, id, Some(value).filter(|value| *value != usual));
}

fn flag_if(out: &mut Vec<u8>, id: u8, said: bool, value: u8) {
    if said {
        out.extend_from_slice(&[id, value]);
    }
}

fn text_property(out: &mut Vec<u8>, id: u8, value: Option<&ByteString>) {
    if let Some(value) = value {
        out.push(id);
        text(out, value);
    }
}
