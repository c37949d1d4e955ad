//! A bundle: the folder that makes a machine a node, read and checked as a whole.
//!
//! ```text
//! NODE.bundle/  node.yaml id/node.key id/node.crt trust.pem feed inbox/
//!               state.redb directory evidence/ lock control.sock   (made by the running peer)
//!               mqtt.redb mqtt.sock bridges   (if it speaks MQTT)
//! ```
//!
//! **Invariant:** an open [`Bundle`] has a key that fits its certificate, a certificate of its own
//! name and network that verifies now, and a feed that verifies; anything else is an error with a
//! hint.

mod app;
mod ended;
mod error;
mod pair;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::files::{self, FileError, Mode};
use host::lock::{FileLock, LockError};
use shared::cert::{NodeCert, Usage};
use shared::feed::{Feed, FeedError, read_file, write_file};
use shared::key::PrivateKey;
use shared::limits::{ANCHORS_MAX, CERT_FILE_BYTES_MAX, FEED_FILE_BYTES_MAX};
use shared::name::{MemberKind, NetworkName, NodeName};
use shared::pem;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};
use tls::Identity;

use crate::config::NodeConfig;
use crate::limits::KEY_FILE_BYTES_MAX;

pub use app::usage_of_app;
pub use ended::Ended;
pub use error::BundleError;
pub use pair::{Pair, put_beside, replace, settle_as};

/// Where everything stands in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    folder: PathBuf,
}

impl Paths {
    /// Of this folder, which need not exist.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `node.yaml`
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("node.yaml")
    }

    /// `id/node.key`
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("id/node.key")
    }

    /// `id/node.crt`
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.folder.join("id/node.crt")
    }

    /// `id/next.key`: a fresh key whose certificate is on its way, or new.
    #[must_use]
    pub fn next_key(&self) -> PathBuf {
        self.folder.join("id/next.key")
    }

    /// `id/next.crt`: a certificate that nobody has taken yet.
    #[must_use]
    pub fn next_cert(&self) -> PathBuf {
        self.folder.join("id/next.crt")
    }

    /// `trust.pem`
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.folder.join("trust.pem")
    }

    /// `feed`
    #[must_use]
    pub fn feed(&self) -> PathBuf {
        self.folder.join("feed")
    }

    /// `policy`
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.folder.join("policy")
    }

    /// `inbox/`
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.folder.join("inbox")
    }

    /// `outbox.redb`
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.folder.join("outbox.redb")
    }

    /// `state.redb`
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state.redb")
    }

    /// `directory`: presences remembered from run to run.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.folder.join("directory")
    }

    /// `floor`: a time that it certainly is by now.
    #[must_use]
    pub fn floor(&self) -> PathBuf {
        self.folder.join("floor")
    }

    /// `evidence/`
    #[must_use]
    pub fn evidence(&self) -> PathBuf {
        self.folder.join("evidence")
    }

    /// `nts.keys`: what the cookies of the mesh clock are sealed with.
    #[must_use]
    pub fn nts_keys(&self) -> PathBuf {
        self.folder.join("nts.keys")
    }

    /// What a running peer watches for changes.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        vec![self.config(), self.key(), self.cert(), self.trust(), self.feed()]
    }

    /// Takes the bundle for one running peer; the lock ends with the value.
    ///
    /// # Errors
    /// [`BundleError::Running`] says who holds it.
    pub fn lock(&self) -> Result<FileLock, BundleError> {
        let path = self.folder.join("lock");
        FileLock::acquire(&path, Duration::ZERO, |_| {}).map_err(|error| match error {
            LockError::File(error) => BundleError::File(error),
            LockError::Held { holder, .. } => {
                BundleError::Running { holder, path: self.folder.clone() }
            }
            other => BundleError::Running { holder: other.to_string(), path: self.folder.clone() },
        })
    }
}

/// A bundle that was read and checked.
pub struct Bundle {
    /// Where everything stands.
    pub paths: Paths,
    /// The settings.
    pub config: NodeConfig,
    /// Our chain and key.
    pub identity: Identity,
    /// Our certificate.
    pub cert: NodeCert,
    /// The verifier over `trust.pem`, with everything the feed revokes.
    pub verifier: Arc<Verifier>,
    /// The feed, as far as we have it.
    pub feed: Feed,
    /// Which start this is, if whoever opened it counts the starts elsewhere.
    pub boot: Option<u64>,
    /// Whether key and certificate are in memory alone.
    lent: bool,
}

