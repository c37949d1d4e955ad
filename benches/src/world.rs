//! A small network to measure in: an authority without a passphrase, nodes, sets of revoked ones.
//!
//! **Invariant:** whatever is made here is made before a clock starts.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use ca_tool::{Authority, Init};
use shared::cert::{Attributes, Draft, Profile, Subject};
use shared::feed::{Act, CertRef, Entry, Reason, RevocationSet};
use shared::id::{KeyId, Serial, SpkiHash, sha256};
use shared::key::{Algorithm, PrivateKey, PublicKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

/// The network's name.
pub(crate) const NETWORK: &str = "mesh.example";

/// An authority in a folder that goes away with it.
pub(crate) struct World {
    pub(crate) authority: Authority,
    algorithm: Algorithm,
    profile: Profile,
    folder: tempfile::TempDir,
}

/// A node: its chain and its key.
pub(crate) struct Node {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: PrivateKey,
}

impl Node {
    /// As the peers present it.
    pub(crate) fn identity(&self) -> Result<tls::Identity> {
        let key = PrivateKey::from_pkcs8(self.key.pkcs8())?;
        Ok(tls::Identity { chain: self.chain.clone(), key })
    }

    /// Its chain as the verifier takes it.
    pub(crate) fn chain(&self) -> Vec<&[u8]> {
        self.chain.iter().map(Vec::as_slice).collect()
    }
}

impl World {
    /// Makes the authority.
    pub(crate) fn new() -> Result<Self> {
        Self::with(Algorithm::P256)
    }

    /// The same with another algorithm for all keys.
    pub(crate) fn with(algorithm: Algorithm) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let network = NetworkName::parse(NETWORK)?;
        Authority::init(&state, &Init::new(network, algorithm, None))?;
        let authority = Authority::open(&state, || {
            host::passphrase::Passphrase::new("there is none to ask for")
        })?;
        let profile = ca_tool::profiles::built_in(&Label::parse("node")?)?;
        Ok(Self { authority, algorithm, profile, folder })
    }

    /// The authority, and the folder it is in.
    pub(crate) fn into_parts(self) -> (Authority, tempfile::TempDir) {
        (self.authority, self.folder)
    }

    /// A folder for whatever else is needed.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What the authority would sign for a node.
    pub(crate) fn draft(&self, name: &str, public: PublicKey) -> Result<Draft> {
        let now = host::clock::wall();
        let attributes = Attributes::default();
        Ok(Draft {
            network: self.authority.network().clone(),
            subject: Subject::Node {
                name: NodeName::parse(name)?,
                attributes,
                dns: Vec::new(),
                ips: Vec::new(),
            },
            public,
            serial: Serial::from_random(host::random::bytes()?),
            not_before: now.plus_s(-self.profile.backdate_s),
            not_after: now.plus_s(self.profile.life_s),
            profile: self.profile.clone(),
        })
    }

    /// A node with a fresh key.
    pub(crate) fn node(&self, name: &str) -> Result<Node> {
        let key = PrivateKey::generate(self.algorithm)?;
        let draft = self.draft(name, key.public().clone())?;
        let leaf = self.authority.issue_in_memory(&draft)?;
        Ok(Node { chain: vec![leaf, self.authority.issuing_der().to_vec()], key })
    }

    /// A verifier with so many revoked certificates.
    pub(crate) fn verifier(&self, revoked: u32) -> Result<Arc<Verifier>> {
        let network = self.authority.network().clone();
        let anchors = Anchors::new(network, self.authority.trust_der())?;
        let issuer = self.authority.signer().cert().key_id;
        Ok(Arc::new(Verifier::with_set(anchors, revocations(issuer, revoked)?)))
    }

    /// The root, DER.
    pub(crate) fn root(&self) -> Result<&[u8]> {
        self.authority.trust_der().first().map(Vec::as_slice).context("no root")
    }
}

/// So many revoked nodes with one certificate each.
fn revocations(issuer: KeyId, count: u32) -> Result<RevocationSet> {
    let mut set = RevocationSet::default();
    let now = host::clock::wall();
    let expires = now.plus_s(86_400);
    for index in 0..count {
        let spki = sha256(&index.to_be_bytes());
        let (half, _) = spki.split_first_chunk::<16>().context("a hash is 32 bytes")?;
        let cert = CertRef {
            issuer,
            serial: Serial::from_random(*half),
            spki: SpkiHash::new(spki),
            not_after: expires,
        };
        set.apply(&entry(u64::from(index) + 1, &format!("gone-{index}"), cert, now, expires)?);
    }
    Ok(set)
}

fn entry(
    number: u64,
    node: &str,
    cert: CertRef,
    at: Timestamp,
    expires: Timestamp,
) -> Result<Entry> {
    let (node, certs) = (NodeName::parse(node)?, vec![cert]);
    Ok(Entry { number, at, act: Act::Revoke, node, certs, reason: Reason::Unspecified, expires })
}
