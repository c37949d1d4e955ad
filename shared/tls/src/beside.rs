//! A certificate beside the node's own, from outside the network: for programs that cannot check
//! the algorithm of that one, or do not trust its authority.
//!
//! Who is who among members rests on the node's own certificate alone, so that one is shown to
//! whoever can check it. A member names nobody (it sends no SNI) and is never given the other.
//!
//! **Invariant:** nothing is shown without the key that belongs to it.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};

use crate::config::provider;

/// What TLS 1.3 signs with in certificates that are not post-quantum (RFC 8446 §4.2.3).
const CLASSICAL: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// Why a pair from outside cannot be shown. Whose fault: the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BesideError {
    /// rustls does not sign with such a key.
    #[error("no key of a kind that is known here")]
    Key,
    /// The key is post-quantum: the certificate would be of no use to those whom it is for.
    #[error("not a key for ECDSA, Ed25519 or RSA")]
    NotClassical,
    /// The certificate is not one.
    #[error("not a certificate")]
    Certificate,
    /// The certificate is for another key.
    #[error("the key of another certificate")]
    Mismatch,
}

/// A chain (leaf first) from outside and the leaf's key.
#[derive(Clone)]
pub struct Beside(Arc<CertifiedKey>);

impl Beside {
    /// Takes a chain, DER, and the key that belongs to its leaf.
    ///
    /// # Errors
    /// [`BesideError`].
    pub fn new(chain: Vec<Vec<u8>>, key: PrivateKeyDer<'static>) -> Result<Self, BesideError> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = provider().key_provider.load_private_key(key).map_err(|_| BesideError::Key)?;
        if key.choose_scheme(&CLASSICAL).is_none() {
            return Err(BesideError::NotClassical);
        }
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self(Arc::new(certified))),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(BesideError::Mismatch)
            }
            Err(_) => Err(BesideError::Certificate),
        }
    }

    /// The certificate, DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.0.cert.first().map_or(&[], AsRef::as_ref)
    }

    /// Chooses between this and the node's own at each connection.
    pub(crate) fn or(&self, own: Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Either { own, beside: Arc::clone(&self.0) })
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// The two that a door has.
struct Either {
    own: Arc<CertifiedKey>,
    beside: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Either {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_check = self.own.key.choose_scheme(hello.signature_schemes()).is_some();
        let means_other = hello
            .server_name()
            .is_some_and(|name| is_for(&self.beside, name) && !is_for(&self.own, name));
        let shown = if can_check && !means_other { &self.own } else { &self.beside };
        Some(Arc::clone(shown))
    }
}

impl fmt::Debug for Either {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Either")
    }
}

