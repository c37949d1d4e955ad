//! The harness of the scenarios: a network in a temporary folder, peers as real processes, and
//! adversaries as code.
//!
//! Nothing here sleeps for luck: every wait polls a condition within a bound and says what it
//! waited for. A peer that logs an ERROR fails its test.
//!
//! **Invariant:** every process is ended by its id when its handle goes away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is to stop"
)]

pub mod adversary;
pub mod caller;
pub mod chrony;
pub mod chronyd;
pub mod daemon;
pub mod delay;
pub mod engine;
pub mod ground;
pub mod hour;
pub mod judge;
pub mod lan;
pub mod middle;
pub mod mole;
pub mod network;
pub mod online;
pub mod outsider;
pub mod pipe;
pub mod ports;
pub mod programs;
pub mod raw;
pub mod seat;
pub mod soak;
pub mod speaker;
pub mod talk;
pub mod teller;
pub mod tree;

use std::time::{Duration, Instant};

pub use adversary::{Credentials, Forge};
pub use caller::Caller;
pub use daemon::Peer;
pub use engine::Engine;
pub use lan::Switch;
pub use middle::Middle;
pub use mole::{Mole, Plan};
pub use network::Network;
pub use online::{Joining, Machine, Online};
pub use outsider::Outsider;
pub use raw::{Ear, Hearing, Trap};
pub use speaker::Speaker;
pub use teller::Teller;

/// How long a scenario waits for what should take milliseconds; generous, because two cores run
/// many peers at once.
pub const SOON: Duration = Duration::from_secs(20);

/// Polls until the condition holds.
///
/// # Panics
/// If it does not within the bound; says what was waited for.
pub fn wait_until(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {bound:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
