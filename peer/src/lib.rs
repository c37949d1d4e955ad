//! The shell of one node: its bundle, its sockets and disks around the pure `peer-core`.
//!
//! **Invariant:** nothing here decides who is admitted; the verifier and `peer-core` do.

pub mod base64;
pub mod bundle;
pub mod config;
pub mod control;
pub mod daemon;
pub mod evidence;
pub mod inbox;
pub mod install;
pub mod join;
pub mod late;
mod ledger;
pub mod limits;
pub mod link;
pub mod mqtt;
pub mod outbox;
pub mod state;
mod store;
pub mod time;

#[cfg(test)]
mod fixture;
