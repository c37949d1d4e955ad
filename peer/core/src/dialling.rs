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
    DIAL_MS, DIALS_MAX, DIRECTORY_MAX, HELD_MS, REFUSED_FIRST_MS, REFUSED_MAX_MS, RETRY_FIRST_MS,
    RETRY_MAX_MS, YIELD_MS,
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
    wanted: bool,
    /// How many ways of this round were tried, and how many it has.
    tried: usize,
    ways: usize,
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
        let relays = relays.iter().filter(|relay| *relay != node).cloned().map(Way::Relay);
        let ways: Vec<Way> = addresses.chain(relays).collect();
        self.ways = ways.len();
        let way = ways.into_iter().nth(self.tried);
        self.tried += 1;
        way
    }

    /// Begins a round again.
    const fn again(&mut self, at: Tick) {
        self.tried = 0;
        self.next_try = at;
    }

    /// Whether a dial is under way.
    pub(crate) const fn is_being_dialled(&self) -> bool {
        self.dialling_until.is_some() && !self.linked
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
}

impl Dialling {
    pub(crate) const fn new() -> Self {
        Self { prospects: BTreeMap::new(), open: BTreeSet::new(), eager: true }
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
        let open = self.prospects.get(node).is_some_and(|p| p.wanted && !p.linked);
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
        if addresses.is_empty() && relays.is_empty() {
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
            prospect.failures = 0;
            prospect.dialling_until = None;
            prospect.last_failure = None;
            prospect.tried = 0;
            self.index(node);
        }
    }

    pub(crate) fn unlinked(&mut self, node: &NodeName, now: Tick, jitter: &mut Jitter) {
        if let Some(prospect) = self.prospects.get_mut(node) {
            prospect.linked = false;
            prospect.again(now.plus_ms(jitter.around(RETRY_FIRST_MS)));
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
        let Some(prospect) = self.prospects.get_mut(node) else { return };
        prospect.dialling_until = None;
        if prospect.tried < prospect.ways {
            prospect.next_try = now;
            prospect.last_failure = failure;
            return;
        }
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
        let busy = |p: &Prospect| p.dialling_until.is_some_and(|until| now < until);
        let open = || self.open.iter().filter_map(|node| self.prospects.get(node));
        let mut room = DIALS_MAX.saturating_sub(open().filter(|p| busy(p)).count());
        let mut due = Vec::new();
        for node in &self.open {
            let Some(prospect) = self.prospects.get_mut(node) else { continue };
            if room == 0 {
                break;
            }
            if busy(prospect) || now < prospect.next_try {
                continue;
            }
            if barred(node) {
                // Asked again then, or at once when the feed has news of it.
                prospect.again(now.plus_ms(RETRY_MAX_MS));
                continue;
            }
            match prospect.next_way(node, ours) {
                Some(way) if may(node, &way, prospect.configured) => {
                    prospect.dialling_until = Some(now.plus_ms(DIAL_MS));
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
        let open = open.filter(|p| !p.addresses.is_empty() || !p.relays.is_empty());
        // While all dials are under way only their end makes room for another.
        let busy = open.clone().filter_map(|p| p.dialling_until);
        if busy.clone().count() >= DIALS_MAX {
            return busy.min();
        }
        open.map(|p| p.dialling_until.unwrap_or(p.next_try)).min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Prospect)> {
        self.prospects.iter()
    }
}

const fn prospect(addresses: Vec<String>, configured: bool, next_try: Tick) -> Prospect {
    Prospect {
        addresses,
        relays: Vec::new(),
        configured,
        hint: None,
        last_failure: None,
        failures: 0,
        next_try,
        dialling_until: None,
        dialled: None,
        linked: false,
        wanted: true,
        tried: 0,
        ways: 0,
    }
}
