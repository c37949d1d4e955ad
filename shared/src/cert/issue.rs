//! Signing: a CA key that signs only what the linter has passed.
//!
//! rcgen builds the certificate around a blank signature; the linter reads exactly those bytes;
//! what passes becomes a [`Linted`], which is consumed by the one real signature. So the bytes that
//! were judged and the bytes that are signed cannot differ, and no second (throw-away) signature
//! has to be paid for.
//!
//! **Invariant:** the only calls of the CA key's `sign` in this crate are [`CaSigner::sign`] and
//! the statement module's; both take typed input.

use rcgen::{Issuer, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;

use super::draft::Draft;
use super::facts::{CertError, Facts};
use super::lint::{self, Finding};
use super::member::CaCert;
use super::profile::Kind;
use super::{der, profile::Profile};
use crate::key::{Encoding, KeyError, PrivateKey, PublicKey};
use crate::name::NetworkName;

/// Why nothing was signed. Whose fault: the operator's (what was asked for) or ours.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The linter found something; nothing was signed.
    #[error("not signed: {}", list(.0))]
    Lint(Vec<Finding>),
    /// The draft cannot be written as a certificate.
    #[error("the certificate cannot be encoded: {0}")]
    Encoding(String),
    /// The draft, once written, cannot be read back.
    #[error("the certificate cannot be read back: {0}")]
    Unreadable(#[from] CertError),
    /// The key and the certificate of the authority do not belong together.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// No signature.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{} ({})", f.detail, f.rule)).collect::<Vec<_>>().join("; ")
}

/// The bytes the linter has passed, around a blank signature. Consumed by the signature.
struct Linted(Vec<u8>);

/// Signs with nothing: lets rcgen lay out a structure for the linter.
pub(super) struct Blank(PublicKey);

impl PublicKeyData for Blank {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Blank {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0])
    }
}

/// A certificate authority: its certificate and its key.
pub struct CaSigner {
    cert: CaCert,
    facts: Facts,
    key: PrivateKey,
    /// The issuer as rcgen wants it for laying out a structure, with no power to sign.
    layout: Issuer<'static, Blank>,
}

impl CaSigner {
    /// Puts a certificate and its key together.
    ///
    /// # Errors
    /// [`IssueError::KeyMismatch`] if they do not belong together.
    pub fn new(cert_der: &[u8], key: PrivateKey) -> Result<Self, IssueError> {
        let facts = Facts::read(cert_der)?;
        let cert = CaCert::from_facts(facts.clone())?;
        if cert.public != *key.public() {
            return Err(IssueError::KeyMismatch);
        }
        let blank = Blank(key.public().clone());
        let der = CertificateDer::from(cert_der);
        let layout = Issuer::from_ca_cert_der(&der, blank).map_err(encoding)?;
        Ok(Self { cert, facts, key, layout })
    }

    /// Makes a self-signed root.
    ///
    /// # Errors
    /// [`IssueError`]; nothing is signed unless the linter passes it.
    pub fn new_root(draft: &Draft, key: PrivateKey) -> Result<Self, IssueError> {
        let params = draft.to_params().map_err(encoding)?;
        let unsigned = params.self_signed(&Blank(key.public().clone())).map_err(encoding)?;
        let linted = pass(unsigned.der(), &draft.profile, &draft.network, None)?;
        let der = finish(linted, &key)?;
        Self::new(&der, key)
    }

    /// The authority's certificate.
    #[must_use]
    pub const fn cert(&self) -> &CaCert {
        &self.cert
    }

    /// The authority's key, for statements.
    #[must_use]
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Lints a draft and signs it.
    ///
    /// # Errors
    /// [`IssueError::Lint`] with every finding; nothing is signed then.
    pub fn sign(&self, draft: &Draft) -> Result<Vec<u8>, IssueError> {
        if draft.profile.kind == Kind::Root {
            return Err(IssueError::Encoding("a root signs itself".to_owned()));
        }
        let params = draft.to_params().map_err(encoding)?;
        let unsigned = params.signed_by(&draft.public, self.layout()).map_err(encoding)?;
        let linted = pass(unsigned.der(), &draft.profile, &draft.network, Some(&self.facts))?;
        finish(linted, &self.key)
    }

    /// For laying out a structure that is then linted and signed.
    pub(super) const fn layout(&self) -> &Issuer<'static, Blank> {
        &self.layout
    }
}

pub(super) fn encoding(error: rcgen::Error) -> IssueError {
    IssueError::Encoding(error.to_string())
}

fn pass(
    unsigned: &[u8],
    profile: &Profile,
    network: &NetworkName,
    issuer: Option<&Facts>,
) -> Result<Linted, IssueError> {
    let facts = Facts::read(unsigned)?;
    let findings = lint::check_profile(&facts, profile, network, issuer);
    if findings.is_empty() {
        Ok(Linted(unsigned.to_vec()))
    } else {
        Err(IssueError::Lint(findings))
    }
}

fn finish(linted: Linted, key: &PrivateKey) -> Result<Vec<u8>, IssueError> {
    sign_structure(&linted.0, key)
}

/// Replaces the blank signature of a certificate or CRL with the key's.
pub(super) fn sign_structure(unsigned: &[u8], key: &PrivateKey) -> Result<Vec<u8>, IssueError> {
    let broken = || IssueError::Encoding("not a signed structure".to_owned());
    let (_, body) = der::split(unsigned, 0x30).ok_or_else(broken)?;
    let (rest, _) = der::split(body, 0x30).ok_or_else(broken)?;
    let to_be_signed = body.get(..body.len() - rest.len()).ok_or_else(broken)?;
    let signature = key.sign(Encoding::X509, to_be_signed)?;
    der::with_signature(unsigned, &signature).ok_or_else(broken)
}
