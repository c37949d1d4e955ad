//! The two configurations: one for dialling, one for listening, made anew for each connection.
//!
//! A configuration per connection costs a few microseconds beside a handshake's several hundred; it
//! gives each connection its own verdict, and takes a renewed identity without dropping a link.

use std::sync::{Arc, RwLock};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use shared::cert::Usage;
use shared::key::PrivateKey;
use shared::name::NodeName;
use shared::verify::{Member, Verified, Verifier};
use shared::wire::{ALPN, ALPN_RELAY};

use crate::Clock;
use crate::beside::Beside;
use crate::door::Presented;
use crate::verdict::{Judge, Verdict};

/// Why TLS cannot be set up. Whose fault: ours, or the bundle's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refuses key, certificate or settings.
    #[error("tls: {0}")]
    Rustls(#[from] rustls::Error),
    /// Another thread died while it held the identity.
    #[error("tls: the identity is unusable")]
    Identity,
    /// The library's random source gave nothing.
    #[error("tls: no randomness")]
    Random,
}

/// Who we are: a chain (leaf first) and the leaf's key.
pub struct Identity {
    /// Certificates, DER, leaf first, without the root.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: PrivateKey,
}

/// Draws the first random number, which costs aws-lc 50 ms once; call it at start, not in the first
/// handshake.
///
/// # Errors
/// [`TlsError::Random`].
pub fn warm_up() -> Result<(), TlsError> {
    aws_lc_rs::default_provider().secure_random.fill(&mut [0; 1]).map_err(|_| TlsError::Random)
}

/// The name rustls wants for a connection; who must answer is judged by the SPIFFE ID instead, and
/// the name is never sent.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into())
}

/// MQTT's ALPN name, as IANA has it.
pub const ALPN_MQTT: &[u8] = b"mqtt";

/// The key exchange for the time (RFC 8915).
pub const ALPN_NTSKE: &[u8] = b"ntske/1";

/// Which programs get keys for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clients {
    /// Those with a certificate of the network.
    Certified,
    /// All; but a certificate that is shown must be of the network, and must stand.
    #[default]
    Either,
    /// All, and none is asked who it is.
    Anybody,
}

type MemberJudge = Judge<Verified<Member>>;

/// What dialling and listening have in common.
pub(crate) struct Side {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Clock,
    identity: RwLock<Arc<CertifiedKey>>,
}

impl Side {
    fn new(identity: &Identity, verifier: Arc<Verifier>, clock: Clock) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let identity = RwLock::new(certified(&provider, identity)?);
        Ok(Self { provider, verifier, clock, identity })
    }

    fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let fresh = certified(&self.provider, identity)?;
        *self.identity.write().map_err(|_| TlsError::Identity)? = fresh;
        Ok(())
    }

    pub(crate) fn present(&self) -> Result<Arc<Present>, TlsError> {
        let identity = self.identity.read().map_err(|_| TlsError::Identity)?;
        Ok(Arc::new(Present(Arc::clone(&identity))))
    }

    fn judge(&self, usage: Usage, expected: Option<NodeName>) -> (Arc<MemberJudge>, Verdict) {
        let (verifier, clock) = (Arc::clone(&self.verifier), Arc::clone(&self.clock));
        let (judge, verdict) = Judge::new(Arc::clone(&self.provider), move |chain| {
            verifier.admit(chain, usage, expected.as_ref(), clock())
        });
        (Arc::new(judge), verdict)
    }
}

/// Makes configurations for dialling.
pub struct Dialler(pub(crate) Side);

impl Dialler {
    /// Sets up dialling with an identity.
    ///
    /// # Errors
    /// [`TlsError`] if the key and certificate are unusable.
    pub fn new(
        identity: &Identity,
        verifier: Arc<Verifier>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        Side::new(identity, verifier, clock).map(Self)
    }

    /// Presents a renewed identity from the next connection on.
    ///
    /// # Errors
    /// [`TlsError`]; the old identity stays then.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        self.0.replace(identity)
    }

    /// The configuration for one connection, to a certain node or to whoever answers.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn config(
        &self,
        expected: Option<NodeName>,
    ) -> Result<(Arc<ClientConfig>, Verdict), TlsError> {
        self.config_for(expected, ALPN)
    }

    /// The same for one protocol by its ALPN name: a link, or a circuit at a relay.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn config_for(
        &self,
        expected: Option<NodeName>,
        protocol: &[u8],
    ) -> Result<(Arc<ClientConfig>, Verdict), TlsError> {
        let (judge, verdict) = self.0.judge(Usage::Server, expected);
        let present = self.0.present()?;
        let verdict = verdict.showing(present.leaf());
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(judge)
            .with_client_cert_resolver(present);
        Ok((Arc::new(dialling(config, protocol)), verdict))
    }
}

