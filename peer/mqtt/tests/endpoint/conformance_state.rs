//! Normative statements on the state of a session, and on what a server grants (MQTT 5.0 §3.1.2.4,
//! §3.2.2.3, §4.1; MQTT 3.1.1 §3.1.2.4, §4.1): see docs/mqtt-conformance.md.

use std::collections::BTreeSet;

use mqtt::State;
use mqtt::codec::{
    Connect, Granted, Options, Packet, Publish, Qos, Reason, Subscribe, Version, Will, encode,
};
use mqtt::journal::Table;
use mqtt::limits::{ALIAS_MAX, PACKET_BYTES_MAX, RECEIVE_MAX};

use crate::rig::{Line, Rig, at, connect, lasting, message, plain, success};

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn send(rig: &Rig, topic: &str, text: &str, qos: Qos) {
    let mut publisher = rig.client("p");
    let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
    publisher.publish(message(topic, text, qos, id), rig.now);
}

fn of(version: Version) -> (Connect, Connect) {
    let expiry_s = if version == Version::V5 { 3_600 } else { u32::MAX };
    let kept = Connect { version, session_expiry_s: expiry_s, ..lasting("s") };
    let clean = Connect { version, ..connect("s") };
    (kept, clean)
}

#[test]
fn a_clean_start_begins_with_nothing() {
    for version in [Version::V311, Version::V5] {
        for breaks in [false, true] {
            let mut rig = Rig::new();
            let (kept, clean) = of(version);
            let (mut line, _) = rig.connected(&kept);
            line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
            // A message on its way out at each quality, and one of QoS 2 on its way in.
            for qos in ALL {
                send(&rig, "t", "x", qos);
            }
            assert_eq!(line.messages(rig.now).len(), 3);
            let id = line.id();
            line.say(&Packet::Publish(message("u", "1", Qos::ExactlyOnce, Some(id))), rig.now);
            rig.sync();
            let heard = line.hear(rig.now);
            assert!(matches!(&heard[..], [Packet::PubRec(ack)] if ack.packet_id == id));
            if breaks {
                line.broken(rig.now);
                send(&rig, "t", "waits", Qos::AtLeastOnce);
            }
            let (mut line, ack) = rig.connected(&clean);
            assert!(!ack.session_present && line.hear(rig.now).is_empty(), "{version:?}");
            send(&rig, "t", "y", Qos::AtLeastOnce);
            assert!(line.hear(rig.now).is_empty(), "it has no subscription");
            let mut witness = rig.client("witness");
            witness.subscribe("u", at(Qos::AtMostOnce), rig.now);
            let said = line.publish(message("u", "2", Qos::ExactlyOnce, Some(id)), rig.now);
            assert_eq!(said, [Packet::PubRec(success(id))]);
            assert_eq!(witness.texts(rig.now), ["2"], "its identifiers mean other messages");
            rig.sync();
            assert!(rig.disk.rows().is_empty(), "nothing of it is on the disk");
        }
    }
}

#[test]
fn a_session_stays_as_long_as_its_connection() {
    let mut rig = Rig::new();
    for version in [Version::V311, Version::V5] {
        let (kept, clean) = of(version);
        let brief = Connect { session_expiry_s: 5, ..kept.clone() };
        let hellos =
            if version == Version::V5 { vec![brief, kept, clean] } else { vec![kept, clean] };
        for hello in hellos {
            let (mut line, _) = rig.connected(&hello);
            line.subscribe("t", at(Qos::AtLeastOnce), rig.now);
            rig.pass_s(60 * 86_400);
            line.say(&Packet::PingReq, rig.now);
            assert_eq!(line.hear(rig.now), [Packet::PingResp]);
            send(&rig, "t", "x", Qos::AtLeastOnce);
            assert_eq!(line.texts(rig.now), ["x"], "{version:?}");
            let lasts = hello.session_expiry_s > 0;
            line.broken(rig.now);
            assert_eq!(rig.connected(&hello).1.session_present, lasts);
            rig.client("s").leave(Reason::Success, None, rig.now);
        }
    }
    let views = rig.broker.views(usize::MAX);
    assert!(views.iter().all(|view| view.client != "s"));
}

