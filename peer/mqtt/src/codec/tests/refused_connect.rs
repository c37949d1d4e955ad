//! CONNECT as it may not be, and what stands where CONNECT should.

use super::super::{Decoder, Reason, Version};
use super::*;
use crate::limits::{CONNECT_BYTES_MAX, PROPERTIES_MAX};

fn refuse_first(cases: &[Case]) {
    refuse_by(cases, |_| Decoder::server());
}

/// A CONNECT of MQTT 5 with these properties.
fn with(properties: &[u8]) -> Vec<u8> {
    connect(Version::V5, 2, &[&section(Version::V5, properties), &text("me")])
}

/// One with a will: its flags, its properties, topic and payload.
fn with_will(version: Version, flags: u8, properties: &[u8], topic: &str, said: &[u8]) -> Vec<u8> {
    let (none, properties) = (section(version, &[]), section(version, properties));
    connect(version, flags, &[&none, &text("me"), &properties, &text(topic), &text(said)])
}

#[test]
fn connect_comes_first_and_once() {
    for version in ALL {
        let before = packet(0xC0, &[]);
        let error = read(Decoder::server(), &before).unwrap_err();
        assert_eq!(error.reason, Reason::ProtocolError);
        let error = read(greeted(version), &greeting(version)).unwrap_err();
        assert_eq!(error.reason, Reason::ProtocolError);
        // What came with it is read, and not before it.
        let both = [greeting(version), packet(0xC0, &[])].concat();
        assert_eq!(read(Decoder::server(), &both).unwrap().len(), 2);
    }
    // A browser is not waited for.
    let error = read(Decoder::server(), b"G").unwrap_err();
    assert_eq!(error.reason, Reason::ProtocolError);
}

#[test]
fn a_connect_of_another_protocol_is_refused() {
    let with = |name: &'static str, level: u8| {
        move |_| packet(0x10, &[&text(name), &[level, 2, 0, 60, 0], &text("me")])
    };
    let unknown = Reason::UnsupportedProtocolVersion;
    refuse_first(&[
        case("another name", &V5, unknown, with("MQTTX", 5)),
        case("the name in small letters", &V5, unknown, with("mqtt", 5)),
        case("no name", &V5, unknown, with("", 5)),
        case("the level 3 of the new name", &V5, unknown, with("MQTT", 3)),
        case("the level 6", &V5, unknown, with("MQTT", 6)),
        case("the level 0", &V5, unknown, with("MQTT", 0)),
        case("the level 4 of the old name", &V5, unknown, with("MQIsdp", 4)),
        case("a bridge of MQTT 5", &V5, unknown, with("MQTT", 0x85)),
    ]);
}

#[test]
fn the_flags_of_a_connect_are_checked() {
    let flags =
        |flags: u8| move |version| connect(version, flags, &[&section(version, &[]), &text("me")]);
    let malformed = Reason::MalformedPacket;
    refuse_first(&[
        case("flags in the fixed header", &ALL, malformed, |version| {
            let mut bytes = greeting(version);
            bytes[0] |= 1;
            bytes
        }),
        case("the reserved connect flag", &LATER, malformed, flags(0b0000_0011)),
        case("a will's qos without a will", &ALL, malformed, flags(0b0000_1010)),
        case("a will's retain without a will", &ALL, malformed, flags(0b0010_0010)),
        case("a will's qos of 3", &ALL, malformed, |version| {
            with_will(version, 0b0001_1110, &[], "t", b"")
        }),
        case("a password without a user name", &BEFORE, malformed, |version| {
            connect(version, 0b0100_0010, &[&text("me"), &text("secret")])
        }),
    ]);
    // In MQTT 5 a password may stand alone.
    let alone = connect(Version::V5, 0b0100_0010, &[&[0], &text("me"), &text("secret")]);
    assert!(read(Decoder::server(), &alone).is_ok());
}

#[test]
fn what_a_connect_announces_must_be_there_and_nothing_else() {
    let malformed = Reason::MalformedPacket;
    let none = |version| section(version, &[]);
    refuse_first(&[
        case("no client identifier", &ALL, malformed, move |v| connect(v, 2, &[&none(v)])),
        case("a will that is not there", &ALL, malformed, move |v| {
            connect(v, 0b0110, &[&none(v), &text("me")])
        }),
        case("a will without a payload", &ALL, malformed, move |v| {
            connect(v, 0b0110, &[&none(v), &text("me"), &none(v), &text("t")])
        }),
        case("a user name that is not there", &LATER, malformed, move |v| {
            connect(v, 0b1000_0010, &[&none(v), &text("me")])
        }),
        case("a password that is not there", &ALL, malformed, move |v| {
            connect(v, 0b1100_0010, &[&none(v), &text("me"), &text("name"), &[0]])
        }),
        case("something after the end", &ALL, malformed, move |v| {
            connect(v, 2, &[&none(v), &text("me"), &[0]])
        }),
        case("a user name not announced", &ALL, malformed, move |v| {
            connect(v, 2, &[&none(v), &text("me"), &text("name")])
        }),
        case("a text beyond the end", &ALL, malformed, move |v| {
            connect(v, 2, &[&none(v), &[0xFF, 0xFF, b'm', b'e']])
        }),
    ]);
}

