//! The endpoint by its own words: clients without sockets, time by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod across;
mod bridging;
mod connecting;
mod delivering;
mod denied;
mod lasting;
mod quotas;
mod retaining;
mod rig;
mod sharing;
