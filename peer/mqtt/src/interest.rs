//! What this peer's programs want, as one set of filters for its neighbours.
//!
//! Filters are counted, so that each is asked for once; what a broader one covers is left out; and
//! when there are too many, whole first levels stand for them: that costs bandwidth and never
//! correctness. Shared filters stand for themselves.
//!
//! **Invariant:** every topic that a program's filter matches is matched by the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytestring::ByteString;
use shared::limits::WISHES_BYTES_MAX;
use shared::name::NodeName;
use shared::policy::{Filter, covers};

use crate::limits::INTEREST_MAX;
use crate::receipt::{Hold, Receipt};
use crate::topic::{SHARE, Wanted};
use crate::trie::Trie;

/// See above.
#[derive(Debug, Default)]
pub(crate) struct Interest(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    version: u64,
    counts: BTreeMap<ByteString, (Wanted, usize)>,
    /// Those that no group shares.
    tree: Tree,
    summary: Option<Arc<BTreeSet<ByteString>>>,
    uplinks: BTreeMap<NodeName, Uplink>,
    last: u64,
}

/// A neighbour that is told.
#[derive(Debug, Default)]
struct Uplink {
    connection: u64,
    waker: Option<Waker>,
    /// Who waits until it knows which version.
    waiting: Vec<(u64, Hold)>,
    /// Up to which version it knows.
    known: u64,
}

impl Interest {
    /// One more subscription; if it is new to the set and there are neighbours to be told, gives
    /// what is settled when all of them know.
    pub(crate) fn add(&self, wanted: &Wanted) -> Option<Arc<Receipt>> {
        let mut inside = self.lock();
        let text = wanted.text();
        let (_, count) = inside.counts.entry(text.clone()).or_insert_with(|| (wanted.clone(), 0));
        *count += 1;
        if *count == 1 && (wanted.group.is_some() || !inside.tree.covers(&wanted.filter)) {
            inside.version += 1;
        }
        if wanted.group.is_some() || inside.tree.enter(&text, &wanted.filter) {
            inside.summary = None;
        }
        // Known, and known to be known: nobody is waited for.
        let version = inside.version;
        if inside.uplinks.values().all(|uplink| uplink.known >= version) {
            return None;
        }
        let receipt = Arc::new(Receipt::default());
        for uplink in inside.uplinks.values_mut().filter(|uplink| uplink.known < version) {
            uplink.waiting.push((version, receipt.hold()));
        }
        inside.wake();
        Some(receipt)
    }

    /// One subscription less.
    pub(crate) fn remove(&self, wanted: &Wanted) {
        let mut inside = self.lock();
        let text = wanted.text();
        let Some((_, count)) = inside.counts.get_mut(&text) else { return };
        *count -= 1;
        if *count == 0 {
            inside.counts.remove(&text);
            inside.tree.leave(&text, &wanted.filter);
            inside.version += 1;
            inside.summary = None;
            inside.wake();
        }
    }

    /// A neighbour hears us from now on.
    /// Gives a number for this connection: a later one takes its place.
    pub(crate) fn connected(&self, node: &NodeName) -> u64 {
        let mut inside = self.lock();
        inside.last += 1;
        let uplink = Uplink { connection: inside.last, ..Uplink::default() };
        inside.uplinks.insert(node.clone(), uplink);
        inside.last
    }

    /// It does not any more: nobody waits for it.
    pub(crate) fn disconnected(&self, node: &NodeName, connection: u64) {
        let mut inside = self.lock();
        if inside.uplinks.get(node).is_some_and(|uplink| uplink.connection == connection) {
            let gone = inside.uplinks.remove(node);
            drop(inside);
            drop(gone);
        }
    }

    /// The set and its version, if it is another than the one that was told last; if it is not,
    /// `waker` is woken when there is one.
    pub(crate) fn look(
        &self,
        node: &NodeName,
        told: u64,
        waker: &Waker,
    ) -> Option<(u64, Arc<BTreeSet<ByteString>>)> {
        let mut inside = self.lock();
        if inside.version != told {
            return Some((inside.version, inside.summary()));
        }
        if let Some(uplink) = inside.uplinks.get_mut(node) {
            uplink.waker = Some(waker.clone());
        }
        None
    }

    /// A neighbour knows the set up to a version.
    pub(crate) fn known(&self, node: &NodeName, version: u64) {
        let mut inside = self.lock();
        let Some(uplink) = inside.uplinks.get_mut(node) else { return };
        uplink.known = uplink.known.max(version);
        let done: Vec<(u64, Hold)> =
            uplink.waiting.extract_if(.., |(v, _)| *v <= version).collect();
        drop(inside);
        drop(done);
    }

    /// The version of our wishes and, if they are needed, the filters for peers further off.
    pub(crate) fn wishes(&self, needed: bool) -> (u64, Vec<String>) {
        let mut inside = self.lock();
        let version = inside.version;
        let summary = if needed { inside.summary() } else { Arc::default() };
        drop(inside);
        (version, bounded(&summary))
    }

