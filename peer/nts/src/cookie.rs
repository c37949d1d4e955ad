//! A cookie: what a server would have to remember of a client, sealed and handed to the client.
//!
//! Besides the two keys it holds the fingerprint of the client's key and the end of its
//! certificate. So a server without state still asks for every single packet whether its sender was
//! revoked, and nobody gets time longer than a certificate lasts. The standard leaves the content
//! to the server (RFC 8915 §6).
//!
//! **Invariant:** all cookies have one length, a multiple of four, whatever is in them; two of one
//! session have nothing in common but the number of the key that sealed them.

use std::fmt;

use zeroize::Zeroize;

use crate::key::{KEY_BYTES, Key, Keys, NONCE_BYTES, TAG_BYTES};
use crate::limits::COOKIE_AGE_MAX_S;
use crate::octets::{Octets, Sheet};

/// Octets that are sealed: two keys, a fingerprint, and two times in seconds since 1970.
const INSIDE_BYTES: usize = 2 * KEY_BYTES + FINGERPRINT_BYTES + 4 + 4;
/// Octets of a cookie: the key's number, nonce, tag and what is sealed.
pub const COOKIE_BYTES: usize = 4 + NONCE_BYTES + TAG_BYTES + INSIDE_BYTES;
const FINGERPRINT_BYTES: usize = 32;

/// The SHA-256 of a client's public key (its SubjectPublicKeyInfo). Not of its certificate: an
/// ECDSA signature has a twin, and with it the certificate another hash, but the key is the same.
/// All 32 octets, so that the set of revoked keys can be asked as it is, without a second index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    /// That of a client that showed no certificate.
    pub const NONE: Self = Self([0; FINGERPRINT_BYTES]);

    /// From the hash.
    #[must_use]
    pub const fn new(hash: [u8; FINGERPRINT_BYTES]) -> Self {
        Self(hash)
    }

    /// The hash.
    #[must_use]
    pub const fn octets(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.0
    }

    /// Whether the client showed no certificate.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What both ends agreed on in a key exchange, as the server wants it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The keys.
    pub keys: Keys,
    /// Whose they are.
    pub fingerprint: Fingerprint,
    /// The end of the client's certificate in seconds since 1970; 0 for none.
    pub until_s: u32,
}

/// Why a cookie does not open. The first two are anybody's doing, the others the client's age.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CookieError {
    /// Not of our length.
    #[error("a cookie of {0} octets")]
    Length(usize),
    /// Sealed by a key that is not in the ring: another server's, or one that was forgotten.
    #[error("a cookie under the unknown key {0:08x}")]
    Foreign(u32),
    /// Changed since, or made up.
    #[error("a cookie that was changed")]
    Changed,
    /// Older than any key of the ring should be.
    #[error("a cookie of {0} s")]
    TooOld(u64),
    /// The certificate behind it ended.
    #[error("a cookie of a certificate that ended {0} s ago")]
    Expired(u64),
}

/// The number of the key that a cookie names.
pub(crate) fn key_number(cookie: &[u8]) -> Result<u32, CookieError> {
    let number = (cookie.len() == COOKIE_BYTES).then(|| Octets::new(cookie).u32()).flatten();
    number.ok_or(CookieError::Length(cookie.len()))
}

/// Seals a session into `room`, which must be [`COOKIE_BYTES`] long.
pub(crate) fn seal(
    (number, key): (u32, &Key),
    session: &Session,
    minted_s: u64,
    nonce: [u8; NONCE_BYTES],
    room: &mut [u8],
) -> Option<()> {
    let number = number.to_be_bytes();
    let (head, inside) = room.split_at_mut_checked(COOKIE_BYTES - INSIDE_BYTES)?;
    let mut sheet = Sheet::new(inside);
    sheet.put(session.keys.c2s.octets())?;
    sheet.put(session.keys.s2c.octets())?;
    sheet.put(&session.fingerprint.0)?;
    sheet.put(&u32::try_from(minted_s).unwrap_or(u32::MAX).to_be_bytes())?;
    sheet.put(&session.until_s.to_be_bytes())?;
    let tag = key.seal(&[&number, &nonce], inside)?;
    let mut sheet = Sheet::new(head);
    [&number[..], &nonce, &tag].iter().try_for_each(|part| sheet.put(part))
}

