//! Who gets what is published on a topic, found once and asked often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;
use shared::name::NodeName;

use crate::chart::Ways;
use crate::codec::{Options, Qos};
use crate::held::Held;
use crate::journal::Journal;
use crate::limits::RECEIVERS_MAX;
use crate::message::SessionId;
use crate::publication::Publication;
use crate::receipt::Receipt;
use crate::session::{Delivered, Kind, Session, Terms};
use crate::trie::Trie;

/// All subscriptions of this peer: by the group that shares one (or none), then by session.
pub(crate) type Topics = Trie<(ByteString, SessionId), Subscriber>;

/// One subscription in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    pub(crate) options: Options,
    pub(crate) id: Option<u32>,
    /// With its group, as the client wrote it: what one message is shared by.
    pub(crate) shared: Option<ByteString>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// A session of this peer, which does not hear itself where it asked not to (§3.8.3.1).
    Session(SessionId),
    /// This peer itself.
    Own,
    /// Another peer: no third one gets it from us.
    Peer,
}

/// The receivers of a topic.
#[derive(Debug, Default)]
pub(crate) struct Route {
    each: Vec<Target>,
    peers: Vec<Target>,
    /// Whether some of them bring it on to others.
    pub(crate) is_far: bool,
    /// Of each of these one.
    groups: BTreeMap<ByteString, Vec<Target>>,
}

#[derive(Debug)]
struct Target {
    session: Arc<Session>,
    as_published: bool,
    plain: Terms,
    retained: Terms,
}

/// What became of a message on this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spread {
    /// Whether anybody has it.
    pub(crate) taken: bool,
    /// Whether somebody who was owed it had no room.
    pub(crate) refused: bool,
}

/// How a message is handed out.
pub(crate) struct Spreading<'s> {
    pub(crate) publication: &'s mut Publication,
    pub(crate) receipt: &'s mut Option<Arc<Receipt>>,
    /// Sessions that its publisher should wait for.
    pub(crate) held: &'s mut Held,
    pub(crate) journal: &'s Journal,
    /// Whose turn it is in groups.
    pub(crate) turn: &'s AtomicUsize,
}

impl Route {
    /// Finds the receivers of a topic that have sessions here. One of a peer that there is another
    /// way to takes nothing.
    pub(crate) fn find(topics: &Topics, topic: &str, from: From, ways: &Ways) -> Self {
        let mut merged: BTreeMap<SessionId, Target> = BTreeMap::new();
        let mut groups: BTreeMap<ByteString, Vec<Target>> = BTreeMap::new();
        topics.matches(topic, |(_, id), subscriber| {
            let session = &subscriber.session;
            let elsewhere = || from == From::Peer || ways.next(&session.owner.identity).is_some();
            if session.kind == Kind::Peer && elsewhere() {
                return;
            }
            if let Some(shared) = &subscriber.shared {
                groups.entry(shared.clone()).or_default().push(Target::new(subscriber));
            } else if !(subscriber.options.no_local && from == From::Session(*id)) {
                match merged.get_mut(id) {
                    Some(target) => target.merge(subscriber),
                    None => drop(merged.insert(*id, Target::new(subscriber))),
                }
            }
        });
        let (peers, each) =
            merged.into_values().partition(|target| target.session.kind == Kind::Peer);
        Self { each, peers, is_far: false, groups }
    }

    /// Adds peers that `session`'s peer brings it to.
    pub(crate) fn add_far(&mut self, session: &Arc<Session>, mut to: Vec<NodeName>) {
        // What it gets for itself, it gets with the rest.
        let own = self.peers.iter().position(|target| target.session.id == session.id);
        if let Some(own) = own {
            self.peers.swap_remove(own);
            if !to.contains(&session.owner.identity) {
                to.push(NodeName::clone(&session.owner.identity));
            }
        }
        self.is_far = true;
        for part in to.chunks(RECEIVERS_MAX) {
            self.peers.push(Target::far(session, part));
        }
    }

    /// Adds a peer that has members of a group.
    pub(crate) fn add_far_member(
        &mut self,
        session: &Arc<Session>,
        node: &NodeName,
        group: &ByteString,
    ) {
        self.is_far = true;
        let target = Target::far(session, std::slice::from_ref(node));
        self.groups.entry(group.clone()).or_default().push(target);
    }

