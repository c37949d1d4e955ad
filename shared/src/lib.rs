//! What the authority and the peers must agree on: names, certificates, the feed, statements, wire.
//!
//! Everything here is pure. Time, randomness and bytes come in as arguments; decisions go out as
//! values. Nothing reads a clock, a file or a socket, or starts a thread; `clippy.toml` beside this
//! crate turns a breach into a compile error.
//!
//! The rooms, from the ground up: [`limits`], [`name`], [`time`], [`id`] and [`refusal`] are words;
//! [`key`], [`cert`] and [`statement`] make and read signed things; [`feed`] and [`verify`] decide
//! who is a member, [`policy`] what members may do; [`join`] how one becomes a member;
//! [`presence`], [`receipt`], [`shown`] and [`wire`] are what they say to each other.
//!
//! **Invariant:** no function outside [`verify`] and [`presence`] makes a verified value.

pub mod archive;
pub mod cert;
pub mod feed;
pub mod id;
pub mod join;
pub mod key;
pub mod limits;
pub mod link_state;
pub mod name;
pub mod pem;
pub mod policy;
pub mod presence;
pub mod receipt;
pub mod refusal;
pub mod shown;
pub mod statement;
pub mod time;
pub mod verify;
pub mod wire;
