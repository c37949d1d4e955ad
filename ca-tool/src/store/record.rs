//! What the store remembers, as types: nodes, certificates, intents, keys, bars and the log.
//!
//! **Invariant:** every record begins with the version of its form; an unknown version is refused,
//! never guessed at.

use std::net::IpAddr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use shared::feed::Reason;
use shared::id::{KeyId, Serial, SpkiHash};
use shared::join::InvitationId;
use shared::name::{Label, NodeName};
use shared::time::Timestamp;

use crate::error::CaError;

/// The form of every record below.
const VERSION: u8 = 1;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Standing {
    /// A member.
    #[n(0)]
    Active,
    /// On hold since.
    #[n(1)]
    Suspended(#[n(0)] Timestamp),
    /// Out since, and why.
    #[n(2)]
    Revoked(#[n(0)] Timestamp, #[n(1)] Reason),
}

/// What the authority decided about a node: the terms of its enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Terms {
    /// Groups.
    #[n(0)]
    pub groups: Vec<Label>,
    /// Roles.
    #[n(1)]
    pub roles: Vec<Label>,
    /// DNS names beside its own.
    #[n(2)]
    pub dns: Vec<String>,
    /// IP addresses.
    #[n(3)]
    pub ips: Vec<IpAddr>,
    /// The profile.
    #[n(4)]
    pub profile: Label,
    /// Seconds a certificate lives.
    #[n(5)]
    pub life_s: i64,
}

impl Terms {
    /// The terms of a node whose enrolment was interrupted: nothing is known of them.
    pub(crate) fn unknown() -> Result<Self, CaError> {
        let profile = Label::parse("node").map_err(|e| CaError::Damaged(e.to_string()))?;
        let (groups, roles, dns, ips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { groups, roles, dns, ips, profile, life_s: 0 })
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct NodeRecord {
    /// Its name.
    #[n(0)]
    pub node: NodeName,
    /// How it stands.
    #[n(1)]
    pub standing: Standing,
    /// The terms of its newest enrolment.
    #[n(2)]
    pub terms: Terms,
    /// Its newest certificate.
    #[n(3)]
    pub newest: Serial,
    /// When it was enrolled.
    #[n(4)]
    pub enrolled_at: Timestamp,
    /// The newest revocation of the name, also after it was enrolled again.
    #[n(5)]
    pub revoked_at: Option<Timestamp>,
    /// How long its certificates last that had not ended at the newest enrolment, that one's among
    /// them: a list of nodes opens no certificate. `None`: the certificates have to be looked at.
    #[n(6)]
    pub spans: Option<Vec<Span>>,
}

/// How long a certificate lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Span {
    /// notBefore.
    #[n(0)]
    pub not_before: Timestamp,
    /// notAfter.
    #[n(1)]
    pub not_after: Timestamp,
}

/// Spans in one record, at 20 bytes each: a node that renews hourly for two days. Beyond it the
/// certificates are looked at.
const SPANS_MAX: usize = 64;

impl NodeRecord {
    /// With one more certificate.
    pub(crate) fn certified(&mut self, before: Vec<Span>, newest: Span, now: Timestamp) {
        let lasting = before.into_iter().filter(|span| span.not_after > now);
        let spans: Vec<Span> = lasting.chain([newest]).collect();
        self.spans = (spans.len() <= SPANS_MAX).then_some(spans);
    }
}

impl CertRecord {
    /// How long it lasts.
    #[must_use]
    pub const fn span(&self) -> Span {
        Span { not_before: self.not_before, not_after: self.not_after }
    }
}

/// A certificate that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CertRecord {
    /// Whose.
    #[n(0)]
    pub node: NodeName,
    /// Its serial.
    #[n(1)]
    pub serial: Serial,
    /// Key identifier of its issuer.
    #[n(2)]
    pub issuer: KeyId,
    /// Its key.
    #[n(3)]
    pub spki: SpkiHash,
    /// notBefore.
    #[n(4)]
    pub not_before: Timestamp,
    /// notAfter.
    #[n(5)]
    pub not_after: Timestamp,
    /// When it was signed.
    #[n(6)]
    pub issued_at: Timestamp,
    /// The certificate, DER.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub der: Vec<u8>,
}

/// A certificate that is about to be signed, or may have been when the program died.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Intent {
    /// For whom.
    #[n(0)]
    pub node: NodeName,
    /// Under which serial.
    #[n(1)]
    pub serial: Serial,
    /// By which issuer.
    #[n(2)]
    pub issuer: KeyId,
    /// For which key.
    #[n(3)]
    pub spki: SpkiHash,
    /// Until when it would live.
    #[n(4)]
    pub not_after: Timestamp,
    /// When it was decided.
    #[n(5)]
    pub at: Timestamp,
    /// Whether a later run found it: the certificate may exist somewhere.
    #[n(6)]
    pub leftover: bool,
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KeyRecord {
    /// The node.
    #[n(0)]
    pub node: NodeName,
    /// When it was last certified.
    #[n(1)]
    pub at: Timestamp,
}

/// A certificate that the CRL lists.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Bar {
    /// Whose.
    #[n(0)]
    pub node: NodeName,
    /// Its serial.
    #[n(1)]
    pub serial: Serial,
    /// Since when.
    #[n(2)]
    pub at: Timestamp,
    /// Why.
    #[n(3)]
    pub reason: Reason,
    /// When it ends by itself.
    #[n(4)]
    pub not_after: Timestamp,
}

