//! One measurement: a question and its answer as four stamps, and what the other said of itself.
//!
//! The stamps of our side are the machine's own count, not our clock: what a source is measured
//! against is then a thing that nobody moves, and moving our clock needs no correction of what was
//! measured (RFC 5905 §8, with the raw counter in place of the system clock).
//!
//! **Invariant:** a [`Sample`] is within the bounds of `limits`; what is not is refused here.

use std::fmt;

use shared::id::sha256;
use shared::name::NodeName;

use crate::limits::{
    DELAY_NS_MAX, DELAY_SLACK_NS, DISTANCE_NS_MAX, HELD_NS_MAX, PRECISION_NS, REFERENCE_AGE_NS_MAX,
    REFERENCE_AHEAD_NS_MAX, SOURCE_NAME_BYTES_MAX, STRATUM_NONE, UTC_NS_MAX,
};
use crate::moment::{Mono, Utc, signed};

/// The name of something that tells the time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// A member of the network.
    Peer(NodeName),
    /// A server outside, by the name it is configured under.
    Outside(OutsideName),
    /// The machine's system clock, when the kernel says that somebody disciplines it.
    System,
}

impl SourceId {
    /// How a root is named in the four octets of NTP's reference identifier (RFC 5905 §7.3).
    #[must_use]
    pub fn reference_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = match self {
            Self::Peer(node) => sha256(node.as_str().as_bytes()),
            Self::Outside(name) => sha256(name.as_str().as_bytes()),
            Self::System => return *b"LOCL",
        };
        [a, b, c, d]
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(node) => write!(f, "{node}"),
            Self::Outside(name) => f.write_str(name.as_str()),
            Self::System => f.write_str("system"),
        }
    }
}

/// The name of an outside source: printable, without spaces, of a bounded length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutsideName(String);

impl OutsideName {
    /// Parses `HOST` or `HOST:PORT`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = (1..=SOURCE_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a clock hangs on in the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// A root, by name.
    Of(SourceId),
    /// Nothing outside: the mesh's own time.
    Mesh,
}

impl Root {
    /// NTP's reference identifier for it.
    #[must_use]
    pub fn reference_id(&self) -> [u8; 4] {
        match self {
            Self::Of(source) => source.reference_id(),
            Self::Mesh => *b"MESH",
        }
    }
}

/// The leap indicator (RFC 5905 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leap {
    /// No leap second today.
    #[default]
    None,
    /// The last minute has 61 seconds.
    Insert,
    /// The last minute has 59 seconds.
    Delete,
    /// The clock is not synchronised.
    Unknown,
}

/// The four stamps of a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the question left us (T1).
    pub sent: Mono,
    /// When it reached the other, by its clock (T2).
    pub received_there: Utc,
    /// When the answer left the other, by its clock (T3).
    pub sent_there: Utc,
    /// When it reached us (T4).
    pub received: Mono,
}

/// What the other says of its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its leap indicator.
    pub leap: Leap,
    /// Its distance to a root in clocks.
    pub stratum: u8,
    /// Its round trip to the root, in ns.
    pub root_delay_ns: u64,
    /// Its error towards the root besides that, in ns.
    pub root_dispersion_ns: u64,
    /// When its clock was last set, by its clock.
    pub reference: Utc,
    /// The root that it hangs on.
    pub root: Root,
}

/// Why an answer tells no time. Whose fault: the other's, or that of what lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Leap indicator 3, or a stratum of 0 or from 16 on.
    #[error("the source is not synchronised")]
    NotSynchronised,
    /// The answer came before the question left, or left before it came.
    #[error("the answer's stamps run backwards")]
    Backwards,
    /// A round trip of less than nothing.
    #[error("the round trip comes out at {0} ns")]
    NegativeDelay(i64),
    /// A round trip too long to learn from.
    #[error("the round trip of {0} ns is too long to learn from")]
    Delay(u64),
    /// The question was held too long.
    #[error("the source held the question for {0} ns")]
    Held(u64),
    /// Too far from its root.
    #[error("the source is {0} ns from its root")]
    Distance(u64),
    /// Set too long ago, or in its own future.
    #[error("the source was not set within a day")]
    Stale,
    /// A time that no clock of ours shows.
    #[error("the source's time is out of range")]
    Range,
}

