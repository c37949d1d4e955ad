//! What waits to be sent on one link: three classes, control before messages before bulk.
//!
//! One lock over three queues: the writer takes 64 KiB of frames at a time, so it is held seldom,
//! and it is woken only if it sleeps.
//!
//! **Invariant:** each class is bounded in frames and bytes, and a queue that has ended is empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits;

/// How urgent a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Greetings, feed, presences, pings: before everything.
    Control,
    /// Messages and receipts.
    Message,
    /// Everything that can wait.
    Bulk,
}

impl Class {
    const ALL: [Self; 3] = [Self::Control, Self::Message, Self::Bulk];

    const fn bounds(self) -> (usize, usize) {
        match self {
            Self::Control => (limits::CONTROL_FRAMES_MAX, limits::CONTROL_BYTES_MAX),
            Self::Message => (limits::MESSAGE_FRAMES_MAX, limits::MESSAGE_BYTES_MAX),
            Self::Bulk => (limits::BULK_FRAMES_MAX, limits::BULK_BYTES_MAX),
        }
    }
}

/// Why a frame was not queued. Whose fault: a slow peer, or a caller who is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The class is full.
    #[error("the link's queue is full")]
    Full,
    /// The link is over or closing.
    #[error("the link is closed")]
    Closed,
}

/// The sending end of a live link; clones are the same end.
#[derive(Debug, Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    room: Notify,
    closing: Notify,
}

#[derive(Debug, Default)]
struct State {
    control: Lane,
    message: Lane,
    bulk: Lane,
    closed: bool,
    /// The writer, if it sleeps.
    writer: Option<Waker>,
    /// Callers that wait for room.
    waiting: usize,
}

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

/// What the writer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Frames to write.
    Some,
    /// Nothing, and nothing more will come.
    Over,
}

impl Queue {
    /// Queues one whole frame, at once or not at all.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was queued then.
    pub fn push(&self, class: Class, frame: Bytes) -> Result<(), QueueError> {
        self.try_push(class, frame).map_err(|(error, _)| error)
    }

    /// Queues one whole frame, waiting for room.
    ///
    /// # Errors
    /// [`QueueError::Closed`].
    pub async fn push_wait(&self, class: Class, mut frame: Bytes) -> Result<(), QueueError> {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.try_push(class, frame) {
                Ok(()) => return Ok(()),
                Err((QueueError::Closed, _)) => return Err(QueueError::Closed),
                Err((QueueError::Full, back)) => frame = back,
            }
            let _waiting = Waiting::new(&self.0);
            // Room may have come before we were counted; then nobody would call.
            if !self.is_full(class, frame.len()) {
                continue;
            }
            room.await;
        }
    }

    /// Lets the link send what is queued, say close_notify and end; nothing more is taken.
    pub fn close(&self) {
        let writer = {
            let mut state = self.lock();
            state.closed = true;
            state.writer.take()
        };
        self.0.room.notify_waiters();
        self.0.closing.notify_waiters();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        let closing = self.0.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Whether the link is over or closing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Bytes that wait, of all classes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.lock();
        state.control.bytes + state.message.bytes + state.bulk.bytes
    }

    /// The link is over: throws everything away.
    pub(super) fn end(&self) {
        self.close();
        let dropped = {
            let mut state = self.lock();
            Class::ALL.map(|class| std::mem::take(state.lane(class)))
        };
        drop(dropped);
    }

    /// The writer is awake: it looks again before it sleeps, and needs no call.
    pub(super) fn attend(&self) {
        self.lock().writer = None;
    }

    /// Takes the next frames in the order of their classes, or sleeps.
    pub(super) fn poll_take(&self, cx: &Context<'_>, out: &mut VecDeque<Bytes>) -> Poll<Taken> {
        let mut state = self.lock();
        state.take(out);
        if out.is_empty() {
            if state.closed {
                return Poll::Ready(Taken::Over);
            }
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.0.room.notify_waiters();
        }
        Poll::Ready(Taken::Some)
    }

    fn try_push(&self, class: Class, frame: Bytes) -> Result<(), (QueueError, Bytes)> {
        let writer = {
            let mut state = self.lock();
            if state.closed {
                return Err((QueueError::Closed, frame));
            }
            let lane = state.lane(class);
            if !lane.has_room(class, frame.len()) {
                return Err((QueueError::Full, frame));
            }
            lane.bytes += frame.len();
            lane.frames.push_back(frame);
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    fn is_full(&self, class: Class, length: usize) -> bool {
        let mut state = self.lock();
        !state.closed && !state.lane(class).has_room(class, length)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Control => &mut self.control,
            Class::Message => &mut self.message,
            Class::Bulk => &mut self.bulk,
        }
    }

    fn take(&mut self, out: &mut VecDeque<Bytes>) {
        let mut bytes = 0;
        for class in Class::ALL {
            let lane = self.lane(class);
            while let Some(frame) = lane.frames.front() {
                let whole = bytes + frame.len();
                let full = whole > limits::WRITE_BYTES_MAX || out.len() >= limits::WRITE_FRAMES_MAX;
                if full && !out.is_empty() {
                    return;
                }
                bytes = whole;
                lane.bytes -= frame.len();
                out.extend(lane.frames.pop_front());
            }
            lane.rest();
        }
    }
}

