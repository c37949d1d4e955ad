//! Links on demand: in a large network a node is linked when somebody wants to talk with it.
//!
//! **Invariant:** whoever waits is answered: by what becomes of the link, or when the wait is over.

use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::{Now, Tick};

use super::Node;
use crate::action::{Outcome, RequestId};
use crate::limits::{PARKED_MAX, PARKED_MS};

/// A message, or a ping, for a node with which a link is being made.
pub(super) struct Parked {
    request: RequestId,
    to: NodeName,
    /// The message; none is a ping.
    body: Option<Vec<u8>>,
    until: Tick,
}

impl Node {
    /// Whether a node is known, not linked because the network is large, and may be dialled.
    pub(super) fn must_wait(&self, to: &NodeName) -> bool {
        let linked = self.links.member_link(to).is_some_and(|(_, link)| link.ready);
        let known = self.directory.signed(to).is_some();
        self.topology.is_partial() && !linked && known && !self.barred && self.may_dial(to)
    }

    pub(super) fn park(
        &mut self,
        request: RequestId,
        to: &NodeName,
        body: Option<Vec<u8>>,
        now: Now,
    ) {
        if self.parked.len() >= PARKED_MAX {
            return self.answer(request, Outcome::Refused(Code::Quota));
        }
        let until = now.tick.plus_ms(PARKED_MS);
        self.parked.push(Parked { request, to: to.clone(), body, until });
        self.talk_with(to, now);
        self.dialling.encourage(to, now.tick);
        self.dial_due(now);
    }

    /// There is a link with a node: what waited for it is said.
    pub(super) fn unpark(&mut self, node: &NodeName, now: Now) {
        let (ready, parked) =
            std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.to == *node);
        self.parked = parked;
        for Parked { request, to, body, .. } in Vec::<Parked>::into_iter(ready) {
            match body {
                Some(body) => self.handle_send(request, &to, body, now),
                None => self.handle_ping(request, &to, now),
            }
        }
    }

    pub(super) fn look_at_parked(&mut self, now: Now) {
        let (over, parked) =
            std::mem::take(&mut self.parked).into_iter().partition(|p| now.tick >= p.until);
        self.parked = parked;
        for Parked { request, to, .. } in Vec::<Parked>::into_iter(over) {
            let outcome = self.why_not(&to);
            self.answer(request, outcome);
        }
    }
}
