//! Other peers in the hall: what goes to them, what comes from them, and how what is retained on
//! two of them becomes the same.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use bytestring::ByteString;
use shared::name::NodeName;
use shared::policy::Filter;
use shared::time::Timestamp;

use super::{Barred, Broker};
use crate::codec::{Publish, Qos, Reason};
use crate::envelope::Envelope;
use crate::held::Held;
use crate::identity::Identity;
use crate::limits::BUCKETS;
use crate::message::Message;
use crate::publication::Publication;
use crate::receipt::Receipt;
use crate::retained::Retained;
use crate::route::{From, Spread, Spreading};
use crate::session::{Kind, Session, Terms};

/// The identifier of a peer's session at another; no program may have it.
pub(crate) const PEER_CLIENT: &str = "$peer";
/// Where a peer says what it has retained.
pub(crate) const DIGEST: &str = "$conclave/digest";

/// Where a peer says how much it has taken.
pub(crate) const TAKEN: &str = "$conclave/taken";

/// Sums over what is retained, one for each part of the topics.
pub(crate) type Sums = [u64; BUCKETS];

impl Broker {
    /// Who may be believed: asked about everybody whose messages another peer brings.
    pub fn set_barred(&self, barred: Barred) {
        *self.barred.write().unwrap_or_else(PoisonError::into_inner) = Some(barred);
    }

    pub(super) fn is_barred(&self, name: &NodeName, since: Timestamp) -> bool {
        let barred = self.barred.read().unwrap_or_else(PoisonError::into_inner);
        barred.as_ref().is_some_and(|barred| barred(name, since))
    }

    /// The sessions of peers that may read a topic.
    pub(super) fn readers(&self, topic: &str) -> Vec<Arc<Session>> {
        if topic.starts_with('$') {
            return Vec::new();
        }
        let peers: Vec<Arc<Session>> = {
            let sessions = self.sessions();
            sessions.peers.iter().filter_map(|id| sessions.by_id.get(id).cloned()).collect()
        };
        let Ok(filter) = Filter::parse(topic) else { return Vec::new() };
        let (_, rights) = self.rights();
        let may = |session: &Arc<Session>| {
            let identity = session.lock().identity.clone();
            identity.is_some_and(|identity| {
                rights.may_subscribe(&rights.standing(identity.who()), PEER_CLIENT, &filter)
            })
        };
        peers.into_iter().filter(may).collect()
    }

    /// Takes what another peer brings: whoever said it and the peer itself must both be allowed to.
    /// What names other peers is brought nearer to these.
    pub(crate) fn take_from_peer(
        &self,
        (carrier, valid): (&Identity, Timestamp),
        publish: Publish,
        receipt: &mut Option<Arc<Receipt>>,
        held: &mut Held,
        now: Timestamp,
    ) -> Reason {
        self.counters.carried.add(1);
        let Some((envelope, properties)) = Envelope::split(&publish.properties) else {
            return Reason::ProtocolError;
        };
        let group = envelope.group();
        let (by, since) = match &envelope.by {
            Some((by, since)) => (Arc::new(by.clone()), *since),
            None => (Arc::clone(&carrier.name), valid),
        };
        let out = envelope.by.is_some() && self.is_barred(&by, since);
        if out || publish.topic.starts_with('$') || !self.may_carry(carrier, &publish.topic) {
            self.counters.denied.add(1);
            return Reason::NotAuthorized;
        }
        let message = Message {
            topic: publish.topic,
            properties,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires: publish.expiry_s.map(|s| now.plus_s(i64::from(s))),
            by,
            from: None,
            client: None,
        };
        let (me, to) = (&self.settings.node, envelope.to);
        let here = to.is_empty() || to.contains(me);
        let new = here && envelope.number.as_ref().is_none_or(|(number, _)| self.is_new(number));
        if here && !new {
            self.counters.again.add(1);
        }
        let route = self.route(&message.topic, From::Peer);
        let mut publication = Publication::new(message, now);
        publication.standing = Some(since);
        publication.stamp = envelope.stamp;
        publication.number = envelope.number;
        publication.old = envelope.old;
        publication.passing = true;
        let peers = if new { self.shelve(carrier, &mut publication, receipt) } else { None };
        let mut spreading = Spreading {
            publication: &mut publication,
            receipt,
            held,
            journal: &self.journal,
            turn: &self.turn,
        };
        let mut spread = match (&group, &peers) {
            _ if !new => Spread::default(),
            (Some(group), _) => route.share(group, &mut spreading),
            (None, Some(peers)) => route.spread(&mut spreading, peers),
            (None, None) => Spread::default(),
        };
        let onward: Vec<NodeName> = to.into_iter().filter(|node| node != me).collect();
        if !onward.is_empty() {
            spread = spread.and(self.bring(onward, group.as_ref(), &mut spreading));
        }
        if spread.refused { Reason::QuotaExceeded } else { Reason::Success }
    }

