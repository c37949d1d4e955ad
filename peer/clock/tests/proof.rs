//! Two faces, signed: what proves a lie about the time, and what does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use clock::event::Event;
use clock::floor::Floor;
use clock::keeper::{Action, Keeper, Members, Start};
use clock::limits::SPEAKERS_MAX;
use clock::moment::{Mono, Utc};
use clock::statements::Statements;
use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usages};
use shared::id::{InstanceId, Serial};
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::refusal::Code;
use shared::shown::{Proof, Shown, SignedShown};
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

const START: i64 = 1_800_000_000;
const S: u64 = 1_000_000_000;

fn network() -> NetworkName {
    NetworkName::parse("mesh.example").unwrap()
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn heard() -> Timestamp {
    Timestamp::from_s(START)
}

fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u8) -> Draft {
    let node = kind == Kind::Node;
    let days = if node { 1 } else { 300 - i64::from(serial) };
    let at = Timestamp::from_s(START);
    let life_max_s = if node { 90 * 86_400 } else { 400 * 86_400 };
    let usages = Usages { client: node, server: node };
    let profile = Profile {
        name: Label::parse("test").unwrap(),
        kind,
        life_s: 86_400,
        life_min_s: 1,
        life_max_s,
        backdate_s: 300,
        usages,
    };
    Draft {
        network: network(),
        subject,
        public: key.public().clone(),
        serial: Serial::from_random([serial; 16]),
        not_before: at.plus_s(-300),
        not_after: at.plus_s(days * 86_400),
        profile,
    }
}

/// An authority in memory.
struct Authority {
    root: Vec<u8>,
    issuing: CaSigner,
    serial: u8,
}

/// Who can sign.
struct Speaker {
    name: NodeName,
    key: PrivateKey,
    chain: Vec<Vec<u8>>,
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

    fn enroll(&mut self, node: &str) -> Speaker {
        self.serial += 1;
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let attributes = Attributes { groups: BTreeSet::new(), roles: BTreeSet::new() };
        let (dns, ips) = (Vec::new(), Vec::new());
        let subject = Subject::Node { name: name(node), attributes, dns, ips };
        let der = self.issuing.sign(&draft(subject, &key, Kind::Node, self.serial)).unwrap();
        Speaker { name: name(node), key, chain: vec![der, self.issuing.cert().der.clone()] }
    }
}

impl Speaker {
    fn shown(&self, sequence: u64, count_s: u64, ahead_ns: i64) -> Shown {
        Shown {
            node: self.name.clone(),
            instance: InstanceId::new([7; 16]),
            sequence,
            steps: 1,
            count_ns: count_s * S,
            utc_ns: (START * S as i64) + (count_s * S) as i64 + ahead_ns,
            bound_ns: 1_000_000,
        }
    }

    fn sign(&self, shown: &Shown) -> Vec<u8> {
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        shown.sign(&network(), &self.key, &chain).unwrap()
    }

    fn says(&self, verifier: &Verifier, shown: &Shown) -> SignedShown {
        SignedShown::verify(&self.sign(shown), &network(), verifier, heard()).unwrap()
    }
}

#[test]
fn two_faces_are_a_proof_for_anybody_and_one_is_none() {
    let mut authority = Authority::new();
    let (bob, eve) = (authority.enroll("bob"), authority.enroll("eve"));
    let truth = bob.sign(&bob.shown(1, 100, 0));
    let later = bob.sign(&bob.shown(2, 160, 500_000));
    let lie = bob.sign(&bob.shown(3, 161, 2 * S as i64));
    let check = |one: &[u8], other: &[u8]| {
        Proof::check([one, other], &network(), &authority.verifier(), heard())
    };
    let proof = check(&truth, &lie).unwrap();
    assert_eq!((proof.node, &proof.statements[1]), (name("bob"), &lie));
    assert_eq!(check(&truth, &later).unwrap_err().code, Code::Malformed);
    assert!(check(&truth, &truth).is_err(), "a repetition");
    let others = eve.sign(&eve.shown(3, 161, 2 * S as i64));
    assert!(check(&truth, &others).is_err(), "two nodes differ, and neither lied");
    let forged = Shown { node: name("bob"), ..eve.shown(3, 161, 2 * S as i64) };
    let refusal = check(&truth, &eve.sign(&forged)).unwrap_err();
    assert_eq!(refusal.code, Code::WrongName, "nobody speaks for another");
    let mut bent = lie.clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    assert_eq!(check(&truth, &bent).unwrap_err().code, Code::Malformed);
    let stranger = Authority::new();
    let theirs = Proof::check([&truth, &lie], &network(), &stranger.verifier(), heard());
    assert_eq!(theirs.unwrap_err().code, Code::ForeignAuthority);
}

#[test]
fn the_keeper_tells_of_two_faces_once() {
    let mut authority = Authority::new();
    let bob = authority.enroll("bob");
    let verifier = authority.verifier();
    let floor = Floor::new(Utc::from_ns(0));
    let system = Utc::from(heard());
    let mut keeper =
        Keeper::new(Start { me: name("me"), system, floor, seed: 1 }, Mono::from_ns(0));
    let members = Members { roots: [name("bob")].into(), ..Members::default() };
    keeper.handle_members(members, Mono::from_ns(0));
    for (sequence, ahead_ns) in [(1, 0), (2, 100), (1, 0), (3, 9 * S as i64), (4, -9 * S as i64)] {
        let said = bob.shown(sequence, 60 * sequence, ahead_ns);
        keeper.handle_statement(bob.says(&verifier, &said));
    }
    let told: Vec<Event> = std::iter::from_fn(|| keeper.poll_action())
        .filter_map(|action| match action {
            Action::Tell(event) => Some(event),
            Action::Ask(_) | Action::Keep(_) => None,
        })
        .collect();
    let [Event::TwoFaced { node, statements }] = &told[..] else { unreachable!("{told:?}") };
    assert_eq!((told[0].code(), node), ("clock-two-faced", &name("bob")));
    let statements = [&statements[0][..], &statements[1][..]];
    assert!(Proof::check(statements, &network(), &verifier, heard()).is_ok());
    assert!(keeper.statement(InstanceId::new([1; 16]), Mono::from_ns(1)).is_none(), "not set yet");
}

#[test]
fn what_is_kept_of_statements_is_bounded() {
    let mut authority = Authority::new();
    let bob = authority.enroll("bob");
    let said = bob.says(&authority.verifier(), &bob.shown(1, 100, 0));
    let mut statements = Statements::default();
    for at in 0..=SPEAKERS_MAX {
        let mut other = said.clone();
        other.shown.node = name(&format!("n{at}"));
        assert!(statements.take(other).is_none());
    }
    let lie = bob.says(&authority.verifier(), &bob.shown(2, 101, 9 * S as i64));
    assert!(statements.take(said.clone()).is_none() && statements.take(lie.clone()).is_none());
    statements.keep(|node| *node == name("bob"));
    assert!(statements.take(said).is_none());
    assert!(statements.take(lie).is_some(), "there is room again");
}
