//! The keeper's edges; how it keeps time is in `tests/mesh`.

use super::*;
use crate::face::State;
use crate::limits::SOURCES_MAX;
use crate::measure::{Leap, Root};
use crate::select::Mark;

const S: u64 = 1_000_000_000;
const NOON: i64 = 1_800_000_000_000_000_000;

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn peer(name: &str) -> SourceId {
    SourceId::Peer(node(name))
}

fn at(s: u64) -> Mono {
    Mono::from_ns(s * S)
}

fn keeper(system_ns: i64) -> Keeper {
    let floor = Floor::new(Utc::from_ns(NOON - 1));
    let system = Utc::from_ns(system_ns);
    Keeper::new(Start { me: node("me"), system, floor, seed: 1 }, at(0))
}

fn members(sources: &[&str], roots: &[&str]) -> Members {
    Members {
        time_root: false,
        sources: sources.iter().map(|name| peer(name)).collect(),
        roots: roots.iter().map(|name| node(name)).collect(),
        ..Members::default()
    }
}

/// Answers of a source that is `offset_ns` ahead, one each second.
fn answer(
    keeper: &mut Keeper,
    from: &str,
    stratum: u8,
    offset_ns: i64,
    turns: std::ops::Range<u64>,
) {
    for turn in turns {
        let utc = Utc::from_ns(NOON + signed(turn * S) + offset_ns + 150_000);
        let received = at(turn).plus_ns(300_000);
        let exchange = Exchange { sent: at(turn), received_there: utc, sent_there: utc, received };
        let told = Told {
            leap: Leap::None,
            stratum,
            root_delay_ns: 0,
            root_dispersion_ns: 1_000,
            reference: utc,
            root: Root::Of(peer(from)),
        };
        keeper.handle_answer(&peer(from), exchange, told, received).unwrap();
    }
}

fn codes(keeper: &mut Keeper) -> Vec<&'static str> {
    let actions = std::iter::from_fn(|| keeper.poll_action());
    let code = |action| match action {
        Action::Tell(event) => Some(event.code()),
        Action::Ask(_) | Action::Keep(_) => None,
    };
    actions.filter_map(code).collect()
}

#[test]
fn it_follows_a_root_after_some_rounds_and_says_what_it_is() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    assert!(!keeper.served(at(0)).synchronised);
    answer(&mut keeper, "a", 1, 5_000_000, 1..4);
    assert_eq!(keeper.reading(at(4)).state, State::Unset, "not at once");
    answer(&mut keeper, "a", 1, 5_000_000, 4..8);
    let reading = keeper.reading(at(8));
    assert_eq!(reading.state, State::Rooted);
    assert!(reading.best.ns().abs_diff(NOON + signed(8 * S) + 5_000_000) < 10_000);
    assert!(reading.bound_ns < 300_000, "{reading:?}");
    let served = keeper.served(at(8));
    assert_eq!((served.told.stratum, served.told.root), (10, Root::Of(peer("a"))));
    assert_eq!(served.reference_id, peer("a").reference_id());
    assert_eq!(codes(&mut keeper), ["clock-step"]);
}

#[test]
fn who_is_dropped_has_no_say_from_that_moment_on() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, 5_000_000, 1..4);
    keeper.handle_members(members(&[], &["a"]), at(4));
    answer(&mut keeper, "a", 1, 5_000_000, 4..20);
    assert_eq!(keeper.reading(at(20)).state, State::Unset);
    assert!(keeper.rows(at(20)).is_empty());
}

#[test]
fn who_loses_the_role_is_barred_and_told_once() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, 0, 1..8);
    keeper.handle_members(members(&["a"], &[]), at(8));
    answer(&mut keeper, "a", 1, 0, 9..30);
    assert_eq!(codes(&mut keeper), ["bad-role"]);
    assert_eq!(keeper.rows(at(29))[0].mark, Mark::Barred);
}

#[test]
fn a_majority_below_the_floor_is_not_adopted() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, -3_600 * signed(S), 1..12);
    assert_eq!(keeper.reading(at(12)).state, State::Unset);
    assert_eq!(codes(&mut keeper), ["rollback"]);
}

#[test]
fn a_system_clock_that_is_set_back_is_told_of() {
    let mut keeper = keeper(NOON);
    let mut shows = |s: u64, ns| {
        keeper.handle_system(Utc::from_ns(NOON + ns), 0, at(s));
        codes(&mut keeper)
    };
    assert!(shows(10, 10 * signed(S)).is_empty());
    assert!(shows(20, 19 * signed(S)).is_empty(), "a second is nothing");
    assert_eq!(shows(30, 28 * signed(S) - 1), ["rollback"]);
    assert!(shows(40, 38 * signed(S)).is_empty());
}

#[test]
fn a_storm_of_naks_and_a_stripped_answer_are_told_once() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &[]), at(0));
    let storm = |keeper: &mut Keeper, count: u32| {
        (0..count).for_each(|_| keeper.handle_nak(&peer("a")));
        codes(keeper)
    };
    assert!(storm(&mut keeper, NAKS - 1).is_empty());
    keeper.handle_nak(&peer("stranger"));
    assert!(codes(&mut keeper).is_empty());
    assert_eq!(storm(&mut keeper, 1), ["nts-nak-storm"]);
    assert!(storm(&mut keeper, 3 * NAKS).is_empty());
    // An answer ends it, and the next may be told.
    answer(&mut keeper, "a", 1, 0, 1..2);
    let _ = codes(&mut keeper);
    assert!(storm(&mut keeper, NAKS - 1).is_empty());
    assert_eq!(storm(&mut keeper, 1), ["nts-nak-storm"]);
    keeper.handle_strip(&peer("stranger"));
    keeper.handle_strip(&peer("a"));
    keeper.handle_strip(&peer("a"));
    assert_eq!(codes(&mut keeper), ["nts-strip"]);
}

