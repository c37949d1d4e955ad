//! The door for programs that are no peers: keys for the time over TLS 1.3 (RFC 8915 §4).
//!
//! The fingerprint of a certificate that was shown goes into the cookies, so that its holder can be
//! turned away later although nothing is remembered of it here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nts::records::{Reader, Request};
use nts::{Fingerprint, Keys, Session, export};
use shared::refusal::{Code, Refusal};
use shared::verify::{Member, Verified};
use tls::{Clients, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pair::KeptPair;
use super::{Shared, keys_of};
use crate::limits::{HANDSHAKE, KEY_EXCHANGE, LINGER, LINGER_BYTES_MAX};
use crate::link::{Bounds, Gate, Pass};

/// How long to wait after accepting failed: descriptors are used up, and some will be free soon.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Octets that are read at once: a request has 16.
const ROOM_BYTES: usize = 1024;

/// Accepts until the daemon ends.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let gate = Gate::new(Bounds::default());
    loop {
        let (tcp, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        match gate.enter(remote.ip(), shared.clock.now().tick) {
            Ok(pass) => drop(tokio::spawn(one(tcp, remote, pass, Arc::clone(&shared)))),
            Err(refusal) => turned_away(&shared, remote, &refusal.detail),
        }
    }
}

/// One exchange, from the handshake to the end of the connection.
async fn one(tcp: TcpStream, remote: SocketAddr, pass: Pass, shared: Arc<Shared>) {
    match exchange(tcp, &shared).await {
        Ok(who) => {
            shared.figures.exchanged();
            tracing::debug!(%remote, %who, "keys for the time were handed out");
        }
        Err(what) => turned_away(&shared, remote, &what),
    }
    drop(pass);
}

fn turned_away(shared: &Shared, remote: SocketAddr, what: &str) {
    shared.figures.refused();
    tracing::debug!(%remote, "no keys for the time: {what}");
}

async fn exchange(tcp: TcpStream, shared: &Shared) -> Result<String, String> {
    // An answer is one flight: waiting for more of it, the kernel would wait for the client's.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let beside = shared.beside.as_ref().map(KeptPair::shown);
    let config = shared.listener.time_config(shared.clients, beside.as_deref());
    let (config, verdict) = config.map_err(|error| error.to_string())?;
    let shaking = TlsAcceptor::from(config).accept(tcp);
    let shaken = timeout(HANDSHAKE, shaking).await;
    let shaken = shaken.map_err(|_| format!("no handshake within {HANDSHAKE:?}"))?;
    let mut stream = shaken.map_err(|error| match verdict.refusal() {
        Some(refusal) => refusal.to_string(),
        None => error.to_string(),
    })?;
    if stream.get_ref().1.alpn_protocol() != Some(export::ALPN) {
        return Err("the other side does not speak ntske/1".to_owned());
    }
    let member = member(verdict, shared).map_err(|refusal| refusal.to_string())?;
    let talk = talk(&mut stream, member.as_ref(), shared);
    let talked = timeout(KEY_EXCHANGE, talk).await;
    talked.map_err(|_| format!("nothing was asked within {KEY_EXCHANGE:?}"))??;
    let who = member.as_ref().map_or_else(|| "nobody".to_owned(), |who| who.node().to_string());
    Ok(who)
}

/// Whom the handshake showed; nobody, where that is allowed.
fn member(verdict: Verdict, shared: &Shared) -> Result<Option<Verified<Member>>, Refusal> {
    let member = match verdict.take() {
        Err(none) if none.code == Code::NoCertificate && shared.clients != Clients::Certified => {
            return Ok(None);
        }
        taken => taken?,
    };
    // Between the handshake and now it may have been turned out.
    shared.verifier.recheck(&member, shared.clock.now().wall)?;
    Ok(Some(member))
}

/// Hears what keys are wanted, and answers.
async fn talk(
    stream: &mut TlsStream<TcpStream>,
    member: Option<&Verified<Member>>,
    shared: &Shared,
) -> Result<(), String> {
    let gone = |error: io::Error| error.to_string();
    let reader = hear(stream).await.map_err(gone)?;
    let here = stream.get_ref().0.local_addr().map_err(gone)?;
    let keys = keys_of(stream.get_ref().1, &[]).ok_or("no keys from TLS")?;
    let session = session(keys, member.map(|member| &**member));
    let answer = match Request::read(&reader) {
        Ok(request) => shared.grant(&request, &session, Some(here.ip())),
        Err(problem) => Err(problem),
    };
    let octets =
        answer.as_ref().map_or_else(|problem| nts::records::problem(*problem), Clone::clone);
    stream.write_all(&octets).await.map_err(gone)?;
    stream.shutdown().await.map_err(gone)?;
    // A socket that is closed with unread data sends RST, and RST overtakes the answer.
    let _ = timeout(LINGER, drain(stream)).await;
    answer.map(drop).map_err(|problem| format!("not a request: {problem:?}"))
}

/// What the cookies of a client say of it.
pub(super) fn session(keys: Keys, member: Option<&Member>) -> Session {
    let fingerprint =
        member.map_or(Fingerprint::NONE, |who| Fingerprint::new(*who.cert.spki.as_bytes()));
    let until_s = member.map_or(0, |who| u32::try_from(who.not_after.s()).unwrap_or(u32::MAX));
    Session { keys, fingerprint, until_s }
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Reader> {
    let (mut reader, mut room) = (Reader::default(), [0; ROOM_BYTES]);
    loop {
        let len = stream.read(&mut room).await?;
        // What is too long or broken off is answered as such.
        let heard = room.get(..len).unwrap_or_default();
        if len == 0 || reader.take(heard).unwrap_or(true) {
            return Ok(reader);
        }
    }
}

async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let (mut scratch, mut total) = ([0; ROOM_BYTES], 0);
    while let Ok(len @ 1..) = stream.read(&mut scratch).await {
        total += len;
        if total >= LINGER_BYTES_MAX {
            return;
        }
    }
}
