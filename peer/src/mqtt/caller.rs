//! The other side of MQTT: a connection that we make to somebody's endpoint, MQTT 5 or 3.1.1.
//!
//! For `peer pub` and `peer sub`, and for bridges. It says what it is told to and hears what comes;
//! when to acknowledge is its user's affair, because only he knows when a message is safe.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use mqtt::codec::{ConnAck, Connect, Decoder, Packet, Version, encode, encode_connect};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long the other side may take to answer a CONNECT.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a connection cannot go on. Whose fault: the other side's, or the network's.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It ended.
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    /// What came is no MQTT.
    #[error("what came is no MQTT: {0}")]
    Decode(#[from] mqtt::codec::DecodeError),
    /// The other side said no.
    #[error("the peer refuses it: {0}")]
    Refused(mqtt::codec::Reason),
    /// It said something else than was asked for.
    #[error("an unexpected answer")]
    Unexpected,
    /// It said nothing.
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Caller<S> {
    stream: S,
    decoder: Decoder,
    version: Version,
    inbound: BytesMut,
    out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Says CONNECT and hears the answer.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn connect(stream: S, connect: Connect) -> Result<(Self, ConnAck), CallError> {
        Self::connect_with(stream, connect, &[]).await
    }

    /// The same with a password, if the CONNECT says that it has one.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn connect_with(
        stream: S,
        connect: Connect,
        password: &[u8],
    ) -> Result<(Self, ConnAck), CallError> {
        let version = connect.version;
        let decoder = Decoder::client(version);
        let (inbound, out) = (BytesMut::new(), Vec::new());
        let mut caller = Self { stream, decoder, version, inbound, out };
        encode_connect(&connect, password, &mut caller.out);
        caller.flush().await?;
        let answer = timeout(CONNECT, caller.next()).await.map_err(|_| CallError::Silent(CONNECT));
        match answer?? {
            Packet::ConnAck(ack) if ack.reason.is_error() => Err(CallError::Refused(ack.reason)),
            Packet::ConnAck(ack) => Ok((caller, *ack)),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Queues a packet; [`Caller::flush`] sends it.
    pub fn say(&mut self, packet: &Packet) {
        encode(packet, self.version, &mut self.out);
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// [`CallError::Io`]
    pub async fn flush(&mut self) -> Result<(), CallError> {
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        self.out.clear();
        Ok(())
    }

    /// The next packet. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn next(&mut self) -> Result<Packet, CallError> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.inbound)? {
                return Ok(packet);
            }
            self.inbound.reserve(4096);
            if self.stream.read_buf(&mut self.inbound).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// A CONNECT with nothing special about it.
#[must_use]
pub fn plain_connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_s: 60,
        session_expiry_s: 0,
        receive_max: u16::MAX,
        packet_bytes_max: None,
        alias_max: 0,
        wants_response_information: false,
        wants_problem_information: true,
        auth_method: None,
        client_id: client_id.into(),
        will: None,
        username: None,
        has_password: false,
    }
}
