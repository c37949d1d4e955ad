//! Invitations: made, claimed, approved, used up, taken back.
//!
//! An invitation is claimed inside the transaction that makes the intent of its certificate
//! durable (compare-and-swap: SPIRE 1.14.6 let one token attest twice), and used up in the one that
//! records the certificate. Whoever is interrupted in between comes again with the same key; with
//! another key the invitation is spent.
//!
//! **Invariant:** under one invitation at most one key is ever certified.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use shared::id::{Serial, SpkiHash};
use shared::join::{Code, InvitationId, JoinString, ProofKey, Secret};
use shared::name::NodeName;
use shared::time::Timestamp;

use super::order::{check_free, check_kind, kind_of};
use super::{Authority, Enrolment, Registry};
use crate::error::CaError;
use crate::profiles;
use crate::store::{Claim, Invitation, InvitationState, Reads, Txn};

/// Invitations on record: ten thousand machines may be invited at once.
pub const INVITATIONS_MAX: usize = 10_000;
/// Seconds an invitation may stand open.
pub const INVITATION_LIFE_S: std::ops::RangeInclusive<i64> = 10..=90 * 86_400;
/// Seconds a held request waits for a person: a long weekend and a day.
const HOLD_S: i64 = 5 * 86_400;
/// Seconds for which one that is over is remembered, so that whoever comes late is told why.
const REMEMBERED_S: i64 = 30 * 86_400;
/// Refusals under one invitation that go into the log: the log must not be anybody's to fill.
const REFUSALS_LOGGED_MAX: u32 = 16;

/// What an invitation is to be.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Who its user becomes.
    pub wish: Enrolment,
    /// Seconds it stands open.
    pub open_s: i64,
    /// Whether a person approves whoever comes.
    pub hold: bool,
    /// Where the authority answers.
    pub addresses: Vec<String>,
}

/// An invitation as a person or a program sees it. The secret is not among it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationView {
    /// Who its user becomes.
    pub node: NodeName,
    /// `open`, `expired`, `waiting`, `approved`, `interrupted`, `used`, `denied` or `withdrawn`.
    pub state: Cow<'static, str>,
    /// When it was made.
    pub at: Timestamp,
    /// Until when somebody may come.
    pub expires: Timestamp,
    /// Whether a person approves.
    pub hold: bool,
    /// Groups.
    pub groups: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// From where somebody came.
    pub from: Option<String>,
    /// SHA-256 of the key that came, as the machine itself shows it.
    pub spki: Option<String>,
    /// When it came.
    pub claimed_at: Option<Timestamp>,
    /// How often somebody else was refused under it.
    pub refused: u32,
}

impl InvitationView {
    fn of(invitation: &Invitation, now: Timestamp) -> Self {
        let (state, claim) = match &invitation.state {
            InvitationState::Open if invitation.expires <= now => ("expired", None),
            InvitationState::Open => ("open", None),
            InvitationState::Claimed(claim) | InvitationState::Approved(claim)
                if is_over(claim, now) =>
            {
                ("expired", Some(claim))
            }
            InvitationState::Claimed(claim) if !invitation.hold => ("interrupted", Some(claim)),
            InvitationState::Claimed(claim) => ("waiting", Some(claim)),
            InvitationState::Approved(claim) => ("approved", Some(claim)),
            InvitationState::Used(claim, _) => ("used", Some(claim)),
            InvitationState::Denied(claim, _) => ("denied", Some(claim)),
            InvitationState::Withdrawn(_) => ("withdrawn", None),
        };
        let text =
            |labels: &[shared::name::Label]| labels.iter().map(ToString::to_string).collect();
        Self {
            node: invitation.node.clone(),
            state: state.into(),
            at: invitation.at,
            expires: invitation.expires,
            hold: invitation.hold,
            groups: text(&invitation.terms.groups),
            roles: text(&invitation.terms.roles),
            from: claim.map(|claim| claim.from.clone()),
            spki: claim.map(|claim| claim.spki.to_string()),
            claimed_at: claim.map(|claim| claim.at),
            refused: invitation.refused,
        }
    }
}

