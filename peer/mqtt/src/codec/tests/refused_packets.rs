//! All other packets as they may not be.

use super::super::{Packet, Reason};
use super::*;
use crate::limits::{FILTERS_PER_PACKET_MAX, LEVELS_MAX, PROPERTIES_MAX};
use shared::limits::TOPIC_BYTES_MAX;

const MALFORMED: Reason = Reason::MalformedPacket;
const PROTOCOL: Reason = Reason::ProtocolError;
const FILTER: Reason = Reason::TopicFilterInvalid;

fn bytes(bytes: &'static [u8]) -> impl Fn(Version) -> Vec<u8> {
    move |_| bytes.to_vec()
}

#[test]
fn a_client_sends_what_clients_send() {
    refuse(&[
        case("CONNACK", &ALL, PROTOCOL, bytes(&[0x20, 2, 0, 0])),
        case("SUBACK", &ALL, PROTOCOL, bytes(&[0x90, 3, 0, 1, 0])),
        case("UNSUBACK", &ALL, PROTOCOL, bytes(&[0xB0, 2, 0, 1])),
        case("PINGRESP", &ALL, PROTOCOL, bytes(&[0xD0, 0])),
        case("AUTH before MQTT 5", &BEFORE, PROTOCOL, bytes(&[0xF0, 0])),
        case("the type 0", &ALL, MALFORMED, bytes(&[0x00, 0])),
    ]);
    let client = |version| Decoder::client(version);
    refuse_by(
        &[
            case("CONNECT from a server", &ALL, PROTOCOL, greeting),
            case("SUBSCRIBE from a server", &ALL, PROTOCOL, bytes(&[0x82, 6, 0, 1, 0, 1, b'a', 0])),
            case("UNSUBSCRIBE from a server", &ALL, PROTOCOL, bytes(&[0xA2, 5, 0, 1, 0, 1, b'a'])),
            case("PINGREQ from a server", &ALL, PROTOCOL, bytes(&[0xC0, 0])),
            case("DISCONNECT before MQTT 5", &BEFORE, PROTOCOL, bytes(&[0xE0, 0])),
        ],
        client,
    );
}

#[test]
fn reserved_flags_are_as_they_must_be() {
    // Each with every other flag, and refused by its first octet.
    for (head, usual) in [
        (0x40, 0),
        (0x50, 0),
        (0x60, 2),
        (0x70, 0),
        (0x80, 2),
        (0xA0, 2),
        (0xC0, 0),
        (0xE0, 0),
        (0xF0, 0),
    ] {
        for (version, flags) in ALL.into_iter().flat_map(|v| (0..16_u8).map(move |f| (v, f))) {
            if head == 0xF0 && version != Version::V5 {
                continue;
            }
            let again = version == Version::V31 && usual == 2 && flags == 0b1010;
            let found = read(greeted(version), &[head | flags]);
            let right = if flags == usual || again { Ok(Vec::new()) } else { Err(MALFORMED) };
            assert_eq!(found.map_err(|error| error.reason), right, "{head:x} {flags} {version:?}");
        }
    }
}

#[test]
fn acknowledgements_are_checked() {
    for head in [0x40, 0x50, 0x62, 0x70] {
        let of = |body: &'static [u8]| move |_| packet(head, &[body]);
        refuse(&[
            case("the identifier 0", &ALL, PROTOCOL, of(&[0, 0])),
            case("half an identifier", &ALL, MALFORMED, of(&[1])),
            case("nothing", &ALL, MALFORMED, of(&[])),
            case("a reason before MQTT 5", &BEFORE, MALFORMED, of(&[0, 1, 0])),
            case("an unknown reason", &V5, PROTOCOL, of(&[0, 1, 0x7F])),
            case("a reason of a DISCONNECT", &V5, PROTOCOL, of(&[0, 1, 0x8E])),
            case("two reason strings", &V5, PROTOCOL, of(b"\0\x01\0\x08\x1F\0\x01a\x1F\0\x01a")),
            case("a property of others", &V5, MALFORMED, of(&[0, 1, 0, 3, 0x21, 0, 1])),
            case("properties beyond the end", &V5, MALFORMED, of(&[0, 1, 0, 9])),
            case("something after the end", &V5, MALFORMED, of(&[0, 1, 0, 0, 0])),
            case("too many properties", &V5, Reason::QuotaExceeded, move |version| {
                let many = b"\x26\0\x01a\0\x01b".repeat(PROPERTIES_MAX + 1);
                packet(head, &[&[0, 1, 0], &section(version, &many)])
            }),
        ]);
        // With the reason left out, without properties, and with none.
        for body in [&[0, 1][..], &[0, 1, 0], &[0, 1, 0, 0]] {
            assert!(heard(Version::V5, &packet(head, &[body])).is_ok());
        }
    }
    let late = Reason::PacketIdentifierNotFound.octet();
    assert!(heard(Version::V5, &packet(0x62, &[&[0, 1, late]])).is_ok());
    assert!(heard(Version::V5, &packet(0x40, &[&[0, 1, late]])).is_err());
    assert!(heard(Version::V5, &packet(0x40, &[&[0, 1, 0x10]])).is_ok());
    assert!(heard(Version::V5, &packet(0x70, &[&[0, 1, 0x10]])).is_err());
}

