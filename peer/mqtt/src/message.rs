//! A message on its way: as it was published, and as it is kept.
//!
//! **Invariant:** a [`Message`] that is kept owns its bytes; it does not hold on to the buffer that
//! it was read into.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use minicbor::{Decode, Encode};
use shared::name::NodeName;
use shared::time::Timestamp;

use crate::codec::Qos;

/// A session's number, on this peer and in its files.
pub type SessionId = u64;

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub topic: ByteString,
    /// Properties that are passed on as they are.
    pub properties: Bytes,
    /// What.
    pub payload: Bytes,
    /// How sure.
    pub qos: Qos,
    /// Whether it is to be retained, or was.
    pub retain: bool,
    /// When it is worth nothing any more.
    pub expires: Option<Timestamp>,
    /// By whom.
    pub by: Arc<NodeName>,
    /// From which session of this peer, for No Local.
    pub from: Option<SessionId>,
    /// And under which identifier, if it is retained: a later session of it may be told of it.
    pub client: Option<ByteString>,
}

impl Message {
    /// Bytes it counts for in a bound: its own and what surrounds them in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const AROUND: usize = 192;
        self.topic.len() + self.properties.len() + self.payload.len() + AROUND
    }

    /// Whether it is worth nothing any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Seconds it is worth something for, at least one while it is at all.
    #[must_use]
    pub fn expiry_s(&self, now: Timestamp) -> Option<u32> {
        let left_ms = self.expires?.ms_since(now).max(0);
        Some(u32::try_from((left_ms + 999) / 1000).unwrap_or(u32::MAX).max(1))
    }

    /// The same with bytes of its own, in one piece.
    #[must_use]
    pub fn to_kept(&self) -> Arc<Self> {
        let (topic, properties) = (self.topic.len(), self.properties.len());
        let mut all = BytesMut::with_capacity(topic + properties + self.payload.len());
        all.put_slice(self.topic.as_bytes());
        all.put_slice(&self.properties);
        all.put_slice(&self.payload);
        let mut all = all.freeze();
        let name = all.split_to(topic);
        Arc::new(Self {
            topic: ByteString::try_from(name).unwrap_or_default(),
            properties: all.split_to(properties),
            payload: all,
            by: Arc::clone(&self.by),
            client: self.client.clone(),
            ..*self
        })
    }

    /// Its form in a file and on a link.
    #[must_use]
    pub fn to_record(&self) -> Record<'_> {
        Record {
            topic: &self.topic,
            properties: &self.properties,
            payload: &self.payload,
            qos: self.qos.bits(),
            retain: self.retain,
            expires: self.expires,
            by: self.by.as_str(),
            client: self.client.as_deref(),
        }
    }

    /// Takes it from there; `None` if it is not one.
    #[must_use]
    pub fn from_record(record: &Record<'_>) -> Option<Self> {
        Some(Self {
            topic: ByteString::from(record.topic),
            properties: Bytes::copy_from_slice(record.properties),
            payload: Bytes::copy_from_slice(record.payload),
            qos: Qos::from_bits(record.qos)?,
            retain: record.retain,
            expires: record.expires,
            by: Arc::new(NodeName::parse(record.by).ok()?),
            from: None,
            client: record.client.map(ByteString::from),
        })
    }
}

/// A message in CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Record<'r> {
    #[b(0)]
    topic: &'r str,
    #[cbor(b(1), with = "minicbor::bytes")]
    properties: &'r [u8],
    #[cbor(b(2), with = "minicbor::bytes")]
    payload: &'r [u8],
    #[n(3)]
    qos: u8,
    #[n(4)]
    retain: bool,
    #[n(5)]
    expires: Option<Timestamp>,
    #[b(6)]
    by: &'r str,
    #[b(7)]
    client: Option<&'r str>,
}

#[cfg(test)]
pub(crate) fn message(topic: &str, payload: &str, qos: Qos) -> Message {
    Message {
        topic: topic.into(),
        properties: Bytes::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain: false,
        expires: None,
        by: Arc::new(NodeName::parse("alice").unwrap()),
        from: None,
        client: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_same_and_in_bytes_of_its_own() {
        let large = Bytes::from(vec![b'x'; 65_536]);
        let mut sent = message("plant/3/temp", "21.5", Qos::AtLeastOnce);
        sent.payload = large.slice(0..4);
        let kept = sent.to_kept();
        assert_eq!(*kept, sent);
        drop(sent);
        assert!(large.is_unique(), "the buffer it came in is free again");
        let record = minicbor::to_vec(kept.to_record()).unwrap();
        let read = Message::from_record(&minicbor::decode(&record).unwrap());
        assert_eq!(read.as_ref(), Some(&*kept));
    }

    #[test]
    fn time_left_is_rounded_up_and_never_nothing() {
        let mut sent = message("a", "", Qos::AtMostOnce);
        assert_eq!(
            (sent.expiry_s(Timestamp::from_s(9)), sent.is_over(Timestamp::MAX)),
            (None, false)
        );
        sent.expires = Some(Timestamp::from_ms(10_000));
        assert_eq!(sent.expiry_s(Timestamp::from_ms(8_999)), Some(2));
        assert_eq!(sent.expiry_s(Timestamp::from_ms(9_999)), Some(1));
        assert!(
            !sent.is_over(Timestamp::from_ms(9_999)) && sent.is_over(Timestamp::from_ms(10_000))
        );
    }
}
