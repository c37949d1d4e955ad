//! Leads: addresses whose node is not known yet, from a person or from the local network.
//!
//! A lead is dialled until its certificate tells a name; from then on the node is a prospect like
//! any other, and the lead sleeps as long as that prospect is there. What a person gave stays and
//! is tried again and again; what was found on the local network is dropped when its node is
//! known, shunned when it proves foreign, and dialled within a budget, because whoever answers
//! there may name the addresses of others.
//!
//! **Invariant:** at most [`LEADS_MAX`] leads, of which at most [`LEAD_DIALS_MAX`] are dialled at
//! once.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::time::Tick;

use crate::bucket::Bucket;
use crate::dialling::DialFailure;
use crate::limits::{
    DIAL_MS, FOUND_DIALS, LEAD_DIALS_MAX, LEAD_FORGET_MS, LEAD_SHUN_MS, LEADS_MAX,
    REFUSED_FIRST_MS, REFUSED_MAX_MS, RETRY_FIRST_MS, RETRY_MAX_MS,
};
use crate::random::Jitter;

/// Where a lead comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A person gave it.
    Told,
    /// Somebody on the local network announced it.
    Found,
}

/// An address whose node is not known, or was not when it came.
#[derive(Debug, Clone)]
pub struct Lead {
    /// Where it comes from.
    pub source: Source,
    /// The node that was met there.
    pub node: Option<NodeName>,
    /// The last failure.
    pub last_failure: Option<DialFailure>,
    failures: u32,
    next_try: Tick,
    seen: Tick,
    dialling_until: Option<Tick>,
    /// It leads to ourselves.
    own: bool,
}

impl Lead {
    const fn new(source: Source, now: Tick) -> Self {
        Self {
            source,
            node: None,
            last_failure: None,
            failures: 0,
            next_try: now,
            seen: now,
            dialling_until: None,
            own: false,
        }
    }

    /// When it is dialled next.
    #[must_use]
    pub const fn next_try(&self) -> Tick {
        self.next_try
    }

    /// Whether it turned out to be this node itself.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.own
    }

    fn is_busy(&self, now: Tick) -> bool {
        self.dialling_until.is_some_and(|until| now < until)
    }
}

#[derive(Debug)]
pub(crate) struct Leads {
    known: BTreeMap<String, Lead>,
    found_dials: Bucket,
}

impl Leads {
    pub(crate) const fn new(now: Tick) -> Self {
        Self { known: BTreeMap::new(), found_dials: Bucket::full(FOUND_DIALS, now) }
    }

    /// Replaces what a person gave.
    pub(crate) fn tell(&mut self, told: &[String], now: Tick) {
        self.known.retain(|address, lead| lead.source == Source::Found || told.contains(address));
        for address in told {
            if let Some(lead) = self.known.get_mut(address) {
                lead.source = Source::Told;
            } else if self.make_room() {
                self.known.insert(address.clone(), Lead::new(Source::Told, now));
            }
        }
    }

    /// An address was announced on the local network.
    pub(crate) fn find(&mut self, address: String, now: Tick) {
        if let Some(lead) = self.known.get_mut(&address) {
            lead.seen = now;
        } else if self.make_room() {
            self.known.insert(address, Lead::new(Source::Found, now));
        }
    }

    /// Whom to dial now; `is_prospect` says whether a node is dialled by its name already. They
    /// count as being dialled from now on.
    pub(crate) fn due(
        &mut self,
        now: Tick,
        is_prospect: impl Fn(&NodeName) -> bool,
    ) -> Vec<String> {
        let busy = self.known.values().filter(|lead| lead.is_busy(now)).count();
        let mut room = LEAD_DIALS_MAX.saturating_sub(busy);
        let mut due = Vec::new();
        for (address, lead) in &mut self.known {
            let sleeps = lead.own || lead.node.as_ref().is_some_and(&is_prospect);
            if room == 0 || sleeps || lead.is_busy(now) || now < lead.next_try {
                continue;
            }
            if lead.source == Source::Found && !self.found_dials.take(FOUND_DIALS, now) {
                continue;
            }
            lead.dialling_until = Some(now.plus_ms(DIAL_MS));
            due.push(address.clone());
            room -= 1;
        }
        due
    }

    /// The certificate there told a name; says whether a person gave the address.
    pub(crate) fn met(&mut self, address: &str, node: &NodeName, own: bool) -> Option<Source> {
        let lead = self.known.get_mut(address)?;
        let source = lead.source;
        if source == Source::Found && !own {
            self.known.remove(address);
            return Some(source);
        }
        (lead.node, lead.own, lead.last_failure) = (Some(node.clone()), own, None);
        (lead.dialling_until, lead.failures) = (None, 0);
        Some(source)
    }

    /// Nobody there, or nobody of ours.
    pub(crate) fn failed(
        &mut self,
        address: &str,
        failure: DialFailure,
        now: Tick,
        jitter: &mut Jitter,
    ) {
        let Some(lead) = self.known.get_mut(address) else { return };
        let (first, most) = match (lead.source, failure.code.is_some()) {
            (Source::Found, true) => (LEAD_SHUN_MS, LEAD_SHUN_MS),
            (_, true) => (REFUSED_FIRST_MS, REFUSED_MAX_MS),
            (_, false) => (RETRY_FIRST_MS, RETRY_MAX_MS),
        };
        let wait = first.saturating_mul(1 << lead.failures.min(16)).min(most);
        lead.failures = lead.failures.saturating_add(1);
        lead.dialling_until = None;
        lead.next_try = now.plus_ms(jitter.around(wait));
        lead.last_failure = Some(failure);
    }

