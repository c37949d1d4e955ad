//! One connection to one peer: TCP, mutual TLS, frames. Blocking, with a deadline on every wait.
//!
//! **Invariant:** the other side is a member by our own verifier before a byte of ours is sent.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use shared::limits::FRAME_BYTES_MAX;
use shared::refusal::{Code, Refusal};
use shared::verify::{Member, Verified};
use shared::wire::{Body, split};
use tls::{Dialler, Role};

/// Addresses tried of one name: a v6 and a v4, twice.
const ADDRESSES_MAX: usize = 4;

/// Why a peer could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// We refuse the peer.
    #[error("refused by us ({}): {}", .0.code, .0.detail)]
    ByUs(Refusal),
    /// The peer refuses us.
    #[error("refused by the peer ({0})")]
    ByPeer(Code),
    /// It took too long.
    #[error("no answer in time")]
    Silent,
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Ended(String),
    /// The peer speaks something else.
    #[error("the peer sent what makes no sense: {0}")]
    Nonsense(String),
}

impl LinkError {
    /// The refusal code, if it was a refusal.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::ByUs(refusal) => Some(refusal.code),
            Self::ByPeer(code) => Some(*code),
            _ => None,
        }
    }
}

/// An open connection to a member.
pub(super) struct Link {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
    used: usize,
    pub(super) member: Verified<Member>,
}

impl Link {
    /// Connects and shakes hands with whoever answers at `HOST:PORT`.
    pub(super) fn dial(
        address: &str,
        dialler: &Dialler,
        wait: Duration,
    ) -> Result<Self, LinkError> {
        let socket = connect(address, wait)?;
        let failed = |error: &dyn std::fmt::Display| LinkError::Connect(error.to_string());
        let (config, verdict) = dialler.config(None).map_err(|e| failed(&e))?;
        let connection = ClientConnection::new(Arc::clone(&config), tls::server_name());
        let mut stream = StreamOwned::new(connection.map_err(|e| failed(&e))?, socket);
        let deadline = Instant::now() + wait;
        while stream.conn.is_handshaking() {
            bound(&stream.sock, deadline)?;
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                return Err(verdict.refusal().map_or_else(|| sort(&error), LinkError::ByUs));
            }
        }
        let member = verdict.take().map_err(LinkError::ByUs)?;
        Ok(Self { stream, buffer: Vec::new(), used: 0, member })
    }

    /// Sends frames, all in one go.
    pub(super) fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), LinkError> {
        bound(&self.stream.sock, deadline)?;
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        sent.map_err(|error| sort(&error))
    }

    /// The next frame that says something to us; pings are answered here.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Body, LinkError> {
        loop {
            if let Some(body) = self.buffered()? {
                match body {
                    Body::Ping(number) => self.send(&Body::Pong(number).to_frame(), deadline)?,
                    Body::Refused(code) => return Err(LinkError::ByPeer(code)),
                    Body::Bye => return Err(LinkError::Ended("the peer said goodbye".to_owned())),
                    other => return Ok(other),
                }
                continue;
            }
            self.fill(deadline)?;
        }
    }

    /// Says goodbye; whoever has left already need not hear it.
    pub(super) fn close(mut self) {
        self.stream.conn.send_close_notify();
        let soon = Instant::now() + Duration::from_millis(200);
        let _ = self.send(&[], soon);
    }

    fn buffered(&mut self) -> Result<Option<Body>, LinkError> {
        let rest = self.buffer.get(self.used..).unwrap_or_default();
        let nonsense = |error: String| LinkError::Nonsense(error);
        let Some((frame, length)) = split(rest).map_err(|e| nonsense(e.to_string()))? else {
            self.buffer.drain(..self.used);
            self.used = 0;
            return Ok(None);
        };
        let body = Body::parse(&frame).map_err(|e| nonsense(e.to_string()))?;
        self.used += length;
        Ok(Some(body))
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), LinkError> {
        let mut chunk = [0; 16 * 1024];
        bound(&self.stream.sock, deadline)?;
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(LinkError::Ended("closed by the peer".to_owned())),
            Ok(length) if self.buffer.len() + length <= FRAME_BYTES_MAX + 2 * chunk.len() => {
                self.buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
                Ok(())
            }
            Ok(_) => Err(LinkError::Nonsense("a frame without end".to_owned())),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(sort(&error)),
        }
    }
}

fn connect(address: &str, wait: Duration) -> Result<TcpStream, LinkError> {
    let failed = |error: &io::Error| LinkError::Connect(error.to_string());
    let deadline = Instant::now() + wait;
    let mut last = LinkError::Connect("the name has no address".to_owned());
    for address in address.to_socket_addrs().map_err(|e| failed(&e))?.take(ADDRESSES_MAX) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|e| failed(&e))?;
                return Ok(socket);
            }
            Err(error) => last = failed(&error),
        }
    }
    Err(last)
}

/// Lets no read or write wait past the deadline.
fn bound(socket: &TcpStream, deadline: Instant) -> Result<(), LinkError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(LinkError::Silent);
    }
    let set = socket.set_read_timeout(Some(left));
    set.and_then(|()| socket.set_write_timeout(Some(left))).map_err(|error| sort(&error))
}

/// What an error on the stream means: a refusal comes as an alert, an end as an end.
fn sort(error: &io::Error) -> LinkError {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        return LinkError::Silent;
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner.and_then(|inner| tls::refusal_of(inner, Role::Dialler)) {
        Some(code) => LinkError::ByPeer(code),
        None => LinkError::Ended(error.to_string()),
    }
}
