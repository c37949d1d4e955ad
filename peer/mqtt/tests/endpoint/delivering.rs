//! From publisher to subscriber: qualities of service, properties, aliases, bounds.

use std::num::NonZeroU16;

use bytes::Bytes;
use mqtt::codec::{Connect, Options, Packet, Publish, Qos, Reason, Subscribe, Version};
use mqtt::limits::{ALIAS_MAX, OUT_BYTES_MAX};

use crate::rig::{Rig, at, connect, message, plain, success};

#[test]
fn the_lower_quality_of_service_holds() {
    let rig = Rig::new();
    for granted in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for sent in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
            subscriber.subscribe("t", at(granted), rig.now);
            let id = (sent != Qos::AtMostOnce).then(|| publisher.id());
            publisher.publish(message("t", "x", sent, id), rig.now);
            let heard = subscriber.messages(rig.now);
            assert_eq!((heard.len(), heard[0].qos), (1, granted.min(sent)));
            assert!(!heard[0].dup && !heard[0].retain);
        }
    }
}

#[test]
fn exactly_once_is_once_however_often_it_is_said() {
    let rig = Rig::new();
    let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
    subscriber.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let id = publisher.id();
    let first = message("t", "x", Qos::ExactlyOnce, Some(id));
    let said = publisher.publish(first.clone(), rig.now);
    assert_eq!(said, [Packet::PubRec(success(id))]);
    let said = publisher.publish(Publish { dup: true, ..first.clone() }, rig.now);
    assert_eq!(said, [Packet::PubRec(success(id))]);
    for _ in 0..2 {
        publisher.say(&Packet::PubRel(success(id)), rig.now);
    }
    let said = publisher.hear(rig.now);
    let reasons: Vec<Reason> = said
        .iter()
        .map(|packet| match packet {
            Packet::PubComp(ack) => ack.reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, [Reason::Success, Reason::PacketIdentifierNotFound]);
    assert_eq!(subscriber.texts(rig.now), ["x"]);
    publisher.publish(first, rig.now);
    assert_eq!(subscriber.texts(rig.now), ["x"], "released, it is another message");
}

#[test]
fn a_receiver_of_exactly_once_goes_through_all_four_steps() {
    let rig = Rig::new();
    let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
    subscriber.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    let id = publisher.id();
    publisher.publish(message("t", "x", Qos::ExactlyOnce, Some(id)), rig.now);
    let got = subscriber.messages(rig.now).remove(0).packet_id.unwrap();
    subscriber.say(&Packet::PubRec(success(got)), rig.now);
    assert_eq!(subscriber.hear(rig.now), [Packet::PubRel(success(got))]);
    subscriber.say(&Packet::PubComp(success(got)), rig.now);
    assert!(subscriber.hear(rig.now).is_empty());
    assert_eq!(rig.broker.views(usize::MAX).iter().map(|view| view.queued).sum::<usize>(), 0);
}

#[test]
fn acknowledgements_come_in_the_order_of_the_messages() {
    let rig = Rig::new();
    let mut line = rig.client("p");
    let mut expected = Vec::new();
    for number in 0..20 {
        let (id, qos) = (line.id(), [Qos::AtLeastOnce, Qos::ExactlyOnce][number % 2]);
        line.say(&Packet::Publish(message("t", "x", qos, Some(id))), rig.now);
        expected.push(id);
    }
    let said = line.hear(rig.now);
    let ids: Vec<_> = said
        .iter()
        .map(|packet| match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) => ack.packet_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn nobody_listening_is_told_to_who_asks_for_acknowledgement() {
    let rig = Rig::new();
    let mut line = rig.client("p");
    let id = line.id();
    let said = line.publish(message("t", "x", Qos::AtLeastOnce, Some(id)), rig.now);
    let Packet::PubAck(ack) = &said[0] else { panic!("{said:?}") };
    assert_eq!(ack.reason, Reason::NoMatchingSubscribers);
}

#[test]
fn properties_are_passed_on_unaltered_and_in_order() {
    let rig = Rig::new();
    let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
    subscriber.subscribe("t", at(Qos::AtMostOnce), rig.now);
    // Payload format, content type, response topic, correlation data, two user properties.
    let properties = Bytes::from_static(
        b"\x01\x01\x03\x00\x01c\x08\x00\x03r/t\x09\x00\x02\x00\xff\
          \x26\x00\x01a\x00\x011\x26\x00\x01a\x00\x012",
    );
    let sent = Publish { properties: properties.clone(), ..plain("t", "x") };
    publisher.publish(sent, rig.now);
    let heard = subscriber.messages(rig.now).remove(0);
    assert_eq!(heard.properties, properties);
    let (mut old, _) = rig.connected(&Connect { version: Version::V311, ..connect("old") });
    old.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let sent = Publish { properties, ..plain("t", "x") };
    publisher.publish(sent, rig.now);
    assert_eq!(old.texts(rig.now), ["x"], "before MQTT 5 there are none");
}

#[test]
fn what_expires_is_counted_down_and_dropped() {
    let mut rig = Rig::new();
    let (mut publisher, mut subscriber) =
        (rig.client("p"), rig.connected(&crate::rig::lasting("s")).0);
    subscriber.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    subscriber.broken(rig.now);
    for (text, expiry_s) in [("short", 10), ("long", 100)] {
        let id = publisher.id();
        let sent = message("t", text, Qos::AtLeastOnce, Some(id));
        publisher.publish(Publish { expiry_s: Some(expiry_s), ..sent }, rig.now);
    }
    rig.pass_s(30);
    let (mut subscriber, _) = rig.connected(&crate::rig::lasting("s"));
    let heard = subscriber.messages(rig.now);
    assert_eq!(heard.len(), 1);
    assert_eq!((&heard[0].payload[..], heard[0].expiry_s), (&b"long"[..], Some(70)));
}

#[test]
fn aliases_from_a_client_stand_for_topics_until_it_comes_anew() {
    let rig = Rig::new();
    let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
    subscriber.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let alias = |number| NonZeroU16::new(number);
    publisher.publish(Publish { alias: alias(1), ..plain("a/b", "1") }, rig.now);
    publisher.publish(Publish { alias: alias(1), ..plain("", "2") }, rig.now);
    publisher.publish(Publish { alias: alias(1), ..plain("c", "3") }, rig.now);
    publisher.publish(Publish { alias: alias(1), ..plain("", "4") }, rig.now);
    let topics: Vec<String> =
        subscriber.messages(rig.now).iter().map(|m| m.topic.to_string()).collect();
    assert_eq!(topics, ["a/b", "a/b", "c", "c"]);
    let mut anew = rig.client("p");
    anew.say(&Packet::Publish(Publish { alias: alias(1), ..plain("", "5") }), rig.now);
    assert_eq!(anew.ended_with(rig.now), Some(Reason::ProtocolError));
    let mut beyond = rig.client("q");
    let sent = Publish { alias: alias(ALIAS_MAX + 1), ..plain("a", "6") };
    beyond.say(&Packet::Publish(sent), rig.now);
    assert_eq!(beyond.ended_with(rig.now), Some(Reason::TopicAliasInvalid));
}

#[test]
fn aliases_to_a_client_are_used_as_far_as_it_allows() {
    let rig = Rig::new();
    let mut publisher = rig.client("p");
    let (mut subscriber, _) = rig.connected(&Connect { alias_max: 1, ..connect("s") });
    subscriber.subscribe("#", at(Qos::AtLeastOnce), rig.now);
    for topic in ["long/topic", "long/topic", "other"] {
        publisher.publish(plain(topic, "x"), rig.now);
    }
    let heard = subscriber.messages(rig.now);
    let said: Vec<_> = heard.iter().map(|m| (&*m.topic, m.alias.map(NonZeroU16::get))).collect();
    assert_eq!(said, [("long/topic", Some(1)), ("", Some(1)), ("other", None)]);
    let mut plainly = rig.client("t");
    plainly.subscribe("#", at(Qos::AtMostOnce), rig.now);
    publisher.publish(plain("a", "x"), rig.now);
    assert_eq!(plainly.messages(rig.now)[0].alias, None);
}

#[test]
fn a_clients_window_is_honoured() {
    let rig = Rig::new();
    let mut publisher = rig.client("p");
    let (mut subscriber, _) = rig.connected(&Connect { receive_max: 2, ..connect("s") });
    subscriber.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    for number in 0..5 {
        let id = publisher.id();
        publisher.publish(message("t", &number.to_string(), Qos::AtLeastOnce, Some(id)), rig.now);
    }
    let mut all = Vec::new();
    for expected in [2, 2, 1] {
        let heard = subscriber.messages(rig.now);
        assert_eq!(heard.len(), expected);
        for message in heard {
            all.push(String::from_utf8(message.payload.to_vec()).unwrap());
            subscriber.ack(message.packet_id.unwrap(), rig.now);
        }
    }
    assert_eq!(all, ["0", "1", "2", "3", "4"]);
}

#[test]
fn larger_packets_than_a_client_takes_are_not_sent_and_block_nothing() {
    let rig = Rig::new();
    let mut publisher = rig.client("p");
    let (mut subscriber, _) =
        rig.connected(&Connect { packet_bytes_max: Some(100), ..connect("s") });
    subscriber.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    for text in ["small", &"x".repeat(200), "last"] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
            publisher.publish(message("t", text, qos, id), rig.now);
        }
    }
    let mut texts = subscriber.texts(rig.now);
    texts.sort();
    assert_eq!(texts, ["last", "last", "small", "small"]);
}

