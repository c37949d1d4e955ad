//! The doors of the endpoint: where programs come in, and as whom.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use mqtt::{Client, Door, Identity};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::Shared;
use super::serve::serve;
use super::websocket;
use crate::config;
use crate::control::ShortPath;
use crate::link::{self, Bounds, Gate, Pass};

/// How long to wait after accepting failed: descriptors are used up, and some will be free soon.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// The name of the Unix socket in the bundle.
pub const SOCKET: &str = "mqtt.sock";

/// What is spoken at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// MQTT over TCP, from this machine.
    Plain,
    /// MQTT over mutual TLS.
    Tls,
    /// MQTT over WebSocket, from this machine.
    WebSocket,
    /// MQTT over the bundle's Unix socket.
    Unix,
}

impl Kind {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "mqtt",
            Self::Tls => "mqtts",
            Self::WebSocket => "mqtt-ws",
            Self::Unix => "unix",
        }
    }
}

/// A door that is open.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) kind: Kind,
    pub(super) address: String,
}

/// Opens the doors that the settings name.
pub(super) async fn open(
    config: &config::Mqtt,
    folder: &Path,
    shared: &Arc<Shared>,
) -> Result<(Vec<Bound>, Vec<JoinHandle<()>>), Fault> {
    let (mut doors, mut tasks) = (Vec::new(), Vec::new());
    let mut add = |kind: Kind, address: String, task| {
        tracing::info!("{} listens on {address}", kind.as_str());
        doors.push(Bound { kind, address });
        tasks.push(task);
    };
    if let Some(address) = &config.plain {
        let (listener, at) = bind(address, Kind::Plain).await?;
        add(Kind::Plain, at.to_string(), tokio::spawn(plain(listener, Arc::clone(shared))));
    }
    if let Some(address) = &config.tls {
        let (listener, at) = bind(address, Kind::Tls).await?;
        add(Kind::Tls, at.to_string(), tokio::spawn(secured(listener, Arc::clone(shared))));
    }
    if let Some(address) = &config.websocket {
        let (listener, at) = bind(address, Kind::WebSocket).await?;
        add(Kind::WebSocket, at.to_string(), tokio::spawn(pages(listener, Arc::clone(shared))));
    }
    if config.unix {
        let listener = bind_unix(folder)?;
        let at = folder.join(SOCKET).display().to_string();
        add(Kind::Unix, at, tokio::spawn(unix(listener, Arc::clone(shared))));
    }
    Ok((doors, tasks))
}

async fn bind(address: &str, kind: Kind) -> Result<(TcpListener, SocketAddr), Fault> {
    let taken = |error: std::io::Error| {
        Fault::failed(format!("{} cannot listen on {address}: {error}", kind.as_str()))
            .hint("choose another HOST:PORT, or port 0 for any free one")
    };
    let place = tokio::net::lookup_host(address).await.map_err(taken)?.next();
    let place = place.ok_or_else(|| taken(std::io::ErrorKind::NotFound.into()))?;
    if kind != Kind::Tls && !place.ip().is_loopback() {
        let what = format!("mqtt without TLS is for this machine only, and {place} is not");
        return Err(Fault::usage(what).hint("use `mqtts` (--mqtts) for other machines"));
    }
    let listener = TcpListener::bind(place).await.map_err(taken)?;
    let at = listener.local_addr().map_err(taken)?;
    Ok((listener, at))
}

/// The socket is its owner's alone, as the bundle is.
fn bind_unix(folder: &Path) -> Result<UnixListener, Fault> {
    use std::os::unix::fs::PermissionsExt as _;
    let wrong = |error: std::io::Error| {
        Fault::failed(format!("{}: {error}", folder.join(SOCKET).display()))
    };
    let short = ShortPath::to(folder, SOCKET).map_err(wrong)?;
    // One that stands there is a killed peer's: whoever has the bundle's lock is the only one.
    match std::fs::remove_file(&short.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&short.path).map_err(wrong)?;
    std::fs::set_permissions(&short.path, std::fs::Permissions::from_mode(0o600)).map_err(wrong)?;
    Ok(listener)
}

