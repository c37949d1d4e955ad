//! A certificate to be: what the authority decided, before anything is signed.
//!
//! Every name, date and usage in a draft comes from the authority; of the subject it has the public
//! key and nothing else.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, NameConstraints,
    SanType, SerialNumber,
};

use super::extension::{Attributes, OID};
use super::profile::{Kind, Profile};
use crate::id::Serial;
use crate::key::PublicKey;
use crate::name::{MemberKind, NetworkName, NodeName};
use crate::time::Timestamp;

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The network's root or issuing authority; which one says the profile's kind.
    Authority,
    /// A node or an app; which one says the profile's kind.
    Node {
        /// Its name.
        name: NodeName,
        /// Its groups and roles.
        attributes: Attributes,
        /// DNS names beside its own; each must lie in the network.
        dns: Vec<String>,
        /// IP addresses.
        ips: Vec<IpAddr>,
    },
}

/// A certificate to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The network.
    pub network: NetworkName,
    /// Whom it is for.
    pub subject: Subject,
    /// The subject's key.
    pub public: PublicKey,
    /// Fresh, unique in the store.
    pub serial: Serial,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// The rules it follows.
    pub profile: Profile,
}

impl Draft {
    pub(crate) fn to_params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.not_before = self.not_before.calendar();
        params.not_after = self.not_after.calendar();
        params.serial_number = Some(SerialNumber::from_slice(self.serial.as_bytes()));
        params.key_identifier_method =
            KeyIdMethod::PreSpecified(self.public.key_id().as_bytes().to_vec());
        params.use_authority_key_identifier_extension = self.profile.kind != Kind::Root;
        params.distinguished_name = self.distinguished_name();
        match &self.subject {
            Subject::Authority => self.authority_params(&mut params),
            Subject::Node { name, attributes, dns, ips } => {
                self.node_params(&mut params, attributes);
                params.subject_alt_names = self.alt_names(name, dns, ips)?;
            }
        }
        Ok(params)
    }

    fn distinguished_name(&self) -> DistinguishedName {
        let mut dn = DistinguishedName::new();
        let common = match (&self.subject, self.profile.kind) {
            (Subject::Node { name, .. }, _) => name.to_string(),
            // The key id tells roots of one network apart, also by name (RFC 5280 §4.1.2.6).
            (Subject::Authority, Kind::Root) => self.authority_name("root"),
            (Subject::Authority, _) => self.authority_name("issuing"),
        };
        dn.push(DnType::OrganizationName, self.network.as_str());
        dn.push(DnType::CommonName, common);
        dn
    }

    fn authority_name(&self, what: &str) -> String {
        let id = self.public.key_id().to_string();
        format!("{what} {}", id.get(..8).unwrap_or_default())
    }

    fn authority_params(&self, params: &mut CertificateParams) {
        let path_length = u8::from(self.profile.kind == Kind::Root);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if self.profile.kind == Kind::Issuing {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(self.network.to_string())],
                excluded_subtrees: Vec::new(),
            });
        }
    }

    fn node_params(&self, params: &mut CertificateParams, attributes: &Attributes) {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.profile.usages.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if self.profile.usages.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if !attributes.is_empty() {
            let extension = CustomExtension::from_oid_content(OID, attributes.to_der());
            params.custom_extensions.push(extension);
        }
    }

    fn alt_names(
        &self,
        name: &NodeName,
        dns: &[String],
        ips: &[IpAddr],
    ) -> Result<Vec<SanType>, rcgen::Error> {
        let kind = self.profile.kind.member().unwrap_or(MemberKind::Node);
        let mut names = vec![
            SanType::DnsName(self.network.dns_of(name).try_into()?),
            SanType::URI(self.network.spiffe_of(kind, name).try_into()?),
        ];
        for extra in dns {
            names.push(SanType::DnsName(extra.as_str().try_into()?));
        }
        names.extend(ips.iter().copied().map(SanType::IpAddress));
        Ok(names)
    }
}
