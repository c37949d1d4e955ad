//! What a node and the authority say to each other over HTTPS: requests, what is granted, answers.
//!
//! CBOR arrays (RFC 8949), each read whole within its bounds. A renewal over a link says the same
//! in frames.
//!
//! **Invariant:** a request carries a key and a proof, and no name: who somebody is to be is known
//! to the authority alone.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::code::Failure;
use super::proof::{InvitationId, Proof};
use crate::limits::{
    ADDRESSES_MAX, ANCHORS_MAX, CERT_FILE_BYTES_MAX, CHAIN_BYTES_MAX, CHAIN_CERTS_MAX,
    CSR_BYTES_MAX, GRANT_FEED_BYTES_MAX, GRANT_PEERS_MAX, JOIN_ADDRESSES_MAX, STATEMENT_BYTES_MAX,
};
use crate::name::{NetworkName, NodeName};
use crate::presence::is_address;
use crate::statement::cbor;
use crate::time::Timestamp;

/// The media type of everything here (RFC 8949 §9.4).
pub const MEDIA_TYPE: &str = "application/cbor";

/// The authority's time, told to anybody: a newcomer compares before it spends its string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct TimeThere {
    /// When it was said.
    #[n(0)]
    pub at: Timestamp,
}

/// A request to join.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct JoinRequest {
    /// Which invitation.
    #[n(0)]
    pub invitation: InvitationId,
    /// A PKCS#10 request (RFC 2986), DER. Only its key is taken.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub csr: Vec<u8>,
    /// That the secret is held, for this connection and this request.
    #[n(2)]
    pub proof: Proof,
}

/// A request to renew; who asks is what its TLS certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RenewRequest {
    /// A PKCS#10 request, DER. Only its key is taken.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub csr: Vec<u8>,
}

/// Another node, to be dialled first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KnownPeer {
    /// Who.
    #[n(0)]
    pub node: NodeName,
    /// Where, `HOST:PORT`.
    #[n(1)]
    pub addresses: Vec<String>,
}

/// All that a new node needs. Nothing in it is believed before it is verified against the root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Grant {
    /// The network.
    #[n(0)]
    pub network: NetworkName,
    /// Who the node is from now on.
    #[n(1)]
    pub node: NodeName,
    /// Its certificate and the issuing one, DER.
    #[n(2)]
    pub chain: Vec<ByteVec>,
    /// The roots, DER.
    #[n(3)]
    pub roots: Vec<ByteVec>,
    /// The feed as a file, unless it is too large for an answer: then the first link brings it.
    #[n(4)]
    pub feed: Option<ByteVec>,
    /// The signed policy, if there is another than the built-in one.
    #[n(5)]
    pub policy: Option<ByteVec>,
    /// Nodes to dial first.
    #[n(6)]
    pub peers: Vec<KnownPeer>,
    /// Where the authority answers, `HOST:PORT`.
    #[n(7)]
    pub authority: Vec<String>,
    /// The authority's time.
    #[n(8)]
    pub at: Timestamp,
}

/// The authority's answer to a request to join.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Answer {
    /// A [`Grant`], encoded.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub grant: Vec<u8>,
    /// That the authority holds the invitation, for this connection and this grant.
    #[n(1)]
    pub proof: Proof,
}

/// Reads all of some bytes as one value within its bounds.
fn read<T: for<'b> Decode<'b, ()>>(bytes: &[u8], is_bounded: impl Fn(&T) -> bool) -> Option<T> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().ok()?;
    (decoder.position() == bytes.len() && is_bounded(&value)).then_some(value)
}

fn write<T: Encode<()>>(value: &T) -> Vec<u8> {
    cbor(|e| e.encode(value)?.ok())
}

impl TimeThere {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, |_| true)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl JoinRequest {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, |request: &Self| request.csr.len() <= CSR_BYTES_MAX)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl RenewRequest {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, |request: &Self| request.csr.len() <= CSR_BYTES_MAX)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl KnownPeer {
    fn is_bounded(&self) -> bool {
        (1..=ADDRESSES_MAX).contains(&self.addresses.len())
            && self.addresses.iter().all(|address| is_address(address))
    }
}

