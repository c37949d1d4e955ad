//! One session: its subscriptions, what waits for it, and the connection it has or has not.
//!
//! Publishers deliver into it and the connection's task pumps it empty; both hold its lock only for
//! a copy. QoS 0 is written at once as the bytes that the socket gets, and is bounded by them;
//! QoS 1 and 2 wait in the queue and are written when the client's window has room.
//!
//! **Invariant:** a session has at most one connection, and a connection that lost it to another
//! changes nothing in it any more.
//! **Invariant:** a session whose end was told takes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytestring::ByteString;
use shared::name::NodeName;
use shared::policy::Filter;
use shared::time::Timestamp;

use crate::codec::{
    Options, Outgoing, PacketId, Qos, Reason, Version, encode_publish, publish_bytes,
};
use crate::few::Few;
use crate::identity::Identity;
use crate::journal::{Change, Journal, Table, key};
use crate::limits::{OUT_BYTES_HIGH, OUT_BYTES_MAX, QUEUE_COUNT_MAX, QUEUES_BYTES, READING_BYTES};
use crate::message::{Message, SessionId};
use crate::publication::Publication;
use crate::pump::{Pump, Pumped};
use crate::queue::{Acked, Item, Queue};
use crate::receipt::Receipt;
use crate::topic::Wanted;

/// Whose a session is: nobody takes over another identity's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The certificate's node.
    pub(crate) identity: Arc<NodeName>,
    /// The client's identifier.
    pub(crate) client: ByteString,
}

/// Whose end of a session is at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program.
    Client,
    /// A peer, which asks for what its own programs want.
    Peer,
}

/// A subscription as the session keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) wanted: Wanted,
    pub(crate) options: Options,
    pub(crate) id: Option<u32>,
}

/// A subscription that is still being told what is retained.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// As the client wrote it.
    pub(crate) text: ByteString,
    pub(crate) filter: Filter,
    pub(crate) options: Options,
    pub(crate) id: Option<u32>,
    /// The last topic that was told; none yet.
    pub(crate) after: Option<ByteString>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its number.
    pub(crate) id: SessionId,
    /// Whose.
    pub(crate) owner: Owner,
    /// Of a program, or of another peer.
    pub(crate) kind: Kind,
    pub(crate) inside: Mutex<Inside>,
}

/// What a session holds.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) online: Option<Online>,
    pub(crate) subscriptions: Few<ByteString, Subscription>,
    pub(crate) readings: VecDeque<Reading>,
    pub(crate) queue: Queue,
    /// Identifiers of QoS 2 that came and are not released (§4.3.3).
    pub(crate) received: BTreeSet<PacketId>,
    /// Session Expiry Interval; with 0 it ends with its connection.
    pub(crate) expiry_s: u32,
    /// Since when it has no connection.
    pub(crate) left: Option<Timestamp>,
    /// Since when it has its connection, or had its last.
    pub(crate) since: Timestamp,
    pub(crate) ended: bool,
    /// Messages that found no room.
    pub(crate) dropped: u64,
    /// Bytes its queue may hold.
    pub(crate) bytes_max: usize,
    /// Who was connected last, as the policy sees him.
    pub(crate) identity: Option<Arc<Identity>>,
    /// How long the will waits, and what it says.
    pub(crate) will: Option<(u32, Arc<Message>)>,
    /// Whether the file has, or had, a row of it.
    pub(crate) saved: bool,
}

/// The connection of a session.
#[derive(Debug)]
pub(crate) struct Online {
    /// Its number: who holds another one has lost the session.
    pub(crate) connection: u64,
    pub(crate) version: Version,
    /// What is to be written to the socket next.
    pub(crate) out: Vec<u8>,
    /// Whom to wake when there is something.
    pub(crate) waker: Option<Waker>,
    /// How many messages of QoS 1 and 2 may be under way.
    pub(crate) window: usize,
    /// Larger packets the client does not take.
    pub(crate) packet_bytes_max: usize,
    /// Topics that have a number towards the client.
    pub(crate) aliases: Aliases,
    /// It did not keep up: nobody waits for it until it has.
    pub(crate) lagging: bool,
    /// Bytes its connection has taken to write, all those before them being written.
    pub(crate) written: u64,
    /// Bytes of QoS 1 and 2 that it has acknowledged.
    pub(crate) acknowledged: u64,
    /// Publishers that wait until it keeps up.
    pub(crate) held: Vec<Waker>,
    /// It is to end, and why.
    pub(crate) end: Option<Reason>,
}

