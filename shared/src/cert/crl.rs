//! The CRL (RFC 5280 §5): the feed's projection for programs that know nothing of the feed.
//!
//! Version 2, with number, authority key identifier and reasons; never `unspecified` (§5.3.1 says
//! to leave it out) and no issuing distribution point, which made OpenSSL reject step-ca's.
//!
//! Reading is stricter than webpki: a CRL without a number, with a thisUpdate in the future, past
//! its nextUpdate, from a signer without cRLSign, or no CRL at all where one was announced, is
//! refused.
//!
//! **Invariant:** a [`VerifiedCrl`] was signed by the authority it is asked about.

use std::collections::HashMap;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::issue::{CaSigner, IssueError, encoding, sign_structure};
use super::member::CaCert;
use crate::feed::Reason;
use crate::id::{KeyId, Serial};
use crate::key::Encoding;
use crate::limits::{AHEAD_S, CRL_BYTES_MAX};
use crate::time::Timestamp;

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlEntry {
    /// Its serial.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A CRL to be.
#[derive(Debug, Clone)]
pub struct CrlDraft {
    /// Its number; only goes up.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// The certificates of this issuer that are revoked or on hold.
    pub entries: Vec<CrlEntry>,
}

impl CaSigner {
    /// Signs a CRL.
    ///
    /// # Errors
    /// [`IssueError::Encoding`] if the dates are no CRL's.
    pub fn sign_crl(&self, draft: &CrlDraft) -> Result<Vec<u8>, IssueError> {
        let revoked = draft.entries.iter().map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.serial.as_bytes()),
            revocation_time: entry.at.calendar(),
            reason_code: reason_code(entry.reason),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: draft.this_update.calendar(),
            next_update: draft.next_update.calendar(),
            crl_number: SerialNumber::from(draft.number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(
                self.cert().key_id.as_bytes().to_vec(),
            ),
        };
        let unsigned = params.signed_by(self.layout()).map_err(encoding)?;
        sign_structure(unsigned.der(), self.key())
    }
}

const fn reason_code(reason: Reason) -> Option<RevocationReason> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::CertificateHold => Some(RevocationReason::CertificateHold),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}

/// Why a CRL is refused. Whose fault: whoever handed it in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Not a CRL, or bytes after the end, or too long.
    #[error("not a readable CRL")]
    Unreadable,
    /// Not signed by this authority.
    #[error("the CRL is not signed by the certificate's issuer")]
    WrongSigner,
    /// The issuer may not sign CRLs.
    #[error("the CRL's signer lacks cRLSign")]
    NotASigner,
    /// No CRL number.
    #[error("the CRL has no number")]
    NoNumber,
    /// thisUpdate lies ahead.
    #[error("the CRL is from the future ({this_update})")]
    FromTheFuture {
        /// Its thisUpdate.
        this_update: Timestamp,
    },
    /// nextUpdate has passed, or is missing.
    #[error("the CRL is out of date")]
    Stale,
    /// An extension that changes its meaning.
    #[error("the CRL has the unknown critical extension {oid}")]
    Critical {
        /// The object identifier, dotted.
        oid: String,
    },
}

/// A CRL that was checked, as a look-up.
#[derive(Debug, Clone)]
pub struct VerifiedCrl {
    /// The authority that signed it.
    pub issuer: KeyId,
    /// Its number, big-endian.
    pub number: Vec<u8>,
    /// thisUpdate.
    pub this_update: Timestamp,
    revoked: HashMap<Serial, (Timestamp, bool)>,
}

impl VerifiedCrl {
    /// Reads a DER CRL and checks it once, so that look-ups cost no signature.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn check(der: &[u8], issuer: &CaCert, now: Timestamp) -> Result<Self, CrlError> {
        if der.len() > CRL_BYTES_MAX {
            return Err(CrlError::Unreadable);
        }
        let (rest, crl) =
            CertificateRevocationList::from_der(der).map_err(|_| CrlError::Unreadable)?;
        if !rest.is_empty() {
            return Err(CrlError::Unreadable);
        }
        if crl.issuer().as_raw() != issuer.subject_dn {
            return Err(CrlError::WrongSigner);
        }
        if !issuer.signs_crls {
            return Err(CrlError::NotASigner);
        }
        let (_, content) = super::der::split(der, 0x30).ok_or(CrlError::Unreadable)?;
        let (after, _) = super::der::split(content, 0x30).ok_or(CrlError::Unreadable)?;
        let signed = content.get(..content.len() - after.len()).ok_or(CrlError::Unreadable)?;
        if !issuer.public.verifies(Encoding::X509, signed, &crl.signature_value.data) {
            return Err(CrlError::WrongSigner);
        }
        let this_update = Timestamp::from_s(crl.last_update().timestamp());
        if this_update > now.plus_s(AHEAD_S) {
            return Err(CrlError::FromTheFuture { this_update });
        }
        let fresh = crl.next_update().is_some_and(|next| Timestamp::from_s(next.timestamp()) > now);
        if !fresh {
            return Err(CrlError::Stale);
        }
        let number = crl.crl_number().ok_or(CrlError::NoNumber)?.to_bytes_be();
        refuse_critical(&crl)?;
        let revoked = entries(&crl)?;
        Ok(Self { issuer: issuer.key_id, number, this_update, revoked })
    }

    /// Since when a serial is revoked, and whether it is only on hold.
    #[must_use]
    pub fn revoked(&self, serial: &Serial) -> Option<(Timestamp, bool)> {
        self.revoked.get(serial).copied()
    }

    /// How many certificates it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }
}

fn refuse_critical(crl: &CertificateRevocationList<'_>) -> Result<(), CrlError> {
    match crl.extensions().iter().find(|extension| extension.critical) {
        Some(extension) => Err(CrlError::Critical { oid: extension.oid.to_id_string() }),
        None => Ok(()),
    }
}

fn entries(
    crl: &CertificateRevocationList<'_>,
) -> Result<HashMap<Serial, (Timestamp, bool)>, CrlError> {
    let mut revoked = HashMap::new();
    for entry in crl.iter_revoked_certificates() {
        let serial = Serial::from_der_content(entry.raw_serial()).ok_or(CrlError::Unreadable)?;
        let mut on_hold = false;
        for extension in entry.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::ReasonCode(code) => on_hold = code.0 == 6,
                _ if extension.critical => {
                    return Err(CrlError::Critical { oid: extension.oid.to_id_string() });
                }
                _ => {}
            }
        }
        let at = Timestamp::from_s(entry.revocation_date.timestamp());
        revoked.insert(serial, (at, on_hold));
    }
    Ok(revoked)
}
