//! The policy: applied to live links at once, asked at both ends, believed from the authority only.
//!
//! A member hands it in here, as any neighbour passes it on; `ca-tool policy` has its own tests.

use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NodeName};
use shared::policy::{Effect, Grant, Policy, Quota, Rates, Rule, Selector};
use shared::refusal::Code;
use shared::wire::{Body, Circuit, Message, Pack, Token};
use tests::{Credentials, Network, Peer, SOON, raw, wait_until};

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn node(name: &str) -> Selector {
    Selector { nodes: vec![NodeName::parse(name).unwrap()], ..Selector::default() }
}

fn deny(name: &str, grant: Grant, from: &str, to: &str) -> Rule {
    let (from, to) = (node(from), node(to));
    Rule { name: label(name), effect: Effect::Deny, grants: vec![grant], from, to }
}

/// These rules before the one that lets members talk.
fn policy(number: u64, mut rules: Vec<Rule>) -> Policy {
    let usual = Policy::built_in();
    rules.extend(usual.rules);
    Policy { number, at: host::clock::wall(), rules, quotas: Vec::new() }
}

fn signed(network: &Network, policy: &Policy) -> Vec<u8> {
    let authority = network.authority();
    policy.sign(authority.network(), authority.signer()).unwrap()
}

/// A member that says what it wants.
fn member(network: &Network, name: &str, peer: &Peer) -> raw::Ear {
    let credentials = network.forge().node(name, |_| {});
    let mut ear = raw::Ear::dial(peer.address(), Some(&credentials));
    let answer = ear.hello(&credentials);
    assert!(matches!(answer, Some(Body::Welcome(_))), "{answer:?}");
    ear
}

fn hand_in(network: &Network, bytes: Vec<u8>, peer: &Peer) {
    let mut ear = member(network, "dora", peer);
    ear.say(&Body::Policy(bytes).to_frame());
    // The answer to a ping comes after the policy was looked at.
    ear.say(&Body::Ping(7).to_frame());
    while ear.body().expect("the link stays, whatever is handed in") != Body::Pong(7) {}
}

fn number(peer: &Peer) -> u64 {
    peer.ask("policy show", &["--json"]).ended(0).json()["number"].as_u64().unwrap()
}

fn wait_policy(peer: &Peer, wanted: u64) {
    wait_until(&format!("{} has policy {wanted}", peer.node()), SOON, || number(peer) == wanted);
}

#[test]
fn exactly_the_forbidden_link_is_cut_and_stays_so_after_a_restart() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let rules = vec![
        deny("bob-not-to-carol", Grant::Connect, "bob", "carol"),
        deny("carol-not-to-bob", Grant::Connect, "carol", "bob"),
    ];
    hand_in(&network, signed(&network, &policy(1, rules)), &alice);
    for peer in [&alice, &bob, &carol] {
        wait_policy(peer, 1);
    }
    bob.wait_links(&["alice"]);
    carol.wait_links(&["alice"]);
    alice.wait_links(&["bob", "carol"]);
    let why = bob.ask("policy why", &["carol", "connect"]).ended(3);
    assert_eq!(why.out, "bob may not connect carol: rule 1, bob-not-to-carol, of policy 1\n");
    let why = bob.ask("policy why", &["alice", "send"]).ended(0);
    assert_eq!(why.out, "bob may send alice: rule 3, members-may-talk, of policy 1\n");
    carol.terminate();
    let carol = network.start("carol", &[&alice, &bob]);
    assert_eq!(number(&carol), 1, "it was saved");
    carol.wait_links(&["alice"]);
    assert_eq!(carol.send("alice", "hello"), 0);
}

