//! What a bridge asks of its own session here.

use std::sync::Arc;

use bytestring::ByteString;

use super::Broker;
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

    fn own_session(&self, client: &ByteString) -> Option<Arc<Session>> {
        let identity = Arc::new(self.node().clone());
        let owner = Owner { identity, client: client.clone() };
        self.sessions().by_owner.get(&owner).cloned()
    }
}
