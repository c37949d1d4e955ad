//! Members that offer the time without anybody having named them: whoever is linked with us is
//! asked for keys now and then, and is a source from the moment on that it gives some. Whoever was
//! a source until its certificate ended is asked for new ones the same way.
//!
//! **Invariant:** who does not tell the time is no source, and so no clock that a midpoint waits
//! for; who is no member any more loses its seat.

use clock::limits::POLL_MIN;
use clock::measure::SourceId;
use shared::name::NodeName;

use super::{Keeping, Seat};
use crate::config::{Source, Way};
use crate::limits::{TIME_INVITED_MAX, TIME_PROBE_NS};
use crate::time::shown::now;

impl Keeping {
    /// Looks now and then who is linked and might offer the time.
    pub(super) fn look_for_offers(&mut self) {
        if now() < self.next_probe {
            return;
        }
        self.next_probe = now().plus_ns(TIME_PROBE_NS);
        self.dismiss();
        // Certificates end without anybody saying so.
        self.judge();
        for node in self.links.nodes() {
            self.invite(node);
        }
        for seat in self.seats.values().filter(|seat| seat.is_awaited()) {
            let _ = seat.orders.try_send(POLL_MIN);
        }
    }

    fn invite(&mut self, node: NodeName) {
        let id = SourceId::Peer(node.clone());
        let invited = self.seats.values().filter(|seat| seat.invited).count();
        // Before anybody has told the time, nobody without the role is asked for it; and an
        // authority that publishes something has no clock to ask.
        let may = self.shown.cold().is_none() || self.roll.members.get(&node) == Some(&true);
        let may = may && node != NodeName::authority();
        if self.seats.contains_key(&id) || invited >= TIME_INVITED_MAX || !may {
            return;
        }
        let address = format!("link:{node}");
        let source = Source { id: id.clone(), address, way: Way::Linked(node) };
        if let Ok(mut seat) = self.seat(source) {
            seat.invited = true;
            self.seats.insert(id, seat);
        }
    }

    /// Takes the seats of those who are neither members nor linked any more.
    fn dismiss(&mut self) {
        let (members, linked) = (&self.roll.members, self.links.nodes());
        let gone = |id: &SourceId| match id {
            SourceId::Peer(node) => !members.contains_key(node) && !linked.contains(node),
            SourceId::Outside(_) | SourceId::System => false,
        };
        self.seats.retain(|id, seat| !seat.invited || !gone(id));
    }
}

impl Seat {
    /// Whether it was invited and has given no keys yet.
    pub(super) const fn is_candidate(&self) -> bool {
        self.invited && self.standing.member.is_none()
    }

    /// Whether it has no say until it has given keys, or others.
    const fn is_awaited(&self) -> bool {
        self.is_candidate() || self.outlived
    }
}
