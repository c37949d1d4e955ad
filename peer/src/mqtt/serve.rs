//! One client's connection: one task that reads all there is, lets the machine handle it, and
//! writes what came of it in one go.
//!
//! **Invariant:** an idle connection holds no buffer.
//! **Invariant:** a connection that we end is told why, half-closed, and read on for a moment: one
//! that is closed with unread data sends RST, which overtakes what was written.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use host::clock::Clock;
use mqtt::limits::LINGER_MS;
use mqtt::{Client, State, Uplink};
use shared::time::{Now, Tick};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::limits::{
    MQTT_GATHER, MQTT_GATHER_BYTES, MQTT_QUICK, MQTT_QUICK_READS, MQTT_READ_BYTES_MAX,
    MQTT_READ_BYTES_MIN, MQTT_WRITE,
};

/// What is served: a client's connection, or our own end of another peer's.
pub(super) trait Machine {
    /// Takes what was read.
    fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now);
    /// Fills an empty buffer with what is to be written.
    fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State;
    /// Whether nothing is to be read for now.
    fn is_held(&mut self, waker: &Waker) -> bool;
    /// Goes on with what it left in the buffer; says whether it did anything.
    fn resume(&mut self, _: &mut BytesMut, _: &Waker, _: Now) -> bool {
        false
    }
    /// When `handle_timeout` is due.
    fn next_deadline(&self) -> Option<Tick>;
    /// Time has passed.
    fn handle_timeout(&mut self, now: Now);
    /// The connection failed; `handle_closed` comes next.
    fn handle_failed(&mut self, _: &io::Error) {}
    /// The connection ended.
    fn handle_closed(&mut self, now: Now);
}

impl Machine for Client {
    fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        Self::handle_bytes(self, buffer, now);
    }
    fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        Self::fill(self, out, waker, now)
    }
    fn is_held(&mut self, waker: &Waker) -> bool {
        Self::is_held(self, waker)
    }
    fn next_deadline(&self) -> Option<Tick> {
        Self::next_deadline(self)
    }
    fn handle_timeout(&mut self, now: Now) {
        Self::handle_timeout(self, now);
    }
    fn resume(&mut self, buffer: &mut BytesMut, _: &Waker, now: Now) -> bool {
        Self::resume(self, buffer, now)
    }
    fn handle_closed(&mut self, now: Now) {
        Self::handle_closed(self, now);
    }
}

impl Machine for Uplink {
    fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        Self::handle_bytes(self, buffer, now);
    }
    fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        Self::fill(self, out, waker, now)
    }
    fn is_held(&mut self, _: &Waker) -> bool {
        false
    }
    fn resume(&mut self, buffer: &mut BytesMut, waker: &Waker, now: Now) -> bool {
        Self::resume(self, buffer, waker, now)
    }
    fn next_deadline(&self) -> Option<Tick> {
        Self::next_deadline(self)
    }
    /// What is due is said when the buffer is filled next, which comes after this.
    fn handle_timeout(&mut self, _: Now) {}
    fn handle_closed(&mut self, _: Now) {
        Self::handle_closed(self);
    }
}

/// Serves a machine until its connection ends.
///
/// Not an `async fn`: that would keep the place of each argument beside the place it is moved to,
/// which for the machine of an idle client is a quarter of a kilobyte.
pub(super) fn serve<S, M>(stream: S, machine: M, clock: Clock) -> impl Future<Output = M>
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
{
    let mut connection = Connection {
        stream,
        machine,
        clock,
        inbound: BytesMut::new(),
        reading: MQTT_READ_BYTES_MIN,
        was_full: false,
        pace: Pace::default(),
        out: Vec::new(),
        written: 0,
        unflushed: false,
        stuck_since: None,
        awaited: (None, None),
    };
    async move {
        let ended = {
            let mut alarm = pin!(sleep_until(Instant::now()));
            std::future::poll_fn(|cx| connection.poll(cx, alarm.as_mut())).await
        };
        let rest = connection.out.get(connection.written..).unwrap_or_default();
        match ended {
            // Boxed: it is needed once, and its place would be kept for the whole time.
            Ok(()) => Box::pin(hang_up(&mut connection.stream, rest)).await,
            Err(error) => connection.machine.handle_failed(&error),
        }
        connection.machine.handle_closed(connection.clock.now());
        connection.machine
    }
}

