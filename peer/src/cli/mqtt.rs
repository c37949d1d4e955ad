//! Arguments of the commands that speak MQTT.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::BundleArgs;

/// `mqtt`
#[derive(Debug, Subcommand)]
pub(crate) enum MqttCommand {
    /// Where the running peer speaks MQTT, with whom, and what waits.
    #[command(after_help = "Example:\n  peer mqtt status bob.bundle --json")]
    Status(BundleArgs),
}

/// `pub`
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The topic.
    pub(crate) topic: String,
    /// What to publish; - reads it from stdin, and an empty one clears what is retained.
    pub(crate) message: String,
    /// The bundle of the running peer; the only one in this folder, unless given.
    #[arg(long, env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Quality of service: 0, 1 or 2.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Keep it for those who subscribe later.
    #[arg(long, short)]
    pub(crate) retain: bool,
    /// Seconds after which it is worth nothing.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) expiry: Option<u32>,
}

/// `sub`
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// Topic filters.
    #[arg(required = true)]
    pub(crate) filter: Vec<String>,
    /// The bundle of the running peer; the only one in this folder, unless given.
    #[arg(long, env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Quality of service: 0, 1 or 2.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// End after so many messages.
    #[arg(long, short = 'C', value_name = "MESSAGES")]
    pub(crate) count: Option<u64>,
}
