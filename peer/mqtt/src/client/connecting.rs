//! CONNECT: who it is, what it wants, what it is granted (MQTT 5.0 §3.1, §3.2).

use std::collections::VecDeque;
use std::sync::Arc;

use bytestring::ByteString;
use shared::time::{Now, Timestamp};

use super::{Client, Open, Stop, stop};
use crate::bridge::BRIDGE_CLIENT;
use crate::broker::PEER_CLIENT;
use crate::codec::{ConnAck, Connect, Granted, Packet, Reason, Version, encode};
use crate::held::Held;
use crate::identity::Identity;
use crate::limits::{
    ALIAS_MAX, CLIENT_ID_BYTES_MAX, KEEP_ALIVE_MAX_S, PACKET_BYTES_MAX, RECEIVE_MAX,
    SESSION_EXPIRY_MAX_S,
};
use crate::session::Kind;
use crate::topic::is_publishable;

impl Client {
    pub(super) fn connect(&mut self, connect: &Connect, now: Now) -> Result<(), Stop> {
        if !self.is_answerable(connect) {
            self.broker.counters.refused.add(1);
            self.ending = Some(Reason::PacketTooLarge);
            self.why = Some("a maximum packet size that is too small for any answer");
            return Ok(());
        }
        if connect.auth_method.is_some() {
            let what = "enhanced authentication; certificates say who somebody is";
            return Err(stop(Reason::BadAuthenticationMethod, what));
        }
        if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
            let what = "a client identifier that is too long";
            return Err(stop(Reason::ClientIdentifierNotValid, what));
        }
        let reserved = connect.client_id.starts_with(PEER_CLIENT);
        if reserved != self.door.peer {
            let what = "a client identifier that is kept for peers";
            return Err(stop(Reason::ClientIdentifierNotValid, what));
        }
        if connect.client_id.starts_with(BRIDGE_CLIENT) != self.door.bridge {
            let what = "a client identifier that is kept for bridges";
            return Err(stop(Reason::ClientIdentifierNotValid, what));
        }
        let kind = if self.door.peer { Kind::Peer } else { Kind::Client };
        let identity = self.identity_of(connect);
        self.check_will(&identity, connect)?;
        let opened = self.broker.open(&identity, connect, kind, now.wall);
        let opened = opened.map_err(|reason| stop(reason, "no room for another session"))?;
        self.broker.counters.connected.add(1);
        let keep_alive_s = granted_keep_alive(connect);
        // One and a half times what was agreed on (§3.1.2.10); 0 is for ever.
        let silence_ms = u64::from(keep_alive_s) * 1500;
        self.silence_ms = Some(silence_ms).filter(|ms| *ms > 0);
        let client_id = opened.session.owner.client.clone();
        let ack = acknowledge(connect, client_id, opened.expiry_s, opened.present);
        encode(&Packet::ConnAck(Box::new(ack)), connect.version, &mut self.replies);
        let (number, rights) = self.broker.rights();
        let standing = (number, rights.standing(identity.who()));
        // What a peer brings was counted where it came from, and what a bridge refuses is lost.
        let is_counted = !self.door.peer && !self.door.bridge;
        let counted = is_counted.then(|| self.broker.meter(&rights, &identity, now.tick));
        self.open = Some(Box::new(Open {
            session: opened.session,
            connection: opened.connection,
            version: connect.version,
            bridge: connect.bridge,
            packet_bytes_max: connect.packet_bytes_max.unwrap_or(u32::MAX),
            since: self.since_of(&identity, now),
            identity,
            standing,
            owed: VecDeque::new(),
            unanswered: 0,
            receipt: None,
            routes: super::Routes::default(),
            publication: None,
            held: Held::default(),
            said_bytes: 0,
            taken_bytes: 0,
            aliases: Vec::new(),
            is_reading: true,
            is_counted,
            meter: counted.flatten(),
            paused_until: None,
        }));
        Ok(())
    }

    /// Whether a CONNACK for this client is no larger than what it takes (§3.1.2.11.4); all else
    /// that it must be told is smaller, or can be left out.
    fn is_answerable(&self, connect: &Connect) -> bool {
        let Some(bytes_max) = connect.packet_bytes_max else { return true };
        let expiry_s = connect.session_expiry_s.min(SESSION_EXPIRY_MAX_S);
        let longest = self.broker.assigned_client_id(u64::MAX);
        let ack = acknowledge(connect, longest, expiry_s, false);
        let mut octets = Vec::new();
        encode(&Packet::ConnAck(Box::new(ack)), connect.version, &mut octets);
        u32::try_from(octets.len()).is_ok_and(|length| length <= bytes_max)
    }

    /// Who a client is: by the door it came through, or by the name it gives there.
    fn identity_of(&self, connect: &Connect) -> Arc<Identity> {
        let named = connect.username.as_ref().and_then(|name| self.door.users.get(&**name));
        Arc::clone(named.unwrap_or(&self.door.identity))
    }

    /// Since when it stands; other peers are told of everybody who is not this peer itself.
    fn since_of(&self, identity: &Identity, now: Now) -> Option<Timestamp> {
        let foreign = *identity.name != *self.broker.node();
        self.door.since.or_else(|| foreign.then_some(now.wall))
    }

    /// A will that could not be published is refused now, and not when nobody hears it.
    fn check_will(&self, identity: &Identity, connect: &Connect) -> Result<(), Stop> {
        let Some(will) = &connect.will else { return Ok(()) };
        let allowed = is_publishable(&will.topic)
            && self.broker.may_publish(identity, &connect.client_id, &will.topic);
        let no = stop(Reason::NotAuthorized, "a will on a topic that it may not publish on");
        if allowed { Ok(()) } else { Err(no) }
    }
}

/// A client that asks for a longer silence than there is gets the longest, if it can be told.
fn granted_keep_alive(connect: &Connect) -> u16 {
    match connect.version {
        Version::V5 => connect.keep_alive_s.min(KEEP_ALIVE_MAX_S),
        Version::V31 | Version::V311 => connect.keep_alive_s,
    }
}

fn acknowledge(
    connect: &Connect,
    client_id: ByteString,
    expiry_s: u32,
    session_present: bool,
) -> ConnAck {
    let assigned = connect.client_id.is_empty();
    let keep_alive_s = granted_keep_alive(connect);
    let granted = Granted {
        session_expiry_s: (expiry_s != connect.session_expiry_s).then_some(expiry_s),
        receive_max: Some(RECEIVE_MAX),
        packet_bytes_max: Some(PACKET_BYTES_MAX),
        client_id: assigned.then_some(client_id),
        alias_max: Some(ALIAS_MAX),
        keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
        ..Granted::default()
    };
    ConnAck { session_present, reason: Reason::Success, granted }
}
