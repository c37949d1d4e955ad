//! A node that nobody can dial is reached through a member with the role `relay`, which carries
//! what it cannot read, within bounds, and only for members.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::{Body, Circuit, Token};
use tests::raw::Ear;
use tests::{Credentials, Network, Peer, SOON, programs, wait_until};

/// Alice and bob listen nowhere; rita is a relay that both dial.
fn apart(network: &Network) -> [Peer; 3] {
    let rita = network.start("rita", &[]);
    let alice = network.start_on("alice", "none", &[&rita]);
    let bob = network.start_on("bob", "none", &[&rita]);
    [alice, bob, rita]
}

fn network() -> Network {
    let network = Network::with(&["alice", "bob"]);
    network.ca("enroll rita --out rita.bundle --roles relay");
    network
}

/// The path of a peer's link with a node, if there is one.
fn path(peer: &Peer, node: &str) -> Option<String> {
    let status = peer.status();
    let links = status["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["node"] == node)?;
    Some(link["path"].as_str().unwrap().to_owned())
}

fn wait_path(peer: &Peer, node: &str, wanted: &str) {
    wait_until(&format!("{} has {node}: {wanted}", peer.node()), SOON, || {
        path(peer, node).as_deref() == Some(wanted)
    });
}

#[test]
fn a_message_goes_through_a_relay_both_ways() {
    let network = network();
    let [alice, bob, _rita] = apart(&network);
    wait_path(&alice, "bob", "relay via rita");
    wait_path(&bob, "alice", "relay via rita");
    wait_path(&alice, "rita", "direct");
    assert_eq!(alice.send("bob", "to bob"), 0);
    assert_eq!(bob.send("alice", "to alice"), 0);
    assert!(bob.inbox().contains("to bob") && alice.inbox().contains("to alice"));
}

#[test]
fn only_a_relay_relays_and_only_between_members() {
    let network = network();
    let [alice, _bob, rita] = apart(&network);
    let ask = |at: &Peer, to: &str, as_whom: &Credentials| {
        let mut ear = Ear::dial_relay(at.address(), Some(as_whom));
        ear.say(&asking(to));
        ear.listen()
    };
    let carol = network.enroll("carol");
    let carol = Credentials::of_bundle(&carol);
    ask(&rita, "nobody", &carol).assert_refused(Code::Unreachable);
    ask(&rita, "carol", &carol).assert_refused(Code::Unreachable);
    rita.wait_event("unreachable", "us");
    drop(alice);
    let dave = network.enroll("dave");
    let plain = Peer::start(&dave, "127.0.0.1:0", &[]);
    ask(&plain, "bob", &carol).assert_refused(Code::Policy);
    network.ca(&format!("revoke carol --via {}", rita.address()));
    rita.wait_feed(1);
    ask(&rita, "bob", &carol).assert_refused(Code::Revoked);
}

#[test]
fn without_a_relay_two_who_listen_nowhere_do_not_meet() {
    let network = Network::with(&["alice", "bob", "rita"]);
    let [alice, bob, rita] = apart(&network);
    rita.wait_links(&["alice", "bob"]);
    assert_eq!((path(&alice, "bob"), path(&bob, "alice")), (None, None));
    assert_ne!(alice.send("bob", "hello"), 0);
}

#[test]
fn a_stranger_at_a_relay_learns_nothing() {
    let network = network();
    let [_alice, _bob, rita] = apart(&network);
    let mut ear = Ear::dial_relay(rita.address(), None);
    ear.say(&asking("bob"));
    ear.listen().assert_refused(Code::NoCertificate);
    let other = Network::with(&["alice"]);
    let foreign = Credentials::of_bundle(&other.bundle("alice"));
    let mut ear = Ear::dial_relay(rita.address(), Some(&foreign));
    ear.say(&asking("bob"));
    ear.listen().assert_refused(Code::ForeignAuthority);
}

#[test]
fn a_member_that_says_something_else_is_refused_and_the_rest_goes_on() {
    let network = network();
    let [alice, bob, rita] = apart(&network);
    wait_path(&alice, "bob", "relay via rita");
    let carol = Credentials::of_bundle(&network.enroll("carol"));
    for said in [Body::Ping(1).to_frame(), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut ear = Ear::dial_relay(rita.address(), Some(&carol));
        ear.say(&said);
        ear.listen().assert_refused(Code::Malformed);
    }
    // Garbage where the inner handshake belongs ends that circuit, and nothing else.
    let mut ear = Ear::dial_relay(rita.address(), Some(&carol));
    ear.say(&asking("bob"));
    assert!(matches!(ear.body(), Some(Body::Circuit(Circuit::Ready(_)))));
    ear.say(&[b'x'; 4096]);
    assert_ne!(ear.drain(), "silence");
    assert_eq!(bob.send("alice", "still here"), 0);
    assert_eq!(path(&alice, "bob").as_deref(), Some("relay via rita"));
}

#[test]
fn a_call_is_taken_once_and_by_the_one_who_was_called() {
    let network = Network::with(&["alice", "bob", "carol"]);
    network.ca("enroll rita --out rita.bundle --roles relay");
    let rita = network.start("rita", &[]);
    let of = |node: &str| Credentials::of_bundle(&network.bundle(node));
    let (alice, bob, carol) = (of("alice"), of("bob"), of("carol"));
    let mut link = Ear::dial(rita.address(), Some(&bob));
    assert!(matches!(link.hello(&bob), Some(Body::Welcome(_))));
    let mut asker = Ear::dial_relay(rita.address(), Some(&alice));
    asker.say(&asking("bob"));
    let token = called(&mut link, "alice");
    let take = |as_whom: &Credentials| {
        let mut ear = Ear::dial_relay(rita.address(), Some(as_whom));
        ear.say(&Body::Circuit(Circuit::Take(token)).to_frame());
        ear
    };
    take(&carol).listen().assert_refused(Code::Policy);
    let mut taker = take(&bob);
    assert!(matches!(taker.body(), Some(Body::Circuit(Circuit::Ready(_)))));
    assert!(matches!(asker.body(), Some(Body::Circuit(Circuit::Ready(_)))));
    take(&bob).listen().assert_refused(Code::Policy);
    // From here on it is a pipe.
    asker.say(b"ping");
    assert_eq!(taker.octets(4), b"ping");
    taker.say(b"pong");
    assert_eq!(asker.octets(4), b"pong");
    // Whoever does not want to is heard too.
    let mut asker = Ear::dial_relay(rita.address(), Some(&alice));
    asker.say(&asking("bob"));
    let token = called(&mut link, "alice");
    link.say(&Body::Circuit(Circuit::Decline { token, code: Code::Policy }).to_frame());
    asker.listen().assert_refused(Code::Policy);
}

#[test]
fn a_full_relay_says_quota() {
    let network = network();
    let yaml = network.bundle("rita").join("node.yaml");
    let text = std::fs::read_to_string(&yaml).unwrap();
    std::fs::write(&yaml, format!("{text}relay: {{circuits-per-member: 1}}\n")).unwrap();
    let [alice, bob, rita] = apart(&network);
    wait_path(&alice, "bob", "relay via rita");
    let carol = Credentials::of_bundle(&network.enroll("carol"));
    let mut ear = Ear::dial_relay(rita.address(), Some(&carol));
    ear.say(&asking("bob"));
    ear.listen().assert_refused(Code::Quota);
    drop(alice);
    // The place is free again.
    wait_until("bob can be called", SOON, || {
        let mut ear = Ear::dial_relay(rita.address(), Some(&carol));
        ear.say(&asking("bob"));
        matches!(ear.body(), Some(Body::Circuit(Circuit::Ready(_))))
    });
    drop(bob);
}

#[test]
fn a_revoked_member_is_cut_behind_the_relay_and_on_it() {
    let network = network();
    let [alice, bob, rita] = apart(&network);
    wait_path(&alice, "bob", "relay via rita");
    // A deaf alice: her own daemon would hang up by itself.
    alice.signal(rustix::process::Signal::STOP);
    let begun = Instant::now();
    network.ca(&format!("revoke alice --via {}", rita.address()));
    bob.wait_links(&["rita"]);
    rita.wait_links(&["bob"]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    wait_until("the relay tells of it", SOON, || rita.log().contains("its circuit through us is"));
    assert_ne!(bob.send("alice", "for nobody"), 0);
    alice.signal(rustix::process::Signal::CONT);
    assert!(!alice.inbox().contains("for nobody"));
}

#[test]
fn a_revoked_relay_carries_nothing_any_more() {
    let network = network();
    network.ca("enroll rosa --out rosa.bundle --roles relay");
    let rosa = network.start("rosa", &[]);
    let rita = network.start("rita", &[&rosa]);
    let alice = network.start_on("alice", "none", &[&rita, &rosa]);
    let bob = network.start_on("bob", "none", &[&rita, &rosa]);
    wait_until("they are linked", SOON, || path(&alice, "bob").is_some());
    let carrier = path(&alice, "bob").unwrap();
    let carrier = carrier.strip_prefix("relay via ").unwrap();
    let other = if carrier == "rita" { "rosa" } else { "rita" };
    let address = if other == "rita" { rita.address() } else { rosa.address() };
    network.ca(&format!("revoke {carrier} --via {address}"));
    wait_path(&alice, "bob", &format!("relay via {other}"));
    assert_eq!(bob.send("alice", "by the other one"), 0);
}

fn asking(to: &str) -> Vec<u8> {
    Body::Circuit(Circuit::Ask(NodeName::parse(to).unwrap())).to_frame()
}

/// The next call on a link.
fn called(link: &mut Ear, from: &str) -> Token {
    loop {
        let body = link.body().expect("a call comes");
        if let Body::Circuit(Circuit::Call { token, from: who }) = body {
            assert_eq!(who.as_str(), from);
            return token;
        }
    }
}

/// Nobody can dial alice and bob where they say they are, but both listen: they meet.
fn behind(network: &Network) -> [Peer; 3] {
    for node in ["alice", "bob"] {
        let yaml = network.bundle(node).join("node.yaml");
        let text = std::fs::read_to_string(&yaml).unwrap();
        std::fs::write(&yaml, format!("{text}advertise: [\"127.0.0.1:1\"]\n")).unwrap();
    }
    let rita = network.start("rita", &[]);
    let alice = network.start("alice", &[&rita]);
    let bob = network.start("bob", &[&rita]);
    [alice, bob, rita]
}

#[test]
fn two_who_can_meet_leave_the_relay() {
    let network = network();
    let [alice, bob, rita] = behind(&network);
    wait_path(&alice, "bob", "direct");
    wait_path(&bob, "alice", "direct");
    assert!(alice.log().contains("relay via rita"), "it began at the relay");
    drop(rita);
    assert_eq!(alice.send("bob", "without a relay"), 0);
    assert!(bob.inbox().contains("without a relay"));
}

#[test]
fn no_message_is_lost_when_the_direct_path_takes_over() {
    let network = network();
    let [alice, bob, _rita] = behind(&network);
    wait_until("they are linked", SOON, || path(&alice, "bob").is_some());
    let lines: String = (0..300).map(|n| format!("line {n}.\n")).collect();
    let mut sender = programs::command("peer", network.path())
        .args(["send", "alice.bundle", "bob", "-", "--lines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    sender.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert_eq!(sender.wait().unwrap().code(), Some(0));
    wait_path(&alice, "bob", "direct");
    let inbox: String = bob.ask("inbox", &["--json"]).out;
    assert_eq!(inbox.matches("line ").count(), 300);
}
