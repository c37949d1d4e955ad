//! A bridge between two endpoints: nothing lost, nothing twice, nothing round, wherever it breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use mqtt::codec::{
    ConnAck, Connect, Decoder, Granted, Packet, Publish, Qos, Reason, RetainHandling, Version,
};
use mqtt::{Client, Door, Half, Side, State, Tally, Terms, span};
use shared::policy::Filter;

use crate::rig::{Line, Rig, at, connect, identity, kept, lasting, message, plain, success};

const ENGINE: &str = "engine";

/// Two endpoints and what is between them.
struct Crossing {
    here: Rig,
    there: Rig,
    terms: Arc<Terms>,
    tally: Arc<Tally>,
    wires: Option<Wires>,
    dice: u64,
}

/// One attempt: each half, the server it speaks with, and what is on its way to either.
struct Wires {
    ends: [(Half, Client, BytesMut, BytesMut); 2],
}

fn filters(texts: &[&str]) -> Vec<Filter> {
    texts.iter().map(|text| Filter::parse(text).unwrap()).collect()
}

fn terms(incoming: &[&str], outgoing: &[&str], qos: Qos) -> Terms {
    Terms {
        network: "mesh.example".into(),
        engine: ENGINE.into(),
        local_id: "$bridge-engine".into(),
        remote_id: "alice-bridge-engine".into(),
        version: Version::V5,
        incoming: filters(incoming),
        outgoing: filters(outgoing),
        qos,
        prefix: String::new(),
        username: None,
        password: None,
        session_expiry_s: 3_600,
        retired: Vec::new(),
    }
}

impl Crossing {
    fn new(terms: Terms) -> Self {
        let (here, there) = (Rig::new(), Rig::of(ENGINE, mqtt::Bounds::default()));
        let (terms, tally) = (Arc::new(terms), Arc::default());
        Self { here, there, terms, tally, wires: None, dice: 1 }
    }

    fn connect(&mut self) {
        self.connect_anew(false);
    }

    fn connect_anew(&mut self, anew: bool) {
        let now = self.here.now;
        let (local, remote) = span(&self.terms, &self.tally, &self.here.broker, anew, now);
        let client = |rig: &Rig, bridge| {
            let (identity, users) = (identity("alice"), Arc::default());
            let door = Door { identity, users, since: None, peer: false, bridge };
            Client::new(Arc::clone(&rig.broker), door, now)
        };
        let end = |half, client| (half, client, BytesMut::new(), BytesMut::new());
        let ends = [end(local, client(&self.here, true)), end(remote, client(&self.there, false))];
        self.wires = Some(Wires { ends });
    }

    fn cut(&mut self) {
        let Some(wires) = self.wires.take() else { return };
        for (mut half, mut client, ..) in wires.ends {
            half.handle_closed();
            client.handle_closed(self.here.now);
        }
    }

    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    /// Moves at most so many octets on each wire; says whether any moved.
    fn step(&mut self, most: usize) -> bool {
        let now = self.here.now;
        self.here.sync();
        self.there.sync();
        let mut moved = false;
        let Some(wires) = &mut self.wires else { return false };
        for (half, client, to_client, to_half) in &mut wires.ends {
            let mut out = Vec::new();
            half.fill(&mut out, Waker::noop(), now);
            to_client.extend_from_slice(&out);
            out.clear();
            client.fill(&mut out, Waker::noop(), now);
            to_half.extend_from_slice(&out);
            moved |= pass(to_client, most, |part| client.handle_bytes(part, now));
            if !half.is_held(Waker::noop()) {
                moved |= pass(to_half, most, |part| half.handle_bytes(part, now));
            }
            moved |= half.resume(to_half, now);
        }
        moved
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            idle = if self.step(usize::MAX) { 0 } else { idle + 1 };
        }
    }

    /// The engine says this, whatever it is; this peer answers.
    fn hear_engine(&mut self, octets: &[u8]) {
        if self.wires.is_none() {
            self.connect();
        }
        let now = self.here.now;
        let half = &mut self.wires.as_mut().unwrap().ends[1].0;
        half.handle_bytes(&mut BytesMut::from(octets), now);
        self.settle_here();
    }

    /// Moves what is said between the bridge and this peer.
    fn settle_here(&mut self) {
        let now = self.here.now;
        for _ in 0..4 {
            self.here.sync();
            let (half, client, ..) = &mut self.wires.as_mut().unwrap().ends[0];
            let (mut out, mut back) = (Vec::new(), Vec::new());
            half.fill(&mut out, Waker::noop(), now);
            client.handle_bytes(&mut BytesMut::from(&out[..]), now);
            client.fill(&mut back, Waker::noop(), now);
            half.handle_bytes(&mut BytesMut::from(&back[..]), now);
        }
    }

    fn half(&self) -> &Half {
        &self.wires.as_ref().unwrap().ends[1].0
    }
}

