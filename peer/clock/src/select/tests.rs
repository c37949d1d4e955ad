//! Accept and refuse for every rule of the selection, and what must hold whatever liars say.

use proptest::prelude::*;

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn peer(name: &str) -> SourceId {
    SourceId::Peer(node(name))
}

fn outside(name: &str) -> SourceId {
    SourceId::Outside(crate::measure::OutsideName::parse(name).unwrap())
}

fn electorate(roots: &[SourceId]) -> Electorate {
    let roots = roots.iter().cloned().collect();
    Electorate { me: node("me"), time_root: false, roots, started: true, lead: None }
}

/// A root that says so of itself.
fn root(name: &str, offset_ns: i64) -> Candidate {
    let (id, root) = (peer(name), Root::Of(peer(name)));
    let standing = Standing::TimeRoot;
    Candidate { id, standing, stratum: 1, root, offset_ns, distance_ns: 100 }
}

/// A member that follows a root.
fn member(name: &str, offset_ns: i64) -> Candidate {
    let (id, root) = (peer(name), Root::Of(peer("a")));
    let standing = Standing::Member;
    Candidate { id, standing, stratum: 11, root, offset_ns, distance_ns: 100 }
}

fn local(name: &str, offset_ns: i64) -> Candidate {
    Candidate { id: outside(name), standing: Standing::Local, ..root("x", offset_ns) }
}

fn accepted(verdict: &Verdict) -> &Accepted {
    match &verdict.outcome {
        Outcome::Rooted(accepted) => accepted,
        other => panic!("{other:?}"),
    }
}

fn three() -> Electorate {
    electorate(&[peer("a"), peer("b"), peer("c")])
}

#[test]
fn a_majority_of_the_configured_roots_is_followed() {
    let verdict = select(&three(), &[root("a", 10), root("b", 20), root("c", 90_000)]);
    assert_eq!(accepted(&verdict).offset_ns, 15);
    assert_eq!(accepted(&verdict).place, Interval { lo: -90, hi: 120 });
    assert_eq!(verdict.marks[&peer("c")], Mark::False);
    assert_eq!(verdict.marks[&peer("a")], Mark::Lead);
    assert_eq!(verdict.votes, (3, 3));
}

#[test]
fn the_lead_stays_while_it_agrees() {
    let mut all = three();
    let lead = |all: &Electorate, b| {
        accepted(&select(all, &[root("a", 10), root("b", b), root("c", 20)])).lead.clone()
    };
    assert_eq!(lead(&all, 70), peer("c"), "the nearest");
    all.lead = Some(peer("b"));
    assert_eq!(lead(&all, 70), peer("b"));
    assert_eq!(lead(&all, 70_000), peer("a"));
}

#[test]
fn roots_that_only_touch_agree_and_beyond_that_they_do_not() {
    let two = electorate(&[peer("a"), peer("b")]);
    let verdict = select(&two, &[root("a", 0), root("b", 200)]);
    assert_eq!(accepted(&verdict).offset_ns, 100);
    let verdict = select(&two, &[root("a", 0), root("b", 201)]);
    assert_eq!(verdict.outcome, Outcome::NoMajority(None));
}

#[test]
fn a_minority_of_the_configured_roots_is_not_enough() {
    let verdict = select(&three(), &[root("a", 10), member("m", 50)]);
    let Outcome::Isolated(midpoint) = &verdict.outcome else { panic!("{verdict:?}") };
    assert_eq!((midpoint.offset_ns, midpoint.nodes), (25, 3));
    let one = electorate(&[peer("a")]);
    assert_eq!(accepted(&select(&one, &[root("a", 10), member("m", 50)])).offset_ns, 10);
}

#[test]
fn a_tie_holds_over_and_those_who_are_no_party_stay_together() {
    let two = electorate(&[peer("a"), peer("b")]);
    let verdict = select(&two, &[root("a", 0), root("b", 30_000), member("m", 50)]);
    let Outcome::NoMajority(Some(group)) = &verdict.outcome else { panic!("{verdict:?}") };
    assert_eq!((group.offset_ns, group.nodes), (25, 2));
    assert_eq!(verdict.marks[&peer("a")], Mark::False);
    assert_eq!(verdict.marks[&peer("m")], Mark::Agrees);
}

#[test]
fn two_places_with_a_majority_each_are_none() {
    let wide = Candidate { distance_ns: 50_000, ..root("c", 0) };
    let verdict = select(&three(), &[root("a", -20_000), root("b", 20_000), wide]);
    assert_eq!(verdict.outcome, Outcome::NoMajority(None));
}

