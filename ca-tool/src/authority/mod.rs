//! The authority: who is a member, decided, signed and remembered.
//!
//! [`Registry`] is what can be read without any key; [`Authority`] is a registry with the issuing
//! key. All of it may be used from several threads: issuing shares transactions (see `queue.rs`),
//! acts on the feed come one after the other.
//!
//! **Invariant:** one process at a time has the state folder (its lock is held while this lives).

mod act;
mod identity;
mod init;
mod invite;
mod join;
mod ledger;
mod order;
mod queue;
mod registry;
mod rules;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::Path;

use host::files::{self, Mode};
use host::passphrase::{Passphrase, PassphraseError};
use host::seal::{KEYRING_BYTES_MAX, Keyring, SEALED_BYTES_MAX};
use serde::{Deserialize, Serialize};
use shared::cert::request::ProvenKey;
use shared::cert::{CaSigner, Draft, Kind, is_peer_role};
use shared::id::Serial;
use shared::key::{PrivateKey, PublicKey};
use shared::limits::{ALT_NAMES_MAX, GROUPS_MAX, ROLES_MAX};
use shared::name::{Label, NetworkName, NodeName};
use shared::time::Timestamp;

pub use act::{Acted, Outcome};
pub use identity::Identity;
pub use init::Init;
pub use invite::{INVITATION_LIFE_S, INVITATIONS_MAX, InvitationView, Invite};
pub use join::{Joined, Surroundings};
pub use registry::{CertView, Clock, NodeView, Registry};

use crate::error::CaError;
use crate::layout::Layout;
use crate::profiles;
use crate::store::Terms;
use order::{Order, Purpose};
use queue::Queue;

/// The label under which the issuing key is sealed.
pub(crate) const ISSUING_LABEL: &str = "issuing.key";
/// The role of the authority's own node certificate.
pub const AUTHORITY_ROLE: &str = "authority";

/// What a node is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enrolment {
    /// Its name.
    pub node: NodeName,
    /// Groups.
    pub groups: BTreeSet<Label>,
    /// Roles.
    pub roles: BTreeSet<Label>,
    /// DNS names beside its own; inside the network.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// The profile.
    pub profile: Label,
    /// Seconds its certificates live; the profile's own length if there is none.
    pub life_s: Option<i64>,
}

impl Enrolment {
    /// A node with nothing but its name, by the profile `node`.
    ///
    /// # Errors
    /// Never in practice: `node` is a label.
    pub fn new(node: NodeName) -> Result<Self, CaError> {
        let profile = Label::parse("node").map_err(|e| CaError::Damaged(e.to_string()))?;
        let (groups, roles) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { node, groups, roles, dns: Vec::new(), ips: Vec::new(), profile, life_s: None })
    }
}

/// The key a certificate is for: one whose private half we hold, or one whose holder proved it.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    /// Ours to hand over.
    Private(&'a PrivateKey),
    /// From a request.
    Proven(&'a ProvenKey),
}

impl Holder<'_> {
    fn public(self) -> PublicKey {
        match self {
            Self::Private(key) => key.public().clone(),
            Self::Proven(key) => key.public().clone(),
        }
    }
}

/// A certificate that was issued and is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// For whom.
    pub node: NodeName,
    /// Its serial.
    pub serial: Serial,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// The certificate and the issuing certificate, DER.
    pub chain: Vec<Vec<u8>>,
}

/// An authority that can sign.
pub struct Authority {
    registry: Registry,
    signer: CaSigner,
    keyring: Keyring,
    queue: Queue,
    #[cfg(test)]
    dies_after_intent: std::sync::atomic::AtomicBool,
}

impl Deref for Authority {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        &self.registry
    }
}