#[test]
fn overlapping_subscriptions_are_one_delivery_with_all_identifiers() {
    let rig = Rig::new();
    let (mut publisher, mut subscriber) = (rig.client("p"), rig.client("s"));
    for (number, filter, qos) in [(3, "a/#", Qos::AtMostOnce), (9, "a/+", Qos::AtLeastOnce)] {
        let packet_id = subscriber.id();
        let filters = vec![(filter.into(), at(qos))];
        let subscribe = Subscribe { packet_id, id: Some(number), filters };
        subscriber.say(&Packet::Subscribe(subscribe), rig.now);
    }
    subscriber.hear(rig.now);
    let id = publisher.id();
    publisher.publish(message("a/b", "x", Qos::ExactlyOnce, Some(id)), rig.now);
    let heard = subscriber.messages(rig.now);
    assert_eq!((heard.len(), heard[0].qos), (1, Qos::AtLeastOnce));
    let mut ids = heard[0].subscription_ids.clone();
    ids.sort_unstable();
    assert_eq!(ids, [3, 9]);
}

#[test]
fn who_asked_not_to_hear_himself_does_not() {
    let rig = Rig::new();
    let (mut one, mut other) = (rig.client("one"), rig.client("other"));
    let deaf = Options { no_local: true, ..at(Qos::AtMostOnce) };
    one.subscribe("t", deaf, rig.now);
    other.subscribe("t", deaf, rig.now);
    let said = one.publish(plain("t", "x"), rig.now);
    assert!(said.is_empty());
    assert_eq!(other.texts(rig.now), ["x"]);
    one.subscribe("t", at(Qos::AtMostOnce), rig.now);
    assert_eq!(one.publish(plain("t", "y"), rig.now).len(), 1, "it took that back");
}

