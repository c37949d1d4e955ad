//! The authority of a Conclave network: it enrols nodes, renews them and turns them out.
//!
//! [`Authority`] is the whole of it as a library: [`Authority::init`], [`Authority::enroll`],
//! [`Authority::renew`], [`Authority::revoke`] and the feed they lead to. Nothing here prints; the
//! commands in `commands/` do, and are part of the program only.
//!
//! **Invariant:** what leaves the authority, certificate or feed, is on its disk first.

pub mod ask;
pub mod bundle;
pub mod check;
pub mod doctor;
pub mod error;
pub mod layout;
pub mod policy;
pub mod profiles;
pub mod publish;
pub mod serve;
pub mod settings;
pub mod store;

mod authority;

pub use authority::{
    AUTHORITY_ROLE, Acted, Authority, CertView, Clock, Enrolment, Holder, INVITATION_LIFE_S,
    INVITATIONS_MAX, Identity, Init, InvitationView, Invite, Issued, Joined, NodeView, Outcome,
    Registry, Surroundings,
};
pub use error::CaError;
pub use policy::PolicyFile;
pub use publish::{News, Publish, Report, publish};
