//! Who has no certificate of this authority gets a refusal and not one byte, dialling or dialled.

use shared::refusal::Code;
use tests::{Credentials, Network, Trap, raw};

#[test]
fn without_a_certificate() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    raw::knock(alice.address(), None).assert_refused(Code::NoCertificate);
    alice.wait_event("no-certificate", "us");
}

#[test]
fn with_the_certificate_of_another_authority() {
    let (network, other) = (Network::with(&["alice"]), Network::with(&["bob"]));
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&other.bundle("bob"));
    raw::knock(alice.address(), Some(&bob)).assert_refused(Code::ForeignAuthority);
    alice.wait_event("foreign-authority", "us");
}

#[test]
fn a_real_peer_of_another_authority_learns_why_too() {
    let (network, other) = (Network::with(&["alice"]), Network::with(&["bob"]));
    let alice = network.start("alice", &[]);
    let bob = other.start_dialling("bob", "alice", alice.address());
    // Both refuse; which of the two refusals is first is a matter of the handshake's order.
    bob.wait_event("foreign-authority", "us");
    assert!(alice.links().is_empty() && bob.links().is_empty());
    assert_eq!(bob.send("alice", "hello"), 1);
    assert!(!alice.inbox().contains("hello"));
}

#[test]
fn with_a_certificate_that_vouches_for_itself() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let mallory = Credentials::self_signed("mallory");
    raw::knock(alice.address(), Some(&mallory)).assert_refused(Code::ForeignAuthority);
    alice.wait_event("foreign-authority", "us");
}

#[test]
fn with_a_member_certificate_and_another_key() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let mut stolen = Credentials::of_bundle(&network.bundle("bob"));
    stolen.key = Credentials::self_signed("mallory").key;
    let heard = raw::knock(alice.address(), Some(&stolen));
    assert_eq!(heard.application_bytes, 0, "{heard:?}");
    assert!(alice.links().is_empty());
}

#[test]
fn a_listener_of_another_authority_is_told_and_gets_nothing() {
    let (network, other) = (Network::with(&["alice"]), Network::with(&["bob"]));
    let trap = Trap::set(&Credentials::of_bundle(&other.bundle("bob")));
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(Code::ForeignAuthority);
    alice.wait_event("foreign-authority", "us");
}

#[test]
fn a_listener_that_vouches_for_itself_is_told_and_gets_nothing() {
    let network = Network::with(&["alice"]);
    let trap = Trap::set(&Credentials::self_signed("bob"));
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(Code::ForeignAuthority);
    alice.wait_event("foreign-authority", "us");
}
