//! `node.yaml`: the settings of one node, the only file of a bundle that a person edits.
//!
//! **Invariant:** a [`NodeConfig`] that was read is complete, and every value within its bounds.

mod bridge;
mod mqtt;
mod source;
mod template;
pub mod time;

use std::collections::BTreeMap;
use std::path::Path;

use host::files::{self, FileError};
use host::yaml::{self, YamlError};
use serde::Deserialize;
use shared::limits::{ADDRESSES_MAX, JOIN_ADDRESSES_MAX};
use shared::name::{NetworkName, NodeName};
use shared::presence::is_address;

use crate::limits::{
    CIRCUIT_BYTES_PER_S, CIRCUIT_BYTES_PER_S_MIN, INBOX_BYTES, INBOX_BYTES_MAX, INBOX_COUNT,
    INBOX_COUNT_MAX, INTERFACES_MAX, OUTBOX_BYTES, OUTBOX_BYTES_MAX, OUTBOX_COUNT,
    OUTBOX_COUNT_MAX, PEERS_MAX, SEEDS_MAX,
};
use peer_core::CircuitBounds;
use peer_core::limits::{CIRCUITS_MAX, FULL_MESH, FULL_MESH_MAX};

pub use bridge::{Bridge, EngineUrl};
pub use mqtt::{Mqtt, MqttDoors};
pub use source::{NTP_PORT, Source, Way, with_port};
pub use template::Template;
pub use time::{PairFiles, Time, TimeDoors};

/// Why `node.yaml` cannot be used. Whose fault: whoever edited it, or the disk.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its text, with line and column.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A value outside its bounds.
    #[error("{file}: {what}")]
    Bound {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
}

impl ConfigError {
    /// A thing to do or to type.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Yaml(error) => error.hint(),
            Self::Bound { .. } => Some("correct the value in the file".to_owned()),
        }
    }
}

/// What to do when the feed is older than the authority promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stale {
    /// Stay connected and say so.
    #[default]
    Warn,
    /// Cut every link but the authority's, and make no new one.
    Refuse,
}

/// Finding others on the local network by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "LanText")]
pub enum Lan {
    /// Where it listens for others than this machine itself.
    #[default]
    Usual,
    /// Not at all.
    Off,
    /// On these interfaces, whatever they are.
    Interfaces(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LanText {
    Switch(bool),
    Word(String),
    Some { interfaces: Vec<String> },
}

impl TryFrom<LanText> for Lan {
    type Error = &'static str;
    fn try_from(text: LanText) -> Result<Self, Self::Error> {
        match text {
            LanText::Switch(true) => Ok(Self::Usual),
            LanText::Switch(false) => Ok(Self::Off),
            LanText::Word(word) if word == "on" => Ok(Self::Usual),
            LanText::Word(word) if word == "off" => Ok(Self::Off),
            LanText::Some { interfaces } if (1..=INTERFACES_MAX).contains(&interfaces.len()) => {
                Ok(Self::Interfaces(interfaces))
            }
            _ => Err("neither on, nor off, nor {interfaces: [eth0]}"),
        }
    }
}

/// How much an inbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxBounds {
    /// Messages.
    pub count: u64,
    /// Bytes of all bodies together.
    pub bytes: u64,
}

impl Default for InboxBounds {
    fn default() -> Self {
        Self { count: INBOX_COUNT, bytes: INBOX_BYTES }
    }
}

/// How much of others' traffic a relay carries; without the role it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayBounds {
    /// Circuits, of one member and in all.
    pub bounds: CircuitBounds,
    /// Octets per second in each direction of one circuit.
    pub bytes_per_second: u64,
}

impl Default for RelayBounds {
    fn default() -> Self {
        Self { bounds: CircuitBounds::default(), bytes_per_second: CIRCUIT_BYTES_PER_S }
    }
}

/// How much an outbox holds; one receiver has half of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Messages.
    pub count: u64,
    /// Bytes of all bodies together.
    pub bytes: u64,
}

