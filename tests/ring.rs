//! Five peers in a ring, by the policy: nobody is linked with more than two. Topics go round, come
//! once, and find the other way when a peer on the way dies.

use mqtt::codec::{Packet, Qos, Reason};
use serde_json::Value;
use tests::{Network, Peer, SOON, Speaker, wait_until};

use crate::topics::network;

const RING: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The names of a peer's neighbours, in the order of the alphabet.
fn neighbours(at: usize) -> [&'static str; 2] {
    let mut both = [RING[(at + 1) % 5], RING[(at + 4) % 5]];
    both.sort_unstable();
    both
}

/// Everybody may speak with everybody, and nobody may dial who does not stand beside him.
fn ring() -> (Network, Vec<Peer>) {
    let network = network(&RING);
    let mut yaml = "rules:\n".to_owned();
    for (at, node) in RING.iter().enumerate() {
        let others = [RING[(at + 2) % 5], RING[(at + 3) % 5]].join(", ");
        let rule = format!("deny: [connect], from: {{nodes: [{node}]}}, to: {{nodes: [{others}]}}");
        yaml += &format!("  - {{name: {node}, {rule}}}\n");
    }
    let all = "connect, send, {publish: [\"#\"]}, {subscribe: [\"#\", \"$mesh/#\"]}";
    yaml += &format!("  - {{name: rest, allow: [{all}], from: any, to: any}}\n");
    std::fs::write(network.path().join("policy.yaml"), yaml).unwrap();
    network.ca("policy push policy.yaml");
    let mut peers: Vec<Peer> = Vec::new();
    for node in RING {
        let dials: Vec<&Peer> = peers.last().into_iter().chain(peers.first()).collect();
        let dials = if node == "erin" { &dials[..] } else { &dials[..dials.len().min(1)] };
        let peer = network.start(node, dials);
        if peers.is_empty() {
            network.ca(&format!("publish --via {}", peer.address()));
        }
        peers.push(peer);
    }
    for (at, peer) in peers.iter().enumerate() {
        peer.wait_links(&neighbours(at));
    }
    (network, peers)
}

fn status(at: &Peer) -> Value {
    serde_json::from_str(&at.ask("mqtt status", &["--json"]).out).unwrap()
}

/// Waits until a peer knows of so many filters of another: a neighbour's, or one further off.
fn wait_wishes(at: &Peer, of: &str, filters: u64) {
    wait_until(&format!("{} hears of {filters} of {of}", at.node()), SOON, || {
        let status = status(at);
        let has = |list: &str, name: &str| {
            status[list].as_array().unwrap().iter().any(|row| {
                let peer = list == "ways" || row["client"] == "$peer";
                peer && row[name] == of && row["filter_count"].as_u64().unwrap() >= filters
            })
        };
        has("sessions", "identity") || has("ways", "node")
    });
}

#[test]
fn everybody_hears_everybody_once() {
    let (_network, peers) = ring();
    let mut lines: Vec<Speaker> =
        peers.iter().map(|peer| Speaker::connected(peer, "line")).collect();
    for line in &mut lines {
        assert_eq!(line.subscribe("plant/#", Qos::ExactlyOnce), Reason::GrantedQos2);
    }
    for at in &peers {
        for of in RING.iter().filter(|of| **of != at.node()) {
            wait_wishes(at, of, 1);
        }
    }
    for from in 0..RING.len() {
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
        for (number, qos) in qos.into_iter().enumerate() {
            lines[from].begin("plant/t", &format!("{from}.{number}"), qos, false);
        }
        // What is retained is passed on by everybody, and heard once all the same.
        lines[from].begin("plant/kept", &format!("{from} kept"), Qos::AtLeastOnce, true);
        lines[from].begin("plant/end", "end", Qos::AtLeastOnce, false);
        for line in &mut lines {
            let mut heard = Vec::new();
            while heard.len() < 5 {
                heard.push(line.text());
            }
            heard.sort_unstable();
            let own = |number: u32| format!("{from}.{number}");
            assert_eq!(heard, [format!("{from} kept"), own(0), own(1), own(2), "end".to_owned()]);
        }
    }
    for peer in &peers {
        let mut late = Speaker::connected(peer, "late");
        late.subscribe("plant/kept", Qos::AtMostOnce);
        assert_eq!(late.text(), "4 kept", "at {}", peer.node());
        let status = status(peer);
        assert_eq!((&status["lost"], &status["denied"]), (&0.into(), &0.into()));
    }
}

#[test]
fn qos_1_is_complete_and_in_order_when_a_peer_on_the_way_is_killed() {
    let (_network, mut peers) = ring();
    let mut subscriber = Speaker::connected(&peers[2], "s");
    subscriber.subscribe("t", Qos::AtLeastOnce);
    wait_wishes(&peers[0], "carol", 1);
    let mut publisher = Speaker::connected(&peers[0], "p");
    let mut ids = Vec::new();
    for number in 0..300 {
        ids.push(publisher.begin("t", &number.to_string(), Qos::AtLeastOnce, false).unwrap());
    }
    assert_eq!(subscriber.text(), "0", "over bob");
    peers.remove(1).kill();
    for number in 300..600 {
        ids.push(publisher.begin("t", &number.to_string(), Qos::AtLeastOnce, false).unwrap());
    }
    for id in ids {
        assert!(!publisher.await_ack(id).is_error());
    }
    let mut next = 1;
    while next < 600 {
        let number: u32 = subscriber.text().parse().unwrap();
        assert!(number <= next, "{number} came when {next} was due");
        next = next.max(number + 1);
    }
    // Over erin and dave: bob never came back.
    let status = status(&peers[0]);
    let ways = status["ways"].as_array().unwrap();
    let next_of = |node: &str| ways.iter().find(|way| way["node"] == node).unwrap()["next"].clone();
    assert_eq!(next_of("carol"), "erin");
}

#[test]
fn who_is_revoked_carries_nothing_and_his_word_is_forgotten() {
    let (network, peers) = ring();
    let mut subscriber = Speaker::connected(&peers[2], "s");
    subscriber.subscribe("t", Qos::AtLeastOnce);
    wait_wishes(&peers[0], "carol", 1);
    let mut publisher = Speaker::connected(&peers[0], "p");
    assert_eq!(publisher.publish("t", "over bob"), Reason::Success);
    assert_eq!(subscriber.text(), "over bob");
    network.ca(&format!("revoke bob --via {}", peers[2].address()));
    peers[0].wait_links(&["erin"]);
    peers[2].wait_links(&["dave"]);
    wait_until("carol is reached through erin", SOON, || {
        let said = status(&peers[0]);
        said["ways"]
            .as_array()
            .unwrap()
            .iter()
            .any(|way| way["node"] == "carol" && way["next"] == "erin" && way["reachable"] == true)
    });
    let said = status(&peers[0]).to_string();
    assert!(!said.contains("bob"), "{said}");
    assert_eq!(publisher.publish("t", "over erin"), Reason::Success);
    assert_eq!(subscriber.text(), "over erin");
    // Nothing else is on its way to him.
    subscriber.say(&Packet::PingReq);
    subscriber.await_packet(|packet| matches!(packet, Packet::PingResp).then_some(()));
}
