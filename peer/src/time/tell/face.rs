//! The clock that is told: the one this peer keeps, or, where its operator vouches for it, the
//! system's, as long as there is no better one.

use clock::face::Line;
use clock::keeper::Served;
use clock::limits::STRATUM_MESH;
use clock::measure::{Leap, Root, SourceId, Told};
use clock::moment::{Mono, Utc};

use crate::limits::LOCAL_DISPERSION_NS;
use crate::time::Kept;

/// Where the time comes from.
pub(super) struct Face {
    /// The clock that this peer keeps.
    pub(super) kept: Kept,
    /// Whether the operator vouches for the system's.
    pub(super) is_vouched_for: bool,
}

impl Face {
    /// The clock as it shows while one question is answered. Both of its stamps come from here: a
    /// clock whose hand is moved in between would say that the answer took longer, or no time.
    pub(super) fn hand(&self) -> Hand {
        let rests = self.kept.rests();
        if !rests && self.is_vouched_for {
            return Hand::system();
        }
        let (served, line) = (self.kept.served(), Some(self.kept.line()));
        Hand { line, served, is_for_members: !rests }
    }
}

/// A clock while one question is answered.
pub(super) struct Hand {
    /// None for the system's.
    line: Option<Line>,
    /// Whether only members may follow it. A clock that rests on nothing but itself is where a
    /// mesh without roots begins; to anybody else it is no clock.
    pub(super) is_for_members: bool,
    /// What is told of it.
    pub(super) served: Served,
}

impl Hand {
    /// The system's clock, by its operator's word.
    pub(super) fn system() -> Self {
        let root = Root::Of(SourceId::System);
        let told = Told {
            leap: Leap::None,
            stratum: STRATUM_MESH,
            root_delay_ns: 0,
            root_dispersion_ns: LOCAL_DISPERSION_NS,
            reference: Utc::from_ns(host::clock::wall_ns()),
            root,
        };
        let served = Served { reference_id: told.root.reference_id(), told, synchronised: true };
        Self { line: None, is_for_members: false, served }
    }

    /// The clock now.
    pub(super) fn now(&self) -> Utc {
        match &self.line {
            Some(line) => line.utc_at(Mono::from_ns(host::clock::count_ns())),
            None => Utc::from_ns(host::clock::wall_ns()),
        }
    }

    /// The clock so many nanoseconds before a moment.
    pub(super) fn before(&self, moment: &Moment, ns: u64) -> Utc {
        match &self.line {
            Some(line) => line.utc_at(Mono::from_ns(moment.count_ns.saturating_sub(ns))),
            None => Utc::from_ns(moment.wall_ns).plus_ns(-clock::moment::signed(ns)),
        }
    }
}

/// A moment by both of the machine's clocks, for all that came before it.
pub(super) struct Moment {
    count_ns: u64,
    /// By the system's clock, which the kernel's stamps are of.
    pub(super) wall_ns: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { count_ns: host::clock::count_ns(), wall_ns: host::clock::wall_ns() }
    }
}
