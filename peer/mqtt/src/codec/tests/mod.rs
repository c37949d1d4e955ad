//! The codec: what it takes, what it refuses and why, and that both directions agree.

mod accepted;
mod packets;
mod refused_connect;
mod refused_packets;
mod refused_publish;
mod round;

use bytes::BytesMut;

use super::{DecodeError, Decoder, Packet, Reason, Version, encode};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const BEFORE: [Version; 2] = [Version::V31, Version::V311];
const LATER: [Version; 2] = [Version::V311, Version::V5];
const V5: [Version; 1] = [Version::V5];

/// A packet of this first octet, its length and these parts.
fn packet(head: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[head][..], &varint(body.len()), &body].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    while value > 0x7f {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
    octets
}

/// With its length in two octets in front: a string, or binary data.
fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = text.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A property section in MQTT 5, nothing before.
fn section(version: Version, properties: &[u8]) -> Vec<u8> {
    if version != Version::V5 {
        return Vec::new();
    }
    [&varint(properties.len())[..], properties].concat()
}

/// The name and level that a CONNECT begins with.
fn spoken(version: Version) -> Vec<u8> {
    match version {
        Version::V31 => [&text("MQIsdp")[..], &[3]].concat(),
        Version::V311 => [&text("MQTT")[..], &[4]].concat(),
        Version::V5 => [&text("MQTT")[..], &[5]].concat(),
    }
}

/// A CONNECT with these flags and what comes after the keep-alive.
fn connect(version: Version, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[&spoken(version), &[flags, 0, 60], &rest.concat()])
}

/// One that is taken.
fn greeting(version: Version) -> Vec<u8> {
    connect(version, 2, &[&section(version, &[]), &text("me")])
}

/// A server's decoder that has read a CONNECT of this version.
fn greeted(version: Version) -> Decoder {
    let mut decoder = Decoder::server();
    let mut buffer = BytesMut::from(&greeting(version)[..]);
    assert!(matches!(decoder.decode(&mut buffer), Ok(Some(Packet::Connect(_)))));
    assert_eq!((decoder.version(), buffer.len()), (Some(version), 0));
    decoder
}

/// Reads all there is.
fn read(mut decoder: Decoder, bytes: &[u8]) -> Result<Vec<Packet>, DecodeError> {
    let (mut buffer, mut packets) = (BytesMut::from(bytes), Vec::new());
    while let Some(packet) = decoder.decode(&mut buffer)? {
        packets.push(packet);
    }
    Ok(packets)
}

/// Reads one packet of a client that has said CONNECT.
fn heard(version: Version, bytes: &[u8]) -> Result<Packet, DecodeError> {
    read(greeted(version), bytes)
        .map(|packets| <[Packet; 1]>::try_from(packets).unwrap()[0].clone())
}

/// Reads one packet of a server.
fn told(version: Version, bytes: &[u8]) -> Result<Packet, DecodeError> {
    let packets = read(Decoder::client(version), bytes)?;
    Ok(<[Packet; 1]>::try_from(packets).unwrap()[0].clone())
}

fn written(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    encode(packet, version, &mut out);
    out
}

/// What is refused in which versions: its name, what is sent, the reason.
struct Case {
    name: &'static str,
    versions: &'static [Version],
    bytes: Box<dyn Fn(Version) -> Vec<u8>>,
    reason: Reason,
}

fn case(
    name: &'static str,
    versions: &'static [Version],
    reason: Reason,
    bytes: impl Fn(Version) -> Vec<u8> + 'static,
) -> Case {
    Case { name, versions, bytes: Box::new(bytes), reason }
}

/// Each is refused with its reason in its versions by a server that has heard CONNECT.
fn refuse(cases: &[Case]) {
    refuse_by(cases, greeted);
}

fn refuse_by(cases: &[Case], decoder: impl Fn(Version) -> Decoder) {
    for case in cases {
        for version in case.versions {
            let bytes = (case.bytes)(*version);
            let found = read(decoder(*version), &bytes).map_err(|error| error.reason);
            assert_eq!(found, Err(case.reason), "{} in {version:?}", case.name);
        }
    }
}
