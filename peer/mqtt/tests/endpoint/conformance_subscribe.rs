//! Normative statements on subscriptions: SUBSCRIBE to UNSUBACK, matching, and groups (MQTT 5.0
//! §3.8 to §3.11, §4.7, §4.8): see docs/mqtt-conformance.md.

use mqtt::codec::{
    Ack, Connect, Options, Packet, Qos, Reason, RetainHandling, Subscribe, Unsubscribe, Version,
};
use proptest::prelude::*;

use crate::rig::{Line, Rig, at, connect, kept, lasting, message, plain, success};

/// Asks for several filters in one packet, and gives the only answer.
fn subscribe(line: &mut Line, rig: &mut Rig, filters: &[(&str, Options)]) -> Vec<Reason> {
    let packet_id = line.id();
    let filters = filters.iter().map(|(filter, options)| ((*filter).into(), *options)).collect();
    line.say(&Packet::Subscribe(Subscribe { packet_id, id: None, filters }), rig.now);
    rig.sync();
    let heard = line.hear(rig.now);
    let mut acks = heard.iter().filter_map(|packet| match packet {
        Packet::SubAck(ack) => Some(ack),
        _ => None,
    });
    let ack = acks.next().unwrap();
    assert_eq!((ack.packet_id, acks.count()), (packet_id, 0));
    ack.reasons.clone()
}

fn unsubscribe(line: &mut Line, rig: &Rig, filters: &[&str]) -> Vec<Reason> {
    let packet_id = line.id();
    let filters = filters.iter().map(|filter| (*filter).into()).collect();
    line.say(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), rig.now);
    let heard = line.hear(rig.now);
    let [Packet::UnsubAck(ack)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(ack.packet_id, packet_id);
    ack.reasons.clone()
}

fn filter_count(rig: &Rig, client: &str) -> usize {
    let all = rig.broker.views(usize::MAX);
    all.iter().find(|view| view.client == client).unwrap().filter_count
}

fn send(rig: &Rig, topic: &str, text: &str, qos: Qos) {
    let mut publisher = rig.client("p");
    let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
    publisher.publish(message(topic, text, qos, id), rig.now);
}

#[test]
fn one_answer_says_for_each_filter_in_its_order_what_was_granted() {
    let mut rig = Rig::new();
    let policy = shared::policy::Policy {
        rules: vec![shared::policy::Rule {
            name: shared::name::Label::parse("own").unwrap(),
            effect: shared::policy::Effect::Allow,
            grants: vec![shared::policy::Grant::Subscribe(vec![
                shared::policy::Filter::parse("ok/#").unwrap(),
            ])],
            from: shared::policy::Selector::everybody(),
            to: shared::policy::Selector::everybody(),
        }],
        ..shared::policy::Policy::built_in()
    };
    rig.broker.set_rights(crate::rig::rights(&policy, "alice"));
    let asked = [
        ("ok/2", at(Qos::ExactlyOnce)),
        ("no", at(Qos::ExactlyOnce)),
        ("ok/0", at(Qos::AtMostOnce)),
        ("ok/1", at(Qos::AtLeastOnce)),
        ("#", at(Qos::AtMostOnce)),
    ];
    for version in [Version::V311, Version::V5] {
        let hello = Connect { version, ..connect("m") };
        let (mut line, _) = rig.connected_as("meter-7", &hello);
        let no = if version == Version::V5 { Reason::NotAuthorized } else { Reason::Unspecified };
        let (two, one) = (Reason::GrantedQos2, Reason::GrantedQos1);
        assert_eq!(subscribe(&mut line, &mut rig, &asked), [two, no, Reason::Success, one, no]);
    }
}

#[test]
fn a_subscription_to_the_same_filter_replaces_the_first() {
    let mut rig = Rig::new();
    rig.client("r").publish(kept("t/r", "kept"), rig.now);
    let (mut line, _) = rig.connected(&lasting("s"));
    subscribe(&mut line, &mut rig, &[("t/#", at(Qos::ExactlyOnce))]);
    send(&rig, "t/x", "before", Qos::ExactlyOnce);
    // In one packet as in several: the last one holds.
    let last = [("t/#", at(Qos::AtMostOnce)), ("t/#", at(Qos::AtLeastOnce))];
    line.ask_for("t/#", last[0].1, rig.now);
    line.ask_for("t/#", last[1].1, rig.now);
    rig.sync();
    let heard = line.messages(rig.now);
    let kept = heard.iter().filter(|message| message.retain).count();
    let before = heard.iter().filter(|message| &message.payload[..] == b"before").count();
    assert_eq!((kept, before), (2, 1), "retained again for each, and nothing is lost");
    subscribe(&mut line, &mut rig, &last);
    send(&rig, "t/x", "after", Qos::ExactlyOnce);
    let heard = line.messages(rig.now);
    assert_eq!((heard.len(), heard[0].qos), (1, Qos::AtLeastOnce), "{heard:?}");
    assert_eq!(filter_count(&rig, "s"), 1);
    assert_eq!(
        unsubscribe(&mut line, &rig, &["t/#", "t/#"]),
        [Reason::Success, Reason::NoSubscriptionExisted]
    );
    send(&rig, "t/x", "never", Qos::ExactlyOnce);
    assert!(line.messages(rig.now).is_empty());
}

