//! The `bridge:` section of `node.yaml`: existing MQTT engines that topics are exchanged with.
//!
//! **Invariant:** what a [`Bridge`] would carry round in a circle was refused: before MQTT 5 no
//! mark survives at an engine, so there no topic may go both ways.

use std::net::IpAddr;
use std::path::PathBuf;

use bytestring::ByteString;
use mqtt::codec::{Qos, Version};
use mqtt::limits::{BRIDGE_FILTERS_MAX, BRIDGE_PREFIX_BYTES_MAX, SESSION_EXPIRY_MAX_S};
use mqtt::{BRIDGE_CLIENT, Password, Terms};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use shared::name::{NetworkName, NodeName};
use shared::policy::{Filter, covers};
use shared::presence::is_address;
use shared::time::parse_duration_s;

use crate::limits::{BRIDGE_EXPIRY_S, BRIDGE_NAME_BYTES_MAX, BRIDGES_MAX};

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineUrl {
    /// Whether with TLS.
    pub tls: bool,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl EngineUrl {
    /// Parses `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err("a URL begins with mqtt:// or mqtts://".to_owned()),
        };
        let usual = if tls { 8883 } else { 1883 };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let whole = if is_address(rest) { rest.to_owned() } else { format!("{rest}:{usual}") };
        let split = is_address(&whole).then(|| whole.rsplit_once(':')).flatten();
        let (host, port) = split.ok_or("a URL is mqtt://HOST:PORT or mqtts://HOST:PORT")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, host, port: port.parse().unwrap_or(usual) })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn stays_here(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.tls { "mqtts" } else { "mqtt" }, self.address())
    }
}

/// A bridge to one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The engine's name, the same at every peer with a bridge to it.
    pub name: String,
    /// Where it is.
    pub url: EngineUrl,
    /// Which MQTT it speaks.
    pub version: Version,
    /// What is fetched from it.
    pub incoming: Vec<Filter>,
    /// What is brought to it.
    pub outgoing: Vec<Filter>,
    /// Quality of service at most.
    pub qos: Qos,
    /// What its topics have in front.
    pub prefix: String,
    /// Roots that its certificate hangs from, instead of the network's.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have.
    pub server_name: String,
    /// User name and the file with the password.
    pub username: Option<String>,
    /// See above.
    pub password_file: Option<PathBuf>,
    /// How long sessions outlast their connections, in seconds.
    pub session_expiry_s: u32,
}

impl Bridge {
    /// One that carries nothing, to try an engine out.
    #[must_use]
    pub fn to(url: EngineUrl) -> Self {
        Self {
            name: url.address(),
            version: Version::V5,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            qos: Qos::AtLeastOnce,
            prefix: String::new(),
            ca: None,
            server_name: url.host.clone(),
            username: None,
            password_file: None,
            session_expiry_s: BRIDGE_EXPIRY_S,
            url,
        }
    }

