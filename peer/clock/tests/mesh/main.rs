//! The mesh clock in a closed loop: seven nodes with their own oscillators, on a LAN, with liars.
//!
//! Everything is drawn from a seed, so what is printed is what every run prints. `cargo test -p
//! clock --test mesh -- --nocapture` shows the figures.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests, and figures for whoever asks for them"
)]

mod crystal;
mod world;

use world::{Lie, Plan, S, World};

const HOUR: u64 = 3_600 * S;
const SEEDS: [u64; 3] = [1, 2, 3];

/// How far honest clocks are apart, sampled every ten seconds, in ns.
#[derive(Debug)]
struct Skews {
    all: Vec<u64>,
    errors: Vec<u64>,
}

impl Skews {
    fn watch(world: &mut World, from: u64, to: u64, of: &[usize]) -> Self {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        let mut at = from;
        while at <= to {
            world.run_until(at);
            let clocks: Vec<i64> = of.iter().map(|node| world.error_ns(*node)).collect();
            let (lo, hi) = (clocks.iter().min().unwrap(), clocks.iter().max().unwrap());
            all.push(hi.abs_diff(*lo));
            errors.push(lo.unsigned_abs().max(hi.unsigned_abs()));
            at += 10 * S;
        }
        all.sort_unstable();
        errors.sort_unstable();
        Self { all, errors }
    }

    fn median_us(&self) -> f64 {
        self.all[self.all.len() / 2] as f64 / 1e3
    }

    fn worst_us(&self) -> f64 {
        *self.all.last().unwrap() as f64 / 1e3
    }

    fn worst_error_us(&self) -> f64 {
        *self.errors.last().unwrap() as f64 / 1e3
    }

    fn print(&self, what: &str) {
        let (median, worst, error) = (self.median_us(), self.worst_us(), self.worst_error_us());
        println!("{what}: skew median {median:.1} us, worst {worst:.1} us; error {error:.1} us");
    }
}

fn three_roots() -> Vec<Plan> {
    [vec![Plan::ROOT; 3], vec![Plan::MEMBER; 4]].concat()
}

/// Three hours, of which the last two count.
fn settled(seed: u64, plans: &[Plan]) -> (World, Skews) {
    let mut world = World::new(seed, plans);
    let honest = world.honest();
    let skews = Skews::watch(&mut world, HOUR, 3 * HOUR, &honest);
    (world, skews)
}

#[test]
fn three_honest_roots_keep_all_together() {
    for seed in SEEDS {
        let (mut world, skews) = settled(seed, &three_roots());
        skews.print(&format!("roots, seed {seed}"));
        assert!(skews.worst_us() < 100.0 && skews.worst_error_us() < 100.0, "{skews:?}");
        for at in 0..7 {
            let quiet = world.codes(at).iter().all(|code| *code == "clock-step");
            assert!(quiet, "{at}: {:?}", world.nodes[at].events);
            let served = world.served(at);
            let strata = if at < 3 { 2..=2 } else { 10..=10 };
            assert!(served.synchronised && strata.contains(&served.told.stratum), "{served:?}");
            assert!(world.nodes[at].floors > 0);
        }
    }
}

/// The measure: honest clocks within 1 ms while two of seven lie by 30 s.
#[test]
fn two_liars_of_seven_move_nobody_and_are_named() {
    for seed in SEEDS {
        let mut plans = three_roots();
        plans[5] = Plan::liar(Lie::Constant(30_000_000_000));
        plans[6] = Plan::liar(Lie::Constant(-30_000_000_000));
        let (world, skews) = settled(seed, &plans);
        skews.print(&format!("two_liars, seed {seed}"));
        assert!(skews.worst_us() < 1_000.0 && skews.worst_error_us() < 1_000.0, "{skews:?}");
        for at in world.honest() {
            assert_eq!(world.liars(at), [5, 6], "node {at}");
        }
    }
}

#[test]
fn a_liar_with_the_role_is_one_vote_of_three() {
    for seed in SEEDS {
        let mut plans = three_roots();
        plans[2] = Plan { lie: Lie::Constant(30_000_000_000), ..Plan::ROOT };
        plans[6] = Plan::liar(Lie::Constant(30_000_000_000));
        let (world, skews) = settled(seed, &plans);
        skews.print(&format!("a liar with the role, seed {seed}"));
        assert!(skews.worst_us() < 1_000.0 && skews.worst_error_us() < 1_000.0, "{skews:?}");
        assert!(world.honest().into_iter().all(|at| world.liars(at) == [2, 6]));
    }
}

