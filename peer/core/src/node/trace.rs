//! The way to a node: asked of neighbours, passed on for them, answered by the node itself.
//!
//! A question goes to the node if it is linked, else to a few neighbours, and so on for as many
//! steps as are left. The first answer wins and comes back the way the question went.

use shared::limits::TRACE_HOPS_MAX;
use shared::name::NodeName;
use shared::time::Now;
use shared::wire::{Body, Hop, Trace};

use super::Node;
use crate::action::{Action, Outcome, RequestId};
use crate::limits::TRACE_FANOUT;
use crate::links::LinkId;
use crate::traces::Waits;

impl Node {
    /// Somebody wants to know the way to a node.
    pub fn handle_trace(&mut self, request: RequestId, to: &NodeName, now: Now) {
        if *to == self.settings.node {
            return self.answer(request, Outcome::Unreachable("that is this node itself"));
        }
        let hops = u8::try_from(TRACE_HOPS_MAX).unwrap_or(u8::MAX);
        if !self.pass_question(Waits::Request(request), None, to, hops, now) {
            let why = "there is no link to ask, or too much is being asked";
            self.answer(request, Outcome::Unreachable(why));
        }
    }

    pub(super) fn take_trace(&mut self, link: LinkId, trace: Trace, now: Now) {
        match trace {
            Trace::Ask { id, to, hops } => self.take_question(link, id, &to, hops, now),
            Trace::Found { id, path } => self.take_way(link, id, path, now),
        }
    }

    fn take_question(&mut self, link: LinkId, id: u64, to: &NodeName, hops: u8, now: Now) {
        let member = self.links.get(link).is_some_and(|link| !link.is_visitor());
        if !member || !self.traces.may_ask(link, now.tick) {
            return;
        }
        if *to == self.settings.node {
            let path = vec![Hop { node: to.clone(), via: None, ms: 0 }];
            return self.send(link, &Body::Trace(Trace::Found { id, path }));
        }
        if hops > 1 {
            self.pass_question(Waits::Link(link, id), Some(link), to, hops - 1, now);
        }
    }

    /// Asks the node itself if it is linked, else some neighbours; whether anybody was asked.
    fn pass_question(
        &mut self,
        waits: Waits,
        from: Option<LinkId>,
        to: &NodeName,
        hops: u8,
        now: Now,
    ) -> bool {
        let linked = self.links.member_link(to).filter(|(_, link)| link.ready);
        let asked = match linked {
            Some((link, _)) => vec![link],
            None if hops > 1 => self.some_neighbours(from),
            None => Vec::new(),
        };
        let Some(id) = self.traces.ask(waits, &asked, now.tick) else { return false };
        for link in asked {
            self.send(link, &Body::Trace(Trace::Ask { id, to: to.clone(), hops }));
        }
        true
    }

    /// A few neighbours, other ones each time.
    fn some_neighbours(&mut self, but: Option<LinkId>) -> Vec<LinkId> {
        let member = |link: &LinkId| {
            self.links.get(*link).is_some_and(|link| link.ready && !link.is_visitor())
        };
        let all = self.links.iter().map(|(id, _)| id);
        let mut others: Vec<LinkId> = all.filter(|id| Some(*id) != but).filter(member).collect();
        let length = others.len();
        if length > 0 {
            let turn = usize::try_from(self.jitter.around(u64::MAX)).unwrap_or_default();
            others.rotate_left(turn % length);
        }
        others.truncate(TRACE_FANOUT);
        others
    }

    fn take_way(&mut self, link: LinkId, id: u64, mut path: Vec<Hop>, now: Now) {
        let Some((waits, ms)) = self.traces.found(id, link, now.tick) else { return };
        match waits {
            Waits::Request(request) => self.push(Action::Traced { request, path }),
            Waits::Link(back, id) if path.len() < TRACE_HOPS_MAX => {
                let via = self.links.get(link).and_then(|link| link.via.as_ref());
                let via = via.map(|via| via.relay.node().clone());
                let ms = u32::try_from(ms).unwrap_or(u32::MAX);
                path.insert(0, Hop { node: self.settings.node.clone(), via, ms });
                self.send(back, &Body::Trace(Trace::Found { id, path }));
            }
            Waits::Link(..) => {}
        }
    }

    /// Questions that nobody answered.
    pub(super) fn look_at_traces(&mut self, now: Now) {
        for request in self.traces.overdue(now.tick) {
            let why = "nobody who was asked knows a way there";
            self.answer(request, Outcome::Unreachable(why));
        }
    }
}