impl Registry {
    /// All invitations on record, by name.
    ///
    /// # Errors
    /// What the disk says.
    pub fn invitations(&self) -> Result<Vec<InvitationView>, CaError> {
        let now = self.now();
        let all = self.store().read()?.invitations()?;
        let mut views: Vec<_> = all.iter().map(|one| InvitationView::of(one, now)).collect();
        views.sort_by(|a, b| (&a.node, a.at).cmp(&(&b.node, b.at)));
        Ok(views)
    }

    /// Takes back whatever invitations of a name can still make a certificate.
    ///
    /// # Errors
    /// [`CaError::NoInvitation`] if there is none.
    pub fn uninvite(&self, node: &NodeName) -> Result<InvitationView, CaError> {
        self.settle(node, "can be taken back", "uninvite", |invitation, now| {
            let open = is_open(invitation, now);
            open.then_some(InvitationState::Withdrawn(now))
        })
    }

    /// Lets in whoever waits under this name.
    ///
    /// # Errors
    /// [`CaError::NoInvitation`] if nobody waits.
    pub fn approve(&self, node: &NodeName) -> Result<InvitationView, CaError> {
        self.settle(node, "waits for approval", "approve", |invitation, now| {
            waiting(invitation, now).map(InvitationState::Approved)
        })
    }

    /// Turns away whoever waits under this name; the invitation is spent.
    ///
    /// # Errors
    /// [`CaError::NoInvitation`] if nobody waits.
    pub fn deny(&self, node: &NodeName) -> Result<InvitationView, CaError> {
        self.settle(node, "waits for approval", "deny", |invitation, now| {
            waiting(invitation, now).map(|claim| InvitationState::Denied(claim, now))
        })
    }

    fn settle(
        &self,
        node: &NodeName,
        what: &'static str,
        act: &'static str,
        next: impl Fn(&Invitation, Timestamp) -> Option<InvitationState>,
    ) -> Result<InvitationView, CaError> {
        let now = self.now();
        self.store().write(|txn| {
            self.check_clock(txn, now)?;
            let mut settled = None;
            for mut invitation in txn.invitations()?.into_iter().filter(|i| i.node == *node) {
                let Some(state) = next(&invitation, now) else { continue };
                invitation.state = state;
                txn.put_invitation(&invitation)?;
                let view = InvitationView::of(&invitation, now);
                txn.log(now, act, node.as_str(), said_of(&view))?;
                settled = Some(view);
            }
            settled.ok_or_else(|| CaError::NoInvitation { node: node.clone(), what })
        })
    }
}

/// From where somebody came with which key, for the log.
fn said_of(view: &InvitationView) -> String {
    match (&view.from, &view.spki) {
        (Some(from), Some(spki)) => format!("key {spki} from {from}"),
        _ => format!("open until {}", view.expires),
    }
}

/// Whether it can still make a certificate.
fn is_open(invitation: &Invitation, now: Timestamp) -> bool {
    match &invitation.state {
        InvitationState::Open => invitation.expires > now,
        InvitationState::Claimed(claim) | InvitationState::Approved(claim) => !is_over(claim, now),
        _ => false,
    }
}

fn is_over(claim: &Claim, now: Timestamp) -> bool {
    claim.at.plus_s(HOLD_S) <= now
}

fn waiting(invitation: &Invitation, now: Timestamp) -> Option<Claim> {
    match &invitation.state {
        InvitationState::Claimed(claim) if invitation.hold && !is_over(claim, now) => {
            Some(claim.clone())
        }
        _ => None,
    }
}

