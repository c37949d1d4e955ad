//! Normative statements on how large a packet may be (MQTT 5.0 §3.1.2.11.4, §3.14.2.2.3) and on
//! what is sent with an alias: see docs/mqtt-conformance.md.

use mqtt::State;
use mqtt::codec::{Connect, Options, Packet, Publish, Qos, Reason, Subscribe, Unsubscribe};

use crate::rig::{Line, Rig, at, connect, message, success};

/// The packets in some octets: the first octet of each, and its size.
fn sizes(mut octets: &[u8]) -> Vec<(u8, usize)> {
    let mut all = Vec::new();
    while let [head, rest @ ..] = octets {
        let (mut length, mut header) = (0, 1);
        for (place, octet) in rest.iter().enumerate() {
            length |= usize::from(octet & 0x7f) << (7 * place);
            header += 1;
            if octet & 0x80 == 0 {
                break;
            }
        }
        all.push((*head, header + length));
        octets = &octets[header + length..];
    }
    all
}

/// A client that takes packets of this size, and the CONNACK it got.
fn small(rig: &Rig, hello: &Connect) -> (Line, Vec<u8>) {
    let mut line = rig.door("alice");
    line.say(&Packet::Connect(Box::new(hello.clone())), rig.now);
    let said = line.octets(rig.now);
    (line, said)
}

#[test]
fn a_message_that_just_fits_is_sent_and_one_octet_more_is_not() {
    let rig = Rig::new();
    for (qos, alias_max) in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]
        .into_iter()
        .flat_map(|qos| [(qos, 0), (qos, 4)])
    {
        for max in [40, 127, 128, 129, 130, 131, 132, 133, 200, 16_386, 16_387, 16_388] {
            let packet_bytes_max = Some(max);
            let hello = Connect { packet_bytes_max, alias_max, ..connect("s") };
            let mut line = small(&rig, &hello).0;
            line.ask_for("t", at(qos), rig.now);
            line.octets(rig.now);
            let max = usize::try_from(max).unwrap();
            let mut publisher = rig.client("p");
            for size in max - 8..=max + 3 {
                let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
                let mut sent = message("t", "", qos, id);
                let empty = mqtt::codec::publish_bytes(&sent.outgoing(), publisher.version);
                sent.payload = vec![7; size - empty].into();
                // The length may have grown by an octet.
                let whole = mqtt::codec::publish_bytes(&sent.outgoing(), publisher.version);
                publisher.publish(sent, rig.now);
                publisher.say(
                    &Packet::PubRel(success(id.unwrap_or(std::num::NonZeroU16::MIN))),
                    rig.now,
                );
                publisher.octets(rig.now);
                let heard = sizes(&line.octets(rig.now));
                let fits = heard.iter().all(|(_, bytes)| *bytes <= max);
                assert!(fits, "{max} {qos:?} {alias_max}: {heard:?}");
                assert_eq!(heard.len(), usize::from(whole <= max), "{whole} of {max} at {qos:?}");
            }
            line.client.handle_closed(rig.now);
        }
    }
}

#[test]
fn what_is_too_large_counts_as_delivered() {
    let rig = Rig::new();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let hello = Connect { packet_bytes_max: Some(100), receive_max: 1, ..connect("s") };
        let mut line = rig.connected(&hello).0;
        line.subscribe("t", at(qos), rig.now);
        let mut publisher = rig.client("p");
        for text in ["x".repeat(200), "x".repeat(300), "small".to_owned()] {
            let id = publisher.id();
            let said = publisher.publish(message("t", &text, qos, Some(id)), rig.now);
            assert_eq!(said.len(), 1, "its publisher does not hear of it");
        }
        assert_eq!(line.texts(rig.now), ["small"], "{qos:?}: the window of 1 is free");
        line.client.handle_closed(rig.now);
    }
    let all = rig.broker.views(usize::MAX);
    assert!(all.iter().all(|view| view.queued == 0), "nothing of it is kept");
}

