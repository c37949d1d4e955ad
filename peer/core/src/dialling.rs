//! Whom to dial, where, and when again.
//!
//! Configured nodes and nodes known by their presence are dialled until they are linked, with
//! jittered exponential back-off; a refusal waits longer than a failure. Of two nodes that know
//! each other only by presence, the smaller name dials first.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::{Tick, Timestamp};

use crate::limits::{
    DIAL_MS, DIALS_MAX, DIRECTORY_MAX, HEDGE_MS, HELD_MS, REFUSED_FIRST_MS, REFUSED_MAX_MS,
    RETRY_FIRST_MS, RETRY_MAX_MS, YIELD_MS,
};
use crate::random::Jitter;

/// Whose decision a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// We refused them.
    Us,
    /// They refused us.
    Them,
    /// Nobody: the network.
    Neither,
}

/// Why a dial did not become a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialFailure {
    /// The code, if it was a refusal.
    pub code: Option<Code>,
    /// Whose.
    pub by: By,
    /// In words, for the log.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// What is known of a node's reachability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Linked.
    Linked,
    /// Being dialled.
    Dialling,
    /// Refused by one of us.
    Refused,
    /// Not answering.
    Unreachable,
    /// To be dialled.
    Waiting,
}

/// One way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// At an address.
    Address(String),
    /// Through a relay.
    Relay(NodeName),
}

impl Way {
    /// The address, if it is one.
    pub(crate) const fn address(&self) -> Option<&String> {
        match self {
            Self::Address(address) => Some(address),
            Self::Relay(_) => None,
        }
    }
}

/// A node we would like to be linked with.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// Where it can be dialled; tried in turn.
    pub addresses: Vec<String>,
    /// Relays that it names; tried after its addresses.
    pub relays: Vec<NodeName>,
    /// Neighbours that carry for it although they are no relays; tried last.
    pub(crate) carriers: Vec<NodeName>,
    /// Whether a person configured it.
    pub configured: bool,
    /// Where it was met without being named; tried beside what it says itself.
    pub hint: Option<String>,
    /// The last failure.
    pub last_failure: Option<DialFailure>,
    failures: u32,
    next_try: Tick,
    dialling_until: Option<Tick>,
    /// The address that was dialled last.
    pub(crate) dialled: Option<String>,
    linked: bool,
    /// Whether another link is to take the place of the one there is.
    renewing: bool,
    wanted: bool,
    /// How many ways of this round were tried, and how many it has.
    tried: usize,
    ways: usize,
    /// Dials under way: one, or an address that keeps silent and a relay.
    pending: usize,
    /// When a relay is asked although the address has not failed yet.
    hedge_at: Option<Tick>,
}

