//! Normative statements of MQTT 3.1.1 where it goes another way than MQTT 5, or the same way that
//! has to be shown for it too: see docs/mqtt-conformance.md.

use std::num::NonZeroU16;

use mqtt::State;
use mqtt::codec::{Connect, Packet, PacketId, Publish, Qos, Subscribe, Version};
use mqtt::limits::CLIENT_ID_BYTES_MAX;

use crate::rig::{Rig, at, connect, kept, message, plain, success};

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn id(number: u16) -> PacketId {
    NonZeroU16::new(number).unwrap()
}

fn clean(id: &str) -> Connect {
    Connect { version: Version::V311, ..connect(id) }
}

/// With CleanSession 0.
fn lasting(id: &str) -> Connect {
    Connect { clean_start: false, session_expiry_s: u32::MAX, ..clean(id) }
}

fn send(rig: &Rig, texts: &[&str], qos: Qos) {
    let (mut publisher, _) = rig.connected(&clean("p"));
    for text in texts {
        let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
        publisher.publish(message("t", text, qos, id), rig.now);
    }
}

fn numbers(messages: &[Publish]) -> Vec<Option<PacketId>> {
    messages.iter().map(|message| message.packet_id).collect()
}

#[test]
fn before_mqtt_5_what_is_repeated_has_its_identifier_its_mark_and_its_order() {
    let rig = Rig::new();
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    send(&rig, &["1", "2", "3"], Qos::AtLeastOnce);
    send(&rig, &["4", "5", "6"], Qos::ExactlyOnce);
    let first = line.messages(rig.now);
    assert_eq!(first.len(), 6);
    assert!(first.iter().all(|message| !message.dup));
    // Nothing is said again while the connection lasts.
    line.say(&Packet::PingReq, rig.now);
    assert_eq!(line.hear(rig.now), [Packet::PingResp]);
    let second = first[4].packet_id.unwrap();
    line.ack(first[1].packet_id.unwrap(), rig.now);
    line.say(&Packet::PubRec(success(second)), rig.now);
    assert_eq!(line.hear(rig.now), [Packet::PubRel(success(second))]);
    let due: Vec<_> = [0, 2, 3, 5].map(|place| first[place].packet_id).to_vec();
    for _ in 0..2 {
        line.broken(rig.now);
        line = rig.connected(&lasting("s")).0;
        let heard = line.hear(rig.now);
        let messages: Vec<Publish> = heard
            .iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish.clone()),
                _ => None,
            })
            .collect();
        assert!(messages.iter().all(|message| message.dup));
        assert_eq!(numbers(&messages), due);
        assert_eq!(heard.iter().filter(|p| **p == Packet::PubRel(success(second))).count(), 1);
        assert_eq!(heard.len(), due.len() + 1, "and no more than that");
    }
    line.say(&Packet::PubComp(success(second)), rig.now);
    assert!(line.hear(rig.now).is_empty());
    line.broken(rig.now);
    let heard = rig.connected(&lasting("s")).0.messages(rig.now);
    assert_eq!(numbers(&heard), due, "what was completed is not released again");
}

#[test]
fn before_mqtt_5_exactly_once_is_once_and_at_least_once_is_anew() {
    let mut rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let (mut publisher, _) = rig.connected(&lasting("p"));
    let said = |qos, dup| Publish { dup, ..message("t", "x", qos, Some(id(7))) };
    for dup in [false, true, true] {
        let heard = publisher.publish(said(Qos::AtLeastOnce, dup), rig.now);
        assert_eq!(heard, [Packet::PubAck(success(id(7)))]);
        assert_eq!(line.texts(rig.now), ["x"], "each is another message");
    }
    for round in 0..2 {
        for dup in [false, true] {
            publisher.say(&Packet::Publish(said(Qos::ExactlyOnce, dup)), rig.now);
        }
        rig.sync();
        let received = Packet::PubRec(success(id(7)));
        assert_eq!(publisher.hear(rig.now), [received.clone(), received.clone()]);
        // And after a break.
        publisher.broken(rig.now);
        publisher = rig.connected(&lasting("p")).0;
        publisher.say(&Packet::Publish(said(Qos::ExactlyOnce, true)), rig.now);
        assert_eq!(publisher.hear(rig.now), [received]);
        assert_eq!(line.texts(rig.now), ["x"], "round {round}: it is passed on once");
        for _ in 0..2 {
            publisher.say(&Packet::PubRel(success(id(7))), rig.now);
            rig.sync();
            assert_eq!(publisher.hear(rig.now), [Packet::PubComp(success(id(7)))]);
        }
    }
}

