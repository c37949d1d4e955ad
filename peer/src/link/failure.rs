//! Why a connection came to nothing: the code, who refused, and a sentence for the log.
//!
//! In TLS 1.3 a dialler's handshake is complete before the listener has judged it, so the refusal
//! comes as an alert with the first read; both ways end in the same [`Failure`].

use std::io;
use std::net::SocketAddr;

use shared::refusal::{Code, Refusal};
use tls::Role;

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// We did.
    Us,
    /// The other side did.
    Them,
    /// Nobody: the network failed, or time ran out.
    Neither,
}

/// A connection that came to nothing. Whose fault: see [`Failure::by`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The stable code, if it was a refusal.
    pub code: Option<Code>,
    /// Who refused.
    pub by: By,
    /// What was wrong, for our own log.
    pub detail: String,
    /// The other side's address, if there was one.
    pub remote: Option<SocketAddr>,
}

impl Failure {
    /// Nobody's refusal.
    pub(super) fn neither(detail: impl Into<String>) -> Self {
        Self { code: None, by: By::Neither, detail: detail.into(), remote: None }
    }

    /// We refuse.
    pub(super) fn by_us(refusal: Refusal) -> Self {
        Self { code: Some(refusal.code), by: By::Us, detail: refusal.detail, remote: None }
    }

    /// The other side refused.
    pub(super) fn by_them(code: Code) -> Self {
        let detail = format!("the other side refused: {code}");
        Self { code: Some(code), by: By::Them, detail, remote: None }
    }

    /// With the other side's address.
    pub(super) fn at(mut self, remote: SocketAddr) -> Self {
        self.remote = Some(remote);
        self
    }

    /// What an error of the TLS stream means.
    pub(super) fn of_io(error: &io::Error, role: Role) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => Self::of_tls(inner, role),
            None => Self::neither(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error, role: Role) -> Self {
        use rustls::Error as E;
        let code = tls::refusal_of(error, role);
        let (code, by) = match (code, error) {
            (Some(code), E::AlertReceived(_)) => (Some(code), By::Them),
            (Some(code), _) => (Some(code), By::Us),
            (None, E::NoApplicationProtocol | E::PeerIncompatible(_)) => {
                (Some(Code::Version), By::Us)
            }
            (None, E::AlertReceived(_)) => (None, By::Them),
            (None, E::InvalidMessage(_) | E::DecryptError | E::PeerSentOversizedRecord) => {
                (Some(Code::Malformed), By::Us)
            }
            (None, _) => (None, By::Neither),
        };
        Self { code, by, detail: error.to_string(), remote: None }
    }
}
