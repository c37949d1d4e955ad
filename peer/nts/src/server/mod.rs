//! Answers one datagram (RFC 5905 §9.2, RFC 8915 §5.7), and remembers nobody but how often.
//!
//! Three things come back for a question: an answer, a negative acknowledgement for a cookie that
//! does not open (which nobody can authenticate, because the keys were in the cookie), or nothing.
//! Nothing is what revoked clients get, who know why from elsewhere; whoever asks too often, for a
//! kiss would cost as much as an answer and go wherever a forged address points, while a client of
//! NTS may not believe it; and everything that is not a question.
//!
//! **Invariant:** nothing is allocated, and an answer is never longer than its question.

mod limiter;

use std::net::IpAddr;

use limiter::Limiter;
pub use limiter::Rate;

use crate::cookie::{CookieError, Fingerprint, Session};
use crate::key::NONCE_BYTES;
use crate::limits::{COOKIES_MAX, STRATUM_MAX};
use crate::ntp::{HEADER_BYTES, Header, Kiss, Leap, Mode, ReferenceId, Span, Stamp, TRANSMIT_AT};
use crate::octets::Sheet;
use crate::ring::Ring;
use crate::sealed::{
    AUTHENTICATOR_BYTES, COOKIE, COOKIE_FIELD_BYTES, Malformed, Parts, Room, Seal, UNIQUE,
    put_field, put_head, seal,
};

/// Whether questions without NTS are answered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Plain {
    /// They are dropped.
    #[default]
    Refused,
    /// They are answered; nobody can trust the answer.
    Answered,
}

/// How a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whether questions without NTS are answered.
    pub plain: Plain,
    /// What one address may ask; `None` for a bench, where all questions come from one.
    pub rate: Option<Rate>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { plain: Plain::Refused, rate: Some(Rate::default()) }
    }
}

/// What the clock says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// [`Leap::Unknown`] until it is synchronised.
    pub leap: Leap,
    /// Steps to the reference clock, 1 to 15.
    pub stratum: u8,
    /// How finely it can be read, a power of two of seconds.
    pub precision: i8,
    /// Round trip to the reference clock.
    pub root_delay: Span,
    /// What it may be wrong by on top of half the delay.
    pub root_dispersion: Span,
    /// Where the time comes from.
    pub reference_id: ReferenceId,
    /// When it was last set.
    pub reference: Stamp,
}

impl Reading {
    /// A clock that nobody should follow.
    #[must_use]
    pub const fn unsynchronised(precision: i8) -> Self {
        Self {
            leap: Leap::Unknown,
            stratum: STRATUM_MAX,
            precision,
            root_delay: Span::from_bits(0),
            root_dispersion: Span::MAX,
            reference_id: ReferenceId::new([0; 4]),
            reference: Stamp::ZERO,
        }
    }
}

/// A datagram, whose it says it is, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// All of it.
    pub datagram: &'a [u8],
    /// The address it came from.
    pub from: IpAddr,
    /// When, by the clock that is asked about.
    pub received: Stamp,
    /// When, in seconds since 1970: for the age of cookies.
    pub now_s: u64,
    /// When, in ms, by a clock that never goes back: for the rate.
    pub now_ms: u64,
}

/// What a server needs while it answers.
pub trait Host {
    /// Fills the room with octets that nobody can guess.
    fn random(&mut self, room: &mut [u8]);
    /// Whether the holder of this certificate may have the time: asked for every packet.
    /// [`Fingerprint::NONE`] is a client that showed none.
    fn admits(&mut self, fingerprint: &Fingerprint) -> bool;
    /// Whether whoever holds this certificate is told what the clock says of itself; others are
    /// told that it is not synchronised. For a clock that only some should follow.
    fn tells(&mut self, _fingerprint: &Fingerprint) -> bool {
        true
    }
    /// The time, asked as late as possible: this becomes the transmit timestamp.
    fn now(&mut self) -> Stamp;
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// An authentic answer of `len` octets with so many cookies.
    Sealed {
        /// Octets of it in the caller's buffer.
        len: usize,
        /// Cookies in it.
        cookies: usize,
        /// Whose.
        fingerprint: Fingerprint,
    },
    /// A plain answer of `len` octets.
    Plain {
        /// Octets of it in the caller's buffer.
        len: usize,
    },
    /// A negative acknowledgement of `len` octets.
    Nak {
        /// Octets of it in the caller's buffer.
        len: usize,
        /// Why.
        why: NakReason,
    },
    /// Nothing is to be sent.
    Silence(Silence),
}

