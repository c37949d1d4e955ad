//! `evidence/` in a bundle: pairs of presences that one key signed in two runs, and pairs of times
//! that one clock cannot have shown.
//!
//! Anybody who has the network's root can verify a piece of it: both statements carry their chain.
//! They are verified as of the time they were signed, because the node may be revoked since; a
//! statement about time as of the day in its certificate's life that is nearest to what it says.
//!
//! **Invariant:** at most [`EVIDENCE_MAX`] pieces, [`EVIDENCE_PER_NODE_MAX`] of one node, and none
//! is ever overwritten.

use std::path::{Path, PathBuf};

use host::files::{self, FileError, Mode};
use shared::archive::Shelf;
use shared::id::{hex, sha256_of};
use shared::limits::STATEMENT_BYTES_MAX;
use shared::name::NodeName;
use shared::presence::SignedPresence;
use shared::shown::{Contradiction, Proof, SignedShown};
use shared::verify::Verifier;

use crate::limits::{EVIDENCE_MAX, EVIDENCE_PER_NODE_MAX};

const SUFFIX: &str = ".evidence";
/// Hexadecimal digits that tell pieces about one node apart.
const DIGITS: usize = 12;

/// What a piece of evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// The two statements alone prove that the certificate was alive in two runs at once, or that
    /// one run went on twice.
    Copy,
    /// Both are genuine; that both lived at once was seen by this node only.
    Sighting,
    /// No honest clock shows both: its owner told one time here and another there.
    TwoTimes,
    /// Nothing: a statement does not verify, or both can be true.
    Nothing,
}

impl Shows {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Sighting => "sighting",
            Self::TwoTimes => "two-times",
            Self::Nothing => "nothing",
        }
    }
}

/// A statement in a piece of evidence, verified.
#[derive(Debug, Clone)]
pub enum Signed {
    /// Where a node said that it was.
    Presence(SignedPresence),
    /// What its clock showed.
    Time(Box<SignedShown>),
}

impl Signed {
    /// Who signed it.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Presence(signed) => &signed.presence.node,
            Self::Time(signed) => &signed.shown.node,
        }
    }

    fn open(bytes: &[u8], verifier: &Verifier) -> Result<Self, String> {
        let anchors = verifier.anchors().map_err(|error| error.to_string())?;
        let network = anchors.network();
        let verified = if let Some(said) = SignedPresence::peek(bytes) {
            SignedPresence::verify(bytes, network, verifier, said.at).map(Self::Presence)
        } else {
            let at = SignedShown::day_of(bytes).ok_or("unreadable")?;
            SignedShown::verify(bytes, network, verifier, at).map(|said| Self::Time(Box::new(said)))
        };
        verified.map_err(|refusal| refusal.to_string())
    }
}

/// One piece of evidence, read and judged.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its file.
    pub path: PathBuf,
    /// What it shows.
    pub shows: Shows,
    /// The statements, or why one does not verify.
    pub statements: Vec<Result<Signed, String>>,
}

/// Keeps a pair; `None` if it is kept already or there is no room.
///
/// # Errors
/// [`FileError`].
pub fn keep(
    folder: &Path,
    node: &NodeName,
    statements: &[Vec<u8>; 2],
) -> Result<Option<PathBuf>, FileError> {
    files::make_private_dir(folder)?;
    let [first, second] = statements;
    let (a, b) = if first <= second { (first, second) } else { (second, first) };
    let hash = hex(&sha256_of(&[a, b]));
    let name = format!("{node}-{}{SUFFIX}", hash.get(..DIGITS).unwrap_or_default());
    let path = folder.join(name);
    let kept = list(folder)?;
    let of_node = kept.iter().filter(|path| is_about(path, node)).count();
    let full = kept.len() >= EVIDENCE_MAX || of_node >= EVIDENCE_PER_NODE_MAX;
    if full || kept.contains(&path) {
        return Ok(None);
    }
    files::write_new(&path, &Shelf::Evidence.write(statements), Mode::Secret)?;
    Ok(Some(path))
}

