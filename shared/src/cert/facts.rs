//! What one DER certificate says, read once, bounded, without judging it.
//!
//! The linter and the typed certificates are both made from this, so that what was judged and what
//! is used later cannot come from two readings of the same bytes.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::extension::{Attributes, OID_TEXT};
use crate::id::{KeyId, Serial};
use crate::key::{KeyError, PublicKey};
use crate::limits::ALT_NAMES_MAX;
use crate::time::Timestamp;

/// Why a certificate cannot be read. Whose fault: whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// Not DER, or bytes after the end.
    #[error("not a DER certificate")]
    Der,
    /// The serial is zero, negative or longer than 20 octets.
    #[error("its serial number is not positive or has more than 20 octets")]
    Serial,
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An extension that cannot be read, or that stands there twice.
    #[error("its extension {oid} is unreadable or repeated")]
    Extension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// More alternative names than the bound.
    #[error("it has more than {ALT_NAMES_MAX} alternative names")]
    TooManyNames,
    /// The shape is not that of a node's or an authority's certificate.
    #[error("{0}")]
    Shape(String),
}

/// basicConstraints (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basic {
    /// The cA flag.
    pub ca: bool,
    /// pathLenConstraint.
    pub path_length: Option<u32>,
    /// Whether it is critical.
    pub critical: bool,
}

/// keyUsage (RFC 5280 §4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsages {
    /// digitalSignature.
    pub digital_signature: bool,
    /// keyCertSign.
    pub key_cert_sign: bool,
    /// cRLSign.
    pub crl_sign: bool,
    /// Any other bit.
    pub other: bool,
    /// Whether it is critical.
    pub critical: bool,
}

/// Everything one certificate says that anybody here looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Whether it is version 3.
    pub is_v3: bool,
    /// Serial number.
    pub serial: Serial,
    /// Issuer, DER.
    pub issuer_dn: Vec<u8>,
    /// Subject, DER.
    pub subject_dn: Vec<u8>,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// The subject's key.
    pub public: PublicKey,
    /// basicConstraints.
    pub basic: Option<Basic>,
    /// keyUsage.
    pub key_usages: Option<KeyUsages>,
    /// extKeyUsage: server, client, number of others.
    pub extended: Option<(bool, bool, usize)>,
    /// DNS names.
    pub dns: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// Alternative names of other kinds.
    pub other_names: usize,
    /// subjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// authorityKeyIdentifier's key identifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// Permitted DNS subtrees of nameConstraints, and whether the extension is critical.
    pub permitted_dns: Option<(Vec<String>, bool)>,
    /// Groups and roles.
    pub attributes: Attributes,
    /// Critical extensions that nobody here knows.
    pub unknown_critical: Vec<String>,
}

/// When a certificate begins and ends, whoever made it and of whatever kind its key is.
///
/// # Errors
/// [`CertError::Der`].
pub fn dates(der: &[u8]) -> Result<(Timestamp, Timestamp), CertError> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|_| CertError::Der)?;
    let at = |time: ASN1Time| Timestamp::from_s(time.timestamp());
    Ok((at(cert.validity().not_before), at(cert.validity().not_after)))
}

impl Facts {
    /// Reads one certificate.
    ///
    /// # Errors
    /// [`CertError`]; nothing about trust is decided here.
    pub fn read(der: &[u8]) -> Result<Self, CertError> {
        let (rest, cert) = X509Certificate::from_der(der).map_err(|_| CertError::Der)?;
        if !rest.is_empty() {
            return Err(CertError::Der);
        }
        let mut facts = Self {
            der: der.to_vec(),
            is_v3: cert.version().0 == 2,
            serial: read_serial(cert.raw_serial())?,
            issuer_dn: cert.issuer().as_raw().to_vec(),
            subject_dn: cert.subject().as_raw().to_vec(),
            not_before: Timestamp::from_s(cert.validity().not_before.timestamp()),
            not_after: Timestamp::from_s(cert.validity().not_after.timestamp()),
            public: PublicKey::from_spki(cert.public_key().raw)?,
            basic: None,
            key_usages: None,
            extended: None,
            dns: Vec::new(),
            uris: Vec::new(),
            ips: Vec::new(),
            other_names: 0,
            subject_key_id: None,
            authority_key_id: None,
            permitted_dns: None,
            attributes: Attributes::default(),
            unknown_critical: Vec::new(),
        };
        facts.read_extensions(&cert)?;
        Ok(facts)
    }

