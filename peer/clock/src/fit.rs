//! A straight line through measurements: where a source's clock is, and how fast it runs.
//!
//! Least squares, weighted by the round trip: what took longer than the shortest was delayed
//! somewhere, and half of that is how wrong it may be. As in chrony a runs test shortens the
//! history: if the residues keep one sign for long, the line is none, and the oldest goes.

use crate::limits::SAMPLES_MIN;

/// One measurement, relative to the newest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in ns, at most 0.
    pub at_ns: f64,
    /// The offset, in ns.
    pub offset_ns: f64,
    /// Its standard deviation, in ns; more than 0.
    pub sigma_ns: f64,
}

/// The line, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The offset at the newest measurement, in ns.
    pub offset_ns: f64,
    /// Gain in parts of 1.
    pub rate: f64,
    /// Standard error of the offset, in ns.
    pub offset_error_ns: f64,
    /// Standard error of the rate.
    pub rate_error: f64,
    /// Weighted deviation of the measurements from the line, in ns.
    pub jitter_ns: f64,
    /// How many of the newest measurements it rests on.
    pub used: usize,
}

/// The line through as many of the newest points as lie on one; points come oldest first.
#[must_use]
pub fn best(points: &[Point]) -> Option<Line> {
    let mut rest = points;
    loop {
        let (line, runs) = fit(rest)?;
        if rest.len() <= SAMPLES_MIN || is_random(runs, rest.len()) {
            return Some(line);
        }
        rest = rest.get(1..)?;
    }
}

/// The line through all points, and how often the residues change their sign, and one.
fn fit(points: &[Point]) -> Option<(Line, usize)> {
    let n = points.len();
    if n < SAMPLES_MIN {
        return None;
    }
    let weight = |p: &Point| 1.0 / (p.sigma_ns * p.sigma_ns);
    let total: f64 = points.iter().map(weight).sum();
    let mean =
        |value: fn(&Point) -> f64| points.iter().map(|p| weight(p) * value(p)).sum::<f64>() / total;
    let (x, y) = (mean(|p| p.at_ns), mean(|p| p.offset_ns));
    let xx: f64 = points.iter().map(|p| weight(p) * (p.at_ns - x) * (p.at_ns - x)).sum();
    let xy: f64 = points.iter().map(|p| weight(p) * (p.at_ns - x) * (p.offset_ns - y)).sum();
    if !(total > 0.0 && xx > 0.0) {
        return None;
    }
    let rate = xy / xx;
    let residue = |p: &Point| p.offset_ns - y - rate * (p.at_ns - x);
    let square: f64 = points.iter().map(|p| weight(p) * residue(p) * residue(p)).sum();
    let variance = square / (n - 2) as f64;
    let line = Line {
        offset_ns: y - rate * x,
        rate,
        offset_error_ns: (variance * (1.0 / total + x * x / xx)).sqrt(),
        rate_error: (variance / xx).sqrt(),
        jitter_ns: (square / total * n as f64 / (n - 2) as f64).sqrt(),
        used: n,
    };
    let signs: Vec<bool> = points.iter().map(|p| residue(p) >= 0.0).collect();
    let runs = 1 + signs.windows(2).filter(|two| two.first() != two.last()).count();
    (line.offset_ns.is_finite() && line.offset_error_ns.is_finite()).then_some((line, runs))
}

/// Whether so many runs are usual for `n` signs that are thrown (with 19 of 20 throws it says yes).
fn is_random(runs: usize, n: usize) -> bool {
    let n = n as f64;
    runs as f64 >= f64::midpoint(n, 1.0) - 1.645 * (n - 1.0).sqrt() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(offsets: impl Iterator<Item = f64>) -> Vec<Point> {
        let offsets: Vec<f64> = offsets.collect();
        let last = offsets.len() as f64 - 1.0;
        let point = |(at, offset): (usize, &f64)| Point {
            at_ns: (at as f64 - last) * 16e9,
            offset_ns: *offset,
            sigma_ns: 1_000.0,
        };
        offsets.iter().enumerate().map(point).collect()
    }

    fn noise(at: usize) -> f64 {
        [30.0, -70.0, 10.0, 50.0, -20.0, 40.0, -60.0][at * 3 % 7]
    }

    #[test]
    fn a_line_is_found_with_its_rate() {
        let line = best(&points((0..40).map(|i| 160.0 * i as f64 + noise(i)))).unwrap();
        assert_eq!(line.used, 40);
        assert!((line.rate - 10e-9).abs() < 0.2e-9, "{line:?}");
        assert!((line.offset_ns - 39.0 * 160.0).abs() < 40.0, "{line:?}");
        assert!(line.offset_error_ns < 30.0 && line.jitter_ns < 80.0, "{line:?}");
    }

    #[test]
    fn a_bend_shortens_the_history() {
        let bent = (0..40).map(|i| if i < 20 { 0.0 } else { 3_000.0 * (i - 20) as f64 } + noise(i));
        let line = best(&points(bent)).unwrap();
        assert!((15..25).contains(&line.used), "{line:?}");
        assert!((line.rate - 3_000.0 / 16e9).abs() < 10e-9, "{line:?}");
    }

    #[test]
    fn what_was_delayed_weighs_little() {
        let mut all = points((0..20).map(noise));
        for late in all.iter_mut().step_by(4) {
            late.offset_ns += 500_000.0;
            late.sigma_ns += 500_000.0;
        }
        let line = best(&all).unwrap();
        assert!(line.offset_ns.abs() < 200.0, "{line:?}");
    }

    #[test]
    fn two_points_and_one_moment_are_no_line() {
        assert!(best(&points((0..2).map(noise))).is_none());
        assert!(best(&points((0..3).map(noise))).is_some());
        let at_once = Point { at_ns: 0.0, offset_ns: 1.0, sigma_ns: 1.0 };
        assert!(best(&[at_once; 5]).is_none());
    }
}
