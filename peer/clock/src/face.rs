//! What everybody reads: the clock's line, copied out without waiting for whoever writes it.
//!
//! One [`Hand`] writes, any number of readers copy. Lines go into slots in turn, each behind a
//! count, so a reader only begins anew if eight lines were written while it copied one; it never
//! waits for the writer. What was shown is kept, so that a reader who is a moment behind shows
//! nobody a time before that which another has seen.
//!
//! **Invariant:** between two steps no reading is less than one that was finished before it began,
//! on whatever thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use crate::limits::{DRIFT, STEPS_MAX};
use crate::moment::{Mono, Utc, signed};

/// How far a clock is from the truth when nobody knows.
pub const UNKNOWN_NS: u64 = u64::MAX;

/// What a clock's time rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing yet: the system's time or the floor.
    #[default]
    Unset,
    /// A majority of the roots.
    Rooted,
    /// The mesh's own time.
    Mesh,
    /// What it rested on before; nobody corrects it now.
    Holding,
}

impl State {
    const ALL: [Self; 4] = [Self::Unset, Self::Rooted, Self::Mesh, Self::Holding];

    fn from_word(word: u64) -> Self {
        Self::ALL.into_iter().find(|state| *state as u64 == word & 0xff).unwrap_or_default()
    }
}

/// A clock as a line over the count of nanoseconds, with what is left to slew.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Line {
    /// Where it begins.
    pub at: Mono,
    /// What it shows there.
    pub utc: Utc,
    /// Its gain over the count, in parts of 1.
    pub rate: f64,
    /// How fast it is moved besides, in parts of 1.
    pub slew: f64,
    /// For how long, in ns.
    pub slew_ns: u64,
    /// How wrong it may be at its end of slewing, as of its beginning; [`UNKNOWN_NS`] if unknown.
    pub bound_ns: u64,
    /// What it rests on.
    pub state: State,
    /// Steps so far.
    pub steps: u8,
}

/// A time and how wrong it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The best guess.
    pub best: Utc,
    /// How far from it the truth may be, in ns; [`UNKNOWN_NS`] if unknown.
    pub bound_ns: u64,
    /// What it rests on.
    pub state: State,
}

impl Reading {
    /// The earliest that it may be.
    #[must_use]
    pub const fn earliest(&self) -> Utc {
        self.best.plus_ns(-signed(self.bound_ns))
    }

    /// The latest that it may be.
    #[must_use]
    pub const fn latest(&self) -> Utc {
        self.best.plus_ns(signed(self.bound_ns))
    }
}

impl Line {
    /// What it shows at a moment; before its beginning what it shows there.
    #[must_use]
    pub fn utc_at(&self, now: Mono) -> Utc {
        let passed = now.ns_since(self.at);
        let slewed = passed.min(self.slew_ns) as f64 * self.slew;
        let gained = passed as f64 * self.rate + slewed;
        self.utc.plus_ns(signed(passed)).plus_ns(gained.round() as i64)
    }

    /// What is still to be slewed at a moment, in ns.
    #[must_use]
    pub fn left_ns(&self, now: Mono) -> f64 {
        self.slew_ns.saturating_sub(now.ns_since(self.at)) as f64 * self.slew
    }

    /// How wrong it may be at a moment. What moves it towards the roots is error until it is done;
    /// what moves it with the mesh is error from then on.
    #[must_use]
    pub fn bound_at(&self, now: Mono) -> u64 {
        if self.bound_ns == UNKNOWN_NS {
            return UNKNOWN_NS;
        }
        let passed = now.ns_since(self.at);
        let moved = if self.state == State::Mesh {
            (passed.min(self.slew_ns) as f64 * self.slew).abs()
        } else {
            self.left_ns(now).abs()
        };
        let grown = passed as f64 * DRIFT + moved;
        self.bound_ns.saturating_add(grown.ceil() as u64).min(UNKNOWN_NS - 1)
    }

    /// Time and error at a moment.
    #[must_use]
    pub fn reading(&self, now: Mono) -> Reading {
        Reading { best: self.utc_at(now), bound_ns: self.bound_at(now), state: self.state }
    }

    fn to_words(self) -> Words {
        let last = self.state as u64 | u64::from(self.steps) << 8;
        let (rate, slew) = (self.rate.to_bits(), self.slew.to_bits());
        let utc = self.utc.ns().cast_unsigned();
        [self.at.ns(), utc, rate, slew, self.slew_ns, self.bound_ns, last]
    }

    fn from_words([at, utc, rate, slew, slew_ns, bound_ns, last]: Words) -> Self {
        Self {
            at: Mono::from_ns(at),
            utc: Utc::from_ns(utc.cast_signed()),
            rate: f64::from_bits(rate),
            slew: f64::from_bits(slew),
            slew_ns,
            bound_ns,
            state: State::from_word(last),
            steps: (last >> 8) as u8,
        }
    }
}

const WORDS: usize = 7;
const SLOTS: usize = 8;
type Words = [u64; WORDS];

