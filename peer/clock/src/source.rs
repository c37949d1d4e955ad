//! One source: what was measured of it, the line through that, and when to ask again.
//!
//! Samples are kept against the machine's own count, so that nothing we do to our clock changes
//! them. The interval of questions grows while more samples lie on one line than are needed and
//! shrinks when fewer do (as in chrony). Two answers in a row far off the line are a clock that was
//! set: what was known of it is forgotten.
//!
//! **Invariant:** no more than `SAMPLES_MAX` samples, and an estimate only of a source that was
//! reached within its last eight questions.

use std::collections::VecDeque;

use crate::fit::{self, Line, Point};
use crate::limits::{
    BURST, BURST_NS, DELAY_NS_MAX, DRIFT, LINE_NS, LINE_SAMPLES, POLL_MAX, POLL_MIN, POLL_TARGET,
    POLL_USUAL, PRECISION_NS, RATE_MAX, SAMPLES_MAX, SAMPLES_MIN, WANDER, WARM_NS,
};
use crate::measure::{Sample, Told};
use crate::moment::{Mono, Utc};

/// Where a source's clock is at some moment, as far as we know.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Its clock.
    pub utc: Utc,
    /// How far that may be from its root's time, in ns.
    pub distance_ns: u64,
    /// How fast it runs against our count, in parts of 1 more.
    pub rate: f64,
    /// The shortest round trip, in ns.
    pub delay_ns: u64,
    /// The deviation of its answers, in ns.
    pub jitter_ns: u64,
    /// What it said last.
    pub told: Told,
}

/// How wrong a line may be.
struct Doubt {
    /// At the newest answer, in ns.
    offset_ns: f64,
    /// And how fast that grows from there, in parts of 1.
    rate: f64,
}

/// What is known of a source.
#[derive(Debug, Clone)]
pub struct Source {
    samples: VecDeque<Sample>,
    line: Option<Line>,
    outlier: Option<Sample>,
    reach: u8,
    poll: u8,
    /// What its server wants at least; 0 for nothing.
    poll_least: u8,
    score: f64,
    born: Mono,
    burst: u8,
    next: Mono,
}

impl Source {
    /// A source that is to be asked for the first time at `first`.
    #[must_use]
    pub fn new(first: Mono) -> Self {
        Self {
            samples: VecDeque::with_capacity(SAMPLES_MAX),
            line: None,
            outlier: None,
            reach: 0,
            poll: POLL_MIN,
            poll_least: 0,
            score: 0.0,
            born: first,
            burst: BURST,
            next: first,
        }
    }

    /// When it is to be asked next.
    #[must_use]
    pub const fn next(&self) -> Mono {
        self.next
    }

    /// Which of the last eight questions were answered, the last in the lowest bit.
    #[must_use]
    pub const fn reach(&self) -> u8 {
        self.reach
    }

    /// The interval of questions, as the power of two of seconds.
    #[must_use]
    pub fn poll(&self) -> u8 {
        self.poll.max(self.poll_least)
    }

    /// Its server wants to be asked that seldom; what it wanted once holds.
    pub fn slow(&mut self, poll_least: u8) {
        self.poll_least = self.poll_least.max(poll_least.min(POLL_MAX));
    }

    /// How many samples the line rests on.
    #[must_use]
    pub fn used(&self) -> usize {
        self.line.map_or(0, |line| line.used)
    }

    /// It is asked now. `share` of 256 makes the interval a little shorter, so that nodes which
    /// start together do not ask together for ever.
    pub fn ask(&mut self, now: Mono, poll_max: u8, share: u8) {
        self.reach <<= 1;
        if self.reach == 0 {
            self.poll = self.poll.min(POLL_USUAL);
        }
        let interval = if self.burst > 1 {
            BURST_NS
        } else if now.ns_since(self.born) < WARM_NS {
            1_000_000_000 << POLL_MIN
        } else {
            self.poll = self.poll.max(POLL_USUAL.min(poll_max)).min(poll_max);
            1_000_000_000 << self.poll
        };
        let wanted = if self.poll_least > 0 { 1_000_000_000 << self.poll_least } else { 0 };
        let interval = interval.max(wanted);
        self.burst = self.burst.saturating_sub(1);
        self.next = now.plus_ns(interval - interval / 32 * u64::from(share) / 256);
    }