impl Verdict {
    /// Octets to be sent back; none are sent for 0.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Sealed { len, .. } | Self::Plain { len } | Self::Nak { len, .. } => *len,
            Self::Silence(_) => 0,
        }
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a negative acknowledgement was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NakReason {
    /// The cookie does not open.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The cookie opens, but its keys did not seal this datagram.
    #[error("a question that its own cookie's key did not seal")]
    Forged,
}

/// Why nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Silence {
    /// Nobody asked like that.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An answer, a broadcast, a command.
    #[error("not a question but mode {0}")]
    NotAQuestion(u8),
    /// Another version of the protocol.
    #[error("a question of version {0}")]
    Version(u8),
    /// Asked without NTS.
    #[error("a question without NTS")]
    Plain,
    /// Asked too often.
    #[error("too many questions from one address")]
    TooOften,
    /// The holder of the certificate has lost its right.
    #[error("a question of a client that is not admitted any more")]
    NotAdmitted(Fingerprint),
    /// The buffer was too small; ours.
    #[error("no room for an answer")]
    NoRoom,
}

/// Why a question is not answered with the time.
enum Refusal {
    Nak(NakReason),
    Silence(Silence),
}

impl From<Silence> for Refusal {
    fn from(silence: Silence) -> Self {
        Self::Silence(silence)
    }
}

impl<E: Into<NakReason>> From<E> for Refusal {
    fn from(reason: E) -> Self {
        Self::Nak(reason.into())
    }
}

/// A question that is authentic.
struct Proven<'a> {
    session: Session,
    unique: &'a [u8],
    cookies: usize,
}

/// The server: settings, and the rates of those who asked.
#[derive(Debug)]
pub struct Server {
    plain: Plain,
    limiter: Option<Limiter>,
}

impl Server {
    /// The seed is secret and random.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        let limiter = settings.rate.map(|rate| Limiter::new(rate, seed));
        Self { plain: settings.plain, limiter }
    }

    /// Answers into `out`, whose first [`Verdict::len`] octets are to be sent back.
    pub fn handle(
        &mut self,
        asked: &Asked<'_>,
        clock: &Reading,
        ring: &Ring,
        host: &mut impl Host,
        out: &mut [u8],
    ) -> Verdict {
        let (header, parts) = match self.question(asked) {
            Ok(question) => question,
            Err(silence) => return Verdict::Silence(silence),
        };
        // Whatever happens, no more than was asked.
        let longest = asked.datagram.len().min(out.len());
        let mut sheet = Sheet::new(out.get_mut(..longest).unwrap_or_default());
        let told = |tells: bool| {
            let nothing = Reading::unsynchronised(clock.precision);
            answer(&header, asked, if tells { clock } else { &nothing })
        };
        if parts.is_plain() {
            let answer = told(host.tells(&Fingerprint::NONE));
            let sent = Header { transmit: host.now(), ..answer }.write(&mut sheet);
            let plain = Verdict::Plain { len: HEADER_BYTES };
            return sent.map_or(Verdict::Silence(Silence::NoRoom), |()| plain);
        }
        let verdict = match proven(&parts, asked, ring, host) {
            Ok(proven) => {
                let answer = told(host.tells(&proven.session.fingerprint));
                sealed(&answer, &proven, asked, ring, host, &mut sheet)
            }
            Err(Refusal::Nak(why)) => nak(&header, parts.unique, why, &mut sheet),
            Err(Refusal::Silence(silence)) => Some(Verdict::Silence(silence)),
        };
        verdict.unwrap_or(Verdict::Silence(Silence::NoRoom))
    }

    /// What can be said before any key is asked, the cheapest first.
    fn question<'a>(&mut self, asked: &Asked<'a>) -> Result<(Header, Parts<'a>), Silence> {
        let size = Malformed::Size(asked.datagram.len());
        let header = Header::read(asked.datagram).ok_or(Silence::Malformed(size))?;
        match header.mode {
            Mode::Client => {}
            Mode::Server => return Err(Silence::NotAQuestion(4)),
            Mode::Other(mode) => return Err(Silence::NotAQuestion(mode)),
        }
        if !matches!(header.version, 3 | 4) {
            return Err(Silence::Version(header.version));
        }
        let limiter = self.limiter.as_mut();
        if limiter.is_some_and(|limiter| !limiter.admits(asked.from, asked.now_ms)) {
            return Err(Silence::TooOften);
        }
        let parts = Parts::read(asked.datagram)?;
        if header.version == 3 && asked.datagram.len() > HEADER_BYTES {
            return Err(Silence::Malformed(size));
        }
        if parts.is_plain() && self.plain == Plain::Refused {
            return Err(Silence::Plain);
        }
        Ok((header, parts))
    }
}

