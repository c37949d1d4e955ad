//! PEM (RFC 7468) as other programs read it: LF lines of 64 characters, labels exact.
//!
//! Reading goes through the parser of `rustls-pki-types`; writing is small enough to stand here.

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

/// A certificate, in PEM and in nothing else.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// An unencrypted PKCS#8 key.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";
/// A PKCS#10 request.
pub const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
/// An RFC 5280 CRL.
pub const X509_CRL: &str = "X509 CRL";

/// Why a PEM text cannot be read. Whose fault: whoever wrote the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Broken armour or base64.
    #[error("not readable as PEM")]
    Armour,
    /// No section of the wanted kind.
    #[error("holds no {label} section")]
    Missing {
        /// The label looked for.
        label: &'static str,
    },
    /// More sections than the bound.
    #[error("holds more than {max} {label} sections")]
    TooMany {
        /// The label looked for.
        label: &'static str,
        /// How many are allowed.
        max: usize,
    },
}

/// Writes one section.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 3 / 2 + 80));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(48) {
        push_base64(&mut text, line);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// All certificates of a text, in order; or the one certificate if the bytes are DER.
///
/// # Errors
/// [`PemError`] if there is none, if there are more than `max`, or if the armour is broken.
pub fn certificates(bytes: &[u8], max: usize) -> Result<Vec<Vec<u8>>, PemError> {
    sections(bytes, SectionKind::Certificate, CERTIFICATE, max)
}

/// All CRLs of a text, in order; or the one CRL if the bytes are DER.
///
/// # Errors
/// As [`certificates`].
pub fn crls(bytes: &[u8], max: usize) -> Result<Vec<Vec<u8>>, PemError> {
    sections(bytes, SectionKind::Crl, X509_CRL, max)
}

/// The one certificate request of a text, PEM or DER.
///
/// # Errors
/// As [`certificates`].
pub fn request(bytes: &[u8]) -> Result<Vec<u8>, PemError> {
    let mut found = sections(bytes, SectionKind::Csr, CERTIFICATE_REQUEST, 1)?;
    found.pop().ok_or(PemError::Missing { label: CERTIFICATE_REQUEST })
}

/// The one unencrypted PKCS#8 key of a text.
///
/// # Errors
/// As [`certificates`].
pub fn private_key(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let mut found = sections(bytes, SectionKind::PrivateKey, PRIVATE_KEY, 1)?;
    found.pop().map(Zeroizing::new).ok_or(PemError::Missing { label: PRIVATE_KEY })
}

/// The one unencrypted key of a text, as any program writes it: PKCS#8, or the older kinds of RSA
/// (PKCS#1) and ECDSA (SEC 1).
///
/// # Errors
/// As [`certificates`].
pub fn any_private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let mut found = None;
    for section in <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|_| PemError::Armour)?;
        let Some(key) = PrivateKeyDer::from_pem(kind, der) else { continue };
        if found.replace(key).is_some() {
            return Err(PemError::TooMany { label: PRIVATE_KEY, max: 1 });
        }
    }
    found.ok_or(PemError::Missing { label: PRIVATE_KEY })
}

fn sections(
    bytes: &[u8],
    kind: SectionKind,
    label: &'static str,
    max: usize,
) -> Result<Vec<Vec<u8>>, PemError> {
    // A DER structure of ours is always a SEQUENCE; PEM text never begins with that octet.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(bytes) {
        let (section_kind, der) = section.map_err(|_| PemError::Armour)?;
        if section_kind != kind {
            continue;
        }
        if found.len() == max {
            return Err(PemError::TooMany { label, max });
        }
        found.push(der);
    }
    if found.is_empty() { Err(PemError::Missing { label }) } else { Ok(found) }
}

fn push_base64(text: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4_usize {
            let index = bits >> (18 - 6 * place) & 0x3f;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [1, 2, 3, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let text = encode(CERTIFICATE, &der);
            assert_eq!(certificates(text.as_bytes(), 1).unwrap(), vec![der]);
        }
    }

    #[test]
    fn a_key_of_another_program_is_read_whatever_its_kind() {
        for label in [PRIVATE_KEY, "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let text = encode(label, b"key");
            // OpenSSL puts the curve in front.
            let text = format!("{}{}", *encode("EC PARAMETERS", b"curve"), *text);
            assert_eq!(any_private_key(text.as_bytes()).unwrap().secret_der(), b"key");
        }
        let missing = Err(PemError::Missing { label: PRIVATE_KEY });
        assert_eq!(any_private_key(b""), missing);
        assert_eq!(any_private_key(encode("ENCRYPTED PRIVATE KEY", b"key").as_bytes()), missing);
        let two = [PRIVATE_KEY, "EC PRIVATE KEY"].map(|label| encode(label, b"key").to_string());
        let max = PemError::TooMany { label: PRIVATE_KEY, max: 1 };
        assert_eq!(any_private_key(two.concat().as_bytes()), Err(max));
    }

    #[test]
    fn another_label_too_many_and_garbage_are_refused() {
        let cert = encode(CERTIFICATE, b"abc");
        assert!(matches!(private_key(cert.as_bytes()), Err(PemError::Missing { .. })));
        let two = format!("{}{}", *cert, *cert);
        assert_eq!(certificates(two.as_bytes(), 2).unwrap().len(), 2);
        assert!(matches!(certificates(two.as_bytes(), 1), Err(PemError::TooMany { .. })));
        assert!(certificates(b"", 1).is_err());
        assert!(certificates(b"-----BEGIN CERTIFICATE-----\n!!!\n", 1).is_err());
    }
}