/// What every configuration for dialling has in common.
pub(crate) fn dialling(mut config: ClientConfig, protocol: &[u8]) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Makes configurations for listening.
pub struct Listener(Side);

impl Listener {
    /// Sets up listening with an identity.
    ///
    /// # Errors
    /// [`TlsError`] if the key and certificate are unusable.
    pub fn new(
        identity: &Identity,
        verifier: Arc<Verifier>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        Side::new(identity, verifier, clock).map(Self)
    }

    /// Presents a renewed identity from the next connection on.
    ///
    /// # Errors
    /// [`TlsError`]; the old identity stays then.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        self.0.replace(identity)
    }

    /// The configuration for one connection.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn config(&self) -> Result<(Arc<ServerConfig>, Verdict), TlsError> {
        let (judge, verdict) = self.0.judge(Usage::Client, None);
        let present = self.0.present()?;
        let verdict = verdict.showing(present.leaf());
        let config = self.listening(judge, present, &[ALPN, ALPN_RELAY])?;
        Ok((config, verdict))
    }

    /// The configuration for one connection of a program that speaks MQTT, an app or with its
    /// node's certificate; with ALPN `mqtt`, or with none, as most programs have it.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn mqtt_config(&self) -> Result<(Arc<ServerConfig>, Verdict), TlsError> {
        let (judge, verdict) = self.0.judge(Usage::Program, None);
        let present = self.0.present()?;
        let config = self.listening(judge, present, &[ALPN_MQTT])?;
        Ok((config, verdict))
    }

    /// The configuration for one connection of a program that wants keys for the time; whom our own
    /// certificate is nothing to is shown the one beside it. There is no verdict for one that
    /// showed no certificate.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn time_config(
        &self,
        clients: Clients,
        beside: Option<&Beside>,
    ) -> Result<(Arc<ServerConfig>, Verdict), TlsError> {
        let side = &self.0;
        let (verifier, clock) = (Arc::clone(&side.verifier), Arc::clone(&side.clock));
        let (judge, verdict) = Judge::new(Arc::clone(&side.provider), move |chain| {
            verifier.admit(chain, Usage::Program, None, clock())
        });
        let judge: Arc<dyn ClientCertVerifier> = match clients {
            Clients::Certified => Arc::new(judge),
            Clients::Either => Arc::new(judge.or_anonymous()),
            Clients::Anybody => WebPkiClientVerifier::no_client_auth(),
        };
        let own = side.present()?;
        let shown = match beside {
            Some(beside) => beside.or(Arc::clone(&own.0)),
            None => own,
        };
        let config = self.listening(judge, shown, &[ALPN_NTSKE])?;
        Ok((config, verdict))
    }

    /// The configuration for one connection of whoever comes, with a certificate or without: what
    /// was presented is proved to be held by the other side, and judged by nobody yet.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open_config(
        &self,
        protocol: &[u8],
    ) -> Result<(Arc<ServerConfig>, Verdict<Presented>), TlsError> {
        let (judge, verdict) = Judge::new(Arc::clone(&self.0.provider), Presented::of);
        let present = self.0.present()?;
        let config = self.listening(Arc::new(judge.or_anonymous()), present, &[protocol])?;
        Ok((config, verdict))
    }

    fn listening(
        &self,
        judge: Arc<dyn ClientCertVerifier>,
        present: Arc<dyn ResolvesServerCert>,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(judge)
            .with_cert_resolver(present);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// AWS-LC with the suites in the order of their cost here, and three key exchanges: hybrid first,
/// and two that every other program speaks.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
    ];
    provider
}

fn certified(
    provider: &CryptoProvider,
    identity: &Identity,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<_> =
        identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.pkcs8().to_vec()));
    let key = provider.key_provider.load_private_key(der)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // rustls cannot tell for every kind of key; the bundle compares them itself.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug)]
pub(crate) struct Present(Arc<CertifiedKey>);

impl Present {
    /// The certificate, DER.
    fn leaf(&self) -> &[u8] {
        self.0.cert.first().map_or(&[], |leaf| leaf.as_ref())
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Present {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
