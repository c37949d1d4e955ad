//! Certificates: how they look, how they are read, how they are made.
//!
//! [`Facts`] is what one DER certificate says; [`NodeCert`] and [`CaCert`] are facts that have the
//! shape of our profile; [`Draft`] is a certificate to be, [`lint`] compares it with its
//! [`Profile`], and only what was linted can be signed by a [`CaSigner`].
//!
//! **Invariant:** of a request only the public key is ever used ([`request`]).

mod crl;
mod der;
mod draft;
mod extension;
mod facts;
mod issue;
pub mod lint;
mod member;
mod profile;
pub mod request;

pub use crl::{CrlDraft, CrlEntry, CrlError, VerifiedCrl};
pub use draft::{Draft, Subject};
pub use extension::{Attributes, OID_TEXT as ATTRIBUTES_OID_TEXT, PEER_ROLES, is_peer_role};
pub use facts::{Basic, CertError, Facts, KeyUsages, dates};
pub use issue::{CaSigner, IssueError};
pub use member::{CaCert, NodeCert, Usage, Usages};
pub use profile::{Kind, Profile, ProfileError, ProfileText};
