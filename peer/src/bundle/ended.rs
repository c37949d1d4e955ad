//! A bundle whose certificate has ended: enough of it to ask for another.

use std::path::Path;
use std::sync::Arc;

use host::files;
use shared::cert::NodeCert;
use shared::time::Timestamp;
use shared::verify::Verifier;
use tls::Identity;

use super::{
    BundleError, Pair, Paths, admit, check_identity, check_is_node, check_owner, read_trust,
};
use crate::config::NodeConfig;

/// What is left of a bundle without a certificate that is valid now.
pub struct Ended {
    /// Where everything stands.
    pub paths: Paths,
    /// The settings.
    pub config: NodeConfig,
    /// The chain and key there were.
    pub identity: Identity,
    /// The certificate there was.
    pub cert: NodeCert,
    /// The verifier over `trust.pem`; it knows of no revocation.
    pub verifier: Arc<Verifier>,
}

impl Ended {
    /// Opens a bundle as of the end of its certificate.
    ///
    /// # Errors
    /// [`BundleError`], if it would not have opened then.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        files::check_private_dir(folder)?;
        let paths = Paths::of(folder);
        let config = NodeConfig::read(&paths.config())?;
        let verifier = Verifier::new(read_trust(&paths.trust(), &config.network)?);
        let now = host::clock::wall();
        let pair = Pair::read(&paths, |identity, cert| {
            check_owner(cert, &config.network, &config.node)?;
            check_is_node(folder, cert)?;
            let moment = now.min(cert.not_after.plus_s(-1));
            admit(&verifier, &identity.chain, cert, moment)
        })?;
        let Pair { identity, cert, .. } = pair;
        Ok(Self { paths, config, identity, cert, verifier: Arc::new(verifier) })
    }

    /// Whether an identity can take the place of the one that has ended.
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
}
