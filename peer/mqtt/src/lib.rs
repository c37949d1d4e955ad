//! MQTT as a peer speaks it, without a socket: packets, topics, sessions, and topics among peers.
//!
//! Pure, as `peer-core` is: bytes and time come in as arguments, bytes and orders go out. What is
//! shared between connections stands behind locks of the standard library, because one connection
//! hands a message to another without asking a third.

pub mod codec;
pub mod journal;
pub mod limits;
mod message;
mod queue;
mod receipt;
mod topic;
mod trie;

pub use message::{Message, Record, SessionId};
pub use receipt::{Hold, Receipt};
pub use topic::{Wanted, is_publishable};
pub use trie::Trie;