#[derive(Default)]
struct Slot {
    /// The number of its line, doubled; one more while it is written.
    count: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// The clock as all readers share it.
pub struct Face {
    newest: AtomicU64,
    slots: [Slot; SLOTS],
    /// The latest that was shown after so many steps.
    shown: [AtomicI64; STEPS_MAX as usize + 1],
}

impl Face {
    /// Time and error at a moment. The moment is to be read after all that was heard before.
    #[must_use]
    pub fn reading(&self, now: Mono) -> Reading {
        let line = self.line();
        let mut reading = line.reading(now);
        if let Some(shown) = self.shown.get(usize::from(line.steps)) {
            let before = shown.fetch_max(reading.best.ns(), Ordering::AcqRel);
            reading.best = reading.best.max(Utc::from_ns(before));
        }
        reading
    }

    /// A copy of the newest line.
    #[must_use]
    pub fn line(&self) -> Line {
        loop {
            if let Some(words) = self.copy() {
                return Line::from_words(words);
            }
        }
    }

    fn copy(&self) -> Option<Words> {
        let newest = self.newest.load(Ordering::Acquire);
        let slot = self.slots.get(newest as usize % SLOTS)?;
        let before = slot.count.load(Ordering::Acquire);
        let mut words = [0; WORDS];
        for (to, from) in words.iter_mut().zip(&slot.words) {
            *to = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        let after = slot.count.load(Ordering::Relaxed);
        (before == after && before == newest * 2).then_some(words)
    }
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Face").field(&self.line()).finish()
    }
}

/// The one that writes.
#[derive(Debug)]
pub struct Hand {
    face: Arc<Face>,
    written: u64,
}

impl Hand {
    /// A face that shows this line, and the hand that moves it.
    #[must_use]
    pub fn new(line: Line) -> Self {
        let shown = std::array::from_fn(|_| AtomicI64::new(i64::MIN));
        let face = Face { newest: AtomicU64::new(0), slots: Default::default(), shown };
        let mut hand = Self { face: Arc::new(face), written: 0 };
        hand.show(line);
        hand
    }

    /// What readers hold.
    #[must_use]
    pub fn face(&self) -> Arc<Face> {
        Arc::clone(&self.face)
    }

    /// Shows another line from now on.
    pub fn show(&mut self, line: Line) {
        self.written += 1;
        let Some(slot) = self.face.slots.get(self.written as usize % SLOTS) else { return };
        slot.count.store(self.written * 2 + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (to, word) in slot.words.iter().zip(line.to_words()) {
            to.store(word, Ordering::Relaxed);
        }
        slot.count.store(self.written * 2, Ordering::Release);
        self.face.newest.store(self.written, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_slots_and_a_slew_ends() {
        let line = Line {
            at: Mono::from_ns(1_000_000_000),
            utc: Utc::from_ns(-5),
            rate: 1e-6,
            slew: -1e-4,
            slew_ns: 2_000_000_000,
            bound_ns: 7,
            state: State::Rooted,
            steps: 3,
        };
        assert_eq!(Hand::new(line).face().line(), line);
        let at = |s: u64| line.utc_at(Mono::from_ns(s * 1_000_000_000)).ns();
        assert_eq!(at(0), -5, "before its beginning");
        assert_eq!(at(2), -5 + 1_000_000_000 + 1_000 - 100_000);
        assert_eq!(at(5) - at(4), 1_000_001_000);
        assert_eq!(line.bound_at(line.at), 7 + 200_000);
        assert_eq!(line.bound_at(Mono::from_ns(11_000_000_000)), 7 + 150_000);
        let unknown = Line { bound_ns: UNKNOWN_NS, ..line }.reading(line.at);
        assert_eq!(unknown.bound_ns, UNKNOWN_NS);
        assert!(unknown.earliest() < Utc::from_ns(-i64::MAX / 2) && unknown.latest() > line.utc);
    }

    /// The writer keeps turning the clock's speed while readers look: nobody sees it go back.
    #[test]
    fn nobody_sees_it_run_backwards() {
        let mut hand = Hand::new(Line::default());
        let count = AtomicU64::new(1);
        let seen = AtomicI64::new(i64::MIN);
        let (face, count, seen) = (hand.face(), &count, &seen);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let face = Arc::clone(&face);
                scope.spawn(move || {
                    while count.load(Ordering::SeqCst) < 40_000_000 {
                        let before = seen.load(Ordering::SeqCst);
                        let now = Mono::from_ns(count.fetch_add(100, Ordering::SeqCst));
                        let best = face.reading(now).best.ns();
                        assert!(best >= before, "{best} after {before}");
                        seen.fetch_max(best, Ordering::SeqCst);
                    }
                });
            }
            let mut fast = false;
            while count.load(Ordering::SeqCst) < 40_000_000 {
                let now = Mono::from_ns(count.load(Ordering::SeqCst));
                let line = face.line();
                let slew = if fast { 5e-4 } else { -5e-4 };
                hand.show(Line { at: now, utc: line.utc_at(now), slew, slew_ns: 1 << 40, ..line });
                fast = !fast;
            }
        });
    }
}