/// Opens what [`seal`] made with the same key.
pub(crate) fn open(key: &Key, cookie: &[u8], now_s: u64) -> Result<Session, CookieError> {
    let wrong = CookieError::Length(cookie.len());
    let mut octets = Octets::new(cookie);
    let number: [u8; 4] = octets.array().ok_or(wrong)?;
    let nonce: [u8; NONCE_BYTES] = octets.array().ok_or(wrong)?;
    let tag = octets.array().ok_or(wrong)?;
    let mut inside: [u8; INSIDE_BYTES] = octets.array().ok_or(wrong)?;
    let opened = key.open(&[&number, &nonce], &mut inside, &tag);
    let session = opened.and_then(|()| read(&inside)).ok_or(CookieError::Changed);
    inside.zeroize();
    let (session, minted_s) = session?;
    let (age_s, until_s) = (now_s.saturating_sub(minted_s), u64::from(session.until_s));
    if age_s > COOKIE_AGE_MAX_S {
        return Err(CookieError::TooOld(age_s));
    }
    if until_s != 0 && now_s > until_s {
        return Err(CookieError::Expired(now_s - until_s));
    }
    Ok(session)
}

fn read(inside: &[u8]) -> Option<(Session, u64)> {
    let mut octets = Octets::new(inside);
    let keys = Keys { c2s: Key::new(octets.array()?), s2c: Key::new(octets.array()?) };
    let fingerprint = Fingerprint(octets.array()?);
    let (minted_s, until_s) = (octets.u32()?, octets.u32()?);
    Some((Session { keys, fingerprint, until_s }, u64::from(minted_s)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::new([9; KEY_BYTES]);
    const NOW_S: u64 = 1_795_000_000;

    fn session(until_s: u32) -> Session {
        let keys = Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) };
        Session { keys, fingerprint: Fingerprint::new([3; 32]), until_s }
    }

    fn sealed(session: &Session, nonce: u8) -> [u8; COOKIE_BYTES] {
        let mut room = [0; COOKIE_BYTES];
        seal((7, &KEY), session, NOW_S, [nonce; 16], &mut room).unwrap();
        room
    }

    #[test]
    fn it_opens_to_what_was_sealed() {
        let (session, cookie) = (session(0), sealed(&session(0), 1));
        assert_eq!(key_number(&cookie), Ok(7));
        assert_eq!(open(&KEY, &cookie, NOW_S), Ok(session));
        assert_eq!((COOKIE_BYTES, COOKIE_BYTES % 4), (140, 0));
    }

    #[test]
    fn two_of_one_session_have_only_the_key_in_common() {
        let (one, two) = (sealed(&session(0), 1), sealed(&session(0), 2));
        let same = (4..COOKIE_BYTES).filter(|at| one[*at] == two[*at]).count();
        assert!(same < 8, "{same}");
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let cookie = sealed(&session(0), 1);
        for bit in 0..COOKIE_BYTES * 8 {
            let mut changed = cookie;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&KEY, &changed, NOW_S), Err(CookieError::Changed), "{bit}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let cookie = [&sealed(&session(0), 1)[..], &[0; 8]].concat();
        for len in (0..cookie.len()).filter(|len| *len != COOKIE_BYTES) {
            assert_eq!(key_number(&cookie[..len]), Err(CookieError::Length(len)));
        }
    }

    #[test]
    fn it_ages() {
        let cookie = sealed(&session(0), 1);
        assert!(open(&KEY, &cookie, NOW_S + COOKIE_AGE_MAX_S).is_ok());
        let late = open(&KEY, &cookie, NOW_S + COOKIE_AGE_MAX_S + 1);
        assert_eq!(late, Err(CookieError::TooOld(COOKIE_AGE_MAX_S + 1)));
        // A clock that went back makes nothing old.
        assert!(open(&KEY, &cookie, 0).is_ok());
    }

    #[test]
    fn it_lasts_no_longer_than_the_certificate() {
        let until_s = NOW_S as u32 + 60;
        let cookie = sealed(&session(until_s), 1);
        assert!(open(&KEY, &cookie, NOW_S + 60).is_ok());
        assert_eq!(open(&KEY, &cookie, NOW_S + 61), Err(CookieError::Expired(1)));
    }
}
