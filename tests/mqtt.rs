//! Programs speak MQTT with the peer on their machine, or with any by certificate: Mosquitto's
//! clients, paho, and one of ours that says what they would not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mqtt::codec::{Connect, Qos, Reason, Version, Will};
use tests::judge::{absent, judge};
use tests::{Network, Peer, SOON, Speaker, wait_until};

/// A network whose nodes speak MQTT on free ports.
fn network(nodes: &[&str]) -> Network {
    let network = Network::with(nodes);
    for node in nodes {
        let doors = ["listen", "tls", "websocket"].map(|door| format!("{door}: \"127.0.0.1:0\""));
        speak(&network.bundle(node), &doors.join(", "));
    }
    network
}

fn speak(bundle: &Path, settings: &str) {
    let file = bundle.join("node.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("{text}\nmqtt: {{{settings}}}\n")).unwrap();
}

/// The port of one of a peer's doors.
fn port(peer: &Peer, kind: &str) -> String {
    let status: serde_json::Value =
        serde_json::from_str(&peer.ask("mqtt status", &["--json"]).out).unwrap();
    let doors = status["doors"].as_array().unwrap();
    let door = doors.iter().find(|door| door["kind"] == kind).unwrap();
    door["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
}

/// Runs one of Mosquitto's clients to its end.
fn client(name: &str, folder: &Path, line: &str) -> Option<(bool, String, String)> {
    let program = judge(&[name])?;
    let output = Command::new(program)
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// A `mosquitto_sub` that runs, subscribed.
fn listening(peer: &Peer, folder: &Path, line: &str) -> Option<Child> {
    let program = judge(&["mosquitto_sub"])?;
    let child = Command::new(program)
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it subscribes", SOON, || {
        let said = peer.ask("mqtt status", &["--json"]).out;
        let status: serde_json::Value = serde_json::from_str(&said).unwrap();
        let sessions = status["sessions"].as_array().unwrap();
        sessions.iter().any(|session| !session["filters"].as_array().unwrap().is_empty())
    });
    Some(child)
}

#[test]
fn mosquittos_clients_in_all_versions_and_qualities() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let port = port(&alice, "mqtt");
    let line = format!("-h 127.0.0.1 -p {port} -t plant/# -q 2 -C 9 -W 60");
    let Some(subscriber) = listening(&alice, network.path(), &line) else { return };
    for version in ["31", "311", "5"] {
        for qos in ["0", "1", "2"] {
            let message = format!("-i p{version}{qos} -q {qos} -t plant/t -m {version}/{qos}");
            let line = format!("-h 127.0.0.1 -p {port} -V {version} {message}");
            let (good, _, said) = client("mosquitto_pub", network.path(), &line).unwrap();
            assert!(good, "{line}: {said}");
        }
    }
    let output = subscriber.wait_with_output().unwrap();
    let heard = String::from_utf8(output.stdout).unwrap();
    // A publisher of QoS 0 is gone before it is read: the next connection may be faster.
    let heard: BTreeSet<&str> = heard.lines().collect();
    let all = ["31/0", "31/1", "31/2", "311/0", "311/1", "311/2", "5/0", "5/1", "5/2"];
    assert_eq!(heard, BTreeSet::from(all));
}

#[test]
fn a_program_with_a_certificate_is_let_in_and_one_without_is_not() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let port = port(&alice, "mqtts");
    // The name in alice's certificate is not `localhost`; which it is, other tests prove.
    let base = format!("-h 127.0.0.1 -p {port} --insecure -t t -m x -q 1");
    let bob = "--cafile bob.bundle/trust.pem --cert bob.bundle/id/node.crt \
               --key bob.bundle/id/node.key";
    let bob = bob.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((good, _, said)) = client("mosquitto_pub", network.path(), &format!("{base} {bob}"))
    else {
        return;
    };
    assert!(good, "{said}");
    let (good, _, _) =
        client("mosquitto_pub", network.path(), &format!("{base} --cafile bob.bundle/trust.pem"))
            .unwrap();
    assert!(!good, "without a certificate");
    let other = Network::with(&["mallory"]);
    let foreign = other.bundle("mallory");
    let foreign = foreign.display();
    let line = format!(
        "{base} --cafile bob.bundle/trust.pem --cert {foreign}/id/node.crt --key \
         {foreign}/id/node.key"
    );
    assert!(!client("mosquitto_pub", network.path(), &line).unwrap().0, "of another authority");
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let (good, _, _) = client("mosquitto_pub", network.path(), &format!("{base} {bob}")).unwrap();
    assert!(!good, "revoked");
}

