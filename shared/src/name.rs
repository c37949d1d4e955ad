//! Names of networks, nodes, groups and roles: an allow-list, parsed once into types.
//!
//! A name goes into certificates, file names, logs and terminals. The alphabet `[a-z0-9-]` has no
//! character that means anything to any of them, so a parsed name needs no escaping anywhere.
//!
//! **Invariant:** a [`Label`] has 1 to 63 bytes of `[a-z0-9-]`, and no `-` at either end.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{LABEL_BYTES_MAX, NETWORK_NAME_BYTES_MAX};

/// Why a text is not a name. Whose fault: the person or peer that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name is empty")]
    Empty,
    /// Too long: how long, and how long it may be.
    #[error("a name has {length} bytes; at most {max} fit")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside the alphabet.
    #[error("a name has the character {found:?}; only a-z, 0-9 and - are allowed")]
    Character {
        /// The first such character.
        found: char,
    },
    /// A hyphen at an end.
    #[error("a name begins or ends with -")]
    Hyphen,
    /// A network name with a single label, which would collide with a node's.
    #[error("a network name needs at least two labels, such as mesh.example")]
    OneLabel,
    /// A name kept for the authority.
    #[error("the name {name} is reserved")]
    Reserved {
        /// The name.
        name: &'static str,
    },
}

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(found) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::Character { found });
    }
    if text.len() > LABEL_BYTES_MAX {
        return Err(NameError::TooLong { length: text.len(), max: LABEL_BYTES_MAX });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

/// One label: a group, a role, a profile.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// Parses a label.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_label(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A node's name inside its network, such as `alice`. A clone shares the text: a node that knows
/// ten thousand others has each name in half a dozen tables.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The name under which the authority itself connects to peers.
    pub const AUTHORITY: &'static str = "authority";

    /// Parses a node name as it stands in a certificate.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_label(text)?;
        Ok(Self(text.into()))
    }

    /// Parses the name of a node to enrol: not one of the reserved names.
    ///
    /// # Errors
    /// [`NameError::Reserved`] besides what [`NodeName::parse`] says.
    pub fn parse_enrollable(text: &str) -> Result<Self, NameError> {
        if text == Self::AUTHORITY {
            return Err(NameError::Reserved { name: Self::AUTHORITY });
        }
        Self::parse(text)
    }

    /// The authority's own node name.
    #[must_use]
    pub fn authority() -> Self {
        Self(Self::AUTHORITY.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A network's name (a trust domain), such as `mesh.example`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

impl NetworkName {
    /// Parses a DNS-like name of at least two labels.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > NETWORK_NAME_BYTES_MAX {
            return Err(NameError::TooLong { length: text.len(), max: NETWORK_NAME_BYTES_MAX });
        }
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        text.split('.').try_for_each(check_label)?;
        if text.contains('.') { Ok(Self(text.to_owned())) } else { Err(NameError::OneLabel) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A node's DNS name in this network: `alice.mesh.example`.
    #[must_use]
    pub fn dns_of(&self, node: &NodeName) -> String {
        format!("{}.{}", node.0, self.0)
    }

    /// A member's SPIFFE ID in this network: `spiffe://mesh.example/node/alice`.
    #[must_use]
    pub fn spiffe_of(&self, kind: MemberKind, name: &NodeName) -> String {
        format!("spiffe://{}/{kind}/{}", self.0, name.0)
    }
}

/// What a member of a network is. Names are given out over both: an app and a node never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A machine on which a peer runs; its programs may use its certificate too.
    Node,
    /// A program or a device: it uses a peer's doors, and is never a peer.
    App,
}

impl MemberKind {
    /// The word for it, in SPIFFE IDs and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::App => "app",
        }
    }
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits `spiffe://NETWORK/node/NODE` or `spiffe://NETWORK/app/APP` (SPIFFE-ID §2).
#[must_use]
pub fn parse_spiffe(uri: &str) -> Option<(NetworkName, MemberKind, NodeName)> {
    let (network, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let (kind, name) = path.split_once('/')?;
    let kind = match kind {
        "node" => MemberKind::Node,
        "app" => MemberKind::App,
        _ => return None,
    };
    Some((NetworkName::parse(network).ok()?, kind, NodeName::parse(name).ok()?))
}

macro_rules! text_type {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }
        impl<C> minicbor::Encode<C> for $type {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }
        impl<'b, C> minicbor::Decode<'b, C> for $type {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                Self::parse(d.str()?).map_err(minicbor::decode::Error::message)
            }
        }
    };
}
text_type!(Label);
text_type!(NodeName);
text_type!(NetworkName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_an_allow_list() {
        for good in ["a", "0", "alice", "a-b", "a--b", &"x".repeat(63)] {
            assert!(NodeName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Alice", "a.b", "a b", "a/b", "..", "ä", "a\u{1b}[2J", "a\n"] {
            assert!(NodeName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(NodeName::parse(&"x".repeat(64)).is_err());
    }

    #[test]
    fn a_network_has_two_labels_and_an_end() {
        assert!(NetworkName::parse("mesh.example").is_ok());
        for bad in
            ["mesh", "mesh.", ".mesh", "a..b", "Mesh.example", &format!("{}.b", "a.".repeat(100))]
        {
            assert!(NetworkName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_spiffe_id_is_read_exactly() {
        for kind in [MemberKind::Node, MemberKind::App] {
            let uri = format!("spiffe://mesh.example/{kind}/alice");
            let (network, found, name) = parse_spiffe(&uri).unwrap();
            assert_eq!((network.as_str(), found, name.as_str()), ("mesh.example", kind, "alice"));
            assert_eq!(network.spiffe_of(kind, &name), uri);
        }
        for bad in [
            "spiffe://mesh.example/node/alice/",
            "spiffe://mesh.example/node/",
            "spiffe://mesh.example/alice",
            "SPIFFE://mesh.example/node/alice",
            "spiffe://mesh.example/node/a/node/b",
            "spiffe://mesh.example/app/node/a",
            "spiffe://mesh.example/App/a",
            "spiffe://mesh.example//a",
            "https://mesh.example/node/alice",
        ] {
            assert!(parse_spiffe(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_authoritys_name_cannot_be_enrolled() {
        assert!(NodeName::parse_enrollable("authority").is_err());
        assert!(NodeName::parse_enrollable("authority2").is_ok());
    }
}
