//! CONNECT, sessions that are taken over, silence, and connections that end.

use mqtt::State;
use mqtt::codec::{Connect, Packet, Qos, Reason, Version, Will};
use mqtt::limits::{CLIENT_ID_BYTES_MAX, CONNECT_MS, RECEIVE_MAX};

use crate::rig::{Rig, at, connect, lasting, message, plain};

#[test]
fn all_three_versions_are_spoken_on_one_endpoint() {
    let rig = Rig::new();
    for version in [Version::V31, Version::V311, Version::V5] {
        let id = format!("{version:?}");
        let (mut line, ack) = rig.connected(&Connect { version, ..connect(&id) });
        assert_eq!((ack.reason, ack.session_present), (Reason::Success, false));
        assert_eq!(line.subscribe("a", at(Qos::AtMostOnce), rig.now), Reason::Success);
        line.publish(plain("a", "x"), rig.now);
        line.say(&Packet::PingReq, rig.now);
        assert!(line.hear(rig.now).contains(&Packet::PingResp));
    }
}

#[test]
fn the_first_packet_is_connect_and_there_is_no_second() {
    let rig = Rig::new();
    let mut stranger = rig.door("alice");
    stranger.say(&Packet::PingReq, rig.now);
    assert!(stranger.hear(rig.now).is_empty());
    assert_eq!(stranger.state, State::Ending);
    let mut line = rig.client("a");
    line.say(&Packet::Connect(Box::new(connect("a"))), rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ProtocolError));
}

#[test]
fn who_has_no_identifier_is_given_one_of_his_own() {
    let rig = Rig::new();
    let (_one, first) = rig.connected(&connect(""));
    let (_other, second) = rig.connected(&connect(""));
    let (first, second) = (first.granted.client_id.unwrap(), second.granted.client_id.unwrap());
    assert_ne!(first, second);
    let (_, ack) = rig.connected(&connect("own"));
    assert_eq!((ack.granted.client_id, ack.granted.receive_max), (None, Some(RECEIVE_MAX)));
}

#[test]
fn identifiers_that_are_too_long_or_kept_for_peers_are_refused() {
    let rig = Rig::new();
    for id in ["x".repeat(CLIENT_ID_BYTES_MAX + 1), "$peer".to_owned(), "$peer-x".to_owned()] {
        let (_, ack) = rig.connected(&connect(&id));
        assert_eq!(ack.reason, Reason::ClientIdentifierNotValid, "{id}");
    }
    let (_, ack) = rig.connected(&connect(&"x".repeat(CLIENT_ID_BYTES_MAX)));
    assert_eq!(ack.reason, Reason::Success);
}

#[test]
fn enhanced_authentication_is_refused_by_its_name() {
    let rig = Rig::new();
    let method = Some("SCRAM-SHA-1".into());
    let (line, ack) = rig.connected(&Connect { auth_method: method, ..connect("a") });
    assert_eq!(ack.reason, Reason::BadAuthenticationMethod);
    assert_eq!(line.state, State::Ending);
}

#[test]
fn another_connection_takes_a_session_over_and_the_first_is_told() {
    let rig = Rig::new();
    let (mut first, _) = rig.connected(&lasting("a"));
    first.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    let (mut second, ack) = rig.connected(&lasting("a"));
    assert!(ack.session_present);
    assert_eq!(first.ended_with(rig.now), Some(Reason::SessionTakenOver));
    first.broken(rig.now);
    second.publish(plain("t", "x"), rig.now);
    assert_eq!(
        rig.broker.views(usize::MAX).len(),
        1,
        "the end of the first is none of the second's"
    );
}

#[test]
fn nobody_takes_over_what_is_another_identitys() {
    let rig = Rig::new();
    let (mut own, _) = rig.connected_as("meter-7", &lasting("a"));
    let (_, ack) = rig.connected_as("meter-8", &lasting("a"));
    assert!(!ack.session_present);
    assert_eq!(own.ended_with(rig.now), None);
    assert_eq!(rig.broker.views(usize::MAX).len(), 2);
}

#[test]
fn who_is_silent_for_too_long_is_told_and_ended() {
    let mut rig = Rig::new();
    let (mut line, _) = rig.connected(&Connect { keep_alive_s: 10, ..connect("a") });
    assert_eq!(line.client.next_deadline(), Some(rig.now.tick.plus_ms(15_000)));
    rig.pass_s(14);
    line.client.handle_timeout(rig.now);
    line.say(&Packet::PingReq, rig.now);
    rig.pass_s(14);
    line.client.handle_timeout(rig.now);
    assert_eq!(line.ended_with(rig.now), None);
    rig.pass_s(1);
    line.client.handle_timeout(rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::KeepAliveTimeout));
}

