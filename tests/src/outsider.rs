//! An authority that is none of ours, as a public one or a company's: for servers that strangers
//! are to trust.

use std::path::Path;

use host::clock;
use host::files::{Mode, write_atomic};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, RsaKeySize,
};
use shared::pem;

use crate::adversary::Credentials;

/// Its root, and what it issues with.
pub struct Outsider {
    root: Vec<u8>,
    between: CertifiedIssuer<'static, KeyPair>,
}

/// Of what kind a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ECDSA on P-256.
    P256,
    /// RSA of 2048 bits.
    Rsa,
}

impl Outsider {
    /// A new one.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("Outside Root"), key()).unwrap();
        let between = authority("Outside Issuing");
        let between = CertifiedIssuer::signed_by(between, key(), &root).unwrap();
        Self { root: root.der().to_vec(), between }
    }

    /// A server's certificate for names and addresses, with the issuing one and its key; it begins
    /// and ends so many seconds from now.
    ///
    /// # Panics
    /// If a name is none.
    #[must_use]
    pub fn certify(&self, kind: Kind, names: &[&str], from_s: i64, to_s: i64) -> Credentials {
        let key = match kind {
            Kind::P256 => KeyPair::generate().unwrap(),
            Kind::Rsa => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
            }
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Good for clients too, as far as the other authority is concerned.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = clock::wall().plus_s(from_s).calendar();
        params.not_after = clock::wall().plus_s(to_s).calendar();
        let leaf = params.signed_by(&key, &self.between).unwrap();
        let chain = vec![leaf.der().to_vec(), self.between.der().to_vec()];
        Credentials { chain, key: key.serialize_der() }
    }

    /// Writes what its clients trust.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_root(&self, path: &Path) {
        let text = pem::encode(pem::CERTIFICATE, &self.root);
        write_atomic(path, text.as_bytes(), Mode::Public).unwrap();
    }
}

impl Default for Outsider {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a chain and its key, as `ke.pem` and `ke.key` in a folder.
///
/// # Panics
/// If they cannot be written.
pub fn write_pair(folder: &Path, credentials: &Credentials) {
    let chain = credentials.chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string());
    let chain: String = chain.collect();
    let key = pem::encode(pem::PRIVATE_KEY, &credentials.key);
    write_atomic(&folder.join("ke.pem"), chain.as_bytes(), Mode::Public).unwrap();
    write_atomic(&folder.join("ke.key"), key.as_bytes(), Mode::Secret).unwrap();
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}
