//! Messages from publishers to subscribers through one engine, counted: a rate, and what was lost.
//!
//! One thread publishes, one receives; each has its connections from before the clock starts. A
//! publisher at QoS 0 writes as fast as the engine takes it, one at QoS 1 keeps a window. The rate
//! is that of messages that arrived, until the last one did.
//!
//! **Invariant:** at QoS 1 a message that does not arrive, or twice, fails the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::{Client, Door, PATIENCE};
use super::packets::{self, Qos, Session, TOPIC};
use crate::harness::number;

/// Messages of QoS 1 that may be unacknowledged: below what any of the engines allows.
const WINDOW: usize = 1000;
/// Messages of the pre-encoded block: identifiers come again only after twice the window.
const BLOCK: usize = 2048;
/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;
/// After so long without a message, what has not come at QoS 0 is lost.
const QUIET: Duration = Duration::from_secs(1);
/// Messages of the very first try, from which the size of a round is found.
const FIRST: usize = 4000;
/// A round has at most so many.
const MOST: usize = 4_000_000;
/// How long two engines may take until the first message comes through both.
const JOINED: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) qos: Qos,
    pub(crate) bytes: usize,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Messages in one write.
    pub(crate) write_messages: usize,
}

impl Shape {
    /// One publisher, one subscriber, large writes.
    pub(crate) fn new(qos: Qos, bytes: usize) -> Self {
        let write_messages = (WRITE_BYTES / (bytes + 18)).clamp(1, WINDOW / 4);
        Self { qos, bytes, publishers: 1, subscribers: 1, write_messages }
    }

    /// A write for each message.
    pub(crate) fn unbatched(self) -> Self {
        Self { write_messages: 1, ..self }
    }

    /// One publisher, many subscribers.
    pub(crate) fn out(self, subscribers: usize) -> Self {
        Self { subscribers, ..self }
    }

    /// Many publishers, one subscriber.
    pub(crate) fn many(self, publishers: usize) -> Self {
        Self { publishers, ..self }
    }
}

/// Connections to one engine, or two that are joined, and the block of messages to send.
pub(crate) struct Flow {
    publishers: Vec<Client>,
    subscribers: Vec<Client>,
    block: Block,
    shape: Shape,
    /// Messages of the next round.
    count: usize,
    /// How long a round shall take.
    aim: Duration,
    /// The largest share that was lost in a round.
    pub(crate) lost: f64,
}

impl Flow {
    /// Connects everybody: publishers at one door, subscribers at another or the same.
    pub(crate) fn open(from: &Door, to: &Door, shape: Shape, aim: Duration) -> Result<Self> {
        let subscriber = |index| {
            let mut one = Client::connect(to, &format!("subscriber-{index}"), Session::Clean)?;
            one.subscribe(TOPIC, shape.qos)?;
            anyhow::Ok(one)
        };
        let publisher =
            |index| Client::connect(from, &format!("publisher-{index}"), Session::Clean);
        let subscribers = (0..shape.subscribers).map(subscriber).collect::<Result<_>>()?;
        let publishers = (0..shape.publishers).map(publisher).collect::<Result<_>>()?;
        let block = Block::new(shape);
        Ok(Self { publishers, subscribers, block, shape, count: 0, aim, lost: 0.0 })
    }

    /// Waits until messages come through two engines that are joined.
    pub(crate) fn await_join(&mut self) -> Result<()> {
        let since = Instant::now();
        let (Some(from), Some(to)) = (self.publishers.first_mut(), self.subscribers.first_mut())
        else {
            bail!("nobody is connected")
        };
        while since.elapsed() < JOINED {
            from.write(&packets::publish(Qos::Zero, 0, 1))?;
            if to.read()?.messages > 0 {
                while to.read()?.messages > 0 {}
                return Ok(());
            }
        }
        bail!("no message came through after {JOINED:?}")
    }

    /// One round: messages delivered a second.
    pub(crate) fn round(&mut self) -> Result<f64> {
        if self.count == 0 {
            self.count = FIRST;
            self.run()?;
            self.lost = 0.0;
        }
        self.run()
    }

