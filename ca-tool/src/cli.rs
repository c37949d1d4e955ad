//! The command line: the one file that knows clap. Text becomes typed values here, at the door.
//!
//! **Invariant:** a command that runs has arguments that make sense by themselves.

mod online;
mod policy;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use shared::cert::Usage;
use shared::feed::Reason;
use shared::key::Algorithm;
use shared::name::{NetworkName, NodeName, parse_spiffe};
use shared::presence::is_address;
use shared::time::{Timestamp, parse_duration_s};

pub(crate) use online::{InviteArgs, Log, NodeArgs, ServeArgs, WishArgs};
pub(crate) use policy::{Engine, PolicyArgs, PolicyCommand, PushArgs};

/// The authority of a private network: enrols nodes, renews them, turns them out.
#[derive(Debug, Parser)]
#[command(
    name = "ca-tool",
    version,
    max_term_width = 100,
    after_help = "\
Start here:
  ca-tool init mesh.example
  ca-tool serve
  ca-tool invite carol            (beside it; then on carol: peer join conclave:…)
  ca-tool revoke carol --reason key-compromise
Without a network between them:
  ca-tool enroll alice --out alice.bundle

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by policy."
)]
pub(crate) struct Cli {
    /// Where the authority keeps its state.
    #[arg(long, env = "CONCLAVE_PKI", default_value = "./pki/state", global = true)]
    pub(crate) pki: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase from the first line of this file (mode 0600); else CONCLAVE_PASSPHRASE.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new authority: root, issuing certificate, keys, an empty feed.
    #[command(after_help = "Example:\n  ca-tool init mesh.example --algorithm ed25519")]
    Init(InitArgs),
    /// Go online: let in who was invited, renew members, answer other commands.
    #[command(after_help = "Example:\n  ca-tool serve --listen 0.0.0.0:7443")]
    Serve(ServeArgs),
    /// Invite a machine: one string that makes it a node.
    #[command(after_help = "Examples:\n  ca-tool invite carol --ttl 10m --groups lab\n  \
        ca-tool invite carol --hold")]
    Invite(Box<InviteArgs>),
    /// All invitations and how they stand.
    Invites,
    /// Take an invitation back.
    #[command(after_help = "Example:\n  ca-tool uninvite carol")]
    Uninvite(NodeArgs),
    /// Machines that wait for approval.
    Pending,
    /// Let in a machine that waits.
    #[command(after_help = "Example:\n  ca-tool approve carol")]
    Approve(NodeArgs),
    /// Turn away a machine that waits.
    #[command(after_help = "Example:\n  ca-tool deny carol")]
    Deny(NodeArgs),
    /// Make a machine a node: a bundle, or a certificate for its request.
    #[command(after_help = "Examples:\n  ca-tool enroll bob --out bob.bundle --peer \
        alice=192.0.2.7:7400\n  ca-tool enroll carol --csr carol.csr --out carol.crt")]
    Enroll(Box<EnrollArgs>),
    /// Certify a node again, on the terms of its enrolment.
    #[command(
        after_help = "Examples:\n  ca-tool renew bob --out bob.bundle\n  ca-tool renew carol \
        --csr carol.csr --out carol.crt"
    )]
    Renew(RenewArgs),
    /// Turn a node out, for good, everywhere.
    #[command(after_help = "Example:\n  ca-tool revoke bob --reason key-compromise")]
    Revoke(RevokeArgs),
    /// Put a node on hold; `resume` lifts it.
    #[command(after_help = "Example:\n  ca-tool suspend carol")]
    Suspend(ActArgs),
    /// Lift the hold on a node.
    #[command(after_help = "Example:\n  ca-tool resume carol")]
    Resume(ActArgs),
    /// Sign the feed and the CRL again, and bring them to the peers.
    #[command(after_help = "Example (in a daily timer):\n  ca-tool publish")]
    Publish(PublishArgs),
    /// The signed list of revocations as a file.
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Who may do what: check it, try it, make it the network's.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// All nodes and how they stand.
    List,
    /// One node, or one certificate by its serial.
    #[command(after_help = "Examples:\n  ca-tool show bob\n  ca-tool show 4f02…")]
    Show(ShowArgs),
    /// The CRL for other programs (mosquitto, nginx, openssl).
    #[command(after_help = "Example:\n  ca-tool crl --out crl.pem")]
    Crl(CrlArgs),
    /// Check a certificate against the rules of its kind.
    #[command(after_help = "Example:\n  ca-tool lint alice.bundle/id/node.crt")]
    Lint(LintArgs),
    /// Judge a certificate as a peer would: exit 0 or 3.
    #[command(after_help = "Example:\n  ca-tool verify --roots trust.pem --inter issuing.crt \
        --crls crl.pem --leaf node.crt --usage client --name alice.mesh.example")]
    Verify(Box<VerifyArgs>),
    /// Every act of the authority, oldest first.
    #[command(after_help = "Example:\n  ca-tool log --verify")]
    Log(LogArgs),
    /// Look for what is wrong or will be soon.
    Doctor,
    /// Completions for a shell.
    #[command(after_help = "Example:\n  ca-tool completions bash > \
        ~/.local/share/bash-completion/completions/ca-tool")]
    Completions(CompletionsArgs),
    /// The man page, as roff.
    #[command(hide = true)]
    Man,
}

