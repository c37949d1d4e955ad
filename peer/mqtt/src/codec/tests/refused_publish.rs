//! PUBLISH as it may not be.

use super::super::{Packet, Reason};
use super::*;
use crate::limits::{PACKET_BYTES_MAX, PROPERTIES_MAX};
use shared::limits::TOPIC_BYTES_MAX;

/// A PUBLISH with QoS 0 on this topic.
fn on(topic: &'static [u8]) -> impl Fn(Version) -> Vec<u8> {
    move |version| packet(0x30, &[&text(topic), &section(version, &[]), b"x"])
}

/// One of MQTT 5 with these properties.
fn with(properties: &'static [u8], payload: &'static [u8]) -> impl Fn(Version) -> Vec<u8> {
    move |version| packet(0x30, &[&text("t"), &section(version, properties), payload])
}

#[test]
fn the_flags_of_a_publish_are_checked() {
    let flags =
        |head: u8| move |v: Version| packet(head, &[&text("t"), &[0, 1], &section(v, &[]), b"x"]);
    let malformed = Reason::MalformedPacket;
    refuse(&[
        case("the quality of service 3", &ALL, malformed, flags(0x36)),
        case("the quality of service 3 with DUP", &ALL, malformed, flags(0x3E)),
        case("DUP without acknowledgement", &ALL, malformed, flags(0x38)),
        case("DUP and retain without acknowledgement", &ALL, malformed, flags(0x39)),
    ]);
    for head in [0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D] {
        for version in ALL {
            assert!(heard(version, &flags(head)(version)).is_ok(), "{head:x} {version:?}");
        }
    }
}

#[test]
fn a_publish_needs_an_identifier_where_it_is_acknowledged() {
    let numbered = |head: u8, id: &'static [u8]| {
        move |v: Version| packet(head, &[&text("t"), id, &section(v, &[])])
    };
    refuse(&[
        case("the identifier 0 with QoS 1", &ALL, Reason::ProtocolError, numbered(0x32, &[0, 0])),
        case("the identifier 0 with QoS 2", &ALL, Reason::ProtocolError, numbered(0x34, &[0, 0])),
        case("half an identifier", &BEFORE, Reason::MalformedPacket, numbered(0x32, &[1])),
        case("no identifier", &BEFORE, Reason::MalformedPacket, numbered(0x32, &[])),
    ]);
}

#[test]
fn a_publish_names_one_topic() {
    let (no_topic, malformed) = (Reason::TopicNameInvalid, Reason::MalformedPacket);
    refuse(&[
        case("a wildcard for a level", &ALL, no_topic, on(b"a/+/b")),
        case("a wildcard for the rest", &ALL, no_topic, on(b"a/#")),
        case("a wildcard within a level", &ALL, no_topic, on(b"a+b")),
        case("a number sign within a level", &ALL, no_topic, on(b"a#b")),
        case("a NUL", &ALL, malformed, on(b"a\0b")),
        case("a surrogate", &ALL, malformed, on(b"a\xED\xBF\xBF")),
        case("an over-long form", &ALL, malformed, on(b"\xE0\x80\xAF")),
        case("a text cut in a character", &ALL, malformed, on(b"a\xE2\x82")),
        case("no topic", &BEFORE, no_topic, on(b"")),
        case("neither a topic nor an alias", &V5, Reason::ProtocolError, on(b"")),
        case("a topic that is too long", &ALL, no_topic, |version| {
            let topic = "a".repeat(TOPIC_BYTES_MAX + 1);
            packet(0x30, &[&text(topic), &section(version, &[])])
        }),
        case("a topic beyond the end", &ALL, malformed, |_| packet(0x30, &[&[0, 9, b't']])),
        case("nothing", &ALL, malformed, |_| packet(0x30, &[])),
    ]);
    for version in ALL {
        let topic = "a".repeat(TOPIC_BYTES_MAX);
        let longest = packet(0x30, &[&text(topic), &section(version, &[])]);
        assert!(heard(version, &longest).is_ok());
    }
}