/// Hands over the first octets of a wire, together with what was left of the last time.
fn pass(wire: &mut BytesMut, most: usize, take: impl FnOnce(&mut BytesMut)) -> bool {
    if wire.is_empty() {
        return false;
    }
    let before = wire.len();
    let behind = wire.split_off(most.max(1).min(before));
    take(wire);
    let moved = wire.len() + behind.len() < before;
    wire.unsplit(behind);
    moved
}

fn subscriber(rig: &Rig, filter: &str) -> Line {
    let mut line = rig.client("subscriber");
    line.subscribe(filter, at(Qos::ExactlyOnce), rig.now);
    line
}

/// What came, each message taken to its end.
fn heard(line: &mut Line, rig: &Rig) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let packets = line.hear(rig.now);
        if packets.is_empty() {
            return texts;
        }
        for packet in packets {
            match packet {
                Packet::Publish(publish) => {
                    texts.push(String::from_utf8(publish.payload.to_vec()).unwrap());
                    match (publish.packet_id, publish.qos) {
                        (Some(id), Qos::AtLeastOnce) => line.ack(id, rig.now),
                        (Some(id), _) => line.say(&Packet::PubRec(success(id)), rig.now),
                        (None, _) => {}
                    }
                }
                Packet::PubRel(ack) => line.say(&Packet::PubComp(ack), rig.now),
                _ => {}
            }
        }
    }
}

/// A publisher that takes its messages of QoS 2 to their end.
fn publish(line: &mut Line, rig: &mut Rig, topic: &str, text: &str, qos: Qos) {
    let id = (qos != Qos::AtMostOnce).then(|| line.id());
    line.say(&Packet::Publish(message(topic, text, qos, id)), rig.now);
    rig.sync();
    for packet in line.hear(rig.now) {
        if let Packet::PubRec(ack) = packet {
            line.say(&Packet::PubRel(ack), rig.now);
        }
    }
}

#[test]
fn wherever_it_breaks_qos_2_comes_once_and_qos_1_comes() {
    for seed in 1..60 {
        let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
        crossing.dice = seed;
        crossing.connect();
        crossing.settle();
        let (mut at_home, mut abroad) =
            (subscriber(&crossing.here, "e/#"), subscriber(&crossing.there, "m/#"));
        let (mut ours, mut theirs) = (crossing.here.client("p"), crossing.there.client("p"));
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for n in 0..60 {
            let qos = if n % 3 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
            let text = format!("{n} {}", qos.bits());
            publish(&mut ours, &mut crossing.here, "m/t", &text, qos);
            publish(&mut theirs, &mut crossing.there, "e/t", &text, qos);
            for _ in 0..crossing.roll() % 8 {
                let most = usize::try_from(crossing.roll() % 40).unwrap();
                crossing.step(most);
            }
            came.extend(heard(&mut at_home, &crossing.here));
            went.extend(heard(&mut abroad, &crossing.there));
            if crossing.roll().is_multiple_of(5) {
                crossing.cut();
                crossing.connect();
            }
        }
        for _ in 0..20 {
            crossing.settle();
            came.extend(heard(&mut at_home, &crossing.here));
            went.extend(heard(&mut abroad, &crossing.there));
        }
        for (name, texts) in [("came", came), ("went", went)] {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for text in texts {
                *counts.entry(text).or_default() += 1;
            }
            assert_eq!(counts.len(), 60, "{name}, seed {seed}: {counts:?}");
            let twice = counts.iter().find(|(text, count)| text.ends_with('2') && **count > 1);
            assert!(twice.is_none(), "{name}, seed {seed}: {twice:?}");
        }
    }
}