    /// Another node answers where this one was met: its addresses are to be asked for a name again.
    pub(crate) fn doubt(&mut self, node: &NodeName) {
        for lead in self.known.values_mut().filter(|lead| lead.node.as_ref() == Some(node)) {
            lead.node = None;
        }
    }

    /// Forgets what was found and not announced again.
    pub(crate) fn forget(&mut self, now: Tick) {
        self.known.retain(|_, lead| {
            lead.source == Source::Told || now.ms_since(lead.seen) < LEAD_FORGET_MS
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Lead)> {
        self.known.iter()
    }

    /// Room for one more; what was found and failed most often gives way.
    fn make_room(&mut self) -> bool {
        if self.known.len() < LEADS_MAX {
            return true;
        }
        let found = self.known.iter().filter(|(_, lead)| lead.source == Source::Found);
        let worst = found.filter(|(_, lead)| lead.failures > 0).max_by_key(|(_, l)| l.failures);
        let worst = worst.map(|(address, _)| address.clone());
        worst.is_some_and(|address| self.known.remove(&address).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialling::By;
    use shared::refusal::Code;
    use shared::time::Timestamp;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn failure(code: Option<Code>) -> DialFailure {
        let by = if code.is_some() { By::Us } else { By::Neither };
        DialFailure { code, by, detail: String::new(), at: Timestamp::from_s(0) }
    }

    fn nobody(_: &NodeName) -> bool {
        false
    }

    #[test]
    fn a_told_address_is_dialled_until_a_name_is_known_and_again_when_it_is_lost() {
        let mut leads = Leads::new(at(0));
        leads.tell(&["a:1".to_owned(), "b:1".to_owned()], at(0));
        assert_eq!(leads.due(at(0), nobody), ["a:1", "b:1"]);
        assert!(leads.due(at(1), nobody).is_empty(), "both are being dialled");
        leads.failed("a:1", failure(None), at(10), &mut Jitter::new(1));
        assert!(leads.due(at(11), nobody).is_empty());
        assert_eq!(leads.due(at(10 + RETRY_FIRST_MS), nobody), ["a:1"]);
        // Two leads to one node collapse: both sleep while that node is a prospect.
        assert_eq!(leads.met("a:1", &node("alice"), false), Some(Source::Told));
        assert_eq!(leads.met("b:1", &node("alice"), false), Some(Source::Told));
        let alice = node("alice");
        assert!(leads.due(at(90_000), |name| *name == alice).is_empty());
        assert_eq!(leads.due(at(90_000), nobody), ["a:1", "b:1"]);
        leads.met("a:1", &alice, false);
        leads.doubt(&alice);
        assert_eq!(leads.due(at(90_001), |name| *name == alice), ["a:1"]);
        leads.tell(&[], at(90_002));
        assert_eq!(leads.iter().count(), 0);
    }

    #[test]
    fn what_is_found_is_dropped_when_known_and_shunned_when_foreign() {
        let mut leads = Leads::new(at(0));
        leads.find("a:1".to_owned(), at(0));
        leads.find("b:1".to_owned(), at(0));
        assert_eq!(leads.due(at(0), nobody).len(), 2);
        leads.met("a:1", &node("alice"), false);
        let foreign = failure(Some(Code::ForeignAuthority));
        leads.failed("b:1", foreign, at(0), &mut Jitter::new(1));
        assert_eq!(leads.iter().map(|(address, _)| address.as_str()).collect::<Vec<_>>(), ["b:1"]);
        leads.find("b:1".to_owned(), at(100));
        assert!(leads.due(at(LEAD_SHUN_MS / 2 - 1), nobody).is_empty(), "announced or not");
        leads.forget(at(LEAD_FORGET_MS + 101));
        assert_eq!(leads.iter().count(), 0);
    }

    #[test]
    fn ourselves_we_do_not_dial_twice() {
        let mut leads = Leads::new(at(0));
        leads.find("a:1".to_owned(), at(0));
        leads.due(at(0), nobody);
        leads.met("a:1", &node("bob"), true);
        leads.find("a:1".to_owned(), at(100_000));
        assert!(leads.due(at(100_000), nobody).is_empty());
    }

    #[test]
    fn ten_thousand_announcements_are_a_few_dials() {
        let mut leads = Leads::new(at(0));
        leads.tell(&["told:1".to_owned()], at(0));
        let mut dials = Vec::new();
        for ms in 0..10_000 {
            leads.find(format!("10.0.{}.{}:1", ms / 250, ms % 250), at(ms));
            for address in leads.due(at(ms), nobody) {
                leads.failed(&address, failure(None), at(ms), &mut Jitter::new(ms));
                dials.push(address);
            }
        }
        let found = dials.iter().filter(|address| *address != "told:1").count() as u64;
        assert!(leads.iter().count() <= LEADS_MAX);
        assert!(found <= u64::from(FOUND_DIALS.burst) + 10_000 / FOUND_DIALS.every_ms, "{found}");
        assert!(dials.iter().any(|address| address == "told:1"), "a person's comes through");
    }
}
