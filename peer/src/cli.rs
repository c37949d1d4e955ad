//! The command line: the one file that knows clap. Text becomes typed values here, at the door.
//!
//! **Invariant:** a command that runs has arguments that make sense by themselves.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use peer::config::is_listen;
use peer::limits::{PINGS_MAX, SEND_WAIT_MS};
use shared::key::Algorithm;
use shared::name::NodeName;
use shared::presence::is_address;

/// A node of a private network: links to the others, sends and receives messages.
#[derive(Debug, Parser)]
#[command(
    name = "peer",
    version,
    max_term_width = 100,
    after_help = "\
Start here, with a bundle from `ca-tool enroll`:
  peer run alice.bundle --listen 0.0.0.0:7400
  peer status alice.bundle
  peer send alice.bundle bob hello

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by policy, 4 the peer is not running."
)]
pub(crate) struct Cli {
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node of a bundle until it is stopped.
    #[command(after_help = "Example:\n  peer run bob.bundle --peer alice=192.0.2.7:7400")]
    Run(RunArgs),
    /// Links, nodes that are known, certificate and feed.
    #[command(after_help = "Example:\n  peer status bob.bundle --json")]
    Status(BundleArgs),
    /// The directory: who is known, where, by which way, and how current.
    #[command(after_help = "Example:\n  peer nodes bob.bundle --json")]
    Nodes(BundleArgs),
    /// Who is behind a name or an address: certificate, key, and since when linked.
    #[command(after_help = "Examples:\n  peer whois bob.bundle alice\n  \
        peer whois bob.bundle 192.0.2.7:7400")]
    Whois(WhoisArgs),
    /// The way to a node, step by step, with times.
    #[command(after_help = "Example:\n  peer trace bob.bundle alice")]
    Trace(TraceArgs),
    /// Send a message and wait until it is on the receiver's disk.
    #[command(after_help = "Examples:\n  peer send bob.bundle alice hello\n  \
        journalctl -f | peer send bob.bundle alice - --lines")]
    Send(SendArgs),
    /// Measure the way to a linked node.
    #[command(after_help = "Example:\n  peer ping bob.bundle alice --count 10")]
    Ping(PingArgs),
    /// Messages that came in.
    #[command(after_help = "Examples:\n  peer inbox bob.bundle --follow\n  \
        peer inbox bob.bundle --clear")]
    Inbox(InboxArgs),
    /// The signed list of revocations.
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Certificates that were seen in two runs at once, with the signed proof.
    #[command(after_help = "Example:\n  peer evidence bob.bundle --json")]
    Evidence(BundleArgs),
    /// Make a key that never leaves this machine, and a request for it.
    #[command(after_help = "Example:\n  peer request carol")]
    Request(RequestArgs),
    /// Make a bundle of a requested certificate.
    #[command(after_help = "Example:\n  peer install carol.bundle carol.crt --peer \
        alice=192.0.2.7:7400")]
    Install(InstallArgs),
    /// Have the running peer read its bundle again.
    #[command(after_help = "Example:\n  peer reload bob.bundle")]
    Reload(BundleArgs),
    /// End the running peer.
    #[command(after_help = "Example:\n  peer stop bob.bundle")]
    Stop(BundleArgs),
    /// Completions for a shell.
    #[command(after_help = "Example:\n  peer completions bash > \
        ~/.local/share/bash-completion/completions/peer")]
    Completions(CompletionsArgs),
    /// The man page, as roff.
    #[command(hide = true)]
    Man,
}

/// A bundle.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The bundle.
    #[arg(env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: PathBuf,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The bundle.
    #[arg(env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: PathBuf,
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
    /// How log lines look; what is logged says CONCLAVE_LOG.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log: Log,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Log {
    /// A line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// `send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// To whom.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// What to send; - is stdin.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) text: String,
    /// Send each line of stdin as one message.
    #[arg(long)]
    pub(crate) lines: bool,
    /// How long to wait for the receipt, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = SEND_WAIT_MS,
        value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) wait_ms: u64,
}

