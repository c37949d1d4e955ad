//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8 to §3.11).

use std::sync::Arc;

use shared::time::Now;

use super::{Open, Owed, Said, Stop};
use crate::broker::Broker;
use crate::codec::{Options, Packet, Reason, SubAck, Subscribe, Unsubscribe, Version};
use crate::limits::BARRIER_MS;
use crate::receipt::Receipt;
use crate::topic::Wanted;

impl Open {
    pub(super) fn subscribe(
        &mut self,
        broker: &Broker,
        subscribe: Subscribe,
        replies: &mut Vec<u8>,
        now: Now,
    ) -> Result<(), Stop> {
        self.refresh_standing(broker, now.tick);
        let (_, rights) = broker.rights();
        let client = self.session.owner.client.clone();
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let (mut readings, mut told) = (Vec::new(), None::<Arc<Receipt>>);
        let mut saved = None;
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
            let subscribed =
                broker.subscribe(&self.session, wanted, options, subscribe.id, &mut saved);
            reasons.push(subscribed.reason);
            readings.extend(subscribed.reading);
            told = subscribed.told.or(told);
        }
        let ack = SubAck { packet_id: subscribe.packet_id, reasons };
        // Neighbours answer in order: whoever knows the last filter knows the others.
        let what = Said::Subscribe { ack, told, until: now.tick.plus_ms(BARRIER_MS) };
        self.owe(Owed { what, receipt: saved }, replies)?;
        for reading in readings {
            self.is_reading = broker.begin_reading(&self.session, reading, now.wall);
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
        self.say(&Packet::UnsubAck(ack), replies)
    }
}
