//! From a session's queue to the bytes of its connection.

use shared::time::Timestamp;

use crate::codec::{Ack, Outgoing, Packet, Reason, encode};
use crate::journal::{Change, Journal, Table, key};
use crate::limits::{OUT_BYTES_HIGH, OUT_BYTES_KEPT};
use crate::message::SessionId;
use crate::queue::{Acked, Next, Queue};
use crate::session::Online;

/// One filling of a connection's buffer.
pub(crate) struct Pump<'p> {
    /// Whose connection asks.
    pub(crate) connection: u64,
    /// Where the bytes go, behind what is there.
    pub(crate) out: &'p mut Vec<u8>,
    pub(crate) now: Timestamp,
    pub(crate) journal: &'p Journal,
    /// Messages written.
    pub(crate) sent: u64,
}

/// What there is for the connection to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// To write what was filled in.
    Done,
    /// To end, after that.
    End(Reason),
    /// Another connection has the session.
    Lost,
}

impl Pump<'_> {
    pub(crate) fn fill(&mut self, session: SessionId, online: &mut Online, queue: &mut Queue) {
        while online.out.len() < OUT_BYTES_HIGH {
            let gone = |place, saved| {
                if saved {
                    self.journal.write(Table::Queue, key(session, place), Change::Gone, None);
                }
            };
            let unsendable = match queue.next(online.window, self.now, gone) {
                None => break,
                Some(Next::Release(packet_id)) => {
                    let ack = Ack { packet_id, reason: Reason::Success, reason_string: None };
                    encode(&Packet::PubRel(ack), online.version, &mut online.out);
                    None
                }
                Some(Next::Publish { packet_id, item, dup }) => {
                    let message = &item.message;
                    let publish = Outgoing {
                        dup,
                        qos: item.qos,
                        retain: item.retain,
                        topic: &message.topic,
                        packet_id: Some(packet_id),
                        alias: None,
                        expiry_s: message.expiry_s(self.now),
                        subscription_ids: &item.ids,
                        properties: &message.properties,
                        payload: &message.payload,
                    };
                    let fits = online.write(publish, &message.topic);
                    (!fits).then_some((packet_id, item.qos))
                }
            };
            match unsendable {
                None => self.sent += 1,
                Some((packet_id, qos)) => {
                    if let Acked::Over { place, saved: true } = queue.finish(packet_id, qos) {
                        let row = key(session, place);
                        self.journal.write(Table::Queue, row, Change::Gone, None);
                    }
                }
            }
        }
        online.lagging = false;
        online.written += online.out.len() as u64;
        if self.out.is_empty() {
            std::mem::swap(self.out, &mut online.out);
        } else {
            self.out.append(&mut online.out);
        }
        // A burst does not leave its buffer behind.
        if online.out.capacity() > OUT_BYTES_KEPT {
            online.out = Vec::new();
        }
    }
}
