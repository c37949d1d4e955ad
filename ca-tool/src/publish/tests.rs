//! Publishing to a peer that is a thread of the test: the real TLS, the real wire.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use rustls::{ServerConnection, StreamOwned};
use shared::feed::{Feed, Reason, Staging};
use shared::key::{Algorithm, PrivateKey};
use shared::name::NetworkName;
use shared::verify::Anchors;
use shared::wire::{Ack, split};

use super::*;
use crate::authority::{Enrolment, Holder, Init, Issued};

struct Place {
    _folder: tempfile::TempDir,
    authority: Authority,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let network = NetworkName::parse("mesh.example").unwrap();
    Authority::init(&path, &Init::new(network, Algorithm::P256, None)).unwrap();
    let authority = Authority::open(&path, || unreachable!("no passphrase")).unwrap();
    Place { _folder: folder, authority }
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn enroll(authority: &Authority, node: &str) -> (Issued, PrivateKey) {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let wish = Enrolment::new(name(node)).unwrap();
    (authority.enroll(&wish, Holder::Private(&key)).unwrap(), key)
}

fn presence(authority: &Authority, issued: &Issued, key: &PrivateKey) -> Vec<u8> {
    presence_with(authority, issued, key, 0)
}

fn presence_with(
    authority: &Authority,
    issued: &Issued,
    key: &PrivateKey,
    policy_number: u64,
) -> Vec<u8> {
    let presence = Presence {
        node: issued.node.clone(),
        instance: InstanceId::new([1; 16]),
        boot: 1,
        sequence: 1,
        at: authority.now(),
        addresses: Vec::new(),
        roles: Vec::new(),
        feed_number: 0,
        policy_number,
        relays: Vec::new(),
    };
    let chain: Vec<&[u8]> = issued.chain.iter().map(Vec::as_slice).collect();
    presence.sign(authority.network(), key, &chain).unwrap()
}

/// How the peer behaves.
struct Manner {
    number: u64,
    policy: u64,
    refuses: Option<Code>,
    neighbours: Vec<Vec<u8>>,
    acknowledges: Vec<&'static str>,
}

impl Manner {
    fn plain() -> Self {
        let (neighbours, acknowledges) = (Vec::new(), vec!["alice"]);
        Self { number: 0, policy: 0, refuses: None, neighbours, acknowledges }
    }
}

/// A peer for one connection; gives the number of the feed it ended with.
fn peer(
    authority: &Authority,
    issued: Issued,
    key: PrivateKey,
    manner: Manner,
) -> (SocketAddr, JoinHandle<u64>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let network = authority.network().clone();
    let anchors = Anchors::new(network.clone(), authority.trust_der()).unwrap();
    let hello = presence_with(authority, &issued, &key, manner.policy);
    let clock = authority.clock();
    let run = move || {
        let verifier = Arc::new(Verifier::new(anchors));
        let identity = tls::Identity { chain: issued.chain, key };
        let listener =
            tls::Listener::new(&identity, Arc::clone(&verifier), Arc::clone(&clock)).unwrap();
        let (config, _verdict) = listener.config().unwrap();
        let (stream, _) = socket.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut feed = Feed::empty(network);
        let mut staging = Staging::default();
        let mut buffer = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            buffer.extend_from_slice(&chunk[..length]);
            while let Ok(Some((frame, used))) = split(&buffer) {
                let body = Body::parse(&frame).unwrap();
                buffer.drain(..used);
                for answer in manner.answer(body, &hello, &mut staging, &mut feed, &verifier) {
                    stream.write_all(&answer.to_frame()).unwrap();
                }
            }
        }
        feed.position().number
    };
    (address, std::thread::spawn(run))
}

