//! Messages over more than one link: numbered where they begin, brought nearer link by link to the
//! peers that they name, and taken out of the queue of a peer that there is another way to.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytestring::ByteString;
use shared::name::NodeName;
use shared::policy::Filter;
use shared::time::Timestamp;

use super::Broker;
use super::peers::PEER_CLIENT;
use crate::chart::Ways;
use crate::codec::Qos;
use crate::envelope::Envelope;
use crate::held::Held;
use crate::identity::Identity;
use crate::journal::{Change, Table, key};
use crate::limits::{HOPS_MAX, RECEIVERS_MAX};
use crate::message::Message;
use crate::publication::Publication;
use crate::queue::Item;
use crate::route::{Route, Spread, Spreading};
use crate::seen::Number;
use crate::session::{Owner, Session, Terms};

/// A peer that wants a topic and is not linked: the group that shares it, if one does, and the
/// linked peer on the way.
pub(super) struct FarWish {
    node: NodeName,
    group: Option<ByteString>,
    next: NodeName,
}

impl Broker {
    /// The ways as they are, and who wants a topic at the ends of these.
    pub(super) fn far(&self, topic: &str) -> (Arc<Ways>, Vec<FarWish>) {
        if !self.is_partial() {
            return Default::default();
        }
        let chart = self.chart();
        let mut wishes = Vec::new();
        chart.far(topic, |node, group, next| {
            wishes.push(FarWish { node: node.clone(), group: group.cloned(), next: next.clone() });
        });
        (Arc::clone(chart.ways()), wishes)
    }

    /// Adds those to a route whom somebody may bring it nearer to.
    pub(super) fn add_far(&self, route: &mut Route, topic: &str, wishes: &[FarWish]) {
        let mut plain: BTreeMap<&NodeName, Vec<NodeName>> = BTreeMap::new();
        for FarWish { node, group, next } in wishes {
            match group {
                None => {
                    let to = plain.entry(next).or_default();
                    // It may want a topic by several filters.
                    if !to.contains(node) {
                        to.push(node.clone());
                    }
                }
                Some(group) => {
                    if let Some(session) = self.reader(next, topic) {
                        route.add_far_member(&session, node, group);
                    }
                }
            }
        }
        for (next, to) in plain {
            match self.reader(next, topic) {
                Some(session) => route.add_far(&session, to),
                None => self.counters.denied.add(to.len() as u64),
            }
        }
    }

    /// Another peer's session here, if it may read a topic. One that never was linked has one too
    /// if it spoke of itself: what is for it waits there, and is judged when it comes or goes on.
    fn reader(&self, node: &NodeName, topic: &str) -> Option<Arc<Session>> {
        let session = self.peer_session(node).or_else(|| self.keep_for(node))?;
        let filter = Filter::parse(topic).ok()?;
        let Some(identity) = session.lock().identity.clone() else {
            return Some(session);
        };
        let (_, rights) = self.rights();
        let standing = rights.standing(identity.who());
        rights.may_subscribe(&standing, PEER_CLIENT, &filter).then_some(session)
    }

    fn peer_session(&self, node: &NodeName) -> Option<Arc<Session>> {
        let client = ByteString::from_static(PEER_CLIENT);
        let owner = Owner { identity: Arc::new(node.clone()), client };
        self.sessions().by_owner.get(&owner).cloned()
    }

    fn keep_for(&self, node: &NodeName) -> Option<Arc<Session>> {
        let heard = self.chart().heard_at(node)?;
        let session = self.keep_session(node, heard)?;
        self.chart().hold(node, &self.settings.node);
        Some(session)
    }

    /// A peer is here for whom messages waited before we knew him: what he may not read goes.
    pub(super) fn judge_waiting(&self, session: &Session, identity: &Identity) {
        let (_, rights) = self.rights();
        let standing = rights.standing(identity.who());
        let denied = session.lock().queue.take_movable(|message| {
            Filter::parse(&message.topic)
                .is_ok_and(|topic| !rights.may_subscribe(&standing, PEER_CLIENT, &topic))
        });
        for (place, item) in denied {
            self.counters.denied.add(1);
            if item.saved {
                self.journal.write(Table::Queue, key(session.id, place), Change::Gone, None);
            }
        }
    }

