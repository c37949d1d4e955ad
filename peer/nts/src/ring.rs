//! The keys that seal cookies: the newest seals, eight open.
//!
//! The ring outlives the program in a file, because a server that comes back without it refuses
//! every cookie at once, and chrony then waits up to 17 minutes before it asks for new ones.
//!
//! **Invariant:** there is always a newest key; no two keys have one number.

use zeroize::{Zeroize, Zeroizing};

use crate::cookie::{self, CookieError, Session};
use crate::key::{KEY_BYTES, Key, NONCE_BYTES, TAG_BYTES};
use crate::limits::{RING_KEYS_MAX, ROTATION_S};
use crate::octets::Octets;

const MAGIC: &[u8; 8] = b"nts-ring";
const VERSION: u8 = 1;
/// Number, birth, key.
const ROW_BYTES: usize = 4 + 8 + KEY_BYTES;
const HEAD_BYTES: usize = MAGIC.len() + 2;

/// What is wrong with a ring's file; the disk's doing, or somebody's who wrote another file there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RingError {
    /// Begins otherwise.
    #[error("not a ring of keys")]
    NotARing,
    /// Of a version that is not known here.
    #[error("a ring of keys of version {0}, known is {VERSION}")]
    Version(u8),
    /// Cut, too long, with no key or with too many.
    #[error("a ring of keys of impossible length")]
    Length,
    /// Its check value is wrong, or a number is there twice.
    #[error("a ring of keys that was damaged")]
    Damaged,
}

struct Row {
    number: u32,
    born_s: u64,
    key: Key,
}

/// The ring. Wiped when it is dropped.
pub struct Ring {
    /// Newest last.
    rows: Vec<Row>,
}

impl Ring {
    /// A ring with one key. The octets are secret and random; so is, with them, the first number,
    /// so that cookies of a ring that was lost are seen as foreign, not as changed.
    #[must_use]
    pub fn new(now_s: u64, random: &[u8; KEY_BYTES], number: u32) -> Self {
        let row = Row { number, born_s: now_s, key: Key::new(*random) };
        let mut rows = Vec::with_capacity(RING_KEYS_MAX + 1);
        rows.push(row);
        Self { rows }
    }

    /// When the newest key should be followed by another, in seconds since 1970.
    #[must_use]
    pub fn due_s(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.born_s.saturating_add(ROTATION_S))
    }

    /// Whether it should be now: also when the clock stands before the key's birth by as much, for
    /// then it was set, and the key would never age.
    #[must_use]
    pub fn is_due(&self, now_s: u64) -> bool {
        self.rows.last().is_none_or(|row| row.born_s.abs_diff(now_s) >= ROTATION_S)
    }

    /// Adds a key of secret random octets, and forgets the oldest beyond eight.
    pub fn rotate(&mut self, now_s: u64, random: &[u8; KEY_BYTES]) {
        let number = self.rows.last().map_or(0, |row| row.number.wrapping_add(1));
        self.rows.push(Row { number, born_s: now_s, key: Key::new(*random) });
        if self.rows.len() > RING_KEYS_MAX {
            self.rows.remove(0);
        }
    }

    /// Keys in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Seals a session into `room`, which must have [`crate::COOKIE_BYTES`]; `None` if it has not.
    /// The nonce is random, so that nobody can tell that two cookies belong together.
    #[must_use]
    pub fn mint(
        &self,
        session: &Session,
        now_s: u64,
        nonce: [u8; NONCE_BYTES],
        room: &mut [u8],
    ) -> Option<()> {
        let newest = self.rows.last()?;
        cookie::seal((newest.number, &newest.key), session, now_s, nonce, room)
    }

    /// Opens a cookie that one of the keys sealed.
    ///
    /// # Errors
    /// Says which way it is not one of ours, or not any more.
    pub fn open(&self, cookie: &[u8], now_s: u64) -> Result<Session, CookieError> {
        let number = cookie::key_number(cookie)?;
        let row = self.rows.iter().rev().find(|row| row.number == number);
        let row = row.ok_or(CookieError::Foreign(number))?;
        cookie::open(&row.key, cookie, now_s)
    }

    /// As it is kept in a file that only we may read. The end of it is a check value under the
    /// newest key, against a disk that forgets bits.
    #[must_use]
    pub fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let length = HEAD_BYTES + self.rows.len() * ROW_BYTES + TAG_BYTES;
        // Of its whole length at once: growing would leave copies behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(length));
        octets.extend_from_slice(MAGIC);
        octets.extend_from_slice(&[VERSION, u8::try_from(self.rows.len()).unwrap_or(u8::MAX)]);
        for row in &self.rows {
            octets.extend_from_slice(&row.number.to_be_bytes());
            octets.extend_from_slice(&row.born_s.to_be_bytes());
            octets.extend_from_slice(row.key.octets());
        }
        let check = self.rows.last().and_then(|row| row.key.seal(&[&octets], &mut []));
        octets.extend_from_slice(&check.unwrap_or_default());
        octets
    }

    /// From such a file.
    ///
    /// # Errors
    /// Whatever is not entirely as [`Self::to_octets`] wrote it is refused.
    pub fn from_octets(file: &[u8]) -> Result<Self, RingError> {
        let (kept, check) = file.split_last_chunk::<TAG_BYTES>().ok_or(RingError::NotARing)?;
        let mut octets = Octets::new(kept);
        if octets.array() != Some(*MAGIC) {
            return Err(RingError::NotARing);
        }
        let [version, count] = octets.array().ok_or(RingError::Length)?;
        if version != VERSION {
            return Err(RingError::Version(version));
        }
        let count = usize::from(count);
        let fits = octets.rest().len() == count * ROW_BYTES;
        if !fits || count == 0 || count > RING_KEYS_MAX {
            return Err(RingError::Length);
        }
        let mut rows: Vec<Row> = Vec::with_capacity(RING_KEYS_MAX + 1);
        while let Some(row) = read_row(&mut octets) {
            if rows.iter().any(|other| other.number == row.number) {
                return Err(RingError::Damaged);
            }
            rows.push(row);
        }
        let newest = rows.last().ok_or(RingError::Length)?;
        newest.key.open(&[kept], &mut [], check).ok_or(RingError::Damaged)?;
        Ok(Self { rows })
    }
}

