//! Newcomers at a rendezvous, and an introducer that lies: the whole node, real certificates, no
//! sockets, no clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the bench of a test: what goes wrong here is the test's failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peer_core::limits::{INTRODUCED_DIALS, LINKS_MAX};
use peer_core::{
    Action, Arrival, By, Call, Decision, DialFailure, Direction, LinkId, Node, Settings, Signer,
    Way,
};
use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usage, Usages};
use shared::feed::Feed;
use shared::id::{InstanceId, Serial};
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::presence::Presence;
use shared::time::{Now, Tick, Timestamp};
use shared::verify::{Anchors, Member, Verified, Verifier};
use shared::wire::{Body, DIGEST_SUMS, Greeting, Spread, VERSION, split};

const START: i64 = 1_800_000_000;

fn network() -> NetworkName {
    NetworkName::parse("mesh.example").unwrap()
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn now(ms: u64) -> Now {
    Now { tick: Tick::from_ms(ms), wall: Timestamp::from_ms(START * 1000 + ms as i64) }
}

fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u64) -> Draft {
    let node = kind == Kind::Node;
    let mut bytes = [1; 16];
    bytes[8..].copy_from_slice(&serial.to_be_bytes());
    let at = Timestamp::from_s(START);
    let days = match kind {
        Kind::Root => 300,
        Kind::Issuing => 200,
        Kind::Node => 1,
    };
    Draft {
        network: network(),
        subject,
        public: key.public().clone(),
        serial: Serial::from_random(bytes),
        not_before: at.plus_s(-300),
        not_after: at.plus_s(days * 86_400),
        profile: Profile {
            name: Label::parse("test").unwrap(),
            kind,
            life_s: 86_400,
            life_min_s: 1,
            life_max_s: if node { 90 * 86_400 } else { 400 * 86_400 },
            backdate_s: 300,
            usages: Usages { client: node, server: node },
        },
    }
}

/// An authority in memory.
struct Authority {
    root: Vec<u8>,
    issuing: CaSigner,
    serial: u64,
}

/// Who can say something.
struct Identity {
    name: NodeName,
    key: PrivateKey,
    chain: Vec<Vec<u8>>,
    member: Verified<Member>,
}

impl Authority {
    fn new() -> Self {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let root =
            CaSigner::new_root(&draft(Subject::Authority, &key, Kind::Root, 1), key).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let der = root.sign(&draft(Subject::Authority, &key, Kind::Issuing, 2)).unwrap();
        let issuing = CaSigner::new(&der, key).unwrap();
        Self { root: root.cert().der.clone(), issuing, serial: 2 }
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(Anchors::new(network(), std::slice::from_ref(&self.root)).unwrap())
    }

    fn enroll(&mut self, node: &str, roles: &[&str]) -> Identity {
        self.serial += 1;
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let roles: BTreeSet<Label> = roles.iter().map(|role| Label::parse(role).unwrap()).collect();
        let attributes = Attributes { groups: BTreeSet::new(), roles };
        let (dns, ips) = (Vec::new(), Vec::new());
        let subject = Subject::Node { name: name(node), attributes, dns, ips };
        let der = self.issuing.sign(&draft(subject, &key, Kind::Node, self.serial)).unwrap();
        let chain = vec![der, self.issuing.cert().der.clone()];
        let refs: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let member = self.verifier().admit(&refs, Usage::Client, None, now(0).wall).unwrap();
        Identity { name: name(node), key, chain, member }
    }

    fn node(&mut self, node: &str, roles: &[&str]) -> Node {
        let own = self.enroll(node, roles);
        let settings = Settings {
            network: network(),
            node: own.name,
            instance: InstanceId::new([7; 16]),
            boot: 1,
            addresses: vec!["192.0.2.1:1".to_owned()],
            roles: roles.iter().map(|role| Label::parse(role).unwrap()).collect(),
            own: own.member.ids.clone(),
            refuse_when_stale: false,
            attributes: Attributes::default(),
            full_mesh: peer_core::limits::FULL_MESH,
            directory_max: peer_core::limits::DIRECTORY_MAX,
            epoch: std::time::Instant::now(),
            seed: 1,
        };
        let signer = Signer::new(network(), own.key, own.chain);
        let verifier = Arc::new(self.verifier());
        let feed = Feed::empty(network());
        Node::new(settings, signer, verifier, feed, BTreeMap::new(), now(0)).unwrap()
    }
}

impl Identity {
    fn says(&self, addresses: &[String]) -> Vec<u8> {
        self.says_with(addresses, &[])
    }

