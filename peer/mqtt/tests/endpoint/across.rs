//! Two and three peers: what one's programs want and another's say.

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use mqtt::codec::{Packet, Publish, Qos, Reason};
use mqtt::{Client, Door, Heard, State};
use shared::policy::{Effect, Filter, Grant, Policy, Rule, Selector};

use crate::links::Link;
use crate::rig::{Rig, at, identity, kept, lasting, message, name, plain, rights};

struct Pair {
    alice: Rig,
    bob: Rig,
    heard: [Heard; 2],
}

impl Pair {
    fn new() -> Self {
        let (alice, bob) =
            (Rig::of("alice", mqtt::Bounds::default()), Rig::of("bob", mqtt::Bounds::default()));
        Self { alice, bob, heard: Default::default() }
    }

    fn link(&self) -> Link {
        let mut link = Link::new(&self.alice, &self.bob, [&self.heard[0], &self.heard[1]]);
        link.carry([&self.alice, &self.bob]);
        link
    }

    fn rigs(&self) -> [&Rig; 2] {
        [&self.alice, &self.bob]
    }
}

#[test]
fn what_is_wanted_here_is_brought_from_there_and_nothing_else() {
    let pair = Pair::new();
    let mut link = pair.link();
    let mut subscriber = pair.alice.client("s");
    subscriber.ask_for("plant/+/t", at(Qos::ExactlyOnce), pair.alice.now);
    assert!(subscriber.hear(pair.alice.now).is_empty(), "the SUBACK waits for bob");
    link.carry(pair.rigs());
    assert_eq!(subscriber.hear(pair.alice.now).len(), 1);
    let mut publisher = pair.bob.connected_as("bob", &crate::rig::connect("p")).0;
    for (topic, qos) in [
        ("plant/3/t", Qos::AtMostOnce),
        ("plant/3/t", Qos::AtLeastOnce),
        ("plant/3/t", Qos::ExactlyOnce),
        ("other", Qos::AtLeastOnce),
    ] {
        let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
        publisher.say(&Packet::Publish(message(topic, "x", qos, id)), pair.bob.now);
    }
    assert!(publisher.hear(pair.bob.now).is_empty(), "alice has nothing of it yet");
    link.carry(pair.rigs());
    assert_eq!(publisher.hear(pair.bob.now).len(), 3, "alice acknowledged");
    let qos: Vec<Qos> = subscriber.messages(pair.alice.now).iter().map(|m| m.qos).collect();
    assert_eq!(qos, [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]);
    assert_eq!(pair.alice.broker.counters.carried.get(), 3, "`other` did not travel");
}

#[test]
fn a_filter_that_no_peer_answers_for_waits_for_a_moment_only() {
    let mut pair = Pair::new();
    let mut link = pair.link();
    link.frozen = true;
    let mut subscriber = pair.alice.client("s");
    subscriber.ask_for("t", at(Qos::AtMostOnce), pair.alice.now);
    assert!(subscriber.hear(pair.alice.now).is_empty());
    assert_eq!(subscriber.client.next_deadline(), Some(pair.alice.now.tick.plus_ms(200)));
    pair.alice.pass_s(1);
    assert_eq!(subscriber.hear(pair.alice.now).len(), 1);
}

#[test]
fn what_is_said_while_the_link_is_broken_arrives_once_and_in_order() {
    let mut pair = Pair::new();
    let mut link = pair.link();
    let mut subscriber = pair.alice.client("s");
    subscriber.ask_for("t", at(Qos::AtLeastOnce), pair.alice.now);
    link.carry(pair.rigs());
    let mut publisher = pair.bob.connected_as("bob", &crate::rig::connect("p")).0;
    let mut say = |text: &str| {
        let id = publisher.id();
        let now = pair.bob.now;
        publisher.say(&Packet::Publish(message("t", text, Qos::AtLeastOnce, Some(id))), now);
    };
    ["1", "2"].into_iter().for_each(&mut say);
    // Alice has them, and her acknowledgements are lost with the link.
    let (client, _, _) = &mut link.ends[1];
    let mut out = Vec::new();
    client.fill(&mut out, Waker::noop(), pair.bob.now);
    let (_, uplink, [_, to_uplink]) = &mut link.ends[0];
    to_uplink.extend_from_slice(&out);
    uplink.handle_bytes(to_uplink, pair.alice.now);
    link.broken([&pair.alice, &pair.bob]);
    ["3", "4"].into_iter().for_each(&mut say);
    assert!(publisher.hear(pair.bob.now).is_empty(), "not on the disk yet");
    pair.bob.sync();
    assert_eq!(publisher.hear(pair.bob.now).len(), 4, "on the disk for alice");
    // Bob is killed; what he acknowledged comes back with him.
    pair.bob = pair.bob.restarted();
    let mut link = pair.link();
    link.carry(pair.rigs());
    let heard: Vec<String> = subscriber.texts(pair.alice.now);
    assert_eq!(heard, ["1", "2", "3", "4"]);
    pair.bob.sync();
    assert!(pair.bob.broker.views(usize::MAX).iter().all(|view| view.queued == 0));
}

