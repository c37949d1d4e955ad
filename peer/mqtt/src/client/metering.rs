//! Publications beyond a quota: dropped, refused, or taken on credit (see the module `quota`).

use bytes::BytesMut;
use shared::time::Tick;

use super::{Client, Open};
use crate::broker::Broker;
use crate::codec::{Publish, Qos, Version};

impl Client {
    /// Whether it has used up its quota on credit: what it said is looked at later.
    pub(super) fn is_paused(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.paused_until.is_some())
    }

    /// Goes on with what was left in the buffer when the connection was paused; says whether there
    /// was anything.
    pub fn resume(&mut self, buffer: &mut BytesMut, now: shared::time::Now) -> bool {
        if buffer.is_empty() || !self.is_left || self.is_paused() {
            return false;
        }
        self.handle_bytes(buffer, now);
        true
    }

    /// The pause may be over. It was ours: the client was not silent in it.
    pub(super) fn end_pause(&mut self, now: Tick) {
        let Some(open) = &mut self.open else { return };
        if open.paused_until.is_some_and(|until| until <= now) {
            open.paused_until = None;
            self.heard = now;
        }
    }
}

impl Open {
    /// Whether a publication is more than its sender may say, and to be refused or dropped. One of
    /// MQTT 3 that wants an acknowledgement is taken instead, and its connection pauses.
    pub(super) fn is_beyond_quota(
        &mut self,
        broker: &Broker,
        publish: &Publish,
        now: Tick,
    ) -> bool {
        let Some(meter) = &self.meter else { return false };
        let bytes = publish.topic.len() + publish.payload.len();
        let can_be_told = self.version == Version::V5 || publish.qos == Qos::AtMostOnce;
        if can_be_told || meter.is_shut() {
            let beyond = !meter.take(bytes, now);
            broker.counters.beyond_quota.add(u64::from(beyond));
            return beyond;
        }
        let wait_ms = meter.owe(bytes, now);
        if wait_ms > 0 {
            self.paused_until = Some(now.plus_ms(wait_ms));
            broker.counters.slowed.add(1);
        }
        false
    }
}