#[test]
fn unsubscribing_is_answered_for_each_filter_as_it_is_written() {
    let mut rig = Rig::new();
    let mut line = rig.client("s");
    let filters = ["a/#", "a/b", "A/b", "a/b/", "/a/b", "$share/g/a/b", "e\u{301}", "\u{e9}"];
    let asked: Vec<_> = filters.iter().map(|filter| (*filter, at(Qos::AtMostOnce))).collect();
    subscribe(&mut line, &mut rig, &asked);
    let (gone, none) = (Reason::Success, Reason::NoSubscriptionExisted);
    let asked = ["a/+", "a/b", "+/b", "a/b", "$share/h/a/b", "\u{e9}", "x"];
    assert_eq!(unsubscribe(&mut line, &rig, &asked), [none, gone, none, none, none, gone, none]);
    assert_eq!(filter_count(&rig, "s"), filters.len() - 2);
    // Before MQTT 5 the answer says no more than that it was heard, and there is always one.
    let (mut old, _) = rig.connected(&Connect { version: Version::V311, ..connect("old") });
    let packet_id = old.id();
    let filters = vec!["x".into(), "y".into()];
    old.say(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), rig.now);
    assert_eq!(old.octets(rig.now), [0xB0, 2, 0, 1]);
}

#[test]
fn what_was_begun_is_finished_after_unsubscribing_and_nothing_new_comes() {
    let rig = Rig::new();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let (mut line, _) = rig.connected(&lasting("s"));
        line.subscribe("t", at(qos), rig.now);
        send(&rig, "t", "begun", qos);
        let packet_id = line.messages(rig.now)[0].packet_id.unwrap();
        assert_eq!(unsubscribe(&mut line, &rig, &["t"]), [Reason::Success]);
        send(&rig, "t", "new", qos);
        assert!(line.hear(rig.now).is_empty());
        line.broken(rig.now);
        let (mut line, _) = rig.connected(&lasting("s"));
        let again = line.messages(rig.now);
        assert_eq!((again.len(), again[0].packet_id), (1, Some(packet_id)));
        if qos == Qos::ExactlyOnce {
            line.say(&Packet::PubRec(success(packet_id)), rig.now);
            assert_eq!(line.hear(rig.now), [Packet::PubRel(success(packet_id))]);
            line.say(&Packet::PubComp(success(packet_id)), rig.now);
        } else {
            line.ack(packet_id, rig.now);
        }
        let all = rig.broker.views(usize::MAX);
        assert!(all.iter().all(|view| view.queued == 0));
        line.leave(Reason::Success, Some(0), rig.now);
    }
}

#[test]
fn what_begins_with_a_dollar_is_matched_by_no_wildcard_in_front() {
    let rig = Rig::new();
    rig.broker.tell("$SYS/a/b", "kept", rig.now.wall);
    for (filter, expected) in [
        ("#", 0),
        ("+/a/b", 0),
        ("+/#", 0),
        ("+/+/+", 0),
        ("$share/g/#", 0),
        ("$share/g/+/a/b", 0),
        ("$SYS/#", 2),
        ("$SYS/+/b", 2),
        ("$SYS/a/b", 2),
        ("$share/g/$SYS/#", 1),
    ] {
        let mut line = rig.client("s");
        line.subscribe(filter, at(Qos::AtMostOnce), rig.now);
        // What is retained, and what comes then.
        rig.broker.tell("$SYS/a/b", filter, rig.now.wall);
        assert_eq!(line.messages(rig.now).len(), expected, "{filter}");
    }
}

