//! A bridge: two clients, one at this peer and one at an engine, glued together.
//!
//! It has no queue and remembers nothing. Both sessions last, so what waits, is acknowledged and is
//! said again is theirs: a PUBLISH goes across under the packet identifier it came with, and its
//! acknowledgements come back the same way. If one connection breaks, both end, and both sessions
//! go on with the next.
//!
//! Call order: [`span`] gives the two halves; each is served as a [`crate::Client`] is. The engine
//! is greeted first and this peer with what the engine grants, so neither is ever sent more than
//! it takes.
//!
//! **Invariant:** nothing is acknowledged before the other side has acknowledged it, but for what
//! is not carried at all.
//! **Invariant:** nothing goes to where it has been (see `mark.rs`), and nothing comes that was not
//! asked for.

mod carry;
mod half;
mod mark;
mod tally;
mod terms;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bytes::BytesMut;
use shared::time::{Now, Tick};

use crate::broker::Broker;
use crate::codec::{
    ConnAck, Decoder, Granted, Packet, PacketId, Qos, Reason, SubAck, Unsubscribe, Version, encode,
    encode_connect,
};
use crate::limits::{
    BRIDGE_FENCE_MS, BRIDGE_KEEP_ALIVE_S, BRIDGE_WINDOW, CONNECT_MS, OUT_BYTES_HIGH,
    PACKET_BYTES_MAX,
};

pub use half::Half;
pub use tally::Tally;
pub use terms::{BRIDGE_CLIENT, Password, Side, Terms};

/// Identifiers of our own packets; those of messages come from the sessions and begin at 1.
const FIRST: PacketId = PacketId::MAX;
const SECOND: PacketId = match PacketId::new(u16::MAX - 1) {
    Some(id) => id,
    None => PacketId::MAX,
};

/// The two halves of one attempt to connect; `anew` if the engine shall forget its session.
#[must_use]
pub fn span(
    terms: &Arc<Terms>,
    tally: &Arc<Tally>,
    broker: &Arc<Broker>,
    anew: bool,
    now: Now,
) -> (Half, Half) {
    tally.begin();
    let mut remote = End::new(terms.version, now.tick);
    let password = terms.password.as_ref().map(|password| &*password.0).unwrap_or_default();
    encode_connect(&terms.remote_connect(anew), password, &mut remote.out);
    let span = Span {
        terms: Arc::clone(terms),
        tally: Arc::clone(tally),
        broker: Arc::clone(broker),
        local: End::new(Version::V5, now.tick),
        remote,
        granted: Granted::default(),
        was_there: false,
        began: now.tick,
        up_since: None,
        fence: Fence::Open,
        told: false,
        keep_alive_s: BRIDGE_KEEP_ALIVE_S,
        why: None,
        anew: false,
    };
    let span = Arc::new(Mutex::new(span));
    (Half::new(Arc::clone(&span), Side::Local), Half::new(span, Side::Remote))
}

/// One connection at either end.
#[derive(Debug)]
struct End {
    version: Version,
    decoder: Decoder,
    welcome: bool,
    /// Asked for its filters, and has not answered.
    asked: bool,
    out: Vec<u8>,
    waker: Option<Waker>,
    held: bool,
    heard: Tick,
    said: Tick,
    pinged: bool,
    packet_bytes_max: usize,
    /// Messages that this side has not answered yet.
    unanswered: BTreeSet<PacketId>,
}

impl End {
    fn new(version: Version, now: Tick) -> Self {
        Self {
            version,
            decoder: Decoder::client(version),
            welcome: false,
            asked: false,
            out: Vec::new(),
            waker: None,
            held: false,
            heard: now,
            said: now,
            pinged: false,
            packet_bytes_max: PACKET_BYTES_MAX as usize,
            unanswered: BTreeSet::new(),
        }
    }

    fn wake(&mut self) {
        self.held = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Whether what is retained at the engine has come, before ours is told: where a topic has two
/// homes the engine's value holds, and would otherwise be changed for ours while ours is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// Not asked for yet.
    Open,
    /// A PINGREQ is on its way, and whether a message came since.
    Asked { until: Tick, heard: bool },
    /// It has.
    Closed,
}

/// Two connections and what is between them.
#[derive(Debug)]
struct Span {
    terms: Arc<Terms>,
    tally: Arc<Tally>,
    broker: Arc<Broker>,
    local: End,
    remote: End,
    /// What the engine grants.
    granted: Granted,
    /// Whether the engine had our session.
    was_there: bool,
    began: Tick,
    /// Since when both are welcome and know what is wanted of them.
    up_since: Option<Tick>,
    fence: Fence,
    /// Whether this peer was asked for what is retained.
    told: bool,
    keep_alive_s: u16,
    /// Why it ended.
    why: Option<String>,
    anew: bool,
}

impl Span {
    const fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    fn over(&mut self, why: String) {
        self.why.get_or_insert(why);
        self.local.wake();
        self.remote.wake();
    }

