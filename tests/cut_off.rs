//! `kill -9` of the authority at every step of a renewal: whatever certificate the node goes on
//! with, the authority knows it; nothing was issued that is not on record; the network goes on.
//!
//! Steps are told apart by what the authority has written: it is killed at its first write after
//! the request, at its second, and so on; and every other time after a delay that is longer from
//! kill to kill, up to twice what a renewal takes.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use peer::bundle::Bundle;
use peer::control::protocol::Status;
use peer::control::{Client, Reply, Request};
use tests::online::place_of_its_own;
use tests::{Machine, Network, Online, Peer, SOON, wait_until};

/// Kills on each of the two ways; `CONCLAVE_KILLS` asks for more, as in joining.
fn kills() -> u64 {
    std::env::var("CONCLAVE_KILLS").map_or(48, |text| 2 * text.parse::<u64>().unwrap())
}

/// How a member asks.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// On its link with the authority.
    Link,
    /// At the authority's door.
    Door,
}

struct Scene {
    way: Way,
    mesh: String,
    online: Option<Online>,
    alice: Peer,
    bob: Peer,
    client: Client,
    bundle: PathBuf,
    _machines: [Machine; 2],
    network: Network,
}

/// One undisturbed renewal: how long it takes, and how often the authority writes for it.
struct Measure {
    took: Duration,
    writes: u64,
}

impl Scene {
    fn set(way: Way) -> Self {
        let network = Network::new();
        let place = place_of_its_own();
        let mesh = match way {
            // Nobody else has this loopback address: the port is free after a restart as well.
            Way::Link => place.replace(":0", ":7400"),
            Way::Door => "none".to_owned(),
        };
        let online = Online::serve(network.path(), &place, &["--mesh", &mesh]);
        let machines = [Machine::new(), Machine::new()];
        for (machine, node) in machines.iter().zip(["alice", "bob"]) {
            let _ = machine.join(&online.invite(node)).ended(0);
        }
        let bundle = machines[1].bundle("bob");
        let alice = Peer::start(&machines[0].bundle("alice"), "127.0.0.1:0", &[]);
        let known = [("alice".to_owned(), alice.address().to_owned())];
        let bob = Peer::start(&bundle, "127.0.0.1:0", &known);
        let (client, online) = (Client::new(&bundle), Some(online));
        let scene =
            Self { way, mesh, online, alice, bob, client, bundle, _machines: machines, network };
        scene.wait_linked();
        scene
    }

