//! The verifier: who is a member, by certificate, now.
//!
//! Path building is webpki's; around it stand our own checks, because webpki looks at a CRL's whole
//! signature on every handshake, does not check what a network is, and lets pass an intermediate
//! without keyCertSign, an expired root and more (see `anchors.rs`). What has been checked has
//! another type: [`Verified`] can be made in this module only, and a link can be made of nothing
//! else.
//!
//! **Invariant:** [`Verifier::admit`] is the only way to a `Verified<Member>`, and it fails closed.

mod anchors;
mod verifier;

pub use anchors::{AnchorError, Anchors};
pub use verifier::{Member, Verified, Verifier, VerifierError};
