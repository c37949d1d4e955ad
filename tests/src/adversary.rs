//! Certificates that no honest authority makes, and the honest ones an adversary may have got.

use std::collections::BTreeSet;
use std::path::Path;

use ca_tool::Authority;
use host::clock;
use shared::cert::{Attributes, Draft, Kind, Profile, Subject, Usages};
use shared::id::Serial;
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::pem;
use shared::time::Timestamp;

/// A chain, leaf first, and the leaf's key.
#[derive(Clone)]
pub struct Credentials {
    /// Certificates, DER.
    pub chain: Vec<Vec<u8>>,
    /// The key, PKCS#8.
    pub key: Vec<u8>,
}

impl Credentials {
    /// Those of a bundle: what whoever steals it has.
    #[must_use]
    pub fn of_bundle(bundle: &Path) -> Self {
        let read = |name: &str| std::fs::read(bundle.join(name)).unwrap();
        Self {
            chain: pem::certificates(&read("id/node.crt"), 3).unwrap(),
            key: pem::private_key(&read("id/node.key")).unwrap().to_vec(),
        }
    }

    /// A certificate that vouches for itself.
    #[must_use]
    pub fn self_signed(node: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(vec![format!("{node}.mesh.example")]).unwrap();
        let uri = format!("spiffe://mesh.example/node/{node}");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let cert = params.self_signed(&key).unwrap();
        Self { chain: vec![cert.der().to_vec()], key: key.serialize_der() }
    }

    /// The same with the other of the two ECDSA signatures: (r, n − s) verifies as (r, s) does.
    /// Another certificate by its bytes, the same by everything that counts (RFC 6979 aside).
    #[must_use]
    pub fn twin(&self) -> Self {
        let mut chain = self.chain.clone();
        chain[0] = flip_s(&chain[0]);
        Self { chain, key: self.key.clone() }
    }

    /// The key as a type.
    #[must_use]
    pub fn private(&self) -> PrivateKey {
        PrivateKey::from_pkcs8(&self.key).unwrap()
    }
}

/// Makes certificates with the authority's own key and without its rules.
pub struct Forge {
    authority: Authority,
}

impl Forge {
    /// A forge with a stolen authority.
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self { authority }
    }

    /// A node's certificate, changed before it is signed.
    #[must_use]
    pub fn node(&self, node: &str, change: impl FnOnce(&mut Draft)) -> Credentials {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let now = clock::wall();
        let mut draft = Draft {
            network: self.authority.network().clone(),
            subject: Subject::Node {
                name: NodeName::parse(node).unwrap(),
                attributes: Attributes { groups: BTreeSet::new(), roles: BTreeSet::new() },
                dns: Vec::new(),
                ips: Vec::new(),
            },
            public: key.public().clone(),
            serial: Serial::from_random(host::random::bytes().unwrap()),
            not_before: now.plus_s(-300),
            not_after: now.plus_s(3600),
            profile: lawless_profile(),
        };
        change(&mut draft);
        let leaf = self.authority.issue_in_memory(&draft).unwrap();
        let issuing = self.authority.signer().cert().der.clone();
        Credentials { chain: vec![leaf, issuing], key: key.pkcs8().to_vec() }
    }

    /// A certificate whose dates lie so many seconds from now.
    #[must_use]
    pub fn dated(&self, node: &str, from_s: i64, to_s: i64) -> Credentials {
        let now: Timestamp = clock::wall();
        self.node(node, |draft| {
            draft.not_before = now.plus_s(from_s);
            draft.not_after = now.plus_s(to_s);
        })
    }

    /// A certificate with some usages only.
    #[must_use]
    pub fn usages(&self, node: &str, client: bool, server: bool) -> Credentials {
        self.node(node, |draft| draft.profile.usages = Usages { client, server })
    }

    /// A certificate of this authority for another network.
    #[must_use]
    pub fn elsewhere(&self, node: &str, network: &str) -> Credentials {
        self.node(node, |draft| draft.network = NetworkName::parse(network).unwrap())
    }

    /// The issuing certificate itself, used as if it were a node's.
    #[must_use]
    pub fn issuing(&self) -> Credentials {
        let signer = self.authority.signer();
        Credentials { chain: vec![signer.cert().der.clone()], key: signer.key().pkcs8().to_vec() }
    }
}

fn lawless_profile() -> Profile {
    Profile {
        name: Label::parse("node").unwrap(),
        kind: Kind::Node,
        life_s: 3600,
        life_min_s: 1,
        life_max_s: 90 * 86_400,
        backdate_s: 300,
        usages: Usages { client: true, server: true },
    }
}

/// The order of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Certificate ::= SEQUENCE { tbs, algorithm, BIT STRING { SEQUENCE { r, s } } }, s replaced.
fn flip_s(cert: &[u8]) -> Vec<u8> {
    let (_, body) = element(cert);
    let (tbs_len, _) = element(body);
    let rest = &body[tbs_len..];
    let (alg_len, _) = element(rest);
    let (_, bits) = element(&rest[alg_len..]);
    let (_, pair) = element(&bits[1..]);
    let (r_len, _) = element(pair);
    let (_, s) = element(&pair[r_len..]);
    let flipped = [&pair[..r_len], &encode(0x02, &integer(&subtract(s)))].concat();
    let signature = [&[0u8][..], &encode(0x30, &flipped)].concat();
    encode(0x30, &[&body[..tbs_len + alg_len], &encode(0x03, &signature)].concat())
}

/// The whole length of the first DER element, and its content.
fn element(der: &[u8]) -> (usize, &[u8]) {
    let (header, length) = match der[1] {
        short if short < 0x80 => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
    };
    (header + length, &der[header..header + length])
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(byte) => out.extend_from_slice(&[0x81, byte]),
        Err(_) => {
            out.push(0x82);
            out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

fn subtract(s: &[u8]) -> [u8; 32] {
    let significant: Vec<u8> = s.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut wide = [0u8; 32];
    wide[32 - significant.len()..].copy_from_slice(&significant);
    let mut out = [0u8; 32];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(wide[at]) - borrow;
        borrow = i16::from(difference < 0);
        out[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    out
}

fn integer(value: &[u8; 32]) -> Vec<u8> {
    let mut out: Vec<u8> = value.iter().copied().skip_while(|byte| *byte == 0).collect();
    if out.first().is_none_or(|byte| *byte >= 0x80) {
        out.insert(0, 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;

    #[test]
    fn a_twin_is_another_file_with_a_good_signature() {
        let network = Network::with(&["bob"]);
        let bob = Credentials::of_bundle(&network.bundle("bob"));
        let twin = bob.twin();
        assert_ne!(twin.chain[0], bob.chain[0]);
        assert_eq!(twin.twin().chain[0], bob.chain[0]);
    }
}
