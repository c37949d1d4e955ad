//! The floor: a time that it certainly is by now, and which dates may be judged by what.
//!
//! The greatest of build time, the last time we were synchronised, and the newest date in anything
//! an authority signed and we verified. It is kept on the disk, so that a machine with a dead
//! battery does not begin in 1970, and a stolen key that has expired stays expired (RFC 8915 §8.5).
//!
//! **Invariant:** it only goes up, but by a person's explicit word.

use crate::face::{Reading, State};
use crate::limits::UTC_NS_MAX;
use crate::moment::Utc;

/// Where a floor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// This program was built then.
    Build,
    /// Our clock showed it when it was synchronised; less its error.
    Synchronised,
    /// The newest thisUpdate of a feed or policy that was verified.
    Signed,
    /// The newest notBefore of a certificate that was verified.
    Certificate,
}

/// The floor, with where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    at: Utc,
    ground: Ground,
    build: Utc,
}

impl Floor {
    /// The floor of a program that was built then.
    #[must_use]
    pub fn new(build: Utc) -> Self {
        Self { at: build, ground: Ground::Build, build }
    }

    /// It is later than this.
    #[must_use]
    pub const fn at(&self) -> Utc {
        self.at
    }

    /// Why.
    #[must_use]
    pub const fn ground(&self) -> Ground {
        self.ground
    }

    /// Raises it; `false` if it was as high before, or the time is none that is believed.
    pub fn raise(&mut self, at: Utc, ground: Ground) -> bool {
        let higher = at > self.at && at.ns() <= UTC_NS_MAX;
        if higher {
            (self.at, self.ground) = (at, ground);
        }
        higher
    }

    /// Back to when the program was built, on a person's explicit word.
    pub fn reset(&mut self) {
        *self = Self::new(self.build);
    }

    /// Whether a machine whose system clock shows this starts cold: its battery is dead.
    #[must_use]
    pub fn is_cold(&self, system: Utc) -> bool {
        system < self.at
    }

    /// What dates are judged by now.
    #[must_use]
    pub fn dates(&self, clock: &Reading, system: Utc) -> Dates {
        match clock.state {
            State::Rooted | State::Holding | State::Mesh if clock.latest() >= self.at => {
                let bound_known = clock.bound_ns != crate::face::UNKNOWN_NS;
                let [earliest, latest] = if bound_known {
                    [clock.earliest().max(self.at), clock.latest()]
                } else {
                    [clock.best.max(self.at); 2]
                };
                Dates::Known { earliest, latest }
            }
            _ if self.is_cold(system) => Dates::Cold { floor: self.at },
            _ => Dates::Known { earliest: system, latest: system },
        }
    }
}

/// What certificate dates are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// It is between these two.
    Known {
        /// notAfter is compared with this.
        earliest: Utc,
        /// notBefore is compared with this.
        latest: Utc,
    },
    /// A cold start: only it is later than the floor is known. Nobody but holders of `time-root` is
    /// asked, for nothing but time, and every chain is judged again when a majority has told it.
    Cold {
        /// notAfter is compared with this; notBefore with nothing.
        floor: Utc,
    },
}

impl Dates {
    /// Whether a certificate with these dates is good: what is certainly outside is not.
    #[must_use]
    pub fn admit(&self, not_before: Utc, not_after: Utc) -> bool {
        match self {
            Self::Known { earliest, latest } => not_before <= *latest && *earliest <= not_after,
            Self::Cold { floor } => *floor <= not_after,
        }
    }

    /// Whether a member may be asked for time now.
    #[must_use]
    pub const fn may_ask(&self, time_root: bool) -> bool {
        matches!(self, Self::Known { .. }) || time_root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::UNKNOWN_NS;

    const DAY: i64 = 86_400_000_000_000;

    fn day(day: i64) -> Utc {
        Utc::from_ns(day * DAY)
    }

    fn reading(best: Utc, bound_ns: u64, state: State) -> Reading {
        Reading { best, bound_ns, state }
    }

    #[test]
    fn it_only_goes_up_until_a_person_says_so() {
        let mut floor = Floor::new(day(100));
        assert!(!floor.raise(day(100), Ground::Certificate));
        assert!(floor.raise(day(101), Ground::Certificate));
        assert!(!floor.raise(day(99), Ground::Synchronised));
        assert!(!floor.raise(Utc::from_ns(i64::MAX), Ground::Signed), "no such time");
        assert_eq!((floor.at(), floor.ground()), (day(101), Ground::Certificate));
        floor.reset();
        assert_eq!((floor.at(), floor.ground()), (day(100), Ground::Build));
    }

    #[test]
    fn a_cold_start_judges_by_the_floor() {
        let floor = Floor::new(day(100));
        let unset = reading(day(100), UNKNOWN_NS, State::Unset);
        let cold = floor.dates(&unset, day(0));
        assert_eq!(cold, Dates::Cold { floor: day(100) });
        assert!(cold.admit(day(150), day(160)), "made after the floor: who knows");
        assert!(cold.admit(day(50), day(100)), "the edge");
        assert!(!cold.admit(day(50), day(99)), "a stolen key that has expired stays expired");
        assert!(cold.may_ask(true) && !cold.may_ask(false));
    }

    #[test]
    fn a_warm_start_judges_by_the_system_clock() {
        let floor = Floor::new(day(100));
        let dates = floor.dates(&reading(day(120), UNKNOWN_NS, State::Unset), day(120));
        assert!(dates.admit(day(119), day(121)) && dates.may_ask(false));
        assert!(!dates.admit(day(119), day(119)) && !dates.admit(day(121), day(122)));
    }

    #[test]
    fn a_set_clock_judges_with_its_error() {
        let floor = Floor::new(day(100));
        let bound = DAY.unsigned_abs();
        let dates = floor.dates(&reading(day(120), bound, State::Rooted), day(0));
        assert!(dates.admit(day(121), day(130)), "notBefore with the error");
        assert!(!dates.admit(day(122), day(130)));
        assert!(dates.admit(day(100), day(119)), "notAfter less the error");
        assert!(!dates.admit(day(100), day(118)));
        let mesh = floor.dates(&reading(day(120), UNKNOWN_NS, State::Mesh), day(0));
        assert_eq!(mesh, Dates::Known { earliest: day(120), latest: day(120) });
        let wide = floor.dates(&reading(day(101), 5 * bound, State::Holding), day(0));
        assert!(!wide.admit(day(50), day(99)), "never below the floor");
    }

    #[test]
    fn a_clock_below_the_floor_is_not_asked() {
        let floor = Floor::new(day(100));
        let dates = floor.dates(&reading(day(90), 1, State::Mesh), day(0));
        assert_eq!(dates, Dates::Cold { floor: day(100) });
    }
}
