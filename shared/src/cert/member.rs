//! A node's certificate and an authority's, as types: facts that have the shape of the profile.
//!
//! Being of the right shape is not being trusted: only the verifier makes that of it.

use std::net::IpAddr;

use super::extension::Attributes;
use super::facts::{CertError, Facts};
use crate::id::{KeyId, Serial, SpkiHash};
use crate::key::PublicKey;
use crate::name::{NetworkName, NodeName, parse_spiffe};
use crate::time::Timestamp;

/// The side a certificate is used on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It dials (extKeyUsage clientAuth).
    Client,
    /// It listens (extKeyUsage serverAuth).
    Server,
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
            Usage::Client => self.client,
            Usage::Server => self.server,
        }
    }
}

/// A node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCert {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Serial number.
    pub serial: Serial,
    /// The network of its SPIFFE ID.
    pub network: NetworkName,
    /// The node of its SPIFFE ID.
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
        let Some((network, node)) = parse_spiffe(uri) else {
            return shape("its URI is not spiffe://NETWORK/node/NODE");
        };
        let own = network.dns_of(&node);
        if !facts.dns.contains(&own) {
            return shape("its DNS names lack the node's own");
        }
        let (server, client, _) = facts.extended.unwrap_or((false, false, 0));
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
            node,
        })
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
