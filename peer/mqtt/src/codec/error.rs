//! Why a connection's octets are no packets.

use super::reason::Reason;

/// What was wrong. Whose fault: whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct DecodeError {
    /// What it is told.
    pub reason: Reason,
    /// For the log.
    pub what: &'static str,
}

impl DecodeError {
    pub(super) const fn new(reason: Reason, what: &'static str) -> Self {
        Self { reason, what }
    }
}

pub(super) const fn malformed(what: &'static str) -> DecodeError {
    DecodeError::new(Reason::MalformedPacket, what)
}

pub(super) const fn protocol(what: &'static str) -> DecodeError {
    DecodeError::new(Reason::ProtocolError, what)
}
