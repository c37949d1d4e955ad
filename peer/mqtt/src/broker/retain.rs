//! Retaining in the hall: into the shelf, into the file.

use std::sync::Arc;

use bytestring::ByteString;
use minicbor::{Decode, Encode};
use shared::name::NodeName;
use shared::time::Timestamp;

use super::Broker;
use crate::codec::Qos;
use crate::held::Held;
use crate::journal::{Change, Table};
use crate::message::{Message, Record};
use crate::publication::Publication;
use crate::receipt::Receipt;
use crate::retained::{NotRetained, Retained, Stamp};
use crate::route::From;

/// A retained message in a file and on a link.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct RetainedRow<'r> {
    #[n(0)]
    pub(crate) stamp: Stamp,
    #[b(1)]
    pub(crate) message: Option<Record<'r>>,
}

impl Broker {
    /// Retains a message, or clears its topic if it says nothing; false if there is no room.
    pub(super) fn retain(
        &self,
        publication: &mut Publication,
        receipt: &mut Option<Arc<Receipt>>,
    ) -> bool {
        let now = publication.now();
        let empty = publication.message.payload.is_empty();
        let sure = publication.message.qos > Qos::AtMostOnce;
        let message = (!empty).then(|| Arc::clone(publication.kept()));
        let topic = message
            .as_ref()
            .map_or_else(|| publication.message.topic.clone(), |message| message.topic.clone());
        let mut shelf = self.shelf();
        // One that came from another peer has its stamp; an older one changes nothing.
        let known = publication.stamp.clone();
        let stamp = known.clone().unwrap_or_else(|| shelf.stamp(&self.settings.node, now));
        let retained = Retained { message, stamp };
        if let Err(why) = shelf.put(&topic, retained.clone(), now) {
            return known.is_some() && why == NotRetained::Older;
        }
        drop(shelf);
        publication.stamp = Some(retained.stamp.clone());
        let hold = sure.then(|| receipt.get_or_insert_default().hold());
        self.journal.write(Table::Retained, topic.as_bytes().to_vec(), row_of(&retained), hold);
        true
    }

    /// Something of this peer's own under a topic that only it writes, such as `$SYS`: told to
    /// those who listen, and kept in memory.
    pub fn tell(&self, topic: &str, payload: &str, now: Timestamp) {
        let message = Message {
            topic: ByteString::from(topic),
            properties: bytes::Bytes::new(),
            payload: bytes::Bytes::copy_from_slice(payload.as_bytes()),
            qos: Qos::AtMostOnce,
            retain: true,
            expires: None,
            by: Arc::new(self.settings.node.clone()),
            from: None,
            client: None,
        };
        let mut publication = Publication::new(message, now);
        let kept = Arc::clone(publication.kept());
        {
            let mut shelf = self.shelf();
            let known = shelf.get(topic).and_then(|retained| retained.message.as_ref());
            if known.is_some_and(|known| known.payload == kept.payload) {
                return;
            }
            let stamp = shelf.stamp(&self.settings.node, now);
            let topic = kept.topic.clone();
            let _ = shelf.put(&topic, Retained { message: Some(kept), stamp }, now);
        }
        publication.message.retain = false;
        let route = self.route(topic, From::Own);
        self.spread(&route, &mut publication, &mut None, &mut Held::default());
    }

    /// Forgets what expired, and what an identity retained if it is to be purged.
    pub fn sweep_retained(&self, now: Timestamp) {
        for topic in self.shelf().sweep(now) {
            self.journal.write(Table::Retained, topic.as_bytes().to_vec(), Change::Gone, None);
        }
    }

    /// Clears what an identity retained.
    pub fn purge_retained(&self, name: &NodeName, now: Timestamp) {
        let mut shelf = self.shelf();
        let theirs = shelf.iter().filter(|(_, retained)| {
            retained.message.as_ref().is_some_and(|message| *message.by == *name)
        });
        let topics: Vec<ByteString> = theirs.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            let stamp = shelf.stamp(&self.settings.node, now);
            let retained = Retained { message: None, stamp };
            if shelf.put(&topic, retained.clone(), now).is_ok() {
                let row = row_of(&retained);
                self.journal.write(Table::Retained, topic.as_bytes().to_vec(), row, None);
            }
        }
    }
}

fn row_of(retained: &Retained) -> Change {
    let message = retained.message.as_ref().map(|message| message.to_record());
    let row = RetainedRow { stamp: retained.stamp.clone(), message };
    Change::Put(minicbor::to_vec(row).unwrap_or_default())
}
