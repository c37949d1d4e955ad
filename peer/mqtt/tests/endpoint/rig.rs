//! A broker with clients that are machines only: what one side writes the other reads at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use mqtt::codec::{
    Ack, ConnAck, Connect, Decoder, Disconnect, Options, Packet, PacketId, Publish, Qos, Reason,
    SubAck, Subscribe, Unsubscribe, Version, encode,
};
use mqtt::journal::{Change, Table};
use mqtt::{Bounds, Broker, Client, Door, Identity, Notary, Rights, Settings, State};
use shared::cert::Attributes;
use shared::link_state::LinkState;
use shared::name::NodeName;
use shared::policy::{Policy, Who};
use shared::time::{Now, Tick, Timestamp};

/// An endpoint, its clock and what it wrote to its disk.
pub(crate) struct Rig {
    pub(crate) broker: Arc<Broker>,
    pub(crate) now: Now,
    pub(crate) disk: Disk,
}

/// The rows of the file; a connection may have them written.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Rows>>);

pub(crate) type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

impl Disk {
    pub(crate) fn rows(&self) -> Rows {
        self.0.lock().unwrap().clone()
    }

    /// Says whether there was anything.
    fn take(&self, broker: &Broker) -> bool {
        let mut rows = self.0.lock().unwrap();
        let mut any = false;
        while let Some(group) = broker.journal.take() {
            any = true;
            for (row, change) in group.changes {
                match change {
                    Change::Added(value) | Change::Put(value) => drop(rows.insert(row, value)),
                    Change::Gone => drop(rows.remove(&row)),
                }
            }
        }
        any
    }
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub(crate) fn identity(text: &str) -> Arc<Identity> {
    Arc::new(Identity { name: Arc::new(name(text)), attributes: Attributes::default() })
}

pub(crate) fn rights(policy: &Policy, node: &str) -> Rights {
    let (node, attributes) = (name(node), Attributes::default());
    Rights::new(policy, Who { node: &node, attributes: &attributes })
}

/// Here everybody is honest about himself.
struct Honest;

impl Notary for Honest {
    fn sign(&self, state: &LinkState) -> Option<Vec<u8>> {
        minicbor::to_vec(state).ok()
    }

    fn verify(&self, sealed: &[u8], now: Timestamp) -> Option<LinkState> {
        self.peek(sealed).filter(|state| !state.is_over(now))
    }

    fn peek(&self, sealed: &[u8]) -> Option<LinkState> {
        minicbor::decode(sealed).ok()
    }
}

pub(crate) const START: Timestamp = Timestamp::from_s(1_000_000);

impl Rig {
    pub(crate) fn new() -> Self {
        Self::of("alice", Bounds::default())
    }

    pub(crate) fn of(node: &str, bounds: Bounds) -> Self {
        let settings = Settings { node: name(node), run: 7, bounds, purge_retained: true };
        let broker = Arc::new(Broker::new(settings, rights(&Policy::built_in(), node)));
        broker.set_notary(Arc::new(Honest));
        let now = Now { tick: Tick::from_ms(1_000), wall: START };
        Self { broker, now, disk: Disk::default() }
    }

    /// The same peer after a restart: nothing but what was on the disk.
    pub(crate) fn restarted(mut self) -> Self {
        self.sync();
        let mut next = Self::of(self.broker.node().as_str(), self.broker.bounds());
        next.now = self.now;
        for ((table, key), value) in &self.disk.rows() {
            next.broker.recall(*table, key, value, next.now.wall).unwrap();
        }
        next.disk = self.disk;
        next
    }

    /// The disk takes what has gathered; says whether anything had.
    pub(crate) fn sync(&mut self) -> bool {
        self.disk.take(&self.broker)
    }

    /// Time passes.
    pub(crate) fn pass_s(&mut self, s: u64) {
        let ms = s * 1000;
        self.now.tick = self.now.tick.plus_ms(ms);
        self.now.wall = self.now.wall.plus_s(i64::try_from(s).unwrap());
        self.broker.handle_timeout(self.now.wall);
    }

