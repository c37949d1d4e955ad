//! What the authority and the peers must agree on: names, certificates, the feed, statements, wire.
//!
//! Everything here is pure. Time, randomness and bytes come in as arguments; decisions go out as
//! values. Nothing reads a clock, a file or a socket, or starts a thread; `clippy.toml` beside this
//! crate turns a breach into a compile error.

pub mod id;
pub mod limits;
pub mod name;
pub mod time;