impl Authority {
    /// Invites a node: whoever proves to hold the string's secret becomes it, once. Earlier
    /// invitations of the name are taken back.
    ///
    /// # Errors
    /// As [`Authority::enroll`], so that nobody is invited who could not be enrolled.
    pub fn invite(&self, invite: &Invite) -> Result<(JoinString, InvitationView), CaError> {
        let Invite { wish, open_s, hold, addresses } = invite;
        let node = &wish.node;
        if node.as_str() == NodeName::AUTHORITY {
            return Err(CaError::ReservedName { node: node.clone() });
        }
        check_open_s(*open_s)?;
        let terms = self.terms(wish)?;
        let profile = profiles::for_member(self.layout(), &terms.profile)?;
        let secret = Secret::new(host::random::bytes()?);
        let id = secret.id()?;
        let sealed_key = self.keyring.seal(&label(&id), secret.proof_key()?.as_bytes())?;
        let now = self.now();
        let state = InvitationState::Open;
        let (node, hold, expires) = (node.clone(), *hold, now.plus_s(*open_s));
        let made =
            Invitation { id, node, terms, sealed_key, at: now, expires, hold, state, refused: 0 };
        self.store().write(|txn| {
            self.check_clock(txn, now)?;
            let known = txn.node(&made.node)?;
            check_free(txn, &made.node, known.as_ref(), now)?;
            let was = known.as_ref().map_or(Ok(None), |known| kind_of(txn, known))?;
            check_kind(&made.node, was, profile.kind)?;
            make_room(txn, &made.node, now)?;
            txn.put_invitation(&made)?;
            let held = if hold { ", to be approved" } else { "" };
            txn.log(now, "invite", made.node.as_str(), format!("open until {expires}{held}"))
        })?;
        let network = self.network().clone();
        let string = JoinString { network, addresses: addresses.clone(), pin: self.pin()?, secret };
        Ok((string, InvitationView::of(&made, now)))
    }

    /// SHA-256 of the key of the root that the issuing certificate hangs from.
    fn pin(&self) -> Result<SpkiHash, CaError> {
        let root = self.anchors().roots().next();
        let root = root.ok_or_else(|| CaError::Damaged("there is no root".to_owned()))?;
        Ok(root.public.spki_hash())
    }

    /// The invitation of a number and the key of its proofs.
    pub(super) fn invitation(
        &self,
        id: &InvitationId,
    ) -> Result<Option<(Invitation, ProofKey)>, CaError> {
        let Some(invitation) = self.store().read()?.invitation(id)? else { return Ok(None) };
        let opened = self.keyring.open_sealed(&label(id), &invitation.sealed_key)?;
        let damaged = |_| CaError::Damaged("the key of an invitation is too short".to_owned());
        let key = ProofKey::new(opened.as_slice().try_into().map_err(damaged)?);
        Ok(Some((invitation, key)))
    }
}

/// Under which name the key of an invitation is sealed.
fn label(id: &InvitationId) -> String {
    format!("invitation {}", shared::id::hex(id.as_bytes()))
}

fn check_open_s(open_s: i64) -> Result<(), CaError> {
    if INVITATION_LIFE_S.contains(&open_s) {
        return Ok(());
    }
    let text = format!("an invitation stands open for 10s to 90d, not {open_s} s");
    Err(CaError::Join { code: Code::Malformed, text })
}

/// Takes back what is open for the name, and forgets what has long been over.
fn make_room(txn: &Txn, node: &NodeName, now: Timestamp) -> Result<(), CaError> {
    let mut count = 0;
    for mut known in txn.invitations()? {
        if known.expires.plus_s(REMEMBERED_S.max(HOLD_S)) <= now && !is_open(&known, now) {
            txn.remove_invitation(&known.id)?;
            continue;
        }
        count += 1;
        if known.node == *node && is_open(&known, now) {
            known.state = InvitationState::Withdrawn(now);
            txn.put_invitation(&known)?;
            txn.log(now, "uninvite", node.as_str(), "a newer invitation".to_owned())?;
        }
    }
    if count >= INVITATIONS_MAX {
        return Err(CaError::TooMany { what: "invitations", max: INVITATIONS_MAX });
    }
    Ok(())
}

