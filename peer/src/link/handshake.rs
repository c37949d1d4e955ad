//! From a TCP connection to a member: the TLS handshake in both roles, with every wait bounded.
//!
//! When a handshake fails here, the other side must learn why: the alert is flushed, the connection
//! half-closed, and what still comes is read and thrown away for a moment, because a socket that is
//! closed with unread data sends RST, and RST overtakes the alert.
//!
//! **Invariant:** no handshake outlives its [`Patience`], and none yields a link without a verdict.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use tls::{Dialler, Listener, Role, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::circuit::Tunnel;
use super::connect::connect;
use super::failure::{By, Failure};
use super::kill::{Guarded, KillSwitch};
use super::secured::{Protocol, Secured};
use crate::limits;

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a TCP connection, all addresses of a name together.
    pub connect: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the other side to read a refusal.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: limits::CONNECT, handshake: limits::HANDSHAKE, linger: limits::LINGER }
    }
}

/// Shakes hands with whoever connected.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn accept(tcp: TcpStream, listener: &Listener) -> Result<Secured, Failure> {
    accept_with(tcp, listener, Patience::default()).await
}

/// Like [`accept`], with other bounds.
///
/// # Errors
/// [`Failure`].
pub async fn accept_with(
    tcp: TcpStream,
    listener: &Listener,
    patience: Patience,
) -> Result<Secured, Failure> {
    let (config, verdict) = listener.config().map_err(|e| Failure::neither(e.to_string()))?;
    let door = Door::new(&tcp, Role::Listener, verdict, patience)?;
    let io = Guarded::new(tcp, door.kill.clone());
    let shaking = TlsAcceptor::from(config).accept(io).into_fallible();
    door.shake(shaking).await
}

/// Shakes hands with a member's program that speaks MQTT.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn accept_client(tcp: TcpStream, listener: &Listener) -> Result<Secured, Failure> {
    let (config, verdict) = listener.mqtt_config().map_err(|e| Failure::neither(e.to_string()))?;
    let mut door = Door::new(&tcp, Role::Listener, verdict, Patience::default())?;
    door.spoken = Some(Protocol::Mqtt);
    let io = Guarded::new(tcp, door.kill.clone());
    let shaking = TlsAcceptor::from(config).accept(io).into_fallible();
    door.shake(shaking).await
}

/// Connects to `HOST:PORT` and shakes hands with whoever answers, or with a certain node only.
///
/// A success does not yet mean that the listener let us in: in TLS 1.3 its refusal comes with the
/// first read.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn dial(
    address: &str,
    expected: Option<NodeName>,
    dialler: &Dialler,
) -> Result<Secured, Failure> {
    dial_with(address, expected, dialler, Patience::default()).await
}

/// Like [`dial`], with other bounds.
///
/// # Errors
/// [`Failure`].
pub async fn dial_with(
    address: &str,
    expected: Option<NodeName>,
    dialler: &Dialler,
    patience: Patience,
) -> Result<Secured, Failure> {
    let tcp = connect(address, patience.connect).await?;
    secure(tcp, expected, dialler, Protocol::Link, patience).await
}

/// Shakes hands as the one who dialled.
pub(super) async fn secure(
    tcp: TcpStream,
    expected: Option<NodeName>,
    dialler: &Dialler,
    protocol: Protocol,
    patience: Patience,
) -> Result<Secured, Failure> {
    let (config, verdict) = dialler
        .config_for(expected, protocol.alpn())
        .map_err(|e| Failure::neither(e.to_string()))?;
    let door = Door::new(&tcp, Role::Dialler, verdict, patience)?;
    let io = match protocol {
        Protocol::Link | Protocol::Mqtt => Guarded::new(tcp, door.kill.clone()),
        Protocol::Circuit => Guarded::abrupt(tcp, door.kill.clone()),
    };
    let shaking = TlsConnector::from(config).connect(tls::server_name(), io).into_fallible();
    door.shake(shaking).await
}

/// Shakes hands as the listener with whoever is at the other end of a circuit.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn accept_through(tunnel: Tunnel, listener: &Listener) -> Result<Secured, Failure> {
    let (config, verdict) = listener.config().map_err(|e| Failure::neither(e.to_string()))?;
    let Tunnel { io, kill, remote, via, .. } = tunnel;
    let door = Door::over(remote, kill, Role::Listener, verdict);
    let shaking = TlsAcceptor::from(config).accept(io).into_fallible();
    door.shake(shaking).await.map(|secured| secured.carried_by(via))
}

