//! Certifying whoever holds an invitation, and members whose certificate has ended: what `serve`
//! does, free of sockets.
//!
//! **Invariant:** of a request only the key is taken; every name is the authority's own.

use minicbor::bytes::ByteVec;
use shared::cert::request::{self, RequestError};
use shared::cert::{NodeCert, Usage};
use shared::join::{Answer, Code, Exporter, Failure, Grant, JoinRequest, KnownPeer};
use shared::key::KeyError;
use shared::limits::GRANT_FEED_BYTES_MAX;
use shared::name::NodeName;
use shared::refusal;

use super::invite::Claiming;
use super::order::Purpose;
use super::{Authority, Holder, Issued, Registry};
use crate::error::CaError;
use crate::store::{Claim, InvitationState, Reads};

/// What the authority knows of the network besides its store.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Nodes to dial first.
    pub peers: Vec<KnownPeer>,
    /// Where the authority answers, `HOST:PORT`.
    pub addresses: Vec<String>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The certificate.
    pub issued: Issued,
    /// The answer, with its proof.
    pub answer: Answer,
    /// Whether the same key came again for what it had been given already.
    pub again: bool,
}

impl Authority {
    /// Lets in whoever proves to hold an invitation's secret on this connection.
    ///
    /// # Errors
    /// [`Failure`], for the one who asked.
    pub fn join(
        &self,
        request: &JoinRequest,
        exporter: &Exporter,
        from: &str,
        around: &Surroundings,
    ) -> Result<Joined, Failure> {
        self.try_join(request, exporter, from, around).map_err(|error| self.failure(&error))
    }

    fn try_join(
        &self,
        request: &JoinRequest,
        exporter: &Exporter,
        from: &str,
        around: &Surroundings,
    ) -> Result<Joined, CaError> {
        let unknown = || refused(Code::UnknownInvitation, "no invitation has this secret");
        let (invitation, key) = self.invitation(&request.invitation)?.ok_or_else(unknown)?;
        if !key.admits_request(&request.proof, exporter, &request.csr) {
            let text = "the proof does not fit this connection: somebody is in between";
            return Err(refused(Code::WrongProof, text));
        }
        let proven = request::read(&request.csr)?;
        let spki = proven.public().spki_hash();
        let (issued, again) = match &invitation.state {
            InvitationState::Used(claim, serial) if claim.spki == spki => {
                (self.issued_before(&invitation.node, serial)?, true)
            }
            _ => {
                let claim = Claim { spki, from: from.to_owned(), at: self.now() };
                let purpose = Purpose::Join(Claiming { id: invitation.id, claim });
                let public = Some(proven.public().clone());
                (self.order(invitation.node.clone(), purpose, public)?, false)
            }
        };
        let grant = self.grant(&issued, around)?.to_bytes();
        let proof = key.prove_grant(exporter, &grant);
        Ok(Joined { issued, answer: Answer { grant, proof }, again })
    }

    /// A certificate whose answer was lost on its way: it is the same key's, so it is given again.
    fn issued_before(
        &self,
        node: &NodeName,
        serial: &shared::id::Serial,
    ) -> Result<Issued, CaError> {
        let view = self.store().read()?;
        let missing = || CaError::Damaged(format!("a certificate of {node} is missing"));
        let cert = view.cert(serial)?.ok_or_else(missing)?;
        let record = view.node(node)?.ok_or_else(missing)?;
        super::order::check_active(&record)?;
        if cert.not_after <= self.now() {
            let text = format!("the certificate it made ended at {}", cert.not_after);
            return Err(refused(Code::ExpiredInvitation, text));
        }
        Ok(Issued {
            node: node.clone(),
            serial: *serial,
            not_before: cert.not_before,
            not_after: cert.not_after,
            chain: vec![cert.der, self.issuing_der().to_vec()],
        })
    }