impl Lane {
    fn has_room(&self, class: Class, length: usize) -> bool {
        let (frames, bytes) = class.bounds();
        self.frames.len() < frames && (self.bytes + length <= bytes || self.frames.is_empty())
    }

    /// An empty lane keeps no more memory than a handful of frames needs.
    fn rest(&mut self) {
        if self.frames.capacity() > limits::WRITE_FRAMES_MAX {
            self.frames.shrink_to(64);
        }
    }
}

/// Counts one caller that waits for room.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.state.lock().unwrap_or_else(PoisonError::into_inner).waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    fn take(queue: &Queue) -> Vec<usize> {
        let mut out = VecDeque::new();
        let _ = queue.poll_take(&Context::from_waker(Waker::noop()), &mut out);
        out.iter().map(Bytes::len).collect()
    }

    #[test]
    fn control_goes_before_messages_before_bulk() {
        let queue = Queue::default();
        queue.push(Class::Bulk, frame(3)).unwrap();
        queue.push(Class::Message, frame(2)).unwrap();
        queue.push(Class::Control, frame(1)).unwrap();
        queue.push(Class::Control, frame(1)).unwrap();
        assert_eq!(take(&queue), [1, 1, 2, 3]);
    }

    #[test]
    fn one_take_is_64_kib_or_one_frame() {
        let queue = Queue::default();
        for _ in 0..3 {
            queue.push(Class::Bulk, frame(40 * 1024)).unwrap();
        }
        queue.push(Class::Bulk, frame(64 * 1024 + 5)).unwrap();
        assert_eq!(take(&queue).len(), 1);
        queue.push(Class::Control, frame(1)).unwrap();
        assert_eq!(take(&queue), [1, 40 * 1024]);
        assert_eq!(take(&queue).len(), 1);
        assert_eq!(take(&queue), [64 * 1024 + 5]);
    }

    #[test]
    fn a_full_class_says_so_and_the_others_go_on() {
        let queue = Queue::default();
        for _ in 0..limits::CONTROL_FRAMES_MAX {
            queue.push(Class::Control, frame(1)).unwrap();
        }
        assert_eq!(queue.push(Class::Control, frame(1)), Err(QueueError::Full));
        queue.push(Class::Message, frame(1)).unwrap();
        queue.push(Class::Bulk, frame(limits::BULK_BYTES_MAX)).unwrap();
        assert_eq!(queue.push(Class::Bulk, frame(1)), Err(QueueError::Full));
    }

    #[derive(Default)]
    struct Calls(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_sleeping_writer_is_called_once_and_one_that_is_awake_is_not() {
        let (queue, calls) = (Queue::default(), Arc::new(Calls::default()));
        let waker = Waker::from(calls.clone());
        let look = || {
            let mut out = VecDeque::new();
            let _ = queue.poll_take(&Context::from_waker(&waker), &mut out);
            (out.len(), calls.0.swap(0, std::sync::atomic::Ordering::Relaxed))
        };
        let push = || queue.push(Class::Control, frame(1)).unwrap();
        assert_eq!(look(), (0, 0));
        push();
        push();
        assert_eq!(look(), (2, 1), "asleep: called once");
        assert_eq!(look(), (0, 0));
        queue.attend();
        push();
        assert_eq!(look(), (1, 0), "awake: it looks by itself");
        assert_eq!(look(), (0, 0));
        push();
        assert_eq!(look(), (1, 1), "and asleep again it is called");
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_an_ended_one_nothing() {
        let queue = Queue::default();
        queue.push(Class::Message, frame(7)).unwrap();
        queue.close();
        assert_eq!(queue.push(Class::Message, frame(1)), Err(QueueError::Closed));
        assert_eq!(take(&queue), [7]);
        let queue = Queue::default();
        queue.push(Class::Message, frame(7)).unwrap();
        queue.end();
        assert_eq!((queue.bytes(), take(&queue).len()), (0, 0));
    }
}
