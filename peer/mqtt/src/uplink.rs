//! Our end of another peer's session: asks it for what our programs want, and takes what it brings.
//!
//! Between two peers MQTT 5 is spoken twice over their link, once in each direction, so that all
//! that sessions can do (queues on the disk, acknowledgements, repetition after a break) is done by
//! sessions. A machine without I/O, called as [`crate::Client`] is.
//!
//! **Invariant:** what is acknowledged is safe here.
//! **Invariant:** what comes a second time, because its acknowledgement was lost with a link, is
//! acknowledged and not handed on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use shared::time::{Now, Tick, Timestamp};

use crate::broker::{Broker, DIGEST, HEADS, LINK_STATE, PEER_CLIENT, TAKEN};
use crate::client::State;
use crate::codec::{
    Ack, ConnAck, Connect, Decoder, Options, Packet, PacketId, Publish, Qos, Reason,
    RetainHandling, SubAck, Subscribe, Unsubscribe, Version, encode,
};
use crate::held::Held;
use crate::identity::Identity;
use crate::limits::{
    DIGEST_MS, FILTERS_PER_PACKET_MAX, INTEREST_MS, PEER_EXPIRY_S, PEER_UNTAKEN_BYTES_MAX,
    PEER_WINDOW_BYTES, RECEIVE_MAX,
};
use crate::receipt::Receipt;

/// What has to be remembered of another peer's session here from link to link.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<BTreeSet<PacketId>>>);

/// See above.
#[derive(Debug)]
pub struct Uplink {
    broker: Arc<Broker>,
    peer: Arc<Identity>,
    /// Since when its certificate is valid.
    valid: Timestamp,
    decoder: Decoder,
    heard: Heard,
    replies: Vec<u8>,
    welcome: bool,
    connection: u64,
    over: bool,
    /// What the other side was asked for.
    asked: BTreeSet<ByteString>,
    /// By the packet that says so, which version of our wishes it completes.
    pending: BTreeMap<PacketId, u64>,
    told: u64,
    next_id: u16,
    owed: VecDeque<(Packet, Option<Arc<Receipt>>)>,
    receipt: Option<Arc<Receipt>>,
    digest_due: Option<Tick>,
    ask_due: Option<Tick>,
    /// Up to which changes of the chart the neighbour was told.
    edition: u64,
    announce_due: Option<Tick>,
    /// Sessions that do not keep up, and since when they are waited for.
    held: Held,
    /// Bytes taken, and those of them that the other side was told of.
    taken_bytes: u64,
    confirmed_bytes: u64,
}

impl Uplink {
    /// Says CONNECT to the peer at the other end of a link.
    #[must_use]
    pub fn new(broker: Arc<Broker>, peer: Arc<Identity>, valid: Timestamp, heard: Heard) -> Self {
        let mut replies = Vec::new();
        encode(&Packet::Connect(Box::new(greeting())), Version::V5, &mut replies);
        Self {
            broker,
            peer,
            valid,
            decoder: Decoder::client(Version::V5),
            heard,
            replies,
            welcome: false,
            connection: 0,
            over: false,
            asked: BTreeSet::new(),
            pending: BTreeMap::new(),
            told: 0,
            next_id: 0,
            owed: VecDeque::new(),
            receipt: None,
            digest_due: None,
            ask_due: None,
            edition: 0,
            announce_due: None,
            held: Held::default(),
            taken_bytes: 0,
            confirmed_bytes: 0,
        }
    }

