//! PUBLISH from a client, and its acknowledgements of what it got (MQTT 5.0 §3.3 to §3.7, §4.3).

use std::num::NonZeroU16;
use std::sync::Arc;

use bytestring::ByteString;
use shared::time::{Now, Tick, Timestamp};

use super::{Open, Owed, Said, Stop, stop};
use crate::broker::{Broker, DIGEST, HEADS, LINK_STATE, TAKEN};
use crate::codec::{Ack, Packet, Publish, Qos, Reason, Version, encode};
use crate::journal::{Change, Table, key};
use crate::limits::{ALIAS_MAX, RECEIVE_MAX};
use crate::message::Message;
use crate::publication::Publication;
use crate::queue::Acked;
use crate::route::From;
use crate::topic::is_publishable;

impl Open {
    pub(super) fn publish(
        &mut self,
        broker: &Broker,
        mut publish: Publish,
        replies: &mut Vec<u8>,
        now: Now,
    ) -> Result<(), Stop> {
        broker.counters.received.add(1);
        self.resolve(&mut publish)?;
        let (packet_id, qos) = (publish.packet_id, publish.qos);
        if let Some(packet_id) = packet_id {
            let (unreleased, again) = {
                let received = &self.session.lock().received;
                (received.len(), qos == Qos::ExactlyOnce && received.contains(&packet_id))
            };
            if again {
                // It is on its way already (§4.3.3).
                return self.owe_ack(packet_id, true, Reason::Success, replies);
            }
            let bounded = self.version == Version::V5;
            if bounded && self.unanswered + unreleased >= usize::from(RECEIVE_MAX) {
                let what = "more at once than the receive maximum";
                return Err(stop(Reason::ReceiveMaximumExceeded, what));
            }
        }
        self.refresh_standing(broker, now.tick);
        let reason = if self.is_beyond_quota(broker, &publish, now.tick) {
            Reason::QuotaExceeded
        } else {
            self.pass_on(broker, publish, now.wall)
        };
        if let Some(packet_id) = packet_id {
            let exactly_once = qos == Qos::ExactlyOnce;
            if exactly_once && !reason.is_error() {
                self.receive(broker, packet_id);
            }
            self.owe_ack(packet_id, exactly_once, reason, replies)?;
        }
        Ok(())
    }