/// A measurement that may be learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The middle of question and answer on our side.
    pub at: Mono,
    /// The other's clock at that moment, if both ways took equally long.
    pub utc: Utc,
    /// The round trip without the time it was held; half of it is the most that `utc` is wrong.
    pub delay_ns: u64,
    /// What the other said of itself.
    pub told: Told,
}

impl Sample {
    /// Takes a measurement, or says why not.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn take(exchange: Exchange, told: Told) -> Result<Self, MeasureError> {
        let Exchange { sent, received_there, sent_there, received } = exchange;
        told.check(sent_there)?;
        if [received_there, sent_there].iter().any(|utc| !(0..=UTC_NS_MAX).contains(&utc.ns())) {
            return Err(MeasureError::Range);
        }
        let (away, held) = (received.ns_from(sent), sent_there.ns_from(received_there));
        let (Ok(away), Ok(held)) = (u64::try_from(away), u64::try_from(held)) else {
            return Err(MeasureError::Backwards);
        };
        if held > HELD_NS_MAX {
            return Err(MeasureError::Held(held));
        }
        if away.saturating_add(DELAY_SLACK_NS) < held {
            return Err(MeasureError::NegativeDelay(signed(away) - signed(held)));
        }
        let delay_ns = away.saturating_sub(held).max(PRECISION_NS);
        if delay_ns > DELAY_NS_MAX {
            return Err(MeasureError::Delay(delay_ns));
        }
        let distance_ns = told.distance_ns() + delay_ns / 2;
        if distance_ns > DISTANCE_NS_MAX {
            return Err(MeasureError::Distance(distance_ns));
        }
        let utc = received_there.plus_ns(signed(held / 2));
        Ok(Self { at: sent.plus_ns(away / 2), utc, delay_ns, told })
    }
}

impl Told {
    /// How far its clock may be from the root's: half the round trip and the dispersion.
    #[must_use]
    pub const fn distance_ns(&self) -> u64 {
        (self.root_delay_ns / 2).saturating_add(self.root_dispersion_ns)
    }