#[test]
fn topics_are_compared_as_they_are_written() {
    let rig = Rig::new();
    let names = ["a", "A", "/a", "a/", "a//", "\u{e9}", "e\u{301}", "\u{feff}a", "a\u{feff}", " a"];
    let mut lines: Vec<Line> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut line = rig.client(&number.to_string());
        line.subscribe(name, at(Qos::AtMostOnce), rig.now);
        lines.push(line);
    }
    let mut publisher = rig.client("p");
    for name in names {
        publisher.publish(kept(name, name), rig.now);
    }
    for (line, name) in lines.iter_mut().zip(names) {
        assert_eq!(line.texts(rig.now), [name]);
        let mut later = rig.client("later");
        later.subscribe(name, at(Qos::AtMostOnce), rig.now);
        assert_eq!(later.texts(rig.now), [name]);
    }
}

/// The rules of §4.7 in the plainest form.
fn is_matched(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) | (["#"], _) => true,
        (["+", rest @ ..], [_, under @ ..]) => is_matched(rest, under),
        ([level, rest @ ..], [name, under @ ..]) if level == name => is_matched(rest, under),
        _ => false,
    }
}

fn name() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$SYS"), Just("\u{feff}")];
    proptest::collection::vec(level, 1..4).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$SYS"), Just("+"), Just("+")];
    (proptest::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, all)| {
        if all {
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #[test]
    fn a_message_goes_to_those_whose_filters_match_and_to_nobody_else(
        filters in proptest::collection::vec(filter(), 1..6),
        topic in name(),
    ) {
        prop_assume!(!topic.is_empty() && filters.iter().all(|filter| !filter.is_empty()));
        let rig = Rig::new();
        let mut lines = Vec::new();
        for (number, filter) in filters.iter().enumerate() {
            let mut line = rig.client(&number.to_string());
            line.subscribe(filter, at(Qos::AtMostOnce), rig.now);
            lines.push(line);
        }
        let own = topic.starts_with('$');
        if own {
            rig.broker.tell(&topic, "x", rig.now.wall);
        } else {
            rig.client("p").publish(kept(&topic, "x"), rig.now);
        }
        for (line, filter) in lines.iter_mut().zip(&filters) {
            let wild = filter.starts_with(['+', '#']);
            let (left, right): (Vec<&str>, Vec<&str>) =
                (filter.split('/').collect(), topic.split('/').collect());
            let expected = usize::from(is_matched(&left, &right) && !(own && wild));
            prop_assert_eq!(line.messages(rig.now).len(), expected, "{} for {}", filter, topic);
            let mut later = rig.client("later");
            later.subscribe(filter, at(Qos::AtMostOnce), rig.now);
            prop_assert_eq!(later.messages(rig.now).len(), expected, "retained: {}", filter);
        }
    }
}

#[test]
fn who_does_not_want_to_hear_himself_does_not_in_any_way() {
    let rig = Rig::new();
    let deaf = Options { no_local: true, ..at(Qos::AtLeastOnce) };
    let (mut line, _) = rig.connected(&lasting("a"));
    line.subscribe("t", deaf, rig.now);
    line.publish(kept("t", "mine"), rig.now);
    line.broken(rig.now);
    let (mut line, _) = rig.connected(&lasting("a"));
    line.publish(plain("t", "mine too"), rig.now);
    assert!(line.messages(rig.now).is_empty(), "nor on his next connection");
    line.ask_for("t", deaf, rig.now);
    assert!(line.messages(rig.now).is_empty(), "nor what he retained");
    line.ask_for("t", at(Qos::AtLeastOnce), rig.now);
    assert_eq!(line.texts(rig.now), ["mine"], "unless he asks for it");
    rig.client("b").publish(kept("t", "another's"), rig.now);
    assert_eq!(line.texts(rig.now), ["another's"]);
    line.ask_for("t", deaf, rig.now);
    assert_eq!(line.texts(rig.now), ["another's"]);
}

#[test]
fn who_does_not_want_to_hear_himself_does_not_in_a_later_session() {
    let mut rig = Rig::new();
    let deaf = Options { no_local: true, ..at(Qos::AtLeastOnce) };
    rig.client("a").publish(kept("t/mine", "x"), rig.now);
    rig.client("b").publish(kept("t/another's", "x"), rig.now);
    rig.connected_as("meter-7", &connect("a")).0.publish(kept("t/namesake's", "x"), rig.now);
    // By his identifier: after a clean start, and after a restart of the peer.
    for restarts in [false, true] {
        if restarts {
            rig = rig.restarted();
        }
        let mut line = rig.client("a");
        line.ask_for("t/#", deaf, rig.now);
        let heard = line.messages(rig.now);
        let topics: Vec<_> = heard.iter().map(|message| &*message.topic).collect();
        assert_eq!(topics, ["t/another's", "t/namesake's"]);
        line.ask_for("t/#", at(Qos::AtLeastOnce), rig.now);
        assert_eq!(line.messages(rig.now).len(), 3);
    }
    // His will is his too.
    let will = mqtt::codec::Will {
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 0,
        expiry_s: None,
        topic: "wills/a".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::from_static(b"gone"),
    };
    let mut witness = rig.client("witness");
    witness.subscribe("wills/#", deaf, rig.now);
    let hello = Connect { will: Some(will), ..lasting("a") };
    let (mut line, _) = rig.connected(&hello);
    line.ask_for("wills/#", deaf, rig.now);
    line.broken(rig.now);
    assert_eq!(witness.texts(rig.now), ["gone"]);
    let (mut line, ack) = rig.connected(&hello);
    assert!(ack.session_present && line.messages(rig.now).is_empty());
    line.ask_for("wills/#", deaf, rig.now);
    assert!(line.messages(rig.now).is_empty());
}

#[test]
fn a_member_of_a_group_gets_its_own_quality() {
    let rig = Rig::new();
    let qualities = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
    let mut members = Vec::new();
    for (number, qos) in qualities.into_iter().enumerate() {
        let mut line = rig.client(&number.to_string());
        line.subscribe("$share/g/t", at(qos), rig.now);
        members.push(line);
    }
    for _ in 0..9 {
        send(&rig, "t", "x", Qos::ExactlyOnce);
    }
    for (line, qos) in members.iter_mut().zip(qualities) {
        let heard = line.messages(rig.now);
        assert_eq!(heard.len(), 3);
        assert!(heard.iter().all(|message| message.qos == qos));
    }
}

#[test]
fn what_was_begun_with_one_member_is_finished_with_it_or_not_at_all() {
    let rig = Rig::new();
    let (mut first, _) = rig.connected(&lasting("first"));
    first.subscribe("$share/g/t", at(Qos::ExactlyOnce), rig.now);
    send(&rig, "t", "1", Qos::ExactlyOnce);
    send(&rig, "t", "2", Qos::ExactlyOnce);
    let begun = first.messages(rig.now);
    let mut second = rig.client("second");
    second.subscribe("$share/g/t", at(Qos::ExactlyOnce), rig.now);
    // Refused: it goes to nobody else.
    let refusal = |packet_id| Ack { packet_id, reason: Reason::NotAuthorized, reason_string: None };
    first.say(&Packet::PubRec(refusal(begun[0].packet_id.unwrap())), rig.now);
    assert!(first.hear(rig.now).is_empty() && second.messages(rig.now).is_empty());
    // Broken off: it waits for the same client.
    first.broken(rig.now);
    assert!(second.messages(rig.now).is_empty());
    let (mut first, _) = rig.connected(&lasting("first"));
    let again = first.messages(rig.now);
    assert_eq!((again.len(), again[0].packet_id), (1, begun[1].packet_id));
    // Ended: it is dropped.
    first.leave(Reason::Success, Some(0), rig.now);
    assert!(second.messages(rig.now).is_empty());
    send(&rig, "t", "3", Qos::ExactlyOnce);
    assert_eq!(second.texts(rig.now), ["3"]);
    // At least once, too, a refusal is the end of it.
    second.leave(Reason::Success, None, rig.now);
    let (mut one, mut other) = (rig.client("one"), rig.client("other"));
    one.subscribe("$share/h/u", at(Qos::AtLeastOnce), rig.now);
    send(&rig, "u", "x", Qos::AtLeastOnce);
    let got = one.messages(rig.now)[0].packet_id.unwrap();
    other.subscribe("$share/h/u", at(Qos::AtLeastOnce), rig.now);
    one.say(&Packet::PubAck(refusal(got)), rig.now);
    assert!(one.hear(rig.now).is_empty() && other.messages(rig.now).is_empty());
}

#[test]
fn retain_handling_of_a_new_subscription_is_kept_in_every_packet_that_asks() {
    let mut rig = Rig::new();
    rig.client("p").publish(kept("t", "x"), rig.now);
    let new = Options { retain_handling: RetainHandling::IfNew, ..at(Qos::AtMostOnce) };
    let mut line = rig.client("s");
    // Twice in one packet: the second one is not new.
    subscribe(&mut line, &mut rig, &[("t", new), ("t", new)]);
    let mut other = rig.client("o");
    let filters = vec![("t".into(), new), ("t".into(), new)];
    let packet_id = other.id();
    other.say(&Packet::Subscribe(Subscribe { packet_id, id: None, filters }), rig.now);
    assert_eq!(other.messages(rig.now).len(), 1);
    // Once it is gone it is new again.
    unsubscribe(&mut other, &rig, &["t"]);
    other.ask_for("t", new, rig.now);
    assert_eq!(other.messages(rig.now).len(), 1);
}