#[test]
fn a_wide_claim_pulls_nobody_out_of_an_honest_interval() {
    let wide = Candidate { distance_ns: 1_000_000_000, ..root("b", 900_000_000) };
    let verdict = select(&three(), &[root("a", 10), wide]);
    assert_eq!(accepted(&verdict).offset_ns, 110);
}

#[test]
fn followers_of_a_liar_have_no_vote() {
    let crowd: Vec<Candidate> = (0..20).map(|i| member(&format!("m{i}"), 30_000)).collect();
    let mut all = vec![root("a", 0), root("b", 5), root("c", 30_000)];
    all.extend(crowd);
    assert_eq!(accepted(&select(&three(), &all)).offset_ns, 2);
}

#[test]
fn a_root_has_one_vote_however_many_speak_for_it() {
    let for_a = |name: &str, offset| Candidate { root: Root::Of(peer("a")), ..root(name, offset) };
    let all = [root("a", 0), for_a("b", 40_000), for_a("c", 40_000)];
    let verdict = select(&three(), &all);
    assert_eq!(verdict.votes, (1, 3), "a speaks for itself");
    assert!(matches!(verdict.outcome, Outcome::Isolated(_)));
    let verdict = select(&three(), &all[1..]);
    assert_eq!(verdict.votes, (1, 3), "two speak for one that is silent");
    let torn = [for_a("b", 40_000), for_a("c", 0)];
    assert_eq!(select(&three(), &torn).votes, (0, 3), "and contradict each other");
}

#[test]
fn what_hangs_on_ourselves_or_on_no_root_of_ours_is_no_vote() {
    for claimed in [Root::Of(peer("me")), Root::Of(peer("zoe")), Root::Mesh] {
        let told = Candidate { root: claimed, ..root("a", 0) };
        assert_eq!(select(&three(), &[told]).votes, (0, 3));
    }
    let outside = Candidate { root: Root::Of(outside("o")), ..root("a", 0) };
    assert_eq!(select(&three(), &[outside]).votes, (0, 3), "only we have that one");
    let high = Candidate { stratum: 10, ..root("a", 0) };
    assert_eq!(select(&three(), &[high]).votes, (0, 3), "from stratum 10 on there is no root");
    let nine = Candidate { stratum: 9, ..root("a", 0) };
    assert_eq!(select(&three(), &[nine]).votes, (1, 3));
}

#[test]
fn without_the_role_a_low_stratum_bars() {
    let bold = Candidate { stratum: 9, ..member("m", 30_000) };
    let verdict = select(&three(), &[root("a", 0), root("b", 5), bold.clone()]);
    assert_eq!(verdict.marks[&peer("m")], Mark::Barred);
    let verdict = select(&electorate(&[]), &[bold]);
    assert_eq!(verdict.outcome, Outcome::Alone, "nor is it in a midpoint");
    let modest = Candidate { stratum: 10, ..member("m", 30_000) };
    let verdict = select(&electorate(&[]), &[modest]);
    assert_eq!(verdict.marks[&peer("m")], Mark::Agrees);
}

#[test]
fn our_clock_counts_in_a_midpoint_once_it_was_set() {
    let mut all = electorate(&[]);
    let offset = |electorate: &Electorate| match select(electorate, &[member("m", 50)]).outcome {
        Outcome::Isolated(midpoint) => midpoint.offset_ns,
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(&all), 25);
    all.started = false;
    assert_eq!(offset(&all), 50);
}

#[test]
fn a_midpoint_of_four_bears_one_liar_and_of_three_none() {
    let honest = [member("b", 10), member("c", 20)];
    let isolated = |all: &[Candidate]| match select(&electorate(&[]), all).outcome {
        Outcome::Isolated(midpoint) => (midpoint.offset_ns, midpoint.left_out),
        other => panic!("{other:?}"),
    };
    let mut all = honest.to_vec();
    all.push(member("liar", 30_000_000_000));
    assert_eq!(isolated(&all), (15, 1));
    assert_eq!(isolated(&all[1..]), (15_000_000_000, 0), "documents the limit");
}

/// A root that has `gps`, among others.
fn hub(others: &[SourceId]) -> Electorate {
    let roots = others.iter().cloned().chain([outside("gps")]).collect();
    Electorate { me: node("me"), time_root: true, roots, started: true, lead: None }
}

