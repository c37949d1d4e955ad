//! Arguments of `ca-tool policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::PublishArgs;

/// `policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy file: its words, its bounds, its contradictions, its tests.
    #[command(after_help = "Example:\n  ca-tool policy check policy.yaml")]
    Check(PolicyArgs),
    /// Run the tests in a policy file and show each.
    #[command(after_help = "Example:\n  ca-tool policy test policy.yaml")]
    Test(PolicyArgs),
    /// Check, sign and record a policy, and bring it to the peers.
    #[command(after_help = "Example:\n  ca-tool policy push policy.yaml --via 192.0.2.7:7400")]
    Push(PushArgs),
    /// The policy that holds, as a file that can be changed and pushed.
    #[command(after_help = "Example:\n  ca-tool policy show > policy.yaml")]
    Show,
    /// The topics of the policy that holds, for another engine: never more than the policy allows.
    #[command(after_help = "Example:\n  ca-tool policy export --format mosquitto > acl")]
    Export(ExportPolicyArgs),
}

/// `policy export`
#[derive(Debug, Args)]
pub(crate) struct ExportPolicyArgs {
    /// For which engine.
    #[arg(long, value_enum)]
    pub(crate) format: Engine,
}

/// An engine that has topics of its own.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Engine {
    /// An acl_file, with use_identity_as_username.
    Mosquitto,
    /// An authorization block, with verify_and_map.
    Nats,
}

/// `policy check`, `policy test`
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The policy, YAML.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `policy push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Which policy.
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Through whom it goes out.
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
}