impl Manner {
    fn answer(
        &self,
        body: Body,
        hello: &[u8],
        staging: &mut Staging,
        feed: &mut Feed,
        verifier: &Verifier,
    ) -> Vec<Body> {
        match body {
            Body::Hello(greeting) => match self.refuses {
                Some(code) => vec![Body::Refused(code)],
                None => vec![
                    Body::Welcome(Greeting {
                        presence: hello.to_vec(),
                        feed_number: self.number,
                        ..greeting
                    }),
                    Body::Ping(7),
                    Body::Presences(self.neighbours.clone(), true),
                ],
            },
            Body::Feed(part) => {
                let Some(update) = staging.take(part).unwrap() else { return Vec::new() };
                let now = host::clock::wall();
                let _news = verifier.apply_feed(feed, update, now).unwrap();
                let number = feed.position().number;
                let ack = |node| Body::FeedAck(Ack { number, node: name(node), cut: 1 });
                self.acknowledges.iter().map(|node| ack(node)).collect()
            }
            Body::Policy(bytes) => {
                let number = SignedPolicy::peek(&bytes).unwrap();
                let ack = |node| Body::PolicyAck(Ack { number, node: name(node), cut: 2 });
                self.acknowledges.iter().map(|node| ack(node)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn about(node: &str, via: &[&str]) -> Publish {
    Publish {
        via: via.iter().map(ToString::to_string).collect(),
        about: Some(name(node)),
        ..Publish::default()
    }
}

#[test]
fn one_peer_is_told_and_all_acknowledge() {
    let place = place();
    let authority = &place.authority;
    let (alice, alice_key) = enroll(authority, "alice");
    let (bob, bob_key) = enroll(authority, "bob");
    let (carol, carol_key) = enroll(authority, "carol");
    enroll(authority, "dave");
    let neighbours = vec![
        presence(authority, &bob, &bob_key),
        presence(authority, &carol, &carol_key),
        vec![1, 2, 3],
    ];
    authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    let manner = Manner { neighbours, acknowledges: vec!["carol", "alice"], ..Manner::plain() };
    let (address, handle) = peer(authority, alice, alice_key, manner);
    let address = address.to_string();
    let report = publish(authority, &about("bob", &["127.0.0.1:1", &address])).unwrap();
    assert_eq!(report.via.as_deref(), Some(address.as_str()));
    assert_eq!(report.acknowledged().0, 2);
    let nodes: Vec<&str> = report.peers.iter().map(|peer| peer.node.as_str()).collect();
    assert_eq!(nodes, ["alice", "carol"], "bob is not waited for");
    assert_eq!(report.offline, [name("dave")]);
    assert_eq!(report.failures.len(), 1, "nobody at the first address");
    assert_eq!(authority.settings().unwrap().via, [address]);
    assert_eq!(handle.join().unwrap(), 1);
}

#[test]
fn a_peer_that_knows_more_is_told_nothing() {
    let place = place();
    let (alice, key) = enroll(&place.authority, "alice");
    let manner = Manner { number: 9, ..Manner::plain() };
    let (address, handle) = peer(&place.authority, alice, key, manner);
    let refused = publish(&place.authority, &about("bob", &[&address.to_string()])).unwrap_err();
    assert!(matches!(refused, CaError::RolledBack { ours: 0, theirs: 9, .. }));
    assert!(refused.hint().unwrap().contains("backup"));
    assert_eq!(handle.join().unwrap(), 0);
}

#[test]
fn refusals_of_either_side_are_reported_with_their_code() {
    let place = place();
    let (alice, key) = enroll(&place.authority, "alice");
    let (bob, bob_key) = enroll(&place.authority, "bob");
    let manner = Manner { refuses: Some(Code::Quota), ..Manner::plain() };
    let (by_peer, first) = peer(&place.authority, alice, key, manner);
    place.authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    let (by_us, second) = peer(&place.authority, bob, bob_key, Manner::plain());
    let via = [by_peer.to_string(), by_us.to_string()];
    let what = about("bob", &[&via[0], &via[1]]);
    let report = publish(&place.authority, &what).unwrap();
    let codes: Vec<_> = report.failures.iter().map(|failure| failure.code).collect();
    assert_eq!(codes, [Some(Code::Quota), Some(Code::Revoked)]);
    assert_eq!(report.via, None);
    assert!(place.authority.settings().unwrap().via.is_empty());
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (0, 0));
}

#[test]
fn nobody_known_is_said_and_nothing_tried() {
    let place = place();
    enroll(&place.authority, "alice");
    let report = publish(&place.authority, &Publish::default()).unwrap();
    assert_eq!(report.offline, [name("alice")]);
    assert!(report.failures.is_empty() && report.via.is_none());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["offline"][0], "alice");
}

fn push_something(authority: &Authority) -> u64 {
    let mut draft = shared::policy::Policy::built_in();
    draft.rules.truncate(0);
    authority.push_policy(&draft).unwrap().policy.number
}

#[test]
fn a_policy_is_sent_to_whoever_has_less_and_counted() {
    let place = place();
    let authority = &place.authority;
    let (alice, alice_key) = enroll(authority, "alice");
    let (bob, bob_key) = enroll(authority, "bob");
    assert_eq!(push_something(authority), 1);
    let neighbours = vec![presence(authority, &bob, &bob_key)];
    let manner = Manner { neighbours, acknowledges: vec!["bob", "alice"], ..Manner::plain() };
    let (address, handle) = peer(authority, alice, alice_key, manner);
    let via = vec![address.to_string()];
    let what = Publish { via, about: None, news: News::Policy };
    let report = publish(authority, &what).unwrap();
    assert_eq!((report.policy, report.with_policy().0), (1, 2));
    assert!(report.peers.iter().all(|peer| peer.has_policy && peer.policy_cut == 2));
    handle.join().unwrap();
}

#[test]
fn a_peer_with_a_later_policy_is_said_and_still_gets_the_feed() {
    let place = place();
    let authority = &place.authority;
    let (alice, key) = enroll(authority, "alice");
    enroll(authority, "bob");
    let (address, handle) = {
        let manner = Manner { policy: 9, ..Manner::plain() };
        peer(authority, alice, key, manner)
    };
    authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    let report = publish(authority, &about("bob", &[&address.to_string()])).unwrap();
    assert_eq!(report.acknowledged().0, 1, "the revocation is not held up");
    assert!(report.failures[0].why.contains("old copy"), "{report:?}");
    assert_eq!(handle.join().unwrap(), 1);
}
