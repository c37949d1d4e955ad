//! Two ways to move frames between two members: our link, and the bare thing under it.
//!
//! The bare one is what somebody writes in an afternoon who knows the trade: a bounded channel, a
//! task that gathers what waits into one write of at most 64 KiB, a task that reads and splits by
//! length. It has no classes, no kill switch, no verdict. Over plain TCP it shows what TLS costs.
//!
//! **Invariant:** the same bytes travel on all of them before encryption.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow};
use bytes::{Bytes, BytesMut};
use peer::link::{Class, Queue, Sink, accept, dial};
use shared::refusal::Refusal;
use shared::wire::{Kind, frame_into};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::handshake::{Bare, Ours, server_name};

/// Frames that wait in the bare channel: as many as our queue of messages holds.
const WAITING_MAX: usize = 8192;
/// Bytes of one write, as on our links.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Bytes asked for in one read, as on our links.
const READ_BYTES: usize = 16 * 1024;

/// Counts what arrives, and wakes who waits for a number of it.
#[derive(Default)]
pub(crate) struct Meter {
    count: AtomicU64,
    target: AtomicU64,
    reached: Notify,
}

impl Meter {
    /// Counts what has come.
    pub(crate) fn add(&self, count: u64) {
        let now = self.count.fetch_add(count, Ordering::SeqCst) + count;
        if now >= self.target.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    /// Waits until everything announced has come.
    pub(crate) async fn reach(&self) {
        while self.count.load(Ordering::SeqCst) < self.target.load(Ordering::SeqCst) {
            self.reached.notified().await;
        }
    }

    /// Announces how many more will come.
    pub(crate) fn expect(&self, more: u64) {
        self.target.fetch_add(more, Ordering::SeqCst);
    }
}

/// A sending end of any of the three.
#[derive(Clone)]
pub(crate) enum End {
    Link(Queue),
    Bare(mpsc::Sender<Bytes>),
}

impl End {
    /// Sends a frame, waiting for room.
    pub(crate) async fn send(&self, class: Class, frame: Bytes) -> Result<()> {
        match self {
            Self::Link(queue) => Ok(queue.push_wait(class, frame).await?),
            Self::Bare(sender) => sender.send(frame).await.map_err(|_| anyhow!("it ended")),
        }
    }

    /// Sends a small frame for which there is always room here.
    fn send_now(&self, frame: Bytes) {
        // A full queue would show as a ping that is never answered.
        match self {
            Self::Link(queue) => drop(queue.push(Class::Control, frame)),
            Self::Bare(sender) => drop(sender.try_send(frame)),
        }
    }
}

/// A connection, seen from the sender: what arrived there, and what came back.
pub(crate) struct Pipe {
    pub(crate) near: End,
    /// Keeps the other end open.
    _far: End,
    /// Frames that arrived at the far end.
    pub(crate) arrived: Arc<Meter>,
    /// Answers that arrived at the near end.
    pub(crate) answered: Arc<Meter>,
}

/// Makes one frame.
pub(crate) fn frame(kind: Kind, payload: &[u8]) -> Result<Bytes> {
    let mut buffer = Vec::with_capacity(payload.len() + 5);
    frame_into(&mut buffer, kind, payload)?;
    Ok(Bytes::from(buffer))
}

/// What is done with frames at either end: pings are answered, the rest is counted.
struct Counter {
    meter: Arc<Meter>,
    back: Arc<OnceLock<End>>,
    pong: Bytes,
}

impl Counter {
    fn new(meter: &Arc<Meter>) -> Result<(Self, Arc<OnceLock<End>>)> {
        let back = Arc::new(OnceLock::new());
        let pong = frame(Kind::Pong, &[0; 8])?;
        Ok((Self { meter: Arc::clone(meter), back: Arc::clone(&back), pong }, back))
    }

