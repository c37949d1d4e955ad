//! A thousand nodes that all start at once, on links of 50 ms that lose one segment in twenty.

use peer_core::limits::{DIRECTORY_MAX, FULL_MESH};
use sim::scale::{LOSSES, ONE_WAY_MS, is_one_network, live, revoke};
use sim::{Plan, Weather, World};

#[test]
fn a_thousand_nodes_hear_of_a_revocation_within_a_second() {
    let weather = Weather { one_way_ms: ONE_WAY_MS, loss_percent: LOSSES[0] };
    let mut world = World::planned(&Plan {
        size: 1_000,
        seed: 1,
        weather,
        introducers: 10,
        start_ms: 0,
        directory_max: DIRECTORY_MAX,
    });
    world.run(15_000);
    assert!(is_one_network(&world));
    let links: Vec<usize> = live(&world).into_iter().map(|index| world.links_of(index)).collect();
    let sum: usize = links.iter().sum();
    assert!(sum < links.len() * FULL_MESH / 2, "a handful of links each: {sum} in all");
    let went = revoke(&mut world, LOSSES[0]);
    assert!(went.p100_ms <= 1_000.0, "{went:?}");
    assert!(went.closed_ms <= 1_000.0, "{went:?}");
    assert!(world.knocks.is_empty());
}