#[test]
fn an_identifier_may_be_left_out_only_where_the_standard_says() {
    let empty = |version, flags| connect(version, flags, &[&section(version, &[]), &text("")]);
    refuse_first(&[
        case("no identifier and a lasting session", &BEFORE, Reason::ClientIdentifierNotValid, {
            move |version| empty(version, 0)
        }),
        case("no identifier in MQTT 3.1", &[Version::V31], Reason::ClientIdentifierNotValid, {
            move |version| empty(version, 2)
        }),
    ]);
    for (version, flags) in [(Version::V311, 2), (Version::V5, 2), (Version::V5, 0)] {
        assert!(read(Decoder::server(), &empty(version, flags)).is_ok(), "{version:?} {flags}");
    }
}

#[test]
fn texts_of_a_connect_are_utf_8_without_nul() {
    let malformed = Reason::MalformedPacket;
    let named = |name: &'static [u8]| {
        move |version| connect(version, 2, &[&section(version, &[]), &text(name)])
    };
    refuse_first(&[
        case("a NUL", &ALL, malformed, named(b"a\0b")),
        case("a surrogate", &ALL, malformed, named(b"\xED\xA0\x80")),
        case("an over-long form", &ALL, malformed, named(b"\xC0\xAF")),
        case("an over-long NUL", &ALL, malformed, named(b"\xC0\x80")),
        case("a lonely continuation", &ALL, malformed, named(b"\x80")),
        case("half a character", &ALL, malformed, named(b"\xE2\x82")),
        case("above U+10FFFF", &ALL, malformed, named(b"\xF4\x90\x80\x80")),
        case("a user name with a NUL", &ALL, malformed, |version| {
            connect(version, 0x82, &[&section(version, &[]), &text("me"), &text("a\0")])
        }),
        case("a user name that is not UTF-8", &ALL, malformed, |version| {
            connect(version, 0x82, &[&section(version, &[]), &text("me"), &text(b"\xFF")])
        }),
    ]);
}

#[test]
fn a_will_is_a_message_that_could_be_published() {
    let will = |topic: &'static str| move |version| with_will(version, 6, &[], topic, b"x");
    let v5 = |properties: &'static [u8], said: &'static [u8]| {
        move |version| with_will(version, 6, properties, "t", said)
    };
    let (no_topic, malformed) = (Reason::TopicNameInvalid, Reason::MalformedPacket);
    let protocol = Reason::ProtocolError;
    refuse_first(&[
        case("a will on no topic", &ALL, no_topic, will("")),
        case("a will on a wildcard", &ALL, no_topic, will("a/+")),
        case("a will on all", &ALL, no_topic, will("#")),
        case("a will on a NUL", &ALL, malformed, will("a\0")),
        case("a will's delay twice", &V5, protocol, v5(&[24, 0, 0, 0, 1, 24, 0, 0, 0, 1], b"")),
        case("a topic alias in a will", &V5, malformed, v5(&[0x23, 0, 1], b"")),
        case("a subscription in a will", &V5, malformed, v5(&[0x0B, 1], b"")),
        case("a will's response topic with a wildcard", &V5, no_topic, v5(b"\x08\0\x01#", b"")),
        case("a will that is no text", &V5, Reason::PayloadFormatInvalid, v5(&[1, 1], b"\xFF")),
        case("a will's format 2", &V5, protocol, v5(&[1, 2], b"")),
    ]);
    assert!(read(Decoder::server(), &with_will(Version::V5, 6, &[1, 1], "t", b"x")).is_ok());
}