    /// How many filters the neighbours are asked for.
    pub(crate) fn len(&self) -> usize {
        self.lock().summary().len()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn wake(&mut self) {
        let wakers = self.uplinks.values_mut().filter_map(|uplink| uplink.waker.take());
        wakers.for_each(Waker::wake);
    }

    fn summary(&mut self) -> Arc<BTreeSet<ByteString>> {
        let (counts, tree) = (&self.counts, &self.tree);
        let made = self.summary.get_or_insert_with(|| {
            Arc::new(summary(counts.values().map(|(wanted, _)| wanted), tree))
        });
        Arc::clone(made)
    }
}

/// Filters by their levels.
#[derive(Debug, Default)]
struct Tree(Trie<ByteString, Filter>);

impl Tree {
    /// Whether another filter covers this one.
    fn covers(&self, filter: &Filter) -> bool {
        let mut covered = false;
        // Read as a topic it finds every filter that covers it, and some that do not.
        self.0.matches(filter.as_str(), |_, broader| {
            covered |= broader != filter && covers(broader, filter, |_| None);
        });
        covered
    }

    /// Says whether it is new.
    fn enter(&mut self, text: &ByteString, filter: &Filter) -> bool {
        self.0.insert(filter.as_str(), text.clone(), filter.clone()).is_none()
    }

    fn leave(&mut self, text: &ByteString, filter: &Filter) {
        self.0.remove(filter.as_str(), text);
    }
}

fn summary<'w>(all: impl Iterator<Item = &'w Wanted> + Clone, tree: &Tree) -> BTreeSet<ByteString> {
    let shared = all.clone().filter(|wanted| wanted.group.is_some());
    let plain = all.filter(|wanted| wanted.group.is_none()).map(|wanted| &wanted.filter);
    let needed = plain.filter(|filter| !tree.covers(filter));
    let mut texts: BTreeSet<ByteString> =
        needed.map(|filter| ByteString::from(filter.as_str())).collect();
    if texts.len() > INTEREST_MAX {
        texts = texts.iter().map(|text| first_level(text)).collect();
    }
    if texts.len() > INTEREST_MAX {
        texts = std::iter::once(ByteString::from_static("#")).collect();
    }
    texts.extend(shared.take(INTEREST_MAX).map(Wanted::text));
    texts
}

/// What fits into a link state: the filters, or their first levels, or everything; and of those
/// that are shared as many as there is room for.
fn bounded(summary: &BTreeSet<ByteString>) -> Vec<String> {
    let bytes = |texts: &BTreeSet<ByteString>| texts.iter().map(|text| text.len()).sum::<usize>();
    let (shared, mut plain): (BTreeSet<_>, BTreeSet<_>) =
        summary.iter().cloned().partition(|text| text.starts_with(SHARE));
    if bytes(&plain) > WISHES_BYTES_MAX / 2 {
        plain = plain.iter().map(|text| first_level(text)).collect();
    }
    if bytes(&plain) > WISHES_BYTES_MAX / 2 {
        plain = std::iter::once(ByteString::from_static("#")).collect();
    }
    let mut room = WISHES_BYTES_MAX / 2;
    let shared = shared.into_iter().map_while(|text| {
        room = room.checked_sub(text.len())?;
        Some(text)
    });
    plain.into_iter().chain(shared).map(|text| text.to_string()).collect()
}

/// All that begins with the same level.
fn first_level(filter: &str) -> ByteString {
    match filter.split_once('/') {
        Some((first, _)) if first != "+" => ByteString::from(format!("{first}/#")),
        Some(_) => ByteString::from_static("#"),
        None => ByteString::from(filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Wanted {
        Wanted::parse(text).unwrap()
    }

    fn texts(interest: &Interest) -> Vec<String> {
        let node = NodeName::parse("bob").unwrap();
        let (_, texts) = interest.look(&node, u64::MAX, Waker::noop()).unwrap();
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn filters_are_counted_and_covered_ones_left_out() {
        let interest = Interest::default();
        for text in ["a/b", "a/+", "a/b", "c", "$share/g/c"] {
            interest.add(&wanted(text));
        }
        assert_eq!(texts(&interest), ["$share/g/c", "a/+", "c"]);
        interest.remove(&wanted("a/+"));
        interest.remove(&wanted("a/b"));
        assert_eq!(texts(&interest), ["$share/g/c", "a/b", "c"], "one is left");
        interest.add(&wanted("#"));
        assert_eq!(texts(&interest), ["#", "$share/g/c"]);
        interest.remove(&wanted("never/there"));
    }

    #[test]
    fn a_new_filter_waits_for_every_neighbour_and_a_known_one_for_none() {
        let (interest, bob, carol) = (
            Interest::default(),
            NodeName::parse("bob").unwrap(),
            NodeName::parse("carol").unwrap(),
        );
        assert!(interest.add(&wanted("a/#")).is_none(), "nobody is to be told");
        interest.connected(&bob);
        let connection = interest.connected(&carol);
        for node in [&bob, &carol] {
            let (version, _) = interest.look(node, 0, Waker::noop()).unwrap();
            interest.known(node, version);
            assert!(interest.look(node, version, Waker::noop()).is_none());
        }
        assert!(interest.add(&wanted("a/#")).is_none());
        assert!(interest.add(&wanted("a/b")).is_none(), "it is covered");
        let receipt = interest.add(&wanted("b")).unwrap();
        let (version, _) = interest.look(&bob, 0, Waker::noop()).unwrap();
        interest.known(&bob, version);
        assert!(!receipt.is_settled(Waker::noop()));
        interest.disconnected(&carol, connection + 1);
        assert!(!receipt.is_settled(Waker::noop()), "that is another one");
        interest.disconnected(&carol, connection);
        assert!(receipt.is_settled(Waker::noop()));
    }

    #[test]
    fn too_many_become_first_levels() {
        let interest = Interest::default();
        for number in 0..=INTEREST_MAX {
            interest.add(&wanted(&format!("plant/{number}/t")));
        }
        assert_eq!(texts(&interest), ["plant/#"]);
    }
}
