//! Newcomers at a rendezvous, and an introducer that lies.

use peer_core::limits::{INTRODUCED_DIALS, LINKS_MAX};
use peer_core::{Action, By, Call, DialFailure, LinkId, Node, Way};
use shared::wire::{Body, DIGEST_SUMS, Spread};

use crate::rig::{Authority, actions, now, said_to};

#[test]
fn a_full_rendezvous_still_takes_newcomers_and_lets_the_oldest_go() {
    let mut authority = Authority::new();
    let mut seed = authority.node("seed", &["rendezvous"]);
    let mut said_goodbye = 0;
    let newcomers = LINKS_MAX as u64 + 20;
    for n in 0..newcomers {
        let newcomer = authority.enroll(&format!("n{n:03}"), &[]);
        assert!(newcomer.arrives(&mut seed, n, now(n * 50)), "newcomer {n}");
        let mut done = actions(&mut seed);
        // Each is told of others, if it asks, before it may be asked to leave.
        let empty = Body::Spread(Spread::Digest(vec![0; DIGEST_SUMS]));
        seed.handle_body(LinkId(n), empty, now(n * 50)).unwrap();
        let answers = actions(&mut seed);
        for held in said_to(LinkId(n), &answers) {
            let Body::Spread(Spread::Holds(lists)) = held else { continue };
            let ids = lists.into_iter().flat_map(|(_, ids)| ids).collect();
            let lacks = Body::Spread(Spread::Lacks(ids));
            seed.handle_body(LinkId(n), lacks, now(n * 50)).unwrap();
        }
        done.extend(answers);
        done.extend(actions(&mut seed));
        let said = said_to(LinkId(n), &done);
        let told = said.iter().any(|b| matches!(b, Body::Presences(l, _) if !l.is_empty()));
        assert!(told || n == 0, "newcomer {n} learns of nobody");
        for action in &done {
            if let Action::End { link, way } = action {
                assert_eq!((*link, *way), (LinkId(said_goodbye), Way::Close), "the oldest first");
                said_goodbye += 1;
            }
        }
        assert!(seed.links().len() <= LINKS_MAX);
    }
    assert!(said_goodbye > 0);
}

#[test]
fn a_node_without_links_turns_to_a_rendezvous_first_and_then_to_everybody() {
    let mut authority = Authority::new();
    let seed = authority.enroll("seed", &["rendezvous"]);
    let seed = seed.says_with(&["192.0.2.2:1".to_owned()], &["rendezvous"]);
    let mut saved = vec![seed, b"no presence".to_vec()];
    for n in 0..3 {
        let node = authority.enroll(&format!("n{n}"), &[]);
        saved.push(node.says(&[format!("192.0.2.1{n}:1")]));
    }
    let stranger = Authority::new().enroll("mallory", &[]).says(&["192.0.2.66:1".to_owned()]);
    saved.push(stranger);
    let mut node = authority.node("zoe", &[]);
    node.handle_remembered(&saved, now(0));
    let dialled = |node: &mut Node, ms| -> Vec<String> {
        node.handle_timeout(now(ms));
        let dials = actions(node).into_iter().filter_map(|action| match action {
            Action::Dial(Call::Known { node, .. }) => Some(node.to_string()),
            _ => None,
        });
        dials.collect()
    };
    // Zoe has the last name of all, so she lets each of them go first for a moment.
    assert_eq!(dialled(&mut node, 1_000), ["seed"]);
    assert_eq!(dialled(&mut node, 3_000), ["n0", "n1", "n2"]);
    assert_eq!(node.remembered().len(), 4, "what did not verify is gone");
}

