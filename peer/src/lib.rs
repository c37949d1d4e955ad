//! The peer: links to other nodes over mutual TLS, driven by what `peer-core` decides.

pub mod limits;
pub mod link;
