//! An authority for tests, made with the shared crate alone.

use std::path::{Path, PathBuf};

use host::files::{self, Mode};
use shared::cert::{Attributes, CaSigner, Draft, Profile, ProfileText, Subject};
use shared::feed::{Feed, Head, Update, write_file};
use shared::id::Serial;
use shared::key::{Algorithm, PrivateKey, PublicKey};
use shared::name::{NetworkName, NodeName};
use shared::pem;
use shared::time::Timestamp;

pub(crate) const DAY_S: i64 = 86_400;

pub(crate) struct Authority {
    pub(crate) network: NetworkName,
    pub(crate) now: Timestamp,
    root: CaSigner,
    issuing: CaSigner,
}

fn profile(text: &str) -> Profile {
    let text: ProfileText = host::yaml::parse(text, Path::new("profile")).unwrap();
    Profile::check(&text).unwrap()
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

impl Authority {
    pub(crate) fn new(network: &str) -> Self {
        let network = NetworkName::parse(network).unwrap();
        let now = host::clock::wall();
        let draft = |public: &PublicKey, profile: Profile, days: i64| Draft {
            network: network.clone(),
            subject: Subject::Authority,
            public: public.clone(),
            serial: Serial::from_random(host::random::bytes().unwrap()),
            not_before: now.plus_s(-300),
            not_after: now.plus_s(days * DAY_S),
            profile,
        };
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let root = profile(include_str!("../../pki/profiles/root.yaml"));
        let root = CaSigner::new_root(&draft(key.public(), root, 3_650), key).unwrap();
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let issuing = profile(include_str!("../../pki/profiles/issuing.yaml"));
        let der = root.sign(&draft(key.public(), issuing, 365)).unwrap();
        let issuing = CaSigner::new(&der, key).unwrap();
        Self { network, now, root, issuing }
    }

    /// Leaf and issuing.
    pub(crate) fn chain(&self, name: &str, public: &PublicKey) -> Vec<Vec<u8>> {
        self.chain_for(name, public, 7)
    }

    /// The same, a day longer: renewed.
    pub(crate) fn later_chain(&self, name: &str, public: &PublicKey) -> Vec<Vec<u8>> {
        self.chain_for(name, public, 8)
    }

    fn chain_for(&self, name: &str, public: &PublicKey, days: i64) -> Vec<Vec<u8>> {
        let draft = Draft {
            network: self.network.clone(),
            subject: Subject::Node {
                name: node(name),
                attributes: Attributes::default(),
                dns: Vec::new(),
                ips: Vec::new(),
            },
            public: public.clone(),
            serial: Serial::from_random(host::random::bytes().unwrap()),
            not_before: self.now.plus_s(-300),
            not_after: self.now.plus_s(days * DAY_S),
            profile: profile(include_str!("../../pki/profiles/node.yaml")),
        };
        vec![self.issuing.sign(&draft).unwrap(), self.issuing.cert().der.clone()]
    }

    pub(crate) fn trust(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.root.cert().der).to_string()
    }

    /// A feed of nothing, signed.
    pub(crate) fn feed(&self) -> Vec<u8> {
        let hash = Feed::empty(self.network.clone()).hash();
        let (at, next_update) = (self.now, self.now.plus_s(30 * DAY_S));
        let head = Head { number: 0, hash, at, next_update };
        let head = head.sign(&self.network, &self.issuing).unwrap();
        write_file(Update { snapshot: None, entries: Vec::new(), head })
    }

    /// What `ca-tool enroll --csr` hands out.
    pub(crate) fn certificate_file(&self, name: &str, public: &PublicKey) -> String {
        let mut text = pem_of(&self.chain(name, public));
        text.push_str(&self.trust());
        text.push_str(&pem::encode("CONCLAVE FEED", &self.feed()));
        text
    }

    /// What `ca-tool enroll --out` makes.
    pub(crate) fn bundle(&self, place: &Path, name: &str) -> PathBuf {
        let folder = place.join(format!("{name}.bundle"));
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        files::make_private_dir(&folder.join("id")).unwrap();
        files::make_private_dir(&folder.join("inbox")).unwrap();
        let yaml = crate::config::Template::new(self.network.clone(), node(name)).to_string();
        let key_pem = pem::encode(pem::PRIVATE_KEY, key.pkcs8());
        let chain = pem_of(&self.chain(name, key.public()));
        for (file, bytes, mode) in [
            ("node.yaml", yaml.as_bytes(), Mode::Public),
            ("id/node.key", key_pem.as_bytes(), Mode::Secret),
            ("id/node.crt", chain.as_bytes(), Mode::Public),
            ("trust.pem", self.trust().as_bytes(), Mode::Public),
            ("feed", self.feed().as_slice(), Mode::Public),
        ] {
            files::write_new(&folder.join(file), bytes, mode).unwrap();
        }
        folder
    }
}

pub(crate) fn pem_of(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
}
