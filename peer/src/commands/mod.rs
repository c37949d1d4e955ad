//! The commands: each asks the library or the running peer, and says on stdout what came of it.
//!
//! **Invariant:** data goes to stdout, talk to stderr; `--json` prints JSON values, one a line.

mod bridge;
mod cert;
mod evidence;
mod feed;
mod inbox;
mod install;
mod join;
mod metrics;
mod mqtt;
mod nodes;
mod outbox;
mod policy;
mod run;
mod send;
mod status;
mod time;
mod trace;

use std::io::Write as _;
use std::path::Path;

use host::fault::{Exit, Fault};
use host::terminal::Out;
use peer::control::{Client, Request};
use serde_json::json;
use shared::name::MemberKind;

use crate::cli::{
    BridgeCommand, Cli, Command, FeedCommand, MqttCommand, OutboxCommand, PolicyCommand,
    ReceiptCommand,
};

/// What to type once a bundle is complete.
fn next_with(kind: MemberKind, bundle: &Path) -> String {
    match kind {
        MemberKind::Node => format!("next: peer run {}", bundle.display()),
        MemberKind::App => format!("next: {}", peer::bundle::usage_of_app(bundle)),
    }
}

/// What every command gets.
struct Desk {
    out: Out,
}

/// Runs one command.
///
/// # Errors
/// The fault to report.
pub(crate) fn run(cli: &Cli) -> Result<Exit, Fault> {
    let desk = Desk { out: Out::new(cli.json) };
    if let Command::Send(args) = &cli.command {
        return send::send(&desk, args);
    }
    if let Command::Policy(PolicyCommand::Why(args)) = &cli.command {
        return policy::why(&desk, args);
    }
    match &cli.command {
        Command::Run(args) => run::run(desk, &args.bundle, &args.running),
        Command::Join(args) => join::join(desk, args),
        Command::Status(args) => status::status(&desk, &args.bundle),
        Command::Cert(args) => cert::cert(&desk, &args.bundle),
        Command::Renew(args) => cert::renew(&desk, args),
        Command::Nodes(args) => nodes::nodes(&desk, &args.bundle),
        Command::Whois(args) => nodes::whois(&desk, args),
        Command::Policy(PolicyCommand::Show(args)) => policy::show(&desk, args),
        Command::Policy(PolicyCommand::Why(_)) => Ok(()),
        Command::Trace(args) => trace::trace(&desk, args),
        Command::Send(_) => Ok(()),
        Command::Outbox(args) => match (&args.act, &args.bundle) {
            (Some(OutboxCommand::Drop(args)), _) => outbox::drop_one(&desk, args),
            (Some(OutboxCommand::Receipts(args)), _) => outbox::receipts(&desk, &args.bundle),
            (None, Some(bundle)) => outbox::outbox(&desk, bundle),
            (None, None) => Ok(()),
        },
        Command::Receipt(ReceiptCommand::Verify(args)) => outbox::verify(&desk, args),
        Command::Mqtt(MqttCommand::Status(args)) => mqtt::status(&desk, args),
        Command::Bridge(BridgeCommand::Status(args)) => bridge::status(&desk, args),
        Command::Bridge(BridgeCommand::Check(args)) => bridge::try_out(&desk, args),
        Command::Metrics(args) => metrics::metrics(&desk, args),
        Command::Pub(args) => mqtt::publish(&desk, args),
        Command::Sub(args) => mqtt::subscribe(&desk, args),
        Command::Time(args) => time::time(&desk, args),
        Command::Ping(args) => send::ping(&desk, args),
        Command::Inbox(args) => inbox::inbox(&desk, args),
        Command::Feed(FeedCommand::Import(args)) => feed::import(&desk, args),
        Command::Feed(FeedCommand::Show(args)) => feed::show(&desk, &args.bundle),
        Command::Evidence(args) => evidence::evidence(&desk, &args.bundle),
        Command::Request(args) => install::request(&desk, args),
        Command::Install(args) => install::install(&desk, args),
        Command::Reload(args) => desk.tell_peer(&args.bundle, &Request::Reload, "read again"),
        Command::Stop(args) => desk.tell_peer(&args.bundle, &Request::Stop, "stopping"),
        Command::Completions(args) => desk.raw(&crate::cli::completions(args.shell)),
        Command::Man => desk.raw(&crate::cli::man().map_err(output)?),
    }
    .map(|()| Exit::Done)
}

impl Desk {
    fn line(&self, text: &str) -> Result<(), Fault> {
        self.out.line(text).map_err(output)
    }

    /// Prints a value as JSON, or `lines` for a person.
    fn tell(&self, value: &impl serde::Serialize, lines: &[String]) -> Result<(), Fault> {
        if self.out.is_json() {
            return self.out.json(value).map_err(output);
        }
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn raw(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.line(String::from_utf8_lossy(bytes).trim_end())
    }

    /// A request that has no answer but that it was done.
    fn tell_peer(&self, bundle: &Path, request: &Request, done: &str) -> Result<(), Fault> {
        let mut replies = Client::new(bundle).ask(request)?;
        while replies.next()?.is_some() {}
        self.tell(&json!({ "done": done }), &[format!("{}: {done}", bundle.display())])
    }
}

/// Talk, on stderr. A stderr that cannot be written to is not worth an error.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "peer: {text}");
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn output(error: std::io::Error) -> Fault {
    Fault::failed(format!("cannot write to stdout: {error}"))
}
