//! The endpoint by its own words: clients without sockets, time by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod across;
mod beyond;
mod bridging;
mod conformance_before;
mod conformance_connect;
mod conformance_publish;
mod conformance_sizes;
mod conformance_state;
mod conformance_subscribe;
mod conformance_wills;
mod connecting;
mod delivering;
mod denied;
mod held;
mod lasting;
mod links;
mod quotas;
mod retaining;
mod rig;
mod sharing;
