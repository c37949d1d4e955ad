//! The mesh clock's packets: NTP version 4 (RFC 5905) under NTS (RFC 8915), without a socket.
//!
//! Pure: datagrams, records, keys, random octets and time come in as arguments; what should be sent
//! goes into a buffer of the caller, what happened comes out as a value. `records` is the key
//! exchange over a TLS connection that somebody else has; `ring` and `cookie` keep what a server
//! would otherwise have to remember; `server` answers one datagram; `client` is one association.
//!
//! **Invariant:** an answer is never longer than its question, and a client that has NTS never uses
//! what was not sealed for it.

#![forbid(unsafe_code)]

pub mod client;
mod cookie;
pub mod export;
mod key;
pub mod limits;
pub mod ntp;
mod octets;
pub mod records;
mod ring;
mod sealed;
pub mod server;

pub use cookie::{COOKIE_BYTES, CookieError, Fingerprint, Session};
pub use key::{KEY_BYTES, Key, Keys, NONCE_BYTES, TAG_BYTES};
pub use ring::{Ring, RingError};
pub use sealed::Malformed;
