//! From a relayed link to a direct one: the offers, and the old link's retirement.

use std::net::SocketAddr;

use shared::limits::PUNCH_ADDRESSES_MAX;
use shared::time::Now;
use shared::wire::{Body, Circuit, Step};

use super::Node;
use crate::action::{Action, Call, Way};
use crate::links::{Direction, LinkId};
use crate::punch::targets;

impl Node {
    /// A relay sees our listening port there.
    pub fn handle_seen(&mut self, places: Vec<SocketAddr>) {
        self.meetings.seen = places;
    }

    /// A link came up: if a relay carries it, the end that was called tries for a direct one.
    pub(super) fn begin_punch(&mut self, link: LinkId, now: Now) {
        let Some(entry) = self.links.get_mut(link) else { return };
        match entry.direction {
            Direction::Out => self.meetings.called(entry.member.node()),
            Direction::In if entry.via.is_some() => {
                entry.punch.begin(now.tick);
                self.offer(link, now);
            }
            Direction::In => {}
        }
    }

    /// Offers that are due, and links that have retired for long enough.
    pub(super) fn look_at_paths(&mut self, now: Now) {
        for link in self.ready_links() {
            self.offer(link, now);
        }
        let (mail, broadcasts) = (&self.mail, &self.broadcasts);
        let waits = |link| mail.waits_on(link) || !broadcasts.waiting_on(link).is_empty();
        for link in self.links.retired(now.tick, waits) {
            self.end(link, Way::Close, "a direct link took its place", now);
        }
    }

    fn offer(&mut self, link: LinkId, now: Now) {
        let Some(entry) = self.links.get(link) else { return };
        if self.meetings.yields(&self.settings.node, entry.member.node(), now.tick) {
            return;
        }
        if self.links.get_mut(link).is_some_and(|entry| entry.punch.offer(now.tick)) {
            self.say_punch(link, Step::Offer);
        }
    }

    fn say_punch(&mut self, link: LinkId, step: Step) {
        let addresses = self.places();
        self.send(link, &Body::Circuit(Circuit::Punch { step, addresses }));
    }

    /// Where we may be met: where a relay saw us last, and what we tell everybody.
    fn places(&self) -> Vec<SocketAddr> {
        let mut places = self.meetings.seen.clone();
        let told = self.settings.addresses.iter().filter_map(|address| address.parse().ok());
        for address in told {
            if !places.contains(&address) {
                places.push(address);
            }
        }
        places.truncate(PUNCH_ADDRESSES_MAX);
        places
    }

    /// What the other end of a relayed link says; anything else about it is left unheard.
    pub(super) fn take_punch(&mut self, link: LinkId, step: Step, theirs: &[SocketAddr], now: Now) {
        let aims = targets(theirs, &self.places());
        let Some(entry) = self.links.get_mut(link).filter(|entry| entry.via.is_some()) else {
            return;
        };
        match (step, entry.direction) {
            (Step::Offer, Direction::Out) if entry.punch.offered(now.tick) => {
                // First our packet, then the answer: the other end's packet follows that.
                self.meet(link, aims);
                self.say_punch(link, Step::Answer);
            }
            (Step::Answer, Direction::In) if entry.punch.answered() => self.meet(link, aims),
            _ => {}
        }
    }

    fn meet(&mut self, link: LinkId, addresses: Vec<SocketAddr>) {
        let Some(entry) = self.links.get(link) else { return };
        if entry.retiring.is_some() || addresses.is_empty() || self.barred {
            return;
        }
        let (node, direction) = (entry.member.node().clone(), entry.direction);
        self.push(Action::Dial(Call::Punched { node, addresses, direction }));
    }
}