    /// A connection of somebody, before it says anything.
    pub(crate) fn door(&self, who: &str) -> Line {
        self.line(who, false)
    }

    /// The same over a link.
    pub(crate) fn peer_door(&self, who: &str) -> Line {
        self.line(who, true)
    }

    fn line(&self, who: &str, peer: bool) -> Line {
        let door = Door {
            identity: identity(who),
            users: Arc::default(),
            since: None,
            peer,
            bridge: false,
        };
        let client = Client::new(Arc::clone(&self.broker), door, self.now);
        Line::new(client, Arc::clone(&self.broker), self.disk.clone())
    }

    /// A client of alice's that is connected.
    pub(crate) fn client(&self, id: &str) -> Line {
        self.connected(&connect(id)).0
    }

    pub(crate) fn connected(&self, connect: &Connect) -> (Line, ConnAck) {
        self.connected_as("alice", connect)
    }

    pub(crate) fn connected_as(&self, who: &str, connect: &Connect) -> (Line, ConnAck) {
        let mut line = self.door(who);
        line.version = connect.version;
        line.say(&Packet::Connect(Box::new(connect.clone())), self.now);
        let mut heard = line.hear(self.now);
        let Packet::ConnAck(ack) = heard.remove(0) else { panic!("{heard:?}") };
        line.backlog = heard;
        (line, *ack)
    }
}

/// A connection, seen from the client.
pub(crate) struct Line {
    pub(crate) client: Client,
    broker: Arc<Broker>,
    disk: Disk,
    pub(crate) version: Version,
    buffer: BytesMut,
    decoder: Option<Decoder>,
    heard: BytesMut,
    pub(crate) state: State,
    /// Heard, and not asked for yet.
    backlog: Vec<Packet>,
    next_id: u16,
}

impl Line {
    fn new(client: Client, broker: Arc<Broker>, disk: Disk) -> Self {
        Self {
            client,
            broker,
            disk,
            version: Version::V5,
            buffer: BytesMut::new(),
            decoder: None,
            heard: BytesMut::new(),
            state: State::Open,
            backlog: Vec::new(),
            next_id: 0,
        }
    }

    pub(crate) fn id(&mut self) -> PacketId {
        self.next_id += 1;
        PacketId::new(self.next_id).unwrap()
    }

    pub(crate) fn say(&mut self, packet: &Packet, now: Now) {
        let mut out = Vec::new();
        encode(packet, self.version, &mut out);
        self.say_octets(&out, now);
    }

    pub(crate) fn say_octets(&mut self, octets: &[u8], now: Now) {
        self.buffer.extend_from_slice(octets);
        self.client.handle_bytes(&mut self.buffer, now);
    }

    /// Time has passed for the server.
    pub(crate) fn wake(&mut self, now: Now) {
        self.client.handle_timeout(now);
        self.client.resume(&mut self.buffer, now);
    }

    /// The octets that the server says now.
    pub(crate) fn octets(&mut self, now: Now) -> Vec<u8> {
        let mut out = Vec::new();
        self.state = self.client.fill(&mut out, Waker::noop(), now);
        out
    }

    /// Everything the server says now.
    pub(crate) fn hear(&mut self, now: Now) -> Vec<Packet> {
        loop {
            let mut out = Vec::new();
            self.state = self.client.fill(&mut out, Waker::noop(), now);
            self.heard.extend_from_slice(&out);
            if out.is_empty() || self.state == State::Ending {
                break;
            }
        }
        let decoder = self.decoder.get_or_insert_with(|| Decoder::client(self.version));
        let mut packets = std::mem::take(&mut self.backlog);
        while let Some(packet) = decoder.decode(&mut self.heard).unwrap() {
            packets.push(packet);
        }
        packets
    }

    /// The messages among what it says now.
    pub(crate) fn messages(&mut self, now: Now) -> Vec<Publish> {
        let publish = |packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        };
        self.hear(now).into_iter().filter_map(publish).collect()
    }

