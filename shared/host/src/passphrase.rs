//! Passphrases: from a file, a variable or the terminal, in that order.
//!
//! Never from an argument, which every user of the machine can read in the process list. A file
//! must be private for the same reason; a variable is for containers that have nothing else.
//!
//! **Invariant:** a passphrase is wiped when dropped and never shown by `Debug`.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::files::{FileError, plain, read_secret};

/// Bytes of a passphrase: longer than anyone types, short enough to be hashed at once.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Characters of a new passphrase (NIST SP 800-63B §3.1.1 asks for eight at the least).
pub const NEW_PASSPHRASE_CHARS_MIN: usize = 8;
/// Bytes of a passphrase file: the first line, and room for a remark under it.
const FILE_BYTES_MAX: usize = 4 * 1024;

/// Why there is no passphrase. Whose fault: the operator's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// No file and no variable was given, and nobody can be asked.
    #[error("a passphrase is needed, and there is no terminal to ask on")]
    NoTerminal {
        /// The variable that could hold it.
        variable: &'static str,
    },
    /// Nothing was given.
    #[error("the passphrase is empty")]
    Empty,
    /// Too short to be a new one.
    #[error("a new passphrase needs at least {NEW_PASSPHRASE_CHARS_MIN} characters")]
    TooShort,
    /// Too long.
    #[error("the passphrase has more than {PASSPHRASE_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the passphrase is not UTF-8 text")]
    NotText,
    /// Two different ones were typed.
    #[error("the two passphrases differ")]
    Mismatch,
    /// The passphrase file is the trouble.
    #[error(transparent)]
    File(#[from] FileError),
    /// The terminal is the trouble.
    #[error("cannot read from the terminal: {}", plain(source))]
    Terminal {
        /// What the system said.
        source: io::Error,
    },
}

impl PassphraseError {
    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTerminal { variable } => Some(format!(
                "give --passphrase-file FILE (mode 0600), set {variable}, or run this on a terminal"
            )),
            Self::Empty => {
                Some("the first line of the file, or the variable, must hold it".to_owned())
            }
            Self::TooShort => {
                Some("four or five random words are long and easy to type".to_owned())
            }
            Self::TooLong => Some("only the first line of a passphrase file counts".to_owned()),
            Self::NotText => Some("save the passphrase file as UTF-8".to_owned()),
            Self::Mismatch => Some("nothing was written; try again".to_owned()),
            Self::File(error) => error.hint(),
            Self::Terminal { .. } => Some("give --passphrase-file FILE instead".to_owned()),
        }
    }
}

/// A passphrase: 1 to [`PASSPHRASE_BYTES_MAX`] bytes of UTF-8.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// From text that was obtained in some other way.
    ///
    /// # Errors
    /// [`PassphraseError::Empty`], [`PassphraseError::TooLong`].
    pub fn new(text: impl Into<String>) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.len() > PASSPHRASE_BYTES_MAX {
            return Err(PassphraseError::TooLong);
        }
        Ok(Self(text))
    }

    /// The bytes to hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn long_enough(self) -> Result<Self, PassphraseError> {
        let chars = self.0.chars().count();
        if chars < NEW_PASSPHRASE_CHARS_MIN { Err(PassphraseError::TooShort) } else { Ok(self) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Where a command gets its passphrase from.
#[derive(Debug, Clone)]
pub struct PassphraseSource {
    file: Option<PathBuf>,
    variable: &'static str,
}

impl PassphraseSource {
    /// From the file of `--passphrase-file`, else from a variable, else from the terminal.
    #[must_use]
    pub fn new(file: Option<PathBuf>, variable: &'static str) -> Self {
        Self { file, variable }
    }

    /// Gets a passphrase that exists already. `prompt` ("passphrase of the root key") is shown on
    /// the terminal, with a colon after it.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn ask(&self, prompt: &str) -> Result<Passphrase, PassphraseError> {
        match self.without_asking()? {
            Some(passphrase) => Ok(passphrase),
            None => self.type_in(prompt),
        }
    }

    /// Gets a new passphrase: long enough, and typed twice where it is typed.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn ask_new(&self, prompt: &str) -> Result<Passphrase, PassphraseError> {
        if let Some(passphrase) = self.without_asking()? {
            return passphrase.long_enough();
        }
        let first = self.type_in(prompt)?.long_enough()?;
        let again = self.type_in(&format!("{prompt} (again)"))?;
        if first.as_bytes() == again.as_bytes() {
            Ok(first)
        } else {
            Err(PassphraseError::Mismatch)
        }
    }

    fn without_asking(&self) -> Result<Option<Passphrase>, PassphraseError> {
        match &self.file {
            Some(path) => first_line(&read_secret(path, FILE_BYTES_MAX)?).map(Some),
            None => std::env::var_os(self.variable).map(from_variable).transpose(),
        }
    }

    fn type_in(&self, prompt: &str) -> Result<Passphrase, PassphraseError> {
        if !somebody_is_there() {
            return Err(PassphraseError::NoTerminal { variable: self.variable });
        }
        let typed = rpassword::prompt_password(format!("{prompt}: "));
        Passphrase::new(typed.map_err(|source| PassphraseError::Terminal { source })?)
    }
}

