//! Bad input from strangers and from people: a clear refusal, bounded cost, nothing lost.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use shared::refusal::Code;
use shared::wire::Body;
use tests::{Credentials, Network, Peer, SOON, raw, wait_until};

fn linked_ear(network: &Network, peer: &Peer) -> raw::Ear {
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    let mut ear = raw::Ear::dial(peer.address(), Some(&bob));
    assert!(matches!(ear.hello(&bob), Some(Body::Welcome(_))));
    ear
}

#[test]
fn a_malformed_greeting_whichever_byte_is_wrong() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    let frame = Body::Hello(raw::greeting(&bob, 1)).to_frame();
    // Feed number and time, the last bytes, are hints that nobody signs.
    for at in (0..frame.len() - 16).step_by(frame.len() / 14) {
        let mut damaged = frame.clone();
        damaged[at] ^= 0xff;
        let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
        ear.say(&damaged);
        let heard = ear.listen();
        assert_eq!(heard.application_bytes, 0, "byte {at}: {heard:?}");
    }
    assert!(alice.links().is_empty());
}

#[test]
fn a_malformed_frame_of_a_member_ends_its_link_with_one_answer() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bad: [&[u8]; 5] = [
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 1],
        &[0, 0, 0, 1, 99],
        &[0, 0, 0, 3, 4, 1, 2],
        &[0, 1, 0, 2, 12],
    ];
    for bytes in bad {
        let mut ear = linked_ear(&network, &alice);
        ear.say(bytes);
        let heard = ear.listen();
        assert_ne!(heard.end, "silence", "{bytes:?}: {heard:?}");
        assert!(matches!(heard.code, Some(Code::Malformed) | None), "{bytes:?}: {heard:?}");
        wait_until("the link is gone", SOON, || alice.links().is_empty());
    }
}

#[test]
fn noise_instead_of_tls() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut socket = TcpStream::connect(alice.address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(noise).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 64, "{answer:?}");
    }
    let _ = alice.status();
}

#[test]
fn a_silent_handshake_is_ended_within_its_bound() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let mut socket = TcpStream::connect(alice.address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let begun = Instant::now();
    let mut answer = [0; 64];
    assert!(matches!(socket.read(&mut answer), Ok(0) | Err(_)));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn ten_thousand_connections_from_one_address_cost_little_and_harm_nobody() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let before = memory_kib(alice.pid());
    // In waves that fit the kernel's backlog: beyond it the kernel lets a connection wait a second.
    let wave = || -> Vec<TcpStream> {
        (0..100).filter_map(|_| TcpStream::connect(alice.address()).ok()).collect()
    };
    let opened: usize = (0..99).map(|_| wave().len()).sum();
    let held = wave();
    assert!(opened + held.len() > 9_000, "{opened}");
    assert_eq!(bob.send("alice", "through the crowd"), 0);
    let grown = memory_kib(alice.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert!(alice.log().lines().count() < 200, "the log is limited too");
    drop(held);
    // The link that stood has stood throughout.
    assert_eq!(bob.links(), ["alice"]);
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_port_in_use_is_named() {
    let network = Network::with(&["alice"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = Peer::fails(&network.bundle("alice"), &address);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains(&address) && said.err.contains("hint:"), "{}", said.err);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_mends_it() {
    let network = Network::with(&["alice"]);
    let bundle = network.bundle("alice");
    let key = bundle.join("id/node.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = Peer::fails(&bundle, "127.0.0.1:0");
    assert!(said.code == 1 && said.err.contains("chmod 600"), "{}", said.err);
}

#[test]
fn a_typo_in_node_yaml_is_shown_with_its_place() {
    let network = Network::with(&["alice"]);
    let bundle = network.bundle("alice");
    let file = bundle.join("node.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("listen:", "lisen:");
    std::fs::write(&file, text).unwrap();
    let said = Peer::fails(&bundle, "127.0.0.1:0");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("node.yaml:") && said.err.contains("listen"), "{}", said.err);
}

#[test]
fn a_bundle_with_a_part_missing_or_cut_names_the_part() {
    let network = Network::with(&["alice"]);
    let bundle = network.bundle("alice");
    for part in ["id/node.crt", "id/node.key", "trust.pem"] {
        let file = bundle.join(part);
        let whole = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let said = Peer::fails(&bundle, "127.0.0.1:0");
        assert!(said.code == 1 && said.err.contains(part), "{part} missing: {}", said.err);
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let said = Peer::fails(&bundle, "127.0.0.1:0");
        assert!(said.code == 1 && said.err.contains("hint:"), "{part} cut: {}", said.err);
        std::fs::write(&file, &whole).unwrap();
    }
    let _ = network.start("alice", &[]);
}

#[test]
fn two_daemons_on_one_bundle() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let said = Peer::fails(&network.bundle("alice"), "127.0.0.1:0");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains(&alice.pid().to_string()), "who holds it is named: {}", said.err);
    let _ = alice.status();
}

#[test]
fn a_bundle_in_a_deep_folder_works() {
    let network = Network::with(&["alice"]);
    let deep = network.path().join("a".repeat(100)).join("b".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::rename(network.bundle("alice"), deep.join("alice.bundle")).unwrap();
    let alice = Peer::start(&deep.join("alice.bundle"), "127.0.0.1:0", &[]);
    assert!(alice.links().is_empty());
}

#[test]
fn nobody_runs_there() {
    let network = Network::with(&["alice"]);
    let said = network.peer("status alice.bundle");
    assert!(said.code == 4 && said.err.contains("hint:"), "{said:?}");
    assert_eq!(network.peer("send alice.bundle bob hello").code, 4);
    assert_eq!(network.peer("frobnicate").code, 2);
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let network = Network::new();
    let folder = network.path();
    for (name, text) in [("right", "correct horse battery"), ("wrong", "incorrect donkey")] {
        std::fs::write(folder.join(name), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.join(name), mode).unwrap();
    }
    network.ca("--pki sealed --passphrase-file right init sealed.example");
    let said = network.try_ca("--pki sealed --passphrase-file wrong enroll a --out a.bundle");
    assert!(said.code == 1 && said.err.contains("passphrase"), "{said:?}");
    assert!(!folder.join("a.bundle").exists());
    network.ca("--pki sealed --passphrase-file right enroll a --out a.bundle");
}
