//! A certificate counts for one node, in one network, in the uses it names.

use shared::refusal::Code;
use tests::{Credentials, Network, Trap, raw};

#[test]
fn another_network_under_the_same_authority() {
    let network = Network::with(&["alice"]);
    let bob = network.forge().elsewhere("bob", "other.example");
    let trap = Trap::set(&bob);
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(Code::WrongNetwork);
    raw::knock(alice.address(), Some(&bob)).assert_refused(Code::WrongNetwork);
    alice.wait_event("wrong-network", "us");
}

#[test]
fn another_node_than_the_one_that_was_dialled() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let carol = Credentials::of_bundle(&network.bundle("carol"));
    let trap = Trap::set(&carol);
    let bob = network.start_dialling("bob", "alice", trap.address());
    trap.first().assert_refused(Code::WrongName);
    bob.wait_event("wrong-name", "us");
    assert!(bob.links().is_empty());
}

#[test]
fn a_presence_of_somebody_else() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    let carol = Credentials::of_bundle(&network.bundle("carol"));
    let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
    ear.say(&shared::wire::Body::Hello(raw::greeting(&carol, 1)).to_frame());
    let heard = ear.listen();
    assert!(heard.code.is_some(), "{heard:?}");
    assert_eq!(heard.application_bytes, 0, "{heard:?}");
    assert!(alice.links().is_empty());
}

#[test]
fn an_authority_certificate_used_as_a_node() {
    let network = Network::with(&["alice"]);
    let issuing = network.forge().issuing();
    let trap = Trap::set(&issuing);
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(Code::WrongUsage);
    let heard = raw::knock(alice.address(), Some(&issuing));
    heard.assert_refused(Code::WrongUsage);
    alice.wait_event("wrong-usage", "us");
}

#[test]
fn a_server_only_certificate_may_not_dial() {
    let network = Network::with(&["alice"]);
    let bob = network.forge().usages("bob", false, true);
    let alice = network.start("alice", &[]);
    raw::knock(alice.address(), Some(&bob)).assert_refused(Code::WrongUsage);
    alice.wait_event("wrong-usage", "us");
}

#[test]
fn a_client_only_certificate_may_not_listen() {
    let network = Network::with(&["alice"]);
    let bob = network.forge().usages("bob", true, false);
    let trap = Trap::set(&bob);
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(Code::WrongUsage);
    alice.wait_event("wrong-usage", "us");
}

#[test]
fn a_version_that_nobody_speaks() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    let mut greeting = raw::greeting(&bob, 1);
    (greeting.version_min, greeting.version_max) = (900, 901);
    let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
    ear.say(&shared::wire::Body::Hello(greeting).to_frame());
    ear.listen().assert_refused(Code::Version);
    alice.wait_event("version", "us");
}
