//! A message while it is handed to those who want it: encoded once for all whose copy is the same,
//! and given bytes of its own once if anybody keeps it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use shared::name::NodeName;
use shared::time::Timestamp;

use crate::codec::{Outgoing, Qos, Version, encode_publish};
use crate::envelope::Envelope;
use crate::message::Message;
use crate::retained::Stamp;
use crate::seen::Number;
use crate::session::Terms;

/// See above.
#[derive(Debug)]
pub struct Publication {
    /// What was published.
    pub message: Message,
    now: Timestamp,
    kept: Option<Arc<Message>>,
    /// As other peers get it.
    for_peers: Option<Arc<Message>>,
    /// When it was retained.
    pub(crate) stamp: Option<Stamp>,
    /// Since when the certificate of whoever said it is valid; none if it is this peer itself.
    pub(crate) standing: Option<Timestamp>,
    /// What tells it from others on its way over several links, and how many it has crossed.
    pub(crate) number: Option<(Number, u8)>,
    /// It came from a peer and goes to others: it is acknowledged when it is on our disk, and not
    /// when they have it. Two peers that pass things to each other would else wait for each other.
    pub(crate) passing: bool,
    /// It was retained before, and is told again.
    pub(crate) old: bool,
    /// As QoS 0 before MQTT 5, and in it.
    encoded: [Vec<u8>; 2],
}

impl Publication {
    /// Begins with a message.
    #[must_use]
    pub const fn new(message: Message, now: Timestamp) -> Self {
        Self {
            message,
            now,
            kept: None,
            for_peers: None,
            stamp: None,
            standing: None,
            number: None,
            passing: false,
            old: false,
            encoded: [Vec::new(), Vec::new()],
        }
    }

    /// Goes on with another message in the same buffers.
    pub fn again(&mut self, message: Message, now: Timestamp) {
        self.message = message;
        self.now = now;
        self.kept = None;
        self.for_peers = None;
        self.stamp = None;
        self.standing = None;
        self.number = None;
        self.passing = false;
        self.old = false;
        self.encoded.iter_mut().for_each(Vec::clear);
    }

    /// The message in bytes of its own.
    pub fn kept(&mut self) -> &Arc<Message> {
        self.kept.get_or_insert_with(|| self.message.to_kept())
    }

    /// The message as other peers get it, or for one group of one of them, or to be brought on.
    pub(crate) fn for_peers(&mut self, terms: &Terms) -> Arc<Message> {
        let Terms { share, to, .. } = terms;
        let alike = share.is_none() && to.is_empty();
        if let Some(known) = self.for_peers.as_ref().filter(|_| alike) {
            return Arc::clone(known);
        }
        let by = self.standing.map(|since| (NodeName::clone(&self.message.by), since));
        let envelope = Envelope {
            by,
            stamp: self.stamp.clone(),
            share: share.as_ref().map(ToString::to_string),
            to: to.to_vec(),
            number: self.number.clone(),
            old: self.old,
        };
        let properties = envelope.before(&self.message.properties);
        let message = Message { properties, ..self.message.clone() }.to_kept();
        if alike {
            self.for_peers = Some(Arc::clone(&message));
        }
        message
    }

    /// Lets go of the message; the buffers stay.
    pub(crate) fn rest(&mut self) {
        self.kept = None;
        self.for_peers = None;
        self.message.topic = ByteString::new();
        self.message.properties = Bytes::new();
        self.message.payload = Bytes::new();
        for bytes in &mut self.encoded {
            bytes.clear();
            bytes.shrink_to(4096);
        }
    }

    /// Seconds that are left of it.
    #[must_use]
    pub fn expiry_s(&self) -> Option<u32> {
        self.message.expiry_s(self.now)
    }

    /// Whether it was worth nothing from the beginning.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.message.is_over(self.now)
    }

    /// When it was published.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Its bytes for somebody who wants it at QoS 0 and has no terms of his own.
    pub(crate) fn encoded(&mut self, version: Version) -> &[u8] {
        let expiry_s = self.expiry_s();
        let [old, new] = &mut self.encoded;
        let bytes = if version == Version::V5 { new } else { old };
        if bytes.is_empty() {
            let publish = Outgoing {
                dup: false,
                qos: Qos::AtMostOnce,
                retain: false,
                topic: &self.message.topic,
                packet_id: None,
                alias: None,
                expiry_s,
                subscription_ids: &[],
                properties: &self.message.properties,
                payload: &self.message.payload,
            };
            encode_publish(&publish, version, bytes);
        }
        bytes
    }
}
