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
use shared::key::PrivateKey;
use shared::name::{NetworkName, NodeName};
use shared::pem;

use crate::authority::{Issued, Registry};
use crate::error::CaError;
use crate::layout::build_folder;

/// The label of the feed inside a certificate file made for a request.
pub const FEED_LABEL: &str = "CONCLAVE FEED";
/// The label of the policy there.
const POLICY_LABEL: &str = "CONCLAVE POLICY";
/// Where a bundle listens unless told otherwise: any free port, which its presence then tells.
pub const LISTEN: &str = "0.0.0.0:0";

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

/// Writes a bundle.
///
/// # Errors
/// [`CaError::Exists`] if anything stands at `path`, or what the disk says.
pub fn write(
    path: &Path,
    registry: &Registry,
    issued: &Issued,
    key: &PrivateKey,
    settings: &NodeSettings,
) -> Result<(), CaError> {
    let feed = registry.feed_file()?;
    let policy = registry.policy()?;
    build_folder(path, |temp| {
        for folder in ["id", "inbox"] {
            files::make_private_dir(&temp.join(folder))?;
        }
        let yaml = node_yaml(registry.network(), &issued.node, settings);
        let key = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
        let chain = chain_pem(&issued.chain);
        let trust = registry.trust_pem();
        for (name, bytes, mode) in [
            ("node.yaml", yaml.as_bytes(), Mode::Public),
            ("id/node.key", key.as_bytes(), Mode::Secret),
            ("id/node.crt", chain.as_bytes(), Mode::Public),
            ("trust.pem", trust.as_bytes(), Mode::Public),
            ("feed", &feed, Mode::Public),
        ] {
            files::write_new(&temp.join(name), bytes, mode)?;
        }
        // Without one the peer goes by the built-in policy.
        if let Some(policy) = &policy {
            files::write_new(&temp.join("policy"), &policy.bytes, Mode::Public)?;
        }
        Ok(())
    })
}

/// Replaces the certificate of a bundle, and its key if there is a new one: the key first, because
/// a peer takes a pair only when both halves fit.
///
/// # Errors
/// [`CaError::Content`] if the folder is no bundle, or what the disk says.
pub fn renew(path: &Path, issued: &Issued, key: Option<&PrivateKey>) -> Result<(), CaError> {
    check_is_bundle(path)?;
    if let Some(key) = key {
        let text = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
        files::write_atomic(&path.join("id/node.key"), text.as_bytes(), Mode::Secret)?;
    }
    let chain = chain_pem(&issued.chain);
    Ok(files::write_atomic(&path.join("id/node.crt"), chain.as_bytes(), Mode::Public)?)
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
///
/// # Errors
/// As [`Registry::feed_update`].
pub fn certificate_file(registry: &Registry, issued: &Issued) -> Result<String, CaError> {
    let feed = registry.feed_file()?;
    let mut text = chain_pem(&issued.chain);
    text.push_str(&registry.trust_pem());
    text.push_str(&pem::encode(FEED_LABEL, &feed));
    if let Some(policy) = registry.policy()? {
        text.push_str(&pem::encode(POLICY_LABEL, &policy.bytes));
    }
    Ok(text)
}

fn node_yaml(network: &NetworkName, node: &NodeName, settings: &NodeSettings) -> String {
    let listen = settings.listen.as_deref().unwrap_or(LISTEN);
    let mut peers = String::new();
    for (name, address) in &settings.peers {
        peers.push_str(&format!("\n  {name}: \"{address}\""));
    }
    if peers.is_empty() {
        peers.push_str(" {}          # for example  alice: \"192.0.2.7:7400\"");
    }
    format!(
        "# The settings of one node; the only file of this folder to edit by hand.\n\
         # `peer run` reads it at its start and again on SIGHUP.\n\
         network: {network}\n\
         node: {node}\n\
         \n\
         # Where it listens: HOST:PORT. Port 0 takes any free one and tells the peers which.\n\
         listen: \"{listen}\"\n\
         \n\
         # Peers it dials. One is enough: they tell it of the others.\n\
         peers:{peers}\n\
         \n\
         # Addresses it dials without knowing whose they are, for example  [\"192.0.2.7:7400\"]\n\
         seeds: []\n\
         \n\
         # Find peers on the local network by multicast DNS, and be found: on, or off.\n\
         lan: on\n\
         \n\
         feed:\n\
         \x20 # When the revocation list is older than the authority promised:\n\
         \x20 # warn (stay connected and say so) or refuse (cut every link).\n\
         \x20 stale: warn\n"
    )
}