async fn plain(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Some((tcp, remote)) = accepted(listener.accept().await).await else { continue };
        let Some(room) = shared.room() else { continue };
        let _ = ready(&tcp);
        tokio::spawn(Arc::clone(&shared).local(tcp, remote.to_string(), room));
    }
}

async fn pages(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Some((tcp, remote)) = accepted(listener.accept().await).await else { continue };
        let Some(room) = shared.room() else { continue };
        let _ = ready(&tcp);
        tokio::spawn(Arc::clone(&shared).page(tcp, remote, room));
    }
}

async fn unix(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let Some((stream, _)) = accepted(listener.accept().await).await else { continue };
        let Some(room) = shared.room() else { continue };
        tokio::spawn(Arc::clone(&shared).local(stream, "the Unix socket".to_owned(), room));
    }
}

async fn secured(listener: TcpListener, shared: Arc<Shared>) {
    let gate = Gate::new(Bounds::default());
    loop {
        let Some((tcp, remote)) = accepted(listener.accept().await).await else { continue };
        let Some(room) = shared.room() else { continue };
        match gate.enter(remote.ip(), shared.clock.now().tick) {
            Ok(pass) => drop(tokio::spawn(Arc::clone(&shared).foreign(tcp, remote, pass, room))),
            Err(refusal) => tracing::debug!(%remote, "turned away: {refusal}"),
        }
    }
}

async fn accepted<T>(accepted: std::io::Result<T>) -> Option<T> {
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!("a connection could not be accepted: {error}");
            tokio::time::sleep(ACCEPT_AGAIN).await;
            None
        }
    }
}

/// Small packets leave at once, and a dead machine is noticed.
fn ready(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    socket2::SockRef::from(tcp).set_keepalive(true)
}

impl Shared {
    /// Room for one more connection; a flood finds none.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        if room.is_none() {
            tracing::debug!("a connection was dropped: there is no room for more");
        }
        room
    }

    /// Serves a program of this machine.
    async fn local(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        from: String,
        room: OwnedSemaphorePermit,
    ) {
        let (identity, users) = (self.own(), Arc::clone(&self.users));
        let door = Door { identity, users, since: None, peer: false, bridge: false };
        self.client(stream, door, &from).await;
        drop(room);
    }

    /// Serves a page of this machine.
    async fn page(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr, room: OwnedSemaphorePermit) {
        match websocket::accept(tcp).await {
            Ok((inside, carrying)) => {
                tokio::join!(Box::pin(carrying), self.local(inside, remote.to_string(), room));
            }
            Err(error) => tracing::debug!(%remote, "no WebSocket: {error}"),
        }
    }

    /// Serves a program that has a certificate.
    async fn foreign(
        self: Arc<Self>,
        tcp: TcpStream,
        remote: SocketAddr,
        pass: Pass,
        room: OwnedSemaphorePermit,
    ) {
        let _ = ready(&tcp);
        let secured = match link::accept_client(tcp, &self.listener).await {
            Ok(secured) => secured,
            Err(failure) => {
                return tracing::debug!(%remote, "refused: {}", failure.detail);
            }
        };
        drop(pass);
        let member = (*secured.member).clone();
        let guest = self.guests.enter(member.clone(), secured.kill.clone());
        // Between the handshake and now it may have been turned out.
        if self.verifier.recheck(&member, self.clock.now().wall).is_ok() {
            let name = Arc::new(member.node().clone());
            let attributes = member.cert.attributes.clone();
            let identity = Arc::new(Identity { name, attributes });
            let since = Some(member.cert.not_before);
            let door = Door { identity, users: Arc::default(), since, peer: false, bridge: false };
            self.client(secured.into_stream(), door, &remote.to_string()).await;
        }
        drop((guest, room));
    }

    pub(super) async fn client(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        door: Door,
        from: &str,
    ) {
        let name = Arc::clone(&door.identity.name);
        let client = Client::new(Arc::clone(&self.broker), door, self.clock.now());
        let client = serve(stream, client, self.clock.clone()).await;
        if let Some((reason, what)) = client.why() {
            tracing::debug!(client = %name, from, "a connection ended: {what} ({reason:?})");
        }
    }
}
