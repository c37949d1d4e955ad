//! The 48 octets that every NTP packet begins with (RFC 5905 §7.3), read once into a type.

use super::kiss::{Kiss, ReferenceId};
use super::stamp::{Span, Stamp};
use crate::octets::{Octets, Sheet};

/// Octets of a header.
pub const HEADER_BYTES: usize = 48;
/// Where the transmit timestamp lies in it.
pub(crate) const TRANSMIT_AT: usize = 40;

/// What is said of the last minute of the day, or that nothing can be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leap {
    /// It has sixty seconds.
    Steady,
    /// It has one more.
    Insert,
    /// It has one less.
    Delete,
    /// The clock is not synchronised.
    Unknown,
}

impl Leap {
    const fn from_bits(octet: u8) -> Self {
        match octet >> 6 {
            0 => Self::Steady,
            1 => Self::Insert,
            2 => Self::Delete,
            _ => Self::Unknown,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Steady => 0,
            Self::Insert => 0x40,
            Self::Delete => 0x80,
            Self::Unknown => 0xC0,
        }
    }
}

/// Who speaks to whom. Only questions and answers are spoken here: NTS protects nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A question.
    Client,
    /// Its answer.
    Server,
    /// Anything else, by its number.
    Other(u8),
}

impl Mode {
    const fn from_bits(octet: u8) -> Self {
        match octet & 7 {
            3 => Self::Client,
            4 => Self::Server,
            other => Self::Other(other),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Client => 3,
            Self::Server => 4,
            Self::Other(number) => number & 7,
        }
    }
}

/// A header as it stands, believed by nobody yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What is said of the last minute of the day.
    pub leap: Leap,
    /// 0 to 7; 4 is spoken here, 3 understood.
    pub version: u8,
    /// Who speaks.
    pub mode: Mode,
    /// Steps to the reference clock; 0 for a kiss, 16 for not synchronised.
    pub stratum: u8,
    /// Interval between questions, a power of two of seconds.
    pub poll: i8,
    /// How finely the clock can be read, a power of two of seconds.
    pub precision: i8,
    /// Round trip to the reference clock.
    pub root_delay: Span,
    /// What the clock may be wrong by on top of half the delay.
    pub root_dispersion: Span,
    /// Where the time comes from, or what a kiss says.
    pub reference_id: ReferenceId,
    /// When the clock was last set.
    pub reference: Stamp,
    /// The question's transmit timestamp, copied.
    pub origin: Stamp,
    /// When the question arrived.
    pub receive: Stamp,
    /// When this packet left; in a question a random number.
    pub transmit: Stamp,
}

impl Header {
    /// Reads the front of a datagram; what follows it is for [`super::Fields`]. `None` if there
    /// are fewer than 48 octets.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let mut octets = Octets::new(datagram);
        let [first, stratum, poll, precision] = octets.array()?;
        Some(Self {
            leap: Leap::from_bits(first),
            version: (first >> 3) & 7,
            mode: Mode::from_bits(first),
            stratum,
            poll: poll.cast_signed(),
            precision: precision.cast_signed(),
            root_delay: Span::from_bits(octets.u32()?),
            root_dispersion: Span::from_bits(octets.u32()?),
            reference_id: ReferenceId::new(octets.array()?),
            reference: Stamp::from_bits(octets.u64()?),
            origin: Stamp::from_bits(octets.u64()?),
            receive: Stamp::from_bits(octets.u64()?),
            transmit: Stamp::from_bits(octets.u64()?),
        })
    }

    /// A question that says nothing of who asks: all but poll and the random transmit timestamp is
    /// zero, as the data minimisation of RFC 8915 §9 and chrony have it.
    #[must_use]
    pub const fn question(poll: i8, transmit: Stamp) -> Self {
        Self {
            leap: Leap::Steady,
            version: 4,
            mode: Mode::Client,
            stratum: 0,
            poll,
            precision: 0x20,
            root_delay: Span::from_bits(0),
            root_dispersion: Span::from_bits(0),
            reference_id: ReferenceId::new([0; 4]),
            reference: Stamp::ZERO,
            origin: Stamp::ZERO,
            receive: Stamp::ZERO,
            transmit,
        }
    }

    /// The kiss in an answer whose stratum says that it is one.
    #[must_use]
    pub fn kiss(&self) -> Option<Kiss> {
        (self.stratum == 0).then(|| self.reference_id.kiss())
    }

    /// The 48 octets.
    #[must_use]
    pub fn octets(&self) -> [u8; HEADER_BYTES] {
        let mut octets = [0; HEADER_BYTES];
        // It fits: the fields are 48 octets.
        let _ = self.write(&mut Sheet::new(&mut octets));
        octets
    }

    pub(crate) fn write(&self, sheet: &mut Sheet<'_>) -> Option<()> {
        let first = self.leap.bits() | ((self.version & 7) << 3) | self.mode.bits();
        let [poll, precision] = [self.poll, self.precision].map(i8::cast_unsigned);
        sheet.put(&[first, self.stratum, poll, precision])?;
        sheet.put(&self.root_delay.bits().to_be_bytes())?;
        sheet.put(&self.root_dispersion.bits().to_be_bytes())?;
        sheet.put(&self.reference_id.octets())?;
        let stamps = [self.reference, self.origin, self.receive, self.transmit];
        stamps.iter().try_for_each(|stamp| sheet.put(&stamp.bits().to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_one_is_none() {
        assert_eq!(Header::read(&[0x23; 47]), None);
        assert!(Header::read(&[0x23; 48]).is_some());
    }

    #[test]
    fn a_question_says_nothing_but_when_it_wants_to_be_answered() {
        let octets = Header::question(6, Stamp::from_bits(0x0123_4567_89AB_CDEF)).octets();
        assert_eq!(octets[..4], [0x23, 0, 6, 0x20]);
        assert!(octets[4..40].iter().all(|octet| *octet == 0));
        assert_eq!(octets[40..], [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]);
    }

    #[test]
    fn stratum_zero_is_a_kiss() {
        let mut header = Header::question(6, Stamp::ZERO);
        header.reference_id = ReferenceId::new(*b"RATE");
        assert_eq!(header.kiss(), Some(Kiss::Rate));
        assert_eq!(Header { stratum: 1, ..header }.kiss(), None);
    }

    proptest! {
        #[test]
        fn all_octets_come_back(octets: [u8; 24], more: [u8; 24]) {
            let all = [octets, more].concat();
            let header = Header::read(&all).unwrap();
            prop_assert_eq!(&header.octets()[..], &all[..]);
        }
    }
}