    /// Renews for whoever presented this chain in TLS, also if its certificate ended at most
    /// `grace_s` ago.
    ///
    /// # Errors
    /// [`Failure`], for the one who asked.
    pub fn renew_presented(
        &self,
        chain: &[&[u8]],
        csr: &[u8],
        grace_s: i64,
        around: &Surroundings,
    ) -> Result<(Issued, Grant), Failure> {
        let renewed = self.presented(chain, grace_s).and_then(|node| {
            let key = request::read(csr)?;
            let issued = self.renew(&node, Some(Holder::Proven(&key)))?;
            let grant = self.grant(&issued, around)?;
            Ok((issued, grant))
        });
        renewed.map_err(|error| self.failure(&error))
    }

    /// Whose chain it is: judged as a peer would, but for the moment.
    fn presented(&self, chain: &[&[u8]], grace_s: i64) -> Result<NodeName, CaError> {
        let none = || refused(Code::NoCertificate, "no certificate was presented");
        let leaf = NodeCert::read(chain.first().ok_or_else(none)?)?;
        let now = self.now();
        if leaf.not_after.plus_s(grace_s) <= now {
            let text = format!("the certificate ended at {}, beyond the grace", leaf.not_after);
            return Err(refused(Code::TooLate, text));
        }
        // The last moment it was valid at; revocations are looked up as of now.
        let moment = now.min(leaf.not_after.plus_s(-1));
        let admitted = self.verifier()?.admit(chain, Usage::Program, None, moment);
        let member = admitted.map_err(|refusal| {
            let code = match refusal.code {
                refusal::Code::Revoked => Code::Revoked,
                refusal::Code::Suspended => Code::Suspended,
                _ => Code::NoCertificate,
            };
            refused(code, refusal.to_string())
        })?;
        // The feed forgets what has expired; the store does not.
        let view = self.store().read()?;
        let unknown = || refused(Code::NoCertificate, "the certificate is not on record");
        let cert = view.cert(&leaf.serial)?.ok_or_else(unknown)?;
        if cert.node != *member.node() || view.bar(&leaf.serial)?.is_some() {
            return Err(refused(Code::Revoked, "the certificate was revoked"));
        }
        Ok(cert.node)
    }

    /// How an error is told to the one who asked: whose fault it is not, it does not learn of.
    #[must_use]
    pub fn failure(&self, error: &CaError) -> Failure {
        let code = code_of(error);
        let text = match (code, error) {
            (Code::Unavailable, CaError::Busy { .. }) => "the same name is just being certified",
            (Code::Unavailable, error) => {
                tracing::warn!("not certified: {error}");
                "the authority cannot certify just now"
            }
            _ => return Failure::new(code, error.to_string(), self.now()),
        };
        Failure::new(code, text, self.now())
    }
}

impl Registry {
    /// All that a new node needs.
    ///
    /// # Errors
    /// What the disk says.
    pub fn grant(&self, issued: &Issued, around: &Surroundings) -> Result<Grant, CaError> {
        let feed = Some(self.feed_file()?).filter(|feed| feed.len() <= GRANT_FEED_BYTES_MAX);
        Ok(Grant {
            network: self.network().clone(),
            node: issued.node.clone(),
            chain: issued.chain.iter().cloned().map(ByteVec::from).collect(),
            roots: self.trust_der().iter().cloned().map(ByteVec::from).collect(),
            feed: feed.map(ByteVec::from),
            policy: self.policy()?.map(|signed| ByteVec::from(signed.bytes)),
            peers: around.peers.clone(),
            authority: around.addresses.clone(),
            at: self.now(),
        })
    }
}

fn refused(code: Code, text: impl Into<String>) -> CaError {
    CaError::Join { code, text: text.into() }
}

const fn code_of(error: &CaError) -> Code {
    match error {
        CaError::Join { code, .. } => *code,
        CaError::Request(RequestError::Key(KeyError::UnknownAlgorithm))
        | CaError::KeyInUse { .. }
        | CaError::KeyBarred { .. } => Code::BadKey,
        CaError::Request(_) | CaError::Cert(_) => Code::Malformed,
        CaError::AlreadyEnrolled { .. }
        | CaError::ReservedName { .. }
        | CaError::OtherKind { .. } => Code::NameTaken,
        CaError::Revoked { .. } => Code::Revoked,
        CaError::Suspended { .. } => Code::Suspended,
        CaError::NotEnrolled { .. } => Code::NoCertificate,
        _ => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests;