    /// Says something to a side.
    fn say(&mut self, side: Side, packet: &Packet) {
        let end = self.end(side);
        encode(packet, end.version, &mut end.out);
        end.wake();
    }

    /// Whether what a side says has to wait until the other is welcome too.
    const fn waits(&self, side: Side) -> bool {
        matches!(side, Side::Remote) && self.remote.welcome && !self.local.welcome
    }

    fn is_behind(&self, side: Side) -> bool {
        match side {
            Side::Local => self.remote.out.len() > OUT_BYTES_HIGH,
            Side::Remote => {
                // Before MQTT 5 an engine cannot be told how much may be under way.
                self.local.out.len() > OUT_BYTES_HIGH
                    || self.local.unanswered.len() >= usize::from(BRIDGE_WINDOW)
            }
        }
    }

    /// Whether a side is not to be read for now. Never both: what one says may be what the other
    /// waits for.
    fn holds(&self, side: Side) -> bool {
        self.why.is_none()
            && (self.waits(side) || self.is_behind(side) && !self.is_behind(side.other()))
    }

    fn handle_bytes(&mut self, side: Side, buffer: &mut BytesMut, now: Now) {
        self.end(side).heard = now.tick;
        self.end(side).pinged = false;
        while self.why.is_none() && !self.waits(side) {
            match self.end(side).decoder.decode(buffer) {
                Ok(Some(packet)) => self.handle(side, packet, now.tick),
                Ok(None) => break,
                Err(error) => self.over(format!("{} says what is no MQTT: {error}", name(side))),
            }
        }
    }

    fn handle(&mut self, side: Side, packet: Packet, now: Tick) {
        let welcome = self.end(side).welcome;
        match packet {
            Packet::ConnAck(ack) if !welcome => self.connected(side, &ack, now),
            _ if !welcome => self.over(format!("{} begins with no CONNACK", name(side))),
            Packet::Publish(publish) => self.carry(side, publish),
            Packet::PubAck(ack) => self.answer(side, ack, Packet::PubAck),
            Packet::PubRec(ack) => self.answer(side, ack, Packet::PubRec),
            Packet::PubComp(ack) => self.answer(side, ack, Packet::PubComp),
            Packet::PubRel(ack) => self.release(side, ack),
            Packet::SubAck(ack) => self.subscribed(side, &ack, now),
            Packet::PingResp => self.check_fence(now),
            Packet::UnsubAck(_) => {}
            Packet::Disconnect(said) => {
                let words =
                    said.reason_string.map(|words| format!(": {words}")).unwrap_or_default();
                self.over(format!("{} ended it: {}{words}", name(side), said.reason));
            }
            _ => self.over(format!("{} says what no server does", name(side))),
        }
        self.tell_retained();
    }

    fn connected(&mut self, side: Side, ack: &ConnAck, now: Tick) {
        if ack.reason.is_error() {
            let words = ack.granted.reason_string.as_ref();
            let words = words.map(|words| format!(": {words}")).unwrap_or_default();
            return self.over(format!("{} refuses: {}{words}", name(side), ack.reason));
        }
        self.end(side).welcome = true;
        match side {
            Side::Remote => self.greet_local(ack),
            Side::Local => self.begin(ack.session_present, now),
        }
    }

    fn greet_local(&mut self, ack: &ConnAck) {
        self.was_there = ack.session_present;
        self.granted = ack.granted.clone();
        self.keep_alive_s = ack.granted.keep_alive_s.unwrap_or(BRIDGE_KEEP_ALIVE_S);
        if let Some(bytes) = ack.granted.packet_bytes_max.and_then(|max| usize::try_from(max).ok())
        {
            self.remote.packet_bytes_max = bytes.min(self.remote.packet_bytes_max);
        }
        if !ack.session_present {
            // An engine that begins anew begins its identifiers anew: none of them is a repetition.
            self.broker.forget_received(&self.terms.local_id);
        }
        let connect = self.terms.local_connect(&self.granted);
        self.say(Side::Local, &Packet::Connect(Box::new(connect)));
    }

