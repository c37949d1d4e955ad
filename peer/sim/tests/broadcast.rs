//! Broadcasts in a network that is larger than a full mesh, while it changes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the bench of a test")]

use std::collections::BTreeMap;

use sim::scale::live;
use sim::{Plan, Weather, World, name};

const SIZE: usize = 150;
const ORIGIN: usize = 7;

fn network(seed: u64) -> World {
    let mut plan = Plan::small(SIZE, seed);
    (plan.weather, plan.introducers) = (Weather { one_way_ms: 50, loss_percent: 5 }, 3);
    let mut world = World::planned(&plan);
    world.run(60_000);
    world
}

/// Says so many numbers, ten a second.
fn say(world: &mut World, from: usize, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.broadcast(from, &number.to_be_bytes());
        world.run(100);
    }
}

/// How often a host heard each number of another.
fn heard(world: &World, at: usize, from: usize) -> BTreeMap<u32, usize> {
    let mut heard = BTreeMap::new();
    let from = name(from);
    for (_, body) in world.hosts[at].delivered.iter().filter(|(origin, _)| *origin == from) {
        let number = u32::from_be_bytes(body.as_slice().try_into().unwrap());
        *heard.entry(number).or_default() += 1;
    }
    heard
}

#[test]
fn everybody_hears_each_once_also_after_many_have_gone_and_come() {
    let mut world = network(1);
    say(&mut world, ORIGIN, 0..50);
    let links: usize = live(&world).into_iter().map(|index| world.links_of(index)).sum();
    assert!(links < SIZE * 24, "{links} links: that is no partial view");
    for gone in 20..40 {
        world.stop(gone);
        say(&mut world, ORIGIN, 50 + (gone as u32 - 20)..51 + (gone as u32 - 20));
    }
    say(&mut world, ORIGIN, 70..100);
    for back in 20..40 {
        world.start(back);
    }
    world.run(30_000);
    world.hosts[ORIGIN].reached.clear();
    say(&mut world, ORIGIN, 100..130);
    world.run(15_000);
    let mut missing = 0;
    for index in live(&world).into_iter().filter(|index| *index != ORIGIN) {
        let heard = heard(&world, index, ORIGIN);
        assert!(heard.values().all(|times| *times == 1), "{index} heard one twice");
        assert!((100..130).all(|number| heard.contains_key(&number)), "{index}: {heard:?}");
        if !(20..40).contains(&index) {
            missing += (0..100).filter(|number| !heard.contains_key(number)).count();
        }
    }
    // What was on its way through those who went is lost, and nothing else.
    assert!(missing < 100 * SIZE / 50, "{missing} were missed by those who stayed");
    let reached = &world.hosts[ORIGIN].reached;
    let all = reached.iter().filter(|reach| reach.taken as usize == SIZE - 1).count();
    assert!(reached.len() == 30 && all >= 25, "{all} of {} are known to have come", reached.len());
}

#[test]
fn after_the_first_it_travels_about_once_to_each() {
    let mut world = network(2);
    say(&mut world, ORIGIN, 0..5);
    let carried = |world: &World| world.traffic.get(&54).map_or(0, |(frames, _)| *frames);
    let before = carried(&world);
    say(&mut world, ORIGIN, 5..25);
    world.run(5_000);
    let each = (carried(&world) - before) as usize / 20;
    assert!((SIZE - 1..SIZE * 3 / 2).contains(&each), "{each} frames for {SIZE} nodes");
}

#[test]
fn both_sides_of_a_partition_go_on_hearing_their_own_and_then_each_other() {
    let mut world = network(3);
    say(&mut world, ORIGIN, 0..10);
    world.divide(|index| u8::from(index >= SIZE / 2));
    world.run(60_000);
    say(&mut world, ORIGIN, 10..20);
    say(&mut world, SIZE - 1, 0..10);
    world.run(15_000);
    let side = |index: usize| index >= SIZE / 2;
    for index in live(&world) {
        let ours = (10..20).filter(|n| heard(&world, index, ORIGIN).contains_key(n)).count();
        let theirs = heard(&world, index, SIZE - 1).len();
        let expected = if side(index) { (0, 10) } else { (10, 0) };
        assert!(index == ORIGIN || index == SIZE - 1 || (ours, theirs) == expected, "{index}");
    }
    world.heal(60_000);
    world.run(30_000);
    say(&mut world, ORIGIN, 20..30);
    world.run(15_000);
    for index in live(&world).into_iter().filter(|index| *index != ORIGIN) {
        let heard = heard(&world, index, ORIGIN);
        assert!((20..30).all(|number| heard.get(&number) == Some(&1)), "{index}: {heard:?}");
    }
}

#[test]
fn clocks_as_wrong_as_a_members_may_be_hear_and_are_heard() {
    let mut world = network(4);
    let fast = world.add_with_skew(280_000);
    world.run(30_000);
    say(&mut world, ORIGIN, 0..5);
    say(&mut world, fast, 0..5);
    world.run(15_000);
    assert_eq!(heard(&world, fast, ORIGIN).len(), 5);
    assert_eq!(heard(&world, ORIGIN, fast).len(), 5);
}