    /// Whether there are peers that we have no link with, and messages for them.
    pub(super) fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Acquire)
    }

    /// Gives a message its number: it may come to somebody over more than one link.
    pub(super) fn number(&self, publication: &mut Publication) {
        if publication.number.is_none() {
            let sequence = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
            let (origin, boot) = (self.settings.node.clone(), self.settings.run);
            publication.number = Some((Number { origin, boot, sequence }, 0));
        }
    }

    /// Whether a message with this number has not come before. One of our own, which came round,
    /// has.
    pub(super) fn is_new(&self, number: &Number) -> bool {
        number.origin != self.settings.node
            && self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(number)
    }

    /// Brings a message that crossed a link nearer to those it names.
    pub(super) fn bring(
        &self,
        to: Vec<NodeName>,
        share: Option<&ByteString>,
        spreading: &mut Spreading<'_>,
    ) -> Spread {
        let mut result = Spread::default();
        let publication = &mut *spreading.publication;
        let crossed = publication.number.as_mut().map(|(_, crossed)| {
            *crossed = crossed.saturating_add(1);
            *crossed
        });
        if crossed.is_none_or(|crossed| crossed > HOPS_MAX) {
            self.counters.lost.add(to.len() as u64);
            return result;
        }
        let (topic, retain) = (publication.message.topic.clone(), publication.message.retain);
        for (next, nodes) in self.by_next(to) {
            let Some(session) = self.reader(&next, &topic) else {
                self.counters.lost.add(nodes.len() as u64);
                continue;
            };
            for part in nodes.chunks(RECEIVERS_MAX) {
                let mut terms = Terms::to_peer(Qos::ExactlyOnce, retain);
                terms.share = share.cloned();
                if part != std::slice::from_ref(&next) {
                    terms.to = part.into();
                }
                result.note(spreading.give(&session, &terms));
            }
        }
        result
    }

    /// Receivers by the peer that brings it nearer to them. To whom there is no way, his own
    /// session here is, if there is one.
    fn by_next(&self, to: Vec<NodeName>) -> BTreeMap<NodeName, Vec<NodeName>> {
        let ways = Arc::clone(self.chart().ways());
        let mut by_next: BTreeMap<NodeName, Vec<NodeName>> = BTreeMap::new();
        for node in to {
            let next = ways.next(&node).unwrap_or(&node).clone();
            by_next.entry(next).or_default().push(node);
        }
        by_next
    }

    /// The peers that get what is retained, when it came from one of them: those that it has no
    /// link with.
    pub(super) fn readers_beyond(&self, from: &NodeName, topic: &str) -> Vec<Arc<Session>> {
        let mut readers = self.readers(topic);
        let chart = self.chart();
        readers.retain(|session| {
            let node = &session.owner.identity;
            **node != *from && !chart.are_linked(from, node)
        });
        readers
    }

    /// Takes out of the sessions of peers that are away what there is another way for, for them or
    /// for others to whom they were to bring it, and sends it that way. It is on the disk in one
    /// place or the other at all times.
    pub(super) fn move_on(&self, now: Timestamp) {
        let ways = Arc::clone(self.chart().ways());
        let peers: Vec<Arc<Session>> = {
            let sessions = self.sessions();
            sessions.peers.iter().filter_map(|id| sessions.by_id.get(id).cloned()).collect()
        };
        for session in peers {
            let node = &session.owner.identity;
            let elsewhere = |to: &NodeName| ways.next(to).is_some_and(|next| *next != **node);
            let has_way = |message: &Message| match Envelope::split(&message.properties) {
                Some((envelope, _)) if !envelope.to.is_empty() => envelope.to.iter().any(elsewhere),
                _ => elsewhere(node),
            };
            let moved = {
                let mut inside = session.lock();
                let here = inside.online.is_some();
                if here { Vec::new() } else { inside.queue.take_movable(has_way) }
            };
            for (place, item) in moved {
                self.move_item(node, &item, now);
                if item.saved {
                    self.journal.write(Table::Queue, key(session.id, place), Change::Gone, None);
                }
            }
        }
    }

    fn move_item(&self, node: &NodeName, item: &Item, now: Timestamp) {
        let Some((envelope, properties)) = Envelope::split(&item.message.properties) else {
            return;
        };
        let message = Message {
            properties,
            qos: item.qos,
            retain: item.retain,
            ..Message::clone(&item.message)
        };
        let share = envelope.group();
        let mut publication = Publication::new(message, now);
        publication.standing = envelope.by.as_ref().map(|(_, since)| *since);
        publication.stamp = envelope.stamp;
        publication.old = envelope.old;
        publication.number = envelope.number;
        publication.passing = true;
        self.number(&mut publication);
        let to = if envelope.to.is_empty() { vec![node.clone()] } else { envelope.to };
        let mut spreading = Spreading {
            publication: &mut publication,
            receipt: &mut None,
            held: &mut Held::default(),
            journal: &self.journal,
            turn: &self.turn,
        };
        self.counters.moved.add(1);
        self.bring(to, share.as_ref(), &mut spreading);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shared::cert::Attributes;
    use shared::policy::{Policy, Who};

    use super::*;
    use crate::broker::{Bounds, Settings};
    use crate::codec::{Publish, Reason};
    use crate::identity::Rights;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn broker() -> Broker {
        let (node, attributes) = (name("alice"), Attributes::default());
        let who = Who { node: &node, attributes: &attributes };
        let rights = Rights::new(&Policy::built_in(), who);
        let (bounds, purge_retained) = (Bounds::default(), true);
        Broker::new(Settings { node, run: 1, bounds, purge_retained }, rights)
    }

    /// Bob brings something with an envelope.
    fn bring(broker: &Broker, envelope: &Envelope) -> Reason {
        let carrier = Identity { name: Arc::new(name("bob")), attributes: Attributes::default() };
        let publish = Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: "t".into(),
            packet_id: None,
            alias: None,
            expiry_s: None,
            subscription_ids: Vec::new(),
            properties: envelope.before(&[]),
            payload: Bytes::new(),
        };
        let now = Timestamp::from_s(9);
        broker.take_from_peer((&carrier, now), publish, &mut None, &mut Held::default(), now)
    }

    #[test]
    fn what_goes_in_circles_or_to_nobody_ends_here() {
        let broker = broker();
        let number = |crossed: u8| {
            Some((Number { origin: name("bob"), boot: 1, sequence: crossed.into() }, crossed))
        };
        let to = vec![name("carol")];
        for (lost, number) in [(1, None), (2, number(HOPS_MAX)), (3, number(0))] {
            let envelope = Envelope { to: to.clone(), number, ..Envelope::default() };
            bring(&broker, &envelope);
            assert_eq!(broker.counters.lost.get(), lost);
        }
    }

    #[test]
    fn what_comes_again_or_comes_back_is_not_new() {
        let broker = broker();
        let of = |origin: &str| Envelope {
            number: Some((Number { origin: name(origin), boot: 1, sequence: 1 }, 0)),
            ..Envelope::default()
        };
        for (origin, again) in [("bob", 0), ("bob", 1), ("alice", 2), ("carol", 2)] {
            bring(&broker, &of(origin));
            assert_eq!(broker.counters.again.get(), again, "{origin}");
        }
    }
}
