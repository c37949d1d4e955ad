//! Answers who asks for the time, one datagram after the other.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, RwLockReadGuard};
use std::thread::JoinHandle;

use clock::keeper::Served;
use clock::measure;
use nts::limits::DATAGRAM_BYTES_MAX;
use nts::ntp::{Leap, ReferenceId, Span, Stamp};
use nts::server::{Asked, Host, Reading, Server};
use nts::{Fingerprint, Ring};
use shared::time::Now;

use super::Shared;
use super::door::{Door, Heard};
use super::face::{Hand, Moment};
use crate::limits::{TIME_DRAW_BYTES, TIME_STAMP_AGE_NS_MAX};

/// How finely the clock can be read, as a power of two of seconds: a quarter of a microsecond.
const PRECISION: i8 = -22;

/// The thread that answers; it ends when this goes.
///
/// A thread of its own: among the runtime's others, one of them waits for datagrams while another
/// answers, and each question wakes both.
pub(super) struct Serving {
    end: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Begins to answer.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(door: Door, server: Server, shared: Arc<Shared>) -> io::Result<Self> {
        let (end, ended) = UnixStream::pair()?;
        let thread = std::thread::Builder::new()
            .name("time".to_owned())
            .spawn(move || serve(door, server, &shared, &ended))?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Serving {
    /// Waits for the thread, which finishes the questions it has.
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut door: Door, mut server: Server, shared: &Shared, end: &UnixStream) {
    let mut out = vec![0; DATAGRAM_BYTES_MAX];
    let mut draws = Draws::default();
    loop {
        match door.wait(end) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!("the time is not told any more: {error}"),
        }
        // Nothing is there after all; or a datagram that the kernel could not hand over.
        if door.receive().is_err() {
            continue;
        }
        // What is the same for all that came at once is looked up once; whether somebody is
        // revoked is asked for each.
        let hand = shared.face.hand();
        let batch = Batch {
            shared,
            reading: reading(&hand.served),
            hand,
            moment: Moment::now(),
            now: shared.clock.now(),
            ring: shared.ring.read(),
        };
        for question in door.heard() {
            batch.answer(&door, question, &mut server, &mut draws, &mut out);
        }
    }
}

/// What questions that came at once have in common.
struct Batch<'a> {
    shared: &'a Shared,
    hand: Hand,
    reading: Reading,
    moment: Moment,
    now: Now,
    ring: RwLockReadGuard<'a, Ring>,
}

impl Batch<'_> {
    fn answer(
        &self,
        door: &Door,
        (heard, datagram): (&Heard, &[u8]),
        server: &mut Server,
        draws: &mut Draws,
        out: &mut [u8],
    ) {
        let waited_ns = waited_ns(heard.at_ns, self.moment.wall_ns);
        let asked = Asked {
            datagram,
            from: heard.from.ip(),
            received: stamp(self.hand.before(&self.moment, waited_ns)),
            now_s: u64::try_from(self.now.wall.s()).unwrap_or_default(),
            now_ms: self.now.tick.ms(),
        };
        let mut desk = Desk { shared: self.shared, hand: &self.hand, draws, is_random: true };
        let verdict = server.handle(&asked, &self.reading, &self.ring, &mut desk, out);
        let is_random = desk.is_random;
        self.shared.figures.count(&verdict);
        let told = out.get(..verdict.len()).filter(|told| !told.is_empty() && is_random);
        if let Some(Err(error)) = told.map(|told| door.answer(heard, told)) {
            tracing::trace!(from = %heard.from, "an answer was lost: {error}");
        }
    }
}

/// How long a question waited for us, by the kernel's stamp; a stamp of before the system's clock
/// was set says nothing.
fn waited_ns(stamp_ns: Option<i64>, now_ns: i64) -> u64 {
    let waited = stamp_ns.map_or(0, |stamp| now_ns.saturating_sub(stamp));
    u64::try_from(waited).ok().filter(|waited| *waited <= TIME_STAMP_AGE_NS_MAX).unwrap_or(0)
}

