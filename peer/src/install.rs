//! How a node whose key never left it becomes one: a request out, a certificate file in.
//!
//! **Invariant:** a key is never overwritten.
//! **Invariant:** nothing is written of a certificate file that does not verify as a whole; the
//! trusted root of a bundle is not replaced by a certificate file.

use std::path::{Path, PathBuf};

use host::fault::Fault;
use host::files::{self, FileError, Mode};
use shared::cert::{NodeCert, request as csr};
use shared::feed::Feed;
use shared::key::{Algorithm, PrivateKey};
use shared::limits::{
    ANCHORS_MAX, CERT_FILE_BYTES_MAX, CHAIN_CERTS_MAX, FEED_FILE_BYTES_MAX, STATEMENT_BYTES_MAX,
};
use shared::name::{MemberKind, NetworkName, NodeName};
use shared::pem;
use shared::policy::SignedPolicy;
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

use crate::base64;
use crate::bundle::{self, BundleError, Paths};
use crate::config::Template;

/// The label of the feed inside a certificate file.
const FEED_LABEL: &str = "CONCLAVE FEED";
/// The label of the policy there.
const POLICY_LABEL: &str = "CONCLAVE POLICY";

/// What a request made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The bundle begun.
    pub bundle: PathBuf,
    /// The request to certify.
    pub csr: PathBuf,
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The node.
    pub node: NodeName,
    /// Whether it is a node or an app.
    pub kind: MemberKind,
    /// Its network.
    pub network: NetworkName,
    /// Until when its certificate is valid.
    pub not_after: Timestamp,
    /// Whom it trusts.
    pub roots: Vec<TrustedRoot>,
}

/// A root, as a person compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoot {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its key, as `ca-tool init` printed it.
    pub fingerprint: String,
}

/// Makes `NODE.bundle/id/node.key` and `NODE.csr` in a folder.
///
/// # Errors
/// If either is there already, or what the disk says.
pub fn request(folder: &Path, node: &NodeName, algorithm: Algorithm) -> Result<Requested, Fault> {
    let bundle = folder.join(format!("{node}.bundle"));
    let csr_path = folder.join(format!("{node}.csr"));
    let paths = Paths::of(&bundle);
    for path in [paths.key(), csr_path.clone()] {
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path }.into());
        }
    }
    let key = PrivateKey::generate(algorithm).map_err(|error| Fault::failed(error.to_string()))?;
    let der = csr::make(&key, node.as_str()).map_err(|error| Fault::failed(error.to_string()))?;
    files::make_private_dir(&bundle)?;
    files::make_private_dir(&bundle.join("id"))?;
    let text = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
    files::write_new(&paths.key(), text.as_bytes(), Mode::Secret)?;
    let text = pem::encode(pem::CERTIFICATE_REQUEST, &der);
    files::write_new(&csr_path, text.as_bytes(), Mode::Public)?;
    Ok(Requested { bundle, csr: csr_path })
}

/// What an authority hands out, read; nothing in it is verified yet.
pub(crate) struct Offer {
    /// Leaf first, without the root.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The roots.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The leaf.
    pub(crate) cert: NodeCert,
    /// The feed as a file.
    pub(crate) feed: Option<Vec<u8>>,
    /// The signed policy.
    pub(crate) policy: Option<Vec<u8>>,
}

/// Completes the bundle of a request with the certificate file made for it. `node.yaml` is written
/// only if there is none.
///
/// # Errors
/// What does not fit or verify; nothing was written then.
pub fn install(
    folder: &Path,
    file: &Path,
    peers: &[(NodeName, String)],
    now: Timestamp,
) -> Result<Installed, Fault> {
    files::check_private_dir(folder)?;
    let offer = read(file)?;
    let mut template = Template::new(offer.cert.network.clone(), offer.cert.node.clone());
    template.peers = peers.to_vec();
    complete(folder, file, &offer, &template, now)
}

