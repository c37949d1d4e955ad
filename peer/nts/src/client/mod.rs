//! One association: questions to one server, and what of its answers may be believed.
//!
//! The order of calls: whenever [`Association::exchange_due_ms`] has come, run a key exchange
//! ([`Association::exchange_begins`], then [`Association::keyed`] if it gave something). When the
//! poll interval has passed, [`Association::ask`]; when the kernel tells when the datagram left,
//! [`Association::sent`]; for each datagram from the server's address, [`Association::hear`].
//! Nothing else has to be said: a question without an answer is noticed at the next.
//!
//! Whom an attacker between the two can make believe what: nothing, with NTS. It can make us ask
//! in vain, and for keys once in a while, for a negative acknowledgement cannot be authentic
//! (RFC 8915 §5.7). So one alone changes nothing: the question stays open for its real answer, and
//! only if none has come by the next question is an exchange wanted. The old keys go on until then.
//!
//! **Invariant:** with NTS no field of an answer that was not sealed for us reaches a sample.

mod answer;
mod exchange;
mod jar;
mod sample;

use answer::{Proof, read};
use exchange::Exchange;
use jar::Jar;
pub use sample::Sample;

use crate::key::{Keys, NONCE_BYTES};
use crate::limits::{NAK_STORM, POLL_MAX, POLL_MIN, STRATUM_MAX};
use crate::ntp::{Header, Kiss, Leap, Stamp};
use crate::octets::{Octets, Sheet};
use crate::sealed::{AUTHENTICATOR_BYTES, COOKIE, Malformed, PLACEHOLDER, UNIQUE, put_field, seal};

/// Octets of a unique identifier as it is made here (RFC 8915 §5.3).
const UNIQUE_BYTES: usize = 32;
/// Octets that nobody can guess, which a question needs.
pub const QUESTION_RANDOM_BYTES: usize = 8 + UNIQUE_BYTES + NONCE_BYTES;

/// Whether the server has to prove its answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// By NTS. Never given up, whatever the server says (RFC 8915 §8.7).
    Nts,
    /// Not at all.
    None,
}

/// Why there is no question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAsked {
    /// A key exchange has to come first.
    #[error("no cookies left")]
    NoCookies,
    /// The server has said that it is not to be asked any more.
    #[error("the server refused with a kiss of death")]
    Refused,
    /// The buffer was too small; ours.
    #[error("no room for a question")]
    NoRoom,
}

/// What an answer said that may be believed as far as the association is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The time.
    Sample(Sample),
    /// To ask less often, or never again: [`Association`] has taken it to heart.
    Kiss(Kiss),
}

/// Why a datagram said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There is no open question: a second answer, or one too late.
    #[error("an answer without a question")]
    NotAsked,
    /// Nobody answers like that.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not an answer of our version.
    #[error("not an answer of version 4")]
    NotAnAnswer,
    /// An answer to another question: a late one, or a guess.
    #[error("an answer to another question")]
    OtherQuestion,
    /// An answer without NTS to a question with NTS: somebody took it off, or sent its own.
    #[error("an answer without NTS to a question with NTS")]
    Strip,
    /// Sealed by somebody else, or changed.
    #[error("an answer that was not sealed for this question")]
    Forged,
    /// The server says that it cannot open the cookie, which anybody could say.
    #[error("the server does not take the cookie")]
    Nak,
    /// A kiss that anybody could have sent.
    #[error("a kiss without NTS")]
    UnsealedKiss,
    /// The server says that it does not know the time.
    #[error("the server is not synchronised")]
    Unsynchronised,
    /// The server's own bound is beyond use.
    #[error("the server's root distance is beyond 16 s")]
    TooFar,
    /// Its timestamps cannot be.
    #[error("an answer that left before its question came")]
    Stamps,
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Questions that were written.
    pub asked: u64,
    /// Samples that came of them.
    pub samples: u64,
    /// Kisses that were heeded.
    pub kisses: u64,
    /// Questions with no usable answer until the next.
    pub lost: u64,
    /// Answers that had no NTS and should have (`nts-strip`).
    pub strips: u64,
    /// Negative acknowledgements (`nts-nak-storm` if they do not end).
    pub naks: u64,
    /// Answers that were not sealed for us.
    pub forged: u64,
    /// Key exchanges that were begun.
    pub exchanges: u64,
}

