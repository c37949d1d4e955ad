//! A peer that is killed at any moment starts again and has lost nothing.

use shared::refusal::Code;
use tests::{Credentials, Network, Peer, raw};

#[test]
fn the_feed_the_inbox_and_the_links_are_there_after_a_kill() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    assert_eq!(carol.send("alice", "before the kill"), 0);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let address = alice.address().to_owned();
    alice.kill();
    let alice = Peer::start(&network.bundle("alice"), &address, &[]);
    assert_eq!(alice.feed_number(), 1);
    assert!(alice.inbox().contains("before the kill"));
    carol.wait_links(&["alice"]);
    assert_eq!(carol.send("alice", "after the kill"), 0);
    let credentials = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(&address, Some(&credentials)).assert_refused(Code::Revoked);
    bob.wait_links(&[]);
}

#[test]
fn killed_again_and_again_while_messages_arrive() {
    let network = Network::with(&["alice", "bob"]);
    let mut alice = network.start("alice", &[]);
    let address = alice.address().to_owned();
    let bob = network.start("bob", &[&alice]);
    let mut delivered = Vec::new();
    for round in 0..4 {
        bob.wait_links(&["alice"]);
        for n in 0..3 {
            let text = format!("message {round}.{n}");
            if bob.send("alice", &text) == 0 {
                delivered.push(text);
            }
        }
        alice.kill();
        alice = Peer::start(&network.bundle("alice"), &address, &[]);
    }
    let inbox = alice.inbox();
    let lost: Vec<_> = delivered.iter().filter(|text| !inbox.contains(*text)).collect();
    assert!(!delivered.is_empty() && lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn a_peer_that_is_told_to_end_says_goodbye() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    alice.terminate();
    bob.wait_links(&[]);
    assert_eq!(bob.ask("stop", &[]).code, 0);
}