#[test]
fn a_revocation_cuts_a_program_in_mid_flow_and_drops_its_session() {
    let network = network(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let port = port(&alice, "mqtts");
    let line = format!(
        "-h 127.0.0.1 -p {port} --insecure --cafile bob.bundle/trust.pem \
         --cert bob.bundle/id/node.crt --key bob.bundle/id/node.key -V 5 -c -x 3600 -i b -t t -q 1"
    );
    let Some(mut bob) = listening(&alice, network.path(), &line) else { return };
    let mut own = Speaker::connected(&alice, "own");
    assert_eq!(own.publish("t", "before"), Reason::Success);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    wait_until("the session is gone", SOON, || {
        !alice.ask("mqtt status", &["--json"]).out.contains("\"bob\"")
    });
    assert_eq!(own.publish("t", "after"), Reason::NoMatchingSubscribers);
    // It tries to come back, in vain, until it is ended.
    bob.kill().unwrap();
    bob.wait().unwrap();
}

#[test]
fn paho_speaks_with_us() {
    let Some(python) = std::env::var_os("CONCLAVE_PYTHON") else { return absent("paho") };
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let script = r#"
import sys, queue
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
port = int(sys.argv[1])
heard = queue.Queue()
ready = queue.Queue()
s = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="s", protocol=mqtt.MQTTv5)
s.on_connect = lambda c, u, f, r, p: c.subscribe("req/#", qos=2)
s.on_subscribe = lambda c, u, m, r, p: ready.put([str(x) for x in r])
s.on_message = lambda c, u, m: heard.put(m)
s.connect("127.0.0.1", port)
s.loop_start()
assert ready.get(timeout=10) == ["Granted QoS 2"]
p = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="p", protocol=mqtt.MQTTv5)
p.connect("127.0.0.1", port)
p.loop_start()
props = Properties(PacketTypes.PUBLISH)
props.ResponseTopic = "answers/1"
props.CorrelationData = b"\x00\x01"
props.ContentType = "text/plain"
props.UserProperty = [("a", "1"), ("a", "2")]
props.MessageExpiryInterval = 60
for qos in (0, 1, 2):
    p.publish("req/x", b"21.5", qos=qos, properties=props).wait_for_publish(10)
    m = heard.get(timeout=10)
    assert m.qos == qos and m.payload == b"21.5", (m.qos, m.payload)
    assert m.properties.ResponseTopic == "answers/1"
    assert m.properties.CorrelationData == b"\x00\x01"
    assert m.properties.ContentType == "text/plain"
    assert m.properties.UserProperty == [("a", "1"), ("a", "2")]
    assert 50 < m.properties.MessageExpiryInterval <= 60
p.publish("req/kept", b"x", qos=1, retain=True).wait_for_publish(10)
heard.get(timeout=10)
late = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="late")
late.on_connect = lambda c, u, f, r, p: c.subscribe("req/+", qos=1)
late.on_message = lambda c, u, m: heard.put(m)
late.connect("127.0.0.1", port)
late.loop_start()
m = heard.get(timeout=10)
assert m.retain and m.topic == "req/kept"
w = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="w", transport="websockets")
w.on_connect = lambda c, u, f, r, p: c.subscribe("req/+", qos=1)
w.on_message = lambda c, u, m: heard.put(m)
w.connect("127.0.0.1", int(sys.argv[2]))
w.loop_start()
m = heard.get(timeout=10)
assert m.retain and m.topic == "req/kept"
w.publish("req/web", b"y", qos=2).wait_for_publish(10)
got = sorted(heard.get(timeout=10).topic for _ in range(3))
assert got == ["req/web"] * 3, got
for c in (s, p, late, w):
    c.disconnect()
    c.loop_stop()
print("done")
"#;
    let output = Command::new(python)
        .args(["-c", script, &port(&alice, "mqtt"), &port(&alice, "mqtt-ws")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&output.stdout), "done\n", "{}", text(&output.stderr));
}

