//! The commands: each asks the authority one thing or two, prints what came of it, and the next
//! command to type.
//!
//! **Invariant:** data goes to stdout, talk to stderr; `--json` prints one JSON value.

mod enroll;
mod init;
mod invite;
mod look;
mod policy;
mod serve;
mod standing;
mod verify;

use std::io::Write as _;

use ca_tool::ask::client::Door;
use host::fault::Fault;
use host::passphrase::PassphraseSource;
use host::terminal::Out;

use crate::cli::{Cli, Command, FeedCommand};

/// The variable a passphrase may stand in.
const PASSPHRASE_VARIABLE: &str = "CONCLAVE_PASSPHRASE";
/// What is asked on a terminal.
const PROMPT: &str = "passphrase of the authority";

/// What every command gets.
struct Desk<'a> {
    cli: &'a Cli,
    out: Out,
}

/// Runs one command.
///
/// # Errors
/// The fault to report.
pub(crate) fn run(cli: &Cli) -> Result<(), Fault> {
    let desk = Desk { cli, out: Out::new(cli.json) };
    if let Command::Serve(args) = &cli.command {
        return serve::run(&desk, args);
    }
    host::log::init(host::log::LogFormat::Text, "warn");
    match &cli.command {
        Command::Init(args) => init::run(&desk, args),
        Command::Serve(_) => Ok(()),
        Command::Invite(args) => invite::invite(&desk, args),
        Command::Invites => invite::invites(&desk),
        Command::Uninvite(args) => invite::uninvite(&desk, args),
        Command::Pending => invite::pending(&desk),
        Command::Approve(args) => invite::approve(&desk, args),
        Command::Deny(args) => invite::deny(&desk, args),
        Command::Enroll(args) => enroll::enroll(&desk, args),
        Command::Renew(args) => enroll::renew(&desk, args),
        Command::Revoke(args) => standing::revoke(&desk, args),
        Command::Suspend(args) => standing::suspend(&desk, args),
        Command::Resume(args) => standing::resume(&desk, args),
        Command::Publish(args) => standing::publish(&desk, args),
        Command::Feed(FeedCommand::Export(args)) => look::export(&desk, args),
        Command::Policy(command) => policy::run(&desk, command),
        Command::List => look::list(&desk),
        Command::Show(args) => look::show(&desk, args),
        Command::Crl(args) => look::crl(&desk, args),
        Command::Lint(args) => verify::lint(&desk, args),
        Command::Verify(args) => verify::verify(&desk, args),
        Command::Log(args) => look::log(&desk, args),
        Command::Doctor => look::doctor(&desk),
        Command::Completions(args) => desk.raw(&crate::cli::completions(args.shell)),
        Command::Man => desk.raw(&crate::cli::man().map_err(output)?),
    }
}

impl Desk<'_> {
    /// The way to the authority; a passphrase is asked for when a key is needed and not before.
    fn door(&self) -> Result<Door, Fault> {
        let source = self.passphrase();
        let asking = Box::new(move || source.ask(PROMPT));
        Door::open(&self.cli.pki, asking, |holder| say(&format!("waiting for {holder}")))
    }

    fn passphrase(&self) -> PassphraseSource {
        PassphraseSource::new(self.cli.passphrase_file.clone(), PASSPHRASE_VARIABLE)
    }

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

    /// How to name the state folder in a command to type: not at all where it is the usual one.
    fn pki_flag(&self) -> String {
        let usual =
            std::env::var_os("CONCLAVE_PKI").is_some() || self.cli.pki.as_os_str() == "./pki/state";
        if usual { String::new() } else { format!(" --pki {}", self.cli.pki.display()) }
    }
}

/// Talk, on stderr. A stderr that cannot be written to is not worth an error.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "ca-tool: {text}");
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn output(error: std::io::Error) -> Fault {
    Fault::failed(format!("cannot write to stdout: {error}"))
}