#[test]
fn nothing_that_mqtt_has_is_withheld() {
    let rig = Rig::new();
    let will = Will {
        qos: Qos::ExactlyOnce,
        retain: true,
        delay_s: 0,
        expiry_s: None,
        topic: "w".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::new(),
    };
    let (mut line, ack) = rig.connected(&Connect { will: Some(will), ..connect("a") });
    let expected = Granted {
        receive_max: Some(RECEIVE_MAX),
        packet_bytes_max: Some(PACKET_BYTES_MAX),
        alias_max: Some(ALIAS_MAX),
        ..Granted::default()
    };
    assert_eq!((ack.reason, ack.granted), (Reason::Success, expected), "and bounds only");
    let packet_id = line.id();
    let granted = ["t/+", "t/#", "$share/g/t/1"];
    let filters = granted.iter().zip(ALL).map(|(filter, qos)| ((*filter).into(), at(qos)));
    let ask = Subscribe { packet_id, id: Some(268_435_455), filters: filters.collect() };
    line.say(&Packet::Subscribe(ask), rig.now);
    let heard = line.hear(rig.now);
    let [Packet::SubAck(ack)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(ack.reasons, [Reason::Success, Reason::GrantedQos1, Reason::GrantedQos2]);
    for qos in ALL {
        let id = (qos != Qos::AtMostOnce).then(|| line.id());
        let sent = Publish { retain: true, ..message("t/1", "x", qos, id) };
        line.say(&Packet::Publish(sent), rig.now);
        let heard = line.messages(rig.now);
        assert!(heard.iter().all(|message| message.subscription_ids.contains(&268_435_455)));
        assert_eq!(heard.len(), 2, "as one who listens, and as a member");
    }
}

#[test]
fn a_packet_larger_than_was_granted_ends_the_connection() {
    let rig = Rig::new();
    let whole = usize::try_from(PACKET_BYTES_MAX).unwrap();
    for version in [Version::V311, Version::V5] {
        for (more, open) in [(0, true), (1, false)] {
            let (mut line, _) = rig.connected(&Connect { version, ..connect("a") });
            let mut sent = plain("t", "");
            sent.payload = vec![7; whole + more - around(&sent, version)].into();
            let mut octets = Vec::new();
            encode(&Packet::Publish(sent), version, &mut octets);
            assert_eq!(octets.len(), whole + more);
            line.say_octets(&octets, rig.now);
            let heard = line.hear(rig.now);
            assert_eq!(line.state == State::Open, open, "{version:?}");
            if version == Version::V5 && !open {
                let [Packet::Disconnect(said)] = &heard[..] else { panic!("{heard:?}") };
                assert_eq!(said.reason, Reason::PacketTooLarge);
            } else {
                assert!(heard.is_empty(), "{heard:?}");
            }
        }
    }
}

/// What is around the payload of a large PUBLISH.
fn around(publish: &Publish, version: Version) -> usize {
    // Two octets more of length.
    mqtt::codec::publish_bytes(&publish.outgoing(), version) + 2
}

fn ask(line: &mut Line, rig: &Rig, filter: &str, id: u32) {
    let packet_id = line.id();
    let filters = vec![(filter.into(), at(Qos::AtLeastOnce))];
    line.say(&Packet::Subscribe(Subscribe { packet_id, id: Some(id), filters }), rig.now);
    line.hear(rig.now);
}

#[test]
fn who_listens_alone_and_in_a_group_gets_a_copy_for_each() {
    let rig = Rig::new();
    let mut line = rig.client("s");
    for (filter, id) in [("t", 1), ("#", 2), ("$share/g/t", 3), ("$share/h/+", 4)] {
        ask(&mut line, &rig, filter, id);
    }
    for qos in ALL {
        send(&rig, "t", "x", qos);
        let heard = line.messages(rig.now);
        let mut ids: Vec<_> = heard.iter().map(|m| m.subscription_ids.clone()).collect();
        ids.iter_mut().for_each(|ids| ids.sort_unstable());
        ids.sort_unstable();
        assert_eq!(ids, [vec![1, 2], vec![3], vec![4]], "{qos:?}");
    }
    // Where no number was given, none is told.
    let mut plainly = rig.client("plainly");
    plainly.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    send(&rig, "t", "x", Qos::AtLeastOnce);
    assert!(plainly.messages(rig.now)[0].subscription_ids.is_empty());
}

/// A restart without a word to anybody, as after a crash.
fn crashed(rig: Rig, lines: Vec<Line>) -> Rig {
    let rig = rig.restarted();
    drop(lines);
    rig
}

#[test]
fn after_a_restart_what_expired_unsent_is_dropped() {
    let rig = Rig::new();
    let (mut line, _) = rig.connected(&Connect { receive_max: 1, ..lasting("s") });
    line.subscribe("t", at(Qos::ExactlyOnce), rig.now);
    let mut publisher = rig.client("p");
    for (text, expiry_s) in [("sent", Some(10)), ("short", Some(10)), ("long", None)] {
        let id = publisher.id();
        let sent = Publish { expiry_s, ..message("t", text, Qos::ExactlyOnce, Some(id)) };
        publisher.say(&Packet::Publish(sent), rig.now);
    }
    let first = line.messages(rig.now);
    assert_eq!((first.len(), &first[0].payload[..]), (1, &b"sent"[..]));
    line.broken(rig.now);
    for (text, expiry_s) in [("later", 5), ("latest", 500)] {
        let id = publisher.id();
        let sent = message("t", text, Qos::AtLeastOnce, Some(id));
        publisher.say(&Packet::Publish(Publish { expiry_s: Some(expiry_s), ..sent }), rig.now);
    }
    let mut rig = crashed(rig, vec![publisher]);
    rig.pass_s(60);
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(ack.session_present);
    let heard = line.messages(rig.now);
    let said: Vec<_> = heard.iter().map(|m| (&m.payload[..], m.dup, m.expiry_s)).collect();
    let expected =
        [(&b"sent"[..], true, Some(1)), (b"long", false, None), (b"latest", false, Some(440))];
    assert_eq!(said, expected, "what was sent is sent again; what was not is as new");
    assert_eq!(heard[0].packet_id, first[0].packet_id);
    // Of a connection that the crash itself broke, all may have been sent.
    send(&rig, "t", "new", Qos::AtLeastOnce);
    assert_eq!(line.texts(rig.now), ["new"]);
    let mut rig = crashed(rig, vec![line]);
    rig.pass_s(3_000);
    let heard = rig.connected(&lasting("s")).0.messages(rig.now);
    assert!(heard.len() == 4 && heard.iter().all(|message| message.dup));
}

fn leaving(id: &str, expiry_s: u32, delay_s: u32, retain: bool) -> Connect {
    let will = Will {
        qos: Qos::AtLeastOnce,
        retain,
        delay_s,
        expiry_s: Some(100),
        topic: "w".into(),
        properties: bytes::Bytes::from_static(b"\x26\0\x01a\0\x01b"),
        payload: bytes::Bytes::copy_from_slice(id.as_bytes()),
    };
    Connect { session_expiry_s: expiry_s, will: Some(will), ..lasting(id) }
}

#[test]
fn a_will_outlives_a_crash_of_the_peer() {
    let mut rig = Rig::new();
    rig.connected(&lasting("witness")).0.subscribe("w", at(Qos::AtLeastOnce), rig.now);
    let mut lines: Vec<Line> = Vec::new();
    for (id, expiry_s, delay_s) in
        [("brief", 0, 0), ("brief-late", 0, 60), ("lasting", 3_600, 0), ("late", 3_600, 60)]
    {
        lines.push(rig.connected(&leaving(id, expiry_s, delay_s, false)).0);
    }
    // Taken back, broken off before, and one whose next connection left none.
    rig.connected(&leaving("gone", 3_600, 60, false)).0.leave(Reason::Success, None, rig.now);
    rig.connected(&leaving("waits", 3_600, 600, false)).0.broken(rig.now);
    rig.connected(&leaving("none", 3_600, 60, false)).0.broken(rig.now);
    lines.push(rig.connected(&lasting("none")).0);
    rig.pass_s(30);
    let mut rig = crashed(rig, lines);
    rig.pass_s(0);
    let (mut witness, ack) = rig.connected(&lasting("witness"));
    assert!(ack.session_present);
    let told = |line: &mut Line, rig: &Rig| {
        let heard = line.messages(rig.now);
        for message in &heard {
            line.ack(message.packet_id.unwrap(), rig.now);
            assert_eq!((message.qos, message.expiry_s), (Qos::AtLeastOnce, Some(100)));
            assert_eq!(&message.properties[..], b"\x26\0\x01a\0\x01b");
        }
        let mut texts: Vec<_> = heard.iter().map(|message| message.payload.clone()).collect();
        texts.sort_unstable();
        texts
    };
    assert_eq!(told(&mut witness, &rig), ["brief", "brief-late", "lasting"]);
    let views = rig.broker.views(usize::MAX);
    assert!(views.iter().all(|view| !view.client.starts_with("brief")), "{views:?}");
    rig.pass_s(60);
    assert_eq!(told(&mut witness, &rig), ["late"]);
    rig.pass_s(600 - 90);
    assert_eq!(told(&mut witness, &rig), ["waits"], "when it was due before");
    // Once: nothing of it is left for another restart.
    let mut rig = crashed(rig, vec![witness]);
    rig.pass_s(3_000);
    let (mut witness, _) = rig.connected(&lasting("witness"));
    assert!(told(&mut witness, &rig).is_empty());
}

#[test]
fn a_will_that_waits_over_a_crash_is_taken_back_by_its_client() {
    let rig = Rig::new();
    let hello = leaving("x", 3_600, 60, true);
    let line = rig.connected(&hello).0;
    let mut rig = crashed(rig, vec![line]);
    rig.pass_s(59);
    let (line, ack) = rig.connected(&hello);
    assert!(ack.session_present);
    line.leave(Reason::Success, None, rig.now);
    let mut rig = crashed(rig, Vec::new());
    rig.pass_s(600);
    assert_eq!(rig.broker.retained_count(), 0, "nor is it there after the next one");
    let line = rig.connected(&hello).0;
    let mut rig = crashed(rig, vec![line]);
    rig.pass_s(60);
    assert_eq!(rig.broker.retained_count(), 1, "who does not come back is told of");
}

#[test]
fn nobody_who_is_out_leaves_a_will_over_a_crash() {
    for out in [false, true] {
        let rig = Rig::new();
        let (line, _) = rig.connected_as("meter-7", &leaving("x", 0, 0, true));
        let mut rig = crashed(rig, vec![line]);
        rig.broker.set_barred(Box::new(move |name, _| out && name.as_str() == "meter-7"));
        rig.pass_s(0);
        assert_eq!(rig.broker.retained_count(), usize::from(!out));
        rig.sync();
        assert_eq!(rig.disk.rows().len(), usize::from(!out), "its row is gone");
    }
}

/// Rows of every table, written by sessions, messages and a will.
fn written() -> Rig {
    let mut rig = Rig::new();
    let (mut line, _) = rig.connected(&leaving("s", 3_600, 60, true));
    line.subscribe("t/#", at(Qos::ExactlyOnce), rig.now);
    line.subscribe("$share/g/u", at(Qos::AtLeastOnce), rig.now);
    send(&rig, "t/1", "x", Qos::AtLeastOnce);
    rig.client("k").publish(Publish { retain: true, ..plain("t/2", "x") }, rig.now);
    let id = line.id();
    line.say(&Packet::Publish(message("t/3", "x", Qos::ExactlyOnce, Some(id))), rig.now);
    line.broken(rig.now);
    rig.sync();
    rig
}

#[test]
fn rows_that_are_none_are_dropped_wherever_they_are_cut_or_changed() {
    let rows = written().disk.rows();
    assert_eq!(rows.keys().map(|(table, _)| table).collect::<BTreeSet<_>>().len(), 5);
    let fresh = |hurt: &dyn Fn(&mut Vec<u8>), at: (Table, &[u8])| {
        let rig = Rig::new();
        for ((table, key), value) in &rows {
            let mut value = value.clone();
            if (*table, &key[..]) == at {
                hurt(&mut value);
            }
            rig.broker.recall(*table, key, &value, rig.now.wall);
        }
        // It serves whoever comes, whatever it remembers.
        let (mut line, _) = rig.connected(&lasting("s"));
        line.hear(rig.now);
        line.broken(rig.now);
    };
    for ((table, key), value) in &rows {
        for place in 0..value.len() {
            fresh(&|value| value.truncate(place), (*table, key));
            for bit in [0x01, 0x20, 0x80] {
                fresh(&|value| value[place] ^= bit, (*table, key));
            }
        }
    }
}

#[test]
fn rows_of_before_are_read() {
    let rows = written().disk.rows();
    let rig = Rig::new();
    for ((table, key), value) in &rows {
        let mut value = value.clone();
        match table {
            // Without what was not sent.
            Table::Sessions => {
                assert_eq!((value[0], value.pop()), (0x89, Some(0)));
                value[0] = 0x88;
            }
            // Without who retained it.
            Table::Retained => {
                let record = value.iter().position(|octet| *octet == 0x88).unwrap();
                assert_eq!(value.split_off(value.len() - 2), b"\x61k");
                value[record] = 0x87;
            }
            _ => {}
        }
        assert!(rig.broker.recall(*table, key, &value, rig.now.wall).is_some(), "{table:?}");
    }
    let (mut line, ack) = rig.connected(&lasting("s"));
    assert!(ack.session_present);
    assert!(line.messages(rig.now).iter().all(|message| message.dup), "all may have been sent");
    line.ask_for("t/2", Options { no_local: true, ..at(Qos::AtMostOnce) }, rig.now);
    assert_eq!(line.messages(rig.now).len(), 1);
}
