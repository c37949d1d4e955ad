//! Key and certificate on the disk, and how they are replaced so that no crash leaves a node
//! without a pair that fits.
//!
//! ```text
//!   1. id/next.key            a fresh key, if there is one
//!   2. id/next.crt            its certificate; the new pair is whole from here on
//!   3. next.crt -> node.crt   when the new pair has proved itself
//!   4. next.key -> node.key
//! ```
//!
//! **Invariant:** after any prefix of these steps some two of the four files fit each other, and
//! [`Pair::read`] finds the two that are valid the longest.
//!
//! Four files are not read in one moment. Whoever finds no pair while they are being moved looks
//! again.

use std::path::{Path, PathBuf};

use host::files::{self, FileError, Mode};
use shared::cert::NodeCert;
use shared::key::PrivateKey;
use shared::limits::{CERT_FILE_BYTES_MAX, CHAIN_CERTS_MAX};
use shared::pem;
use tls::Identity;

use super::{BundleError, Paths, check_key, read_key};
use crate::limits::PAIR_READS_MAX;

/// A key and the certificate that fits it, and which files they are.
pub struct Pair {
    /// The chain and the key.
    pub identity: Identity,
    /// The certificate.
    pub cert: NodeCert,
    key: PathBuf,
    crt: PathBuf,
}

impl Pair {
    /// The pair that fits, is taken by `judge`, and ends last; if `judge` takes none, its refusal
    /// of the one that ends last.
    ///
    /// # Errors
    /// [`BundleError`] about the settled pair, if nothing fits.
    pub fn read(
        paths: &Paths,
        judge: impl Fn(&Identity, &NodeCert) -> Result<(), BundleError>,
    ) -> Result<Self, BundleError> {
        let mut before = state(paths);
        for _ in 1..PAIR_READS_MAX {
            let found = Self::read_once(paths, &judge);
            let after = state(paths);
            if found.is_ok() || after == before {
                return found;
            }
            before = after;
        }
        Self::read_once(paths, &judge)
    }

