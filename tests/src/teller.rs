//! A peer that tells the time: where its doors are, and what it counts.

use std::net::SocketAddr;
use std::path::Path;

use crate::Peer;

/// Both doors of this machine, at any free port.
pub const BOTH: [&str; 4] = ["--time", "127.0.0.1:0", "--ke", "127.0.0.1:0"];

/// A peer that tells the time, and where.
pub struct Teller {
    /// The peer.
    pub peer: Peer,
    /// Where the time is asked for.
    pub time: SocketAddr,
    /// Where keys are exchanged; port 0 if nowhere.
    pub exchange: SocketAddr,
}

impl Teller {
    /// Starts one with these doors.
    ///
    /// # Panics
    /// If it does not start, or says no address.
    #[must_use]
    pub fn start(bundle: &Path, doors: &[&str]) -> Self {
        let args = [&["--no-lan"], doors].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let peer = Peer::start_as(&[], bundle, "127.0.0.1:0", &args);
        let log = peer.log();
        let at = |what: &str| {
            let line = log.lines().find_map(|line| line.split_once(what));
            line.map_or("0.0.0.0:0", |line| line.1.trim()).parse().unwrap()
        };
        let (time, exchange) = (at(" ntp listens on "), at(" nts-ke listens on "));
        Self { peer, time, exchange }
    }

    /// Again, at the same places.
    #[must_use]
    pub fn again(self) -> Self {
        let (time, exchange) = (self.time.to_string(), self.exchange.to_string());
        let bundle = self.peer.bundle().to_owned();
        self.peer.terminate();
        Self::start(&bundle, &["--time", &time, "--ke", &exchange])
    }

    /// What `peer metrics` says of one figure.
    ///
    /// # Panics
    /// If it says nothing of it.
    #[must_use]
    pub fn counted(&self, name: &str) -> u64 {
        let text = self.peer.ask("metrics", &[]).ended(0).out;
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("conclave_{name}_total ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }
}

/// Writes the section `time:` of a node.yaml.
///
/// # Panics
/// If there is none to write it to.
pub fn set(bundle: &Path, time: &str) {
    let path = bundle.join("node.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("\ntime:").next().unwrap();
    std::fs::write(&path, format!("{text}\ntime: {{{time}}}\n")).unwrap();
}
