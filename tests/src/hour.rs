//! A clock's server and client on real sockets: `nts` with the least that it needs around it.
//!
//! Both doors are threads of the test, so that it sees every verdict and can turn the clock.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nts::client::{Association, Heard, Protection, QUESTION_RANDOM_BYTES, Refused};
use nts::limits::{COOKIES_MAX, DATAGRAM_BYTES_MAX};
use nts::ntp::{Leap, ReferenceId, Span, Stamp};
use nts::records::{self, Grant, Offer, Reader, Request};
use nts::server::{Asked, Host, Reading, Server, Settings, Verdict};
use nts::{COOKIE_BYTES, Fingerprint, Key, Keys, Ring, Session, export};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned};
use shared::cert::NodeCert;

use crate::adversary::Credentials;
use crate::raw;

/// How long a door waits before it looks whether it is to close.
const LOOK: Duration = Duration::from_millis(50);
/// How long either end of a key exchange waits for the other.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a client waits for an answer.
const SILENCE: Duration = Duration::from_secs(2);

/// Nanoseconds since 1970, by the system's clock.
#[must_use]
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

fn wall_s() -> u64 {
    u64::try_from(wall_ns() / 1_000_000_000).unwrap()
}

/// What all threads of a server share.
struct Shared {
    ring: Mutex<Ring>,
    revoked: Mutex<Vec<Fingerprint>>,
    verdicts: Mutex<Vec<Verdict>>,
    ahead_ns: AtomicI64,
    name: Mutex<[u8; 4]>,
    is_silent: AtomicBool,
    is_forgetful: AtomicBool,
    is_stripped: AtomicBool,
    is_over: AtomicBool,
}

/// Who gets keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Everybody, and nobody is asked for a certificate.
    Any,
    /// Who shows a certificate; here any will do.
    Certified,
}

/// A server of time and of keys, on one address; closed when it goes away.
pub struct Hour {
    exchange: SocketAddr,
    time: SocketAddr,
    shared: Arc<Shared>,
    doors: Vec<JoinHandle<()>>,
}

impl Hour {
    /// Opens both doors for a node on an address of this machine.
    ///
    /// # Panics
    /// If the address cannot be bound.
    #[must_use]
    pub fn open(address: Ipv4Addr, credentials: &Credentials, settings: Settings) -> Self {
        Self::open_for(Clients::Any, address, credentials, settings)
    }

