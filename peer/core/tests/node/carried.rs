//! Signed broadcasts, passed on by whoever hears them: what is believed, which way it goes, and
//! what is said back.

use std::collections::BTreeMap;

use peer_core::limits::{ANSWER_MS, PARENT_SILENT_MS, PRUNED_MS, UNPROVEN_BROADCASTS};
use peer_core::{Action, AnswerTo, Ended, LinkId, Node, Reach, Spreading};
use shared::id::InstanceId;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::{Body, BroadcastId, Pack, Told, Unproven, split};

use crate::rig::{Authority, Identity, actions, name, now, said_to};

const BOB: LinkId = LinkId(1);
const CAROL: LinkId = LinkId(2);
const ERIN: LinkId = LinkId(3);

/// Alice in a network too large for a full mesh, linked with bob, carol and erin; she knows dave,
/// with whom she has no link.
struct World {
    authority: Authority,
    alice: Node,
    bob: Identity,
    dave: Identity,
}

impl World {
    fn new() -> Self {
        let mut authority = Authority::new();
        let mut alice = authority.node_in(2, "alice", &[]);
        let bob = authority.enroll("bob", &[]);
        assert!(bob.arrives(&mut alice, 1, now(0)));
        assert!(authority.enroll("carol", &[]).arrives(&mut alice, 2, now(0)));
        assert!(authority.enroll("erin", &[]).arrives(&mut alice, 3, now(0)));
        let dave = authority.enroll("dave", &[]);
        let presence = Body::Presences(vec![dave.says(&[])], true);
        alice.handle_body(BOB, presence, now(0)).unwrap();
        alice.handle_timeout(now(5_000));
        actions(&mut alice);
        Self { authority, alice, bob, dave }
    }

    /// Something of dave's comes on a link.
    fn hear(&mut self, link: LinkId, number: u64, ms: u64) -> Happened {
        self.hear_at(link, number, now(ms).wall, ms)
    }

    fn hear_at(&mut self, link: LinkId, number: u64, at: Timestamp, ms: u64) -> Happened {
        let bytes = self.dave.spoken(number, at, "hello");
        self.take(link, bytes, ms)
    }

    fn take(&mut self, link: LinkId, bytes: Vec<u8>, ms: u64) -> Happened {
        self.alice.handle_body(link, Body::Carried(bytes), now(ms)).unwrap();
        Happened::of(&mut self.alice)
    }

    fn told(&mut self, link: LinkId, told: Told) -> Happened {
        self.alice.handle_body(link, Body::Told(told), now(6_000)).unwrap();
        Happened::of(&mut self.alice)
    }
}

/// What alice did.
#[derive(Debug, Default, PartialEq)]
struct Happened {
    handed: Vec<u64>,
    passed_on: Vec<LinkId>,
    frame: Option<Vec<u8>>,
    said: BTreeMap<LinkId, Vec<Told>>,
    reached: Vec<Reach>,
}

impl Happened {
    fn of(node: &mut Node) -> Self {
        let done = actions(node);
        let mut happened = Self::default();
        for link in [BOB, CAROL, ERIN] {
            let said = said_to(link, &done).into_iter().filter_map(|body| match body {
                Body::Told(told) => Some(told),
                _ => None,
            });
            let said: Vec<Told> = said.collect();
            if !said.is_empty() {
                happened.said.insert(link, said);
            }
        }
        for action in done {
            match action {
                Action::Hand { to: AnswerTo::Carried(which), pack, .. } => {
                    assert_eq!(which.number, pack.id);
                    happened.handed.push(pack.id);
                }
                Action::Spread { links, what: Spreading::Carried(which), frame } => {
                    let (frame, _) = split(&frame).unwrap().unwrap();
                    let body = Body::parse(&frame).unwrap();
                    let Body::Carried(bytes) = body else { unreachable!("{body:?}") };
                    assert_eq!(Unproven::parse(&bytes).unwrap().number(), which.number);
                    (happened.passed_on, happened.frame) = (links, Some(bytes));
                }
                Action::Reached { reach, .. } => happened.reached.push(reach),
                _ => {}
            }
        }
        happened
    }

    fn nothing_but(link: LinkId, told: Told) -> Self {
        Self { said: BTreeMap::from([(link, vec![told])]), ..Self::default() }
    }
}

fn of_dave(number: u64) -> BroadcastId {
    BroadcastId { instance: InstanceId::new([9; 16]), number }
}

fn reached(number: u64, taken: u32, missed: &[(&str, Code)]) -> Told {
    let missed = missed.iter().map(|(node, code)| (name(node), *code)).collect();
    Told::Reached { broadcast: of_dave(number), taken, missed }
}

