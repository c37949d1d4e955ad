//! Topics travel from peer to peer: no loop, no loss at QoS 1, one value of what is retained, and
//! whoever is out is silent everywhere.

use std::time::Duration;

use mqtt::codec::{Packet, Qos, Reason};
use rustix::process::Signal;
use tests::{Network, Peer, SOON, Speaker, wait_until};

/// A network whose nodes speak MQTT over their Unix sockets.
pub(crate) fn network(nodes: &[&str]) -> Network {
    let network = Network::with(nodes);
    for node in nodes {
        let file = network.bundle(node).join("node.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{text}\nmqtt: {{unix: true}}\n")).unwrap();
    }
    network
}

/// Waits until one peer asks another for at least so many filters.
pub(crate) fn wait_interest(at: &Peer, of: &str, filters: u64) {
    wait_until(&format!("{of} asks {} for {filters}", at.node()), SOON, || {
        let said = at.ask("mqtt status", &["--json"]).out;
        let status: serde_json::Value = serde_json::from_str(&said).unwrap();
        status["sessions"].as_array().unwrap().iter().any(|session| {
            session["identity"] == of
                && session["client"] == "$peer"
                && session["filter_count"].as_u64().unwrap() >= filters
        })
    });
}

#[test]
fn a_message_crosses_to_whoever_wants_it_and_comes_once() {
    let network = network(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let peers = [&alice, &bob, &carol];
    let links = [(0, "bob"), (0, "carol"), (1, "alice"), (1, "carol"), (2, "alice"), (2, "bob")];
    for (at, of) in links {
        wait_interest(peers[at], of, 0);
    }
    let mut lines: Vec<Speaker> =
        peers.iter().map(|peer| Speaker::connected(peer, "line")).collect();
    for line in &mut lines {
        // The SUBACK comes when every linked peer knows of it.
        assert_eq!(line.subscribe("plant/#", Qos::ExactlyOnce), Reason::GrantedQos2);
    }
    // At the latest after a moment, and this machine is slow: so it is looked at.
    for (at, of) in links {
        wait_interest(peers[at], of, 1);
    }
    for (number, qos) in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].iter().enumerate() {
        lines[0].begin("plant/t", &number.to_string(), *qos, false);
    }
    lines[0].begin("plant/end", "end", Qos::AtLeastOnce, false);
    for line in &mut lines {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != "end") {
            heard.push(line.text());
        }
        assert_eq!(heard, ["0", "1", "2", "end"]);
    }
    assert_eq!(lines[1].publish("other", "x"), Reason::NoMatchingSubscribers);
}

#[test]
fn qos_1_is_complete_and_in_order_over_a_peer_that_is_killed() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    wait_interest(&alice, "bob", 0);
    wait_interest(&bob, "alice", 0);
    let (mut subscriber, _) = Speaker::lasting(&bob, "s");
    subscriber.subscribe("t", Qos::AtLeastOnce);
    wait_interest(&alice, "bob", 1);
    let mut publisher = Speaker::connected(&alice, "p");
    let mut sent = 0;
    let mut say = |publisher: &mut Speaker, count: u32| {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(publisher.begin("t", &sent.to_string(), Qos::AtLeastOnce, false).unwrap());
            sent += 1;
        }
        ids
    };
    let before = say(&mut publisher, 300);
    // In mid-flow: bob has some of it.
    assert_eq!(subscriber.text(), "0");
    bob.kill();
    let after = say(&mut publisher, 300);
    for id in before.into_iter().chain(after) {
        assert!(!publisher.await_ack(id).is_error());
    }
    let bob = network.start("bob", &[&alice]);
    let (mut subscriber, present) = Speaker::lasting(&bob, "s");
    assert!(present);
    let mut next = 0;
    while next < 600 {
        let message = subscriber.message();
        let number: u32 = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
        // A repetition of what was not acknowledged in time is allowed at QoS 1; a gap is not.
        assert!(number <= next, "{number} came when {next} was due");
        next = next.max(number + 1);
    }
    assert_eq!(next, 600);
}

