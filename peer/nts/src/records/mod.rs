//! The records of the key exchange (RFC 8915 §4), over a TLS connection that somebody else has.
//!
//! One message goes each way. [`Reader`] cuts what arrives into records, [`Request`] and [`Grant`]
//! are what they say, read strictly; [`request`] and [`answer`] write them.

mod read;
mod reader;
mod write;

pub use read::{Agreed, Grant, GrantError, Request};
pub use reader::{ReadError, Reader};
pub use write::{Offer, Problem, answer, problem, request};

/// NTP version 4 in the registry of next protocols.
pub const NTPV4: u16 = 0;
/// AEAD_AES_SIV_CMAC_256, which every implementation has, and ours only.
pub const AES_SIV_CMAC_256: u16 = 15;

/// The types of records.
mod kind {
    pub(super) const END: u16 = 0;
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const ERROR: u16 = 2;
    pub(super) const WARNING: u16 = 3;
    pub(super) const ALGORITHM: u16 = 4;
    pub(super) const COOKIE: u16 = 5;
    pub(super) const SERVER: u16 = 6;
    pub(super) const PORT: u16 = 7;
}

/// The bit in a record's type that says: whoever does not know it must refuse.
const CRITICAL: u16 = 0x8000;