    /// Both are welcome.
    fn begin(&mut self, present: bool, now: Tick) {
        if !present && self.was_there && self.terms.qos == Qos::ExactlyOnce {
            // Our identifiers begin anew, and the engine would take them for repetitions.
            self.anew = true;
            return self.over("this peer has lost its session, and begins anew".to_owned());
        }
        let mine = |text: &str| self.terms.outgoing.iter().any(|filter| filter.as_str() == text);
        let filters = self.broker.filters_of(&self.terms.local_id);
        let filters: Vec<_> = filters.into_iter().filter(|text| !mine(text)).collect();
        if !filters.is_empty() {
            let unsubscribe = Unsubscribe { packet_id: SECOND, filters };
            self.say(Side::Local, &Packet::Unsubscribe(unsubscribe));
        }
        if self.terms.outgoing.is_empty() {
            self.told = true;
        } else {
            let subscribe = self.terms.local_subscribe(FIRST, &self.granted, |_| false);
            self.local.asked = true;
            self.say(Side::Local, &Packet::Subscribe(subscribe));
        }
        if self.terms.incoming.is_empty() {
            self.fence = Fence::Closed;
        } else {
            let subscribe = self.terms.remote_subscribe(FIRST);
            self.remote.asked = true;
            self.say(Side::Remote, &Packet::Subscribe(subscribe));
        }
        if self.was_there && !self.terms.retired.is_empty() {
            let filters = self.terms.retired.clone();
            let unsubscribe = Unsubscribe { packet_id: SECOND, filters };
            self.say(Side::Remote, &Packet::Unsubscribe(unsubscribe));
        }
        self.remote.wake();
        self.check_up(now);
    }

    /// It is up when what either side says comes across: before, whoever speaks there may be told
    /// that nobody listens.
    fn check_up(&mut self, now: Tick) {
        if self.local.welcome && !self.local.asked && !self.remote.asked {
            self.up_since.get_or_insert(now);
        }
    }

    fn subscribed(&mut self, side: Side, ack: &SubAck, now: Tick) {
        let filters = match side {
            Side::Local => &self.terms.outgoing,
            Side::Remote => &self.terms.incoming,
        };
        if ack.packet_id == FIRST {
            let answers = filters.iter().zip(&ack.reasons);
            let refused =
                answers.filter(|(_, reason)| reason.is_error()).map(|(filter, reason)| {
                    format!("{} refuses the filter {}: {reason}", name(side), filter.as_str())
                });
            self.tally.refuse_filters(refused);
            self.end(side).asked = false;
            self.check_up(now);
        }
        if side == Side::Remote {
            let until = now.plus_ms(BRIDGE_FENCE_MS);
            self.fence = Fence::Asked { until, heard: false };
            self.say(Side::Remote, &Packet::PingReq);
        }
    }

    /// What is retained comes before or behind a SUBACK; when nothing came between two answers, it
    /// has all come.
    fn check_fence(&mut self, now: Tick) {
        let Fence::Asked { until, heard } = self.fence else { return };
        if heard && now < until {
            self.fence = Fence::Asked { until, heard: false };
            self.say(Side::Remote, &Packet::PingReq);
        } else {
            self.fence = Fence::Closed;
        }
    }

    /// Asks this peer for what is retained, as soon as the engine's has come and nothing waits:
    /// otherwise a bridge that breaks again and again would fill its queue with it.
    fn tell_retained(&mut self) {
        let quiet = self.fence == Fence::Closed && self.remote.unanswered.is_empty();
        if self.told || !quiet || self.why.is_some() {
            return;
        }
        self.told = true;
        let (terms, fresh) = (Arc::clone(&self.terms), !self.was_there);
        let told = |filter: &_| fresh || !terms.goes_both_ways(filter, Side::Local);
        if terms.outgoing.iter().any(told) {
            let subscribe = terms.local_subscribe(SECOND, &self.granted, told);
            self.say(Side::Local, &Packet::Subscribe(subscribe));
        }
    }

    fn next_deadline(&self) -> Option<Tick> {
        if !self.local.welcome {
            return Some(self.began.plus_ms(CONNECT_MS));
        }
        let (half, whole) = self.silence_ms()?;
        let quiet = self.remote.heard.min(self.remote.said);
        let dead = self.remote.heard.plus_ms(whole);
        Some(if self.remote.pinged { dead } else { quiet.plus_ms(half).min(dead) })
    }

    fn silence_ms(&self) -> Option<(u64, u64)> {
        let whole = u64::from(self.keep_alive_s) * 1000;
        (whole > 0).then_some((whole / 2, whole))
    }

    fn handle_timeout(&mut self, now: Tick) {
        if self.next_deadline().is_none_or(|due| now < due) {
            return;
        }
        match self.silence_ms() {
            _ if !self.local.welcome => {
                let silent = if self.remote.welcome { Side::Local } else { Side::Remote };
                self.over(format!("{} does not answer a CONNECT", name(silent)));
            }
            Some((_, whole)) if now.ms_since(self.remote.heard) >= whole => {
                self.over(format!("the engine was silent for {} s", self.keep_alive_s));
            }
            _ => {
                self.remote.pinged = true;
                self.say(Side::Remote, &Packet::PingReq);
            }
        }
    }
}

/// A side as people call it.
const fn name(side: Side) -> &'static str {
    match side {
        Side::Local => "this peer",
        Side::Remote => "the engine",
    }
}

/// What a client may say of a message (§3.4.2.1): that nobody heard it, only a server says.
const fn of_client(reason: Reason) -> Reason {
    if reason.is_error() { reason } else { Reason::Success }
}
