//! An authority in memory: it enrols, revokes, suspends, and signs the feed.

use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usage, Usages};
use shared::feed::{Act, CertRef, Entry, Feed, Head, Reason, RevocationSet, Update};
use shared::id::Serial;
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

/// When simulated time begins, in seconds since 1970.
pub const START: i64 = 1_800_000_000;

/// The network's name.
#[must_use]
pub fn network() -> NetworkName {
    NetworkName::parse("mesh.example").unwrap()
}

/// A key, its chain (leaf first), and what the feed calls the certificate.
pub struct Enrolled {
    /// The key.
    pub key: PrivateKey,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    /// For an entry of the feed.
    pub cert: CertRef,
}

/// An authority in memory.
pub struct Authority {
    root: CaSigner,
    issuing: CaSigner,
    feed: Feed,
    set: RevocationSet,
    serial: u64,
}

impl Enrolled {
    /// The same key and chain once more.
    #[must_use]
    pub(crate) fn copy(&self) -> Self {
        let key = PrivateKey::from_pkcs8(self.key.pkcs8()).unwrap();
        Self { key, chain: self.chain.clone(), cert: self.cert }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// With new keys and an empty feed.
    #[must_use]
    pub fn new() -> Self {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let root =
            CaSigner::new_root(&draft(Subject::Authority, &key, Kind::Root, 1, 300), key).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let der = root.sign(&draft(Subject::Authority, &key, Kind::Issuing, 2, 200)).unwrap();
        let issuing = CaSigner::new(&der, key).unwrap();
        let (feed, set) = (Feed::empty(network()), RevocationSet::default());
        let mut authority = Self { root, issuing, feed, set, serial: 2 };
        authority.sign_head(None, Timestamp::from_s(START), 30 * 86_400);
        authority
    }

    /// The root, for a verifier.
    #[must_use]
    pub fn anchors(&self) -> Anchors {
        Anchors::new(network(), &[self.root.cert().der.clone()]).unwrap()
    }

    /// Everything the feed has.
    #[must_use]
    pub fn whole_feed(&self) -> Update {
        self.feed.update_since(0).unwrap()
    }

    /// A key and a certificate of a day.
    pub fn enroll(&mut self, node: &NodeName) -> Enrolled {
        self.serial += 1;
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let subject = Subject::Node {
            name: node.clone(),
            attributes: Attributes::default(),
            dns: vec![],
            ips: vec![],
        };
        let draft = draft(subject, &key, Kind::Node, self.serial, 1);
        let der = self.issuing.sign(&draft).unwrap();
        let cert = CertRef {
            issuer: self.issuing.cert().key_id,
            serial: draft.serial,
            spki: key.public().spki_hash(),
            not_after: draft.not_after,
        };
        Enrolled { key, chain: vec![der, self.issuing.cert().der.clone()], cert }
    }

    /// Appends an entry; gives what a node that had the feed before lacks.
    pub fn act(&mut self, act: Act, node: &NodeName, cert: CertRef, now: Timestamp) -> Update {
        let before = self.feed.position().number;
        let hold = act == Act::Suspend;
        let entry = Entry {
            number: before + 1,
            at: now,
            act,
            node: node.clone(),
            certs: vec![cert],
            reason: if hold { Reason::CertificateHold } else { Reason::KeyCompromise },
            expires: now.plus_s(90 * 86_400),
        };
        self.sign_head(Some(entry), now, 30 * 86_400);
        self.feed.update_since(before).unwrap()
    }

    /// Signs the feed again, with a promise of so many seconds.
    pub fn sign_head(&mut self, entry: Option<Entry>, now: Timestamp, life_s: i64) {
        let number = self.feed.position().number + u64::from(entry.is_some());
        let hash = entry.as_ref().map_or_else(|| self.feed.hash(), |e| self.feed.hash_with(e));
        let head = Head { number, hash, at: now, next_update: now.plus_s(life_s) };
        let signed = head.sign(&network(), &self.issuing).unwrap();
        let entries = entry.iter().map(Entry::to_bytes).collect();
        let update = Update { snapshot: None, entries, head: signed };
        let mut news = self.feed.apply(update, &self.set, &self.anchors(), now).unwrap();
        news.apply_to(&mut self.set);
    }
}

fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u64, days: i64) -> Draft {
    let mut random = [7; 16];
    random[8..].copy_from_slice(&serial.to_be_bytes());
    Draft {
        network: network(),
        subject,
        public: key.public().clone(),
        serial: Serial::from_random(random),
        not_before: Timestamp::from_s(START - 300),
        not_after: Timestamp::from_s(START + days * 86_400),
        profile: profile(kind),
    }
}

fn profile(kind: Kind) -> Profile {
    let node = kind == Kind::Node;
    Profile {
        name: Label::parse("test").unwrap(),
        kind,
        life_s: 86_400,
        life_min_s: 1,
        life_max_s: if node { 90 * 86_400 } else { 400 * 86_400 },
        backdate_s: 300,
        usages: Usages { client: node, server: node },
    }
}

/// What the set is asked about a chain that was just made.
pub(crate) fn own_ids(
    verifier: &Verifier,
    chain: &[Vec<u8>],
    now: Timestamp,
) -> shared::feed::ChainIds {
    let refs: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    verifier.admit(&refs, Usage::Client, None, now).unwrap().ids.clone()
}
