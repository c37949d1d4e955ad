//! Wills and ends that time brings (MQTT 5.0 §3.1.2.5, §3.1.2.11.2).

use std::sync::Arc;

use shared::time::Timestamp;

use super::Broker;
use crate::message::Message;

impl Broker {
    /// Publishes a will, if its owner may still publish there.
    pub(super) fn publish_will(&self, will: &Message, now: Timestamp) {
        let mut message = will.clone();
        message.expires = will.expires.map(|life| now.plus_s(life.s()));
        self.publish(message, now);
    }

    /// When [`Broker::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.sessions().due.first().map(|(at, _)| *at)
    }

    /// Time has passed: wills that waited are published, sessions that nobody took up again end.
    pub fn handle_timeout(&self, now: Timestamp) {
        while let Some(will) = self.take_due(now) {
            if let Some(will) = will {
                self.publish_will(&will, now);
            }
        }
    }

    /// The next thing that is due; a will, or the end of a session, which brings its will.
    fn take_due(&self, now: Timestamp) -> Option<Option<Message>> {
        let mut sessions = self.sessions();
        let (at, id) = *sessions.due.first().filter(|(at, _)| *at <= now)?;
        sessions.due.remove(&(at, id));
        let will_is_due = sessions.wills.get(&id).is_some_and(|(due, _)| *due <= now);
        let will = if will_is_due { sessions.wills.remove(&id) } else { None };
        let will = will.map(|(_, message)| message);
        if let Some(session) = sessions.by_id.get(&id).map(Arc::clone) {
            let over = {
                let inside = session.lock();
                let expiry_s = i64::from(inside.expiry_s);
                let left = inside.left.filter(|_| inside.online.is_none());
                left.is_some_and(|left| left.plus_s(expiry_s) <= now)
            };
            if over {
                self.end(&mut sessions, &session);
            }
        }
        Some(will)
    }

    /// This peer stops: everybody is told, wills are published, sessions that last are kept.
    pub fn close(&self) {
        let all: Vec<_> = self.sessions().by_id.values().cloned().collect();
        for session in all {
            session.end_connection(crate::codec::Reason::ServerShuttingDown);
        }
    }
}
