//! Conversations in MQTT, one in each version, as the corpus of the fuzzer has them.

use bytes::Bytes;
use mqtt::codec::{
    Ack, ConnAck, Connect, Disconnect, Granted, Options, Packet, PacketId, Publish, Qos, Reason,
    SubAck, Subscribe, Unsubscribe, Version, Will, encode,
};

/// What a program says, and what an endpoint says to it.
#[must_use]
pub fn conversations() -> Vec<Vec<u8>> {
    let versions = [Version::V31, Version::V311, Version::V5];
    versions.into_iter().flat_map(|version| [ours(version), theirs(version)]).collect()
}

fn id() -> PacketId {
    PacketId::new(7).unwrap()
}

fn publish(version: Version) -> Publish {
    let new = version == Version::V5;
    let properties = b"\x01\x01\x08\x00\x01r\x26\x00\x01a\x00\x01b";
    Publish {
        dup: false,
        qos: Qos::ExactlyOnce,
        retain: true,
        topic: "plant/3/temp".into(),
        packet_id: Some(id()),
        alias: new.then_some(PacketId::MIN),
        expiry_s: new.then_some(60),
        subscription_ids: Vec::new(),
        properties: if new { Bytes::from_static(properties) } else { Bytes::new() },
        payload: Bytes::from_static(b"21.5"),
    }
}

fn connect(version: Version) -> Connect {
    let will = Will {
        qos: Qos::AtLeastOnce,
        retain: false,
        delay_s: u32::from(version == Version::V5),
        expiry_s: None,
        topic: "gone".into(),
        properties: Bytes::new(),
        payload: Bytes::from_static(b"x"),
    };
    let plain = peer::mqtt::plain_connect(version, "sensor");
    Connect { will: Some(will), username: Some("red".into()), has_password: true, ..plain }
}

fn ours(version: Version) -> Vec<u8> {
    let options = Options { qos: Qos::AtLeastOnce, ..Options::default() };
    let filters = vec![("plant/+/#".into(), options), ("$share/g/a".into(), options)];
    let ack = Ack { packet_id: id(), reason: Reason::Success, reason_string: None };
    let goodbye = Disconnect {
        reason: Reason::Success,
        session_expiry_s: None,
        reason_string: None,
        server_reference: None,
    };
    written(
        version,
        &[
            Packet::Connect(Box::new(connect(version))),
            Packet::Subscribe(Subscribe { packet_id: id(), id: None, filters }),
            Packet::Publish(publish(version)),
            Packet::PubRel(ack),
            Packet::Unsubscribe(Unsubscribe { packet_id: id(), filters: vec!["plant/+/#".into()] }),
            Packet::PingReq,
            Packet::Disconnect(goodbye),
        ],
    )
}

fn theirs(version: Version) -> Vec<u8> {
    let granted =
        Granted { receive_max: (version == Version::V5).then_some(9), ..Granted::default() };
    let welcome = ConnAck { session_present: false, reason: Reason::Success, granted };
    let ack = Ack { packet_id: id(), reason: Reason::Success, reason_string: None };
    let reasons = vec![Reason::GrantedQos1, Reason::Unspecified];
    written(
        version,
        &[
            Packet::ConnAck(Box::new(welcome)),
            Packet::SubAck(SubAck { packet_id: id(), reasons }),
            Packet::PubRec(ack.clone()),
            Packet::PubComp(ack),
            Packet::Publish(publish(version)),
            Packet::PingResp,
        ],
    )
}

fn written(version: Version, packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    packets.iter().for_each(|packet| encode(packet, version, &mut out));
    out
}
