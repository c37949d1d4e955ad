//! The authority's door under hostile requests, guesses, slowness and crowds: it answers with a
//! code, stays as it was, and lets the next honest machine in.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shared::cert::{NodeCert, request as csr};
use shared::join::{Answer, Grant, JoinString, Secret};
use shared::key::{Algorithm, PrivateKey};
use tests::caller::Answered;
use tests::{Caller, Credentials, Machine, Network, Online, SOON, wait_until};

const KB: usize = 1024;

fn request_of(key: &rcgen::KeyPair, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
    let names = ["alice.mesh.example", "*.mesh.example", "authority.mesh.example", "evil.example"];
    let mut params = rcgen::CertificateParams::new(names.map(str::to_owned)).unwrap();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

/// Asks with a proof that holds, from an address.
fn ask(online: &Online, from: &str, string: &JoinString, csr: &[u8]) -> Answered {
    let mut caller = Caller::from(from, online.address(), None).unwrap();
    let request = caller.request(string, csr).to_bytes();
    caller.post("/v1/join", &request)
}

fn invited(online: &Online, line: &str) -> JoinString {
    JoinString::parse(&online.invite(line)).unwrap()
}

/// Resident memory of a process, kB.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_a_request_asks_for_besides_its_key_is_not_given() {
    let network = Network::new();
    let online = Online::start(&network);
    let string = invited(&online, "carol --groups lab");
    let key = rcgen::KeyPair::generate().unwrap();
    let greedy = request_of(&key, |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        let uri = "spiffe://mesh.example/node/authority".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    let answered = ask(&online, "127.0.0.1", &string, &greedy);
    assert_eq!(answered.status, 200, "{:?}", answered.code());
    let grant = Grant::from_bytes(&Answer::from_bytes(&answered.body).unwrap().grant).unwrap();
    let cert = NodeCert::read(&grant.chain[0]).unwrap();
    assert_eq!(cert.node.as_str(), "carol");
    assert_eq!(cert.attributes.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["lab"]);
    assert!(cert.attributes.roles.is_empty());
    std::fs::write(network.path().join("carol.crt"), &*grant.chain[0]).unwrap();
    let _ = network.ca("lint carol.crt");
    let text = String::from_utf8_lossy(&grant.chain[0]);
    assert!(!text.contains("alice") && !text.contains("evil") && !text.contains("node/authority"));
}

#[test]
fn a_hostile_request_has_its_code_and_spends_nothing() {
    let network = Network::with(&["bob"]);
    let bobs = Credentials::of_bundle(&network.bundle("bob")).private();
    network.ca("revoke bob");
    let alive = Credentials::of_bundle(&network.enroll("alice")).private();
    let online = Online::start(&network);
    let string = invited(&online, "carol");
    let make = |key| csr::make(key, "carol").unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let weak = |algorithm| request_of(&rcgen::KeyPair::generate_for(algorithm).unwrap(), |_| {});
    let mut unproven = request_of(&own, |_| {});
    let last = unproven.len() - 1;
    unproven[last] ^= 1;
    let swollen = request_of(&own, |params| {
        let bytes = vec![7; 20 * KB];
        let odd = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9, 9], bytes);
        params.custom_extensions.push(odd);
    });
    let cut = swollen[..swollen.len() / 2].to_vec();
    for (what, request, code) in [
        ("nothing", Vec::new(), "malformed"),
        ("no DER", vec![0x30; 9 * KB], "malformed"),
        ("a cut one", cut, "malformed"),
        ("one that proves nothing", unproven, "malformed"),
        ("RSA", weak(&rcgen::PKCS_RSA_SHA256), "bad-key"),
        ("P-384", weak(&rcgen::PKCS_ECDSA_P384_SHA384), "bad-key"),
        ("the key of a revoked node", make(&bobs), "bad-key"),
        ("the key of another node", make(&alive), "bad-key"),
    ] {
        let answered = ask(&online, "127.0.0.1", &string, &request);
        assert_eq!(answered.code().as_deref(), Some(code), "{what}: {answered:?}");
    }
    let state = &network.ca("invites --json").json()[0]["state"];
    assert_eq!(state, "open", "nothing was spent");
    assert_eq!(ask(&online, "127.0.0.1", &string, &swollen).status, 200, "odd, and only a key");
    let _ = (network.ca("log --verify"), network.ca("doctor"));
}

