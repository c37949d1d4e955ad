//! Normative statements on PUBLISH and its acknowledgements, on quotas, repetition and order
//! (MQTT 5.0 §3.3 to §3.7, §4.3 to §4.6, §4.9): see docs/mqtt-conformance.md.

use std::num::NonZeroU16;

use mqtt::State;
use mqtt::codec::{Ack, Connect, Options, Packet, PacketId, Publish, Qos, Reason, Version};
use mqtt::limits::{ALIAS_MAX, RECEIVE_MAX};

use crate::rig::{Line, Rig, at, connect, kept, lasting, message, plain, success};

const SURE: [Qos; 2] = [Qos::AtLeastOnce, Qos::ExactlyOnce];

fn id(number: u16) -> PacketId {
    NonZeroU16::new(number).unwrap()
}

/// A subscriber whose session lasts.
fn subscriber(rig: &Rig, qos: Qos) -> Line {
    let mut line = rig.connected(&lasting("s")).0;
    line.subscribe("t", at(qos), rig.now);
    line
}

/// Publishes with a session of its own.
fn send(rig: &Rig, texts: &[&str], qos: Qos) {
    let mut publisher = rig.client("p");
    for text in texts {
        let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
        publisher.publish(message("t", text, qos, id), rig.now);
    }
}

fn no(packet_id: PacketId) -> Ack {
    Ack { packet_id, reason: Reason::QuotaExceeded, reason_string: None }
}

#[test]
fn the_mark_of_a_repetition_is_not_passed_on() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    let mut publisher = rig.client("p");
    for (number, qos) in SURE.into_iter().enumerate() {
        let sent = message("t", "x", qos, Some(id(number as u16 + 1)));
        publisher.publish(Publish { dup: true, ..sent }, rig.now);
        let heard = line.messages(rig.now);
        assert_eq!((heard.len(), heard[0].qos, heard[0].dup), (1, qos, false));
    }
}

#[test]
fn at_least_once_acknowledged_the_identifier_means_another_message() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let mut publisher = rig.client("p");
    for dup in [false, true, false] {
        let sent = Publish { dup, ..message("t", "x", Qos::AtLeastOnce, Some(id(7))) };
        assert_eq!(publisher.publish(sent, rig.now), [Packet::PubAck(success(id(7)))]);
        assert_eq!(line.texts(rig.now), ["x"], "whatever its mark says");
    }
}

#[test]
fn a_refused_message_frees_its_identifier() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let mut publisher = rig.client("p");
    for qos in SURE {
        let said = publisher.publish(message("$SYS/x", "no", qos, Some(id(7))), rig.now);
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = &said[0] else { panic!("{said:?}") };
        assert_eq!((ack.packet_id, ack.reason), (id(7), Reason::NotAuthorized));
        // Not the rest of a hand-shake: another message.
        let said = publisher.publish(message("t", "yes", qos, Some(id(7))), rig.now);
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = &said[0] else { panic!("{said:?}") };
        assert_eq!(ack.reason, Reason::Success);
        assert_eq!(line.texts(rig.now), ["yes"]);
        publisher.say(&Packet::PubRel(success(id(7))), rig.now);
        publisher.hear(rig.now);
    }
}

#[test]
fn each_answer_has_the_identifier_of_what_it_answers() {
    let rig = Rig::new();
    for version in [Version::V31, Version::V311, Version::V5] {
        let (mut line, _) = rig.connected(&Connect { version, ..connect("a") });
        line.subscribe("t", at(Qos::AtMostOnce), rig.now);
        for number in [1, 2, 255, 256, 65_535] {
            let id = id(number);
            let said = line.publish(message("t", "", Qos::AtLeastOnce, Some(id)), rig.now);
            assert!(said.contains(&Packet::PubAck(success(id))), "{said:?}");
            let said = line.publish(message("t", "", Qos::ExactlyOnce, Some(id)), rig.now);
            assert!(said.contains(&Packet::PubRec(success(id))), "{said:?}");
            line.say(&Packet::PubRel(success(id)), rig.now);
            assert_eq!(line.hear(rig.now), [Packet::PubComp(success(id))]);
            let filters = vec![("u".into(), Options::default())];
            let ask = mqtt::codec::Subscribe { packet_id: id, id: None, filters };
            line.say(&Packet::Subscribe(ask), rig.now);
            let heard = line.hear(rig.now);
            assert!(matches!(&heard[..], [Packet::SubAck(ack)] if ack.packet_id == id));
            let filters = vec!["u".into(), "none".into()];
            let ask = mqtt::codec::Unsubscribe { packet_id: id, filters };
            line.say(&Packet::Unsubscribe(ask), rig.now);
            let heard = line.hear(rig.now);
            assert!(matches!(&heard[..], [Packet::UnsubAck(ack)] if ack.packet_id == id));
        }
    }
}