/// Shakes hands as the one who dialled with a certain node at the other end of a circuit.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn dial_through(
    tunnel: Tunnel,
    expected: NodeName,
    dialler: &Dialler,
) -> Result<Secured, Failure> {
    let (config, verdict) =
        dialler.config(Some(expected)).map_err(|e| Failure::neither(e.to_string()))?;
    let Tunnel { io, kill, remote, via, .. } = tunnel;
    let door = Door::over(remote, kill, Role::Dialler, verdict);
    let shaking = TlsConnector::from(config).connect(tls::server_name(), io).into_fallible();
    door.shake(shaking).await.map(|secured| secured.carried_by(via))
}

/// Shakes hands as the one who dialled, on a connection however it was made.
///
/// # Errors
/// [`Failure`]; the other side was told if it was a refusal.
pub async fn secure_as_dialler(
    tcp: TcpStream,
    expected: NodeName,
    dialler: &Dialler,
) -> Result<Secured, Failure> {
    secure(tcp, Some(expected), dialler, Protocol::Link, Patience::default()).await
}

/// Shakes hands with an engine of our own authority.
pub(super) async fn secure_engine(
    tcp: TcpStream,
    name: ServerName<'static>,
    (config, verdict): (Arc<ClientConfig>, Verdict),
) -> Result<Secured, Failure> {
    let mut door = Door::new(&tcp, Role::Dialler, verdict, Patience::default())?;
    door.spoken = Some(Protocol::Mqtt);
    let io = Guarded::new(tcp, door.kill.clone());
    let shaking = TlsConnector::from(config).connect(name, io).into_fallible();
    door.shake(shaking).await
}

/// One handshake.
struct Door {
    remote: SocketAddr,
    role: Role,
    verdict: Verdict,
    patience: Patience,
    kill: KillSwitch,
    /// What is spoken, where that does not have to be agreed on.
    spoken: Option<Protocol>,
}

impl Door {
    fn new(
        tcp: &TcpStream,
        role: Role,
        verdict: Verdict,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let gone = |error: io::Error| Failure::neither(error.to_string());
        let remote = tcp.peer_addr().map_err(gone)?;
        tcp.set_nodelay(true).map_err(|error| gone(error).at(remote))?;
        let (kill, spoken) = (KillSwitch::default(), None);
        Ok(Self { remote, role, verdict, patience, kill, spoken })
    }

    /// For a handshake within a connection that is under a switch already.
    fn over(remote: SocketAddr, kill: KillSwitch, role: Role, verdict: Verdict) -> Self {
        Self { remote, role, verdict, patience: Patience::default(), kill, spoken: None }
    }

    async fn shake<S>(
        self,
        shaking: impl Future<Output = Result<S, (io::Error, Guarded)>>,
    ) -> Result<Secured, Failure>
    where
        TlsStream<Guarded>: From<S>,
    {
        let remote = self.remote;
        match timeout(self.patience.handshake, shaking).await {
            Ok(Ok(stream)) => self.judge(stream.into()).await,
            Ok(Err((error, io))) => {
                let failure = self.failure(&error);
                hang_up(io, self.patience.linger).await;
                Err(failure)
            }
            Err(_) => {
                let detail = format!("no handshake within {:?}", self.patience.handshake);
                Err(Failure { code: None, by: By::Us, detail, remote: None })
            }
        }
        .map_err(|failure| failure.at(remote))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let ours = self.verdict.refusal().map(Failure::by_us);
        ours.unwrap_or_else(|| Failure::of_io(error, self.role))
    }

    async fn judge(self, stream: TlsStream<Guarded>) -> Result<Secured, Failure> {
        let alpn = stream.get_ref().1.alpn_protocol();
        let agreed = self.spoken.or_else(|| Protocol::of(alpn));
        let no_protocol =
            || Refusal::new(Code::Version, "the other side does not speak conclave/1");
        let shown = self.verdict.shown().to_vec();
        let judged = self.verdict.take();
        match judged.and_then(|member| Ok((member, agreed.ok_or_else(no_protocol)?))) {
            Ok((member, protocol)) => {
                let Self { remote, role, kill, .. } = self;
                let secured = Secured::new(stream, member, remote, kill, role, protocol);
                Ok(Secured { shown, ..secured })
            }
            Err(refusal) => {
                super::secured::refuse(stream, refusal.code, self.patience.linger).await;
                Err(Failure::by_us(refusal))
            }
        }
    }
}

/// Half-closes, and reads until the other side has closed too, within bounds.
pub(super) async fn hang_up(mut io: Guarded, wait: Duration) {
    let _ = timeout(wait, async {
        if io.shutdown().await.is_ok() {
            drain(&mut io).await;
        }
    })
    .await;
}

/// Reads and throws away until the end, an error, or the bound.
pub(super) async fn drain(io: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = [0; 1024];
    let mut total = 0;
    while let Ok(length @ 1..) = io.read(&mut scratch).await {
        total += length;
        if total >= limits::LINGER_BYTES_MAX {
            return;
        }
    }
}