    /// It is asked now, and some times close together: something happened to our count.
    pub fn hurry(&mut self, now: Mono) {
        if self.poll_least == 0 {
            (self.next, self.burst, self.born) = (self.next.min(now), BURST, now);
        }
    }

    /// Takes an answer; whether it shows that the clock there was set.
    pub fn take(&mut self, sample: Sample) -> bool {
        self.reach |= 1;
        let late = self.samples.back().is_some_and(|last| sample.at <= last.at);
        if late {
            return false;
        }
        if self.is_far_off(&sample) {
            // Until the next one tells an accident from a clock that was set, nobody knows.
            if self.poll_least == 0 {
                self.next = self.next.min(sample.at.plus_ns(BURST_NS));
            }
            let Some(first) = self.outlier.take().filter(|first| first.at < sample.at) else {
                self.outlier = Some(sample);
                return false;
            };
            self.samples.clear();
            (self.line, self.born) = (None, sample.at);
            self.samples.extend([first, sample]);
            (self.poll, self.score, self.burst) = (POLL_MIN, 0.0, BURST);
            return true;
        }
        self.outlier = None;
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.line = fit::best(&self.points());
        self.adapt();
        false
    }

    /// Where its clock is at a moment, if it may be believed at all.
    #[must_use]
    pub fn estimate(&self, now: Mono) -> Option<Estimate> {
        if self.reach == 0 {
            return None;
        }
        let (line, newest) = (self.line?, self.samples.back()?);
        let delay_ns = self.delay_ns()?;
        let ahead = now.ns_from(newest.at);
        let rate = line.rate.clamp(-2.0 * RATE_MAX, 2.0 * RATE_MAX);
        let gained = line.offset_ns + ahead as f64 * rate;
        let utc = newest.utc.plus_ns(ahead).plus_ns(gained.round() as i64);
        let Doubt { offset_ns, rate: growth } = self.doubt(&line)?;
        let grown = offset_ns + ahead.unsigned_abs() as f64 * growth;
        let astray = self.outlier.as_ref().map_or(0.0, |outlier| miss(&line, newest, outlier));
        let measured = (grown + astray.abs()).ceil() as u64;
        let distance_ns = newest.told.distance_ns().saturating_add(measured + PRECISION_NS);
        let jitter_ns = line.jitter_ns.round() as u64;
        Some(Estimate { utc, distance_ns, rate, delay_ns, jitter_ns, told: newest.told.clone() })
    }

    /// The shortest round trip of those that the line rests on, in ns.
    fn delay_ns(&self) -> Option<u64> {
        let used = self.line.map_or(self.samples.len(), |line| line.used);
        self.samples.iter().rev().take(used).map(|sample| sample.delay_ns).min()
    }

    /// How wrong the line may be.
    ///
    /// An answer is wrong by at most half of its round trip, whoever delayed it in whichever
    /// direction; so the line is wrong where it passes an answer by that and by what it misses it
    /// by, and its rate by two of these over the time between. A delay that grows steadily lies on
    /// a perfect line: how well answers agree with each other says nothing about the truth.
    fn doubt(&self, line: &Line) -> Option<Doubt> {
        let newest = self.samples.back()?;
        let reach = |sample: &Sample| {
            let missed = miss(line, newest, sample).abs();
            (newest.at.ns_since(sample.at) as f64, missed + sample.delay_ns as f64 / 2.0)
        };
        let (_, last) = reach(newest);
        let used = || self.samples.iter().rev().take(line.used).map(reach);
        let rates = used().skip(1).map(|(age_ns, reach)| (reach + last) / age_ns);
        // Both clocks run as clocks do, whatever was measured; and their rates wander.
        let rate = rates.fold(line.rate.abs() + RATE_MAX, f64::min) + WANDER;
        let offset_ns = used().map(|(age_ns, reach)| reach + age_ns * rate).fold(last, f64::min);
        Some(Doubt { offset_ns, rate })
    }

