//! What the file held when the program began.

use std::sync::Arc;

use bytestring::ByteString;
use shared::time::Timestamp;

use super::Broker;
use super::retain::RetainedRow;
use crate::codec::PacketId;
use crate::journal::{Table, parts};
use crate::message::Message;
use crate::queue::Item;
use crate::retained::Retained;
use crate::route::Subscriber;
use crate::rows::SessionRow;
use crate::session::{Inside, Kind};

impl Broker {
    /// Takes one row; tables and rows come in their order. `None`: it cannot be read, and is to be
    /// dropped.
    pub fn recall(&self, table: Table, key: &[u8], value: &[u8], now: Timestamp) -> Option<()> {
        match table {
            Table::Sessions => self.recall_session(key, value, now),
            Table::Queue => {
                let (id, place) = parts(key)?;
                let session = self.sessions().by_id.get(&id).map(Arc::clone)?;
                // An empty row: PUBREC came, the message itself was not needed again.
                let item = if value.is_empty() { None } else { Some(Item::from_row(value)?) };
                session.lock().queue.recall(place, item)
            }
            Table::Received => {
                let (id, packet_id) = parts(key)?;
                let session = self.sessions().by_id.get(&id).map(Arc::clone)?;
                let packet_id = PacketId::new(u16::try_from(packet_id).ok()?)?;
                session.lock().received.insert(packet_id);
                Some(())
            }
            Table::Retained => {
                let topic = ByteString::try_from(key).ok()?;
                let row: RetainedRow<'_> = minicbor::decode(value).ok()?;
                let message = match &row.message {
                    Some(record) => Some(Arc::new(Message::from_record(record)?)),
                    None => None,
                };
                self.shelf().put(&topic, Retained { message, stamp: row.stamp }, now).ok()
            }
            Table::Chart => self.recall_link_state(value, now),
            Table::Wills => self.recall_will(key, value, now),
        }
    }

    fn recall_session(&self, key: &[u8], value: &[u8], now: Timestamp) -> Option<()> {
        let (id, _) = parts(key)?;
        let row: SessionRow = minicbor::decode(value).ok()?;
        let left = row.left.unwrap_or(now).min(now);
        let over = left.plus_s(i64::from(row.expiry_s));
        if over <= now {
            return None;
        }
        let owner = row.owner()?;
        let kind = Self::is_peer(&owner.client);
        let mut inside = Inside {
            subscriptions: row.subscriptions().collect(),
            expiry_s: row.expiry_s,
            left: Some(left),
            since: row.since,
            bytes_max: self.queue_bytes(kind),
            identity: row.identity().map(Arc::new),
            saved: true,
            ..Inside::default()
        };
        inside.queue.expect(row.unsent);
        let mut sessions = self.sessions();
        let session = sessions.add(id, owner, kind, inside);
        sessions.look_at(id, over);
        drop(sessions);
        if kind == Kind::Peer {
            self.chart().hold(&session.owner.identity, &self.settings.node);
        }
        let kept: Vec<_> = session.lock().subscriptions.values().cloned().collect();
        let mut topics = self.topics_mut();
        for subscription in kept {
            let shared = subscription.wanted.group.as_ref().map(|_| subscription.wanted.text());
            let place = super::subscriptions::place_of(&subscription.wanted, &session);
            let (options, number) = (subscription.options, subscription.id);
            let session = Arc::clone(&session);
            let subscriber = Subscriber { session, options, id: number, shared };
            topics.insert(subscription.wanted.filter.as_str(), place, subscriber);
            if kind == Kind::Client && !subscription.wanted.filter.as_str().starts_with('$') {
                self.interest.add(&subscription.wanted);
            }
        }
        drop(topics);
        self.changed();
        Some(())
    }
}
