//! Sessions that last: over a break, over a restart, and not for ever.

use mqtt::Bounds;
use mqtt::codec::{Connect, Packet, Qos, Reason, Version};

use crate::rig::{Rig, at, connect, lasting, message, success};

/// What a session gets while its client is away, sent by another.
fn send(rig: &Rig, texts: &[&str], qos: Qos) -> Vec<Packet> {
    let mut publisher = rig.client("p");
    let mut said = Vec::new();
    for text in texts {
        let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
        said.extend(publisher.publish(message("t", text, qos, id), rig.now));
    }
    said
}

#[test]
fn a_session_is_taken_up_again_with_all_that_came_meanwhile() {
    let rig = Rig::new();
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(!ack.session_present);
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    line.leave(Reason::Success, None, rig.now);
    send(&rig, &["0"], Qos::AtMostOnce);
    send(&rig, &["1", "2"], Qos::AtLeastOnce);
    send(&rig, &["3"], Qos::ExactlyOnce);
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(ack.session_present);
    assert_eq!(line.texts(rig.now), ["1", "2", "3"], "QoS 0 is not kept");
}

#[test]
fn before_mqtt_5_a_session_that_is_not_clean_lasts() {
    let rig = Rig::new();
    let old = Connect { version: Version::V311, session_expiry_s: u32::MAX, ..lasting("s") };
    let (mut line, _) = rig.connected(&old);
    line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    line.broken(rig.now);
    send(&rig, &["1"], Qos::AtLeastOnce);
    let (mut line, ack) = rig.connected(&old);
    assert!(ack.session_present);
    assert_eq!(line.texts(rig.now), ["1"]);
    let clean = Connect { clean_start: true, session_expiry_s: 0, ..old };
    let (mut line, ack) = rig.connected(&clean);
    assert!(!ack.session_present);
    send(&rig, &["2"], Qos::AtLeastOnce);
    assert!(line.messages(rig.now).is_empty(), "a clean start has no subscriptions");
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order_with_its_identifier() {
    let rig = Rig::new();
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    send(&rig, &["1", "2", "3"], Qos::AtLeastOnce);
    send(&rig, &["4"], Qos::ExactlyOnce);
    let first = line.messages(rig.now);
    assert!(first.iter().all(|message| !message.dup));
    line.ack(first[1].packet_id.unwrap(), rig.now);
    let fourth = first[3].packet_id.unwrap();
    line.say(&Packet::PubRec(success(fourth)), rig.now);
    line.broken(rig.now);
    let (mut line, _) = rig.connected(&lasting("s"));
    let heard = line.hear(rig.now);
    let [Packet::Publish(one), Packet::Publish(three), Packet::PubRel(four)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert!(one.dup && three.dup);
    assert_eq!(one.packet_id, first[0].packet_id);
    assert_eq!((three.packet_id, four.packet_id), (first[2].packet_id, fourth));
}

#[test]
fn a_session_ends_when_its_time_is_over_or_its_client_says_so() {
    let mut rig = Rig::new();
    rig.connected(&lasting("a")).0.broken(rig.now);
    rig.connected(&lasting("b")).0.leave(Reason::Success, Some(0), rig.now);
    rig.connected(&lasting("c")).0.leave(Reason::Success, Some(7_200), rig.now);
    rig.connected(&connect("d")).0.broken(rig.now);
    assert_eq!(rig.broker.views(usize::MAX).len(), 2);
    rig.pass_s(3_600);
    let left = rig.broker.views(usize::MAX);
    assert_eq!((left.len(), left[0].client.as_str()), (1, "c"));
    let (mut line, _) = rig.connected(&connect("e"));
    let goodbye = mqtt::codec::Disconnect {
        reason: Reason::Success,
        session_expiry_s: Some(1),
        reason_string: None,
        server_reference: None,
    };
    line.say(&Packet::Disconnect(goodbye), rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ProtocolError), "it had none");
}

#[test]
fn more_than_is_granted_is_said_to_be_less() {
    let rig = Rig::new();
    let (_, ack) = rig.connected(&Connect { session_expiry_s: u32::MAX, ..lasting("a") });
    assert_eq!(ack.granted.session_expiry_s, Some(30 * 86_400));
    let (_, ack) = rig.connected(&lasting("b"));
    assert_eq!(ack.granted.session_expiry_s, None);
}

#[test]
fn nothing_is_acknowledged_before_it_is_on_the_disk() {
    let mut rig = Rig::new();
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    line.broken(rig.now);
    rig.sync();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut publisher = rig.client("p");
        let id = publisher.id();
        let said = publisher.publish(message("t", "x", qos, Some(id)), rig.now);
        assert!(said.is_empty(), "{said:?}");
        rig.sync();
        assert_eq!(publisher.hear(rig.now).len(), 1);
    }
}

