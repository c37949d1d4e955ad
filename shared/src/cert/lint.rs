//! The linter: compares a certificate with the rules before it is signed, and what comes in after.
//!
//! Rules that no profile can relax hang on the [`Kind`]; lengths of life and usages on the
//! [`Profile`]. The idea is Boulder's (lint a throw-away twin first), done one step closer: the
//! very bytes that were linted are the bytes that get signed (see `issue.rs`).
//!
//! **Invariant:** a certificate with a finding is never signed.

use super::extension::{Attributes, is_peer_role};
use super::facts::{Facts, KeyUsages};
use super::profile::{Kind, Profile};
use crate::limits::NODE_LIFE_DAYS_MAX;
use crate::name::{MemberKind, NetworkName, parse_spiffe};

/// A rule that a certificate breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, stable.
    pub rule: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// The linter's verdict for one certificate.
struct Lint<'a> {
    facts: &'a Facts,
    findings: Vec<Finding>,
}

/// Checks a certificate against the rules of its kind, without a profile: what `ca-tool lint` does
/// with a file from anywhere. The kind is read from the certificate.
#[must_use]
pub fn check(facts: &Facts) -> (Kind, Vec<Finding>) {
    let kind = match facts.basic {
        Some(basic) if basic.ca && facts.is_self_issued() => Kind::Root,
        Some(basic) if basic.ca => Kind::Issuing,
        _ if is_app(facts) => Kind::App,
        _ => Kind::Node,
    };
    (kind, check_kind(facts, kind))
}

/// Checks a certificate that is about to be signed against its profile.
#[must_use]
pub fn check_profile(
    facts: &Facts,
    profile: &Profile,
    network: &NetworkName,
    issuer: Option<&Facts>,
) -> Vec<Finding> {
    let mut lint = Lint { facts, findings: check_kind(facts, profile.kind) };
    let life_s = facts.not_after.s() - facts.not_before.s();
    let whole_s = life_s - profile.backdate_s;
    lint.rule("life", life_s >= profile.life_min_s.min(1) && whole_s <= profile.life_max_s, || {
        format!("it lives {whole_s} s; the profile allows at most {} s", profile.life_max_s)
    });
    if let Some(issuer) = issuer {
        lint.rule("life-issuer", facts.not_after <= issuer.not_after, || {
            format!("it ends at {}, after its issuer at {}", facts.not_after, issuer.not_after)
        });
        lint.rule("authority-key-id", facts.authority_key_id == issuer.subject_key_id, || {
            "its authorityKeyIdentifier is not the issuer's subjectKeyIdentifier".to_owned()
        });
        lint.rule("issuer-name", facts.issuer_dn == issuer.subject_dn, || {
            "its issuer is not the issuer's subject".to_owned()
        });
    }
    if profile.kind.member().is_some() {
        lint.member_profile(profile, network);
    }
    lint.findings
}

fn check_kind(facts: &Facts, kind: Kind) -> Vec<Finding> {
    let mut lint = Lint { facts, findings: Vec::new() };
    lint.every_kind();
    match kind {
        Kind::Root => lint.authority(1),
        Kind::Issuing => {
            lint.authority(0);
            lint.issuing();
        }
        Kind::Node => lint.member(MemberKind::Node),
        Kind::App => {
            lint.member(MemberKind::App);
            lint.app();
        }
    }
    lint.findings
}

fn is_app(facts: &Facts) -> bool {
    let named = facts.uris.iter().filter_map(|uri| parse_spiffe(uri));
    named.into_iter().any(|(_, kind, _)| kind == MemberKind::App)
}