#[test]
fn a_root_believes_its_own_source_until_a_majority_contradicts() {
    let all = hub(&[peer("a"), peer("b")]);
    let own = local("gps", 500);
    let verdict = select(&all, &[own.clone(), root("a", 450), root("b", 450)]);
    assert_eq!(accepted(&verdict).offset_ns, 500, "not the median with its fellows");
    assert_eq!(
        accepted(&select(&all, std::slice::from_ref(&own))).offset_ns,
        500,
        "nor when they are silent"
    );
    let verdict = select(&all, &[own.clone(), root("a", 500), root("b", 90_000)]);
    assert_eq!(accepted(&verdict).offset_ns, 500);
    assert!(!accepted(&verdict).contested);
    let verdict = select(&all, &[own.clone(), root("b", 90_000)]);
    assert_eq!(accepted(&verdict).offset_ns, 500, "one against one");
    assert!(accepted(&verdict).contested);
    let verdict = select(&all, &[own, root("a", 90_000), root("b", 90_010)]);
    assert_eq!(accepted(&verdict).offset_ns, 90_005, "two of three");
    assert_eq!(verdict.marks[&outside("gps")], Mark::False);
}

#[test]
fn a_root_without_its_source_follows_the_others() {
    let all = hub(&[peer("a"), peer("b")]);
    let verdict = select(&all, &[root("a", 450), root("b", 450)]);
    assert_eq!(accepted(&verdict).offset_ns, 450);
    let mut several = hub(&[peer("a")]);
    several.roots.insert(outside("pool"));
    let torn = [local("gps", 0), local("pool", 9_000), root("a", 0)];
    assert_eq!(select(&several, &torn).outcome, Outcome::NoMajority(None));
}

#[test]
fn a_members_own_sources_vote_beside_the_roots() {
    let roots = electorate(&[outside("pool"), peer("a"), peer("b")]);
    let verdict = select(&roots, &[local("pool", 90_000), root("a", 0), root("b", 10)]);
    assert_eq!(accepted(&verdict).offset_ns, 5);
    assert_eq!(verdict.marks[&outside("pool")], Mark::False);
    let unknown = select(&electorate(&[]), &[local("pool", 10)]);
    assert_eq!(unknown.outcome, Outcome::Alone, "nobody configured it");
}

/// Honest offsets lie within the distance of 0, the true time.
fn honest() -> impl Strategy<Value = (i64, u64)> {
    (-1_000_i64..1_000, 0_u64..1_000)
        .prop_map(|(offset, more)| (offset, offset.unsigned_abs() + more))
}

fn lie() -> impl Strategy<Value = (i64, u64)> {
    (any::<i64>(), prop_oneof![0_u64..2_000, any::<u64>()])
}

fn roots_of(values: &[(i64, u64)], prefix: char) -> Vec<Candidate> {
    let make = |(at, (offset, distance)): (usize, &(i64, u64))| {
        let name = format!("{prefix}{at}");
        Candidate { distance_ns: *distance, ..root(&name, *offset) }
    };
    values.iter().enumerate().map(make).collect()
}

fn members_of(values: &[(i64, u64)], prefix: char) -> Vec<Candidate> {
    let member = |c: Candidate| Candidate { standing: Standing::Member, stratum: 11, ..c };
    roots_of(values, prefix).into_iter().map(member).collect()
}

