//! Retained messages on one peer.

use bytes::Bytes;
use mqtt::codec::{Connect, Options, Packet, Publish, Qos, RetainHandling, Unsubscribe};
use mqtt::{Bounds, RetainedBounds};

use crate::rig::{Line, Rig, at, connect, kept, lasting, message, plain};

#[test]
fn what_is_retained_is_told_to_who_subscribes_later_and_marked() {
    let rig = Rig::new();
    let (mut publisher, mut later) = (rig.client("p"), rig.client("l"));
    publisher.publish(kept("a/b", "1"), rig.now);
    publisher.publish(kept("a/b", "2"), rig.now);
    publisher.publish(kept("a/c", "3"), rig.now);
    publisher.publish(plain("a/b", "4"), rig.now);
    later.subscribe("other", at(Qos::AtMostOnce), rig.now);
    let filters = vec![("a/+".into(), at(Qos::AtMostOnce))];
    let packet_id = later.id();
    let subscribe = mqtt::codec::Subscribe { packet_id, id: Some(7), filters };
    later.say(&Packet::Subscribe(subscribe), rig.now);
    let heard = later.messages(rig.now);
    let said = heard.iter().map(|m| (&*m.topic, &m.payload[..], m.retain, &m.subscription_ids[..]));
    let said: Vec<_> = said.collect();
    assert_eq!(said, [("a/b", &b"2"[..], true, &[7][..]), ("a/c", b"3", true, &[7])]);
}

#[test]
fn an_empty_one_clears_and_is_not_retained() {
    let rig = Rig::new();
    let (mut publisher, mut live) = (rig.client("p"), rig.client("l"));
    live.subscribe("t", at(Qos::AtMostOnce), rig.now);
    publisher.publish(kept("t", "1"), rig.now);
    publisher.publish(kept("t", ""), rig.now);
    let heard = live.messages(rig.now);
    assert_eq!(heard.len(), 2, "a live subscriber hears both");
    assert!(heard.iter().all(|message| !message.retain));
    let mut later = rig.client("later");
    later.subscribe("t", at(Qos::AtMostOnce), rig.now);
    assert!(later.messages(rig.now).is_empty());
    assert_eq!(rig.broker.retained_count(), 0);
}

#[test]
fn all_three_ways_of_retain_handling() {
    let rig = Rig::new();
    rig.client("p").publish(kept("t", "x"), rig.now);
    for (retain_handling, first, second) in [
        (RetainHandling::Always, 1, 1),
        (RetainHandling::IfNew, 1, 0),
        (RetainHandling::Never, 0, 0),
    ] {
        let mut line = rig.client("s");
        let options = Options { retain_handling, ..at(Qos::AtMostOnce) };
        for expected in [first, second] {
            line.ask_for("t", options, rig.now);
            assert_eq!(line.messages(rig.now).len(), expected, "{retain_handling:?}");
        }
    }
}

#[test]
fn retain_as_published_keeps_the_mark_on_what_is_live() {
    let rig = Rig::new();
    let (mut publisher, mut line) = (rig.client("p"), rig.client("s"));
    for (retain_as_published, expected) in [(true, true), (false, false)] {
        let options = Options { retain_as_published, ..at(Qos::AtMostOnce) };
        line.subscribe("t", options, rig.now);
        line.messages(rig.now);
        publisher.publish(kept("t", "x"), rig.now);
        assert_eq!(line.messages(rig.now)[0].retain, expected);
        publisher.publish(plain("t", "x"), rig.now);
        assert!(!line.messages(rig.now)[0].retain);
    }
}

#[test]
fn what_is_retained_expires_and_comes_back_after_a_restart() {
    let rig = Rig::new();
    let mut publisher = rig.client("p");
    publisher.publish(Publish { expiry_s: Some(10), ..kept("short", "x") }, rig.now);
    publisher.publish(kept("long", "x"), rig.now);
    let mut rig = rig.restarted();
    let mut line = rig.client("s");
    line.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let first = line.messages(rig.now);
    assert_eq!((first.len(), first[1].expiry_s), (2, Some(10)));
    rig.pass_s(10);
    let mut line = rig.client("s");
    line.subscribe("#", at(Qos::AtMostOnce), rig.now);
    assert_eq!(line.messages(rig.now).len(), 1);
    rig.broker.sweep_retained(rig.now.wall);
    assert_eq!(rig.broker.retained_count(), 1);
    rig.sync();
    assert_eq!(rig.disk.rows().len(), 1, "the row of what expired is gone");
}

#[test]
fn there_is_a_bound_on_what_is_retained() {
    let retained = RetainedBounds { count: 2, bytes: 10_000 };
    let rig = Rig::of("alice", Bounds { retained, ..Bounds::default() });
    let mut line = rig.client("p");
    let mut reasons = Vec::new();
    for topic in ["a", "b", "c"] {
        let id = line.id();
        let sent = Publish { retain: true, ..message(topic, "x", Qos::AtLeastOnce, Some(id)) };
        line.say(&Packet::Publish(sent), rig.now);
        drop(rig.broker.journal.take());
        for packet in line.hear(rig.now) {
            let Packet::PubAck(ack) = packet else { panic!("{packet:?}") };
            reasons.push(ack.reason.is_error());
        }
    }
    assert_eq!(reasons, [false, false, true]);
}