#[test]
fn sending_is_denied_at_the_sender_and_to_a_liar_at_the_receiver() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let rules = vec![
        deny("bob-is-quiet", Grant::Send, "bob", "alice"),
        deny("liar-is-quiet", Grant::Send, "mallory", "alice"),
    ];
    hand_in(&network, signed(&network, &policy(1, rules)), &alice);
    wait_policy(&bob, 1);
    let said = bob.ask("send", &["alice", "psst"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.out.contains("policy"), "{}", said.out);
    assert_eq!(alice.send("bob", "the other way is allowed"), 0);
    let mut liar = member(&network, "mallory", &alice);
    liar.say(&Body::Message(Message { id: 9, body: b"psst".to_vec() }).to_frame());
    let refused = loop {
        match liar.body().unwrap() {
            Body::Receipt(receipt) if receipt.id == 9 => break receipt.refused,
            _ => {}
        }
    };
    assert_eq!(refused, Some(Code::Policy));
    let mut pack = Pack::default();
    assert!(pack.push(b"psst"));
    liar.say(&pack.into_frame(10));
    let refused = loop {
        match liar.body().unwrap() {
            Body::Receipt(receipt) if receipt.id == 10 => break receipt.refused,
            _ => {}
        }
    };
    assert_eq!(refused, Some(Code::Policy), "packs are no way around it");
    assert!(!alice.inbox().contains("psst"));
}

#[test]
fn an_older_a_second_and_a_foreign_policy_are_refused() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    hand_in(&network, signed(&network, &policy(2, Vec::new())), &alice);
    wait_policy(&alice, 2);
    let before = alice.ask("policy show", &["--json"]).ended(0).out;
    let quiet = || vec![deny("quiet", Grant::Send, "alice", "bob")];
    hand_in(&network, signed(&network, &policy(1, quiet())), &alice);
    hand_in(&network, signed(&network, &policy(2, quiet())), &alice);
    let other = Network::new();
    hand_in(&network, signed(&other, &policy(3, quiet())), &alice);
    let node = Credentials::of_bundle(&network.bundle("alice"));
    let chain: Vec<&[u8]> = node.chain.iter().map(Vec::as_slice).collect();
    let name = network.authority().network().clone();
    let payload = b"a policy signed by a node";
    let topic = shared::statement::Topic::Policy;
    let forged = shared::statement::sign(topic, &name, &node.private(), &chain, payload).unwrap();
    hand_in(&network, forged, &alice);
    let stranger = PrivateKey::generate(Algorithm::P256).unwrap();
    let forged = shared::statement::sign(topic, &name, &stranger, &chain, payload).unwrap();
    hand_in(&network, forged, &alice);
    hand_in(&network, b"no statement at all".to_vec(), &alice);
    assert_eq!(alice.ask("policy show", &["--json"]).ended(0).out, before);
    assert!(alice.log().contains("another policy under the number 2"), "{}", alice.log());
}

#[test]
fn a_quota_refuses_the_flood_and_disturbs_nobody_else() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let rates = Rates { messages_per_second: Some(2), ..Rates::default() };
    let quota = Quota { name: label("slow"), from: node("mallory"), rates };
    let policy = Policy { quotas: vec![quota], ..policy(1, Vec::new()) };
    hand_in(&network, signed(&network, &policy), &alice);
    let mut flood = member(&network, "mallory", &alice);
    for id in 0..200 {
        flood.say(&Body::Message(Message { id, body: b"flood".to_vec() }).to_frame());
    }
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < 200 {
        match flood.body().unwrap() {
            Body::Receipt(receipt) if receipt.refused == Some(Code::Quota) => refused += 1,
            Body::Receipt(receipt) => {
                assert_eq!(receipt.refused, None);
                taken += 1;
            }
            _ => {}
        }
    }
    assert!(taken >= 2 && refused > 100, "{taken} taken, {refused} refused");
    assert_eq!(bob.send("alice", "still heard"), 0);
}

/// Asks a relay for a circuit.
fn asker(relay: &Peer, own: &Credentials, to: &str) -> raw::Ear {
    let mut ear = raw::Ear::dial_relay(relay.address(), Some(own));
    ear.say(&Body::Circuit(Circuit::Ask(NodeName::parse(to).unwrap())).to_frame());
    ear
}

/// Takes the next call on a link, as the one who was called.
fn taker(relay: &Peer, own: &Credentials, link: &mut raw::Ear) -> raw::Ear {
    let token: Token = loop {
        if let Body::Circuit(Circuit::Call { token, .. }) = link.body().expect("a call comes") {
            break token;
        }
    };
    let mut ear = raw::Ear::dial_relay(relay.address(), Some(own));
    ear.say(&Body::Circuit(Circuit::Take(token)).to_frame());
    ear
}