    /// Retains what came from another peer, if it is to be; gives the peers that get it from us, or
    /// nothing if nobody here is to hear of it.
    fn shelve(
        &self,
        carrier: &Identity,
        publication: &mut Publication,
        receipt: &mut Option<Arc<Receipt>>,
    ) -> Option<Vec<Arc<Session>>> {
        let topic = publication.message.topic.clone();
        let Some(stamp) = publication.stamp.clone().filter(|_| publication.message.retain) else {
            return Some(Vec::new());
        };
        let known = self.shelf().get(&topic).map(|retained| retained.stamp.clone());
        if known.as_ref() == Some(&stamp) {
            return None;
        }
        self.retain(publication, receipt);
        let later = known.is_none_or(|known| known < stamp);
        match (later, publication.old) {
            (true, _) => Some(self.readers_beyond(&carrier.name, &topic)),
            // It was overtaken on its way, and is heard all the same.
            (false, false) => Some(Vec::new()),
            (false, true) => None,
        }
    }

    fn may_carry(&self, carrier: &Identity, topic: &str) -> bool {
        let (_, rights) = self.rights();
        rights.may_publish(&rights.standing(carrier.who()), PEER_CLIENT, topic)
    }

    /// Sums over what is retained here.
    pub(crate) fn digest(&self) -> Bytes {
        let sums = self.sums();
        Bytes::from(sums.iter().flat_map(|sum| sum.to_be_bytes()).collect::<Vec<u8>>())
    }

    fn sums(&self) -> Sums {
        let mut sums = [0; BUCKETS];
        let shelf = self.shelf();
        for (topic, retained) in shelf.iter().filter(|(topic, _)| !topic.starts_with('$')) {
            let (bucket, hash) = place(topic, retained);
            if let Some(sum) = sums.get_mut(bucket) {
                *sum ^= hash;
            }
        }
        sums
    }

    /// A peer says what it has: it gets everything of the parts in which we have something else.
    pub(crate) fn answer_digest(&self, session: &Session, theirs: &[u8], now: Timestamp) {
        let (chunks, rest) = theirs.as_chunks::<8>();
        if chunks.len() != BUCKETS || !rest.is_empty() {
            return;
        }
        let ours = self.sums();
        let differ: Vec<bool> = ours
            .iter()
            .zip(chunks)
            .map(|(ours, theirs)| *ours != u64::from_be_bytes(*theirs))
            .collect();
        let wanted: Vec<(ByteString, Retained)> = {
            let shelf = self.shelf();
            let own = shelf.iter().filter(|(topic, _)| !topic.starts_with('$'));
            own.filter(|(topic, retained)| {
                differ.get(place(topic, retained).0).copied().unwrap_or_default()
            })
            .map(|(topic, retained)| (topic.clone(), retained.clone()))
            .collect()
        };
        let Some(identity) = session.lock().identity.clone() else { return };
        let (_, rights) = self.rights();
        let standing = rights.standing(identity.who());
        for (topic, retained) in wanted {
            let readable = Filter::parse(&topic)
                .is_ok_and(|filter| rights.may_subscribe(&standing, PEER_CLIENT, &filter));
            if readable {
                self.give_retained(session, topic, retained, now);
            }
        }
    }

    fn give_retained(
        &self,
        session: &Session,
        topic: ByteString,
        retained: Retained,
        now: Timestamp,
    ) {
        let cleared = || Message {
            topic,
            properties: Bytes::new(),
            payload: Bytes::new(),
            qos: Qos::AtLeastOnce,
            retain: true,
            expires: None,
            by: Arc::new(self.settings.node.clone()),
            from: None,
            client: None,
        };
        let message = retained.message.as_ref().map_or_else(cleared, |kept| (**kept).clone());
        let message = Message { qos: Qos::AtLeastOnce, retain: true, ..message };
        let foreign = *message.by != self.settings.node;
        let mut publication = Publication::new(message, now);
        // Its standing was looked at when it was taken.
        publication.standing = foreign.then_some(now);
        publication.stamp = Some(retained.stamp);
        publication.old = true;
        let terms = Terms::to_peer(Qos::AtLeastOnce, true);
        session.deliver(&mut publication, &terms, &mut None, &self.journal);
    }

    /// The peers with sessions here, and what waits for each.
    pub(super) fn is_peer(client: &str) -> Kind {
        if client == PEER_CLIENT { Kind::Peer } else { Kind::Client }
    }
}

/// In which part a topic is counted, and as what. FNV-1a: two that differ rarely sum up to the
/// same, and who lies about it only keeps old values for himself.
fn place(topic: &str, retained: &Retained) -> (usize, u64) {
    let of = |seed: u64, bytes: &[u8]| {
        bytes.iter().fold(seed, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let hash = of(0xcbf2_9ce4_8422_2325, topic.as_bytes());
    let [.., low] = hash.to_be_bytes();
    let stamp = &retained.stamp;
    let dated = of(of(hash, &stamp.ms.to_be_bytes()), &stamp.count.to_be_bytes());
    (usize::from(low) % BUCKETS, of(dated, stamp.node.as_str().as_bytes()))
}
