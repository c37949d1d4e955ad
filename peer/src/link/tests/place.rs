//! A network for tests: an authority, members, and what a stranger has instead of them.

use std::sync::Arc;

use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usages};
use shared::feed::{Act, Entry, Reason, RevocationSet};
use shared::id::Serial;
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};
use tls::{Dialler, Identity, Listener};

const DAY_S: i64 = 86_400;

pub(super) fn now() -> Timestamp {
    Timestamp::from_s(1_795_000_000)
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn profile(kind: Kind) -> Profile {
    let usages = match kind {
        Kind::Node | Kind::App => Usages { server: true, client: true },
        _ => Usages { server: false, client: false },
    };
    Profile {
        name: Label::parse("test").unwrap(),
        kind,
        life_s: 7 * DAY_S,
        life_min_s: 60,
        life_max_s: if kind == Kind::Node { 90 * DAY_S } else { 3650 * DAY_S },
        backdate_s: 300,
        usages,
    }
}

/// An authority and the roots that its members trust.
pub(super) struct Place {
    root: Vec<u8>,
    issuing: CaSigner,
    issuing_der: Vec<u8>,
    serial: std::cell::Cell<u8>,
}

fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u8, life_s: i64) -> Draft {
    Draft {
        network: NetworkName::parse("mesh.example").unwrap(),
        subject,
        public: key.public().clone(),
        serial: Serial::from_random([serial; 16]),
        not_before: now().plus_s(life_s.min(0) - 1000),
        not_after: now().plus_s(life_s),
        profile: profile(kind),
    }
}

impl Place {
    pub(super) fn new() -> Self {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let root = draft(Subject::Authority, &key, Kind::Root, 1, 3000 * DAY_S);
        let root = CaSigner::new_root(&root, key).unwrap();
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let issuing_der =
            root.sign(&draft(Subject::Authority, &key, Kind::Issuing, 2, 700 * DAY_S)).unwrap();
        let issuing = CaSigner::new(&issuing_der, key).unwrap();
        let root = root.cert().der.clone();
        Self { root, issuing, issuing_der, serial: 3.into() }
    }

    pub(super) fn identity(&self, node: &str, life_s: i64) -> Identity {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let subject = Subject::Node {
            name: name(node),
            attributes: Attributes::default(),
            dns: Vec::new(),
            ips: Vec::new(),
        };
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let leaf = self.issuing.sign(&draft(subject, &key, Kind::Node, serial, life_s)).unwrap();
        Identity { chain: vec![leaf, self.issuing_der.clone()], key }
    }

    pub(super) fn member(&self, node: &str) -> Identity {
        self.identity(node, DAY_S)
    }

    pub(super) fn verifier(&self) -> Arc<Verifier> {
        self.verifier_without(RevocationSet::default())
    }

    /// A verifier that knows a node to be revoked or on hold.
    pub(super) fn verifier_against(&self, node: &str, act: Act) -> Arc<Verifier> {
        let mut set = RevocationSet::default();
        let reason = match act {
            Act::Suspend => Reason::CertificateHold,
            _ => Reason::KeyCompromise,
        };
        set.apply(&Entry {
            number: 1,
            at: now(),
            act,
            node: name(node),
            certs: Vec::new(),
            reason,
            expires: now().plus_s(90 * DAY_S),
        });
        self.verifier_without(set)
    }

    fn verifier_without(&self, set: RevocationSet) -> Arc<Verifier> {
        let network = NetworkName::parse("mesh.example").unwrap();
        let anchors = Anchors::new(network, std::slice::from_ref(&self.root)).unwrap();
        Arc::new(Verifier::with_set(anchors, set))
    }
}

pub(super) fn listener(identity: &Identity, verifier: Arc<Verifier>) -> Listener {
    Listener::new(identity, verifier, Arc::new(now)).unwrap()
}

pub(super) fn dialler(identity: &Identity, verifier: Arc<Verifier>) -> Dialler {
    Dialler::new(identity, verifier, Arc::new(now)).unwrap()
}
