//! An authority, members and a node in memory: real certificates, no sockets, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peer_core::{Action, Arrival, Decision, Direction, LinkId, Node, Settings, Signer};
use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usage, Usages};
use shared::feed::{Act, CertRef, Entry, Feed, Head, Reason, Update};
use shared::id::{InstanceId, Serial};
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::policy::{Effect, Grant, Policy, Rule, Selector};
use shared::presence::Presence;
use shared::time::{Now, Tick, Timestamp};
use shared::verify::{Anchors, Member, Verified, Verifier};
use shared::wire::{Body, Greeting, Pack, Spoken, VERSION, split};

pub(crate) const START: i64 = 1_800_000_000;

pub(crate) fn network() -> NetworkName {
    NetworkName::parse("mesh.example").unwrap()
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub(crate) fn now(ms: u64) -> Now {
    Now { tick: Tick::from_ms(ms), wall: Timestamp::from_ms(START * 1000 + ms as i64) }
}

pub(crate) fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u64) -> Draft {
    let node = kind == Kind::Node;
    let mut bytes = [1; 16];
    bytes[8..].copy_from_slice(&serial.to_be_bytes());
    let at = Timestamp::from_s(START);
    let days = match kind {
        Kind::Root => 300,
        Kind::Issuing => 200,
        Kind::Node | Kind::App => 1,
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
pub(crate) struct Authority {
    root: Vec<u8>,
    issuing: CaSigner,
    serial: u64,
}

/// Who can say something.
pub(crate) struct Identity {
    name: NodeName,
    key: PrivateKey,
    chain: Vec<Vec<u8>>,
    member: Verified<Member>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let root =
            CaSigner::new_root(&draft(Subject::Authority, &key, Kind::Root, 1), key).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let der = root.sign(&draft(Subject::Authority, &key, Kind::Issuing, 2)).unwrap();
        let issuing = CaSigner::new(&der, key).unwrap();
        Self { root: root.cert().der.clone(), issuing, serial: 2 }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(Anchors::new(network(), std::slice::from_ref(&self.root)).unwrap())
    }

    pub(crate) fn enroll(&mut self, node: &str, roles: &[&str]) -> Identity {
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

    /// The built-in policy, but nothing may be sent to these or by them.
    pub(crate) fn silence(&self, whom: &[&str], number: u64) -> Vec<u8> {
        let nodes = whom.iter().map(|node| name(node)).collect();
        let rule = Rule {
            name: Label::parse("quiet").unwrap(),
            effect: Effect::Deny,
            grants: vec![Grant::Send],
            from: Selector::everybody(),
            to: Selector { nodes, ..Selector::default() },
        };
        let back = Label::parse("quiet-too").unwrap();
        let back =
            Rule { name: back, from: rule.to.clone(), to: rule.from.clone(), ..rule.clone() };
        let mut policy = Policy { number, ..Policy::built_in() };
        policy.rules.splice(0..0, [rule, back]);
        policy.sign(&network(), &self.issuing).unwrap()
    }

    /// The first entry of a feed.
    pub(crate) fn revoke(&self, who: &Identity) -> Update {
        let at = now(0).wall;
        let leaf = &who.member.cert;
        let cert = CertRef {
            issuer: self.issuing.cert().key_id,
            serial: leaf.serial,
            spki: who.key.public().spki_hash(),
            not_after: leaf.not_after,
        };
        let (node, certs) = (who.name.clone(), vec![cert]);
        let (act, reason) = (Act::Revoke, Reason::KeyCompromise);
        let expires = at.plus_s(90 * 86_400);
        let entry = Entry { number: 1, at, act, node, certs, reason, expires };
        let hash = Feed::empty(network()).hash_with(&entry);
        let head = Head { number: 1, hash, at, next_update: at.plus_s(86_400) };
        let head = head.sign(&network(), &self.issuing).unwrap();
        Update { snapshot: None, entries: vec![entry.to_bytes()], head }
    }

    pub(crate) fn node(&mut self, node: &str, roles: &[&str]) -> Node {
        self.node_in(peer_core::limits::FULL_MESH, node, roles)
    }

    /// A node that links with everybody up to so many.
    pub(crate) fn node_in(&mut self, full_mesh: usize, node: &str, roles: &[&str]) -> Node {
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
            attributes: own.member.cert.attributes.clone(),
            full_mesh,
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
    pub(crate) fn says(&self, addresses: &[String]) -> Vec<u8> {
        self.says_with(addresses, &[])
    }

    pub(crate) fn says_with(&self, addresses: &[String], roles: &[&str]) -> Vec<u8> {
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

    /// Says something to everybody who listens.
    pub(crate) fn spoken(&self, number: u64, at: Timestamp, text: &str) -> Vec<u8> {
        let mut pack = Pack::default();
        assert!(pack.push(text.as_bytes()));
        pack.id = number;
        let (origin, instance) = (self.name.clone(), InstanceId::new([9; 16]));
        Spoken { origin, instance, at, pack }.sign(&network(), &self.key).unwrap()
    }

    /// Knocks at a node's door; it is ready at once if it is welcome.
    pub(crate) fn arrives(&self, node: &mut Node, link: u64, now: Now) -> bool {
        let welcome = self.knocks(node, link, now);
        if welcome {
            node.handle_ready(LinkId(link), now);
        }
        welcome
    }

    /// Knocks at a node's door: whether it is welcome.
    pub(crate) fn knocks(&self, node: &mut Node, link: u64, now: Now) -> bool {
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
        matches!(node.handle_arrival(arrival, now), Decision::Welcome(_))
    }

    /// As a handshake proves it.
    pub(crate) const fn member(&self) -> &Verified<Member> {
        &self.member
    }
}

pub(crate) fn actions(node: &mut Node) -> Vec<Action> {
    std::iter::from_fn(|| node.poll_action()).collect()
}

/// What was said on a link.
pub(crate) fn said_to(whom: LinkId, actions: &[Action]) -> Vec<Body> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Send { link, frame, .. } if *link == whom => Some(frame),
        _ => None,
    });
    frames.map(|frame| Body::parse(&split(frame).unwrap().unwrap().0).unwrap()).collect()
}