    fn says_with(&self, addresses: &[String], roles: &[&str]) -> Vec<u8> {
        let presence = Presence {
            node: self.name.clone(),
            instance: InstanceId::new([9; 16]),
            boot: 1,
            sequence: 1,
            at: now(0).wall,
            addresses: addresses.to_vec(),
            roles: roles.iter().map(|role| Label::parse(role).unwrap()).collect(),
            feed_number: 0,
            policy_number: 0,
            relays: Vec::new(),
        };
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        presence.sign(&network(), &self.key, &chain).unwrap()
    }

    /// Knocks at a node's door; it is ready at once if it is welcome.
    fn arrives(&self, node: &mut Node, link: u64, now: Now) -> bool {
        let greeting = Greeting {
            version_min: VERSION,
            version_max: VERSION,
            presence: self.says(&[]),
            feed_number: 0,
            feed_at: now.wall,
        };
        let arrival = Arrival {
            link: LinkId(link),
            member: self.member.clone(),
            greeting,
            direction: Direction::In,
            address: "192.0.2.9:9".to_owned(),
            via: None,
        };
        let welcome = matches!(node.handle_arrival(arrival, now), Decision::Welcome(_));
        if welcome {
            node.handle_ready(LinkId(link), now);
        }
        welcome
    }
}

fn actions(node: &mut Node) -> Vec<Action> {
    std::iter::from_fn(|| node.poll_action()).collect()
}

/// What was said on a link.
fn said_to(whom: LinkId, actions: &[Action]) -> Vec<Body> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Send { link, frame, .. } if *link == whom => Some(frame),
        _ => None,
    });
    frames.map(|frame| Body::parse(&split(frame).unwrap().unwrap().0).unwrap()).collect()
}

#[test]
fn a_full_rendezvous_still_takes_newcomers_and_lets_the_oldest_go() {
    let mut authority = Authority::new();
    let mut seed = authority.node("seed", &["rendezvous"]);
    let mut said_goodbye = 0;
    let newcomers = LINKS_MAX as u64 + 20;
    for n in 0..newcomers {
        let newcomer = authority.enroll(&format!("n{n:03}"), &[]);
        assert!(newcomer.arrives(&mut seed, n, now(n * 50)), "newcomer {n}");
        let mut done = actions(&mut seed);
        // Each is told of others, if it asks, before it may be asked to leave.
        let empty = Body::Spread(Spread::Digest(vec![0; DIGEST_SUMS]));
        seed.handle_body(LinkId(n), empty, now(n * 50)).unwrap();
        let answers = actions(&mut seed);
        for held in said_to(LinkId(n), &answers) {
            let Body::Spread(Spread::Holds(lists)) = held else { continue };
            let ids = lists.into_iter().flat_map(|(_, ids)| ids).collect();
            let lacks = Body::Spread(Spread::Lacks(ids));
            seed.handle_body(LinkId(n), lacks, now(n * 50)).unwrap();
        }
        done.extend(answers);
        done.extend(actions(&mut seed));
        let said = said_to(LinkId(n), &done);
        let told = said.iter().any(|b| matches!(b, Body::Presences(l, _) if !l.is_empty()));
        assert!(told || n == 0, "newcomer {n} learns of nobody");
        for action in &done {
            if let Action::End { link, way } = action {
                assert_eq!((*link, *way), (LinkId(said_goodbye), Way::Close), "the oldest first");
                said_goodbye += 1;
            }
        }
        assert!(seed.links().len() <= LINKS_MAX);
    }
    assert!(said_goodbye > 0);
}

#[test]
fn a_node_without_links_turns_to_a_rendezvous_first_and_then_to_everybody() {
    let mut authority = Authority::new();
    let seed = authority.enroll("seed", &["rendezvous"]);
    let seed = seed.says_with(&["192.0.2.2:1".to_owned()], &["rendezvous"]);
    let mut saved = vec![seed, b"no presence".to_vec()];
    for n in 0..3 {
        let node = authority.enroll(&format!("n{n}"), &[]);
        saved.push(node.says(&[format!("192.0.2.1{n}:1")]));
    }
    let stranger = Authority::new().enroll("mallory", &[]).says(&["192.0.2.66:1".to_owned()]);
    saved.push(stranger);
    let mut node = authority.node("zoe", &[]);
    node.handle_remembered(&saved, now(0));
    let dialled = |node: &mut Node, ms| -> Vec<String> {
        node.handle_timeout(now(ms));
        let dials = actions(node).into_iter().filter_map(|action| match action {
            Action::Dial(Call::Known { node, .. }) => Some(node.to_string()),
            _ => None,
        });
        dials.collect()
    };
    // Zoe has the last name of all, so she lets each of them go first for a moment.
    assert_eq!(dialled(&mut node, 1_000), ["seed"]);
    assert_eq!(dialled(&mut node, 3_000), ["n0", "n1", "n2"]);
    assert_eq!(node.remembered().len(), 4, "what did not verify is gone");
}

