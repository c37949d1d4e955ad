//! `time: sources:` of `node.yaml`: whom a person has chosen to be asked for the time.
//!
//! A server outside is asked by NTP, or by NTS with a key exchange under the system's roots or
//! those of a file. A member is asked by NTS with the certificates of the network. This machine's
//! own clock is asked too, if that is wished.
//!
//! **Invariant:** names of sources are unique, so that each has one vote.

use std::path::PathBuf;

use clock::measure::{OutsideName, SourceId};
use serde::Deserialize;
use shared::name::NodeName;
use shared::presence::is_address;

use crate::limits::TIME_SOURCES_MAX;

/// Where time is asked for, unless something else is said.
pub const NTP_PORT: u16 = 123;

/// A source of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Under which name it is known, and has its vote.
    pub id: SourceId,
    /// Where it is asked, or where keys are exchanged: `HOST:PORT`, or `link:NODE`, or `system`.
    pub address: String,
    /// How.
    pub way: Way,
}

/// How a source is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is this machine's own clock, which the kernel says is kept.
    System,
    /// By NTP that anybody between can change.
    Plain,
    /// By NTS, with a certificate under other roots than the network's.
    Outside {
        /// The file with the roots; the system's, unless given.
        ca: Option<PathBuf>,
    },
    /// By NTS, as one member another.
    Member(NodeName),
    /// The same, with keys that come over the link with it.
    Linked(NodeName),
}

impl Way {
    /// Whether answers are sealed.
    #[must_use]
    pub const fn has_nts(&self) -> bool {
        match self {
            Self::System | Self::Plain => false,
            Self::Outside { .. } | Self::Member(_) | Self::Linked(_) => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceText {
    #[serde(default)]
    system: bool,
    name: Option<String>,
    address: Option<String>,
    #[serde(default)]
    nts: bool,
    ca: Option<PathBuf>,
    peer: Option<NodeName>,
}

impl SourceText {
    fn check(self) -> Result<Source, String> {
        if self.system {
            let Self { name, address, nts, ca, peer, system: _ } = self;
            if nts || name.is_some() || address.is_some() || ca.is_some() || peer.is_some() {
                return Err("system: this machine's own clock has nothing else to it".to_owned());
            }
            let (id, address) = (SourceId::System, SourceId::System.to_string());
            return Ok(Source { id, address, way: Way::System });
        }
        if let (Some(node), None) = (&self.peer, &self.address) {
            if self.ca.is_some() || self.name.is_some() {
                return Err(
                    "a member that is asked over its link has neither ca nor name".to_owned()
                );
            }
            let (id, address) = (SourceId::Peer(node.clone()), format!("link:{node}"));
            return Ok(Source { id, address, way: Way::Linked(node.clone()) });
        }
        let said = self.address.ok_or("address: missing, and no peer is named")?;
        let way = match (self.peer, self.nts, self.ca) {
            (Some(_), _, Some(_)) => return Err("ca: a member has the network's roots".to_owned()),
            (Some(node), _, None) => Way::Member(node),
            (None, true, ca) => Way::Outside { ca },
            (None, false, None) => Way::Plain,
            (None, false, Some(_)) => return Err("ca: only with `nts: true`".to_owned()),
        };
        let usual = if way == Way::Plain { NTP_PORT } else { nts::export::PORT };
        let address = with_port(&said, usual).ok_or("address: not HOST or HOST:PORT")?;
        let id = match &way {
            Way::Member(node) if self.name.is_none() => SourceId::Peer(node.clone()),
            Way::Member(_) | Way::Linked(_) => return Err("name: a member has one".to_owned()),
            _ => {
                let name = self.name.as_deref().unwrap_or(&said);
                SourceId::Outside(OutsideName::parse(name).ok_or("name: too long, or a space")?)
            }
        };
        Ok(Source { id, address, way })
    }
}

/// `HOST:PORT` of what may have no port.
#[must_use]
pub fn with_port(text: &str, usual: u16) -> Option<String> {
    let bare = text.contains(':') && !text.starts_with('[') && text.matches(':').count() > 1;
    let tries = if bare {
        [format!("[{text}]:{usual}"), String::new()]
    } else {
        [text.to_owned(), format!("{text}:{usual}")]
    };
    tries.into_iter().find(|address| is_address(address))
}

/// Takes the whole list.
pub(super) fn check(texts: Vec<SourceText>) -> Result<Vec<Source>, String> {
    if texts.len() > TIME_SOURCES_MAX {
        return Err(format!("time.sources: at most {TIME_SOURCES_MAX}"));
    }
    let mut sources: Vec<Source> = Vec::new();
    for text in texts {
        let peer = text.peer.as_ref().map(ToString::to_string);
        let called = text.address.clone().or(peer).unwrap_or_default();
        let source = text.check().map_err(|what| format!("time.sources {called}: {what}"))?;
        if sources.iter().any(|other| other.id == source.id) {
            return Err(format!("time.sources: {} is there twice", source.id));
        }
        sources.push(source);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Source>, String> {
        let path = std::path::Path::new("node.yaml");
        let texts = host::yaml::parse::<Vec<SourceText>>(text, path);
        check(texts.map_err(|error| error.to_string())?)
    }

    #[test]
    fn every_way_is_taken() {
        let sources = read(
            "- {address: \"192.0.2.1\"}\n\
             - {address: \"time.example\", nts: true}\n\
             - {name: chrony, address: \"[2001:db8::1]:4461\", nts: true, ca: chrony.pem}\n\
             - {peer: hub, address: \"192.0.2.7:4460\"}\n\
             - {address: \"2001:db8::5\"}\n",
        )
        .unwrap();
        let said: Vec<String> =
            sources.iter().map(|source| format!("{} {}", source.id, source.address)).collect();
        assert_eq!(
            said,
            [
                "192.0.2.1 192.0.2.1:123",
                "time.example time.example:4460",
                "chrony [2001:db8::1]:4461",
                "hub 192.0.2.7:4460",
                "2001:db8::5 [2001:db8::5]:123",
            ]
        );
        assert_eq!(sources[2].way, Way::Outside { ca: Some("chrony.pem".into()) });
        assert!(matches!(&sources[3].way, Way::Member(node) if node.as_str() == "hub"));
        let system = read("- {system: true}").unwrap();
        assert_eq!((&system[0].id, &system[0].way), (&SourceId::System, &Way::System));
        let linked = read("- {peer: hub}").unwrap();
        assert!(matches!(&linked[0].way, Way::Linked(node) if node.as_str() == "hub"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("- {address: \"a b\"}", "not HOST"),
            ("- {address: \"a.lan\", ca: x.pem}", "nts: true"),
            ("- {address: \"a.lan\", peer: hub, ca: x.pem}", "network's roots"),
            ("- {address: \"a.lan\", peer: hub, name: other}", "has one"),
            ("- {address: \"a.lan\", name: \"with space\"}", "space"),
            ("- {address: \"a.lan\"}\n- {address: \"a.lan\", nts: true}", "twice"),
            ("- {address: \"a.lan\", trust: yes}", "unknown"),
            ("- {nts: true}", "address: missing"),
            ("- {peer: hub, ca: x.pem}", "over its link"),
            ("- {system: true, address: \"a.lan\"}", "nothing else"),
            ("- {system: true, nts: true}", "nothing else"),
            ("- {system: false}", "address: missing"),
            ("- {system: true}\n- {system: true}", "twice"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