impl Prospect {
    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.last_failure, self.linked, self.dialling_until) {
            (_, true, _) => Standing::Linked,
            (Some(failure), ..) if failure.code.is_some() => Standing::Refused,
            (_, _, Some(_)) => Standing::Dialling,
            (Some(_), ..) => Standing::Unreachable,
            (None, ..) => Standing::Waiting,
        }
    }

    /// The next way of this round; counts it as tried.
    fn next_way(&mut self, node: &NodeName, ours: &[NodeName]) -> Option<Way> {
        let relays = if self.relays.is_empty() { ours } else { &self.relays };
        let addresses = self.addresses.iter().cloned().map(Way::Address);
        let carriers = self.carriers.iter().filter(|carrier| !relays.contains(carrier));
        let relays = relays.iter().chain(carriers).filter(|relay| *relay != node);
        let relays = relays.cloned().map(Way::Relay);
        let ways: Vec<Way> = addresses.chain(relays).collect();
        self.ways = ways.len();
        let way = ways.into_iter().nth(self.tried);
        self.tried += 1;
        way
    }

    /// Begins a round again.
    const fn again(&mut self, at: Tick) {
        self.tried = 0;
        self.hedge_at = None;
        self.ways = 0;
        self.next_try = at;
    }

    /// Whether a link, or another one, is sought.
    const fn is_open(&self) -> bool {
        self.renewing || !self.linked
    }

    /// Whether a dial is under way.
    pub(crate) const fn is_being_dialled(&self) -> bool {
        self.dialling_until.is_some() && self.is_open()
    }

    /// Notes that a way is being tried; an address has a moment before a relay is asked as well.
    fn begin(&mut self, way: &Way, now: Tick) {
        self.pending += 1;
        self.dialling_until = Some(now.plus_ms(DIAL_MS));
        let hedges = matches!(way, Way::Address(_)) && self.ways > self.addresses.len();
        self.hedge_at = hedges.then(|| now.plus_ms(HEDGE_MS));
    }

    fn rest(&mut self) {
        (self.pending, self.dialling_until, self.hedge_at) = (0, None, None);
    }

    /// Whether the node itself has answered, so that another way would hear the same: by a refusal
    /// at its own address, or by saying that there is a link already.
    fn is_answered(&self, failure: Option<&DialFailure>) -> bool {
        let direct = self.tried <= self.addresses.len();
        failure.is_none_or(|f| f.code.is_some() && f.by == By::Them && direct)
    }

    fn is_busy(&self, now: Tick) -> bool {
        self.dialling_until.is_some_and(|until| now < until)
    }

    /// Whether it is to be dialled now; a silent address counts as tried, with its neighbours.
    fn is_due(&mut self, now: Tick) -> bool {
        if !self.is_open() {
            return false;
        }
        if !self.is_busy(now) {
            self.pending = 0;
            return now >= self.next_try;
        }
        let silent = self.hedge_at.is_some_and(|at| now >= at);
        if silent {
            self.tried = self.tried.max(self.addresses.len());
        }
        silent
    }

    /// When it is dialled next.
    #[must_use]
    pub const fn next_try(&self) -> Tick {
        self.next_try
    }
}

#[derive(Debug)]
pub(crate) struct Dialling {
    prospects: BTreeMap<NodeName, Prospect>,
    /// Those that are wanted and not linked: in a large network a few of very many.
    open: BTreeSet<NodeName>,
    /// Whether whoever is learnt of is wanted.
    eager: bool,
    /// Somebody waits for a dial to end, because so many are under way.
    full: bool,
}

impl Dialling {
    pub(crate) const fn new() -> Self {
        Self { prospects: BTreeMap::new(), open: BTreeSet::new(), eager: true, full: false }
    }

