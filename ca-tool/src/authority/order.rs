//! One certificate, from request to record: admitted and its intent durable, then signed, then
//! recorded, then handed out.
//!
//! The store is asked twice: when the intent is written and again when the result is. A node that
//! was revoked in between gets nothing, and the revocation names the intent.
//!
//! **Invariant:** an intent is on the disk before its signature exists, a certificate before
//! anybody gets it.

use std::collections::BTreeSet;

use shared::cert::{Attributes, Draft, Kind, NodeCert, Subject};
use shared::id::Serial;
use shared::join::InvitationId;
use shared::key::PublicKey;
use shared::name::{MemberKind, NodeName};
use shared::time::Timestamp;

use super::Authority;
use super::invite::{self, Claiming};
use super::queue::{Job, Slot};
use crate::Issued;
use crate::error::CaError;
use crate::profiles;
use crate::store::{CertRecord, Intent, NodeRecord, Reads, Standing, Terms, Txn};

/// Draws before giving up on a fresh serial; the second draw already needs a broken generator.
const SERIAL_DRAWS_MAX: usize = 8;

/// What is asked for.
pub(crate) struct Order {
    pub(crate) node: NodeName,
    pub(crate) purpose: Purpose,
    /// The key; the node's last one if there is none.
    pub(crate) public: Option<PublicKey>,
}

/// Why.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// A new node, or one that starts again.
    Enroll(Terms),
    /// The same node, a new certificate.
    Renew,
    /// The authority's own certificate for connecting to peers.
    Identity(Terms),
    /// A new node that holds an invitation's secret.
    Join(Claiming),
}

/// A request whose intent is being made durable.
struct Admitted {
    slot: Slot,
    draft: Draft,
    record: NodeRecord,
    act: &'static str,
    /// The invitation that is used up by it.
    invitation: Option<InvitationId>,
}

/// A signature that nobody has seen yet.
pub(crate) struct Signed {
    slot: Slot,
    record: NodeRecord,
    outcome: Result<CertRecord, CaError>,
    serial: Serial,
    act: &'static str,
    invitation: Option<InvitationId>,
}

/// A request that is answered.
pub(crate) struct Done {
    pub(crate) node: NodeName,
    pub(crate) slot: Slot,
    pub(crate) answer: Result<Issued, CaError>,
}

impl Purpose {
    const fn act(&self) -> &'static str {
        match self {
            Self::Enroll(_) => "enroll",
            Self::Renew => "renew",
            Self::Identity(_) => "identity",
            Self::Join(_) => "join",
        }
    }
}

impl Authority {
    /// One step of the queue; see [`super::queue`].
    pub(super) fn step(&self, signed: Vec<Signed>, fresh: Vec<Job>) -> (Vec<Done>, Vec<Signed>) {
        let waiting: Vec<(NodeName, Slot)> = signed
            .iter()
            .map(|s| (s.record.node.clone(), s.slot.clone()))
            .chain(fresh.iter().map(|job| (job.order.node.clone(), job.slot.clone())))
            .collect();
        let now = self.now();
        let mut done = Vec::new();
        let committed = self.store().write(|txn| {
            self.check_clock(txn, now)?;
            for one in signed {
                let (node, slot) = (one.record.node.clone(), one.slot.clone());
                let answer = policy_or_store(self.conclude(txn, one, now))?;
                done.push(Done { node, slot, answer });
            }
            let mut admitted = Vec::new();
            for Job { order, slot } in fresh {
                let node = order.node.clone();
                match policy_or_store(self.admit(txn, order, slot.clone(), now))? {
                    Ok(one) => admitted.push(one),
                    Err(error) => done.push(Done { node, slot, answer: Err(error) }),
                }
            }
            Ok(admitted)
        });
        match committed {
            Ok(admitted) if !self.dies_here() => {
                (done, admitted.into_iter().map(|one| self.sign(one, now)).collect())
            }
            Ok(_) => (failed(waiting, &CaError::Unusable), Vec::new()),
            Err(error) => (failed(waiting, &error), Vec::new()),
        }
    }