#[test]
fn an_engine_that_has_forgotten_its_session_is_not_taken_for_repeating_itself() {
    let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
    crossing.connect();
    crossing.settle();
    let mut subscriber = subscriber(&crossing.here, "e/#");
    let mut theirs = crossing.there.client("p");
    publish(&mut theirs, &mut crossing.there, "e/t", "first", Qos::ExactlyOnce);
    // As far as our PUBREC: the identifier waits for its release.
    while heard(&mut subscriber, &crossing.here).is_empty() {
        assert!(crossing.step(usize::MAX));
    }
    crossing.cut();
    crossing.there = Rig::of(ENGINE, mqtt::Bounds::default());
    crossing.connect();
    crossing.settle();
    let mut theirs = crossing.there.client("p");
    publish(&mut theirs, &mut crossing.there, "e/t", "second", Qos::ExactlyOnce);
    crossing.settle();
    assert_eq!(heard(&mut subscriber, &crossing.here), ["second"]);
}

#[test]
fn whoever_has_lost_the_own_session_has_the_engine_begin_anew() {
    let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
    crossing.connect();
    crossing.settle();
    crossing.cut();
    crossing.here = Rig::new();
    crossing.connect();
    crossing.settle();
    assert!(crossing.half().begins_anew() && crossing.half().why().is_some());
    crossing.connect_anew(true);
    crossing.settle();
    assert!(crossing.half().up_since().is_some() && !crossing.half().begins_anew());
}

#[test]
fn it_is_up_when_what_either_side_says_comes_across() {
    let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::AtLeastOnce));
    crossing.connect();
    while crossing.half().up_since().is_none() {
        assert!(crossing.step(usize::MAX));
    }
    for (rig, topic) in [(&mut crossing.here, "m/t"), (&mut crossing.there, "e/t")] {
        let mut line = rig.client("p");
        let id = line.id();
        line.say(&Packet::Publish(message(topic, "x", Qos::AtLeastOnce, Some(id))), rig.now);
        rig.sync();
        // The answer says whether anybody listens.
        assert_eq!(line.hear(rig.now), [Packet::PubAck(success(id))]);
    }
}

#[test]
fn what_is_not_carried_is_acknowledged_and_counted() {
    let mut crossing = Crossing::new(terms(&["#"], &["#"], Qos::ExactlyOnce));
    crossing.connect();
    crossing.settle();
    let (mut at_home, mut abroad) =
        (subscriber(&crossing.here, "#"), subscriber(&crossing.there, "#"));
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut ours = crossing.here.client("p");
        publish(&mut ours, &mut crossing.here, "t", "ours", qos);
        crossing.settle();
        assert_eq!(heard(&mut at_home, &crossing.here), ["ours"]);
        assert_eq!(heard(&mut abroad, &crossing.there), ["ours"]);
    }
    // No Local keeps a bridge from hearing itself; another one to the same engine is not kept.
    assert_eq!(crossing.tally.looped.get(), 0);
    let other = Terms {
        local_id: "$bridge-other".into(),
        remote_id: "bob-bridge-engine".into(),
        ..(*crossing.terms).clone()
    };
    let first = crossing.wires.take();
    crossing.terms = Arc::new(other);
    crossing.connect();
    crossing.settle();
    let second = crossing.wires.take();
    let mut theirs = crossing.there.client("p");
    publish(&mut theirs, &mut crossing.there, "t", "theirs", Qos::ExactlyOnce);
    let (mut one, mut two) = (first, second);
    for _ in 0..20 {
        crossing.wires = one.take();
        crossing.settle();
        one = crossing.wires.take();
        crossing.wires = two.take();
        crossing.settle();
        two = crossing.wires.take();
    }
    assert_eq!(heard(&mut at_home, &crossing.here), ["theirs", "theirs"], "by two ways");
    assert_eq!(heard(&mut abroad, &crossing.there), ["theirs"], "and not back");
    assert_eq!(crossing.tally.looped.get(), 2);
    for session in crossing.here.broker.views(10).iter().chain(&crossing.there.broker.views(10)) {
        assert_eq!(session.queued, 0, "{}", session.client);
    }
}

