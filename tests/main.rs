//! The scenarios, each a module named after what it proves.
//!
//! One program for all of them: it is linked once, and the runner starts as many at a time as the
//! machine has cores.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is to stop"
)]

mod approved;
mod apps;
mod asymmetric;
mod beside;
mod besieged;
mod blind;
mod bounds;
mod bridge;
mod burst;
mod chrony;
mod corpus;
mod cut_off;
mod dates;
mod day;
mod demo;
mod discovery;
mod engines;
mod feed;
mod first_five_minutes;
mod full;
mod hostile;
mod hour;
mod house;
mod impostor;
mod instance;
mod interrupted;
mod joining;
mod judges;
mod keeping;
mod live;
mod messages;
mod mqtt;
mod names;
mod offline;
mod policy;
mod post_quantum;
mod readme;
mod relay;
mod renewal;
mod renewed;
mod restart;
mod revoked;
mod ring;
mod rust_client;
mod skewed;
mod soak;
mod suspended;
mod system_clock;
mod topics;
mod two_certificates;
mod unauthorized;
mod yaml;
