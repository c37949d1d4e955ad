//! The whole node: real certificates, no sockets, no clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the bench of a test: what goes wrong here is the test's failure"
)]

mod broadcast;
mod carried;
mod dead_clock;
mod newcomers;
mod petitions;
mod relay;
mod rig;
