//! The pure node by the thousand: a seeded network with latency, loss, partitions, churn, wrong
//! clocks and liars; real certificates, real signatures, no sockets, no clock.
//!
//! [`World`] is the hall: it performs what the nodes' actions ask for. The same seed gives the same
//! run, except that keys are new each time; nothing depends on them but the keys themselves.
//!
//! **Invariant:** nodes learn of each other, of time and of chance only through their interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the bench of a test: what goes wrong here is the test's failure"
)]

mod authority;
pub mod gauge;
mod host;
pub mod plot;
mod queue;
mod random;
pub mod report;
pub mod scale;
mod wires;
mod world;

pub use authority::{Authority, START, network};
pub use host::{Host, Tally, name};
pub use queue::Queue;
pub use random::Random;
pub use wires::{Weather, Wires};
pub use world::{Plan, World};