    /// Whether from now on whoever is learnt of is wanted.
    pub(crate) const fn set_eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// Whether a node is to be dialled at all.
    pub(crate) fn set_wanted(&mut self, node: &NodeName, wanted: bool) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.wanted = wanted;
            self.index(node);
        }
    }

    fn index(&mut self, node: &NodeName) {
        let open = self.prospects.get(node).is_some_and(|p| p.renewing || p.wanted && !p.linked);
        if open {
            self.open.insert(node.clone());
        } else {
            self.open.remove(node);
        }
    }

    /// Adds or changes a configured node.
    pub(crate) fn configure(&mut self, node: NodeName, address: String, now: Tick) {
        self.prospects.insert(node.clone(), prospect(vec![address], true, now));
        self.index(&node);
    }

    /// Removes a configured node; it may come back by its presence.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        self.prospects.remove(node);
        self.index(node);
    }

    pub(crate) fn is_configured(&self, node: &NodeName) -> bool {
        self.prospects.get(node).is_some_and(|prospect| prospect.configured)
    }

    /// Its first dial need not wait for the other side's.
    pub(crate) fn encourage_once(&mut self, node: &NodeName, now: Tick) {
        if let Some(prospect) = self.prospects.get_mut(node).filter(|p| p.failures == 0) {
            prospect.next_try = prospect.next_try.min(now);
        }
    }

    pub(crate) fn configured(&self) -> Vec<NodeName> {
        let named = self.prospects.iter().filter(|(_, prospect)| prospect.configured);
        named.map(|(node, _)| node.clone()).collect()
    }

    /// Learns of a node by its presence.
    pub(crate) fn learn(
        &mut self,
        own: &NodeName,
        node: &NodeName,
        addresses: &[String],
        relays: &[NodeName],
        now: Tick,
    ) {
        if let Some(known) = self.prospects.get_mut(node) {
            let news = known.relays != relays && !relays.is_empty();
            known.relays = relays.to_vec();
            if !known.configured {
                let hint = known.hint.iter().filter(|hint| !addresses.contains(hint));
                known.addresses = addresses.iter().chain(hint).cloned().collect();
            }
            if news && known.dialling_until.is_none() {
                known.again(now);
            }
            return;
        }
        // The authority is reached through any neighbour that is linked with it.
        let reachable = node.as_str() == NodeName::AUTHORITY;
        if addresses.is_empty() && relays.is_empty() && !reachable {
            return;
        }
        if self.prospects.len() < DIRECTORY_MAX {
            let first = if own < node { now } else { now.plus_ms(YIELD_MS) };
            let mut fresh = prospect(addresses.to_vec(), false, first);
            fresh.relays = relays.to_vec();
            fresh.wanted = self.eager;
            self.prospects.insert(node.clone(), fresh);
            self.index(node);
        }
    }

    /// A node was met at an address that nobody had named.
    pub(crate) fn hint(&mut self, node: &NodeName, address: &str, now: Tick) {
        if !self.prospects.contains_key(node) && self.prospects.len() < DIRECTORY_MAX {
            let mut fresh = prospect(Vec::new(), false, now);
            fresh.wanted = self.eager;
            self.prospects.insert(node.clone(), fresh);
            self.index(node);
        }
        if let Some(known) = self.prospects.get_mut(node) {
            if !known.addresses.iter().any(|has| has == address) {
                known.addresses.push(address.to_owned());
            }
            known.hint = Some(address.to_owned());
        }
    }

    /// Those that are wanted and not linked.
    pub(crate) fn open(&self) -> impl Iterator<Item = &NodeName> {
        self.open.iter()
    }

    /// Everybody, wanted or not.
    pub(crate) fn names(&self) -> Vec<NodeName> {
        self.prospects.keys().cloned().collect()
    }

    pub(crate) fn has(&self, node: &NodeName) -> bool {
        self.prospects.contains_key(node)
    }

    /// Lets others go first.
    pub(crate) fn defer(&mut self, node: &NodeName, until: Tick) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.next_try = prospect.next_try.max(until);
        }
    }

    pub(crate) fn linked(&mut self, node: &NodeName) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.linked = true;
            prospect.renewing = false;
            prospect.failures = 0;
            prospect.rest();
            prospect.last_failure = None;
            prospect.tried = 0;
            self.index(node);
        }
        self.full = false;
    }

    pub(crate) fn unlinked(&mut self, node: &NodeName, now: Tick, jitter: &mut Jitter) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.linked = false;
            prospect.renewing = false;
            prospect.again(now.plus_ms(jitter.around(RETRY_FIRST_MS)));
            self.index(node);
        }
    }

    /// These carry for a node from now on.
    pub(crate) fn set_carriers(&mut self, node: &NodeName, carriers: Vec<NodeName>) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.carriers = carriers;
        }
    }

    /// A linked node is dialled once more, for a link that takes the other's place.
    pub(crate) fn renew(&mut self, node: &NodeName, now: Tick) {
        if let Some(prospect) = self.prospects.get_mut(node).filter(|p| p.linked && !p.renewing) {
            prospect.renewing = true;
            prospect.rest();
            prospect.again(now);
            self.index(node);
        }
    }

    /// The node may be worth another try at once: its standing in the feed changed.
    pub(crate) fn encourage(&mut self, node: &NodeName, now: Tick) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.failures = 0;
            prospect.again(now);
        }
    }

    pub(crate) fn failed(
        &mut self,
        node: &NodeName,
        failure: Option<DialFailure>,
        now: Tick,
        jitter: &mut Jitter,
    ) {
        self.full = false;
        let Some(prospect) = self.prospects.get_mut(node) else { return };
        prospect.pending = prospect.pending.saturating_sub(1);
        if !prospect.is_open() || prospect.pending > 0 {
            return;
        }
        prospect.rest();
        if prospect.tried < prospect.ways && !prospect.is_answered(failure.as_ref()) {
            prospect.next_try = now;
            prospect.last_failure = failure;
            return;
        }
        let turn = usize::from(prospect.addresses.len() > 1);
        prospect.addresses.rotate_left(turn);
        let refused = failure.as_ref().is_some_and(|failure| failure.code.is_some());
        let (first, most) = if refused {
            (REFUSED_FIRST_MS, REFUSED_MAX_MS)
        } else {
            (RETRY_FIRST_MS, RETRY_MAX_MS)
        };
        let wait = first.saturating_mul(1 << prospect.failures.min(16)).min(most);
        prospect.failures = prospect.failures.saturating_add(1);
        prospect.again(now.plus_ms(jitter.around(wait)));
        prospect.last_failure = failure;
    }

    /// Whom to dial now, by which way; `ours` are the relays for those that name none. `may` says
    /// whether this way may be tried, and is told whether a person configured the node. They count
    /// as being dialled from now on.
    pub(crate) fn due(
        &mut self,
        now: Tick,
        ours: &[NodeName],
        barred: impl Fn(&NodeName) -> bool,
        mut may: impl FnMut(&NodeName, &Way, bool) -> bool,
    ) -> Vec<(NodeName, Way)> {
        let open = || self.open.iter().filter_map(|node| self.prospects.get(node));
        let mut room = DIALS_MAX.saturating_sub(open().filter(|p| p.is_busy(now)).count());
        let mut due = Vec::new();
        for node in &self.open {
            let Some(prospect) = self.prospects.get_mut(node) else { continue };
            if room == 0 {
                self.full = true;
                break;
            }
            if !prospect.is_due(now) {
                continue;
            }
            if barred(node) {
                // Asked again then, or at once when the feed has news of it.
                prospect.again(now.plus_ms(RETRY_MAX_MS));
                continue;
            }
            match prospect.next_way(node, ours) {
                Some(way) if may(node, &way, prospect.configured) => {
                    prospect.begin(&way, now);
                    prospect.dialled = way.address().cloned();
                    due.push((node.clone(), way));
                    room -= 1;
                }
                Some(_) if prospect.tried < prospect.ways => prospect.next_try = now,
                Some(_) => prospect.again(now.plus_ms(HELD_MS)),
                None => prospect.again(now.plus_ms(RETRY_MAX_MS)),
            }
        }
        due
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let open = self.open.iter().filter_map(|node| self.prospects.get(node));
        let deadline = |p: &Prospect| match (p.dialling_until, p.hedge_at) {
            (Some(until), hedge) => Some(hedge.filter(|_| !self.full).unwrap_or(until)),
            // Whoever waits for room is tried when a dial has ended.
            (None, _) => (!self.full).then_some(p.next_try),
        };
        open.filter_map(deadline).min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Prospect)> {
        self.prospects.iter()
    }
}

