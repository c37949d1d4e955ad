//! Certificate requests (PKCS#10, RFC 2986): of a request only the public key is taken.
//!
//! rcgen's own request type, when signed, copies the requester's CA:TRUE, usages, names and a
//! validity to 4096, and it rejects ML-DSA. So it is not used: the request is parsed, the proof of
//! possession is checked with the key inside, and every name it carries is ignored.

use rcgen::CertificateParams;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::key::{Encoding, KeyError, PrivateKey, PublicKey};
use crate::limits::CSR_BYTES_MAX;

/// Why a request is refused. Whose fault: the requester's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than any honest request.
    #[error("the request has {length} bytes; at most {CSR_BYTES_MAX} are read")]
    TooLarge {
        /// Bytes found.
        length: usize,
    },
    /// Not a PKCS#10 request.
    #[error("not a PKCS#10 certificate request")]
    Unreadable,
    /// The key inside.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature does not prove possession of the key.
    #[error("the request is not signed by the key it carries")]
    NoProof,
}

/// A public key whose holder has proved to hold the private one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey(PublicKey);

impl ProvenKey {
    /// The key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }
}

/// Takes the public key of a DER request, after checking the proof of possession.
///
/// # Errors
/// [`RequestError`]; whatever else the request asks for is not looked at.
pub fn read(der: &[u8]) -> Result<ProvenKey, RequestError> {
    if der.len() > CSR_BYTES_MAX {
        return Err(RequestError::TooLarge { length: der.len() });
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| RequestError::Unreadable)?;
    if !rest.is_empty() {
        return Err(RequestError::Unreadable);
    }
    let content = &request.certification_request_info;
    let public = PublicKey::from_spki(content.subject_pki.raw)?;
    if public.verifies(Encoding::X509, content.raw, &request.signature_value.data) {
        Ok(ProvenKey(public))
    } else {
        Err(RequestError::NoProof)
    }
}

/// Makes a request for a key. The name in it is for people; the authority ignores it.
///
/// # Errors
/// [`RequestError::Key`] if the key gives no signature.
pub fn make(key: &PrivateKey, name: &str) -> Result<Vec<u8>, RequestError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let request = params.serialize_request(key).map_err(|_| KeyError::NoResult)?;
    Ok(request.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;

    #[test]
    fn every_algorithm_proves_possession() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let request = make(&key, "carol").unwrap();
            assert_eq!(read(&request).unwrap().public(), key.public());
        }
    }

    #[test]
    fn another_keys_request_and_every_truncation_are_refused() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let good = make(&key, "carol").unwrap();
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).is_err());
        }
        let other = PrivateKey::generate(Algorithm::P256).unwrap();
        let at = good.windows(65).position(|w| *w == key.public().spki_der()[26..]).unwrap();
        let mut forged = good;
        forged[at..at + 65].copy_from_slice(&other.public().spki_der()[26..]);
        assert_eq!(read(&forged), Err(RequestError::NoProof));
        assert!(matches!(read(&vec![0x30; CSR_BYTES_MAX + 1]), Err(RequestError::TooLarge { .. })));
    }
}
