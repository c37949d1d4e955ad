//! Dialling while nothing is known of the time but a floor that it is later than.
//!
//! A machine whose battery is dead has to ask somebody. Whoever it asks must hold the role
//! `time-root`; ends of certificates are compared with the floor, and beginnings with nothing: they
//! were signed by the authority, so they are floors themselves (RFC 8915 §8.5).
//!
//! **Invariant:** revocation, names and usages are judged as ever, and nothing but the time may be
//! asked over such a connection.

use std::sync::Arc;

use rustls::ClientConfig;
use shared::cert::{Facts, Usage};
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Timestamp;
use shared::verify::{Member, Verified, Verifier};

use crate::config::{Dialler, TlsError, dialling};
use crate::verdict::{Judge, Verdict};

/// The role that lets a certificate vouch for outside time.
const TIME_ROOT: &str = "time-root";

impl Dialler {
    /// The configuration for one connection to a member that is asked for the time.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn cold_config(
        &self,
        node: NodeName,
        protocol: &[u8],
        floor: Timestamp,
    ) -> Result<(Arc<ClientConfig>, Verdict), TlsError> {
        let side = &self.0;
        let verifier = Arc::clone(&side.verifier);
        let (judge, verdict) = Judge::new(Arc::clone(&side.provider), move |chain| {
            admit(&verifier, chain, &node, floor)
        });
        let config = ClientConfig::builder_with_provider(Arc::clone(&side.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_cert_resolver(side.present()?);
        Ok((Arc::new(dialling(config, protocol)), verdict))
    }
}

fn admit(
    verifier: &Verifier,
    chain: &[&[u8]],
    node: &NodeName,
    floor: Timestamp,
) -> Result<Verified<Member>, Refusal> {
    let begun = chain.iter().filter_map(|der| Some(Facts::read(der).ok()?.not_before));
    let at = begun.fold(floor, Timestamp::max);
    let member = verifier.admit(chain, Usage::Server, Some(node), at)?;
    if member.cert.attributes.has_role(TIME_ROOT) {
        return Ok(member);
    }
    let detail = format!("{node} has no role {TIME_ROOT}, and the time is not known yet");
    Err(Refusal::new(Code::NotYetValid, detail))
}
