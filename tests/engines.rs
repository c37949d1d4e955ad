//! Who trusts whom between a peer and an existing engine: the same certificates at Mosquitto and
//! NATS, and every way in which one of them is the wrong one.

use std::path::Path;

use mqtt::codec::{Connect, Qos, Reason, Version};
use tests::ports::free_port;
use tests::{Engine, Network, Peer, SOON, Speaker, wait_until};

use crate::bridge::{bridge, bridges, program, text_of, wait_error, wait_up};

/// A Mosquitto with the certificate of a bundle, that lets in whom `trust` names; `more` is for its
/// TLS door. Its other door is open to anybody.
fn mosquitto(folder: &Path, bundle: &Path, trust: &Path, more: &str) -> Option<(Engine, u16)> {
    let (open, tls) = (free_port(), free_port());
    let (bundle, trust) = (bundle.display(), trust.display());
    let settings = format!(
        "per_listener_settings true\n\
         listener {open} 127.0.0.1\nallow_anonymous true\n\
         listener {tls} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
         use_identity_as_username true\ncafile {trust}\ncertfile {bundle}/id/node.crt\n\
         keyfile {bundle}/id/node.key\n{more}\n"
    );
    Some((Engine::mosquitto(folder, open, &settings)?, tls))
}

/// Publishes where only some may, for both engines.
const POLICY: &str = "rules:\n\
    - {name: own, allow: [{publish: [\"plant/%node/#\"]}, {subscribe: [\"plant/#\"]}], from: any, \
    to: any}\nquotas: []\ntests: []\n";

