//! One connection of a client, as a machine without I/O.
//!
//! Call order. [`Client::new`]; then `handle_bytes` for what was read, `handle_timeout` at
//! `next_deadline`, and [`Client::fill`] whenever the last output is written, which says whether
//! the connection goes on. `is_held` says whether to read at all: a publisher whose receivers do
//! not keep up is held back for a moment by its own socket. `handle_closed` when the transport
//! ends.
//!
//! **Invariant:** acknowledgements leave in the order of what they acknowledge (MQTT 5.0 §4.6), and
//! none before its message is safe.

mod connecting;
mod metering;
mod owed;
mod publishing;
mod routes;
mod subscribing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use bytestring::ByteString;
use shared::policy::Standing;
use shared::time::{Now, Tick, Timestamp};

use crate::broker::{Broker, Leaving};
use crate::codec::{
    ConnAck, DecodeError, Decoder, Disconnect, Granted, Packet, Reason, Version, encode,
};
use crate::held::Held;
use crate::identity::Identity;
use crate::limits::{CONNECT_MS, OUT_BYTES_HIGH, OWED_MAX, PEER_WINDOW_BYTES};
use crate::publication::Publication;
use crate::pump::{Pump, Pumped};
use crate::quota::Meter;
use crate::receipt::Receipt;
use crate::session::Session;
use owed::{Owed, Said};
use routes::Routes;

/// By which door a client came.
#[derive(Debug, Clone)]
pub struct Door {
    /// Who it is by its certificate, or by being on this machine.
    pub identity: Arc<Identity>,
    /// Whom user names stand for; empty where a certificate speaks.
    pub users: Arc<BTreeMap<String, Arc<Identity>>>,
    /// Since when the certificate is valid; none for this peer itself.
    pub since: Option<Timestamp>,
    /// Whether it is a link, and the other side a peer.
    pub peer: bool,
    /// Whether it is this peer's own bridge.
    pub bridge: bool,
}

/// What to do with the connection after the output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To go on.
    Open,
    /// To end it: half-close, read on for a moment, close.
    Ending,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    broker: Arc<Broker>,
    door: Door,
    decoder: Decoder,
    open: Option<Box<Open>>,
    /// What it is told, before what its session has for it.
    replies: Vec<u8>,
    ending: Option<Reason>,
    /// Why it ended, for the log.
    why: Option<&'static str>,
    heard: Tick,
    /// Whether a pause has left whole packets in the buffer.
    is_left: bool,
    /// How long it may be silent.
    silence_ms: Option<u64>,
}

/// A connection after its CONNECT.
#[derive(Debug)]
struct Open {
    session: Arc<Session>,
    connection: u64,
    version: Version,
    /// It said that it is a bridge, as Mosquitto's are.
    bridge: bool,
    /// Larger packets it does not take.
    packet_bytes_max: u32,
    identity: Arc<Identity>,
    since: Option<Timestamp>,
    /// Under which rights it was found, and which rules mean the client.
    standing: (u64, Standing),
    owed: VecDeque<Owed>,
    /// Those of them that are for messages whose identifiers the session does not hold.
    unanswered: usize,
    /// For all that was read at once.
    receipt: Option<Arc<Receipt>>,
    routes: Routes,
    /// Boxed: whoever only listens has none.
    publication: Option<Box<Publication>>,
    /// Receivers that are waited for.
    held: Held,
    /// Bytes said to a peer, and those of them that it took.
    said_bytes: u64,
    taken_bytes: u64,
    /// Topics by their aliases from the client.
    aliases: Vec<Option<ByteString>>,
    /// Whether there is more of what is retained that it is to be told.
    is_reading: bool,
    /// Whether the policy's quotas are about it, and what it has used of one, if one means it.
    is_counted: bool,
    meter: Option<Arc<Meter>>,
    /// Until when nothing more is taken from it, because it has used up its quota.
    paused_until: Option<Tick>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stop {
    reason: Reason,
    what: &'static str,
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self { reason: error.reason, what: error.what }
    }
}

const fn stop(reason: Reason, what: &'static str) -> Stop {
    Stop { reason, what }
}

impl Client {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(broker: Arc<Broker>, door: Door, now: Now) -> Self {
        Self {
            broker,
            door,
            decoder: Decoder::server(),
            open: None,
            replies: Vec::new(),
            ending: None,
            why: None,
            heard: now.tick,
            is_left: false,
            silence_ms: Some(CONNECT_MS),
        }
    }