fn reading(served: &Served) -> Reading {
    if !served.synchronised {
        return Reading::unsynchronised(PRECISION);
    }
    let told = &served.told;
    let leap = match told.leap {
        measure::Leap::None => Leap::Steady,
        measure::Leap::Insert => Leap::Insert,
        measure::Leap::Delete => Leap::Delete,
        measure::Leap::Unknown => Leap::Unknown,
    };
    Reading {
        leap,
        stratum: told.stratum,
        precision: PRECISION,
        root_delay: Span::from_ns(clock::moment::signed(told.root_delay_ns)),
        root_dispersion: Span::from_ns(clock::moment::signed(told.root_dispersion_ns)),
        reference_id: ReferenceId::new(served.reference_id),
        reference: stamp(told.reference),
    }
}

fn stamp(utc: clock::moment::Utc) -> Stamp {
    Stamp::from_unix_ns(utc.ns())
}

/// What the server needs while it answers one question.
struct Desk<'a> {
    shared: &'a Shared,
    hand: &'a Hand,
    draws: &'a mut Draws,
    /// Nothing may be sent if the system gave no random octets.
    is_random: bool,
}

impl Host for Desk<'_> {
    fn random(&mut self, room: &mut [u8]) {
        self.is_random &= self.draws.fill(room).is_some();
    }

    fn admits(&mut self, fingerprint: &Fingerprint) -> bool {
        self.shared.admits(fingerprint)
    }

    fn tells(&mut self, fingerprint: &Fingerprint) -> bool {
        !self.hand.is_for_members || !fingerprint.is_none()
    }

    fn now(&mut self) -> Stamp {
        stamp(self.hand.now())
    }
}

/// Random octets for nonces, drawn by the thousand: a draw costs the same whatever its length.
/// Each is handed out once. They travel in the clear a moment later, so nothing is lost by having
/// them lie here.
#[derive(Default)]
struct Draws {
    octets: Vec<u8>,
}

impl Draws {
    /// `None` if the system gives none.
    fn fill(&mut self, room: &mut [u8]) -> Option<()> {
        if self.octets.len() < room.len() {
            let mut octets = vec![0; TIME_DRAW_BYTES.max(room.len())];
            host::random::fill(&mut octets).ok()?;
            self.octets = octets;
        }
        let rest = self.octets.len().checked_sub(room.len())?;
        room.copy_from_slice(self.octets.get(rest..)?);
        self.octets.truncate(rest);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn the_kernels_stamp_is_when_a_question_came() {
        assert_eq!(waited_ns(Some(7 * S), 8 * S), 1_000_000_000);
        assert_eq!(waited_ns(None, 8 * S), 0);
    }

    #[test]
    fn a_stamp_of_before_the_clock_was_set_is_not_believed() {
        assert_eq!(waited_ns(Some(7 * S), 8 * S + 1), 0);
        assert_eq!(waited_ns(Some(8 * S), 7 * S), 0);
        assert_eq!(waited_ns(Some(i64::MIN), i64::MAX), 0);
    }

    #[test]
    fn what_an_operator_vouches_for_is_told_honestly() {
        let hand = Hand::system();
        let reading = reading(&hand.served);
        assert_eq!((reading.leap, reading.stratum), (Leap::Steady, 10));
        assert_eq!(reading.reference_id.octets(), *b"LOCL");
        assert!(reading.root_dispersion.to_ns() >= 100_000_000);
        let moment = Moment::now();
        let before = clock::moment::Utc::from_ns(moment.wall_ns - 5);
        assert_eq!(hand.before(&moment, 5), before);
        assert!((5..S).contains(&hand.now().ns_from(before)));
    }

    #[test]
    fn what_is_not_synchronised_says_so() {
        let served = Served { synchronised: false, ..Hand::system().served };
        let reading = reading(&served);
        assert_eq!((reading.leap, reading.stratum), (Leap::Unknown, 16));
    }

    #[test]
    fn what_is_drawn_is_handed_out_once() {
        let mut draws = Draws::default();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..TIME_DRAW_BYTES {
            let mut nonce = [0; 16];
            draws.fill(&mut nonce).unwrap();
            assert!(seen.insert(nonce));
        }
        let mut long = vec![0; 2 * TIME_DRAW_BYTES];
        draws.fill(&mut long).unwrap();
        assert!(long.iter().filter(|octet| **octet == 0).count() < TIME_DRAW_BYTES / 8);
    }
}