impl Bundle {
    /// Opens a bundle as of now, or as of its floor if the machine shows an earlier day.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        Self::open_at(folder, crate::time::floor::now(&Paths::of(folder)))
    }

    /// Opens a bundle as of a moment.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn open_at(folder: &Path, now: Timestamp) -> Result<Self, BundleError> {
        files::check_private_dir(folder)?;
        let paths = Paths::of(folder);
        if !paths.config().is_file() {
            return Err(BundleError::NotBundle { path: folder.to_owned() });
        }
        let config = NodeConfig::read(&paths.config())?;
        let verifier = Verifier::new(read_trust(&paths.trust(), &config.network)?);
        let judge = |identity: &Identity, cert: &NodeCert| {
            check_owner(cert, &config.network, &config.node)?;
            check_is_node(folder, cert)?;
            admit(&verifier, &identity.chain, cert, now)
        };
        let Pair { identity, cert, .. } = Pair::read(&paths, judge)?;
        Self::complete(paths, config, verifier, (identity, cert), now)
    }

    /// Opens a folder without `id/` under an identity that is not on this disk in the clear, for
    /// the start of this number.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn open_as(folder: &Path, identity: Identity, boot: u64) -> Result<Self, BundleError> {
        files::check_private_dir(folder)?;
        let paths = Paths::of(folder);
        let config = NodeConfig::read(&paths.config())?;
        let verifier = Verifier::new(read_trust(&paths.trust(), &config.network)?);
        let cert = check_identity(folder, &identity)?;
        let now = host::clock::wall();
        let bundle = Self::complete(paths, config, verifier, (identity, cert), now)?;
        Ok(Self { boot: Some(boot), lent: true, ..bundle })
    }

    fn complete(
        paths: Paths,
        config: NodeConfig,
        verifier: Verifier,
        (identity, cert): (Identity, NodeCert),
        now: Timestamp,
    ) -> Result<Self, BundleError> {
        check_owner(&cert, &config.network, &config.node)?;
        check_is_node(paths.folder(), &cert)?;
        admit(&verifier, &identity.chain, &cert, now)?;
        let feed = read_feed(&paths.feed(), &verifier, now);
        let feed = match feed {
            // The machine has lost the time: what the authority has signed is later than it shows.
            Err(BundleError::Feed { source: FeedError::FromTheFuture { at }, .. })
                if host::clock::wall() < now =>
            {
                read_feed(&paths.feed(), &verifier, at)?
            }
            feed => feed?,
        };
        let verifier = Arc::new(verifier);
        Ok(Self { paths, config, identity, cert, verifier, feed, boot: None, lent: false })
    }

    /// What a running peer watches for changes.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut watched = self.paths.watched();
        watched.retain(|path| !self.lent || !path.starts_with(self.paths.folder().join("id")));
        watched
    }

    /// Whether an identity can take the place of ours.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn check_successor(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<NodeCert, BundleError> {
        let cert = check_identity(self.paths.folder(), identity)?;
        check_owner(&cert, &self.config.network, &self.config.node)?;
        check_is_node(self.paths.folder(), &cert)?;
        admit(&self.verifier, &identity.chain, &cert, now)?;
        Ok(cert)
    }

    /// Takes the bundle for one running peer.
    ///
    /// # Errors
    /// As [`Paths::lock`].
    pub fn lock(&self) -> Result<FileLock, BundleError> {
        self.paths.lock()
    }

    /// Reads key and certificate again, after a renewal; the ones held are kept on an error.
    ///
    /// # Errors
    /// [`BundleError`]; a renewal in progress shows as [`BundleError::KeyMismatch`].
    pub fn reload_identity(&self, now: Timestamp) -> Result<(Identity, NodeCert), BundleError> {
        let Pair { identity, cert, .. } = self.pair(now)?;
        Ok((identity, cert))
    }

    /// Whether whoever opened it has lent it an identity that is not on this disk.
    #[must_use]
    pub const fn is_lent(&self) -> bool {
        self.lent
    }

    /// Finishes a renewal that was interrupted: the pair that is valid the longest stays alone.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn settle(&self) -> Result<(), BundleError> {
        if self.lent {
            return Ok(());
        }
        Ok(self.pair(crate::time::floor::now(&self.paths))?.settle(&self.paths)?)
    }

    fn pair(&self, now: Timestamp) -> Result<Pair, BundleError> {
        Pair::read(&self.paths, |identity, cert| {
            check_owner(cert, &self.config.network, &self.config.node)?;
            check_is_node(self.paths.folder(), cert)?;
            admit(&self.verifier, &identity.chain, cert, now)
        })
    }

    /// Reads `trust.pem` again.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn reload_trust(&self) -> Result<Anchors, BundleError> {
        read_trust(&self.paths.trust(), &self.config.network)
    }

    /// Reads `node.yaml` again; network and node cannot change.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn reload_config(&self) -> Result<NodeConfig, BundleError> {
        let config = NodeConfig::read(&self.paths.config())?;
        check_owner(&self.cert, &config.network, &config.node)?;
        Ok(config)
    }

    /// Writes the feed to the disk: whole or not at all.
    ///
    /// # Errors
    /// [`BundleError::File`].
    pub fn save_feed(&self, feed: &Feed) -> Result<(), BundleError> {
        save_feed(&self.paths.feed(), feed)
    }
}

/// Writes a feed file: whole or not at all; nothing if the feed is empty.
///
/// # Errors
/// [`BundleError::File`].
pub fn save_feed(path: &Path, feed: &Feed) -> Result<(), BundleError> {
    let Some(update) = feed.update_since(0) else { return Ok(()) };
    Ok(files::write_atomic(path, &write_file(update), Mode::Public)?)
}

