//! The two timestamp formats of NTP (RFC 5905 §6), and how they become nanoseconds.
//!
//! The 64-bit format wraps every 136 years, next on 2036-02-07. A stamp alone therefore names no
//! moment: it is unfolded beside a moment that is known to be near, or subtracted from another
//! stamp, which is right as long as the two lie less than 68 years apart.

const NS_PER_S: i64 = 1_000_000_000;
/// Seconds from 1900 to 1970.
const UNIX_S: i64 = 2_208_988_800;

/// A moment in units of 2⁻³² s since 1900, modulo 2³² s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Stamp(u64);

impl Stamp {
    /// The stamp that says "unknown".
    pub const ZERO: Self = Self(0);

    /// From the 64 bits on the wire.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_unix_ns(ns: i64) -> Self {
        let seconds = (ns.div_euclid(NS_PER_S) + UNIX_S) as u32;
        let fraction = ((ns.rem_euclid(NS_PER_S) as u64) << 32) / NS_PER_S as u64;
        Self(((seconds as u64) << 32) | fraction)
    }

    /// Nanoseconds since 1970, in the era that brings it nearest to `pivot_ns`. Exact for what
    /// [`Self::from_unix_ns`] made.
    #[must_use]
    pub const fn to_unix_ns(self, pivot_ns: i64) -> i64 {
        let pivot_s = pivot_ns.div_euclid(NS_PER_S);
        let apart_s = self.seconds().wrapping_sub((pivot_s + UNIX_S) as u32).cast_signed();
        let fraction = self.0 & 0xFFFF_FFFF;
        let ns = (fraction * NS_PER_S as u64 + (1 << 31)) >> 32;
        let seconds = pivot_s.saturating_add(apart_s as i64);
        seconds.saturating_mul(NS_PER_S).saturating_add(ns.cast_signed())
    }

    /// The signed distance `self - earlier` in nanoseconds.
    #[must_use]
    pub const fn ns_since(self, earlier: Self) -> i64 {
        let units = self.0.wrapping_sub(earlier.0).cast_signed() as i128;
        // 2³¹ s are 2.1 · 10¹⁸ ns: it fits.
        ((units * NS_PER_S as i128 + (1 << 31)) >> 32) as i64
    }

    const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A span in units of 2⁻¹⁶ s: root delay and root dispersion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Span(u32);

impl Span {
    /// The longest, 18 hours.
    pub const MAX: Self = Self(u32::MAX);

    /// From the 32 bits on the wire.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From nanoseconds, rounded up, because a bound must not shrink on its way; a negative one is
    /// none, one too long the longest.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        if ns <= 0 {
            return Self(0);
        }
        let units = ((ns as u128) << 16).div_ceil(NS_PER_S as u128);
        if units > u32::MAX as u128 { Self::MAX } else { Self(units as u32) }
    }

    /// In nanoseconds, rounded up.
    #[must_use]
    pub const fn to_ns(self) -> i64 {
        ((self.0 as u64 * NS_PER_S as u64).div_ceil(1 << 16)).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2036-02-07T06:28:16Z, when the seconds wrap.
    const WRAP_NS: i64 = (4_294_967_296 - UNIX_S) * NS_PER_S;
    /// A little less than half an era.
    const FAR_S: i64 = 2_147_483_000;
    const YEAR_NS: i64 = 31_556_952 * NS_PER_S;
    const NOW_NS: i64 = 1_795_000_000 * NS_PER_S;

    #[test]
    fn nineteen_seventy_is_the_number_of_the_standard() {
        assert_eq!(Stamp::from_unix_ns(0).bits(), 0x83AA_7E80_0000_0000);
        assert_eq!(Stamp::from_unix_ns(NS_PER_S / 2).bits(), 0x83AA_7E80_8000_0000);
        assert_eq!(Stamp::from_unix_ns(-UNIX_S * NS_PER_S), Stamp::ZERO);
    }

    #[test]
    fn the_era_turns_between_two_moments() {
        let (before, after) = (Stamp::from_unix_ns(WRAP_NS - 1), Stamp::from_unix_ns(WRAP_NS));
        assert_eq!((after.bits(), before.bits() >> 32), (0, 0xFFFF_FFFF));
        assert_eq!(after.ns_since(before), 1);
        assert_eq!(before.ns_since(after), -1);
        for pivot in [WRAP_NS - NS_PER_S, WRAP_NS, WRAP_NS + NS_PER_S, NOW_NS] {
            assert_eq!(before.to_unix_ns(pivot), WRAP_NS - 1);
            assert_eq!(after.to_unix_ns(pivot), WRAP_NS);
        }
    }

    #[test]
    fn a_second_is_not_lost_to_rounding() {
        assert_eq!(Stamp::from_bits(0x83AA_7E80_FFFF_FFFF).to_unix_ns(0), NS_PER_S);
        assert_eq!(Stamp::from_bits(u64::MAX).ns_since(Stamp::ZERO), 0);
    }

    #[test]
    fn a_span_is_never_shorter_than_what_it_stands_for() {
        assert_eq!(Span::from_ns(1), Span::from_bits(1));
        assert_eq!(Span::from_ns(NS_PER_S), Span::from_bits(1 << 16));
        assert_eq!(Span::from_ns(-5), Span::from_bits(0));
        assert_eq!(Span::from_ns(i64::MAX), Span::MAX);
        assert_eq!(Span::from_bits(1 << 15).to_ns(), NS_PER_S / 2);
    }

    proptest! {
        #[test]
        fn a_moment_comes_back(ns in -70 * YEAR_NS..200 * YEAR_NS, off_s in -FAR_S..FAR_S) {
            let pivot = ns.saturating_add(off_s * NS_PER_S);
            prop_assert_eq!(Stamp::from_unix_ns(ns).to_unix_ns(pivot), ns);
        }

        #[test]
        fn distances_are_those_of_the_moments(ns in 0..90 * YEAR_NS, by in -YEAR_NS..YEAR_NS) {
            let apart = Stamp::from_unix_ns(ns + by).ns_since(Stamp::from_unix_ns(ns));
            prop_assert!((apart - by).abs() <= 1);
        }

        #[test]
        fn any_bits_beside_any_pivot_are_a_moment(bits: u64, pivot: i64) {
            prop_assert!(Stamp::from_bits(bits).to_unix_ns(pivot) != i64::MIN || pivot < 0);
        }

        #[test]
        fn a_span_comes_back(ns in 0i64..60_000 * NS_PER_S) {
            let back = Span::from_ns(ns).to_ns();
            prop_assert!(back >= ns && back - ns <= 15_260, "{}", back - ns);
        }
    }
}
