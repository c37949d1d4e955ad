//! Messages and their acknowledgements on their way across.

use crate::codec::{Ack, Packet, Publish, Qos, Reason, Version, encode_publish, publish_bytes};
use crate::limits::OUT_BYTES_MAX;

use super::mark::{Unfit, pass};
use super::{Fence, Side, Span, name, of_client};

impl Span {
    /// A message came from a side.
    pub(super) fn carry(&mut self, from: Side, publish: Publish) {
        if let (Side::Remote, Fence::Asked { heard, .. }) = (from, &mut self.fence) {
            *heard = true;
        }
        if publish.alias.is_some() {
            return self.over(format!("{} uses an alias that nobody granted", name(from)));
        }
        let (packet_id, qos) = (publish.packet_id, publish.qos);
        if self.pass_on(from, publish).is_some() {
            return;
        }
        // Whoever sent it is rid of it; the PUBREL of QoS 2 goes across, and is answered there.
        let Some(packet_id) = packet_id else { return };
        let ack = Ack { packet_id, reason: Reason::Success, reason_string: None };
        let exactly_once = qos == Qos::ExactlyOnce;
        self.say(from, &if exactly_once { Packet::PubRec(ack) } else { Packet::PubAck(ack) });
    }

    /// `None` if it is not carried; it is counted then.
    fn pass_on(&mut self, from: Side, publish: Publish) -> Option<()> {
        let (terms, tally, to) = (&self.terms, &self.tally, from.other());
        let Some(topic) = terms.translate(from, &publish.topic) else {
            tally.strays.add(1);
            return None;
        };
        let (here, there) = match from {
            Side::Local => (&terms.network, &terms.engine),
            Side::Remote => (&terms.engine, &terms.network),
        };
        let properties = match pass(&publish.properties, here, there) {
            Ok(properties) => properties,
            Err(Unfit::Looped) => {
                tally.looped.add(1);
                return None;
            }
            Err(Unfit::Full) => {
                tally.unfit.add(1);
                return None;
            }
        };
        let no_retain = to == Side::Remote && self.granted.no_retain;
        let end = match to {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        };
        let plain = end.version != Version::V5;
        let mut outgoing = publish.outgoing();
        outgoing.topic = &topic;
        outgoing.alias = None;
        outgoing.subscription_ids = &[];
        outgoing.retain &= !no_retain;
        outgoing.properties = if plain { &[] } else { &properties };
        if publish_bytes(&outgoing, end.version) > end.packet_bytes_max {
            tally.unfit.add(1);
            return None;
        }
        if publish.packet_id.is_none() && end.out.len() > OUT_BYTES_MAX {
            tally.lost.add(1);
            return None;
        }
        encode_publish(&outgoing, end.version, &mut end.out);
        end.unanswered.extend(publish.packet_id);
        end.wake();
        match to {
            Side::Local => tally.incoming.add(1),
            Side::Remote => tally.outgoing.add(1),
        }
        Some(())
    }

    /// PUBACK, PUBREC or PUBCOMP from whom a message went to.
    pub(super) fn answer(&mut self, from: Side, ack: Ack, packet: fn(Ack) -> Packet) {
        self.end(from).unanswered.remove(&ack.packet_id);
        if ack.reason.is_error() && ack.reason != Reason::PacketIdentifierNotFound {
            match from {
                Side::Local => self.tally.refused_here.add(1),
                Side::Remote => self.tally.refused_there.add(1),
            }
        }
        let reason = of_client(ack.reason);
        let to = from.other();
        self.say(to, &packet(Ack { reason, reason_string: None, ..ack }));
        if self.end(to).held && !self.holds(to) {
            self.end(to).wake();
        }
    }

    /// PUBREL from who sent a message.
    pub(super) fn release(&mut self, from: Side, ack: Ack) {
        let reason = Reason::Success;
        self.say(from.other(), &Packet::PubRel(Ack { reason, reason_string: None, ..ack }));
    }
}
