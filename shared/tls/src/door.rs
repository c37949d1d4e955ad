//! The authority's door: who knocks may be no member yet, and knows of us no more than a pin.
//!
//! A newcomer has no certificate and no trusted root, only the SHA-256 of the root's key from its
//! join string; the authority sends the root along. Its clock may be wrong by years, so the
//! authority's certificate is judged at a moment at which it was valid: what protects the newcomer
//! is the pin and the secret, not the date.
//!
//! **Invariant:** a [`Pinned`] chain hangs from the pinned root and is the node `authority`'s.

use std::sync::Arc;

use rustls::ClientConfig;
use shared::cert::{Facts, NodeCert, Usage};
use shared::id::SpkiHash;
use shared::key::Algorithm;
use shared::limits::{CHAIN_BYTES_MAX, CHAIN_CERTS_MAX};
use shared::name::{NetworkName, NodeName};
use shared::refusal::{Code, Refusal};
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

use crate::Clock;
use crate::config::{TlsError, dialling, provider};
use crate::verdict::{Judge, Verdict};

/// The protocol at the door (RFC 7301): HTTP/1.1.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// A chain that somebody presented and holds the key of; nothing else is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Certificates, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

impl Presented {
    pub(crate) fn of(chain: &[&[u8]]) -> Result<Self, Refusal> {
        check_size(chain)?;
        Ok(Self { chain: chain.iter().map(|der| der.to_vec()).collect() })
    }
}

/// The authority behind a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The pinned root, DER.
    pub root: Vec<u8>,
    /// The algorithm of the authority's own key: that of new keys in its network.
    pub algorithm: Algorithm,
}

/// The configuration for one connection to the authority of a network whose root's key is pinned
/// (as RFC 7469 §2.4), without a certificate of our own.
///
/// # Errors
/// [`TlsError`].
pub fn pinned_config(
    network: &NetworkName,
    pin: SpkiHash,
    clock: Clock,
) -> Result<(Arc<ClientConfig>, Verdict<Pinned>), TlsError> {
    let provider = Arc::new(provider());
    let network = network.clone();
    let (judge, verdict) =
        Judge::new(Arc::clone(&provider), move |chain| judge(&network, pin, chain, clock()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    Ok((Arc::new(dialling(config, ALPN_HTTP)), verdict))
}

fn judge(
    network: &NetworkName,
    pin: SpkiHash,
    chain: &[&[u8]],
    now: Timestamp,
) -> Result<Pinned, Refusal> {
    check_size(chain)?;
    let pinned = |der: &&&[u8]| Facts::read(der).is_ok_and(|facts| facts.public.spki_hash() == pin);
    let root = chain.iter().skip(1).find(pinned).ok_or_else(|| {
        Refusal::new(Code::ForeignAuthority, "no certificate of the chain has the pinned key")
    })?;
    let root = root.to_vec();
    let unusable = |what: String| Refusal::new(Code::ForeignAuthority, what);
    let anchors = Anchors::new(network.clone(), std::slice::from_ref(&root))
        .map_err(|error| unusable(error.to_string()))?;
    let leaf = NodeCert::read(chain.first().copied().unwrap_or_default())
        .map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
    let moment = now.max(leaf.not_before).min(leaf.not_after.plus_s(-1));
    Verifier::new(anchors).admit(chain, Usage::Server, Some(&NodeName::authority()), moment)?;
    Ok(Pinned { root, algorithm: leaf.public.algorithm() })
}

fn check_size(chain: &[&[u8]]) -> Result<(), Refusal> {
    let bytes: usize = chain.iter().map(|der| der.len()).sum();
    if chain.len() > CHAIN_CERTS_MAX || bytes > CHAIN_BYTES_MAX {
        return Err(Refusal::new(Code::Malformed, "the chain is longer than any of ours"));
    }
    Ok(())
}