    /// The samples relative to the newest, oldest first.
    fn points(&self) -> Vec<Point> {
        let Some(newest) = self.samples.back() else { return Vec::new() };
        let least = self.samples.iter().map(|sample| sample.delay_ns).min().unwrap_or_default();
        let base = (2 * PRECISION_NS + least.min(DELAY_NS_MAX) / 32) as f64;
        let point = |sample: &Sample| {
            let at_ns = sample.at.ns_from(newest.at);
            let offset_ns = sample.utc.ns_from(newest.utc).saturating_sub(at_ns) as f64;
            let sigma_ns = base + (sample.delay_ns - least) as f64 / 2.0;
            Point { at_ns: at_ns as f64, offset_ns, sigma_ns }
        };
        let recent = |sample: &&Sample| newest.at.ns_since(sample.at) <= LINE_NS;
        let enough = self.samples.iter().filter(recent).count().max(LINE_SAMPLES);
        self.samples.iter().skip(self.samples.len().saturating_sub(enough)).map(point).collect()
    }

    /// Whether an answer cannot be on the line, whatever the round trips hide.
    fn is_far_off(&self, sample: &Sample) -> bool {
        let (Some(line), Some(newest)) = (self.line, self.samples.back()) else { return false };
        if self.samples.len() <= SAMPLES_MIN {
            return false;
        }
        let ahead_ns = sample.at.ns_since(newest.at) as f64;
        let hidden = (sample.delay_ns + self.delay_ns().unwrap_or_default()) as f64 / 2.0;
        let wander = PRECISION_NS as f64 + ahead_ns * DRIFT;
        miss(&line, newest, sample).abs() > hidden + wander + 4.0 * line.jitter_ns
    }

    fn adapt(&mut self) {
        let Some(line) = self.line else { return };
        let score = (line.used as f64 / POLL_TARGET as f64 - 1.0) / 8.0;
        self.score = (self.score + score.clamp(-0.5, 0.25)).min(1.0);
        let hidden_ns = self.delay_ns().unwrap_or_default() as f64 / 2.0;
        let wandered_ns = (1_u64 << self.poll) as f64 * 2e9 * WANDER;
        let useful = self.poll < POLL_USUAL || wandered_ns <= hidden_ns;
        if self.score >= 1.0 && useful {
            (self.poll, self.score) = ((self.poll + 1).min(POLL_MAX), 0.0);
        } else if self.score <= -1.0 {
            (self.poll, self.score) = (self.poll.saturating_sub(1).max(POLL_MIN), 0.0);
        }
    }
}

