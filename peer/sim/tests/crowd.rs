//! Networks that are larger than anybody's directory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the bench of a test")]

use std::collections::BTreeMap;

use peer_core::limits::TALK_MS;
use shared::feed::Act;
use shared::name::NodeName;
use sim::scale::{is_one_network, live};
use sim::{Plan, Weather, World, name};

/// Presences a node keeps here; more than a full mesh has.
const DIRECTORY: usize = 70;

fn crowd(size: usize, seed: u64) -> World {
    let weather = Weather { one_way_ms: 50, loss_percent: 5 };
    let start_ms = size as u64 * 10;
    let mut world = World::planned(&Plan {
        size,
        seed,
        weather,
        introducers: 3,
        start_ms,
        directory_max: DIRECTORY,
    });
    world.run(60_000);
    world
}

/// Whom a host has in its directory.
fn known(world: &World, index: usize) -> Vec<NodeName> {
    let views = world.hosts[index].node.nodes(world.now_at(index));
    let said = views.into_iter().filter(|view| view.said.is_some() && !view.own);
    said.map(|view| view.node).collect()
}

fn is_known(world: &World, whom: usize) -> bool {
    let others = live(world).into_iter().filter(|index| *index != whom);
    others.into_iter().any(|index| known(world, index).contains(&name(whom)))
}

#[test]
fn a_full_directory_is_a_sample_and_not_the_first_who_came() {
    let mut world = crowd(300, 1);
    // Whoever is linked or wanted has a place whatever its rank; talks of the start are over now.
    world.run(TALK_MS + 10_000);
    assert!(is_one_network(&world));
    let mut holders: BTreeMap<NodeName, usize> = BTreeMap::new();
    for index in live(&world) {
        let known = known(&world, index);
        assert!(known.len() >= DIRECTORY / 4 * 3, "{index} knows {}", known.len());
        let most = DIRECTORY + world.links_of(index) + 20;
        assert!(known.len() <= most, "{index} knows {}", known.len());
        for node in known {
            *holders.entry(node).or_default() += 1;
        }
    }
    // The first seventy would be known to all, and the last to their neighbours only.
    let share = |from: usize| {
        let of = |index: usize| holders.get(&name(index)).copied().unwrap_or_default();
        (from..from + 100).map(of).sum::<usize>()
    };
    let (first, last) = (share(0), share(200));
    assert!(first < last * 3, "known: the first hundred {first} times, the last {last} times");
}

#[test]
fn a_crowd_hears_of_a_revocation_and_nobody_brings_the_revoked_one_back() {
    let mut world = crowd(300, 2);
    assert!(is_known(&world, 150));
    let number = world.publish(Act::Revoke, 150, 7);
    let live = live(&world);
    world.until("all know", 2_000, |w| live.iter().all(|i| w.hosts[*i].number == number));
    world.until("nobody has a link with it", 2_000, |w| w.wires.to(150) == 0);
    for _ in 0..20 {
        assert!(!is_known(&world, 150));
        world.run(10_000);
    }
}

/// Samples never bring back for ever whom nobody heard of any more.
#[test]
fn a_crowd_forgets_who_is_gone() {
    let mut world = crowd(90, 3);
    assert!(is_known(&world, 60));
    world.stop(60);
    world.run(600_000);
    assert!(is_known(&world, 60), "it may come back");
    world.run(3_000_000);
    assert!(!is_known(&world, 60));
    assert!(is_one_network(&world));
    assert!(live(&world).into_iter().all(|index| known(&world, index).len() > DIRECTORY / 2));
}
