//! What goes wrong: partitions, machines that stop and start, and whoever lies.

use std::collections::BTreeMap;
use std::sync::Arc;

use peer_core::{Ended, LinkId};
use shared::feed::Feed;
use shared::wire::Body;

use super::{Happening, World};
use crate::authority::network;
use crate::host::name;

/// After an outage, how long TCP may wait at most for its next try, in ms.
const RETRY_MAX_MS: u64 = 15_000;

impl World {
    /// Whether what one host sends can reach another.
    #[must_use]
    pub fn reachable(&self, a: usize, b: usize) -> bool {
        self.hosts[a].side == self.hosts[b].side
    }

    /// Divides the network. Nobody is told: what is sent across waits, and whoever hears nothing
    /// has to find out.
    pub fn divide(&mut self, side_of: impl Fn(usize) -> u8) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.side = side_of(index);
        }
    }

    /// Ends a partition of so many ms. What still waits on a connection that both ends kept comes
    /// with the next try of its sender, at the latest after as long as the outage was.
    pub fn heal(&mut self, lasted_ms: u64) {
        self.divide(|_| 0);
        let now_ms = self.now_ms();
        let mut tries: BTreeMap<LinkId, u64> = BTreeMap::new();
        for happening in std::mem::take(&mut self.held) {
            let Happening::Octets { from, .. } = &happening else { continue };
            let wait = self.random.below(lasted_ms.clamp(1, RETRY_MAX_MS));
            let wait = *tries.entry(*from).or_insert(wait);
            let at = self.wires.arrival(*from, now_ms, wait).unwrap_or(now_ms + wait);
            self.queue.put(at, happening);
        }
    }

    /// A machine's daemon is killed; its kernel closes what it had open.
    pub fn stop(&mut self, index: usize) {
        self.hosts[index].up = false;
        for link in self.wires.of(index) {
            let ended = Ended { refused: None, detail: "connection reset".to_owned() };
            self.hang_up(link, ended);
        }
    }

    /// It is started again, with the feed that it had on disk.
    ///
    /// # Panics
    /// If the feed does not verify.
    pub fn start(&mut self, index: usize) {
        let run = self.hosts[index].run + 1;
        let now = self.now_at(index);
        let saved = self.hosts[index].node.feed().update_since(0).unwrap();
        let verifier = Arc::new(self.fresh_verifier());
        let mut feed = Feed::empty(network());
        let _ = verifier.apply_feed(&mut feed, saved, now.wall).unwrap();
        let papers = self.hosts[index].papers.copy();
        let node = self.node(index, run, &papers, (&verifier, feed), now);
        let host = &mut self.hosts[index];
        (host.node, host.verifier, host.run, host.up) = (node, verifier, run, true);
        host.wake_ms = u64::MAX;
        self.settle(index);
    }

    /// Puts octets on a host's wire to another that its node never sent; says whether there is one.
    pub fn inject(&mut self, from: usize, to: usize, octets: &[u8]) -> bool {
        let views = self.hosts[from].node.links();
        let link = views.iter().find(|link| link.node == name(to)).map(|link| link.id);
        if let Some(link) = link {
            self.batch(from, link, octets);
            self.write(from);
        }
        link.is_some()
    }

    /// The same with a body.
    pub fn inject_body(&mut self, from: usize, to: usize, body: &Body) -> bool {
        self.inject(from, to, &body.to_frame())
    }
}