    /// The same, with keys for these clients only.
    ///
    /// # Panics
    /// If the address cannot be bound.
    #[must_use]
    pub fn open_for(
        clients: Clients,
        address: Ipv4Addr,
        credentials: &Credentials,
        settings: Settings,
    ) -> Self {
        let ring = Ring::new(wall_s(), &host::random::bytes().unwrap(), 1);
        let shared = Arc::new(Shared {
            ring: Mutex::new(ring),
            revoked: Mutex::default(),
            verdicts: Mutex::default(),
            ahead_ns: AtomicI64::new(0),
            name: Mutex::new(*b"TEST"),
            is_silent: AtomicBool::new(false),
            is_forgetful: AtomicBool::new(false),
            is_stripped: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let udp = UdpSocket::bind((address, 0)).unwrap();
        udp.set_read_timeout(Some(LOOK)).unwrap();
        let time = udp.local_addr().unwrap();
        let port = time.port();
        let tcp = TcpListener::bind((address, 0)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let exchange = tcp.local_addr().unwrap();
        let config = match clients {
            Clients::Any => raw::door_config(credentials, export::ALPN),
            Clients::Certified => {
                let mut config = ServerConfig::clone(&raw::server_config(credentials));
                config.alpn_protocols = vec![export::ALPN.to_vec()];
                Arc::new(config)
            }
        };
        let (here, there) = (Arc::clone(&shared), Arc::clone(&shared));
        let doors = vec![
            std::thread::spawn(move || answer_all(&udp, &here, settings)),
            std::thread::spawn(move || exchange_all(&tcp, &there, &config, port)),
        ];
        Self { exchange, time, shared, doors }
    }

    /// Where keys are exchanged; the port of the time is told there.
    #[must_use]
    pub const fn exchange(&self) -> SocketAddr {
        self.exchange
    }

    /// Where the time is asked for.
    #[must_use]
    pub const fn time(&self) -> SocketAddr {
        self.time
    }

    /// Says that this node is the root it hangs on.
    pub fn name(&self, node: &str) {
        let [a, b, c, d, ..] = shared::id::sha256(node.as_bytes());
        *lock(&self.shared.name) = [a, b, c, d];
    }

    /// Turns the clock: from now on it is ahead by so much.
    pub fn turn(&self, ahead_ns: i64) {
        self.shared.ahead_ns.store(ahead_ns, Ordering::Relaxed);
    }

    /// From now on it answers no question about the time, or all of them again.
    pub fn hush(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// From now on no cookie opens, whenever it was given.
    pub fn forget_always(&self, is_forgetful: bool) {
        self.shared.is_forgetful.store(is_forgetful, Ordering::Relaxed);
    }

    /// From now on somebody on the way strips NTS from all answers, so that they look like NTP.
    pub fn strip(&self, is_stripped: bool) {
        self.shared.is_stripped.store(is_stripped, Ordering::Relaxed);
    }

    /// Takes the time away from whoever has this fingerprint.
    pub fn revoke(&self, fingerprint: Fingerprint) {
        lock(&self.shared.revoked).push(fingerprint);
    }

    /// Loses the keys, as a server does that did not keep them.
    pub fn forget(&self) {
        let ring = Ring::new(wall_s(), &host::random::bytes().unwrap(), 1_000_000);
        *lock(&self.shared.ring) = ring;
    }

    /// What became of each datagram so far.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        lock(&self.shared.verdicts).clone()
    }
}

impl Drop for Hour {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.doors.drain(..).for_each(|door| door.join().unwrap());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Shared {
    fn now(&self) -> Stamp {
        Stamp::from_unix_ns(wall_ns() + self.ahead_ns.load(Ordering::Relaxed))
    }
}

impl Host for &Shared {
    fn random(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(16) {
            let random: [u8; 16] = host::random::bytes().unwrap();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    fn admits(&mut self, fingerprint: &Fingerprint) -> bool {
        !lock(&self.revoked).contains(fingerprint)
    }

    fn now(&mut self) -> Stamp {
        Shared::now(self)
    }
}

fn answer_all(socket: &UdpSocket, shared: &Shared, settings: Settings) {
    let mut server = Server::new(settings, 7);
    let begun = Instant::now();
    let (mut room, mut out) = ([0; DATAGRAM_BYTES_MAX + 1], [0; DATAGRAM_BYTES_MAX]);
    while !shared.is_over.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut room) else { continue };
        let received = shared.now();
        let clock = Reading {
            leap: Leap::Steady,
            stratum: 1,
            precision: -23,
            root_delay: Span::from_ns(0),
            root_dispersion: Span::from_ns(10_000),
            reference_id: ReferenceId::new(*lock(&shared.name)),
            reference: received,
        };
        let asked = Asked {
            datagram: &room[..len],
            from: from.ip(),
            received,
            now_s: wall_s(),
            now_ms: u64::try_from(begun.elapsed().as_millis()).unwrap(),
        };
        if shared.is_forgetful.load(Ordering::Relaxed) {
            let ring = Ring::new(wall_s(), &host::random::bytes().unwrap(), 1_000_000);
            *lock(&shared.ring) = ring;
        }
        let ring = lock(&shared.ring);
        let verdict = server.handle(&asked, &clock, &ring, &mut &*shared, &mut out);
        drop(ring);
        if !verdict.is_empty() && !shared.is_silent.load(Ordering::Relaxed) {
            let stripped = shared.is_stripped.load(Ordering::Relaxed);
            let len = if stripped { verdict.len().min(48) } else { verdict.len() };
            socket.send_to(&out[..len], from).unwrap();
        }
        lock(&shared.verdicts).push(verdict);
    }
}

fn exchange_all(door: &TcpListener, shared: &Shared, config: &Arc<ServerConfig>, port: u16) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let Ok((socket, _)) = door.accept() else {
            std::thread::park_timeout(LOOK);
            continue;
        };
        // Whoever hangs up or does not understand us has had their turn.
        let _ = exchange(socket, shared, Arc::clone(config), port);
    }
}

fn exchange(
    socket: TcpStream,
    shared: &Shared,
    config: Arc<ServerConfig>,
    port: u16,
) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    let reader = read_message(&mut stream)?;
    let said = match Request::read(&reader) {
        Ok(request) => {
            let keys = keys(&stream.conn);
            let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
            let fingerprint = shown.map_or(Fingerprint::NONE, |leaf| fingerprint_of(leaf));
            let session = Session { keys, fingerprint, until_s: 0 };
            let mut cookies = [[0; COOKIE_BYTES]; COOKIES_MAX];
            for cookie in &mut cookies {
                let nonce = host::random::bytes().unwrap();
                lock(&shared.ring).mint(&session, wall_s(), nonce, cookie).unwrap();
            }
            records::answer(&request, &Offer { server: None, port: Some(port) }, &cookies)
        }
        Err(problem) => records::problem(problem),
    };
    stream.write_all(&said)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The fingerprint of a node's certificate.
///
/// # Panics
/// If it is none of ours.
#[must_use]
pub fn fingerprint_of(leaf: &[u8]) -> Fingerprint {
    let spki = NodeCert::read(leaf).unwrap().spki;
    Fingerprint::new(*spki.as_bytes())
}

fn read_message(stream: &mut impl std::io::Read) -> std::io::Result<Reader> {
    let (mut reader, mut room) = (Reader::default(), [0; 1024]);
    loop {
        let len = stream.read(&mut room)?;
        if len == 0 || reader.take(&room[..len]).map_err(std::io::Error::other)? {
            return Ok(reader);
        }
    }
}

fn keys<S>(connection: &ConnectionCommon<S>) -> Keys {
    let export = |context: &[u8]| {
        let key = connection.export_keying_material([0; 32], export::LABEL, Some(context));
        Key::new(key.unwrap())
    };
    Keys { c2s: export(&export::C2S), s2c: export(&export::S2C) }
}

/// A client of time: one association with a server of whoever it may be.
pub struct Asker {
    association: Association,
    socket: UdpSocket,
}

impl Asker {
    /// Exchanges keys, as somebody or as nobody, and asks nothing yet. Believes every certificate.
    ///
    /// # Panics
    /// If the server is not there or does not speak as it must.
    #[must_use]
    pub fn keyed(exchange: SocketAddr, credentials: Option<&Credentials>) -> Self {
        Self::try_keyed(exchange, credentials).unwrap()
    }

    /// The same, or what the other side said instead.
    ///
    /// # Errors
    /// The alert, the end of the connection, or why the answer grants nothing.
    ///
    /// # Panics
    /// If the server is not there.
    pub fn try_keyed(
        exchange: SocketAddr,
        credentials: Option<&Credentials>,
    ) -> Result<Self, String> {
        let mut stream = Self::dial(exchange, credentials, export::ALPN);
        let said = stream.write_all(&records::request()).and_then(|()| read_message(&mut stream));
        let grant = Grant::read(&said.map_err(|error| error.to_string())?);
        let grant = grant.map_err(|error| error.to_string())?;
        let port = grant.agreed.port.unwrap_or(123);
        let mut association = Association::new(Protection::Nts);
        association.exchange_begins(0);
        association.keyed(keys(&stream.conn), grant.cookies);
        Ok(Self { association, socket: socket_to(exchange.ip(), port) })
    }

    /// Says any octets at the door for keys, and hears all that is answered.
    ///
    /// # Errors
    /// The alert or the end of the connection.
    ///
    /// # Panics
    /// If the server is not there.
    pub fn say(exchange: SocketAddr, alpn: &[u8], octets: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = Self::dial(exchange, None, alpn);
        let mut heard = Vec::new();
        stream.write_all(octets)?;
        std::io::Read::read_to_end(&mut stream, &mut heard)?;
        Ok(heard)
    }

    fn dial(
        exchange: SocketAddr,
        credentials: Option<&Credentials>,
        alpn: &[u8],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut config = raw::permissive(credentials);
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::IpAddress(exchange.ip().into());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(exchange).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(connection, socket)
    }

    /// A client without keys.
    #[must_use]
    pub fn plain(at: SocketAddr) -> Self {
        let association = Association::new(Protection::None);
        Self { association, socket: socket_to(at.ip(), at.port()) }
    }

    /// Asks once; none is silence for as long as the time-out.
    ///
    /// # Panics
    /// If there is nothing to ask with.
    pub fn ask(&mut self) -> Option<Result<Heard, Refused>> {
        let mut room = [0; DATAGRAM_BYTES_MAX];
        let random: [u8; QUESTION_RANDOM_BYTES] = host::random::bytes().unwrap();
        let len = self.association.ask(wall_ns(), &random, &mut room).unwrap();
        self.socket.send(&room[..len]).unwrap();
        let len = self.socket.recv(&mut room).ok()?;
        Some(self.association.hear(&room[..len], wall_ns()))
    }

    /// Where the time is asked for, as the exchange told.
    ///
    /// # Panics
    /// Never: it is connected.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket.peer_addr().unwrap().port()
    }

    /// The association.
    #[must_use]
    pub const fn association(&self) -> &Association {
        &self.association
    }
}

fn socket_to(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.connect((address, port)).unwrap();
    socket
}