#[test]
fn what_is_remembered_is_written_soon_and_not_again_and_again() {
    let mut authority = Authority::new();
    let mut node = authority.node("alice", &[]);
    let liar = authority.enroll("carol", &[]);
    assert!(liar.arrives(&mut node, 1, now(0)));
    let mut saves = Vec::new();
    for ms in (0..120_000).step_by(1_000) {
        let n = ms / 1_000;
        let fresh = authority.enroll(&format!("n{n}"), &[]).says(&[format!("192.0.2.1:{}", n + 1)]);
        node.handle_body(LinkId(1), Body::Presences(vec![fresh], true), now(ms)).unwrap();
        node.handle_timeout(now(ms));
        saves.extend(
            actions(&mut node).into_iter().filter(|a| *a == Action::SaveMemory).map(|_| ms),
        );
    }
    assert!(saves[0] <= 3_000 && (2..=3).contains(&saves.len()), "{saves:?}");
    assert!(node.remembered().len() <= peer_core::limits::MEMORY_MAX);
}

#[test]
fn whoever_is_no_rendezvous_refuses_when_it_is_full_and_cuts_nobody() {
    let mut authority = Authority::new();
    let mut node = authority.node("alice", &[]);
    for n in 0..LINKS_MAX as u64 {
        assert!(authority.enroll(&format!("n{n:03}"), &[]).arrives(&mut node, n, now(n * 50)));
    }
    assert!(!authority.enroll("late", &[]).arrives(&mut node, 9999, now(60_000)));
    assert_eq!(node.links().len(), LINKS_MAX);
}

#[test]
fn a_neighbour_that_names_third_parties_makes_us_dial_them_a_bounded_number_of_times() {
    let mut authority = Authority::new();
    let mut alice = authority.node("alice", &[]);
    let liar = authority.enroll("liar", &[]);
    assert!(liar.arrives(&mut alice, 1, now(0)));
    for n in 0..100_u8 {
        let addresses: Vec<String> = (0..8).map(|k| format!("198.51.100.{n}:{}", k + 1)).collect();
        let puppet = authority.enroll(&format!("p{n:03}"), &[]);
        let list = vec![puppet.says(&addresses)];
        alice.handle_body(LinkId(1), Body::Presences(list, true), now(1)).unwrap();
    }
    let (mut dials, minutes) = (0, 10);
    for ms in (2..minutes * 60_000).step_by(500) {
        // The liar stays linked: it answers whatever it is asked.
        let _ = alice.handle_body(LinkId(1), Body::Pong(0), now(ms));
        alice.handle_timeout(now(ms));
        for action in actions(&mut alice) {
            let Action::Dial(Call::Known { node, address }) = action else { continue };
            assert!(address.starts_with("198.51.100."));
            dials += 1;
            let (code, by, detail) = (None, By::Neither, "nobody there".to_owned());
            let failure = DialFailure { code, by, detail, at: now(ms).wall };
            alice.handle_dial_failed(&node, Some(failure), now(ms));
        }
    }
    let most = u64::from(INTRODUCED_DIALS.burst) + minutes * 60_000 / INTRODUCED_DIALS.every_ms;
    assert!(dials >= u64::from(INTRODUCED_DIALS.burst) && dials <= most, "{dials} of {most}");
}

#[test]
fn a_presence_with_ten_thousand_addresses_is_not_believed() {
    let mut authority = Authority::new();
    let mut alice = authority.node("alice", &[]);
    let liar = authority.enroll("liar", &[]);
    assert!(liar.arrives(&mut alice, 1, now(0)));
    let many: Vec<String> = (0..10_000).map(|n| format!("198.51.100.1:{}", n + 1)).collect();
    let bytes = authority.enroll("puppet", &[]).says(&many);
    let outcome = alice.handle_body(LinkId(1), Body::Presences(vec![bytes], true), now(1));
    assert!(outcome.is_err(), "longer than any statement");
    let mut bob = authority.node("bob", &[]);
    assert!(liar.arrives(&mut bob, 1, now(0)));
    let nine = authority.enroll("puppet", &[]).says(&many[..9]);
    bob.handle_body(LinkId(1), Body::Presences(vec![nine], true), now(1)).unwrap();
    bob.handle_timeout(now(2_000));
    assert!(!actions(&mut bob).iter().any(|action| matches!(action, Action::Dial(_))));
}
