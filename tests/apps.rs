//! Apps: programs and devices with certificates of their own. They use a peer's doors as the policy
//! says, and are no peers.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use shared::refusal::Code;
use tests::judge::judge;
use tests::{Credentials, Network, Peer, SOON, Speaker, Trap, raw, wait_until};

/// alice and bob, linked, both with a door for programs; bob's is on the second place.
fn pair(network: &Network) -> [Peer; 2] {
    for node in ["alice", "bob"] {
        let file = network.enroll(node).join("node.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let doors = "mqtt: {tls: \"127.0.0.1:0\", unix: true}";
        std::fs::write(file, format!("{text}\n{doors}\n")).unwrap();
    }
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    [alice, bob]
}

fn port(peer: &Peer) -> String {
    let status: serde_json::Value =
        serde_json::from_str(&peer.ask("mqtt status", &["--json"]).out).unwrap();
    let doors = status["doors"].as_array().unwrap();
    let door = doors.iter().find(|door| door["kind"] == "mqtts").unwrap();
    door["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
}

/// What the app's own files make of one of Mosquitto's clients.
fn client(peer: &Peer, app: &Path, name: &str, line: &str) -> Option<Command> {
    let mut command = Command::new(judge(&[name])?);
    command.args(["-h", "127.0.0.1", "-p", &port(peer), "--insecure", "-V", "5", "-q", "1"]);
    for (flag, file) in
        [("--cafile", "trust.pem"), ("--cert", "id/node.crt"), ("--key", "id/node.key")]
    {
        command.arg(flag).arg(app.join(file));
    }
    command.args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(command)
}

/// Publishes; says whether that was allowed.
fn publishes(peer: &Peer, app: &Path, topic: &str) -> Option<bool> {
    let mut command = client(peer, app, "mosquitto_pub", &format!("-t {topic} -m 21.5"))?;
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(output.status.success() && !said.contains("Warning"))
}

/// Subscribes, and waits until it has.
fn subscribed(peer: &Peer, app: &Path, line: &str) -> Option<Child> {
    let child = client(peer, app, "mosquitto_sub", line)?.spawn().unwrap();
    wait_until("it subscribes", SOON, || {
        let said = peer.ask("mqtt status", &["--json"]).out;
        let status: serde_json::Value = serde_json::from_str(&said).unwrap();
        let sessions = status["sessions"].as_array().unwrap();
        let of_app = |session: &&serde_json::Value| session.to_string().contains("\"meter-7\"");
        let mut sessions = sessions.iter().filter(of_app);
        sessions.any(|session| !session["filters"].as_array().unwrap().is_empty())
    });
    Some(child)
}

#[test]
fn an_app_does_at_any_peer_what_the_policy_lets_it() {
    let network = Network::new();
    let app = network.app("meter-7", "--groups sensors");
    let [alice, bob] = pair(&network);
    let policy = r##"rules:
  - {name: links, allow: [connect], from: any, to: any}
  - {name: meters, allow: [{publish: ["plant/%node/#"]}], from: {groups: [sensors]}, to: any}
  - name: peers
    allow: [{publish: ["#"]}, {subscribe: ["#"]}]
    from: {nodes: [alice, bob]}
    to: any
"##;
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca(&format!("policy push policy.yaml --via {}", alice.address()));
    for peer in [&alice, &bob] {
        wait_until("the policy is there", SOON, || {
            peer.ask("policy show", &[]).out.contains("meters")
        });
    }
    let mut own = Speaker::connected(&alice, "own");
    own.subscribe("plant/#", mqtt::codec::Qos::AtLeastOnce);
    for peer in [&alice, &bob] {
        let Some(allowed) = publishes(peer, &app, "plant/meter-7/t") else { return };
        assert!(allowed, "its own topic at {}", peer.node());
        assert_eq!(&*own.message().topic, "plant/meter-7/t");
        assert_eq!(publishes(peer, &app, "plant/meter-8/t"), Some(false), "another's topic");
    }
    // A node's certificate is still good for its programs, by its own rights.
    let carol = network.enroll("carol");
    assert_eq!(publishes(&bob, &carol, "plant/meter-7/t"), Some(false));
    assert_eq!(publishes(&bob, &network.bundle("alice"), "plant/x"), Some(true));
    assert_eq!(&*own.message().topic, "plant/x");
}

#[test]
fn an_app_that_is_revoked_is_cut_in_mid_flow_at_every_peer() {
    let network = Network::new();
    let app = network.app("meter-7", "");
    let [alice, bob] = pair(&network);
    let sessions = |peer: &Peer| peer.ask("mqtt status", &["--json"]).out.contains("\"meter-7\"");
    let mut flowing = Vec::new();
    for (peer, id) in [(&alice, "a"), (&bob, "b")] {
        let line = format!("-t plant/# -c -x 3600 -i {id}");
        let Some(child) = subscribed(peer, &app, &line) else { return };
        assert!(sessions(peer));
        flowing.push(child);
    }
    assert_eq!(publishes(&alice, &app, "plant/x"), Some(true));
    network.ca(&format!("revoke meter-7 --via {}", alice.address()));
    for peer in [&alice, &bob] {
        wait_until("its session is gone", SOON, || !sessions(peer));
        assert_eq!(publishes(peer, &app, "plant/x"), Some(false));
    }
    for mut child in flowing {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn an_app_is_no_peer_whichever_side_dials() {
    let network = Network::new();
    let app = Credentials::of_bundle(&network.app("meter-7", ""));
    let trap = Trap::set(&app);
    let _ = network.enroll("alice");
    let alice = network.start_dialling("alice", "meter-7", trap.address());
    trap.first().assert_refused(Code::WrongUsage);
    let heard = raw::knock(alice.address(), Some(&app));
    heard.assert_refused(Code::WrongUsage);
    assert_eq!(heard.application_bytes, 0, "{heard:?}");
    alice.wait_event("wrong-usage", "us");
    assert!(alice.links().is_empty());
    // Nor may it ask for a circuit through a relay, or be introduced by a node of good standing.
    raw::Ear::dial_relay(alice.address(), Some(&app)).listen().assert_refused(Code::WrongUsage);
    let bob = Credentials::of_bundle(&network.enroll("bob"));
    let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
    ear.say(&shared::wire::Body::Hello(raw::greeting(&app, 1)).to_frame());
    ear.listen().assert_refused(Code::WrongUsage);
    assert!(alice.links().is_empty());
}

#[test]
fn no_peer_runs_on_the_bundle_of_an_app() {
    let network = Network::new();
    let app = network.app("meter-7", "");
    let said = Peer::fails(&app, "127.0.0.1:0");
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("meter-7 is an app"), "{}", said.err);
    assert!(said.err.contains("mosquitto_pub -h"), "{}", said.err);
    network.ca("renew meter-7 --out meter-7.bundle");
    assert!(network.ca("list").out.contains("app"));
    let shown = network.ca("show meter-7").out;
    assert!(shown.contains("profile     app"), "{shown}");
}

#[test]
fn the_verifier_says_what_an_app_is_for() {
    let network = Network::new();
    let _ = network.app("meter-7", "");
    let judged = |usage: &str| {
        network.try_ca(&format!(
            "verify --roots meter-7.bundle/trust.pem --leaf meter-7.bundle/id/node.crt \
             --usage {usage} --name spiffe://mesh.example/app/meter-7"
        ))
    };
    assert!(judged("program").out.contains("ok: spiffe://mesh.example/app/meter-7"));
    for usage in ["client", "server"] {
        let said = judged(usage);
        assert_eq!(said.code, 3);
        assert!(said.out.contains("wrong-usage"), "{}", said.out);
    }
    let said = network.ca("lint meter-7.bundle/id/node.crt").out;
    assert!(said.contains("ok: an app certificate"), "{said}");
}

#[test]
fn an_app_with_a_quota_is_told_or_slowed_by_its_version() {
    let network = Network::new();
    let app = network.app("meter-7", "--groups sensors");
    let [alice, _bob] = pair(&network);
    let policy = r##"rules:
  - {name: all, allow: [connect, {publish: ["#"]}, {subscribe: ["#"]}], from: any, to: any}
quotas:
  - {name: slow, from: {groups: [sensors]}, messages-per-second: 4}
"##;
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca(&format!("policy push policy.yaml --via {}", alice.address()));
    wait_until("the policy is there", SOON, || alice.ask("policy show", &[]).out.contains("slow"));
    let count = |what: &str| {
        let said = alice.ask("mqtt status", &["--json"]).out;
        serde_json::from_str::<serde_json::Value>(&said).unwrap()[what].as_u64().unwrap()
    };
    let mut own = Speaker::connected(&alice, "own");
    own.subscribe("t", mqtt::codec::Qos::AtLeastOnce);
    let line = "-V 311 -t t -m x --repeat 8 --repeat-delay 0";
    let Some(mut slow) = client(&alice, &app, "mosquitto_pub", line) else { return };
    assert!(slow.status().unwrap().success());
    (0..8).for_each(|_| drop(own.message()));
    assert!(count("slowed") > 0);
    assert_eq!(count("beyond_quota"), 0);
    let line = "-V 5 -t t -m x --repeat 20 --repeat-delay 0";
    let _ = client(&alice, &app, "mosquitto_pub", line).unwrap().status().unwrap();
    assert!(count("beyond_quota") > 0);
}
