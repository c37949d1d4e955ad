//! Approved nodes are linked with each other, whoever dialled, and their messages arrive.

use shared::refusal::Code;
use tests::{Network, raw};

#[test]
fn three_nodes_that_know_one_address_are_all_linked() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    for peer in [&alice, &bob, &carol] {
        let status = peer.status();
        assert_eq!(status["node"], peer.node());
        assert_eq!(status["links"].as_array().unwrap().len(), 2);
        assert_eq!(status["events"].as_array().unwrap().len(), 0, "nobody was refused: {status}");
    }
    alice.terminate();
    bob.terminate();
    carol.terminate();
}

#[test]
fn a_message_is_delivered_end_to_end_in_both_directions() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    alice.wait_links(&["bob"]);
    bob.wait_links(&["alice"]);
    assert_eq!(bob.send("alice", "from bob"), 0);
    assert_eq!(alice.send("bob", "from alice"), 0);
    assert!(alice.inbox().contains("from bob"));
    assert!(bob.inbox().contains("from alice"));
    assert_eq!(alice.send("nobody", "hello"), 1, "who is not linked is unreachable");
    assert_eq!(alice.ask("ping", &["bob"]).code, 0);
}

#[test]
fn every_algorithm_makes_a_network() {
    for algorithm in ["ed25519", "ml-dsa-65"] {
        let network = Network::of("mesh.example", algorithm);
        let _ = (network.enroll("alice"), network.enroll("bob"));
        let alice = network.start("alice", &[]);
        let bob = network.start("bob", &[&alice]);
        alice.wait_links(&["bob"]);
        assert_eq!(bob.send("alice", algorithm), 0);
    }
}

#[test]
fn a_key_that_never_left_its_node_is_certified_and_linked() {
    let network = Network::with(&["alice"]);
    let _ = network.peer("request carol").ended(0);
    network.ca("enroll carol --csr carol.csr --out carol.crt");
    let _ = network.peer("install carol.bundle carol.crt").ended(0);
    let alice = network.start("alice", &[]);
    let carol = network.start("carol", &[&alice]);
    carol.wait_links(&["alice"]);
    assert_eq!(carol.send("alice", "my own key"), 0);
}

#[test]
fn a_link_needs_a_greeting_and_an_honest_one_gets_an_answer() {
    let network = Network::with(&["alice"]);
    let mallory = network.forge().node("dora", |_| {});
    let alice = network.start("alice", &[]);
    let mut ear = raw::Ear::dial(alice.address(), Some(&mallory));
    let answer = ear.hello(&mallory);
    assert!(matches!(answer, Some(shared::wire::Body::Welcome(_))), "{answer:?}");
    assert!(!alice.has_event(Code::ForeignAuthority.as_str()));
}
