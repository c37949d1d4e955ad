//! Finding the network: addresses without a name, and what is remembered from the last run.

use std::collections::BTreeMap;

use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::time::Now;

use super::Node;
use crate::action::{Action, Call};
use crate::dialling::DialFailure;
use crate::leads::Lead;
use crate::limits::{FORGET_MS, RENDEZVOUS_FIRST_MS};
use crate::links::is_visitor;

impl Node {
    /// Replaces the addresses that a person gave without a name.
    pub fn configure_leads(&mut self, told: &[String], now: Now) {
        self.leads.tell(told, now.tick);
        self.dial_due(now);
    }

    /// An address was announced on the local network. It is not believed, only tried: within a
    /// budget, unless some node is dialled there already.
    pub fn handle_found(&mut self, address: String, now: Now) {
        if self.settings.addresses.contains(&address) {
            return;
        }
        let known = self.dialling.iter().any(|(_, known)| known.addresses.contains(&address));
        if !known {
            self.leads.find(address, now.tick);
            self.dial_due(now);
        }
    }

    /// The certificate at an address without a name told one: there is a link now, or there was one
    /// already, or it is ourselves.
    pub fn handle_met(&mut self, address: &str, node: &NodeName, now: Now) {
        let own = *node == self.settings.node;
        if self.leads.met(address, node, own).is_some() && !own {
            self.dialling.hint(node, address, now.tick);
            if self.links.member_link(node).is_some() {
                self.dialling.linked(node);
            }
        }
    }

    /// A dial of an address without a name came to nothing.
    pub fn handle_lead_failed(&mut self, address: &str, failure: DialFailure, now: Now) {
        self.leads.failed(address, failure, now.tick, &mut self.jitter);
    }

    /// Addresses whose node is not known, for people.
    pub fn leads(&self) -> impl Iterator<Item = (&String, &Lead)> {
        self.leads.iter()
    }

    /// What was saved in an earlier run. Each is verified again; what does not verify now, or is
    /// barred, is left out.
    pub fn handle_remembered(&mut self, list: &[Vec<u8>], now: Now) {
        let network = self.settings.network.clone();
        for bytes in list {
            let signed = SignedPresence::verify(bytes, &network, &self.verifier, now.wall);
            let Ok(signed) = signed else { continue };
            let visitor = is_visitor(&signed.member, &signed.presence);
            if signed.presence.node != self.settings.node && !visitor {
                self.introducers.heard(&signed.presence.node, &self.settings.node);
                self.memory.keep(&signed, now.tick);
            }
        }
        self.seek(now);
        self.dial_due(now);
    }

    /// What is to be saved for the next run.
    #[must_use]
    pub fn remembered(&self) -> Vec<Vec<u8>> {
        self.memory.statements()
    }

    /// Where we can be dialled has changed: everybody is told.
    pub fn set_addresses(&mut self, addresses: Vec<String>, now: Now) {
        if self.presence.addresses == addresses {
            return;
        }
        let lost = self.presence.addresses.iter().any(|old| !addresses.contains(old));
        self.settings.addresses.clone_from(&addresses);
        self.presence.addresses = addresses;
        if lost {
            // Some of our links may have gone with the address, and nobody would hear it for long.
            for link in self.ready_links() {
                self.doubt(link, now);
            }
        }
        if self.sign_presence(now).is_ok() {
            self.announce(now);
        }
    }

    /// The part of the regular look that is about finding others.
    pub(super) fn look_around(&mut self, now: Now) {
        self.leads.forget(now.tick);
        let dialling = &self.dialling;
        self.introducers.settle(|by| dialling.has(by), now.tick);
        self.seek(now);
        if self.memory.save_due(now.tick) {
            self.push(Action::SaveMemory);
        }
    }

    /// A node without links turns to everybody it remembers, first to those that introduce
    /// newcomers; once it has links, whoever never answered is let go.
    fn seek(&mut self, now: Now) {
        if self.links.iter().any(|(_, link)| !link.is_visitor()) {
            return self.let_go(now);
        }
        let rendezvous = self.memory.iter().any(|(_, _, rendezvous)| rendezvous);
        let after = now.tick.plus_ms(if rendezvous { RENDEZVOUS_FIRST_MS } else { 0 });
        let own = &self.settings.node;
        let unknown = self.memory.iter().filter(|(node, ..)| !self.dialling.has(node));
        let unknown: Vec<_> =
            unknown.map(|(node, to, first)| (node.clone(), to.to_vec(), first)).collect();
        for (node, addresses, first) in unknown {
            self.dialling.learn(own, &node, &addresses, &[], now.tick);
            if !first {
                self.dialling.defer(&node, after);
            }
            self.sought.insert(node, now.tick);
        }
    }

    /// Whom we dialled only because we had no link, and who is in nobody's directory any more.
    fn let_go(&mut self, now: Now) {
        let links = &self.links;
        let (gone, kept) = std::mem::take(&mut self.sought)
            .into_iter()
            .partition(|(_, since)| now.tick.ms_since(*since) >= FORGET_MS);
        self.sought = kept;
        for node in BTreeMap::into_keys(gone) {
            let known = self.directory.presences().any(|known| known.node == node);
            if !known && links.member_link(&node).is_none() && !self.dialling.is_configured(&node) {
                self.dialling.forget(&node);
                self.introducers.forget(&node);
            }
        }
    }

    /// Nobody whom the feed bars is remembered, and nobody who is revoked is dialled: with another
    /// certificate it may come itself. Whom a person configured, or who is only on hold, stays.
    pub(super) fn forget_barred(&mut self, mut gone: Vec<NodeName>, now: Now) {
        let verifier = &self.verifier;
        let is_in = |ids: &_| verifier.mark_of(ids).is_ok_and(|mark| mark.is_none());
        gone.extend(self.memory.retain(is_in, now.tick));
        for node in gone {
            let held = verifier.read_set(|set| set.hold_of(&node).is_some()).unwrap_or(true);
            if !held && !self.dialling.is_configured(&node) {
                self.dialling.forget(&node);
                self.introducers.forget(&node);
            }
        }
    }

    pub(super) fn dial_leads(&mut self, now: Now) {
        let dialling = &self.dialling;
        for address in self.leads.due(now.tick, |node| dialling.has(node)) {
            self.push(Action::Dial(Call::Unnamed { address }));
        }
    }
}