#[test]
fn the_same_certificates_and_permissions_at_mosquitto() {
    let network = Network::with(&["alice", "engine"]);
    std::fs::write(network.path().join("policy.yaml"), POLICY).unwrap();
    // The peers are not told: it is the engine that denies.
    network.ca("policy push policy.yaml");
    let acl = network.path().join("acl");
    std::fs::write(&acl, network.ca("policy export --format mosquitto").out).unwrap();
    let (bundle, more) = (network.bundle("engine"), format!("acl_file {}", acl.display()));
    let trust = bundle.join("trust.pem");
    let Some((engine, port)) = mosquitto(network.path(), &bundle, &trust, &more) else { return };
    let url = format!("mqtts://127.0.0.1:{port}");
    let settings = format!(
        "{{name: mq, url: \"{url}\", server-name: engine.mesh.example, \
         in: [\"plant/#\", \"secret/#\"], out: [\"plant/#\"]}}"
    );
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut here = Speaker::connected(&alice, "here");
    let mut there = program(&engine, "there");
    there.subscribe("#", Qos::AtLeastOnce);
    assert!(!here.publish("plant/engine/t", "forged").is_error(), "alice lets it pass");
    here.publish("plant/alice/t", "own");
    let message = there.message();
    assert_eq!((&*message.topic, text_of(&message)), ("plant/alice/t", "own".to_owned()));
    wait_until("the engine denies", SOON, || bridges(&alice)[0]["refused_there"] == 1);
    here.subscribe("plant/#", Qos::AtLeastOnce);
    there.publish("secret/x", "no");
    there.publish("plant/x", "yes");
    assert_eq!(here.text(), "yes");
    let said = alice.ask("bridge check", &[&url, "--server-name", "engine.mesh.example"]).ended(0);
    for words in ["speaks MQTT 5", "engine.mesh.example's", "receive maximum"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    let said = alice.ask("bridge check", &["mq", "--json"]).ended(0).json();
    assert_eq!((&said["version"], &said["tls"]), (&"5".into(), &true.into()));
}

#[test]
fn an_engine_that_is_not_the_right_one_is_refused() {
    let network = Network::with(&["alice", "engine"]);
    let other = Network::of("other.example", "p256");
    let foreign = other.enroll("engine");
    let (alice, own) = (network.bundle("alice"), network.bundle("engine"));
    let trust = alice.join("trust.pem");
    let Some((_engine, good)) = mosquitto(network.path(), &own, &trust, "") else { return };
    let Some((_foreign, bad)) = mosquitto(other.path(), &foreign, &trust, "") else { return };
    let check = |port: u16, more: &str| {
        network.peer(&format!("bridge check alice.bundle mqtts://127.0.0.1:{port}{more}"))
    };
    let ours = " --server-name engine.mesh.example";
    let _ = check(good, ours).ended(0);
    for (port, more, code, words) in [
        (good, "", "wrong-name", "engine.mesh.example, and not for 127.0.0.1"),
        (good, " --server-name alice.mesh.example", "wrong-name", "not for alice.mesh.example"),
        (bad, " --server-name engine.other.example", "foreign-authority", ""),
    ] {
        let said = check(port, more);
        assert_eq!(said.code, 3, "{}", said.err);
        assert!(said.err.contains(code) && said.err.contains(words), "{}", said.err);
    }
    // By its own roots it is let in, under its own name only.
    let roots = format!(" --ca {}", foreign.join("trust.pem").display());
    let _ = check(bad, &format!("{roots} --server-name engine.other.example")).ended(0);
    let said = check(bad, &format!("{roots} --server-name engine.mesh.example"));
    assert!(said.code == 3 && said.err.contains("not valid for name"), "{}", said.err);
    let said = check(good, &format!("{roots}{ours}"));
    assert!(said.code == 3 && said.err.contains("UnknownIssuer"), "{}", said.err);
    let said = network.peer("bridge check alice.bundle nobody");
    assert_eq!(said.code, 2, "{}", said.err);
}

#[test]
fn a_revoked_engine_is_cut_off_and_not_dialled_again() {
    let network = Network::with(&["alice", "engine"]);
    let bundle = network.bundle("engine");
    let trust = bundle.join("trust.pem");
    let Some((_engine, port)) = mosquitto(network.path(), &bundle, &trust, "") else { return };
    let settings = format!(
        "{{url: \"mqtts://127.0.0.1:{port}\", server-name: engine.mesh.example, in: [\"a/#\"]}}"
    );
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    network.ca(&format!("revoke engine --via {}", alice.address()));
    wait_error(&alice, "revoked");
    let line = format!(
        "bridge check alice.bundle mqtts://127.0.0.1:{port} --server-name engine.mesh.example"
    );
    wait_until("the feed is on the disk", SOON, || network.peer(&line).err.contains("revoked"));
}

#[test]
fn an_engine_that_knows_of_our_revocation_says_so() {
    let network = Network::with(&["alice", "engine"]);
    let bundle = network.bundle("engine");
    let trust = bundle.join("trust.pem");
    // The peer itself has not heard of it.
    network.ca("revoke alice");
    network.ca("crl --out crl.pem");
    let more = format!("crlfile {}", network.path().join("crl.pem").display());
    let Some((_engine, port)) = mosquitto(network.path(), &bundle, &trust, &more) else { return };
    let settings = format!(
        "{{url: \"mqtts://127.0.0.1:{port}\", server-name: engine.mesh.example, in: [\"a/#\"]}}"
    );
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_error(&alice, "the engine refuses our certificate: revoked");
}

#[test]
fn a_user_name_and_a_password_where_the_engine_wants_them() {
    let network = Network::with(&["alice"]);
    let Some(passwd) = tests::judge::judge(&["mosquitto_passwd"]) else { return };
    let file = network.path().join("users");
    std::fs::write(&file, "").unwrap();
    let made = std::process::Command::new(passwd)
        .args(["-b", file.to_str().unwrap(), "plant", "open sesame"])
        .status();
    assert!(made.unwrap().success());
    let port = free_port();
    let settings = format!("listener {port} 127.0.0.1\npassword_file {}", file.display());
    let Some(_engine) = Engine::mosquitto(network.path(), port, &settings) else { return };
    let bundle = network.bundle("alice");
    let secret = bundle.join("mq.password");
    let host = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(&secret, text).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    host("wrong\n");
    let settings = format!(
        "{{url: \"mqtt://127.0.0.1:{port}\", in: [a], username: plant, password-file: mq.password}}"
    );
    bridge(&bundle, &settings);
    let alice = network.start("alice", &[]);
    wait_error(&alice, "the engine refuses: not authorized");
    assert!(!alice.log().contains("wrong"), "it is in no log");
    alice.terminate();
    host("open sesame\n");
    let alice = network.start("alice", &[]);
    wait_up(&alice);
}

/// A program at an engine that speaks MQTT 3.1.1.
fn old_program(engine: &Engine, client_id: &str) -> Speaker {
    let mut speaker = Speaker::over_tcp(&engine.address());
    let plain = peer::mqtt::plain_connect(Version::V311, client_id);
    let ack = speaker.connect(&Connect { session_expiry_s: 0, ..plain });
    assert_eq!(ack.reason, Reason::Success);
    speaker
}

#[test]
fn both_directions_with_nats() {
    let network = Network::with(&["alice"]);
    let Some(mut engine) = Engine::nats(network.path(), free_port(), "", "") else { return };
    let url = format!("mqtt://{}", engine.address());
    let said = network.peer(&format!("bridge check alice.bundle {url}"));
    assert!(said.code == 3 && said.err.contains("version: 3.1.1"), "{}", said.err);
    let said = network.peer(&format!("bridge check alice.bundle {url} --v311")).ended(0);
    assert!(said.out.contains("MQTT 3.1.1"), "{}", said.out);
    let mut there = old_program(&engine, "there");
    there.retain("e/kept", "theirs");
    let settings = format!("{{url: \"{url}\", version: 3.1.1, in: [\"e/#\"], out: [\"m/#\"]}}");
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut here = Speaker::connected(&alice, "here");
    here.subscribe("e/#", Qos::AtLeastOnce);
    assert_eq!(here.text(), "theirs", "what is retained comes first");
    there.subscribe("m/#", Qos::AtLeastOnce);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        here.begin("m/t", &format!("{qos:?}"), qos, false);
        assert_eq!(there.text(), format!("{qos:?}"));
        there.begin("e/t", &format!("{qos:?}"), qos, false);
        assert_eq!(here.text(), format!("{qos:?}"));
    }
    here.retain("m/kept", "ours");
    assert_eq!(there.text(), "ours");
    // What is said while it is away waits here.
    engine.kill();
    for n in 0..100 {
        here.begin("m/t", &n.to_string(), Qos::AtLeastOnce, false);
    }
    wait_error(&alice, "the engine");
    let (mut late, ack) = {
        engine.restart();
        let mut late = Speaker::over_tcp(&engine.address());
        let ack = late.connect(&peer::mqtt::plain_connect(Version::V311, "late"));
        (late, ack)
    };
    assert_eq!(ack.reason, Reason::Success);
    late.subscribe("m/#", Qos::AtLeastOnce);
    here.begin("m/t", "end", Qos::AtLeastOnce, false);
    let mut heard = std::collections::BTreeSet::new();
    while !heard.contains("end") {
        heard.insert(late.text());
    }
    wait_until("all went out", SOON, || bridges(&alice)[0]["outgoing"].as_u64().unwrap() >= 104);
}

