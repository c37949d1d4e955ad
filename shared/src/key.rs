//! Keys: P-256, Ed25519 and ML-DSA behind one type, stored as PKCS#8 version 1.
//!
//! Version 1 because OpenSSL 3.0, GnuTLS and BoringSSL refuse the version 2 that many libraries
//! write for Ed25519. rcgen cannot reload an ML-DSA key (it panics), so that signing goes through
//! this type everywhere and rcgen only ever sees our [`rcgen::SigningKey`].
//!
//! **Invariant:** private bytes are wiped on drop and never appear in `Debug`.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::{KeyId, SpkiHash};

/// A signature algorithm a network can be built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// It is written in YAML by people and in CBOR by the store.
#[derive(Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 5480): spoken by every TLS client.
    #[n(0)]
    P256,
    /// Ed25519 (RFC 8410): the cheapest handshakes.
    #[n(1)]
    Ed25519,
    /// ML-DSA-44 (FIPS 204, RFC 9881).
    #[n(2)]
    #[serde(rename = "ml-dsa-44")]
    MlDsa44,
    /// ML-DSA-65 (FIPS 204, RFC 9881): a fully post-quantum network.
    #[n(3)]
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
    /// ML-DSA-87 (FIPS 204, RFC 9881).
    #[n(4)]
    #[serde(rename = "ml-dsa-87")]
    MlDsa87,
}

/// Why a key cannot be used. Whose fault: the file's, or the machine's entropy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no PKCS#8 key of a kind we use.
    #[error("not a PKCS#8 key of type P-256, Ed25519 or ML-DSA")]
    Unreadable,
    /// The public key is of an algorithm or size that the profile does not allow.
    #[error("the public key is not P-256, Ed25519 or ML-DSA")]
    UnknownAlgorithm,
    /// The library could not make a key or a signature.
    #[error("the cryptographic library gave no result")]
    NoResult,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] =
        [Self::P256, Self::Ed25519, Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// The name used on the command line and in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::Ed25519 => "ed25519",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
            Self::MlDsa87 => "ml-dsa-87",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// The COSE algorithm number: RFC 9053 ES256, RFC 9864 Ed25519, and the ML-DSA registrations.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::P256 => -7,
            Self::Ed25519 => -19,
            Self::MlDsa44 => -48,
            Self::MlDsa65 => -49,
            Self::MlDsa87 => -50,
        }
    }

    /// Whether signatures are measured in kilobytes, and chains with them.
    #[must_use]
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87)
    }

    fn rcgen(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
            Self::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
            Self::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
            Self::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
        }
    }

    /// By the DER content of the key's algorithm identifier (RFC 5480, RFC 8410, RFC 9881).
    fn of_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => Some(Self::P256),
            [0x2b, 0x65, 0x70] => Some(Self::Ed25519),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17] => Some(Self::MlDsa44),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18] => Some(Self::MlDsa65),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19] => Some(Self::MlDsa87),
            _ => None,
        }
    }

    fn pqdsa(self) -> Option<&'static signature::PqdsaSigningAlgorithm> {
        match self {
            Self::MlDsa44 => Some(&signature::ML_DSA_44_SIGNING),
            Self::MlDsa65 => Some(&signature::ML_DSA_65_SIGNING),
            Self::MlDsa87 => Some(&signature::ML_DSA_87_SIGNING),
            Self::P256 | Self::Ed25519 => None,
        }
    }

    fn verification(self, encoding: Encoding) -> &'static dyn signature::VerificationAlgorithm {
        match (self, encoding) {
            (Self::P256, Encoding::X509) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::P256, Encoding::Cose) => &signature::ECDSA_P256_SHA256_FIXED,
            (Self::Ed25519, _) => &signature::ED25519,
            (Self::MlDsa44, _) => &signature::ML_DSA_44,
            (Self::MlDsa65, _) => &signature::ML_DSA_65,
            (Self::MlDsa87, _) => &signature::ML_DSA_87,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an ECDSA signature is written: a DER SEQUENCE in X.509, r ‖ s in COSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As RFC 5280 and TLS write it.
    X509,
    /// As RFC 9053 §2.1 writes it.
    Cose,
}

