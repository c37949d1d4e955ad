//! Wills and ends that time brings (MQTT 5.0 §3.1.2.5, §3.1.2.11.2).
//!
//! A will is in the file from its CONNECT on: if this peer itself breaks off, it is published when
//! the peer is back, as the standard lets a server do.

use std::sync::Arc;

use shared::time::Timestamp;

use super::Broker;
use crate::held::Held;
use crate::identity::Identity;
use crate::journal::{Change, Table, key, parts};
use crate::message::Message;
use crate::publication::Publication;
use crate::route::From;
use crate::rows::WillRow;
use crate::session::{Inside, Kind, Session};

impl Broker {
    /// Writes the row of a will; `at` is when it is due, if it waits for that already.
    pub(super) fn save_will(
        &self,
        session: &Session,
        inside: &Inside,
        will: &Message,
        delay_s: u32,
        at: Option<Timestamp>,
    ) {
        let row = WillRow::of(&session.owner, inside, will, delay_s, at);
        let bytes = minicbor::to_vec(row).unwrap_or_default();
        self.journal.write(Table::Wills, key(session.id, 0), Change::Put(bytes), None);
    }

    /// It is published, or taken back.
    pub(super) fn forget_will(&self, session: &Session) {
        self.journal.write(Table::Wills, key(session.id, 0), Change::Gone, None);
    }

    /// A will that the file held: its connection is gone with the program that had it.
    pub(super) fn recall_will(&self, row_key: &[u8], value: &[u8], now: Timestamp) -> Option<()> {
        let (id, _) = parts(row_key)?;
        let row: WillRow<'_> = minicbor::decode(value).ok()?;
        let message = row.message()?;
        let owner = row.owner()?;
        let mut sessions = self.sessions();
        let expiry_s = match (sessions.by_id.get(&id), sessions.by_owner.get(&owner)) {
            (Some(session), _) => session.lock().expiry_s,
            // It ended with its connection, and is there for its will alone.
            (None, None) => {
                let inside = Inside {
                    left: Some(now),
                    since: row.since,
                    identity: row.identity().map(Arc::new),
                    ..Inside::default()
                };
                sessions.add(id, owner, Kind::Client, inside);
                sessions.look_at(id, now);
                0
            }
            (None, Some(_)) => return None,
        };
        let due = row.at.unwrap_or_else(|| now.plus_s(i64::from(row.delay_s.min(expiry_s))));
        sessions.look_at(id, due);
        sessions.wills.insert(id, (due, message));
        Some(())
    }

    /// Publishes a will, if its owner may still publish there.
    pub(super) fn publish_will(&self, session: &Session, will: &Message, now: Timestamp) {
        let identity = session.lock().identity.clone();
        let client = &session.owner.client;
        let since = session.lock().since;
        let allowed = |identity: &Arc<Identity>| {
            self.may_publish(identity, client, &will.topic)
                && !self.is_barred(&identity.name, since)
        };
        if !identity.as_ref().is_some_and(allowed) {
            return self.counters.denied.add(1);
        }
        let mut message = will.clone();
        message.expires = will.expires.map(|life| now.plus_s(life.s()));
        message.from = Some(session.id);
        message.client = will.retain.then(|| client.clone());
        // Other peers are told of everybody who is not this peer itself.
        let foreign = *message.by != *self.node();
        let route = self.route(&message.topic, From::Session(session.id));
        let mut publication = Publication::new(message, now);
        publication.standing = foreign.then_some(since);
        self.spread(&route, &mut publication, &mut None, &mut Held::default());
    }

    /// When [`Broker::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.sessions().due.first().map(|(at, _)| *at)
    }

    /// Time has passed: wills that waited are published, sessions that nobody took up again end,
    /// ways to peers further off open.
    pub fn handle_timeout(&self, now: Timestamp) {
        while let Some(due) = self.take_due(now) {
            if let Some((session, will)) = due {
                self.publish_will(&session, &will, now);
            }
        }
        self.rechart(now);
    }

    /// The next thing that is due; a will, or the end of a session, which brings its will.
    fn take_due(&self, now: Timestamp) -> Option<Option<(Arc<Session>, Message)>> {
        let mut sessions = self.sessions();
        let (at, id) = *sessions.due.first().filter(|(at, _)| *at <= now)?;
        sessions.due.remove(&(at, id));
        let will_is_due = sessions.wills.get(&id).is_some_and(|(due, _)| *due <= now);
        let will = if will_is_due { sessions.wills.remove(&id) } else { None };
        let session = sessions.by_id.get(&id).map(Arc::clone);
        if let Some(session) = session.as_ref().filter(|_| will.is_some()) {
            self.forget_will(session);
        }
        if let Some(session) = &session {
            let over = {
                let inside = session.lock();
                let expiry_s = i64::from(inside.expiry_s);
                let left = inside.left.filter(|_| inside.online.is_none());
                left.is_some_and(|left| left.plus_s(expiry_s) <= now)
            };
            if over {
                self.end(&mut sessions, session);
            }
        }
        Some(session.zip(will.map(|(_, message)| message)))
    }

    /// This peer stops: everybody is told, wills are published, sessions that last are kept.
    pub fn close(&self) {
        let all: Vec<_> = self.sessions().by_id.values().cloned().collect();
        for session in all {
            session.end_connection(crate::codec::Reason::ServerShuttingDown);
        }
    }
}