/// `init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The network's name: DNS-like, at least two labels.
    #[arg(value_name = "NETWORK", value_parser = network)]
    pub(crate) network: NetworkName,
    /// Of all keys: p256, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87.
    #[arg(long, default_value = "p256", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
    /// Leave the keys unencrypted, protected by file modes alone.
    #[arg(long)]
    pub(crate) no_encrypt: bool,
}

/// `enroll`
#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The node's name: a-z, 0-9 and -.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// The bundle (a new folder), or with --csr the certificate file.
    #[arg(long, value_name = "PLACE")]
    pub(crate) out: PathBuf,
    /// Certify the key of this request instead of making one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["peer", "listen", "algorithm"])]
    pub(crate) csr: Option<PathBuf>,
    /// What the node is to be.
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// How long certificates live: 12h, 7d.
    #[arg(long, value_parser = duration)]
    pub(crate) ttl: Option<i64>,
    /// A peer that the node dials.
    #[arg(long, value_name = "NAME=HOST:PORT", value_parser = peer)]
    pub(crate) peer: Vec<(NodeName, String)>,
    /// Where the node listens.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    pub(crate) listen: Option<String>,
    /// Of the node's key; the network's algorithm unless given.
    #[arg(long, value_parser = algorithm)]
    pub(crate) algorithm: Option<Algorithm>,
}

/// `renew`
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The node.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// Its bundle (a running peer takes the new certificate at once), or a certificate file.
    #[arg(long, value_name = "PLACE")]
    pub(crate) out: Option<PathBuf>,
    /// Certify the key of this request instead of the last one.
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    pub(crate) csr: Option<PathBuf>,
    /// Make a new key; into the bundle, or a new bundle if the old one is lost.
    #[arg(long, requires = "out")]
    pub(crate) new_key: bool,
}

/// `revoke`
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Whom, and through whom.
    #[command(flatten)]
    pub(crate) act: ActArgs,
    /// Why: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or
    /// privilege-withdrawn.
    #[arg(long, default_value = "unspecified", value_parser = reason)]
    pub(crate) reason: Reason,
}

/// `suspend`, `resume`
#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// The node.
    #[arg(value_name = "NODE", value_parser = NodeName::parse)]
    pub(crate) node: NodeName,
    /// Through whom the news goes out.
    #[command(flatten)]
    pub(crate) publish: PublishArgs,
}

/// `publish`
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// A running peer to bring the feed to; the remembered ones unless given.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) via: Vec<String>,
}

/// `feed`
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Write the feed to a file that `peer feed import` reads.
    #[command(after_help = "Example:\n  ca-tool feed export --out mesh.feed")]
    Export(ExportArgs),
}

/// `feed export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file; replaced if it exists.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A node's name, or a certificate's serial in hexadecimal.
    #[arg(value_name = "NODE|SERIAL")]
    pub(crate) what: String,
}

/// `crl`
#[derive(Debug, Args)]
pub(crate) struct CrlArgs {
    /// The file: DER if it ends in .der or .crl, PEM otherwise. Without it, PEM goes to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `lint`
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// A certificate, PEM or DER.
    #[arg(value_name = "CERT")]
    pub(crate) cert: PathBuf,
}

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Trusted root certificates.
    #[arg(long, value_name = "FILE")]
    pub(crate) roots: PathBuf,
    /// Intermediate certificates.
    #[arg(long, value_name = "FILE")]
    pub(crate) inter: Option<PathBuf>,
    /// CRLs; when given, the leaf's issuer must be covered by a valid one.
    #[arg(long, value_name = "FILE")]
    pub(crate) crls: Option<PathBuf>,
    /// The certificate to judge.
    #[arg(long, value_name = "FILE")]
    pub(crate) leaf: PathBuf,
    /// What it is used for: client or server (of a link), or program (at a peer's door).
    #[arg(long, value_parser = usage)]
    pub(crate) usage: Usage,
    /// The name expected: alice, alice.mesh.example or spiffe://mesh.example/node/alice.
    #[arg(long, value_name = "NAME", value_parser = expected)]
    pub(crate) name: Expected,
    /// The moment to judge at: RFC 3339 or seconds since 1970; now unless given.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) time: Option<Timestamp>,
    /// The network, where the name does not say it.
    #[arg(long, value_parser = network)]
    pub(crate) network: Option<NetworkName>,
}

