//! Machines that come and go, and clocks that are wrong.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is to stop"
)]

use shared::feed::Act;
use shared::refusal::Code;
use sim::{World, name};

/// Every few seconds one is killed and another started again, in a lossy network, and one is
/// revoked meanwhile: in the end all are there, and the revoked one is not.
#[test]
fn who_comes_and_goes_hears_of_a_revocation_too() {
    for seed in 0..3 {
        let mut world = World::new(24, seed);
        world.weather.loss_percent = 5;
        world.until("full mesh", 60_000, |w| w.is_full_mesh(|_| true));
        let mut down: Option<usize> = None;
        for turn in 0..20 {
            if let Some(back) = down.take() {
                world.start(back);
            }
            let next = 2 + world.random.index(20);
            world.stop(next);
            down = Some(next);
            if turn == 10 {
                world.publish(Act::Revoke, 23, 0);
            }
            world.run(4_000);
        }
        world.start(down.unwrap());
        let what = format!("seed {seed}: all are back");
        world.until(&what, 120_000, |w| w.is_full_mesh(|index| index != 23));
        assert_eq!(world.links_of(23), 0, "seed {seed}");
    }
}

#[test]
fn a_killed_node_that_missed_a_revocation_learns_of_it_when_it_starts() {
    let mut world = World::new(8, 5);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.stop(4);
    world.publish(Act::Revoke, 6, 0);
    world.run(2_000);
    world.start(4);
    world.until("back", 60_000, |w| w.is_full_mesh(|index| index != 6));
    assert_eq!(world.hosts[4].number, 1);
}

/// Five minutes between two clocks are forgiven; whoever is further ahead hears a code until its
/// clock is right.
#[test]
fn clocks_may_be_wrong_by_minutes_and_not_by_hours() {
    let mut world = World::new(0, 1);
    for (index, skew_s) in [0, 140, -140, 7_200].into_iter().enumerate() {
        world.add_with_skew(skew_s * 1_000);
        assert_eq!(world.hosts.len(), index + 1);
    }
    world.until("those of the right hour are linked", 60_000, |w| w.is_full_mesh_among(|i| i < 3));
    let ended = |w: &World| (0..3).map(|index| w.hosts[index].unlinked).sum::<u64>();
    let before = ended(&world);
    world.run(30_000);
    assert_eq!(world.links_of(3), 0);
    assert!(world.hosts[0].refused.contains(&(name(3), Code::Malformed)));
    assert_eq!(ended(&world), before, "nobody else is disturbed");
    world.hosts[3].skew_ms = 0;
    world.until("the clock is right again", 600_000, |w| w.is_full_mesh(|_| true));
}