const fn prospect(addresses: Vec<String>, configured: bool, next_try: Tick) -> Prospect {
    Prospect {
        addresses,
        relays: Vec::new(),
        carriers: Vec::new(),
        configured,
        hint: None,
        last_failure: None,
        failures: 0,
        next_try,
        dialling_until: None,
        dialled: None,
        linked: false,
        renewing: false,
        wanted: true,
        tried: 0,
        ways: 0,
        pending: 0,
        hedge_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn bob() -> Dialling {
        let mut dialling = Dialling::new();
        let addresses = ["a:1", "b:1"].map(str::to_owned);
        dialling.learn(&name("alice"), &name("bob"), &addresses, &[name("rita")], at(0));
        dialling
    }

    fn due(dialling: &mut Dialling, ms: u64) -> Vec<Way> {
        let due = dialling.due(at(ms), &[], |_| false, |_, _, _| true);
        due.into_iter().map(|(_, way)| way).collect()
    }

    fn fail(dialling: &mut Dialling, ms: u64, code: Option<Code>) {
        let by = if code.is_some() { By::Them } else { By::Neither };
        let failure = DialFailure { code, by, detail: String::new(), at: Timestamp::from_s(0) };
        dialling.failed(&name("bob"), Some(failure), at(ms), &mut Jitter::new(1));
    }

    fn address(text: &str) -> Vec<Way> {
        vec![Way::Address(text.to_owned())]
    }

    #[test]
    fn the_addresses_in_turn_then_the_relays_then_a_rest() {
        let mut dialling = bob();
        assert_eq!(due(&mut dialling, 0), address("a:1"));
        assert!(due(&mut dialling, 1).is_empty(), "one at a time");
        fail(&mut dialling, 1, None);
        assert_eq!(due(&mut dialling, 1), address("b:1"));
        fail(&mut dialling, 2, None);
        assert_eq!(due(&mut dialling, 2), [Way::Relay(name("rita"))]);
        fail(&mut dialling, 3, Some(Code::Quota));
        assert!(due(&mut dialling, 10).is_empty());
        assert_eq!(due(&mut dialling, 100_000), address("b:1"), "another one begins next time");
    }

    #[test]
    fn a_silent_address_does_not_hold_up_the_relay() {
        let mut dialling = bob();
        assert_eq!(due(&mut dialling, 0), address("a:1"));
        assert_eq!(dialling.next_deadline(), Some(at(HEDGE_MS)));
        assert!(due(&mut dialling, HEDGE_MS - 1).is_empty());
        assert_eq!(due(&mut dialling, HEDGE_MS), [Way::Relay(name("rita"))]);
        fail(&mut dialling, HEDGE_MS + 1, None);
        assert!(due(&mut dialling, HEDGE_MS + 2).is_empty(), "the address may still answer");
        fail(&mut dialling, 3_000, None);
        assert!(due(&mut dialling, 3_001).is_empty());
        assert!(!due(&mut dialling, 100_000).is_empty());
    }

    #[test]
    fn whoever_refuses_at_its_own_address_is_not_asked_for_elsewhere() {
        let mut dialling = bob();
        assert_eq!(due(&mut dialling, 0), address("a:1"));
        fail(&mut dialling, 1, Some(Code::Revoked));
        assert!(due(&mut dialling, 2).is_empty());
    }

    #[test]
    fn nobody_spins_while_as_many_are_dialled_as_may_be() {
        let mut dialling = Dialling::new();
        for n in 0..=DIALS_MAX {
            dialling.configure(name(&format!("n{n}")), "a:1".to_owned(), at(0));
        }
        assert_eq!(due(&mut dialling, 0).len(), DIALS_MAX);
        assert!(dialling.next_deadline().unwrap() > at(1));
        dialling.linked(&name("n0"));
        assert_eq!(dialling.next_deadline(), Some(at(0)));
        assert_eq!(due(&mut dialling, 1).len(), 1);
    }

    #[test]
    fn whom_the_feed_bars_is_asked_about_again_but_not_at_once() {
        let mut dialling = bob();
        assert!(dialling.due(at(0), &[], |_| true, |_, _, _| true).is_empty());
        assert!(dialling.next_deadline().unwrap() > at(0));
        dialling.encourage(&name("bob"), at(5));
        assert_eq!(due(&mut dialling, 5).len(), 1);
    }
}
