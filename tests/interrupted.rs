//! `kill -9` of the authority or of the machine, at every step of joining: the store is whole, and
//! the same command again ends in exactly one certificate.
//!
//! Steps are told apart by what has gone over the wire between the two (nothing, hellos, the time,
//! the request, the answer), and within a step by a delay that is longer from kill to kill.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tests::pipe::Pipe;
use tests::{Machine, Network, Online, SOON};

/// Kills in one thread, of the two that run; `CONCLAVE_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("CONCLAVE_KILLS").map_or(8, |text| text.parse().unwrap())
}

/// Pieces on the wire from the first hello to the answer, and some more.
const STEPS: u64 = 9;

/// Waits for a step, and then a little; not at all if it never comes.
fn step(wire: &Pipe, kill: u64) {
    let until = Instant::now() + Duration::from_millis(800);
    while wire.pieces() < kill % STEPS && Instant::now() < until {
        thread::sleep(Duration::from_micros(50));
    }
    // 0 to 12 ms, in an order that looks like none.
    thread::sleep(Duration::from_micros(kill * 7919 % 12_000));
}

/// Certificates that were made for a node.
fn certificates(network: &Network, node: &str) -> usize {
    let log = network.ca("log --json").json();
    let made = |record: &&serde_json::Value| record["act"] == "join" && record["subject"] == node;
    log.as_array().unwrap().iter().filter(made).count()
}

/// The bundle is whole, and its certificate is the one on record.
fn assert_joined(network: &Network, bundle: &Path, node: &str) {
    assert_eq!(certificates(network, node), 1, "{node}");
    let shown = network.ca(&format!("show {node} --json")).json();
    let pem = std::fs::read(bundle.join("id/node.crt")).unwrap();
    let chain = shared::pem::certificates(&pem, 3).unwrap();
    let serial = shared::cert::NodeCert::read(&chain[0]).unwrap().serial.to_string();
    assert!(shown.to_string().contains(&serial), "{serial} is not in {shown}");
}

fn assert_whole(network: &Network) {
    let said = network.ca("log --verify");
    assert_eq!(said.code, 0, "{said:?}");
    let said = network.try_ca("doctor");
    assert!(!said.out.contains("WRONG"), "{said:?}");
}

fn in_two_threads(work: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for which in 0..2 {
            let work = &work;
            scope.spawn(move || work(which));
        }
    });
}

#[test]
fn an_authority_killed_at_any_step_gives_one_certificate() {
    in_two_threads(|which| {
        let network = Network::new();
        let mut online = Online::start(&network);
        for kill in (which..2 * kills()).step_by(2) {
            let node = format!("n{kill}");
            let wire = Pipe::to(online.address());
            let string = online.invite_to(&node, wire.address());
            let machine = Machine::new();
            let joining = machine.begin(&string);
            step(&wire, kill);
            online = online.killed_and_started();
            assert_whole(&network);
            let said = joining.end(SOON);
            if said.code != 0 {
                assert!([1, 3].contains(&said.code), "{kill}: {said:?}");
                assert!(said.err.contains("hint: "), "{kill}: {said:?}");
                let _ = machine.join(&string).ended(0);
            }
            assert_eq!(machine.names(), [format!("{node}.bundle")], "{kill}");
            assert_joined(&network, &machine.bundle(&node), &node);
        }
        assert_whole(&network);
    });
}

#[test]
fn a_machine_killed_at_any_step_comes_again_with_the_same_key() {
    in_two_threads(|which| {
        let network = Network::new();
        let online = Online::start(&network);
        for kill in (which..2 * 2 * kills()).step_by(2) {
            let node = format!("n{kill}");
            let wire = Pipe::to(online.address());
            let string = online.invite_to(&node, wire.address());
            let machine = Machine::new();
            let joining = machine.begin(&string);
            step(&wire, kill);
            let _ = joining.kill();
            let is_there = machine.bundle(&node).exists();
            let again = machine.join(&string);
            // Killed at the last moment, it is done; then the string is spent.
            let code = if is_there { 3 } else { 0 };
            let _ = again.ended(code);
            assert_joined(&network, &machine.bundle(&node), &node);
        }
        assert_whole(&network);
    });
}

#[test]
fn whatever_an_interrupted_machine_left_behind_is_taken_up_again() {
    let network = Network::new();
    let online = Online::start(&network);
    for (node, folder, key) in [
        ("n0", "", None),
        ("n1", "id", None),
        ("n2", "id", Some("")),
        ("n3", "id", Some("-----BEGIN PRIVATE KEY-----\nMIGH")),
    ] {
        let string = online.invite(node);
        let secret = shared::join::JoinString::parse(&string).unwrap().secret;
        let id = shared::id::hex(secret.id().unwrap().as_bytes());
        let machine = Machine::new();
        let place = machine.path().join(format!(".{id}.joining"));
        host::files::make_private_dir(&place.join(folder)).unwrap();
        if let Some(text) = key {
            let mode = host::files::Mode::Secret;
            host::files::write_new(&place.join("id/node.key"), text.as_bytes(), mode).unwrap();
        }
        let _ = machine.join(&string).ended(0);
        assert_joined(&network, &machine.bundle(node), node);
    }
}
