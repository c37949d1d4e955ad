//! A broadcast that others carry: a pack with its sender's signature, for a network in which the
//! sender has links with a few only.
//!
//! It comes from a neighbour, seldom from its sender: so the sender signs its own name, its run, a
//! number that goes up in it, and the moment. The signature is over the whole pack, which spreads
//! its cost over as many messages as fit. No certificate travels along: whoever hears it has the
//! sender's presence.
//!
//! **Invariant:** a [`Spoken`] out of [`Unproven::prove`] was signed by the key that was given, in
//! the one encoding it has, and has at least one message.

use minicbor::{Decode, Encode};

use super::pack::Pack;
use crate::id::InstanceId;
use crate::key::{KeyError, PrivateKey, PublicKey};
use crate::name::{NetworkName, NodeName};
use crate::statement::{self, StatementError, Topic, Unverified, cbor};
use crate::time::Timestamp;

/// Messages for everybody who listens, and who says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// Who.
    pub origin: NodeName,
    /// In which run.
    pub instance: InstanceId,
    /// When, by the sender's clock.
    pub at: Timestamp,
    /// The messages; its number goes up within the run.
    pub pack: Pack,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Said<'b> {
    #[n(0)]
    origin: NodeName,
    #[n(1)]
    instance: InstanceId,
    #[n(2)]
    number: u64,
    #[n(3)]
    at: Timestamp,
    #[cbor(b(4), with = "minicbor::bytes")]
    messages: &'b [u8],
}

impl Spoken {
    /// Signs it with the sender's key.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(&self, network: &NetworkName, key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
        let said = Said {
            origin: self.origin.clone(),
            instance: self.instance,
            number: self.pack.id,
            at: self.at,
            messages: self.pack.octets(),
        };
        statement::sign(Topic::Broadcast, network, key, &[], &said.to_bytes())
    }
}

impl<'b> Said<'b> {
    fn to_bytes(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }

    fn parse(payload: &'b [u8]) -> Option<Self> {
        let said: Self = minicbor::decode(payload).ok()?;
        (said.to_bytes() == payload).then_some(said)
    }
}

/// A broadcast that was read and not yet believed: enough to find the key of whoever says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven<'b> {
    statement: Unverified<'b>,
    said: Said<'b>,
}