#[test]
fn what_is_no_request_is_refused_in_bounded_memory() {
    let network = Network::new();
    let online = Online::start(&network);
    let ask = |body: &[u8]| Caller::at(online.address()).post("/v1/join", body);
    assert_eq!(ask(b"").code().as_deref(), Some("malformed"));
    assert_eq!(ask(&[0x83, 0x50]).code().as_deref(), Some("malformed"));
    assert_eq!(ask(&[0x9f; 30 * KB]).code().as_deref(), Some("malformed"));
    let before = resident(online.pid());
    assert_eq!(ask(&vec![0x30; 40 * KB + 1]).status, 413);
    // Whoever goes on sending may not come to hear it, for the connection ends.
    for _ in 0..32 {
        assert!([0, 413].contains(&ask(&vec![0x30; KB * KB]).status));
    }
    let mut endless = Caller::at(online.address());
    endless.say(b"POST /v1/join HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..64 {
        endless.say(format!("4000\r\n{}\r\n", "x".repeat(0x4000)).as_bytes());
    }
    assert!([0, 413].contains(&endless.answer().status));
    let mut head = Caller::at(online.address());
    head.say(format!("GET /v1/time HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(200 * KB)).as_bytes());
    assert!([0, 431].contains(&head.answer().status));
    let grown = resident(online.pid()).saturating_sub(before);
    assert!(grown < 24 * KB, "{grown} kB more than before");
    for (path, status) in [("/", 404), ("/v1/join", 405), ("/v1/time", 200), ("/metrics", 401)] {
        assert_eq!(Caller::at(online.address()).get(path).status, status, "{path}");
    }
    let _ = Machine::new().join(&online.invite("carol")).ended(0);
}

#[test]
fn guesses_are_bounded_by_address_and_leave_one_record() {
    let network = Network::new();
    let mut online = Online::start(&network);
    let string = online.invite("carol");
    let mut guess = JoinString::parse(&string).unwrap();
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let csr = csr::make(&key, "carol").unwrap();
    let begun = Instant::now();
    let codes: Vec<String> = (0..40_u8)
        .map(|at| {
            guess.secret = Secret::new([at; 32]);
            ask(&online, "127.9.9.8", &guess, &csr).code().unwrap()
        })
        .collect();
    let unknown = codes.iter().filter(|code| *code == "unknown-invitation").count();
    let more = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!((20..=20 + more).contains(&unknown), "{unknown} of {codes:?}");
    assert!(codes.iter().all(|code| ["unknown-invitation", "quota"].contains(&code.as_str())));
    // The right secret from there has to wait as well; from elsewhere it does not.
    let _ = Machine::new().join(&string).ended(0);
    online.terminate();
    let log = network.ca("log").out;
    let refusals: Vec<&str> = log.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(refusals.len(), 1, "{log}");
    let said = format!("{unknown}, the last: unknown-invitation from 127.9.9.8:");
    assert!(refusals[0].contains(&said), "{refusals:?}");
    let _ = network.ca("log --verify");
}

#[test]
fn slow_callers_hold_nobody_up_and_are_sent_away() {
    let network = Network::new();
    let online = Online::start(&network);
    let string = online.invite("carol");
    let mut slow: Vec<Caller> = (0..64).map(|_| Caller::at(online.address())).collect();
    let head = b"POST /v1/join HTTP/1.1\r\nHost: authority\r\nContent-Length: 4096\r\n\r\n";
    let mut octets = head.iter();
    let mut drip = |slow: &mut Vec<Caller>| {
        if let Some(octet) = octets.next() {
            slow.iter_mut().for_each(|caller| caller.say(&[*octet]));
        }
    };
    drip(&mut slow);
    let begun = Instant::now();
    let _ = Machine::new().join(&string).ended(0);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut last = Instant::now();
    wait_until("the slow ones are sent away", SOON, || {
        if last.elapsed() > Duration::from_secs(1) {
            last = Instant::now();
            drip(&mut slow);
        }
        gauge(&online, "conclave_ca_connections ") <= 1
    });
    assert!(begun.elapsed() > Duration::from_secs(5), "they had their time");
}

#[test]
fn within_a_minute_a_dripping_body_ends_and_refusals_are_in_the_log() {
    let minute = Duration::from_secs(60);
    let network = Network::new();
    let mut online = Online::start(&network);
    let mut guess = invited(&online, "carol");
    guess.secret = Secret::new([7; 32]);
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let csr = csr::make(&key, "carol").unwrap();
    let refuse = |online: &Online| ask(online, "127.9.9.7", &guess, &csr).code().unwrap();
    let records = |network: &Network| {
        let log = network.ca("log").out;
        log.lines().filter(|line| line.contains("refused")).count()
    };
    let mut slow = Caller::at(online.address());
    slow.say(b"POST /v1/join HTTP/1.1\r\nHost: authority\r\nContent-Length: 4096\r\n\r\n");
    let (begun, mut last) = (Instant::now(), Instant::now());
    assert_eq!([refuse(&online), refuse(&online)], ["unknown-invitation"; 2]);
    assert_eq!(records(&network), 0, "none is written down by itself");
    wait_until("the slow one is sent away", minute * 2, || {
        if last.elapsed() > Duration::from_secs(1) {
            last = Instant::now();
            slow.say(b"x");
        }
        gauge(&online, "conclave_ca_connections ") <= 1
    });
    assert!(begun.elapsed() > minute - Duration::from_secs(5), "it had its time");
    assert_eq!(gauge(&online, "conclave_ca_turned_away_total{cause=\"slow\"} "), 1);
    wait_until("the refusals are written down", minute * 2, || records(&network) == 1);
    assert_eq!(refuse(&online), "unknown-invitation");
    assert_eq!(records(&network), 1, "the next is for the next minute");
    online.terminate();
    assert_eq!(records(&network), 2, "or for the end");
    let _ = network.ca("log --verify");
}

/// A figure of the authority's, as a member reads it.
fn gauge(online: &Online, name: &str) -> usize {
    let folder = online.path().join("alice.bundle");
    if !folder.exists() {
        let line = "enroll alice --out alice.bundle";
        let _ = tests::programs::run("ca-tool", online.path(), line).ended(0);
    }
    let alice = Credentials::of_bundle(&folder);
    let mut caller = Caller::from("127.0.0.1", online.address(), Some(&alice)).unwrap();
    let text = String::from_utf8(caller.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn ten_thousand_connections_leave_room_for_a_machine() {
    // As many as this machine lets us have, with some left for everything else.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let room = maximum.unwrap_or(u64::MAX).saturating_sub(1000).min(10_000);
    let count = usize::try_from(room).unwrap();
    assert!(count >= 2000, "only {count} files may be open");
    let network = Network::new();
    // The usual soft limit of a shell is below what the door lets in.
    let shell = ["sh", "-c", "ulimit -Sn 1024 && exec \"$@\"", "sh"];
    let place = tests::online::place_of_its_own();
    let online = Online::serve_through(&shell, network.path(), &place, &[]);
    let string = online.invite("carol");
    let target = online.address().parse().unwrap();
    let before = resident(online.pid());
    let until = Instant::now() + Duration::from_secs(15);
    let mut held = Vec::with_capacity(count);
    while held.len() < count && Instant::now() < until {
        let caller = format!("127.9.8.{}", 1 + held.len() % 7).parse().unwrap();
        held.extend(tests::pipe::call(caller, target));
    }
    assert!(held.len() >= 2000, "{} in time", held.len());
    let begun = Instant::now();
    let _ = Machine::new().join(&string).ended(0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(!online.log().contains("could not be accepted"), "{}", online.log());
    let grown = resident(online.pid()).saturating_sub(before);
    assert!(grown < 160 * KB, "{grown} kB for {} connections", held.len());
    drop(held);
    let _ = network.ca("log --verify");
}
