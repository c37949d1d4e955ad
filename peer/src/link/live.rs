//! A live link: one task that moves frames both ways until one of many ends.
//!
//! Both directions share a task because they share a TLS session: two tasks would pass its lock
//! back and forth between cores and cost another stack. While a link is idle it holds no buffer.
//!
//! **Invariant:** frames are never torn: an end waits until the frame being written is whole.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use shared::refusal::{Code, Refusal};
use shared::wire::{Body, Frame, HEADER_BYTES, Kind, split};
use tls::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsStream;

use super::failure::{By, Failure};
use super::handshake::drain;
use super::kill::{Guarded, KillSwitch};
use super::queue::{Queue, Taken};
use super::secured::{Secured, farewell};
use crate::limits;

/// Where the frames of a link go.
pub trait Sink: Send + 'static {
    /// Takes all frames of one read, in order. While this waits, nothing more is read from the
    /// link.
    ///
    /// A payload shares the read's buffer with its neighbours: copy what is kept for long.
    ///
    /// # Errors
    /// A refusal; the other side is told its code and the link ends.
    fn batch(
        &mut self,
        frames: Vec<(Kind, Bytes)>,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The other side said goodbye.
    Closed,
    /// The connection broke, for this reason.
    Lost(String),
    /// The kill switch.
    Killed,
    /// One side refused the other.
    Refused {
        /// Why.
        code: Code,
        /// Who refused.
        by: By,
        /// What was wrong, for our own log.
        detail: String,
    },
    /// We closed it, and everything queued was sent.
    Drained,
}

impl Secured {
    /// Makes it a live link: its sending end, and its task, which gives how it ended.
    pub fn start(self, sink: impl Sink) -> (Queue, JoinHandle<End>) {
        let queue = Queue::default();
        let task = tokio::spawn(run(self, sink, queue.clone()));
        (queue, task)
    }
}

/// Ends the queue however the task ends.
struct Ending(Queue);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn run(secured: Secured, sink: impl Sink, queue: Queue) -> End {
    let Secured { stream, buffer, kill, role, .. } = secured;
    let ending = Ending(queue.clone());
    let (read, write) = tokio::io::split(stream);
    let mut reader = Reader { io: read, buffer, role };
    let mut writer = Writer::new(write, queue.clone());
    let end = tokio::select! {
        biased;
        () = kill.killed() => End::Killed,
        end = attended(&queue, reader.run(sink)) => end,
        end = writer.run(role) => end,
        () = overdue(&queue) => End::Lost("the other side did not read what was left".to_owned()),
    };
    drop(ending);
    // Whatever went wrong under a cut link went wrong because it was cut.
    if kill.is_killed() {
        return End::Killed;
    }
    part(reader, writer, &end, &kill).await;
    if kill.is_killed() { End::Killed } else { end }
}

/// Reads, while the queue wakes nobody: the writer is looked at next, in the same turn. Otherwise
/// each answer of the reader's would have the task run once more, often on another core.
async fn attended<F: Future>(queue: &Queue, reading: F) -> F::Output {
    let mut reading = pin!(reading);
    poll_fn(|cx| {
        queue.attend();
        reading.as_mut().poll(cx)
    })
    .await
}

/// A link that closes may drain, but not for ever.
async fn overdue(queue: &Queue) {
    queue.closed().await;
    sleep(limits::DRAIN).await;
}

/// Says goodbye in the way the end asks for, within [`limits::LINGER`].
async fn part(reader: Reader, mut writer: Writer, end: &End, kill: &KillSwitch) {
    let parting = async {
        if matches!(end, End::Lost(_)) || writer.finish_frame().await.is_err() {
            return;
        }
        let mut stream = reader.io.unsplit(writer.io);
        if let End::Refused { code, by: By::Us, .. } = end {
            farewell(&mut stream, *code, limits::LINGER).await;
        } else if stream.shutdown().await.is_ok() {
            drain(&mut stream).await;
        }
    };
    tokio::select! {
        () = kill.killed() => {}
        _ = timeout(limits::LINGER, parting) => {}
    }
}

struct Reader {
    io: ReadHalf<TlsStream<Guarded>>,
    buffer: BytesMut,
    role: Role,
}