#[test]
fn what_a_peer_says_of_itself_is_found_by_its_name_alone() {
    let rig = Rig::new();
    rig.broker.tell("$SYS/broker/uptime", "1 seconds", rig.now.wall);
    let (mut all, mut own) = (rig.client("all"), rig.client("own"));
    all.subscribe("#", at(Qos::AtMostOnce), rig.now);
    own.subscribe("$SYS/#", at(Qos::AtMostOnce), rig.now);
    assert!(all.messages(rig.now).is_empty());
    assert_eq!(own.texts(rig.now), ["1 seconds"]);
    rig.broker.tell("$SYS/broker/uptime", "2 seconds", rig.now.wall);
    assert_eq!(own.texts(rig.now), ["2 seconds"]);
}

/// Retains so many messages of 60,000 octets each.
fn retain_much(rig: &Rig, count: usize) {
    let mut publisher = rig.client("p");
    for number in 0..count {
        let mut sent = kept(&format!("much/{number:03}"), &"x".repeat(60_000));
        sent.properties = Bytes::from_static(b"\x26\0\x01a\0\x01b");
        publisher.publish(sent, rig.now);
    }
    assert_eq!(rig.broker.retained_count(), count);
}

#[test]
fn all_that_is_retained_is_told_however_much_it_is() {
    // More than is written for a connection at once, and than a queue holds.
    let rig = Rig::of("alice", Bounds { queue_bytes: 1_000_000, ..Bounds::default() });
    retain_much(&rig, 200);
    let mut publisher = rig.client("q");
    for number in 0..200 {
        let id = publisher.id();
        let sent =
            message(&format!("sure/{number:03}"), &"x".repeat(60_000), Qos::AtLeastOnce, Some(id));
        publisher.say(&Packet::Publish(Publish { retain: true, ..sent }), rig.now);
    }
    for (filter, window) in [("much/+", u16::MAX), ("#", u16::MAX), ("sure/#", 3), ("sure/#", 40)] {
        let (mut line, _) = rig.connected(&Connect { receive_max: window, ..connect("s") });
        line.ask_for(filter, at(Qos::AtLeastOnce), rig.now);
        let mut topics = Vec::new();
        loop {
            let heard = line.messages(rig.now);
            if heard.is_empty() {
                break;
            }
            for message in heard {
                assert!(message.retain);
                if let Some(id) = message.packet_id {
                    line.ack(id, rig.now);
                }
                topics.push(message.topic.to_string());
            }
        }
        assert_eq!(topics.len(), if filter == "#" { 400 } else { 200 }, "{filter}");
        topics.sort_unstable();
        topics.dedup();
        assert_eq!(topics.len(), if filter == "#" { 400 } else { 200 }, "each once");
        let views = rig.broker.views(usize::MAX);
        assert!(views.iter().all(|view| view.dropped == 0), "{filter}");
    }
}

#[test]
fn what_is_still_to_be_told_ends_with_its_subscription_and_not_with_its_connection() {
    let rig = Rig::new();
    retain_much(&rig, 100);
    let (mut line, _) = rig.connected(&lasting("s"));
    line.ask_for("much/#", at(Qos::AtMostOnce), rig.now);
    let some = |line: &mut Line| {
        let before = line.octets(rig.now).len();
        assert!((60_000..1_000_000).contains(&before), "{before}");
    };
    some(&mut line);
    // Asked for again: from the beginning, and once.
    line.ask_for("much/#", at(Qos::AtMostOnce), rig.now);
    line.broken(rig.now);
    let (mut line, _) = rig.connected(&lasting("s"));
    let again = line.messages(rig.now).len();
    assert!((80..=100).contains(&again), "{again}: it goes on");
    let mut line = rig.client("t");
    line.ask_for("much/#", at(Qos::AtMostOnce), rig.now);
    some(&mut line);
    let packet_id = line.id();
    let filters = vec!["much/#".into()];
    line.say(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), rig.now);
    let mut octets = 0;
    loop {
        let more = line.octets(rig.now).len();
        if more == 0 {
            break;
        }
        octets += more;
    }
    assert!(octets < 1_000_000, "{octets}: no more is begun");
    // What changes meanwhile is told as it is then.
    let mut line = rig.client("u");
    line.ask_for("much/#", at(Qos::AtMostOnce), rig.now);
    some(&mut line);
    rig.client("p").publish(kept("much/099", ""), rig.now);
    rig.client("p").publish(kept("much/098", "new"), rig.now);
    let heard = line.messages(rig.now);
    assert!(!heard.iter().any(|m| m.retain && &*m.topic == "much/099"));
    let new = heard.iter().filter(|m| m.retain && &*m.topic == "much/098");
    assert_eq!(new.map(|m| m.payload.len()).collect::<Vec<_>>(), [3]);
}
