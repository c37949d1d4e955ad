//! The control socket: how commands speak to the running peer of a bundle.
//!
//! `control.sock` (0600) in the bundle (0700). A socket's path has at most 107 bytes, a bundle
//! may be longer: the folder is opened and the socket reached through it.
//!
//! **Invariant:** who can open the socket could as well read the key beside it.

pub mod bridge;
pub mod client;
pub mod metrics;
pub mod mqtt;
pub mod nodes;
pub mod policy;
pub mod post;
pub mod protocol;
mod refusals;
pub mod server;
pub mod time;

pub use client::{Client, Replies};
pub use protocol::{Reply, Request};
pub use server::{Closed, Handler, Replier, Server};

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The socket's name in the bundle.
pub const SOCKET: &str = "control.sock";

/// A way to the socket that is short however long the bundle's path is; good while it lives.
pub struct ShortPath {
    /// The socket.
    pub path: PathBuf,
    _folder: File,
}

impl ShortPath {
    /// To the control socket of a folder that is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        Self::to(folder, SOCKET)
    }

    /// To a socket in a folder that is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn to(folder: &Path, name: &str) -> std::io::Result<Self> {
        let opened = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
        Ok(Self { path, _folder: opened })
    }
}