fn read_row(octets: &mut Octets<'_>) -> Option<Row> {
    let (number, born_s) = (octets.u32()?, octets.u64()?);
    let mut secret: [u8; KEY_BYTES] = octets.array()?;
    let key = Key::new(secret);
    secret.zeroize();
    Some(Row { number, born_s, key })
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<u32> = self.rows.iter().map(|row| row.number).collect();
        f.debug_struct("Ring").field("numbers", &numbers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::{COOKIE_BYTES, Fingerprint};
    use crate::key::Keys;

    const NOW_S: u64 = 1_795_000_000;

    fn session() -> Session {
        let keys = Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) };
        Session { keys, fingerprint: Fingerprint::NONE, until_s: 0 }
    }

    fn mint(ring: &Ring) -> [u8; COOKIE_BYTES] {
        let mut room = [0; COOKIE_BYTES];
        ring.mint(&session(), NOW_S, [5; 16], &mut room).unwrap();
        room
    }

    fn ring(keys: u8) -> Ring {
        let mut ring = Ring::new(NOW_S, &[1; 32], u32::MAX);
        (1..keys).for_each(|key| ring.rotate(NOW_S + u64::from(key) * ROTATION_S, &[key + 1; 32]));
        ring
    }

    #[test]
    fn a_cookie_outlives_seven_rotations() {
        let mut ring = ring(1);
        let cookie = mint(&ring);
        for key in 2..=8 {
            ring.rotate(NOW_S, &[key; 32]);
            assert_eq!(ring.open(&cookie, NOW_S), Ok(session()));
        }
        ring.rotate(NOW_S, &[9; 32]);
        assert_eq!(ring.open(&cookie, NOW_S), Err(CookieError::Foreign(u32::MAX)));
        assert_eq!(ring.count(), RING_KEYS_MAX);
    }

    #[test]
    fn the_newest_key_seals() {
        let mut ring = ring(1);
        assert_eq!(mint(&ring)[..4], [0xFF; 4]);
        ring.rotate(NOW_S, &[2; 32]);
        assert_eq!(mint(&ring)[..4], [0; 4]);
    }

    #[test]
    fn it_is_due_after_a_day_or_when_the_clock_was_set() {
        let ring = ring(1);
        assert!(!ring.is_due(NOW_S + ROTATION_S - 1));
        assert!(ring.is_due(NOW_S + ROTATION_S));
        assert!(!ring.is_due(NOW_S - 60));
        assert!(ring.is_due(NOW_S - ROTATION_S));
        assert_eq!(ring.due_s(), NOW_S + ROTATION_S);
    }

    #[test]
    fn room_of_another_size_is_refused() {
        assert_eq!(ring(1).mint(&session(), NOW_S, [0; 16], &mut [0; COOKIE_BYTES - 1]), None);
    }

    #[test]
    fn it_comes_back_from_its_file() {
        for keys in 1..=8 {
            let ring = ring(keys);
            let back = Ring::from_octets(&ring.to_octets()).unwrap();
            assert_eq!(back.open(&mint(&ring), NOW_S), Ok(session()));
            assert_eq!((back.count(), back.due_s()), (ring.count(), ring.due_s()));
            assert_eq!(back.to_octets(), ring.to_octets());
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let file = ring(3).to_octets();
        for cut in 0..file.len() {
            assert!(Ring::from_octets(&file[..cut]).is_err(), "{cut}");
        }
        for bit in 0..file.len() * 8 {
            let mut changed = file.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Ring::from_octets(&changed).is_err(), "{bit}");
        }
        let longer = [&file[..], &[0]].concat();
        assert!(Ring::from_octets(&longer).is_err());
        assert_eq!(
            Ring::from_octets(b"another file, long enough").err(),
            Some(RingError::NotARing)
        );
    }

    #[test]
    fn no_key_is_shown() {
        assert_eq!(format!("{:?}", ring(2)), "Ring { numbers: [4294967295, 0], .. }");
    }
}
