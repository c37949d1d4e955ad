//! Dialling a server outside that is to know nothing of us: a clock's key exchange.
//!
//! Its certificate is judged by webpki under given roots, as any server's is, but by a clock of the
//! caller's, which may know its error: ends are compared with the earliest that it may be, and
//! beginnings with the latest. No certificate of ours is shown, whatever it asks for.
//!
//! **Invariant:** no tickets and no early data here either.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use shared::time::Timestamp;

use crate::config::{TlsError, provider};

/// The earliest and the latest that it may be now.
pub type Dates = Arc<dyn Fn() -> [Timestamp; 2] + Send + Sync>;

/// The configuration for connections to servers whose certificates hang from one of these roots,
/// DER; roots that nobody can read are left out, because the system's come in one heap.
///
/// # Errors
/// [`TlsError`] if none is left.
pub fn anonymous_config(
    roots: &[Vec<u8>],
    protocol: &[u8],
    dates: Dates,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.as_slice())));
    let provider = Arc::new(provider());
    let webpki =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge { webpki, dates }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// webpki's judgement by our clock.
struct Judge {
    webpki: Arc<WebPkiServerVerifier>,
    dates: Dates,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let [earliest, latest] = (self.dates)();
        let at = |at| {
            let stapled = ocsp_response;
            let (leaf, above, name) = (end_entity, intermediates, server_name);
            self.webpki.verify_server_cert(leaf, above, name, stapled, unix(at))
        };
        match at(earliest) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => at(latest),
            said => said,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.webpki.root_hint_subjects()
    }
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.ms()).unwrap_or_default()))
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    const BEGINS_S: i64 = 1_700_000_000;
    const ENDS_S: i64 = 1_700_003_600;

    /// What becomes of a server whose certificate is good for an hour, by a clock that says it is
    /// somewhere between two times.
    fn judged(earliest_s: i64, latest_s: i64) -> Result<(), Error> {
        let dated = |mut params: CertificateParams| {
            let at = |s| time::OffsetDateTime::from_unix_timestamp(s).unwrap();
            (params.not_before, params.not_after) = (at(BEGINS_S), at(ENDS_S));
            params
        };
        let [root_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut root = dated(CertificateParams::default());
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let issuer = Issuer::new(root, root_key);
        let leaf = dated(CertificateParams::new(vec!["time.example".to_owned()]).unwrap());
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let dates: Dates = Arc::new(move || [earliest_s, latest_s].map(Timestamp::from_s));
        let mut store = RootCertStore::empty();
        store.add(root_der.into()).unwrap();
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(provider()));
        let judge = Judge { webpki: webpki.build().unwrap(), dates };
        let name = ServerName::try_from("time.example").unwrap();
        // The time of rustls says nothing here.
        let now = UnixTime::since_unix_epoch(Duration::ZERO);
        judge.verify_server_cert(leaf.der(), &[], &name, &[], now).map(drop)
    }

    #[test]
    fn an_end_is_held_against_the_earliest_and_a_beginning_against_the_latest() {
        for (earliest, latest) in
            [(BEGINS_S + 60, BEGINS_S + 60), (BEGINS_S - 5, BEGINS_S + 5), (ENDS_S - 5, ENDS_S + 5)]
        {
            assert_eq!(judged(earliest, latest), Ok(()), "{earliest} {latest}");
        }
    }

    #[test]
    fn what_is_certainly_outside_is_refused() {
        let early = judged(BEGINS_S - 9, BEGINS_S - 5).unwrap_err().to_string();
        assert!(early.contains("not valid yet"), "{early}");
        let late = judged(ENDS_S + 5, ENDS_S + 9).unwrap_err().to_string();
        assert!(late.contains("expired"), "{late}");
    }
}
