//! Joining: one string from the authority, a proof that its secret is held, and what a new node is
//! given for it.
//!
//! The secret never travels. It names its invitation by one derived value and proves itself by
//! another, over the exporter of the very TLS connection (RFC 8446 §7.5), so that a proof is of no
//! use on any other connection; the authority's answer is proved the same way back.
//!
//! **Invariant:** a [`JoinString`] that was read is whole: version, length and checksum fit.

mod code;
mod proof;
mod string;
mod talk;

pub use code::{Code, Failure};
pub use proof::{EXPORTER_LABEL, Exporter, InvitationId, Proof, ProofKey, Secret};
pub use string::{JoinString, PREFIX, StringError};
pub use talk::{Answer, Grant, JoinRequest, KnownPeer, MEDIA_TYPE, RenewRequest, TimeThere};
