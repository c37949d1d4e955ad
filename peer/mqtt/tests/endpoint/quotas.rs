//! Publications beyond the policy's quotas.

use std::task::Waker;

use mqtt::codec::{Connect, Packet, Qos, Reason, Version};
use shared::name::Label;
use shared::policy::{Policy, Quota, Rates, Selector};
use shared::time::Now;

use crate::rig::{Line, Rig, at, connect, message, name, plain, rights, success};

/// Meters may say five messages a second; nobody else is bounded.
fn slow_meters(messages: Option<u32>, bytes: Option<u32>) -> Policy {
    let rates = Rates {
        messages_per_second: messages,
        bytes_per_second: bytes,
        handshakes_per_minute: None,
    };
    let from = Selector { nodes: vec![name("meter-7")], ..Selector::default() };
    let quota = Quota { name: Label::parse("slow").unwrap(), from, rates };
    Policy { quotas: vec![quota], ..Policy::built_in() }
}

fn rig() -> Rig {
    let rig = Rig::new();
    rig.broker.set_rights(rights(&slow_meters(Some(5), None), "alice"));
    rig
}

fn later(rig: &Rig, ms: u64) -> Now {
    let wall = rig.now.wall.plus_s(i64::try_from(ms / 1000).unwrap());
    Now { tick: rig.now.tick.plus_ms(ms), wall }
}

/// What MQTT 5 is told of so many publications.
fn said(line: &mut Line, qos: Qos, count: usize, now: Now) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for _ in 0..count {
        let id = line.id();
        for packet in line.publish(message("t", "x", qos, Some(id)), now) {
            match packet {
                Packet::PubAck(ack) | Packet::PubRec(ack) => reasons.push(ack.reason),
                other => panic!("{other:?}"),
            }
        }
    }
    reasons
}

#[test]
fn mqtt_5_is_told_and_its_quota_comes_back() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let rig = rig();
        let mut meter = rig.connected_as("meter-7", &connect("m")).0;
        let reasons = said(&mut meter, qos, 8, rig.now);
        assert_eq!(reasons[..5], [Reason::NoMatchingSubscribers; 5]);
        assert_eq!(reasons[5..], [Reason::QuotaExceeded; 3]);
        assert_eq!(rig.broker.counters.beyond_quota.get(), 3);
        let reasons = said(&mut meter, qos, 2, later(&rig, 200));
        assert_eq!(reasons, [Reason::NoMatchingSubscribers, Reason::QuotaExceeded]);
        assert!(!meter.client.is_held(Waker::noop()), "it is told, and not slowed");
    }
}

#[test]
fn what_is_refused_is_heard_by_nobody_and_qos_0_is_dropped() {
    let rig = rig();
    let mut witness = rig.client("w");
    witness.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let mut meter = rig.connected_as("meter-7", &connect("m")).0;
    for number in 0..8 {
        assert!(meter.publish(plain("t", &number.to_string()), rig.now).is_empty());
    }
    assert_eq!(witness.texts(rig.now), ["0", "1", "2", "3", "4"]);
    said(&mut meter, Qos::AtLeastOnce, 1, rig.now);
    assert!(witness.texts(rig.now).is_empty());
    assert_eq!(rig.broker.counters.beyond_quota.get(), 4);
}

#[test]
fn all_connections_of_an_identity_share_its_quota_and_nobody_elses() {
    let rig = rig();
    let mut first = rig.connected_as("meter-7", &connect("a")).0;
    let mut second = rig.connected_as("meter-7", &connect("b")).0;
    assert!(!said(&mut first, Qos::AtLeastOnce, 5, rig.now).contains(&Reason::QuotaExceeded));
    assert_eq!(said(&mut second, Qos::AtLeastOnce, 1, rig.now), [Reason::QuotaExceeded]);
    second.leave(Reason::Success, None, rig.now);
    let mut again = rig.connected_as("meter-7", &connect("c")).0;
    assert_eq!(said(&mut again, Qos::AtLeastOnce, 1, rig.now), [Reason::QuotaExceeded]);
    let mut other = rig.connected_as("meter-8", &connect("a")).0;
    assert!(!said(&mut other, Qos::AtLeastOnce, 50, rig.now).contains(&Reason::QuotaExceeded));
}

#[test]
fn octets_count_too() {
    let rig = rig();
    rig.broker.set_rights(rights(&slow_meters(None, Some(1_000)), "alice"));
    let mut meter = rig.connected_as("meter-7", &connect("m")).0;
    let text = "x".repeat(40 * 1024);
    let mut say = |now| {
        let id = meter.id();
        let heard = meter.publish(message("t", &text, Qos::AtLeastOnce, Some(id)), now);
        let [Packet::PubAck(ack)] = heard.as_slice() else { panic!("{heard:?}") };
        ack.reason
    };
    assert_eq!(say(rig.now), Reason::NoMatchingSubscribers);
    assert_eq!(say(rig.now), Reason::QuotaExceeded);
    assert_eq!(say(later(&rig, 10_000)), Reason::QuotaExceeded);
    assert_eq!(say(later(&rig, 30_000)), Reason::NoMatchingSubscribers);
}