impl<'b> Unproven<'b> {
    /// Reads one.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &'b [u8]) -> Result<Self, StatementError> {
        let statement = Unverified::parse(Topic::Broadcast, bytes)?;
        let said = Said::parse(statement.unverified_payload());
        // A chain would be octets that nobody looks at.
        let said = said.filter(|_| statement.chain().is_empty());
        Ok(Self { said: said.ok_or(StatementError::Malformed)?, statement })
    }

    /// Who is said to say it.
    #[must_use]
    pub const fn origin(&self) -> &NodeName {
        &self.said.origin
    }

    /// In which run.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.said.instance
    }

    /// Under which number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.said.number
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.said.at
    }

    /// Checks the signature, and hands out the messages.
    ///
    /// # Errors
    /// [`StatementError::Algorithm`] or [`StatementError::Signature`], and
    /// [`StatementError::Malformed`] if what was signed is no pack.
    pub fn prove(
        self,
        network: &NetworkName,
        signer: &PublicKey,
    ) -> Result<Spoken, StatementError> {
        self.statement.verify(network, signer)?;
        let Said { origin, instance, number, at, messages } = self.said;
        let pack = Pack::of_octets(number, messages).ok_or(StatementError::Malformed)?;
        Ok(Spoken { origin, instance, at, pack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;
    use crate::limits::{BROADCAST_BYTES_MAX, MESSAGE_BYTES_MAX};

    fn network() -> NetworkName {
        NetworkName::parse("mesh.example").unwrap()
    }

    fn spoken(bodies: &[&[u8]]) -> Spoken {
        let mut pack = Pack::default();
        pack.id = 7;
        assert!(bodies.iter().all(|body| pack.push(body)));
        let origin = NodeName::parse("alice").unwrap();
        let (instance, at) = (InstanceId::new([3; 16]), Timestamp::from_s(1_800_000_000));
        Spoken { origin, instance, at, pack }
    }

    fn heard(bytes: &[u8], key: &PrivateKey) -> Result<Spoken, StatementError> {
        Unproven::parse(bytes)?.prove(&network(), key.public())
    }

    #[test]
    fn what_is_said_survives_with_every_kind_of_key() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let said = spoken(&[b"one", b"", b"three"]);
            let bytes = said.sign(&network(), &key).unwrap();
            let read = Unproven::parse(&bytes).unwrap();
            assert_eq!((read.origin(), read.instance()), (&said.origin, said.instance));
            assert_eq!(read.at(), said.at);
            assert_eq!(heard(&bytes, &key), Ok(said));
        }
    }

    #[test]
    fn another_key_network_or_any_flipped_bit_is_refused() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let other = PrivateKey::generate(Algorithm::P256).unwrap();
        let bytes = spoken(&[b"one"]).sign(&network(), &key).unwrap();
        assert_eq!(heard(&bytes, &other), Err(StatementError::Signature));
        let elsewhere = NetworkName::parse("other.example").unwrap();
        let read = Unproven::parse(&bytes).unwrap();
        assert_eq!(read.prove(&elsewhere, key.public()), Err(StatementError::Signature));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(heard(&bad, &key).is_err(), "byte {at}");
            assert!(heard(&bytes[..at], &key).is_err(), "cut at {at}");
        }
        assert!(heard(&[&bytes[..], &[0]].concat(), &key).is_err());
    }

    #[test]
    fn nothing_said_another_encoding_and_a_chain_are_refused() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let empty = spoken(&[]).sign(&network(), &key).unwrap();
        assert_eq!(heard(&empty, &key), Err(StatementError::Malformed));
        let said = spoken(&[b"one"]);
        let bytes = said.sign(&network(), &key).unwrap();
        let payload = Unverified::parse(Topic::Broadcast, &bytes).unwrap().unverified_payload();
        let sign = |topic, chain: &[&[u8]], payload: &[u8]| {
            statement::sign(topic, &network(), &key, chain, payload).unwrap()
        };
        assert_eq!(heard(&sign(Topic::Broadcast, &[], payload), &key), Ok(said));
        let longer = [payload, &[0]].concat();
        // The same array, its length unsaid.
        let wordy = [&[0x9f], &payload[1..], &[0xff]].concat();
        let others = [
            sign(Topic::Broadcast, &[b"leaf"], payload),
            sign(Topic::Presence, &[], payload),
            sign(Topic::Broadcast, &[], &longer),
            sign(Topic::Broadcast, &[], &wordy),
        ];
        assert!(others.iter().all(|other| heard(other, &key) == Err(StatementError::Malformed)));
    }

    #[test]
    fn a_full_pack_fits_with_the_longest_signature_and_the_longest_message_with_a_usual_one() {
        let mut full = spoken(&[]);
        full.origin = NodeName::parse(&"a".repeat(63)).unwrap();
        while full.pack.push(&[b'm'; 1024]) {}
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let bytes = full.sign(&network(), &key).unwrap();
            assert!(bytes.len() <= BROADCAST_BYTES_MAX, "{algorithm:?}: {}", bytes.len());
        }
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let longest = spoken(&[&vec![1; MESSAGE_BYTES_MAX]]).sign(&network(), &key).unwrap();
        assert!(longest.len() < BROADCAST_BYTES_MAX && heard(&longest, &key).is_ok());
        let too_long = vec![0; BROADCAST_BYTES_MAX + 1];
        assert!(matches!(Unproven::parse(&too_long), Err(StatementError::TooLong { .. })));
    }
}