/// A SUBSCRIBE to this filter with these options.
fn subscribe(filter: &'static [u8], options: u8) -> impl Fn(Version) -> Vec<u8> {
    move |v| packet(0x82, &[&[0, 1], &section(v, &[]), &text(filter), &[options]])
}

/// Texts that are no filter, with what is wrong.
const NO_FILTERS: [(&str, &[u8], Reason); 18] = [
    ("nothing", b"", FILTER),
    ("a number sign that is not the last", b"a/#/b", FILTER),
    ("a number sign within a level", b"a#", FILTER),
    ("a number sign before a level", b"#a", FILTER),
    ("a plus within a level", b"a+/b", FILTER),
    ("a plus before a level", b"+a", FILTER),
    ("two plus", b"++", FILTER),
    ("two number signs", b"##", FILTER),
    ("a share without a filter", b"$share/g", FILTER),
    ("a share with an empty filter", b"$share/g/", FILTER),
    ("a share without a group", b"$share//a", FILTER),
    ("a group with a plus", b"$share/g+/a", FILTER),
    ("a group that is a number sign", b"$share/#/a", FILTER),
    ("a share with a bad filter", b"$share/g/a/#/b", FILTER),
    ("a NUL", b"a\0", MALFORMED),
    ("a surrogate", b"\xED\xA0\x80", MALFORMED),
    ("an over-long form", b"\xC1\xBF", MALFORMED),
    ("no UTF-8", b"a/\xFF", MALFORMED),
];

#[test]
fn filters_are_checked_when_subscribed_and_when_not() {
    for (name, filter, reason) in NO_FILTERS {
        refuse(&[
            case(name, &ALL, reason, subscribe(filter, 0)),
            case(name, &ALL, reason, move |v| {
                packet(0xA2, &[&[0, 1], &section(v, &[]), &text(filter)])
            }),
        ]);
    }
    refuse(&[
        case("a filter that is too long", &ALL, FILTER, |v| {
            let filter = text("a".repeat(TOPIC_BYTES_MAX + 1));
            packet(0x82, &[&[0, 1], &section(v, &[]), &filter, &[0]])
        }),
        case("a filter that is too deep", &ALL, FILTER, |v| {
            packet(0x82, &[&[0, 1], &section(v, &[]), &text("/".repeat(LEVELS_MAX)), &[0]])
        }),
    ]);
    for filter in [
        "#",
        "+",
        "/",
        "a/#",
        "+/+",
        "a//b",
        "$SYS/#",
        "$share/g/#",
        "\u{feff}a",
        "a/+/b/#",
        "$share",
    ] {
        let sent = |v| packet(0x82, &[&[0, 1], &section(v, &[]), &text(filter), &[0]]);
        assert!(ALL.into_iter().all(|v| heard(v, &sent(v)).is_ok()), "{filter}");
    }
}