/// Verifies an offer as a whole and completes a folder that has the key with it; `from` is only
/// named in errors.
pub(crate) fn complete(
    folder: &Path,
    from: &Path,
    offer: &Offer,
    template: &Template,
    now: Timestamp,
) -> Result<Installed, Fault> {
    let paths = Paths::of(folder);
    let key = bundle::read_key(&paths.key())?;
    bundle::check_key(from, &offer.cert, &key)?;
    let network = offer.cert.network.clone();
    let trust = |source| BundleError::Trust { path: from.to_owned(), source };
    let anchors = Anchors::new(network.clone(), &offer.roots).map_err(trust)?;
    let roots = anchors
        .roots()
        .map(|root| TrustedRoot {
            subject: root.subject_text.clone(),
            fingerprint: root.public.spki_hash().to_string(),
        })
        .collect();
    check_same_trust(&paths, &offer.roots)?;
    if let Some(policy) = &offer.policy {
        SignedPolicy::verify(policy, &anchors, now)
            .map_err(|error| Fault::refused(format!("{}: {error}", from.display())))?;
    }
    let verifier = Verifier::new(anchors);
    bundle::admit(&verifier, &offer.chain, &offer.cert, now)?;
    let mut feed = Feed::empty(network.clone());
    if let Some(bytes) = &offer.feed {
        bundle::apply_feed(from, bytes, &verifier, &mut feed, now)?;
    }
    write(&paths, offer, &feed, template)?;
    let cert = &offer.cert;
    let (node, kind, not_after) = (cert.node.clone(), cert.kind, cert.not_after);
    Ok(Installed { node, kind, network, not_after, roots })
}

/// `node.yaml` comes last: it is what makes the folder a bundle.
fn write(paths: &Paths, offer: &Offer, feed: &Feed, template: &Template) -> Result<(), Fault> {
    files::make_private_dir(&paths.inbox())?;
    let text = |certs: &[Vec<u8>]| -> String {
        certs.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
    };
    if !exists(&paths.feed()) {
        bundle::save_feed(&paths.feed(), feed)?;
    }
    if let Some(policy) = offer.policy.as_ref().filter(|_| !exists(&paths.policy())) {
        files::write_atomic(&paths.policy(), policy, Mode::Public)?;
    }
    if !exists(&paths.trust()) {
        files::write_atomic(&paths.trust(), text(&offer.roots).as_bytes(), Mode::Public)?;
    }
    files::write_atomic(&paths.cert(), text(&offer.chain).as_bytes(), Mode::Public)?;
    if !exists(&paths.config()) {
        files::write_atomic(&paths.config(), template.to_string().as_bytes(), Mode::Public)?;
    }
    Ok(())
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whoever sends a certificate must not change whom a bundle trusts.
fn check_same_trust(paths: &Paths, roots: &[Vec<u8>]) -> Result<(), Fault> {
    let path = paths.trust();
    if !exists(&path) {
        return Ok(());
    }
    let bytes = files::read_bounded(&path, CERT_FILE_BYTES_MAX)?;
    let known = pem::certificates(&bytes, ANCHORS_MAX)
        .map_err(|source| BundleError::Pem { path: path.clone(), source })?;
    if roots.iter().all(|root| known.contains(root)) {
        return Ok(());
    }
    let what = format!("the file is of another authority than {} trusts", path.display());
    Err(Fault::refused(what).hint("begin a new bundle for another authority: peer request NODE"))
}

fn read(file: &Path) -> Result<Offer, Fault> {
    // A policy in base64 takes a third more.
    let policy_max = STATEMENT_BYTES_MAX * 3 / 2;
    let most = CERT_FILE_BYTES_MAX + FEED_FILE_BYTES_MAX + policy_max;
    let text = files::read_bounded(file, most)?;
    let wrong = |source| BundleError::Pem { path: file.to_owned(), source };
    let certs = pem::certificates(&text, CHAIN_CERTS_MAX + ANCHORS_MAX).map_err(wrong)?;
    let cert = NodeCert::read(certs.first().map_or(&[][..], Vec::as_slice))
        .map_err(|source| BundleError::Cert { path: file.to_owned(), source })?;
    let is_root =
        |der: &[u8]| shared::cert::Facts::read(der).is_ok_and(|facts| facts.is_self_issued());
    let (roots, chain) = certs.into_iter().partition(|der| is_root(der));
    let unreadable = || BundleError::FeedUnreadable { path: file.to_owned() };
    let text = String::from_utf8_lossy(&text);
    let feed = find(FEED_LABEL, &text).map_err(|()| unreadable())?;
    let policy = find(POLICY_LABEL, &text).map_err(|()| unreadable())?;
    Ok(Offer { chain, roots, cert, feed, policy })
}

/// What is in an armour; one that does not end or is not base64 is an error.
fn find(label: &str, text: &str) -> Result<Option<Vec<u8>>, ()> {
    let Some((_, after)) = text.split_once(&format!("-----BEGIN {label}-----")) else {
        return Ok(None);
    };
    let (inside, _) = after.split_once(&format!("-----END {label}-----")).ok_or(())?;
    base64::decode(inside).map(Some).ok_or(())
}

#[cfg(test)]
mod tests;
