//! A certificate counts from its notBefore to its notAfter and not a second longer.

use shared::refusal::Code;
use tests::{Credentials, Network, SOON, Trap, raw, wait_until};

fn refused_both_ways(make: impl Fn(&Network) -> Credentials, code: Code) {
    let network = Network::with(&["alice"]);
    let bob = make(&network);
    let trap = Trap::set(&bob);
    let alice = network.start_dialling("alice", "bob", trap.address());
    trap.first().assert_refused(code);
    raw::knock(alice.address(), Some(&bob)).assert_refused(code);
    alice.wait_event(code.as_str(), "us");
    assert!(alice.links().is_empty());
}

#[test]
fn expired() {
    refused_both_ways(|network| network.forge().dated("bob", -200, -1), Code::Expired);
}

#[test]
fn not_yet_valid() {
    refused_both_ways(|network| network.forge().dated("bob", 600, 3600), Code::NotYetValid);
}

#[test]
fn a_link_lives_no_longer_than_its_certificate() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let bob = network.forge().dated("bob", -200, 4);
    let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
    assert!(ear.hello(&bob).is_some());
    wait_until("the link is there", SOON, || alice.links() == ["bob"]);
    let heard = ear.listen();
    assert!(matches!(heard.code, Some(Code::Expired) | None), "{heard:?}");
    wait_until("the link is gone", SOON, || alice.links().is_empty());
}