/// Somebody who has proved to hold a secret, with the key to be certified.
#[derive(Debug, Clone)]
pub(crate) struct Claiming {
    pub(super) id: InvitationId,
    pub(super) claim: Claim,
}

impl Claiming {
    /// The invitation as it stands after the claim, not yet written; or why not.
    pub(super) fn admit(self, txn: &Txn, now: Timestamp) -> Result<Invitation, CaError> {
        let Some(mut invitation) = txn.invitation(&self.id)? else {
            return Err(refused(Code::UnknownInvitation, "no such invitation"));
        };
        let ours = |claim: &Claim| claim.spki == self.claim.spki;
        let hold = invitation.hold;
        match &invitation.state {
            InvitationState::Open if invitation.expires <= now => {
                let text = format!("the invitation ended at {}", invitation.expires);
                Err(refused(Code::ExpiredInvitation, text))
            }
            InvitationState::Open => {
                invitation.state = InvitationState::Claimed(self.claim.clone());
                if !hold {
                    return Ok(invitation);
                }
                txn.put_invitation(&invitation)?;
                let Claim { spki, from, .. } = &self.claim;
                let detail = format!("key {spki} from {from} waits for approval");
                txn.log(now, "waiting", invitation.node.as_str(), detail)?;
                Err(refused(Code::Waiting, "wait for approval"))
            }
            InvitationState::Claimed(claim) | InvitationState::Approved(claim)
                if ours(claim) && is_over(claim, now) =>
            {
                Err(refused(Code::ExpiredInvitation, "it was not brought to an end in time"))
            }
            InvitationState::Claimed(claim) if ours(claim) && hold => {
                Err(refused(Code::Waiting, "wait for approval"))
            }
            InvitationState::Claimed(claim) | InvitationState::Approved(claim) if ours(claim) => {
                Ok(invitation)
            }
            InvitationState::Claimed(claim)
            | InvitationState::Approved(claim)
            | InvitationState::Used(claim, _) => {
                let Claim { from, at, .. } = claim;
                let text = format!("the invitation was used from {from} at {at}");
                self.note_second_use(txn, invitation, now, &text)?;
                Err(refused(Code::UsedInvitation, text))
            }
            InvitationState::Denied(..) => Err(refused(Code::Denied, "the authority said no")),
            InvitationState::Withdrawn(at) => {
                let text = format!("the invitation was taken back at {at}");
                Err(refused(Code::WithdrawnInvitation, text))
            }
        }
    }

    /// A second use is an event: a string that two machines have was copied.
    fn note_second_use(
        &self,
        txn: &Txn,
        mut invitation: Invitation,
        now: Timestamp,
        text: &str,
    ) -> Result<(), CaError> {
        if invitation.refused >= REFUSALS_LOGGED_MAX {
            return Ok(());
        }
        invitation.refused += 1;
        txn.put_invitation(&invitation)?;
        let Claim { spki, from, .. } = &self.claim;
        let detail = format!("{text}; refused: key {spki} from {from}");
        txn.log(now, "second-use", invitation.node.as_str(), detail)
    }
}

fn refused(code: Code, text: impl Into<String>) -> CaError {
    CaError::Join { code, text: text.into() }
}

/// Marks an invitation used up; says from where, for the log. Refuses if an operator took it back
/// while the certificate was being signed.
pub(super) fn use_up(txn: &Txn, id: &InvitationId, serial: Serial) -> Result<String, CaError> {
    let taken_back = || refused(Code::WithdrawnInvitation, "the invitation was taken back");
    let mut invitation = txn.invitation(id)?.ok_or_else(taken_back)?;
    let (InvitationState::Claimed(claim) | InvitationState::Approved(claim)) = invitation.state
    else {
        return Err(taken_back());
    };
    let said = format!(", key {} from {}", claim.spki, claim.from);
    invitation.state = InvitationState::Used(claim, serial);
    txn.put_invitation(&invitation)?;
    Ok(said)
}
