//! What a bridge carries, and how it presents itself at either end.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use shared::policy::{Filter, matches, overlaps};

use crate::codec::{Connect, Granted, Options, PacketId, Qos, RetainHandling, Subscribe, Version};
use crate::limits::{BRIDGE_KEEP_ALIVE_S, BRIDGE_MARGIN_BYTES, BRIDGE_WINDOW, PACKET_BYTES_MAX};

/// Which end of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This peer's own endpoint.
    Local,
    /// The engine.
    Remote,
}

impl Side {
    /// The one across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

/// A password, which is shown to nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(pub Bytes);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// The terms of one bridge, all within their bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Marks what goes out: the network's name.
    pub network: ByteString,
    /// Marks what comes in: the engine's name, the same at every peer that has a bridge to it.
    pub engine: ByteString,
    /// The client identifier at this peer.
    pub local_id: ByteString,
    /// The client identifier at the engine.
    pub remote_id: ByteString,
    /// Which MQTT the engine speaks.
    pub version: Version,
    /// What is fetched from the engine, as it is called here.
    pub incoming: Vec<Filter>,
    /// What is brought to the engine, as it is called here.
    pub outgoing: Vec<Filter>,
    /// At most.
    pub qos: Qos,
    /// What topics have in front at the engine, and not here.
    pub prefix: String,
    /// User name at the engine.
    pub username: Option<ByteString>,
    /// And password.
    pub password: Option<Password>,
    /// How long either session lasts while the bridge is down.
    pub session_expiry_s: u32,
    /// What the engine was asked for once and is not any more, as it is called there.
    pub retired: Vec<ByteString>,
}

/// The client identifiers that only bridges may have begin so.
pub const BRIDGE_CLIENT: &str = "$bridge";

impl Terms {
    /// Whether a filter touches one of the other direction: a topic then has two homes, and one of
    /// them must give way.
    #[must_use]
    pub fn goes_both_ways(&self, filter: &Filter, side: Side) -> bool {
        let others = match side {
            Side::Local => &self.incoming,
            Side::Remote => &self.outgoing,
        };
        others.iter().any(|other| overlaps(filter, other, literal))
    }

    /// A pair of filters, one of each direction, that touch.
    #[must_use]
    pub fn both_ways(&self) -> Option<(&Filter, &Filter)> {
        self.incoming.iter().find_map(|one| {
            self.outgoing
                .iter()
                .find(|other| overlaps(one, other, literal))
                .map(|other| (one, other))
        })
    }

    /// What a topic of one side is called at the other, if it is to be carried there.
    pub(super) fn translate(&self, from: Side, topic: &ByteString) -> Option<ByteString> {
        let (here, filters) = match from {
            Side::Local => (&**topic, &self.outgoing),
            Side::Remote => (topic.strip_prefix(&*self.prefix)?, &self.incoming),
        };
        if !filters.iter().any(|filter| matches(filter, here, literal)) {
            return None;
        }
        let there = match from {
            Side::Remote => topic.slice_ref(here),
            Side::Local if self.prefix.is_empty() => topic.clone(),
            Side::Local => ByteString::from(format!("{}{here}", self.prefix)),
        };
        let fits = !there.is_empty() && there.len() <= usize::from(u16::MAX);
        fits.then_some(there)
    }

    pub(super) fn remote_connect(&self, anew: bool) -> Connect {
        Connect {
            version: self.version,
            keep_alive_s: BRIDGE_KEEP_ALIVE_S,
            packet_bytes_max: Some(PACKET_BYTES_MAX - BRIDGE_MARGIN_BYTES),
            username: self.username.clone(),
            has_password: self.password.is_some(),
            ..self.connect(&self.remote_id, anew)
        }
    }

    /// A CONNECT that leaves nothing behind, with its password.
    #[must_use]
    pub fn trial(&self) -> (Connect, Bytes) {
        let client_id = ByteString::from(format!("{}-check", self.remote_id));
        let connect = Connect { client_id, session_expiry_s: 0, ..self.remote_connect(true) };
        (connect, self.password.clone().unwrap_or_default().0)
    }

    /// What makes this peer's session before the engine is reached for the first time, so that
    /// what is said from now on waits for it.
    #[must_use]
    pub fn at_rest(&self) -> Option<(Connect, Subscribe)> {
        let granted = Granted::default();
        let subscribe = self.local_subscribe(super::FIRST, &granted, |_| false);
        (!self.outgoing.is_empty()).then(|| (self.local_connect(&granted), subscribe))
    }

    /// Within what the engine grants.
    pub(super) fn local_connect(&self, granted: &Granted) -> Connect {
        // What is too large only with its mark is dropped by the bridge.
        let largest = granted.packet_bytes_max.unwrap_or(PACKET_BYTES_MAX).min(PACKET_BYTES_MAX);
        Connect {
            receive_max: granted.receive_max.unwrap_or(BRIDGE_WINDOW).min(BRIDGE_WINDOW),
            packet_bytes_max: Some(largest),
            ..self.connect(&self.local_id, false)
        }
    }

    fn connect(&self, client_id: &ByteString, clean_start: bool) -> Connect {
        Connect {
            version: Version::V5,
            bridge: false,
            clean_start,
            keep_alive_s: 0,
            session_expiry_s: self.session_expiry_s,
            receive_max: BRIDGE_WINDOW,
            packet_bytes_max: None,
            alias_max: 0,
            wants_response_information: false,
            wants_problem_information: true,
            auth_method: None,
            client_id: client_id.clone(),
            will: None,
            username: None,
            has_password: false,
        }
    }

    /// What the engine is asked for. What is retained there is told at each connection where it has
    /// its only home there; where it has two, once: later it would undo what was said here.
    pub(super) fn remote_subscribe(&self, packet_id: PacketId) -> Subscribe {
        let filters = self.incoming.iter().map(|filter| {
            let handling = match self.goes_both_ways(filter, Side::Remote) {
                true => RetainHandling::IfNew,
                false => RetainHandling::Always,
            };
            (self.called_there(filter), self.options(self.qos, handling))
        });
        Subscribe { packet_id, id: None, filters: filters.collect() }
    }

    /// A filter as it is called at the engine.
    #[must_use]
    pub fn called_there(&self, filter: &Filter) -> ByteString {
        ByteString::from(format!("{}{}", self.prefix, filter.as_str()))
    }

    /// What this peer is asked for, `retained` if what is retained here is to be told.
    pub(super) fn local_subscribe(
        &self,
        packet_id: PacketId,
        granted: &Granted,
        retained: impl Fn(&Filter) -> bool,
    ) -> Subscribe {
        let qos = self.qos.min(granted.qos_max.unwrap_or(Qos::ExactlyOnce));
        let filters = self.outgoing.iter().map(|filter| {
            let tell = retained(filter) && !granted.no_retain;
            let handling = if tell { RetainHandling::Always } else { RetainHandling::Never };
            (ByteString::from(filter.as_str()), self.options(qos, handling))
        });
        Subscribe { packet_id, id: None, filters: filters.collect() }
    }

    const fn options(&self, qos: Qos, retain_handling: RetainHandling) -> Options {
        Options { qos, no_local: true, retain_as_published: true, retain_handling }
    }
}

/// Here no level stands for anything but itself, whatever it stands for in a policy.
fn literal(level: &str) -> Option<&'static str> {
    ["%node", "%client"].into_iter().find(|word| *word == level)
}
