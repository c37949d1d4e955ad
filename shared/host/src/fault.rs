//! How a program ends: an exit code, one line of what was wrong, one line of what to do.
//!
//! Scripts read the code, people read the two lines. Every error of this crate becomes a [`Fault`]
//! with its hint, so that a command file can write `?` and stay short.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::files::FileError;
use crate::lock::LockError;
use crate::passphrase::PassphraseError;
use crate::random::RandomError;
use crate::seal::SealError;
use crate::terminal::escape_to;
use crate::yaml::YamlError;

/// Characters of what is reported: a sentence with two long paths in it.
const REPORT_CHARS_MAX: usize = 2_000;

/// What a program tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Tried, and it did not work.
    Failed = 1,
    /// Asked for in a way that makes no sense.
    Usage = 2,
    /// Refused by policy: trying again will not help.
    Refused = 3,
    /// The peer is not running.
    NotRunning = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error on its way to a person. `Display` shows what was wrong; the hint is printed by
/// [`report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    exit: Exit,
    what: String,
    hint: Option<String>,
}

impl Fault {
    /// It did not work: exit code 1.
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), hint: None }
    }

    /// It was asked for wrongly: exit code 2.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(what) }
    }

    /// Policy refuses it: exit code 3.
    #[must_use]
    pub fn refused(what: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, ..Self::failed(what) }
    }

    /// The peer is not running: exit code 4.
    #[must_use]
    pub fn not_running(what: impl Into<String>) -> Self {
        Self { exit: Exit::NotRunning, ..Self::failed(what) }
    }

    /// Adds a thing to do or to type, in place of the one there is.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        Self { hint: Some(text.into()), ..self }
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The hint, if there is one.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

/// Prints a fault on stderr: `ca-tool: what`, and `  hint: …` under it. A stderr that cannot be
/// written to is not worth another error.
pub fn report(program: &str, fault: &Fault) {
    let _ = write_report(&mut io::stderr().lock(), program, fault);
}

/// In one piece, so that two programs on one terminal do not mix their lines.
fn write_report(to: &mut impl Write, program: &str, fault: &Fault) -> io::Result<()> {
    let mut text = format!("{program}: {}\n", escape_to(&fault.what, REPORT_CHARS_MAX));
    let hints = fault.hint.iter().flat_map(|hint| hint.lines());
    for (line, label) in hints.zip(std::iter::once("hint: ").chain(std::iter::repeat("      "))) {
        text.push_str(&format!("  {label}{}\n", escape_to(line, REPORT_CHARS_MAX)));
    }
    to.write_all(text.as_bytes())
}

macro_rules! failed_with_hint {
    ($($error:ty),+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self { hint: error.hint(), ..Self::failed(error.to_string()) }
            }
        }
    )+};
}
failed_with_hint!(FileError, LockError, YamlError, SealError, PassphraseError);

impl From<RandomError> for Fault {
    fn from(error: RandomError) -> Self {
        Self::failed(error.to_string()).hint("restart the machine; nothing is safe to make now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn printed(fault: &Fault) -> String {
        let mut text = Vec::new();
        write_report(&mut text, "ca-tool", fault).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_way_to_end_has_its_code() {
        for (fault, code) in [
            (Fault::failed("x"), 1),
            (Fault::usage("x"), 2),
            (Fault::refused("x"), 3),
            (Fault::not_running("x"), 4),
        ] {
            assert_eq!(fault.exit() as u8, code);
            assert_eq!(fault.hint("y").exit() as u8, code, "a hint changes no code");
        }
        assert_eq!(Exit::Done as u8, 0);
    }

    #[test]
    fn what_was_wrong_and_what_to_do() {
        let fault = Fault::refused("serial 4f02 is revoked");
        assert_eq!(printed(&fault), "ca-tool: serial 4f02 is revoked\n");
        let fault = fault.hint("enrol it again:\nca-tool issue a");
        assert_eq!(
            printed(&fault),
            "ca-tool: serial 4f02 is revoked\n  hint: enrol it again:\n        ca-tool issue a\n"
        );
    }

    #[test]
    fn nothing_printed_can_act_on_the_terminal() {
        let fault = Fault::failed("name \u{1b}[2J\nca-tool: done").hint("\u{202e}x");
        assert_eq!(
            printed(&fault),
            "ca-tool: name \\u{1b}[2J\\nca-tool: done\n  hint: \\u{202e}x\n"
        );
    }

    #[test]
    fn errors_bring_their_hints() {
        let path = PathBuf::from("/k");
        let loose = || FileError::NotPrivate { path: path.clone(), mode: 0o644, wanted: 0o600 };
        let faults = [
            Fault::from(loose()),
            LockError::from(loose()).into(),
            PassphraseError::from(loose()).into(),
            SealError::from(PassphraseError::from(loose())).into(),
        ];
        for fault in faults {
            assert_eq!(fault.to_string(), "/k is open to other users (mode 0644)");
            assert_eq!(fault.hint_text(), Some("chmod 600 /k"));
            assert_eq!(fault.exit(), Exit::Failed);
        }
        assert!(Fault::from(RandomError).hint_text().is_some());
        assert!(Fault::from(SealError::WrongPassphrase).hint_text().is_some());
    }
}
