//! The first five minutes, as the README tells them: typed line by line, on machines that are
//! folders, and compared with what the paper says.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tests::{SOON, programs, tree, wait_until};

/// What a line ends with if the program goes on in the background.
const BACKGROUND: &str = " &";

/// A program that goes on; ended when dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let err = File::create(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(err).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    fn lines(&self, count: usize, log: &Path) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        let mut said = Vec::new();
        while said.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            said.push(line.unwrap_or_else(|_| {
                panic!("only {said:?}\n{}", std::fs::read_to_string(log).unwrap())
            }));
        }
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Words that differ from run to run, by what they are; runs of spaces by one.
fn normalised(line: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([':', ',', ')']).trim_start_matches('(');
        let is_time = bare.len() == 20 && bare.ends_with('Z') && bare.contains('T');
        let is_hash = bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let is_address = bare.parse::<std::net::SocketAddr>().is_ok();
        let is_string = bare.starts_with("conclave:");
        let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
        match (is_time, is_hash, is_address, is_string) {
            (true, ..) => "TIME".to_owned(),
            (_, true, ..) => "HASH".to_owned(),
            (_, _, true, _) => "ADDRESS".to_owned(),
            (.., true) => "STRING".to_owned(),
            _ if is_number => word.replace(bare, "N"),
            _ => word.to_owned(),
        }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The machines, the programs that run on them, and the string that was printed last.
struct Stage {
    place: tempfile::TempDir,
    running: Vec<Running>,
    string: String,
    /// Whether somebody was turned out, whom nobody is linked with any more.
    turned_out: bool,
}

impl Stage {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { place, running: Vec::new(), string: String::new(), turned_out: false }
    }

    /// A person takes longer to type than machines to find each other: every one that runs is
    /// linked with the others before the next command to one of them.
    fn type_slowly(&self, program: &str, folder: &Path, args: &[String]) {
        let Some(bundle) = args.iter().find(|arg| arg.ends_with(".bundle")) else { return };
        if program != "peer" || self.turned_out {
            return;
        }
        let others = self.running.len() - 1;
        wait_until("everybody is linked", SOON, || {
            let status = programs::run_args("peer", folder, &["status", bundle, "--json"]);
            let links = status.json()["links"].as_array().map_or(0, Vec::len);
            links >= others
        });
    }

    /// Types a line on a machine; `expected` says how many lines a background program prints.
    fn type_in(&mut self, machine: &str, line: &str, expected: usize) -> Vec<String> {
        let folder = self.place.path().join(machine);
        std::fs::create_dir_all(&folder).unwrap();
        let (line, background) = match line.strip_suffix(BACKGROUND) {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut words = line.split(' ').map(|word| word.trim_matches('"').to_owned());
        let program = words.next().unwrap();
        let mut args: Vec<String> = words.collect();
        for arg in args.iter_mut().filter(|arg| arg.starts_with("conclave:")) {
            arg.clone_from(&self.string);
        }
        // Nothing but this machine's own addresses, and any free port.
        match (program.as_str(), args[0].as_str()) {
            ("ca-tool", "serve") => {
                args.extend(["--listen", "127.0.0.1:0", "--mesh", "127.0.0.1:0"].map(Into::into));
            }
            ("peer", "join") => {
                args.extend(["--listen", "127.0.0.1:0", "--no-lan"].map(Into::into));
            }
            _ => {}
        }
        if background {
            let log = folder.join(format!("{}.log", self.running.len()));
            let one = Running::start(programs::command(&program, &folder).args(&args), &log);
            let lines = one.lines(expected, &log);
            self.running.push(one);
            return lines;
        }
        self.type_slowly(&program, &folder, &args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = programs::run_args(&program, &folder, &args);
        if let Some(string) = said.out.split_whitespace().find(|w| w.starts_with("conclave:")) {
            self.string = string.to_owned();
        }
        self.turned_out |= args.contains(&"revoke");
        // What goes wrong on purpose is shown on stderr.
        let text = if said.code == 0 { said.out } else { said.err };
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_first_five_minutes_are_as_the_readme_tells() {
    let paper = tree::text("README.md");
    let (_, rest) = paper.split_once("```console five-minutes\n").unwrap();
    let transcript = rest.split_once("```").unwrap().0;
    let begun = Instant::now();
    let mut stage = Stage::new();
    let mut steps: Vec<(String, String, Vec<String>)> = Vec::new();
    for line in transcript.lines() {
        match line.split_once("$ ") {
            Some((machine, typed)) if machine.bytes().all(|b| b.is_ascii_lowercase()) => {
                steps.push((machine.to_owned(), typed.to_owned(), Vec::new()));
            }
            _ => steps.last_mut().unwrap().2.push(normalised(line)),
        }
    }
    assert!(steps.len() > 6, "{steps:?}");
    for (machine, typed, expected) in steps {
        let said = stage.type_in(&machine, &typed, expected.len());
        let said: Vec<String> = said.iter().map(|line| normalised(line)).collect();
        assert_eq!(said, expected, "{machine}$ {typed}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}
