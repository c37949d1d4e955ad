//! What the policy does not allow, and who is out.

use mqtt::codec::{Connect, Packet, Qos, Reason, Version, Will};
use mqtt::limits::SUBSCRIPTIONS_MAX;
use shared::name::Label;
use shared::policy::{Effect, Filter, Grant, Policy, Rule, Selector};

use crate::rig::{Rig, at, connect, kept, lasting, message, name, plain, rights};

/// Everybody may publish below his own name and client, and hear the plant.
fn strict() -> Policy {
    let filter = |text| Filter::parse(text).unwrap();
    let rule = Rule {
        name: Label::parse("own").unwrap(),
        effect: Effect::Allow,
        grants: vec![
            Grant::Publish(vec![filter("plant/%node/#"), filter("client/%client/#")]),
            Grant::Subscribe(vec![filter("plant/#")]),
        ],
        from: Selector::everybody(),
        to: Selector::everybody(),
    };
    Policy { number: 1, rules: vec![rule], ..Policy::built_in() }
}

#[test]
fn publishing_is_by_match_and_subscribing_by_containment() {
    let rig = Rig::new();
    rig.broker.set_rights(rights(&strict(), "alice"));
    let (mut meter, _) = rig.connected_as("meter-7", &connect("m"));
    for (topic, expected) in [
        ("plant/meter-7/t", Reason::NoMatchingSubscribers),
        ("client/m/t", Reason::NoMatchingSubscribers),
        ("plant/meter-8/t", Reason::NotAuthorized),
        ("client/n/t", Reason::NotAuthorized),
        ("$SYS/x", Reason::NotAuthorized),
    ] {
        let id = meter.id();
        let said = meter.publish(message(topic, "x", Qos::AtLeastOnce, Some(id)), rig.now);
        let Packet::PubAck(ack) = &said[0] else { panic!("{said:?}") };
        assert_eq!(ack.reason, expected, "{topic}");
    }
    let id = meter.id();
    let said = meter.publish(message("other", "x", Qos::ExactlyOnce, Some(id)), rig.now);
    let Packet::PubRec(ack) = &said[0] else { panic!("{said:?}") };
    assert_eq!(ack.reason, Reason::NotAuthorized);
    for (filter, expected) in [
        ("plant/+/t", Reason::GrantedQos1),
        ("$share/g/plant/#", Reason::GrantedQos1),
        ("#", Reason::NotAuthorized),
        ("+/x", Reason::NotAuthorized),
        ("$share/g/#", Reason::NotAuthorized),
    ] {
        assert_eq!(meter.subscribe(filter, at(Qos::AtLeastOnce), rig.now), expected, "{filter}");
    }
    assert!(rig.broker.counters.denied.get() >= 4);
}

#[test]
fn what_is_denied_is_heard_by_nobody() {
    let rig = Rig::new();
    let (mut witness, _) = rig.connected_as("alice", &connect("w"));
    witness.subscribe("#", at(Qos::AtMostOnce), rig.now);
    rig.broker.set_rights(rights(&strict(), "alice"));
    let mut witness_too = rig.connected_as("alice", &connect("w2")).0;
    witness_too.subscribe("plant/#", at(Qos::AtMostOnce), rig.now);
    let (mut meter, _) = rig.connected_as("meter-7", &connect("m"));
    assert!(meter.publish(kept("plant/bob/t", "x"), rig.now).is_empty());
    meter.publish(kept("plant/meter-7/t", "y"), rig.now);
    assert!(witness.messages(rig.now).is_empty(), "the policy took its subscription");
    assert_eq!(witness_too.texts(rig.now), ["y"]);
    assert_eq!(rig.broker.retained_count(), 1);
}

#[test]
fn before_mqtt_5_what_is_denied_is_acknowledged_and_dropped() {
    let rig = Rig::new();
    rig.broker.set_rights(rights(&strict(), "alice"));
    let old = Connect { version: Version::V311, ..connect("m") };
    let (mut meter, _) = rig.connected_as("meter-7", &old);
    let id = meter.id();
    let said = meter.publish(message("x", "x", Qos::AtLeastOnce, Some(id)), rig.now);
    assert_eq!(said, [Packet::PubAck(crate::rig::success(id))]);
    assert_eq!(meter.subscribe("#", at(Qos::AtMostOnce), rig.now), Reason::Unspecified);
}