    fn status(&self) -> Status {
        match self.client.ask_one(&Request::Status).unwrap() {
            Reply::Status(status) => *status,
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn wait_linked(&self) {
        let wanted: &[&str] = match self.way {
            Way::Link => &["alice", "authority"],
            Way::Door => &["alice"],
        };
        wait_until(&format!("bob is linked with {wanted:?}"), SOON * 2, || {
            let links = self.status().links;
            wanted.iter().all(|other| links.iter().any(|link| link.node.as_str() == *other))
        });
    }

    fn pid(&self) -> u32 {
        self.online.as_ref().unwrap().pid()
    }

    fn measure(&self) -> Measure {
        let (before, begun) = (writes(self.pid()), Instant::now());
        assert!(renew(&self.bundle), "undisturbed");
        Measure { took: begun.elapsed(), writes: writes(self.pid()) - before }
    }

    /// One renewal, in which the authority is killed; it ends with a certificate of its own.
    fn disturb(&mut self, kill: u64, usual: &Measure) {
        let before = self.status().certificate.serial;
        let (pid, written) = (self.pid(), writes(self.pid()));
        let bundle = self.bundle.clone();
        let asking = thread::spawn(move || renew(&bundle));
        if kill.is_multiple_of(2) {
            let step = 1 + kill / 2 % usual.writes;
            let until = Instant::now() + usual.took * 3;
            while writes(pid) < written + step && Instant::now() < until {
                thread::yield_now();
            }
        } else {
            let [kill, kills] = [kill, kills()].map(|count| u32::try_from(count).unwrap());
            thread::sleep(usual.took * 2 * kill / kills);
        }
        let mut online = self.online.take().unwrap();
        online.kill();
        let address = online.address().to_owned();
        drop(online);
        // Whether it was certified or not: what it has is known, and it runs.
        self.assert_linked_with_alice();
        let more = ["--mesh", &self.mesh];
        self.online = Some(Online::serve(self.network.path(), &address, &more));
        self.assert_recorded();
        if !asking.join().unwrap() {
            wait_until("bob is renewed after all", SOON * 2, || renew(&self.bundle));
        }
        assert_ne!(self.status().certificate.serial, before, "{kill}");
        self.wait_linked();
        self.assert_linked_with_alice();
        self.assert_recorded();
    }

    /// The link with a third node is no affair of the authority's.
    fn assert_linked_with_alice(&self) {
        assert!(self.status().links.iter().any(|link| link.node.as_str() == "alice"));
        assert!(self.alice.links().contains(&"bob".to_owned()));
    }

    /// What the node shows and what is on its disk is issued, for the authority too.
    fn assert_recorded(&self) {
        // Asked before the authority is: what is under way may arrive in between.
        let shown = self.status().certificate.serial;
        let stored = Bundle::open(&self.bundle).unwrap().cert.serial.to_string();
        let certs = self.network.ca("show bob --json").json();
        for serial in [shown, stored] {
            let mut all = certs["certificates"].as_array().unwrap().iter();
            let cert = all.find(|cert| cert["serial"] == serial.as_str());
            assert_eq!(cert.unwrap()["state"], "live", "{serial} in {certs}");
        }
    }

    /// Each certificate was asked for once in the log, and each interrupted one is in it too.
    fn assert_whole(&self) {
        let _ = self.network.ca("log --verify");
        let doctor = self.network.try_ca("doctor");
        assert!(!doctor.out.contains("WRONG"), "{doctor:?}");
        let certs = self.network.ca("show bob --json").json();
        let log = self.network.ca("log --json").json();
        let records = |act: &str| {
            let all = log.as_array().unwrap().iter();
            all.filter(|record| record["act"] == act && record["subject"] == "bob").count()
        };
        let certs = certs["certificates"].as_array().unwrap();
        let count = |state: &str| certs.iter().filter(|cert| cert["state"] == state).count();
        assert_eq!(count("live"), records("join") + records("renew"));
        assert_eq!(count("possibly-issued"), records("possibly-issued"));
        assert_eq!(count("live") + count("possibly-issued"), certs.len());
    }
}

/// `peer renew`; whether the node has a new certificate by it.
fn renew(bundle: &Path) -> bool {
    let reply = Client::new(bundle).ask_one(&Request::Renew { keep_key: false });
    matches!(reply, Ok(Reply::Renewed { .. }))
}

/// How often a process has written so far.
fn writes(pid: u32) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.map_or(u64::MAX, |count| count.parse().unwrap())
}

fn kill_again_and_again(way: Way) {
    let mut scene = Scene::set(way);
    let measured: Vec<Measure> = (0..3).map(|_| scene.measure()).collect();
    let usual = Measure {
        took: measured.iter().map(|one| one.took).max().unwrap(),
        writes: measured.iter().map(|one| one.writes).min().unwrap().max(1),
    };
    for kill in 0..kills() {
        scene.disturb(kill, &usual);
    }
    scene.assert_whole();
    assert_eq!(scene.bob.node(), "bob");
}

#[test]
fn an_authority_killed_at_any_step_of_a_renewal_over_a_link_knows_what_it_issued() {
    kill_again_and_again(Way::Link);
}

#[test]
fn an_authority_killed_at_any_step_of_a_renewal_at_its_door_knows_what_it_issued() {
    kill_again_and_again(Way::Door);
}
