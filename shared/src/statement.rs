//! Signed statements: COSE_Sign1 (RFC 9052 §4.2) over deterministic CBOR (RFC 8949 §4.2).
//!
//! One module signs and verifies everything the network signs: feed, presence and what comes
//! later. The protected header holds the algorithm and the content type, the external data holds
//! the network, so that a statement of one kind or network is never one of another. A certificate
//! chain travels unprotected as `x5chain` (RFC 9360): it is verified by itself.
//!
//! **Invariant:** a payload is handed out only after its signature was verified, and only if the
//! statement is byte for byte the one encoding it has.

use minicbor::{Decoder, Encoder};

use crate::key::{Algorithm, Encoding, KeyError, PrivateKey, PublicKey};
use crate::limits::{
    BROADCAST_BYTES_MAX, CHAIN_CERTS_MAX, LINK_STATE_BYTES_MAX, STATEMENT_BYTES_MAX,
};
use crate::name::NetworkName;

/// What a statement is about: its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The head of the feed.
    FeedHead,
    /// A snapshot of the feed.
    FeedSnapshot,
    /// A policy.
    Policy,
    /// A node's presence.
    Presence,
    /// A pack of messages to everybody who listens.
    Broadcast,
    /// That a message is on its receiver's disk.
    Receipt,
    /// What a node's clock showed.
    Shown,
    /// A node's links and wishes.
    LinkState,
}

impl Topic {
    const fn content_type(self) -> &'static str {
        match self {
            Self::FeedHead => "application/conclave-feed-head+cbor",
            Self::FeedSnapshot => "application/conclave-feed-snapshot+cbor",
            Self::Policy => "application/conclave-policy+cbor",
            Self::Presence => "application/conclave-presence+cbor",
            Self::Broadcast => "application/conclave-broadcast+cbor",
            Self::Receipt => "application/conclave-receipt+cbor",
            Self::Shown => "application/conclave-time+cbor",
            Self::LinkState => "application/conclave-link-state+cbor",
        }
    }

    const fn bytes_max(self) -> usize {
        match self {
            Self::Broadcast => BROADCAST_BYTES_MAX,
            Self::LinkState => LINK_STATE_BYTES_MAX,
            _ => STATEMENT_BYTES_MAX,
        }
    }
}

/// Why a statement is refused. Whose fault: whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than any statement of ours.
    #[error("the statement has {length} bytes; at most {max} are read")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// The most of its kind.
        max: usize,
    },
    /// Not a COSE_Sign1 in its one encoding.
    #[error("not a COSE_Sign1 statement of the expected kind")]
    Malformed,
    /// Another algorithm than the key's.
    #[error("the statement is signed with an algorithm that is not its key's")]
    Algorithm,
    /// The signature is wrong.
    #[error("the statement's signature does not verify")]
    Signature,
}

const TAG_SIGN1: u64 = 18;
const HEADER_ALG: i64 = 1;
const HEADER_CONTENT_TYPE: i64 = 3;
const HEADER_X5CHAIN: i64 = 33;

/// Signs a payload as a statement, with the signer's chain (leaf first) beside it.
///
/// # Errors
/// [`KeyError`] if the key gives no signature.
pub fn sign(
    topic: Topic,
    network: &NetworkName,
    key: &PrivateKey,
    chain: &[&[u8]],
    payload: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let protected = protected_header(topic, key.public().algorithm());
    let signature = key.sign(Encoding::Cose, &to_be_signed(&protected, network, payload))?;
    Ok(encode(&protected, chain, payload, &signature))
}

/// A statement that was parsed and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified<'b> {
    topic: Topic,
    algorithm: Algorithm,
    chain: Vec<&'b [u8]>,
    payload: &'b [u8],
    signature: &'b [u8],
}

impl<'b> Unverified<'b> {
    /// Parses a statement of a known kind.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(topic: Topic, bytes: &'b [u8]) -> Result<Self, StatementError> {
        let (length, max) = (bytes.len(), topic.bytes_max());
        if length > max {
            return Err(StatementError::TooLong { length, max });
        }
        let mut decoder = Decoder::new(bytes);
        let parsed = parse_parts(&mut decoder).map_err(|_| StatementError::Malformed)?;
        let (protected, chain, payload, signature) = parsed;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| protected_header(topic, *algorithm) == protected)
            .ok_or(StatementError::Malformed)?;
        if encode(protected, &chain, payload, signature) != bytes {
            return Err(StatementError::Malformed);
        }
        Ok(Self { topic, algorithm, chain, payload, signature })
    }

    /// The chain that came along, leaf first; not verified.
    #[must_use]
    pub fn chain(&self) -> &[&'b [u8]] {
        &self.chain
    }

    /// The payload before its signature was checked: only to tell whether checking is worth it.
    #[must_use]
    pub(crate) const fn unverified_payload(&self) -> &'b [u8] {
        self.payload
    }

    /// Checks the signature and hands out the payload.
    ///
    /// # Errors
    /// [`StatementError::Algorithm`] or [`StatementError::Signature`].
    pub fn verify(
        self,
        network: &NetworkName,
        signer: &PublicKey,
    ) -> Result<&'b [u8], StatementError> {
        if signer.algorithm() != self.algorithm {
            return Err(StatementError::Algorithm);
        }
        let protected = protected_header(self.topic, self.algorithm);
        let signed = to_be_signed(&protected, network, self.payload);
        if signer.verifies(Encoding::Cose, &signed, self.signature) {
            Ok(self.payload)
        } else {
            Err(StatementError::Signature)
        }
    }
}