    /// Takes what was read; what is no whole packet stays in the buffer.
    pub fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        if self.ending.is_some() {
            return buffer.clear();
        }
        while !self.is_paused() {
            match self.decoder.decode(buffer) {
                Ok(Some(packet)) => {
                    self.heard = now.tick;
                    if let Err(stop) = self.handle(packet, now) {
                        return self.fail(stop, now);
                    }
                    if self.ending.is_some() {
                        return buffer.clear();
                    }
                }
                Ok(None) => break,
                Err(error) => return self.fail(error.into(), now),
            }
        }
        self.is_left = self.is_paused();
        if let Some(open) = &mut self.open {
            // What comes next waits for itself.
            open.receipt = None;
            if let Some(publication) = &mut open.publication {
                publication.rest();
            }
            open.held.begin(now.tick);
        }
    }

    fn handle(&mut self, packet: Packet, now: Now) -> Result<(), Stop> {
        let Self { broker, replies, open: Some(open), .. } = self else {
            return match packet {
                Packet::Connect(connect) => self.connect(&connect, now),
                _ => Err(stop(Reason::ProtocolError, "something before CONNECT")),
            };
        };
        match packet {
            Packet::Publish(publish) if self.door.peer => {
                open.hear_peer(broker, &publish, now.wall)
            }
            Packet::Publish(publish) => open.publish(broker, publish, replies, now),
            Packet::PubAck(ack) => open.acknowledged(broker, &ack, false),
            Packet::PubRec(ack) => open.acknowledged(broker, &ack, true),
            Packet::PubRel(ack) => open.released(broker, &ack, replies),
            Packet::PubComp(ack) => open.completed(broker, &ack),
            Packet::Subscribe(subscribe) => open.subscribe(broker, subscribe, replies, now),
            Packet::Unsubscribe(unsubscribe) => open.unsubscribe(broker, &unsubscribe, replies),
            Packet::PingReq => {
                encode(&Packet::PingResp, open.version, replies);
                Ok(())
            }
            Packet::Disconnect(said) => self.said_goodbye(&said, now),
            Packet::Auth(_) => Err(stop(Reason::ProtocolError, "AUTH without a method")),
            Packet::Connect(_) => Err(stop(Reason::ProtocolError, "a second CONNECT")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(stop(Reason::ProtocolError, "a packet of a server"))
            }
        }
    }

    fn said_goodbye(&mut self, said: &Disconnect, now: Now) -> Result<(), Stop> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let before = open.session.lock().expiry_s;
        if before == 0 && said.session_expiry_s.is_some_and(|expiry_s| expiry_s > 0) {
            self.open = Some(open);
            return Err(stop(Reason::ProtocolError, "a session made to last when it is left"));
        }
        let clean = said.reason == Reason::Success;
        let how = if clean { Leaving::Said } else { Leaving::Broken };
        self.broker.leave(&open.session, open.connection, how, said.session_expiry_s, now.wall);
        self.ending = Some(Reason::Success);
        Ok(())
    }

    /// Ends the connection; the client is told why, as far as its version has words for it.
    fn fail(&mut self, stop: Stop, now: Now) {
        self.why = Some(stop.what);
        self.ending = Some(stop.reason);
        match self.open.take() {
            Some(mut open) => {
                let _ = open.settle(&mut self.replies, Waker::noop(), now.tick);
                self.broker.leave(&open.session, open.connection, Leaving::Broken, None, now.wall);
                if open.version == Version::V5 {
                    let words = Some(ByteString::from_static(stop.what));
                    let fits = open.say(&goodbye(stop.reason, words), &mut self.replies);
                    if fits.is_err() {
                        encode(&goodbye(stop.reason, None), open.version, &mut self.replies);
                    }
                }
            }
            None => self.refuse(stop.reason),
        }
    }

    /// A CONNACK that says no; a client that did not say which MQTT it speaks hears nothing, and
    /// neither does one before MQTT 5 whose CONNECT is none (MQTT 3.1.1 §3.1.4).
    fn refuse(&mut self, reason: Reason) {
        self.broker.counters.refused.add(1);
        let version = match (self.decoder.said(), reason) {
            (Some(version), _) if version == Version::V5 || reason.has_return_code() => version,
            (Some(_), _) => return,
            (None, Reason::UnsupportedProtocolVersion) => Version::V311,
            (None, _) => return,
        };
        let granted = Granted::default();
        let ack = ConnAck { session_present: false, reason, granted };
        encode(&Packet::ConnAck(Box::new(ack)), version, &mut self.replies);
    }

    /// Fills `out`, which is empty, with what is to be written, and says what comes then; `waker`
    /// is woken when there is more.
    pub fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        let mut lost = None;
        if let Some(open) = &mut self.open {
            let settled = open.settle(&mut self.replies, waker, now.tick);
            if open.is_reading {
                open.is_reading = self.broker.read_on(&open.session, now.wall);
            }
            let mut pump = Pump {
                connection: open.connection,
                out: &mut self.replies,
                now: now.wall,
                journal: &self.broker.journal,
                sent: 0,
            };
            let window = PEER_WINDOW_BYTES as u64;
            let full = self.door.peer && open.said_bytes - open.taken_bytes >= window;
            let pumped = if full { Pumped::Done } else { open.session.pump(&mut pump, waker) };
            if pump.sent > 0 {
                self.broker.counters.sent.add(pump.sent);
            }
            lost = match pumped {
                Pumped::Done => settled.err(),
                Pumped::End(reason) => Some(stop(reason, words(reason))),
                Pumped::Lost => {
                    Some(stop(Reason::SessionTakenOver, words(Reason::SessionTakenOver)))
                }
            };
        }
        if let Some(stop) = lost {
            self.fail(stop, now);
        }
        if let Some(open) = &mut self.open {
            open.said_bytes += self.replies.len() as u64;
        }
        std::mem::swap(out, &mut self.replies);
        if self.ending.is_some() { State::Ending } else { State::Open }
    }

    /// Whether nothing is to be read for now; `waker` is woken when that changes.
    pub fn is_held(&mut self, waker: &Waker) -> bool {
        let Some(open) = &mut self.open else { return false };
        let held = open.held.look(waker);
        held || open.paused_until.is_some()
            || open.owed.len() >= OWED_MAX
            || self.replies.len() > OUT_BYTES_HIGH
    }

    /// When [`Client::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let silence = self.silence_ms.map(|ms| self.heard.plus_ms(ms));
        let silence = silence.filter(|_| !self.is_paused());
        let held = self.open.as_ref().and_then(|open| open.held.due());
        let owed = self.open.as_ref().and_then(|open| open.owed_until());
        let paused = self.open.as_ref().and_then(|open| open.paused_until);
        [silence, owed, paused, held].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(open) = &mut self.open {
            open.held.leave(now.tick);
        }
        self.end_pause(now.tick);
        let due = self.silence_ms.is_some_and(|ms| self.heard.plus_ms(ms) <= now.tick);
        if due && !self.is_paused() && self.ending.is_none() {
            if self.open.is_some() {
                let reason = Reason::KeepAliveTimeout;
                self.fail(stop(reason, words(reason)), now);
            } else {
                self.ending = Some(Reason::MaximumConnectTime);
                self.why = Some("no CONNECT in time");
            }
        }
    }

    /// The transport ended.
    pub fn handle_closed(&mut self, now: Now) {
        if let Some(open) = self.open.take() {
            self.broker.leave(&open.session, open.connection, Leaving::Broken, None, now.wall);
        }
        self.ending.get_or_insert(Reason::Unspecified);
    }

    /// Who it is and by which identifier, once it has said CONNECT.
    #[must_use]
    pub fn who(&self) -> Option<(&Identity, &str)> {
        let open = self.open.as_ref()?;
        Some((&open.identity, &open.session.owner.client))
    }

    /// Why it ended, if that was not its own will.
    #[must_use]
    pub const fn why(&self) -> Option<(Reason, &'static str)> {
        match (self.ending, self.why) {
            (Some(reason), Some(what)) => Some((reason, what)),
            _ => None,
        }
    }
}

impl Drop for Client {
    /// Whatever happened to its task, its session does not wait for it.
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.session.end_connection(Reason::Unspecified);
        }
    }
}

const fn goodbye(reason: Reason, reason_string: Option<ByteString>) -> Packet {
    let (session_expiry_s, server_reference) = (None, None);
    Packet::Disconnect(Disconnect { reason, session_expiry_s, reason_string, server_reference })
}

const fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::SessionTakenOver => "another connection has the session",
        Reason::AdministrativeAction => "this identity is not let in any more",
        Reason::ServerShuttingDown => "this peer stops",
        Reason::KeepAliveTimeout => "nothing was heard for one and a half keep-alives",
        Reason::QuotaExceeded => "a quota is used up",
        _ => "the connection ended",
    }
}
