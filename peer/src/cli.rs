//! The command line: the one file that knows clap. Text becomes typed values here, at the door.
//!
//! **Invariant:** a command that runs has arguments that make sense by themselves.

mod bridge;
mod mail;
mod mqtt;
mod running;
mod time;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use peer::config::is_listen;
use peer::control::post::To;
use peer::limits::{SEND_WAIT_MS, TTL_MAX_S};
use shared::key::Algorithm;
use shared::name::{Label, NodeName};
use shared::presence::is_address;
use shared::time::parse_duration_s;
use shared::wire::{Number, Priority};

pub(crate) use bridge::{BridgeCheckArgs, BridgeCommand};
pub(crate) use mail::{InboxArgs, PingArgs};
pub(crate) use mqtt::{MqttCommand, PubArgs, SubArgs};
pub(crate) use running::{JoinArgs, Log, RunArgs, RunningArgs};
pub(crate) use time::{QueryArgs, TimeArgs, TimeCommand};

/// A node of a private network: links to the others, sends and receives messages.
#[derive(Debug, Parser)]
#[command(
    name = "peer",
    version,
    max_term_width = 100,
    after_help = "\
Start here, with a string from `ca-tool invite`:
  peer join conclave:…
Or with a bundle from `ca-tool enroll`:
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
    /// The certificate: what is left of it, when it is renewed, and what will break when.
    #[command(after_help = "Example:\n  peer cert bob.bundle --json")]
    Cert(BundleArgs),
    /// Have the running peer renew its certificate now.
    #[command(after_help = "Example:\n  peer renew bob.bundle")]
    Renew(RenewArgs),
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
    /// Who may do what, and why.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Send a message, now or queued, and wait until it is on the receiver's disk.
    #[command(after_help = "Examples:\n  peer send bob.bundle alice hello\n  \
        journalctl -f | peer send bob.bundle alice - --lines\n  \
        peer send bob.bundle alice -f report.txt --ttl 24h --receipt\n  \
        peer send bob.bundle --group sensors restart")]
    Send(SendArgs),
    /// Messages that wait for others, and those that were dropped.
    #[command(after_help = "Examples:\n  peer outbox bob.bundle\n  \
        peer outbox drop bob.bundle 3.17")]
    Outbox(OutboxArgs),
    /// Signed receipts.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// MQTT at this peer.
    #[command(subcommand)]
    Mqtt(MqttCommand),
    /// The same topics at an existing MQTT engine.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Publish something.
    #[command(
        name = "pub",
        after_help = "Examples:\n  peer pub plant/3/temp 21.5 --retain\n  \
        peer pub plant/3/picture - --bundle bob.bundle < picture.jpg"
    )]
    Pub(PubArgs),
    /// Print what is published.
    #[command(name = "sub", after_help = "Example:\n  peer sub 'plant/#' --json")]
    Sub(SubArgs),
    /// The mesh clock: what it rests on, and how wrong it may be.
    #[command(after_help = "Examples:\n  peer time bob.bundle\n  peer time sources bob.bundle")]
    Time(TimeArgs),
    /// What the running peer counts, as Prometheus reads it.
    #[command(after_help = "Example:\n  peer metrics bob.bundle > /run/metrics/conclave.prom")]
    Metrics(BundleArgs),
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
    /// Certificates seen in two runs at once, and clocks with two faces, with the signed proof.
    #[command(after_help = "Example:\n  peer evidence bob.bundle --json")]
    Evidence(BundleArgs),
    /// Become a node by the string that `ca-tool invite` printed, and run.
    #[command(
        after_help = "Examples:\n  peer join conclave:…\n  peer join - --no-run < string\n\n\
        An argument can be seen by others on this machine; - reads the string from stdin."
    )]
    Join(JoinArgs),
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

/// `send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// To whom; with --group or --everyone left out.
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// What to send; - is stdin.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Send what is in a file.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// To every known node whose certificate names this group.
    #[arg(long, value_name = "GROUP", value_parser = Label::parse)]
    pub(crate) group: Option<Label>,
    /// To every known node.
    #[arg(long, conflicts_with = "group")]
    pub(crate) everyone: bool,
    /// Queue it, for so long at most, such as 90s, 24h or 7d, until it arrives. Without this and
    /// the next three, it is delivered now or not at all.
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub(crate) ttl: Option<i64>,
    /// Queue it at this priority: high, normal or low.
    #[arg(long, value_name = "PRIORITY", value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Queue it, and have the receiver sign a receipt.
    #[arg(long)]
    pub(crate) receipt: bool,
    /// Queue it, and write the signed receipt into a file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["group", "everyone", "lines"])]
    pub(crate) receipt_file: Option<PathBuf>,
    /// Send each line of stdin as one message.
    #[arg(long, conflicts_with = "file")]
    pub(crate) lines: bool,
    /// How long to wait until it has arrived, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = SEND_WAIT_MS,
        value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) wait_ms: u64,
}

/// What of a `send` depends on several of its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addressed {
    /// To whom.
    pub(crate) to: To,
    /// The text, unless a file is sent.
    pub(crate) text: Option<String>,
}

