//! A machine that knows nothing but a floor of the time: whom it lets in, and what becomes of them.

use peer_core::{Action, LinkId, Way};

use crate::rig::{Authority, actions, now};

#[test]
fn while_only_a_floor_is_known_nobody_is_let_in_but_who_may_vouch_for_the_time() {
    let mut authority = Authority::new();
    let (bob, hub) = (authority.enroll("bob", &[]), authority.enroll("hub", &["time-root"]));
    let carol = authority.enroll("carol", &["relay"]);
    let mut node = authority.node("zoe", &[]);
    node.shut_until_time();
    assert!(!bob.arrives(&mut node, 1, now(0)));
    assert!(!carol.arrives(&mut node, 2, now(0)), "another role is not enough");
    assert!(hub.arrives(&mut node, 3, now(0)));
    node.open_with_time(now(1_000));
    assert!(bob.arrives(&mut node, 4, now(1_000)));
    assert!(carol.arrives(&mut node, 5, now(1_000)));
    let ended = actions(&mut node).iter().any(|action| matches!(action, Action::End { .. }));
    assert!(!ended && node.links().len() == 3);
}

#[test]
fn when_the_time_is_known_every_chain_is_judged_by_it() {
    let mut authority = Authority::new();
    let hub = authority.enroll("hub", &["time-root"]);
    let mut node = authority.node("zoe", &[]);
    node.shut_until_time();
    assert!(hub.arrives(&mut node, 1, now(0)));
    let _ = actions(&mut node);
    let mut later = now(1_000);
    later.wall = hub.member().not_after.plus_s(1);
    node.open_with_time(later);
    let cut = |action: &Action| matches!(action, Action::End { link: LinkId(1), way: Way::Cut });
    assert!(actions(&mut node).iter().any(cut));
    assert!(!hub.arrives(&mut node, 2, later));
}
