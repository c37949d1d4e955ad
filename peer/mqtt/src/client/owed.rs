//! What a client is owed: acknowledgements that wait for a disk or for neighbours, in their order.
//!
//! **Invariant:** none overtakes another, and none is said before its message is safe.

use std::sync::Arc;
use std::task::Waker;

use shared::time::Tick;

use super::{Open, Stop, stop};
use crate::codec::{Ack, Packet, PacketId, Reason, SubAck, Version, encode};
use crate::receipt::Receipt;

/// An acknowledgement that waits for something.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) what: Said,
    pub(super) receipt: Option<Arc<Receipt>>,
}

/// What is acknowledged.
#[derive(Debug)]
pub(super) enum Said {
    Publish {
        packet_id: PacketId,
        exactly_once: bool,
        reason: Reason,
    },
    /// PUBCOMP.
    Release(Ack),
    /// Neighbours are to know of it, and are not waited for beyond a moment.
    Subscribe {
        ack: SubAck,
        told: Option<Arc<Receipt>>,
        until: Tick,
    },
}

impl Said {
    /// Whether it is for a message that counts as long as it is owed; one of QoS 2 counts as long
    /// as the session holds its identifier.
    const fn is_answer(&self) -> bool {
        match self {
            Self::Publish { exactly_once, reason, .. } => !*exactly_once || reason.is_error(),
            Self::Release(_) | Self::Subscribe { .. } => false,
        }
    }
}

impl Open {
    /// Says something that may be larger than what the client takes, and is not sent then.
    pub(super) fn say(&self, packet: &Packet, replies: &mut Vec<u8>) -> Result<(), Stop> {
        let before = replies.len();
        encode(packet, self.version, replies);
        if u32::try_from(replies.len() - before).is_ok_and(|size| size <= self.packet_bytes_max) {
            return Ok(());
        }
        replies.truncate(before);
        Err(stop(Reason::PacketTooLarge, "an answer larger than the maximum packet size"))
    }

    /// Writes the acknowledgements that nothing has to be waited for.
    pub(super) fn settle(
        &mut self,
        replies: &mut Vec<u8>,
        waker: &Waker,
        now: Tick,
    ) -> Result<(), Stop> {
        while let Some(first) = self.owed.front() {
            if first.receipt.as_ref().is_some_and(|receipt| !receipt.is_settled(waker)) {
                return Ok(());
            }
            if let Said::Subscribe { told: Some(told), until, .. } = &first.what
                && *until > now
                && !told.is_settled(waker)
            {
                return Ok(());
            }
            let Some(owed) = self.owed.pop_front() else { return Ok(()) };
            self.unanswered -= usize::from(owed.what.is_answer());
            self.acknowledge(owed, replies)?;
        }
        Ok(())
    }

    /// Acknowledges now, or when what it waits for is done.
    pub(super) fn owe(&mut self, owed: Owed, replies: &mut Vec<u8>) -> Result<(), Stop> {
        let told = !matches!(&owed.what, Said::Subscribe { told: Some(_), .. });
        if told && owed.receipt.is_none() && self.owed.is_empty() {
            return self.acknowledge(owed, replies);
        }
        self.unanswered += usize::from(owed.what.is_answer());
        self.owed.push_back(owed);
        Ok(())
    }

    fn acknowledge(&self, owed: Owed, replies: &mut Vec<u8>) -> Result<(), Stop> {
        let (packet_id, exactly_once, reason) = match owed.what {
            Said::Publish { packet_id, exactly_once, reason } => (packet_id, exactly_once, reason),
            Said::Subscribe { ack, .. } => return self.say(&Packet::SubAck(ack), replies),
            Said::Release(ack) => return self.say(&Packet::PubComp(ack), replies),
        };
        let failed = owed.receipt.as_ref().is_some_and(|receipt| receipt.has_failed());
        let reason = if failed { Reason::ImplementationSpecific } else { reason };
        if exactly_once && reason.is_error() {
            self.session.lock().received.remove(&packet_id);
        }
        if failed && self.version != Version::V5 {
            // There is no other way to say that it is not safe (MQTT 3.1.1 §4.8).
            return Err(stop(reason, "what the disk did not take"));
        }
        let quick = reason == Reason::Success || self.version != Version::V5;
        if quick {
            let [high, low] = packet_id.get().to_be_bytes();
            let head = if exactly_once { 0x50 } else { 0x40 };
            replies.extend_from_slice(&[head, 2, high, low]);
            return Ok(());
        }
        let ack = Ack { packet_id, reason, reason_string: None };
        let packet = if exactly_once { Packet::PubRec(ack) } else { Packet::PubAck(ack) };
        encode(&packet, self.version, replies);
        Ok(())
    }

    /// When the first that is owed is waited for no longer.
    pub(super) fn owed_until(&self) -> Option<Tick> {
        match self.owed.front()?.what {
            Said::Subscribe { until, .. } => Some(until),
            Said::Publish { .. } | Said::Release(_) => None,
        }
    }
}
