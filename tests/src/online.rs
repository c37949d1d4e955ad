//! A running `ca-tool serve`, and machines that join by it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::daemon::{first_line, read};
use crate::programs::{self, Said};
use crate::{Network, SOON, wait_until};

/// An authority that serves; ended by its id when dropped.
pub struct Online {
    address: String,
    folder: PathBuf,
    log: PathBuf,
    _logs: TempDir,
    child: Child,
    may_err: bool,
}

impl Online {
    /// Serves a network at an address of its own.
    ///
    /// # Panics
    /// If it does not answer in time; shows its log.
    #[must_use]
    pub fn start(network: &Network) -> Self {
        Self::start_at(network, &place_of_its_own())
    }

    /// Serves a network at an address.
    ///
    /// # Panics
    /// As [`Online::start`].
    #[must_use]
    pub fn start_at(network: &Network, listen: &str) -> Self {
        Self::serve(network.path(), listen, &[])
    }

    /// Serves what is in a folder, with more arguments.
    ///
    /// # Panics
    /// As [`Online::start`].
    #[must_use]
    pub fn serve(folder: &Path, listen: &str, more: &[&str]) -> Self {
        Self::serve_through(&["env"], folder, listen, more)
    }

    /// The same, started by another program.
    ///
    /// # Panics
    /// As [`Online::start`].
    #[must_use]
    pub fn serve_through(first: &[&str], folder: &Path, listen: &str, more: &[&str]) -> Self {
        // Not in the folder: that may be on a disk that is full.
        let logs = tempfile::tempdir().unwrap();
        let log = logs.path().join("serve.log");
        let mesh: &[&str] = if more.contains(&"--mesh") { &[] } else { &["--mesh", "127.0.0.1:0"] };
        let mut child = programs::command_through(first, "ca-tool", folder)
            .args(["serve", "--listen", listen])
            .args([mesh, more].concat())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let address = line.as_deref().and_then(|line| line.split_once(" answers on "));
        let Some((_, address)) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the authority does not serve ({line:?}):\n{}", read(&log));
        };
        let address = address.trim().to_owned();
        Self { address, folder: folder.to_owned(), log, _logs: logs, child, may_err: false }
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder it was started in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Lets it log an ERROR: the test is about one.
    pub fn may_err(&mut self) {
        self.may_err = true;
    }

    /// Invites a node to where it serves.
    #[must_use]
    pub fn invite(&self, line: &str) -> String {
        self.invite_to(line, &self.address)
    }

    /// Invites a node to another address.
    #[must_use]
    pub fn invite_to(&self, line: &str, address: &str) -> String {
        let line = format!("invite {line} --at {address}");
        string_of(&programs::run("ca-tool", &self.folder, &line).ended(0))
    }

    /// `kill -9`: nothing is said, nothing is flushed.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// `kill -9`, and a new one at the same address.
    #[must_use]
    pub fn killed_and_started(mut self) -> Self {
        self.kill();
        Self::serve(&self.folder, &self.address, &[])
    }

    /// SIGTERM; it must end by itself with 0.
    ///
    /// # Panics
    /// If it does not.
    pub fn terminate(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.wait_ended(0);
    }

    /// Waits until it has ended with a code.
    ///
    /// # Panics
    /// If it does not, or otherwise.
    pub fn wait_ended(&mut self, code: i32) {
        let mut ended = None;
        wait_until("an authority ends", SOON, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().code(), Some(code), "{}", self.log());
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the log of a test that failed")]
            {
                eprintln!("--- log of the authority at {}\n{log}", self.address);
            }
            return;
        }
        let wrong = log.lines().find(|line| line.contains(" ERROR ") || line.contains("panicked"));
        assert!(self.may_err || wrong.is_none(), "the authority logged: {wrong:?}");
    }
}

/// What `ca-tool invite` printed.
///
/// # Panics
/// If it is no string.
#[must_use]
pub fn string_of(said: &Said) -> String {
    let string = said.out.trim().strip_prefix("peer join ");
    string.unwrap_or_else(|| panic!("no string: {said:?}")).to_owned()
}

/// A loopback address that no other scenario uses, so that a port stays free over a restart.
#[must_use]
pub fn place_of_its_own() -> String {
    static PLACES: AtomicU32 = AtomicU32::new(0);
    let place = PLACES.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    format!("127.{}.{}.{}:0", 1 + process / 250 % 250, 1 + process % 250, 2 + place % 250)
}

/// A machine that has nothing yet: an empty folder.
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// A new one.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `peer join STRING --no-run`, however it ends.
    #[must_use]
    pub fn join(&self, string: &str) -> Said {
        self.join_with(string, &[])
    }

    /// The same with more arguments.
    #[must_use]
    pub fn join_with(&self, string: &str, more: &[&str]) -> Said {
        let args = [&["join", string, "--no-run"], more].concat();
        programs::run_args("peer", self.path(), &args)
    }

    /// Begins to join; see [`Joining`].
    ///
    /// # Panics
    /// If `peer` cannot be started.
    #[must_use]
    pub fn begin(&self, string: &str) -> Joining {
        let mut command = programs::command("peer", self.path());
        command.args(["join", string, "--no-run"]);
        Joining::start(self.path(), command)
    }

    /// The bundle of a node that it has become.
    #[must_use]
    pub fn bundle(&self, node: &str) -> PathBuf {
        self.path().join(format!("{node}.bundle"))
    }

    /// Names in its folder, in order; logs of ours aside.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with("said."));
        names.sort();
        names
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// A `peer join` under way; ended by its id when dropped.
pub struct Joining {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Joining {
    fn start(folder: &Path, mut command: Command) -> Self {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let [out, err] = ["out", "err"].map(|what| folder.join(format!("said.{start}.{what}")));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    /// What it said so far on stderr.
    #[must_use]
    pub fn said(&self) -> String {
        read(&self.err)
    }

    /// Waits until it says something on stderr.
    pub fn wait_said(&self, text: &str) {
        wait_until(&format!("peer join says {text:?}"), SOON, || self.said().contains(text));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn ended(self, code: i32) -> Said {
        self.end(SOON).ended(code)
    }

    /// Waits for its end, however it ends.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn end(mut self, bound: Duration) -> Said {
        let mut status = None;
        wait_until("peer join ends", bound, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let code = status.and_then(|status| status.code()).unwrap_or(-1);
        Said { line: "peer join".to_owned(), code, out: read(&self.out), err: read(&self.err) }
    }

    /// `kill -9`. Whether that was what ended it.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(mut self) -> bool {
        let _ = self.child.kill();
        self.child.wait().unwrap().signal().is_some()
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