impl Reader {
    async fn run(&mut self, mut sink: impl Sink) -> End {
        loop {
            let (frames, end) = self.frames();
            if !frames.is_empty()
                && let Err(refusal) = sink.batch(frames).await
            {
                return refused_by_us(refusal.code, refusal.detail);
            }
            if let Some(end) = end {
                return end;
            }
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return end_of(&error, self.role),
            }
        }
    }

    /// Every whole frame in the buffer, and the end if there is one after them.
    fn frames(&mut self) -> (Vec<(Kind, Bytes)>, Option<End>) {
        let mut frames = Vec::new();
        loop {
            let (kind, whole) = match split(&self.buffer) {
                Ok(Some((frame, whole))) => {
                    if let Some(end) = end_in(&frame) {
                        return (frames, Some(end));
                    }
                    (frame.kind, whole)
                }
                Ok(None) => return (frames, None),
                Err(error) => {
                    return (frames, Some(refused_by_us(Code::Malformed, error.to_string())));
                }
            };
            let mut payload = self.buffer.split_to(whole);
            payload.advance(HEADER_BYTES);
            frames.push((kind, payload.freeze()));
        }
    }

    /// Reads at least something; gives the buffer back to the allocator when there is nothing.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.missing().max(limits::READ_BYTES));
        let read = pin!(self.io.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        read
    }

    /// Bytes the frame in the buffer still lacks; its length was looked at by `split`.
    fn missing(&self) -> usize {
        let announced = self.buffer.first_chunk::<4>().map(|header| u32::from_be_bytes(*header));
        announced.map_or(0, |length| (length as usize + 4).saturating_sub(self.buffer.len()))
    }
}

/// The two kinds of frame that end a link are not handed on.
fn end_in(frame: &Frame<'_>) -> Option<End> {
    if !matches!(frame.kind, Kind::Refused | Kind::Bye) {
        return None;
    }
    Some(match Body::parse(frame) {
        Ok(Body::Refused(code)) => {
            End::Refused { code, by: By::Them, detail: format!("the other side refused: {code}") }
        }
        Ok(_) => End::Closed,
        Err(error) => refused_by_us(Code::Malformed, error.to_string()),
    })
}

const fn refused_by_us(code: Code, detail: String) -> End {
    End::Refused { code, by: By::Us, detail }
}

fn end_of(error: &io::Error, role: Role) -> End {
    let failure = Failure::of_io(error, role);
    match failure.code {
        Some(code) => End::Refused { code, by: failure.by, detail: failure.detail },
        None => End::Lost(failure.detail),
    }
}

struct Writer {
    io: WriteHalf<TlsStream<Guarded>>,
    queue: Queue,
    /// Frames taken from the queue and not yet begun.
    taken: VecDeque<Bytes>,
    /// What is being written: whole frames, less what is written already.
    current: Bytes,
    scratch: BytesMut,
}

impl Writer {
    fn new(io: WriteHalf<TlsStream<Guarded>>, queue: Queue) -> Self {
        let (taken, current, scratch) = Default::default();
        Self { io, queue, taken, current, scratch }
    }

    async fn run(&mut self, role: Role) -> End {
        match self.pump().await {
            Ok(()) => End::Drained,
            Err(error) => end_of(&error, role),
        }
    }

    async fn pump(&mut self) -> io::Result<()> {
        loop {
            self.write_current().await?;
            if self.load() {
                continue;
            }
            let taken = poll_fn(|cx| Poll::Ready(self.queue.poll_take(cx, &mut self.taken))).await;
            let taken = match taken {
                Poll::Ready(taken) => taken,
                Poll::Pending => {
                    self.io.flush().await?;
                    self.rest();
                    poll_fn(|cx| self.queue.poll_take(cx, &mut self.taken)).await
                }
            };
            if taken == Taken::Over {
                return self.io.flush().await;
            }
        }
    }

    /// Completes the frame that was begun, so that another may follow.
    async fn finish_frame(&mut self) -> io::Result<()> {
        self.write_current().await
    }

    async fn write_current(&mut self) -> io::Result<()> {
        while !self.current.is_empty() {
            let written = self.io.write(&self.current).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.current.advance(written);
        }
        Ok(())
    }

    /// Makes the next write of what was taken: one large frame as it lies, or many small ones.
    fn load(&mut self) -> bool {
        let Some(first) = self.taken.pop_front() else { return false };
        let alone = self.taken.front().is_none_or(|next| next.len() >= limits::DIRECT_BYTES_MIN);
        if alone || first.len() >= limits::DIRECT_BYTES_MIN {
            self.current = first;
            return true;
        }
        self.current = Bytes::new();
        self.scratch.reserve(limits::WRITE_BYTES_MAX.min(self.small_bytes() + first.len()));
        self.scratch.extend_from_slice(&first);
        while let Some(next) = self.taken.pop_front() {
            if next.len() >= limits::DIRECT_BYTES_MIN {
                self.taken.push_front(next);
                break;
            }
            self.scratch.extend_from_slice(&next);
        }
        self.current = self.scratch.split().freeze();
        true
    }

    fn small_bytes(&self) -> usize {
        let small = self.taken.iter().map(Bytes::len);
        small.take_while(|length| *length < limits::DIRECT_BYTES_MIN).sum()
    }

    /// Keeps nothing while there is nothing to do.
    fn rest(&mut self) {
        self.current = Bytes::new();
        self.scratch = BytesMut::new();
        self.taken = VecDeque::new();
    }
}
