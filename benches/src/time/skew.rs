//! `time.sim.skew_us.*`: how far honest clocks are apart in simulated time, by the same world that
//! the tests of `clock` run in.

#[allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, reason = "shared with tests")]
#[path = "../../../peer/clock/tests/mesh/crystal.rs"]
mod crystal;
#[allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, reason = "shared with tests")]
#[path = "../../../peer/clock/tests/mesh/world.rs"]
mod world;

use anyhow::{Context as _, Result};
use world::{Lie, Plan, S, World};

use crate::harness::{Effort, Figure, Samples};

const HOUR: u64 = 3_600 * S;
/// Between two looks at all clocks.
const LOOK: u64 = 10 * S;
/// What a liar says more, in ns.
const LIE_NS: i64 = 30_000_000_000;

/// Seven nodes for three hours, of which the last two count; each seed is a run.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let roots = [vec![Plan::ROOT; 3], vec![Plan::MEMBER; 4]].concat();
    let mut liars = roots.clone();
    for (plan, lie_ns) in liars.iter_mut().rev().zip([LIE_NS, -LIE_NS]) {
        *plan = Plan::liar(Lie::Constant(lie_ns));
    }
    let cases = [("roots", roots), ("two_liars", liars), ("isolated", vec![Plan::MEMBER; 7])];
    let seeds = u64::try_from(effort.pick(1, 20))?;
    let figure = |(name, plans): (&str, Vec<Plan>)| -> Result<Figure> {
        let middles = (1..=seeds).map(|seed| skew_us(seed, &plans)).collect::<Result<_>>()?;
        let mut figure = Figure::new(&format!("time.sim.skew_us.{name}"), "µs", &Samples(middles));
        "the greatest distance of two honest clocks, in the middle of two hours; each run a seed"
            .clone_into(&mut figure.against);
        Ok(figure)
    };
    cases.into_iter().map(figure).collect()
}

/// The middle of the distances in one run.
fn skew_us(seed: u64, plans: &[Plan]) -> Result<f64> {
    let mut world = World::new(seed, plans);
    let honest = world.honest();
    let mut skews = Samples::default();
    let mut at = HOUR;
    while at <= 3 * HOUR {
        world.run_until(at);
        let errors: Vec<i64> = honest.iter().map(|node| world.error_ns(*node)).collect();
        let (low, high) = errors.iter().min().zip(errors.iter().max()).context("nobody")?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        skews.0.push(high.abs_diff(*low) as f64 / 1e3);
        at += LOOK;
    }
    Ok(skews.median())
}