/// A name as `verify --name` takes it.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// The node.
    pub(crate) node: NodeName,
    /// Its network, where the name said it.
    pub(crate) network: Option<NetworkName>,
}

/// `log`
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Check the chain of hashes instead of printing: exit 0 or 3.
    #[arg(long)]
    pub(crate) verify: bool,
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
    clap_complete::generate(shell, &mut Cli::command(), "ca-tool", &mut text);
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
        let name = format!("ca-tool-{}", sub.get_name());
        clap_mangen::Man::new(sub.clone()).title(name).render(&mut text)?;
    }
    Ok(text)
}

fn network(text: &str) -> Result<NetworkName, String> {
    NetworkName::parse(text).map_err(|error| error.to_string())
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        format!("known are {}", names.join(", "))
    })
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Reason::FOR_REVOCATION.iter().map(|r| r.as_str()).collect();
        format!("known are {}", names.join(", "))
    })
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration_s(text).ok_or_else(|| "not a length of time such as 12h or 7d".to_owned())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not RFC 3339 and not seconds since 1970".to_owned())
}

fn usage(text: &str) -> Result<Usage, String> {
    match text {
        "client" => Ok(Usage::Client),
        "server" => Ok(Usage::Server),
        "program" => Ok(Usage::Program),
        _ => Err("known are client, server, program".to_owned()),
    }
}

fn address(text: &str) -> Result<String, String> {
    let sound = is_address(text).then(|| text.to_owned());
    sound.ok_or_else(|| "not an address HOST:PORT".to_owned())
}

/// As [`address`], and port 0: any free one.
fn listen(text: &str) -> Result<String, String> {
    match text.strip_suffix(":0") {
        Some(host) => address(&format!("{host}:1")).map(|_| text.to_owned()),
        None => address(text),
    }
}

fn peer(text: &str) -> Result<(NodeName, String), String> {
    let (name, at) = text.split_once('=').ok_or("not of the form NAME=HOST:PORT")?;
    Ok((NodeName::parse(name).map_err(|error| error.to_string())?, address(at)?))
}

fn expected(text: &str) -> Result<Expected, String> {
    if let Some((network, _, node)) = parse_spiffe(text) {
        return Ok(Expected { node, network: Some(network) });
    }
    let wrong = |error: shared::name::NameError| error.to_string();
    match text.split_once('.') {
        Some((node, network)) => Ok(Expected {
            node: NodeName::parse(node).map_err(wrong)?,
            network: Some(NetworkName::parse(network).map_err(wrong)?),
        }),
        None => Ok(Expected { node: NodeName::parse(text).map_err(wrong)?, network: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
        assert!(!completions(Shell::Bash).is_empty());
        assert!(String::from_utf8(man().unwrap()).unwrap().contains("revoke"));
    }

    #[test]
    fn values_are_typed_at_the_door() {
        let accepts = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(accepts("ca-tool enroll bob --out b --peer alice=[::1]:7400 --listen 0.0.0.0:0"));
        for line in [
            "ca-tool init single",
            "ca-tool init a.b --algorithm rsa",
            "ca-tool enroll Bob --out b",
            "ca-tool enroll bob --out b --ttl 7",
            "ca-tool enroll bob --out b --peer alice",
            "ca-tool enroll bob --out b --listen nowhere",
            "ca-tool enroll bob --out b --csr f --listen 0.0.0.0:1",
            "ca-tool revoke bob --reason certificate-hold",
            "ca-tool revoke bob --via :1",
            "ca-tool renew bob --new-key",
        ] {
            assert!(!accepts(line), "{line}");
        }
    }

    #[test]
    fn a_name_may_say_its_network() {
        assert!(expected("alice").unwrap().network.is_none());
        for text in ["alice.mesh.example", "spiffe://mesh.example/node/alice"] {
            let found = expected(text).unwrap();
            assert_eq!(found.node.as_str(), "alice");
            assert_eq!(found.network.unwrap().as_str(), "mesh.example");
        }
        assert!(expected("alice.example").is_err());
    }
}
