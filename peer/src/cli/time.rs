//! Arguments of the commands about the time.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::BundleArgs;

/// `time`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TimeArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) act: Option<TimeCommand>,
    /// The bundle.
    #[arg(required = true, env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: Option<PathBuf>,
}

/// `time …`
#[derive(Debug, Subcommand)]
pub(crate) enum TimeCommand {
    /// Whom the running peer asks for the time, and what each says.
    #[command(after_help = "Example:\n  peer time sources bob.bundle --json")]
    Sources(BundleArgs),
    /// Ask a server for the time; nothing is set.
    #[command(after_help = "Examples:\n  peer time query time.example --nts\n  \
        peer time query 192.0.2.7:4460 --bundle bob.bundle --node alice")]
    Query(QueryArgs),
    /// Compare the system's clock with the floor and with the dates of the certificate.
    #[command(after_help = "Example:\n  peer time check bob.bundle")]
    Check(BundleArgs),
    /// Take the floor back, after it was raised by a wrong clock.
    #[command(after_help = "Example:\n  peer time reset-floor bob.bundle")]
    ResetFloor(BundleArgs),
}

/// `time query`
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The server: HOST or HOST:PORT; with --nts the port where keys are exchanged.
    pub(crate) server: String,
    /// By NTS, under the system's roots unless --ca or --bundle is given.
    #[arg(long)]
    pub(crate) nts: bool,
    /// The file with the roots of its certificate.
    #[arg(long, value_name = "FILE", requires = "nts")]
    pub(crate) ca: Option<PathBuf>,
    /// As this node, from another member; with --node.
    #[arg(long, value_name = "PLACE", requires = "node", conflicts_with = "ca")]
    pub(crate) bundle: Option<PathBuf>,
    /// Which member must answer; with --bundle.
    #[arg(long, value_name = "NODE", requires = "bundle")]
    pub(crate) node: Option<shared::name::NodeName>,
}
