//! A node that slept past its certificate's end: nobody links with it any more, but the authority's
//! door lets it in within a grace, and after that it is a node as before.

use std::path::Path;
use std::sync::Arc;

use host::fault::Fault;
use host::lock::FileLock;
use peer_core::Calendar;
use shared::cert::request;
use shared::join::Failure;
use shared::key::PrivateKey;
use shared::refusal::Code;
use shared::time::Timestamp;
use tls::Identity;

use crate::bundle::{self, Bundle, BundleError, Ended};
use crate::join::{self, RenewError};

/// Opens a bundle for running it. If its certificate has ended and `node.yaml` says where the
/// authority answers, it is renewed first, for as long as that takes.
///
/// # Errors
/// What [`Bundle::open`] and [`Bundle::lock`] say, or the authority's refusal.
pub fn open(folder: &Path) -> Result<(Bundle, FileLock), Fault> {
    let ended = match Bundle::open(folder) {
        Ok(bundle) => {
            let lock = bundle.lock()?;
            return Ok((bundle, lock));
        }
        Err(error) if is_expiry(&error) => match Ended::open(folder) {
            Ok(ended) if !ended.config.authority.is_empty() => ended,
            _ => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    let lock = ended.paths.lock()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    runtime.block_on(renew(&ended))?;
    Ok((Bundle::open(folder)?, lock))
}

fn is_expiry(error: &BundleError) -> bool {
    matches!(error, BundleError::Refused { refusal, .. } if refusal.code == Code::Expired)
}

async fn renew(ended: &Ended) -> Result<(), Fault> {
    let cert = &ended.cert;
    let until = cert.not_after;
    tracing::warn!(%until, "the certificate has ended; asking the authority for another");
    let clock: tls::Clock = Arc::new(host::clock::wall);
    let dialler = tls::Dialler::new(&ended.identity, Arc::clone(&ended.verifier), clock)
        .map_err(|error| Fault::failed(error.to_string()))?;
    let seed = u64::from_be_bytes(host::random::bytes()?);
    let mut calendar = Calendar::new(cert.not_before, cert.not_after, seed);
    loop {
        let (key, csr) = wish(ended)?;
        match join::renew(&ended.config.authority, &dialler, &csr).await {
            Ok(grant) => {
                let chain = grant.chain.into_iter().map(Vec::from).collect();
                return take(ended, Identity { chain, key });
            }
            Err(RenewError::Refused(failure)) if !failure.code.is_passing() => {
                return Err(refused(&failure, ended));
            }
            Err(error) => {
                let now = host::clock::wall();
                calendar.failed(&error.to_string(), true, now);
                let wait = calendar.next().ms_since(now);
                tracing::warn!(next = %calendar.next(), "not renewed: {error}");
                let wait = u64::try_from(wait).unwrap_or_default();
                tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            }
        }
    }
}

fn wish(ended: &Ended) -> Result<(PrivateKey, Vec<u8>), Fault> {
    let fault = |error: shared::key::KeyError| Fault::failed(error.to_string());
    let key = if ended.config.keep_key {
        PrivateKey::from_pkcs8(ended.identity.key.pkcs8()).map_err(fault)?
    } else {
        PrivateKey::generate(ended.cert.public.algorithm()).map_err(fault)?
    };
    let csr = request::make(&key, ended.cert.node.as_str());
    Ok((key, csr.map_err(|error| Fault::failed(error.to_string()))?))
}

/// Verifies what was granted and puts it in the old pair's place, which is of no use any more.
fn take(ended: &Ended, identity: Identity) -> Result<(), Fault> {
    let now: Timestamp = host::clock::wall();
    ended.check_successor(&identity, now)?;
    let fresh = (!ended.config.keep_key).then_some(&identity.key);
    bundle::replace(ended.paths.folder(), &identity.chain, fresh)?;
    tracing::info!("renewed at the authority's door");
    Ok(())
}

fn refused(failure: &Failure, ended: &Ended) -> Fault {
    let text = host::terminal::escape(&failure.text);
    let node = &ended.cert.node;
    Fault::refused(format!("not renewed: refused by the authority ({}): {text}", failure.code))
        .hint(format!("at the authority: ca-tool show {node}, then ca-tool invite {node}"))
}
