//! The endpoint as people see it. What clients chose is escaped here, once.

use host::terminal::escape;
use mqtt::{SessionView, WayView};

use super::Endpoint;
use crate::control::mqtt::{DoorStatus, MqttStatus, SessionStatus, WayStatus};
use crate::limits::MQTT_SESSIONS_SHOWN;

impl Endpoint {
    /// Doors, sessions, figures.
    pub(crate) fn status(&self) -> MqttStatus {
        let counters = &self.broker.counters;
        let doors = self.doors.iter().map(|door| DoorStatus {
            kind: door.kind.as_str().to_owned(),
            address: door.address.clone(),
        });
        MqttStatus {
            doors: doors.collect(),
            session_count: self.broker.session_count(),
            sessions: self.broker.views(MQTT_SESSIONS_SHOWN).into_iter().map(session).collect(),
            ways: self.broker.ways(MQTT_SESSIONS_SHOWN).into_iter().map(way).collect(),
            lost: counters.lost.get(),
            interest: self.broker.interest_count(),
            carried: counters.carried.get(),
            retained: self.broker.retained_count(),
            received: counters.received.get(),
            sent: counters.sent.get(),
            denied: counters.denied.get(),
            beyond_quota: counters.beyond_quota.get(),
            slowed: counters.slowed.get(),
        }
    }
}

fn way(view: WayView) -> WayStatus {
    let WayView { node, next, reachable, filter_count } = view;
    WayStatus { node, next, reachable, filter_count }
}

fn session(view: SessionView) -> SessionStatus {
    SessionStatus {
        identity: view.identity,
        client: escape(&view.client),
        connected: view.connected,
        filters: view.filters.iter().map(|filter| escape(filter)).collect(),
        filter_count: view.filter_count,
        queued: view.queued,
        queued_bytes: view.queued_bytes,
        dropped: view.dropped,
        expiry_s: view.expiry_s,
    }
}
