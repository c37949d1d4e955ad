//! Receivers that did not keep up, and how long whoever brings messages waits for them.
//!
//! A receiver that takes half of what may wait for it within [`HOLD_MS`] is waited for on: it is
//! full again only because others brought theirs first, and loses nothing however many speak to it.
//! Any other one is slow, and is left behind.

use std::sync::Arc;
use std::task::Waker;

use shared::time::Tick;

use crate::limits::HOLD_MS;
use crate::session::{Session, Taken};

/// Those who are waited for.
#[derive(Debug, Default)]
pub(crate) struct Held {
    behind: Vec<Behind>,
    /// Since when.
    since: Option<Tick>,
}

#[derive(Debug)]
struct Behind {
    session: Arc<Session>,
    /// How far it had come.
    taken: Taken,
}

impl Held {
    /// This one is full; waiting begins with [`Held::begin`].
    pub(crate) fn push(&mut self, session: &Arc<Session>, taken: Taken) {
        self.behind.push(Behind { session: Arc::clone(session), taken });
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.behind.is_empty()
    }

    /// From now on they are waited for, if any are.
    pub(crate) const fn begin(&mut self, now: Tick) {
        if !self.behind.is_empty() && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Whether any is waited for still; `waker` is woken when that may have changed.
    pub(crate) fn look(&mut self, waker: &Waker) -> bool {
        self.behind.retain(|behind| !behind.session.keeps_up(waker));
        if self.behind.is_empty() {
            self.since = None;
        }
        !self.behind.is_empty()
    }

    /// When [`Held::leave`] is due.
    pub(crate) fn due(&self) -> Option<Tick> {
        self.since.map(|since| since.plus_ms(HOLD_MS))
    }

    /// Leaves behind whoever was too slow all that time.
    pub(crate) fn leave(&mut self, now: Tick) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        self.behind.retain_mut(|behind| {
            let taken = behind.session.leave_behind(behind.taken);
            taken.inspect(|taken| behind.taken = *taken).is_some()
        });
        self.since = (!self.behind.is_empty()).then_some(now);
    }
}