    fn admit(
        &self,
        txn: &Txn,
        order: Order,
        slot: Slot,
        now: Timestamp,
    ) -> Result<Admitted, CaError> {
        let act = order.purpose.act();
        let known = txn.node(&order.node)?;
        let was = known.as_ref().map_or(Ok(None), |known| kind_of(txn, known))?;
        let mut invitation = None;
        let mut record = match order.purpose {
            Purpose::Join(claiming) => {
                let claimed = claiming.admit(txn, now)?;
                check_free(txn, &order.node, known.as_ref(), now)?;
                let terms = claimed.terms.clone();
                invitation = Some(claimed);
                fresh_record(order.node, terms, known.as_ref(), now)
            }
            Purpose::Enroll(terms) | Purpose::Identity(terms) => {
                let reserved = order.node.as_str() == NodeName::AUTHORITY;
                if !reserved {
                    check_free(txn, &order.node, known.as_ref(), now)?;
                }
                fresh_record(order.node, terms, known.as_ref(), now)
            }
            Purpose::Renew => known.ok_or(CaError::NotEnrolled { node: order.node })?,
        };
        check_active(&record)?;
        let public = match order.public {
            Some(public) => public,
            None => last_key(txn, &record)?,
        };
        check_key(txn, &record, &public)?;
        if let Some(claimed) = &invitation {
            txn.put_invitation(claimed)?;
        }
        let draft = self.draft(txn, &record, public, now)?;
        check_kind(&record.node, was, draft.profile.kind)?;
        record.newest = draft.serial;
        txn.put_intent(&Intent {
            node: record.node.clone(),
            serial: draft.serial,
            issuer: self.signer().cert().key_id,
            spki: draft.public.spki_hash(),
            not_after: draft.not_after,
            at: now,
            leftover: false,
        })?;
        let invitation = invitation.map(|claimed| claimed.id);
        Ok(Admitted { slot, draft, record, act, invitation })
    }

    fn draft(
        &self,
        txn: &Txn,
        record: &NodeRecord,
        public: PublicKey,
        now: Timestamp,
    ) -> Result<Draft, CaError> {
        let issuer = self.signer().cert();
        let terms = &record.terms;
        let profile = profiles::for_member(self.layout(), &terms.profile)?;
        let not_after = now.plus_s(terms.life_s).min(issuer.not_after);
        let backdate_s = profile.backdate_of(not_after.ms_since(now) / 1000);
        let mut not_before = now.plus_s(-backdate_s).max(issuer.not_before);
        // The set bars every certificate of the name that began by the second of its revocation.
        if let Some(at) = record.revoked_at {
            not_before = not_before.max(Timestamp::from_s(at.s() + 1));
        }
        Ok(Draft {
            network: self.network().clone(),
            subject: Subject::Node {
                name: record.node.clone(),
                attributes: Attributes {
                    groups: terms.groups.iter().cloned().collect::<BTreeSet<_>>(),
                    roles: terms.roles.iter().cloned().collect(),
                },
                dns: terms.dns.clone(),
                ips: terms.ips.clone(),
            },
            public,
            serial: fresh_serial(txn)?,
            not_before,
            not_after,
            profile,
        })
    }

    fn sign(&self, admitted: Admitted, now: Timestamp) -> Signed {
        let Admitted { slot, draft, record, act, invitation } = admitted;
        let serial = draft.serial;
        let outcome = self.signer().sign(&draft).map_err(CaError::from).map(|der| CertRecord {
            node: record.node.clone(),
            serial,
            issuer: self.signer().cert().key_id,
            spki: draft.public.spki_hash(),
            // As the certificate says it: whole seconds.
            not_before: Timestamp::from_s(draft.not_before.s()),
            not_after: Timestamp::from_s(draft.not_after.s()),
            issued_at: now,
            der,
        });
        Signed { slot, record, outcome, serial, act, invitation }
    }

    fn conclude(&self, txn: &Txn, signed: Signed, now: Timestamp) -> Result<Issued, CaError> {
        let Signed { mut record, outcome, serial, act, invitation, .. } = signed;
        let cert = match outcome {
            Ok(cert) => cert,
            Err(error) => {
                txn.remove_intent(&serial)?;
                return Err(error);
            }
        };
        let current = txn.node(&record.node)?;
        if let Some(current) = &current {
            let since = current.revoked_at > record.revoked_at;
            check_active(current).or_else(|error| {
                // A new enrolment of a node that was out before stands; a fresh bar does not.
                let was_out = matches!(current.standing, Standing::Revoked(..));
                if was_out && !since { Ok(()) } else { Err(error) }
            })?;
        }
        let mut detail = format!("serial {serial}, until {}", cert.not_after);
        if let Some(id) = invitation {
            // Nobody has seen the signature: without the invitation there is no certificate.
            let from = invite::use_up(txn, &id, serial).inspect_err(|_| {
                let _ = txn.remove_intent(&serial);
            })?;
            detail.push_str(&from);
        }
        let before = match current {
            Some(mut current) => txn.spans_of(&mut current)?,
            None => Vec::new(),
        };
        record.certified(before, cert.span(), now);
        txn.put_cert(&cert)?;
        txn.put_node(&record)?;
        txn.remove_intent(&serial)?;
        txn.log(now, act, record.node.as_str(), detail)?;
        Ok(Issued {
            node: record.node,
            serial,
            not_before: cert.not_before,
            not_after: cert.not_after,
            chain: vec![cert.der, self.signer().cert().der.clone()],
        })
    }
}