#[test]
fn a_link_that_is_frozen_loses_nothing_of_qos_1() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    wait_interest(&alice, "bob", 0);
    wait_interest(&bob, "alice", 0);
    let mut subscriber = Speaker::connected(&bob, "s");
    subscriber.subscribe("t", Qos::AtLeastOnce);
    wait_interest(&alice, "bob", 1);
    let mut publisher = Speaker::connected(&alice, "p");
    bob.signal(Signal::STOP);
    let ids: Vec<_> = (0..50)
        .map(|n| publisher.begin("t", &n.to_string(), Qos::AtLeastOnce, false).unwrap())
        .collect();
    assert!(
        publisher.hear_within(Duration::from_millis(300)).is_none(),
        "nobody has it, and it is on no disk"
    );
    bob.signal(Signal::CONT);
    for id in ids {
        assert_eq!(publisher.await_ack(id), Reason::Success);
    }
    let heard: Vec<String> = (0..50).map(|_| subscriber.text()).collect();
    assert_eq!(heard, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_is_retained_heals_after_a_partition() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    wait_interest(&alice, "bob", 0);
    let mut at_alice = Speaker::connected(&alice, "a");
    at_alice.retain("both", "old");
    at_alice.retain("gone", "x");
    let mut at_bob = Speaker::connected(&bob, "b");
    at_bob.subscribe("#", Qos::AtMostOnce);
    let mut seen = [at_bob.message().topic, at_bob.message().topic];
    seen.sort();
    assert_eq!(seen, ["both", "gone"]);
    drop(at_bob);
    bob.terminate();
    at_alice.retain("gone", "");
    at_alice.retain("hers", "y");
    let alone = network.start("bob", &[]);
    let mut at_bob = Speaker::connected(&alone, "b");
    at_bob.retain("both", "new");
    drop(at_bob);
    alone.terminate();
    let bob = network.start("bob", &[&alice]);
    for peer in [&alice, &bob] {
        wait_until(&format!("{} has all", peer.node()), SOON, || {
            let mut line = Speaker::connected(peer, "look");
            line.subscribe("#", Qos::AtMostOnce);
            line.say(&Packet::PingReq);
            let mut heard = Vec::new();
            while let Some(Some(packet)) = line.hear_within(SOON) {
                match packet {
                    Packet::Publish(message) => {
                        let text = String::from_utf8(message.payload.to_vec()).unwrap();
                        heard.push(format!("{} {text}", message.topic));
                    }
                    // What is retained was said before.
                    Packet::PingResp => break,
                    _ => {}
                }
            }
            heard.extend(drain(&mut line));
            heard.sort();
            heard == ["both new", "hers y"]
        });
    }
}

/// What is still said within a moment.
fn drain(line: &mut Speaker) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Some(packet)) = line.hear_within(Duration::from_millis(50)) {
        if let Packet::Publish(message) = packet {
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            heard.push(format!("{} {text}", message.topic));
        }
    }
    heard
}

#[test]
fn who_is_revoked_is_silent_at_every_peer() {
    let network = network(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    wait_interest(&bob, "alice", 0);
    let mut subscriber = Speaker::connected(&alice, "s");
    subscriber.subscribe("#", Qos::AtLeastOnce);
    wait_interest(&bob, "alice", 1);
    wait_interest(&carol, "alice", 1);
    let mut at_bob = Speaker::connected(&bob, "p");
    let mut at_carol = Speaker::connected(&carol, "p");
    assert_eq!(at_bob.publish("t", "from bob"), Reason::Success);
    assert_eq!(subscriber.text(), "from bob");
    network.ca(&format!("revoke bob --via {}", carol.address()));
    alice.wait_links(&["carol"]);
    at_bob.begin("t", "from nobody", Qos::AtLeastOnce, false);
    assert_eq!(at_carol.publish("t", "from carol"), Reason::Success);
    assert_eq!(subscriber.text(), "from carol");
    let said = alice.ask("mqtt status", &[]).out;
    assert!(!said.contains("bob"), "its queue is gone too: {said}");
}

#[test]
fn whether_a_peer_is_there_stands_under_its_name() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let mut line = Speaker::connected(&alice, "s");
    assert_eq!(line.subscribe("$mesh/peers/+/state", Qos::AtMostOnce), Reason::Success);
    let bob = network.start("bob", &[&alice]);
    let first = line.message();
    assert_eq!((&*first.topic, &first.payload[..]), ("$mesh/peers/bob/state", &b"online"[..]));
    bob.terminate();
    assert_eq!(line.text(), "offline");
}

#[test]
fn a_peer_that_may_not_publish_there_is_not_heard() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    wait_interest(&bob, "alice", 0);
    let mut subscriber = Speaker::connected(&alice, "s");
    subscriber.subscribe("plant/#", Qos::AtLeastOnce);
    wait_interest(&bob, "alice", 1);
    let policy = "rules:\n\
        - {name: talk, allow: [connect, send, {subscribe: [\"#\"]}], from: any, to: any}\n\
        - {name: own, allow: [{publish: [\"plant/%node/#\"]}], from: any, to: {nodes: [alice]}}\n\
        - {name: at-bob, allow: [{publish: [\"#\"]}], from: any, to: {nodes: [bob]}}\n\
        quotas: []\ntests: []\n";
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca(&format!("policy push policy.yaml --via {}", alice.address()));
    wait_until("bob has the policy", SOON, || bob.ask("policy show", &[]).out.contains("policy 1"));
    let mut publisher = Speaker::connected(&bob, "p");
    assert!(!publisher.publish("plant/alice/t", "forged").is_error(), "bob lets it pass");
    assert!(!publisher.publish("plant/bob/t", "own").is_error());
    assert_eq!(subscriber.text(), "own", "and alice does not");
}
