//! Another codec and another client in Rust agree with ours: rumqttc reads what we write, writes it
//! again, and we read the same; and it speaks with an endpoint in both versions it has.
//!
//! It does not know the short DISCONNECT of MQTT 5; refusals have tables in `peer/mqtt`.

use std::time::Duration;

use bytes::BytesMut;
use mqtt::codec::{Decoder, Packet, Version};
use tests::{Network, SOON};

fn read(mut decoder: Decoder, octets: &[u8]) -> Vec<Packet> {
    let mut buffer = BytesMut::from(octets);
    let mut packets = Vec::new();
    while let Some(packet) = decoder.decode(&mut buffer).unwrap() {
        packets.push(match packet {
            // An empty password is none to it.
            Packet::Connect(mut connect) => {
                connect.has_password = false;
                Packet::Connect(connect)
            }
            other => other,
        });
    }
    assert!(buffer.is_empty());
    packets
}

fn rewritten(version: Version, octets: &[u8]) -> Vec<u8> {
    use rumqttc::mqttbytes::v4;
    use rumqttc::v5::mqttbytes::v5;
    let (mut buffer, mut out) = (BytesMut::from(octets), BytesMut::new());
    while !buffer.is_empty() {
        let written = match version {
            Version::V5 => {
                v5::Packet::read(&mut buffer, None).unwrap().write(&mut out, None).is_ok()
            }
            _ => v4::Packet::read(&mut buffer, 65_536).unwrap().write(&mut out, 65_536).is_ok(),
        };
        assert!(written);
    }
    out.to_vec()
}

#[test]
fn what_we_write_it_reads_and_what_it_writes_we_read() {
    let conversations = tests::talk::conversations();
    for (version, at) in [(Version::V311, 2), (Version::V5, 4)] {
        let (ours, theirs) = (&conversations[at], &conversations[at + 1]);
        let ours =
            if version == Version::V5 { ours.strip_suffix(b"\xe0\x00") } else { Some(&ours[..]) };
        let ours = ours.unwrap();
        let again = rewritten(version, ours);
        assert_eq!(read(Decoder::server(), ours), read(Decoder::server(), &again));
        let again = rewritten(version, theirs);
        let client = || Decoder::client(version);
        assert_eq!(read(client(), theirs), read(client(), &again));
    }
}

fn endpoint() -> (Network, tests::Peer, u16) {
    let network = Network::with(&["alice"]);
    let file = network.bundle("alice").join("node.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("{text}\nmqtt: {{listen: \"127.0.0.1:0\"}}\n")).unwrap();
    let alice = network.start("alice", &[]);
    let said = alice.ask("mqtt status", &["--json"]).out;
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    let address = status["doors"][0]["address"].as_str().unwrap();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    (network, alice, port)
}

#[test]
fn rumqttc_speaks_3_1_1_with_us() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
    let (_network, _alice, port) = endpoint();
    let mut options = MqttOptions::new("rust", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("plant/#", QoS::ExactlyOnce).unwrap();
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match connection.recv_timeout(SOON).unwrap().unwrap() {
            Event::Incoming(Packet::SubAck(_)) => {
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    client.publish("plant/t", qos, false, "21.5").unwrap();
                }
            }
            Event::Incoming(Packet::Publish(message)) => {
                assert_eq!(&message.payload[..], b"21.5");
                heard.push(message.qos as u8);
            }
            _ => {}
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, [0, 1, 2]);
}

#[test]
fn rumqttc_speaks_5_with_us() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{Client, Event, MqttOptions};
    let (_network, _alice, port) = endpoint();
    let mut options = MqttOptions::new("rust", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 10);
    client.publish("kept", QoS::AtLeastOnce, true, "x").unwrap();
    loop {
        match connection.recv_timeout(SOON).unwrap().unwrap() {
            Event::Incoming(Packet::PubAck(_)) => {
                client.subscribe("kept", QoS::AtLeastOnce).unwrap();
            }
            Event::Incoming(Packet::Publish(message)) => {
                assert!(message.retain);
                assert_eq!((&message.topic[..], &message.payload[..]), (&b"kept"[..], &b"x"[..]));
                return;
            }
            _ => {}
        }
    }
}