#[test]
fn our_own_commands_publish_and_subscribe() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let said = network.peer("pub plant/3/temp 21.5 --retain");
    assert_eq!(said.out, "published plant/3/temp; nobody is subscribed to it now\n");
    let said = network.peer("sub plant/# -C 1 --json");
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(value["topic"], "plant/3/temp");
    assert_eq!((&value["payload"], &value["retain"]), (&"21.5".into(), &true.into()));
    let mut own = Speaker::connected(&alice, "own");
    own.subscribe("#", Qos::AtMostOnce);
    let said = network.peer("pub plant/3/temp 22 --qos 2");
    assert_eq!(said.out, "published plant/3/temp\n");
    let refused = network.peer("pub $SYS/x 1");
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("was not published"), "{}", refused.err);
    let refused = network.peer("pub a/+ 1");
    assert_ne!(refused.code, 0);
    let status = alice.ask("mqtt status", &[]).out;
    assert!(status.contains("alice") && status.contains("own"), "{status}");
}

#[test]
fn a_peer_without_doors_says_how_to_open_one() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let said = alice.ask("mqtt status", &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("speaks no MQTT") && said.err.contains("--mqtt"), "{}", said.err);
    let said = network.peer("pub a b");
    assert!(said.err.contains("--mqtt"), "{}", said.err);
}

#[test]
fn without_tls_only_this_machine_is_served() {
    let network = Network::with(&["alice"]);
    speak(&network.bundle("alice"), "listen: \"0.0.0.0:0\"");
    let said = Peer::fails(&network.bundle("alice"), "127.0.0.1:0");
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err.contains("for this machine only") && said.err.contains("mqtts"),
        "{}",
        said.err
    );
}

