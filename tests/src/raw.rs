//! TLS by hand: a client and a server that present anything, accept anyone, and read what they get.
//!
//! A refused TLS 1.3 client believes that it is connected (its handshake ends before the refusal
//! arrives), so both read until the end and count every application byte that is not a refusal.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, ServerConnection, SignatureScheme, StreamOwned, WantsVerifier,
};
use shared::id::InstanceId;
use shared::name::NetworkName;
use shared::name::NodeName;
use shared::presence::Presence;
use shared::refusal::Code;
use shared::wire::{ALPN, ALPN_RELAY, Body, FrameError, Greeting, Kind, VERSION, split};
use tls::{Role, refusal_of};

use crate::adversary::Credentials;

/// How long an ear waits for the next byte; whoever is silent for so long has failed a test.
const PATIENCE: Duration = crate::SOON;

/// What was heard until the end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hearing {
    /// The refusal: from an alert or a REFUSED frame.
    pub code: Option<Code>,
    /// Bytes of frames that were no refusal.
    pub application_bytes: usize,
    /// Frames that were no refusal.
    pub bodies: Vec<Body>,
    /// How the connection ended; `silence` if it did not.
    pub end: String,
}

impl Hearing {
    /// Asserts a refusal and that nothing else passed.
    ///
    /// # Panics
    /// If another code came, or application bytes.
    pub fn assert_refused(&self, code: Code) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.application_bytes, 0, "{self:?}");
    }
}

/// A TLS client of an adversary, connected.
pub struct Ear {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// The failure of the handshake, if it failed on our side.
    failure: Option<Error>,
    buffer: Vec<u8>,
}

impl Ear {
    /// Connects with any credentials, or none.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn dial(address: &str, credentials: Option<&Credentials>) -> Self {
        Self::dial_with(address, &client_config(credentials))
    }

    /// Connects with a configuration, which may hold a ticket from before.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn dial_with(address: &str, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("peer.mesh.example").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let mut failure = None;
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                failure = Some(tls_error(&error));
                break;
            }
        }
        Self { stream, failure, buffer: Vec::new() }
    }

    /// Connects as somebody who wants a circuit.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn dial_relay(address: &str, credentials: Option<&Credentials>) -> Self {
        let mut config = permissive(credentials);
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN_RELAY.to_vec()];
        Self::dial_with(address, &Arc::new(config))
    }

    /// Says HELLO as a member and returns the answer.
    #[must_use]
    pub fn hello(&mut self, credentials: &Credentials) -> Option<Body> {
        // Each greeting is a restart, or it would be a copied key.
        static BOOTS: AtomicU64 = AtomicU64::new(1);
        let boot = BOOTS.fetch_add(1, Ordering::Relaxed);
        self.say(&Body::Hello(greeting(credentials, boot)).to_frame());
        self.body()
    }

    /// Sends bytes as they are; whoever has hung up is found out by reading.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// The next frame, or `None` at the end or after silence.
    pub fn body(&mut self) -> Option<Body> {
        self.read_body().ok()
    }

    /// Reads octets that are no frames, until there are so many.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = std::mem::take(&mut self.buffer);
        let begun = octets.len();
        octets.resize(count, 0);
        self.stream.read_exact(&mut octets[begun..]).unwrap();
        octets
    }

    /// Reads whatever comes to the end, and says how it ended.
    #[must_use]
    pub fn drain(mut self) -> String {
        let mut scratch = [0; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return "closed".to_owned(),
                Ok(_) => {}
                Err(error) => {
                    return finish(Hearing::default(), End::of(&error), Role::Dialler).end;
                }
            }
        }
    }

    /// Reads to the end.
    #[must_use]
    pub fn listen(mut self) -> Hearing {
        let mut hearing = Hearing::default();
        if let Some(error) = self.failure.take() {
            hearing.code = refusal_of(&error, Role::Dialler);
            hearing.end = error.to_string();
            return hearing;
        }
        loop {
            match self.read_body() {
                Ok(Body::Refused(code)) => hearing.code = Some(code),
                Ok(body) => {
                    hearing.application_bytes += body.to_frame().len();
                    hearing.bodies.push(body);
                }
                Err(end) => return finish(hearing, end, Role::Dialler),
            }
        }
    }

    /// Whether the handshake was resumed from a ticket.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The leaf certificate that the other side presented.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        let chain = self.stream.conn.peer_certificates()?;
        chain.first().map(|cert| cert.to_vec())
    }

    fn read_body(&mut self) -> Result<Body, End> {
        loop {
            if let Ok(Some(body)) = take_body(&mut self.buffer) {
                return Ok(body);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) => return Err(End::of(&error)),
            }
        }
    }
}

/// Takes the next frame off a buffer that is for the machine of a node.
///
/// What is for its clock (questions for keys) is read and not answered, as by a node that does not
/// tell the time.
pub(crate) fn take_body(buffer: &mut Vec<u8>) -> Result<Option<Body>, FrameError> {
    while let Some((frame, used)) = split(buffer)? {
        let is_for_the_clock = matches!(frame.kind, Kind::KeysAsk | Kind::Keys);
        let body = (!is_for_the_clock).then(|| Body::parse(&frame).unwrap());
        buffer.drain(..used);
        if body.is_some() {
            return Ok(body);
        }
    }
    Ok(None)
}

enum End {
    Closed,
    Silence,
    Tls(Error),
    Io(String),
}

impl End {
    fn of(error: &std::io::Error) -> Self {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return Self::Silence;
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::Tls(error.clone()),
            None => Self::Io(error.to_string()),
        }
    }
}

