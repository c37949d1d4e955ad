//! What we tell others of our clock, in the words of NTP.
//!
//! Honest about distance: root delay and dispersion add up to our own error. Mesh time is stratum
//! 10, its root is the mesh, its distance that of the mesh's clocks from each other, because there
//! is nothing else that it could be a distance from.

use super::Keeper;
use crate::face::State;
use crate::limits::{DISTANCE_NS_MAX, DRIFT, PRECISION_NS, STRATUM_MESH, STRATUM_NONE};
use crate::measure::{Leap, Root, Told};
use crate::moment::{Mono, Utc};

/// What a server says of its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// As it goes into an answer.
    pub told: Told,
    /// NTP's reference identifier.
    pub reference_id: [u8; 4],
    /// Whether others may set their clocks by it.
    pub synchronised: bool,
}

impl Keeper {
    /// What we tell others at a moment.
    #[must_use]
    pub fn served(&self, now: Mono) -> Served {
        let told = match self.reading(now).state {
            State::Unset => None,
            State::Rooted | State::Holding => self.rooted(now).or_else(|| self.mesh(now)),
            State::Mesh => self.mesh(now),
        };
        let synchronised = told.is_some();
        let told = told.unwrap_or_else(|| unsynchronised(self.reading(now).best));
        Served { reference_id: told.root.reference_id(), told, synchronised }
    }

    fn rooted(&self, now: Mono) -> Option<Told> {
        let (lead, reading) = (self.course.lead(now)?, self.reading(now));
        let least = if self.members.time_root { 1 } else { STRATUM_MESH };
        let stratum = lead.stratum.max(least);
        let good = stratum < STRATUM_NONE && reading.bound_ns <= DISTANCE_NS_MAX;
        let root_dispersion_ns = reading.bound_ns.saturating_sub(lead.root_delay_ns / 2);
        good.then(|| Told {
            leap: lead.leap,
            stratum,
            root_delay_ns: lead.root_delay_ns,
            root_dispersion_ns: root_dispersion_ns.max(PRECISION_NS),
            reference: self.reference(now),
            root: lead.root.clone(),
        })
    }

    fn mesh(&self, now: Mono) -> Option<Told> {
        let age_ns = now.ns_since(self.course.set_at()?);
        let grown = (age_ns as f64 * DRIFT).ceil() as u64;
        Some(Told {
            leap: Leap::None,
            stratum: STRATUM_MESH,
            root_delay_ns: 0,
            root_dispersion_ns: self.course.spread_ns().saturating_add(grown) + PRECISION_NS,
            reference: self.reference(now),
            root: Root::Mesh,
        })
    }

    /// When our clock was last set, by our clock.
    fn reference(&self, now: Mono) -> Utc {
        let set_at = self.course.set_at().unwrap_or(now);
        self.reading(now).best.plus_ns(set_at.ns_from(now))
    }
}

fn unsynchronised(reference: Utc) -> Told {
    Told {
        leap: Leap::Unknown,
        stratum: STRATUM_NONE,
        root_delay_ns: 0,
        root_dispersion_ns: DISTANCE_NS_MAX,
        reference,
        root: Root::Mesh,
    }
}
