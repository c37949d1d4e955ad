//! The private extension: a node's groups and roles, non-critical, one readable UTF8String.
//!
//! `groups=lab,plant;roles=relay`: `openssl x509 -text` shows it as it is. Non-critical, because a
//! program that does not know it may still check who the node is.
//!
//! **Invariant:** one set of attributes has one encoding; any other is malformed.

use std::collections::BTreeSet;

use crate::limits::{GROUPS_MAX, ROLES_MAX};
use crate::name::Label;

/// The extension's object identifier, in the UUID-style arc 2.25 (ITU-T X.667) because the project
/// holds no enterprise number; the value is a random 31-bit number. A longer one is allowed, but
/// every program in Go (NATS, Caddy, Vault) refuses a certificate with it as malformed.
pub(crate) const OID: &[u64] = &[2, 25, 995_209_503, 1];
/// The same as text.
pub const OID_TEXT: &str = "2.25.995209503.1";

/// What the authority says of a node beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Groups, for people and policy.
    pub groups: BTreeSet<Label>,
    /// Roles: what the node may do for the network, such as `relay` or `time-root`.
    pub roles: BTreeSet<Label>,
}

impl Attributes {
    /// Whether there is nothing to say, and so no extension.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.roles.is_empty()
    }

    /// Whether the node has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r.as_str() == role)
    }

    pub(crate) fn to_der(&self) -> Vec<u8> {
        super::der::element(0x0c, self.to_text().as_bytes())
    }

    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let (_, content) = super::der::split(der, 0x0c).filter(|(rest, _)| rest.is_empty())?;
        let text = std::str::from_utf8(content).ok()?;
        let (groups, roles) = text.strip_prefix("groups=")?.split_once(";roles=")?;
        let attributes =
            Self { groups: labels(groups, GROUPS_MAX)?, roles: labels(roles, ROLES_MAX)? };
        (attributes.to_text() == text).then_some(attributes)
    }

    fn to_text(&self) -> String {
        format!("groups={};roles={}", join(&self.groups), join(&self.roles))
    }
}

/// Roles that peers act upon by themselves; every other is what a policy makes of it.
pub const PEER_ROLES: [&str; 4] = ["authority", "relay", "rendezvous", "time-root"];

/// Whether a role is for peers only: what they do for one another, which an app is no part of.
#[must_use]
pub fn is_peer_role(role: &Label) -> bool {
    PEER_ROLES.contains(&role.as_str())
}

fn join(labels: &BTreeSet<Label>) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join(",")
}

fn labels(text: &str, max: usize) -> Option<BTreeSet<Label>> {
    if text.is_empty() {
        return Some(BTreeSet::new());
    }
    let set: BTreeSet<Label> =
        text.split(',').take(max + 1).map(Label::parse).collect::<Result<_, _>>().ok()?;
    (set.len() <= max).then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[&str]) -> BTreeSet<Label> {
        labels.iter().map(|l| Label::parse(l).unwrap()).collect()
    }

    #[test]
    fn attributes_survive_and_have_one_encoding() {
        let attributes = Attributes { groups: set(&["lab", "plant"]), roles: set(&["relay"]) };
        let der = attributes.to_der();
        assert_eq!(Attributes::from_der(&der), Some(attributes));
        for cut in 0..der.len() {
            assert_eq!(Attributes::from_der(&der[..cut]), None);
        }
        for bad in ["groups=b,a;roles=", "groups=a,a;roles=", "groups=A;roles=", "x", "groups=;"] {
            let der = super::super::der::element(0x0c, bad.as_bytes());
            assert_eq!(Attributes::from_der(&der), None, "{bad}");
        }
    }

    #[test]
    fn too_many_groups_are_refused() {
        let many = |n| (0..n).map(|i| Label::parse(&format!("g{i:03}")).unwrap()).collect();
        let fits = Attributes { groups: many(GROUPS_MAX), ..Attributes::default() };
        let over = Attributes { groups: many(GROUPS_MAX + 1), ..Attributes::default() };
        assert!(Attributes::from_der(&fits.to_der()).is_some());
        assert!(Attributes::from_der(&over.to_der()).is_none());
    }
}