/// A store that fails ends the step for everybody; anything else is one request's own answer.
fn policy_or_store<T>(outcome: Result<T, CaError>) -> Result<Result<T, CaError>, CaError> {
    match outcome {
        Err(error @ (CaError::Store(_) | CaError::Damaged(_) | CaError::Format { .. })) => {
            Err(error)
        }
        other => Ok(other),
    }
}

fn failed(waiting: Vec<(NodeName, Slot)>, error: &CaError) -> Vec<Done> {
    let copy = || match error {
        CaError::ClockBehind { now, newest } => CaError::ClockBehind { now: *now, newest: *newest },
        CaError::Unusable => CaError::Unusable,
        other => CaError::Store(other.to_string()),
    };
    waiting.into_iter().map(|(node, slot)| Done { node, slot, answer: Err(copy()) }).collect()
}

/// A name is free if it has no certificate that lives and is not on hold.
pub(super) fn check_free(
    txn: &Txn,
    node: &NodeName,
    known: Option<&NodeRecord>,
    now: Timestamp,
) -> Result<(), CaError> {
    let Some(known) = known else { return Ok(()) };
    match known.standing {
        Standing::Revoked(..) => Ok(()),
        Standing::Suspended(since) => Err(CaError::Suspended { node: node.clone(), since }),
        Standing::Active => match txn.cert(&known.newest)? {
            Some(cert) if cert.not_after > now => {
                Err(CaError::AlreadyEnrolled { node: node.clone(), until: cert.not_after })
            }
            _ => Ok(()),
        },
    }
}

/// What whoever has the name is; nobody has one that was revoked.
pub(super) fn kind_of(txn: &Txn, known: &NodeRecord) -> Result<Option<MemberKind>, CaError> {
    if matches!(known.standing, Standing::Revoked(..)) {
        return Ok(None);
    }
    let newest = txn.cert(&known.newest)?;
    Ok(newest.map(|cert| NodeCert::read(&cert.der)).transpose()?.map(|cert| cert.kind))
}

/// A name stays a node's or an app's until it is revoked, also after its certificates have ended:
/// others may still hold mail and rules for it.
pub(super) fn check_kind(
    node: &NodeName,
    was: Option<MemberKind>,
    wished: Kind,
) -> Result<(), CaError> {
    match was.filter(|was| Some(*was) != wished.member()) {
        Some(is) => Err(CaError::OtherKind { node: node.clone(), is }),
        None => Ok(()),
    }
}

pub(super) fn check_active(record: &NodeRecord) -> Result<(), CaError> {
    let node = record.node.clone();
    match record.standing {
        Standing::Active => Ok(()),
        Standing::Suspended(since) => Err(CaError::Suspended { node, since }),
        Standing::Revoked(at, _) => Err(CaError::Revoked { node, at }),
    }
}

/// A key belongs to one name, and dies with its revocation; also one that was perhaps certified.
fn check_key(txn: &Txn, record: &NodeRecord, public: &PublicKey) -> Result<(), CaError> {
    let spki = public.spki_hash();
    let recorded = txn.key(&spki)?.map(|key| (key.node, key.at));
    let intended = txn.intents()?.into_iter().filter(|intent| intent.spki == spki);
    for (node, at) in recorded.into_iter().chain(intended.map(|i| (i.node, i.at))) {
        if node != record.node {
            return Err(CaError::KeyInUse { by: node });
        }
        if record.revoked_at.is_some_and(|revoked_at| at <= revoked_at) {
            return Err(CaError::KeyBarred { node });
        }
    }
    Ok(())
}

fn fresh_record(
    node: NodeName,
    terms: Terms,
    known: Option<&NodeRecord>,
    now: Timestamp,
) -> NodeRecord {
    NodeRecord {
        node,
        standing: Standing::Active,
        terms,
        newest: Serial::from_random([0; 16]),
        enrolled_at: now,
        revoked_at: known.and_then(|known| known.revoked_at),
        spans: None,
    }
}

fn last_key(txn: &Txn, record: &NodeRecord) -> Result<PublicKey, CaError> {
    let cert = txn.cert(&record.newest)?.ok_or_else(|| {
        CaError::Damaged(format!("the newest certificate of {} is missing", record.node))
    })?;
    Ok(NodeCert::read(&cert.der)?.public)
}

fn fresh_serial(txn: &Txn) -> Result<Serial, CaError> {
    for _ in 0..SERIAL_DRAWS_MAX {
        let serial = Serial::from_random(host::random::bytes()?);
        if !txn.serial_is_known(&serial)? {
            return Ok(serial);
        }
    }
    Err(CaError::Damaged("the random numbers repeat".to_owned()))
}
