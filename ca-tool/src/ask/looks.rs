//! Questions that only look: nodes, certificates, policy, log, what is wrong.
//!
//! Nodes and log records come in pages: a hundred thousand of either are more than one line.

use host::fault::Fault;
use serde::{Deserialize, Serialize};
use shared::name::{NetworkName, NodeName};
use shared::policy::Policy;

use super::line::Octets;
use super::{Ground, Question};
use crate::authority::{CertView, NodeView};
use crate::doctor::{self, Finding};
use crate::error::CaError;
use crate::store::{CertRecord, LogRecord};

/// Nodes or records in one answer: at most 300 bytes each.
pub const PAGE: usize = 10_000;

/// The network and its root.
#[derive(Serialize, Deserialize)]
pub struct Facts;

/// What network it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Who {
    /// The network.
    pub network: NetworkName,
    /// The algorithm of new keys.
    pub algorithm: shared::key::Algorithm,
}

impl Question for Facts {
    type Answer = Who;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Who, Fault> {
        let algorithm = ground.registry.settings()?.algorithm;
        Ok(Who { network: ground.registry.network().clone(), algorithm })
    }
}

/// Nodes by name, at most [`PAGE`].
#[derive(Serialize, Deserialize)]
pub struct Nodes {
    /// Those that come after this one.
    pub after: Option<NodeName>,
}

impl Question for Nodes {
    type Answer = Vec<NodeView>;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Vec<NodeView>, Fault> {
        Ok(ground.registry.nodes_after(self.after.as_ref(), PAGE)?)
    }
}

/// One node and its certificates, newest first.
#[derive(Serialize, Deserialize)]
pub struct NodeOf(pub NodeName);

impl Question for NodeOf {
    type Answer = (NodeView, Vec<CertView>);
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Self::Answer, Fault> {
        Ok(ground.registry.node(&self.0)?)
    }
}

/// The certificate of a serial, as the store has it.
#[derive(Serialize, Deserialize)]
pub struct CertificateOf(pub String);

/// A certificate on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// Whose.
    pub node: NodeName,
    /// When it was signed.
    pub issued_at: shared::time::Timestamp,
    /// DER.
    pub der: Octets,
}

impl Question for CertificateOf {
    type Answer = Option<Recorded>;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Option<Recorded>, Fault> {
        let Some(serial) = super::acts::serial(&self.0) else { return Ok(None) };
        let known = ground.registry.certificate(&serial)?;
        Ok(known.map(|CertRecord { node, issued_at, der, .. }| Recorded {
            node,
            issued_at,
            der: Octets(der),
        }))
    }
}

/// The policy that holds.
#[derive(Serialize, Deserialize)]
pub struct PolicyNow;

impl PolicyNow {
    /// Reads the answer.
    ///
    /// # Errors
    /// Never of an authority of this version.
    pub fn read(answer: &Octets) -> Result<Policy, Fault> {
        Ok(Policy::from_bytes(&answer.0).map_err(CaError::from)?)
    }
}

impl Question for PolicyNow {
    type Answer = Octets;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Octets, Fault> {
        let held = ground.registry.policy()?.map(|signed| signed.policy);
        Ok(Octets(held.unwrap_or_else(Policy::built_in).to_bytes()))
    }
}

/// Records of the log, oldest first, at most [`PAGE`].
#[derive(Serialize, Deserialize)]
pub struct Log {
    /// Those that come after this number.
    pub after: u64,
}

impl Question for Log {
    type Answer = Vec<LogRecord>;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Vec<LogRecord>, Fault> {
        Ok(ground.registry.store().log_after(self.after, PAGE)?)
    }
}

/// Whether the log is whole: how many records it has.
#[derive(Serialize, Deserialize)]
pub struct LogCheck;

impl Question for LogCheck {
    type Answer = u64;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<u64, Fault> {
        ground.registry.store().verify_log()?.map_err(|fault| {
            let what = format!("the log is broken at record {}: {}", fault.seq, fault.what);
            Fault::refused(what).hint("compare the state folder with its backup")
        })
    }
}

/// What is wrong or will be.
#[derive(Serialize, Deserialize)]
pub struct Diagnose;

impl Question for Diagnose {
    type Answer = Vec<Finding>;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<Vec<Finding>, Fault> {
        Ok(doctor::examine(ground.registry)?)
    }
}

/// That the feed and the CRL stand in their files as the store has them. They may have a hundred
/// megabytes: the one who asks reads the files.
#[derive(Serialize, Deserialize)]
pub struct Projections;

impl Question for Projections {
    type Answer = u64;
    const NEEDS_KEY: bool = false;

    fn answer(self, ground: Ground<'_>) -> Result<u64, Fault> {
        ground.registry.mend_projections()?;
        Ok(ground.registry.feed_position()?.number)
    }
}
