//! Arguments of the commands that run a peer: joining and running.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use shared::name::NodeName;

use super::{dialled, listen};

/// `join`
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The string, from conclave: to its end; - reads it from stdin.
    #[arg(value_name = "STRING")]
    pub(crate) string: String,
    /// The bundle to make; NODE.bundle unless given.
    #[arg(long, value_name = "PLACE")]
    pub(crate) out: Option<PathBuf>,
    /// Make the bundle and do not run it.
    #[arg(long)]
    pub(crate) no_run: bool,
    /// How it runs then.
    #[command(flatten)]
    pub(crate) running: RunningArgs,
}

/// How a peer runs.
#[derive(Debug, Args)]
pub(crate) struct RunningArgs {
    /// Where to listen, instead of where node.yaml says; port 0 is any free one, and
    /// `none` is nowhere: relays connect this node.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    pub(crate) listen: Option<String>,
    /// A peer to dial, besides those of node.yaml; without a name, whoever of the network is there.
    #[arg(long, value_name = "[NAME=]HOST:PORT", value_parser = dialled)]
    pub(crate) peer: Vec<(Option<NodeName>, String)>,
    /// Announce and look for nothing on the local network.
    #[arg(long)]
    pub(crate) no_lan: bool,
    /// Speak MQTT with programs of this machine here; port 0 is any free one.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    pub(crate) mqtt: Option<String>,
    /// Speak MQTT over mutual TLS here, with every program that has a certificate of the network.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    pub(crate) mqtts: Option<String>,
    /// Speak MQTT over WebSocket with pages of this machine here.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    pub(crate) mqtt_ws: Option<String>,
    /// Tell the time here by NTP under NTS, over UDP; port 0 is any free one.
    #[arg(long, value_name = "IP:PORT", value_parser = peer::config::time::parse)]
    pub(crate) time: Option<SocketAddr>,
    /// Hand out keys for that here, at the standard's port 4460 for example.
    #[arg(long, value_name = "IP:PORT", value_parser = peer::config::time::parse)]
    pub(crate) ke: Option<SocketAddr>,
    /// How log lines look; what is logged says CONCLAVE_LOG.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log: Log,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The bundle.
    #[arg(env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// How it runs.
    #[command(flatten)]
    pub(crate) running: RunningArgs,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Log {
    /// A line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}