    fn run(&mut self) -> Result<f64> {
        let (published, expected) = (self.count, self.count * self.shape.subscribers);
        let over = AtomicBool::new(false);
        let (publishers, subscribers) = (&mut self.publishers, &mut self.subscribers);
        let (block, shape, over) = (&self.block, self.shape, &over);
        let begin = Instant::now();
        let arrived = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(subscribers, shape.qos, expected, over));
            let sent = publish(publishers, block, shape, published);
            over.store(true, Ordering::Release);
            let arrived = receiving.join().map_err(|_| anyhow!("a thread died"))?;
            sent.and(arrived)
        })?;
        if arrived.count > expected || (arrived.count < expected && shape.qos == Qos::One) {
            bail!("{} of {expected} messages arrived", arrived.count);
        }
        self.lost = self.lost.max(1.0 - number(arrived.count) / number(expected));
        let seconds = arrived.last.duration_since(begin).as_secs_f64();
        let rate = number(arrived.count) / seconds;
        self.count = sized(number(published) / seconds, self.aim);
        Ok(rate)
    }
}

/// Messages of a round that takes about so long.
pub(crate) fn sized(rate: f64, aim: Duration) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below")]
    let count = (rate * aim.as_secs_f64()) as usize;
    count.clamp(FIRST / 2, MOST)
}

/// Messages encoded beforehand, one behind the other, all of one size.
pub(crate) struct Block {
    bytes: Vec<u8>,
    each: usize,
}

impl Block {
    pub(crate) fn new(shape: Shape) -> Self {
        let one = |id| packets::publish(shape.qos, id, shape.bytes);
        let ids = 1..=u16::try_from(BLOCK).unwrap_or(u16::MAX);
        Self { bytes: ids.flat_map(one).collect(), each: one(1).len() }
    }

    /// Some of them from a place on, as many as stand there up to the end.
    fn some(&self, at: usize, count: usize) -> (&[u8], usize) {
        let at = at % BLOCK;
        let count = count.min(BLOCK - at);
        (self.bytes.get(at * self.each..(at + count) * self.each).unwrap_or_default(), count)
    }
}

/// Writes so many messages, in turns if there are several publishers.
fn publish(from: &mut [Client], block: &Block, shape: Shape, count: usize) -> Result<()> {
    if shape.qos == Qos::One {
        return publish_sure(from.first_mut().context("no publisher")?, block, shape, count);
    }
    let mut sent = 0;
    while sent < count {
        for client in &mut *from {
            let (bytes, more) = block.some(sent, shape.write_messages.min(count - sent));
            if more > 0 {
                client.write(bytes)?;
                sent += more;
            }
        }
    }
    Ok(())
}

/// The same at QoS 1, until each is acknowledged.
pub(crate) fn publish_sure(
    client: &mut Client,
    block: &Block,
    shape: Shape,
    count: usize,
) -> Result<()> {
    let (mut sent, mut acked, mut last) = (0, 0, Instant::now());
    while acked < count {
        while sent < count && sent + shape.write_messages <= acked + WINDOW {
            let (bytes, more) = block.some(sent, shape.write_messages.min(count - sent));
            client.write(bytes)?;
            sent += more;
        }
        match client.read()?.acks {
            0 if last.elapsed() > PATIENCE => bail!("{acked} of {sent} messages acknowledged"),
            0 => {}
            more => (acked, last) = (acked + more, Instant::now()),
        }
    }
    Ok(())
}

/// How many came, and when the last.
pub(crate) struct Arrived {
    pub(crate) count: usize,
    last: Instant,
}

/// Reads until so many have come, or none comes any more.
pub(crate) fn receive(
    to: &mut [Client],
    qos: Qos,
    expected: usize,
    over: &AtomicBool,
) -> Result<Arrived> {
    let may_lose = qos == Qos::Zero;
    let mut arrived = Arrived { count: 0, last: Instant::now() };
    while arrived.count < expected {
        let more = match &mut *to {
            [one] => one.read()?.messages,
            many => read_ready(many)?,
        };
        if more > 0 {
            arrived = Arrived { count: arrived.count + more, last: Instant::now() };
            continue;
        }
        let quiet = arrived.last.elapsed();
        if quiet > PATIENCE || (may_lose && quiet > QUIET && over.load(Ordering::Acquire)) {
            break;
        }
    }
    Ok(arrived)
}

/// Reads once from each that has something.
fn read_ready(many: &mut [Client]) -> Result<usize> {
    let wait = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    let ready: Vec<bool> = {
        let one = |client| PollFd::from_borrowed_fd(Client::socket(client), PollFlags::IN);
        let mut all: Vec<PollFd<'_>> = many.iter().map(one).collect();
        poll(&mut all, Some(&wait))?;
        all.iter().map(|one| !one.revents().is_empty()).collect()
    };
    let mut count = 0;
    for (client, _) in many.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        count += client.read()?.messages;
    }
    Ok(count)
}