fn finish(mut hearing: Hearing, end: End, role: Role) -> Hearing {
    hearing.end = match end {
        End::Closed => "closed".to_owned(),
        End::Silence => "silence".to_owned(),
        End::Io(text) => text,
        End::Tls(error) => {
            hearing.code = hearing.code.or(refusal_of(&error, role));
            error.to_string()
        }
    };
    hearing
}

fn tls_error(error: &std::io::Error) -> Error {
    match End::of(error) {
        End::Tls(error) => error,
        End::Io(text) => Error::General(text),
        End::Closed | End::Silence => Error::General("silence".to_owned()),
    }
}

/// Connects, says HELLO if there is anybody to say it as, and reads to the end.
#[must_use]
pub fn knock(address: &str, credentials: Option<&Credentials>) -> Hearing {
    let mut ear = Ear::dial(address, credentials);
    if let Some(credentials) = credentials.filter(|_| ear.failure.is_none()) {
        ear.say(&Body::Hello(greeting(credentials, 1)).to_frame());
    }
    ear.listen()
}

/// A greeting signed with any credentials.
#[must_use]
pub fn greeting(credentials: &Credentials, boot: u64) -> Greeting {
    let presence = presence(credentials, boot, &[]);
    let feed_at = host::clock::wall();
    Greeting { version_min: VERSION, version_max: VERSION, presence, feed_number: 0, feed_at }
}

fn nobody() -> (NetworkName, NodeName) {
    (NetworkName::parse("mesh.example").unwrap(), NodeName::parse("nobody").unwrap())
}

/// A presence with any addresses, signed with any credentials.
#[must_use]
pub fn presence(credentials: &Credentials, boot: u64, addresses: &[String]) -> Vec<u8> {
    let facts = shared::cert::Facts::read(&credentials.chain[0]).unwrap();
    let named = facts.uris.first().and_then(|uri| shared::name::parse_spiffe(uri));
    let (network, node) = named.map_or_else(nobody, |(network, _, node)| (network, node));
    let presence = Presence {
        node,
        instance: InstanceId::new(host::random::bytes().unwrap()),
        boot,
        sequence: 1,
        at: host::clock::wall(),
        addresses: addresses.to_vec(),
        roles: Vec::new(),
        feed_number: 0,
        policy_number: 0,
        relays: Vec::new(),
    };
    let chain: Vec<&[u8]> = credentials.chain.iter().map(Vec::as_slice).collect();
    presence.sign(&network, &credentials.private(), &chain).unwrap()
}

/// A listening adversary: presents its credentials to whoever dials, and listens.
pub struct Trap {
    address: String,
    heard: Arc<Mutex<Vec<Hearing>>>,
    stop: Arc<AtomicBool>,
}

impl Trap {
    /// Listens on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn set(credentials: &Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let config = server_config(credentials);
        let (kept, ended) = (Arc::clone(&heard), Arc::clone(&stop));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let hearing = receive(socket, &config);
                kept.lock().unwrap().push(hearing);
            }
        });
        Self { address, heard, stop }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the first caller said.
    ///
    /// # Panics
    /// If nobody calls in time.
    #[must_use]
    pub fn first(&self) -> Hearing {
        crate::wait_until("somebody dials the trap", crate::SOON, || {
            !self.heard.lock().unwrap().is_empty()
        });
        self.heard.lock().unwrap()[0].clone()
    }

    /// What all callers said so far.
    #[must_use]
    pub fn all(&self) -> Vec<Hearing> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread, which then sees the flag.
        let _ = TcpStream::connect(&self.address);
    }
}

fn receive(socket: TcpStream, config: &Arc<ServerConfig>) -> Hearing {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    hear(&mut stream, Role::Listener)
}

/// Reads a stream to its end, and says what was on it.
pub(crate) fn hear(stream: &mut impl std::io::Read, role: Role) -> Hearing {
    let mut buffer = Vec::new();
    let mut hearing = Hearing::default();
    let until = Instant::now() + PATIENCE;
    let end = loop {
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk) {
            Ok(0) => break End::Closed,
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
            Err(error) => break End::of(&error),
        }
        if Instant::now() > until {
            break End::Silence;
        }
    };
    let mut rest = buffer.as_slice();
    while let Ok(Some((frame, used))) = split(rest) {
        match Body::parse(&frame) {
            Ok(Body::Refused(code)) => hearing.code = Some(code),
            Ok(body) => {
                hearing.application_bytes += used;
                hearing.bodies.push(body);
            }
            Err(_) => hearing.application_bytes += used,
        }
        rest = &rest[used..];
    }
    hearing.application_bytes += rest.len();
    finish(hearing, end, role)
}

/// A client's configuration without resumption.
#[must_use]
pub fn client_config(credentials: Option<&Credentials>) -> Arc<ClientConfig> {
    let mut config = permissive(credentials);
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A client's configuration that keeps every ticket it is given.
#[must_use]
pub fn ticket_keeper(credentials: &Credentials) -> Arc<ClientConfig> {
    Arc::new(permissive(Some(credentials)))
}

pub(crate) fn permissive(credentials: Option<&Credentials>) -> ClientConfig {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match credentials {
        Some(credentials) => builder.with_client_cert_resolver(certified(credentials)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

pub(crate) fn server_config(credentials: &Credentials) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anyone))
        .with_cert_resolver(certified(credentials));
    config.alpn_protocols = vec![ALPN.to_vec(), ALPN_RELAY.to_vec()];
    Arc::new(config)
}

/// A server's configuration that asks nobody for a certificate.
pub(crate) fn door_config(credentials: &Credentials, alpn: &[u8]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(certified(credentials));
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// Chain and key as they are: rustls would compare them, an adversary does not.
fn certified(credentials: &Credentials) -> Arc<SingleCertAndKey> {
    let chain = credentials.chain.iter().cloned().map(CertificateDer::from).collect();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.clone()));
    let key = any_supported_type(&der).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Believes everybody.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
