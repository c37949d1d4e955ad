//! What peers say on a link: frames `[u32 length][u8 kind][payload]`, at most 64 KiB of payload.
//!
//! The protocol is named in ALPN and numbered in the greeting. Control payloads are CBOR; ping and
//! message payloads are fixed octets, because they are the hot path.
//!
//! **Invariant:** a reader never waits for more than [`crate::limits::FRAME_BYTES_MAX`] bytes.

mod batch;
mod broadcast;
mod circuit;
mod frame;
mod message;
mod pack;
mod renewal;
mod spoken;
mod spread;
mod told;
mod trace;

pub use batch::{Batch, Item, Number, Page, Post, Priority, Taken, Verdict};
pub use broadcast::Broadcast;
pub use circuit::{Circuit, Step, Token};
pub use frame::{Frame, FrameError, HEADER_BYTES, Kind, frame_into, split};
pub use message::{Ack, Body, Greeting, Message, Receipt, WireError};
pub use pack::Pack;
pub use renewal::Renewal;
pub use spoken::{Spoken, Unproven};
pub use spread::{DIGEST_SUMS, Spread, StatementId};
pub use told::{BroadcastId, Told};
pub use trace::{Hop, Trace};

/// The ALPN protocol name (RFC 7301); the number is the framing's version.
pub const ALPN: &[u8] = b"conclave/1";
/// The ALPN name of a connection that asks for a circuit, or takes one.
pub const ALPN_RELAY: &[u8] = b"conclave-relay/1";
/// The version of what is said inside the frames; an older peer is refused with `version`.
pub const VERSION: u32 = 3;