#[test]
fn a_filter_that_was_taken_out_is_not_listened_to_any_more() {
    let mut crossing = Crossing::new(terms(&["e/#", "old/#"], &["m/#", "old/#"], Qos::AtLeastOnce));
    crossing.connect();
    crossing.settle();
    crossing.cut();
    // It waits in the session, which still has the filter.
    let mut ours = crossing.here.client("p");
    publish(&mut ours, &mut crossing.here, "old/t", "x", Qos::AtLeastOnce);
    crossing.terms = Arc::new(terms(&["e/#"], &["m/#"], Qos::AtLeastOnce));
    crossing.connect();
    crossing.settle();
    publish(&mut ours, &mut crossing.here, "old/t", "y", Qos::AtLeastOnce);
    let mut theirs = crossing.there.client("p");
    publish(&mut theirs, &mut crossing.there, "old/t", "z", Qos::AtLeastOnce);
    crossing.settle();
    assert_eq!(crossing.tally.strays.get(), 2, "what waited, and what the engine still sends");
    let views = crossing.here.broker.views(10);
    let bridge = views.iter().find(|view| view.client.starts_with("$bridge")).unwrap();
    assert_eq!((bridge.filters.join(" ").as_str(), bridge.queued), ("m/#", 0));
    // Whoever knows what the engine was asked for takes it back.
    crossing.cut();
    let known = Terms { retired: vec!["old/#".into()], ..(*crossing.terms).clone() };
    crossing.terms = Arc::new(known);
    crossing.connect();
    crossing.settle();
    publish(&mut theirs, &mut crossing.there, "old/t", "z", Qos::AtLeastOnce);
    crossing.settle();
    assert_eq!((crossing.tally.strays.get(), crossing.half().why()), (2, None));
}

#[test]
fn the_engines_value_holds_where_both_have_one_and_ours_where_it_has_none() {
    let mut crossing = Crossing::new(terms(&["both/#"], &["both/#", "m/#"], Qos::AtLeastOnce));
    let (now, mut line) = (crossing.here.now, crossing.here.client("p"));
    for (topic, text) in [("both/a", "ours"), ("both/b", "ours"), ("m/c", "ours")] {
        line.publish(kept(topic, text), now);
    }
    crossing.there.client("p").publish(kept("both/a", "theirs"), now);
    crossing.connect();
    crossing.settle();
    for rig in [&crossing.here, &crossing.there] {
        let mut look = rig.client("look");
        look.subscribe("#", at(Qos::AtMostOnce), now);
        let mut all: Vec<String> = look
            .messages(now)
            .iter()
            .map(|m| format!("{} {}", m.topic, std::str::from_utf8(&m.payload).unwrap()))
            .collect();
        all.sort();
        assert_eq!(all, ["both/a theirs", "both/b ours", "m/c ours"]);
    }
    // Not told again with each connection, where it has two homes.
    let sent = crossing.tally.outgoing.get();
    crossing.cut();
    crossing.connect();
    crossing.settle();
    assert_eq!(crossing.tally.outgoing.get() - sent, 1, "m/c alone");
    let subscribe = crossing.terms.at_rest().unwrap().1;
    assert!(subscribe.filters.iter().all(|(_, o)| o.retain_handling == RetainHandling::Never));
}

#[test]
fn an_engine_that_says_nothing_is_asked_and_then_given_up() {
    let mut crossing = Crossing::new(terms(&["e/#"], &[], Qos::AtLeastOnce));
    crossing.connect();
    crossing.here.pass_s(11);
    let now = crossing.here.now;
    crossing.wires.as_mut().unwrap().ends[1].0.handle_timeout(now);
    assert!(crossing.half().why().unwrap().contains("does not answer a CONNECT"));
    crossing.connect();
    crossing.settle();
    for (s, says) in [(16, true), (15, false)] {
        crossing.here.pass_s(s);
        let (now, mut out) = (crossing.here.now, Vec::new());
        let half = &mut crossing.wires.as_mut().unwrap().ends[1].0;
        assert!(half.next_deadline().unwrap() <= now.tick);
        half.handle_timeout(now);
        let state = half.fill(&mut out, Waker::noop(), now);
        assert_eq!((out == [0xc0, 0], state == State::Open), (says, says));
    }
    assert!(crossing.half().why().unwrap().contains("silent for 30 s"));
}

