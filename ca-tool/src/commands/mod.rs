//! The commands: each asks the library, and says on stdout what now exists.
//!
//! **Invariant:** data goes to stdout, talk to stderr; `--json` prints one JSON value.

mod enroll;
mod init;
mod look;
mod policy;
mod standing;
mod verify;

use std::io::Write as _;

use ca_tool::{Authority, Registry};
use host::fault::Fault;
use host::passphrase::PassphraseSource;
use host::terminal::Out;

use crate::cli::{Cli, Command, FeedCommand};

/// The variable a passphrase may stand in.
const PASSPHRASE_VARIABLE: &str = "CONCLAVE_PASSPHRASE";

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
    host::log::init(host::log::LogFormat::Text, "warn");
    let desk = Desk { cli, out: Out::new(cli.json) };
    match &cli.command {
        Command::Init(args) => init::run(&desk, args),
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
    fn registry(&self) -> Result<Registry, Fault> {
        Ok(Registry::open(&self.cli.pki, |holder| say(&format!("waiting for {holder}")))?)
    }

    fn authority(&self) -> Result<Authority, Fault> {
        let source = self.passphrase();
        Ok(self.registry()?.unlock(|| source.ask("passphrase of the authority"))?)
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