struct Connection<S, M> {
    stream: S,
    machine: M,
    clock: Clock,
    inbound: BytesMut,
    /// Bytes asked for in one read: more after a read that was full.
    reading: usize,
    was_full: bool,
    pace: Pace,
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// Since when the client has not taken a byte.
    stuck_since: Option<Instant>,
    /// What the alarm is set for: what the machine wants, and `stuck_since`.
    awaited: (Option<Tick>, Option<Instant>),
}

impl<S: AsyncRead + AsyncWrite + Unpin, M: Machine> Connection<S, M> {
    /// Ready when the connection is to end: by us, or with the error that ended it.
    fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<io::Result<()>> {
        loop {
            let moved = self.poll_write(cx)?;
            if self.out.is_empty() {
                let now = self.clock.now();
                let state = self.machine.fill(&mut self.out, cx.waker(), now);
                if state == State::Ending {
                    return Poll::Ready(Ok(()));
                }
                if !self.out.is_empty() {
                    continue;
                }
            }
            let gathers = self.pace.gathers(Instant::now);
            let read = !gathers && self.poll_read(cx)?;
            let resumed = self.machine.resume(&mut self.inbound, cx.waker(), self.clock.now());
            if resumed {
                continue;
            }
            // Those who were handed a message write it first, and its acknowledgement comes after.
            if gathers || read && !self.was_full || !read && self.pace.is_quick(Instant::now) {
                return pin!(tokio::task::yield_now()).poll(cx).map(Ok);
            }
            if moved || read {
                continue;
            }
            self.rest();
            ready!(self.poll_alarm(cx, alarm.as_mut()))?;
        }
    }