#[test]
fn a_side_that_does_not_read_is_not_filled_up_and_never_stops_both() {
    let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::AtLeastOnce));
    crossing.connect();
    crossing.settle();
    let now = crossing.here.now;
    let flood = |crossing: &mut Crossing, side: Side| {
        let topic = if side == Side::Local { "m/t" } else { "e/t" };
        let mut octets = Vec::new();
        let packet = Packet::Publish(plain(topic, &"x".repeat(60_000)));
        mqtt::codec::encode(&packet, Version::V5, &mut octets);
        let index = usize::from(side == Side::Remote);
        let half = &mut crossing.wires.as_mut().unwrap().ends[index].0;
        let held = half.is_held(Waker::noop());
        half.handle_bytes(&mut BytesMut::from(&octets[..]), now);
        held
    };
    let held = (0..10).filter(|_| flood(&mut crossing, Side::Local)).count();
    assert!((1..10).contains(&held), "{held}: as soon as the other side is behind");
    for _ in 0..10 {
        flood(&mut crossing, Side::Remote);
    }
    assert!(!flood(&mut crossing, Side::Local), "both are behind, so both are read");
    for _ in 0..100 {
        flood(&mut crossing, Side::Local);
    }
    assert!(crossing.tally.lost.get() > 50, "and QoS 0 is dropped");
    let mut out = Vec::new();
    crossing.wires.as_mut().unwrap().ends[1].0.fill(&mut out, Waker::noop(), now);
    assert!(out.len() < 3 * 1024 * 1024, "{}", out.len());
}

#[test]
fn nobody_else_has_a_bridges_session() {
    let rig = Rig::new();
    let mut line = rig.door("alice");
    let connect = Connect { client_id: "$bridge-engine".into(), ..connect("x") };
    line.say(&Packet::Connect(Box::new(connect)), rig.now);
    assert_eq!(line.ended_with(rig.now), Some(Reason::ClientIdentifierNotValid));
    assert!(!rig.connected(&lasting("bridge")).1.reason.is_error());
}

