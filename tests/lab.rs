//! The lab: twelve hosts with real peers on network namespaces, two kinds of NAT, and what happens
//! to real networks. Run by `make lab` (`tests/lab.sh`), as root.
//!
//! Each scenario prints one line, `ok NAME` with what it measured, or `FAILED NAME`. Times are read
//! off the daemons' own logs, so that asking them costs none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on is to stop; what it says is its result"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::ground::{Ground, Nat};
use tests::{Network, Peer, programs, wait_until};

const MINUTE: Duration = Duration::from_secs(60);
/// Links to a silent host end after 15 s; then they are dialled again.
const SILENCE: Duration = Duration::from_secs(40);
const RELAYS: [(&str, &str); 2] = [("rita", "203.0.113.10"), ("rosa", "203.0.113.11")];
/// Hosts of the near region, of the far one, and behind NATs.
const OPEN: [(&str, &str, &str); 4] = [
    ("pat", "near", "203.0.113.12"),
    ("paul", "far", "203.0.113.13"),
    ("carl", "far", "203.0.113.14"),
    ("cora", "far", "203.0.113.15"),
];
const NATS: [(&str, &str, u8, Nat); 3] = [
    ("cone-a", "203.0.113.20", 1, Nat::Cone),
    ("cone-b", "203.0.113.21", 2, Nat::Cone),
    ("symm", "203.0.113.22", 3, Nat::Symmetric),
];
const HIDDEN: [(&str, &str, &str); 6] = [
    ("cone-a", "alice", "10.1.0.2"),
    ("cone-a", "amy", "10.1.0.3"),
    ("cone-b", "bob", "10.2.0.2"),
    ("cone-b", "ben", "10.2.0.3"),
    ("symm", "sam", "10.3.0.2"),
    ("symm", "sue", "10.3.0.3"),
];

