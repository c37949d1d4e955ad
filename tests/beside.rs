//! Every `ca-tool` command beside a running `ca-tool serve`: it says what it says alone, and what
//! comes over the control socket is bounded and tells no key.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use tests::{Credentials, Network, Online, SOON, programs, wait_until};

const POLICY: &str = "rules:\n  - {name: all, allow: [connect, send], from: any, to: any}\n";

/// Commands with an outcome of every kind: done, done already, refused, misused.
const LINES: [&str; 46] = [
    "list",
    "enroll alice --out alice.bundle --groups lab --peer bob=192.0.2.7:7400",
    "enroll alice --out again.bundle",
    "enroll authority --out no.bundle",
    "enroll bob --out alice.bundle",
    "enroll bob --out bob.bundle --profile nothing",
    "enroll bob --out bob.bundle --ttl 2h",
    "enroll carol --csr carol.csr --out carol.crt",
    "enroll dave --csr alice.bundle/node.yaml --out dave.crt",
    "renew bob --out bob.bundle",
    "renew bob --out bob.bundle --new-key",
    "renew nobody --out nobody.crt",
    "list",
    "list --json",
    "show alice",
    "show alice --json",
    "show nobody",
    "show 00000000000000000000000000000000",
    "suspend alice",
    "suspend alice",
    "resume alice",
    "resume alice",
    "suspend nobody",
    "revoke bob --reason key-compromise",
    "revoke bob",
    "resume bob",
    "renew bob --out bob.bundle",
    "enroll bob --out bob2.bundle",
    "publish",
    "publish --via 127.0.0.1:1",
    "policy check policy.yaml",
    "policy push policy.yaml",
    "policy push policy.yaml --json",
    "policy show",
    "policy push missing.yaml",
    "feed export --out mesh.feed",
    "crl --out crl.pem",
    "crl",
    "invite erin --ttl 1h --at 192.0.2.1:7443 --groups lab",
    "invites",
    "uninvite erin",
    "uninvite erin",
    "invite alice --at 192.0.2.1:7443",
    "approve erin",
    "list",
    "log --verify",
];