#[test]
fn sources_are_bounded_and_roots_come_first() {
    let mut keeper = keeper(NOON);
    let names: Vec<String> = (0..2 * SOURCES_MAX).map(|at| format!("n{at:03}")).collect();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = *sources.last().unwrap();
    keeper.handle_members(members(&sources, &[last]), at(0));
    let rows = keeper.rows(at(0));
    assert_eq!(rows.len(), SOURCES_MAX);
    assert!(rows.iter().any(|row| row.id == peer(last)));
}

#[test]
fn the_floor_is_kept_when_it_rises_and_when_it_is_reset() {
    let mut keeper = keeper(NOON);
    let kept = |keeper: &mut Keeper| {
        let actions: Vec<Action> = std::iter::from_fn(|| keeper.poll_action()).collect();
        actions.iter().any(|action| matches!(action, Action::Keep(_)))
    };
    keeper.handle_verified(Utc::from_ns(NOON + 5), Ground::Signed);
    assert!(kept(&mut keeper));
    keeper.handle_verified(Utc::from_ns(NOON + 5), Ground::Signed);
    assert!(!kept(&mut keeper));
    keeper.reset_floor();
    assert!(kept(&mut keeper));
    assert_eq!(keeper.floor().at(), Utc::from_ns(NOON - 1));
}

#[test]
fn roots_below_the_floor_leave_nobody_rooted_and_raise_no_floor() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, 0, 1..8);
    assert_eq!(keeper.reading(at(8)).state, State::Rooted);
    let tomorrow = NOON + 86_400 * signed(S);
    keeper.handle_verified(Utc::from_ns(tomorrow), Ground::Signed);
    answer(&mut keeper, "a", 1, 0, 9..400);
    assert_eq!(keeper.reading(at(400)).state, State::Holding);
    assert_eq!(keeper.floor().at(), Utc::from_ns(tomorrow));
    keeper.reset_floor();
    keeper.handle_stop(at(400));
    assert_eq!(keeper.floor().at(), Utc::from_ns(NOON - 1), "no word of a root's raises it again");
}

/// How far a node without roots goes with one other whose clock is `offset_ns` ahead.
fn drawn(system_ns: i64, offset_ns: i64) -> i64 {
    let mut keeper = keeper(system_ns);
    keeper.handle_members(members(&["a"], &[]), at(0));
    answer(&mut keeper, "a", 10, offset_ns, 1..400);
    let reading = keeper.reading(at(400));
    assert_eq!(reading.state, State::Mesh);
    let told = codes(&mut keeper);
    let far = system_ns >= NOON && offset_ns > 20 * signed(S);
    assert_eq!(told.contains(&"no-majority"), far, "{told:?}");
    reading.best.ns() - NOON - signed(400 * S)
}

#[test]
fn one_other_does_not_draw_a_clock_away_from_the_systems() {
    let year = 365 * 86_400 * signed(S);
    assert!(drawn(NOON, year).abs() < 1_000_000);
    assert!(drawn(NOON, 2 * signed(S)) > signed(S) / 2, "but together they go");
    assert!(drawn(0, year) > year / 2, "and who has no time has none to lose");
}

fn sleeping(keeper: &mut Keeper, s: u64, shown_s: u64, asleep_s: u64) {
    let system = Utc::from_ns(NOON + signed(shown_s * S));
    keeper.handle_system(system, asleep_s * S, at(s));
}

#[test]
fn after_a_sleep_the_error_is_greater_and_all_are_asked_at_once() {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, 0, 1..100);
    keeper.handle_tick(at(100));
    let _ = std::iter::from_fn(|| keeper.poll_action()).count();
    sleeping(&mut keeper, 100, 100, 0);
    assert!(keeper.reading(at(100)).bound_ns < 1_000_000);
    sleeping(&mut keeper, 101, 101, 1);
    assert!(keeper.reading(at(101)).bound_ns > SLEEP_ERROR_NS);
    keeper.handle_tick(at(101));
    assert!(std::iter::from_fn(|| keeper.poll_action()).any(|act| act == Action::Ask(peer("a"))));
    sleeping(&mut keeper, 102, 102, 1);
    assert!(keeper.reading(at(102)).bound_ns < 2 * SLEEP_ERROR_NS, "counted once");
    answer(&mut keeper, "a", 1, 0, 103..110);
    assert!(keeper.reading(at(110)).bound_ns < 1_000_000, "the roots know");
}

/// A machine that stood still for an hour: what its clock shows ten seconds after.
fn after_standing_still(corrected: bool, ahead_s: i64) -> i64 {
    let mut keeper = keeper(NOON);
    keeper.handle_members(members(&["a"], &["a"]), at(0));
    answer(&mut keeper, "a", 1, 0, 1..100);
    sleeping(&mut keeper, 100, 100, 0);
    sleeping(&mut keeper, 101, if corrected { 3_701 } else { 101 }, 0);
    answer(&mut keeper, "a", 1, ahead_s * signed(S), 101..120);
    (keeper.reading(at(120)).best.ns() - NOON) / signed(S) - 120
}

#[test]
fn a_clock_that_stood_still_is_stepped_forward_and_never_back() {
    assert_eq!(after_standing_still(true, 3_600), 3_600);
    assert_eq!(after_standing_still(false, 3_600), 0, "nothing stood still: it is slewed");
    assert_eq!(after_standing_still(true, -3_600), 0);
}
