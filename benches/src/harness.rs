//! Rounds that take turns, and what is made of them: median, minimum, maximum, ratio.
//!
//! The machine is shared and its speed wanders by tens of percent within a minute. Two things
//! measured one after the other differ by that; two that take turns every few hundred milliseconds
//! do not, and the median of the rounds' ratios is steadier than the ratio of two medians.
//!
//! **Invariant:** in each round every side runs once, and the side that begins changes by round.

use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// How much patience there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// To see that everything runs.
    Quick,
    /// To be quoted.
    Full,
}

impl Effort {
    /// One number or the other.
    pub(crate) const fn pick(self, quick: usize, full: usize) -> usize {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// One line of docs/benchmarks.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Dotted name.
    pub(crate) name: String,
    /// Unit of the numbers.
    pub(crate) unit: String,
    /// Middle of the rounds.
    pub(crate) median: f64,
    /// The least of them.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
    /// How many rounds, or events where each is one.
    pub(crate) runs: usize,
    /// What it is held against, and that thing's own median.
    pub(crate) against: String,
    /// Median over the rounds of ours divided by the limit's.
    pub(crate) ratio: Option<f64>,
    /// What produces it.
    pub(crate) command: String,
    /// Where single events are counted: the value that one in a hundred exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
}

/// What one side measured, a number a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The value that a share of them does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let sorted = self.sorted();
        let last = sorted.len().saturating_sub(1);
        #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
        #[allow(clippy::cast_possible_truncation, reason = "a share of a small count")]
        let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
        sorted.get(index.min(last)).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Each divided by the other side's of the same round.
    fn over(&self, limit: &Self) -> Self {
        Self(self.0.iter().zip(&limit.0).map(|(ours, limit)| ours / limit).collect())
    }
}

/// One side of a comparison: runs once and gives its number.
pub(crate) type Side<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Lets the sides take turns; one round before the first is not counted.
pub(crate) fn take_turns(rounds: usize, sides: &mut [Side<'_>]) -> Result<Vec<Samples>> {
    let mut samples = vec![Samples::default(); sides.len()];
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let which = (turn + round) % sides.len();
            let (Some(side), Some(out)) = (sides.get_mut(which), samples.get_mut(which)) else {
                continue;
            };
            let value = side()?;
            if round > 0 {
                out.0.push(value);
            }
        }
    }
    Ok(samples)
}

/// Events a second of `count` events.
pub(crate) fn rate(count: usize, since: Instant) -> f64 {
    number(count) / since.elapsed().as_secs_f64()
}

/// Microseconds each of `count` events took.
pub(crate) fn micros_each(count: usize, since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6 / number(count)
}

/// A count as a number to divide by.
#[allow(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) const fn number(count: usize) -> f64 {
    count as f64
}

impl Figure {
    /// A figure of its own.
    pub(crate) fn new(name: &str, unit: &str, ours: &Samples) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            median: ours.median(),
            min: ours.quantile(0.0),
            max: ours.quantile(1.0),
            runs: ours.0.len(),
            against: String::new(),
            ratio: None,
            command: String::new(),
            p99: None,
        }
    }

    /// It is measured with a group, unless it says otherwise.
    pub(crate) fn is_of(&mut self, group: &str) {
        if self.command.is_empty() {
            self.command = format!("cargo run --release -p benches --bin bench -- {group}");
        }
    }

    /// Adds the value that one event in a hundred exceeds.
    pub(crate) fn with_p99(mut self, ours: &Samples) -> Self {
        self.p99 = Some(ours.quantile(0.99));
        self
    }

    /// Holds it against a limit that took turns with it.
    pub(crate) fn against(mut self, what: &str, ours: &Samples, limit: &Samples) -> Self {
        self.ratio = Some(ours.over(limit).median());
        self.against = format!("{what}: {}", crate::report::plain(limit.median()));
        self
    }
}