impl Grant {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, Self::is_bounded)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }

    fn is_bounded(&self) -> bool {
        let bytes = |list: &[ByteVec]| list.iter().map(|item| item.len()).sum::<usize>();
        let fits = |item: &Option<ByteVec>, max| item.as_ref().is_none_or(|i| i.len() <= max);
        (1..=CHAIN_CERTS_MAX).contains(&self.chain.len())
            && bytes(&self.chain) <= CHAIN_BYTES_MAX
            && (1..=ANCHORS_MAX).contains(&self.roots.len())
            && bytes(&self.roots) <= CERT_FILE_BYTES_MAX
            && fits(&self.feed, GRANT_FEED_BYTES_MAX)
            && fits(&self.policy, STATEMENT_BYTES_MAX)
            && self.peers.len() <= GRANT_PEERS_MAX
            && self.peers.iter().all(KnownPeer::is_bounded)
            && self.authority.len() <= JOIN_ADDRESSES_MAX
            && self.authority.iter().all(|address| is_address(address))
    }
}

impl Answer {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, |_| true)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

impl Failure {
    /// Reads one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes, |failure: &Self| failure.text.len() <= crate::limits::FAILURE_TEXT_BYTES_MAX)
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::{Code, Secret};

    fn grant() -> Grant {
        Grant {
            network: NetworkName::parse("mesh.example").unwrap(),
            node: NodeName::parse("carol").unwrap(),
            chain: vec![vec![1; 700].into(), vec![2; 600].into()],
            roots: vec![vec![3; 500].into()],
            feed: Some(vec![4; 90].into()),
            policy: None,
            peers: vec![KnownPeer {
                node: NodeName::parse("alice").unwrap(),
                addresses: vec!["192.0.2.7:7400".to_owned()],
            }],
            authority: vec!["192.0.2.1:7443".to_owned()],
            at: Timestamp::from_s(1_800_000_000),
        }
    }

    fn request(length: usize) -> JoinRequest {
        let secret = Secret::new([7; 32]);
        let csr = vec![0; length];
        let proof = secret.proof_key().unwrap().prove_request(&[1; 32], &csr);
        JoinRequest { invitation: secret.id().unwrap(), csr, proof }
    }

    #[test]
    fn all_is_read_back_and_nothing_that_is_cut_or_longer() {
        let proof = request(1).proof;
        let failure = Failure::new(Code::Denied, "no", Timestamp::from_s(1));
        let whole = |bytes: &[u8]| {
            JoinRequest::from_bytes(bytes).is_some()
                || RenewRequest::from_bytes(bytes).is_some()
                || Grant::from_bytes(bytes).is_some()
                || Answer::from_bytes(bytes).is_some()
                || Failure::from_bytes(bytes).is_some()
        };
        assert_eq!(JoinRequest::from_bytes(&request(9).to_bytes()), Some(request(9)));
        assert_eq!(Grant::from_bytes(&grant().to_bytes()), Some(grant()));
        assert_eq!(Failure::from_bytes(&failure.to_bytes()), Some(failure.clone()));
        let answer = Answer { grant: grant().to_bytes(), proof };
        assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer.clone()));
        for bytes in [
            request(9).to_bytes(),
            RenewRequest { csr: vec![1; 9] }.to_bytes(),
            grant().to_bytes(),
            answer.to_bytes(),
            failure.to_bytes(),
        ] {
            assert!(whole(&bytes));
            for cut in 0..bytes.len() {
                assert!(!whole(&bytes[..cut]), "{cut}");
            }
            assert!(!whole(&[bytes.as_slice(), &[0]].concat()));
        }
    }

    #[test]
    fn every_bound_of_a_grant_is_kept() {
        let refused = |change: &dyn Fn(&mut Grant)| {
            let mut grant = grant();
            change(&mut grant);
            assert_eq!(Grant::from_bytes(&grant.to_bytes()), None);
        };
        refused(&|g| g.chain.clear());
        refused(&|g| g.chain = vec![vec![1].into(); CHAIN_CERTS_MAX + 1]);
        refused(&|g| g.chain = vec![vec![1; CHAIN_BYTES_MAX + 1].into()]);
        refused(&|g| g.roots.clear());
        refused(&|g| g.roots = vec![vec![1].into(); ANCHORS_MAX + 1]);
        refused(&|g| g.feed = Some(vec![0; GRANT_FEED_BYTES_MAX + 1].into()));
        refused(&|g| g.policy = Some(vec![0; STATEMENT_BYTES_MAX + 1].into()));
        refused(&|g| g.peers = vec![g.peers[0].clone(); GRANT_PEERS_MAX + 1]);
        refused(&|g| g.peers[0].addresses.clear());
        refused(&|g| g.authority = vec!["no port".to_owned()]);
        assert_eq!(JoinRequest::from_bytes(&request(CSR_BYTES_MAX + 1).to_bytes()), None);
    }
}