#[test]
fn a_will_that_may_not_be_published_is_refused_at_connect() {
    let rig = Rig::new();
    rig.broker.set_rights(rights(&strict(), "alice"));
    let will = |topic: &str| Will {
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        expiry_s: None,
        topic: topic.into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::new(),
    };
    for (topic, expected) in
        [("plant/meter-7/w", Reason::Success), ("plant/bob/w", Reason::NotAuthorized)]
    {
        let wanted = Connect { will: Some(will(topic)), ..connect("m") };
        assert_eq!(rig.connected_as("meter-7", &wanted).1.reason, expected, "{topic}");
    }
}

#[test]
fn a_will_is_judged_again_when_it_fires() {
    let rig = Rig::new();
    let mut witness = rig.client("w");
    witness.subscribe("plant/#", at(Qos::AtMostOnce), rig.now);
    let will = Will {
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        expiry_s: None,
        topic: "plant/bob/w".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::from_static(b"gone"),
    };
    let (line, _) = rig.connected_as("meter-7", &Connect { will: Some(will), ..connect("m") });
    rig.broker.set_rights(rights(&strict(), "alice"));
    line.broken(rig.now);
    assert!(witness.messages(rig.now).is_empty());
}

#[test]
fn who_is_out_is_cut_with_sessions_queues_wills_and_what_he_retained() {
    let mut rig = Rig::new();
    let mut witness = rig.client("w");
    witness.subscribe("#", at(Qos::AtMostOnce), rig.now);
    let will = Will {
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 5,
        expiry_s: None,
        topic: "will".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::from_static(b"gone"),
    };
    let wanted = Connect { will: Some(will), ..lasting("m") };
    let (mut online, _) = rig.connected_as("meter-7", &wanted);
    let (mut away, _) = rig.connected_as("meter-7", &Connect { client_id: "n".into(), ..wanted });
    away.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    away.broken(rig.now);
    online.publish(kept("kept", "x"), rig.now);
    let id = witness.id();
    witness.publish(message("t", "queued", Qos::AtLeastOnce, Some(id)), rig.now);
    witness.messages(rig.now);
    let (_bystander, _) = rig.connected_as("meter-8", &lasting("m"));
    rig.pass_s(1);
    assert_eq!(rig.broker.expel_before(&name("meter-7"), rig.now.wall, rig.now.wall), 2);
    assert_eq!(online.ended_with(rig.now), Some(Reason::AdministrativeAction));
    online.broken(rig.now);
    rig.pass_s(60);
    assert!(witness.messages(rig.now).is_empty(), "no will of theirs is heard");
    assert_eq!(rig.broker.retained_count(), 0);
    assert_eq!(rig.broker.views(usize::MAX).len(), 2, "the witness and the bystander");
    rig.sync();
    let rows =
        rig.disk.rows().into_keys().filter(|(table, _)| *table != mqtt::journal::Table::Retained);
    assert_eq!(rows.count(), 1, "the bystander's");
    rig.pass_s(1);
    let (_, ack) = rig.connected_as("meter-7", &lasting("m"));
    assert!(!ack.session_present, "re-enrolled, it begins anew");
    assert_eq!(rig.broker.expel_before(&name("meter-7"), crate::rig::START, rig.now.wall), 0);
}

#[test]
fn a_hundred_thousand_subscriptions_are_not_taken() {
    let rig = Rig::new();
    let mut line = rig.client("a");
    let mut refused = 0;
    for part in 0..12 {
        let filters = (0..1_000).map(|n| (format!("f/{part}/{n}").into(), at(Qos::AtMostOnce)));
        let packet_id = line.id();
        let subscribe = mqtt::codec::Subscribe { packet_id, id: None, filters: filters.collect() };
        line.say(&Packet::Subscribe(subscribe), rig.now);
        for packet in line.hear(rig.now) {
            let Packet::SubAck(ack) = packet else { panic!("{packet:?}") };
            refused += ack.reasons.iter().filter(|r| **r == Reason::QuotaExceeded).count();
        }
    }
    assert_eq!(refused, 12_000 - SUBSCRIPTIONS_MAX);
    assert_eq!(line.publish(plain("f/0/1", "x"), rig.now).len(), 1, "those there are work");
}