/// Octets that an alias takes, and by which the two lengths before it may grow.
const ALIAS_BYTES: usize = 5;

/// Numbers for topics towards a client (§3.3.2.3.4): first come, first numbered.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    pub(crate) max: u16,
    pub(crate) known: BTreeMap<ByteString, u16>,
}

impl Aliases {
    /// The alias for a topic, and whether the topic has to be said with it; a new one only if there
    /// is room for both.
    pub(crate) fn of(&mut self, topic: &ByteString, room: bool) -> Option<(u16, bool)> {
        if self.max == 0 {
            return None;
        }
        if let Some(alias) = self.known.get(topic) {
            return Some((*alias, false));
        }
        let next = u16::try_from(self.known.len()).ok()?.checked_add(1)?;
        (room && next <= self.max).then(|| {
            // Its own bytes: the buffer that it was read into is not held on to.
            self.known.insert(ByteString::from(&**topic), next);
            (next, true)
        })
    }
}

/// How a message is wanted by one of those that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) ids: Box<[u32]>,
    /// To a peer: the group for one of whose members this is.
    pub(crate) share: Option<ByteString>,
    /// To a peer: for whom it is brought there, if not for its own programs.
    pub(crate) to: Box<[NodeName]>,
}

impl Terms {
    /// How a peer gets a message that it did not ask for itself.
    pub(crate) fn to_peer(qos: Qos, retain: bool) -> Self {
        Self { qos, retain, ids: Box::default(), share: None, to: Box::default() }
    }
}

/// How far a session that is full has come, so that somebody sees whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It has so many bytes to write that it is full of them.
    Written(u64),
    /// Its queue is full.
    Acknowledged(u64),
}

/// What became of a message at one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It is the session's.
    Taken,
    /// It is, and its publisher should wait a little.
    Full(Taken),
    /// There was no room, or nobody to take it.
    Dropped,
    /// The session refuses for want of room what it was owed.
    Refused,
}

impl Session {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it a message. `receipt` is held until a session that lasts has it on the disk.
    pub(crate) fn deliver(
        &self,
        publication: &mut Publication,
        terms: &Terms,
        receipt: &mut Option<Arc<Receipt>>,
        journal: &Journal,
    ) -> Delivered {
        let mut inside = self.lock();
        if inside.ended || publication.is_over() {
            return Delivered::Dropped;
        }
        let kind = self.kind;
        let qos = terms.qos.min(publication.message.qos);
        if qos == Qos::AtMostOnce {
            return inside.deliver_now(kind, publication, terms);
        }
        if inside.is_full(publication.message.bytes()) {
            inside.dropped += 1;
            return Delivered::Refused;
        }
        let message = match self.kind {
            Kind::Client => Arc::clone(publication.kept()),
            Kind::Peer => publication.for_peers(terms),
        };
        let ids = terms.ids.clone();
        let mut item = Item { message, qos, retain: terms.retain, ids, saved: false, hold: None };
        let lasts = inside.expiry_s > 0;
        let hold = lasts.then(|| receipt.get_or_insert_default().hold());
        // What a linked peer is about to acknowledge need not be on our disk, if it began here.
        if self.kind == Kind::Peer && inside.online.is_some() && !publication.passing {
            item.hold = hold;
            inside.queue.push(item);
        } else if lasts {
            item.saved = true;
            let row = Change::Added(item.to_row());
            let place = inside.queue.push(item);
            journal.write(Table::Queue, key(self.id, place), row, hold);
        } else {
            inside.queue.push(item);
        }
        inside.wake();
        let behind = inside.queue.bytes() > OUT_BYTES_HIGH * 4;
        match &inside.online {
            Some(online) if behind && !online.lagging => {
                Delivered::Full(Taken::Acknowledged(online.acknowledged))
            }
            _ => Delivered::Taken,
        }
    }

