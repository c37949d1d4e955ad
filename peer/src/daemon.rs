//! A stand-in for the daemon.

use std::net::SocketAddr;

use host::fault::Fault;
use host::lock::FileLock;
use shared::name::NodeName;

use crate::bundle::Bundle;

/// What a daemon starts with.
pub struct Start {
    /// The bundle, read and checked.
    pub bundle: Bundle,
    /// The proof that no other peer runs on it.
    pub lock: FileLock,
    /// Where to listen instead of where `node.yaml` says.
    pub listen: Option<String>,
    /// Peers to dial besides those of `node.yaml`.
    pub peers: Vec<(NodeName, String)>,
    /// Called once, when the socket listens.
    pub on_listening: Box<dyn FnOnce(SocketAddr) + Send>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// Always: this is a stand-in.
pub fn run(_start: Start) -> Result<(), Fault> {
    Err(Fault::failed("the daemon is not built in"))
}