#[test]
fn before_mqtt_5_what_comes_while_a_client_is_away_is_kept() {
    let mut rig = Rig::new();
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(!ack.session_present);
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    line.leave(mqtt::codec::Reason::Success, None, rig.now);
    for (qos, text) in ALL.into_iter().zip(["0", "1", "2"]) {
        send(&rig, &[text], qos);
    }
    rig.pass_s(86_400);
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(ack.session_present);
    let heard = line.messages(rig.now);
    let said: Vec<_> = heard.iter().map(|m| (&m.payload[..], m.qos, m.dup)).collect();
    let expected = [(&b"1"[..], Qos::AtLeastOnce, false), (b"2", Qos::ExactlyOnce, false)];
    assert_eq!(said, expected);
}

#[test]
fn before_mqtt_5_what_is_retained_is_told_replaced_and_cleared() {
    let rig = Rig::new();
    let (mut publisher, _) = rig.connected(&clean("p"));
    let (mut live, _) = rig.connected(&clean("live"));
    live.subscribe("t/#", at(Qos::ExactlyOnce), rig.now);
    let told = |rig: &Rig, filter: &str| -> Vec<(String, bool, Qos)> {
        let (mut later, _) = rig.connected(&clean("later"));
        later.subscribe(filter, at(Qos::ExactlyOnce), rig.now);
        let heard = later.messages(rig.now);
        let said = |m: &Publish| (String::from_utf8(m.payload.to_vec()).unwrap(), m.retain, m.qos);
        heard.iter().map(said).collect()
    };
    // With its QoS; one of QoS 0 takes the place of what was; one without the flag changes nothing.
    for (number, (qos, text, retain, holds)) in [
        (Qos::ExactlyOnce, "two", true, ("two", Qos::ExactlyOnce)),
        (Qos::AtLeastOnce, "one", true, ("one", Qos::AtLeastOnce)),
        (Qos::AtMostOnce, "zero", true, ("zero", Qos::AtMostOnce)),
        (Qos::ExactlyOnce, "live", false, ("zero", Qos::AtMostOnce)),
        (Qos::AtMostOnce, "", false, ("zero", Qos::AtMostOnce)),
    ]
    .into_iter()
    .enumerate()
    {
        let packet_id = (qos != Qos::AtMostOnce).then(|| id(u16::try_from(number).unwrap() + 1));
        publisher.publish(Publish { retain, ..message("t/a", text, qos, packet_id) }, rig.now);
        let heard = live.messages(rig.now);
        assert_eq!((heard.len(), heard[0].retain, heard[0].qos), (1, false, qos), "{text}");
        assert_eq!(told(&rig, "t/+"), [(holds.0.to_owned(), true, holds.1)]);
    }
    publisher.publish(kept("t/b", "other"), rig.now);
    assert_eq!(told(&rig, "t/#").len(), 2, "one of each topic");
    assert!(told(&rig, "u").is_empty());
    live.messages(rig.now);
    publisher.publish(kept("t/a", ""), rig.now);
    let heard = live.messages(rig.now);
    assert_eq!((heard.len(), heard[0].payload.len(), heard[0].retain), (1, 0, false));
    assert!(told(&rig, "t/a").is_empty());
    assert_eq!(rig.broker.retained_count(), 1);
}

#[test]
fn before_mqtt_5_overlapping_subscriptions_have_the_highest_quality() {
    let rig = Rig::new();
    for sent in ALL {
        for (low, high) in [(0, 1), (1, 0), (0, 2), (2, 1), (0, 0)] {
            let (mut line, _) = rig.connected(&clean("s"));
            line.subscribe("t", at(ALL[low]), rig.now);
            line.subscribe("#", at(ALL[high]), rig.now);
            send(&rig, &["x"], sent);
            let heard = line.messages(rig.now);
            let highest = ALL[low.max(high)];
            assert_eq!((heard.len(), heard[0].qos, heard[0].dup), (1, sent.min(highest), false));
            assert_eq!(heard[0].packet_id.is_some(), heard[0].qos != Qos::AtMostOnce);
        }
    }
}