#[test]
fn what_the_disk_refuses_is_not_acknowledged_as_safe() {
    let rig = Rig::new();
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    line.broken(rig.now);
    let mut publisher = rig.client("p");
    let id = publisher.id();
    publisher.publish(message("t", "x", Qos::AtLeastOnce, Some(id)), rig.now);
    let group = rig.broker.journal.take().unwrap();
    group.holds.into_iter().for_each(mqtt::Hold::fail);
    let said = publisher.hear(rig.now);
    let Packet::PubAck(ack) = &said[0] else { panic!("{said:?}") };
    assert_eq!(ack.reason, Reason::ImplementationSpecific);
}

#[test]
fn a_restart_loses_nothing_that_was_acknowledged() {
    let mut rig = Rig::new();
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    line.subscribe("$share/g/u", at(Qos::AtLeastOnce), rig.now);
    send(&rig, &["1", "2"], Qos::AtLeastOnce);
    send(&rig, &["3"], Qos::ExactlyOnce);
    let first = line.messages(rig.now);
    line.ack(first[0].packet_id.unwrap(), rig.now);
    line.say(&Packet::PubRec(success(first[2].packet_id.unwrap())), rig.now);
    let (mut half, _) = rig.connected(&lasting("half"));
    let id = half.id();
    half.publish(message("t", "4", Qos::ExactlyOnce, Some(id)), rig.now);
    rig.sync();
    let mut rig = rig.restarted();
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(ack.session_present);
    let heard = line.hear(rig.now);
    let [Packet::Publish(two), Packet::PubRel(three), Packet::Publish(four)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!((&two.payload[..], two.packet_id), (&b"2"[..], first[1].packet_id));
    assert_eq!((three.packet_id, &four.payload[..]), (first[2].packet_id.unwrap(), &b"4"[..]));
    let (mut half, ack) = rig.connected(&lasting("half"));
    assert!(ack.session_present);
    let again = message("t", "4", Qos::ExactlyOnce, Some(id));
    half.publish(mqtt::codec::Publish { dup: true, ..again }, rig.now);
    assert!(line.messages(rig.now).is_empty(), "it was received before the restart");
    assert_eq!(rig.broker.views(usize::MAX).iter().map(|view| view.filter_count).sum::<usize>(), 2);
    rig.sync();
}

#[test]
fn sessions_are_bounded_and_those_there_are_come_back() {
    let rig = Rig::of("alice", Bounds { sessions: 2, ..Bounds::default() });
    let (first, _) = rig.connected(&lasting("a"));
    rig.connected(&lasting("b")).0.broken(rig.now);
    let (_, ack) = rig.connected(&lasting("c"));
    assert_eq!(ack.reason, Reason::QuotaExceeded);
    first.broken(rig.now);
    assert!(rig.connected(&lasting("a")).1.session_present);
}

#[test]
fn a_full_queue_is_told_to_the_publisher() {
    let rig = Rig::of("alice", Bounds { queue_bytes: 1_000, ..Bounds::default() });
    let (mut line, _) = rig.connected(&lasting("s"));
    line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    line.broken(rig.now);
    let mut publisher = rig.client("p");
    let mut refused = false;
    for _ in 0..10 {
        let id = publisher.id();
        let text = "x".repeat(100);
        publisher.say(&Packet::Publish(message("t", &text, Qos::AtLeastOnce, Some(id))), rig.now);
        drop(rig.broker.journal.take());
        for packet in publisher.hear(rig.now) {
            let Packet::PubAck(ack) = packet else { panic!("{packet:?}") };
            refused |= ack.reason == Reason::QuotaExceeded;
        }
    }
    assert!(refused);
    assert!(rig.broker.views(usize::MAX).iter().all(|view| view.queued_bytes <= 1_000));
}