    /// RFC 7093 key identifier of the certified key, computed, never believed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    /// The subject as text, escaped by the parser's display; made when asked, because signing a
    /// certificate has no use for it.
    #[must_use]
    pub fn subject_text(&self) -> String {
        X509Name::from_der(&self.subject_dn).map_or_else(|_| String::new(), |(_, n)| n.to_string())
    }

    /// Whether it carries its own issuer's name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer_dn == self.subject_dn
    }

    fn read_extensions(&mut self, cert: &X509Certificate<'_>) -> Result<(), CertError> {
        let mut seen = Vec::with_capacity(cert.extensions().len());
        for extension in cert.extensions() {
            let refuse = || CertError::Extension { oid: extension.oid.to_id_string() };
            if seen.contains(&&extension.oid) {
                return Err(refuse());
            }
            seen.push(&extension.oid);
            let parsed = extension.parsed_extension();
            if parsed.error().is_some() {
                return Err(refuse());
            }
            // The parser does not know our extension; the text is made for unknown ones only.
            let unknown = matches!(parsed, ParsedExtension::UnsupportedExtension { .. });
            if unknown && extension.oid.to_id_string() == OID_TEXT {
                self.attributes = Attributes::from_der(extension.value).ok_or_else(refuse)?;
                continue;
            }
            if !self.take(parsed, extension.critical)? && extension.critical {
                self.unknown_critical.push(extension.oid.to_id_string());
            }
        }
        Ok(())
    }

    /// Takes one extension; `false` if nobody here knows it.
    fn take(&mut self, extension: &ParsedExtension<'_>, critical: bool) -> Result<bool, CertError> {
        match extension {
            ParsedExtension::BasicConstraints(basic) => {
                let path_length = basic.path_len_constraint;
                self.basic = Some(Basic { ca: basic.ca, path_length, critical });
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usages = Some(KeyUsages {
                    digital_signature: usage.digital_signature(),
                    key_cert_sign: usage.key_cert_sign(),
                    crl_sign: usage.crl_sign(),
                    other: usage.flags & !0b110_0001 != 0,
                    critical,
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let other = [
                    usage.any,
                    usage.code_signing,
                    usage.email_protection,
                    usage.time_stamping,
                    usage.ocsp_signing,
                ];
                let others = other.into_iter().filter(|set| *set).count() + usage.other.len();
                self.extended = Some((usage.server_auth, usage.client_auth, others));
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.take_names(&names.general_names)?;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::NameConstraints(constraints) => {
                let trees = constraints.permitted_subtrees.as_deref().unwrap_or_default();
                let dns = trees.iter().filter_map(|tree| match tree.base {
                    GeneralName::DNSName(name) => Some(name.to_owned()),
                    _ => None,
                });
                self.permitted_dns = Some((dns.collect(), critical));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_names(&mut self, names: &[GeneralName<'_>]) -> Result<(), CertError> {
        if names.len() > ALT_NAMES_MAX {
            return Err(CertError::TooManyNames);
        }
        for name in names {
            match name {
                GeneralName::DNSName(dns) => self.dns.push((*dns).to_owned()),
                GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(octets) => match read_ip(octets) {
                    Some(ip) => self.ips.push(ip),
                    None => self.other_names += 1,
                },
                _ => self.other_names += 1,
            }
        }
        Ok(())
    }
}

fn read_serial(content: &[u8]) -> Result<Serial, CertError> {
    let negative = content.first().is_some_and(|octet| octet & 0x80 != 0);
    Serial::from_der_content(content).filter(|_| !negative).ok_or(CertError::Serial)
}

fn read_ip(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
