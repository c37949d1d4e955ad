//! The authority's own node certificate, under which it connects to peers and tells them the news.
//!
//! It is a node certificate with a role, not the issuing certificate: a key that talks to the
//! network signs nothing but its handshakes.
//!
//! **Invariant:** the certificate that is handed out lives for at least a third of its life.

use host::files::{self, Mode};
use host::seal::SEALED_BYTES_MAX;
use shared::cert::NodeCert;
use shared::key::PrivateKey;
use shared::limits::CERT_FILE_BYTES_MAX;
use shared::name::{Label, NodeName};
use shared::pem;
use shared::time::Timestamp;

use super::order::Purpose;
use super::{AUTHORITY_ROLE, Authority, write_sealed};
use crate::error::CaError;
use crate::profiles;
use crate::store::{Reads, Terms, meta};

const LABEL: &str = "authority.key";

/// What the authority shows to peers.
pub struct Identity {
    /// The certificate and the issuing certificate, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its key.
    pub key: PrivateKey,
    /// Counts the uses, as a peer counts its starts.
    pub boot: u64,
}

impl Authority {
    /// The identity, renewed first if two thirds of its life have passed; counts one use.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn identity(&self) -> Result<Identity, CaError> {
        let (chain, key) = self.certificate()?;
        let boot = self.store().write(|txn| {
            let boot = txn.number(meta::BOOT)? + 1;
            txn.put_number(meta::BOOT, boot)?;
            Ok(boot)
        })?;
        Ok(Identity { chain, key, boot })
    }

    /// The authority's own certificate (leaf first) and key, renewed first if two thirds of its
    /// life have passed.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn certificate(&self) -> Result<(Vec<Vec<u8>>, PrivateKey), CaError> {
        match self.read_identity() {
            Ok((chain, key)) if self.is_young(&chain) => Ok((chain, key)),
            Ok((_, key)) => Ok((self.issue_identity(&key)?, key)),
            Err(_) => self.make_identity(),
        }
    }

    /// Whether that certificate wants to be renewed, or is another than this one, DER.
    #[must_use]
    pub fn certificate_succeeds(&self, shown: &[u8]) -> bool {
        let text = files::read_bounded(&self.layout().identity_cert(), CERT_FILE_BYTES_MAX);
        let chain = text.ok().and_then(|text| pem::certificates(&text, 2).ok());
        !chain
            .is_some_and(|chain| self.is_young(&chain) && chain.first().is_some_and(|c| c == shown))
    }

    /// Makes a key and its certificate.
    pub(super) fn make_identity(&self) -> Result<(Vec<Vec<u8>>, PrivateKey), CaError> {
        let key = PrivateKey::generate(self.settings()?.algorithm)?;
        write_sealed(&self.layout().identity_key(), &self.keyring, LABEL, &key)?;
        Ok((self.issue_identity(&key)?, key))
    }

    fn read_identity(&self) -> Result<(Vec<Vec<u8>>, PrivateKey), CaError> {
        let sealed = files::read_secret(&self.layout().identity_key(), SEALED_BYTES_MAX)?;
        let key = PrivateKey::from_pkcs8(&self.keyring.open_sealed(LABEL, &sealed)?)?;
        let text = files::read_bounded(&self.layout().identity_cert(), CERT_FILE_BYTES_MAX)?;
        Ok((pem::certificates(&text, 2)?, key))
    }

    fn is_young(&self, chain: &[Vec<u8>]) -> bool {
        let [leaf, issuing] = chain else { return false };
        let now = self.now();
        let young = |from: Timestamp, to: Timestamp| {
            from <= now && now.ms_since(from) < to.ms_since(from) / 3 * 2
        };
        *issuing == self.issuing_der()
            // One of an earlier version only dials.
            && NodeCert::read(leaf).is_ok_and(|cert| {
                cert.usages.server && young(cert.not_before, cert.not_after)
            })
    }

    fn issue_identity(&self, key: &PrivateKey) -> Result<Vec<Vec<u8>>, CaError> {
        let label = |text| Label::parse(text).map_err(|e| CaError::Damaged(e.to_string()));
        let profile = profiles::for_node(self.layout(), &label("authority")?)?;
        let terms = Terms {
            groups: Vec::new(),
            roles: vec![label(AUTHORITY_ROLE)?],
            dns: Vec::new(),
            ips: Vec::new(),
            profile: profile.name,
            life_s: profile.life_s,
        };
        let public = Some(key.public().clone());
        let issued = self.order(NodeName::authority(), Purpose::Identity(terms), public)?;
        let text = crate::bundle::chain_pem(&issued.chain);
        files::write_atomic(&self.layout().identity_cert(), text.as_bytes(), Mode::Public)?;
        Ok(issued.chain)
    }
}
