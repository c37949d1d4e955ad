//! A newcomer: from a secured connection and a greeting to a link, or to a refusal.

use std::sync::Arc;

use shared::id::InstanceId;
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::verify::{Member, Verified};
use shared::wire::{Greeting, VERSION};

use super::Node;
use crate::action::{Action, Event, Way};
use crate::limits::PROBE_MS;
use crate::links::{Direction, Link, LinkId, Rival, Via, is_authority, is_visitor};
use crate::punch::Punch;

/// A secured connection whose greeting was read.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The number the link will have.
    pub link: LinkId,
    /// Who the handshake proved it to be.
    pub member: Verified<Member>,
    /// What it said.
    pub greeting: Greeting,
    /// Who dialled.
    pub direction: Direction,
    /// Where it is, for people.
    pub address: String,
    /// The relay that carries it, if it is not direct.
    pub via: Option<Box<Via>>,
}

/// What to do with an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is in the table; a listener answers with this greeting now.
    Welcome(Box<Greeting>),
    /// There is a link already; say goodbye, nobody is at fault.
    Goodbye,
    /// Say the code and close.
    Refuse(Refusal),
}

/// Where a newcomer finds itself.
enum Place {
    /// It has its own, and takes that of this link when it is ready.
    Beside(Option<LinkId>),
    /// There is a link already, and it stays.
    Taken(LinkId),
}

impl Node {
    /// Judges an arrival. Registered first, then the live set is asked again, then it is welcome:
    /// a revocation that was applied in between is not missed.
    pub fn handle_arrival(&mut self, arrival: Arrival, now: Now) -> Decision {
        let (link, node) = (arrival.link, arrival.member.node().clone());
        let address = arrival.address.clone();
        match self.judge(arrival, now) {
            Ok(decision) => decision,
            Err(refusal) => {
                self.links.remove(link);
                let (code, detail) = (refusal.code, refusal.detail.clone());
                self.tell(Event::Refused { node, address, code, detail });
                Decision::Refuse(refusal)
            }
        }
    }

    fn judge(&mut self, arrival: Arrival, now: Now) -> Result<Decision, Refusal> {
        let Arrival { link, member, greeting, direction, address, via } = arrival;
        let version = greeting.common_version(VERSION, VERSION);
        version.ok_or_else(|| Refusal::new(Code::Version, "no common protocol version"))?;
        let signed = self.open_presence(&member, &greeting, now)?;
        if signed.presence.node == self.settings.node {
            return self.meet_self(&signed, now);
        }
        let visitor = is_visitor(&member, &signed.presence);
        let mut succeeds = None;
        if !visitor {
            match self.find_place(&member, &signed, direction, via.is_some(), now)? {
                Place::Beside(old) => succeeds = old,
                Place::Taken(kept) => return Ok(self.doubt(kept, now)),
            }
            self.make_room(now);
        }
        if !self.links.has_room(visitor) {
            return Err(Refusal::new(Code::Quota, "no room for another link"));
        }
        let entry = Link {
            presence: signed.presence.clone(),
            direction,
            address,
            since: now.wall,
            ready: false,
            news: false,
            opened: now.tick,
            wanted: self.topology.wants(&signed.presence.node),
            theirs_wanted: true,
            heard: now.tick,
            pinged: now.tick,
            doubted_until: None,
            feed_number: greeting.feed_number,
            via,
            retiring: None,
            punch: Punch::default(),
            era: self.era,
            succeeds,
            refresh_at: None,
            member,
        };
        let (member, via) = (entry.member.clone(), entry.via.clone());
        self.links.insert(link, entry);
        self.verifier.recheck(&member, now.wall)?;
        if let Some(via) = via {
            self.verifier.recheck(&via.relay, now.wall)?;
        }
        if !visitor {
            self.dialling.linked(member.node());
            self.note_way(member.node(), direction);
            let news = self.learn(signed, member.node(), now);
            if let Some(entry) = self.links.get_mut(link) {
                entry.news = news;
            }
        }
        Ok(Decision::Welcome(Box::new(self.greeting())))
    }

