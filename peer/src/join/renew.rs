//! Renewing at the authority's door: for a node whose certificate has ended, which no peer lets in
//! any more.

use hyper::Method;
use shared::join::{Failure, Grant, RenewRequest};

use super::ANSWER_BYTES_MAX;
use super::call::{Call, CallError};

/// Why a certificate was not renewed at the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The authority says no, or not now.
    #[error("refused by the authority: {0}")]
    Refused(Failure),
    /// It was not reached, at any address.
    #[error("the authority is not reached: {0}")]
    Unreachable(String),
}

/// Asks at the addresses in turn for a certificate of the request's key, as the member that the
/// dialler presents. Nothing of the grant is verified yet.
///
/// # Errors
/// [`RenewError`].
pub async fn renew(
    addresses: &[String],
    dialler: &tls::Dialler,
    csr: &[u8],
) -> Result<Grant, RenewError> {
    let mut failures = Vec::new();
    for address in addresses {
        match ask(address, dialler, csr).await {
            Ok(Ok(grant)) => return Ok(grant),
            Ok(Err(failure)) => return Err(RenewError::Refused(failure)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(RenewError::Unreachable(failures.join("; ")))
}

async fn ask(
    address: &str,
    dialler: &tls::Dialler,
    csr: &[u8],
) -> Result<Result<Grant, Failure>, CallError> {
    let mut call = Call::as_member(address, dialler).await?;
    let request = RenewRequest { csr: csr.to_vec() }.to_bytes();
    let answered = call.ask(Method::POST, "/v1/renew", request, ANSWER_BYTES_MAX).await?;
    let bytes = match answered {
        Ok(bytes) => bytes,
        Err(failure) => return Ok(Err(failure)),
    };
    let why = || "its grant cannot be read".to_owned();
    let broken = || CallError::Broken { address: address.to_owned(), why: why() };
    Grant::from_bytes(&bytes).map(Ok).ok_or_else(broken)
}