#[test]
fn what_a_receiver_refuses_is_over_and_not_sent_again() {
    let rig = Rig::new();
    for qos in SURE {
        let mut line = subscriber(&rig, qos);
        send(&rig, &["1"], qos);
        let heard = line.messages(rig.now).remove(0);
        let packet_id = heard.packet_id.unwrap();
        let said = match qos {
            Qos::ExactlyOnce => Packet::PubRec(no(packet_id)),
            _ => Packet::PubAck(no(packet_id)),
        };
        line.say(&said, rig.now);
        assert!(line.hear(rig.now).is_empty(), "no PUBREL");
        line.broken(rig.now);
        let (mut line, ack) = rig.connected(&lasting("s"));
        assert!(ack.session_present && line.hear(rig.now).is_empty(), "{qos:?}");
        line.leave(Reason::Success, Some(0), rig.now);
    }
}

#[test]
fn nothing_is_sent_again_before_the_client_comes_back() {
    let mut rig = Rig::new();
    for qos in SURE {
        let mut line = subscriber(&rig, qos);
        send(&rig, &["1", "2"], qos);
        let first = line.messages(rig.now);
        for _ in 0..10 {
            rig.pass_s(3_600);
            line.client.handle_timeout(rig.now);
            line.say(&Packet::PingReq, rig.now);
            assert_eq!(line.hear(rig.now), [Packet::PingResp]);
        }
        // But each time it comes, as long as it has not answered.
        for _ in 0..3 {
            line.broken(rig.now);
            line = rig.connected(&lasting("s")).0;
            let again = line.messages(rig.now);
            let marked = first.iter().map(|m| Publish { dup: true, ..m.clone() });
            assert_eq!(again, marked.collect::<Vec<_>>());
        }
        line.leave(Reason::Success, Some(0), rig.now);
    }
}

#[test]
fn a_release_is_said_again_until_it_is_completed_and_its_message_never() {
    let rig = Rig::new();
    let mut line = subscriber(&rig, Qos::ExactlyOnce);
    send(&rig, &["1"], Qos::ExactlyOnce);
    let packet_id = line.messages(rig.now)[0].packet_id.unwrap();
    let release = [Packet::PubRel(success(packet_id))];
    for _ in 0..2 {
        line.say(&Packet::PubRec(success(packet_id)), rig.now);
        assert_eq!(line.hear(rig.now), release, "to each PUBREC");
    }
    for _ in 0..3 {
        line.broken(rig.now);
        line = rig.connected(&lasting("s")).0;
        assert_eq!(line.hear(rig.now), release);
    }
    line.say(&Packet::PubComp(success(packet_id)), rig.now);
    line.broken(rig.now);
    assert!(rig.connected(&lasting("s")).0.hear(rig.now).is_empty());
}

#[test]
fn what_has_been_sent_does_not_expire_any_more() {
    let mut rig = Rig::new();
    let mut line = subscriber(&rig, Qos::ExactlyOnce);
    let mut publisher = rig.client("p");
    let sent = message("t", "x", Qos::ExactlyOnce, Some(id(1)));
    publisher.publish(Publish { expiry_s: Some(10), ..sent }, rig.now);
    let first = line.messages(rig.now).remove(0);
    rig.pass_s(60);
    line.broken(rig.now);
    let mut line = rig.connected(&lasting("s")).0;
    let again = line.messages(rig.now).remove(0);
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
}