/// Whether a certificate has a DNS name, as a client would judge it.
fn is_for(certified: &CertifiedKey, name: &str) -> bool {
    let leaf = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    let (Ok(leaf), Ok(name)) = (leaf, ServerName::try_from(name)) else { return false };
    verify_server_name(&leaf, &name).is_ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SigningKey};
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{PrivatePkcs8KeyDer, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct};
    use rustls::{ServerConfig, ServerConnection};
    use shared::key::{Algorithm, PrivateKey};

    use super::*;

    /// Believes everybody, and says that it can check so much.
    #[derive(Debug)]
    struct Reads(Vec<SignatureScheme>);

    impl ServerCertVerifier for Reads {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            unreachable!("TLS 1.3 only")
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.clone()
        }
    }

    fn certificate(name: &str, key: &impl SigningKey) -> Vec<u8> {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.self_signed(key).unwrap().der().to_vec()
    }

    fn der(pkcs8: &[u8]) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into()
    }

    fn pair(name: &str, algorithm: Algorithm) -> Result<Beside, BesideError> {
        let key = PrivateKey::generate(algorithm).unwrap();
        Beside::new(vec![certificate(name, &key)], der(key.pkcs8()))
    }

    /// A node's own, which may be of any kind.
    fn own(algorithm: Algorithm) -> Arc<CertifiedKey> {
        let key = PrivateKey::generate(algorithm).unwrap();
        let chain = vec![CertificateDer::from(certificate("bob.mesh.example", &key))];
        let key = provider().key_provider.load_private_key(der(key.pkcs8())).unwrap();
        Arc::new(CertifiedKey::new(chain, key))
    }

    /// Which of the two is shown to a client that can check so much and asks for this name, if any.
    fn shown(
        (own, beside): (&Arc<CertifiedKey>, &Beside),
        reads: &[SignatureScheme],
        name: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        let versions = [&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(beside.or(Arc::clone(own)));
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Reads(reads.to_vec())))
            .with_no_client_auth();
        client.enable_sni = name.is_some();
        let name = ServerName::try_from(name.unwrap_or("nobody.example").to_owned()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server))?;
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        while client.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(client.peer_certificates().unwrap()[0].to_vec())
    }

    const ALL: [SignatureScheme; 8] = {
        use SignatureScheme as S;
        [
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ED25519,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA512,
            S::ML_DSA_44,
            S::ML_DSA_65,
            S::ML_DSA_87,
        ]
    };

    #[test]
    fn whoever_can_check_ours_is_shown_ours() {
        let beside = pair("time.example", Algorithm::P256).unwrap();
        for algorithm in [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87] {
            let own = own(algorithm);
            let seen = |reads: &[_]| shown((&own, &beside), reads, None).unwrap();
            assert_eq!(seen(&ALL), own.cert[0].to_vec());
            assert_eq!(seen(&CLASSICAL), beside.leaf());
            // Another size of it is as foreign as nothing of it.
            let others = ALL.iter().filter(|scheme| own.key.choose_scheme(&[**scheme]).is_none());
            assert_eq!(seen(&others.copied().collect::<Vec<_>>()), beside.leaf());
        }
    }

    #[test]
    fn a_name_that_only_the_other_has_asks_for_it() {
        let beside = pair("time.example", Algorithm::P256).unwrap();
        for algorithm in [Algorithm::P256, Algorithm::MlDsa65] {
            let own = own(algorithm);
            let seen = |name| shown((&own, &beside), &ALL, name).unwrap();
            assert_eq!(seen(Some("time.example")), beside.leaf());
            for name in [None, Some("bob.mesh.example"), Some("elsewhere.example")] {
                assert_eq!(seen(name), own.cert[0].to_vec(), "{name:?}");
            }
        }
        // Both have the name: it says nothing.
        let beside = pair("bob.mesh.example", Algorithm::P256).unwrap();
        let own = own(Algorithm::P256);
        let seen = shown((&own, &beside), &ALL, Some("bob.mesh.example")).unwrap();
        assert_eq!(seen, own.cert[0].to_vec());
    }

    #[test]
    fn whoever_can_check_neither_gets_no_connection() {
        let beside = pair("time.example", Algorithm::P256).unwrap();
        let refused = shown((&own(Algorithm::MlDsa65), &beside), &[SignatureScheme::ED25519], None);
        assert!(matches!(refused, Err(Error::PeerIncompatible(_))), "{refused:?}");
    }

    #[test]
    fn every_classical_kind_of_key_is_taken_and_no_other() {
        let by_rcgen = [
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
        ];
        for key in by_rcgen {
            let leaf = certificate("time.example", &key);
            let beside = Beside::new(vec![leaf.clone()], der(&key.serialize_der())).unwrap();
            let seen = shown((&own(Algorithm::MlDsa44), &beside), &CLASSICAL, None).unwrap();
            assert_eq!(seen, leaf);
        }
        let refused = pair("time.example", Algorithm::MlDsa44).err();
        assert_eq!(refused, Some(BesideError::NotClassical));
    }

    #[test]
    fn a_key_of_another_certificate_and_garbage_are_refused() {
        let [key, other] = [(); 2].map(|()| PrivateKey::generate(Algorithm::P256).unwrap());
        let leaf = certificate("time.example", &key);
        let refused = |chain: &[&[u8]], key: &[u8]| {
            Beside::new(chain.iter().map(|der| der.to_vec()).collect(), der(key)).err()
        };
        assert_eq!(refused(&[&leaf], key.pkcs8()), None);
        assert_eq!(refused(&[&leaf], other.pkcs8()), Some(BesideError::Mismatch));
        assert_eq!(refused(&[&leaf], b"key"), Some(BesideError::Key));
        assert_eq!(refused(&[&leaf[1..]], key.pkcs8()), Some(BesideError::Certificate));
        assert_eq!(refused(&[], key.pkcs8()), Some(BesideError::Certificate));
        // The leaf comes first.
        let issuer = certificate("issuer.example", &other);
        assert_eq!(refused(&[&issuer, &leaf], key.pkcs8()), Some(BesideError::Mismatch));
    }

    #[test]
    fn nothing_of_the_key_is_shown_to_a_log() {
        assert_eq!(format!("{:?}", pair("time.example", Algorithm::P256).unwrap()), "Beside");
    }
}