#[test]
fn the_properties_of_a_publish_are_checked() {
    let (malformed, protocol) = (Reason::MalformedPacket, Reason::ProtocolError);
    let (no_topic, no_text) = (Reason::TopicNameInvalid, Reason::PayloadFormatInvalid);
    refuse(&[
        case("the alias 0", &V5, Reason::TopicAliasInvalid, with(&[0x23, 0, 0], b"")),
        case("an alias twice", &V5, protocol, with(&[0x23, 0, 1, 0x23, 0, 1], b"")),
        case("an expiry twice", &V5, protocol, with(&[2, 0, 0, 0, 1, 2, 0, 0, 0, 1], b"")),
        case("a format twice", &V5, protocol, with(&[1, 0, 1, 0], b"")),
        case("a content type twice", &V5, protocol, with(b"\x03\0\x01a\x03\0\x01a", b"")),
        case("a response topic twice", &V5, protocol, with(b"\x08\0\x01a\x08\0\x01a", b"")),
        case("correlation data twice", &V5, protocol, with(b"\x09\0\x01a\x09\0\x01a", b"")),
        case("a subscription from a client", &V5, protocol, with(&[0x0B, 1], b"")),
        case("the subscription 0", &V5, protocol, with(&[0x0B, 0], b"")),
        case("the format 2", &V5, protocol, with(&[1, 2], b"")),
        case("a text that is none", &V5, no_text, with(&[1, 1], b"\xFF")),
        case("a response to a wildcard", &V5, no_topic, with(b"\x08\0\x03a/+", b"")),
        case("a response to all", &V5, no_topic, with(b"\x08\0\x01#", b"")),
        case("a response to nothing", &V5, no_topic, with(b"\x08\0\0", b"")),
        case("a response to a NUL", &V5, malformed, with(b"\x08\0\x01\0", b"")),
        case("a response that is no UTF-8", &V5, malformed, with(b"\x08\0\x01\xFF", b"")),
        case("a content type with a NUL", &V5, malformed, with(b"\x03\0\x01\0", b"")),
        case("a user property that is no UTF-8", &V5, malformed, with(b"\x26\0\x01\xFF\0\0", b"")),
        case("a receive maximum", &V5, malformed, with(&[0x21, 0, 1], b"")),
        case("a will's delay", &V5, malformed, with(&[0x18, 0, 0, 0, 1], b"")),
        case("a session's expiry", &V5, malformed, with(&[0x11, 0, 0, 0, 1], b"")),
        case("a reason string", &V5, malformed, with(b"\x1F\0\x01a", b"")),
        case("an unknown property", &V5, malformed, with(&[0x3F, 1], b"")),
        case("a property cut off", &V5, malformed, with(&[2, 0, 0, 0], b"x")),
        case("properties beyond the end", &V5, malformed, |_| {
            packet(0x30, &[&text("t"), &[5, 1, 0]])
        }),
        case("no property length", &V5, malformed, |_| packet(0x30, &[&text("t")])),
        case("a padded property length", &V5, malformed, |_| {
            packet(0x30, &[&text("t"), &[0x80, 0]])
        }),
        case("too many properties", &V5, Reason::QuotaExceeded, |version| {
            let many = b"\x26\0\x01a\0\x01b".repeat(PROPERTIES_MAX + 1);
            packet(0x30, &[&text("t"), &section(version, &many)])
        }),
    ]);
}

#[test]
fn a_packet_has_a_bound_with_its_header() {
    for version in ALL {
        let longest = PACKET_BYTES_MAX as usize;
        let topic = [&text("t")[..], &section(version, &[])].concat();
        let of = |whole: usize| packet(0x30, &[&topic, &vec![0; whole - 4 - topic.len()]]);
        assert_eq!(of(longest).len(), longest);
        let Ok(Packet::Publish(publish)) = heard(version, &of(longest)) else { panic!() };
        assert_eq!(publish.payload.len(), longest - 4 - topic.len());
        // Refused by the header alone.
        let error = heard(version, &of(longest + 1)[..4]).unwrap_err();
        assert_eq!(error.reason, Reason::PacketTooLarge);
    }
}