#[test]
fn what_is_worth_nothing_at_once_reaches_nobody() {
    let mut rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    let mut publisher = rig.client("p");
    for (number, qos) in
        [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate()
    {
        let packet_id = (qos != Qos::AtMostOnce).then(|| id(number as u16));
        for (expiry_s, expected) in [(Some(0), 0), (Some(1), 1), (None, 1)] {
            let sent = Publish { expiry_s, retain: true, ..message("t", "x", qos, packet_id) };
            publisher.say(&Packet::Publish(sent), rig.now);
            rig.sync();
            let answers = publisher.hear(rig.now);
            assert_eq!(answers.len(), usize::from(packet_id.is_some()), "it is acknowledged");
            let heard = line.messages(rig.now);
            assert_eq!(heard.len(), expected, "{qos:?} {expiry_s:?}");
            assert!(heard.iter().all(|message| message.expiry_s == expiry_s));
            if let Some(packet_id) = packet_id {
                publisher.say(&Packet::PubRel(success(packet_id)), rig.now);
                publisher.hear(rig.now);
            }
            let mut later = rig.client("later");
            later.subscribe("t", at(Qos::AtMostOnce), rig.now);
            assert_eq!(later.messages(rig.now).len(), expected, "nor does it stay");
        }
    }
}

#[test]
fn a_window_that_is_used_up_holds_nothing_else() {
    let rig = Rig::new();
    for qos in SURE {
        let (mut line, _) = rig.connected(&Connect { receive_max: 1, ..lasting("s") });
        line.subscribe("t", at(qos), rig.now);
        line.subscribe("low", at(Qos::AtMostOnce), rig.now);
        send(&rig, &["1", "2"], qos);
        let first = line.messages(rig.now);
        assert_eq!(first.len(), 1);
        // Messages of QoS 0, and answers of every kind.
        rig.client("p").publish(plain("low", "x"), rig.now);
        assert_eq!(line.texts(rig.now), ["x"]);
        line.say(&Packet::PingReq, rig.now);
        line.say(&Packet::PubRel(success(id(9))), rig.now);
        assert_eq!(line.hear(rig.now).len(), 2);
        assert_eq!(line.subscribe("other", at(qos), rig.now), {
            if qos == Qos::ExactlyOnce { Reason::GrantedQos2 } else { Reason::GrantedQos1 }
        });
        assert_eq!(line.unsubscribe("other", rig.now).len(), 1);
        let said = line.publish(message("nobody", "", Qos::AtLeastOnce, Some(id(3))), rig.now);
        assert_eq!(said.len(), 1);
        let packet_id = first[0].packet_id.unwrap();
        if qos == Qos::ExactlyOnce {
            line.say(&Packet::PubRec(success(packet_id)), rig.now);
            let released = line.hear(rig.now);
            assert_eq!(released, [Packet::PubRel(success(packet_id))], "it is not over yet");
            line.say(&Packet::PubComp(success(packet_id)), rig.now);
        } else {
            line.ack(packet_id, rig.now);
        }
        assert_eq!(line.texts(rig.now), ["2"]);
        line.leave(Reason::Success, Some(0), rig.now);
    }
}

#[test]
fn a_smaller_window_after_a_break_is_kept() {
    let rig = Rig::new();
    let mut line = subscriber(&rig, Qos::AtLeastOnce);
    send(&rig, &["1", "2", "3"], Qos::AtLeastOnce);
    assert_eq!(line.messages(rig.now).len(), 3);
    line.broken(rig.now);
    let (mut line, _) = rig.connected(&Connect { receive_max: 1, ..lasting("s") });
    for text in ["1", "2", "3"] {
        let heard = line.messages(rig.now);
        assert_eq!((heard.len(), &heard[0].payload[..]), (1, text.as_bytes()));
        line.ack(heard[0].packet_id.unwrap(), rig.now);
    }
}

#[test]
fn a_client_may_have_as_much_under_way_as_it_was_granted() {
    let mut rig = Rig::new();
    // Somebody for whom all goes to the disk, which is slow.
    subscriber(&rig, Qos::ExactlyOnce).broken(rig.now);
    rig.sync();
    let hello = Connect { client_id: "p".into(), ..lasting("p") };
    let (mut line, ack) = rig.connected(&hello);
    assert_eq!(ack.granted.receive_max, Some(RECEIVE_MAX));
    let all: Vec<PacketId> = (1..=RECEIVE_MAX).map(id).collect();
    let sent =
        |packet_id, dup| Publish { dup, ..message("t", "x", Qos::ExactlyOnce, Some(packet_id)) };
    for packet_id in &all {
        line.say(&Packet::Publish(sent(*packet_id, false)), rig.now);
    }
    assert!(line.hear(rig.now).is_empty(), "the disk has none of it");
    rig.sync();
    assert_eq!(line.hear(rig.now).len(), all.len());
    // All of them again after a break, as the standard asks.
    line.broken(rig.now);
    rig.sync();
    let (mut line, ack) = rig.connected(&hello);
    assert!(ack.session_present);
    for packet_id in &all {
        line.say(&Packet::Publish(sent(*packet_id, true)), rig.now);
    }
    let again = all.iter().map(|id| Packet::PubRec(success(*id))).collect::<Vec<_>>();
    assert_eq!(line.hear(rig.now), again);
    line.say(&Packet::Publish(sent(id(RECEIVE_MAX + 1), false)), rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ReceiveMaximumExceeded), "one more");
}

#[test]
fn before_mqtt_5_there_is_no_such_bound() {
    let mut rig = Rig::new();
    subscriber(&rig, Qos::AtLeastOnce).broken(rig.now);
    rig.sync();
    for qos in SURE {
        let (mut line, _) = rig.connected(&Connect { version: Version::V311, ..connect("p") });
        let count = RECEIVE_MAX + 100;
        for number in 1..=count {
            line.say(&Packet::Publish(message("t", "", qos, Some(id(number)))), rig.now);
        }
        rig.sync();
        assert_eq!(line.hear(rig.now).len(), usize::from(count), "{qos:?}");
        assert_eq!(line.state, State::Open);
    }
}

