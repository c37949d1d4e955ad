//! The keys of the cookies, on the disk: a server that comes back without them turns everybody away
//! at once, and chrony then waits for up to 17 minutes before it asks for new ones.
//!
//! **Invariant:** a key is on the disk before anything is sealed with it.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use host::fault::Fault;
use host::files::{self, FileError, Mode};
use nts::Ring;

use crate::limits::NTS_RING_BYTES_MAX;

/// The ring and its file.
pub(super) struct KeptRing {
    path: PathBuf,
    ring: RwLock<Ring>,
}

impl KeptRing {
    /// Reads the file, or makes it.
    ///
    /// # Errors
    /// [`Fault`] if others may read it, or if it cannot be read or written.
    pub(super) fn open(path: PathBuf, now_s: u64) -> Result<Self, Fault> {
        let kept = match files::read_secret(&path, NTS_RING_BYTES_MAX) {
            Ok(octets) => Some(Ring::from_octets(&octets)),
            Err(FileError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let ring = match kept {
            Some(Ok(ring)) => ring,
            Some(Err(error)) => {
                let file = path.display();
                tracing::warn!("{file} is {error}: every client has to ask for new keys");
                begin(&path, now_s)?
            }
            None => begin(&path, now_s)?,
        };
        let ring = Self { path, ring: RwLock::new(ring) };
        ring.look(now_s);
        Ok(ring)
    }

    /// The ring, to seal and to open with.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key if it is time for one. One that cannot be written is not used.
    pub(super) fn look(&self, now_s: u64) {
        if !self.read().is_due(now_s) {
            return;
        }
        if let Err(error) = self.rotate(now_s) {
            tracing::warn!("the keys of the cookies stay as they are: {error}");
        }
    }

    fn rotate(&self, now_s: u64) -> Result<(), Fault> {
        let octets = self.read().to_octets();
        let mut next =
            Ring::from_octets(&octets).map_err(|error| Fault::failed(error.to_string()))?;
        next.rotate(now_s, &host::random::bytes()?);
        files::write_atomic(&self.path, &next.to_octets(), Mode::Secret)?;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

fn begin(path: &Path, now_s: u64) -> Result<Ring, Fault> {
    let number = u32::from_be_bytes(host::random::bytes()?);
    let ring = Ring::new(now_s, &host::random::bytes()?, number);
    files::write_atomic(path, &ring.to_octets(), Mode::Secret)?;
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use nts::limits::{RING_KEYS_MAX, ROTATION_S};
    use nts::{COOKIE_BYTES, Fingerprint, Key, Keys, Session};

    use super::*;

    const NOW_S: u64 = 1_795_000_000;

    fn session() -> Session {
        let keys = Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) };
        Session { keys, fingerprint: Fingerprint::NONE, until_s: 0 }
    }

    fn cookie(ring: &KeptRing) -> [u8; COOKIE_BYTES] {
        let mut room = [0; COOKIE_BYTES];
        ring.read().mint(&session(), NOW_S, [5; 16], &mut room).unwrap();
        room
    }

    #[test]
    fn a_cookie_outlives_the_program_and_seven_days() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("nts.keys");
        let cookie = cookie(&KeptRing::open(path.clone(), NOW_S).unwrap());
        for day in 0..RING_KEYS_MAX as u64 {
            let ring = KeptRing::open(path.clone(), NOW_S + day * ROTATION_S).unwrap();
            assert_eq!(ring.read().count(), day as usize + 1);
            assert_eq!(ring.read().open(&cookie, NOW_S), Ok(session()));
        }
        let ring = KeptRing::open(path, NOW_S + 8 * ROTATION_S).unwrap();
        assert!(ring.read().open(&cookie, NOW_S).is_err());
    }

    #[test]
    fn only_its_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("nts.keys");
        drop(KeptRing::open(path.clone(), NOW_S).unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(KeptRing::open(path, NOW_S).is_err(), "somebody else may know the keys");
    }

    #[test]
    fn a_damaged_file_gives_way_to_a_new_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("nts.keys");
        let cookie = cookie(&KeptRing::open(path.clone(), NOW_S).unwrap());
        files::write_atomic(&path, b"something else", Mode::Secret).unwrap();
        let ring = KeptRing::open(path.clone(), NOW_S).unwrap();
        assert!(ring.read().open(&cookie, NOW_S).is_err());
        assert_eq!(KeptRing::open(path, NOW_S).unwrap().read().count(), 1);
    }

    #[test]
    fn a_key_that_cannot_be_written_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("gone");
        std::fs::create_dir(&folder).unwrap();
        let ring = KeptRing::open(folder.join("nts.keys"), NOW_S).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        ring.look(NOW_S + ROTATION_S);
        assert_eq!(ring.read().count(), 1);
        std::fs::create_dir(&folder).unwrap();
        ring.look(NOW_S + ROTATION_S);
        assert_eq!(ring.read().count(), 2);
    }
}