    /// How well it could take something now; less is better.
    pub(crate) fn readiness(&self) -> u8 {
        let ready = self.lock().online.as_ref().is_some_and(|online| !online.lagging);
        match (self.kind, ready) {
            (Kind::Client, true) => 0,
            (Kind::Peer, true) => 1,
            (Kind::Client, false) => 2,
            (Kind::Peer, false) => 3,
        }
    }

    /// Whether a publisher need not wait for it any more; if it has to, `waker` is woken then.
    pub(crate) fn keeps_up(&self, waker: &Waker) -> bool {
        let mut inside = self.lock();
        let behind = inside.queue.bytes() > OUT_BYTES_HIGH * 2;
        let Some(online) = &mut inside.online else { return true };
        if online.lagging || (online.out.len() < OUT_BYTES_HIGH / 2 && !behind) {
            return true;
        }
        if !online.held.iter().any(|held| held.will_wake(waker)) {
            online.held.push(waker.clone());
        }
        false
    }

    /// It was waited for long enough, unless it has come further meanwhile: then it tells how far.
    pub(crate) fn leave_behind(&self, then: Taken) -> Option<Taken> {
        let mut inside = self.lock();
        let online = inside.online.as_mut()?;
        let (now, more) = match then {
            Taken::Written(then) => {
                (Taken::Written(online.written), online.written.saturating_sub(then))
            }
            Taken::Acknowledged(then) => {
                let now = online.acknowledged;
                (Taken::Acknowledged(now), now.saturating_sub(then))
            }
        };
        let goes_on = more >= OUT_BYTES_HIGH as u64 / 2;
        online.lagging |= !goes_on;
        goes_on.then_some(now)
    }

    /// Writes what is due for the connection into `out`, and remembers whom to wake for more.
    pub(crate) fn pump(&self, pump: &mut Pump<'_>, waker: &Waker) -> Pumped {
        let mut inside = self.lock();
        let Inside { online, queue, .. } = &mut *inside;
        let Some(online) = online.as_mut().filter(|o| o.connection == pump.connection) else {
            return Pumped::Lost;
        };
        pump.fill(self.id, online, queue);
        if let Some(reason) = online.end {
            return Pumped::End(reason);
        }
        match &mut online.waker {
            Some(known) if known.will_wake(waker) => {}
            place => *place = Some(waker.clone()),
        }
        let waiting = std::mem::take(&mut online.held);
        drop(inside);
        waiting.into_iter().for_each(Waker::wake);
        Pumped::Done
    }

    /// Whether something retained came under its identifier, from it or from one before it.
    pub(crate) fn has_said(&self, message: &Message) -> bool {
        let client = message.client.as_ref();
        client == Some(&self.owner.client) && message.by == self.owner.identity
    }

    /// The subscription that is told next what is retained, if there is room for more of it.
    pub(crate) fn reading(&self) -> Option<Reading> {
        let inside = self.lock();
        let reading = inside.readings.front()?;
        let room = inside.online.as_ref()?.out.len() < READING_BYTES;
        let sure = reading.options.qos > Qos::AtMostOnce;
        (room && !(sure && inside.queue.bytes() >= READING_BYTES)).then(|| reading.clone())
    }

    /// It was told as far as this topic, or all of it.
    pub(crate) fn read(&self, text: &ByteString, to: Option<ByteString>) {
        let mut inside = self.lock();
        let at = inside.readings.iter().position(|reading| reading.text == *text);
        let Some(at) = at else { return };
        match (to, inside.readings.get_mut(at)) {
            (Some(to), Some(reading)) => reading.after = Some(to),
            _ => drop(inside.readings.remove(at)),
        }
        // The room for the first few would stay in every session that ever subscribed.
        if inside.readings.is_empty() {
            inside.readings = VecDeque::new();
        }
    }

    /// The client acknowledged something; the row of what is over goes.
    pub(crate) fn acknowledge(
        &self,
        journal: &Journal,
        act: impl FnOnce(&mut Queue) -> Acked,
    ) -> Acked {
        let acked = {
            let Inside { queue, online, .. } = &mut *self.lock();
            let before = queue.bytes();
            let acked = act(queue);
            if let Some(online) = online {
                online.acknowledged += before.saturating_sub(queue.bytes()) as u64;
            }
            acked
        };
        match acked {
            Acked::Over { place, saved: true } => {
                journal.write(Table::Queue, key(self.id, place), Change::Gone, None);
            }
            Acked::Released { place, saved: true } => {
                let row = Change::Put(Vec::new());
                journal.write(Table::Queue, key(self.id, place), row, None);
            }
            _ => {}
        }
        acked
    }

