//! A connection to a member before it is a link: greetings go one at a time.
//!
//! **Invariant:** garbage is answered with one REFUSED frame and close_notify, and read no further.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use peer_core::Via;
use shared::refusal::{Code, Refusal};
use shared::verify::{Member, Verified};
use shared::wire::{ALPN, ALPN_RELAY, Body, split};
use tls::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::failure::Failure;
use super::handshake::drain;
use super::kill::{Guarded, KillSwitch};
use crate::limits;

/// What is spoken on a connection, agreed by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A link.
    Link,
    /// One end of a circuit through a relay.
    Circuit,
    /// A program's MQTT.
    Mqtt,
}

impl Protocol {
    /// Its ALPN name.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Link => ALPN,
            Self::Circuit => ALPN_RELAY,
            Self::Mqtt => tls::ALPN_MQTT,
        }
    }

    pub(super) fn of(alpn: Option<&[u8]>) -> Option<Self> {
        [Self::Link, Self::Circuit].into_iter().find(|protocol| Some(protocol.alpn()) == alpn)
    }
}

/// A connection whose other end is a verified member.
pub struct Secured {
    /// Who is at the other end.
    pub member: Verified<Member>,
    /// From where.
    pub remote: SocketAddr,
    /// Cuts the connection; register it before the member is judged again.
    pub kill: KillSwitch,
    /// Which side of the handshake we were.
    pub role: Role,
    /// What was agreed to be spoken.
    pub protocol: Protocol,
    /// The relay that carries it, if it is not direct.
    pub via: Option<Via>,
    /// Our own certificate in the handshake, DER; another may hold by now.
    pub shown: Vec<u8>,
    pub(super) stream: TlsStream<Guarded>,
    pub(super) buffer: BytesMut,
}

impl Secured {
    pub(super) fn new(
        stream: TlsStream<Guarded>,
        member: Verified<Member>,
        remote: SocketAddr,
        kill: KillSwitch,
        role: Role,
        protocol: Protocol,
    ) -> Self {
        let (via, shown, buffer) = (None, Vec::new(), BytesMut::new());
        Self { member, remote, kill, role, protocol, via, shown, stream, buffer }
    }

    /// The connection itself, for something that is no link.
    #[must_use]
    pub fn into_stream(self) -> TlsStream<Guarded> {
        self.stream
    }

    /// A connection that was [hastened](super::hasten) closes as any other from now on.
    pub fn settle(&self) {
        self.stream.get_ref().0.settle();
    }

    /// The same, carried by a relay.
    pub(super) fn carried_by(mut self, via: Via) -> Self {
        self.via = Some(via);
        self
    }

    /// The next body, if it comes in time.
    ///
    /// # Errors
    /// [`Failure`]: the other side's refusal (by alert or by frame), garbage (it was told so), the
    /// end of the connection, or the end of patience. The connection is of no use afterwards.
    pub async fn read_body(&mut self, patience: Duration) -> Result<Body, Failure> {
        let read = timeout(patience, self.next_body()).await;
        let late = || Err(Failure::neither(format!("nothing was said within {patience:?}")));
        let read = read.unwrap_or_else(|_| late());
        if let Err(failure) = &read
            && failure.code == Some(Code::Malformed)
            && failure.by == super::By::Us
        {
            farewell(&mut self.stream, Code::Malformed, limits::LINGER).await;
        }
        read.map_err(|failure| failure.at(self.remote))
    }

    /// Says one thing.
    ///
    /// # Errors
    /// [`Failure`] if the connection ended or does not move.
    pub async fn write_body(&mut self, body: &Body) -> Result<(), Failure> {
        let frame = body.to_frame();
        let written = timeout(limits::HANDSHAKE, write(&mut self.stream, &frame)).await;
        let late =
            || Err(Failure::neither(format!("nothing was read within {:?}", limits::HANDSHAKE)));
        let written = written.map(|done| done.map_err(|e| Failure::of_io(&e, self.role)));
        written.unwrap_or_else(|_| late()).map_err(|failure| failure.at(self.remote))
    }

    /// 32 octets that both ends of this connection come to, and nobody else (RFC 8446 §7.5).
    #[must_use]
    pub fn export(&self, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        let (room, context) = ([0; 32], Some(context));
        match &self.stream {
            TlsStream::Client(to) => to.get_ref().1.export_keying_material(room, label, context),
            TlsStream::Server(of) => of.get_ref().1.export_keying_material(room, label, context),
        }
        .ok()
    }

    /// Whether nothing was said that has not been read.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Tells the other side why it is refused, and waits a moment for it to read that.
    pub async fn refuse(self, code: Code) {
        refuse(self.stream, code, limits::LINGER).await;
    }

    async fn next_body(&mut self) -> Result<Body, Failure> {
        loop {
            if let Some(body) = self.buffered()? {
                return match body {
                    Body::Refused(code) => Err(Failure::by_them(code)),
                    body => Ok(body),
                };
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|error| Failure::of_io(&error, self.role))? == 0 {
                return Err(Failure::neither("the other side closed the connection"));
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Body>, Failure> {
        let malformed = |detail: String| Failure::by_us(Refusal::new(Code::Malformed, detail));
        let Some((frame, used)) = split(&self.buffer).map_err(|e| malformed(e.to_string()))? else {
            return Ok(None);
        };
        let body = Body::parse(&frame).map_err(|e| malformed(e.to_string()))?;
        self.buffer.advance(used);
        Ok(Some(body))
    }
}

async fn write(stream: &mut TlsStream<Guarded>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Refuses and drops the connection.
pub(super) async fn refuse(mut stream: TlsStream<Guarded>, code: Code, wait: Duration) {
    farewell(&mut stream, code, wait).await;
}

/// One REFUSED frame, close_notify, and a moment for the other side to read them.
pub(super) async fn farewell(stream: &mut TlsStream<Guarded>, code: Code, wait: Duration) {
    let _ = timeout(wait, async {
        write(stream, &Body::Refused(code).to_frame()).await?;
        stream.shutdown().await?;
        drain(stream).await;
        io::Result::Ok(())
    })
    .await;
}
