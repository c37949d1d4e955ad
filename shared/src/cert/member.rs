//! The certificates of members and authorities, as types: facts that have the shape of the profile.
//!
//! Being of the right shape is not being trusted: only the verifier makes that of it.

use std::net::IpAddr;

use super::extension::Attributes;
use super::facts::{CertError, Facts};
use crate::id::{KeyId, Serial, SpkiHash};
use crate::key::PublicKey;
use crate::name::{MemberKind, NetworkName, NodeName, parse_spiffe};
use crate::time::Timestamp;

/// The side a certificate is used on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It dials (extKeyUsage clientAuth).
    Client,
    /// It listens (extKeyUsage serverAuth).
    Server,
    /// A program shows it at a peer's door (extKeyUsage clientAuth): an app's own, or its node's.
    Program,
}

/// What a node's certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usages {
    /// clientAuth.
    pub client: bool,
    /// serverAuth.
    pub server: bool,
}

impl Usages {
    /// Whether the usage is among them.
    #[must_use]
    pub const fn allow(self, usage: Usage) -> bool {
        match usage {
            Usage::Client | Usage::Program => self.client,
            Usage::Server => self.server,
        }
    }
}

/// The certificate of a node or an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCert {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Serial number.
    pub serial: Serial,
    /// The network of its SPIFFE ID.
    pub network: NetworkName,
    /// Whether its SPIFFE ID is a node's or an app's.
    pub kind: MemberKind,
    /// The name in its SPIFFE ID.
    pub node: NodeName,
    /// The node's key.
    pub public: PublicKey,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub spki: SpkiHash,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// clientAuth, serverAuth.
    pub usages: Usages,
    /// Groups and roles.
    pub attributes: Attributes,
    /// DNS names beside the node's own.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
}

impl NodeCert {
    /// Reads a node's certificate.
    ///
    /// # Errors
    /// [`CertError::Shape`] says what a node's certificate may not be.
    pub fn read(der: &[u8]) -> Result<Self, CertError> {
        Self::from_facts(Facts::read(der)?)
    }

    /// Takes the shape of facts.
    ///
    /// # Errors
    /// As [`NodeCert::read`].
    pub fn from_facts(facts: Facts) -> Result<Self, CertError> {
        let shape = |text: &str| Err(CertError::Shape(text.to_owned()));
        match facts.basic {
            Some(basic) if basic.ca => return shape("it is an authority's certificate"),
            Some(_) => {}
            None => return shape("it has no basicConstraints"),
        }
        match facts.key_usages {
            Some(usage) if usage.key_cert_sign || usage.crl_sign => {
                return shape("its keyUsage lets it sign certificates or CRLs");
            }
            Some(usage) if usage.digital_signature => {}
            _ => return shape("its keyUsage lacks digitalSignature"),
        }
        let [uri] = facts.uris.as_slice() else {
            return shape("it has not exactly one URI");
        };
        let Some((network, kind, node)) = parse_spiffe(uri) else {
            return shape("its URI is not spiffe://NETWORK/node/NODE or spiffe://NETWORK/app/APP");
        };
        let own = network.dns_of(&node);
        if !facts.dns.contains(&own) {
            return shape("its DNS names lack the node's own");
        }
        let (server, client, _) = facts.extended.unwrap_or((false, false, 0));
        if kind == MemberKind::App && server {
            return shape("it is an app's, and an app never serves");
        }
        Ok(Self {
            serial: facts.serial,
            spki: facts.public.spki_hash(),
            public: facts.public,
            not_before: facts.not_before,
            not_after: facts.not_after,
            usages: Usages { client, server },
            attributes: facts.attributes,
            dns: facts.dns.into_iter().filter(|dns| *dns != own).collect(),
            ips: facts.ips,
            der: facts.der,
            network,
            kind,
            node,
        })
    }

    /// Whether it may be used on a side: an app is a program and nothing else.
    #[must_use]
    pub fn allows(&self, usage: Usage) -> bool {
        (self.kind == MemberKind::Node || usage == Usage::Program) && self.usages.allow(usage)
    }
}

/// A root or issuing certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCert {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Serial number.
    pub serial: Serial,
    /// Issuer, DER.
    pub issuer_dn: Vec<u8>,
    /// Subject, DER.
    pub subject_dn: Vec<u8>,
    /// Subject, as text.
    pub subject_text: String,
    /// The authority's key.
    pub public: PublicKey,
    /// RFC 7093 key identifier, computed.
    pub key_id: KeyId,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// Whether it may sign revocations (cRLSign).
    pub signs_crls: bool,
    /// pathLenConstraint.
    pub path_length: Option<u32>,
}

impl CaCert {
    /// Reads an authority's certificate.
    ///
    /// # Errors
    /// [`CertError::Shape`] says what an authority's certificate may not be.
    pub fn read(der: &[u8]) -> Result<Self, CertError> {
        Self::from_facts(Facts::read(der)?)
    }

    /// Takes the shape of facts.
    ///
    /// # Errors
    /// As [`CaCert::read`].
    pub fn from_facts(facts: Facts) -> Result<Self, CertError> {
        let shape = |text: &str| Err(CertError::Shape(text.to_owned()));
        let Some(basic) = facts.basic.filter(|basic| basic.ca) else {
            return shape("it is not an authority's certificate");
        };
        let Some(usage) = facts.key_usages.filter(|usage| usage.key_cert_sign) else {
            return shape("its keyUsage lacks keyCertSign");
        };
        if let Some(oid) = facts.unknown_critical.first() {
            return shape(&format!("it has the unknown critical extension {oid}"));
        }
        Ok(Self {
            key_id: facts.key_id(),
            subject_text: facts.subject_text(),
            serial: facts.serial,
            issuer_dn: facts.issuer_dn,
            subject_dn: facts.subject_dn,
            public: facts.public,
            not_before: facts.not_before,
            not_after: facts.not_after,
            signs_crls: usage.crl_sign,
            path_length: basic.path_length,
            der: facts.der,
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::ExtendedKeyUsagePurpose as Eku;

    use super::*;

    fn cert(kind: &str, usages: &[Eku]) -> Result<NodeCert, CertError> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(vec!["meter.mesh.example".to_owned()]).unwrap();
        let uri = format!("spiffe://mesh.example/{kind}/meter");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        NodeCert::read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn an_app_is_a_program_and_nothing_else() {
        let uses = |cert: &NodeCert| {
            [Usage::Client, Usage::Server, Usage::Program].map(|usage| cert.allows(usage))
        };
        let node = cert("node", &[Eku::ServerAuth, Eku::ClientAuth]).unwrap();
        assert_eq!((node.kind, uses(&node)), (MemberKind::Node, [true, true, true]));
        let node = cert("node", &[Eku::ServerAuth]).unwrap();
        assert_eq!(uses(&node), [false, true, false]);
        let app = cert("app", &[Eku::ClientAuth]).unwrap();
        assert_eq!((app.kind, uses(&app)), (MemberKind::App, [false, false, true]));
    }

    #[test]
    fn an_app_that_serves_and_a_member_of_no_kind_are_refused() {
        for (kind, usages) in [
            ("app", &[Eku::ServerAuth, Eku::ClientAuth][..]),
            ("app", &[Eku::ServerAuth][..]),
            ("robot", &[Eku::ClientAuth][..]),
        ] {
            assert!(matches!(cert(kind, usages), Err(CertError::Shape(_))), "{kind}");
        }
    }
}