/// A public key: its algorithm and SubjectPublicKeyInfo.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    bits: Vec<u8>,
    spki_der: Vec<u8>,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo; exactly the encodings we write are accepted.
    ///
    /// # Errors
    /// [`KeyError::UnknownAlgorithm`] for everything else, compressed points and RSA included.
    pub fn from_spki(spki_der: &[u8]) -> Result<Self, KeyError> {
        use x509_parser::prelude::FromDer;
        let (rest, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(spki_der)
            .map_err(|_| KeyError::UnknownAlgorithm)?;
        if !rest.is_empty() {
            return Err(KeyError::UnknownAlgorithm);
        }
        let algorithm = Algorithm::of_oid(spki.algorithm.algorithm.as_bytes())
            .ok_or(KeyError::UnknownAlgorithm)?;
        let key = Self::from_bits(algorithm, spki.subject_public_key.data.as_ref());
        if key.is_well_sized() && key.spki_der == spki_der {
            Ok(key)
        } else {
            Err(KeyError::UnknownAlgorithm)
        }
    }

    fn from_bits(algorithm: Algorithm, bits: &[u8]) -> Self {
        let mut key = Self { algorithm, bits: bits.to_vec(), spki_der: Vec::new() };
        key.spki_der = rcgen::PublicKeyData::subject_public_key_info(&key);
        key
    }

    fn is_well_sized(&self) -> bool {
        match self.algorithm {
            Algorithm::P256 => self.bits.len() == 65 && self.bits.first() == Some(&4),
            Algorithm::Ed25519 => self.bits.len() == 32,
            Algorithm::MlDsa44 => self.bits.len() == 1312,
            Algorithm::MlDsa65 => self.bits.len() == 1952,
            Algorithm::MlDsa87 => self.bits.len() == 2592,
        }
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// RFC 7093 §2 method 1.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of_public_key_bits(&self.bits)
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_hash(&self) -> SpkiHash {
        SpkiHash::of(&self.spki_der)
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, encoding: Encoding, message: &[u8], signature: &[u8]) -> bool {
        signature::UnparsedPublicKey::new(self.algorithm.verification(encoding), &self.bits)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.key_id())
    }
}

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm.rcgen()
    }
}

enum Pair {
    P256 { x509: EcdsaKeyPair, cose: EcdsaKeyPair },
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

/// A private key and its public half.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: Pair,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// [`KeyError::NoResult`] if the library's random source fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let none = |_| KeyError::NoResult;
        let pkcs8 = match algorithm {
            Algorithm::P256 => EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)
                .and_then(|pair| pair.to_pkcs8v1())
                .map_err(none)?,
            Algorithm::Ed25519 => {
                Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(none)?
            }
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => {
                let signing = algorithm.pqdsa().ok_or(KeyError::NoResult)?;
                PqdsaKeyPair::generate(signing).and_then(|pair| pair.to_pkcs8v1()).map_err(none)?
            }
        };
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Loads a PKCS#8 key of any of our algorithms.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] if it is none of them.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let kept = Zeroizing::new(pkcs8.to_vec());
        if let Ok(x509) =
            EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
        {
            let cose = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                .map_err(|_| KeyError::Unreadable)?;
            let public = PublicKey::from_bits(Algorithm::P256, x509.public_key().as_ref());
            return Ok(Self { pkcs8: kept, pair: Pair::P256 { x509, cose }, public });
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
            let public = PublicKey::from_bits(Algorithm::Ed25519, pair.public_key().as_ref());
            return Ok(Self { pkcs8: kept, pair: Pair::Ed25519(pair), public });
        }
        for algorithm in [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87] {
            let Some(signing) = algorithm.pqdsa() else { continue };
            if let Ok(pair) = PqdsaKeyPair::from_pkcs8(signing, pkcs8) {
                let public = PublicKey::from_bits(algorithm, pair.public_key().as_ref());
                return Ok(Self { pkcs8: kept, pair: Pair::MlDsa(pair), public });
            }
        }
        Err(KeyError::Unreadable)
    }

    /// The key as PKCS#8 version 1, DER.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`KeyError::NoResult`] if the library refuses.
    pub fn sign(&self, encoding: Encoding, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::P256 { x509, cose } => {
                let pair = if encoding == Encoding::X509 { x509 } else { cose };
                pair.sign(&SystemRandom::new(), message)
                    .map(|signature| signature.as_ref().to_vec())
                    .map_err(|_| KeyError::NoResult)
            }
            Pair::Ed25519(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::NoResult),
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(message, &mut signature).map_err(|_| KeyError::NoResult)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} {}, redacted)", self.public.algorithm, self.public.key_id())
    }
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.public.algorithm.rcgen()
    }
}

/// What a CA key must not be: a way to sign whatever comes. Only requests are signed through this;
/// certificates and CRLs go through the ticketed key of [`crate::cert`].
impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Self::sign(self, Encoding::X509, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_survives_storage_and_is_told_apart() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pkcs8(key.pkcs8()).unwrap();
            assert_eq!(again.public(), key.public());
            let public = PublicKey::from_spki(key.public().spki_der()).unwrap();
            assert_eq!(public.algorithm(), algorithm);
            for encoding in [Encoding::X509, Encoding::Cose] {
                let signature = again.sign(encoding, b"message").unwrap();
                assert!(public.verifies(encoding, b"message", &signature));
                assert!(!public.verifies(encoding, b"massage", &signature));
            }
        }
    }

    #[test]
    fn ed25519_is_stored_in_the_48_bytes_every_tool_reads() {
        assert_eq!(PrivateKey::generate(Algorithm::Ed25519).unwrap().pkcs8().len(), 48);
    }

    #[test]
    fn a_truncated_or_foreign_key_is_refused() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        for cut in 0..key.pkcs8().len() {
            assert!(PrivateKey::from_pkcs8(&key.pkcs8()[..cut]).is_err());
            let spki = key.public().spki_der();
            assert!(PublicKey::from_spki(&spki[..cut.min(spki.len() - 1)]).is_err());
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let text = format!("{key:?}");
        assert!(text.contains("redacted") && !text.contains(&crate::id::hex(&key.pkcs8()[16..])));
    }
}