#[test]
fn a_subscribe_is_checked() {
    let v5 = |properties: &'static [u8]| {
        move |v| packet(0x82, &[&[0, 1], &section(v, properties), &text("a"), &[0]])
    };
    refuse(&[
        case("the identifier 0", &ALL, PROTOCOL, |v| {
            packet(0x82, &[&[0, 0], &section(v, &[]), &text("a"), &[0]])
        }),
        case("no filter", &ALL, PROTOCOL, |v| packet(0x82, &[&[0, 1], &section(v, &[])])),
        case("a filter without options", &ALL, MALFORMED, |v| {
            packet(0x82, &[&[0, 1], &section(v, &[]), &text("a")])
        }),
        case("the quality of service 3", &ALL, MALFORMED, subscribe(b"a", 3)),
        case("no local before MQTT 5", &BEFORE, MALFORMED, subscribe(b"a", 4)),
        case("a reserved option", &ALL, MALFORMED, subscribe(b"a", 0x40)),
        case("the other reserved option", &ALL, MALFORMED, subscribe(b"a", 0x80)),
        case("the retain handling 3", &V5, PROTOCOL, subscribe(b"a", 0x30)),
        case("no local on a share", &V5, PROTOCOL, subscribe(b"$share/g/a", 4)),
        case("the subscription 0", &V5, PROTOCOL, v5(&[0x0B, 0])),
        case("two subscriptions", &V5, PROTOCOL, v5(&[0x0B, 1, 0x0B, 2])),
        case("a padded subscription", &V5, MALFORMED, v5(&[0x0B, 0x81, 0])),
        case("a subscription too large", &V5, MALFORMED, v5(&[0x0B, 255, 255, 255, 255, 1])),
        case("a property of others", &V5, MALFORMED, v5(&[0x23, 0, 1])),
        case("no properties at all", &V5, MALFORMED, |_| packet(0x82, &[&[0, 1]])),
        case("too many properties", &V5, Reason::QuotaExceeded, |v| {
            let many = b"\x26\0\x01a\0\x01b".repeat(PROPERTIES_MAX + 1);
            packet(0x82, &[&[0, 1], &section(v, &many), &text("a"), &[0]])
        }),
        case("too many filters", &ALL, Reason::QuotaExceeded, |v| {
            let many = [&text("a")[..], &[0]].concat().repeat(FILTERS_PER_PACKET_MAX + 1);
            packet(0x82, &[&[0, 1], &section(v, &[]), &many])
        }),
    ]);
    for version in ALL {
        let many = [&text("a")[..], &[0]].concat().repeat(FILTERS_PER_PACKET_MAX);
        let sent = packet(0x82, &[&[0, 1], &section(version, &[]), &many]);
        let Ok(Packet::Subscribe(said)) = heard(version, &sent) else { panic!() };
        assert_eq!(said.filters.len(), FILTERS_PER_PACKET_MAX);
    }
}

#[test]
fn an_unsubscribe_is_checked() {
    refuse(&[
        case("the identifier 0", &ALL, PROTOCOL, |v| {
            packet(0xA2, &[&[0, 0], &section(v, &[]), &text("a")])
        }),
        case("no filter", &ALL, PROTOCOL, |v| packet(0xA2, &[&[0, 1], &section(v, &[])])),
        case("half a filter", &ALL, MALFORMED, |v| {
            packet(0xA2, &[&[0, 1], &section(v, &[]), &[0, 2, b'a']])
        }),
        case("a subscription", &V5, MALFORMED, |v| {
            packet(0xA2, &[&[0, 1], &section(v, &[0x0B, 1]), &text("a")])
        }),
        case("too many filters", &ALL, Reason::QuotaExceeded, |v| {
            let many = text("a").repeat(FILTERS_PER_PACKET_MAX + 1);
            packet(0xA2, &[&[0, 1], &section(v, &[]), &many])
        }),
    ]);
}

#[test]
fn pings_and_farewells_are_checked() {
    let of = |body: &'static [u8]| move |_| packet(0xE0, &[body]);
    refuse(&[
        case("a ping that says something", &ALL, MALFORMED, bytes(&[0xC0, 1, 0])),
        case("a DISCONNECT with a reason before MQTT 5", &BEFORE, MALFORMED, of(&[0])),
        case("an unknown reason", &V5, PROTOCOL, of(&[1])),
        case("a reason that only servers have", &V5, PROTOCOL, of(&[0x8E])),
        case("an expiry twice", &V5, PROTOCOL, of(&[0, 10, 17, 0, 0, 0, 1, 17, 0, 0, 0, 1])),
        case("a reason string twice", &V5, PROTOCOL, of(b"\0\x08\x1F\0\x01a\x1F\0\x01a")),
        case("a server reference", &V5, MALFORMED, of(b"\0\x04\x1C\0\x01a")),
        case("a property of others", &V5, MALFORMED, of(&[0, 3, 0x21, 0, 1])),
        case("something after the end", &V5, MALFORMED, of(&[0, 0, 0])),
        case("properties beyond the end", &V5, MALFORMED, of(&[0, 1])),
    ]);
    for body in [&[][..], &[4], &[0, 0], &[0, 5, 0x11, 0, 0, 0, 9]] {
        assert!(heard(Version::V5, &packet(0xE0, &[body])).is_ok());
    }
}