/// Publishes a policy that only those of a group have a part in, and gives it for NATS.
fn nats_users(network: &Network) -> String {
    let policy = POLICY.replace("from: any", "from: {groups: [sensors]}");
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca("policy push policy.yaml");
    network.ca("policy export --format nats").out
}

#[test]
fn the_same_certificates_and_permissions_at_nats() {
    let network = Network::with(&["engine", "eve"]);
    for node in ["alice", "bob"] {
        network.ca(&format!("enroll {node} --groups sensors --out {node}.bundle"));
    }
    let bundle = network.bundle("engine");
    let door = format!(
        "tls {{ cert_file: \"{0}/id/node.crt\", key_file: \"{0}/id/node.key\", ca_file: \
         \"{0}/trust.pem\", verify_and_map: true }}",
        bundle.display()
    );
    let users = nats_users(&network);
    let port = free_port();
    let Some(engine) = Engine::nats(network.path(), port, &door, &users) else { return };
    engine.accepts();
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(|node| {
        let settings = format!(
            "{{url: \"mqtts://127.0.0.1:{port}\", server-name: engine.mesh.example, version: \
             3.1.1, in: [\"plant/bob/#\", \"all/#\"], out: [\"plant/alice/#\", \"plant/eve/#\"]}}"
        );
        // Each has what is the other's direction.
        let settings = match node {
            "bob" => settings.replace("in:", "x:").replace("out:", "in:").replace("x:", "out:"),
            _ => settings,
        };
        bridge(&network.bundle(node), &settings);
        let peer = network.start(node, &[]);
        wait_up(&peer);
        peer
    });
    let refused = |peer: &Peer| bridges(peer)[0]["refused_filters"].to_string();
    wait_until("eve is denied", SOON, || refused(&eve).contains("plant/bob/#"));
    wait_until("all/# is denied", SOON, || refused(&alice).contains("all/#"));
    assert!(!refused(&alice).contains("plant/bob"), "{}", refused(&alice));
    let [mut at_alice, mut at_bob, mut at_eve] =
        [&alice, &bob, &eve].map(|peer| Speaker::connected(peer, "line"));
    at_alice.subscribe("plant/bob/#", Qos::AtLeastOnce);
    at_bob.subscribe("plant/#", Qos::AtLeastOnce);
    at_eve.publish("plant/eve/t", "eve may not");
    at_alice.publish("plant/eve/t", "forged");
    at_alice.publish("plant/alice/t", "from alice");
    let message = at_bob.message();
    assert_eq!((&*message.topic, text_of(&message)), ("plant/alice/t", "from alice".to_owned()));
    at_bob.publish("plant/bob/t", "from bob");
    assert_eq!(at_bob.text(), "from bob", "his own");
    assert_eq!(at_alice.text(), "from bob");
    wait_until("NATS has said why", SOON, || {
        ["eve", "alice"].iter().all(|user| {
            engine.log().contains(&format!(
                "Publish Violation - User \"{user}.mesh.example\", Subject \"plant.eve.t\""
            ))
        })
    });
}