    fn take(&self, frames: impl Iterator<Item = Kind>) {
        let mut count = 0;
        for kind in frames {
            match (kind, self.back.get()) {
                (Kind::Ping, Some(back)) => back.send_now(self.pong.clone()),
                _ => count += 1,
            }
        }
        if count > 0 {
            self.meter.add(count);
        }
    }
}

impl Sink for Counter {
    async fn batch(&mut self, frames: Vec<(Kind, Bytes)>) -> Result<(), Refusal> {
        self.take(frames.iter().map(|(kind, _)| *kind));
        Ok(())
    }
}

impl Pipe {
    /// Our link over loopback.
    pub(crate) async fn ours(ours: &Ours) -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?.to_string();
        let listening = async {
            let (tcp, _) = socket.accept().await?;
            anyhow::Ok(accept(tcp, &ours.listener).await?)
        };
        let dialling = async { anyhow::Ok(dial(&address, None, &ours.dialler).await?) };
        let (near, far) = tokio::try_join!(dialling, listening)?;
        Self::assemble(
            |counter| End::Link(near.start(counter).0),
            |counter| End::Link(far.start(counter).0),
        )
    }

    /// The bare connection over tokio-rustls.
    pub(crate) async fn bare(bare: &Bare) -> Result<Self> {
        let (near, far) = tcp_pair().await?;
        let dialling = TlsConnector::from(Arc::clone(&bare.client)).connect(server_name()?, near);
        let listening = TlsAcceptor::from(Arc::clone(&bare.server)).accept(far);
        let (near, far) = tokio::try_join!(dialling, listening)?;
        Self::assemble(|counter| start(near, counter), |counter| start(far, counter))
    }

    /// The same without TLS.
    pub(crate) async fn tcp() -> Result<Self> {
        let (near, far) = tcp_pair().await?;
        Self::assemble(|counter| start(near, counter), |counter| start(far, counter))
    }

    fn assemble(
        near: impl FnOnce(Counter) -> End,
        far: impl FnOnce(Counter) -> End,
    ) -> Result<Self> {
        let (arrived, answered) = (Arc::new(Meter::default()), Arc::new(Meter::default()));
        let (near_counter, _) = Counter::new(&answered)?;
        let (far_counter, back) = Counter::new(&arrived)?;
        let (near, far) = (near(near_counter), far(far_counter));
        back.set(far.clone()).map_err(|_| anyhow!("set twice"))?;
        Ok(Self { near, _far: far, arrived, answered })
    }
}

/// Two ends of a TCP connection over loopback.
pub(crate) async fn tcp_pair() -> Result<(TcpStream, TcpStream)> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let (near, far) = tokio::join!(TcpStream::connect(address), socket.accept());
    let (near, far) = (near?, far?.0);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn start<S>(stream: S, counter: Counter) -> End
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    // The tasks end with the runtime; an error in one shows as a figure that never comes.
    tokio::spawn(write(writer, receiver));
    tokio::spawn(read(reader, counter));
    End::Bare(sender)
}

async fn write(
    mut io: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    let (mut frames, mut batch) = (Vec::new(), BytesMut::new());
    while waiting.recv_many(&mut frames, 2048).await > 0 {
        for frame in frames.drain(..) {
            if batch.len() + frame.len() > WRITE_BYTES_MAX && !batch.is_empty() {
                io.write_all(&batch).await?;
                batch.clear();
            }
            if frame.len() >= WRITE_BYTES_MAX {
                io.write_all(&frame).await?;
            } else {
                batch.extend_from_slice(&frame);
            }
        }
        io.write_all(&batch).await?;
        batch.clear();
        io.flush().await?;
    }
    Ok(())
}

async fn read(mut io: impl AsyncRead + Unpin, counter: Counter) -> Result<()> {
    let mut buffer = BytesMut::new();
    let mut kinds = Vec::new();
    loop {
        while let Some(header) = buffer.first_chunk::<4>() {
            let whole = 4 + u32::from_be_bytes(*header) as usize;
            if buffer.len() < whole {
                buffer.reserve(whole - buffer.len());
                break;
            }
            let frame = buffer.split_to(whole).freeze();
            let octet = frame.get(4).context("an empty frame")?;
            kinds.push(Kind::from_octet(*octet).context("an unknown kind")?);
        }
        counter.take(kinds.drain(..));
        buffer.reserve(READ_BYTES);
        if io.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
