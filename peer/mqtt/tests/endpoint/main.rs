//! The endpoint by its own words: clients without sockets, time by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod across;
mod beyond;
mod bridging;
mod connecting;
mod delivering;
mod denied;
mod lasting;
mod links;
mod quotas;
mod retaining;
mod rig;
mod sharing;