/// What a scenario measured: names and milliseconds.
type Figures = Vec<(&'static str, f64)>;
type Scenario = fn(&mut Lab) -> Figures;

const SCENARIOS: [(&str, Scenario); 8] = [
    ("twelve_hosts_are_linked", twelve_hosts_are_linked),
    ("two_behind_cones_meet", two_behind_cones_meet),
    ("a_symmetric_nat_stays_at_the_relay", a_symmetric_nat_stays_at_the_relay),
    ("a_host_is_unplugged_in_a_transfer", a_host_is_unplugged_in_a_transfer),
    ("a_host_changes_its_address", a_host_changes_its_address),
    ("a_partition_heals", a_partition_heals),
    ("a_revoked_host_behind_a_relay_is_cut", a_revoked_host_behind_a_relay_is_cut),
    ("a_revoked_relay_carries_nothing", a_revoked_relay_carries_nothing),
];

/// Everything there is.
struct Lab {
    // Peers end before the ground they stand on.
    peers: BTreeMap<&'static str, Peer>,
    network: Network,
    ground: Ground,
    begun: Instant,
    /// When the last peer was started, in ms of the day.
    joined: f64,
}

/// How often two that are behind NATs find each other anew.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let Ok(prefix) = std::env::var("LAB_PREFIX") else {
        println!("skipped lab: run it with `make lab`, as root");
        return ExitCode::SUCCESS;
    };
    let begun = Instant::now();
    let mut lab = Lab::new(&prefix);
    let mut all: Figures = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    let only = std::env::var("LAB_ONLY").unwrap_or_default();
    for (name, scenario) in SCENARIOS.into_iter().filter(|(name, _)| name.contains(&only)) {
        match catch_unwind(AssertUnwindSafe(|| scenario(&mut lab))) {
            Ok(figures) => {
                println!("ok {name}{}", figures.iter().map(told).collect::<String>());
                all.extend(figures);
                passed += 1;
            }
            Err(_) => {
                println!("FAILED {name}");
                failed += 1;
                lab.show_logs();
            }
        }
    }
    if let (0, Ok(path)) = (failed, std::env::var("LAB_JSON")) {
        let figures: BTreeMap<&str, f64> = all.into_iter().collect();
        std::fs::write(path, serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
    }
    let took = begun.elapsed().as_secs();
    println!("lab: {passed} passed, {failed} failed, 12 hosts, {took} s");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told((name, ms): &(&str, f64)) -> String {
    format!("  {name} {ms:.1} ms")
}

impl Lab {
    fn new(prefix: &str) -> Self {
        let mut ground = Ground::new(prefix);
        let network = Network::new();
        for (name, address) in RELAYS {
            ground.host(name, "near", address);
            network.ca(&format!("enroll {name} --roles relay --out {name}.bundle"));
        }
        for (name, switch, address) in OPEN {
            ground.host(name, switch, address);
        }
        for (name, address, lan, kind) in NATS {
            ground.nat(name, address, lan, kind);
        }
        for (nat, name, address) in HIDDEN {
            ground.behind(nat, name, address);
        }
        ground.host("office", "near", "203.0.113.30");
        let mut lab =
            Self { peers: BTreeMap::new(), network, ground, begun: Instant::now(), joined: 0.0 };
        let relays = RELAYS.map(|(name, _)| name);
        let open = OPEN.map(|(name, ..)| name);
        let hidden = HIDDEN.map(|(_, name, _)| name);
        for name in open.into_iter().chain(hidden) {
            let _ = lab.network.enroll(name);
        }
        lab.begun = Instant::now();
        for name in relays.into_iter().chain(open).chain(hidden) {
            lab.start(name);
        }
        lab
    }

    fn start(&mut self, name: &'static str) {
        self.joined = now_ms_of_day();
        let mut args = vec!["--no-lan".to_owned()];
        for (relay, address) in RELAYS.iter().filter(|(relay, _)| *relay != name) {
            args.extend(["--peer".to_owned(), format!("{relay}={address}:7400")]);
        }
        let bundle = self.network.bundle(name);
        let peer = Peer::start_as(&self.ground.inside(name), &bundle, "0.0.0.0:7400", &args);
        self.peers.insert(name, peer);
    }

    fn peer(&self, name: &str) -> &Peer {
        &self.peers[name]
    }

    /// `ca-tool` on the authority's own host.
    fn office(&self, line: &str) {
        let inside = self.ground.inside("office");
        let mut command = programs::command_through(&inside, "ca-tool", self.network.path());
        let output = command.args(line.split(' ')).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ca-tool {line}: {said}");
    }

    fn path(&self, from: &str, to: &str) -> Option<String> {
        let status = self.peer(from).status();
        let links = status["links"].as_array()?;
        let link = links.iter().find(|link| link["node"] == to)?;
        Some(link["path"].as_str()?.to_owned())
    }

    fn wait_path(&self, from: &str, to: &str, begins: &str, bound: Duration) {
        wait_until(&format!("{from} has {to}: {begins}"), bound, || {
            self.path(from, to).is_some_and(|path| path.starts_with(begins))
        });
    }

    fn wait_links(&self, name: &str, others: &[&str], bound: Duration) {
        let mut others = others.to_vec();
        others.sort_unstable();
        wait_until(&format!("{name} is linked with {others:?}"), bound, || {
            self.peer(name).links() == others
        });
    }

    /// Waits until each of these is linked with all others of them.
    fn wait_mesh(&self, names: &[&str], bound: Duration) {
        for name in names {
            let others: Vec<&str> = names.iter().copied().filter(|other| other != name).collect();
            self.wait_links(name, &others, bound);
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.peers.keys().copied().collect()
    }

    fn names_without(&self, gone: &[&str]) -> Vec<&'static str> {
        self.names().into_iter().filter(|name| !gone.contains(name)).collect()
    }

    /// When a peer last logged a line that holds all these words, in ms of the day.
    fn logged(&self, name: &str, words: &[&str]) -> Option<f64> {
        let log = self.peer(name).log();
        let mut lines = log.lines().rev();
        lines.find(|line| words.iter().all(|word| line.contains(word))).map(ms_of_day)
    }

    /// How long it took the one who dialled to be linked through a relay, and then directly.
    fn meeting(&self, from: &str, to: &str) -> Option<(f64, f64)> {
        let (whom, linked) = (format!("Relayed {{ node: {to},"), format!(" linked node={to} "));
        let asked = self.logged(from, &[&whom])?;
        let relayed = self.logged(from, &[&linked, "dialled_by=\"us\"", "path=\"relay via"])?;
        let direct = self.logged(from, &[&linked, "path=\"direct\""])?;
        let ordered = self.joined <= asked && asked <= relayed && relayed <= direct;
        ordered.then_some((relayed - asked, direct - relayed))
    }

    fn show_logs(&self) {
        for (name, peer) in &self.peers {
            let log = peer.log();
            let tail: Vec<&str> = log.lines().rev().take(12).collect();
            println!("--- {name}");
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// The time at the beginning of a log line.
fn ms_of_day(line: &str) -> f64 {
    let clock = line.split_once('T').unwrap().1.split_once('Z').unwrap().0;
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    ((parts[0] * 60.0 + parts[1]) * 60.0 + parts[2]) * 1e3
}

fn now_ms_of_day() -> f64 {
    let ms = host::clock::wall().ms().rem_euclid(86_400_000);
    f64::from(u32::try_from(ms).unwrap())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn twelve_hosts_are_linked(lab: &mut Lab) -> Figures {
    lab.wait_mesh(&lab.names(), MINUTE);
    vec![("lab.linked_ms", ms(lab.begun))]
}

/// Relayed first, then direct, each time that bob begins anew; the middle one of the times counts.
fn two_behind_cones_meet(lab: &mut Lab) -> Figures {
    lab.wait_path("alice", "bob", "direct", MINUTE);
    assert_eq!(lab.path("alice", "amy").as_deref(), Some("direct"), "on one LAN");
    assert_eq!(lab.path("alice", "pat").as_deref(), Some("direct"), "dialled from inside");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        lab.peers.remove("bob").unwrap().terminate();
        wait_until("bob is gone", MINUTE, || lab.path("alice", "bob").is_none());
        lab.start("bob");
        lab.wait_path("alice", "bob", "direct", MINUTE);
        lab.wait_path("bob", "alice", "direct", MINUTE);
        times.extend(lab.meeting("alice", "bob").or_else(|| lab.meeting("bob", "alice")));
    }
    assert!(times.len() > ROUNDS / 2, "one of the two asked the relay for the other: {times:?}");
    assert_eq!(lab.peer("alice").send("bob", "hello through two walls"), 0);
    assert!(lab.peer("bob").inbox().contains("hello through two walls"));
    lab.wait_mesh(&lab.names(), MINUTE);
    let middle = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = times.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    vec![("relay.connect_ms", middle(|t| t.0)), ("relay.punch_ms", middle(|t| t.1))]
}

fn a_symmetric_nat_stays_at_the_relay(lab: &mut Lab) -> Figures {
    lab.wait_path("sam", "alice", "relay via", MINUTE);
    assert_eq!(lab.path("sam", "sue").as_deref(), Some("direct"), "on one LAN");
    wait_until("they tried to meet twice", MINUTE, || {
        let log = lab.peer("sam").log();
        let tries = log.lines().filter(|l| l.contains("Punched { node: alice,"));
        tries.count() >= 2
    });
    assert!(lab.path("sam", "alice").is_some_and(|path| path.starts_with("relay via")));
    let begun = Instant::now();
    assert_eq!(lab.peer("alice").send("sam", "through the relay"), 0);
    vec![("relay.send_ms", ms(begun))]
}

/// The cable is pulled, lines go nowhere; put back, what is sent again arrives, and nothing twice.
fn a_host_is_unplugged_in_a_transfer(lab: &mut Lab) -> Figures {
    let bundle = lab.network.bundle("pat");
    let mut sender = programs::command("peer", lab.network.path())
        .args(["send", bundle.to_str().unwrap(), "carl", "-", "--lines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = sender.stdin.take().unwrap();
    let mut say = |n: usize| writeln!(lines, "transfer-{n}.").and_then(|()| lines.flush());
    for n in 0..50 {
        say(n).unwrap();
    }
    let carl = lab.peer("carl");
    wait_until("the first lines arrive", MINUTE, || carl.inbox().contains("transfer-49."));
    lab.ground.plug("carl", "down");
    for n in 50..60 {
        // The sender may give up; that is its right.
        let _ = say(n);
    }
    let others = lab.names_without(&["carl", "pat"]);
    lab.wait_links("pat", &[others.as_slice(), &[]].concat(), SILENCE);
    drop(lines);
    let _ = sender.kill();
    let _ = sender.wait();
    let begun = Instant::now();
    lab.ground.plug("carl", "up");
    lab.wait_mesh(&lab.names(), SILENCE);
    let back = ms(begun);
    assert_eq!(lab.peer("pat").send("carl", "transfer-again."), 0);
    let inbox = carl.inbox();
    for n in 0..50 {
        let times = inbox.matches(&format!("transfer-{n}.")).count();
        assert_eq!(times, 1, "line {n}");
    }
    assert_eq!(inbox.matches("transfer-again.").count(), 1);
    vec![("lab.replugged_ms", back)]
}

fn a_host_changes_its_address(lab: &mut Lab) -> Figures {
    let begun = Instant::now();
    lab.ground.readdress("amy", "10.1.0.3", "10.1.0.33");
    wait_until("alice has amy at her new address", SILENCE, || {
        let status = lab.peer("alice").status();
        let links = status["links"].as_array().unwrap();
        links
            .iter()
            .any(|l| l["node"] == "amy" && l["address"].as_str().unwrap().starts_with("10.1.0.33:"))
    });
    let moved = ms(begun);
    lab.wait_mesh(&lab.names(), SILENCE);
    assert_eq!(lab.peer("paul").send("amy", "still you"), 0);
    vec![("lab.moved_ms", moved)]
}

fn a_partition_heals(lab: &mut Lab) -> Figures {
    let far = ["carl", "cora", "paul"];
    let near = lab.names_without(&far);
    lab.ground.cable("down");
    lab.wait_mesh(&far, SILENCE);
    lab.wait_mesh(&near, SILENCE);
    // The far side cannot hear of it before the cable is back.
    lab.office("suspend amy --via 203.0.113.10:7400");
    lab.peer("pat").wait_feed(1);
    assert_eq!(lab.peer("carl").feed_number(), 0);
    let begun = Instant::now();
    lab.ground.cable("up");
    for name in far {
        wait_until("the far side hears of it", SILENCE, || lab.peer(name).feed_number() == 1);
    }
    let heard = ms(begun);
    lab.wait_mesh(&lab.names_without(&["amy"]), SILENCE);
    let healed = ms(begun);
    lab.office("resume amy --via 203.0.113.10:7400");
    lab.wait_mesh(&lab.names(), SILENCE);
    vec![("lab.heal_feed_ms", heard), ("lab.heal_ms", healed)]
}

/// Sam is frozen and behind a symmetric NAT: his own daemon does nothing to help.
fn a_revoked_host_behind_a_relay_is_cut(lab: &mut Lab) -> Figures {
    lab.wait_path("sam", "alice", "relay via", MINUTE);
    lab.peer("sam").signal(Signal::STOP);
    let begun = now_ms_of_day();
    lab.office("revoke sam --reason key-compromise --via 203.0.113.12:7400");
    let others = lab.names_without(&["sam"]);
    lab.wait_mesh(&others, MINUTE);
    // The relay's cut may come before the feed: then the link is down before it is to be cut.
    let cuts = others.iter().filter_map(|name| {
        let cut = ["link cut", "link down"].map(|how| lab.logged(name, &[how, "node=sam"]));
        let cut = cut.into_iter().flatten().filter(|at| *at >= begun).reduce(f64::min)?;
        Some((cut - begun, *name))
    });
    let cuts: Vec<(f64, &str)> = cuts.collect();
    assert_eq!(cuts.len(), others.len(), "each of them cut it: {cuts:?}");
    let slowest = cuts.iter().map(|(ms, _)| *ms).fold(0.0, f64::max);
    let circuits = RELAYS.map(|(name, _)| lab.logged(name, &["its circuit through us is cut"]));
    let last = circuits.into_iter().flatten().map(|at| at - begun).fold(0.0, f64::max);
    assert!(last > 0.0, "no relay cut a circuit");
    assert!(slowest < 1000.0 && last < 1000.0, "{slowest} {last}");
    vec![("lab.revoke_ms", slowest), ("lab.revoke_circuit_ms", last)]
}

fn a_revoked_relay_carries_nothing(lab: &mut Lab) -> Figures {
    let path = lab.path("sue", "alice").unwrap();
    let carrier = path.strip_prefix("relay via ").expect("sue and alice cannot meet").to_owned();
    let other = if carrier == "rita" { "rosa" } else { "rita" };
    let begun = now_ms_of_day();
    lab.office(&format!("revoke {carrier} --via 203.0.113.12:7400"));
    let by = format!("relay via {other}");
    lab.wait_path("sue", "alice", &by, MINUTE);
    let again = lab.logged("sue", &[" linked ", "node=alice", &by]).unwrap();
    lab.wait_mesh(&lab.names_without(&["sam", &carrier]), MINUTE);
    assert_eq!(lab.peer("alice").send("sue", "by the other one"), 0);
    vec![("lab.relay_replaced_ms", again - begun)]
}