#[test]
fn retained_values_converge_whatever_happened_on_either_side() {
    let mut pair = Pair::new();
    let mut at_alice = pair.alice.client("a");
    let mut at_bob = pair.bob.connected_as("bob", &crate::rig::connect("b")).0;
    at_alice.publish(kept("both", "old"), pair.alice.now);
    at_alice.publish(kept("hers", "x"), pair.alice.now);
    at_alice.publish(kept("gone", "x"), pair.alice.now);
    at_bob.publish(kept("his", "x"), pair.bob.now);
    let link = pair.link();
    link.broken(pair.rigs());
    for rig in [&mut pair.alice, &mut pair.bob] {
        rig.pass_s(1);
    }
    at_alice.publish(kept("gone", ""), pair.alice.now);
    pair.bob.pass_s(1);
    at_bob.publish(kept("both", "new"), pair.bob.now);
    let mut link = pair.link();
    for rig in pair.rigs() {
        let who = rig.broker.node().to_string();
        let mut line = rig.connected_as(&who, &crate::rig::connect("look")).0;
        line.ask_for("#", at(Qos::AtMostOnce), rig.now);
        link.carry(pair.rigs());
        let said: Vec<(String, Vec<u8>)> = line
            .messages(rig.now)
            .iter()
            .map(|m| (m.topic.to_string(), m.payload.to_vec()))
            .collect();
        let expected = [("both", "new"), ("hers", "x"), ("his", "x")]
            .map(|(topic, text)| (topic.to_owned(), text.as_bytes().to_vec()));
        assert_eq!(said, expected, "at {who}");
    }
    at_alice.publish(kept("live", "y"), pair.alice.now);
    link.carry(pair.rigs());
    assert_eq!(pair.bob.broker.retained_count(), 4, "although nobody there asked for it");
}

#[test]
fn a_group_over_two_peers_gets_each_message_once() {
    let pair = Pair::new();
    let mut link = pair.link();
    let mut at_alice = pair.alice.client("a");
    let mut at_bob = pair.bob.connected_as("bob", &crate::rig::connect("b")).0;
    for (line, rig) in [(&mut at_alice, &pair.alice), (&mut at_bob, &pair.bob)] {
        line.ask_for("$share/g/job", at(Qos::AtLeastOnce), rig.now);
    }
    link.carry(pair.rigs());
    let mut publisher = pair.alice.client("p");
    for _ in 0..10 {
        publisher.publish(plain("job", "x"), pair.alice.now);
    }
    link.carry(pair.rigs());
    let counts = (at_alice.messages(pair.alice.now).len(), at_bob.messages(pair.bob.now).len());
    assert_eq!(counts, (10, 0), "our own members come first");
    at_alice.unsubscribe("$share/g/job", pair.alice.now);
    link.carry(pair.rigs());
    for _ in 0..10 {
        publisher.publish(plain("job", "x"), pair.alice.now);
    }
    link.carry(pair.rigs());
    assert_eq!(at_bob.messages(pair.bob.now).len(), 10, "then those of others");
}

#[test]
fn three_peers_pass_nothing_round() {
    let rigs = ["alice", "bob", "carol"].map(|node| Rig::of(node, mqtt::Bounds::default()));
    let heard: [Heard; 6] = Default::default();
    let pairs = [(0, 1), (1, 2), (2, 0)];
    let mut links: Vec<Link> = pairs
        .iter()
        .enumerate()
        .map(|(at, (one, other))| {
            Link::new(&rigs[*one], &rigs[*other], [&heard[2 * at], &heard[2 * at + 1]])
        })
        .collect();
    let mut carry = || {
        for _ in 0..3 {
            for (link, (one, other)) in links.iter_mut().zip(pairs) {
                link.carry([&rigs[one], &rigs[other]]);
            }
        }
    };
    carry();
    let mut lines: Vec<_> = rigs
        .iter()
        .map(|rig| {
            let who = rig.broker.node().to_string();
            let mut line = rig.connected_as(&who, &crate::rig::connect("c")).0;
            line.ask_for("#", at(Qos::AtLeastOnce), rig.now);
            line
        })
        .collect();
    carry();
    for line in &mut lines {
        line.hear(rigs[0].now);
    }
    let id = lines[0].id();
    let sent = Publish { retain: true, ..message("t", "x", Qos::AtLeastOnce, Some(id)) };
    lines[0].say(&Packet::Publish(sent), rigs[0].now);
    carry();
    for (line, rig) in lines.iter_mut().zip(&rigs) {
        assert_eq!(line.messages(rig.now).len(), 1, "at {}", rig.broker.node());
    }
}

/// Only what is below a peer's own name may be carried by it.
fn own_only() -> Policy {
    let filter = |text| vec![Filter::parse(text).unwrap()];
    let rule = Rule {
        name: shared::name::Label::parse("own").unwrap(),
        effect: Effect::Allow,
        grants: vec![Grant::Publish(filter("from/%node/#")), Grant::Subscribe(filter("from/#"))],
        from: Selector::everybody(),
        to: Selector::everybody(),
    };
    Policy { number: 1, rules: vec![rule], ..Policy::built_in() }
}

