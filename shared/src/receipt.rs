//! A receipt: the receiver's own signed statement that a message is on its disk.
//!
//! It names sender, receiver, the message's number and SHA-256, and when it was stored. The network
//! is bound by the signature, the receiver's chain travels along, so that whoever has the network's
//! trust can judge it later, without asking anybody.
//!
//! **Invariant:** a [`SignedReceipt`] was signed by the key of a verified member, about itself.

use minicbor::{Decode, Encode};

use crate::cert::Usage;
use crate::id::sha256;
use crate::key::{KeyError, PrivateKey};
use crate::limits::AHEAD_S;
use crate::name::{NetworkName, NodeName};
use crate::refusal::{Code, Refusal};
use crate::statement::{self, Topic, Unverified, cbor};
use crate::time::Timestamp;
use crate::verify::{Member, Verified, Verifier};
use crate::wire::Number;

/// What a receiver says of a message it has stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Receipt {
    /// Who sent it.
    #[n(0)]
    pub from: NodeName,
    /// Who has it.
    #[n(1)]
    pub to: NodeName,
    /// The sender's number for it.
    #[n(2)]
    pub number: Number,
    /// SHA-256 of its body.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// When it was on the disk, by the receiver's clock.
    #[n(4)]
    pub at: Timestamp,
}

impl Receipt {
    /// Signs it with the receiver's key; `chain` is the receiver's, leaf first.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(
        &self,
        network: &NetworkName,
        key: &PrivateKey,
        chain: &[&[u8]],
    ) -> Result<Vec<u8>, KeyError> {
        statement::sign(Topic::Receipt, network, key, chain, &self.to_bytes())
    }

    /// Reads what is signed, believing nothing.
    #[must_use]
    pub fn from_bytes(payload: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(payload);
        let receipt = decoder.decode().ok()?;
        (decoder.position() == payload.len()).then_some(receipt)
    }

    /// What is signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }

    /// Whether it is about this body.
    #[must_use]
    pub fn is_of(&self, body: &[u8]) -> bool {
        self.digest == sha256(body)
    }
}

/// A receipt with its signature, and the member who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// The statement, as it came.
    pub bytes: Vec<u8>,
    /// What it says.
    pub receipt: Receipt,
    /// Who signed it.
    pub member: Verified<Member>,
}

impl SignedReceipt {
    /// Verifies a receipt: its chain as of the time it names, its signature, that it is about its
    /// signer, and that the signer is not barred now.
    ///
    /// # Errors
    /// [`Refusal`]: what the verifier says of the chain, or `malformed`.
    pub fn verify(
        bytes: &[u8],
        network: &NetworkName,
        verifier: &Verifier,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::Malformed, format!("receipt: {text}"));
        let statement = Unverified::parse(Topic::Receipt, bytes);
        let statement = statement.map_err(|error| malformed(error.to_string()))?;
        let said = Receipt::from_bytes(statement.unverified_payload());
        let said = said.ok_or_else(|| malformed("unreadable".to_owned()))?;
        if said.at > now.plus_s(AHEAD_S) {
            return Err(malformed(format!("signed at {}, ahead of us", said.at)));
        }
        let usages = [Usage::Client, Usage::Server];
        let admit = |usage| verifier.admit(statement.chain(), usage, Some(&said.to), said.at);
        let [client, server] = usages.map(admit);
        let member = client.or(server)?;
        statement
            .verify(network, &member.cert.public)
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self { bytes: bytes.to_vec(), receipt: said, member })
    }
}