#[test]
fn before_mqtt_5_a_filter_that_is_asked_for_again_takes_the_place_of_the_first() {
    let rig = Rig::new();
    rig.client("p").publish(kept("t", "kept"), rig.now);
    let (mut line, _) = rig.connected(&clean("s"));
    for qos in [Qos::ExactlyOnce, Qos::AtMostOnce, Qos::AtLeastOnce] {
        // What was said before it is not lost, and what is said after it comes once.
        send(&rig, &["before"], Qos::ExactlyOnce);
        let filters = vec![("t".into(), at(qos))];
        let packet_id = line.id();
        line.say(&Packet::Subscribe(Subscribe { packet_id, id: None, filters }), rig.now);
        send(&rig, &["after"], Qos::ExactlyOnce);
        let heard = line.messages(rig.now);
        let count = |text: &str| heard.iter().filter(|m| m.payload == text.as_bytes()).count();
        let expected = usize::from(qos != Qos::ExactlyOnce);
        assert_eq!((count("before"), count("kept"), count("after")), (expected, 1, 1), "{qos:?}");
        let after = heard.iter().find(|m| &m.payload[..] == b"after").unwrap();
        assert_eq!((after.qos, after.retain), (qos, false));
        assert!(heard.iter().find(|m| &m.payload[..] == b"kept").unwrap().retain);
    }
    assert_eq!(rig.broker.views(usize::MAX).iter().map(|view| view.filter_count).sum::<usize>(), 1);
}

#[test]
fn before_mqtt_5_who_is_not_let_in_is_told_by_the_code_for_it() {
    let rig = Rig::of("alice", mqtt::Bounds { sessions: 1, ..mqtt::Bounds::default() });
    let (mut own, _) = rig.connected(&clean("own"));
    let will = mqtt::codec::Will {
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        expiry_s: None,
        topic: "$SYS/mine".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::new(),
    };
    let too_long = "x".repeat(CLIENT_ID_BYTES_MAX + 1);
    for (hello, code, what) in [
        (clean(&too_long), 2, "an identifier that is too long"),
        (clean("$peer"), 2, "one that is kept for peers"),
        (lasting("$bridge-x"), 2, "one that is kept for bridges"),
        (clean("two"), 3, "no room"),
        (Connect { will: Some(will), ..clean("own") }, 5, "a will that may not be published"),
    ] {
        let mut line = rig.door("alice");
        line.version = Version::V311;
        line.say(&Packet::Connect(Box::new(hello)), rig.now);
        line.say_octets(&[0xC0, 0], rig.now);
        assert_eq!(line.octets(rig.now), [0x20, 2, 0, code], "{what}");
        assert_eq!(line.state, State::Ending, "{what}");
        assert!(line.octets(rig.now).is_empty(), "{what}");
    }
    own.say(&Packet::PingReq, rig.now);
    assert_eq!(own.hear(rig.now), [Packet::PingResp], "nobody else is disturbed");
}

#[test]
fn before_mqtt_5_another_connection_takes_the_session_without_a_word_to_the_first() {
    let rig = Rig::new();
    for hello in [clean("s"), lasting("s")] {
        let (mut first, _) = rig.connected(&hello);
        first.subscribe("t", at(Qos::AtLeastOnce), rig.now);
        let (mut second, ack) = rig.connected(&hello);
        assert_eq!(ack.session_present, !hello.clean_start);
        assert!(first.octets(rig.now).is_empty(), "there is no packet for it");
        assert_eq!(first.state, State::Ending);
        rig.client("p").publish(plain("t", "x"), rig.now);
        assert_eq!(second.messages(rig.now).len(), usize::from(!hello.clean_start));
        first.broken(rig.now);
        second.say(&Packet::PingReq, rig.now);
        assert_eq!(second.hear(rig.now), [Packet::PingResp], "its end is the first's own");
    }
}