    /// Takes what was read, as far as our programs keep up; the rest stays in the buffer, which the
    /// other side's window bounds.
    pub fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        if buffer.len() > PEER_UNTAKEN_BYTES_MAX {
            self.over = true;
        }
        let before = buffer.len();
        while !self.over && self.held.is_empty() {
            match self.decoder.decode(buffer) {
                Ok(Some(packet)) => self.handle(packet, now),
                Ok(None) => break,
                Err(_) => self.over = true,
            }
        }
        self.taken_bytes += (before - buffer.len()) as u64;
        self.held.begin(now.tick);
        self.receipt = None;
    }

    /// Goes on with what stayed in the buffer, if whoever was waited for keeps up again; says
    /// whether anything was done.
    pub fn resume(&mut self, buffer: &mut BytesMut, waker: &Waker, now: Now) -> bool {
        if self.held.is_empty() {
            return false;
        }
        self.held.leave(now.tick);
        if self.held.look(waker) {
            return false;
        }
        self.handle_bytes(buffer, now);
        true
    }

    fn handle(&mut self, packet: Packet, now: Now) {
        match packet {
            Packet::ConnAck(ack) if !self.welcome && !ack.reason.is_error() => {
                self.welcomed(&ack, now);
            }
            Packet::Publish(publish) if self.welcome => self.take(publish, now),
            Packet::PubRel(ack) if self.welcome => {
                self.heard().remove(&ack.packet_id);
                let done = Ack { reason: Reason::Success, reason_string: None, ..ack };
                self.owe(Packet::PubComp(done), None);
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => self.answered(&ack),
            Packet::PingResp => {}
            _ => self.over = true,
        }
    }

    fn welcomed(&mut self, ack: &ConnAck, now: Now) {
        self.welcome = true;
        if !ack.session_present {
            self.heard().clear();
        }
        self.connection = self.broker.interest.connected(&self.peer.name);
        self.broker.hear_neighbour(&self.peer.name, self.connection);
        self.digest_due = Some(now.tick);
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, BTreeSet<PacketId>> {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, publish: Publish, now: Now) {
        let (qos, dup) = (publish.qos, publish.dup);
        let Some(packet_id) = publish.packet_id else {
            let Self { broker, peer, valid, held, .. } = self;
            broker.take_from_peer((peer, *valid), publish, &mut None, held, now.wall);
            return;
        };
        let again = {
            let mut heard = self.heard();
            // An identifier that comes without DUP is another message's.
            let known = heard.contains(&packet_id);
            heard.insert(packet_id);
            known && (dup || qos == Qos::ExactlyOnce)
        };
        let reason = if again {
            Reason::Success
        } else {
            let Self { broker, peer, valid, receipt, held, .. } = self;
            broker.take_from_peer((peer, *valid), publish, receipt, held, now.wall)
        };
        // What cannot be taken is not sent again and again: it is counted where it was refused.
        let reason = if reason.is_error() { Reason::Success } else { reason };
        let ack = Ack { packet_id, reason, reason_string: None };
        let exactly_once = qos == Qos::ExactlyOnce;
        let ack = if exactly_once { Packet::PubRec(ack) } else { Packet::PubAck(ack) };
        let receipt = self.receipt.clone();
        self.owe(ack, receipt);
    }

    fn owe(&mut self, ack: Packet, receipt: Option<Arc<Receipt>>) {
        if receipt.is_none() && self.owed.is_empty() {
            encode(&ack, Version::V5, &mut self.replies);
        } else {
            self.owed.push_back((ack, receipt));
        }
    }

    fn answered(&mut self, ack: &SubAck) {
        if let Some(version) = self.pending.remove(&ack.packet_id) {
            self.broker.interest.known(&self.peer.name, version);
        }
    }

    /// Fills `out`, which is empty, with what is to be written.
    pub fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        while let Some((_, receipt)) = self.owed.front() {
            if receipt.as_ref().is_some_and(|receipt| !receipt.is_settled(waker)) {
                break;
            }
            let Some((ack, receipt)) = self.owed.pop_front() else { break };
            // What could not be made safe is not acknowledged; it comes again with the next link.
            if receipt.is_some_and(|receipt| receipt.has_failed()) {
                self.over = true;
            } else {
                encode(&ack, Version::V5, &mut self.replies);
            }
        }
        if self.welcome && !self.over {
            self.ask(waker, now.tick);
            self.chart(waker, now);
            if self.digest_due.is_some_and(|due| due <= now.tick) {
                self.digest_due = Some(now.tick.plus_ms(DIGEST_MS));
                let digest = self.broker.digest();
                self.tell(DIGEST, digest);
                let heads = self.broker.heads();
                self.tell(HEADS, heads);
            }
            if self.taken_bytes - self.confirmed_bytes >= PEER_WINDOW_BYTES as u64 / 4 {
                self.confirmed_bytes = self.taken_bytes;
                let taken = Bytes::copy_from_slice(&self.taken_bytes.to_be_bytes());
                self.tell(TAKEN, taken);
            }
        }
        std::mem::swap(out, &mut self.replies);
        if self.over { State::Ending } else { State::Open }
    }

    /// Asks for what is new among our wishes, and takes back what is none any more.
    fn ask(&mut self, waker: &Waker, now: Tick) {
        // Wishes that come in a burst are told together.
        if self.ask_due.is_some_and(|due| now < due) {
            return;
        }
        self.ask_due = None;
        let Some((version, wanted)) = self.broker.interest.look(&self.peer.name, self.told, waker)
        else {
            return;
        };
        self.ask_due = Some(now.plus_ms(INTEREST_MS));
        self.told = version;
        let new: Vec<ByteString> = wanted.difference(&self.asked).cloned().collect();
        let old: Vec<ByteString> = self.asked.difference(&wanted).cloned().collect();
        let mut last = None;
        for part in new.chunks(FILTERS_PER_PACKET_MAX) {
            let filters = part.iter().map(|text| (text.clone(), OPTIONS)).collect();
            let packet_id = self.packet_id();
            let subscribe = Subscribe { packet_id, id: None, filters };
            encode(&Packet::Subscribe(subscribe), Version::V5, &mut self.replies);
            last = Some(packet_id);
        }
        for part in old.chunks(FILTERS_PER_PACKET_MAX) {
            let packet_id = self.packet_id();
            let unsubscribe = Unsubscribe { packet_id, filters: part.to_vec() };
            encode(&Packet::Unsubscribe(unsubscribe), Version::V5, &mut self.replies);
            last = Some(packet_id);
        }
        self.asked = BTreeSet::clone(&wanted);
        match last {
            // Packets are answered in order: the last answer is about all of them.
            Some(packet_id) => drop(self.pending.insert(packet_id, version)),
            None => self.broker.interest.known(&self.peer.name, version),
        }
    }

    /// Says what changed of our own links and wishes, and what it has not heard of others'.
    fn chart(&mut self, waker: &Waker, now: Now) {
        let edition = self.broker.edition() + self.told;
        let due = self.announce_due.is_some_and(|due| due <= now.tick);
        if edition == self.edition && !due {
            return;
        }
        self.edition = edition;
        self.announce_due = self.broker.announce(now);
        for sealed in self.broker.news_for(&self.peer.name, waker) {
            self.tell(LINK_STATE, sealed);
        }
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        PacketId::new(self.next_id).unwrap_or(PacketId::MIN)
    }

    /// Says something to the peer itself.
    fn tell(&mut self, topic: &'static str, payload: Bytes) {
        let publish = Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: ByteString::from_static(topic),
            packet_id: None,
            alias: None,
            expiry_s: None,
            subscription_ids: Vec::new(),
            properties: Bytes::new(),
            payload,
        };
        encode(&Packet::Publish(publish), Version::V5, &mut self.replies);
    }

    /// When [`Uplink::handle_timeout`] is due: then `fill` has something to say.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let held = self.held.due();
        [self.digest_due, self.ask_due, self.announce_due, held].into_iter().flatten().min()
    }

    /// The link ended.
    pub fn handle_closed(&mut self) {
        self.over = true;
        self.broker.interest.disconnected(&self.peer.name, self.connection);
        self.broker.lose_neighbour(&self.peer.name, self.connection);
    }
}

const OPTIONS: Options = Options {
    qos: Qos::ExactlyOnce,
    no_local: false,
    retain_as_published: true,
    retain_handling: RetainHandling::Never,
};

fn greeting() -> Connect {
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: false,
        keep_alive_s: 0,
        session_expiry_s: PEER_EXPIRY_S,
        receive_max: RECEIVE_MAX,
        packet_bytes_max: None,
        alias_max: 0,
        wants_response_information: false,
        wants_problem_information: true,
        auth_method: None,
        client_id: ByteString::from_static(PEER_CLIENT),
        will: None,
        username: None,
        has_password: false,
    }
}
