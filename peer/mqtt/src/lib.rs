//! MQTT as a peer speaks it, without a socket: packets, topics, sessions, and topics among peers.
//!
//! Pure, as `peer-core` is: bytes and time come in as arguments, bytes and orders go out. What is
//! shared between connections stands behind locks of the standard library, because one connection
//! hands a message to another without asking a third.

mod bridge;
mod broker;
mod chart;
mod client;
pub mod codec;
mod counters;
mod envelope;
mod few;
mod held;
mod identity;
mod interest;
pub mod journal;
pub mod limits;
mod message;
mod publication;
mod pump;
mod queue;
mod quota;
mod receipt;
mod retained;
mod route;
mod rows;
mod seen;
mod session;
mod topic;
mod trie;
mod uplink;

pub use bridge::{BRIDGE_CLIENT, Half, Password, Side, Tally, Terms, span};
pub use broker::{Barred, Bounds, Broker, Notary, SessionView, Settings, WayView};
pub use client::{Client, Door, State};
pub use counters::{Counter, Counters};
pub use identity::{Identity, Rights};
pub use message::{Message, Record, SessionId};
pub use publication::Publication;
pub use receipt::{Hold, Receipt};
pub use retained::{NotRetained, Retained, RetainedBounds, Shelf, Stamp};
pub use topic::{Wanted, is_publishable};
pub use trie::Trie;
pub use uplink::{Heard, Uplink};