/// The header of an answer, but for its transmit timestamp.
fn answer(question: &Header, asked: &Asked<'_>, clock: &Reading) -> Header {
    let stratum = if clock.leap == Leap::Unknown { STRATUM_MAX } else { clock.stratum };
    Header {
        leap: clock.leap,
        version: question.version,
        mode: Mode::Server,
        stratum,
        poll: question.poll,
        precision: clock.precision,
        root_delay: clock.root_delay,
        root_dispersion: clock.root_dispersion,
        reference_id: clock.reference_id,
        reference: clock.reference,
        origin: question.transmit,
        receive: asked.received,
        transmit: Stamp::ZERO,
    }
}

fn proven<'a>(
    parts: &Parts<'a>,
    asked: &Asked<'_>,
    ring: &Ring,
    host: &mut impl Host,
) -> Result<Proven<'a>, Refusal> {
    let incomplete = Silence::Malformed(Malformed::Incomplete);
    let (unique, cookie) = parts.unique.zip(parts.cookie).ok_or(incomplete)?;
    let question: &Seal<'_> = parts.seal.as_ref().ok_or(incomplete)?;
    if !question.has_nonce_room() {
        return Err(Silence::Malformed(Malformed::Nts).into());
    }
    let session = ring.open(cookie, asked.now_s)?;
    question.open(&session.keys.c2s, &mut Room::new()).ok_or(NakReason::Forged)?;
    if !host.admits(&session.fingerprint) {
        return Err(Silence::NotAdmitted(session.fingerprint).into());
    }
    let cookies = (1 + parts.placeholders).min(COOKIES_MAX);
    Ok(Proven { session, unique, cookies })
}

/// The answer to an authentic question: unique identifier, and fresh cookies in the sealed part.
fn sealed(
    answer: &Header,
    proven: &Proven<'_>,
    asked: &Asked<'_>,
    ring: &Ring,
    host: &mut impl Host,
    sheet: &mut Sheet<'_>,
) -> Option<Verdict> {
    answer.write(sheet)?;
    put_field(sheet, UNIQUE, proven.unique)?;
    // A client with shorter cookies than ours gets fewer of them, or none.
    let room = asked.datagram.len().checked_sub(sheet.len() + AUTHENTICATOR_BYTES)?;
    let cookies = proven.cookies.min(room / COOKIE_FIELD_BYTES);
    let (signed, field) = sheet.split(AUTHENTICATOR_BYTES + cookies * COOKIE_FIELD_BYTES)?;
    let mut nonces = [[0; NONCE_BYTES]; COOKIES_MAX + 1];
    let (nonce, nonces) = nonces.get_mut(..=cookies)?.split_first_mut()?;
    host.random(nonce);
    host.random(nonces.as_flattened_mut());
    let room = field.get_mut(AUTHENTICATOR_BYTES..)?;
    for (room, nonce) in room.chunks_exact_mut(COOKIE_FIELD_BYTES).zip(nonces) {
        let (head, cookie) = room.split_at_mut_checked(4)?;
        put_head(&mut Sheet::new(head), COOKIE, cookie.len())?;
        ring.mint(&proven.session, asked.now_s, *nonce, cookie)?;
    }
    let transmit = signed.get_mut(TRANSMIT_AT..HEADER_BYTES)?;
    transmit.copy_from_slice(&host.now().bits().to_be_bytes());
    seal(&proven.session.keys.s2c, nonce, signed, field)?;
    let fingerprint = proven.session.fingerprint;
    Some(Verdict::Sealed { len: sheet.len(), cookies, fingerprint })
}

/// Says that the cookie is worth nothing; says nothing else, and no time.
fn nak(
    question: &Header,
    unique: Option<&[u8]>,
    why: NakReason,
    sheet: &mut Sheet<'_>,
) -> Option<Verdict> {
    let header = Header {
        leap: Leap::Unknown,
        mode: Mode::Server,
        reference_id: Kiss::NtsNak.reference_id(),
        origin: question.transmit,
        ..Header::question(question.poll, Stamp::ZERO)
    };
    header.write(sheet)?;
    put_field(sheet, UNIQUE, unique?)?;
    Some(Verdict::Nak { len: sheet.len(), why })
}