#[test]
fn two_faced_liars_part_nobody() {
    for (plans, what) in [
        (three_roots(), "two-faced with roots"),
        (vec![Plan::MEMBER; 7], "two-faced without roots"),
    ] {
        for (seed, lie_ns) in [(1, 2_000_000_000), (2, 400_000), (3, 2_000_000_000)] {
            let mut plans = plans.clone();
            plans[5] = Plan::liar(Lie::TwoFaced(lie_ns));
            plans[6] = Plan::liar(Lie::TwoFaced(-lie_ns));
            let (world, skews) = settled(seed, &plans);
            skews.print(&format!("{what}, {lie_ns} ns, seed {seed}"));
            assert!(skews.worst_us() < 1_000.0, "{skews:?}");
            for at in world.honest() {
                assert!(world.liars(at).iter().all(|liar| *liar > 4), "{:?}", world.liars(at));
            }
        }
    }
}

#[test]
fn draggers_drag_nobody() {
    for (plans, what) in
        [(three_roots(), "draggers with roots"), (vec![Plan::MEMBER; 7], "draggers without roots")]
    {
        for seed in SEEDS {
            let mut plans = plans.clone();
            plans[5] = Plan::liar(Lie::Drag(20e-6));
            plans[6] = Plan::liar(Lie::Drag(20e-6));
            let (world, skews) = settled(seed, &plans);
            skews.print(&format!("{what}, seed {seed}"));
            assert!(skews.worst_us() < 1_000.0, "{skews:?}");
            let rooted = plans[0].role;
            for at in world.honest() {
                assert!(world.liars(at).iter().all(|liar| *liar > 4), "{:?}", world.liars(at));
                assert!(!rooted || world.liars(at) == [5, 6], "{:?}", world.liars(at));
            }
        }
    }
}

/// The measure: within 100 us on a LAN of 0.3 ms.
#[test]
fn without_roots_all_stay_together_and_say_so() {
    for seed in SEEDS {
        let (mut world, skews) = settled(seed, &vec![Plan::MEMBER; 7]);
        skews.print(&format!("isolated, seed {seed}"));
        assert!(skews.worst_us() < 100.0, "{skews:?}");
        for at in 0..7 {
            let codes = world.codes(at);
            assert_eq!(codes.iter().filter(|code| **code == "isolated").count(), 1, "{codes:?}");
            assert!(world.liars(at).is_empty(), "{:?}", world.nodes[at].events);
            let served = world.served(at);
            assert_eq!((served.told.stratum, &served.reference_id), (10, b"MESH"));
        }
    }
}

#[test]
fn a_torn_mesh_holds_over_and_heals() {
    let mut world = World::new(7, &three_roots());
    world.run_until(HOUR);
    for at in [2, 5, 6] {
        world.nodes[at].part = 1;
    }
    let torn = Skews::watch(&mut world, HOUR, 3 * HOUR, &[0, 1, 2, 3, 4, 5, 6]);
    torn.print("torn");
    assert!(torn.worst_us() < 1_000.0, "{torn:?}");
    assert!(world.codes(5).contains(&"isolated") && !world.codes(3).contains(&"isolated"));
    assert_eq!(world.served(5).told.stratum, 10);
    for at in [2, 5, 6] {
        world.nodes[at].part = 0;
    }
    let healed = Skews::watch(&mut world, 3 * HOUR + 1_200 * S, 4 * HOUR, &[0, 1, 2, 3, 4, 5, 6]);
    healed.print("healed");
    assert!(healed.worst_us() < 100.0, "{healed:?}");
    assert_ne!(&world.served(5).reference_id, b"MESH");
    assert!((0..7).all(|at| world.liars(at).is_empty()));
}

/// One root's own source jumps by 5 s: the root follows the other two, nobody else moves.
#[test]
fn a_root_that_steps_is_outvoted() {
    let mut world = World::new(8, &three_roots());
    world.run_until(HOUR);
    world.nodes[0].outside_ns = 5_000_000_000;
    let skews = Skews::watch(&mut world, HOUR, 3 * HOUR, &[0, 1, 2, 3, 4, 5, 6]);
    skews.print("a root's source steps");
    assert!(skews.worst_us() < 1_000.0 && skews.worst_error_us() < 1_000.0, "{skews:?}");
    assert_eq!(world.served(0).told.stratum, 3, "it hangs on another root");
    assert!(world.codes(0).contains(&"clock-liar"), "its own source is named");
}

/// The only root's source jumps: it follows, slowly, and says so; the others follow it.
#[test]
fn the_only_root_steps_and_is_followed_with_500_ppm() {
    let mut world = World::new(9, &[&[Plan::ROOT][..], &[Plan::MEMBER; 4]].concat());
    world.run_until(HOUR);
    world.nodes[0].outside_ns = 1_000_000_000;
    world.run_until(HOUR + 600 * S);
    let error = world.error_ns(3);
    assert!((100_000_000..310_000_000).contains(&error), "{error}");
    let skews = Skews::watch(&mut world, 2 * HOUR, 3 * HOUR, &[0, 1, 2, 3, 4]);
    skews.print("the only root steps");
    assert!(skews.worst_us() < 1_000.0 && skews.errors[0].abs_diff(1_000_000_000) < 1_000_000);
    let slewed = |event: &clock::event::Event| {
        matches!(event, clock::event::Event::Step { at_once: false, .. })
    };
    assert!(world.nodes[0].events.iter().any(|(_, event)| slewed(event)));
}