    /// Whether a member may have a link here, and which one there is it takes the place of.
    fn find_place(
        &mut self,
        member: &Verified<Member>,
        signed: &SignedPresence,
        direction: Direction,
        relayed: bool,
        now: Now,
    ) -> Result<Place, Refusal> {
        self.may_connect(member, direction)?;
        if direction == Direction::In {
            self.may_begin(member, now)?;
        }
        self.refuse_if_stale(member, now)?;
        self.refuse_if_shut(member)?;
        let (presence, own) = (&signed.presence, &self.settings.node);
        let (era, until) = (self.era, member.not_after);
        let is_newer = |old: &Link| old.era < era || old.member.not_after < until;
        match self.links.rival(own, presence, direction, relayed, is_newer) {
            Rival::Contradiction => return Err(self.refuse_twin(signed)),
            Rival::None if self.directory.contradicts(presence) => {
                return Err(self.refuse_twin(signed));
            }
            Rival::Keep(kept) => return Ok(Place::Taken(kept)),
            Rival::Replace(old) => self.make_way(old, presence.instance, now),
            Rival::Succeed(old) => return Ok(Place::Beside(Some(old))),
            // The relayed link retires when this one is ready.
            Rival::Overtake | Rival::None => {}
        }
        Ok(Place::Beside(None))
    }

    /// The greeting's presence must be signed by the very certificate of the handshake.
    fn open_presence(
        &self,
        member: &Verified<Member>,
        greeting: &Greeting,
        now: Now,
    ) -> Result<SignedPresence, Refusal> {
        let network = &self.settings.network;
        let signed = SignedPresence::verify(&greeting.presence, network, &self.verifier, now.wall)?;
        let same = signed.presence.node == *member.node()
            && signed.member.cert.public == member.cert.public;
        if !same {
            let detail = "its presence is signed by another certificate";
            return Err(Refusal::new(Code::WrongName, detail));
        }
        Ok(signed)
    }

    /// The authority is let in: it brings what is missing.
    fn refuse_if_stale(&self, member: &Member, now: Now) -> Result<(), Refusal> {
        let refuses = self.settings.refuse_when_stale && !is_authority(member);
        if refuses && self.is_stale(now) {
            let detail = "our feed is out of date and node.yaml says to refuse then";
            return Err(Refusal::new(Code::Policy, detail));
        }
        Ok(())
    }

    /// A newer link takes the place of this one. What is under way on it may still be answered,
    /// unless the other side has begun anew and knows nothing of it.
    fn make_way(&mut self, old: LinkId, instance: InstanceId, now: Now) {
        let alive = |link: &Link| link.ready && link.presence.instance == instance;
        if self.links.get(old).is_some_and(alive) {
            self.links.retire(old, now.tick);
        } else {
            self.end(old, Way::Close, "a newer link took its place", now);
        }
    }

    /// The link we have stays, but it must show that it is alive.
    pub(super) fn doubt(&mut self, kept: LinkId, now: Now) -> Decision {
        if let Some(link) = self.links.get_mut(kept) {
            let until = now.tick.plus_ms(PROBE_MS);
            link.doubted_until = Some(link.doubted_until.unwrap_or(until));
            if link.ready {
                self.push(Action::Ping { link: kept, nonce: 0 });
            }
        }
        Decision::Goodbye
    }

    /// The link can carry frames: bring each other up to date.
    pub fn handle_ready(&mut self, link: LinkId, now: Now) {
        let Some(entry) = self.links.get_mut(link) else { return };
        entry.ready = true;
        entry.heard = now.tick;
        let (succeeds, direct) = (entry.succeeds, entry.via.is_none());
        let node = entry.member.node().clone();
        if let Some(old) = succeeds {
            self.links.retire(old, now.tick);
        }
        if direct {
            self.links.retire_relayed(&node, now.tick);
        }
        let Some(entry) = self.links.get(link) else { return };
        let direction = entry.direction;
        let (address, theirs) = (entry.address.clone(), entry.feed_number);
        let policy = entry.presence.policy_number;
        let (visitor, news) = (entry.is_visitor(), entry.news);
        let via = entry.via.as_ref().map(|via| via.relay.node().clone());
        if direct && !visitor {
            self.tell_calls(link, &node);
        }
        self.tell(Event::Linked { node: node.clone(), direction, address, via });
        self.look_at_relays(now);
        if visitor {
            self.send_expected(link);
        } else {
            if direction == Direction::Out {
                self.send_digest(link, now);
            }
            self.join_overlay(link, &node, now);
            if news {
                self.pass_on(&node, now);
            }
        }
        self.send_feed(link, theirs);
        self.send_policy(link, policy);
        if !visitor {
            self.begin_post(link, &node);
            self.ask_authority(link, now);
        }
        // The first round trip, for people; the next ones only when the link is idle.
        self.push(Action::Ping { link, nonce: 0 });
        self.begin_punch(link, now);
    }

    /// A newcomer's presence, to everybody else; where not everybody can be known, samples do.
    fn pass_on(&mut self, node: &NodeName, now: Now) {
        if self.directory.is_crowded() {
            return;
        }
        if let Some(bytes) = self.directory.signed(node).map(|signed| Arc::clone(&signed.bytes)) {
            self.broadcast_presence(&bytes, now);
        }
    }
}
