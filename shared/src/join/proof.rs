//! The secret of an invitation and the two proofs made from it.
//!
//! ```text
//! id        = HKDF-SHA256(secret, "conclave join 1 id")[..16]
//! key       = HKDF-SHA256(secret, "conclave join 1 key")
//! node      = HMAC-SHA256(key, "node"      ‖ exporter ‖ SHA-256(request))
//! authority = HMAC-SHA256(key, "authority" ‖ exporter ‖ SHA-256(grant))
//! ```
//!
//! RFC 5869 and RFC 2104; the exporter is that of RFC 8446 §7.5. Symmetric, so that a quantum
//! computer changes nothing about it.
//!
//! **Invariant:** proofs are compared in constant time; secrets are wiped on drop and never shown.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::id::sha256;
use crate::key::KeyError;

/// The label of the TLS exporter (RFC 8446 §7.5) that proofs are bound to.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Conclave-Join";

/// What both ends of one TLS connection, and nobody else, can compute.
pub type Exporter = [u8; 32];

/// The secret of an invitation: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// From fresh random bytes, or from a join string.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, for the join string alone.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Under which number the authority finds the invitation.
    ///
    /// # Errors
    /// [`KeyError`] if the library gives no result.
    pub fn id(&self) -> Result<InvitationId, KeyError> {
        let mut id = [0; 16];
        self.derive(b"conclave join 1 id", &mut id)?;
        Ok(InvitationId(id))
    }

    /// What proofs are made with.
    ///
    /// # Errors
    /// [`KeyError`] if the library gives no result.
    pub fn proof_key(&self) -> Result<ProofKey, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        self.derive(b"conclave join 1 key", key.as_mut())?;
        Ok(ProofKey(key))
    }

    fn derive(&self, info: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        let pseudorandom = Salt::new(HKDF_SHA256, &[]).extract(self.0.as_ref());
        let info = [info];
        let okm = pseudorandom.expand(&info, Length(out.len()));
        okm.and_then(|okm| okm.fill(out)).map_err(|_| KeyError::NoResult)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The number of an invitation: it finds the record, and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct InvitationId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl InvitationId {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A proof that somebody holds the secret, for one connection and one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Proof(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

/// Who proves.
#[derive(Clone, Copy)]
enum Side {
    Node,
    Authority,
}

/// The key that proofs are made and checked with.
#[derive(Clone)]
pub struct ProofKey(Zeroizing<[u8; 32]>);

impl ProofKey {
    /// From the bytes that the authority keeps sealed.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, to be sealed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The node's proof over a certificate request.
    #[must_use]
    pub fn prove_request(&self, exporter: &Exporter, request: &[u8]) -> Proof {
        self.prove(Side::Node, exporter, request)
    }

    /// Whether a node's proof holds.
    #[must_use]
    pub fn admits_request(&self, proof: &Proof, exporter: &Exporter, request: &[u8]) -> bool {
        self.admits(proof, Side::Node, exporter, request)
    }

    /// The authority's proof over what it grants.
    #[must_use]
    pub fn prove_grant(&self, exporter: &Exporter, grant: &[u8]) -> Proof {
        self.prove(Side::Authority, exporter, grant)
    }

    /// Whether the authority's proof holds.
    #[must_use]
    pub fn admits_grant(&self, proof: &Proof, exporter: &Exporter, grant: &[u8]) -> bool {
        self.admits(proof, Side::Authority, exporter, grant)
    }

    fn prove(&self, side: Side, exporter: &Exporter, message: &[u8]) -> Proof {
        let tag = hmac::sign(&self.hmac(), &said(side, exporter, message));
        let mut proof = [0; 32];
        for (to, from) in proof.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Proof(proof)
    }

    fn admits(&self, proof: &Proof, side: Side, exporter: &Exporter, message: &[u8]) -> bool {
        hmac::verify(&self.hmac(), &said(side, exporter, message), &proof.0).is_ok()
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref())
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(…)")
    }
}

/// Parts of fixed length but for the first, which are no prefix of one another.
fn said(side: Side, exporter: &Exporter, message: &[u8]) -> Vec<u8> {
    let side: &[u8] = match side {
        Side::Node => b"node",
        Side::Authority => b"authority",
    };
    [side, exporter, &sha256(message)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ProofKey {
        Secret::new([7; 32]).proof_key().unwrap()
    }

    #[test]
    fn a_proof_holds_for_its_own_connection_side_and_message_only() {
        let (key, here, there) = (key(), [1; 32], [2; 32]);
        let proof = key.prove_request(&here, b"request");
        assert!(key.admits_request(&proof, &here, b"request"));
        assert!(!key.admits_request(&proof, &there, b"request"));
        assert!(!key.admits_request(&proof, &here, b"Request"));
        assert!(!key.admits_grant(&proof, &here, b"request"));
        let other = Secret::new([8; 32]).proof_key().unwrap();
        assert!(!other.admits_request(&proof, &here, b"request"));
        let back = key.prove_grant(&here, b"grant");
        assert!(key.admits_grant(&back, &here, b"grant"));
        assert!(!key.admits_grant(&back, &there, b"grant"));
    }

    #[test]
    fn what_names_an_invitation_says_nothing_of_its_key() {
        let secret = Secret::new([7; 32]);
        let (id, key) = (secret.id().unwrap(), secret.proof_key().unwrap());
        assert_ne!(id.as_bytes()[..], key.as_bytes()[..16]);
        assert_ne!(id, Secret::new([8; 32]).id().unwrap());
        for shown in [format!("{secret:?}"), format!("{key:?}")] {
            assert!(!shown.contains('7'), "{shown}");
        }
    }
}
