//! Why the authority does not certify: stable codes known to the authority, to nodes, to the tests
//! and to `docs/joining.md`.
//!
//! A code never changes its meaning and is never reused.
//!
//! **Invariant:** [`Code::ALL`] and `docs/joining.md` list the same codes (a house test compares).

use std::fmt;

use minicbor::{Decode, Encode};

use crate::limits::FAILURE_TEXT_BYTES_MAX;
use crate::time::Timestamp;

/// A stable reason why the authority does not certify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No invitation has this secret.
    UnknownInvitation,
    /// The proof does not fit the invitation and the connection: somebody is in between.
    WrongProof,
    /// Somebody else's key has used the invitation.
    UsedInvitation,
    /// The invitation is past its time.
    ExpiredInvitation,
    /// The authority took the invitation back.
    WithdrawnInvitation,
    /// A person at the authority has to approve first; ask again.
    Waiting,
    /// A person at the authority said no.
    Denied,
    /// The request cannot be read, or does not prove possession of its key.
    Malformed,
    /// The key belongs to another node, was revoked, or is of an algorithm that is not taken.
    BadKey,
    /// The name is in use by a node whose certificate lives.
    NameTaken,
    /// The node was revoked.
    Revoked,
    /// The node is on hold.
    Suspended,
    /// No certificate of a member came with a request to renew.
    NoCertificate,
    /// The certificate ended longer ago than the authority's grace.
    TooLate,
    /// Too many requests; try later.
    Quota,
    /// The authority cannot record or sign just now; try later.
    Unavailable,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::UnknownInvitation,
        Self::WrongProof,
        Self::UsedInvitation,
        Self::ExpiredInvitation,
        Self::WithdrawnInvitation,
        Self::Waiting,
        Self::Denied,
        Self::Malformed,
        Self::BadKey,
        Self::NameTaken,
        Self::Revoked,
        Self::Suspended,
        Self::NoCertificate,
        Self::TooLate,
        Self::Quota,
        Self::Unavailable,
    ];

    /// The code as it stands in logs, in output and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownInvitation => "unknown-invitation",
            Self::WrongProof => "wrong-proof",
            Self::UsedInvitation => "used-invitation",
            Self::ExpiredInvitation => "expired-invitation",
            Self::WithdrawnInvitation => "withdrawn-invitation",
            Self::Waiting => "waiting",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::BadKey => "bad-key",
            Self::NameTaken => "name-taken",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::NoCertificate => "no-certificate",
            Self::TooLate => "too-late",
            Self::Quota => "quota",
            Self::Unavailable => "unavailable",
        }
    }

    /// Reads a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Waiting | Self::Quota | Self::Unavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.str()?).ok_or_else(|| minicbor::decode::Error::message("unknown join code"))
    }
}

/// The authority's refusal: the code, a sentence, and the time there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error("{code}: {text}")]
#[cbor(array)]
pub struct Failure {
    /// The stable code.
    #[n(0)]
    pub code: Code,
    /// What is wrong with which thing, for the person who asked.
    #[n(1)]
    pub text: String,
    /// The authority's time.
    #[n(2)]
    pub at: Timestamp,
}

impl Failure {
    /// A failure; what does not fit its bound is cut off.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>, at: Timestamp) -> Self {
        let mut text: String = text.into();
        let end = text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX);
        text.truncate(end);
        Self { code, text, at }
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
        assert_eq!(Code::parse("Denied"), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let failure = Failure::new(Code::Malformed, "é".repeat(999), Timestamp::default());
        assert!(failure.text.len() <= FAILURE_TEXT_BYTES_MAX);
        assert!(failure.text.chars().all(|c| c == 'é'));
    }
}