/// Two contradicting statements of one node.
pub(crate) type Twins = (NodeName, [Vec<u8>; 2]);

/// Keeps a pair beside whatever the caller does, and tells the log where.
pub(crate) async fn keep_one((node, statements): Twins, folder: PathBuf) {
    let kept = tokio::task::spawn_blocking(move || keep(&folder, &node, &statements)).await;
    match kept {
        Ok(Ok(Some(path))) => tracing::warn!("evidence kept: {}", path.display()),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::warn!("evidence could not be written: {error}"),
        Err(error) => tracing::warn!("evidence could not be written: {error}"),
    }
}

/// The files, in order of their names; none if there is no folder.
///
/// # Errors
/// [`FileError`].
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| FileError::from_io("read", folder, error))?,
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "evidence")).collect();
    found.sort_unstable();
    found.truncate(EVIDENCE_MAX);
    Ok(found)
}

/// Reads a piece and verifies both signatures, by a verifier that knows of no revocation: what is
/// revoked now was genuine when it was signed.
///
/// # Errors
/// [`FileError`] if the file cannot be read; a file that is no evidence shows nothing.
pub fn judge(path: &Path, verifier: &Verifier) -> Result<Piece, FileError> {
    let bytes = files::read_bounded(path, 2 * (STATEMENT_BYTES_MAX + 4) + 64)?;
    let statements = Shelf::Evidence.read(&bytes, 2).unwrap_or_default();
    let open = |bytes: &Vec<u8>| Signed::open(bytes, verifier);
    let statements: Vec<_> = statements.iter().map(open).collect();
    let shows = match statements.as_slice() {
        [Ok(Signed::Presence(a)), Ok(Signed::Presence(b))] => of_presences(a, b),
        [Ok(Signed::Time(a)), Ok(Signed::Time(b))] => of_times(a, b),
        _ => Shows::Nothing,
    };
    Ok(Piece { path: path.to_owned(), shows, statements })
}

fn of_times(a: &SignedShown, b: &SignedShown) -> Shows {
    match Proof::of(a, b).map(|proof| proof.shows) {
        Some(Contradiction::Twice) => Shows::Copy,
        Some(Contradiction::TwoTimes) => Shows::TwoTimes,
        None => Shows::Nothing,
    }
}

fn of_presences(a: &SignedPresence, b: &SignedPresence) -> Shows {
    let (a, b) = (&a.presence, &b.presence);
    match () {
        () if a.node != b.node || a.instance == b.instance => Shows::Nothing,
        () if a.proves_copy(b) => Shows::Copy,
        () => Shows::Sighting,
    }
}