impl Authority {
    /// Opens an authority and its keys; waits up to 30 s for another program to be done with it.
    ///
    /// # Errors
    /// [`CaError`]; nothing has changed then.
    pub fn open(
        folder: &Path,
        passphrase: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Self, CaError> {
        Registry::open(folder, |_| {})?.unlock(passphrase)
    }

    fn assemble(registry: Registry, signer: CaSigner, keyring: Keyring) -> Self {
        Self {
            registry,
            signer,
            keyring,
            queue: Queue::default(),
            #[cfg(test)]
            dies_after_intent: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// The issuing certificate and its key.
    #[must_use]
    pub const fn signer(&self) -> &CaSigner {
        &self.signer
    }

    /// Enrols a node. The certificate is on record when this returns.
    ///
    /// # Errors
    /// [`CaError`] says what stands against it; nothing was issued then.
    pub fn enroll(&self, wish: &Enrolment, key: Holder<'_>) -> Result<Issued, CaError> {
        if wish.node.as_str() == NodeName::AUTHORITY {
            return Err(CaError::ReservedName { node: wish.node.clone() });
        }
        let terms = self.terms(wish)?;
        self.order(wish.node.clone(), Purpose::Enroll(terms), Some(key.public()))
    }

    /// Certifies a node again on the terms of its enrolment: its last key, or another.
    ///
    /// # Errors
    /// [`CaError`]; revoked and suspended nodes are refused.
    pub fn renew(&self, node: &NodeName, key: Option<Holder<'_>>) -> Result<Issued, CaError> {
        if node.as_str() == NodeName::AUTHORITY {
            return Err(CaError::ReservedName { node: node.clone() });
        }
        self.order(node.clone(), Purpose::Renew, key.map(Holder::public))
    }

    /// Lints and signs a draft without any record: what the signature itself costs. A certificate
    /// made so is not known to the store; only benchmarks and tests have a use for it.
    ///
    /// # Errors
    /// [`CaError::Issue`].
    pub fn issue_in_memory(&self, draft: &Draft) -> Result<Vec<u8>, CaError> {
        Ok(self.signer.sign(draft)?)
    }

    fn order(
        &self,
        node: NodeName,
        purpose: Purpose,
        public: Option<PublicKey>,
    ) -> Result<Issued, CaError> {
        let now = self.now();
        let ends = self.signer.cert().not_after;
        if now >= ends {
            return Err(CaError::IssuerExpired { at: ends });
        }
        let order = Order { node, purpose, public };
        self.queue.submit(order, |signed, fresh| self.step(signed, fresh))
    }

    fn terms(&self, wish: &Enrolment) -> Result<Terms, CaError> {
        let profile = profiles::for_member(self.layout(), &wish.profile)?;
        let life_s = wish.life_s.unwrap_or(profile.life_s);
        if !(profile.life_min_s..=profile.life_max_s).contains(&life_s) {
            return Err(CaError::Life {
                asked_s: life_s,
                name: profile.name,
                min_s: profile.life_min_s,
                max_s: profile.life_max_s,
            });
        }
        if let Some(role) = wish.roles.iter().find(|role| role.as_str() == AUTHORITY_ROLE) {
            return Err(CaError::ReservedRole { role: role.clone() });
        }
        if profile.kind == Kind::App {
            check_app(wish)?;
        }
        bound("groups", wish.groups.len(), GROUPS_MAX)?;
        bound("roles", wish.roles.len(), ROLES_MAX)?;
        // Two of the names are the node's own.
        bound("names", wish.dns.len() + wish.ips.len(), ALT_NAMES_MAX - 2)?;
        wish.dns.iter().try_for_each(|dns| check_dns(dns, self.network()))?;
        Ok(Terms {
            groups: wish.groups.iter().cloned().collect(),
            roles: wish.roles.iter().cloned().collect(),
            dns: wish.dns.clone(),
            ips: wish.ips.clone(),
            profile: wish.profile.clone(),
            life_s,
        })
    }

    #[cfg(test)]
    fn dies_here(&self) -> bool {
        self.dies_after_intent.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "the tests' twin reads a flag")]
    const fn dies_here(&self) -> bool {
        false
    }
}

impl Registry {
    /// Opens the keys.
    ///
    /// # Errors
    /// A wrong passphrase, or keys and certificates that do not belong together.
    pub fn unlock(
        self,
        passphrase: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Authority, CaError> {
        let file = files::read_secret(&self.layout().keyring(), KEYRING_BYTES_MAX)?;
        let keyring = Keyring::open(&file, passphrase)?;
        let key = read_key(self.layout(), &keyring)?;
        let signer = CaSigner::new(self.issuing_der(), key)?;
        let authority = Authority::assemble(self, signer, keyring);
        authority.note_leftovers()?;
        authority.mend_projections()?;
        Ok(authority)
    }
}

fn read_key(layout: &Layout, keyring: &Keyring) -> Result<PrivateKey, CaError> {
    let sealed = files::read_secret(&layout.issuing_key(), SEALED_BYTES_MAX)?;
    let pkcs8 = keyring.open_sealed(ISSUING_LABEL, &sealed)?;
    Ok(PrivateKey::from_pkcs8(&pkcs8)?)
}

pub(crate) fn write_sealed(
    path: &Path,
    keyring: &Keyring,
    label: &str,
    key: &PrivateKey,
) -> Result<(), CaError> {
    let sealed = keyring.seal(label, key.pkcs8())?;
    Ok(files::write_atomic(path, &sealed, Mode::Secret)?)
}

fn bound(what: &'static str, count: usize, max: usize) -> Result<(), CaError> {
    if count > max { Err(CaError::TooMany { what, max }) } else { Ok(()) }
}

/// What an app cannot be given; the linter would find it, this says it before anybody is invited.
fn check_app(wish: &Enrolment) -> Result<(), CaError> {
    if let Some(role) = wish.roles.iter().find(|role| is_peer_role(role)) {
        return Err(CaError::PeerRole { role: role.clone() });
    }
    if wish.dns.is_empty() && wish.ips.is_empty() { Ok(()) } else { Err(CaError::AppNames) }
}

fn check_dns(dns: &str, network: &NetworkName) -> Result<(), CaError> {
    let inside = dns.strip_suffix(network.as_str()).is_some_and(|rest| rest.ends_with('.'));
    if inside && NetworkName::parse(dns).is_ok() {
        return Ok(());
    }
    Err(CaError::DnsOutside { dns: host::terminal::escape(dns), network: network.to_string() })
}

#[cfg(test)]
mod apps;
#[cfg(test)]
mod spans;
#[cfg(test)]
mod tests;
