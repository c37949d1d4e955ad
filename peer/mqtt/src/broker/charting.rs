//! Link states in the hall: our own signed and told, those of others heard and passed on.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use shared::limits::LINKS_MAX;
use shared::link_state::LinkState;
use shared::name::NodeName;
use shared::time::{Now, Tick, Timestamp};

use super::Broker;
use crate::chart::{Chart, Heads, Order, Told};
use crate::journal::{Change, Table};
use crate::limits::{CHARTED_MAX, NEWS_BYTES};

/// Where a peer tells link states to its neighbours.
pub(crate) const LINK_STATE: &str = "$conclave/link-state";
/// Where it says which ones it has.
pub(crate) const HEADS: &str = "$conclave/heads";

/// Who signs our link states and verifies those of others.
pub trait Notary: Send + Sync {
    /// Signs one of ours; `None` if it cannot.
    fn sign(&self, state: &LinkState) -> Option<Vec<u8>>;
    /// Verifies one of another peer; `None` if it is not to be believed.
    fn verify(&self, sealed: &[u8], now: Timestamp) -> Option<LinkState>;
    /// Reads one and believes nothing.
    fn peek(&self, sealed: &[u8]) -> Option<LinkState>;
}

impl Broker {
    /// Who signs and verifies link states; without one, topics travel one link and no further.
    pub fn set_notary(&self, notary: Arc<dyn Notary>) {
        let mut place = self.notary.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(notary);
        drop(place);
        self.tell_all(&mut self.chart());
    }

    pub(super) fn chart(&self) -> MutexGuard<'_, Chart> {
        self.chart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notary(&self) -> Option<Arc<dyn Notary>> {
        self.notary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells one state of the chart and of our wishes from another, for whoever tells neighbours.
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// The chart was changed: routes are found anew, neighbours may hear of it.
    fn charted(&self, mut chart: MutexGuard<'_, Chart>) {
        self.partial.store(chart.has_far(), Ordering::Release);
        self.changed();
        self.moving.store(true, Ordering::Relaxed);
        self.tell_all(&mut chart);
    }

    /// Whoever tells neighbours looks again: first it is another edition, and then they are woken,
    /// for who finds the edition that he knows goes back to sleep.
    fn tell_all(&self, chart: &mut Chart) {
        self.edition.fetch_add(1, Ordering::Release);
        chart.wake();
    }

    /// A peer's session here got its connection.
    pub(super) fn peer_linked(&self, node: &NodeName) {
        let mut chart = self.chart();
        chart.link(node, &self.settings.node);
        self.charted(chart);
    }

    /// It lost it, and may take it up again.
    pub(super) fn peer_left(&self, node: &NodeName, back: bool, now: Timestamp) {
        let mut chart = self.chart();
        chart.unlink(node, back, &self.settings.node, now);
        self.charted(chart);
    }

    /// A neighbour hears us from now on.
    pub(crate) fn hear_neighbour(&self, node: &NodeName, connection: u64) {
        self.chart().hear(node, connection);
    }

    /// It does not any more.
    pub(crate) fn lose_neighbour(&self, node: &NodeName, connection: u64) {
        self.chart().deafen(node, connection);
    }

    /// Somebody is out: nothing is made of what he said.
    pub(super) fn uncharted(&self, node: &NodeName, now: Timestamp) {
        let mut chart = self.chart();
        chart.forget(node);
        self.journal.write(Table::Chart, node.as_str().as_bytes().to_vec(), Change::Gone, None);
        chart.unlink(node, false, &self.settings.node, now);
        self.charted(chart);
    }

    /// Says anew what changed of our links and wishes; gives when to look again, if it is early.
    pub(crate) fn announce(&self, now: Now) -> Option<Tick> {
        let notary = self.notary()?;
        let mut chart = self.chart();
        let partial = chart.is_partial();
        let (version, wishes) = self.interest.wishes(partial);
        let told = Told { links: chart.links(), wishes: partial.then_some(version) };
        if chart.has_told(&told, now.wall) {
            return None;
        }
        let due = chart.next_announcement();
        if due.is_some_and(|due| now.tick < due) {
            return due;
        }
        let state = LinkState {
            node: self.settings.node.clone(),
            boot: self.settings.run,
            sequence: chart.next_sequence(),
            at: now.wall,
            links: told.links.iter().take(LINKS_MAX).cloned().collect(),
            wishes,
        };
        if let Some(sealed) = notary.sign(&state) {
            chart.set_own(&state, told, Bytes::from(sealed), now.tick);
            self.tell_all(&mut chart);
        }
        None
    }

    /// What we have of everybody.
    pub(crate) fn heads(&self) -> Bytes {
        let heads = self.chart().heads(&self.settings.node);
        Bytes::from(minicbor::to_vec(heads).unwrap_or_default())
    }

    /// A neighbour says what it has; false if it says nothing of the kind.
    pub(crate) fn hear_heads(&self, from: &NodeName, payload: &[u8]) -> bool {
        let Ok(heads) = minicbor::decode::<BTreeMap<NodeName, Order>>(payload) else {
            return false;
        };
        let fits = heads.len() <= CHARTED_MAX;
        if fits {
            let mut chart = self.chart();
            chart.hear_heads(from, Heads::from(heads));
            self.tell_all(&mut chart);
        }
        fits
    }

    /// A neighbour tells a link state. What cannot be verified is counted and forgotten.
    pub(crate) fn hear_link_state(&self, from: &NodeName, sealed: &[u8], now: Timestamp) -> bool {
        let Some(notary) = self.notary() else { return true };
        let Some(peeked) = notary.peek(sealed) else { return false };
        if !self.chart().is_news(from, &peeked.node, peeked.order()) {
            return true;
        }
        let Some(state) = notary.verify(sealed, now) else {
            self.counters.denied.add(1);
            return true;
        };
        let mut chart = self.chart();
        let (node, row) = (state.node.clone(), Change::Put(sealed.to_vec()));
        let sealed = Bytes::copy_from_slice(sealed);
        if chart.accept(from, &self.settings.node, state, sealed) {
            self.journal.write(Table::Chart, node.as_str().as_bytes().to_vec(), row, None);
            self.charted(chart);
        }
        true
    }

    /// Takes a link state from the disk; `None` if it says nothing any more.
    pub(super) fn recall_link_state(&self, sealed: &[u8], now: Timestamp) -> Option<()> {
        let state = self.notary()?.verify(sealed, now)?;
        let node = state.node.clone();
        let mut chart = self.chart();
        chart.accept(&node, &self.settings.node, state, Bytes::copy_from_slice(sealed));
        self.charted(chart);
        Some(())
    }

    /// Link states that a neighbour has not; `waker` is woken when there are more.
    pub(crate) fn news_for(&self, node: &NodeName, waker: &Waker) -> Vec<Bytes> {
        self.chart().news_for(node, &self.settings.node, NEWS_BYTES, waker)
    }

    /// Time has passed: what is over goes, and ways open to peers whose links have been gone for a
    /// while. What waited for these here goes there.
    pub(super) fn rechart(&self, now: Timestamp) {
        let changed = self.chart().handle_timeout(&self.settings.node, now);
        if changed {
            // What waited goes before what comes: publishers that know their routes add to it.
            self.move_on(now);
            self.charted(self.chart());
        }
        if self.moving.swap(changed, Ordering::Relaxed) {
            self.move_on(now);
        }
        let states = self.chart().far_states();
        for (node, reachable) in states {
            let state = if reachable { "online" } else { "offline" };
            self.tell(&format!("$mesh/peers/{node}/state"), state, now);
        }
    }
}
