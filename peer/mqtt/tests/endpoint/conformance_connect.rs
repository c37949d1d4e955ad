//! Normative statements on CONNECT, CONNACK, DISCONNECT and AUTH (MQTT 5.0 and 3.1.1 §3.1, §3.2,
//! §3.14, §3.15, §4.12, §4.13): see docs/mqtt-conformance.md.

use mqtt::State;
use mqtt::codec::{Connect, Disconnect, Packet, Qos, Reason, Version};

use crate::rig::{Line, Rig, at, connect, lasting, message, plain, success};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = text.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A CONNECT with these flags; in MQTT 5 without properties. `rest` is what comes after them.
fn raw(version: Version, flags: u8, rest: &[u8]) -> Vec<u8> {
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    let properties = if version == Version::V5 { &[0][..] } else { &[] };
    let body = [&text(name)[..], &[level, flags, 0, 60], properties, rest].concat();
    [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// Says something as the first, with a SUBSCRIBE behind it that nobody may answer.
fn stranger(rig: &Rig, first: &[u8]) -> Line {
    let mut line = rig.door("alice");
    let more = b"\x82\x06\x00\x01\x00\x01a\x00\xc0\x00";
    line.say_octets(&[first, more].concat(), rig.now);
    line
}

#[test]
fn a_connect_that_does_not_conform_is_refused_and_nothing_after_it_is_read() {
    let rig = Rig::new();
    let id = text("me");
    let will = |version| if version == Version::V5 { vec![0] } else { Vec::new() };
    for version in ALL {
        let with_will = [&id[..], &will(version), &text("t"), &text("x")].concat();
        let mut cases = vec![
            ("a will's QoS without a will", raw(version, 0b0000_1010, &id)),
            ("a will's retain without a will", raw(version, 0b0010_0010, &id)),
            ("a will's QoS of 3", raw(version, 0b0001_1110, &with_will)),
            ("a will that is not there", raw(version, 0b0000_0110, &id)),
            (
                "a will without payload",
                raw(version, 6, &[&id[..], &will(version), &text("t")].concat()),
            ),
            ("no identifier at all", raw(version, 2, &[])),
            ("an identifier with a NUL", raw(version, 2, &text("a\0"))),
            ("an identifier with a surrogate", raw(version, 2, &text(b"\xED\xA0\x80"))),
            ("a user name not announced", raw(version, 2, &[&id[..], &text("u")].concat())),
            (
                "a user name that is no text",
                raw(version, 0x82, &[&id[..], &text(b"\xFF")].concat()),
            ),
            ("a password not announced", {
                raw(version, 0x82, &[&id[..], &text("u"), &text("p")].concat())
            }),
            ("a password that is not there", raw(version, 0xC2, &[&id[..], &text("u")].concat())),
            ("a will topic with a NUL", {
                raw(version, 6, &[&id[..], &will(version), &text("a\0"), &text("x")].concat())
            }),
        ];
        if version != Version::V31 {
            cases.push(("the reserved flag", raw(version, 3, &id)));
            cases.push(("a user name that is not there", raw(version, 0x82, &id)));
        }
        if version != Version::V5 {
            let password = [&id[..], &text("p")].concat();
            cases.push(("a password without a user name", raw(version, 0x42, &password)));
        }
        for (name, bytes) in cases {
            if version == Version::V31 && name == "a password that is not there" {
                continue; // There the length decides what follows.
            }
            let mut line = stranger(&rig, &bytes);
            let said = line.octets(rig.now);
            let expected = if version == Version::V5 { &[0x20, 3, 0, 0x81, 0][..] } else { &[] };
            assert_eq!((&said[..], line.state), (expected, State::Ending), "{name} in {version:?}");
            assert!(line.octets(rig.now).is_empty(), "{name} in {version:?}");
        }
    }
    assert!(rig.broker.views(usize::MAX).is_empty());
}

#[test]
fn another_protocol_or_level_is_told_so_in_the_words_of_3_1_1() {
    let rig = Rig::new();
    let of = |name: &str, level: u8| {
        let body = [&text(name)[..], &[level, 2, 0, 60], &text("me")].concat();
        [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    for (name, level) in [("MQTT", 3), ("MQTT", 6), ("MQTT", 0x85), ("MQIsdp", 4), ("mqtt", 4)] {
        let mut line = stranger(&rig, &of(name, level));
        assert_eq!(line.octets(rig.now), [0x20, 2, 0, 1], "{name} {level}");
        assert_eq!(line.state, State::Ending);
    }
    assert!(rig.broker.views(usize::MAX).is_empty());
}

#[test]
fn connack_is_the_first_that_is_said_and_comes_once() {
    let rig = Rig::new();
    for version in ALL {
        let (mut line, _) = rig.connected(&lasting("s"));
        line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
        line.broken(rig.now);
        let mut publisher = rig.client("p");
        let id = publisher.id();
        publisher.publish(message("t", "x", Qos::AtLeastOnce, Some(id)), rig.now);
        // In one piece with what may come at once after it.
        let mut line = rig.door("alice");
        line.version = version;
        let expiry_s = if version == Version::V5 { 3_600 } else { u32::MAX };
        let hello = Connect { version, session_expiry_s: expiry_s, ..lasting("s") };
        let mut bytes = Vec::new();
        mqtt::codec::encode(&Packet::Connect(Box::new(hello)), version, &mut bytes);
        line.say_octets(&[&bytes[..], &[0xC0, 0, 0xC0, 0]].concat(), rig.now);
        let heard = line.hear(rig.now);
        assert!(matches!(&heard[0], Packet::ConnAck(ack) if ack.reason == Reason::Success));
        assert_eq!(heard.iter().filter(|p| matches!(p, Packet::ConnAck(_))).count(), 1);
        assert_eq!(heard.len(), 4, "CONNACK, what waited, two PINGRESP: {heard:?}");
        let id = heard.iter().find_map(|packet| match packet {
            Packet::Publish(publish) => publish.packet_id,
            _ => None,
        });
        line.ack(id.unwrap(), rig.now);
        line.broken(rig.now);
        rig.client("s").leave(Reason::Success, None, rig.now);
    }
}

#[test]
fn session_present_says_whether_a_session_is_taken_up() {
    let rig = Rig::new();
    for version in [Version::V311, Version::V5] {
        let lasts = if version == Version::V5 { 3_600 } else { u32::MAX };
        let kept = Connect { version, session_expiry_s: lasts, ..lasting("s") };
        let clean = Connect { clean_start: true, session_expiry_s: 0, ..kept.clone() };
        for (hello, present, what) in [
            (&kept, false, "there was none"),
            (&kept, true, "there was one"),
            (&clean, false, "it is not wanted"),
            (&kept, false, "it was discarded, and the clean one ended"),
            (&clean, false, "it is not wanted"),
        ] {
            let (line, ack) = rig.connected(hello);
            assert_eq!((ack.reason, ack.session_present), (Reason::Success, present), "{what}");
            line.broken(rig.now);
        }
        assert!(rig.broker.views(usize::MAX).is_empty());
    }
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_taken_up_by_another() {
    let rig = Rig::new();
    for version in [Version::V311, Version::V5] {
        let lasts = if version == Version::V5 { 3_600 } else { u32::MAX };
        let clean = Connect { version, ..connect("s") };
        let (mut first, _) = rig.connected(&clean);
        first.subscribe("t", at(Qos::AtLeastOnce), rig.now);
        let kept = Connect { clean_start: false, session_expiry_s: lasts, ..clean };
        let (mut second, ack) = rig.connected(&kept);
        assert!(!ack.session_present, "{version:?}: the first one's state is not used again");
        first.octets(rig.now);
        assert_eq!(first.state, State::Ending, "the first connection ends");
        rig.client("p").publish(plain("t", "x"), rig.now);
        assert!(second.messages(rig.now).is_empty(), "it has no subscription");
        second.leave(Reason::Success, None, rig.now);
        rig.client("s").leave(Reason::Success, None, rig.now);
    }
}

#[test]
fn who_is_refused_is_told_of_no_session() {
    let rig = Rig::new();
    for version in [Version::V311, Version::V5] {
        let lasts = if version == Version::V5 { 3_600 } else { u32::MAX };
        let kept = Connect { version, session_expiry_s: lasts, ..lasting("s") };
        rig.connected(&kept).0.broken(rig.now);
        let will = mqtt::codec::Will {
            qos: Qos::AtMostOnce,
            retain: false,
            delay_s: 0,
            expiry_s: None,
            topic: "$SYS/mine".into(),
            properties: bytes::Bytes::new(),
            payload: bytes::Bytes::new(),
        };
        let (mut line, ack) = rig.connected(&Connect { will: Some(will), ..kept.clone() });
        assert_eq!((ack.reason, ack.session_present), (Reason::NotAuthorized, false));
        assert_eq!(line.state, State::Ending, "the connection ends");
        assert!(line.octets(rig.now).is_empty());
        assert!(rig.connected(&kept).1.session_present, "and the session is as it was");
        rig.client("s").leave(Reason::Success, None, rig.now);
    }
}

#[test]
fn an_identifier_names_the_session_and_all_that_must_be_allowed_are() {
    let rig = Rig::new();
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in ALL {
        for start in (0..letters.len()).step_by(13) {
            for length in [1, 13, 23] {
                let id: String = letters.chars().cycle().skip(start).take(length).collect();
                let (_line, ack) = rig.connected(&Connect { version, ..connect(&id) });
                assert_eq!(ack.reason, Reason::Success, "{id}");
                let views = rig.broker.views(usize::MAX);
                assert!(views.iter().any(|view| view.client == id), "{id}");
            }
        }
    }
    // Compared by octets: neither case nor Unicode's forms are made alike.
    for id in ["x", "X", "\u{e9}", "e\u{301}", "\u{feff}x"] {
        assert!(!rig.connected(&lasting(id)).1.session_present, "{id}");
    }
    assert!(rig.connected(&lasting("\u{feff}x")).1.session_present);
}

#[test]
fn an_identifier_that_is_assigned_is_nobodys() {
    let rig = Rig::new();
    let (_first, ack) = rig.connected(&connect(""));
    let first = ack.granted.client_id.unwrap();
    // Somebody has taken those that would come next.
    let (stem, number) = first.rsplit_once('-').unwrap();
    let number = u64::from_str_radix(number, 16).unwrap();
    let mut others = Vec::new();
    for next in 20..40 {
        others.push(rig.client(&format!("{stem}-{:x}", number + next)));
    }
    let before = rig.broker.views(usize::MAX).len();
    for version in [Version::V311, Version::V5] {
        let (line, ack) = rig.connected(&Connect { version, ..connect("") });
        assert_eq!((ack.reason, ack.session_present), (Reason::Success, false));
        assert_eq!(ack.granted.client_id.is_some(), version == Version::V5);
        line.leave(Reason::Success, None, rig.now);
    }
    assert_eq!(rig.broker.views(usize::MAX).len(), before);
    for other in &mut others {
        assert_eq!(other.ended_with(rig.now), None, "nobody lost a session");
    }
    // With no identifier a lasting session is possible in MQTT 5 alone.
    let (_line, ack) = rig.connected(&lasting(""));
    let id = ack.granted.client_id.unwrap();
    assert!(rig.connected(&lasting(&id)).1.session_present, "it may be used from then on");
}

#[test]
fn no_identifier_for_a_lasting_session_is_rejected_before_mqtt_5() {
    let rig = Rig::new();
    let mut line = stranger(&rig, &raw(Version::V311, 0, &text("")));
    assert_eq!((line.octets(rig.now), line.state), (vec![0x20, 2, 0, 2], State::Ending));
    let mut line = rig.door("alice");
    line.say_octets(&raw(Version::V311, 2, &text("")), rig.now);
    assert_eq!((line.octets(rig.now), line.state), (vec![0x20, 2, 0, 0], State::Open));
}

#[test]
fn without_a_keep_alive_silence_is_for_ever() {
    let mut rig = Rig::new();
    for version in ALL {
        let (mut line, ack) = rig.connected(&Connect { version, ..connect("a") });
        assert_eq!((line.client.next_deadline(), ack.granted.keep_alive_s), (None, None));
        rig.pass_s(1_000_000);
        line.client.handle_timeout(rig.now);
        line.octets(rig.now);
        assert_eq!(line.state, State::Open);
        // And with one it is one and a half times as long, in every version.
        let (mut line, _) = rig.connected(&Connect { version, keep_alive_s: 10, ..connect("b") });
        rig.pass_s(15);
        line.client.handle_timeout(rig.now);
        line.octets(rig.now);
        assert_eq!(line.state, State::Ending, "{version:?}");
    }
}

#[test]
fn what_was_not_asked_for_is_not_told() {
    let rig = Rig::new();
    let quiet = Connect { wants_problem_information: false, ..connect("a") };
    let (mut line, ack) = rig.connected(&quiet);
    assert_eq!((ack.granted.response_information, ack.granted.reason_string), (None, None));
    let mut said = Vec::new();
    line.ask_for("a/#", at(Qos::ExactlyOnce), rig.now);
    said.extend(line.octets(rig.now));
    for (topic, qos) in [("$SYS/x", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce)] {
        let id = line.id();
        line.say(&Packet::Publish(message(topic, "x", qos, Some(id))), rig.now);
        line.say(&Packet::PubRel(success(id)), rig.now);
        line.say(&Packet::PubRec(success(id)), rig.now);
    }
    line.say(&Packet::PubRel(success(std::num::NonZeroU16::MAX)), rig.now);
    said.extend(line.octets(rig.now));
    let id = line.id();
    let filters = vec!["none".into()];
    let ask = mqtt::codec::Unsubscribe { packet_id: id, filters };
    line.say(&Packet::Unsubscribe(ask), rig.now);
    said.extend(line.octets(rig.now));
    // A SUBACK and an UNSUBACK with no properties, and acknowledgements with no more than a reason.
    let mut rest = &said[..];
    let mut heads = Vec::new();
    while let [head, length, after @ ..] = rest {
        let (body, next) = after.split_at(usize::from(*length));
        match head {
            0x90 | 0xB0 => assert_eq!((body.len(), body[2]), (4, 0), "no properties"),
            _ => assert!(body.len() <= 3, "{head:x} {body:?}"),
        }
        heads.push(*head);
        rest = next;
    }
    heads.sort_unstable();
    heads.dedup();
    assert_eq!(heads, [0x40, 0x50, 0x62, 0x70, 0x90, 0xB0]);
}

#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let rig = Rig::new();
    for auth in [&b"\xf0\x00"[..], b"\xf0\x02\x18\x00", b"\xf0\x06\x18\x04\x15\x00\x01a"] {
        let mut line = rig.client("a");
        line.say_octets(auth, rig.now);
        assert_eq!(line.ended_with(rig.now), Some(Reason::ProtocolError), "{auth:?}");
        let mut line = rig.door("alice");
        line.say_octets(auth, rig.now);
        assert_eq!((line.octets(rig.now).len(), line.state), (0, State::Ending));
    }
}

/// What no client may send, with the reason that it is told.
const WRONG: [(&[u8], Reason); 24] = [
    (b"\x00\x00", Reason::MalformedPacket),
    (b"\x36\x05\x00\x01t\x00\x01", Reason::MalformedPacket),
    (b"\x38\x04\x00\x01t\x00", Reason::MalformedPacket),
    (b"\x32\x06\x00\x01t\x00\x00\x00", Reason::ProtocolError),
    (b"\x30\x05\x00\x02\xed\xa0\x00", Reason::MalformedPacket),
    (b"\x41\x02\x00\x01", Reason::MalformedPacket),
    (b"\x51\x02\x00\x01", Reason::MalformedPacket),
    (b"\x60\x02\x00\x01", Reason::MalformedPacket),
    (b"\x72\x02\x00\x01", Reason::MalformedPacket),
    (b"\x80\x07\x00\x01\x00\x00\x01a\x00", Reason::MalformedPacket),
    (b"\x82\x07\x00\x01\x00\x00\x01a\x03", Reason::MalformedPacket),
    (b"\x82\x07\x00\x01\x00\x00\x01a\x40", Reason::MalformedPacket),
    (b"\x82\x07\x00\x01\x00\x00\x01a\x30", Reason::ProtocolError),
    (b"\x82\x03\x00\x01\x00", Reason::ProtocolError),
    (b"\x82\x0e\x00\x01\x00\x00\x08$share/a\x00\x00", Reason::TopicFilterInvalid),
    (b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04", Reason::ProtocolError),
    (b"\xa0\x06\x00\x01\x00\x00\x01a", Reason::MalformedPacket),
    (b"\xa2\x03\x00\x01\x00", Reason::ProtocolError),
    (b"\xc1\x00", Reason::MalformedPacket),
    (b"\xd0\x00", Reason::ProtocolError),
    (b"\xe1\x00", Reason::MalformedPacket),
    (b"\xe0\x01\x01", Reason::ProtocolError),
    (b"\xf1\x00", Reason::MalformedPacket),
    (b"\x30\x80\x80\x80\x80\x01", Reason::MalformedPacket),
];

#[test]
fn whoever_breaks_the_protocol_is_told_once_and_ended() {
    let rig = Rig::new();
    for (bytes, reason) in WRONG {
        let mut line = rig.client("bad");
        line.say_octets(&[bytes, &[0xC0, 0]].concat(), rig.now);
        let heard = line.hear(rig.now);
        let [Packet::Disconnect(said)] = &heard[..] else { panic!("{bytes:02x?}: {heard:?}") };
        assert_eq!((said.reason, line.state), (reason, State::Ending), "{bytes:02x?}");
        assert_eq!(said.session_expiry_s, None);
        // Nothing more, and nothing more is read.
        line.say_octets(&[0xC0, 0], rig.now);
        assert!(line.octets(rig.now).is_empty());
        line.client.handle_closed(rig.now);
        assert!(rig.broker.views(usize::MAX).is_empty(), "its session has ended");
    }
}

#[test]
fn before_mqtt_5_whoever_breaks_the_protocol_is_ended_without_a_word() {
    let rig = Rig::new();
    for bytes in [
        &b"\x00\x00"[..],
        b"\x36\x05\x00\x01t\x00\x01",
        b"\x38\x03\x00\x01t",
        b"\x32\x05\x00\x01t\x00\x00",
        b"\x30\x04\x00\x02\xed\xa0",
        b"\x30\x03\x00\x01#",
        b"\x30\x02\x00\x00",
        b"\x60\x02\x00\x01",
        b"\x80\x06\x00\x01\x00\x01a\x00",
        b"\x82\x06\x00\x01\x00\x01a\x03",
        b"\x82\x06\x00\x01\x00\x01a\x04",
        b"\x82\x02\x00\x01",
        b"\x82\x06\x00\x00\x00\x01a\x00",
        b"\xa0\x05\x00\x01\x00\x01a",
        b"\xa2\x02\x00\x01",
        b"\xe1\x00",
        b"\xf0\x00",
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me",
    ] {
        let (mut line, _) = rig.connected(&Connect { version: Version::V311, ..connect("bad") });
        line.say_octets(&[bytes, &[0xC0, 0]].concat(), rig.now);
        assert!(line.octets(rig.now).is_empty(), "{bytes:02x?}");
        assert_eq!(line.state, State::Ending, "{bytes:02x?}");
        line.client.handle_closed(rig.now);
    }
}

#[test]
fn nothing_is_said_after_a_goodbye() {
    let rig = Rig::new();
    for reason in [Reason::Success, Reason::DisconnectWithWill, Reason::Unspecified] {
        let mut line = rig.client("a");
        line.subscribe("t", at(Qos::AtMostOnce), rig.now);
        let (session_expiry_s, reason_string, server_reference) = (None, None, None);
        let bye = Disconnect { reason, session_expiry_s, reason_string, server_reference };
        line.say(&Packet::Disconnect(bye), rig.now);
        line.say(&Packet::PingReq, rig.now);
        rig.client("p").publish(plain("t", "x"), rig.now);
        assert!(line.octets(rig.now).is_empty());
        assert_eq!(line.state, State::Ending, "and the connection ends");
    }
    // Nor by this side.
    let mut line = rig.client("a");
    line.subscribe("t", at(Qos::AtMostOnce), rig.now);
    line.say_octets(&[0xC1, 0], rig.now);
    let said = line.octets(rig.now);
    assert_eq!(said[0], 0xE0);
    rig.client("p").publish(plain("t", "x"), rig.now);
    assert!(line.octets(rig.now).is_empty());
}
