//! One certificate alive in two places is a copied key, and somebody says so.

use std::path::Path;

use serde_json::Value;
use shared::refusal::Code;
use shared::wire::Body;
use tests::{Credentials, Ear, Network, Peer, SOON, raw, wait_until};

#[test]
fn a_copied_bundle_is_refused_while_the_first_lives() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    copy(&network.bundle("bob"), &network.path().join("copy.bundle"));
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let known = [("alice".to_owned(), alice.address().to_owned())];
    let copied = Peer::start(&network.path().join("copy.bundle"), "127.0.0.1:0", &known);
    wait_until("somebody tells of duplicate-instance", SOON, || {
        [&alice, &bob, &copied].iter().any(|peer| peer.has_event("duplicate-instance"))
    });
    alice.wait_event("duplicate-instance", "us");
    assert!(alice.links().len() <= 1);
    let piece = evidence_at(&alice);
    assert_eq!(piece["shows"], "copy", "{piece}");
    let runs: Vec<&Value> =
        piece["statements"].as_array().unwrap().iter().map(|run| &run["instance"]).collect();
    assert_eq!(runs[0], &bob.status()["instance"]);
    assert_eq!(runs[1], &copied.status()["instance"]);
    // The proof stands by itself: it verifies when nobody runs and the node is revoked.
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let bundle = network.bundle("alice");
    alice.terminate();
    let said = network.peer(&format!("evidence {}", bundle.display())).ended(0);
    let columns: Vec<&str> = said.out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(columns[..2], ["bob", "copy"], "{}", said.out);
}

#[test]
fn a_contradiction_that_somebody_passes_on_is_evidence_too() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let [stolen, carol] =
        ["bob", "carol"].map(|name| Credentials::of_bundle(&network.bundle(name)));
    // Carol passes on what a copy of bob said: the same start, another instance.
    let mut ear = Ear::dial(alice.address(), Some(&carol));
    assert!(matches!(ear.hello(&carol), Some(Body::Welcome(_))));
    let copy = raw::greeting(&stolen, 1).presence;
    ear.say(&Body::Presences(vec![copy], true).to_frame());
    assert_eq!(evidence_at(&alice)["shows"], "copy");
    alice.wait_event("duplicate-instance", "us");
    assert_eq!(bob.links(), ["alice"]);
    assert_eq!(alice.links(), ["bob", "carol"], "the one that we know stays");
}

#[test]
fn nobody_is_accused_by_what_an_earlier_run_said_or_another_signed() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    network.start("bob", &[&alice]).kill();
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let [own, carol] = ["bob", "carol"].map(|name| Credentials::of_bundle(&network.bundle(name)));
    let mut ear = Ear::dial(alice.address(), Some(&carol));
    assert!(matches!(ear.hello(&carol), Some(Body::Welcome(_))));
    let earlier = raw::greeting(&own, 1).presence;
    let mut forged = raw::greeting(&own, 2).presence;
    *forged.last_mut().unwrap() ^= 1;
    ear.say(&Body::Presences(vec![earlier, forged], true).to_frame());
    ear.say(&Body::Ping(7).to_frame());
    wait_until("alice has read it all", SOON, || matches!(ear.body(), Some(Body::Pong(7))));
    assert_eq!(alice.status()["evidence"], 0);
    assert!(!alice.has_event(Code::DuplicateInstance.as_str()));
}

/// The one piece of evidence at a node.
fn evidence_at(peer: &Peer) -> Value {
    wait_until("evidence is kept", SOON, || peer.status()["evidence"] == 1);
    let said = peer.ask("status", &[]).ended(0);
    assert!(said.out.contains("peer evidence"), "{}", said.out);
    peer.ask("evidence", &["--json"]).ended(0).json()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            std::fs::copy(&path, &place).unwrap();
        }
    }
}
