//! The policy that holds, and how much of its quotas each node has used.
//!
//! **Invariant:** the number of the policy that holds only goes up.
//! **Invariant:** a bucket that is empty grants nothing until time has passed.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::policy::{Decision, Policing, Policy, Rates, Request, SignedPolicy, Standing, Who};
use shared::time::Tick;

use crate::limits::{METERS_MAX, QUOTA_BYTES_BURST_MIN};

/// What a newly heard policy is to the one that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It is newer.
    News,
    /// It is the very one.
    Same,
    /// It is older.
    Older,
    /// Another one under the same number: the authority's key signs two.
    Equivocation,
}

#[derive(Debug)]
pub(crate) struct Law {
    policing: Policing,
    signed: Option<SignedPolicy>,
    meters: BTreeMap<NodeName, Meter>,
}

impl Law {
    /// What holds before anything is heard.
    pub(crate) fn built_in() -> Self {
        let policing = Policing::new(&Policy::built_in());
        Self { policing, signed: None, meters: BTreeMap::new() }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.policing.number()
    }

    /// The statement that holds, to be passed on and saved.
    pub(crate) fn statement(&self) -> Option<&[u8]> {
        self.signed.as_ref().map(|signed| signed.bytes.as_slice())
    }

    /// The policy, for people.
    pub(crate) fn policy(&self) -> Policy {
        self.signed.as_ref().map_or_else(Policy::built_in, |signed| signed.policy.clone())
    }

    /// What a policy of this number and these octets would be.
    pub(crate) fn novelty(&self, number: u64, bytes: &[u8]) -> Novelty {
        match number.cmp(&self.number()) {
            std::cmp::Ordering::Greater => Novelty::News,
            std::cmp::Ordering::Less => Novelty::Older,
            std::cmp::Ordering::Equal if self.statement() == Some(bytes) => Novelty::Same,
            std::cmp::Ordering::Equal => Novelty::Equivocation,
        }
    }

    /// It holds from now on; quotas begin anew.
    pub(crate) fn adopt(&mut self, signed: SignedPolicy) {
        self.policing = Policing::new(&signed.policy);
        self.signed = Some(signed);
        self.meters.clear();
    }

    pub(crate) fn standing(&self, who: Who<'_>) -> Standing {
        self.policing.standing(who)
    }

    pub(crate) fn decide(&self, from: Who<'_>, to: Who<'_>, request: Request<'_>) -> Decision<'_> {
        self.policing.decide(&self.standing(from), &self.standing(to), request)
    }

    /// Whether a node may send so many messages of so many octets together now; it is charged for
    /// both or for neither.
    pub(crate) fn may_say(&mut self, who: Who<'_>, messages: u64, bytes: u64, now: Tick) -> bool {
        let rates = self.policing.rates(who);
        let Some(meter) = self.meter(who.node, rates, now) else { return true };
        let count = rates.messages_per_second.map(|rate| Pace::second(rate, messages));
        let size = rates.bytes_per_second.map(|rate| Pace::second(rate, QUOTA_BYTES_BURST_MIN));
        let fits = count.is_none_or(|pace| meter.messages.has(pace, messages, now))
            && size.is_none_or(|pace| meter.bytes.has(pace, bytes, now));
        if fits {
            meter.messages.charge(messages);
            meter.bytes.charge(bytes);
        }
        fits
    }

    /// Whether a node may begin another link now; it is charged.
    pub(crate) fn may_begin(&mut self, who: Who<'_>, now: Tick) -> bool {
        let rates = self.policing.rates(who);
        let Some(rate) = rates.handshakes_per_minute else { return true };
        let Some(meter) = self.meter(who.node, rates, now) else { return true };
        let fits = meter.begins.has(Pace::minute(rate), 1, now);
        if fits {
            meter.begins.charge(1);
        }
        fits
    }

    fn meter(&mut self, node: &NodeName, rates: Rates, now: Tick) -> Option<&mut Meter> {
        if rates == Rates::default() {
            return None;
        }
        if self.meters.len() >= METERS_MAX && !self.meters.contains_key(node) {
            let oldest = self.meters.iter().min_by_key(|(_, meter)| meter.used);
            let oldest = oldest.map(|(node, _)| node.clone())?;
            self.meters.remove(&oldest);
        }
        let meter = self.meters.entry(node.clone()).or_default();
        meter.used = now;
        Some(meter)
    }
}

/// How fast a tank fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// So many in `every_ms`.
    rate: u64,
    every_ms: u64,
    holds: u64,
}

