//! The programs under test, found beside the test program, and what they say when run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where a program of this workspace was built.
///
/// # Panics
/// If it is not there; says how to build it.
#[must_use]
pub fn path_of(program: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // A test stands in a folder beneath the programs, a program of the harness beside them.
    let folders = test.ancestors().skip(1).take(2).map(|folder| folder.join(program));
    let mut paths: Vec<PathBuf> = folders.collect();
    paths.sort_by_key(|path| !path.is_file());
    let path = paths.swap_remove(0);
    assert!(path.is_file(), "{} is missing: cargo build --workspace", path.display());
    path
}

/// A program of this workspace, to be run in a folder and without the caller's environment.
#[must_use]
pub fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(path_of(program));
    bare(&mut command, folder);
    command
}

/// A program of this workspace, started by another one with its arguments before.
#[must_use]
pub fn command_through<S: AsRef<OsStr>>(first: &[S], program: &str, folder: &Path) -> Command {
    let mut command = Command::new(&first[0]);
    command.args(&first[1..]).arg(path_of(program));
    bare(&mut command, folder);
    command
}

fn bare(command: &mut Command, folder: &Path) {
    command
        .current_dir(folder)
        .env_remove("CONCLAVE_PKI")
        .env_remove("CONCLAVE_PASSPHRASE")
        .env_remove("NOTIFY_SOCKET")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
}

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// The line that was run.
    pub line: String,
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

impl Said {
    fn of(line: &str, output: &Output) -> Self {
        Self {
            line: line.to_owned(),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[must_use]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}{}", self.line, self.out, self.err);
        self
    }

    /// stdout as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{}: no JSON ({e}): {}{}", self.line, self.out, self.err))
    }
}

/// Runs a program with arguments separated by single spaces.
#[must_use]
pub fn run(program: &str, folder: &Path, line: &str) -> Said {
    let output = command(program, folder).args(line.split(' ')).output().unwrap();
    Said::of(&format!("{program} {line}"), &output)
}

/// Runs a program with arguments as they are.
#[must_use]
pub fn run_args(program: &str, folder: &Path, args: &[&str]) -> Said {
    let output = command(program, folder).args(args).output().unwrap();
    Said::of(&format!("{program} {}", args.join(" ")), &output)
}