#[test]
fn a_keep_alive_beyond_the_bound_is_granted_as_the_bound() {
    let rig = Rig::new();
    let (_, ack) = rig.connected(&Connect { keep_alive_s: u16::MAX, ..connect("a") });
    assert_eq!(ack.granted.keep_alive_s, Some(3_600));
    let (_, ack) = rig.connected(&Connect { keep_alive_s: 60, ..connect("b") });
    assert_eq!(ack.granted.keep_alive_s, None);
}

#[test]
fn who_says_nothing_at_all_is_ended() {
    let mut rig = Rig::new();
    let mut line = rig.door("alice");
    assert_eq!(line.client.next_deadline(), Some(rig.now.tick.plus_ms(CONNECT_MS)));
    rig.pass_s(CONNECT_MS / 1000);
    line.client.handle_timeout(rig.now);
    assert!(line.hear(rig.now).is_empty());
    assert_eq!(line.state, State::Ending);
}

fn with_will(id: &str, delay_s: u32) -> Connect {
    let will = Will {
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s,
        expiry_s: Some(100),
        topic: "wills/a".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::from_static(b"gone"),
    };
    Connect { will: Some(will), ..lasting(id) }
}

#[test]
fn a_will_is_published_when_its_owner_breaks_off_and_not_when_he_leaves() {
    let rig = Rig::new();
    let mut witness = rig.client("witness");
    witness.subscribe("wills/#", at(Qos::ExactlyOnce), rig.now);
    let (line, _) = rig.connected(&with_will("a", 0));
    line.leave(Reason::Success, None, rig.now);
    assert!(witness.messages(rig.now).is_empty());
    let (line, _) = rig.connected(&with_will("a", 0));
    line.leave(Reason::DisconnectWithWill, None, rig.now);
    let heard = witness.messages(rig.now);
    assert_eq!((heard.len(), heard[0].qos, heard[0].expiry_s), (1, Qos::AtLeastOnce, Some(100)));
    witness.ack(heard[0].packet_id.unwrap(), rig.now);
    let (line, _) = rig.connected(&with_will("a", 0));
    line.broken(rig.now);
    assert_eq!(witness.texts(rig.now), ["gone"]);
    let mut later = rig.client("later");
    later.subscribe("wills/#", at(Qos::AtMostOnce), rig.now);
    assert_eq!(rig.broker.retained_count(), 1, "it was to be retained");
}

#[test]
fn a_will_waits_for_its_delay_and_is_forgotten_if_its_owner_comes_back() {
    let mut rig = Rig::new();
    let mut witness = rig.client("witness");
    witness.subscribe("wills/#", at(Qos::AtMostOnce), rig.now);
    let (line, _) = rig.connected(&with_will("a", 60));
    line.broken(rig.now);
    rig.pass_s(59);
    assert!(witness.messages(rig.now).is_empty());
    let (line, ack) = rig.connected(&with_will("a", 60));
    assert!(ack.session_present);
    rig.pass_s(120);
    assert!(witness.messages(rig.now).is_empty(), "its owner is back");
    line.broken(rig.now);
    rig.pass_s(60);
    assert_eq!(witness.texts(rig.now), ["gone"]);
}

#[test]
fn a_delayed_will_does_not_outlive_its_session() {
    let mut rig = Rig::new();
    let mut witness = rig.client("witness");
    witness.subscribe("wills/#", at(Qos::AtMostOnce), rig.now);
    let short = Connect { session_expiry_s: 5, ..with_will("a", 60) };
    rig.connected(&short).0.broken(rig.now);
    rig.pass_s(5);
    assert_eq!(witness.texts(rig.now), ["gone"]);
    assert_eq!(rig.broker.views(usize::MAX).len(), 1, "only the witness is left");
}

#[test]
fn packets_of_a_server_and_acknowledgements_of_nothing_do_no_harm() {
    let rig = Rig::new();
    let mut line = rig.client("a");
    let id = line.id();
    line.ack(id, rig.now);
    line.say(&Packet::PubComp(crate::rig::success(id)), rig.now);
    assert!(line.hear(rig.now).is_empty());
    line.say(&Packet::PubRec(crate::rig::success(id)), rig.now);
    let said = line.hear(rig.now);
    let Packet::PubRel(ack) = &said[0] else { panic!("{said:?}") };
    assert_eq!(ack.reason, Reason::PacketIdentifierNotFound);
    line.say(&Packet::PingResp, rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ProtocolError));
}

#[test]
fn more_at_once_than_was_granted_ends_the_connection() {
    let rig = Rig::new();
    let mut line = rig.client("a");
    for _ in 0..RECEIVE_MAX {
        let id = line.id();
        line.say(&Packet::Publish(message("t", "x", Qos::ExactlyOnce, Some(id))), rig.now);
    }
    assert_eq!(line.ended_with(rig.now), None, "as many as were granted");
    let id = line.id();
    line.say(&Packet::Publish(message("t", "x", Qos::ExactlyOnce, Some(id))), rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ReceiveMaximumExceeded));
}