impl Lint<'_> {
    fn rule(&mut self, rule: &'static str, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.findings.push(Finding { rule, detail: detail() });
        }
    }

    fn every_kind(&mut self) {
        let facts = self.facts;
        self.rule("version", facts.is_v3, || "it is not version 3".to_owned());
        self.rule("serial-entropy", facts.serial.as_bytes().len() >= 8, || {
            "its serial has fewer than 64 bits".to_owned()
        });
        self.rule("validity-order", facts.not_before < facts.not_after, || {
            "notAfter is not after notBefore".to_owned()
        });
        self.rule("critical-unknown", facts.unknown_critical.is_empty(), || {
            format!("unknown critical extensions {}", facts.unknown_critical.join(", "))
        });
        let expected = facts.key_id();
        let right = facts.subject_key_id.as_deref() == Some(expected.as_bytes().as_slice());
        self.rule("subject-key-id", right, || {
            "its subjectKeyIdentifier is not RFC 7093 method 1 of its key".to_owned()
        });
        let critical = facts.basic.is_some_and(|basic| basic.critical);
        self.rule("basic-constraints-critical", critical, || {
            "basicConstraints is missing or not critical".to_owned()
        });
        self.rule("key-usage-critical", facts.key_usages.is_some_and(|u| u.critical), || {
            "keyUsage is missing or not critical".to_owned()
        });
        // An empty SEQUENCE is two octets.
        self.rule("subject", facts.subject_dn.len() > 2, || "its subject is empty".to_owned());
    }

    fn authority(&mut self, path_length: u32) {
        let facts = self.facts;
        let basic = facts.basic.is_some_and(|b| b.ca && b.path_length == Some(path_length));
        self.rule("authority", basic, || {
            format!("basicConstraints is not CA:TRUE with pathLen {path_length}")
        });
        self.usage_is(|usage| {
            usage.key_cert_sign && usage.crl_sign && !usage.digital_signature && !usage.other
        });
        self.rule("extended-usage", facts.extended.is_none(), || {
            "an authority has no extended key usage".to_owned()
        });
        let names = facts.dns.len() + facts.uris.len() + facts.ips.len() + facts.other_names;
        self.rule("alternative-names", names == 0, || {
            "an authority has no alternative names".to_owned()
        });
        self.rule("attributes", facts.attributes == Attributes::default(), || {
            "an authority has no groups or roles".to_owned()
        });
    }

    fn issuing(&mut self) {
        let constrained = self.facts.permitted_dns.as_ref().is_some_and(|(dns, critical)| {
            *critical && matches!(dns.as_slice(), [one] if NetworkName::parse(one).is_ok())
        });
        self.rule("name-constraints", constrained, || {
            "nameConstraints is not critical with exactly one permitted network".to_owned()
        });
        self.rule("authority-key-id", self.facts.authority_key_id.is_some(), || {
            "authorityKeyIdentifier is missing".to_owned()
        });
    }

    /// An app connects and does nothing else: it serves under no name, and is nobody's relay.
    fn app(&mut self) {
        let facts = self.facts;
        let serves = facts.extended.is_some_and(|(server, ..)| server);
        self.rule("app-usage", !serves, || "an app's has serverAuth".to_owned());
        let names = facts.dns.len() + facts.ips.len();
        self.rule("app-names", names <= 1, || "an app has names beside its own".to_owned());
        let peers = facts.attributes.roles.iter().find(|role| is_peer_role(role));
        let role = peers.map_or("", |role| role.as_str());
        self.rule("app-roles", role.is_empty(), || format!("the role {role} is for peers only"));
    }

    fn member(&mut self, kind: MemberKind) {
        let facts = self.facts;
        let leaf = facts.basic.is_some_and(|b| !b.ca && b.path_length.is_none());
        self.rule("node", leaf, || "basicConstraints is not CA:FALSE".to_owned());
        self.usage_is(|usage| {
            usage.digital_signature && !usage.key_cert_sign && !usage.crl_sign && !usage.other
        });
        let usage =
            facts.extended.is_some_and(|(server, client, other)| (server || client) && other == 0);
        self.rule("extended-usage", usage, || {
            "extended key usage is not serverAuth and/or clientAuth alone".to_owned()
        });
        let life_s = facts.not_after.s() - facts.not_before.s();
        self.rule("node-life", life_s <= NODE_LIFE_DAYS_MAX * 86_400 + 600, || {
            format!("it lives {life_s} s; it may live {NODE_LIFE_DAYS_MAX} days")
        });
        let spiffe = match facts.uris.as_slice() {
            [one] => parse_spiffe(one).filter(|(_, found, _)| *found == kind),
            _ => None,
        };
        self.rule("spiffe-id", spiffe.is_some(), || {
            format!("it has not exactly one URI of the form spiffe://NETWORK/{kind}/NAME")
        });
        if let Some((network, _, node)) = spiffe {
            let own = network.dns_of(&node);
            self.rule("dns-own", facts.dns.contains(&own), || format!("it lacks the name {own}"));
            let end = format!(".{network}");
            self.rule("dns-network", facts.dns.iter().all(|dns| dns.ends_with(&end)), || {
                format!("it has a DNS name outside {network}")
            });
        }
        self.rule("other-names", facts.other_names == 0, || {
            "it has alternative names that are neither DNS, URI nor IP".to_owned()
        });
        self.rule("authority-key-id", facts.authority_key_id.is_some(), || {
            "authorityKeyIdentifier is missing".to_owned()
        });
    }

    fn member_profile(&mut self, profile: &Profile, network: &NetworkName) {
        let facts = self.facts;
        let usages = facts.extended.is_some_and(|(server, client, _)| {
            server == profile.usages.server && client == profile.usages.client
        });
        self.rule("profile-usage", usages, || {
            "its extended key usages are not the profile's".to_owned()
        });
        let uri = facts.uris.first().and_then(|uri| parse_spiffe(uri));
        self.rule("profile-network", uri.is_some_and(|(found, ..)| found == *network), || {
            format!("it is not a certificate of {network}")
        });
    }

    fn usage_is(&mut self, right: impl FnOnce(&KeyUsages) -> bool) {
        let holds = self.facts.key_usages.as_ref().is_some_and(right);
        self.rule("key-usage", holds, || "keyUsage is not what its kind has".to_owned());
    }
}