/// What an engine says that is no good one, after what welcome.
#[test]
fn a_hostile_engine_ends_its_bridge_and_nothing_else() {
    let welcome = &b"\x20\x03\0\0\0"[..];
    for (octets, words) in [
        (&b"\x20\x03\0\x87\0"[..], "refuses: not authorized"),
        (b"\x20\x13\0\x88\x10\x1f\0\x0dback at eight", "server unavailable: back at eight"),
        (b"\x30\x05\0\x01a\0x", "begins with no CONNACK"),
        (b"\xff\xff\xff\xff\x7f", "no MQTT"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no MQTT"),
    ] {
        let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
        crossing.hear_engine(octets);
        let why = crossing.half().why().unwrap();
        assert!(why.contains(words), "{octets:?}: {why}");
    }
    for (octets, words) in [
        (&b"\x20\x03\0\0\0"[..], "what no server does"),
        (b"\xe0\x02\x8b\0", "ended it: server shutting down"),
        (b"\x82\x06\0\x01\0\0\x01a", "no MQTT"),
        (b"\x30\x04\0\x01+\0", "no MQTT"),
        (b"\x36\x06\0\x01a\0\x01\0", "no MQTT"),
        (b"\x30\x07\0\0\x03\x23\0\x01x", "alias"),
    ] {
        let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
        crossing.hear_engine(welcome);
        crossing.hear_engine(octets);
        let why = crossing.half().why().unwrap_or_default();
        assert!(why.contains(words), "{octets:?}: {why}");
    }
    // What only sounds strange goes on: topics nobody asked for, and answers to nothing.
    let mut crossing = Crossing::new(terms(&["e/#"], &["m/#"], Qos::ExactlyOnce));
    crossing.hear_engine(welcome);
    let mut subscriber = subscriber(&crossing.here, "#");
    for octets in [
        &b"\x32\x08\0\x01x\0\x07\0hi"[..],
        b"\x32\x0b\0\x04$SYS\0\x08\0hi",
        b"\x40\x02\0\x09",
        b"\x50\x02\0\x09",
        b"\x62\x02\0\x09",
        b"\x70\x02\0\x09",
        b"\x90\x04\0\x09\0\x87",
        b"\xd0\0",
        b"\x30\x08\0\x03e/t\0hi",
    ] {
        crossing.hear_engine(octets);
    }
    assert_eq!(crossing.half().why(), None);
    assert_eq!(crossing.tally.strays.get(), 2);
    assert_eq!(heard(&mut subscriber, &crossing.here), ["hi"]);
}

#[test]
fn whatever_an_engine_says_nothing_here_breaks() {
    let mut crossing = Crossing::new(terms(&["#"], &["#"], Qos::ExactlyOnce));
    let mut subscriber = subscriber(&crossing.here, "#");
    for _ in 0..2_000 {
        crossing.connect();
        crossing.settle_here();
        crossing.hear_engine(b"\x20\x03\0\0\0");
        while crossing.half().why().is_none() {
            let length = crossing.roll() % 24;
            let kinds = [0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xd0, 0xe0];
            let kind = kinds[usize::try_from(crossing.roll() % 10).unwrap()];
            let mut octets = vec![kind, u8::try_from(length).unwrap()];
            octets.extend((0..length).map(|_| u8::try_from(crossing.roll() % 7).unwrap()));
            crossing.hear_engine(&octets);
        }
        crossing.cut();
    }
    let now = crossing.here.now;
    let _ = heard(&mut subscriber, &crossing.here);
    crossing.here.client("p").publish(plain("still", "there"), now);
    assert_eq!(heard(&mut subscriber, &crossing.here), ["there"]);
}

/// What the bridge has said to the engine since the last time.
fn said_there(
    crossing: &mut Crossing,
    decoder: &mut Decoder,
    sizes: &mut Vec<usize>,
) -> Vec<Packet> {
    let now = crossing.here.now;
    let mut out = Vec::new();
    crossing.wires.as_mut().unwrap().ends[1].0.fill(&mut out, Waker::noop(), now);
    let mut buffer = BytesMut::from(&out[..]);
    let mut packets = Vec::new();
    loop {
        let before = buffer.len();
        let Some(packet) = decoder.decode(&mut buffer).unwrap() else { return packets };
        sizes.push(before - buffer.len());
        packets.push(packet);
    }
}

#[test]
fn what_an_engine_does_not_grant_is_not_used() {
    let granted = Granted {
        receive_max: Some(2),
        qos_max: Some(Qos::AtLeastOnce),
        no_retain: true,
        packet_bytes_max: Some(200),
        alias_max: Some(8),
        keep_alive_s: Some(10),
        ..Granted::default()
    };
    let ack = ConnAck { session_present: false, reason: Reason::Success, granted };
    let mut octets = Vec::new();
    mqtt::codec::encode(&Packet::ConnAck(Box::new(ack)), Version::V5, &mut octets);
    let mut crossing = Crossing::new(terms(&[], &["m/#"], Qos::ExactlyOnce));
    crossing.hear_engine(&octets);
    let (mut decoder, mut sizes) = (Decoder::server(), Vec::new());
    let greeting = said_there(&mut crossing, &mut decoder, &mut sizes);
    assert!(matches!(&greeting[..], [Packet::Connect(_)]), "{greeting:?}");
    let mut ours = crossing.here.client("p");
    for text in ["1", &"x".repeat(300), "2", "3", "4", "5"] {
        let sent =
            Publish { retain: true, ..message("m/t", text, Qos::ExactlyOnce, Some(ours.id())) };
        ours.say(&Packet::Publish(sent), crossing.here.now);
        crossing.here.sync();
        ours.hear(crossing.here.now);
    }
    crossing.settle_here();
    let mut texts = Vec::new();
    loop {
        let packets = said_there(&mut crossing, &mut decoder, &mut sizes);
        if packets.is_empty() {
            break;
        }
        assert!(packets.len() <= 2, "no more at once than it takes: {packets:?}");
        for packet in packets {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!((publish.qos, publish.retain), (Qos::AtLeastOnce, false));
            assert_eq!((&*publish.topic, publish.alias), ("m/t", None));
            texts.push(publish.payload.clone());
            let mut octets = Vec::new();
            let ack = Packet::PubAck(success(publish.packet_id.unwrap()));
            mqtt::codec::encode(&ack, Version::V5, &mut octets);
            crossing.hear_engine(&octets);
        }
    }
    assert_eq!(texts, ["1", "2", "3", "4", "5"], "and what is too large is not sent");
    assert!(sizes.iter().skip(1).all(|size| *size <= 200), "{sizes:?}");
    // It is asked as often as the engine wants to be, not as the bridge would.
    crossing.here.pass_s(5);
    let now = crossing.here.now;
    crossing.wires.as_mut().unwrap().ends[1].0.handle_timeout(now);
    assert_eq!(said_there(&mut crossing, &mut decoder, &mut sizes), [Packet::PingReq]);
}