fn ids(candidates: &[Candidate]) -> Vec<SourceId> {
    candidates.iter().map(|c| c.id.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With fewer than half of the roots lying, whatever they say, what is accepted is in an
    /// honest interval and the truth is in the place.
    #[test]
    fn lying_roots_move_nobody_out_of_the_honest_hull(
        good in prop::collection::vec(honest(), 1..8),
        bad in prop::collection::vec(lie(), 0..7),
        crowd in prop::collection::vec(lie(), 0..8),
    ) {
        prop_assume!(bad.len() < good.len());
        let (honest, liars) = (roots_of(&good, 'a'), roots_of(&bad, 'z'));
        let mut all: Vec<Candidate> = honest.iter().chain(&liars).cloned().collect();
        let electorate = electorate(&ids(&all));
        all.extend(members_of(&crowd, 'm'));
        let verdict = select(&electorate, &all);
        if let Outcome::Rooted(accepted) = &verdict.outcome {
            let offset = Interval::around(accepted.offset_ns, 0);
            let within = |c: &Candidate| c.interval().holds(offset);
            prop_assert!(honest.iter().any(within), "{accepted:?}");
            prop_assert!(accepted.place.lo <= 0 && 0 <= accepted.place.hi, "{accepted:?}");
        }
    }

    /// With f < n/3 liars a midpoint lies between honest clocks; ours is one of them.
    #[test]
    fn lying_members_move_nobody_out_of_the_honest_hull(
        good in prop::collection::vec(honest(), 0..12),
        bad in prop::collection::vec(lie(), 0..6),
    ) {
        prop_assume!(3 * bad.len() < good.len() + 1 + bad.len());
        let all: Vec<Candidate> =
            members_of(&good, 'a').into_iter().chain(members_of(&bad, 'z')).collect();
        if let Outcome::Isolated(midpoint) = select(&electorate(&[]), &all).outcome {
            let offsets = good.iter().map(|(offset, _)| *offset).chain([0]);
            let (lo, hi) = (offsets.clone().min().unwrap(), offsets.max().unwrap());
            prop_assert!((lo..=hi).contains(&midpoint.offset_ns), "{midpoint:?} of {lo}..{hi}");
        }
    }

    /// What two honest nodes are told by two-faced liars leaves both in the honest hull: so their
    /// distance shrinks, whatever is said to whom.
    #[test]
    fn two_faced_liars_do_not_part_two_honest_nodes(
        good in prop::collection::vec(-1_000_i64..1_000, 5),
        to_one in prop::collection::vec(lie(), 2),
        to_other in prop::collection::vec(lie(), 2),
    ) {
        let clocks = good.clone();
        let seen_by = |me: usize, lies: &[(i64, u64)]| {
            let others = clocks.iter().enumerate().filter(|(at, _)| *at != me);
            let honest: Vec<_> = others.map(|(_, clock)| (clock - clocks[me], 10)).collect();
            let all = members_of(&honest, 'a').into_iter().chain(members_of(lies, 'z'));
            match select(&electorate(&[]), &all.collect::<Vec<_>>()).outcome {
                Outcome::Isolated(midpoint) => clocks[me] + midpoint.offset_ns,
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = (seen_by(0, &to_one), seen_by(1, &to_other));
        let (lo, hi) = (*good.iter().min().unwrap(), *good.iter().max().unwrap());
        prop_assert!((lo..=hi).contains(&one) && (lo..=hi).contains(&other));
        prop_assert!(one.abs_diff(other) <= (hi - lo).unsigned_abs() / 2 + 1, "{one} {other}");
    }

    #[test]
    fn the_order_of_the_sources_does_not_matter(
        roots in prop::collection::vec(prop_oneof![honest(), lie()], 0..6),
        members in prop::collection::vec(prop_oneof![honest(), lie()], 0..6),
        turn in 0_usize..12,
    ) {
        let mut all = roots_of(&roots, 'a');
        let electorate = electorate(&ids(&all));
        all.extend(members_of(&members, 'm'));
        let verdict = select(&electorate, &all);
        all.reverse();
        let middle = turn.min(all.len());
        all.rotate_left(middle);
        prop_assert_eq!(select(&electorate, &all), verdict);
    }

    /// One more liar, below the bound, moves a majority's offset no further than the honest hull,
    /// and followers of it move it not at all.
    #[test]
    fn one_more_liar_gains_nothing(
        good in prop::collection::vec(honest(), 3..6),
        bad in lie(),
        crowd in 0_usize..9,
    ) {
        let (honest, liar) = (roots_of(&good, 'a'), roots_of(&[bad], 'z'));
        let mut all: Vec<Candidate> = honest.iter().chain(&liar).cloned().collect();
        let electorate = electorate(&ids(&all));
        let alone = select(&electorate, &all);
        let follower = |at| Candidate { offset_ns: bad.0, ..member(&format!("m{at}"), bad.0) };
        all.extend((0..crowd).map(follower));
        let followed = select(&electorate, &all);
        if let Outcome::Rooted(accepted) = &followed.outcome {
            prop_assert_eq!(&alone.outcome, &followed.outcome);
            let reach = good.iter().map(|(offset, distance)| offset.unsigned_abs() + distance);
            prop_assert!(accepted.offset_ns.unsigned_abs() <= reach.max().unwrap());
        }
    }

    #[test]
    fn speaking_for_a_root_twice_counts_once(
        good in prop::collection::vec(honest(), 2..5),
        echoes in prop::collection::vec(lie(), 0..8),
    ) {
        let honest = roots_of(&good, 'a');
        let mut all = honest.clone();
        all.extend(roots_of(&echoes, 'z').into_iter().map(|echo| {
            Candidate { root: honest[0].root.clone(), ..echo }
        }));
        let electorate = electorate(&ids(&all[..good.len()]));
        let verdict = select(&electorate, &all);
        prop_assert_eq!(verdict.votes, (good.len(), good.len()));
        prop_assert_eq!(verdict.outcome, select(&electorate, &honest).outcome);
    }
}
