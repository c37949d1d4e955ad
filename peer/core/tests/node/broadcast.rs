//! Broadcasts: to whom they go, what becomes of them, and which are heard.

use std::collections::BTreeMap;

use peer_core::{Action, AnswerTo, LinkId, Node, Outcome, Reach, Spreading};
use shared::id::InstanceId;
use shared::refusal::Code;
use shared::wire::{Body, Broadcast, Pack, Receipt, split};

use crate::rig::{Authority, Identity, actions, name, now, said_to};

fn pack(id: u64, text: &str) -> Pack {
    let mut pack = Pack::default();
    assert!(pack.push(text.as_bytes()));
    pack.id = id;
    pack
}

/// What bob says in his run.
fn said(id: u64) -> Body {
    Body::Broadcast(Broadcast { instance: InstanceId::new([9; 16]), pack: pack(id, "hello") })
}

/// Alice, and bob linked with her.
fn pair(authority: &mut Authority) -> (Node, Identity) {
    let mut alice = authority.node("alice", &[]);
    let bob = authority.enroll("bob", &[]);
    assert!(bob.arrives(&mut alice, 1, now(0)));
    actions(&mut alice);
    (alice, bob)
}

/// What the application is handed.
fn handed(node: &mut Node) -> Vec<(LinkId, u64)> {
    let handed = actions(node).into_iter().filter_map(|action| match action {
        Action::Hand { to: AnswerTo::Link(link, id), pack, .. } if id == pack.id => {
            Some((link, id))
        }
        _ => None,
    });
    handed.collect()
}

/// The links that a broadcast goes to, its number, and how far others came.
fn spread(node: &mut Node) -> (Vec<LinkId>, u64, Vec<Reach>) {
    let (mut to, mut number, mut reached) = (Vec::new(), 0, Vec::new());
    for action in actions(node) {
        match action {
            Action::Spread { links, what: Spreading::Direct(id), frame } => {
                let (frame, _) = split(&frame).unwrap().unwrap();
                let said = match Body::parse(&frame) {
                    Ok(Body::Broadcast(said)) => Some((said.instance, said.pack.id)),
                    _ => None,
                };
                assert_eq!(said, Some((node.instance(), id)));
                (to, number) = (links, id);
            }
            Action::Reached { reach, .. } => reached.push(reach),
            _ => {}
        }
    }
    (to, number, reached)
}

fn receipt(id: u64, refused: Option<Code>) -> Body {
    Body::Receipt(Receipt { id, refused })
}

#[test]
fn a_broadcast_is_handed_over_once_and_answered_when_it_is_taken() {
    let (mut alice, _) = pair(&mut Authority::new());
    for id in [2, 1, 2, 1, 3] {
        alice.handle_body(LinkId(1), said(id), now(1)).unwrap();
    }
    assert_eq!(handed(&mut alice), [2, 1, 3].map(|id| (LinkId(1), id)));
    alice.handle_handed(AnswerTo::Link(LinkId(1), 2), None);
    assert_eq!(said_to(LinkId(1), &actions(&mut alice)), [receipt(2, None)]);
}

#[test]
fn a_broadcast_of_another_run_or_of_the_authority_ends_its_link() {
    let mut authority = Authority::new();
    let (mut alice, _) = pair(&mut authority);
    let other = Broadcast { instance: InstanceId::new([8; 16]), pack: pack(1, "hello") };
    let refusal = alice.handle_body(LinkId(1), Body::Broadcast(other), now(1)).unwrap_err();
    assert_eq!(refusal.code, Code::Malformed);
    assert!(handed(&mut alice).is_empty() && alice.links().is_empty());
    let ca = authority.enroll("authority", &["authority"]);
    assert!(ca.arrives(&mut alice, 2, now(2)));
    assert_eq!(alice.handle_body(LinkId(2), said(1), now(3)).unwrap_err().code, Code::Malformed);
}

#[test]
fn whoever_the_policy_denies_is_not_heard_and_not_told() {
    let mut authority = Authority::new();
    let (mut alice, _) = pair(&mut authority);
    let carol = authority.enroll("carol", &[]);
    assert!(carol.arrives(&mut alice, 2, now(0)));
    let number = authority.silence(&["bob"], 1);
    alice.handle_body(LinkId(2), Body::Policy(number), now(1)).unwrap();
    actions(&mut alice);
    alice.handle_body(LinkId(1), said(1), now(2)).unwrap();
    let done = actions(&mut alice);
    assert!(!done.iter().any(|action| matches!(action, Action::Hand { .. })));
    assert_eq!(said_to(LinkId(1), &done), [receipt(1, Some(Code::Policy))]);
    alice.handle_broadcast(1, pack(0, "to all"), now(3));
    assert_eq!(spread(&mut alice).0, [LinkId(2)]);
}

#[test]
fn whoever_is_revoked_is_cut_before_it_is_heard_or_told() {
    let mut authority = Authority::new();
    let (mut alice, bob) = pair(&mut authority);
    alice.handle_feed(authority.revoke(&bob), now(1)).unwrap();
    alice.handle_body(LinkId(1), said(1), now(2)).unwrap();
    assert!(handed(&mut alice).is_empty());
    alice.handle_broadcast(1, pack(0, "to all"), now(3));
    let (links, _, reached) = spread(&mut alice);
    assert_eq!((links, reached), (vec![], vec![Reach::default()]), "nobody is left");
}

#[test]
fn each_that_has_not_taken_it_is_named_with_its_reason() {
    let mut authority = Authority::new();
    let mut alice = authority.node("alice", &[]);
    for (at, node) in ["bob", "carol", "dave", "erin", "frank"].into_iter().enumerate() {
        let at = at as u64 + 1;
        assert!(authority.enroll(node, &[]).arrives(&mut alice, at, now(0)));
    }
    actions(&mut alice);
    alice.handle_broadcast(7, pack(0, "to all"), now(0));
    let (links, id, _) = spread(&mut alice);
    assert_eq!(links.len(), 5);
    alice.handle_unheard(LinkId(1), Spreading::Direct(id), Code::Quota);
    alice.handle_body(LinkId(2), receipt(id, None), now(1)).unwrap();
    alice.handle_body(LinkId(3), receipt(id, Some(Code::Policy)), now(1)).unwrap();
    let ended = peer_core::Ended { refused: None, detail: "gone".to_owned() };
    alice.handle_ended(LinkId(4), ended, now(1));
    assert!(spread(&mut alice).2.is_empty(), "frank may still answer");
    alice.handle_timeout(now(peer_core::limits::ANSWER_MS));
    let missed = BTreeMap::from([
        (name("bob"), Code::Quota),
        (name("dave"), Code::Policy),
        (name("erin"), Code::Unreachable),
        (name("frank"), Code::Unreachable),
    ]);
    assert_eq!(spread(&mut alice).2, [Reach { taken: 1, missed }]);
}

#[test]
fn an_empty_one_and_one_too_many_are_refused_at_once() {
    let (mut alice, _) = pair(&mut Authority::new());
    alice.handle_broadcast(1, Pack::default(), now(0));
    let refused = |request, code| Action::Answer { request, outcome: Outcome::Refused(code) };
    assert_eq!(actions(&mut alice), [refused(1, Code::Malformed)]);
    for request in 0..peer_core::limits::BROADCASTS_MAX as u64 {
        alice.handle_broadcast(request, pack(0, "x"), now(0));
        assert_eq!(spread(&mut alice).0, [LinkId(1)]);
    }
    alice.handle_broadcast(99, pack(0, "x"), now(0));
    assert_eq!(actions(&mut alice), [refused(99, Code::Quota)]);
}
