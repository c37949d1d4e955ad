//! What a machine gets: a bundle (the folder that makes it a node), or one file for a request.
//!
//! ```text
//! NODE.bundle/  node.yaml id/node.key id/node.crt trust.pem feed policy inbox/
//! ```
//!
//! **Invariant:** a bundle appears whole or not at all; a renewal replaces `id/` files atomically,
//! so that a running peer reads the old pair or the new one.

use std::collections::BTreeMap;
use std::path::Path;

use host::files::{self, Mode};
use minicbor::bytes::ByteVec;
use peer::bundle::BundleError;
use peer::config::Template;
use shared::join::Grant;
use shared::key::PrivateKey;
use shared::name::NodeName;
use shared::pem;

use crate::error::CaError;
use crate::layout::build_folder;

/// The label of the feed inside a certificate file made for a request.
pub const FEED_LABEL: &str = "CONCLAVE FEED";
/// The label of the policy there.
const POLICY_LABEL: &str = "CONCLAVE POLICY";

/// What stands in `node.yaml`.
#[derive(Debug, Clone, Default)]
pub struct NodeSettings {
    /// Where the peer listens.
    pub listen: Option<String>,
    /// Peers it dials: name and `HOST:PORT`.
    pub peers: BTreeMap<NodeName, String>,
}

/// Certificates as PEM, leaf first.
#[must_use]
pub fn chain_pem(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
}

/// Writes a bundle of what a node was granted and the key it is for.
///
/// # Errors
/// [`CaError::Exists`] if anything stands at `path`, or what the disk says.
pub fn write(
    path: &Path,
    grant: &Grant,
    key: &PrivateKey,
    settings: &NodeSettings,
) -> Result<(), CaError> {
    build_folder(path, |temp| {
        for folder in ["id", "inbox"] {
            files::make_private_dir(&temp.join(folder))?;
        }
        let template = Template {
            listen: settings.listen.clone(),
            peers: settings.peers.clone().into_iter().collect(),
            authority: grant.authority.clone(),
            ..Template::new(grant.network.clone(), grant.node.clone())
        };
        let yaml = template.to_string();
        let key = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
        let (chain, trust) = (certs_pem(&grant.chain), certs_pem(&grant.roots));
        for (name, bytes, mode) in [
            ("node.yaml", yaml.as_bytes(), Mode::Public),
            ("id/node.key", key.as_bytes(), Mode::Secret),
            ("id/node.crt", chain.as_bytes(), Mode::Public),
            ("trust.pem", trust.as_bytes(), Mode::Public),
        ] {
            files::write_new(&temp.join(name), bytes, mode)?;
        }
        // Without a policy the peer goes by the built-in one.
        for (name, bytes) in [("feed", &grant.feed), ("policy", &grant.policy)] {
            let Some(bytes) = bytes else { continue };
            files::write_new(&temp.join(name), bytes, Mode::Public)?;
        }
        Ok(())
    })
}

/// Replaces the certificate of a bundle, and its key if there is a new one: beside the old pair,
/// then in its place, so that a running peer and one after a crash find a pair that fits.
///
/// # Errors
/// [`CaError::Content`] if the folder is no bundle, or what the disk says.
pub fn renew(path: &Path, grant: &Grant, key: Option<&PrivateKey>) -> Result<(), CaError> {
    check_is_bundle(path)?;
    let chain: Vec<Vec<u8>> = grant.chain.iter().map(|der| der.to_vec()).collect();
    let what = |error: BundleError| CaError::Content {
        path: path.to_owned(),
        what: format!("not renewed: {error}"),
    };
    peer::bundle::replace(path, &chain, key).map_err(what)
}

/// Whether a folder looks like a bundle; asked before anything is issued for it.
///
/// # Errors
/// [`CaError::Content`].
pub fn check_is_bundle(path: &Path) -> Result<(), CaError> {
    let there = path.join("node.yaml").is_file() && path.join("id").is_dir();
    if there {
        return Ok(());
    }
    let what = "not a bundle: it has no node.yaml and id/".to_owned();
    Err(CaError::Content { path: path.to_owned(), what })
}

/// The one file for a node that made its own key: leaf, issuing, root, the feed, and the policy if
/// one was signed.
#[must_use]
pub fn certificate_file(grant: &Grant) -> String {
    let mut text = certs_pem(&grant.chain);
    text.push_str(&certs_pem(&grant.roots));
    for (label, bytes) in [(FEED_LABEL, &grant.feed), (POLICY_LABEL, &grant.policy)] {
        let armoured = bytes.as_ref().map(|bytes| pem::encode(label, bytes).to_string());
        text.push_str(&armoured.unwrap_or_default());
    }
    text
}

fn certs_pem(certs: &[ByteVec]) -> String {
    certs.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
}