/// `whois`
#[derive(Debug, Args)]
pub(crate) struct WhoisArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// A node's name, or HOST:PORT, or HOST.
    #[arg(value_name = "NAME|ADDRESS")]
    pub(crate) who: String,
}

/// `trace`
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// Whom.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
}

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

/// `feed`
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Give the running peer a feed file, which it passes on to all others.
    #[command(after_help = "Example:\n  peer feed import bob.bundle mesh.feed")]
    Import(ImportArgs),
    /// The feed of a bundle, as it is on the disk.
    #[command(after_help = "Example:\n  peer feed show bob.bundle")]
    Show(BundleArgs),
}

/// `feed import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The file from `ca-tool feed export`.
    pub(crate) file: PathBuf,
}

/// `request`
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The node's name: a-z, 0-9 and -.
    #[arg(value_name = "NODE", value_parser = NodeName::parse_enrollable)]
    pub(crate) node: NodeName,
    /// The folder in which NODE.bundle and NODE.csr are made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Of the key: p256, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87.
    #[arg(long, default_value = "p256", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
}

/// `install`
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The bundle that `peer request` began.
    pub(crate) bundle: PathBuf,
    /// The certificate file from `ca-tool enroll --csr`.
    #[arg(value_name = "FILE.crt")]
    pub(crate) file: PathBuf,
    /// A peer that the node dials.
    #[arg(long, value_name = "NAME=HOST:PORT", value_parser = peer)]
    pub(crate) peer: Vec<(NodeName, String)>,
}

/// `completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell.
    pub(crate) shell: Shell,
}

impl Cli {
    /// Reads the command line; prints help, or what is wrong, and ends with 0 or 2.
    #[must_use]
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}

/// Completions for a shell.
#[must_use]
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "peer", &mut text);
    text
}

/// The man page of the program and its commands.
///
/// # Errors
/// Never in practice: it is written into memory.
pub(crate) fn man() -> std::io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("peer-{}", sub.get_name());
        clap_mangen::Man::new(sub.clone()).title(name).render(&mut text)?;
    }
    Ok(text)
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        format!("known are {}", names.join(", "))
    })
}

fn listen(text: &str) -> Result<String, String> {
    is_listen(text).then(|| text.to_owned()).ok_or_else(|| "not an address HOST:PORT".to_owned())
}

fn dialled(text: &str) -> Result<(Option<NodeName>, String), String> {
    if text.contains('=') {
        return peer(text).map(|(name, at)| (Some(name), at));
    }
    is_address(text)
        .then(|| (None, text.to_owned()))
        .ok_or_else(|| "not an address HOST:PORT".into())
}

fn peer(text: &str) -> Result<(NodeName, String), String> {
    let (name, at) = text.split_once('=').ok_or("not of the form NAME=HOST:PORT")?;
    if !is_address(at) {
        return Err("not an address HOST:PORT".to_owned());
    }
    Ok((NodeName::parse(name).map_err(|error| error.to_string())?, at.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
        assert!(!completions(Shell::Bash).is_empty());
        assert!(String::from_utf8(man().unwrap()).unwrap().contains("inbox"));
    }

    #[test]
    fn values_are_typed_at_the_door() {
        let accepts = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "peer run b --listen [::1]:0 --peer alice=a:1 --log json",
            "peer run b --peer 192.0.2.7:7400 --no-lan",
            "peer send b alice - --lines --json",
            "peer send b alice -hello",
            "peer inbox b --clear",
            "peer install b f --peer alice=a:1",
        ] {
            assert!(accepts(line), "{line}");
        }
        for line in [
            "peer run b --listen nowhere",
            "peer run b --peer alice",
            "peer run b --peer =a:1",
            "peer send b Alice x",
            "peer ping b alice --count 0",
            "peer inbox b --clear --follow",
            "peer request authority",
            "peer request bob --algorithm rsa",
        ] {
            assert!(!accepts(line), "{line}");
        }
    }
}