    /// Its terms for a node, with the password that the file had.
    #[must_use]
    pub fn terms(
        &self,
        network: &NetworkName,
        node: &NodeName,
        password: Option<Password>,
    ) -> Terms {
        Terms {
            network: network.as_str().into(),
            engine: self.name.as_str().into(),
            local_id: ByteString::from(format!("{BRIDGE_CLIENT}-{}", self.name)),
            remote_id: ByteString::from(format!("{node}-bridge-{}", self.name)),
            version: self.version,
            incoming: self.incoming.clone(),
            outgoing: self.outgoing.clone(),
            qos: self.qos,
            prefix: self.prefix.clone(),
            username: self.username.as_deref().map(ByteString::from),
            password,
            session_expiry_s: self.session_expiry_s,
            retired: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BridgeText {
    name: Option<String>,
    url: String,
    #[serde(default)]
    version: VersionText,
    #[serde(default, rename = "in")]
    incoming: Vec<String>,
    #[serde(default, rename = "out")]
    outgoing: Vec<String>,
    qos: Option<u8>,
    #[serde(default)]
    prefix: String,
    ca: Option<PathBuf>,
    server_name: Option<String>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    session_expiry: Option<String>,
    #[serde(default)]
    insecure: bool,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum VersionText {
    #[default]
    Usual,
    Number(f64),
    Text(String),
}

impl VersionText {
    fn check(&self) -> Result<Version, String> {
        match self {
            Self::Usual => Ok(Version::V5),
            Self::Number(number) if (number - 5.0).abs() < f64::EPSILON => Ok(Version::V5),
            Self::Text(text) if text == "5" => Ok(Version::V5),
            Self::Text(text) if text == "3.1.1" => Ok(Version::V311),
            _ => Err("version: 5 or 3.1.1".to_owned()),
        }
    }
}

/// Takes the whole section.
pub(super) fn check(texts: Vec<BridgeText>) -> Result<Vec<Bridge>, String> {
    if texts.len() > BRIDGES_MAX {
        return Err(format!("bridge: at most {BRIDGES_MAX}"));
    }
    let mut bridges: Vec<Bridge> = Vec::new();
    for text in texts {
        let called = text.name.clone().unwrap_or_else(|| text.url.clone());
        let bridge = text.check().map_err(|what| format!("bridge {called}: {what}"))?;
        if bridges.iter().any(|other| other.name == bridge.name) {
            return Err(format!("bridge {}: the name stands there twice", bridge.name));
        }
        bridges.push(bridge);
    }
    Ok(bridges)
}

impl BridgeText {
    fn check(self) -> Result<Bridge, String> {
        let mut bridge = Bridge::to(EngineUrl::parse(&self.url)?);
        if let Some(name) = self.name {
            bridge.name = name;
        }
        let strange = |letter: char| letter.is_control() || letter.is_whitespace();
        if !(1..=BRIDGE_NAME_BYTES_MAX).contains(&bridge.name.len())
            || bridge.name.contains(strange)
        {
            return Err(format!("name: 1 to {BRIDGE_NAME_BYTES_MAX} bytes without blanks"));
        }
        bridge.version = self.version.check()?;
        bridge.incoming = filters("in", &self.incoming)?;
        bridge.outgoing = filters("out", &self.outgoing)?;
        bridge.prefix = prefix(self.prefix)?;
        let qos = Qos::from_bits(self.qos.unwrap_or(1));
        bridge.qos = qos.ok_or("qos: 0, 1 or 2")?;
        if let Some(text) = self.session_expiry {
            let s = parse_duration_s(&text).and_then(|s| u32::try_from(s).ok());
            let s = s.filter(|s| (1..=SESSION_EXPIRY_MAX_S).contains(s));
            bridge.session_expiry_s =
                s.ok_or("session-expiry: such as 90s, 24h or 7d, up to 30d")?;
        }
        if !bridge.url.tls && (self.ca.is_some() || self.server_name.is_some()) {
            return Err("ca and server-name go with mqtts:// only".to_owned());
        }
        if !bridge.url.tls && !bridge.url.stays_here() && !self.insecure {
            return Err(
                "mqtt:// to another machine has no TLS, and everybody on the way may read \
                        and change what it carries; use mqtts://, or say `insecure: true`"
                    .to_owned(),
            );
        }
        if let Some(name) = self.server_name {
            bridge.server_name = name;
        }
        if bridge.url.tls && ServerName::try_from(bridge.server_name.as_str()).is_err() {
            return Err("server-name: neither a DNS name nor an IP address".to_owned());
        }
        if self.password_file.is_some() && self.username.is_none() {
            return Err("password-file goes with a username".to_owned());
        }
        (bridge.ca, bridge.username) = (self.ca, self.username);
        bridge.password_file = self.password_file;
        bridge.carries_something()
    }
}

impl Bridge {
    fn carries_something(self) -> Result<Self, String> {
        if self.incoming.is_empty() && self.outgoing.is_empty() {
            return Err("neither `in` nor `out` has a filter".to_owned());
        }
        let (network, node) = (NetworkName::parse("a.b"), NodeName::parse("a"));
        let (Ok(network), Ok(node)) = (network, node) else { return Ok(self) };
        let terms = self.terms(&network, &node, None);
        match (self.version, terms.both_ways()) {
            (Version::V5, _) | (_, None) => Ok(self),
            (_, Some((one, other))) => Err(format!(
                "`in` {} and `out` {} touch, and with MQTT 3.1.1 the same message would go round \
                 for ever; use version 5 if the engine speaks it, or filters that do not touch",
                one.as_str(),
                other.as_str(),
            )),
        }
    }
}

fn filters(key: &str, texts: &[String]) -> Result<Vec<Filter>, String> {
    if texts.len() > BRIDGE_FILTERS_MAX {
        return Err(format!("{key}: at most {BRIDGE_FILTERS_MAX} filters"));
    }
    let mut filters: Vec<Filter> = Vec::new();
    for text in texts {
        let filter = Filter::parse(text).map_err(|error| format!("{key}: {text}: {error}"))?;
        if text.starts_with('$') {
            return Err(format!("{key}: {text}: what begins with $ stays where it is"));
        }
        let own = |_: &str| None;
        let twice = |other: &&Filter| covers(other, &filter, own) || covers(&filter, other, own);
        if let Some(other) = filters.iter().find(twice) {
            let other = other.as_str();
            return Err(format!("{key}: {text} and {other}: one of them says it all"));
        }
        filters.push(filter);
    }
    Ok(filters)
}

/// A prefix is whole levels: it stands before a wildcard too.
fn prefix(text: String) -> Result<String, String> {
    let plain = text.is_empty() || text.ends_with('/') && !text.contains(['+', '#', '\0']);
    if plain && !text.starts_with('$') && text.len() <= BRIDGE_PREFIX_BYTES_MAX {
        return Ok(text);
    }
    Err(format!(
        "prefix: whole levels that end with /, at most {BRIDGE_PREFIX_BYTES_MAX} bytes, no wildcard"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Bridge, String> {
        let text = format!("[{{{text}}}]");
        let parsed: Vec<BridgeText> = host::yaml::parse(&text, std::path::Path::new("x"))
            .map_err(|error| error.to_string())?;
        check(parsed).map(|mut bridges| bridges.remove(0))
    }

    #[test]
    fn the_usual_is_short() {
        let bridge = read("url: \"mqtts://mq.example\", in: [\"a/#\"], out: [\"a/#\", b]").unwrap();
        assert_eq!((bridge.name.as_str(), bridge.url.port), ("mq.example:8883", 8883));
        assert_eq!((bridge.version, bridge.qos), (Version::V5, Qos::AtLeastOnce));
        assert_eq!((bridge.server_name.as_str(), bridge.outgoing.len()), ("mq.example", 2));
        assert_eq!(bridge.url.to_string(), "mqtts://mq.example:8883");
        let six = read("url: \"mqtts://[::1]:1\", in: [a]").unwrap();
        assert_eq!((six.url.address().as_str(), six.server_name.as_str()), ("[::1]:1", "::1"));
    }

    #[test]
    fn every_key_is_taken() {
        let bridge = read(
            "name: plant, url: \"mqtts://192.0.2.1:99\", version: 3.1.1, in: [a], out: [b], \
             qos: 2, prefix: site1/, ca: roots.pem, server-name: mq.example, username: u, \
             password-file: p, session-expiry: 7d",
        )
        .unwrap();
        assert_eq!((bridge.version, bridge.qos), (Version::V311, Qos::ExactlyOnce));
        assert_eq!((bridge.session_expiry_s, bridge.prefix.as_str()), (7 * 86_400, "site1/"));
        assert!(bridge.ca.is_some() && bridge.password_file.is_some());
        let plain = "url: \"mqtt://192.0.2.1\", in: [a]";
        assert!(read(plain).unwrap_err().contains("insecure: true"));
        assert!(read(&format!("{plain}, insecure: true")).is_ok());
        for here in ["127.0.0.1", "localhost", "[::1]:7"] {
            assert!(read(&format!("url: \"mqtt://{here}\", in: [a]")).is_ok(), "{here}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("url: \"http://a\", in: [a]", "mqtt://"),
            ("url: \"mqtt://\", in: [a]", "HOST:PORT"),
            ("url: \"mqtt://localhost:0\", in: [a]", "HOST:PORT"),
            ("url: \"mqtt://localhost\"", "neither `in` nor `out`"),
            ("url: \"mqtt://localhost\", in: [\"a/#/b\"]", "in: a/#/b"),
            ("url: \"mqtt://localhost\", out: [\"$SYS/#\"]", "begins with $"),
            ("url: \"mqtt://localhost\", in: [a, \"+\"]", "says it all"),
            ("url: \"mqtt://localhost\", in: [a], qos: 3", "qos"),
            ("url: \"mqtt://localhost\", in: [a], version: 4", "version"),
            ("url: \"mqtt://localhost\", in: [a], version: 3.1", "version"),
            ("url: \"mqtt://localhost\", in: [a], prefix: site1", "prefix"),
            ("url: \"mqtt://localhost\", in: [a], prefix: \"+/\"", "prefix"),
            ("url: \"mqtt://localhost\", in: [a], ca: x", "mqtts:// only"),
            ("url: \"mqtt://localhost\", in: [a], server-name: x", "mqtts:// only"),
            ("url: \"mqtts://a\", in: [a], server-name: \"a b\"", "server-name"),
            ("url: \"mqtts://a\", in: [a], password-file: x", "username"),
            ("url: \"mqtts://a\", in: [a], session-expiry: 31d", "session-expiry"),
            ("url: \"mqtts://a\", in: [a], name: \"a b\"", "name"),
            ("url: \"mqtts://a\", in: [a], filters: [b]", "unknown"),
            ("name: plant, in: [a]", "url"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        let two = "url: \"mqtts://a\", in: [a]}, {url: \"mqtts://a\", out: [b]";
        assert!(read(two).unwrap_err().contains("twice"));
    }

    #[test]
    fn without_marks_no_topic_goes_both_ways() {
        let touching = "url: \"mqtts://a\", version: 3.1.1, in: [\"a/+\"], out: [\"+/b\"]";
        let error = read(touching).unwrap_err();
        assert!(error.contains("in` a/+") && error.contains("out` +/b"), "{error}");
        assert!(error.contains("version 5"), "{error}");
        assert!(read(&touching.replace("3.1.1", "5")).is_ok());
        assert!(read(&touching.replace("+/b", "b/#")).is_ok());
        let word = "url: \"mqtts://a\", version: 3.1.1, in: [\"%node\"], out: [\"%node\"]";
        assert!(read(word).is_err(), "a level that means something in a policy only");
    }
}
