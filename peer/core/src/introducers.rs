//! Who told us of whom, and what that may cost others.
//!
//! Whoever passes on a presence, or signs its own, makes us dial the addresses in it. So each node
//! has one introducer, the neighbour from whom its presence came first, or itself if it came
//! itself; dials of addresses that never became a link are charged to the introducer, and given
//! back when one becomes a link. A liar with ten thousand addresses of third parties thus makes us
//! open a bounded number of connections, however many nodes it invents addresses for.
//!
//! What a person configured is charged to nobody.
//!
//! **Invariant:** per introducer at most [`INTRODUCED_DIALS`] dials of unproven addresses, and at
//! most [`INTRODUCED_LINKS_MAX`] links that we dialled for it.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::NodeName;
use shared::time::Tick;

use crate::bucket::Bucket;
use crate::limits::{DIRECTORY_MAX, INTRODUCED_DIALS, INTRODUCED_LINKS_MAX};

#[derive(Debug, Default)]
struct Introduced {
    by: Option<NodeName>,
    /// Addresses that became a link with this very node.
    proven: BTreeSet<String>,
    /// An address for which a dial is charged.
    charged: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Introducers {
    known: BTreeMap<NodeName, Introduced>,
    budgets: BTreeMap<NodeName, Bucket>,
}

impl Introducers {
    /// A presence came from a neighbour; the first to bring it is its introducer.
    pub(crate) fn heard(&mut self, node: &NodeName, from: &NodeName) {
        if self.known.len() < DIRECTORY_MAX || self.known.contains_key(node) {
            let known = self.known.entry(node.clone()).or_default();
            known.by.get_or_insert_with(|| from.clone());
        }
    }

    /// The node came itself: from now on it answers for itself.
    pub(crate) fn came(&mut self, node: &NodeName) {
        self.heard(node, node);
        if let Some(known) = self.known.get_mut(node) {
            known.by = Some(node.clone());
        }
    }

    /// A dial of this address became a link: it is proven, and its charge is given back.
    pub(crate) fn proved(&mut self, node: &NodeName, address: &str, addresses: &[String]) {
        let Some(known) = self.known.get_mut(node) else { return };
        known.proven.retain(|proven| addresses.contains(proven));
        known.proven.insert(address.to_owned());
        let charged = known.charged.take().is_some();
        let bucket = known.by.as_ref().and_then(|by| self.budgets.get_mut(by));
        if let Some(bucket) = bucket.filter(|_| charged) {
            bucket.give_back(INTRODUCED_DIALS);
        }
    }

    /// Who introduced a node, unless it came itself.
    pub(crate) fn of(&self, node: &NodeName) -> Option<&NodeName> {
        self.known.get(node)?.by.as_ref().filter(|by| *by != node)
    }

    /// Whether a node may be dialled at an address, or through a relay if there is none: its
    /// introducer has supplied `supplied` links.
    pub(crate) fn may_dial(
        &mut self,
        node: &NodeName,
        address: Option<&String>,
        supplied: impl Fn(&NodeName) -> usize,
        now: Tick,
    ) -> bool {
        // Whom nobody introduced answers for itself.
        self.heard(node, node);
        let Some(known) = self.known.get_mut(node) else { return false };
        let Some(by) = &known.by else { return false };
        if by != node && supplied(by) >= INTRODUCED_LINKS_MAX {
            return false;
        }
        let Some(address) = address.filter(|address| !known.proven.contains(*address)) else {
            return true;
        };
        if self.budgets.len() >= DIRECTORY_MAX && !self.budgets.contains_key(by) {
            return false;
        }
        let full = || Bucket::full(INTRODUCED_DIALS, now);
        let granted =
            self.budgets.entry(by.clone()).or_insert_with(full).take(INTRODUCED_DIALS, now);
        if granted {
            known.charged = Some(address.clone());
        }
        granted
    }

    /// Forgets a node; what its introducer has spent stays spent.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        self.known.remove(node);
    }

    /// Forgets budgets that are full again, of introducers that are gone.
    pub(crate) fn settle(&mut self, is_known: impl Fn(&NodeName) -> bool, now: Tick) {
        self.budgets.retain(|by, bucket| is_known(by) || !bucket.is_full(INTRODUCED_DIALS, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn may_dial(
        introducers: &mut Introducers,
        node: &NodeName,
        address: &str,
        supplied: impl Fn(&NodeName) -> usize,
        now: Tick,
    ) -> bool {
        introducers.may_dial(node, Some(&address.to_owned()), supplied, now)
    }

    fn none(_: &NodeName) -> usize {
        0
    }

    #[test]
    fn ten_thousand_addresses_of_third_parties_are_a_few_dials() {
        let mut introducers = Introducers::default();
        let liar = name("liar");
        let mut dials = 0;
        for turn in 0..10_000_u64 {
            let node = name(&format!("n{}", turn % 1000));
            introducers.heard(&node, &liar);
            let address = format!("192.0.2.{}:{turn}", turn % 250);
            dials += u64::from(may_dial(&mut introducers, &node, &address, none, at(turn)));
        }
        let most = u64::from(INTRODUCED_DIALS.burst) + 10_000 / INTRODUCED_DIALS.every_ms;
        assert!((1..=most).contains(&dials), "{dials}");
        // Another introducer, and who came itself, are not held up by the liar.
        introducers.heard(&name("alice"), &name("carol"));
        assert!(may_dial(&mut introducers, &name("alice"), "a:1", none, at(10_000)));
        introducers.came(&name("n1"));
        assert!(may_dial(&mut introducers, &name("n1"), "b:1", none, at(10_000)));
        let granted =
            (0..9).filter(|_| may_dial(&mut introducers, &name("n2"), "b:1", none, at(10_000)));
        assert!(granted.count() <= 1, "the liar's budget is spent");
    }

    #[test]
    fn an_honest_introducer_is_given_back_what_became_a_link() {
        let mut introducers = Introducers::default();
        for n in 0..500 {
            let node = name(&format!("n{n}"));
            introducers.heard(&node, &name("seed"));
            assert!(may_dial(&mut introducers, &node, "a:1", none, at(0)), "{n}");
            introducers.proved(&node, "a:1", &["a:1".to_owned()]);
            assert!(may_dial(&mut introducers, &node, "a:1", none, at(0)), "a proven one is free");
        }
    }

    #[test]
    fn who_signs_addresses_of_others_for_itself_is_bounded_as_well() {
        let mut introducers = Introducers::default();
        introducers.came(&name("liar"));
        let granted = (0..1000)
            .filter(|n| may_dial(&mut introducers, &name("liar"), &format!("a:{n}"), none, at(0)));
        assert_eq!(granted.count(), INTRODUCED_DIALS.burst as usize);
    }

    #[test]
    fn no_introducer_supplies_more_than_its_share() {
        let mut introducers = Introducers::default();
        introducers.heard(&name("bob"), &name("seed"));
        introducers.heard(&name("bob"), &name("later"));
        assert_eq!(introducers.of(&name("bob")), Some(&name("seed")), "the first counts");
        let seed = name("seed");
        let full = |by: &NodeName| if *by == seed { INTRODUCED_LINKS_MAX } else { 0 };
        assert!(!may_dial(&mut introducers, &name("bob"), "a:1", full, at(0)));
        assert!(may_dial(
            &mut introducers,
            &name("bob"),
            "a:1",
            |_| INTRODUCED_LINKS_MAX - 1,
            at(0)
        ));
        introducers.came(&name("bob"));
        assert_eq!(introducers.of(&name("bob")), None);
        assert!(may_dial(&mut introducers, &name("bob"), "a:1", full, at(0)));
    }
}
