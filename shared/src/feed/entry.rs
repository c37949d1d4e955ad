//! One act of the authority: revoke, suspend or resume a node.
//!
//! An entry names the node *and* every unexpired certificate and key it has had: a renewal must not
//! leave an older certificate standing (easy-rsa #1186).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{ChainHash, KeyId, Serial, SpkiHash, sha256_of};
use crate::limits::{ENTRY_BYTES_MAX, ENTRY_CERTS_MAX};
use crate::name::{NetworkName, NodeName};
use crate::time::Timestamp;

/// Why (RFC 5280 §5.3.1), as far as it can be said of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Reason {
    /// No reason given.
    #[n(0)]
    Unspecified,
    /// The private key is known or believed to be known to others.
    #[n(1)]
    KeyCompromise,
    /// The node belongs to somebody else now.
    #[n(3)]
    AffiliationChanged,
    /// Another certificate has taken its place.
    #[n(4)]
    Superseded,
    /// The node is gone.
    #[n(5)]
    CessationOfOperation,
    /// On hold: the only reversible reason.
    #[n(6)]
    CertificateHold,
    /// A right was withdrawn.
    #[n(9)]
    PrivilegeWithdrawn,
}

impl Reason {
    /// The reasons `ca-tool revoke` offers.
    pub const FOR_REVOCATION: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The name used on the command line and in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// Reads a reason for a revocation.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::FOR_REVOCATION.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Act {
    /// For good.
    #[n(0)]
    Revoke,
    /// Until resumed (certificateHold).
    #[n(1)]
    Suspend,
    /// The hold is lifted.
    #[n(2)]
    Resume,
}

/// A certificate, by what does not change with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CertRef {
    /// Key identifier of its issuer.
    #[n(0)]
    pub issuer: KeyId,
    /// Its serial.
    #[n(1)]
    pub serial: Serial,
    /// SHA-256 of its key.
    #[n(2)]
    pub spki: SpkiHash,
    /// When it ends by itself.
    #[n(3)]
    pub not_after: Timestamp,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// Its number; the first is 1.
    #[n(0)]
    pub number: u64,
    /// When the authority decided it.
    #[n(1)]
    pub at: Timestamp,
    /// What is done.
    #[n(2)]
    pub act: Act,
    /// To whom.
    #[n(3)]
    pub node: NodeName,
    /// The node's certificates that have not expired.
    #[n(4)]
    pub certs: Vec<CertRef>,
    /// Why.
    #[n(5)]
    pub reason: Reason,
    /// From when on the entry may be forgotten: no certificate it bars is alive then.
    #[n(6)]
    pub expires: Timestamp,
}

impl Entry {
    /// Its one encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::statement::cbor(|e| e.encode(self)?.ok())
    }

    /// Reads one entry: bounded, complete, in its one encoding.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let entry: Self = minicbor::decode(bytes).ok()?;
        let bounded = entry.certs.len() <= ENTRY_CERTS_MAX;
        (bounded && entry.to_bytes() == bytes).then_some(entry)
    }
}

/// The hash before the first entry: bound to the network.
#[must_use]
pub(super) fn origin(network: &NetworkName) -> ChainHash {
    ChainHash::new(sha256_of(&[b"conclave feed v1\0", network.as_str().as_bytes()]))
}

/// The hash after an entry.
#[must_use]
pub(super) fn extend(before: &ChainHash, entry: &[u8]) -> ChainHash {
    ChainHash::new(sha256_of(&[before.as_bytes(), entry]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn entry(number: u64, act: Act, node: &str) -> Entry {
        let fill = u8::try_from(number % 250).unwrap() + 1;
        Entry {
            number,
            at: Timestamp::from_s(1_000_000 + number as i64),
            act,
            node: NodeName::parse(node).unwrap(),
            certs: vec![CertRef {
                issuer: KeyId::new([7; 20]),
                serial: Serial::from_random([fill; 16]),
                spki: SpkiHash::new([fill; 32]),
                not_after: Timestamp::from_s(2_000_000),
            }],
            reason: Reason::KeyCompromise,
            expires: Timestamp::from_s(9_000_000),
        }
    }

    #[test]
    fn an_entry_has_one_encoding() {
        let good = entry(1, Act::Revoke, "bob").to_bytes();
        assert!(Entry::from_bytes(&good).is_some());
        for cut in 0..good.len() {
            assert!(Entry::from_bytes(&good[..cut]).is_none());
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(Entry::from_bytes(&longer).is_none());
        let mut padded = vec![0x87, 0x18, 0x01];
        padded.extend_from_slice(&good[2..]);
        assert!(Entry::from_bytes(&padded).is_none(), "1 written in two bytes");
    }
}