/// The question that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    transmit: Stamp,
    unique: [u8; UNIQUE_BYTES],
    t1_ns: i64,
    was_nak: bool,
}

/// One association.
#[derive(Debug)]
pub struct Association {
    protection: Protection,
    keys: Option<Keys>,
    jar: Jar,
    open: Option<Open>,
    exchange: Exchange,
    poll: i8,
    /// Where kisses have pushed the least interval.
    poll_least: i8,
    is_refused: bool,
    naks_in_row: u32,
    counters: Counters,
}

impl Association {
    /// An association that has not asked yet. With NTS a key exchange is due at once.
    #[must_use]
    pub fn new(protection: Protection) -> Self {
        Self {
            protection,
            keys: None,
            jar: Jar::default(),
            open: None,
            exchange: Exchange::new(protection == Protection::Nts),
            poll: POLL_MIN,
            poll_least: POLL_MIN,
            is_refused: false,
            naks_in_row: 0,
            counters: Counters::default(),
        }
    }

    /// When a key exchange should be run, by the clock that never goes back; none is needed if
    /// this is none. It may lie in the past.
    #[must_use]
    pub fn exchange_due_ms(&self) -> Option<u64> {
        self.exchange.due_ms().filter(|_| !self.is_refused)
    }

    /// Who answered the last exchange is soon nobody any more: another one is wanted, and what
    /// there is serves until then.
    pub const fn want_keys(&mut self) {
        self.exchange.set_wanted(true);
    }

    /// A key exchange begins. Until it ends well, the next is due after a growing wait.
    pub const fn exchange_begins(&mut self, now_ms: u64) {
        self.counters.exchanges += 1;
        self.exchange.begins(now_ms);
    }

    /// A key exchange ended well. Cookies that fit no field are left out.
    pub fn keyed(&mut self, keys: Keys, cookies: impl IntoIterator<Item = Vec<u8>>) {
        self.close();
        self.keys = Some(keys);
        self.jar = Jar::default();
        cookies.into_iter().for_each(|cookie| self.jar.put(&cookie));
        self.exchange.set_wanted(self.jar.is_empty());
    }

    /// The interval that should be kept, as a power of two of seconds, within the bounds and not
    /// below what the server's kisses ask for.
    pub fn set_poll(&mut self, poll: i8) {
        self.poll = poll.clamp(self.poll_least, POLL_MAX);
    }

    /// The interval that is to be kept.
    #[must_use]
    pub const fn poll(&self) -> i8 {
        self.poll
    }

    /// Writes a question into `out` and says how long it is. `t1_ns` is the local time since 1970.
    ///
    /// # Errors
    /// Says why there is nothing to ask, or to ask with.
    pub fn ask(
        &mut self,
        t1_ns: i64,
        random: &[u8; QUESTION_RANDOM_BYTES],
        out: &mut [u8],
    ) -> Result<usize, NotAsked> {
        self.close();
        if self.is_refused {
            return Err(NotAsked::Refused);
        }
        let mut dice = Octets::new(random);
        let parts = dice.u64().zip(dice.array()).zip(dice.array());
        let ((transmit, unique), nonce) = parts.ok_or(NotAsked::NoRoom)?;
        let transmit = Stamp::from_bits(transmit);
        let header = Header::question(self.poll, transmit);
        let mut sheet = Sheet::new(out);
        header.write(&mut sheet).ok_or(NotAsked::NoRoom)?;
        if self.protection == Protection::Nts {
            let keys = self.keys.as_ref();
            let asked =
                keys.and_then(|keys| protect(&mut sheet, keys, &mut self.jar, &unique, nonce));
            if asked.is_none() {
                self.exchange.set_wanted(true);
                return Err(NotAsked::NoCookies);
            }
        }
        self.open = Some(Open { transmit, unique, t1_ns, was_nak: false });
        self.counters.asked += 1;
        Ok(sheet.len())
    }

    /// Says when the open question really left.
    pub const fn sent(&mut self, t1_ns: i64) {
        if let Some(open) = self.open.as_mut() {
            open.t1_ns = t1_ns;
        }
    }