fn is_about(path: &Path, node: &NodeName) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit_once('-').is_some_and(|(name, _)| name == node.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Authority, node};
    use shared::cert::NodeCert;
    use shared::id::InstanceId;
    use shared::key::{Algorithm, PrivateKey};
    use shared::presence::Presence;
    use shared::shown::Shown;
    use shared::verify::Anchors;

    struct Bob {
        authority: Authority,
        key: PrivateKey,
        chain: Vec<Vec<u8>>,
    }

    impl Bob {
        fn new() -> Self {
            let authority = Authority::new("mesh.example");
            let key = PrivateKey::generate(Algorithm::P256).unwrap();
            let chain = authority.chain("bob", key.public());
            Self { authority, key, chain }
        }

        fn says(&self, instance: u8, boot: u64) -> Vec<u8> {
            let presence = Presence {
                node: node("bob"),
                instance: InstanceId::new([instance; 16]),
                boot,
                sequence: 1,
                at: self.authority.now,
                addresses: Vec::new(),
                roles: Vec::new(),
                feed_number: 0,
                policy_number: 0,
                relays: Vec::new(),
            };
            let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
            presence.sign(&self.authority.network, &self.key, &chain).unwrap()
        }

        /// What its clock shows, in seconds after the beginning of its certificate.
        fn shows(&self, sequence: u64, after_s: i64) -> Vec<u8> {
            let begun_ms = NodeCert::read(&self.chain[0]).unwrap().not_before.ms();
            let shown = Shown {
                node: node("bob"),
                instance: InstanceId::new([1; 16]),
                sequence,
                steps: 0,
                count_ns: sequence * 1_000_000_000,
                utc_ns: (begun_ms + after_s * 1_000) * 1_000_000,
                bound_ns: 1_000,
            };
            let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
            shown.sign(&self.authority.network, &self.key, &chain).unwrap()
        }

        fn verifier(&self) -> Verifier {
            let root = shared::pem::certificates(self.authority.trust().as_bytes(), 1).unwrap();
            Verifier::new(Anchors::new(self.authority.network.clone(), &root).unwrap())
        }
    }

    #[test]
    fn a_pair_is_kept_once_and_verifies() {
        let (bob, place) = (Bob::new(), tempfile::tempdir().unwrap());
        let folder = place.path().join("evidence");
        assert!(list(&folder).unwrap().is_empty());
        let pair = [bob.says(1, 5), bob.says(2, 5)];
        let path = keep(&folder, &node("bob"), &pair).unwrap().unwrap();
        let [first, second] = pair;
        assert_eq!(keep(&folder, &node("bob"), &[second, first]).unwrap(), None);
        assert_eq!(judge(&path, &bob.verifier()).unwrap().shows, Shows::Copy);
        assert_eq!(judge(&path, &Bob::new().verifier()).unwrap().shows, Shows::Nothing);
    }

    #[test]
    fn what_does_not_contradict_or_verify_shows_nothing() {
        let (bob, place) = (Bob::new(), tempfile::tempdir().unwrap());
        let folder = place.path().join("evidence");
        let mut forged = bob.says(2, 5);
        *forged.last_mut().unwrap() ^= 1;
        for (pair, shows) in [
            ([bob.says(1, 5), bob.says(1, 5)], Shows::Nothing),
            ([bob.says(1, 5), forged], Shows::Nothing),
            ([bob.says(1, 5), b"no statement".to_vec()], Shows::Nothing),
            ([bob.says(1, 5), bob.says(2, 6)], Shows::Sighting),
        ] {
            let path = keep(&folder, &node("bob"), &pair).unwrap().unwrap();
            assert_eq!(judge(&path, &bob.verifier()).unwrap().shows, shows);
        }
    }

    #[test]
    fn two_times_of_one_clock_are_evidence_whatever_times_they_are() {
        let (bob, place) = (Bob::new(), tempfile::tempdir().unwrap());
        let folder = place.path().join("evidence");
        let honest = bob.shows(1, 60);
        let mut forged = bob.shows(2, 90);
        *forged.last_mut().unwrap() ^= 1;
        let century_s = 3_200_000_000;
        for (other, shows) in [
            (bob.shows(2, 70), Shows::TwoTimes),
            (bob.shows(2, century_s), Shows::TwoTimes),
            (bob.shows(3, -century_s), Shows::TwoTimes),
            (bob.shows(1, 61), Shows::Copy),
            (bob.shows(2, 61), Shows::Nothing),
            (bob.says(1, 5), Shows::Nothing),
            (forged, Shows::Nothing),
        ] {
            let path = keep(&folder, &node("bob"), &[honest.clone(), other]).unwrap().unwrap();
            assert_eq!(judge(&path, &bob.verifier()).unwrap().shows, shows);
            assert_eq!(judge(&path, &Bob::new().verifier()).unwrap().shows, Shows::Nothing);
        }
    }

    #[test]
    fn one_node_leaves_room_for_others() {
        let (bob, place) = (Bob::new(), tempfile::tempdir().unwrap());
        let folder = place.path().join("evidence");
        let first = bob.says(0, 5);
        let kept = (1..20).filter(|n| {
            let pair = [first.clone(), bob.says(*n, 5)];
            keep(&folder, &node("bob"), &pair).unwrap().is_some()
        });
        assert_eq!(kept.count(), EVIDENCE_PER_NODE_MAX);
        let pair = [first.clone(), bob.says(99, 5)];
        assert!(keep(&folder, &node("bob-2"), &pair).unwrap().is_some());
    }
}
