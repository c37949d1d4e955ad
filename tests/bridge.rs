//! Bridges to Mosquitto: both directions, every quality, no message twice round, none lost when
//! either side is killed.

use std::path::Path;

use mqtt::codec::{Connect, Packet, Publish, Qos, Reason, Version};
use serde_json::Value;
use tests::pipe::Pipe;
use tests::{Engine, Network, Peer, SOON, Speaker, wait_until};

use crate::topics::wait_interest;

/// Has a node bridge to an engine, by a line of settings.
pub(crate) fn bridge(bundle: &Path, settings: &str) {
    let file = bundle.join("node.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("{text}\nmqtt: {{unix: true}}\nbridge:\n  - {settings}\n"))
        .unwrap();
}

pub(crate) fn bridges(peer: &Peer) -> Vec<Value> {
    let said = peer.ask("bridge status", &["--json"]).ended(0);
    serde_json::from_str::<Value>(&said.out).unwrap().as_array().unwrap().clone()
}

pub(crate) fn wait_up(peer: &Peer) {
    wait_until(&format!("the bridge of {} is up", peer.node()), SOON, || {
        bridges(peer)[0]["state"] == "up"
    });
}

/// Waits until it is not up, for a reason with these words; gives the reason.
pub(crate) fn wait_error(peer: &Peer, words: &str) {
    wait_until(&format!("{words:?} ends the bridge of {}", peer.node()), SOON, || {
        let bridge = &bridges(peer)[0];
        let error = bridge["last_error"].as_str().unwrap_or_default();
        bridge["state"] != "up" && error.contains(words)
    });
}

/// A program at an engine.
pub(crate) fn program(engine: &Engine, client_id: &str) -> Speaker {
    let mut speaker = Speaker::over_tcp(&engine.address());
    let ack = speaker.connect(&peer::mqtt::plain_connect(Version::V5, client_id));
    assert_eq!(ack.reason, Reason::Success);
    speaker
}

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

pub(crate) fn text_of(message: &Publish) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

/// All that is said up to a text.
fn texts_until(speaker: &mut Speaker, last: &str) -> Vec<String> {
    let mut heard = vec![speaker.text()];
    while heard.last().is_none_or(|text| text != last) {
        heard.push(speaker.text());
    }
    heard
}

#[test]
fn both_directions_in_every_quality() {
    let network = Network::with(&["alice"]);
    let Some(engine) = Engine::open_mosquitto(network.path()) else { return };
    let settings = format!(
        "{{url: \"mqtt://{}\", in: [\"e/#\"], out: [\"m/#\"], qos: 2, prefix: site1/}}",
        engine.address()
    );
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut here = Speaker::connected(&alice, "here");
    let mut there = program(&engine, "there");
    here.subscribe("#", Qos::AtLeastOnce);
    there.subscribe("site1/#", Qos::AtLeastOnce);
    for qos in ALL {
        here.begin("m/t", &format!("{qos:?}"), qos, false);
        release(&mut here, qos);
    }
    for qos in ALL {
        let message = there.message();
        let expected = ("site1/m/t", format!("{qos:?}"));
        assert_eq!((&*message.topic, text_of(&message)), expected);
        assert_eq!(message.qos, qos.min(Qos::AtLeastOnce));
    }
    drain(&mut here, 3);
    for qos in ALL {
        there.begin("site1/e/t", &format!("{qos:?}"), qos, false);
        release(&mut there, qos);
    }
    for qos in ALL {
        let message = here.message();
        assert_eq!((&*message.topic, text_of(&message)), ("e/t", format!("{qos:?}")));
    }
    // What nobody asked for stays where it is.
    here.publish("other", "x");
    here.publish("m/end", "end");
    drain(&mut there, 3);
    assert_eq!(there.text(), "end");
    let bridge = &bridges(&alice)[0];
    assert_eq!((&bridge["incoming"], &bridge["outgoing"]), (&3.into(), &4.into()));
    assert_eq!((&bridge["looped"], &bridge["strays"]), (&0.into(), &0.into()));
}

/// Goes on with a message of QoS 2.
fn release(speaker: &mut Speaker, qos: Qos) {
    if qos == Qos::ExactlyOnce {
        let ack = speaker.await_packet(|packet| match packet {
            Packet::PubRec(ack) => Some(ack.clone()),
            _ => None,
        });
        speaker.say(&Packet::PubRel(ack));
    }
}

/// Takes messages that it has said itself.
fn drain(speaker: &mut Speaker, count: usize) {
    for _ in 0..count {
        let _ = speaker.message();
    }
}

#[test]
fn the_same_topics_both_ways_do_not_go_round() {
    let network = Network::with(&["alice", "bob"]);
    let Some(engine) = Engine::open_mosquitto(network.path()) else { return };
    for node in ["alice", "bob"] {
        let all = format!(
            "{{name: mq, url: \"mqtt://{}\", in: [\"#\"], out: [\"#\"]}}",
            engine.address()
        );
        bridge(&network.bundle(node), &all);
    }
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut there = program(&engine, "there");
    there.subscribe("#", Qos::AtLeastOnce);
    let mut here = Speaker::connected(&alice, "here");
    here.subscribe("#", Qos::AtLeastOnce);
    // With one bridge each is heard once.
    here.publish("t", "ours");
    assert_eq!((here.text(), there.text()), ("ours".to_owned(), "ours".to_owned()));
    there.publish("t", "theirs");
    assert_eq!((here.text(), there.text()), ("theirs".to_owned(), "theirs".to_owned()));
    assert_eq!(there.publish("t", "end"), Reason::Success);
    assert_eq!((here.text(), there.text()), ("end".to_owned(), "end".to_owned()));
    // With two, once for each bridge on its way, and no more.
    let bob = network.start("bob", &[&alice]);
    wait_up(&bob);
    wait_interest(&alice, "bob", 1);
    wait_interest(&bob, "alice", 1);
    for (from, text) in [(0, "from alice"), (1, "from the engine")] {
        let speaker = if from == 0 { &mut here } else { &mut there };
        speaker.publish("t", text);
    }
    wait_until("what went round was dropped", SOON, || {
        [&alice, &bob].iter().all(|peer| bridges(peer)[0]["looped"].as_u64().unwrap() >= 1)
    });
    here.publish("t", "ours last");
    there.publish("t", "theirs last");
    for speaker in [&mut here, &mut there] {
        let mut heard = Vec::new();
        while ["ours last", "theirs last"].iter().any(|last| !heard.iter().any(|text| text == last))
        {
            heard.push(speaker.text());
        }
        for text in ["from alice", "from the engine"] {
            let copies = heard.iter().filter(|heard| *heard == text).count();
            assert!((1..=2).contains(&copies), "{copies} of {text:?} in {heard:?}");
        }
    }
}

#[test]
fn what_is_retained_is_retained_at_the_other_side() {
    let network = Network::with(&["alice"]);
    let Some(engine) = Engine::open_mosquitto(network.path()) else { return };
    let mut there = program(&engine, "there");
    there.retain("both/a", "engine's");
    there.retain("e/x", "theirs");
    let settings = format!(
        "{{url: \"mqtt://{}\", in: [\"e/#\", \"both/#\"], out: [\"m/#\", \"both/#\"]}}",
        engine.address()
    );
    let bundle = network.bundle("alice");
    bridge(&bundle, &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut here = Speaker::connected(&alice, "here");
    for (topic, text) in [("both/a", "engine's"), ("e/x", "theirs")] {
        here.subscribe(topic, Qos::AtLeastOnce);
        assert_eq!(here.text(), text);
    }
    here.retain("m/y", "ours");
    here.retain("both/b", "peer's");
    let all = ["both/a engine's", "both/b peer's", "e/x theirs", "m/y ours"];
    let retained = |speaker: &mut Speaker| {
        speaker.subscribe("#", Qos::AtMostOnce);
        let mut heard: Vec<String> = Vec::new();
        while heard.len() < all.len() {
            let message = speaker.message();
            assert!(message.retain, "{message:?}");
            heard.push(format!("{} {}", message.topic, text_of(&message)));
        }
        heard.sort();
        heard
    };
    there.subscribe("m/end", Qos::AtLeastOnce);
    here.publish("m/end", "end");
    assert_eq!(there.text(), "end", "what was said before has crossed before");
    let mut look = program(&engine, "look");
    assert_eq!(retained(&mut look), all);
    let mut look = Speaker::connected(&alice, "look");
    assert_eq!(retained(&mut look), all);
}

/// A Mosquitto that keeps on its disk what it has when it is stopped.
fn keeping(network: &Network) -> Option<Engine> {
    let port = tests::ports::free_port();
    let folder = network.path().display();
    let keep = format!("persistence true\npersistence_location {folder}/\n");
    let settings = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{keep}");
    Engine::mosquitto(network.path(), port, &settings)
}

/// A program at an engine, in a session that lasts.
fn lasting_program(engine: &Engine, client_id: &str) -> Speaker {
    let mut speaker = Speaker::over_tcp(&engine.address());
    let plain = peer::mqtt::plain_connect(Version::V5, client_id);
    let _ = speaker.connect(&Connect { clean_start: false, session_expiry_s: 600, ..plain });
    speaker
}

#[test]
fn an_engine_that_is_killed_in_mid_flow_misses_nothing_of_qos_1() {
    let network = Network::with(&["alice"]);
    let Some(mut engine) = keeping(&network) else { return };
    // On the engine's disk is who listens: else what comes before he is back is for nobody.
    lasting_program(&engine, "there").subscribe("m/#", Qos::AtLeastOnce);
    engine.stop();
    engine.restart();
    let wire = Pipe::to(&engine.address());
    let settings = format!("{{url: \"mqtt://{}\", in: [\"e/#\"], out: [\"m/#\"]}}", wire.address());
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let mut here = Speaker::connected(&alice, "here");
    let mut there = lasting_program(&engine, "there");
    let say = |here: &mut Speaker, numbers: std::ops::Range<u32>| {
        for n in numbers {
            here.begin("m/t", &n.to_string(), Qos::AtLeastOnce, false);
        }
    };
    // What the engine has acknowledged is its own to keep, and Mosquitto keeps nothing over such
    // an end: so all of it is heard before, and no acknowledgement is under way but held ones.
    say(&mut here, 0..50);
    assert_eq!(texts_until(&mut there, "49").len(), 50);
    wire.hold_answers();
    say(&mut here, 50..100);
    assert_eq!(texts_until(&mut there, "99").len(), 50);
    wire.hold();
    say(&mut here, 100..150);
    wait_until("it is on the wire", SOON, || bridges(&alice)[0]["outgoing"] == 150);
    engine.kill();
    wire.cut();
    say(&mut here, 150..500);
    wait_error(&alice, "the engine");
    wire.let_go();
    engine.restart();
    let mut there = lasting_program(&engine, "there");
    say(&mut here, 500..501);
    let again = texts_until(&mut there, "500");
    // All that no acknowledgement came for, in its order: heard before, on the wire, and waiting.
    let first: u32 = again[0].parse().unwrap();
    assert!(first <= 50, "{first}");
    assert_eq!(again, (first..501).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_waits_at_either_side_survives_the_other() {
    let network = Network::with(&["alice"]);
    let Some(mut engine) = keeping(&network) else { return };
    let settings =
        format!("{{url: \"mqtt://{}\", in: [\"e/#\"], out: [\"m/#\"], qos: 2}}", engine.address());
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let (mut here, _) = Speaker::lasting(&alice, "here");
    here.subscribe("e/#", Qos::AtLeastOnce);
    drop(here);
    // This peer dies while the engine goes on, and both stop before it is back.
    alice.kill();
    let mut there = program(&engine, "there");
    for n in 0..50 {
        assert!(!there.publish("e/t", &n.to_string()).is_error());
    }
    engine.stop();
    let alice = network.start("alice", &[]);
    let mut out = Speaker::connected(&alice, "out");
    for n in 0..50 {
        assert!(!out.publish("m/t", &n.to_string()).is_error(), "it waits for the engine");
    }
    engine.restart();
    let mut there = lasting_program(&engine, "there");
    there.subscribe("#", Qos::AtLeastOnce);
    let (mut here, present) = Speaker::lasting(&alice, "here");
    assert!(present);
    for n in 0..50 {
        assert_eq!(here.text(), n.to_string());
    }
    wait_until("all went out", SOON, || bridges(&alice)[0]["outgoing"] == 50);
}

#[test]
fn settings_that_go_round_or_leave_the_machine_are_refused() {
    let network = Network::with(&["alice"]);
    let bundle = network.bundle("alice");
    let before = std::fs::read_to_string(bundle.join("node.yaml")).unwrap();
    for (settings, said) in [
        ("{url: \"mqtt://127.0.0.1\", version: 3.1.1, in: [\"a/#\"], out: [\"+/b\"]}", "3.1.1"),
        ("{url: \"mqtt://192.0.2.1\", in: [a]}", "insecure: true"),
        ("{url: \"mqtts://192.0.2.1\", in: [a], ca: nowhere.pem}", "nowhere.pem"),
        ("{url: \"mqtts://192.0.2.1\", in: [a], cafile: x}", "unknown key cafile"),
    ] {
        bridge(&bundle, settings);
        let refused = Peer::fails(&bundle, "127.0.0.1:0");
        assert!(refused.code != 0 && refused.err.contains(said), "{settings}: {}", refused.err);
        std::fs::write(bundle.join("node.yaml"), &before).unwrap();
    }
    let alice = network.start("alice", &[]);
    assert!(alice.ask("bridge status", &[]).out.contains("no bridges"));
}

#[test]
fn a_topic_that_the_policy_denies_stays_where_it_is() {
    let network = Network::with(&["alice"]);
    let Some(engine) = Engine::open_mosquitto(network.path()) else { return };
    let settings = format!(
        "{{url: \"mqtt://{}\", in: [\"e/#\"], out: [\"m/#\", \"secret/#\"]}}",
        engine.address()
    );
    bridge(&network.bundle("alice"), &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let policy = "rules:\n  - {name: no, deny: [{subscribe: [\"secret/#\"]}, {publish: \
                  [\"e/secret\"]}], from: any, to: any}\n  \
                  - {name: talk, allow: [connect, send, {publish: [\"#\"]}, {subscribe: [\"m/#\", \
                  \"e/#\"]}], from: any, to: any}\nquotas: []\ntests: []\n";
    std::fs::write(network.path().join("policy.yaml"), policy).unwrap();
    network.ca(&format!("policy push policy.yaml --via {}", alice.address()));
    wait_until("the filter is refused", SOON, || {
        let bridge = bridges(&alice)[0].clone();
        bridge["state"] == "up" && bridge["refused_filters"].to_string().contains("secret/#")
    });
    let mut here = Speaker::connected(&alice, "here");
    let mut there = program(&engine, "there");
    here.subscribe("e/#", Qos::AtLeastOnce);
    there.publish("e/secret", "no");
    there.publish("e/t", "yes");
    assert_eq!(here.text(), "yes");
    wait_until("it is counted", SOON, || bridges(&alice)[0]["refused_here"] == 1);
    let said = alice.ask("bridge status", &[]).out;
    assert!(said.contains("1 denied here") && said.contains("refuses the filter"), "{said}");
}

#[test]
fn other_settings_are_taken_while_it_runs() {
    let network = Network::with(&["alice"]);
    let Some(engine) = Engine::open_mosquitto(network.path()) else { return };
    let bundle = network.bundle("alice");
    let settings = format!("{{url: \"mqtt://{}\", in: [\"e/#\"]}}", engine.address());
    bridge(&bundle, &settings);
    let alice = network.start("alice", &[]);
    wait_up(&alice);
    let file = bundle.join("node.yaml");
    let change = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let _ = alice.ask("reload", &[]).ended(0);
    };
    change("in: [\"e/#\"]", "in: [\"f/#\"], out: [\"m/#\"]");
    let mut there = program(&engine, "there");
    there.subscribe("m/#", Qos::AtLeastOnce);
    let mut here = Speaker::connected(&alice, "here");
    // Whoever publishes is told whether anybody listens: at first the bridge does not.
    here.subscribe("f/#", Qos::AtLeastOnce);
    wait_until("it brings what it is to bring", SOON, || {
        here.publish("m/t", "x") == Reason::Success && there.text() == "x"
    });
    wait_until("and fetches what it is to fetch", SOON, || {
        there.publish("f/t", "y") == Reason::Success
    });
    wait_until("it comes", SOON, || here.text() == "y");
    wait_until("the engine has nothing of the old filter", SOON, || {
        there.publish("e/t", "z") == Reason::NoMatchingSubscribers
    });
    // One that cannot be used changes nothing, and one that is gone leaves nothing behind.
    change("f/#\"], out", "f/#\"], password-file: nowhere, username: u, out");
    wait_until("it is refused", SOON, || alice.log().contains("nowhere"));
    wait_up(&alice);
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, line) = text.split_once("  - {url").unwrap();
    assert!(before.ends_with("bridge:\n"));
    change(&format!("  - {{url{line}"), "");
    wait_until("there is no bridge", SOON, || bridges(&alice).is_empty());
    wait_until("and no session", SOON, || {
        !alice.ask("mqtt status", &["--json"]).out.contains("$bridge")
    });
}
