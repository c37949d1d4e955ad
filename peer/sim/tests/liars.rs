//! A member that lies: whatever it says is refused or does nothing, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is to stop"
)]

use peer_core::limits::INTRODUCED_DIALS;
use shared::id::InstanceId;
use shared::presence::{Presence, SignedPresence};
use shared::refusal::Code;
use shared::wire::{Body, Kind, frame_into};
use sim::{Authority, World, name};

const SIZE: usize = 6;
const LIAR: usize = 5;
const VICTIM: usize = 1;
const THIRD: usize = 3;

fn world(seed: u64) -> World {
    let mut world = World::new(SIZE, seed);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.run(2_000);
    world
}

/// What a host says of itself now.
fn said(world: &World, index: usize) -> Presence {
    SignedPresence::peek(&world.hosts[index].node.greeting().presence).unwrap()
}

/// Where the victim believes the third to be.
fn believed(world: &World) -> Vec<String> {
    let third = name(THIRD);
    let prospects = world.hosts[VICTIM].node.prospects();
    prospects.filter(|(node, _)| **node == third).flat_map(|(_, p)| p.addresses.clone()).collect()
}

/// The liar says it to the victim; afterwards the victim believes what it believed, dials nobody
/// new, and whoever is honest is linked as before, by the same links.
fn says_in_vain(world: &mut World, what: &str, statements: Vec<Vec<u8>>) {
    let before = believed(world);
    let dials = world.wires.count();
    let ended: u64 = honest(world);
    assert!(world.inject_body(LIAR, VICTIM, &Body::Presences(statements, true)), "{what}");
    world.run(20_000);
    assert_eq!(believed(world), before, "{what}");
    assert_eq!(world.wires.count(), dials, "{what}: somebody dialled");
    assert!(world.knocks.is_empty(), "{what}: {:?}", world.knocks);
    assert_eq!(honest(world), ended, "{what}: a link ended");
}

/// Links that ended at honest hosts so far.
fn honest(world: &World) -> u64 {
    (0..SIZE).filter(|index| *index != LIAR).map(|index| world.hosts[index].unlinked).sum()
}

fn unlinked(world: &World) -> Vec<u64> {
    world.hosts.iter().map(|host| host.unlinked).collect()
}

fn elsewhere(mut presence: Presence) -> Presence {
    presence.sequence += 1_000;
    presence.addresses = vec!["198.51.100.7:443".to_owned()];
    presence
}

#[test]
fn a_presence_in_anothers_name_is_not_believed() {
    let mut world = world(1);
    let forged = elsewhere(said(&world, THIRD));
    let statement = world.hosts[LIAR].sign(&forged);
    says_in_vain(&mut world, "signed by the liar", vec![statement]);
    let mut statement = world.hosts[THIRD].sign(&forged);
    let last = statement.len() - 1;
    statement[last] ^= 1;
    says_in_vain(&mut world, "with a wrong signature", vec![statement]);
}

#[test]
fn a_presence_from_another_network_is_not_believed() {
    let mut world = world(2);
    let mut foreign = Authority::new();
    let papers = foreign.enroll(&name(THIRD));
    let chain: Vec<&[u8]> = papers.chain.iter().map(Vec::as_slice).collect();
    let claim = elsewhere(said(&world, THIRD));
    let statement = claim.sign(&sim::network(), &papers.key, &chain).unwrap();
    says_in_vain(&mut world, "by a foreign authority", vec![statement]);
}

#[test]
fn a_presence_from_the_future_is_not_believed() {
    let mut world = world(3);
    let mut ahead = elsewhere(said(&world, THIRD));
    ahead.at = world.now().wall.plus_s(3_600);
    let statement = world.hosts[THIRD].sign(&ahead);
    says_in_vain(&mut world, "an hour ahead", vec![statement]);
}

#[test]
fn what_is_replayed_changes_nothing() {
    let mut world = world(4);
    let mut old = said(&world, THIRD);
    old.sequence = 0;
    old.addresses = vec!["198.51.100.7:443".to_owned()];
    let old = world.hosts[THIRD].sign(&old);
    let current = world.hosts[THIRD].node.greeting().presence;
    says_in_vain(&mut world, "older, and known", vec![old, current]);
}

#[test]
fn a_liar_that_names_third_parties_aims_few_at_them() {
    let mut world = world(5);
    let mut own = elsewhere(said(&world, LIAR));
    own.addresses = (1..9).map(|port| format!("198.51.100.7:{port}")).collect();
    let statement = world.hosts[LIAR].sign(&own);
    assert!(world.inject_body(LIAR, VICTIM, &Body::Presences(vec![statement], true)));
    world.run(1_000);
    world.stop(LIAR);
    let minutes = 10;
    world.run(minutes * 60_000);
    let knocks: u64 = world.knocks.values().sum();
    let each = u64::from(INTRODUCED_DIALS.burst) + minutes * 60_000 / INTRODUCED_DIALS.every_ms;
    assert!(knocks <= each * (SIZE as u64 - 1), "{knocks}");
    assert!(world.is_full_mesh(|index| index != LIAR));
}

#[test]
fn a_second_run_of_a_certificate_by_hearsay_cuts_nobody() {
    let mut world = world(6);
    let mut twin = said(&world, THIRD);
    twin.instance = InstanceId::new([9; 16]);
    let statement = world.hosts[LIAR].sign(&twin);
    says_in_vain(&mut world, "a twin that the liar signed", vec![statement]);
}

#[test]
fn garbage_ends_the_liars_link_with_a_code_and_no_other() {
    let frame = |kind: Kind, payload: &[u8]| {
        let mut octets = Vec::new();
        frame_into(&mut octets, kind, payload).unwrap();
        octets
    };
    let greeting = |world: &World| Body::Hello(world.hosts[LIAR].node.greeting()).to_frame();
    let mut garbage: Vec<(&str, Vec<u8>)> = vec![
        ("a kind that is none", vec![0, 0, 0, 1, 250]),
        ("a frame of no length", vec![0, 0, 0, 0]),
        ("a frame over the bound", vec![255; 64]),
        ("presences that are none", frame(Kind::Presences, &[0xff; 9])),
        ("a feed that is none", frame(Kind::Feed, &[0; 40])),
        ("an acknowledgement that is none", frame(Kind::FeedAck, b"x")),
        ("a ping of three octets", frame(Kind::Ping, b"abc")),
    ];
    garbage.push(("a second greeting", greeting(&world(7))));
    for (what, octets) in garbage {
        let mut world = world(7);
        let before = unlinked(&world);
        assert!(world.inject(LIAR, VICTIM, &octets), "{what}");
        world.run(100);
        let told = &world.hosts[LIAR].refused_by;
        assert_eq!(told.as_slice(), [(name(VICTIM), Code::Malformed)], "{what}");
        assert!(!world.has_link(VICTIM, LIAR), "{what}");
        assert!(world.is_full_mesh_among(|index| index != LIAR), "{what}");
        let after = unlinked(&world);
        for other in (0..SIZE).filter(|other| ![LIAR, VICTIM].contains(other)) {
            assert!(world.has_link(other, LIAR), "{what}: {other} cut it too");
            assert_eq!(after[other], before[other], "{what}: a link of {other} ended");
        }
    }
}
