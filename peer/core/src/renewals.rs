//! Requests for a new certificate that are under way: our own, and at the authority those of
//! others.
//!
//! **Invariant:** at most one of our own at a time, answered once, and by nobody but the link it
//! was asked on; at most one of each link.

use std::collections::BTreeMap;

use shared::time::Tick;

use crate::action::RequestId;
use crate::limits::RENEW_MS;
use crate::links::LinkId;

#[derive(Debug)]
struct Open {
    request: RequestId,
    csr: Vec<u8>,
    until: Tick,
    /// The link it was asked on, and its number there.
    asked: Option<(LinkId, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Renewals {
    own: Option<Open>,
    next: u64,
    others: BTreeMap<LinkId, u64>,
}

impl Renewals {
    /// Begins one of our own; whether there was none yet.
    pub(crate) fn begin(&mut self, request: RequestId, csr: Vec<u8>, now: Tick) -> bool {
        if self.own.is_some() {
            return false;
        }
        self.own = Some(Open { request, csr, until: now.plus_ms(RENEW_MS), asked: None });
        true
    }

    /// Whether one of our own waits for a link with the authority.
    pub(crate) fn waits(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.asked.is_none())
    }

    /// Our own goes out on a link: its number there, and the request.
    pub(crate) fn ask(&mut self, link: LinkId) -> Option<(u64, Vec<u8>)> {
        let own = self.own.as_mut().filter(|own| own.asked.is_none())?;
        self.next += 1;
        own.asked = Some((link, self.next));
        Some((self.next, own.csr.clone()))
    }

    /// An answer came on a link: which of our requests it answers, if any.
    pub(crate) fn answered(&mut self, link: LinkId, id: u64) -> Option<RequestId> {
        let own = self.own.take_if(|own| own.asked == Some((link, id)))?;
        Some(own.request)
    }

    /// Our own is of no use; whether it was still open.
    pub(crate) fn give_up(&mut self, request: RequestId) -> bool {
        self.own.take_if(|own| own.request == request).is_some()
    }

    /// Our own, if nobody answered it in time.
    pub(crate) fn overdue(&mut self, now: Tick) -> Option<RequestId> {
        self.own.take_if(|own| now >= own.until).map(|own| own.request)
    }

    /// A member asks us; whether it has no other under way.
    pub(crate) fn admit(&mut self, link: LinkId, id: u64) -> bool {
        let free = !self.others.contains_key(&link);
        if free {
            self.others.insert(link, id);
        }
        free
    }

    /// A member is answered; whether it still waits.
    pub(crate) fn settle(&mut self, link: LinkId, id: u64) -> bool {
        let waits = self.others.get(&link) == Some(&id);
        if waits {
            self.others.remove(&link);
        }
        waits
    }

    /// A link is gone: what was asked on it is asked anew on the next.
    pub(crate) fn ended(&mut self, link: LinkId) {
        self.others.remove(&link);
        if let Some(own) = &mut self.own {
            own.asked = own.asked.filter(|(on, _)| *on != link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::from_ms(0);

    #[test]
    fn only_the_link_that_was_asked_answers_and_once() {
        let mut renewals = Renewals::default();
        assert!(renewals.begin(7, vec![1], NOW) && renewals.waits());
        assert!(!renewals.begin(8, vec![2], NOW), "one at a time");
        let (id, csr) = renewals.ask(LinkId(1)).unwrap();
        assert_eq!(csr, vec![1]);
        assert!(!renewals.waits() && renewals.ask(LinkId(2)).is_none());
        assert_eq!(renewals.answered(LinkId(2), id), None);
        assert_eq!(renewals.answered(LinkId(1), id + 1), None);
        assert_eq!(renewals.answered(LinkId(1), id), Some(7));
        assert_eq!(renewals.answered(LinkId(1), id), None);
    }

    #[test]
    fn a_link_that_ends_is_no_answer_and_time_is() {
        let mut renewals = Renewals::default();
        assert!(renewals.begin(7, vec![1], NOW));
        let (first, _) = renewals.ask(LinkId(1)).unwrap();
        renewals.ended(LinkId(1));
        let (second, _) = renewals.ask(LinkId(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(renewals.overdue(NOW.plus_ms(RENEW_MS - 1)), None);
        assert_eq!(renewals.overdue(NOW.plus_ms(RENEW_MS)), Some(7));
        assert_eq!(renewals.answered(LinkId(2), second), None);
    }

    #[test]
    fn a_member_has_one_under_way() {
        let mut renewals = Renewals::default();
        assert!(renewals.admit(LinkId(1), 4) && !renewals.admit(LinkId(1), 5));
        assert!(renewals.admit(LinkId(2), 4));
        assert!(!renewals.settle(LinkId(1), 5) && renewals.settle(LinkId(1), 4));
        assert!(!renewals.settle(LinkId(1), 4) && renewals.admit(LinkId(1), 6));
        renewals.ended(LinkId(1));
        assert!(!renewals.settle(LinkId(1), 6));
    }
}
