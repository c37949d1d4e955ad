//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8 to §3.11).

use shared::time::Timestamp;

use super::{Open, Stop};
use crate::broker::Broker;
use crate::codec::{Options, Packet, Reason, SubAck, Subscribe, Unsubscribe, Version, encode};
use crate::topic::Wanted;

impl Open {
    pub(super) fn subscribe(
        &mut self,
        broker: &Broker,
        subscribe: Subscribe,
        replies: &mut Vec<u8>,
        now: Timestamp,
    ) -> Result<(), Stop> {
        self.refresh_standing(broker);
        let (_, rights) = broker.rights();
        let client = self.session.owner.client.clone();
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut retained = Vec::new();
        for (text, options) in subscribe.filters {
            let Some(wanted) = Wanted::parse(&text) else {
                reasons.push(Reason::TopicFilterInvalid);
                continue;
            };
            if !rights.may_subscribe(&self.standing.1, &client, &wanted.filter) {
                reasons.push(Reason::NotAuthorized);
                continue;
            }
            let options = self.meant(options);
            let (reason, messages) =
                broker.subscribe(&self.session, wanted, options, subscribe.id, now);
            reasons.push(reason);
            retained.push((messages, options));
        }
        let ack = SubAck { packet_id: subscribe.packet_id, reasons };
        encode(&Packet::SubAck(ack), self.version, replies);
        for (messages, options) in retained {
            broker.deliver_retained(&self.session, messages, options, subscribe.id, now);
        }
        Ok(())
    }

    /// Before MQTT 5 a bridge is told what is retained, and does not hear itself.
    fn meant(&self, options: Options) -> Options {
        if self.bridge && self.version != Version::V5 {
            return Options { no_local: true, retain_as_published: true, ..options };
        }
        options
    }

    pub(super) fn unsubscribe(
        &self,
        broker: &Broker,
        unsubscribe: &Unsubscribe,
        replies: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let filters = unsubscribe.filters.iter();
        let reasons = filters.map(|text| broker.unsubscribe(&self.session, text)).collect();
        let ack = SubAck { packet_id: unsubscribe.packet_id, reasons };
        encode(&Packet::UnsubAck(ack), self.version, replies);
        Ok(())
    }
}
