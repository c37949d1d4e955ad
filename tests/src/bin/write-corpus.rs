//! Makes `fuzz/corpus` anew: what a real network says, whole, cut and damaged.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of the tests: what goes wrong here is seen by whoever runs it"
)]

use std::path::PathBuf;

use minicbor::bytes::ByteVec;
use shared::archive::Shelf;
use shared::feed::{Part, read_file};
use shared::id::{InstanceId, SpkiHash};
use shared::join::{
    self, Answer, Failure, JoinRequest, JoinString, KnownPeer, RenewRequest, Secret, TimeThere,
};
use shared::key::{Algorithm, PrivateKey};
use shared::link_state::LinkState;
use shared::name::{Label, NetworkName, NodeName};
use shared::policy::{Effect, Grant, Policy, Quota, Rates, Rule, Selector};
use shared::receipt::Receipt as SaidReceipt;
use shared::shown::Shown;
use shared::time::Timestamp;
use shared::wire::{
    Ack, Body, Broadcast, BroadcastId, Greeting, Hop, Item, Kind, Message, Number, Pack, Page,
    Post, Priority, Receipt, Renewal, Spoken, Taken, Told, Trace, Verdict, frame_into,
};
use tests::{Credentials, Network, raw, tree};

#[path = "../../../fuzz/hours.rs"]
mod hours;

fn folder(target: &str) -> PathBuf {
    tree::root().join("fuzz/corpus").join(target)
}

fn main() {
    let network = Network::new();
    network.ca("enroll alice --out alice.bundle --groups lab,plant --roles relay");
    let bob = network.enroll("bob");
    network.ca("revoke bob --reason key-compromise");
    network.ca("suspend alice");
    network.ca("feed export --out mesh.feed");
    network.ca("crl --out crl.der");
    let read = |name: &str| std::fs::read(network.path().join(name)).unwrap();
    let alice = Credentials::of_bundle(&network.bundle("alice"));
    let bob = Credentials::of_bundle(&bob);
    let root = shared::pem::certificates(&read("alice.bundle/trust.pem"), 8).unwrap();

    std::fs::write(tree::root().join("fuzz/issuer.der"), &alice.chain[1]).unwrap();
    seed("cert", &[&alice.chain[0], &alice.chain[1], &root[0], &bob.twin().chain[0]]);
    let requests: Vec<Vec<u8>> = Algorithm::ALL.into_iter().map(request).collect();
    seed("csr", &requests.iter().map(Vec::as_slice).collect::<Vec<_>>());
    seed("crl", &[&read("crl.der")]);
    seed("feed_file", &[&read("mesh.feed")]);
    let greeting = raw::greeting(&alice, 1);
    seed("presence", &[&greeting.presence]);
    seed("link_state", &[&link_state(&alice)]);
    let kept = [greeting.presence.clone(), raw::greeting(&bob, 2).presence];
    seed("policy", &[&policy(&network), &policy_of_everything().to_bytes()]);
    signed();
    conversations();
    join(&requests[0], &alice);
    seed("archive", &[&Shelf::Directory.write(&kept), &Shelf::Evidence.write(&kept)]);
    let parts = read_file(&read("mesh.feed")).unwrap().into_parts();
    for (at, part) in parts.iter().enumerate() {
        let bytes = part.to_bytes();
        seed_at("feed_part", at, &bytes);
        match part {
            Part::Head(bytes) | Part::Snapshot(bytes) => seed_at("statement", at, bytes),
            Part::Entry(bytes) => seed_at("feed_entry", at, bytes),
            Part::Chunk(_) => {}
        }
    }
    seed_at("statement", 99, &greeting.presence);
    frames(greeting);
    seed("spoken", &[&spoken()]);
}