    /// Writes what there is; says whether all of it went.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while let Some(left @ [_, ..]) = self.out.get(self.written..) {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => {
                    self.written += length;
                    self.unflushed = true;
                    self.stuck_since = None;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
            }
        }
        let full = !self.out.is_empty();
        self.out.clear();
        self.written = 0;
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(full)
    }

    /// Reads what has come; says whether anything had. It is read even while not all is written:
    /// the other side may do as we do.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.machine.is_held(cx.waker()) {
            return Ok(false);
        }
        self.inbound.reserve(self.reading);
        let read = pin!(self.stream.read_buf(&mut self.inbound)).poll(cx);
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(length)) => {
                self.pace.note(length, Instant::now());
                self.was_full = length >= self.reading;
                self.reading = if self.was_full { MQTT_READ_BYTES_MAX } else { self.reading };
                self.machine.handle_bytes(&mut self.inbound, self.clock.now());
                Ok(true)
            }
        }
    }

    /// Gives back what an idle connection does not need.
    fn rest(&mut self) {
        if self.inbound.is_empty() {
            self.inbound = BytesMut::new();
            self.reading = MQTT_READ_BYTES_MIN;
        }
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }

    /// When the first of what is awaited is due.
    fn moment(&self) -> Option<Instant> {
        let (wanted, stuck_since) = self.awaited;
        let now = self.clock.now().tick;
        let wanted = wanted.map(|at| Instant::now() + at.until(now));
        [wanted, stuck_since.map(|since| since + MQTT_WRITE)].into_iter().flatten().min()
    }

    /// Waits until something is due, and does it.
    fn poll_alarm(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Poll<io::Result<()>> {
        let awaited = (self.machine.next_deadline(), self.stuck_since);
        // Set once: an alarm that is set anew when it rings does not ring.
        if awaited != self.awaited {
            self.awaited = awaited;
            if let Some(at) = self.moment() {
                alarm.as_mut().reset(at);
            }
        }
        if awaited == (None, None) {
            return Poll::Pending;
        }
        ready!(alarm.poll(cx));
        self.awaited = (None, None);
        if self.stuck_since.is_some_and(|since| since + MQTT_WRITE <= Instant::now()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.machine.handle_timeout(self.clock.now());
        Poll::Ready(Ok(()))
    }
}

/// How fast reads follow each other: a client that writes each message by itself would otherwise
/// wake this thread for each, and this thread each receiver. From such a stream what comes is
/// gathered for a moment, so that several messages are read, and told, at once.
#[derive(Debug, Default)]
struct Pace {
    quick: u32,
    last: Option<Instant>,
    /// Bytes of the last read that was not gathered.
    single: usize,
}

impl Pace {
    /// So much was read.
    fn note(&mut self, length: usize, now: Instant) {
        let before = self.last;
        let within = |bound| before.is_some_and(|last| now - last < bound);
        let quick = if self.is_stream() {
            // Not worth it, if there was no second one.
            length >= 2 * self.single && within(MQTT_GATHER + MQTT_QUICK)
        } else {
            self.single = length;
            within(MQTT_QUICK)
        };
        self.quick = if quick { self.quick.saturating_add(1) } else { self.quick / 2 };
        self.quick = self.quick.min(2 * MQTT_QUICK_READS);
        self.last = Some(now);
    }

    /// Whether it is a stream of small writes.
    const fn is_stream(&self) -> bool {
        self.quick >= MQTT_QUICK_READS && self.single <= MQTT_GATHER_BYTES
    }

    /// Whether what comes is left to gather, rather than read.
    fn gathers(&self, now: impl Fn() -> Instant) -> bool {
        self.is_stream() && self.last.is_some_and(|last| now() - last < MQTT_GATHER)
    }

    /// Whether the next is likely to come before sleep would.
    fn is_quick(&self, now: impl Fn() -> Instant) -> bool {
        let bound = if self.is_stream() { MQTT_GATHER + MQTT_QUICK } else { MQTT_QUICK };
        let lately = || self.last.is_some_and(|last| now() - last < bound);
        self.quick >= MQTT_QUICK_READS && lately()
    }
}

/// Writes the rest, half-closes, and reads until the other side has closed too, within bounds.
async fn hang_up(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), rest: &[u8]) {
    let _ = timeout(Duration::from_millis(LINGER_MS), async {
        stream.write_all(rest).await?;
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_that_follow_each_other_are_gathered_as_long_as_it_is_worth_it() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        let read = |pace: &mut Pace, now: &mut Instant, after: Duration, length| {
            *now += after;
            pace.note(length, *now);
            (pace.gathers(|| *now), pace.is_quick(|| *now))
        };
        assert_eq!(read(&mut pace, &mut now, MQTT_QUICK, 66), (false, false));
        for _ in 1..MQTT_QUICK_READS {
            let looks = read(&mut pace, &mut now, MQTT_QUICK / 2, 66);
            assert_eq!(looks, (false, false));
        }
        assert_eq!(read(&mut pace, &mut now, MQTT_QUICK / 2, 66), (true, true));
        assert!(!pace.gathers(|| now + MQTT_GATHER) && pace.is_quick(|| now + MQTT_GATHER));
        assert!(!pace.is_quick(|| now + MQTT_GATHER + MQTT_QUICK));
        assert_eq!(read(&mut pace, &mut now, MQTT_GATHER, 10 * 66), (true, true));
        // One message at a time is no stream.
        while pace.is_stream() {
            let _ = read(&mut pace, &mut now, MQTT_GATHER, 66);
        }
        assert_eq!(read(&mut pace, &mut now, MQTT_QUICK, 66), (false, false));
        // What is written many at a time is looked for, and not kept waiting.
        for _ in 0..2 * MQTT_QUICK_READS {
            let _ = read(&mut pace, &mut now, MQTT_QUICK / 2, MQTT_GATHER_BYTES + 1);
        }
        assert_eq!((pace.gathers(|| now), pace.is_quick(|| now)), (false, true));
    }

    /// Wants one thing, and counts how often it is looked at until it has it.
    struct Patient {
        due: Tick,
        looks: u32,
        rang: bool,
    }

    impl Machine for Patient {
        fn handle_bytes(&mut self, _: &mut BytesMut, _: Now) {}
        fn fill(&mut self, _: &mut Vec<u8>, _: &Waker, _: Now) -> State {
            self.looks += 1;
            if self.rang { State::Ending } else { State::Open }
        }
        fn is_held(&mut self, _: &Waker) -> bool {
            true
        }
        fn next_deadline(&self) -> Option<Tick> {
            (!self.rang).then_some(self.due)
        }
        fn handle_timeout(&mut self, now: Now) {
            self.rang |= now.tick >= self.due;
        }
        fn handle_closed(&mut self, _: Now) {}
    }

    #[tokio::test]
    async fn an_alarm_rings_when_it_is_due() {
        let clock = Clock::start();
        for ms in [0, 1, 5, 20] {
            let due = clock.now().tick.plus_ms(ms);
            let machine = Patient { due, looks: 0, rang: false };
            let (near, far) = tokio::io::duplex(64);
            drop(far);
            let machine = serve(near, machine, clock.clone()).await;
            // Before it waits, when it rings, and behind it.
            assert!(machine.rang && machine.looks <= 4, "{} looks", machine.looks);
        }
    }
}
