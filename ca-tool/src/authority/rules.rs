//! The policy as the authority keeps it: numbered, signed, one of them current.
//!
//! The signed policy stands in the store under `policy`; a store without one is older, or nobody
//! has pushed yet, and then the built-in policy holds. So the store's format is the same.
//!
//! **Invariant:** numbers only go up, and what is published or put into a bundle is on the disk.

use shared::id::{hex, sha256};
use shared::policy::{Policy, SignedPolicy};
use shared::time::Timestamp;

use super::{Authority, Registry};
use crate::error::CaError;
use crate::store::{META, Reads, meta};

impl Registry {
    /// The policy that was pushed last; none: the built-in one holds.
    ///
    /// # Errors
    /// [`CaError::Damaged`] or what the disk says.
    pub fn policy(&self) -> Result<Option<SignedPolicy>, CaError> {
        self.held_policy(&self.store().read()?)
    }

    fn held_policy(&self, reads: &impl Reads) -> Result<Option<SignedPolicy>, CaError> {
        let Some(bytes) = reads.get(META, meta::POLICY)? else { return Ok(None) };
        // As it was then: a policy outlives the issuing certificate that signed it.
        let at = i64::try_from(reads.number(meta::POLICY_AT)?).unwrap_or(i64::MAX);
        let held = SignedPolicy::verify(&bytes, self.anchors(), Timestamp::from_ms(at));
        held.map(Some).map_err(|error| CaError::Damaged(error.to_string()))
    }
}

impl Authority {
    /// Makes a policy the network's: numbers, signs and records it in one transaction.
    ///
    /// # Errors
    /// [`CaError::PolicySame`] if it says what holds already; nothing has changed then.
    pub fn push_policy(&self, draft: &Policy) -> Result<SignedPolicy, CaError> {
        let now = self.now();
        let ends = self.signer().cert().not_after;
        if now >= ends {
            return Err(CaError::IssuerExpired { at: ends });
        }
        self.store().write(|txn| {
            self.check_clock(txn, now)?;
            let held = self.held_policy(txn)?.map(|signed| signed.policy);
            let held = held.unwrap_or_else(Policy::built_in);
            if (&held.rules, &held.quotas) == (&draft.rules, &draft.quotas) {
                return Err(CaError::PolicySame { number: held.number });
            }
            // Times do not run backwards, also when the clock does a little.
            let at = now.max(held.at);
            let policy = Policy { number: held.number + 1, at, ..draft.clone() };
            let bytes = policy.sign(self.network(), self.signer())?;
            let signed = SignedPolicy::verify(&bytes, self.anchors(), at)?;
            txn.put(META, meta::POLICY, &bytes)?;
            txn.put_number(meta::POLICY_AT, u64::try_from(at.ms()).unwrap_or(0))?;
            let (rules, quotas) = (draft.rules.len(), draft.quotas.len());
            let hash = hex(&sha256(&bytes));
            let detail = format!(
                "number {}, rules {rules}, quotas {quotas}, SHA-256 {hash}",
                signed.policy.number
            );
            txn.log(now, "policy", "policy", detail)?;
            Ok(signed)
        })
    }
}
