//! Arguments of `ping` and `inbox`.

use std::path::PathBuf;

use clap::Args;
use peer::limits::PINGS_MAX;
use shared::name::NodeName;

/// `ping`
#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// Whom.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// How often.
    #[arg(long, default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(PINGS_MAX)))]
    pub(crate) count: u32,
}

/// `inbox`
#[derive(Debug, Args)]
pub(crate) struct InboxArgs {
    /// The bundle.
    #[arg(env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Go on with messages as they come.
    #[arg(long, conflicts_with = "clear")]
    pub(crate) follow: bool,
    /// Forget the messages once they are printed.
    #[arg(long)]
    pub(crate) clear: bool,
}
