//! One connection of the load generator: TCP or mutual TLS, blocking, with large buffers.

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::packets::{self, Qos, Seen, Session};

/// Bytes asked for in one read.
const READ_BYTES: usize = 256 * 1024;
/// How long a read waits before the reader looks at other things.
const READ_WAIT: Duration = Duration::from_millis(500);
/// How long an answer, or the next message of a flow, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where an engine listens.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    Plain(SocketAddr),
    Mutual(SocketAddr, ServerName<'static>, Arc<ClientConfig>),
}

/// A connected client of MQTT 3.1.1.
pub(crate) struct Client {
    stream: Stream,
    bytes: Vec<u8>,
    /// How many of them are filled and not looked at.
    filled: usize,
    due: Vec<u8>,
    /// Came together with an answer, and nobody was told yet.
    early: Seen,
}

enum Stream {
    Plain(TcpStream),
    Mutual(Box<StreamOwned<ClientConnection, Gathered>>),
}

/// Reads a socket in large pieces; rustls asks for small ones.
struct Gathered(BufReader<TcpStream>);

impl Client {
    /// Connects, until the CONNACK.
    pub(crate) fn connect(door: &Door, name: &str, session: Session) -> Result<Self> {
        Self::with_buffer(door, name, session, READ_BYTES)
    }

    /// The same with a small buffer, for a crowd of idle ones.
    pub(crate) fn idle(door: &Door, name: &str) -> Result<Self> {
        Self::with_buffer(door, name, Session::Clean, 64)
    }

    fn with_buffer(door: &Door, name: &str, session: Session, bytes: usize) -> Result<Self> {
        let stream = Stream::open(door).with_context(|| format!("{door:?}"))?;
        let (due, early) = (Vec::new(), Seen::default());
        let mut client = Self { stream, bytes: vec![0; bytes], filled: 0, due, early };
        client.ask(&packets::connect(name, session))?;
        Ok(client)
    }

    /// Subscribes, until the SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) -> Result<()> {
        self.ask(&packets::subscribe(filter, qos))
    }

    /// Waits until all that was written has been handled.
    pub(crate) fn ping(&mut self) -> Result<()> {
        self.ask(&packets::PINGREQ)
    }

    /// Ends the connection in order, until the engine has closed it too.
    pub(crate) fn close(mut self) -> Result<()> {
        self.write(&packets::DISCONNECT)?;
        let since = Instant::now();
        loop {
            match self.stream.read(&mut self.bytes) {
                Err(error) if is_early(&error) && since.elapsed() < PATIENCE => {}
                Err(error) if is_early(&error) => bail!("it does not close the connection"),
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    }

    fn ask(&mut self, packet: &[u8]) -> Result<()> {
        self.write(packet)?;
        let (since, mut seen) = (Instant::now(), Seen::default());
        while seen.answers == 0 {
            if since.elapsed() > PATIENCE {
                bail!("no answer after {PATIENCE:?}");
            }
            seen += self.read()?;
        }
        self.early = Seen { answers: 0, ..seen };
        Ok(())
    }

    /// Writes bytes of whole packets.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// Reads once, and acknowledges what came at QoS 1. Nothing if nothing came for a while.
    pub(crate) fn read(&mut self) -> Result<Seen> {
        let seen = self.take()?;
        self.acknowledge()?;
        Ok(seen)
    }

    fn take(&mut self) -> Result<Seen> {
        self.due.clear();
        let early = std::mem::take(&mut self.early);
        if early.messages + early.acks > 0 {
            return Ok(early);
        }
        let room = self.bytes.get_mut(self.filled..).context("no room")?;
        match self.stream.read(room) {
            Ok(0) => bail!("the engine closed the connection"),
            Ok(more) => self.filled += more,
            Err(error) if is_early(&error) => return Ok(Seen::default()),
            Err(error) => return Err(error.into()),
        }
        let seen = packets::scan(self.bytes.get(..self.filled).context("filled")?, &mut self.due)?;
        self.bytes.copy_within(seen.consumed..self.filled, 0);
        self.filled -= seen.consumed;
        Ok(seen)
    }

    fn acknowledge(&mut self) -> Result<()> {
        if !self.due.is_empty() {
            self.stream.write_all(&self.due)?;
            self.stream.flush()?;
        }
        Ok(())
    }

    /// Reads until a message has come; when that was, before it is acknowledged.
    pub(crate) fn await_message(&mut self, deadline: Instant) -> Result<Instant> {
        loop {
            let seen = self.take()?;
            let taken = Instant::now();
            self.acknowledge()?;
            if seen.messages > 0 {
                return Ok(taken);
            }
            if taken > deadline {
                bail!("no message came");
            }
        }
    }

    /// Its socket, to be waited for together with others.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Plain(socket) => socket.as_fd(),
            Stream::Mutual(stream) => stream.sock.0.get_ref().as_fd(),
        }
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Stream {
    fn open(door: &Door) -> Result<Self> {
        let (Door::Plain(address) | Door::Mutual(address, ..)) = door;
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(READ_WAIT))?;
        let Door::Mutual(_, name, config) = door else { return Ok(Self::Plain(socket)) };
        let mut tls = ClientConnection::new(Arc::clone(config), name.clone())?;
        let mut gathered = Gathered(BufReader::with_capacity(READ_BYTES, socket));
        while tls.is_handshaking() {
            tls.complete_io(&mut gathered)?;
        }
        Ok(Self::Mutual(Box::new(StreamOwned::new(tls, gathered))))
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Mutual(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Mutual(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Mutual(stream) => stream.flush(),
        }
    }
}

impl Read for Gathered {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