#[test]
fn one_lying_and_one_honest_root_hold_over_and_alarm() {
    for seed in SEEDS {
        let mut plans = vec![Plan::MEMBER; 7];
        plans[0] = Plan::ROOT;
        plans[1] = Plan { lie: Lie::Constant(30_000_000_000), ..Plan::ROOT };
        let mut world = World::new(seed, &plans);
        // Honest at first, so that there is something to hold over.
        world.nodes[1].plan.lie = Lie::Nothing;
        world.run_until(HOUR);
        world.nodes[1].plan.lie = plans[1].lie;
        let honest = world.honest();
        let skews = Skews::watch(&mut world, HOUR, 3 * HOUR, &honest);
        skews.print(&format!("one against one, seed {seed}"));
        assert!(skews.worst_us() < 10_000.0 && skews.worst_error_us() < 50_000.0, "{skews:?}");
        for at in honest {
            assert!(world.codes(at).contains(&"no-majority"), "{:?}", world.codes(at));
            let (stratum, own) = (world.served(at).told.stratum, plans[at].outside);
            assert_eq!(stratum, if own { 2 } else { 10 });
        }
    }
}

#[test]
fn a_dead_clock_begins_at_the_floor_and_joins_by_the_roots() {
    let mut plans = three_roots();
    plans[4].system_ns = -world::EPOCH;
    let (mut world, skews) = settled(4, &plans);
    skews.print("a dead clock");
    assert!(skews.worst_us() < 100.0, "{skews:?}");
    assert_eq!(world.codes(4)[0], "rollback");
    assert!(world.reading(4).bound_ns < 1_000_000);
}

#[test]
fn a_dead_clock_waits_for_roots_and_serves_nobody_meanwhile() {
    let mut plans = vec![Plan::MEMBER; 5];
    plans.extend([Plan { outside: false, ..Plan::ROOT }, Plan::MEMBER]);
    plans[4].system_ns = -world::EPOCH;
    let mut world = World::new(5, &plans);
    world.run_until(HOUR);
    assert!(!world.served(4).synchronised && world.served(3).synchronised);
    assert_eq!(world.reading(4).state, clock::face::State::Unset);
}

#[test]
fn all_dead_clocks_without_any_root_come_together_at_the_floor() {
    let mut plans = vec![Plan::MEMBER; 7];
    for plan in &mut plans {
        plan.system_ns = -world::EPOCH;
    }
    let (mut world, skews) = settled(6, &plans);
    skews.print("all dead clocks");
    assert!(skews.worst_us() < 100.0, "{skews:?}");
    assert!((0..7).all(|at| world.served(at).synchronised));
}

#[test]
fn a_newcomer_to_a_mesh_without_roots_takes_its_time_and_gives_it_none() {
    let mut plans = vec![Plan::MEMBER; 7];
    plans[6].system_ns = 3_600_000_000_000;
    let mut world = World::new(10, &plans);
    world.nodes[6].part = 1;
    world.run_until(10 * S);
    let skews = Skews::watch(&mut world, HOUR, 2 * HOUR, &[0, 1, 2, 3, 4, 5]);
    assert!(skews.worst_us() < 100.0, "{skews:?}");
    let before = world.error_ns(0);
    world.nodes[6].part = 0;
    world.run_until(3 * HOUR);
    let after = world.error_ns(0);
    assert!(before.abs_diff(after) < 400_000_000, "{before} {after}");
}

/// Whatever happens to honest clocks, what they sign once a minute is no proof against them.
#[test]
fn honest_clocks_never_contradict_themselves() {
    let stepping = [&[Plan::ROOT][..], &[Plan::MEMBER; 4]].concat();
    for (seed, plans) in [(12, three_roots()), (13, vec![Plan::MEMBER; 7]), (14, stepping)] {
        let mut world = World::new(seed, &plans);
        let mut said = vec![Vec::new(); plans.len()];
        for minute in 1..=90 {
            world.run_until(minute * 60 * S);
            if minute == 60 {
                world.nodes[0].outside_ns = 1_000_000_000;
            }
            for (at, said) in said.iter_mut().enumerate() {
                said.extend(world.statement(at));
            }
        }
        for said in said {
            assert!(said.len() > 80, "{}", said.len());
            for (at, one) in said.iter().enumerate() {
                let other = said[at..].iter().find(|other| one.contradiction(other).is_some());
                assert!(other.is_none(), "{one:?} {other:?}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(11, &three_roots());
        world.run_until(HOUR);
        (0..7).map(|at| world.error_ns(at)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