impl SendArgs {
    /// Who is meant and what is said: to many, the first word is the text.
    ///
    /// # Errors
    /// What is missing or too much, for the person.
    pub(crate) fn addressed(&self) -> Result<Addressed, String> {
        let many = self.group.clone().map(To::Group);
        let many = many.or_else(|| self.everyone.then_some(To::Everyone));
        let (to, text) = match (many, &self.node, &self.text) {
            (Some(_), _, Some(_)) => return Err("to many, there is no NODE".to_owned()),
            (Some(to), text, None) => (to, text.clone()),
            (None, Some(node), text) => {
                let node = NodeName::parse(node).map_err(|error| format!("NODE: {error}"))?;
                (To::Node(node), text.clone())
            }
            (None, None, _) => return Err("NODE is missing, or --group or --everyone".to_owned()),
        };
        match (&text, self.file.is_some() || self.lines) {
            (None, false) => Err("TEXT is missing, or --file FILE".to_owned()),
            (Some(_), _) if self.file.is_some() => Err("either TEXT or --file FILE".to_owned()),
            _ => Ok(Addressed { to, text }),
        }
    }
}

/// `outbox`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OutboxArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) act: Option<OutboxCommand>,
    /// The bundle.
    #[arg(required = true, env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: Option<PathBuf>,
}

/// `outbox …`
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Drop a message that waits.
    #[command(after_help = "Example:\n  peer outbox drop bob.bundle 3.17")]
    Drop(DropArgs),
    /// The signed receipts that came.
    #[command(after_help = "Example:\n  peer outbox receipts bob.bundle --json")]
    Receipts(BundleArgs),
}

/// `outbox drop`
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The number of the message, as `peer outbox` shows it.
    #[arg(value_parser = number)]
    pub(crate) id: Number,
}

/// `receipt`
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Judge a receipt in a file by the trust of a bundle; nothing has to run.
    #[command(after_help = "Example:\n  peer receipt verify bob.bundle report.receipt --body \
        report.txt")]
    Verify(VerifyArgs),
}

/// `receipt verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The receipt, from `peer send --receipt-file`.
    pub(crate) file: PathBuf,
    /// The message it should be about.
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
}

/// `renew`
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The bundle.
    #[arg(env = "CONCLAVE_BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Have the key there is certified again, instead of a fresh one.
    #[arg(long)]
    pub(crate) keep_key: bool,
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

/// `policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// The policy that holds here.
    #[command(after_help = "Example:\n  peer policy show bob.bundle")]
    Show(BundleArgs),
    /// Whether a node may do something with another, and by which rule; exit 3 if not.
    #[command(after_help = "Examples:\n  peer policy why bob.bundle alice send\n  \
        peer policy why bob.bundle alice publish:plant/3/temp --from carol")]
    Why(WhyArgs),
}

/// `policy why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// With whom.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// What: connect, send, share, get, time-root, forward:PORT, publish:TOPIC, subscribe:FILTER.
    pub(crate) action: String,
    /// Who asks; this node, unless given.
    #[arg(long, value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) from: Option<NodeName>,
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
        let cli = Self::parse();
        cli.check().unwrap_or_else(|error| error.exit());
        cli
    }

    /// What clap does not look at: arguments that depend on one another.
    fn check(&self) -> Result<(), clap::Error> {
        let Command::Send(args) = &self.command else { return Ok(()) };
        let wrong = |what| Self::command().error(clap::error::ErrorKind::ValueValidation, what);
        args.addressed().map(drop).map_err(wrong)
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

fn ttl(text: &str) -> Result<i64, String> {
    let usual = || "not a length of time such as 90s, 24h or 7d".to_owned();
    let ttl_s = parse_duration_s(text).ok_or_else(usual)?;
    let days = TTL_MAX_S / 86_400;
    (1..=TTL_MAX_S).contains(&ttl_s).then_some(ttl_s).ok_or_else(|| format!("1s to {days}d"))
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).ok_or_else(|| "known are high, normal, low".to_owned())
}

fn number(text: &str) -> Result<Number, String> {
    Number::parse(text).ok_or_else(|| "not a number such as 3.17".to_owned())
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
        let accepts =
            |line: &str| Cli::try_parse_from(line.split(' ')).is_ok_and(|cli| cli.check().is_ok());
        for line in [
            "peer run b --listen [::1]:0 --peer alice=a:1 --log json",
            "peer run b --peer 192.0.2.7:7400 --no-lan",
            "peer send b alice - --lines --json",
            "peer send b alice -hello",
            "peer send b alice -f x --ttl 24h --receipt --priority high",
            "peer send b --group sensors restart",
            "peer send b --everyone --lines",
            "peer outbox b",
            "peer outbox drop b 3.17",
            "peer receipt verify b f --body x",
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
            "peer send b alice",
            "peer send b alice x -f y",
            "peer send b --group sensors alice x",
            "peer send b alice x --ttl 31d",
            "peer send b alice x --ttl 0s",
            "peer send b alice x --priority urgent",
            "peer outbox drop b 3",
            "peer ping b alice --count 0",
            "peer inbox b --clear --follow",
            "peer request authority",
            "peer request bob --algorithm rsa",
        ] {
            assert!(!accepts(line), "{line}");
        }
    }
}