#[test]
fn unsubscribing_ends_it_and_says_whether_there_was_anything() {
    let rig = Rig::new();
    let mut line = rig.client("a");
    line.subscribe("t/#", at(Qos::AtMostOnce), rig.now);
    for expected in [Reason::Success, Reason::NoSubscriptionExisted] {
        let said = line.unsubscribe("t/#", rig.now);
        let Packet::UnsubAck(ack) = &said[0] else { panic!("{said:?}") };
        assert_eq!(ack.reasons, [expected]);
    }
    assert!(line.publish(plain("t/x", "x"), rig.now).is_empty());
}

#[test]
fn a_topic_that_begins_with_a_byte_order_mark_is_a_topic() {
    let rig = Rig::new();
    let mut line = rig.client("a");
    line.subscribe("\u{feff}é/#", at(Qos::AtMostOnce), rig.now);
    let said = line.publish(plain("\u{feff}é/x", "x"), rig.now);
    assert_eq!(said.len(), 1);
}

#[test]
fn a_subscriber_that_does_not_read_is_bounded_and_left_behind() {
    let mut rig = Rig::new();
    let (mut publisher, mut stuck, mut other) =
        (rig.client("p"), rig.client("stuck"), rig.client("o"));
    stuck.subscribe("t", at(Qos::AtMostOnce), rig.now);
    other.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let text = "x".repeat(60_000);
    let mut got = 0;
    for _ in 0..200 {
        publisher.publish(plain("t", &text), rig.now);
        got += other.texts(rig.now).len();
        if publisher.client.is_held(std::task::Waker::noop()) {
            let due = publisher.client.next_deadline().unwrap();
            assert!(due > rig.now.tick, "it is held for a moment only");
            rig.pass_s(1);
            publisher.client.handle_timeout(rig.now);
            assert!(!publisher.client.is_held(std::task::Waker::noop()));
        }
    }
    assert_eq!(got, 200, "nobody else is disturbed");
    let kept: usize = stuck.texts(rig.now).iter().map(String::len).sum();
    assert!(kept <= OUT_BYTES_MAX + text.len(), "{kept}");
    assert!(
        rig.broker
            .views(usize::MAX)
            .iter()
            .any(|view| view.client == "stuck" && view.dropped > 100)
    );
    publisher.publish(plain("t", "again"), rig.now);
    assert_eq!(stuck.texts(rig.now), ["again"], "it has caught up");
}
