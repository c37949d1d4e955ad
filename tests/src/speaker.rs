//! A program that speaks MQTT, octet by octet if it has to; every wait of it is bounded.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt::codec::{
    Ack, ConnAck, Connect, Decoder, Options, Packet, PacketId, Publish, Qos, Reason, Subscribe,
    Version, encode,
};
use peer::control::ShortPath;

use crate::{Peer, SOON};

/// The connection below it.
trait Wire: Read + Write + Send {
    fn wait(&self, at_most: Duration);
}

impl Wire for TcpStream {
    fn wait(&self, at_most: Duration) {
        self.set_read_timeout(Some(at_most)).unwrap();
    }
}

impl Wire for UnixStream {
    fn wait(&self, at_most: Duration) {
        self.set_read_timeout(Some(at_most)).unwrap();
    }
}

/// A client of a peer's endpoint.
pub struct Speaker {
    wire: Box<dyn Wire>,
    decoder: Decoder,
    version: Version,
    buffer: BytesMut,
    heard: VecDeque<Packet>,
    next_id: u16,
}

impl Speaker {
    /// Connects over the bundle's Unix socket and says nothing yet.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn at(peer: &Peer) -> Self {
        let short = ShortPath::to(peer.bundle(), peer::mqtt::SOCKET).unwrap();
        Self::over(Box::new(UnixStream::connect(&short.path).unwrap()))
    }

    /// Connects over TCP and says nothing yet.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn over_tcp(address: &str) -> Self {
        Self::over(Box::new(TcpStream::connect(address).unwrap()))
    }

    fn over(wire: Box<dyn Wire>) -> Self {
        let version = Version::V5;
        let decoder = Decoder::client(version);
        let (buffer, heard) = (BytesMut::new(), VecDeque::new());
        Self { wire, decoder, version, buffer, heard, next_id: 0 }
    }

    /// What is heard is of this version.
    pub fn expect(&mut self, version: Version) {
        self.version = version;
        self.decoder = Decoder::client(version);
    }

    /// Connects to a peer as a client with a clean session.
    #[must_use]
    pub fn connected(peer: &Peer, client_id: &str) -> Self {
        let mut speaker = Self::at(peer);
        let ack = speaker.connect(&peer::mqtt::plain_connect(Version::V5, client_id));
        assert_eq!(ack.reason, Reason::Success);
        speaker
    }

    /// Connects to a peer as a client whose session lasts for an hour; says whether it was there.
    #[must_use]
    pub fn lasting(peer: &Peer, client_id: &str) -> (Self, bool) {
        let mut speaker = Self::at(peer);
        let plain = peer::mqtt::plain_connect(Version::V5, client_id);
        let connect = Connect { clean_start: false, session_expiry_s: 3_600, ..plain };
        let ack = speaker.connect(&connect);
        assert_eq!(ack.reason, Reason::Success);
        (speaker, ack.session_present)
    }

    /// Says CONNECT and hears the answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn connect(&mut self, connect: &Connect) -> ConnAck {
        self.expect(connect.version);
        self.say(&Packet::Connect(Box::new(connect.clone())));
        match self.hear() {
            Some(Packet::ConnAck(ack)) => *ack,
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Says a packet.
    pub fn say(&mut self, packet: &Packet) {
        let mut out = Vec::new();
        encode(packet, self.version, &mut out);
        self.say_octets(&out);
    }

    /// Says anything; whoever is not heard any more does not mind.
    pub fn say_octets(&mut self, octets: &[u8]) {
        let _ = self.wire.write_all(octets);
    }

    /// The next packet; `None` if the connection ended.
    ///
    /// # Panics
    /// If nothing comes.
    pub fn hear(&mut self) -> Option<Packet> {
        self.hear_within(SOON).unwrap_or_else(|| panic!("nothing was said within {SOON:?}"))
    }

    /// The next packet if one comes in time; `None` within if the connection ended.
    pub fn hear_within(&mut self, patience: Duration) -> Option<Option<Packet>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(packet) = self.heard.pop_front() {
                return Some(Some(packet));
            }
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(Some(packet));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            self.wire.wait(left.max(Duration::from_millis(1)));
            let mut scratch = [0; 65_536];
            match self.wire.read(&mut scratch) {
                Ok(0) => return Some(None),
                Ok(length) => self.buffer.extend_from_slice(&scratch[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Err(_) => return Some(None),
            }
        }
    }

    /// Waits for a packet of a kind; others wait for their turn.
    ///
    /// # Panics
    /// If none comes.
    pub fn await_packet<T>(&mut self, of: impl Fn(&Packet) -> Option<T>) -> T {
        let mut others = VecDeque::new();
        loop {
            let Some(packet) = self.hear() else { panic!("it ended after {others:?}") };
            if let Some(found) = of(&packet) {
                others.append(&mut self.heard);
                self.heard = others;
                return found;
            }
            others.push_back(packet);
        }
    }

    /// Subscribes and hears what was granted.
    pub fn subscribe(&mut self, filter: &str, qos: Qos) -> Reason {
        let packet_id = self.id();
        let options = Options { qos, ..Options::default() };
        let filters = vec![(filter.into(), options)];
        self.say(&Packet::Subscribe(Subscribe { packet_id, id: None, filters }));
        self.await_packet(|packet| match packet {
            Packet::SubAck(ack) if ack.packet_id == packet_id => Some(ack.reasons[0]),
            _ => None,
        })
    }

    /// Publishes without waiting.
    pub fn begin(&mut self, topic: &str, text: &str, qos: Qos, retain: bool) -> Option<PacketId> {
        let packet_id = (qos != Qos::AtMostOnce).then(|| self.id());
        self.say(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic: topic.into(),
            packet_id,
            alias: None,
            expiry_s: None,
            subscription_ids: Vec::new(),
            properties: Bytes::new(),
            payload: Bytes::copy_from_slice(text.as_bytes()),
        }));
        packet_id
    }

    /// Publishes at QoS 1 and hears what became of it.
    pub fn publish(&mut self, topic: &str, text: &str) -> Reason {
        let id = self.begin(topic, text, Qos::AtLeastOnce, false);
        self.await_ack(id.unwrap())
    }

    /// Publishes something to be retained.
    pub fn retain(&mut self, topic: &str, text: &str) -> Reason {
        let id = self.begin(topic, text, Qos::AtLeastOnce, true);
        self.await_ack(id.unwrap())
    }

    /// Waits for a PUBACK.
    pub fn await_ack(&mut self, id: PacketId) -> Reason {
        self.await_packet(|packet| match packet {
            Packet::PubAck(ack) if ack.packet_id == id => Some(ack.reason),
            _ => None,
        })
    }

    /// The next message, acknowledged if it is of QoS 1.
    pub fn message(&mut self) -> Publish {
        let message = self.await_packet(|packet| match packet {
            Packet::Publish(message) => Some(message.clone()),
            _ => None,
        });
        if let Some(packet_id) = message.packet_id.filter(|_| message.qos == Qos::AtLeastOnce) {
            self.say(&Packet::PubAck(Ack {
                packet_id,
                reason: Reason::Success,
                reason_string: None,
            }));
        }
        message
    }

    /// The text of the next message.
    pub fn text(&mut self) -> String {
        String::from_utf8(self.message().payload.to_vec()).unwrap()
    }

    /// Why it was ended; `None` within if nothing was said about it.
    ///
    /// # Panics
    /// If it goes on.
    pub fn ended(&mut self) -> Option<Reason> {
        let mut reason = None;
        loop {
            match self.hear() {
                Some(Packet::Disconnect(said)) => reason = Some(said.reason),
                Some(Packet::ConnAck(ack)) if ack.reason.is_error() => reason = Some(ack.reason),
                Some(_) => {}
                None => return reason,
            }
        }
    }

    fn id(&mut self) -> PacketId {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        PacketId::new(self.next_id).unwrap()
    }
}
