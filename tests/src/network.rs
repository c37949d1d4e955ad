//! One network in a temporary folder: its authority, its bundles, and the way to odd certificates.

use std::path::{Path, PathBuf};

use ca_tool::Authority;
use host::passphrase::PassphraseSource;
use tempfile::TempDir;

use crate::adversary::Forge;
use crate::daemon::Peer;
use crate::programs::{self, Said};

/// A network whose folder is removed with it.
pub struct Network {
    folder: TempDir,
}

impl Network {
    /// `mesh.example`, keys in the clear so that adversaries can be forged from them.
    #[must_use]
    pub fn new() -> Self {
        Self::of("mesh.example", "p256")
    }

    /// A network of a name, with keys of an algorithm.
    #[must_use]
    pub fn of(name: &str, algorithm: &str) -> Self {
        let network = Self { folder: tempfile::tempdir().unwrap() };
        network.ca(&format!("init {name} --algorithm {algorithm} --no-encrypt"));
        network
    }

    /// A network with enrolled nodes.
    #[must_use]
    pub fn with(nodes: &[&str]) -> Self {
        let network = Self::new();
        for node in nodes {
            let _ = network.enroll(node);
        }
        network
    }

    /// From now on certificates last so many seconds: the profile that ships, but for that.
    ///
    /// # Panics
    /// If the profile cannot be written.
    pub fn short_lived(&self, life_s: u64) {
        let folder = self.path().join("pki/state/profiles");
        std::fs::create_dir_all(&folder).unwrap();
        let shipped = include_str!("../../pki/profiles/node.yaml");
        let lives = shipped.lines().map(|line| match line.split_once(": ") {
            Some(("life", _)) => format!("life: {life_s}s\n"),
            Some(("life-min", _)) => "life-min: 1s\n".to_owned(),
            _ => format!("{line}\n"),
        });
        std::fs::write(folder.join("node.yaml"), lives.collect::<String>()).unwrap();
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `ca-tool`; it must succeed.
    pub fn ca(&self, line: &str) -> Said {
        self.try_ca(line).ended(0)
    }

    /// Runs `ca-tool`, however it ends.
    #[must_use]
    pub fn try_ca(&self, line: &str) -> Said {
        programs::run("ca-tool", self.path(), line)
    }

    /// Runs `peer` in the network's folder, however it ends.
    #[must_use]
    pub fn peer(&self, line: &str) -> Said {
        programs::run("peer", self.path(), line)
    }

    /// Enrols a node; its bundle is the result.
    #[must_use]
    pub fn enroll(&self, node: &str) -> PathBuf {
        self.ca(&format!("enroll {node} --out {node}.bundle"));
        self.bundle(node)
    }

    /// Enrols an app with more arguments; its bundle is the result.
    #[must_use]
    pub fn app(&self, app: &str, with: &str) -> PathBuf {
        let line = format!("enroll {app} --profile app {with} --out {app}.bundle");
        self.ca(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        self.bundle(app)
    }

    /// Where a node's bundle is.
    #[must_use]
    pub fn bundle(&self, node: &str) -> PathBuf {
        self.path().join(format!("{node}.bundle"))
    }

    /// Starts the peer of an enrolled node, dialling these.
    #[must_use]
    pub fn start(&self, node: &str, dials: &[&Peer]) -> Peer {
        self.start_on(node, "127.0.0.1:0", dials)
    }

    /// Starts the peer of an enrolled node somewhere else than on a free port: `none` is nowhere.
    #[must_use]
    pub fn start_on(&self, node: &str, listen: &str, dials: &[&Peer]) -> Peer {
        let known: Vec<(String, String)> =
            dials.iter().map(|peer| (peer.node().to_owned(), peer.address().to_owned())).collect();
        Peer::start(&self.bundle(node), listen, &known)
    }

    /// Starts a peer that dials one name at one address.
    #[must_use]
    pub fn start_dialling(&self, node: &str, other: &str, address: &str) -> Peer {
        let known = [(other.to_owned(), address.to_owned())];
        Peer::start(&self.bundle(node), "127.0.0.1:0", &known)
    }

    /// Three peers, each linked with the others.
    #[must_use]
    pub fn trio(&self) -> [Peer; 3] {
        let alice = self.start("alice", &[]);
        let bob = self.start("bob", &[&alice]);
        let carol = self.start("carol", &[&alice]);
        alice.wait_links(&["bob", "carol"]);
        bob.wait_links(&["alice", "carol"]);
        carol.wait_links(&["alice", "bob"]);
        [alice, bob, carol]
    }

    /// The authority as a library; its lock is held while it lives.
    #[must_use]
    pub fn authority(&self) -> Authority {
        // The keyring is in the clear: nobody is asked.
        let nobody = PassphraseSource::new(None, "CONCLAVE_NO_PASSPHRASE");
        Authority::open(&self.path().join("pki/state"), || nobody.ask("passphrase")).unwrap()
    }

    /// The maker of certificates that the authority would not make.
    #[must_use]
    pub fn forge(&self) -> Forge {
        Forge::new(self.authority())
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