#[test]
fn before_mqtt_5_nothing_is_lost_and_the_connection_pauses() {
    let rig = rig();
    let mut witness = rig.client("w");
    witness.subscribe("#", at(Qos::AtLeastOnce), rig.now);
    let old = Connect { version: Version::V311, keep_alive_s: 1, ..connect("m") };
    let mut meter = rig.connected_as("meter-7", &old).0;
    let ids: Vec<_> = (0..8).map(|_| meter.id()).collect();
    let mut octets = Vec::new();
    for id in &ids {
        let publish = Packet::Publish(message("t", "x", Qos::AtLeastOnce, Some(*id)));
        mqtt::codec::encode(&publish, Version::V311, &mut octets);
    }
    meter.say_octets(&octets, rig.now);
    let acks = |ids: &[_]| ids.iter().map(|id| Packet::PubAck(success(*id))).collect::<Vec<_>>();
    assert_eq!(meter.hear(rig.now), acks(&ids[..6]), "the sixth on credit");
    assert!(meter.client.is_held(Waker::noop()));
    assert_eq!(meter.client.next_deadline(), Some(rig.now.tick.plus_ms(200)));
    for (turn, id) in ids[6..].iter().enumerate() {
        let now = later(&rig, 200 * (turn as u64 + 1));
        meter.wake(now);
        assert_eq!(meter.hear(now), acks(&[*id]));
    }
    assert_eq!(witness.messages(rig.now).len(), 8);
    assert_eq!(rig.broker.counters.beyond_quota.get(), 0);
    assert_eq!(rig.broker.counters.slowed.get(), 3);
    meter.wake(later(&rig, 600));
    assert!(!meter.client.is_held(Waker::noop()));
    assert_eq!(meter.ended_with(later(&rig, 600)), None);
}

#[test]
fn a_long_pause_is_not_taken_for_silence() {
    let rig = rig();
    rig.broker.set_rights(rights(&slow_meters(None, Some(1)), "alice"));
    let old = Connect { version: Version::V311, keep_alive_s: 1, ..connect("m") };
    let mut meter = rig.connected_as("meter-7", &old).0;
    let id = meter.id();
    let text = "x".repeat(100 * 1024);
    meter.publish(message("t", &text, Qos::AtLeastOnce, Some(id)), rig.now);
    meter.wake(later(&rig, 9_999));
    assert!(meter.client.is_held(Waker::noop()), "longer than its keep-alive");
    meter.wake(later(&rig, 10_000));
    assert!(!meter.client.is_held(Waker::noop()), "and never longer than that");
    assert_eq!(meter.ended_with(later(&rig, 10_001)), None);
    meter.wake(later(&rig, 11_500));
    assert!(meter.client.why().is_some(), "now it was silent itself");
}

#[test]
fn a_quota_of_nothing_is_a_denial_in_every_version() {
    let rig = rig();
    rig.broker.set_rights(rights(&slow_meters(Some(0), None), "alice"));
    let mut witness = rig.client("w");
    witness.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let old = Connect { version: Version::V311, ..connect("m") };
    let mut meter = rig.connected_as("meter-7", &old).0;
    let id = meter.id();
    let heard = meter.publish(message("t", "x", Qos::AtLeastOnce, Some(id)), rig.now);
    assert_eq!(heard, [Packet::PubAck(success(id))], "it has no word for no");
    assert!(!meter.client.is_held(Waker::noop()));
    assert!(witness.texts(rig.now).is_empty());
    assert_eq!(rig.broker.counters.beyond_quota.get(), 1);
}

#[test]
fn another_policy_has_other_quotas_at_once() {
    let rig = rig();
    let mut meter = rig.connected_as("meter-7", &connect("m")).0;
    assert!(said(&mut meter, Qos::AtLeastOnce, 9, rig.now).contains(&Reason::QuotaExceeded));
    rig.broker.set_rights(rights(&Policy::built_in(), "alice"));
    assert!(!said(&mut meter, Qos::AtLeastOnce, 90, rig.now).contains(&Reason::QuotaExceeded));
    rig.broker.set_rights(rights(&slow_meters(Some(1), None), "alice"));
    assert!(said(&mut meter, Qos::AtLeastOnce, 2, rig.now).contains(&Reason::QuotaExceeded));
}