#[test]
fn a_client_that_set_no_bound_gets_all_that_is_taken() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let mut old = rig.connected(&Connect { version: mqtt::codec::Version::V311, ..connect("old") });
    // The largest there is before MQTT 5 is larger with a property section.
    let mut sent = message("t", "", Qos::AtMostOnce, None);
    let room = usize::try_from(mqtt::limits::PACKET_BYTES_MAX).unwrap();
    let around = mqtt::codec::publish_bytes(&sent.outgoing(), mqtt::codec::Version::V311) + 2;
    sent.payload = vec![7; room - around].into();
    let whole = mqtt::codec::publish_bytes(&sent.outgoing(), mqtt::codec::Version::V311);
    assert_eq!(whole, room);
    old.0.say(&Packet::Publish(sent), rig.now);
    assert_eq!(sizes(&line.octets(rig.now)), [(0x30, room + 1)]);
}

#[test]
fn no_answer_is_larger_than_what_its_client_takes() {
    let rig = Rig::new();
    let mut greeted = 0;
    for max in 1..160 {
        for id in ["", "me"] {
            let hello =
                Connect { packet_bytes_max: Some(max), client_id: id.into(), ..connect("") };
            let (mut line, said) = small(&rig, &hello);
            let mut all = sizes(&said);
            if line.state == State::Ending {
                assert!(max < 64, "{max} is enough to say who it is");
                assert!(said.is_empty());
                continue;
            }
            greeted += 1;
            let filters = (0..50).map(|number| format!("{number}").into());
            let packet_id = line.id();
            match max % 3 {
                0 => {
                    let filters = filters.map(|filter| (filter, Options::default())).collect();
                    let ask = Subscribe { packet_id, id: None, filters };
                    line.say(&Packet::Subscribe(ask), rig.now);
                }
                1 => {
                    let ask = Unsubscribe { packet_id, filters: filters.collect() };
                    line.say(&Packet::Unsubscribe(ask), rig.now);
                }
                _ => {
                    let wrong = Publish {
                        retain: true,
                        ..message("$x", "", Qos::AtLeastOnce, Some(packet_id))
                    };
                    line.say(&Packet::Publish(wrong), rig.now);
                }
            }
            all.extend(sizes(&line.octets(rig.now)));
            assert_eq!(line.state == State::Ending, max % 3 != 2 && max < 55, "{max}");
            if line.state == State::Open {
                assert_eq!(all.len(), 2, "it was answered");
                line.say_octets(&[0xC1, 0], rig.now);
                all.extend(sizes(&line.octets(rig.now)));
            }
            assert_eq!(all.last().map(|(head, _)| *head), Some(0xE0), "it was told why");
            let max = usize::try_from(max).unwrap();
            assert!(all.iter().all(|(_, bytes)| *bytes <= max), "{max}: {all:?}");
            line.client.handle_closed(rig.now);
        }
    }
    assert!(greeted > 200);
}

#[test]
fn why_it_ends_is_said_in_words_only_where_they_fit() {
    let rig = Rig::new();
    for (max, words) in [(20, false), (1_000, true)] {
        let (mut line, _) = rig.connected(&Connect { packet_bytes_max: Some(max), ..connect("a") });
        line.say_octets(&[0xC1, 0], rig.now);
        let heard = line.hear(rig.now);
        let [Packet::Disconnect(said)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((said.reason, said.reason_string.is_some()), (Reason::MalformedPacket, words));
    }
}

#[test]
fn an_alias_is_said_only_where_it_fits_and_means_its_topic() {
    const ONE: &str = "one/and/more";
    let rig = Rig::new();
    let hello = Connect { packet_bytes_max: Some(100), alias_max: 8, ..connect("s") };
    let (mut line, _) = rig.connected(&hello);
    line.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let mut publisher = rig.client("p");
    let mut heard = Vec::new();
    for (topic, length) in
        [(ONE, 83), (ONE, 5), ("two", 5), (ONE, 92), (ONE, 93), ("two", 200), ("two", 1)]
    {
        publisher.publish(message(topic, &"x".repeat(length), Qos::AtMostOnce, None), rig.now);
        let got = line.messages(rig.now);
        heard.extend(
            got.iter().map(|m| (m.topic.to_string(), m.alias.map(u16::from), m.payload.len())),
        );
    }
    let expected = [
        (ONE, None, 83),
        (ONE, Some(1), 5),
        ("two", Some(2), 5),
        ("", Some(1), 92),
        ("", Some(2), 1),
    ];
    let expected = expected.map(|(topic, alias, length)| (topic.to_owned(), alias, length));
    assert_eq!(heard, expected);
}
