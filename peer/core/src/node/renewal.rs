//! A new certificate over a link: asked of the authority, answered if we are the authority.
//!
//! **Invariant:** only the node `authority`, by its certificate, is asked, and only what comes on
//! the very link it was asked on is an answer. What is granted is not verified here.

use shared::join::{Code, Failure};
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::statement::{Topic, Unverified};
use shared::time::{Now, Timestamp};
use shared::wire::{Body, Renewal};

use super::Node;
use crate::action::{Action, Petition, Renewed, RequestId, Way};
use crate::links::{Link, LinkId, RELAY_ROLE, is_authority};

impl Node {
    /// We want a new certificate for the key of a request (PKCS#10, DER). The answer is an
    /// [`Action::Renewed`].
    pub fn handle_renew(&mut self, request: RequestId, csr: Vec<u8>, now: Now) {
        if self.is_the_authority() {
            return self.renewed(request, Renewed::Unreachable("we are the authority ourselves"));
        }
        if !self.renewals.begin(request, csr, now.tick) {
            return self.renewed(request, Renewed::Unreachable("another request is under way"));
        }
        let authority = NodeName::authority();
        self.talk_with(&authority, now);
        let linked = self.links.member_link(&authority).map(|(link, entry)| (link, entry.ready));
        match linked {
            Some((link, true)) => self.ask_authority(link, now),
            Some((_, false)) => {}
            None if self.dialling.has(&authority) => {
                let carriers = self.carriers();
                self.dialling.set_carriers(&authority, carriers);
                self.dialling.encourage(&authority, now.tick);
                self.dial_due(now);
            }
            None => {
                if self.renewals.give_up(request) {
                    let why = "the authority is not known here";
                    self.renewed(request, Renewed::Unreachable(why));
                }
            }
        }
    }

    /// A link is ready: if it is with the authority, what waits for it is asked.
    pub(super) fn ask_authority(&mut self, link: LinkId, now: Now) {
        let is_fit =
            |entry: &Link| entry.ready && entry.retiring.is_none() && is_authority(&entry.member);
        if !self.renewals.waits() || !self.links.get(link).is_some_and(is_fit) {
            return;
        }
        self.talk_with(&NodeName::authority(), now);
        if let Some((id, csr)) = self.renewals.ask(link) {
            self.send(link, &Body::Renewal(Renewal::Ask { id, csr }));
        }
    }

    pub(super) fn take_renewal(&mut self, link: LinkId, renewal: Renewal, now: Now) {
        match renewal {
            Renewal::Ask { id, csr } => self.take_petition(link, id, csr, now),
            Renewal::Granted { id, chain } => {
                self.take_answer(link, id, Renewed::Granted(chain), now);
            }
            Renewal::Refused { id, failure } => {
                self.take_answer(link, id, Renewed::Refused(failure), now);
            }
        }
    }

    fn take_answer(&mut self, link: LinkId, id: u64, outcome: Renewed, now: Now) {
        if let Some(request) = self.renewals.answered(link, id) {
            self.renewed(request, outcome);
            self.topology.settle(&NodeName::authority(), now.tick);
            self.free_carrier(link, now);
        }
    }

    /// A neighbour that is no relay carried the question; it is wanted for others' now.
    fn free_carrier(&mut self, link: LinkId, now: Now) {
        self.dialling.set_carriers(&NodeName::authority(), Vec::new());
        let carrier = self.links.get(link).and_then(|entry| entry.via.as_ref());
        if carrier.is_some_and(|via| !via.relay.cert.attributes.has_role(RELAY_ROLE)) {
            self.end(link, Way::Close, "the authority has answered", now);
        }
    }

    fn take_petition(&mut self, link: LinkId, id: u64, csr: Vec<u8>, now: Now) {
        let refuse =
            |code, text| Renewal::Refused { id, failure: Failure::new(code, text, now.wall) };
        if !self.is_the_authority() {
            let no = refuse(Code::Unavailable, "this node is not the authority");
            return self.send(link, &Body::Renewal(no));
        }
        let Some(entry) = self.links.get(link).filter(|entry| !entry.is_visitor()) else { return };
        let (from, serial) = (entry.member.node().clone(), entry.member.cert.serial);
        let leaf = entry.member.cert.der.clone();
        let above = self.directory.signed(&from).map(above).unwrap_or_default();
        if !self.renewals.admit(link, id) {
            let no = refuse(Code::Quota, "another request of this node is under way");
            return self.send(link, &Body::Renewal(no));
        }
        // The link stays as long as the asker wants it: others may wait for its place.
        let chain = std::iter::once(leaf).chain(above).collect();
        let petition = Petition { link, id, from, serial, chain, csr };
        self.push(Action::Renew(Box::new(petition)));
    }

    /// The authority has decided on a [`Petition`].
    pub fn handle_renewal_answered(
        &mut self,
        link: LinkId,
        id: u64,
        decided: Result<Vec<Vec<u8>>, Failure>,
    ) {
        if !self.renewals.settle(link, id) {
            return;
        }
        let renewal = match decided {
            Ok(chain) => Renewal::Granted { id, chain },
            Err(failure) => Renewal::Refused { id, failure },
        };
        self.send(link, &Body::Renewal(renewal));
    }

    /// The part of the regular look that is about our own request.
    pub(super) fn look_at_renewal(&mut self, now: Now) {
        if let Some(request) = self.renewals.overdue(now.tick) {
            self.dialling.set_carriers(&NodeName::authority(), Vec::new());
            self.renewed(request, Renewed::Unreachable("the authority was not reached in time"));
        } else if self.renewals.waits() {
            self.talk_with(&NodeName::authority(), now);
        }
    }

    fn renewed(&mut self, request: RequestId, outcome: Renewed) {
        self.push(Action::Renewed { request, outcome });
    }

    /// Who is expected to hear the authority's news: every member known, with the numbers it said
    /// it has.
    #[must_use]
    pub fn expected(&self) -> Vec<Expected> {
        let known = self.directory.iter().map(|(node, signed, _)| {
            let linked = self.links.member_link(node).filter(|(_, link)| link.ready);
            let heard = linked.map_or(0, |(_, link)| link.feed_number);
            Expected {
                node: node.clone(),
                linked: linked.is_some(),
                feed_number: signed.presence.feed_number.max(heard),
                policy_number: signed.presence.policy_number,
                said_at: signed.presence.at,
            }
        });
        known.collect()
    }
}

/// A member that is expected to hear the authority's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Who.
    pub node: NodeName,
    /// Whether it is linked with us; the others hear it from their neighbours.
    pub linked: bool,
    /// The feed's number it has, as far as it has said.
    pub feed_number: u64,
    /// The policy's number it has, as far as it has said.
    pub policy_number: u64,
    /// When it last spoke for itself.
    pub said_at: Timestamp,
}

/// The certificates above a node's own, as it shows them with what it signs.
fn above(signed: &SignedPresence) -> Vec<Vec<u8>> {
    let statement = Unverified::parse(Topic::Presence, &signed.bytes);
    let chain = statement.map(|statement| {
        statement.chain().iter().skip(1).map(|der| der.to_vec()).collect::<Vec<_>>()
    });
    chain.unwrap_or_default()
}