/// A terminal to ask on, and a person at it: a daemon started from a shell still has `/dev/tty`.
fn somebody_is_there() -> bool {
    let attended = io::stdin().is_terminal() || io::stderr().is_terminal();
    attended && File::open("/dev/tty").is_ok()
}

fn from_variable(value: OsString) -> Result<Passphrase, PassphraseError> {
    Passphrase::new(value.into_string().map_err(|_| PassphraseError::NotText)?)
}

fn first_line(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Passphrase::new(std::str::from_utf8(line).map_err(|_| PassphraseError::NotText)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Mode, write_new};

    /// A variable that no machine sets: tests cannot set one without `unsafe`.
    const UNSET: &str = "CONCLAVE_TEST_NEVER_SET";

    fn from_file(bytes: &[u8], mode: Mode) -> (PassphraseSource, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        write_new(&path, bytes, mode).unwrap();
        (PassphraseSource::new(Some(path), UNSET), folder)
    }

    #[test]
    fn the_first_line_of_a_private_file() {
        for bytes in [&b"correct horse"[..], b"correct horse\n", b"correct horse\r\nremark\n"] {
            let (source, _folder) = from_file(bytes, Mode::Secret);
            assert_eq!(source.ask("x").unwrap().as_bytes(), b"correct horse");
            assert_eq!(source.ask_new("x").unwrap().as_bytes(), b"correct horse");
        }
    }

    #[test]
    fn a_public_file_is_refused() {
        let (source, _folder) = from_file(b"correct horse", Mode::Public);
        let error = source.ask("x").unwrap_err();
        assert!(matches!(error, PassphraseError::File(FileError::NotPrivate { .. })), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod 600 "));
    }

    #[test]
    fn the_file_goes_before_the_variable() {
        let (mut source, _folder) = from_file(b"correct horse", Mode::Secret);
        source.variable = "PATH";
        assert_eq!(source.ask("x").unwrap().as_bytes(), b"correct horse");
        source.file = None;
        let path = std::env::var("PATH").unwrap();
        assert_eq!(source.ask("x").unwrap().as_bytes(), path.as_bytes());
    }

    #[test]
    fn empty_long_and_foreign_bytes_are_refused() {
        for empty in [&b""[..], b"\n", b"\r\n", b"\nsecond"] {
            assert!(matches!(first_line(empty), Err(PassphraseError::Empty)));
        }
        assert!(matches!(first_line(b"\xff\xfe"), Err(PassphraseError::NotText)));
        assert!(Passphrase::new("x".repeat(1024)).is_ok());
        assert!(matches!(Passphrase::new("x".repeat(1025)), Err(PassphraseError::TooLong)));
        assert!(matches!(from_variable(OsString::new()), Err(PassphraseError::Empty)));
    }

    #[test]
    fn a_new_one_has_eight_characters_not_bytes() {
        let (short, _folder) = from_file("äöüäöüä".as_bytes(), Mode::Secret);
        assert!(matches!(short.ask_new("x"), Err(PassphraseError::TooShort)));
        assert!(short.ask("x").is_ok(), "an old one may be short");
        let (enough, _folder) = from_file("äöüäöüäö".as_bytes(), Mode::Secret);
        assert!(enough.ask_new("x").is_ok());
    }

    #[test]
    fn without_a_terminal_three_ways_are_named() {
        let error = PassphraseError::NoTerminal { variable: "CONCLAVE_PASSPHRASE" };
        let hint = error.hint().unwrap();
        for way in ["--passphrase-file", "CONCLAVE_PASSPHRASE", "terminal"] {
            assert!(hint.contains(way), "{hint}");
        }
        if !somebody_is_there() {
            let source = PassphraseSource::new(None, UNSET);
            assert!(matches!(source.ask("x"), Err(PassphraseError::NoTerminal { .. })));
        }
    }

    #[test]
    fn it_does_not_show_itself() {
        let passphrase = Passphrase::new("correct horse").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    }
}