    /// The groups that share it here.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &ByteString> {
        self.groups.keys()
    }

    /// Hands a message to every receiver that does not share it. What is retained goes to all
    /// `peers` that may have it, whether they asked for it or not.
    pub(crate) fn spread(&self, spreading: &mut Spreading<'_>, all: &[Arc<Session>]) -> Spread {
        let mut result = Spread::default();
        for target in &self.each {
            result.note(spreading.hand(target));
        }
        if spreading.publication.stamp.is_none() {
            for target in &self.peers {
                result.note(spreading.hand(target));
            }
        }
        for session in all {
            let terms = Terms::to_peer(spreading.publication.message.qos, true);
            result.note(spreading.give(session, &terms));
        }
        result
    }

    /// Hands it to one member of a group: one of ours if any is connected, or one of another peer's
    /// members, or else the next.
    pub(crate) fn share(&self, group: &ByteString, spreading: &mut Spreading<'_>) -> Spread {
        let mut result = Spread::default();
        let Some(members) = self.groups.get(group) else { return result };
        let turn = spreading.turn.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
        let (before, after) = members.split_at(turn);
        let mut order: Vec<&Target> = after.iter().chain(before).collect();
        order.sort_by_key(|target| target.session.readiness());
        for target in order {
            let delivered = spreading.hand_in(group, target);
            if matches!(delivered, Delivered::Taken | Delivered::Full(_)) {
                result.note(delivered);
                return result;
            }
        }
        result
    }
}

impl Spreading<'_> {
    fn hand(&mut self, target: &Target) -> Delivered {
        let retain = self.publication.message.retain && target.as_published;
        let terms = if retain { &target.retained } else { &target.plain };
        self.give(&target.session, terms)
    }

    /// To a member of a group: another peer has to know which.
    fn hand_in(&mut self, group: &ByteString, target: &Target) -> Delivered {
        if target.session.kind == Kind::Client {
            return self.hand(target);
        }
        let terms = Terms { share: Some(group.clone()), ..target.plain.clone() };
        self.give(&target.session, &terms)
    }

    pub(crate) fn give(&mut self, session: &Arc<Session>, terms: &Terms) -> Delivered {
        let delivered = session.deliver(self.publication, terms, self.receipt, self.journal);
        if let Delivered::Full(taken) = delivered {
            self.held.push(session, taken);
        }
        delivered
    }
}

impl Spread {
    pub(crate) fn note(&mut self, delivered: Delivered) {
        self.taken |= matches!(delivered, Delivered::Taken | Delivered::Full(_));
        self.refused |= delivered == Delivered::Refused;
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { taken: self.taken || other.taken, refused: self.refused || other.refused }
    }
}

impl Target {
    fn new(subscriber: &Subscriber) -> Self {
        let terms = |retain| Terms {
            qos: subscriber.options.qos,
            retain,
            ids: subscriber.id.into_iter().collect(),
            share: None,
            to: Box::default(),
        };
        Self {
            session: Arc::clone(&subscriber.session),
            as_published: subscriber.options.retain_as_published,
            plain: terms(false),
            retained: terms(true),
        }
    }

    fn far(session: &Arc<Session>, to: &[NodeName]) -> Self {
        let terms = |retain| Terms { to: to.into(), ..Terms::to_peer(Qos::ExactlyOnce, retain) };
        Self {
            session: Arc::clone(session),
            as_published: true,
            plain: terms(false),
            retained: terms(true),
        }
    }

    /// Overlapping subscriptions are one delivery with all their identifiers (§3.3.4).
    fn merge(&mut self, subscriber: &Subscriber) {
        self.as_published |= subscriber.options.retain_as_published;
        for terms in [&mut self.plain, &mut self.retained] {
            terms.qos = terms.qos.max(subscriber.options.qos);
            let mut ids = std::mem::take(&mut terms.ids).into_vec();
            ids.extend(subscriber.id);
            terms.ids = ids.into_boxed_slice();
        }
    }
}

/// The terms on which a retained message goes to a new subscription.
pub(crate) fn retained_terms(options: Options, id: Option<u32>) -> Terms {
    Terms { ids: id.into_iter().collect(), ..Terms::to_peer(options.qos, true) }
}

/// The quality of service that a subscription is granted.
pub(crate) const fn granted(qos: Qos) -> crate::codec::Reason {
    match qos {
        Qos::AtMostOnce => crate::codec::Reason::Success,
        Qos::AtLeastOnce => crate::codec::Reason::GrantedQos1,
        Qos::ExactlyOnce => crate::codec::Reason::GrantedQos2,
    }
}
