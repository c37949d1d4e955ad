//! What is taken, and what becomes of it.

use super::super::{
    Options, Outgoing, Packet, Publish, Qos, Reason, RetainHandling, encode_publish, publish_bytes,
};
use super::*;

fn published(version: Version, bytes: &[u8]) -> Publish {
    match heard(version, bytes) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_may_begin_with_a_byte_order_mark() {
    for version in ALL {
        let bytes = packet(0x30, &[&text("\u{feff}a/b"), &section(version, &[]), b"x"]);
        let publish = published(version, &bytes);
        assert_eq!(&*publish.topic, "\u{feff}a/b");
        assert_eq!(written(&Packet::Publish(publish), version), bytes);
    }
}

#[test]
fn odd_characters_of_topics_are_kept_as_they_are() {
    for topic in
        ["\u{1}\u{7f}\u{9f}", "\u{fffe}\u{10ffff}\u{fdd0}", "a b", "/", "//", "a/\u{1f4a1}"]
    {
        for version in ALL {
            let bytes = packet(0x31, &[&text(topic), &section(version, &[])]);
            let publish = published(version, &bytes);
            assert_eq!((&*publish.topic, publish.retain), (topic, true));
        }
    }
}

#[test]
fn a_will_stands_in_a_connect_with_all_it_says() {
    let properties = b"\x18\0\0\0\x09\x02\0\0\0\x07\x03\0\x01c\x26\0\x01a\0\x01b";
    for version in ALL {
        let will = [section(version, properties), text("t"), text([0, 255])].concat();
        let none = section(version, &[]);
        let bytes =
            connect(version, 0b1111_0100, &[&none, &text("me"), &will, &text("u"), &text("p")]);
        let packets = read(Decoder::server(), &bytes).unwrap();
        let [Packet::Connect(connect)] = &packets[..] else { panic!() };
        let will = connect.will.as_ref().unwrap();
        assert_eq!((will.qos, will.retain, &*will.topic), (Qos::ExactlyOnce, true, "t"));
        assert_eq!(&will.payload[..], [0, 255]);
        assert_eq!((connect.username.as_deref(), connect.has_password), (Some("u"), true));
        assert_eq!((connect.clean_start, connect.keep_alive_s), (false, 60));
        if version == Version::V5 {
            assert_eq!((will.delay_s, will.expiry_s), (9, Some(7)));
            assert_eq!(&will.properties[..], b"\x03\0\x01c\x26\0\x01a\0\x01b");
        } else {
            assert_eq!(connect.session_expiry_s, u32::MAX);
        }
    }
}

#[test]
fn a_bridge_says_so_in_its_level() {
    for (name, level) in [("MQTT", 0x84), ("MQIsdp", 0x83)] {
        let bytes = packet(0x10, &[&text(name), &[level, 2, 0, 60], &text("me")]);
        let packets = read(Decoder::server(), &bytes).unwrap();
        let [Packet::Connect(connect)] = &packets[..] else { panic!() };
        assert!(connect.bridge);
        assert_eq!(written(&packets[0], connect.version), bytes);
    }
}

#[test]
fn mqtt_3_1_is_taken_as_it_was_written() {
    // The reserved flag was not said to be 0, and the length decided whether a user name follows.
    let bytes = connect(Version::V31, 0b1100_0011, &[&text("me")]);
    let packets = read(Decoder::server(), &bytes).unwrap();
    let [Packet::Connect(connect)] = &packets[..] else { panic!() };
    assert_eq!((&connect.username, connect.has_password), (&None, false));
    // DUP where it is reserved now.
    let again = packet(0x8A, &[&[0, 1], &text("a"), &[1]]);
    assert!(heard(Version::V31, &again).is_ok());
    assert!(heard(Version::V311, &again).is_err());
}

#[test]
fn what_a_connect_asks_for_is_read() {
    let properties = b"\x11\0\0\0\x05\x21\0\x06\x27\0\0\0\x07\x22\0\x08\x19\x01\x17\0\x15\0\x01m";
    let bytes = connect(Version::V5, 0, &[&section(Version::V5, properties), &text("")]);
    let packets = read(Decoder::server(), &bytes).unwrap();
    let [Packet::Connect(connect)] = &packets[..] else { panic!() };
    let numbers = (connect.session_expiry_s, connect.receive_max, connect.alias_max);
    assert_eq!((numbers, connect.packet_bytes_max), ((5, 6, 8), Some(7)));
    assert!(connect.wants_response_information && !connect.wants_problem_information);
    assert_eq!(connect.auth_method.as_deref(), Some("m"));
    let plain = read(Decoder::server(), &greeting(Version::V5)).unwrap();
    let [Packet::Connect(connect)] = &plain[..] else { panic!() };
    let numbers = (connect.session_expiry_s, connect.receive_max, connect.alias_max);
    assert_eq!((numbers, connect.packet_bytes_max), ((0, u16::MAX, 0), None));
    assert!(!connect.wants_response_information && connect.wants_problem_information);
}

#[test]
fn properties_are_passed_on_as_they_came() {
    let kept =
        b"\x01\x01\x26\0\x01k\0\x01v\x08\0\x01r\x26\0\x01k\0\x01v\x09\0\x02\0\xFF\x03\0\x01c";
    let (alias, expiry) = (&[0x23, 0, 9][..], &[2, 0, 0, 0, 7][..]);
    let ways: [Vec<u8>; 4] = [
        kept.to_vec(),
        [alias, kept, expiry].concat(),
        [alias, &kept[..2], expiry, &kept[2..]].concat(),
        [&kept[..2], alias, &kept[2..9], expiry, &kept[9..]].concat(),
    ];
    for (at, properties) in ways.iter().enumerate() {
        let bytes = packet(0x30, &[&text("t"), &section(Version::V5, properties), b"x"]);
        let publish = published(Version::V5, &bytes);
        assert_eq!(&publish.properties[..], kept, "{at}");
        assert_eq!(publish.alias.is_some(), at > 0);
        assert_eq!(publish.expiry_s, (at > 0).then_some(7));
    }
}

#[test]
fn what_a_publish_says_is_not_copied() {
    let properties = b"\x23\0\x09\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v";
    let bytes = packet(0x30, &[&text("topic"), &section(Version::V5, properties), b"payload"]);
    let mut buffer = BytesMut::from(&bytes[..]);
    let here = buffer.as_ptr() as usize;
    let Ok(Some(Packet::Publish(publish))) = greeted(Version::V5).decode(&mut buffer) else {
        panic!()
    };
    assert_eq!(publish.topic.as_bytes().as_ptr() as usize, here + 4);
    assert_eq!(publish.properties.as_ptr() as usize, here + 13);
    assert_eq!(publish.payload.as_ptr() as usize, here + bytes.len() - 7);
}

#[test]
fn an_alias_may_stand_for_a_topic() {
    let bytes = packet(0x30, &[&text(""), &section(Version::V5, &[0x23, 0, 9]), b"x"]);
    let publish = published(Version::V5, &bytes);
    assert_eq!((&*publish.topic, publish.alias.map(u16::from)), ("", Some(9)));
    assert_eq!(written(&Packet::Publish(publish), Version::V5), bytes);
}

#[test]
fn options_of_a_subscription_are_read() {
    let sent = |bits| packet(0x82, &[&[0, 1], &[2, 0x0B, 5], &text("a"), &[bits]]);
    let Ok(Packet::Subscribe(said)) = heard(Version::V5, &sent(0b0010_1110)) else { panic!() };
    let options = Options {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    assert_eq!((said.id, &said.filters[0]), (Some(5), &("a".into(), options)));
    // Those of the standard, and no other octet.
    for bits in 0..=u8::MAX {
        let right = bits & 0xC0 == 0 && bits & 3 != 3 && bits & 0x30 != 0x30;
        assert_eq!(heard(Version::V5, &sent(bits)).is_ok(), right, "{bits:08b}");
    }
}

#[test]
fn words_too_long_for_a_string_are_cut_at_a_character() {
    let words = format!("a{}", "\u{e9}".repeat(40_000));
    let ack = crate::codec::Ack {
        packet_id: std::num::NonZeroU16::MIN,
        reason: Reason::QuotaExceeded,
        reason_string: Some(words.into()),
    };
    let bytes = written(&Packet::PubAck(ack), Version::V5);
    let Ok(Packet::PubAck(ack)) = told(Version::V5, &bytes) else { panic!() };
    assert_eq!(ack.reason_string.map(|words| words.len()), Some(65_535));
}

#[test]
fn return_codes_of_mqtt_3_are_those_of_the_standard() {
    use Reason as R;
    for (reason, code) in [
        (R::Success, 0),
        (R::UnsupportedProtocolVersion, 1),
        (R::ClientIdentifierNotValid, 2),
        (R::ServerUnavailable, 3),
        (R::BadUserNameOrPassword, 4),
        (R::NotAuthorized, 5),
    ] {
        assert_eq!((reason.return_code(), R::of_return_code(code)), (code, Some(reason)));
    }
    assert_eq!((R::QuotaExceeded.return_code(), R::Banned.return_code()), (3, 5));
    assert_eq!(R::of_return_code(6), None);
    for octet in 0..=u8::MAX {
        assert!(R::from_octet(octet).is_none_or(|reason| reason.octet() == octet));
    }
}

#[test]
fn a_failure_to_subscribe_is_one_code_before_mqtt_5() {
    let reasons = vec![Reason::GrantedQos2, Reason::NotAuthorized, Reason::TopicFilterInvalid];
    let packet_id = std::num::NonZeroU16::MIN;
    let ack = Packet::SubAck(crate::codec::SubAck { packet_id, reasons });
    for version in BEFORE {
        assert_eq!(written(&ack, version), [0x90, 5, 0, 1, 2, 0x80, 0x80]);
    }
    assert_eq!(written(&ack, Version::V5), [0x90, 6, 0, 1, 0, 2, 0x87, 0x8F]);
}

#[test]
fn who_is_refused_has_no_session() {
    let (reason, granted) = (Reason::NotAuthorized, crate::codec::Granted::default());
    let ack = crate::codec::ConnAck { session_present: true, reason, granted };
    let ack = Packet::ConnAck(Box::new(ack));
    assert_eq!(written(&ack, Version::V311), [0x20, 2, 0, 5]);
    assert_eq!(written(&ack, Version::V5), [0x20, 3, 0, 0x87, 0]);
}

#[test]
fn the_size_of_a_publish_is_known_before_it_is_written() {
    for payload in [0, 1, 100, 127, 128, 16_000, 16_384, 70_000] {
        for (version, count) in ALL.into_iter().zip([0, 1, 40]) {
            let payload = vec![7; payload];
            let publish = Outgoing {
                dup: false,
                qos: Qos::AtLeastOnce,
                retain: false,
                topic: "a/b",
                packet_id: std::num::NonZeroU16::new(7),
                alias: std::num::NonZeroU16::new(7),
                expiry_s: Some(7),
                subscription_ids: &vec![300; count],
                properties: b"\x01\x00",
                payload: &payload,
            };
            let mut out = Vec::new();
            encode_publish(&publish, version, &mut out);
            assert_eq!(out.len(), publish_bytes(&publish, version));
        }
    }
}
