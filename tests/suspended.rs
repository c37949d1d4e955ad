//! A suspended node is out until it is resumed, and then it is in again by itself.

use shared::refusal::Code;
use tests::{Credentials, Network, raw};

#[test]
fn a_hold_is_put_on_and_lifted() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let via = alice.address().to_owned();
    network.ca(&format!("suspend bob --via {via}"));
    alice.wait_links(&["carol"]);
    carol.wait_links(&["alice"]);
    let credentials = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(&via, Some(&credentials)).assert_refused(Code::Suspended);
    alice.wait_event("suspended", "us");
    bob.wait_event("suspended", "them");
    assert_ne!(bob.send("alice", "on hold"), 0);
    network.ca(&format!("resume bob --via {via}"));
    alice.wait_links(&["bob", "carol"]);
    carol.wait_links(&["alice", "bob"]);
    assert_eq!(bob.send("alice", "back again"), 0);
    assert!(!alice.inbox().contains("on hold"));
}

#[test]
fn a_revocation_ends_the_hold_for_good() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let via = alice.address();
    network.ca(&format!("suspend bob --via {via}"));
    network.ca(&format!("revoke bob --via {via}"));
    assert_eq!(network.try_ca("resume bob").code, 1);
    alice.wait_feed(2);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(via, Some(&bob)).assert_refused(Code::Revoked);
}
