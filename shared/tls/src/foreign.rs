//! Dialling a server outside that is to know nothing of us: a clock's key exchange.
//!
//! Its certificate is judged by webpki under given roots, as any server's is, by a clock of the
//! caller's. No certificate of ours is shown, whatever it asks for.
//!
//! **Invariant:** no tickets and no early data here either.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use crate::Clock;
use crate::config::{TlsError, provider};

/// The configuration for connections to servers whose certificates hang from one of these roots,
/// DER; roots that nobody can read are left out, because the system's come in one heap.
///
/// # Errors
/// [`TlsError`] if none is left.
pub fn anonymous_config(
    roots: &[Vec<u8>],
    protocol: &[u8],
    clock: Clock,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.as_slice())));
    let provider = Arc::new(provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Shown(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(judge)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// A clock as rustls reads it.
struct Shown(Clock);

impl TimeProvider for Shown {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from((self.0)().ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}