/// By how much an answer lies beside the line, in ns.
fn miss(line: &Line, newest: &Sample, sample: &Sample) -> f64 {
    let ahead = sample.at.ns_from(newest.at);
    let offset = sample.utc.ns_from(newest.utc).saturating_sub(ahead) as f64;
    offset - line.offset_ns - ahead as f64 * line.rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Leap, Root};
    use crate::moment::signed;

    const S: u64 = 1_000_000_000;

    fn sample(at_s: u64, offset_ns: i64, delay_ns: u64) -> Sample {
        let utc = Utc::from_ns(signed(at_s * S) + 1_800_000_000 * signed(S) + offset_ns);
        let told = Told {
            leap: Leap::None,
            stratum: 1,
            root_delay_ns: 0,
            root_dispersion_ns: 1_000,
            reference: utc,
            root: Root::Mesh,
        };
        Sample { at: Mono::from_ns(at_s * S), utc, delay_ns, told }
    }

    fn taken(samples: impl Iterator<Item = (i64, u64)>) -> Source {
        let mut source = Source::new(Mono::from_ns(0));
        for (turn, (offset, delay)) in samples.enumerate() {
            let at = 16 * turn as u64;
            source.ask(Mono::from_ns(at * S), POLL_MAX, 0);
            source.take(sample(at, offset, delay));
        }
        source
    }

    fn noise(turn: i64) -> i64 {
        (turn * 37 % 11 - 5) * 1_000
    }

    #[test]
    fn a_source_is_estimated_from_three_answers_on() {
        let source = |n| taken((0..n).map(|turn| (turn * 16_000 + noise(turn), 300_000)));
        assert!(source(2).estimate(Mono::from_ns(0)).is_none());
        assert!(source(3).estimate(Mono::from_ns(0)).is_some());
        let source = source(64);
        let at = Mono::from_ns(100 * 16 * S);
        let estimate = source.estimate(at).unwrap();
        let truth = 100 * 16 * signed(S) + 1_800_000_000 * signed(S) + 100 * 16_000;
        assert!(estimate.utc.ns().abs_diff(truth) < 10_000, "{estimate:?}");
        assert!((estimate.rate - 1e-6).abs() < 2e-8, "{estimate:?}");
        assert!(estimate.distance_ns > 151_000 && estimate.distance_ns < 2_000_000);
        assert_eq!(estimate.delay_ns, 300_000);
    }

    #[test]
    fn who_does_not_answer_eight_times_has_no_say() {
        let mut source = taken((0..10).map(|turn| (noise(turn), 300_000)));
        for turn in 0..7 {
            source.ask(Mono::from_ns((200 + turn) * S), POLL_MAX, 0);
        }
        assert!(source.estimate(Mono::from_ns(300 * S)).is_some());
        source.ask(Mono::from_ns(300 * S), POLL_MAX, 0);
        assert_eq!(source.reach(), 0);
        assert!(source.estimate(Mono::from_ns(300 * S)).is_none());
    }

    #[test]
    fn one_wild_answer_is_ignored_and_two_are_a_clock_that_was_set() {
        let mut source = taken((0..20).map(|turn| (noise(turn), 300_000)));
        let before = source.used();
        assert!(!source.take(sample(320, 900_000_000, 300_000)));
        assert_eq!(source.used(), before);
        assert!(!source.take(sample(336, 0, 300_000)), "an accident");
        assert!(!source.take(sample(352, 900_000_000, 300_000)));
        assert!(source.take(sample(368, 900_000_000, 300_000)));
        source.take(sample(384, 900_000_000, 300_000));
        let now = Mono::from_ns(384 * S);
        let utc = source.estimate(now).unwrap().utc.ns();
        assert_eq!(utc, (1_800_000_384) * signed(S) + 900_000_000);
    }

    /// What [`sample`] makes of an offset of nothing.
    fn truth(at: Mono) -> i64 {
        signed(at.ns()) + 1_800_000_000 * signed(S)
    }

    /// Whoever holds back packets in one direction, each a little longer than the last, draws a
    /// perfect line; what is shown as the error has to cover it all the same.
    #[test]
    fn a_delay_that_grows_steadily_stays_within_the_bound() {
        for (step_ns, steps) in [(100_000, 38), (1_000_000, 19), (5_000_000, 40), (8_000_000, 40)] {
            for (crystal_ns, before) in [(0, 3), (0, 24), (800, 24), (-1_600, 60)] {
                let mut source = taken((0..before).map(|turn| {
                    (turn * crystal_ns + noise(turn), 1_000_000 + noise(turn).unsigned_abs())
                }));
                for turn in before..before + steps {
                    let held = (turn - before + 1) as u64 * step_ns;
                    let at = 16 * turn as u64;
                    source.ask(Mono::from_ns(at * S), POLL_MAX, 0);
                    let offset = turn * crystal_ns + noise(turn) + signed(held) / 2;
                    source.take(sample(at, offset, 1_000_000 + held));
                    for later in [at, at + 15] {
                        let now = Mono::from_ns(later * S);
                        let Some(estimate) = source.estimate(now) else { continue };
                        let right = truth(now) + (later as i64 * crystal_ns) / 16;
                        let error = estimate.utc.ns().abs_diff(right);
                        let bound = estimate.distance_ns + 10_000;
                        assert!(error <= bound, "{step_ns} {crystal_ns}: {error} > {bound}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_bound_of_who_is_not_delayed_is_little_more_than_half_the_round_trip() {
        let source = taken((0..64).map(|turn| (turn * 16_000 + noise(turn), 300_000)));
        let distance = source.estimate(Mono::from_ns(63 * 16 * S)).unwrap().distance_ns;
        assert!((150_000..170_000).contains(&distance), "{distance}");
    }

    #[test]
    fn while_nobody_knows_whether_it_was_set_the_bound_covers_both_and_it_is_asked_at_once() {
        let mut source = taken((0..150).map(|turn| (noise(turn), 20_000_000)));
        let at = source.next();
        source.ask(at, POLL_MAX, 0);
        assert!(source.next() > at.plus_ns(900 * S));
        source.take(sample(at.ns() / S, 900_000_000, 20_000_000));
        assert!(source.next() <= at.plus_ns(BURST_NS));
        let estimate = source.estimate(at).unwrap();
        assert!(estimate.distance_ns > 900_000_000);
        let mut answered = 1;
        while source.line.is_some_and(|line| line.used > SAMPLES_MIN) || source.line.is_none() {
            let next = source.next();
            assert!(next <= at.plus_ns(2 * S), "it is resolved within seconds");
            source.ask(next, POLL_MAX, 0);
            let offset = 900_000_000 + signed(at.ns() / S * S) - signed(at.ns());
            let late = signed(next.ns_since(at));
            source.take(Sample { at: next, ..sample(at.ns() / S, offset + late, 20_000_000) });
            answered += 1;
        }
        assert_eq!(answered, 3);
    }

    #[test]
    fn an_answer_from_the_past_is_not_taken_twice() {
        let mut source = taken((0..5).map(|turn| (noise(turn), 300_000)));
        let before = source.estimate(Mono::from_ns(100 * S));
        source.take(sample(64, 5, 300_000));
        source.take(sample(3, 5, 300_000));
        assert_eq!(source.estimate(Mono::from_ns(100 * S)), before);
    }

    #[test]
    fn a_steady_source_is_asked_less_often_and_a_restless_one_more() {
        let steady = taken((0..150).map(|turn| (noise(turn), 20_000_000)));
        assert_eq!(steady.poll(), POLL_MAX);
        let near = taken((0..150).map(|turn| (noise(turn), 300_000)));
        assert_eq!(near.poll(), 7, "nearby is known so well that 1024 s would be a loss");
        let restless = taken((0..150).map(|turn| (turn % 20 * (turn % 20) * 90_000, 300_000)));
        assert!(restless.poll() <= POLL_USUAL, "{}", restless.poll());
    }

    #[test]
    fn whoever_wants_to_be_asked_seldom_is_never_asked_sooner() {
        let mut source = Source::new(Mono::from_ns(0));
        source.ask(Mono::from_ns(0), POLL_MAX, 0);
        assert_eq!(source.next(), Mono::from_ns(BURST_NS));
        source.slow(6);
        source.slow(3);
        for turn in 1..100_u64 {
            let at = source.next();
            source.ask(at, POLL_MIN, 0);
            assert!(source.next() >= at.plus_ns(64 * S) && source.poll() >= 6);
            let offset = if turn % 7 == 0 { 900_000_000 } else { 0 };
            let utc = Utc::from_ns(truth(at) + offset);
            source.take(Sample { at, utc, ..sample(0, 0, 300_000) });
            source.hurry(at);
            assert!(source.next() >= at.plus_ns(64 * S), "{turn}");
        }
        source.slow(200);
        let at = source.next();
        source.ask(at, POLL_MIN, 0);
        assert_eq!(source.next(), at.plus_ns(1024 * S));
    }

    #[test]
    fn the_first_questions_come_close_together() {
        let mut source = Source::new(Mono::from_ns(0));
        let mut at = Vec::new();
        while at.len() < 20 {
            let next = source.next();
            at.push(next.ns() / (S / 2));
            source.ask(next, POLL_MAX, 0);
        }
        assert_eq!(at[..6], [0, 1, 2, 3, 11, 19]);
        assert_eq!(at[19] - at[18], 32, "16 s after the first minute");
    }
}