impl Default for OutboxBounds {
    fn default() -> Self {
        Self { count: OUTBOX_COUNT, bytes: OUTBOX_BYTES }
    }
}

/// The settings of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The network.
    pub network: NetworkName,
    /// The node.
    pub node: NodeName,
    /// Where it listens: `HOST:PORT`, port 0 for any free one.
    pub listen: String,
    /// Peers it dials: name and `HOST:PORT`.
    pub peers: BTreeMap<NodeName, String>,
    /// Addresses it dials without knowing whose they are.
    pub seeds: Vec<String>,
    /// Whether it finds others, and lets itself be found, on the local network.
    pub lan: Lan,
    /// Addresses it tells its peers; where it listens, unless given.
    pub advertise: Vec<String>,
    /// Nodes up to which everybody is linked with everybody.
    pub full_mesh: usize,
    /// What to do about a stale feed.
    pub stale: Stale,
    /// How much its inbox holds.
    pub inbox: InboxBounds,
    /// How much it carries for others, if it is a relay.
    pub relay: RelayBounds,
    /// How much its outbox holds.
    pub outbox: OutboxBounds,
    /// Where the authority answers at its door, for a node that slept past its certificate's end.
    pub authority: Vec<String>,
    /// Whether a renewed certificate is for the key there is, and not for a fresh one.
    pub keep_key: bool,
    /// The MQTT endpoint.
    pub mqtt: Mqtt,
    /// Engines that topics are exchanged with.
    pub bridges: Vec<Bridge>,
    /// The mesh clock.
    pub time: Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    network: NetworkName,
    node: NodeName,
    #[serde(default = "any_port")]
    listen: ListenText,
    #[serde(default)]
    peers: Option<BTreeMap<NodeName, AddressText>>,
    #[serde(default)]
    seeds: Vec<AddressText>,
    #[serde(default)]
    lan: Lan,
    #[serde(default)]
    advertise: Vec<AddressText>,
    #[serde(default = "usual_mesh", rename = "full-mesh")]
    full_mesh: usize,
    #[serde(default)]
    feed: FeedText,
    #[serde(default)]
    inbox: BoxText,
    #[serde(default)]
    relay: RelayText,
    #[serde(default)]
    outbox: BoxText,
    #[serde(default)]
    authority: Vec<AddressText>,
    #[serde(default, rename = "keep-key")]
    keep_key: bool,
    #[serde(default)]
    mqtt: mqtt::MqttText,
    #[serde(default)]
    bridge: Option<Vec<bridge::BridgeText>>,
    #[serde(default)]
    time: time::TimeText,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FeedText {
    #[serde(default)]
    stale: Stale,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BoxText {
    messages: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RelayText {
    circuits: Option<usize>,
    circuits_per_member: Option<usize>,
    bytes_per_second: Option<u64>,
}

impl RelayText {
    fn check(&self) -> Result<RelayBounds, String> {
        let usual = RelayBounds::default();
        let CircuitBounds { overall, per_member } = usual.bounds;
        let overall = self.circuits.unwrap_or(overall);
        let per_member = self.circuits_per_member.unwrap_or(per_member);
        let bytes_per_second = self.bytes_per_second.unwrap_or(usual.bytes_per_second);
        if overall > CIRCUITS_MAX || per_member > CIRCUITS_MAX {
            return Err(format!("relay.circuits: at most {CIRCUITS_MAX}"));
        }
        if bytes_per_second < CIRCUIT_BYTES_PER_S_MIN {
            return Err(format!("relay.bytes-per-second: at least {CIRCUIT_BYTES_PER_S_MIN}"));
        }
        Ok(RelayBounds { bounds: CircuitBounds { per_member, overall }, bytes_per_second })
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct AddressText(String);

impl TryFrom<String> for AddressText {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_address(&text) { Ok(Self(text)) } else { Err("not an address HOST:PORT") }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ListenText(String);

impl TryFrom<String> for ListenText {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_listen(&text) { Ok(Self(text)) } else { Err("not an address HOST:PORT") }
    }
}

const fn usual_mesh() -> usize {
    FULL_MESH
}

fn any_port() -> ListenText {
    ListenText("0.0.0.0:0".to_owned())
}

/// Instead of an address to listen on: nobody can dial this node, relays connect it.
pub const NOWHERE: &str = "none";

/// Whether a text says where to listen: `HOST:PORT`, and port 0 is any free one; or `none`.
#[must_use]
pub fn is_listen(text: &str) -> bool {
    if text == NOWHERE {
        return true;
    }
    match text.strip_suffix(":0") {
        Some(host) => is_address(&format!("{host}:1")),
        None => is_address(text),
    }
}

impl NodeConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = files::read_bounded(path, yaml::YAML_BYTES_MAX)?;
        let wrong = |what: String| ConfigError::Bound { file: path.display().to_string(), what };
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
        Self::check(yaml::parse(&text, path)?).map_err(wrong)
    }

    fn check(text: Text) -> Result<Self, String> {
        let peers = text.peers.unwrap_or_default();
        if peers.len() > PEERS_MAX {
            return Err(format!("peers: at most {PEERS_MAX}"));
        }
        if peers.contains_key(&text.node) {
            return Err(format!("peers: {} is this node itself", text.node));
        }
        if text.seeds.len() > SEEDS_MAX {
            return Err(format!("seeds: at most {SEEDS_MAX} addresses"));
        }
        if text.advertise.len() > ADDRESSES_MAX {
            return Err(format!("advertise: at most {ADDRESSES_MAX} addresses"));
        }
        if text.authority.len() > JOIN_ADDRESSES_MAX {
            return Err(format!("authority: at most {JOIN_ADDRESSES_MAX} addresses"));
        }
        if text.full_mesh > FULL_MESH_MAX {
            return Err(format!("full-mesh: at most {FULL_MESH_MAX}"));
        }
        let usual = InboxBounds::default();
        let inbox = InboxBounds {
            count: text.inbox.messages.unwrap_or(usual.count),
            bytes: text.inbox.bytes.unwrap_or(usual.bytes),
        };
        if !(1..=INBOX_COUNT_MAX).contains(&inbox.count) {
            return Err(format!("inbox.messages: from 1 to {INBOX_COUNT_MAX}"));
        }
        if !(1..=INBOX_BYTES_MAX).contains(&inbox.bytes) {
            return Err(format!("inbox.bytes: from 1 to {INBOX_BYTES_MAX}"));
        }
        let usual = OutboxBounds::default();
        let outbox = OutboxBounds {
            count: text.outbox.messages.unwrap_or(usual.count),
            bytes: text.outbox.bytes.unwrap_or(usual.bytes),
        };
        if !(1..=OUTBOX_COUNT_MAX).contains(&outbox.count) {
            return Err(format!("outbox.messages: from 1 to {OUTBOX_COUNT_MAX}"));
        }
        if !(1..=OUTBOX_BYTES_MAX).contains(&outbox.bytes) {
            return Err(format!("outbox.bytes: from 1 to {OUTBOX_BYTES_MAX}"));
        }
        Ok(Self {
            network: text.network,
            node: text.node,
            listen: text.listen.0,
            peers: peers.into_iter().map(|(name, at)| (name, at.0)).collect(),
            seeds: text.seeds.into_iter().map(|at| at.0).collect(),
            lan: text.lan,
            advertise: text.advertise.into_iter().map(|at| at.0).collect(),
            full_mesh: text.full_mesh,
            stale: text.feed.stale,
            inbox,
            relay: text.relay.check()?,
            outbox,
            authority: text.authority.into_iter().map(|at| at.0).collect(),
            keep_key: text.keep_key,
            mqtt: text.mqtt.check()?,
            bridges: bridge::check(text.bridge.unwrap_or_default())?,
            time: text.time.check()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "network: mesh.example\nnode: bob\n";

    fn read(text: &str) -> Result<NodeConfig, ConfigError> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("node.yaml");
        std::fs::write(&path, text).unwrap();
        NodeConfig::read(&path)
    }

    #[test]
    fn the_template_is_read_back() {
        let (network, node) =
            (NetworkName::parse("mesh.example").unwrap(), NodeName::parse("bob").unwrap());
        let peers = vec![(NodeName::parse("alice").unwrap(), "[::1]:7400".to_owned())];
        let mut template = Template::new(network, node);
        assert!(read(&template.to_string()).unwrap().peers.is_empty());
        template.peers = peers.clone();
        template.seeds = vec!["192.0.2.9:7400".to_owned()];
        template.authority = vec!["192.0.2.1:7443".to_owned()];
        template.listen = Some("127.0.0.1:0".to_owned());
        let config = read(&template.to_string()).unwrap();
        assert_eq!(config.listen, "127.0.0.1:0");
        assert_eq!(
            (config.seeds.clone(), config.authority.clone()),
            (template.seeds, template.authority)
        );
        assert_eq!(config.peers.into_iter().collect::<Vec<_>>(), peers);
        assert_eq!((config.stale, config.inbox), (Stale::Warn, InboxBounds::default()));
        assert_eq!(config.lan, Lan::Usual);
    }

    #[test]
    fn every_key_is_taken() {
        let rest = "listen: 127.0.0.1:0\npeers:\nseeds: [\"b.lan:2\"]\nlan: off\nfull-mesh: 8\n\
                    advertise: [\"a.lan:1\"]\nfeed: {stale: refuse}\n\
                    inbox: {messages: 5, bytes: 6}\noutbox: {messages: 7, bytes: 8}\n";
        let config = read(&format!("{HEAD}{rest}")).unwrap();
        assert_eq!(config.listen, "127.0.0.1:0");
        assert_eq!(config.advertise, ["a.lan:1"]);
        assert_eq!((config.seeds.as_slice(), config.lan), (&["b.lan:2".to_owned()][..], Lan::Off));
        assert_eq!((config.stale, config.full_mesh), (Stale::Refuse, 8));
        assert_eq!(config.inbox, InboxBounds { count: 5, bytes: 6 });
        assert_eq!(config.outbox, OutboxBounds { count: 7, bytes: 8 });
        assert_eq!(read(HEAD).unwrap().listen, "0.0.0.0:0");
    }

    #[test]
    fn a_typing_error_is_named_with_its_place() {
        let error = read(&format!("{HEAD}pers: {{}}\n")).unwrap_err();
        assert!(error.to_string().contains("node.yaml:3:1: unknown key pers"), "{error}");
        assert_eq!(error.hint().unwrap(), "did you mean `peers`?");
        let error = read(&format!("{HEAD}feed:\n  stael: warn\n")).unwrap_err();
        assert!(error.to_string().contains(":4:3: unknown key stael"), "{error}");
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        for (rest, said) in [
            ("listen: nowhere\n", "HOST:PORT"),
            ("peers: {alice: \"a:0\"}\n", "HOST:PORT"),
            ("peers: {Alice: \"a:1\"}\n", "character 'A'"),
            ("peers: {bob: \"a:1\"}\n", "this node itself"),
            ("advertise: [\"a\"]\n", "HOST:PORT"),
            ("seeds: [a]\n", "HOST:PORT"),
            ("lan: maybe\n", "neither on, nor off"),
            ("lan: {interfaces: []}\n", "neither on, nor off"),
            ("full-mesh: 1000\n", "full-mesh"),
            ("inbox: {messages: 0}\n", "inbox.messages"),
            ("inbox: {bytes: 0}\n", "inbox.bytes"),
            ("outbox: {messages: 0}\n", "outbox.messages"),
            ("outbox: {bytes: 0}\n", "outbox.bytes"),
            ("feed: {stale: maybe}\n", "maybe"),
        ] {
            let error = read(&format!("{HEAD}{rest}")).unwrap_err();
            assert!(error.to_string().contains(said), "{rest}: {error}");
            assert!(error.hint().is_some());
        }
        assert!(read("node: bob\n").is_err(), "no network");
    }
}
