//! The roots a network trusts, and what hangs directly under them.
//!
//! webpki takes a trust anchor as a name and a key. What it does not look at is checked here, when
//! the anchor is loaded and each time it is used: CA:TRUE, keyCertSign, unknown critical
//! extensions, the self-signature, and that the root itself has not expired.
//!
//! **Invariant:** an [`Anchors`] holds 1 to [`ANCHORS_MAX`] roots, each of which passed these
//! checks.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::cert::{CaCert, CertError, NodeCert, Usage};
use crate::id::{KeyId, Serial, SpkiHash};
use crate::key::Encoding;
use crate::limits::{ANCHORS_MAX, CHAIN_BYTES_CLASSICAL_MAX, CHAIN_BYTES_MAX, CHAIN_CERTS_MAX};
use crate::name::NetworkName;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Why a trust file is refused. Whose fault: the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// No root at all: trusting nobody would be a network of nobody.
    #[error("no root certificate")]
    Empty,
    /// More roots than the bound.
    #[error("more than {ANCHORS_MAX} root certificates")]
    TooMany,
    /// A root that cannot be read or is no authority.
    #[error("root certificate: {0}")]
    Certificate(#[from] CertError),
    /// Not signed by itself.
    #[error("root certificate {subject} is not signed by itself")]
    NotSelfSigned {
        /// Its subject.
        subject: String,
    },
}

struct Root {
    cert: CaCert,
    anchor: TrustAnchor<'static>,
}

/// The trusted roots of one network.
pub struct Anchors {
    network: NetworkName,
    roots: Vec<Root>,
    webpki: Vec<TrustAnchor<'static>>,
    chain_bytes_max: usize,
}

/// A chain that leads to a root of ours, before anything else about it was judged.
pub(super) struct Path {
    pub(super) issuers: Vec<(KeyId, Serial, SpkiHash)>,
    pub(super) leaf_issuer: KeyId,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

const ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ED25519,
    webpki::aws_lc_rs::ML_DSA_44,
    webpki::aws_lc_rs::ML_DSA_65,
    webpki::aws_lc_rs::ML_DSA_87,
];

impl Anchors {
    /// Loads roots, DER.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn new(network: NetworkName, roots_der: &[Vec<u8>]) -> Result<Self, AnchorError> {
        if roots_der.is_empty() {
            return Err(AnchorError::Empty);
        }
        if roots_der.len() > ANCHORS_MAX {
            return Err(AnchorError::TooMany);
        }
        let roots = roots_der.iter().map(|der| Root::load(der)).collect::<Result<Vec<_>, _>>()?;
        let webpki = roots.iter().map(|root| root.anchor.clone()).collect();
        let any_large = roots.iter().any(|r| r.cert.public.algorithm().is_post_quantum());
        let chain_bytes_max = if any_large { CHAIN_BYTES_MAX } else { CHAIN_BYTES_CLASSICAL_MAX };
        Ok(Self { network, roots, webpki, chain_bytes_max })
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The roots.
    pub fn roots(&self) -> impl Iterator<Item = &CaCert> {
        self.roots.iter().map(|root| &root.cert)
    }

    /// Checks an issuing certificate under a root: what signs the feed, a snapshot or a CRL.
    ///
    /// # Errors
    /// [`Refusal`] with `foreign-authority`, `expired`, `not-yet-valid` or `wrong-usage`.
    pub fn verify_issuing(&self, der: &[u8], now: Timestamp) -> Result<CaCert, Refusal> {
        let issuing =
            CaCert::read(der).map_err(|e| Refusal::new(Code::WrongUsage, e.to_string()))?;
        if !issuing.signs_crls {
            return Err(Refusal::new(Code::WrongUsage, "the issuing certificate lacks cRLSign"));
        }
        let root = self.root_over(&issuing, der)?;
        for cert in [&issuing, &root.cert] {
            in_time(&cert.subject_text, cert.not_before, cert.not_after, now)?;
        }
        Ok(issuing)
    }

    /// Looks at the outside of a chain: cheap, before any signature is checked. A stranger's
    /// 61-certificate chain cost 302 ms of path building in webpki.
    pub(super) fn look_at(&self, chain: &[&[u8]]) -> Result<(), Refusal> {
        let bytes: usize = chain.iter().map(|cert| cert.len()).sum();
        if chain.is_empty() {
            return Err(Refusal::new(Code::NoCertificate, "no certificate was presented"));
        }
        if chain.len() > CHAIN_CERTS_MAX || bytes > self.chain_bytes_max {
            let detail = format!("a chain of {} certificates, {bytes} bytes", chain.len());
            return Err(Refusal::new(Code::ForeignAuthority, detail));
        }
        Ok(())
    }

    /// Builds the path from a node's certificate, whose issuer's name the caller has read with it,
    /// to one of the roots.
    pub(super) fn path(
        &self,
        leaf: &NodeCert,
        issuer_dn: Vec<u8>,
        above: &[&[u8]],
        usage: Usage,
        now: Timestamp,
    ) -> Result<Path, Refusal> {
        let issuers = above
            .iter()
            .map(|der| CaCert::read(der).map_err(|e| foreign(format!("in the chain: {e}"))))
            .collect::<Result<Vec<_>, _>>()?;
        let ours = |cert: &CaCert| self.roots.iter().any(|r| r.cert.subject_dn == cert.issuer_dn);
        if !issuers.is_empty() && !issuers.iter().any(ours) {
            return Err(foreign("the chain ends at no root of ours"));
        }
        self.webpki_path(leaf, above, usage, now)?;
        self.trace(leaf, issuer_dn, &issuers, now)
    }