/// Times, hashes, serials, strings and bodies of PEM, which differ from run to run.
fn normalised(text: &str) -> String {
    let mut out = String::new();
    let mut is_pem = false;
    for line in text.lines() {
        is_pem = line.starts_with("-----BEGIN") || is_pem && !line.starts_with("-----END");
        if is_pem && !line.starts_with("-----") {
            continue;
        }
        let bare = line.replace(['"', ','], " ");
        let words: Vec<&str> = bare.split_whitespace().map(plain).collect();
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

fn plain(word: &str) -> &str {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_hex = bare.len() >= 12 && bare.bytes().all(|c| c.is_ascii_hexdigit() || c == b':');
    match word {
        _ if bare.starts_with("20") && bare.contains('T') && bare.contains(':') => "TIME",
        _ if is_hex => "HASH",
        _ if word.starts_with("conclave:") => "STRING",
        _ => word,
    }
}

fn said(network: &Network, line: &str) -> (i32, String, String) {
    let said = network.try_ca(line);
    (said.code, normalised(&said.out), normalised(&said.err))
}

#[test]
fn a_command_says_the_same_beside_the_authority_as_without_it() {
    let (alone, beside) = (Network::new(), Network::new());
    let online = Online::start(&beside);
    for network in [&alone, &beside] {
        std::fs::write(network.path().join("policy.yaml"), POLICY).unwrap();
        let _ = network.peer("request carol").ended(0);
    }
    let (mut codes, mut wrong) = (std::collections::BTreeSet::new(), Vec::new());
    for line in LINES {
        let (one, other) = (said(&alone, line), said(&beside, line));
        codes.insert(one.0);
        if one != other {
            wrong.push(format!("{line}\n  alone  {one:?}\n  beside {other:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(codes.contains(&0) && codes.contains(&1) && codes.len() > 2, "{codes:?}");
    for file in ["alice.bundle/node.yaml", "bob.bundle/node.yaml", "alice.bundle/id/node.key"] {
        let [one, other] = [&alone, &beside].map(|network| network.path().join(file));
        let modes = [&one, &other].map(|path| std::fs::metadata(path).unwrap().permissions());
        assert_eq!(modes[0], modes[1], "{file}");
        if file.ends_with("yaml") {
            // Beside the authority a new bundle knows where that answers.
            let told = |path: PathBuf| {
                let text = normalised(&std::fs::read_to_string(path).unwrap());
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.retain(|line| !line.starts_with("authority:"));
                lines
            };
            assert_eq!(told(one), told(other));
        }
    }
    let acts = |network: &Network| {
        let log = network.ca("log --json").json();
        let all = log.as_array().unwrap().clone();
        let of = |record: serde_json::Value| format!("{} {}", record["act"], record["subject"]);
        all.into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(acts(&alone), acts(&beside));
    drop(online);
    assert_eq!(said(&alone, "doctor"), said(&beside, "doctor"));
}

fn socket(network: &Network) -> PathBuf {
    network.path().join("pki/state/control.sock")
}

/// What the authority answers to one line, if anything.
fn tell(socket: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // It may hang up before it has heard it all.
    let _ = stream.write_all(line);
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer);
    answer
}

#[test]
fn nonsense_and_crowds_on_the_socket_do_no_harm() {
    let network = Network::with(&["alice"]);
    let online = Online::start(&network);
    let socket = socket(&network);
    let long = vec![b'x'; 1 << 20];
    let deep = ["[".repeat(100_000), "\n".to_owned()].concat();
    for nonsense in [
        b"nonsense\n".as_slice(),
        b"{\"ask\":\"give-me-the-key\"}\n",
        b"{\"ask\":\"deny\",\"with\":7}\n",
        b"\xff\xfe\n",
        deep.as_bytes(),
    ] {
        let answer = tell(&socket, nonsense);
        assert!(answer.contains("not understood"), "{answer}");
    }
    let answer = tell(&socket, &long);
    assert!(answer.is_empty() || answer.contains("not understood"), "{answer}");
    let idle: Vec<UnixStream> = (0..48).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let _ = network.ca("list");
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let answer = tell(&socket, b"{\"ask\":\"invites\",\"with\":null}\n");
                assert_eq!(answer, "{\"told\":[]}\n");
            });
        }
    });
    drop(idle);
    let _ = (network.ca("log --verify"), network.enroll("bob"));
    drop(online);
}

/// Stands on the authority's socket and writes down what passes.
fn listen_in(network: &Network) -> Arc<Mutex<Vec<u8>>> {
    let (place, real) = (socket(network), network.path().join("real.sock"));
    std::fs::rename(&place, &real).unwrap();
    let (listener, tape) = (UnixListener::bind(&place).unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&tape);
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = UnixStream::connect(&real) else { break };
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    let mut piece = [0; 16 * 1024];
                    while let Ok(length @ 1..) = from.read(&mut piece) {
                        kept.lock().unwrap().extend_from_slice(&piece[..length]);
                        if to.write_all(&piece[..length]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    tape
}

#[test]
fn no_private_key_goes_over_the_socket() {
    let network = Network::new();
    let _online = Online::start(&network);
    let tape = listen_in(&network);
    let key = |node: &str| Credentials::of_bundle(&network.bundle(node)).key;
    let _ = network.enroll("alice");
    let first = key("alice");
    network.ca("renew alice --out alice.bundle --new-key");
    network.ca("renew alice --out alice.bundle");
    let second = key("alice");
    assert_ne!(first, second);
    let tape = String::from_utf8(tape.lock().unwrap().clone()).unwrap();
    assert!(tape.contains("\"ask\":\"enroll\"") && tape.contains("\"ask\":\"renew\""), "{tape}");
    assert!(!tape.contains("PRIVATE KEY"));
    for text in tape.split('"') {
        let octets = BASE64.decode(text.as_bytes()).unwrap_or_default();
        for key in [&first, &second] {
            // The secret number of a P-256 key, which no other part has in common.
            let number = &key[36..68];
            assert!(!octets.windows(32).any(|part| part == number), "{text}");
        }
    }
}

#[test]
fn a_killed_authority_leaves_a_socket_that_disturbs_nobody() {
    let network = Network::with(&["alice"]);
    let mut online = Online::start(&network);
    online.kill();
    assert!(socket(&network).exists());
    let begun = Instant::now();
    let _ = (network.ca("list"), network.enroll("bob"), network.ca("log --verify"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut again = Online::start_at(&network, online.address());
    assert!(network.ca("list").out.contains("bob"));
    again.terminate();
    assert!(!socket(&network).exists());
    let _ = network.ca("list");
}

#[test]
fn an_authority_that_stops_leaves_no_command_half_done() {
    let network = Network::new();
    let mut online = Online::start(&network);
    let ends: Vec<(String, programs::Said)> = thread::scope(|scope| {
        let enroll = |thread: u32| {
            let mut ends = Vec::new();
            for turn in 0..4 {
                let node = format!("n{thread}-{turn}");
                let line = format!("enroll {node} --out {node}.bundle");
                ends.push((node, network.try_ca(&line)));
            }
            ends
        };
        let enrolling: Vec<_> = (0..4).map(|one| scope.spawn(move || enroll(one))).collect();
        wait_until("some are enrolled", SOON, || network.bundle("n0-0").exists());
        online.terminate();
        enrolling.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let listed = network.ca("list --json").out;
    for (node, said) in ends {
        let (is_listed, bundle) = (listed.contains(&format!("\"{node}\"")), network.bundle(&node));
        assert!(said.code == 0 || said.err.contains("hint: "), "{said:?}");
        assert_eq!(bundle.exists(), said.code == 0, "{said:?}");
        assert!(is_listed || said.code != 0, "{said:?}");
    }
    let _ = network.ca("log --verify");
    let said = network.try_ca("doctor");
    assert!(!said.out.contains("WRONG"), "{said:?}");
}
