//! Acts on the feed: revoke, suspend, resume, and signing it again.
//!
//! One transaction holds the node's new standing, the entry, the newly signed head, the CRL and the
//! log record. Only then are the files beside the store rewritten, and only then may the feed be
//! published.
//!
//! **Invariant:** a revocation names every certificate and key of the node that has not expired,
//! newest first, and those that an interrupted run may have issued.

use shared::feed::{Act, CertRef, Entry, Reason};
use shared::limits::{ENTRY_CERTS_MAX, NODE_LIFE_DAYS_MAX};
use shared::name::NodeName;
use shared::time::Timestamp;

use super::Authority;
use super::ledger::{Signing, store_crl};
use crate::error::CaError;
use crate::store::{Bar, NodeRecord, Reads, Standing, Terms, Txn};

/// Whether an act changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Done,
    /// It was so already.
    Already,
}

/// What an act came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// Whom it is about.
    pub node: NodeName,
    /// Whether it changed anything.
    pub outcome: Outcome,
    /// The feed's number now.
    pub number: u64,
    /// Since when the node stands so.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl Authority {
    /// Revokes a node for good. Revoking twice changes nothing.
    ///
    /// # Errors
    /// [`CaError`]; nothing has changed then.
    pub fn revoke(&self, node: &NodeName, reason: Reason) -> Result<Acted, CaError> {
        self.act(node, Act::Revoke, reason)
    }

    /// Puts a node on hold (certificateHold). A revoked one is refused.
    ///
    /// # Errors
    /// As [`Authority::revoke`].
    pub fn suspend(&self, node: &NodeName) -> Result<Acted, CaError> {
        self.act(node, Act::Suspend, Reason::CertificateHold)
    }

    /// Lifts the hold.
    ///
    /// # Errors
    /// As [`Authority::revoke`], and [`CaError::NotSuspended`].
    pub fn resume(&self, node: &NodeName) -> Result<Acted, CaError> {
        self.act(node, Act::Resume, Reason::CertificateHold)
    }

    /// Signs the feed's head and the CRL again, before they go stale.
    ///
    /// # Errors
    /// As [`Authority::revoke`].
    pub fn refresh_feed(&self) -> Result<u64, CaError> {
        let mut ledger = self.ledger()?;
        let now = self.now();
        let signing = self.signing();
        let change = self.store().write(|txn| {
            self.check_clock(txn, now)?;
            let change = ledger.refreshed(&signing, now)?;
            change.store(txn)?;
            store_crl(txn, &signing, now)?;
            txn.log(now, "sign", "feed", format!("number {}", ledger.feed.position().number))?;
            Ok(change)
        })?;
        ledger.take(change);
        let number = ledger.feed.position().number;
        drop(ledger);
        self.write_projections()?;
        Ok(number)
    }

    /// Whether less than a third is left of the time for which the feed was signed.
    ///
    /// # Errors
    /// [`CaError::Unusable`].
    pub fn feed_is_due(&self) -> Result<bool, CaError> {
        let left_ms = self.feed_next_update()?.ms_since(self.now());
        Ok(left_ms < self.feed_life_s().saturating_mul(1000) / 3)
    }

    /// Writes down that requests were refused at the door.
    ///
    /// # Errors
    /// What the disk says.
    pub fn note_refusals(&self, count: u64, last: &str) -> Result<(), CaError> {
        let now = self.now();
        let detail = format!("{count}, the last: {last}");
        self.store().write(|txn| txn.log(now, "refused", "door", detail))
    }

    pub(super) fn signing(&self) -> Signing<'_> {
        Signing {
            signer: self.signer(),
            network: self.network(),
            anchors: self.anchors(),
            life_s: self.feed_life_s(),
        }
    }

    fn act(&self, node: &NodeName, act: Act, reason: Reason) -> Result<Acted, CaError> {
        if node.as_str() == NodeName::AUTHORITY {
            return Err(CaError::ReservedName { node: node.clone() });
        }
        let mut ledger = self.ledger()?;
        let now = self.now();
        let position = ledger.feed.position();
        // The chain's times do not run backwards, also when the clock does a little.
        let at = now.max(position.at);
        let done = self.store().write(|txn| {
            self.check_clock(txn, now)?;
            let mut record = record_of(txn, node, act)?;
            if let Some((at, reason)) = check(&record, act)? {
                return Ok(Err((at, reason)));
            }
            let entry = entry(txn, node, act, reason, position.number + 1, at)?;
            let change = ledger.with_entry(&entry, &self.signing(), now)?;
            record.standing = match act {
                Act::Revoke => Standing::Revoked(at, reason),
                Act::Suspend => Standing::Suspended(at),
                Act::Resume => Standing::Active,
            };
            if act == Act::Revoke {
                record.revoked_at = Some(at);
            }
            txn.put_node(&record)?;
            bar(txn, node, act, reason, at, now)?;
            change.store(txn)?;
            store_crl(txn, &self.signing(), now)?;
            let detail = format!("feed number {}, {}", entry.number, reason.as_str());
            txn.log(now, verb(act), node.as_str(), detail)?;
            Ok(Ok(change))
        })?;
        let (outcome, at, reason) = match done {
            Ok(change) => {
                ledger.take(change);
                (Outcome::Done, at, reason)
            }
            Err((at, reason)) => (Outcome::Already, at, reason),
        };
        let number = ledger.feed.position().number;
        drop(ledger);
        if outcome == Outcome::Done {
            self.write_projections()?;
        }
        Ok(Acted { node: node.clone(), outcome, number, at, reason })
    }
}