/// A key that came with an invitation's secret, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Claim {
    /// The key.
    #[n(0)]
    pub spki: SpkiHash,
    /// The address it came from.
    #[n(1)]
    pub from: String,
    /// When it came first.
    #[n(2)]
    pub at: Timestamp,
}

/// How an invitation stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum InvitationState {
    /// Nobody has come yet.
    #[n(0)]
    Open,
    /// Somebody came: being certified, or with `hold` waiting for a person.
    #[n(1)]
    Claimed(#[n(0)] Claim),
    /// A person said yes.
    #[n(2)]
    Approved(#[n(0)] Claim),
    /// It made a certificate.
    #[n(3)]
    Used(#[n(0)] Claim, #[n(1)] Serial),
    /// A person said no.
    #[n(4)]
    Denied(#[n(0)] Claim, #[n(1)] Timestamp),
    /// It was taken back.
    #[n(5)]
    Withdrawn(#[n(0)] Timestamp),
}

/// An invitation: whoever proves to hold its secret becomes this node, once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Invitation {
    /// Its number, which says nothing of the secret.
    #[n(0)]
    pub id: InvitationId,
    /// Who its user becomes.
    #[n(1)]
    pub node: NodeName,
    /// On which terms.
    #[n(2)]
    pub terms: Terms,
    /// The key that proofs are checked with, sealed.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sealed_key: Vec<u8>,
    /// When it was made.
    #[n(4)]
    pub at: Timestamp,
    /// Until when somebody may come.
    #[n(5)]
    pub expires: Timestamp,
    /// Whether a person approves whoever comes.
    #[n(6)]
    pub hold: bool,
    /// How it stands.
    #[n(7)]
    pub state: InvitationState,
    /// How often somebody else was refused under it, as far as it is recorded.
    #[n(8)]
    pub refused: u32,
}

/// One act of the authority, chained to the one before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct LogRecord {
    /// Its number; the first is 1.
    #[n(0)]
    pub seq: u64,
    /// SHA-256 of the record before; zeros for the first.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub prev: [u8; 32],
    /// When.
    #[n(2)]
    pub at: Timestamp,
    /// What was done.
    #[n(3)]
    pub act: String,
    /// To whom or what.
    #[n(4)]
    pub subject: String,
    /// What else is worth knowing.
    #[n(5)]
    pub detail: String,
}

/// A record as bytes: the version, then CBOR.
pub(crate) fn to_bytes<T: Encode<()>>(record: &T) -> Result<Vec<u8>, CaError> {
    let mut bytes = vec![VERSION];
    minicbor::encode(record, &mut bytes)
        .map_err(|_| CaError::Store("a record cannot be encoded".to_owned()))?;
    Ok(bytes)
}

/// Reads a record: its version, all of it, nothing after it.
pub(crate) fn from_bytes<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, CaError> {
    let damaged = || CaError::Damaged("a record in the store is unreadable".to_owned());
    let (version, rest) = bytes.split_first().ok_or_else(damaged)?;
    if *version != VERSION {
        return Err(CaError::Format { found: u32::from(*version), known: u32::from(VERSION) });
    }
    let mut decoder = minicbor::Decoder::new(rest);
    let record = decoder.decode().map_err(|_| damaged())?;
    if decoder.position() == rest.len() { Ok(record) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node's record as it was before it knew of certificates.
    #[derive(Encode)]
    #[cbor(array)]
    struct Old {
        #[n(0)]
        node: NodeName,
        #[n(1)]
        standing: Standing,
        #[n(2)]
        terms: Terms,
        #[n(3)]
        newest: Serial,
        #[n(4)]
        enrolled_at: Timestamp,
        #[n(5)]
        revoked_at: Option<Timestamp>,
    }

    #[test]
    fn an_older_record_is_read_and_one_with_something_after_it_is_not() {
        let old = Old {
            node: NodeName::parse("bob").unwrap(),
            standing: Standing::Active,
            terms: Terms::unknown().unwrap(),
            newest: Serial::from_random([7; 16]),
            enrolled_at: Timestamp::from_s(1),
            revoked_at: Some(Timestamp::from_s(2)),
        };
        let mut bytes = to_bytes(&old).unwrap();
        let read: NodeRecord = from_bytes(&bytes).unwrap();
        assert_eq!((read.revoked_at, &read.spans), (old.revoked_at, &None));
        assert_eq!(from_bytes::<NodeRecord>(&to_bytes(&read).unwrap()).unwrap(), read);
        bytes.push(0);
        assert!(from_bytes::<NodeRecord>(&bytes).is_err());
        bytes[0] = VERSION + 1;
        assert!(matches!(from_bytes::<NodeRecord>(&bytes), Err(CaError::Format { .. })));
    }
}
