//! Intervals that a true time may lie in, and how many agree (Marzullo 1984; RFC 5905 §11.2.1).
//!
//! Pure counting over ends in order. **Invariant:** the answers do not depend on the order in which
//! the intervals come.

use crate::moment::signed;

/// From `lo` to `hi`, both within, in ns relative to our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The least value.
    pub lo: i64,
    /// The greatest value.
    pub hi: i64,
}

impl Interval {
    /// A value and its error to both sides.
    #[must_use]
    pub const fn around(value: i64, error: u64) -> Self {
        let error = signed(error);
        Self { lo: value.saturating_sub(error), hi: value.saturating_add(error) }
    }

    /// Whether the two have a value in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.lo <= other.hi && other.lo <= self.hi
    }

    /// What both have in common.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        let both = Self { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        (both.lo <= both.hi).then_some(both)
    }

    /// Whether `other` lies within.
    #[must_use]
    pub const fn holds(self, other: Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }

    /// Its middle.
    #[must_use]
    pub const fn middle(self) -> i64 {
        self.lo.midpoint(self.hi)
    }

    /// The value of it that is nearest to `value`.
    #[must_use]
    pub fn nearest(self, value: i64) -> i64 {
        value.max(self.lo).min(self.hi)
    }

    /// How far its further end is from `value`.
    #[must_use]
    pub fn reach(self, value: i64) -> u64 {
        self.lo.abs_diff(value).max(self.hi.abs_diff(value))
    }
}

/// A stretch in which equally many intervals overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// How many.
    pub depth: usize,
    /// Where.
    pub place: Interval,
}

/// Where most intervals overlap; several places if equally many overlap in each.
#[must_use]
pub fn deepest(intervals: &[Interval]) -> Vec<Overlap> {
    let mut found: Vec<Overlap> = Vec::new();
    let mut depth = 0_usize;
    let mut opened = None;
    for (at, ends) in ends(intervals) {
        if !ends {
            depth += 1;
            opened = Some(at);
            continue;
        }
        if let Some(lo) = opened.take() {
            match found.first().map(|overlap| overlap.depth.cmp(&depth)) {
                Some(std::cmp::Ordering::Greater) => {}
                Some(std::cmp::Ordering::Equal) => {
                    found.push(Overlap { depth, place: Interval { lo, hi: at } });
                }
                _ => found = vec![Overlap { depth, place: Interval { lo, hi: at } }],
            }
        }
        depth = depth.saturating_sub(1);
    }
    found
}

/// The least interval that holds every value in which at least `least` of them overlap: if no more
/// than all but `least` are wrong, it holds the truth.
#[must_use]
pub fn hull(intervals: &[Interval], least: usize) -> Option<Interval> {
    let mut depth = 0_usize;
    let (mut lo, mut hi) = (None, None);
    for (at, ends) in ends(intervals) {
        if ends {
            if depth >= least {
                hi = Some(at);
            }
            depth = depth.saturating_sub(1);
        } else {
            depth += 1;
            if depth >= least {
                lo = lo.or(Some(at));
            }
        }
    }
    Some(Interval { lo: lo?, hi: hi? })
}

/// All ends in order; where one begins and another ends at one value, both hold it.
fn ends(intervals: &[Interval]) -> Vec<(i64, bool)> {
    let pairs = intervals.iter().flat_map(|interval| [(interval.lo, false), (interval.hi, true)]);
    let mut ends: Vec<(i64, bool)> = pairs.collect();
    ends.sort_unstable();
    ends
}

/// The middle one of some values; of an even number the mean of the middle two.
#[must_use]
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(values.len() / 2 - 1).map(|lower| lower.midpoint(upper))
}

/// How many of `n` clocks may lie so that the midpoint still holds (Lundelius, Lynch 1984).
#[must_use]
pub const fn liars_borne(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// What is left of some values without the `liars` least and greatest.
#[must_use]
pub fn trimmed(mut values: Vec<i64>, liars: usize) -> Option<Interval> {
    values.sort_unstable();
    let last = values.len().checked_sub(liars)?.checked_sub(1)?;
    let (lo, hi) = (*values.get(liars)?, *values.get(last)?);
    (lo <= hi).then_some(Interval { lo, hi })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(i64, i64)]) -> Vec<Interval> {
        pairs.iter().map(|(lo, hi)| Interval { lo: *lo, hi: *hi }).collect()
    }

    #[test]
    fn the_deepest_place_and_when_there_are_two() {
        let one = deepest(&of(&[(0, 10), (5, 15), (8, 9)]));
        assert_eq!(one, [Overlap { depth: 3, place: Interval { lo: 8, hi: 9 } }]);
        let two = deepest(&of(&[(0, 1), (3, 4), (0, 4)]));
        assert_eq!(two.len(), 2);
        assert_eq!(two[1], Overlap { depth: 2, place: Interval { lo: 3, hi: 4 } });
        let touching = deepest(&of(&[(0, 5), (5, 9)]));
        assert_eq!(touching, [Overlap { depth: 2, place: Interval { lo: 5, hi: 5 } }]);
        assert!(deepest(&[]).is_empty());
    }

    #[test]
    fn the_hull_of_what_enough_agree_on() {
        let three = of(&[(0, 10), (5, 15), (-900, 900)]);
        assert_eq!(hull(&three, 3), Some(Interval { lo: 5, hi: 10 }));
        assert_eq!(hull(&three, 2), Some(Interval { lo: 0, hi: 15 }));
        assert_eq!(hull(&of(&[(0, 1), (4, 5)]), 1), Some(Interval { lo: 0, hi: 5 }));
        assert_eq!(hull(&of(&[(0, 1), (4, 5)]), 2), None);
    }

    #[test]
    fn a_median_and_what_is_left_without_the_extremes() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(vec![4, 1]), Some(2));
        assert_eq!(median(vec![i64::MAX, i64::MIN]), Some(0));
        assert_eq!(median(vec![]), None);
        assert_eq!(trimmed(vec![9, 1, 5, 3], 1), Some(Interval { lo: 3, hi: 5 }));
        assert_eq!(trimmed(vec![1], 0), Some(Interval { lo: 1, hi: 1 }));
        assert_eq!(trimmed(vec![1, 2], 1), None);
        assert_eq!([0, 1, 3, 4, 7, 10].map(liars_borne), [0, 0, 0, 1, 2, 3]);
    }
}