    /// Puts the topic that an alias stands for in its place (§3.3.2.3.4).
    fn resolve(&mut self, publish: &mut Publish) -> Result<(), Stop> {
        let Some(alias) = publish.alias.map(NonZeroU16::get) else { return Ok(()) };
        let unknown = stop(Reason::TopicAliasInvalid, "a topic alias that was not granted");
        if alias > ALIAS_MAX {
            return Err(unknown);
        }
        let index = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let known = self.aliases.get(index).cloned().flatten();
            let what = "a topic alias that stands for nothing";
            publish.topic = known.ok_or(stop(Reason::ProtocolError, what))?;
        } else {
            if self.aliases.len() <= index {
                self.aliases.resize(index + 1, None);
            }
            if let Some(place) = self.aliases.get_mut(index) {
                *place = Some(ByteString::from(&*publish.topic));
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, broker: &Broker, publish: Publish, now: Timestamp) -> Reason {
        let version = broker.version();
        let Self { routes, session, standing, .. } = self;
        let route = routes.find(version, &publish.topic, || {
            let (_, rights) = broker.rights();
            let client = &session.owner.client;
            let allowed = is_publishable(&publish.topic)
                && rights.may_publish(&standing.1, client, &publish.topic);
            allowed.then(|| broker.route(&publish.topic, From::Session(session.id)))
        });
        let Some(route) = route else {
            broker.counters.denied.add(1);
            return Reason::NotAuthorized;
        };
        let message = Message {
            topic: publish.topic,
            properties: publish.properties,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires: publish.expiry_s.map(|s| now.plus_s(i64::from(s))),
            by: Arc::clone(&self.identity.name),
            from: Some(self.session.id),
            client: publish.retain.then(|| self.session.owner.client.clone()),
        };
        let publication = match &mut self.publication {
            Some(publication) => {
                publication.again(message, now);
                publication
            }
            none => none.insert(Box::new(Publication::new(message, now))),
        };
        publication.standing = self.since;
        let spread = broker.spread(&route, publication, &mut self.receipt, &mut self.held);
        if spread.refused {
            broker.counters.dropped.add(1);
            return Reason::QuotaExceeded;
        }
        if spread.taken { Reason::Success } else { Reason::NoMatchingSubscribers }
    }

    /// Remembers the identifier of a QoS 2 message until it is released.
    fn receive(&mut self, broker: &Broker, packet_id: NonZeroU16) {
        let mut inside = self.session.lock();
        inside.received.insert(packet_id);
        if inside.expiry_s > 0 {
            let hold = self.receipt.get_or_insert_default().hold();
            let row = key(self.session.id, u64::from(packet_id.get()));
            broker.journal.write(Table::Received, row, Change::Added(Vec::new()), Some(hold));
        }
    }

    fn owe_ack(
        &mut self,
        packet_id: NonZeroU16,
        exactly_once: bool,
        reason: Reason,
        replies: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let receipt = self.receipt.clone();
        let what = Said::Publish { packet_id, exactly_once, reason };
        self.owe(Owed { what, receipt }, replies)
    }

    /// What a peer at the other end of a link says: what it has retained, and how much it took.
    pub(super) fn hear_peer(
        &mut self,
        broker: &Broker,
        publish: &Publish,
        now: Timestamp,
    ) -> Result<(), Stop> {
        let wrong = stop(Reason::ProtocolError, "a peer that publishes as a program does");
        match &*publish.topic {
            _ if publish.qos != Qos::AtMostOnce => return Err(wrong),
            DIGEST => broker.answer_digest(&self.session, &publish.payload, now),
            HEADS if broker.hear_heads(&self.identity.name, &publish.payload) => {}
            LINK_STATE if broker.hear_link_state(&self.identity.name, &publish.payload, now) => {}
            TAKEN => {
                let octets = publish.payload.as_ref().try_into().map_err(|_| wrong)?;
                let taken = u64::from_be_bytes(octets);
                if taken > self.said_bytes || taken < self.taken_bytes {
                    return Err(wrong);
                }
                self.taken_bytes = taken;
            }
            _ => return Err(wrong),
        }
        Ok(())
    }

    /// PUBACK or PUBREC.
    pub(super) fn acknowledged(
        &self,
        broker: &Broker,
        ack: &Ack,
        received: bool,
    ) -> Result<(), Stop> {
        let (id, qos) = (ack.packet_id, if received { Qos::ExactlyOnce } else { Qos::AtLeastOnce });
        let over = !received || ack.reason.is_error();
        let acked = self.session.acknowledge(&broker.journal, |queue| {
            if over { queue.finish(id, qos) } else { queue.release(id) }
        });
        let reason = match acked {
            // One that is not known is none of ours, or was acknowledged before a restart.
            Acked::Unknown if over => return Ok(()),
            Acked::Over { .. } => return Ok(()),
            Acked::Unknown => Reason::PacketIdentifierNotFound,
            Acked::Released { .. } | Acked::Again => Reason::Success,
        };
        let release = Ack { packet_id: id, reason, reason_string: None };
        let mut inside = self.session.lock();
        if let Some(online) = inside.online.as_mut().filter(|o| o.connection == self.connection) {
            encode(&Packet::PubRel(release), self.version, &mut online.out);
        }
        Ok(())
    }

    /// PUBREL. What it released is forgotten on the disk before the identifier is free again: after
    /// a crash another message under it would be taken for the one that was received.
    pub(super) fn released(
        &mut self,
        broker: &Broker,
        ack: &Ack,
        replies: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let packet_id = ack.packet_id;
        let (known, lasts) = {
            let mut inside = self.session.lock();
            (inside.received.remove(&packet_id), inside.expiry_s > 0)
        };
        let mut receipt = None;
        if known && lasts {
            let hold = self.receipt.get_or_insert_default().hold();
            let row = key(self.session.id, u64::from(packet_id.get()));
            broker.journal.write(Table::Received, row, Change::Gone, Some(hold));
            receipt.clone_from(&self.receipt);
        }
        let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
        let what = Said::Release(Ack { packet_id, reason, reason_string: None });
        self.owe(Owed { what, receipt }, replies)
    }

    /// PUBCOMP.
    pub(super) fn completed(&self, broker: &Broker, ack: &Ack) -> Result<(), Stop> {
        self.session.acknowledge(&broker.journal, |queue| queue.complete(ack.packet_id));
        Ok(())
    }

    /// Another policy may mean the client by other rules.
    pub(super) fn refresh_standing(&mut self, broker: &Broker, now: Tick) {
        if self.standing.0 != broker.rights_number() {
            let (number, rights) = broker.rights();
            let counted = self.is_counted.then(|| broker.meter(&rights, &self.identity, now));
            self.meter = counted.flatten();
            self.standing = (number, rights.standing(self.identity.who()));
        }
    }
}