    fn check(&self, now_there: Utc) -> Result<(), MeasureError> {
        if self.leap == Leap::Unknown || !(1..STRATUM_NONE).contains(&self.stratum) {
            return Err(MeasureError::NotSynchronised);
        }
        if self.distance_ns() > DISTANCE_NS_MAX {
            return Err(MeasureError::Distance(self.distance_ns()));
        }
        let age_ns = now_there.ns_from(self.reference);
        if age_ns > signed(REFERENCE_AGE_NS_MAX) || age_ns < -signed(REFERENCE_AHEAD_NS_MAX) {
            return Err(MeasureError::Stale);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000_000_000;

    fn told() -> Told {
        Told {
            leap: Leap::None,
            stratum: 1,
            root_delay_ns: 1_000,
            root_dispersion_ns: 2_000,
            reference: Utc::from_ns(NOON - 1_000_000_000),
            root: Root::Of(SourceId::System),
        }
    }

    fn exchange(sent: u64, there: [i64; 2], received: u64) -> Exchange {
        let [received_there, sent_there] = there.map(|ns| Utc::from_ns(NOON + ns));
        let (sent, received) = (Mono::from_ns(sent), Mono::from_ns(received));
        Exchange { sent, received_there, sent_there, received }
    }

    fn refused(exchange: Exchange) -> MeasureError {
        Sample::take(exchange, told()).unwrap_err()
    }

    #[test]
    fn the_middle_and_the_round_trip() {
        let sample = Sample::take(exchange(1_000, [0, 20_000], 321_000), told()).unwrap();
        assert_eq!(sample.at, Mono::from_ns(161_000));
        assert_eq!(sample.utc, Utc::from_ns(NOON + 10_000));
        assert_eq!(sample.delay_ns, 300_000);
    }

    #[test]
    fn a_round_trip_may_be_short_and_not_negative() {
        let taken = |held| Sample::take(exchange(0, [0, held], 5_000), told());
        assert_eq!(taken(5_000).unwrap().delay_ns, PRECISION_NS);
        assert_eq!(taken(15_000).unwrap().delay_ns, PRECISION_NS, "the edge");
        assert_eq!(taken(15_001).unwrap_err(), MeasureError::NegativeDelay(-10_001));
        assert_eq!(refused(exchange(5, [0, 0], 4)), MeasureError::Backwards);
        assert_eq!(refused(exchange(0, [1, 0], 9)), MeasureError::Backwards);
    }

    #[test]
    fn what_takes_too_long_teaches_nothing() {
        assert!(Sample::take(exchange(0, [0, 0], DELAY_NS_MAX), told()).is_ok());
        let late = DELAY_NS_MAX + 1;
        assert_eq!(refused(exchange(0, [0, 0], late)), MeasureError::Delay(late));
        let held = HELD_NS_MAX + 1;
        assert_eq!(refused(exchange(0, [0, signed(held)], 2 * held)), MeasureError::Held(held));
    }

    #[test]
    fn who_is_not_synchronised_says_nothing() {
        let with = |change: &dyn Fn(&mut Told)| {
            let mut told = told();
            change(&mut told);
            Sample::take(exchange(0, [0, 0], 1_000), told).map(|_| ())
        };
        assert_eq!(with(&|told| told.stratum = 15), Ok(()));
        for stratum in [0, 16, 255] {
            assert_eq!(with(&|told| told.stratum = stratum), Err(MeasureError::NotSynchronised));
        }
        let unknown = with(&|told| told.leap = Leap::Unknown);
        assert_eq!(unknown, Err(MeasureError::NotSynchronised));
        let far = with(&|told| told.root_dispersion_ns = DISTANCE_NS_MAX);
        assert!(matches!(far, Err(MeasureError::Distance(_))));
        let absurd = with(&|told| told.root_delay_ns = u64::MAX);
        assert!(matches!(absurd, Err(MeasureError::Distance(_))));
        let absurd = with(&|told| told.root_dispersion_ns = u64::MAX);
        assert!(matches!(absurd, Err(MeasureError::Distance(_))));
        let day = signed(REFERENCE_AGE_NS_MAX);
        assert_eq!(with(&|told| told.reference = Utc::from_ns(NOON - day)), Ok(()));
        for reference in [NOON - day - 1, NOON + 1_000_000_001, i64::MIN, i64::MAX] {
            let stale = with(&|told| told.reference = Utc::from_ns(reference));
            assert_eq!(stale, Err(MeasureError::Stale), "{reference}");
        }
    }

    #[test]
    fn no_stamp_is_too_wild_to_be_judged() {
        for there in [i64::MIN, -1, UTC_NS_MAX + 1, i64::MAX] {
            let utc = Utc::from_ns(there);
            let (sent, received) = (Mono::from_ns(u64::MAX), Mono::from_ns(0));
            let wild = Exchange { sent, received_there: utc, sent_there: utc, received };
            let told = Told { reference: utc, ..told() };
            assert_eq!(Sample::take(wild, told).unwrap_err(), MeasureError::Range);
        }
    }

    #[test]
    fn names_of_outside_sources_are_printable() {
        assert!(OutsideName::parse("ntp.example:123").is_some());
        for bad in ["", "a b", "a\n", "ü", &"a".repeat(SOURCE_NAME_BYTES_MAX + 1)] {
            assert!(OutsideName::parse(bad).is_none(), "{bad:?}");
        }
    }
}
