//! The verifier as rustls sees it, one per connection, and the verdict it leaves behind.
//!
//! rustls asks yes or no; a link needs the proof. Each connection gets its own verifier with a
//! slot; the verifier puts the proof (or the exact refusal) there, the connection takes it out
//! after the handshake. So a link is made from what was verified in *its* handshake, and nothing is
//! parsed or looked up a second time.

use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use shared::refusal::{Code, Refusal};
use shared::verify::{Member, Verified};

use crate::alert::error_of;

type Slot<T> = Arc<Mutex<Option<Result<T, Refusal>>>>;

/// What the verifier said in one connection's handshake.
pub struct Verdict<T = Verified<Member>> {
    slot: Slot<T>,
    shown: Vec<u8>,
}

impl<T> Verdict<T> {
    /// Our own certificate in this handshake, DER; another may hold by now. Empty, if there was
    /// none.
    #[must_use]
    pub fn shown(&self) -> &[u8] {
        &self.shown
    }

    pub(crate) fn showing(self, shown: &[u8]) -> Self {
        Self { shown: shown.to_vec(), ..self }
    }

    /// Takes the verdict; there is one only after the other side's certificate was seen.
    ///
    /// # Errors
    /// The refusal, or `no-certificate` if the handshake never came that far.
    pub fn take(self) -> Result<T, Refusal> {
        let taken = self.slot.lock().ok().and_then(|mut slot| slot.take());
        let none = || Refusal::new(Code::NoCertificate, "no certificate was presented");
        taken.unwrap_or_else(|| Err(none()))
    }

    /// The refusal, if the verifier refused; for the log after a failed handshake.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.slot.lock().ok()?.as_ref()?.as_ref().err().cloned()
    }
}

/// What is decided of a chain, leaf first.
type Decide<T> = Box<dyn Fn(&[&[u8]]) -> Result<T, Refusal> + Send + Sync>;

/// One connection's verifier.
pub(crate) struct Judge<T> {
    decide: Decide<T>,
    provider: Arc<CryptoProvider>,
    /// Whether a client may come without a certificate.
    anonymous: bool,
    slot: Slot<T>,
}

impl<T> Judge<T> {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        decide: impl Fn(&[&[u8]]) -> Result<T, Refusal> + Send + Sync + 'static,
    ) -> (Self, Verdict<T>) {
        let slot = Slot::default();
        let verdict = Verdict { slot: Arc::clone(&slot), shown: Vec::new() };
        (Self { decide: Box::new(decide), provider, anonymous: false, slot }, verdict)
    }

    /// The same for clients that may come without a certificate.
    pub(crate) fn or_anonymous(self) -> Self {
        Self { anonymous: true, ..self }
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let mut chain: Vec<&[u8]> = vec![end_entity];
        chain.extend(intermediates.iter().map(AsRef::as_ref));
        let verdict = (self.decide)(&chain);
        let answer = verdict.as_ref().map(|_| ()).map_err(error_of);
        let mut slot = self.slot.lock().map_err(|_| Error::General("verdict lost".to_owned()))?;
        *slot = Some(verdict);
        answer
    }

    fn signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }
}

impl<T> fmt::Debug for Judge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

impl<T: Send> ServerCertVerifier for Judge<T> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl<T: Send> ClientCertVerifier for Judge<T> {
    fn client_auth_mandatory(&self) -> bool {
        !self.anonymous
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A stranger learns nothing about our authority from the request for a certificate.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
