//! Hot reload: certificate, trust, feed and settings are taken without dropping a link.
//!
//! **Invariant:** a file that cannot be read whole changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use host::fault::Fault;
use peer_core::{Node, Signer};
use shared::cert::{Attributes, NodeCert, Usage};
use shared::feed::{ChainIds, read_file};
use shared::id::Serial;
use shared::key::PrivateKey;
use shared::limits::FEED_FILE_BYTES_MAX;
use shared::name::NodeName;
use shared::time::{Now, Timestamp};
use shared::verify::Verifier;
use tls::Identity;

use crate::bundle::Bundle;

/// Reads what changed in a bundle and hands it to the node and to TLS.
pub(super) struct Reloader {
    pub(super) bundle: Bundle,
    pub(super) dialler: Arc<tls::Dialler>,
    pub(super) listener: Arc<tls::Listener>,
    pub(super) extra_peers: BTreeMap<NodeName, String>,
    pub(super) extra_seeds: Vec<String>,
}

impl Reloader {
    /// Our certificate's serial and end.
    pub(super) const fn certificate(&self) -> (Serial, Timestamp) {
        (self.bundle.cert.serial, self.bundle.cert.not_after)
    }

    /// What our certificate says of us.
    pub(super) const fn attributes(&self) -> &Attributes {
        &self.bundle.cert.attributes
    }

    /// Reads the changed files; says what is new, nothing if nothing is.
    pub(super) fn reload(
        &mut self,
        changed: &[PathBuf],
        node: &mut Node,
        now: Now,
    ) -> Result<String, Fault> {
        let paths = self.bundle.paths.clone();
        let mut news = Vec::new();
        if changed.contains(&paths.trust()) {
            let anchors = self.bundle.reload_trust()?;
            let replaced = self.bundle.verifier.replace_anchors(anchors);
            replaced.map_err(|error| Fault::failed(error.to_string()))?;
            news.push("trust.pem".to_owned());
        }
        if changed.contains(&paths.key()) || changed.contains(&paths.cert()) {
            news.extend(self.identity(node, now)?);
        }
        if changed.contains(&paths.config()) {
            self.bundle.config = self.bundle.reload_config()?;
            let mut known = self.bundle.config.peers.clone();
            known.extend(self.extra_peers.clone());
            node.configure(known, now);
            let mut seeds = self.bundle.config.seeds.clone();
            seeds.extend(self.extra_seeds.clone());
            node.configure_leads(&seeds, now);
            node.set_refuse_when_stale(self.bundle.config.stale == crate::config::Stale::Refuse);
            news.push("node.yaml (peers, feed)".to_owned());
        }
        if changed.contains(&paths.feed()) {
            news.extend(self.feed(node, now)?);
        }
        Ok(news.join(", "))
    }

    fn identity(&mut self, node: &mut Node, now: Now) -> Result<Option<String>, Fault> {
        let (identity, cert) = self.bundle.reload_identity(now.wall)?;
        if cert.serial == self.bundle.cert.serial {
            return Ok(None);
        }
        self.take(identity, cert, node, now).map(Some)
    }

    /// Signs as the node does now.
    pub(super) fn signer(&self) -> Result<Signer, Fault> {
        signer(&self.bundle)
    }

    /// Takes an identity that was handed over.
    pub(super) fn replace(
        &mut self,
        identity: Identity,
        node: &mut Node,
        now: Now,
    ) -> Result<String, Fault> {
        let cert = self.bundle.check_successor(&identity, now.wall)?;
        self.take(identity, cert, node, now)
    }

    fn take(
        &mut self,
        identity: Identity,
        cert: NodeCert,
        node: &mut Node,
        now: Now,
    ) -> Result<String, Fault> {
        let fault = |error: tls::TlsError| Fault::failed(error.to_string());
        self.dialler.replace(&identity).map_err(fault)?;
        self.listener.replace(&identity).map_err(fault)?;
        (self.bundle.identity, self.bundle.cert) = (identity, cert);
        let own = own_ids(&self.bundle, now)?;
        node.set_attributes(self.bundle.cert.attributes.clone());
        let replaced = node.replace_identity(signer(&self.bundle)?, own, now);
        replaced.map_err(|refusal| Fault::failed(refusal.to_string()))?;
        let cert = &self.bundle.cert;
        Ok(format!("certificate {}, valid until {}", cert.serial, cert.not_after))
    }

    /// A feed file that somebody else put there; our own writing is no news.
    fn feed(&self, node: &mut Node, now: Now) -> Result<Option<String>, Fault> {
        let bytes = host::files::read_bounded(&self.bundle.paths.feed(), FEED_FILE_BYTES_MAX)?;
        let update = read_file(&bytes).ok_or_else(|| Fault::failed("feed: not a feed file"))?;
        let before = node.position();
        match node.handle_feed(update, now) {
            Ok(_) if node.position() == before => Ok(None),
            Ok(_) => Ok(Some(format!("feed number {}", node.position().number))),
            // Our own file, written a moment ago and overtaken since.
            Err(shared::feed::FeedError::Older { .. }) => Ok(None),
            Err(error) => Err(Fault::failed(error.to_string())),
        }
    }
}

/// The key for what we say of ourselves; TLS has its own copy.
pub(super) fn signer(bundle: &Bundle) -> Result<Signer, Fault> {
    let key = PrivateKey::from_pkcs8(bundle.identity.key.pkcs8())
        .map_err(|error| Fault::failed(error.to_string()))?;
    Ok(Signer::new(bundle.config.network.clone(), key, bundle.identity.chain.clone()))
}

/// What the set is asked about ourselves. Found by a verifier without a set: our own revocation
/// must not keep us from learning of it.
pub(super) fn own_ids(bundle: &Bundle, now: Now) -> Result<ChainIds, Fault> {
    let chain: Vec<&[u8]> = bundle.identity.chain.iter().map(Vec::as_slice).collect();
    let usage = if bundle.cert.usages.client { Usage::Client } else { Usage::Server };
    let member = Verifier::new(bundle.reload_trust()?)
        .admit(&chain, usage, None, now.wall)
        .map_err(|refusal| Fault::refused(format!("this node's own certificate: {refusal}")))?;
    Ok(member.ids.clone())
}