#[test]
fn what_is_remembered_is_written_soon_and_not_again_and_again() {
    let mut authority = Authority::new();
    let mut node = authority.node("alice", &[]);
    let liar = authority.enroll("carol", &[]);
    assert!(liar.arrives(&mut node, 1, now(0)));
    let mut saves = Vec::new();
    for ms in (0..120_000).step_by(1_000) {
        let n = ms / 1_000;
        let fresh = authority.enroll(&format!("n{n}"), &[]).says(&[format!("192.0.2.1:{}", n + 1)]);
        node.handle_body(LinkId(1), Body::Presences(vec![fresh], true), now(ms)).unwrap();
        node.handle_timeout(now(ms));
        saves.extend(
            actions(&mut node).into_iter().filter(|a| *a == Action::SaveMemory).map(|_| ms),
        );
    }
    assert!(saves[0] <= 3_000 && (2..=3).contains(&saves.len()), "{saves:?}");
    assert!(node.remembered().len() <= peer_core::limits::MEMORY_MAX);
}

#[test]
fn whoever_is_no_rendezvous_refuses_when_it_is_full_and_cuts_nobody() {
    let mut authority = Authority::new();
    let mut node = authority.node("alice", &[]);
    for n in 0..LINKS_MAX as u64 {
        assert!(authority.enroll(&format!("n{n:03}"), &[]).arrives(&mut node, n, now(n * 50)));
    }
    assert!(!authority.enroll("late", &[]).arrives(&mut node, 9999, now(60_000)));
    assert_eq!(node.links().len(), LINKS_MAX);
}

#[test]
fn a_neighbour_that_names_third_parties_makes_us_dial_them_a_bounded_number_of_times() {
    let mut authority = Authority::new();
    let mut alice = authority.node("alice", &[]);
    let liar = authority.enroll("liar", &[]);
    assert!(liar.arrives(&mut alice, 1, now(0)));
    for n in 0..100_u8 {
        let addresses: Vec<String> = (0..8).map(|k| format!("198.51.100.{n}:{}", k + 1)).collect();
        let puppet = authority.enroll(&format!("p{n:03}"), &[]);
        let list = vec![puppet.says(&addresses)];
        alice.handle_body(LinkId(1), Body::Presences(list, true), now(1)).unwrap();
    }
    let (mut dials, minutes) = (0, 10);
    for ms in (2..minutes * 60_000).step_by(500) {
        // The liar stays linked: it answers whatever it is asked.
        let _ = alice.handle_body(LinkId(1), Body::Pong(0), now(ms));
        alice.handle_timeout(now(ms));
        for action in actions(&mut alice) {
            let Action::Dial(Call::Known { node, address }) = action else { continue };
            assert!(address.starts_with("198.51.100."));
            dials += 1;
            let (code, by, detail) = (None, By::Neither, "nobody there".to_owned());
            let failure = DialFailure { code, by, detail, at: now(ms).wall };
            alice.handle_dial_failed(&node, Some(failure), now(ms));
        }
    }
    let most = u64::from(INTRODUCED_DIALS.burst) + minutes * 60_000 / INTRODUCED_DIALS.every_ms;
    assert!(dials >= u64::from(INTRODUCED_DIALS.burst) && dials <= most, "{dials} of {most}");
}

#[test]
fn a_presence_with_ten_thousand_addresses_is_not_believed() {
    let mut authority = Authority::new();
    let mut alice = authority.node("alice", &[]);
    let liar = authority.enroll("liar", &[]);
    assert!(liar.arrives(&mut alice, 1, now(0)));
    let many: Vec<String> = (0..10_000).map(|n| format!("198.51.100.1:{}", n + 1)).collect();
    let bytes = authority.enroll("puppet", &[]).says(&many);
    let outcome = alice.handle_body(LinkId(1), Body::Presences(vec![bytes], true), now(1));
    assert!(outcome.is_err(), "longer than any statement");
    let mut bob = authority.node("bob", &[]);
    assert!(liar.arrives(&mut bob, 1, now(0)));
    let nine = authority.enroll("puppet", &[]).says(&many[..9]);
    bob.handle_body(LinkId(1), Body::Presences(vec![nine], true), now(1)).unwrap();
    bob.handle_timeout(now(2_000));
    assert!(!actions(&mut bob).iter().any(|action| matches!(action, Action::Dial(_))));
}
