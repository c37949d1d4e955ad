//! Dialling a server that is no peer: an existing MQTT engine.
//!
//! One with a certificate of our own authority is judged by the verifier that judges links, and by
//! the name that it was dialled under: an engine has many clients, and a certificate of the network
//! is no proof that it is the right one. One under other roots is judged by webpki, as any server
//! is; our revocation list says nothing of it. Our own certificate is shown to either, if it asks.
//!
//! **Invariant:** no tickets and no early data here either.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use shared::cert::{NodeCert, Usage};
use shared::refusal::{Code, Refusal};
use shared::verify::{Member, Verified};

use crate::config::{ALPN_MQTT, Dialler, TlsError};
use crate::verdict::{Judge, Verdict};

impl Dialler {
    /// The configuration for one connection to a server of our authority that has this name, a DNS
    /// name or an IP address.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn engine_config(&self, name: &str) -> Result<(Arc<ClientConfig>, Verdict), TlsError> {
        let side = &self.0;
        let (verifier, clock) = (Arc::clone(&side.verifier), Arc::clone(&side.clock));
        let name = name.to_ascii_lowercase();
        let (judge, verdict) = Judge::new(Arc::clone(&side.provider), move |chain| {
            let member = verifier.admit(chain, Usage::Server, None, clock())?;
            check_name(member, &name)
        });
        let config = ClientConfig::builder_with_provider(Arc::clone(&side.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_cert_resolver(side.present()?);
        Ok((Arc::new(calling(config)), verdict))
    }

    /// The configuration for connections to a server whose certificate hangs from one of these
    /// roots, DER.
    ///
    /// # Errors
    /// [`TlsError`] if one of them is no root, or there is none.
    pub fn foreign_config(&self, roots: &[Vec<u8>]) -> Result<Arc<ClientConfig>, TlsError> {
        let side = &self.0;
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root.clone()))?;
        }
        let provider = Arc::clone(&side.provider);
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let config = ClientConfig::builder_with_provider(Arc::clone(&side.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_webpki_verifier(judge)
            .with_client_cert_resolver(side.present()?);
        Ok(Arc::new(calling(config)))
    }
}

/// Unlike a peer, an engine may serve several names, and is told which is meant.
fn calling(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN_MQTT.to_vec()];
    config
}

fn check_name(member: Verified<Member>, name: &str) -> Result<Verified<Member>, Refusal> {
    if has_name(&member.cert, name) {
        return Ok(member);
    }
    let own = member.cert.network.dns_of(&member.cert.node);
    let detail = format!("its certificate is for {own}, and not for {name}");
    Err(Refusal::new(Code::WrongName, detail))
}

fn has_name(cert: &NodeCert, name: &str) -> bool {
    match name.parse::<IpAddr>() {
        Ok(ip) => cert.ips.contains(&ip),
        Err(_) => {
            name == cert.network.dns_of(&cert.node)
                || cert.dns.iter().any(|dns| dns.eq_ignore_ascii_case(name))
        }
    }
}