/// One frame of each kind, and all in a row.
fn frames(greeting: Greeting) {
    let node = NodeName::parse("alice").unwrap();
    let bodies = [
        Body::Hello(greeting.clone()),
        Body::Refused(shared::refusal::Code::Revoked),
        Body::Ping(7),
        Body::FeedWant(3),
        Body::FeedAck(Ack { number: 4, node: node.clone(), cut: 2 }),
        Body::Presences(vec![greeting.presence], true),
        Body::Message(Message { id: 1, body: b"hello".to_vec() }),
        Body::Receipt(Receipt { id: 1, refused: None }),
        Body::Bulk(vec![0; 100]),
        Body::Bye,
        Body::Shown(shown().to_bytes()),
        Body::Trace(Trace::Ask { id: 1, to: node.clone(), hops: 4 }),
        Body::Trace(Trace::Found {
            id: 1,
            path: vec![Hop { node: node.clone(), via: None, ms: 1 }],
        }),
        Body::Renewal(Renewal::Ask { id: 1, csr: vec![7; 80] }),
        Body::Renewal(Renewal::Granted { id: 1, chain: vec![vec![7; 80], vec![8; 70]] }),
        Body::Renewal(Renewal::Refused {
            id: 1,
            failure: Failure::new(join::Code::Suspended, "on hold", Timestamp::from_s(7)),
        }),
    ];
    let frames: Vec<Vec<u8>> = bodies.iter().map(Body::to_frame).collect();
    seed("frame", &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    seed_at("frame", 99, &frames.concat());
    posts().iter().zip(40..).for_each(|(frame, at)| seed_at("frame", at, frame));
    carried().iter().zip(50..).for_each(|(frame, at)| seed_at("frame", at, frame));
}

/// What programs say: those of MQTT, and clocks.
fn conversations() {
    let talk = tests::talk::conversations();
    seed("mqtt", &talk.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let conversation = hours::conversation();
    seed("nts", &conversation.each_ref().map(Vec::as_slice));
    // The first two of it, over a link.
    for (at, (kind, said)) in [Kind::KeysAsk, Kind::Keys].into_iter().zip(&conversation).enumerate()
    {
        let mut frame = Vec::new();
        frame_into(&mut frame, kind, said).unwrap();
        seed_at("frame", 60 + at, &frame);
    }
}

/// What is said while a machine joins.
fn join(csr: &[u8], member: &Credentials) {
    let node = NodeName::parse("carol").unwrap();
    let network = NetworkName::parse("mesh.example").unwrap();
    let (secret, exporter, at) = (Secret::new([7; 32]), [1; 32], Timestamp::from_s(1));
    let addresses = vec!["192.0.2.1:7443".to_owned()];
    let (invitation, key) = (secret.id().unwrap(), secret.proof_key().unwrap());
    let pin = SpkiHash::new([9; 32]);
    let string = JoinString { network: network.clone(), addresses: addresses.clone(), pin, secret };
    seed("join_string", &[string.reveal().as_bytes()]);
    let proof = key.prove_request(&exporter, csr);
    let asked = JoinRequest { invitation, csr: csr.to_vec(), proof };
    seed("join_asked", &[&asked.to_bytes(), &RenewRequest { csr: csr.to_vec() }.to_bytes()]);
    let certs = |range: &[Vec<u8>]| range.iter().cloned().map(ByteVec::from).collect();
    let grant = join::Grant {
        network,
        node: node.clone(),
        chain: certs(&member.chain),
        roots: certs(&member.chain[1..]),
        feed: Some(vec![4; 90].into()),
        policy: None,
        peers: vec![KnownPeer { node, addresses: addresses.clone() }],
        authority: addresses,
        at,
    };
    let grant = grant.to_bytes();
    let proof = key.prove_grant(&exporter, &grant);
    let failure = Failure::new(join::Code::Denied, "no", at).to_bytes();
    let answer = Answer { grant: grant.clone(), proof }.to_bytes();
    seed("join_answered", &[&answer, &grant, &failure, &TimeThere { at }.to_bytes()]);
}

/// What is said about queued messages.
fn posts() -> [Vec<u8>; 5] {
    let (priority, through) = (Priority::Low, Number { boot: 1, sequence: 7 });
    let taken = Taken { priority, round: 1, through, verdict: Verdict::Gap };
    let mut page = Page::default();
    for sequence in 8..11 {
        let number = Number { boot: 1, sequence };
        assert!(page.push(&Item { number, receipt: true, body: b"hello" }));
    }
    let batch = page.into_frame(priority, 1, through);
    let [taken, claims] = [Post::Taken(taken), Post::Claims(vec![through])];
    let mut pack = Pack::default();
    assert!(pack.push(b"hello") && pack.push(b""));
    let [taken, claims] = [taken, claims].map(|post| Body::Post(post).to_frame());
    let broadcast = Broadcast { instance: InstanceId::new([3; 16]), pack: pack.clone() };
    [taken, claims, batch, pack.into_frame(7), broadcast.to_frame()]
}

/// A broadcast that others carry.
fn spoken() -> Vec<u8> {
    let mut pack = Pack::default();
    pack.id = 7;
    assert!(pack.push(b"hello") && pack.push(b""));
    let (origin, instance) = (NodeName::parse("alice").unwrap(), InstanceId::new([3; 16]));
    let network = NetworkName::parse("mesh.example").unwrap();
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    Spoken { origin, instance, at: Timestamp::from_s(1), pack }.sign(&network, &key).unwrap()
}

/// Such a one as it travels, and what is said back.
fn carried() -> [Vec<u8>; 4] {
    let broadcast = BroadcastId { instance: InstanceId::new([3; 16]), number: 7 };
    let missed = vec![(NodeName::parse("bob").unwrap(), shared::refusal::Code::Quota)];
    let told = [
        Told::Had(broadcast),
        Told::Reached { broadcast, taken: 9, missed },
        Told::Again(broadcast.instance),
    ];
    let [had, reached, again] = told.map(|told| Body::Told(told).to_frame());
    [Body::Carried(spoken()).to_frame(), had, reached, again]
}

/// A signed one that says little.
fn policy(network: &Network) -> Vec<u8> {
    let authority = network.authority();
    let policy = Policy { number: 1, ..Policy::built_in() };
    policy.sign(authority.network(), authority.signer()).unwrap()
}

/// One with each kind of thing in it.
fn policy_of_everything() -> Policy {
    let label = |text| Label::parse(text).unwrap();
    let nodes = vec![NodeName::parse("alice").unwrap()];
    let (groups, roles) = (vec![label("lab")], vec![label("relay")]);
    let from = Selector { nodes, groups, roles, ..Selector::default() };
    let grants = vec![Grant::Connect, Grant::Send, Grant::Share, Grant::Get];
    let (name, to) = (label("quiet"), Selector::everybody());
    let rule = Rule { name, effect: Effect::Deny, grants, from: from.clone(), to };
    let rates = Rates { messages_per_second: Some(2), ..Rates::default() };
    let quota = Quota { name: label("slow"), from, rates };
    Policy { number: 2, at: Timestamp::from_s(1), rules: vec![rule], quotas: vec![quota] }
}

/// What a node signs besides its presence.
fn signed() {
    seed("receipt", &[&receipt().to_bytes()]);
    seed("shown", &[&shown().to_bytes()]);
}

fn link_state(of: &Credentials) -> Vec<u8> {
    let state = LinkState {
        node: NodeName::parse("alice").unwrap(),
        boot: 1,
        sequence: 2,
        at: Timestamp::from_s(3),
        links: vec![NodeName::parse("bob").unwrap()],
        wishes: vec!["plant/+/t".to_owned(), "$share/g/job/#".to_owned()],
    };
    let chain: Vec<&[u8]> = of.chain.iter().map(Vec::as_slice).collect();
    let network = NetworkName::parse("mesh.example").unwrap();
    let key = PrivateKey::from_pkcs8(&of.key).unwrap();
    state.sign(&network, &key, &chain).unwrap()
}

fn receipt() -> SaidReceipt {
    let (from, to) = (NodeName::parse("bob").unwrap(), NodeName::parse("alice").unwrap());
    let number = Number { boot: 1, sequence: 7 };
    SaidReceipt { from, to, number, digest: [7; 32], at: Timestamp::from_s(1) }
}

fn shown() -> Shown {
    Shown {
        node: NodeName::parse("alice").unwrap(),
        instance: InstanceId::new([3; 16]),
        sequence: 7,
        steps: 1,
        count_ns: 1_000_000_000,
        utc_ns: 1_800_000_000_000_000_000,
        bound_ns: 250_000,
    }
}

fn request(algorithm: Algorithm) -> Vec<u8> {
    let key = PrivateKey::generate(algorithm).unwrap();
    shared::cert::request::make(&key, "alice").unwrap()
}

fn seed(target: &str, samples: &[&[u8]]) {
    samples.iter().enumerate().for_each(|(at, sample)| seed_at(target, at, sample));
}

/// A sample, two cuts of it and one with a damaged byte.
fn seed_at(target: &str, at: usize, sample: &[u8]) {
    let folder = folder(target);
    std::fs::create_dir_all(&folder).unwrap();
    let mut damaged = sample.to_vec();
    let middle = sample.len() / 2;
    damaged[middle] ^= 0x80;
    let variants: [(&str, &[u8]); 4] = [
        ("whole", sample),
        ("half", &sample[..middle]),
        ("short", &sample[..sample.len() - 1]),
        ("damaged", &damaged),
    ];
    for (variant, bytes) in variants {
        std::fs::write(folder.join(format!("{at:02}-{variant}")), bytes).unwrap();
    }
}