#[test]
fn users_of_this_machine_are_whom_the_settings_say() {
    let network = Network::with(&["alice"]);
    speak(&network.bundle("alice"), "listen: \"127.0.0.1:0\", users: {red: meter-7}");
    let alice = network.start("alice", &[]);
    let mut own = Speaker::at(&alice);
    let plain = peer::mqtt::plain_connect(Version::V5, "x");
    own.connect(&plain);
    let mut mapped = Speaker::at(&alice);
    mapped.connect(&Connect { username: Some("red".into()), ..plain.clone() });
    let mut unknown = Speaker::at(&alice);
    unknown.connect(&Connect { username: Some("blue".into()), client_id: "y".into(), ..plain });
    let status: serde_json::Value =
        serde_json::from_str(&alice.ask("mqtt status", &["--json"]).out).unwrap();
    let mut who: Vec<String> = status["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| format!("{} {}", session["identity"], session["client"]))
        .collect();
    who.sort();
    assert_eq!(who, [r#""alice" "x""#, r#""alice" "y""#, r#""meter-7" "x""#]);
}

#[test]
fn garbage_is_answered_by_its_reason_and_disturbs_nobody() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let mut witness = Speaker::connected(&alice, "witness");
    witness.subscribe("#", Qos::AtLeastOnce);
    for (octets, expected) in [
        (
            &b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00"[..],
            Some(Reason::UnsupportedProtocolVersion),
        ),
        (b"\xc0\x00", None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
        (b"\x10\xff\xff\xff\x7f", None),
    ] {
        let mut stranger = Speaker::over_tcp(&format!("127.0.0.1:{}", port(&alice, "mqtt")));
        stranger.expect(Version::V311);
        stranger.say_octets(octets);
        assert_eq!(stranger.ended(), expected, "{octets:?}");
    }
    for (octets, expected) in [
        (&b"\x36\x05\x00\x01t\x00\x01"[..], Reason::MalformedPacket),
        (b"\x30\x04\x00\x01\x00\x00", Reason::MalformedPacket),
        (b"\x30\x05\x00\x02\xc3\x28\x00", Reason::MalformedPacket),
        (b"\x30\x05\x00\x01+\x00x", Reason::TopicNameInvalid),
        (b"\x62\x02\x00\x00", Reason::ProtocolError),
        (b"\x82\x06\x00\x01\x00\x00\x00\x00", Reason::TopicFilterInvalid),
        (b"\x20\x02\x00\x00", Reason::ProtocolError),
        (b"\x30\xff\xff\xff\x7f", Reason::PacketTooLarge),
        (b"\xf0\x00", Reason::ProtocolError),
        (b"\x30\x07\x00\x01t\x03\x23\x00\x00", Reason::TopicAliasInvalid),
    ] {
        let mut speaker = Speaker::connected(&alice, "bad");
        speaker.say_octets(octets);
        assert_eq!(speaker.ended(), Some(expected), "{octets:02x?}");
    }
    assert_eq!(witness.publish("t", "still here"), Reason::Success);
    assert_eq!(witness.text(), "still here");
}

#[test]
fn what_clients_choose_does_not_reach_a_terminal_as_it_is() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let mut evil = Speaker::connected(&alice, "\u{1b}[31mred");
    evil.subscribe("\u{1b}]0;title\u{7}/#", Qos::AtMostOnce);
    let said = alice.ask("mqtt status", &[]).out;
    assert!(said.contains("red") && !said.contains('\u{1b}') && !said.contains('\u{7}'), "{said}");
    evil.say_octets(b"\xff\xff");
    evil.ended();
    assert!(!alice.log().contains('\u{1b}'));
}

#[test]
fn a_stop_tells_the_clients_and_a_start_brings_their_sessions_back() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let (mut lasting, present) = Speaker::lasting(&alice, "l");
    assert!(!present);
    lasting.subscribe("t", Qos::AtLeastOnce);
    let mut publisher = Speaker::connected(&alice, "p");
    publisher.retain("kept", "x");
    alice.terminate();
    assert_eq!(lasting.ended(), Some(Reason::ServerShuttingDown));
    let alice = network.start("alice", &[]);
    let mut publisher = Speaker::connected(&alice, "p");
    assert_eq!(publisher.publish("t", "meanwhile"), Reason::Success);
    // Killed at once: what was acknowledged is on the disk.
    alice.kill();
    let alice = network.start("alice", &[]);
    let (mut lasting, present) = Speaker::lasting(&alice, "l");
    assert!(present);
    assert_eq!(lasting.text(), "meanwhile");
    lasting.subscribe("kept", Qos::AtMostOnce);
    assert_eq!(lasting.text(), "x");
}

#[test]
fn a_will_is_told_when_a_peer_that_was_killed_is_back() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let will = Will {
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 0,
        expiry_s: None,
        topic: "meter/state".into(),
        properties: bytes::Bytes::new(),
        payload: bytes::Bytes::from_static(b"offline"),
    };
    let hello = peer::mqtt::plain_connect(Version::V5, "meter");
    let mut meter = Speaker::at(&alice);
    let ack = meter.connect(&Connect { will: Some(will), ..hello });
    assert_eq!(ack.reason, Reason::Success);
    // Acknowledged, it is on the disk, and what was before it too.
    assert!(!meter.retain("meter/state", "online").is_error());
    alice.kill();
    let alice = network.start("alice", &[]);
    let mut watch = Speaker::connected(&alice, "watch");
    watch.subscribe("meter/state", Qos::AtMostOnce);
    let mut heard = watch.text();
    if heard == "online" {
        heard = watch.text();
    }
    assert_eq!(heard, "offline");
}

#[test]
fn much_that_is_retained_is_told_to_the_last() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    let mut publisher = Speaker::connected(&alice, "p");
    let text = "x".repeat(60_000);
    for number in 0..100 {
        assert!(!publisher.retain(&format!("much/{number}"), &text).is_error());
    }
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let mut listener = Speaker::connected(&alice, "l");
        listener.subscribe("much/+", qos);
        let topics: BTreeSet<String> = (0..100).map(|_| listener.message().topic.into()).collect();
        assert_eq!(topics.len(), 100, "{qos:?}");
    }
}

#[test]
fn a_flood_of_connections_is_bounded_and_passes() {
    let network = Network::with(&["alice"]);
    speak(&network.bundle("alice"), "listen: \"127.0.0.1:0\", sessions: 10");
    let alice = network.start("alice", &[]);
    let address = format!("127.0.0.1:{}", port(&alice, "mqtt"));
    let mut own = Speaker::connected(&alice, "own");
    let flood: Vec<Speaker> = (0..900).map(|_| Speaker::over_tcp(&address)).collect();
    assert_eq!(own.publish("t", "x"), Reason::NoMatchingSubscribers);
    let mut refused = 0;
    let mut held = Vec::new();
    for number in 0..20 {
        let mut speaker = Speaker::at(&alice);
        let id = format!("c{number}");
        let ack = speaker.connect(&peer::mqtt::plain_connect(Version::V5, &id));
        refused += usize::from(ack.reason == Reason::QuotaExceeded);
        held.push(speaker);
    }
    assert_eq!(refused, 11);
    drop((flood, held));
    wait_until("there is room again", Duration::from_secs(10), || {
        let mut speaker = Speaker::at(&alice);
        let ack = speaker.connect(&peer::mqtt::plain_connect(Version::V5, "again"));
        ack.reason == Reason::Success
    });
}

