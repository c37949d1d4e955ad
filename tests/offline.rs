//! The authority need not be there: peers run without it, and its feed travels by file.

use shared::refusal::Code;
use tests::{Credentials, Network, raw};

#[test]
fn peers_run_without_the_authority_and_a_file_is_enough() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let said = network.ca("revoke bob");
    assert!(said.out.contains("no peer was reached"), "{}", said.out);
    assert_eq!(alice.feed_number(), 0, "nobody has told it yet");
    network.ca("feed export --out mesh.feed");
    let file = network.path().join("mesh.feed");
    // Handed to one peer, it reaches all.
    let _ = carol.ask("feed import", &[file.to_str().unwrap()]).ended(0);
    alice.wait_feed(1);
    alice.wait_links(&["carol"]);
    carol.wait_links(&["alice"]);
    bob.wait_links(&[]);
}

#[test]
fn a_peer_that_was_away_hears_of_it_when_it_returns() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    let carol = network.start("carol", &[&alice]);
    carol.wait_feed(1);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(carol.address(), Some(&bob)).assert_refused(Code::Revoked);
}

#[test]
fn an_import_without_a_daemon_is_there_at_the_next_start() {
    let network = Network::with(&["alice", "bob"]);
    network.ca("revoke bob");
    network.ca("feed export --out mesh.feed");
    let said = network.peer("feed import alice.bundle mesh.feed");
    if said.code == 4 {
        assert!(said.err.contains("hint:"), "{}", said.err);
        return;
    }
    let alice = network.start("alice", &[]);
    alice.wait_feed(1);
}