type Parts<'b> = (&'b [u8], Vec<&'b [u8]>, &'b [u8], &'b [u8]);

fn parse_parts<'b>(d: &mut Decoder<'b>) -> Result<Parts<'b>, minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("not COSE_Sign1");
    if d.tag()?.as_u64() != TAG_SIGN1 || d.array()? != Some(4) {
        return Err(wrong());
    }
    let protected = d.bytes()?;
    let mut chain = Vec::new();
    match d.map()? {
        Some(0) => {}
        Some(1) if d.i64()? == HEADER_X5CHAIN => {
            if d.datatype()? == minicbor::data::Type::Bytes {
                chain.push(d.bytes()?);
            } else {
                let count = d.array()?.ok_or_else(wrong)?;
                if count > CHAIN_CERTS_MAX as u64 {
                    return Err(wrong());
                }
                for _ in 0..count {
                    chain.push(d.bytes()?);
                }
            }
        }
        _ => return Err(wrong()),
    }
    let payload = d.bytes()?;
    let signature = d.bytes()?;
    Ok((protected, chain, payload, signature))
}

/// Writes with an encoder over memory, which cannot fail.
pub(crate) fn cbor(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), CborError>,
) -> Vec<u8> {
    let mut out = Vec::new();
    // The writer is a Vec: its error type has no value, so there is nothing to pass on.
    let _ = write(&mut Encoder::new(&mut out));
    out
}

/// The error of writing CBOR into memory.
pub(crate) type CborError = minicbor::encode::Error<std::convert::Infallible>;

fn protected_header(topic: Topic, algorithm: Algorithm) -> Vec<u8> {
    cbor(|e| {
        e.map(2)?.i64(HEADER_ALG)?.i64(algorithm.cose())?;
        e.i64(HEADER_CONTENT_TYPE)?.str(topic.content_type())?.ok()
    })
}

/// Sig_structure (RFC 9052 §4.4); the network is the external data.
fn to_be_signed(protected: &[u8], network: &NetworkName, payload: &[u8]) -> Vec<u8> {
    cbor(|e| {
        e.array(4)?.str("Signature1")?.bytes(protected)?;
        e.bytes(network.as_str().as_bytes())?.bytes(payload)?.ok()
    })
}

fn encode(protected: &[u8], chain: &[&[u8]], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    cbor(|e| {
        e.tag(minicbor::data::Tag::new(TAG_SIGN1))?.array(4)?.bytes(protected)?;
        match chain {
            [] => {
                e.map(0)?;
            }
            [one] => {
                e.map(1)?.i64(HEADER_X5CHAIN)?.bytes(one)?;
            }
            several => {
                e.map(1)?.i64(HEADER_X5CHAIN)?.array(several.len() as u64)?;
                for cert in several {
                    e.bytes(cert)?;
                }
            }
        }
        e.bytes(payload)?.bytes(signature)?.ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coset::CborSerializable;
    use coset::TaggedCborSerializable;

    fn network() -> NetworkName {
        NetworkName::parse("mesh.example").unwrap()
    }

    #[test]
    fn every_algorithm_and_chain_length_survives() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            for chain in [&[][..], &[&b"leaf"[..]], &[&b"leaf"[..], b"issuing"]] {
                let bytes = sign(Topic::Presence, &network(), &key, chain, b"payload").unwrap();
                let parsed = Unverified::parse(Topic::Presence, &bytes).unwrap();
                assert_eq!(parsed.chain(), chain);
                assert_eq!(parsed.verify(&network(), key.public()).unwrap(), b"payload");
            }
        }
    }

    #[test]
    fn another_topic_network_key_or_any_flipped_bit_is_refused() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let other = PrivateKey::generate(Algorithm::P256).unwrap();
        let bytes = sign(Topic::Presence, &network(), &key, &[], b"payload").unwrap();
        assert!(Unverified::parse(Topic::FeedHead, &bytes).is_err());
        let parsed = Unverified::parse(Topic::Presence, &bytes).unwrap();
        let elsewhere = NetworkName::parse("other.example").unwrap();
        assert!(parsed.clone().verify(&elsewhere, key.public()).is_err());
        assert!(parsed.verify(&network(), other.public()).is_err());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let accepted = Unverified::parse(Topic::Presence, &bad)
                    .and_then(|s| s.verify(&network(), key.public()).map(<[u8]>::to_vec));
                assert!(accepted.is_err(), "byte {at} bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(Unverified::parse(Topic::Presence, &bytes[..cut]).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Unverified::parse(Topic::Presence, &longer).is_err());
    }

    /// An independent implementation reads what we write, and we read what it writes.
    #[test]
    fn coset_agrees() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let bytes = sign(Topic::Presence, &network(), &key, &[b"leaf"], b"payload").unwrap();
        let theirs = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
        theirs
            .verify_signature(network().as_str().as_bytes(), |signature, message| {
                let good = key.public().verifies(Encoding::Cose, message, signature);
                if good { Ok(()) } else { Err(()) }
            })
            .unwrap();
        let protected = coset::HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES256)
            .content_type(Topic::Presence.content_type().to_owned())
            .build();
        assert!(protected.clone().to_vec().is_ok());
        let made = coset::CoseSign1Builder::new()
            .protected(protected)
            .payload(b"payload".to_vec())
            .create_signature(network().as_str().as_bytes(), |message| {
                key.sign(Encoding::Cose, message).unwrap()
            })
            .build()
            .to_tagged_vec()
            .unwrap();
        let parsed = Unverified::parse(Topic::Presence, &made).unwrap();
        assert_eq!(parsed.verify(&network(), key.public()).unwrap(), b"payload");
    }
}