    fn webpki_path(
        &self,
        leaf: &NodeCert,
        above: &[&[u8]],
        usage: Usage,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let der = CertificateDer::from(leaf.der.as_slice());
        let end = EndEntityCert::try_from(&der).map_err(|e| foreign(e.to_string()))?;
        let intermediates: Vec<_> = above.iter().map(|der| CertificateDer::from(*der)).collect();
        let attempt = |at: Timestamp| {
            let seconds = u64::try_from(at.s()).unwrap_or(0);
            let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let usage = match usage {
                Usage::Client | Usage::Program => KeyUsage::client_auth(),
                Usage::Server => KeyUsage::server_auth(),
            };
            end.verify_for_usage(ALGORITHMS, &self.webpki, &intermediates, time, usage, None, None)
                .map(|_| ())
        };
        let Err(error) = attempt(now) else { return Ok(()) };
        let refusal = translate(&error, leaf, now);
        // A date is judged before the signature; a stranger's expired certificate is a stranger's.
        let of_date = matches!(refusal.code, Code::Expired | Code::NotYetValid);
        let else_wrong = of_date
            .then(|| attempt(leaf.not_after.min(leaf.not_before.plus_s(1))))
            .and_then(Result::err)
            .map(|error| translate(&error, leaf, now))
            .filter(|other| other.code == Code::ForeignAuthority);
        Err(else_wrong.unwrap_or(refusal))
    }

    /// Walks the path again by name and key, for what webpki does not check and what the
    /// revocation set is asked about.
    fn trace(
        &self,
        leaf: &NodeCert,
        issuer_dn: Vec<u8>,
        issuers: &[CaCert],
        now: Timestamp,
    ) -> Result<Path, Refusal> {
        let mut path = Path {
            issuers: Vec::with_capacity(2),
            leaf_issuer: KeyId::new([0; 20]),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        };
        let mut wanted = issuer_dn;
        for _ in 0..CHAIN_CERTS_MAX {
            let root = self.roots.iter().map(|r| &r.cert).find(|c| c.subject_dn == wanted);
            let next = root.or_else(|| issuers.iter().find(|c| c.subject_dn == wanted));
            let Some(cert) = next else { break };
            in_time(&cert.subject_text, cert.not_before, cert.not_after, now)?;
            if path.issuers.is_empty() {
                path.leaf_issuer = cert.key_id;
            }
            path.not_before = path.not_before.max(cert.not_before);
            path.not_after = path.not_after.min(cert.not_after);
            // A certificate is looked up under its issuer; a root is its own.
            let above = self.issuer_key_id(cert, issuers);
            path.issuers.push((above, cert.serial, cert.public.spki_hash()));
            if root.is_some() {
                return Ok(path);
            }
            wanted.clone_from(&cert.issuer_dn);
        }
        Err(foreign("the chain ends at no root of ours"))
    }

    fn issuer_key_id(&self, cert: &CaCert, issuers: &[CaCert]) -> KeyId {
        let roots = self.roots.iter().map(|root| &root.cert);
        let found = roots.chain(issuers).find(|c| c.subject_dn == cert.issuer_dn);
        found.map_or(cert.key_id, |c| c.key_id)
    }

    fn root_over(&self, issuing: &CaCert, der: &[u8]) -> Result<&Root, Refusal> {
        self.roots
            .iter()
            .filter(|root| root.cert.subject_dn == issuing.issuer_dn)
            .find(|root| is_signed_by(der, &root.cert))
            .ok_or_else(|| foreign(format!("{} is under no root of ours", issuing.subject_text)))
    }
}

impl Root {
    fn load(der: &[u8]) -> Result<Self, AnchorError> {
        let cert = CaCert::read(der)?;
        let unsigned = || AnchorError::NotSelfSigned { subject: cert.subject_text.clone() };
        if cert.issuer_dn != cert.subject_dn || !is_signed_by(der, &cert) {
            return Err(unsigned());
        }
        let owned = CertificateDer::from(der.to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&owned).map_err(|_| unsigned())?.to_owned();
        Ok(Self { cert, anchor })
    }
}

fn is_signed_by(der: &[u8], issuer: &CaCert) -> bool {
    use x509_parser::prelude::FromDer;
    x509_parser::certificate::X509Certificate::from_der(der).is_ok_and(|(_, cert)| {
        let signed = cert.tbs_certificate.as_ref();
        issuer.public.verifies(Encoding::X509, signed, &cert.signature_value.data)
    })
}

fn foreign(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::ForeignAuthority, detail)
}

fn in_time(
    what: &str,
    not_before: Timestamp,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    if now > not_after {
        return Err(Refusal::new(Code::Expired, format!("{what} ended at {not_after}")));
    }
    if now < not_before {
        return Err(Refusal::new(Code::NotYetValid, format!("{what} begins at {not_before}")));
    }
    Ok(())
}

fn translate(error: &webpki::Error, leaf: &NodeCert, now: Timestamp) -> Refusal {
    use webpki::Error as E;
    let dates = in_time("its certificate", leaf.not_before, leaf.not_after, now);
    match error {
        E::CertExpired { .. } => {
            dates.err().unwrap_or_else(|| Refusal::new(Code::Expired, "its issuer has expired"))
        }
        E::CertNotValidYet { .. } => dates
            .err()
            .unwrap_or_else(|| Refusal::new(Code::NotYetValid, "its issuer is not valid yet")),
        E::RequiredEkuNotFoundContext(_)
        | E::EmptyEkuExtension
        | E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa => Refusal::new(Code::WrongUsage, error.to_string()),
        E::NameConstraintViolation => Refusal::new(Code::WrongNetwork, error.to_string()),
        _ => foreign(error.to_string()),
    }
}
