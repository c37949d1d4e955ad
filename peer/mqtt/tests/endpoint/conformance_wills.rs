//! Normative statements on wills (MQTT 5.0 §3.1.2.5 to §3.1.2.7, §3.1.3.2; MQTT 3.1.1 §3.1.2.5):
//! see docs/mqtt-conformance.md.

use bytes::Bytes;
use mqtt::codec::{Connect, Packet, Publish, Qos, Reason, Version, Will};

use crate::rig::{Line, Rig, at, connect, lasting};

/// Content type, correlation data, a response topic, and user properties whose order is told.
const SAID: &[u8] = b"\x03\0\x01c\x09\0\x02\0\xff\x08\0\x03r/t\
    \x26\0\x01b\0\x011\x26\0\x01a\0\x012\x26\0\x01b\0\x010";

fn will(qos: Qos, retain: bool) -> Will {
    Will {
        qos,
        retain,
        delay_s: 0,
        expiry_s: None,
        topic: "wills/x".into(),
        properties: Bytes::new(),
        payload: Bytes::from_static(b"gone"),
    }
}

fn leaving(version: Version, will: Will) -> Connect {
    let expiry_s = if version == Version::V5 { 3_600 } else { u32::MAX };
    Connect { version, session_expiry_s: expiry_s, will: Some(will), ..lasting("x") }
}

fn witness(rig: &Rig) -> Line {
    let mut line = rig.client("witness");
    line.subscribe("wills/#", at(Qos::ExactlyOnce), rig.now);
    line
}

fn heard(line: &mut Line, rig: &Rig) -> Vec<Publish> {
    let all = line.messages(rig.now);
    for message in &all {
        match message.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => line.ack(message.packet_id.unwrap(), rig.now),
            Qos::ExactlyOnce => {
                let done = crate::rig::success(message.packet_id.unwrap());
                line.say(&Packet::PubRec(done.clone()), rig.now);
                line.say(&Packet::PubComp(done), rig.now);
            }
        }
    }
    all
}

#[test]
fn a_will_is_published_as_it_was_left() {
    let rig = Rig::new();
    for version in [Version::V31, Version::V311, Version::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for retain in [false, true] {
                let mut witness = witness(&rig);
                let mut left = will(qos, retain);
                if version == Version::V5 {
                    left.properties = Bytes::from_static(SAID);
                }
                rig.connected(&leaving(version, left)).0.broken(rig.now);
                let said = heard(&mut witness, &rig);
                assert_eq!((said.len(), said[0].qos, said[0].retain), (1, qos, false));
                assert_eq!((&*said[0].topic, &said[0].payload[..]), ("wills/x", &b"gone"[..]));
                let expected = if version == Version::V5 { SAID } else { &[] };
                assert_eq!(said[0].properties, expected, "all it said, in its order");
                let mut later = rig.client("later");
                later.subscribe("wills/#", at(Qos::AtMostOnce), rig.now);
                assert_eq!(later.messages(rig.now).len(), usize::from(retain), "{version:?}");
                rig.client("p").publish(crate::rig::kept("wills/x", ""), rig.now);
            }
        }
    }
}

#[test]
fn a_will_is_published_once_and_belongs_to_one_connection() {
    let rig = Rig::new();
    let mut witness = witness(&rig);
    for version in [Version::V311, Version::V5] {
        let hello = leaving(version, will(Qos::AtMostOnce, false));
        rig.connected(&hello).0.broken(rig.now);
        assert_eq!(heard(&mut witness, &rig).len(), 1);
        let without = Connect { will: None, ..hello };
        let (line, ack) = rig.connected(&without);
        assert!(ack.session_present);
        line.broken(rig.now);
        assert!(heard(&mut witness, &rig).is_empty(), "the next one left none");
        rig.client("x").leave(Reason::Success, None, rig.now);
    }
}

