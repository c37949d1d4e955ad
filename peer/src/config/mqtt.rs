//! The `mqtt:` section of `node.yaml`: where programs come in, and as whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt::{Bounds, Identity};
use serde::Deserialize;
use shared::cert::Attributes;
use shared::name::{Label, NodeName};

use super::is_listen;
use crate::limits::{
    MQTT_QUEUE_BYTES_MAX, MQTT_RETAINED_BYTES_MAX, MQTT_RETAINED_MAX, MQTT_SESSIONS_MAX,
    MQTT_USERS_MAX,
};

/// The MQTT endpoint's settings; with no door there is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mqtt {
    /// Without TLS, on a loopback address.
    pub plain: Option<String>,
    /// With mutual TLS.
    pub tls: Option<String>,
    /// Over WebSocket without TLS, on a loopback address.
    pub websocket: Option<String>,
    /// The Unix socket `mqtt.sock` in the bundle.
    pub unix: bool,
    /// Whom user names of programs on this machine stand for.
    pub users: BTreeMap<String, Arc<Identity>>,
    /// How much it holds.
    pub bounds: Bounds,
    /// Whether what a node retained is cleared when the node is revoked.
    pub purge_retained: bool,
}

/// What the command line says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MqttDoors {
    /// See [`Mqtt::plain`].
    pub plain: Option<String>,
    /// See [`Mqtt::tls`].
    pub tls: Option<String>,
    /// See [`Mqtt::websocket`].
    pub websocket: Option<String>,
}

impl Mqtt {
    /// Whether there is any door.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.plain.is_some() || self.tls.is_some() || self.websocket.is_some() || self.unix
    }

    /// The same with what the command line says in the first place.
    #[must_use]
    pub fn with(mut self, doors: &MqttDoors) -> Self {
        let MqttDoors { plain, tls, websocket } = doors;
        let said = plain.is_some() || tls.is_some() || websocket.is_some();
        self.plain = plain.clone().or(self.plain);
        self.tls = tls.clone().or(self.tls);
        self.websocket = websocket.clone().or(self.websocket);
        self.unix |= said;
        self
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MqttText {
    listen: Option<String>,
    tls: Option<String>,
    websocket: Option<String>,
    unix: Option<bool>,
    #[serde(default)]
    users: BTreeMap<String, UserText>,
    sessions: Option<usize>,
    queue_bytes: Option<usize>,
    retained: Option<usize>,
    retained_bytes: Option<usize>,
    #[serde(default)]
    purge_retained: bool,
}

/// A node's name, or one with groups.
#[derive(Deserialize)]
#[serde(untagged)]
enum UserText {
    Name(NodeName),
    Whole {
        identity: NodeName,
        #[serde(default)]
        groups: Vec<Label>,
    },
}

impl UserText {
    fn identity(self) -> Arc<Identity> {
        let (name, groups) = match self {
            Self::Name(name) => (name, Vec::new()),
            Self::Whole { identity, groups } => (identity, groups),
        };
        let groups = groups.into_iter().collect();
        let attributes = Attributes { groups, ..Attributes::default() };
        Arc::new(Identity { name: Arc::new(name), attributes })
    }
}

impl MqttText {
    pub(super) fn check(self) -> Result<Mqtt, String> {
        let addresses =
            [("listen", &self.listen), ("tls", &self.tls), ("websocket", &self.websocket)];
        for (key, address) in addresses {
            if address.as_ref().is_some_and(|at| at == super::NOWHERE || !is_listen(at)) {
                return Err(format!("mqtt.{key}: not an address HOST:PORT"));
            }
        }
        if self.users.len() > MQTT_USERS_MAX {
            return Err(format!("mqtt.users: at most {MQTT_USERS_MAX}"));
        }
        let usual = Bounds::default();
        let within = |key, value: Option<usize>, usual, most| match value.unwrap_or(usual) {
            value if (1..=most).contains(&value) => Ok(value),
            _ => Err(format!("mqtt.{key}: from 1 to {most}")),
        };
        let sessions = within("sessions", self.sessions, usual.sessions, MQTT_SESSIONS_MAX)?;
        let queue_bytes =
            within("queue-bytes", self.queue_bytes, usual.queue_bytes, MQTT_QUEUE_BYTES_MAX)?;
        let mut retained = usual.retained;
        retained.count = within("retained", self.retained, retained.count, MQTT_RETAINED_MAX)?;
        let most = MQTT_RETAINED_BYTES_MAX;
        retained.bytes = within("retained-bytes", self.retained_bytes, retained.bytes, most)?;
        let any = addresses.iter().any(|(_, address)| address.is_some());
        let users = self.users.into_iter().map(|(user, text)| (user, text.identity()));
        Ok(Mqtt {
            plain: self.listen,
            tls: self.tls,
            websocket: self.websocket,
            unix: self.unix.unwrap_or(any),
            users: users.collect(),
            bounds: Bounds { sessions, queue_bytes, retained },
            purge_retained: self.purge_retained,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mqtt, String> {
        let parsed: MqttText =
            host::yaml::parse(text, std::path::Path::new("x")).map_err(|e| e.to_string())?;
        parsed.check()
    }

    #[test]
    fn doors_users_and_bounds_are_read() {
        let mqtt = read(
            "listen: 127.0.0.1:1883\ntls: 0.0.0.0:8883\nsessions: 5\nqueue-bytes: 6\n\
             users: {red: meter-7, blue: {identity: meter-8, groups: [lab]}}\n",
        )
        .unwrap();
        assert_eq!(mqtt.plain.as_deref(), Some("127.0.0.1:1883"));
        assert!(mqtt.unix && mqtt.is_on());
        assert_eq!((mqtt.bounds.sessions, mqtt.bounds.queue_bytes), (5, 6));
        assert_eq!(mqtt.users["red"].name.as_str(), "meter-7");
        assert_eq!(mqtt.users["blue"].attributes.groups.len(), 1);
        assert!(!read("sessions: 5").unwrap().is_on());
        assert!(!read("{listen: \"127.0.0.1:1\", unix: false}").unwrap().unix);
    }

    #[test]
    fn the_command_line_comes_first_and_opens_the_socket_too() {
        let said = MqttDoors { plain: Some("127.0.0.1:2".to_owned()), ..MqttDoors::default() };
        let mqtt = read("{listen: \"127.0.0.1:1\", tls: \"[::1]:3\"}").unwrap().with(&said);
        assert_eq!(mqtt.plain.as_deref(), Some("127.0.0.1:2"));
        assert_eq!(mqtt.tls.as_deref(), Some("[::1]:3"));
        assert!(Mqtt::default().with(&said).unix && !Mqtt::default().is_on());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("listen: nowhere", "mqtt.listen"),
            ("listen: none", "mqtt.listen"),
            ("tls: 1", "mqtt.tls"),
            ("sessions: 0", "mqtt.sessions"),
            ("queue-bytes: 99999999999", "mqtt.queue-bytes"),
            ("retained: 0", "mqtt.retained"),
            ("retained-bytes: 0", "mqtt.retained-bytes"),
            ("users: {a: Bad Name}", "users"),
            ("port: 1883", "unknown"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
