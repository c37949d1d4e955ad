//! Questions that change something: certificates, standings, policy, and news to the peers.

use host::fault::Fault;
use serde::{Deserialize, Serialize};
use shared::cert::request;
use shared::feed::Reason;
use shared::id::Serial;
use shared::join::Grant;
use shared::name::NodeName;
use shared::policy::Policy;
use shared::time::Timestamp;

use super::line::Octets;
use super::{Ground, Question};
use crate::authority::{Enrolment, Holder, Issued, Outcome};
use crate::error::CaError;
use crate::publish::{Publish, Report};

/// Make a node of the key in a request.
#[derive(Serialize, Deserialize)]
pub struct Enroll {
    /// What it is to be.
    pub wish: Enrolment,
    /// A PKCS#10 request, DER; only its key is taken.
    pub csr: Octets,
}

/// Certify a node again.
#[derive(Serialize, Deserialize)]
pub struct Renew {
    /// Which.
    pub node: NodeName,
    /// A PKCS#10 request, DER; the last key if there is none.
    pub csr: Option<Octets>,
}

/// A certificate and all that a node needs with it.
#[derive(Serialize, Deserialize)]
pub struct Certified {
    /// Its serial.
    pub serial: String,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// A [`Grant`], encoded.
    grant: Octets,
}

impl Certified {
    fn of(ground: Ground<'_>, issued: &Issued) -> Result<Self, CaError> {
        let Issued { serial, not_before, not_after, .. } = issued;
        let grant = Octets(ground.registry.grant(issued, ground.around)?.to_bytes());
        let (not_before, not_after) = (*not_before, *not_after);
        Ok(Self { serial: serial.to_string(), not_before, not_after, grant })
    }

    /// What the node needs.
    ///
    /// # Errors
    /// Never of an authority of this version.
    pub fn grant(&self) -> Result<Grant, Fault> {
        let strange = || Fault::failed("the authority's grant cannot be read");
        Grant::from_bytes(&self.grant.0).ok_or_else(strange)
    }
}

impl Question for Enroll {
    type Answer = Certified;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<Certified, Fault> {
        let key = request::read(&self.csr.0).map_err(CaError::from)?;
        let issued = ground.authority()?.enroll(&self.wish, Holder::Proven(&key))?;
        Ok(Certified::of(ground, &issued)?)
    }
}

impl Question for Renew {
    type Answer = Certified;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<Certified, Fault> {
        let key = self.csr.map(|csr| request::read(&csr.0)).transpose().map_err(CaError::from)?;
        let issued = ground.authority()?.renew(&self.node, key.as_ref().map(Holder::Proven))?;
        Ok(Certified::of(ground, &issued)?)
    }
}

/// How a node is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Out, for good.
    Revoked(Reason),
    /// On hold.
    Suspended,
    /// In again.
    Resumed,
}

/// Revoke, suspend or resume a node.
#[derive(Serialize, Deserialize)]
pub struct Stand {
    /// Which.
    pub node: NodeName,
    /// How it is to stand.
    pub standing: Standing,
}

/// What it came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stood {
    /// Whether it was so already.
    pub already: bool,
    /// The feed's number.
    pub number: u64,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl Question for Stand {
    type Answer = Stood;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<Stood, Fault> {
        let authority = ground.authority()?;
        let acted = match self.standing {
            Standing::Revoked(reason) => authority.revoke(&self.node, reason)?,
            Standing::Suspended => authority.suspend(&self.node)?,
            Standing::Resumed => authority.resume(&self.node)?,
        };
        let already = acted.outcome == Outcome::Already;
        if already {
            // Signed again, so that peers that have it acknowledge it again.
            authority.refresh_feed()?;
        }
        Ok(Stood { already, number: acted.number, at: acted.at, reason: acted.reason })
    }
}

/// Sign the feed and the CRL again.
#[derive(Serialize, Deserialize)]
pub struct Refresh;

impl Question for Refresh {
    type Answer = u64;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<u64, Fault> {
        Ok(ground.authority()?.refresh_feed()?)
    }
}

/// Bring feed and policy to the peers.
#[derive(Serialize, Deserialize)]
pub struct Spread(pub Publish);

impl Question for Spread {
    type Answer = Report;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<Report, Fault> {
        Ok((ground.publisher)(ground.authority()?, &self.0)?)
    }
}

/// Make a policy the network's.
#[derive(Serialize, Deserialize)]
pub struct PolicyPush {
    policy: Octets,
}

/// A policy that was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyPushed {
    /// Its number.
    pub number: u64,
    /// When it was signed.
    pub at: Timestamp,
}

impl PolicyPush {
    /// For a policy that was read and checked.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self { policy: Octets(policy.to_bytes()) }
    }
}

impl Question for PolicyPush {
    type Answer = PolicyPushed;
    const NEEDS_KEY: bool = true;

    fn answer(self, ground: Ground<'_>) -> Result<PolicyPushed, Fault> {
        let policy = Policy::from_bytes(&self.policy.0).map_err(CaError::from)?;
        policy.check().map_err(CaError::from)?;
        let pushed = ground.authority()?.push_policy(&policy)?.policy;
        Ok(PolicyPushed { number: pushed.number, at: pushed.at })
    }
}

/// A serial as people type it.
pub(super) fn serial(text: &str) -> Option<Serial> {
    Serial::parse(text)
}