#[test]
fn every_end_but_a_normal_goodbye_publishes_the_will() {
    let mut rig = Rig::new();
    let mut witness = witness(&rig);
    let hello = |version| {
        let will = will(Qos::AtMostOnce, false);
        Connect { keep_alive_s: 10, ..leaving(version, will) }
    };
    for version in [Version::V311, Version::V5] {
        for (number, what) in ["broken", "protocol", "silence", "taken", "clean", "stop", "goodbye"]
            .into_iter()
            .enumerate()
        {
            let (mut line, _) = rig.connected(&hello(version));
            match number {
                0 => line.broken(rig.now),
                1 => {
                    line.say_octets(&[0xC1, 0], rig.now);
                    line.octets(rig.now);
                }
                2 => {
                    rig.pass_s(15);
                    line.client.handle_timeout(rig.now);
                    line.octets(rig.now);
                }
                3 => {
                    let next = Connect { will: None, ..hello(version) };
                    rig.connected(&next).0.leave(Reason::Success, None, rig.now);
                }
                4 => rig.client("x").leave(Reason::Success, None, rig.now),
                5 => {
                    rig.broker.close();
                    line.octets(rig.now);
                    witness = self::witness(&rig);
                    continue;
                }
                _ => line.leave(Reason::Success, None, rig.now),
            }
            assert_eq!(
                heard(&mut witness, &rig).len(),
                usize::from(number != 6),
                "{what} {version:?}"
            );
        }
    }
    for reason in [Reason::DisconnectWithWill, Reason::Unspecified, Reason::ProtocolError] {
        rig.connected(&hello(Version::V5)).0.leave(reason, None, rig.now);
        assert_eq!(heard(&mut witness, &rig).len(), 1, "{reason:?}");
    }
}

#[test]
fn a_stop_of_the_peer_publishes_wills_too() {
    let rig = Rig::new();
    let hello = leaving(Version::V5, will(Qos::AtMostOnce, true));
    let (mut line, _) = rig.connected(&hello);
    rig.broker.close();
    assert_eq!(line.ended_with(rig.now), Some(Reason::ServerShuttingDown));
    assert_eq!(rig.broker.retained_count(), 1);
}

#[test]
fn a_will_that_waits_is_published_when_its_session_ends_and_not_when_it_goes_on() {
    let mut rig = Rig::new();
    let mut witness = witness(&rig);
    let waiting = Will { delay_s: 60, ..will(Qos::AtMostOnce, false) };
    let hello = leaving(Version::V5, waiting.clone());
    // Another connection to the session, while the first is there and after it broke.
    for breaks in [false, true] {
        let (line, _) = rig.connected(&hello);
        let first = if breaks {
            line.broken(rig.now);
            None
        } else {
            Some(line)
        };
        let (line, ack) = rig.connected(&Connect { will: None, ..hello.clone() });
        assert!(ack.session_present);
        rig.pass_s(600);
        assert!(heard(&mut witness, &rig).is_empty());
        drop(first);
        line.leave(Reason::Success, None, rig.now);
    }
    // A clean start ends the session: what waits is due.
    for breaks in [false, true] {
        let (line, _) = rig.connected(&hello);
        let first = if breaks {
            line.broken(rig.now);
            None
        } else {
            Some(line)
        };
        assert!(heard(&mut witness, &rig).is_empty());
        rig.client("x").leave(Reason::Success, None, rig.now);
        assert_eq!(heard(&mut witness, &rig).len(), 1, "broken before: {breaks}");
        drop(first);
        rig.pass_s(600);
        assert!(heard(&mut witness, &rig).is_empty(), "and once");
    }
    // So does the end of a connection whose session does not last.
    let brief = Connect { session_expiry_s: 0, will: Some(waiting), ..connect("x") };
    rig.connected(&brief).0.broken(rig.now);
    assert_eq!(heard(&mut witness, &rig).len(), 1);
}

#[test]
fn a_will_ages_from_when_it_is_published() {
    let mut rig = Rig::new();
    let mut witness = witness(&rig);
    let waiting = Will { delay_s: 60, expiry_s: Some(100), ..will(Qos::AtMostOnce, false) };
    rig.connected(&leaving(Version::V5, waiting)).0.broken(rig.now);
    rig.pass_s(60);
    assert_eq!(heard(&mut witness, &rig)[0].expiry_s, Some(100));
}