/// The certificate of an identity, if it fits the key; `path` is only named in errors.
fn check_identity(path: &Path, identity: &Identity) -> Result<NodeCert, BundleError> {
    let cert = NodeCert::read(identity.chain.first().map_or(&[][..], Vec::as_slice))
        .map_err(|source| BundleError::Cert { path: path.to_owned(), source })?;
    check_key(path, &cert, &identity.key)?;
    Ok(cert)
}

/// Reads a private key that is its owner's alone.
///
/// # Errors
/// [`BundleError`].
pub fn read_key(path: &Path) -> Result<PrivateKey, BundleError> {
    let bytes = files::read_secret(path, KEY_FILE_BYTES_MAX)?;
    let pkcs8 = pem::private_key(&bytes)
        .map_err(|source| BundleError::Pem { path: path.to_owned(), source })?;
    PrivateKey::from_pkcs8(&pkcs8)
        .map_err(|source| BundleError::Key { path: path.to_owned(), source })
}

/// Whether a certificate is of this key.
///
/// # Errors
/// [`BundleError::KeyMismatch`].
pub fn check_key(path: &Path, cert: &NodeCert, key: &PrivateKey) -> Result<(), BundleError> {
    if cert.public == *key.public() {
        return Ok(());
    }
    Err(BundleError::KeyMismatch { path: path.to_owned(), node: cert.node.clone() })
}

fn check_owner(cert: &NodeCert, network: &NetworkName, node: &NodeName) -> Result<(), BundleError> {
    if cert.node == *node && cert.network == *network {
        return Ok(());
    }
    let found = cert.network.dns_of(&cert.node);
    Err(BundleError::WrongNode { found, wanted: network.dns_of(node) })
}

/// A peer is a node; the bundle of an app is for other programs.
fn check_is_node(folder: &Path, cert: &NodeCert) -> Result<(), BundleError> {
    match cert.kind {
        MemberKind::Node => Ok(()),
        MemberKind::App => {
            Err(BundleError::App { node: cert.node.clone(), path: folder.to_owned() })
        }
    }
}

fn read_trust(path: &Path, network: &NetworkName) -> Result<Anchors, BundleError> {
    let bytes = files::read_bounded(path, CERT_FILE_BYTES_MAX)?;
    let roots = pem::certificates(&bytes, ANCHORS_MAX)
        .map_err(|source| BundleError::Pem { path: path.to_owned(), source })?;
    Anchors::new(network.clone(), &roots)
        .map_err(|source| BundleError::Trust { path: path.to_owned(), source })
}

/// Whether we are a member by our own verifier. What the feed says of us is not asked: a node that
/// was turned out must still start, to learn that it may come back.
///
/// # Errors
/// [`BundleError::Refused`].
pub fn admit(
    verifier: &Verifier,
    chain: &[Vec<u8>],
    cert: &NodeCert,
    now: Timestamp,
) -> Result<(), BundleError> {
    let usage = match cert.kind {
        MemberKind::App => Usage::Program,
        MemberKind::Node if cert.usages.client => Usage::Client,
        MemberKind::Node => Usage::Server,
    };
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    match verifier.admit(&chain, usage, Some(&cert.node), now) {
        Err(refusal) if !matches!(refusal.code, Code::Revoked | Code::Suspended) => {
            Err(BundleError::Refused { node: cert.node.clone(), refusal })
        }
        _ => Ok(()),
    }
}

/// Reads a feed file and brings the verifier's set up to it; no file is an empty feed.
///
/// # Errors
/// [`BundleError::FeedUnreadable`], [`BundleError::Feed`].
pub fn read_feed(path: &Path, verifier: &Verifier, now: Timestamp) -> Result<Feed, BundleError> {
    let bytes = match files::read_bounded(path, FEED_FILE_BYTES_MAX) {
        Err(FileError::Missing { .. }) => None,
        read => Some(read?),
    };
    let network = verifier.anchors().map(|anchors| anchors.network().clone());
    let unusable = |_| BundleError::Feed {
        path: path.to_owned(),
        source: FeedError::Malformed("the verifier's state is unusable"),
    };
    let mut feed = Feed::empty(network.map_err(unusable)?);
    if let Some(bytes) = bytes {
        apply_feed(path, &bytes, verifier, &mut feed, now)?;
    }
    Ok(feed)
}

/// Applies the bytes of a feed file; `path` is only named in errors.
///
/// # Errors
/// [`BundleError::FeedUnreadable`], [`BundleError::Feed`]; nothing has changed then.
pub fn apply_feed(
    path: &Path,
    bytes: &[u8],
    verifier: &Verifier,
    feed: &mut Feed,
    now: Timestamp,
) -> Result<(), BundleError> {
    let unreadable = || BundleError::FeedUnreadable { path: path.to_owned() };
    let update = read_file(bytes).ok_or_else(unreadable)?;
    match verifier.apply_feed(feed, update, now) {
        Ok(_news) => Ok(()),
        Err(source) => Err(BundleError::Feed { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
