//! The kill switch under TLS: one call, and nothing more passes in either direction.
//!
//! Closing politely leaves tens of KiB queued for a node that has just been turned out, and a
//! writer that waits for it to read. So the cut is made below TLS: every poll of the socket fails,
//! whoever waits is woken, and SO_LINGER 0 makes the kernel throw away what it has not sent.
//!
//! **Invariant:** after [`KillSwitch::kill`] no poll of a [`Guarded`] returns data or stays
//! pending.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsStream;

/// Cuts one connection; clones cut the same one.
#[derive(Debug, Clone, Default)]
pub struct KillSwitch(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    killed: AtomicBool,
    /// Whoever waits to read, and whoever waits to write.
    parked: Mutex<[Option<Waker>; 2]>,
    notify: Notify,
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

impl KillSwitch {
    /// Cuts the connection, at once and for good.
    pub fn kill(&self) {
        if self.0.killed.swap(true, Ordering::SeqCst) {
            return;
        }
        let parked =
            std::mem::take(&mut *self.0.parked.lock().unwrap_or_else(PoisonError::into_inner));
        parked.into_iter().flatten().for_each(Waker::wake);
        self.0.notify.notify_waiters();
    }

    /// Whether it was cut.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::SeqCst)
    }

    /// Waits until it is cut.
    pub async fn killed(&self) {
        let notified = self.0.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_killed() {
            notified.await;
        }
    }

    /// Remembers whom to wake; ready if the cut came in between.
    fn park(&self, side: Side, cx: &Context<'_>) -> bool {
        let mut parked = self.0.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let [read, write] = &mut *parked;
        let slot = if matches!(side, Side::Read) { read } else { write };
        match slot {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *slot = Some(cx.waker().clone()),
        }
        drop(parked);
        self.is_killed()
    }
}

/// A connection that a [`KillSwitch`] can cut.
#[derive(Debug)]
pub struct Guarded {
    path: Path,
    kill: KillSwitch,
    /// Whether it never lingers: the other side is left to close it.
    abrupt: bool,
}

/// What a connection goes over.
#[derive(Debug)]
enum Path {
    /// TCP.
    Direct(TcpStream),
    /// A circuit: our TLS connection with a relay, which carries the other end's octets.
    Relayed(Box<Relayed>),
}

/// A circuit after the relay's "ready".
#[derive(Debug)]
struct Relayed {
    /// What came in the same read as "ready"; it is the other end's.
    early: BytesMut,
    stream: TlsStream<Guarded>,
}

impl Guarded {
    /// Puts a connection under a switch.
    #[must_use]
    pub const fn new(tcp: TcpStream, kill: KillSwitch) -> Self {
        Self { path: Path::Direct(tcp), kill, abrupt: false }
    }

    /// The same for a connection from the port that we listen on: it must leave nothing behind, or
    /// the next one between the same two ports would have to wait for a minute (TIME-WAIT).
    pub(super) fn abrupt(tcp: TcpStream, kill: KillSwitch) -> Self {
        let guarded = Self { path: Path::Direct(tcp), kill, abrupt: true };
        guarded.discard();
        guarded
    }

    /// Puts a circuit under the switch that its connection with the relay is under: one kill cuts
    /// the TCP connection below both.
    pub(super) fn relayed(stream: TlsStream<Self>, early: BytesMut, kill: KillSwitch) -> Self {
        let path = Path::Relayed(Box::new(Relayed { early, stream }));
        Self { path, kill, abrupt: false }
    }

    fn poll<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut Path>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.kill.is_killed() {
            return self.cut();
        }
        match act(Pin::new(&mut self.path), cx) {
            Poll::Pending if self.kill.park(side, cx) => self.cut(),
            other => other,
        }
    }

    fn cut<T>(&self) -> Poll<io::Result<T>> {
        self.discard();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link was cut")))
    }

    /// From now on it closes as any connection, whatever was done to it before.
    pub(super) fn settle(&self) {
        if let Path::Direct(tcp) = &self.path {
            let _ = socket2::SockRef::from(tcp).set_linger(None);
        }
    }

    /// Makes the kernel forget unsent bytes when the socket closes, and send RST.
    fn discard(&self) {
        match &self.path {
            // A socket that is gone already has nothing left to forget.
            Path::Direct(tcp) => {
                let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
            }
            Path::Relayed(relayed) => relayed.stream.get_ref().0.discard(),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.kill.is_killed() {
            self.discard();
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll(Side::Read, cx, |path, cx| path.poll_read(cx, buf))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(Side::Write, cx, |path, cx| path.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(Side::Write, cx, |path, cx| path.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.path.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(Side::Write, cx, |path, cx| path.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let abrupt = self.abrupt;
        self.get_mut().poll(Side::Write, cx, |path, cx| {
            if abrupt { path.poll_flush(cx) } else { path.poll_shutdown(cx) }
        })
    }
}

impl AsyncRead for Path {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Relayed(relayed) if relayed.early.is_empty() => {
                Pin::new(&mut relayed.stream).poll_read(cx, buf)
            }
            Self::Relayed(relayed) => {
                let length = relayed.early.len().min(buf.remaining());
                buf.put_slice(&relayed.early.split_to(length));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Path {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Relayed(relayed) => Pin::new(&mut relayed.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Relayed(relayed) => Pin::new(&mut relayed.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Direct(tcp) => tcp.is_write_vectored(),
            Self::Relayed(relayed) => relayed.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Relayed(relayed) => Pin::new(&mut relayed.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Relayed(relayed) => Pin::new(&mut relayed.stream).poll_shutdown(cx),
        }
    }
}