#[test]
fn the_properties_of_a_connect_are_checked() {
    let said = |properties: &'static [u8]| move |_| with(properties);
    let (malformed, protocol) = (Reason::MalformedPacket, Reason::ProtocolError);
    refuse_first(&[
        case("a receive maximum of 0", &V5, protocol, said(&[0x21, 0, 0])),
        case("a maximum packet size of 0", &V5, protocol, said(&[0x27, 0, 0, 0, 0])),
        case("response information 2", &V5, protocol, said(&[0x19, 2])),
        case("problem information 2", &V5, protocol, said(&[0x17, 2])),
        case("a receive maximum twice", &V5, protocol, said(&[0x21, 0, 1, 0x21, 0, 1])),
        case("an expiry twice", &V5, protocol, said(&[17, 0, 0, 0, 1, 17, 0, 0, 0, 1])),
        case("a packet size twice", &V5, protocol, said(&[39, 0, 0, 9, 0, 39, 0, 0, 9, 0])),
        case("an alias maximum twice", &V5, protocol, said(&[0x22, 0, 1, 0x22, 0, 1])),
        case("response information twice", &V5, protocol, said(&[0x19, 1, 0x19, 1])),
        case("problem information twice", &V5, protocol, said(&[0x17, 1, 0x17, 1])),
        case("a method twice", &V5, protocol, said(b"\x15\0\x01a\x15\0\x01a")),
        case("authentication data alone", &V5, protocol, said(b"\x16\0\x01a")),
        case("data twice", &V5, protocol, said(b"\x15\0\x01a\x16\0\x01a\x16\0\x01a")),
        case("a will's delay", &V5, malformed, said(&[0x18, 0, 0, 0, 1])),
        case("a topic alias", &V5, malformed, said(&[0x23, 0, 1])),
        case("a reason string", &V5, malformed, said(b"\x1F\0\x01a")),
        case("the property 0", &V5, malformed, said(&[0])),
        case("the property 127", &V5, malformed, said(&[0x7F])),
        case("the property 16383", &V5, malformed, said(&[0xFF, 0x7F])),
        case("a property's number in two octets", &V5, malformed, said(&[0xA1, 0, 0, 1])),
        case("a property cut off", &V5, malformed, said(&[0x21, 0])),
        case("a user property without a value", &V5, malformed, said(b"\x26\0\x01a")),
        case("a user property with a NUL", &V5, malformed, said(b"\x26\0\x01\0\0\x01a")),
        case("a user property that is no UTF-8", &V5, malformed, said(b"\x26\0\x01a\0\x01\xFF")),
        case("properties beyond the end", &V5, malformed, |version| {
            connect(version, 2, &[&[0x7F], &text("me")])
        }),
        case("a padded property length", &V5, malformed, |version| {
            connect(version, 2, &[&[0x80, 0], &text("me")])
        }),
        case("too many properties", &V5, Reason::QuotaExceeded, |_| {
            with(&b"\x26\0\x01a\0\x01b".repeat(PROPERTIES_MAX + 1))
        }),
    ]);
    assert!(read(Decoder::server(), &with(&b"\x26\0\x01a\0\x01b".repeat(PROPERTIES_MAX))).is_ok());
    assert!(read(Decoder::server(), &with(b"\x15\0\x01a\x16\0\x01a")).is_ok());
}

#[test]
fn a_first_packet_has_a_bound_of_its_own() {
    let bound = CONNECT_BYTES_MAX as usize;
    let header = |whole: usize| [&[0x10][..], &varint(whole - 4)].concat();
    // Refused by its header, without waiting for the rest.
    let error = read(Decoder::server(), &header(bound + 1)).unwrap_err();
    assert_eq!(error.reason, Reason::PacketTooLarge);
    assert_eq!(read(Decoder::server(), &header(bound)), Ok(Vec::new()));
}

#[test]
fn a_padded_length_is_an_error_only_where_the_standard_says() {
    for version in ALL {
        let mut padded = greeting(version);
        padded[1] |= 0x80;
        padded.insert(2, 0);
        assert_eq!(read(Decoder::server(), &padded).is_ok(), version != Version::V5);
        let ping = read(greeted(version), &[0xC0, 0x80, 0]);
        assert_eq!(ping.is_ok(), version != Version::V5);
    }
    refuse(&[case("a length of five octets", &ALL, Reason::MalformedPacket, |_| {
        vec![0x30, 0x80, 0x80, 0x80, 0x80, 1]
    })]);
}

#[test]
fn a_refusal_is_written_in_the_version_that_was_said() {
    for version in ALL {
        let mut decoder = Decoder::server();
        let wrong = connect(version, 0b0001_1110, &[]);
        assert!(decoder.decode(&mut BytesMut::from(&wrong[..])).is_err());
        assert_eq!((decoder.version(), decoder.said()), (None, Some(version)));
    }
    let mut decoder = Decoder::server();
    let wrong = packet(0x10, &[&text("MQTT"), &[9]]);
    assert!(decoder.decode(&mut BytesMut::from(&wrong[..])).is_err());
    assert_eq!(decoder.said(), None);
}