#[test]
fn a_peer_brings_only_what_it_may_and_of_nobody_who_is_out() {
    let pair = Pair::new();
    let mut link = pair.link();
    let mut subscriber = pair.alice.client("s");
    subscriber.ask_for("from/#", at(Qos::AtLeastOnce), pair.alice.now);
    link.carry(pair.rigs());
    subscriber.hear(pair.alice.now);
    pair.alice.broker.set_rights(rights(&own_only(), "alice"));
    // Bob has not heard of the policy, or does not care.
    let (mut meter, _) = pair.bob.connected_as("meter-7", &crate::rig::connect("m"));
    for topic in ["from/alice/t", "from/bob/t"] {
        meter.publish(kept(topic, topic), pair.bob.now);
    }
    link.carry(pair.rigs());
    assert_eq!(subscriber.texts(pair.alice.now), ["from/bob/t"]);
    assert_eq!(pair.alice.broker.retained_count(), 1);
    pair.alice.broker.set_barred(Box::new(|who, _| *who == name("meter-7")));
    meter.publish(plain("from/bob/t", "x"), pair.bob.now);
    link.carry(pair.rigs());
    assert!(subscriber.messages(pair.alice.now).is_empty());
    assert!(pair.alice.broker.counters.denied.get() >= 2);
}

#[test]
fn a_will_is_its_owners_at_other_peers_too() {
    let will = |id: &str| mqtt::codec::Will {
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        expiry_s: None,
        topic: "wills".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::copy_from_slice(id.as_bytes()),
    };
    let pair = Pair::new();
    let mut link = pair.link();
    let mut subscriber = pair.alice.client("s");
    subscriber.ask_for("wills", at(Qos::AtLeastOnce), pair.alice.now);
    link.carry(pair.rigs());
    subscriber.hear(pair.alice.now);
    pair.alice.broker.set_barred(Box::new(|who, _| *who == name("meter-7")));
    for who in ["meter-7", "meter-8", "bob"] {
        let hello = mqtt::codec::Connect { will: Some(will(who)), ..crate::rig::connect("m") };
        pair.bob.connected_as(who, &hello).0.broken(pair.bob.now);
        link.carry(pair.rigs());
    }
    assert_eq!(subscriber.texts(pair.alice.now), ["meter-8", "bob"]);
}

#[test]
fn a_program_cannot_pass_for_a_peer_nor_a_peer_for_a_program() {
    let pair = Pair::new();
    let (_, ack) = pair.alice.connected_as("bob", &crate::rig::connect("$peer"));
    assert_eq!(ack.reason, Reason::ClientIdentifierNotValid);
    let who = identity("bob");
    let door =
        Door { identity: who, users: Arc::default(), since: None, peer: true, bridge: false };
    let mut client = Client::new(Arc::clone(&pair.alice.broker), door, pair.alice.now);
    let mut out = Vec::new();
    let greeting = mqtt::codec::Connect { client_id: "$peer".into(), ..lasting("x") };
    mqtt::codec::encode(&Packet::Connect(Box::new(greeting)), mqtt::codec::Version::V5, &mut out);
    mqtt::codec::encode(&Packet::Publish(plain("t", "x")), mqtt::codec::Version::V5, &mut out);
    client.handle_bytes(&mut BytesMut::from(&out[..]), pair.alice.now);
    let state = client.fill(&mut Vec::new(), Waker::noop(), pair.alice.now);
    assert_eq!(state, State::Ending);
    assert_eq!(client.why().unwrap().0, Reason::ProtocolError);
}

#[test]
fn a_slow_program_there_holds_back_the_sender_here() {
    let pair = Pair::new();
    let mut link = pair.link();
    let mut stuck = pair.alice.client("stuck");
    stuck.ask_for("t", at(Qos::AtMostOnce), pair.alice.now);
    link.carry(pair.rigs());
    stuck.hear(pair.alice.now);
    let mut publisher = pair.bob.connected_as("bob", &crate::rig::connect("p")).0;
    let text = "x".repeat(50_000);
    let mut said = 0;
    while !publisher.client.is_held(Waker::noop()) {
        publisher.say(&Packet::Publish(plain("t", &text)), pair.bob.now);
        link.carry(pair.rigs());
        said += 1;
        assert!(said < 100, "its sender is never held");
    }
    let waiting: usize = link.ends.iter().flat_map(|(_, _, b)| b).map(BytesMut::len).sum();
    assert!(waiting <= mqtt::limits::PEER_WINDOW_BYTES + text.len(), "{waiting}");
    let mut heard = 0;
    for _ in 0..said {
        heard += stuck.messages(pair.alice.now).len();
        link.carry(pair.rigs());
    }
    assert_eq!(heard, said, "nothing is lost while it is held");
    assert!(!publisher.client.is_held(Waker::noop()));
}
