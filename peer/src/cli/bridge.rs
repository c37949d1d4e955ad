//! Arguments of the commands about bridges.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::BundleArgs;

/// `bridge`
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// The bridges of the running peer: whether they are up, what they carried, and what was wrong.
    #[command(after_help = "Example:\n  peer bridge status bob.bundle --json")]
    Status(BundleArgs),
    /// Connect to an engine once, and say what it says; exit 3 if either refuses the other.
    #[command(after_help = "Examples:\n  peer bridge check bob.bundle mqtts://mq.example:8883\n  \
        peer bridge check bob.bundle plant")]
    Check(BridgeCheckArgs),
}

/// `bridge check`
#[derive(Debug, Args)]
pub(crate) struct BridgeCheckArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// A bridge of node.yaml by its name, or mqtt://HOST:PORT, or mqtts://HOST:PORT.
    #[arg(value_name = "NAME|URL")]
    pub(crate) engine: String,
    /// Trust these roots instead of the network's authority.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The name that the engine's certificate must have, if it is not that of the URL.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Speak MQTT 3.1.1.
    #[arg(long)]
    pub(crate) v311: bool,
}
