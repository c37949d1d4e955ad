//! What a bridge asks of its own session here.

use std::sync::Arc;

use bytestring::ByteString;

use super::Broker;
use crate::bridge::BRIDGE_CLIENT;
use crate::journal::{Change, Table, key};
use crate::session::{Owner, Session};

impl Broker {
    /// What this peer itself is subscribed to under a client identifier.
    pub(crate) fn filters_of(&self, client: &ByteString) -> Vec<ByteString> {
        let session = self.own_session(client);
        session.map_or(Vec::new(), |session| session.lock().subscriptions.keys().cloned().collect())
    }

    /// Identifiers of QoS 2 that wait for their release under it are forgotten: whoever used them
    /// begins anew.
    pub(crate) fn forget_received(&self, client: &ByteString) {
        let Some(session) = self.own_session(client) else { return };
        let received = std::mem::take(&mut session.lock().received);
        for id in received {
            let row = key(session.id, u64::from(id.get()));
            self.journal.write(Table::Received, row, Change::Gone, None);
        }
    }

    /// Ends this peer's own session for a bridge, with all that waits in it.
    pub fn end_bridge(&self, client: &ByteString) {
        if let Some(session) = self.own_session(client) {
            self.end(&mut self.sessions(), &session);
        }
    }

    /// Ends those of bridges that are no more.
    pub fn end_bridges_but(&self, kept: &[ByteString]) {
        let mut sessions = self.sessions();
        let gone = sessions.by_owner.iter().filter(|(owner, _)| {
            let bridge = owner.client.starts_with(BRIDGE_CLIENT) && !kept.contains(&owner.client);
            bridge && *owner.identity == *self.node()
        });
        let gone: Vec<Arc<Session>> = gone.map(|(_, session)| Arc::clone(session)).collect();
        for session in &gone {
            self.end(&mut sessions, session);
        }
    }

    fn own_session(&self, client: &ByteString) -> Option<Arc<Session>> {
        let identity = Arc::new(self.node().clone());
        let owner = Owner { identity, client: client.clone() };
        self.sessions().by_owner.get(&owner).cloned()
    }
}
