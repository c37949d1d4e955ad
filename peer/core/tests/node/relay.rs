//! Calls through a relay to a member whose link is just coming up.

use peer_core::{Action, Ended, LinkId};
use shared::refusal::Code;
use shared::wire::{Body, Circuit, Token};

use crate::rig::{Authority, actions, name, now, said_to};

const LINK: LinkId = LinkId(1);

fn calls(actions: &[Action]) -> Vec<Body> {
    let mut bodies = said_to(LINK, actions);
    bodies.retain(|body| matches!(body, Body::Circuit(_)));
    bodies
}

#[test]
fn a_call_waits_until_the_link_of_the_one_who_is_called_is_ready() {
    let mut authority = Authority::new();
    let mut rita = authority.node("rita", &["relay"]);
    let (alice, bob) = (authority.enroll("alice", &[]), authority.enroll("bob", &[]));
    let (token, other) = (Token::new([1; 32]), Token::new([2; 32]));
    let to = name("bob");
    let refused = rita.handle_circuit_asked(alice.member(), &to, token, now(0)).unwrap_err();
    assert_eq!(refused.code, Code::Unreachable);
    assert!(bob.knocks(&mut rita, 1, now(1)));
    rita.handle_circuit_asked(alice.member(), &to, token, now(2)).unwrap();
    assert_eq!(calls(&actions(&mut rita)), []);
    rita.handle_ready(LINK, now(3));
    let from = name("alice");
    let call = |token| Body::Circuit(Circuit::Call { token, from: from.clone() });
    assert_eq!(calls(&actions(&mut rita)), [call(token)]);
    rita.handle_circuit_asked(alice.member(), &to, other, now(4)).unwrap();
    assert_eq!(calls(&actions(&mut rita)), [call(other)], "and each is told once");
    rita.handle_circuit_taken(bob.member(), token, now(5)).unwrap();
}

#[test]
fn a_link_that_never_becomes_ready_ends_the_calls_that_waited_for_it() {
    let mut authority = Authority::new();
    let mut rita = authority.node("rita", &["relay"]);
    let (alice, bob) = (authority.enroll("alice", &[]), authority.enroll("bob", &[]));
    assert!(bob.knocks(&mut rita, 1, now(1)));
    let token = Token::new([1; 32]);
    let circuit = rita.handle_circuit_asked(alice.member(), &name("bob"), token, now(2)).unwrap();
    let ended = Ended { refused: None, detail: "gone".to_owned() };
    rita.handle_ended(LINK, ended, now(3));
    let done = actions(&mut rita).into_iter().find_map(|action| match action {
        Action::EndCircuit { circuit, code } => Some((circuit, code)),
        _ => None,
    });
    assert_eq!(done, Some((circuit, Code::Unreachable)));
    assert_eq!(rita.circuits(), 0);
}
