//! The software clock: how verdicts move it.
//!
//! It is a line over the machine's count of nanoseconds. A correction of its rate is taken at once,
//! one of its phase is spent over seconds and never faster than 500 ppm. Steps are for the start,
//! and are counted: when they are used up, the clock only slews.
//!
//! **Invariant:** without a step the line is continuous, and its rate is always above 0: it never
//! runs backwards.

use std::sync::Arc;

use crate::face::{Face, Hand, Line, Reading, State, UNKNOWN_NS};
use crate::limits::{RATE_MAX, SLEW_MAX, SLEW_NS, STEPS_MAX};
use crate::moment::{Mono, Utc};

/// A correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// By how much, in ns.
    pub offset_ns: i64,
    /// The clock's gain over the count from now on, in parts of 1.
    pub rate: f64,
    /// The time that it is spent in, in ns, unless that is too fast.
    pub over_ns: u64,
    /// How wrong the corrected clock may be, in ns; [`UNKNOWN_NS`] if unknown.
    pub bound_ns: u64,
    /// What it rests on then.
    pub state: State,
}

/// The clock and the hand that moves it.
#[derive(Debug)]
pub struct Discipline {
    line: Line,
    hand: Hand,
}

impl Discipline {
    /// A clock that shows `utc` at `now` and rests on nothing.
    #[must_use]
    pub fn new(now: Mono, utc: Utc) -> Self {
        let line = Line { at: now, utc, bound_ns: UNKNOWN_NS, ..Line::default() };
        Self { line, hand: Hand::new(line) }
    }

    /// What readers hold.
    #[must_use]
    pub fn face(&self) -> Arc<Face> {
        self.hand.face()
    }

    /// Time and error at a moment.
    #[must_use]
    pub fn reading(&self, now: Mono) -> Reading {
        self.line.reading(now)
    }

    /// The line as it is.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// Moves the clock without a step: what is too far is taken up by the next corrections.
    pub fn slew(&mut self, now: Mono, correction: Correction) {
        let line = self.begun(now);
        let over = correction.over_ns.max(SLEW_NS) as f64;
        let most = over * SLEW_MAX;
        let wanted = (correction.offset_ns as f64).clamp(-1e15, 1e15);
        let slew = if wanted.abs() > most { SLEW_MAX.copysign(wanted) } else { wanted / over };
        let slew_ns = if slew == 0.0 { 0 } else { (wanted / slew).round() as u64 };
        let Correction { bound_ns, state, .. } = correction;
        let rate = bounded(correction.rate);
        self.show(Line { rate, slew, slew_ns, bound_ns, state, ..line });
    }

    /// Sets the clock at once. `false`, and nothing happens, when all steps are used up.
    pub fn step(&mut self, now: Mono, correction: Correction) -> bool {
        if self.line.steps >= STEPS_MAX {
            return false;
        }
        let line = self.begun(now);
        let Correction { offset_ns, rate, bound_ns, state, .. } = correction;
        let (utc, rate) = (line.utc.plus_ns(offset_ns), bounded(rate));
        let steps = self.line.steps + 1;
        self.show(Line { utc, rate, bound_ns, state, steps, ..line });
        true
    }

    /// Goes on as it is, but may be wrong by so much more.
    pub fn doubt(&mut self, ns: u64) {
        let known = self.line.bound_ns != UNKNOWN_NS;
        let bound_ns = self.line.bound_ns.saturating_add(ns).min(UNKNOWN_NS - 1);
        self.show(Line { bound_ns: if known { bound_ns } else { UNKNOWN_NS }, ..self.line });
    }

    /// Goes on at the same rate; what was being slewed is spent.
    pub fn hold(&mut self, now: Mono) {
        let line = self.begun(now);
        let state = if line.state == State::Unset { State::Unset } else { State::Holding };
        let (slew, slew_ns) = (self.line.slew, self.line.slew_ns);
        let slew_ns = slew_ns.saturating_sub(now.ns_since(self.line.at));
        // The error of what is left to slew is counted while it is left, so not twice.
        let left = self.line.left_ns(now).abs().ceil() as u64;
        let bound_ns = match line.bound_ns {
            UNKNOWN_NS => UNKNOWN_NS,
            known if self.line.state == State::Mesh => known,
            known => known.saturating_sub(left),
        };
        self.show(Line { slew, slew_ns, state, bound_ns, ..line });
    }