#[test]
fn auth_is_checked() {
    let of = |body: &'static [u8]| move |_| packet(0xF0, &[body]);
    refuse(&[
        case("AUTH that says nothing", &V5, PROTOCOL, of(&[])),
        case("AUTH with success from a client", &V5, PROTOCOL, of(b"\0\x04\x15\0\x01a")),
        case("AUTH with another reason", &V5, PROTOCOL, of(b"\x80\x04\x15\0\x01a")),
        case("AUTH without properties", &V5, PROTOCOL, of(&[0x18])),
        case("AUTH without a method", &V5, PROTOCOL, of(&[0x18, 0])),
        case("a method twice", &V5, PROTOCOL, of(b"\x18\x08\x15\0\x01a\x15\0\x01a")),
        case("a property of others", &V5, MALFORMED, of(b"\x18\x07\x15\0\x01a\x21\0\x01")),
        case("something after the end", &V5, MALFORMED, of(b"\x18\x04\x15\0\x01a\0")),
    ]);
    assert!(heard(Version::V5, &packet(0xF0, &[b"\x19\x04\x15\0\x01a"])).is_ok());
}

#[test]
fn what_a_server_says_is_checked() {
    let client = |version| Decoder::client(version);
    let from = |head: u8, body: &'static [u8]| move |_| packet(head, &[body]);
    refuse_by(
        &[
            case("CONNACK with reserved flags", &LATER, MALFORMED, from(0x20, &[2, 0, 0])),
            case("a return code 6", &BEFORE, PROTOCOL, from(0x20, &[0, 6])),
            case("an unknown reason", &V5, PROTOCOL, from(0x20, &[0, 0x11, 0])),
            case("a session for one refused", &V5, PROTOCOL, from(0x20, &[1, 0x87, 0])),
            case("a session for one refused", &[Version::V311], PROTOCOL, from(0x20, &[1, 5])),
            case("a maximum QoS of 2", &V5, PROTOCOL, from(0x20, &[0, 0, 2, 0x24, 2])),
            case("a receive maximum of 0", &V5, PROTOCOL, from(0x20, &[0, 0, 3, 0x21, 0, 0])),
            case("a SUBACK for nothing", &ALL, PROTOCOL, |v| {
                packet(0x90, &[&[0, 1], &section(v, &[])])
            }),
            case("a failure that is not known", &BEFORE, PROTOCOL, from(0x90, &[0, 1, 0x87])),
            case("an UNSUBACK for nothing", &V5, PROTOCOL, from(0xB0, &[0, 1, 0])),
            case("an UNSUBACK with reasons", &BEFORE, MALFORMED, from(0xB0, &[0, 1, 0])),
            case("a PINGRESP that says something", &ALL, MALFORMED, from(0xD0, &[0])),
            case("an expiry in a farewell", &V5, MALFORMED, from(0xE0, &[0, 5, 17, 0, 0, 0, 1])),
            case("a will in a server's farewell", &V5, PROTOCOL, from(0xE0, &[4])),
            case("AUTH again from a server", &V5, PROTOCOL, from(0xF0, b"\x19\x04\x15\0\x01a")),
        ],
        client,
    );
    let Ok(Packet::ConnAck(ack)) = told(Version::V5, &[0x20, 3, 1, 0, 0]) else { panic!() };
    assert!(ack.session_present);
}

/// The reason codes of each packet of MQTT 5 (§2.4), from a client and from a server.
const OF_CLIENTS: [(u8, &[u8]); 6] = [
    (0x40, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (0x50, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (0x62, &[0x00, 0x92]),
    (0x70, &[0x00, 0x92]),
    (0xE0, &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]),
    (0xF0, &[0x18, 0x19]),
];
const OF_SERVERS: [(u8, &[u8]); 9] = [
    (
        0x20,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (0x40, OF_CLIENTS[0].1),
    (0x50, OF_CLIENTS[1].1),
    (0x62, OF_CLIENTS[2].1),
    (0x70, OF_CLIENTS[3].1),
    (0x90, &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
    (0xB0, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        0xE0,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
            0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
    ),
    (0xF0, &[0x00, 0x18]),
];

#[test]
fn each_packet_has_reasons_of_its_own() {
    // What every test hears of a server, it hears by this decoder: another code would fail it.
    let say = |head: u8, reason: u8| match head {
        0x20 => packet(head, &[&[0, reason, 0]]),
        0x90 | 0xB0 => packet(head, &[&[0, 1, 0, reason]]),
        0xE0 => packet(head, &[&[reason]]),
        0xF0 => packet(head, &[&[reason], b"\x04\x15\0\x01a"]),
        _ => packet(head, &[&[0, 1, reason]]),
    };
    for reason in 0..=u8::MAX {
        for (head, known) in OF_CLIENTS {
            let right = heard(Version::V5, &say(head, reason)).is_ok();
            assert_eq!(right, known.contains(&reason), "{head:x} {reason:x} of a client");
        }
        for (head, known) in OF_SERVERS {
            let right = told(Version::V5, &say(head, reason)).is_ok();
            assert_eq!(right, known.contains(&reason), "{head:x} {reason:x} of a server");
        }
    }
}
