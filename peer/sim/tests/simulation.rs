//! What the network does by the dozen and by the hundred, on a seeded network: it links, cuts
//! exactly the right links, comes back, heals. A failing seed is printed by its panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to stop")]

use peer_core::Outcome;
use shared::feed::Act;
use sim::{World, name};

#[test]
fn twenty_nodes_that_know_one_address_become_a_full_mesh() {
    for seed in 0..5 {
        let mut world = World::new(20, seed);
        world.until(&format!("seed {seed}: full mesh"), 30_000, |w| w.is_full_mesh(|_| true));
    }
}

#[test]
fn a_revocation_cuts_exactly_the_right_links_and_stays() {
    for seed in 0..5 {
        let mut world = World::new(16, seed);
        world.weather.loss_percent = 5;
        world.until("full mesh", 60_000, |w| w.is_full_mesh(|_| true));
        // Where two dialled each other at once, one of the two links goes a moment later.
        world.run(3_000);
        assert!(world.is_full_mesh(|_| true), "seed {seed}");
        world.publish(Act::Revoke, 7, 0);
        let took = world.until("all have cut 7", 2_000, |w| {
            (0..16).filter(|i| *i != 7).all(|i| !w.has_link(i, 7))
        });
        assert!(took <= 1_000, "seed {seed}: {took} ms");
        assert!(world.is_full_mesh(|i| i != 7), "seed {seed}: another link was cut");
        world.run(60_000);
        assert_eq!(world.links_of(7), 0, "seed {seed}: the revoked node came back");
        assert!(world.is_full_mesh(|i| i != 7));
    }
}

#[test]
fn a_suspended_node_comes_back_when_it_is_resumed() {
    let mut world = World::new(6, 1);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.publish(Act::Suspend, 3, 0);
    world.until("cut", 1_000, |w| (0..6).all(|i| i == 3 || !w.has_link(i, 3)));
    world.run(10_000);
    assert_eq!(world.links_of(3), 0);
    world.publish(Act::Resume, 3, 1);
    world.until("back", 60_000, |w| w.is_full_mesh(|_| true));
}

#[test]
fn a_partition_learns_of_the_revocation_when_it_heals() {
    let mut world = World::new(10, 3);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.divide(|index| u8::from(index >= 5));
    world.run(5_000);
    // Node 8 is on the far side; the near side learns of its revocation, the far side cannot.
    world.publish(Act::Revoke, 8, 0);
    world.run(5_000);
    assert!(world.has_link(9, 8), "the far side has not heard of it");
    world.heal(10_000);
    world.until("healed and cut", 60_000, |w| w.is_full_mesh(|i| i != 8) && w.links_of(8) == 0);
}

#[test]
fn messages_arrive_and_the_revoked_hear_nothing() {
    let mut world = World::new(4, 9);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.send(1, &name(2), b"hello");
    world.run(1_000);
    assert_eq!(world.hosts[2].delivered, vec![(name(1), b"hello".to_vec())]);
    assert_eq!(world.hosts[1].outcomes, vec![Outcome::Delivered]);
    world.publish(Act::Revoke, 2, 0);
    world.run(1_000);
    world.send(1, &name(2), b"secret");
    world.run(1_000);
    assert_eq!(world.hosts[2].delivered.len(), 1);
    assert_eq!(
        world.hosts[1].outcomes.last(),
        Some(&Outcome::Refused(shared::refusal::Code::Revoked))
    );
}

#[test]
fn a_stale_feed_is_told_or_ends_the_links_as_the_settings_say() {
    for refuse in [false, true] {
        let mut world = World::new(3, 4);
        world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
        let now = world.now();
        assert!(!world.hosts[0].node.is_stale(now));
        for host in &mut world.hosts {
            host.node.set_refuse_when_stale(refuse);
        }
        // Certificates live a day here, the feed's promise 30: the promise is made shorter.
        world.authority.sign_head(None, now.wall, 600);
        let update = world.authority.whole_feed();
        world.hosts[0].node.handle_feed(update, now).unwrap();
        world.settle(0);
        world.run(590_000);
        assert!(world.is_full_mesh(|_| true), "refuse {refuse}: fresh");
        world.run(20_000);
        assert_eq!(world.is_full_mesh(|_| true), !refuse, "refuse {refuse}: stale");
    }
}

/// Half as many again as this fabric is meant for: bounded, and a revocation reaches everybody. All
/// know only one, who may make each of them dial a third of its links: two thirds of 256 is the
/// largest full mesh that one introducer can bring about.
#[test]
fn a_hundred_and_fifty_nodes_link_and_hear_of_a_revocation() {
    let mut world = World::new(150, 42);
    world.weather.loss_percent = 2;
    let knows_all = |w: &World| w.hosts.iter().all(|host| host.node.known() == 149);
    world.until("all know all", 120_000, knows_all);
    world.run(60_000);
    let links: Vec<usize> = (0..150).map(|i| world.links_of(i)).collect();
    println!("links: {links:?}");
    assert!(links.iter().all(|links| (3..40).contains(links)), "a handful each: {links:?}");
    // Whoever is not linked is linked when somebody talks to it.
    let far = (1..150).find(|far| !world.has_link(5, *far) && *far != 5).unwrap();
    world.send(5, &name(far), b"hello over there");
    world.until("linked on demand", 2_000, |w| w.hosts[5].outcomes == [Outcome::Delivered]);
    assert_eq!(world.hosts[far].delivered, vec![(name(5), b"hello over there".to_vec())]);
    let number = world.publish(Act::Revoke, 120, 0);
    let took = world.until("all have cut it", 1_000, |w| {
        let has = |i: usize| w.hosts[i].node.position().number == number;
        w.links_of(120) == 0 && (0..150).all(|i| i == 120 || has(i))
    });
    assert!(took <= 1_000, "{took} ms");
}

/// The same seed gives the same run.
#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| {
        let mut world = World::new(8, seed);
        world.weather.loss_percent = 10;
        world.run(10_000);
        (world.happenings(), world.wires.count(), world.random)
    };
    assert_eq!(trace(5).1, trace(5).1);
    assert_eq!(trace(5), trace(5));
}
