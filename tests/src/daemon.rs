//! A running `peer run`, and what it says of itself.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::programs::{self, Said};
use crate::{SOON, wait_until};

/// One daemon; ended when dropped.
pub struct Peer {
    node: String,
    address: String,
    bundle: PathBuf,
    log: PathBuf,
    child: Child,
    may_err: bool,
}

impl Peer {
    /// Starts a daemon on a bundle and waits until it listens.
    ///
    /// # Panics
    /// If it does not; shows its log.
    #[must_use]
    pub fn start(bundle: &Path, listen: &str, dials: &[(String, String)]) -> Self {
        let mut args = Vec::new();
        for (node, address) in dials {
            args.extend(["--peer".to_owned(), format!("{node}={address}")]);
        }
        Self::start_as(&[], bundle, listen, &args)
    }

    /// Starts a daemon with any arguments, through another program that runs it elsewhere.
    ///
    /// # Panics
    /// If it does not listen; shows its log.
    #[must_use]
    pub fn start_as(through: &[String], bundle: &Path, listen: &str, args: &[String]) -> Self {
        let (mut child, log) = spawn(through, bundle, listen, args);
        let Some(line) = first_line(child.stdout.take().unwrap()) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{} does not start:\n{}", bundle.display(), read(&log));
        };
        let (node, address) = line
            .split_once(" listens on ")
            .unwrap_or_else(|| panic!("not the line that was expected: {line}"));
        let (node, address) = (node.to_owned(), address.trim().to_owned());
        Self { node, address, bundle: bundle.to_owned(), log, child, may_err: false }
    }

    /// Starts a daemon that is expected to end by itself, and waits for that.
    #[must_use]
    pub fn fails(bundle: &Path, listen: &str) -> Said {
        let (mut child, log) = spawn(&[], bundle, listen, &[]);
        let deadline = Instant::now() + SOON;
        let status = loop {
            match child.try_wait().unwrap() {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                status => break status,
            }
        };
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{} starts although it should not:\n{}", bundle.display(), read(&log));
        }
        let code = status.and_then(|status: ExitStatus| status.code()).unwrap_or(-1);
        let line = format!("peer run {}", bundle.display());
        Said { line, code, out: String::new(), err: read(&log) }
    }

    /// Its node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `peer VERB BUNDLE …` against it, however it ends.
    #[must_use]
    pub fn ask(&self, verb: &str, rest: &[&str]) -> Said {
        let bundle = self.bundle.to_str().unwrap();
        let mut args: Vec<&str> = verb.split(' ').collect();
        args.push(bundle);
        args.extend_from_slice(rest);
        programs::run_args("peer", Path::new("."), &args)
    }

    /// `peer status --json`.
    #[must_use]
    pub fn status(&self) -> Value {
        self.ask("status", &["--json"]).ended(0).json()
    }

    /// Whom it is linked with, in order.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let status = self.status();
        let links = status["links"].as_array().unwrap();
        let mut nodes: Vec<String> =
            links.iter().map(|link| link["node"].as_str().unwrap().to_owned()).collect();
        nodes.sort();
        nodes
    }

    /// Waits until it is linked with exactly these.
    pub fn wait_links(&self, nodes: &[&str]) {
        wait_until(&format!("{} is linked with {nodes:?}", self.node), SOON, || {
            self.links() == nodes
        });
    }

    /// Waits until its status tells of a refusal: the code, and whether `us` or `them` refused.
    pub fn wait_event(&self, code: &str, by: &str) {
        wait_until(&format!("{} tells of {code} by {by}", self.node), SOON, || {
            let status = self.status();
            let events = status["events"].as_array().unwrap();
            events.iter().any(|event| event["code"] == code && event["by"] == by)
        });
    }

    /// Whether its status tells of a refusal with this code.
    #[must_use]
    pub fn has_event(&self, code: &str) -> bool {
        let status = self.status();
        status["events"].as_array().unwrap().iter().any(|event| event["code"] == code)
    }

    /// The number of the feed it has applied.
    #[must_use]
    pub fn feed_number(&self) -> u64 {
        self.status()["feed"]["number"].as_u64().unwrap()
    }

    /// Waits until it has applied the feed up to a number.
    pub fn wait_feed(&self, number: u64) {
        wait_until(&format!("{} has feed {number}", self.node), SOON, || {
            self.feed_number() == number
        });
    }

    /// `peer send`: its exit code.
    #[must_use]
    pub fn send(&self, to: &str, text: &str) -> i32 {
        self.ask("send", &[to, text]).code
    }

    /// The inbox as JSON text, to look for a message in.
    #[must_use]
    pub fn inbox(&self) -> String {
        self.ask("inbox", &["--json"]).ended(0).out
    }

    /// Lets it log an ERROR: the test is about one.
    pub fn may_err(&mut self) {
        self.may_err = true;
    }

    /// `kill -9`: nothing is said, nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; it must end by itself with 0.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let mut ended = None;
        wait_until("a peer ends on SIGTERM", SOON, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().code(), Some(0), "{}", self.log());
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it was to stop and does not.
    pub fn signal(&self, signal: Signal) {
        self.send_signal(signal);
        if signal == Signal::STOP {
            // Its threads stop one after another.
            wait_until("it stands still", SOON, || self.stands_still());
        }
    }

    fn stands_still(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // After the name, which is in brackets and may hold anything.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    fn send_signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the log of a test that failed")]
            {
                eprintln!("--- log of {}\n{log}", self.node);
            }
            return;
        }
        let wrong = log.lines().find(|line| line.contains(" ERROR ") || line.contains("panicked"));
        assert!(self.may_err || wrong.is_none(), "{} logged: {wrong:?}", self.node);
    }
}

fn spawn(through: &[String], bundle: &Path, listen: &str, args: &[String]) -> (Child, PathBuf) {
    static STARTS: AtomicU32 = AtomicU32::new(0);
    let start = STARTS.fetch_add(1, Ordering::Relaxed);
    let name = bundle.file_name().unwrap().to_str().unwrap();
    let log = bundle.with_file_name(format!("{name}.{start}.log"));
    let mut command = match through {
        [] => programs::command("peer", Path::new(".")),
        first => programs::command_through(first, "peer", Path::new(".")),
    };
    command.arg("run").arg(bundle).args(["--listen", listen, "--log", "text"]).args(args);
    let errors = File::create(&log).unwrap();
    let child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
    (child, log)
}

/// The first line of a program; its stdout is read on to its end, so that it never blocks.
pub(crate) fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(SOON).ok()
}

pub(crate) fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
