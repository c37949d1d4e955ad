//! Moments: of the machine's own count of nanoseconds, and of the world's time.
//!
//! Two types, because the one is never a number of the other: what joins them is a measurement or
//! the clock of this crate. **Invariant:** no arithmetic here overflows; it ends at the edge.

use std::fmt;

use shared::time::Timestamp;

/// Nanoseconds of a clock that nobody sets or slews, counted through sleep (`CLOCK_MONOTONIC_RAW`,
/// and what was slept).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(u64);

impl Mono {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// Later by `ns`.
    #[must_use]
    pub const fn plus_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Nanoseconds since `earlier`, or 0 if that lies ahead.
    #[must_use]
    pub const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The signed distance `self - other` in nanoseconds.
    #[must_use]
    pub const fn ns_from(self, other: Self) -> i64 {
        if self.0 >= other.0 { signed(self.0 - other.0) } else { -signed(other.0 - self.0) }
    }
}

/// A moment of the world's time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Utc(i64);

impl Utc {
    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// This moment and `ns` nanoseconds (which may be negative).
    #[must_use]
    pub const fn plus_ns(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// The signed distance `self - other` in nanoseconds.
    #[must_use]
    pub const fn ns_from(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

/// RFC 3339 to the second.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Timestamp::from(*self))
    }
}

impl From<Timestamp> for Utc {
    fn from(moment: Timestamp) -> Self {
        Self(moment.ms().saturating_mul(1_000_000))
    }
}

impl From<Utc> for Timestamp {
    fn from(moment: Utc) -> Self {
        Self::from_ms(moment.0.div_euclid(1_000_000))
    }
}

/// A length as a signed number, the greatest there is if it does not fit.
#[must_use]
pub const fn signed(ns: u64) -> i64 {
    if ns > i64::MAX as u64 { i64::MAX } else { ns as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overflows() {
        let (first, last) = (Mono::from_ns(0), Mono::from_ns(u64::MAX));
        assert_eq!(last.plus_ns(1), last);
        assert_eq!(first.ns_since(last), 0);
        assert_eq!(first.ns_from(last), -i64::MAX);
        assert_eq!(Utc::from_ns(i64::MAX).plus_ns(1).ns_from(Utc::from_ns(-1)), i64::MAX);
        assert_eq!(Utc::from(Timestamp::from_ms(i64::MAX)).ns(), i64::MAX);
        assert_eq!(Timestamp::from(Utc::from_ns(-1)).ms(), -1);
    }
}