    fn read_once(
        paths: &Paths,
        judge: &impl Fn(&Identity, &NodeCert) -> Result<(), BundleError>,
    ) -> Result<Self, BundleError> {
        let mut fitting = Vec::new();
        let mut settled = None;
        for (key, crt) in candidates(paths) {
            match read_pair(&key, &crt) {
                Ok(pair) => fitting.push(pair),
                Err(error) => settled = settled.or(Some(error)),
            }
        }
        // Of two that end in the same second, the one beside is the newer.
        let age = |pair: &Self| (pair.cert.not_after, pair.crt == paths.next_cert());
        fitting.sort_by_key(|pair| std::cmp::Reverse(age(pair)));
        let mut refused = None;
        for pair in fitting {
            match judge(&pair.identity, &pair.cert) {
                Ok(()) => return Ok(pair),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let missing = || BundleError::File(FileError::Missing { path: paths.cert() });
        Err(refused.or(settled).unwrap_or_else(missing))
    }

    /// Finishes the move to this pair and forgets the other.
    ///
    /// # Errors
    /// [`FileError`]; the same call finishes it later.
    pub fn settle(&self, paths: &Paths) -> Result<(), FileError> {
        if self.crt == paths.next_cert() {
            files::rename_over(&paths.next_cert(), &paths.cert())?;
        }
        if self.key == paths.next_key() {
            files::rename_over(&paths.next_key(), &paths.key())?;
        }
        files::remove(&paths.next_cert())?;
        files::remove(&paths.next_key())
    }
}

/// Puts a new certificate beside the one there is, and its key if that is new too.
///
/// # Errors
/// [`FileError`]; the pair there was is untouched.
pub fn put_beside(
    paths: &Paths,
    chain: &[Vec<u8>],
    fresh: Option<&PrivateKey>,
) -> Result<(), FileError> {
    // The half of an earlier try would fit nothing.
    files::remove(&paths.next_cert())?;
    match fresh {
        Some(key) => {
            let text = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
            files::write_atomic(&paths.next_key(), text.as_bytes(), Mode::Secret)?;
        }
        None => files::remove(&paths.next_key())?,
    }
    files::write_atomic(&paths.next_cert(), chain_pem(chain).as_bytes(), Mode::Public)
}

/// Replaces the pair of a bundle on which no peer need run: beside the old one, then in its place.
///
/// # Errors
/// [`BundleError`]; some pair that fits is there whatever happens.
pub fn replace(
    folder: &Path,
    chain: &[Vec<u8>],
    fresh: Option<&PrivateKey>,
) -> Result<(), BundleError> {
    let paths = Paths::of(folder);
    put_beside(&paths, chain, fresh)?;
    settle_as(&paths, chain.first().map(Vec::as_slice).unwrap_or_default())
}

/// Finishes the move to the pair of a certificate, DER.
///
/// # Errors
/// [`BundleError`]; some pair that fits is there whatever happens.
pub fn settle_as(paths: &Paths, leaf: &[u8]) -> Result<(), BundleError> {
    let is_it = |identity: &Identity, cert: &NodeCert| {
        let same = identity.chain.first().is_some_and(|first| first == leaf);
        let path = paths.next_cert();
        if same { Ok(()) } else { Err(BundleError::KeyMismatch { path, node: cert.node.clone() }) }
    };
    Ok(Pair::read(paths, is_it)?.settle(paths)?)
}

/// Which files there are: a move gives a place to another one.
fn state(paths: &Paths) -> [Option<(u64, i64, i64)>; 4] {
    use std::os::unix::fs::MetadataExt as _;
    let files = [paths.key(), paths.cert(), paths.next_key(), paths.next_cert()];
    files.map(|file| {
        let found = std::fs::symlink_metadata(file).ok();
        found.map(|found| (found.ino(), found.mtime(), found.mtime_nsec()))
    })
}

/// The settled pair first; then those that a move leaves at its steps.
fn candidates(paths: &Paths) -> [(PathBuf, PathBuf); 4] {
    [
        (paths.key(), paths.cert()),
        (paths.next_key(), paths.next_cert()),
        (paths.next_key(), paths.cert()),
        (paths.key(), paths.next_cert()),
    ]
}

fn read_pair(key_path: &Path, crt_path: &Path) -> Result<Pair, BundleError> {
    let key = read_key(key_path)?;
    let bytes = files::read_bounded(crt_path, CERT_FILE_BYTES_MAX)?;
    let wrong = |source| BundleError::Pem { path: crt_path.to_owned(), source };
    let chain = pem::certificates(&bytes, CHAIN_CERTS_MAX).map_err(wrong)?;
    let cert = NodeCert::read(chain.first().map_or(&[][..], Vec::as_slice))
        .map_err(|source| BundleError::Cert { path: crt_path.to_owned(), source })?;
    check_key(crt_path, &cert, &key)?;
    let identity = Identity { chain, key };
    Ok(Pair { identity, cert, key: key_path.to_owned(), crt: crt_path.to_owned() })
}

fn chain_pem(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shared::key::Algorithm;

    use super::*;
    use crate::bundle::Bundle;
    use crate::fixture::Authority;

    fn copy(from: &Path, place: &Path, number: usize) -> PathBuf {
        let folder = place.join(format!("step{number}.bundle"));
        files::make_private_dir(&folder.join("id")).unwrap();
        for name in ["node.yaml", "trust.pem", "feed"] {
            fs::copy(from.join(name), folder.join(name)).unwrap();
        }
        for entry in fs::read_dir(from.join("id")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.join("id").join(entry.file_name())).unwrap();
        }
        folder
    }

    /// Every state that a crash can leave, with whether the new pair is whole there.
    fn states(fresh: bool) -> (Vec<(PathBuf, bool)>, NodeCert, NodeCert, tempfile::TempDir) {
        let place = tempfile::tempdir().unwrap();
        let authority = Authority::new("mesh.example");
        let folder = authority.bundle(place.path(), "bob");
        let old = Bundle::open(&folder).unwrap();
        let key = if fresh {
            PrivateKey::generate(Algorithm::P256).unwrap()
        } else {
            read_key(&old.paths.key()).unwrap()
        };
        let chain = authority.later_chain("bob", key.public());
        let new = NodeCert::read(&chain[0]).unwrap();
        let paths = old.paths.clone();
        let mut states = vec![(copy(&folder, place.path(), 0), false)];
        if fresh {
            let text = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
            files::write_atomic(&paths.next_key(), text.as_bytes(), Mode::Secret).unwrap();
            states.push((copy(&folder, place.path(), 1), false));
        }
        put_beside(&paths, &chain, fresh.then_some(&key)).unwrap();
        states.push((copy(&folder, place.path(), 2), true));
        files::rename_over(&paths.next_cert(), &paths.cert()).unwrap();
        states.push((copy(&folder, place.path(), 3), true));
        if fresh {
            files::rename_over(&paths.next_key(), &paths.key()).unwrap();
            states.push((copy(&folder, place.path(), 4), true));
        }
        (states, old.cert, new, place)
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_pair_and_the_move_is_finished() {
        for fresh in [true, false] {
            let (states, old, new, _place) = states(fresh);
            for (folder, whole) in states {
                let wanted = if whole { new.serial } else { old.serial };
                let bundle = Bundle::open(&folder).unwrap();
                assert_eq!(bundle.cert.serial, wanted, "{}", folder.display());
                bundle.settle().unwrap();
                assert!(!folder.join("id/next.key").exists());
                assert!(!folder.join("id/next.crt").exists());
                let again = Bundle::open(&folder).unwrap();
                assert_eq!(again.cert.serial, wanted, "{}", folder.display());
            }
        }
    }

    #[test]
    fn whoever_reads_while_it_is_moved_finds_one_of_the_two() {
        let place = tempfile::tempdir().unwrap();
        let authority = Authority::new("mesh.example");
        let folder = authority.bundle(place.path(), "bob");
        let keys: Vec<PrivateKey> =
            (0..4).map(|_| PrivateKey::generate(Algorithm::P256).unwrap()).collect();
        let pairs = keys.iter().map(|key| (authority.later_chain("bob", key.public()), key));
        let pairs: Vec<_> = pairs.collect();
        let mut reads = 0;
        std::thread::scope(|scope| {
            let moves = scope.spawn(|| {
                for (chain, key) in pairs.iter().cycle().take(100) {
                    replace(&folder, chain, Some(key)).unwrap();
                }
            });
            while !moves.is_finished() {
                Bundle::open(&folder).unwrap();
                reads += 1;
            }
            moves.join().unwrap();
        });
        assert!(reads > 10, "{reads}");
    }

    #[test]
    fn of_two_valid_pairs_the_later_is_taken_and_one_that_is_refused_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (authority, other) = (Authority::new("mesh.example"), Authority::new("mesh.example"));
        let folder = authority.bundle(place.path(), "bob");
        let old = Bundle::open(&folder).unwrap();
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        for foreign in
            [other.later_chain("bob", key.public()), authority.later_chain("carol", key.public())]
        {
            put_beside(&old.paths, &foreign, Some(&key)).unwrap();
            assert_eq!(Bundle::open(&folder).unwrap().cert.serial, old.cert.serial);
        }
        let chain = authority.later_chain("bob", key.public());
        put_beside(&old.paths, &chain, Some(&key)).unwrap();
        assert_eq!(Bundle::open(&folder).unwrap().cert.der, chain[0]);
        fs::write(old.paths.next_cert(), b"cut").unwrap();
        assert_eq!(Bundle::open(&folder).unwrap().cert.serial, old.cert.serial);
        replace(&folder, &chain, Some(&key)).unwrap();
        assert_eq!(Bundle::open(&folder).unwrap().cert.der, chain[0]);
        assert!(!old.paths.next_cert().exists());
    }
}
