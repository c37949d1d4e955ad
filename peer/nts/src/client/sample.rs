//! What one question and its answer tell of two clocks.

use super::{Protection, Refused, is_synchronised};
use crate::limits::ROOT_DISTANCE_MAX_NS;
use crate::ntp::{Header, Leap, ReferenceId, Span, Stamp};

/// 2026-01-01: a machine whose clock has lost everything is not before this was written, which
/// settles the era of what others say until 2094.
const WRITTEN_NS: i64 = 1_767_225_600_000_000_000;

/// Four moments and what the server says of itself. Moments are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When the question left, by our clock.
    pub t1_ns: i64,
    /// When it arrived, by theirs.
    pub t2_ns: i64,
    /// When the answer left, by theirs.
    pub t3_ns: i64,
    /// When it arrived, by ours.
    pub t4_ns: i64,
    /// Round trip from the server to its reference clock.
    pub root_delay: Span,
    /// What the server may be wrong by on top of half that.
    pub root_dispersion: Span,
    /// Steps from the server to its reference clock, 1 to 15.
    pub stratum: u8,
    /// What it says of the last minute of the day.
    pub leap: Leap,
    /// Where its time comes from.
    pub reference_id: ReferenceId,
    /// When its clock was last set, by its clock.
    pub reference_ns: i64,
    /// How finely its clock can be read, a power of two of seconds.
    pub precision: i8,
    /// The interval it heard of, a power of two of seconds.
    pub poll: i8,
    /// Whether the answer was sealed for us.
    pub is_authentic: bool,
}

impl Sample {
    pub(super) fn new(
        header: &Header,
        t1_ns: i64,
        t4_ns: i64,
        protection: Protection,
    ) -> Result<Self, Refused> {
        if !is_synchronised(header) {
            return Err(Refused::Unsynchronised);
        }
        let (delay, dispersion) = (header.root_delay.to_ns(), header.root_dispersion.to_ns());
        if delay / 2 + dispersion >= ROOT_DISTANCE_MAX_NS {
            return Err(Refused::TooFar);
        }
        let (receive, transmit) = (header.receive, header.transmit);
        let is_known = receive != Stamp::ZERO && transmit != Stamp::ZERO;
        if !is_known || transmit.ns_since(receive) < 0 {
            return Err(Refused::Stamps);
        }
        let t2_ns = receive.to_unix_ns(t4_ns.max(WRITTEN_NS));
        Ok(Self {
            t1_ns,
            t2_ns,
            t3_ns: t2_ns.saturating_add(transmit.ns_since(receive)),
            t4_ns,
            root_delay: header.root_delay,
            root_dispersion: header.root_dispersion,
            stratum: header.stratum,
            leap: header.leap,
            reference_id: header.reference_id,
            reference_ns: header.reference.to_unix_ns(t2_ns),
            precision: header.precision,
            poll: header.poll,
            is_authentic: protection == Protection::Nts,
        })
    }

    /// How far their clock is ahead of ours, half the way's asymmetry included.
    #[must_use]
    pub const fn offset_ns(&self) -> i64 {
        let there = self.t2_ns as i128 - self.t1_ns as i128;
        let back = self.t3_ns as i128 - self.t4_ns as i128;
        // The mean of two differences of 64-bit numbers may have one bit too many.
        clamp((there + back) / 2)
    }

    /// How long both ways took; the offset is wrong by at most half of it (RFC 8915 §8.6). A clock
    /// that was set in between can make it negative.
    #[must_use]
    pub const fn delay_ns(&self) -> i64 {
        let ours = self.t4_ns as i128 - self.t1_ns as i128;
        clamp(ours - (self.t3_ns as i128 - self.t2_ns as i128))
    }
}

const fn clamp(ns: i128) -> i64 {
    if ns > i64::MAX as i128 {
        i64::MAX
    } else if ns < i64::MIN as i128 {
        i64::MIN
    } else {
        ns as i64
    }
}
