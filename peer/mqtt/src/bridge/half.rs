//! One half of a bridge, served like any connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::BytesMut;
use bytestring::ByteString;
use shared::time::{Now, Tick};

use super::{Side, Span};
use crate::client::State;

/// See above; a clone is the same half, to look at.
#[derive(Debug, Clone)]
pub struct Half {
    span: Arc<Mutex<Span>>,
    side: Side,
}

impl Half {
    pub(super) const fn new(span: Arc<Mutex<Span>>, side: Side) -> Self {
        Self { span, side }
    }

    fn lock(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which end it is at.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> ByteString {
        self.lock().terms.engine.clone()
    }

    /// Takes what was read; what has to wait stays in the buffer.
    pub fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        self.lock().handle_bytes(self.side, buffer, now);
    }

    /// Goes on with what stayed in the buffer; says whether anything was done.
    pub fn resume(&mut self, buffer: &mut BytesMut, now: Now) -> bool {
        let mut span = self.lock();
        if buffer.is_empty() || span.waits(self.side) || span.why.is_some() {
            return false;
        }
        let before = buffer.len();
        span.handle_bytes(self.side, buffer, now);
        buffer.len() < before
    }

    /// Fills an empty buffer with what is to be written.
    pub fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        let mut span = self.lock();
        let end = span.end(self.side);
        std::mem::swap(out, &mut end.out);
        keep(&mut end.waker, waker);
        if !out.is_empty() {
            end.said = now.tick;
            let other = self.side.other();
            if span.end(other).held && !span.holds(other) {
                span.end(other).wake();
            }
        }
        if span.why.is_some() { State::Ending } else { State::Open }
    }

    /// Whether nothing is to be read for now; `waker` is woken when that changes.
    pub fn is_held(&mut self, waker: &Waker) -> bool {
        let mut span = self.lock();
        let held = span.holds(self.side);
        let end = span.end(self.side);
        end.held = held;
        keep(&mut end.waker, waker);
        held
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        if self.side == Side::Local {
            return None;
        }
        self.lock().next_deadline()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.lock().handle_timeout(now.tick);
    }

    /// The connection failed.
    pub fn handle_failed(&mut self, why: String) {
        self.lock().over(why);
    }

    /// The connection ended; the other half ends too.
    pub fn handle_closed(&mut self) {
        let words = super::name(self.side);
        self.lock().over(format!("{words} closed the connection"));
    }

    /// Why it ended.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.lock().why.clone()
    }

    /// Whether both sides are connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.lock().local.welcome
    }

    /// Since when both sides are connected and have answered what is wanted of them, if they have.
    #[must_use]
    pub fn up_since(&self) -> Option<Tick> {
        self.lock().up_since
    }

    /// Whether the engine is to forget its session in the next attempt.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.lock().anew
    }
}

fn keep(slot: &mut Option<Waker>, waker: &Waker) {
    if !slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}