#[test]
fn each_alias_that_is_granted_is_taken() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let (mut publisher, ack) = rig.connected(&connect("p"));
    assert_eq!(ack.granted.alias_max, Some(ALIAS_MAX));
    for round in 0..2 {
        for number in 1..=ALIAS_MAX {
            let topic = if round == 0 { format!("t/{number}") } else { String::new() };
            let alias = NonZeroU16::new(number);
            publisher.publish(Publish { alias, ..plain(&topic, "x") }, rig.now);
            let heard = line.messages(rig.now).remove(0);
            assert_eq!((&*heard.topic, heard.alias), (&*format!("t/{number}"), None));
        }
    }
}

#[test]
fn what_is_retained_keeps_its_quality_and_outlives_its_session() {
    let rig = Rig::new();
    for (number, qos) in
        [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate()
    {
        let mut publisher = rig.client("p");
        let packet_id = (qos != Qos::AtMostOnce).then(|| id(number as u16));
        let sent = Publish { retain: true, ..message("t", "x", qos, packet_id) };
        publisher.say(&Packet::Publish(sent), rig.now);
        publisher.leave(Reason::Success, None, rig.now);
        for granted in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut line = rig.client("s");
            line.subscribe("t", at(granted), rig.now);
            let heard = line.messages(rig.now);
            assert_eq!((heard.len(), heard[0].qos), (1, qos.min(granted)));
            assert!(heard[0].retain && !heard[0].dup);
        }
    }
    rig.client("p").publish(plain("t", ""), rig.now);
    assert_eq!(rig.broker.retained_count(), 1, "only a retained one clears it");
    rig.client("p").publish(kept("t", ""), rig.now);
    assert_eq!(rig.broker.retained_count(), 0);
}

#[test]
fn messages_of_one_client_come_in_their_order() {
    let rig = Rig::new();
    let mut lines = [rig.client("a"), rig.client("b")];
    for line in &mut lines {
        line.subscribe("t/+", at(Qos::ExactlyOnce), rig.now);
    }
    let mut publisher = rig.client("p");
    for number in 0..300_u16 {
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(number % 3)];
        let packet_id = (qos != Qos::AtMostOnce).then(|| publisher.id());
        publisher
            .say(&Packet::Publish(message("t/x", &number.to_string(), qos, packet_id)), rig.now);
    }
    for line in &mut lines {
        let heard = line.messages(rig.now);
        assert_eq!(heard.len(), 300);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let numbers = heard.iter().filter(|message| message.qos == qos);
            let numbers =
                numbers.map(|m| std::str::from_utf8(&m.payload).unwrap().parse().unwrap());
            let numbers: Vec<u32> = numbers.collect();
            assert!(numbers.is_sorted() && numbers.len() == 100, "{qos:?} {numbers:?}");
        }
    }
}

#[test]
fn a_packet_says_no_more_than_its_kind_has() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    let mut publisher = rig.client("p");
    publisher.publish(plain("t", "x"), rig.now);
    // No identifier at QoS 0, and a property section although there is none.
    assert_eq!(line.octets(rig.now), b"\x30\x05\x00\x01t\x00x");
    publisher.publish(message("t", "x", Qos::AtLeastOnce, Some(id(77))), rig.now);
    assert_eq!(line.octets(rig.now), b"\x32\x07\x00\x01t\x00\x01\x00x");
    let (mut old, _) = rig.connected(&Connect { version: Version::V311, ..connect("old") });
    old.subscribe("t", at(Qos::AtMostOnce), rig.now);
    publisher.publish(plain("t", "x"), rig.now);
    assert_eq!(old.octets(rig.now), b"\x30\x04\x00\x01tx");
}

#[test]
fn before_mqtt_5_what_the_disk_refuses_ends_the_connection() {
    let mut rig = Rig::new();
    subscriber(&rig, Qos::ExactlyOnce).broken(rig.now);
    for qos in SURE {
        rig.sync();
        let (mut line, _) = rig.connected(&Connect { version: Version::V311, ..connect("p") });
        line.say(&Packet::Publish(message("t", "x", qos, Some(id(1)))), rig.now);
        while let Some(group) = rig.broker.journal.take() {
            group.holds.into_iter().for_each(mqtt::Hold::fail);
        }
        assert!(line.octets(rig.now).is_empty(), "no word that it is safe");
        assert_eq!(line.state, State::Ending, "{qos:?}");
    }
}