    /// The line from now on, without what was being slewed.
    fn begun(&self, now: Mono) -> Line {
        let now = now.max(self.line.at);
        let (utc, bound_ns) = (self.line.utc_at(now), self.line.bound_at(now));
        Line { at: now, utc, bound_ns, slew: 0.0, slew_ns: 0, ..self.line }
    }

    fn show(&mut self, line: Line) {
        self.line = line;
        self.hand.show(line);
    }
}

fn bounded(rate: f64) -> f64 {
    if rate.is_finite() { rate.clamp(-RATE_MAX, RATE_MAX) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(s: u64) -> Mono {
        Mono::from_ns(s * 1_000_000_000)
    }

    fn rooted(offset_ns: i64) -> Correction {
        Correction { offset_ns, rate: 0.0, over_ns: SLEW_NS, bound_ns: 1_000, state: State::Rooted }
    }

    #[test]
    fn a_small_correction_takes_seconds_and_a_large_one_500_ppm() {
        let mut clock = Discipline::new(s(0), Utc::from_ns(0));
        clock.slew(s(0), rooted(8_000));
        assert_eq!(clock.reading(s(4)).best.ns(), 4_000_004_000);
        assert_eq!(clock.reading(s(9)).best.ns(), 9_000_008_000);
        let mut clock = Discipline::new(s(0), Utc::from_ns(0));
        clock.slew(s(0), rooted(1_000_000_000));
        assert_eq!(clock.reading(s(100)).best.ns(), 100_050_000_000);
        assert_eq!(clock.reading(s(0)).bound_ns, 1_000_001_000);
        let mut clock = Discipline::new(s(0), Utc::from_ns(0));
        clock.slew(s(0), rooted(-1_000_000_000));
        assert_eq!(clock.reading(s(100)).best.ns(), 99_950_000_000, "slower, not back");
    }

    #[test]
    fn the_error_grows_while_nobody_corrects() {
        let mut clock = Discipline::new(s(0), Utc::from_ns(0));
        assert_eq!(clock.reading(s(5)).bound_ns, UNKNOWN_NS);
        clock.slew(s(0), rooted(0));
        assert_eq!(clock.reading(s(100)).bound_ns, 1_000 + 1_500_000);
        clock.hold(s(100));
        assert_eq!(clock.reading(s(100)).bound_ns, 1_000 + 1_500_000);
        assert_eq!(clock.reading(s(200)).bound_ns, 1_000 + 3_000_000);
        assert_eq!(clock.reading(s(200)).state, State::Holding);
    }

    #[test]
    fn steps_are_counted() {
        let mut clock = Discipline::new(s(0), Utc::from_ns(0));
        for turn in 1..=i64::from(STEPS_MAX) {
            assert!(clock.step(s(0), rooted(-1_000)), "{turn}");
            assert_eq!(clock.reading(s(0)).best.ns(), -1_000 * turn);
        }
        assert!(!clock.step(s(0), rooted(-1_000)));
        assert_eq!(clock.reading(s(0)).best.ns(), -1_000 * i64::from(STEPS_MAX));
    }

    proptest! {
        #[test]
        fn it_never_runs_backwards_and_never_faster_than_allowed(
            turns in prop::collection::vec((any::<i64>(), any::<f64>(), 0_u64..1 << 37), 1..40)
        ) {
            let mut clock = Discipline::new(s(1), Utc::from_ns(1_800_000_000_000_000_000));
            let mut now = s(1);
            let face = clock.face();
            let mut before = face.reading(now).best;
            for (offset_ns, rate, wait) in turns {
                clock.slew(now, Correction { rate, ..rooted(offset_ns) });
                prop_assert!(face.reading(now).best >= before);
                now = now.plus_ns(wait);
                let best = face.reading(now).best;
                let gained = best.ns_from(before) as f64;
                prop_assert!(best >= before);
                let fast = wait as f64 * (RATE_MAX + SLEW_MAX);
                prop_assert!((gained - wait as f64).abs() <= fast + 2.0, "{gained} in {wait}");
                before = best;
            }
        }
    }
}