#[test]
fn a_relay_joins_nobody_whom_the_policy_keeps_apart() {
    let network = Network::with(&["bob", "carol", "dave"]);
    network.ca("enroll rita --out rita.bundle --roles relay");
    let rita = network.start("rita", &[]);
    let of = |node: &str| Credentials::of_bundle(&network.bundle(node));
    let (bob, carol, dave) = (of("bob"), of("carol"), of("dave"));
    let mut link = raw::Ear::dial(rita.address(), Some(&bob));
    assert!(matches!(link.hello(&bob), Some(Body::Welcome(_))));
    let mut join = |own: &Credentials| {
        let mut from = asker(&rita, own, "bob");
        let mut to = taker(&rita, &bob, &mut link);
        let ready = |ear: &mut raw::Ear| {
            assert!(matches!(ear.body(), Some(Body::Circuit(Circuit::Ready(_)))));
        };
        ready(&mut from);
        ready(&mut to);
        [from, to]
    };
    let forbidden = join(&carol);
    let [mut from, mut to] = join(&dave);
    let rules = vec![deny("carol-not-to-bob", Grant::Connect, "carol", "bob")];
    hand_in(&network, signed(&network, &policy(1, rules)), &rita);
    for end in forbidden {
        assert_ne!(end.drain(), "silence", "what there was is cut");
    }
    asker(&rita, &carol, "bob").listen().assert_refused(Code::Policy);
    rita.wait_event("policy", "us");
    from.say(b"ping");
    assert_eq!(to.octets(4), b"ping", "the others go on");
    drop([from, to]);
    let _ = join(&dave);
}

#[test]
fn a_newcomer_gets_it_and_why_knows_only_whom_it_knows() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    hand_in(&network, signed(&network, &policy(1, Vec::new())), &alice);
    wait_policy(&alice, 1);
    let bob = network.start("bob", &[&alice]);
    wait_policy(&bob, 1);
    let said = bob.ask("policy why", &["nobody", "send"]).ended(1);
    assert!(said.err.contains("not known here"), "{}", said.err);
    let said = bob.ask("policy why", &["alice", "sned"]).ended(2);
    assert!(said.err.contains("ask for connect, send"), "{}", said.err);
}

#[test]
fn a_policy_that_cannot_be_believed_keeps_a_peer_from_starting() {
    let network = Network::with(&["alice"]);
    std::fs::write(network.bundle("alice").join("policy"), b"no policy").unwrap();
    let said = Peer::fails(&network.bundle("alice"), "127.0.0.1:0");
    assert!(said.err.contains("policy: "), "{}", said.err);
    assert!(said.err.contains("remove the file"), "{}", said.err);
}

#[test]
fn a_node_that_made_its_own_key_begins_with_the_policy() {
    let yaml = "rules:\n  - {name: talk, allow: [connect, send], from: any, to: any}\n";
    let signs = |network: &Network| {
        std::fs::write(network.path().join("talk.yaml"), yaml).unwrap();
        network.ca("policy push talk.yaml");
    };
    let network = Network::new();
    signs(&network);
    let _ = network.peer("request carol").ended(0);
    network.ca("enroll carol --csr carol.csr --out carol.crt");
    let file = network.path().join("carol.crt");
    let whole = std::fs::read_to_string(&file).unwrap();
    let (before, own) = whole.split_once("-----BEGIN CONCLAVE POLICY-----").unwrap();
    // Of another authority, or cut short: nothing is installed.
    let other = Network::with(&[]);
    signs(&other);
    let _ = other.peer("request carol").ended(0);
    other.ca("enroll carol --csr carol.csr --out carol.crt");
    let foreign = std::fs::read_to_string(other.path().join("carol.crt")).unwrap();
    let (_, foreign) = foreign.split_once("-----BEGIN CONCLAVE POLICY-----").unwrap();
    for (policy, code) in [(foreign, 3), (&own[..own.len() / 2], 1)] {
        let text = format!("{before}-----BEGIN CONCLAVE POLICY-----{policy}");
        std::fs::write(&file, text).unwrap();
        let _ = network.peer("install carol.bundle carol.crt").ended(code);
        assert!(!network.bundle("carol").join("node.yaml").exists());
    }
    std::fs::write(&file, &whole).unwrap();
    let _ = network.peer("install carol.bundle carol.crt").ended(0);
    let carol = network.start("carol", &[]);
    assert_eq!(number(&carol), 1);
}