impl Pace {
    /// So many a second; a second's worth at once, or `least` if that is more.
    fn second(rate: u32, least: u64) -> Self {
        let rate = u64::from(rate);
        Self { rate, every_ms: 1_000, holds: rate.max(least) }
    }

    fn minute(rate: u32) -> Self {
        let rate = u64::from(rate);
        Self { rate, every_ms: 60_000, holds: rate }
    }
}

/// What is left of one quota, in parts of `every_ms`.
#[derive(Debug, Clone, Copy, Default)]
struct Tank {
    used: u64,
    every_ms: u64,
    at: Tick,
}

impl Tank {
    fn has(&mut self, pace: Pace, amount: u64, now: Tick) -> bool {
        let back = now.ms_since(self.at).saturating_mul(pace.rate);
        self.used = self.used.saturating_sub(back);
        (self.at, self.every_ms) = (now, pace.every_ms);
        // More at once than it holds passes when it is full, and is paid for afterwards.
        let amount = amount.min(pace.holds);
        let wanted = self.used.saturating_add(amount.saturating_mul(pace.every_ms));
        wanted <= pace.holds.saturating_mul(pace.every_ms)
    }

    const fn charge(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount.saturating_mul(self.every_ms));
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    messages: Tank,
    bytes: Tank,
    begins: Tank,
    used: Tick,
}

#[cfg(test)]
mod tests {
    use shared::cert::Attributes;
    use shared::name::Label;
    use shared::policy::{Quota, Selector};

    use super::*;

    fn law(rates: Rates) -> Law {
        let name = Label::parse("all").unwrap();
        let quota = Quota { name, from: Selector::everybody(), rates };
        let policy = Policy { quotas: vec![quota], number: 1, ..Policy::built_in() };
        Law { policing: Policing::new(&policy), ..Law::built_in() }
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    #[test]
    fn a_second_of_messages_at_once_then_as_they_come_back_each_node_for_itself() {
        let mut law = law(Rates { messages_per_second: Some(10), ..Rates::default() });
        let none = Attributes::default();
        let (bob, carol) = (NodeName::parse("bob").unwrap(), NodeName::parse("carol").unwrap());
        let who = |node| Who { node, attributes: &none };
        let said = (0..20).filter(|_| law.may_say(who(&bob), 1, 100, at(0))).count();
        assert_eq!(said, 10);
        assert!(!law.may_say(who(&bob), 1, 1, at(99)));
        assert!(law.may_say(who(&bob), 1, 1, at(100)));
        assert!(law.may_say(who(&carol), 10, 1, at(100)), "another node is not disturbed");
        assert!(law.may_say(who(&bob), 10, 1, at(10_000)));
        assert!(!law.may_say(who(&bob), 1, 1, at(10_000)), "no more than it holds");
    }

    #[test]
    fn octets_and_links_are_counted_too() {
        let rates = Rates { bytes_per_second: Some(1_000), ..Rates::default() };
        let mut law = law(Rates { handshakes_per_minute: Some(2), ..rates });
        let none = Attributes::default();
        let bob = NodeName::parse("bob").unwrap();
        let who = Who { node: &bob, attributes: &none };
        assert!(law.may_say(who, 1, QUOTA_BYTES_BURST_MIN, at(0)), "one large one passes");
        assert!(!law.may_say(who, 1, 1_001, at(1_000)));
        assert!(law.may_say(who, 1, 1_000, at(1_000)));
        assert!(law.may_begin(who, at(0)) && law.may_begin(who, at(0)));
        assert!(!law.may_begin(who, at(29_999)));
        assert!(law.may_begin(who, at(30_000)));
    }

    #[test]
    fn without_a_quota_nothing_is_counted() {
        let mut law = Law::built_in();
        let none = Attributes::default();
        let bob = NodeName::parse("bob").unwrap();
        let who = Who { node: &bob, attributes: &none };
        assert!((0..10_000).all(|_| law.may_say(who, 1, 1, at(0)) && law.may_begin(who, at(0))));
        assert!(law.meters.is_empty());
    }
}