#[test]
fn ten_thousand_sessions_are_held() {
    let network = network(&["alice"]);
    let alice = network.start("alice", &[]);
    // Each is made by a connection that comes and goes: descriptors are not what is proved.
    for number in 0..10_000 {
        let mut speaker = Speaker::at(&alice);
        let plain = peer::mqtt::plain_connect(Version::V5, &format!("s{number}"));
        let connect = Connect { clean_start: false, session_expiry_s: 3_600, ..plain };
        assert_eq!(speaker.connect(&connect).reason, Reason::Success);
        if number % 1_000 == 0 {
            speaker.subscribe("t", Qos::AtLeastOnce);
        }
    }
    let mut publisher = Speaker::connected(&alice, "p");
    assert_eq!(publisher.publish("t", "for ten"), Reason::Success);
    let (mut one, present) = Speaker::lasting(&alice, "s9000");
    assert!(present);
    assert_eq!(one.text(), "for ten");
    let status: serde_json::Value =
        serde_json::from_str(&alice.ask("mqtt status", &["--json"]).out).unwrap();
    assert_eq!(status["session_count"], 10_001);
}

#[test]
fn mosquitto_enforces_the_policy_that_was_exported() {
    let Some(mosquitto) = judge(&["mosquitto"]) else { return };
    let network = Network::with(&["alice", "hub"]);
    network.ca("enroll meter-7 --out meter-7.bundle --groups sensors");
    let policy = "rules:\n\
        - {name: own, allow: [{publish: [\"plant/%node/#\"]}], from: {groups: [sensors]},\n\
        \x20  to: any}\n\
        - {name: all, allow: [{subscribe: [\"plant/#\"]}], from: {nodes: [alice]}, to: any}\n\
        quotas: []\ntests: []\n";
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca("policy push policy.yaml");
    let acl = network.ca("policy export --format mosquitto").out;
    std::fs::write(network.path().join("acl"), acl).unwrap();
    network.ca("crl --out crl.pem");
    let port = tests::ports::free_port();
    let hub = network.bundle("hub");
    let hub = hub.display();
    let config = format!(
        "listener {port} 127.0.0.1\ncafile {hub}/trust.pem\ncertfile {hub}/id/node.crt\n\
         keyfile {hub}/id/node.key\nrequire_certificate true\nuse_identity_as_username true\n\
         acl_file {}\nuser root\n",
        network.path().join("acl").display()
    );
    std::fs::write(network.path().join("mosquitto.conf"), config).unwrap();
    let mut engine = Command::new(mosquitto)
        .args(["-c", "mosquitto.conf"])
        .current_dir(network.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let with = |node: &str| {
        format!(
            "-h 127.0.0.1 -p {port} --insecure --cafile {node}.bundle/trust.pem --cert \
             {node}.bundle/id/node.crt --key {node}.bundle/id/node.key"
        )
    };
    wait_until("mosquitto listens", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let line = format!("{} -t plant/# -q 1 -v -C 1 -W 60", with("alice"));
    let hears = Command::new(judge(&["mosquitto_sub"]).unwrap())
        .args(line.split(' '))
        .current_dir(network.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its subscription cannot be seen from here: what is retained reaches it whenever it comes.
    for topic in ["plant/alice/t", "plant/meter-7/t"] {
        let line = format!("{} -t {topic} -m {topic} -q 1 -r", with("meter-7"));
        client("mosquitto_pub", network.path(), &line).unwrap();
    }
    let heard = String::from_utf8(hears.wait_with_output().unwrap().stdout).unwrap();
    engine.kill().unwrap();
    engine.wait().unwrap();
    assert_eq!(heard, "plant/meter-7/t plant/meter-7/t\n", "only what its own policy allows");
}
