//! A policy as it travels: numbered, signed by the authority, at most one frame long.

use minicbor::{Decode, Encode};

use super::filter::Filter;
use super::lint::{Contradiction, lint};
use super::rule::{Effect, Grant, Quota, Rule, Selector};
use crate::cert::CaSigner;
use crate::key::KeyError;
use crate::limits::{
    AHEAD_S, POLICY_BYTES_MAX, POLICY_GRANTS_MAX, POLICY_NAMES_MAX, POLICY_QUOTAS_MAX,
    POLICY_RULES_MAX,
};
use crate::name::{Label, NetworkName};
use crate::refusal::Refusal;
use crate::statement::{self, StatementError, Topic, Unverified, cbor};
use crate::time::Timestamp;
use crate::verify::Anchors;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Policy {
    /// Its number: it only goes up. 0 is the built-in one.
    #[n(0)]
    pub number: u64,
    /// When it was signed.
    #[n(1)]
    pub at: Timestamp,
    /// The rules, in the order in which they are looked at.
    #[n(2)]
    pub rules: Vec<Rule>,
    /// The quotas, likewise.
    #[n(3)]
    pub quotas: Vec<Quota>,
}

/// Why a policy is refused. Whose fault: whoever wrote or sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its statement.
    #[error("policy: {0}")]
    Statement(#[from] StatementError),
    /// Its signer.
    #[error("the policy's signer: {0}")]
    Signer(Refusal),
    /// It cannot be read.
    #[error("the policy is unreadable")]
    Malformed,
    /// More of something than there may be.
    #[error("the policy has too many {what}: at most {bound}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        bound: usize,
    },
    /// It says something in vain.
    #[error("{0}")]
    Contradiction(#[from] Contradiction),
    /// Signed later than now.
    #[error("the policy was signed at {at}, ahead of us")]
    FromTheFuture {
        /// When.
        at: Timestamp,
    },
}

impl Policy {
    /// What holds until the authority says something else: members may talk.
    #[must_use]
    pub fn built_in() -> Self {
        // `#` matches nothing that begins with `$`: what a peer says of itself is named apart.
        let filters = |texts: &[&str]| {
            texts.iter().filter_map(|text| Filter::parse(text).ok()).collect::<Vec<_>>()
        };
        let grants = vec![
            Grant::Connect,
            Grant::Send,
            Grant::Share,
            Grant::Get,
            Grant::Publish(filters(&["#"])),
            Grant::Subscribe(filters(&["#", "$SYS/#", "$mesh/#"])),
        ];
        let rules = Label::parse("members-may-talk").into_iter().map(|name| Rule {
            name,
            effect: Effect::Allow,
            grants: grants.clone(),
            from: Selector::everybody(),
            to: Selector::everybody(),
        });
        Self { number: 0, at: Timestamp::default(), rules: rules.collect(), quotas: Vec::new() }
    }

    /// Whether it is within its bounds and free of contradictions.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn check(&self) -> Result<(), PolicyError> {
        let many = |what, count: usize, bound| {
            if count > bound { Err(PolicyError::TooMany { what, bound }) } else { Ok(()) }
        };
        many("rules", self.rules.len(), POLICY_RULES_MAX)?;
        many("quotas", self.quotas.len(), POLICY_QUOTAS_MAX)?;
        for rule in &self.rules {
            let filters = rule.grants.iter().map(|grant| match grant {
                Grant::Publish(filters) | Grant::Subscribe(filters) => filters.len(),
                _ => 1,
            });
            many("grants in one rule", filters.sum(), POLICY_GRANTS_MAX)?;
            many("names in one rule", rule.from.len() + rule.to.len(), POLICY_NAMES_MAX)?;
        }
        for quota in &self.quotas {
            many("names in one quota", quota.from.len(), POLICY_NAMES_MAX)?;
        }
        many("bytes", self.to_bytes().len(), POLICY_BYTES_MAX)?;
        Ok(lint(self)?)
    }

    /// Its encoding, which is what is signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }

    /// Reads the encoding; what it says is not [checked](Self::check) yet.
    ///
    /// # Errors
    /// [`PolicyError::Malformed`].
    pub fn from_bytes(payload: &[u8]) -> Result<Self, PolicyError> {
        let mut decoder = minicbor::Decoder::new(payload);
        let policy = decoder.decode().map_err(|_| PolicyError::Malformed)?;
        let whole = decoder.position() == payload.len();
        if whole { Ok(policy) } else { Err(PolicyError::Malformed) }
    }

    /// Signs it with the authority's issuing key.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(&self, network: &NetworkName, signer: &CaSigner) -> Result<Vec<u8>, KeyError> {
        let payload = self.to_bytes();
        let chain = [signer.cert().der.as_slice()];
        statement::sign(Topic::Policy, network, signer.key(), &chain, &payload)
    }
}

/// A policy with its signature, as it is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    /// The statement, as it came.
    pub bytes: Vec<u8>,
    /// What it says.
    pub policy: Policy,
}

impl SignedPolicy {
    /// Verifies a policy: its signer is an issuing certificate under a trusted root, it is about
    /// this network, within its bounds and free of contradictions.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn verify(bytes: &[u8], anchors: &Anchors, now: Timestamp) -> Result<Self, PolicyError> {
        let statement = Unverified::parse(Topic::Policy, bytes)?;
        let [issuing] = statement.chain() else { return Err(PolicyError::Malformed) };
        let issuer = anchors.verify_issuing(issuing, now).map_err(PolicyError::Signer)?;
        let payload = statement.verify(anchors.network(), &issuer.public)?;
        let policy = Policy::from_bytes(payload)?;
        if policy.number == 0 {
            return Err(PolicyError::Malformed);
        }
        if policy.at > now.plus_s(AHEAD_S) {
            return Err(PolicyError::FromTheFuture { at: policy.at });
        }
        policy.check()?;
        Ok(Self { bytes: bytes.to_vec(), policy })
    }

    /// Reads only the number, believing nothing: to tell whether verifying is worth the work.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<u64> {
        let statement = Unverified::parse(Topic::Policy, bytes).ok()?;
        let mut decoder = minicbor::Decoder::new(statement.unverified_payload());
        decoder.array().ok()?;
        decoder.u64().ok()
    }
}
