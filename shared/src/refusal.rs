//! Why somebody is refused: stable codes known to both sides, to the tests and to
//! `docs/refusals.md`.
//!
//! A code never changes its meaning and is never reused. The text beside it may change; nobody may
//! parse it.
//!
//! **Invariant:** [`Code::ALL`] and `docs/refusals.md` list the same codes (a house test compares).

use std::fmt;

/// A stable reason for a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The other side presented no certificate.
    NoCertificate,
    /// The chain does not lead to our authority: unknown, self-signed, or a bad signature.
    ForeignAuthority,
    /// notAfter has passed.
    Expired,
    /// notBefore lies ahead.
    NotYetValid,
    /// The certificate, its key, its node or its issuer was revoked.
    Revoked,
    /// The node is on hold (RFC 5280 certificateHold).
    Suspended,
    /// The node that answered is not the one that was dialled.
    WrongName,
    /// The certificate or the greeting names another network.
    WrongNetwork,
    /// The certificate is not for this use: a CA's, or without the extended key usage needed.
    WrongUsage,
    /// Another running instance uses the same certificate.
    DuplicateInstance,
    /// The protocol versions do not overlap.
    Version,
    /// A bound was reached: handshakes, links, inbox, message size.
    Quota,
    /// The network's policy forbids it.
    Policy,
    /// What was sent cannot be read: a certificate, a greeting, a frame.
    Malformed,
    /// A relay has no link with the node that was asked for, or the node did not answer it.
    Unreachable,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::NoCertificate,
        Self::ForeignAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::Suspended,
        Self::WrongName,
        Self::WrongNetwork,
        Self::WrongUsage,
        Self::DuplicateInstance,
        Self::Version,
        Self::Quota,
        Self::Policy,
        Self::Malformed,
        Self::Unreachable,
    ];

    /// The code as it stands in logs, in output and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::ForeignAuthority => "foreign-authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::WrongName => "wrong-name",
            Self::WrongNetwork => "wrong-network",
            Self::WrongUsage => "wrong-usage",
            Self::DuplicateInstance => "duplicate-instance",
            Self::Version => "version",
            Self::Quota => "quota",
            Self::Policy => "policy",
            Self::Malformed => "malformed",
            Self::Unreachable => "unreachable",
        }
    }

    /// Reads a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<C> minicbor::Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.str()?)
            .ok_or_else(|| minicbor::decode::Error::message("unknown refusal code"))
    }
}

/// A refusal: the code, and a sentence for the log of the side that refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The stable code, which the one refused may know.
    pub code: Code,
    /// What was wrong with which thing; for our own log, not for a stranger.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_no_two_are_alike() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("Revoked"), None);
    }
}