    /// Their texts.
    pub(crate) fn texts(&mut self, now: Now) -> Vec<String> {
        let messages = self.messages(now);
        messages.iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect()
    }

    /// Subscribes, and does not wait for the answer.
    pub(crate) fn ask_for(&mut self, filter: &str, options: Options, now: Now) {
        let packet_id = self.id();
        let filters = vec![(filter.into(), options)];
        self.say(&Packet::Subscribe(Subscribe { packet_id, id: None, filters }), now);
    }

    pub(crate) fn subscribe(&mut self, filter: &str, options: Options, now: Now) -> Reason {
        self.ask_for(filter, options, now);
        let mut heard = self.hear(now);
        if !heard.iter().any(|packet| matches!(packet, Packet::SubAck(_))) {
            // That of a session that lasts is on the disk first.
            self.disk.take(&self.broker);
            heard.extend(self.hear(now));
        }
        let answer = heard.iter().position(|packet| matches!(packet, Packet::SubAck(_)));
        let Packet::SubAck(SubAck { reasons, .. }) = heard.remove(answer.unwrap()) else {
            unreachable!("it is one");
        };
        self.backlog = heard;
        reasons[0]
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str, now: Now) -> Vec<Packet> {
        let packet_id = self.id();
        let filters = vec![filter.into()];
        self.say(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), now);
        self.hear(now)
    }

    /// Publishes, and gives what is said to that.
    pub(crate) fn publish(&mut self, message: Publish, now: Now) -> Vec<Packet> {
        self.say(&Packet::Publish(message), now);
        self.hear(now)
    }

    pub(crate) fn ack(&mut self, packet_id: PacketId, now: Now) {
        self.say(&Packet::PubAck(success(packet_id)), now);
    }

    pub(crate) fn leave(mut self, reason: Reason, expiry: Option<u32>, now: Now) {
        let goodbye = Disconnect {
            reason,
            session_expiry_s: expiry,
            reason_string: None,
            server_reference: None,
        };
        self.say(&Packet::Disconnect(goodbye), now);
        self.client.handle_closed(now);
    }

    /// The network is gone.
    pub(crate) fn broken(mut self, now: Now) {
        self.client.handle_closed(now);
    }

    /// Why the server ended it, if it did.
    pub(crate) fn ended_with(&mut self, now: Now) -> Option<Reason> {
        let heard = self.hear(now);
        let said = heard.iter().find_map(|packet| match packet {
            Packet::Disconnect(said) => Some(said.reason),
            Packet::ConnAck(ack) if ack.reason.is_error() => Some(ack.reason),
            _ => None,
        });
        assert_eq!(said.is_some() && self.version == Version::V5, self.state == State::Ending);
        said
    }
}

pub(crate) fn success(packet_id: PacketId) -> Ack {
    Ack { packet_id, reason: Reason::Success, reason_string: None }
}

pub(crate) fn connect(id: &str) -> Connect {
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        session_expiry_s: 0,
        receive_max: u16::MAX,
        packet_bytes_max: None,
        alias_max: 0,
        wants_response_information: false,
        wants_problem_information: true,
        auth_method: None,
        client_id: id.into(),
        will: None,
        username: None,
        has_password: false,
    }
}

/// A client whose session lasts for an hour.
pub(crate) fn lasting(id: &str) -> Connect {
    Connect { clean_start: false, session_expiry_s: 3_600, ..connect(id) }
}

pub(crate) fn at(qos: Qos) -> Options {
    Options { qos, ..Options::default() }
}

pub(crate) fn message(topic: &str, text: &str, qos: Qos, id: Option<PacketId>) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.into(),
        packet_id: id,
        alias: None,
        expiry_s: None,
        subscription_ids: Vec::new(),
        properties: Bytes::new(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// At QoS 0.
pub(crate) fn plain(topic: &str, text: &str) -> Publish {
    message(topic, text, Qos::AtMostOnce, None)
}

pub(crate) fn kept(topic: &str, text: &str) -> Publish {
    Publish { retain: true, ..plain(topic, text) }
}