#[test]
fn one_is_handed_over_once_and_passed_on_by_the_ways_that_are_needed() {
    let mut world = World::new();
    let first = world.hear(BOB, 1, 6_000);
    assert_eq!((first.handed, first.passed_on), (vec![1], vec![CAROL, ERIN]));
    let again = world.hear(CAROL, 1, 6_000);
    assert_eq!(again, Happened::nothing_but(CAROL, Told::Had(of_dave(1))));
    assert_eq!(world.told(CAROL, Told::Had(of_dave(1))), Happened::default());
    let answer = reached(1, 4, &[("frank", Code::Quota)]);
    assert_eq!(world.told(ERIN, answer), Happened::default(), "our own application has not said");
    world.alice.handle_handed(AnswerTo::Carried(of_dave(1)), None);
    let all = reached(1, 5, &[("frank", Code::Quota)]);
    assert_eq!(Happened::of(&mut world.alice), Happened::nothing_but(BOB, all));
    // Carol has another way; until she loses it, or a minute has passed.
    assert_eq!(world.hear(BOB, 2, 6_000).passed_on, [ERIN]);
    assert_eq!(world.told(CAROL, Told::Again(of_dave(0).instance)), Happened::default());
    assert_eq!(world.hear(BOB, 3, 6_000).passed_on, [CAROL, ERIN]);
    world.told(ERIN, Told::Had(of_dave(3)));
    assert_eq!(world.hear(BOB, 4, 6_000 + PRUNED_MS - 1).passed_on, [CAROL]);
    assert_eq!(world.hear(BOB, 5, 6_000 + PRUNED_MS).passed_on, [CAROL, ERIN]);
}

#[test]
fn while_several_are_under_way_the_way_they_come_is_not_given_up() {
    let mut world = World::new();
    assert_eq!(world.hear(BOB, 1, 6_000).passed_on, [CAROL, ERIN]);
    assert_eq!(world.hear(CAROL, 2, 6_000).passed_on, [BOB, ERIN]);
    // Each came first by another; if both were told "had", nothing would come any more.
    let again = world.hear(BOB, 2, 6_001);
    assert_eq!(again, Happened::nothing_but(BOB, reached(2, 0, &[])));
    let again = world.hear(CAROL, 1, 6_001);
    assert_eq!(again, Happened::nothing_but(CAROL, Told::Had(of_dave(1))));
    // Bob falls silent: whoever brings them now is the way.
    world.hear(CAROL, 3, 6_001 + PARENT_SILENT_MS);
    world.hear(CAROL, 4, 6_002 + PARENT_SILENT_MS);
    let again = world.hear(BOB, 4, 6_003 + PARENT_SILENT_MS);
    assert_eq!(again, Happened::nothing_but(BOB, Told::Had(of_dave(4))));
}

#[test]
fn what_cannot_be_proven_goes_no_further_and_says_why() {
    let mut world = World::new();
    let wall = now(6_000).wall;
    let not = |number, code| Happened::nothing_but(BOB, reached(number, 0, &[("alice", code)]));
    let forged = {
        let dave = world.authority.enroll("dave", &[]);
        dave.spoken(1, wall, "hello")
    };
    assert_eq!(world.take(BOB, forged, 6_000), not(1, Code::Malformed));
    let unknown = world.authority.enroll("mallory", &[]).spoken(1, wall, "hello");
    assert_eq!(world.take(BOB, unknown, 6_000), not(1, Code::NoCertificate));
    assert_eq!(world.hear_at(BOB, 1, wall.plus_s(301), 6_000), not(1, Code::NotYetValid));
    assert_eq!(world.hear_at(BOB, 1, wall.plus_s(-301), 6_000), not(1, Code::Expired));
    assert_eq!(world.hear_at(BOB, 1, wall.plus_s(-299), 6_000).handed, [1]);
    assert_eq!(world.hear_at(BOB, 2, wall.plus_s(299), 6_000).handed, [2]);
}

#[test]
fn a_revoked_sender_is_not_heard() {
    let mut world = World::new();
    assert_eq!(world.hear(BOB, 1, 6_000).handed, [1]);
    world.alice.handle_feed(world.authority.revoke(&world.dave), now(6_000)).unwrap();
    actions(&mut world.alice);
    let refused = reached(2, 0, &[("alice", Code::NoCertificate)]);
    assert_eq!(world.hear(BOB, 2, 6_000), Happened::nothing_but(BOB, refused));
}

#[test]
fn a_revoked_carrier_is_waited_for_no_longer() {
    let mut world = World::new();
    world.hear(CAROL, 1, 6_000);
    world.alice.handle_handed(AnswerTo::Carried(of_dave(1)), None);
    world.told(ERIN, reached(1, 1, &[]));
    world.alice.handle_feed(world.authority.revoke(&world.bob), now(6_000)).unwrap();
    let rest = reached(1, 2, &[("bob", Code::Unreachable)]);
    assert_eq!(Happened::of(&mut world.alice).said[&CAROL], [rest]);
}

