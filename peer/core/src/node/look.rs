//! The regular look: everything that changes only with time, and whom to dial now.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::name::NodeName;
use shared::refusal::Refusal;
use shared::time::Now;
use shared::verify::Verifier;

use super::Node;
use crate::action::{Action, Event, Way};
use crate::links::{LinkId, is_authority};

impl Node {
    /// A regular look at everything that changes only with time.
    pub(super) fn look(&mut self, now: Now) {
        for link in self.links.dead(now.tick) {
            self.end(link, Way::Cut, "it was silent too long", now);
        }
        self.look_at_dates(now);
        self.look_at_eras(now);
        self.look_at_paths(now);
        self.look_at_circuits(now);
        for link in self.links.ping_due(now.tick) {
            self.push(Action::Ping { link, nonce: 0 });
        }
        for request in self.mail.overdue(now.tick) {
            self.answer(request, crate::Outcome::Unreachable("no answer came in time"));
        }
        self.look_at_broadcasts(now);
        self.look_at_trees(now);
        if now.tick >= self.presence_due && self.sign_presence(now).is_ok() {
            self.announce(now);
        }
        self.look_at_parked(now);
        self.look_at_directory(now);
        self.look_at_overlay(now);
        self.look_around(now);
        self.look_at_traces(now);
        self.look_at_renewal(now);
        self.post.forget();
        self.look_at_staleness(now);
        if self.settings.refuse_when_stale && self.is_stale(now) {
            self.close_all("our feed is out of date and node.yaml says to refuse then", now);
        }
    }

    /// Ends every member's link; the authority's stays, to bring what is missing.
    fn close_all(&mut self, why: &str, now: Now) {
        let links = self.links.iter().filter(|(_, link)| !is_authority(&link.member));
        for link in links.map(|(id, _)| id).collect::<Vec<_>>() {
            self.end(link, Way::Cut, why, now);
        }
    }

    /// A link lives no longer than its certificate, and never with a barred one.
    pub(super) fn look_at_dates(&mut self, now: Now) {
        let judged: Vec<(LinkId, Refusal)> = self
            .links
            .iter()
            .filter_map(|(id, link)| {
                let relay = link.via.as_ref().map(|via| &via.relay);
                let mut chains = std::iter::once(&link.member).chain(relay);
                let refusal = chains.find_map(|m| self.verifier.recheck(m, now.wall).err())?;
                Some((id, refusal))
            })
            .collect();
        for (link, refusal) in judged {
            self.end(link, Way::Cut, &refusal.to_string(), now);
        }
    }

    fn look_at_staleness(&mut self, now: Now) {
        let Some(head) = self.feed.head() else { return };
        self.staleness.look(head, now);
        if let Some(past) = self.staleness.news(head, now) {
            self.tell(Event::FeedStale { past });
        }
    }

    /// Changes what a stale feed means.
    pub const fn set_refuse_when_stale(&mut self, refuse: bool) {
        self.settings.refuse_when_stale = refuse;
    }

    /// Whether the feed is past the time by which it should have been signed again.
    #[must_use]
    pub fn is_stale(&self, now: Now) -> bool {
        self.feed.head().is_some_and(|head| self.staleness.is_stale(head, now))
    }

    pub(super) fn dial_due(&mut self, now: Now) {
        self.dials_held = self.settings.refuse_when_stale && self.is_stale(now);
        if self.barred || self.dials_held {
            return;
        }
        if self.dialling.next_deadline().is_some_and(|due| now.tick >= due) {
            self.dial_prospects(now);
        }
        self.dial_leads(now);
    }

    fn dial_prospects(&mut self, now: Now) {
        let verifier = Arc::clone(&self.verifier);
        let forbidden: BTreeSet<NodeName> =
            self.dialling.open().filter(|node| !self.may_dial(node)).cloned().collect();
        let barred = |node: &NodeName| is_out(&verifier, node) || forbidden.contains(node);
        let ours = self.own_relays();
        let supplied = self.supplied();
        let introducers = &mut self.introducers;
        let supplied = |by: &NodeName| supplied.get(by).copied().unwrap_or_default();
        let may = |node: &NodeName, way: &crate::dialling::Way, configured: bool| {
            configured || introducers.may_dial(node, way.address(), supplied, now.tick)
        };
        for (node, way) in self.dialling.due(now.tick, &ours, barred, may) {
            self.call(node, way, now);
        }
    }

    pub(super) fn is_out(&self, node: &NodeName) -> bool {
        is_out(&self.verifier, node)
    }
}

/// Whether a name as a whole is out: on hold, or revoked and not seen with a newer certificate.
fn is_out(verifier: &Verifier, node: &NodeName) -> bool {
    verifier.read_set(|set| set.hold_of(node).is_some()).unwrap_or(true)
}
