//! A renewed certificate is taken while links stand, and used from the next handshake on.

use shared::cert::Facts;
use tests::{Credentials, Network, SOON, wait_until};

#[test]
fn links_stay_and_the_next_one_shows_the_new_certificate() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    network.ca("renew bob --out bob.bundle --new-key");
    let renewed = Credentials::of_bundle(&network.bundle("bob"));
    let serial = Facts::read(&renewed.chain[0]).unwrap().serial.to_string();
    wait_until("bob shows the renewed certificate", SOON, || presented_by(&bob) == serial);
    // The same link, or one under the new certificate that took its place.
    assert!(!bob.log().contains("link down") && !alice.log().contains("link down"));
    assert_eq!(bob.send("alice", "renewed"), 0);
    let carol = network.start("carol", &[&bob]);
    carol.wait_links(&["alice", "bob"]);
}

/// The serial of the certificate that a stranger is shown.
fn presented_by(peer: &tests::Peer) -> String {
    let ear = tests::Ear::dial(peer.address(), None);
    let leaf = ear.peer_certificate().unwrap_or_default();
    Facts::read(&leaf).map(|facts| facts.serial.to_string()).unwrap_or_default()
}