#[test]
fn whoever_the_policy_denies_neither_hears_nor_carries() {
    let mut world = World::new();
    let policy = world.authority.silence(&["erin"], 1);
    world.alice.handle_body(BOB, Body::Policy(policy), now(6_000)).unwrap();
    actions(&mut world.alice);
    let heard = world.hear(BOB, 1, 6_000);
    assert_eq!((heard.handed, heard.passed_on), (vec![1], vec![CAROL]));
    let policy = world.authority.silence(&["dave"], 2);
    world.alice.handle_body(BOB, Body::Policy(policy), now(6_000)).unwrap();
    actions(&mut world.alice);
    let refused = reached(2, 0, &[("alice", Code::Policy)]);
    assert_eq!(world.hear(BOB, 2, 6_000), Happened::nothing_but(BOB, refused));
}

#[test]
fn a_lost_way_is_asked_for_everywhere_and_by_those_behind_us_too() {
    let mut world = World::new();
    let again = vec![Told::Again(of_dave(0).instance)];
    world.hear(BOB, 1, 6_000);
    let asked = world.told(BOB, Told::Again(of_dave(0).instance));
    assert_eq!(asked.said, BTreeMap::from([(CAROL, again.clone()), (ERIN, again.clone())]));
    let once = world.told(BOB, Told::Again(of_dave(0).instance));
    assert_eq!(once, Happened::default(), "it is nobody's way any more");
    world.hear(CAROL, 2, 6_000);
    let gone = Ended { refused: None, detail: "gone".to_owned() };
    world.alice.handle_ended(CAROL, gone, now(6_000));
    let asked = Happened::of(&mut world.alice).said;
    assert_eq!((&asked[&BOB][0], &asked[&ERIN]), (&again[0], &again));
}

#[test]
fn what_nobody_can_read_and_too_much_that_nobody_can_prove_end_the_link() {
    let mut world = World::new();
    let refusal = world.alice.handle_body(BOB, Body::Carried(vec![1]), now(6_000)).unwrap_err();
    assert_eq!(refusal.code, Code::Malformed);
    let unknown = world.authority.enroll("mallory", &[]).spoken(1, now(6_000).wall, "hello");
    let mut take = || {
        let body = Body::Carried(unknown.clone());
        world.alice.handle_body(CAROL, body, now(6_000)).map_err(|refusal| refusal.code)
    };
    assert!((0..UNPROVEN_BROADCASTS.burst).all(|_| take().is_ok()));
    assert_eq!(take(), Err(Code::Malformed));
    let ca = world.authority.enroll("authority", &["authority"]);
    assert!(ca.arrives(&mut world.alice, 9, now(6_000)));
    let body = Body::Carried(unknown);
    let refusal = world.alice.handle_body(LinkId(9), body, now(6_000)).unwrap_err();
    assert_eq!(refusal.code, Code::Malformed, "the authority carries nothing");
}

#[test]
fn our_own_goes_signed_to_all_and_is_answered_when_they_have_answered() {
    let mut world = World::new();
    let mut pack = Pack::default();
    assert!(pack.push(b"to all"));
    let said = |alice: &mut Node| {
        alice.handle_broadcast(7, pack.clone(), now(6_000));
        Happened::of(alice)
    };
    let first = said(&mut world.alice);
    assert_eq!((first.passed_on, first.reached), (vec![BOB, CAROL, ERIN], vec![]));
    let id = |number| BroadcastId { instance: world.alice.instance(), number };
    let (one, two) = (id(1), id(2));
    let far = |broadcast, taken| Told::Reached { broadcast, taken, missed: Vec::new() };
    world.told(BOB, far(one, 40));
    world.told(CAROL, Told::Had(one));
    world.told(CAROL, far(one, 7));
    let back = world.take(CAROL, first.frame.unwrap(), 6_000);
    assert_eq!(back, Happened::nothing_but(CAROL, Told::Had(one)), "our own came back");
    world.alice.handle_unheard(ERIN, Spreading::Carried(one), Code::Quota);
    let missed = BTreeMap::from([(name("erin"), Code::Quota)]);
    let reach = Happened::of(&mut world.alice).reached;
    assert_eq!(reach, [Reach { taken: 40, missed }]);
    assert_eq!(said(&mut world.alice).passed_on, [BOB, ERIN], "carol has another way");
    world.told(BOB, far(two, u32::MAX));
    world.alice.handle_timeout(now(6_000 + ANSWER_MS));
    let missed = BTreeMap::from([(name("erin"), Code::Unreachable)]);
    let reach = Happened::of(&mut world.alice).reached;
    assert_eq!(reach, [Reach { taken: u32::MAX, missed }]);
}