    /// Takes a datagram from the server's address that came at the local time `t4_ns`.
    ///
    /// # Errors
    /// Says why it is nothing to us; the question stays open if a better answer may still come.
    pub fn hear(&mut self, datagram: &[u8], t4_ns: i64) -> Result<Heard, Refused> {
        let heard = self.read(datagram, t4_ns);
        match heard {
            Ok(Heard::Sample(_)) => self.counters.samples += 1,
            Ok(Heard::Kiss(_)) => self.counters.kisses += 1,
            Err(Refused::Strip) => self.counters.strips += 1,
            Err(Refused::Nak) => self.counters.naks += 1,
            Err(Refused::Forged) => self.counters.forged += 1,
            Err(_) => {}
        }
        heard
    }

    fn read(&mut self, datagram: &[u8], t4_ns: i64) -> Result<Heard, Refused> {
        let open = self.open.as_mut().ok_or(Refused::NotAsked)?;
        let proof = match self.protection {
            Protection::Nts => {
                let keys = self.keys.as_ref().ok_or(Refused::NotAsked)?;
                Some(Proof { key: &keys.s2c, unique: &open.unique })
            }
            Protection::None => None,
        };
        let told = read(datagram, open.transmit, proof, &mut self.jar);
        open.was_nak |= told == Err(Refused::Nak);
        let (header, t1_ns) = (told?, open.t1_ns);
        // It is the answer: whatever it says, no other one is.
        self.open = None;
        self.naks_in_row = 0;
        self.exchange.succeeded(self.jar.is_empty() && self.protection == Protection::Nts);
        if let Some(kiss) = header.kiss() {
            self.heed(kiss);
            return Ok(Heard::Kiss(kiss));
        }
        Sample::new(&header, t1_ns, t4_ns, self.protection).map(Heard::Sample)
    }

    fn heed(&mut self, kiss: Kiss) {
        match kiss {
            Kiss::Rate => {
                self.poll_least = (self.poll.max(self.poll_least) + 1).min(POLL_MAX);
                self.poll = self.poll.max(self.poll_least);
            }
            Kiss::Deny | Kiss::Restricted => match self.protection {
                Protection::Nts => self.is_refused = true,
                // Anybody on the way could have said so, once.
                Protection::None => {
                    (self.poll_least, self.poll) = (POLL_MAX, POLL_MAX);
                }
            },
            Kiss::NtsNak | Kiss::Other(_) => {}
        }
    }

    /// The open question gets no answer any more.
    const fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.counters.lost += 1;
        if open.was_nak {
            self.naks_in_row = self.naks_in_row.saturating_add(1);
            self.exchange.set_wanted(true);
        }
    }

    /// Whether the server has not taken a cookie for so long that it is not one lost ring.
    #[must_use]
    pub const fn is_nak_storm(&self) -> bool {
        self.naks_in_row >= NAK_STORM
    }

    /// Whether the server has said that it is not to be asked any more.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Cookies left.
    #[must_use]
    pub fn cookies(&self) -> usize {
        self.jar.len()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

/// Adds the fields of NTS to a question: one cookie, room for as many as are missing.
fn protect(
    sheet: &mut Sheet<'_>,
    keys: &Keys,
    jar: &mut Jar,
    unique: &[u8; UNIQUE_BYTES],
    nonce: [u8; NONCE_BYTES],
) -> Option<()> {
    let missing = jar.missing();
    let cookie = jar.take()?;
    put_field(sheet, UNIQUE, unique)?;
    put_field(sheet, COOKIE, &cookie)?;
    for _ in 0..jar::placeholders(missing, sheet.len(), cookie.len()) {
        put_field(sheet, PLACEHOLDER, jar::blank(cookie.len())?)?;
    }
    let (signed, field) = sheet.split(AUTHENTICATOR_BYTES)?;
    seal(&keys.c2s, &nonce, signed, field)
}

/// Whether a server that says this of itself knows the time.
const fn is_synchronised(header: &Header) -> bool {
    !matches!(header.leap, Leap::Unknown) && header.stratum < STRATUM_MAX
}

#[cfg(test)]
mod tests;