/// The node's record; for a revocation also that of a node whose only certificate was being signed
/// when the program died.
fn record_of(txn: &Txn, node: &NodeName, act: Act) -> Result<NodeRecord, CaError> {
    if let Some(record) = txn.node(node)? {
        return Ok(record);
    }
    let unknown = || CaError::NotEnrolled { node: node.clone() };
    let intent = txn.intents()?.into_iter().find(|intent| intent.node == *node);
    let intent = intent.filter(|_| act == Act::Revoke).ok_or_else(unknown)?;
    Ok(NodeRecord {
        node: node.clone(),
        standing: Standing::Active,
        terms: Terms::unknown()?,
        newest: intent.serial,
        enrolled_at: intent.at,
        revoked_at: None,
        spans: Some(Vec::new()),
    })
}

const fn verb(act: Act) -> &'static str {
    match act {
        Act::Revoke => "revoke",
        Act::Suspend => "suspend",
        Act::Resume => "resume",
    }
}

/// `Some` if the node stands so already, an error if the act makes no sense.
fn check(record: &NodeRecord, act: Act) -> Result<Option<(Timestamp, Reason)>, CaError> {
    let node = || record.node.clone();
    match (act, record.standing) {
        (Act::Revoke, Standing::Revoked(at, reason)) => Ok(Some((at, reason))),
        (Act::Suspend, Standing::Suspended(since)) => Ok(Some((since, Reason::CertificateHold))),
        (Act::Suspend | Act::Resume, Standing::Revoked(at, _)) => {
            Err(CaError::Revoked { node: node(), at })
        }
        (Act::Resume, Standing::Active) => Err(CaError::NotSuspended { node: node() }),
        _ => Ok(None),
    }
}

fn entry(
    txn: &Txn,
    node: &NodeName,
    act: Act,
    reason: Reason,
    number: u64,
    at: Timestamp,
) -> Result<Entry, CaError> {
    let mut certs = unexpired(txn, node, at)?;
    // No certificate of the name can outlive this, not even one that nobody recorded.
    let longest = at.plus_s(NODE_LIFE_DAYS_MAX * 86_400);
    let expires = certs.iter().map(|cert| cert.not_after).fold(longest, Timestamp::max);
    certs.truncate(ENTRY_CERTS_MAX);
    Ok(Entry { number, at, act, node: node.clone(), certs, reason, expires })
}

/// The node's certificates that live, and those that may, newest first.
fn unexpired(txn: &Txn, node: &NodeName, now: Timestamp) -> Result<Vec<CertRef>, CaError> {
    let mut dated = Vec::new();
    for cert in txn.certs_of(node)? {
        let (issuer, serial, spki) = (cert.issuer, cert.serial, cert.spki);
        dated.push((cert.issued_at, CertRef { issuer, serial, spki, not_after: cert.not_after }));
    }
    for intent in txn.intents()?.into_iter().filter(|intent| intent.node == *node) {
        let (issuer, serial, spki) = (intent.issuer, intent.serial, intent.spki);
        dated.push((intent.at, CertRef { issuer, serial, spki, not_after: intent.not_after }));
    }
    dated.retain(|(_, cert)| cert.not_after > now);
    dated.sort_by_key(|(issued_at, _)| std::cmp::Reverse(*issued_at));
    Ok(dated.into_iter().map(|(_, cert)| cert).collect())
}

/// What the CRL lists: all of the node's certificates, however many.
fn bar(
    txn: &Txn,
    node: &NodeName,
    act: Act,
    reason: Reason,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), CaError> {
    for cert in unexpired(txn, node, now)? {
        let (serial, not_after) = (cert.serial, cert.not_after);
        let before = txn.bar(&serial)?.map(|bar| bar.reason);
        let held = before == Some(Reason::CertificateHold);
        if act == Act::Resume {
            // A certificate of an earlier enrolment stays revoked; only the hold is lifted.
            if held {
                txn.remove_bar(&serial)?;
            }
        } else if before.is_none() || (held && act == Act::Revoke) {
            txn.put_bar(&Bar { node: node.clone(), serial, at, reason, not_after })?;
        }
    }
    Ok(())
}