    /// Its connection is gone: what was held for it in memory alone goes to the disk.
    pub(crate) fn spill(&self, inside: &mut Inside, journal: &Journal) {
        inside.queue.save_all(|place, item| {
            let (row, hold) = (Change::Added(item.to_row()), item.hold.take());
            journal.write(Table::Queue, key(self.id, place), row, hold);
        });
    }

    /// Ends its connection for a reason that the client is told.
    pub(crate) fn end_connection(&self, reason: Reason) {
        let mut inside = self.lock();
        if let Some(online) = &mut inside.online {
            online.end = Some(reason);
        }
        inside.wake();
    }
}

impl Inside {
    fn is_full(&self, more: usize) -> bool {
        let all = self.queue.total().bytes() + more > QUEUES_BYTES;
        all || self.queue.len() >= QUEUE_COUNT_MAX || self.queue.bytes() + more > self.bytes_max
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.online.as_mut().and_then(|online| online.waker.take()) {
            waker.wake();
        }
    }

    /// QoS 0: into the bytes for the socket, or nowhere.
    fn deliver_now(
        &mut self,
        kind: Kind,
        publication: &mut Publication,
        terms: &Terms,
    ) -> Delivered {
        let Some(online) = &mut self.online else { return Delivered::Dropped };
        if online.out.len() > OUT_BYTES_MAX || (online.lagging && online.out.len() > OUT_BYTES_HIGH)
        {
            self.dropped += 1;
            return Delivered::Dropped;
        }
        let own = !terms.ids.is_empty() || online.aliases.max > 0 || terms.share.is_some();
        let plain = !terms.retain && !own && kind == Kind::Client;
        let before = online.out.len();
        if plain {
            let bytes = publication.encoded(online.version);
            if bytes.len() > online.packet_bytes_max {
                return Delivered::Dropped;
            }
            online.out.extend_from_slice(bytes);
        } else if kind == Kind::Peer {
            let message = publication.for_peers(terms);
            write(online, &message, terms, publication.expiry_s());
        } else {
            write(online, &publication.message, terms, publication.expiry_s());
        }
        let (length, lagging, written) = (online.out.len(), online.lagging, online.written);
        if before == 0 {
            self.wake();
        }
        let full = length > OUT_BYTES_HIGH && !lagging;
        if full { Delivered::Full(Taken::Written(written)) } else { Delivered::Taken }
    }
}

/// Writes a message of QoS 0 with what is the receiver's own.
fn write(online: &mut Online, message: &Message, terms: &Terms, expiry_s: Option<u32>) {
    let item = Outgoing {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: terms.retain,
        topic: &message.topic,
        packet_id: None,
        alias: None,
        expiry_s,
        subscription_ids: &terms.ids,
        properties: &message.properties,
        payload: &message.payload,
    };
    online.write(item, &message.topic);
}

impl Online {
    /// Writes a PUBLISH, with an alias if there is one; one that is larger than the client takes is
    /// as if it had been sent (§3.1.2.11.4).
    pub(crate) fn write<'m>(&mut self, publish: Outgoing<'m>, topic: &'m ByteString) -> bool {
        let whole = publish_bytes(&publish, self.version);
        let room = whole + ALIAS_BYTES <= self.packet_bytes_max;
        if let Some((alias, said)) = self.aliases.of(topic, room) {
            let alias = NonZeroU16::new(alias);
            let short = Outgoing { alias, topic: if said { topic } else { "" }, ..publish };
            // Of a short topic it is the longer form.
            if publish_bytes(&short, self.version) <= self.packet_bytes_max {
                encode_publish(&short, self.version, &mut self.out);
                return true;
            }
        }
        let fits = whole <= self.packet_bytes_max;
        if fits {
            encode_publish(&publish, self.version, &mut self.out);
        }
        fits
    }
}
