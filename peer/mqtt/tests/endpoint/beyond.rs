//! Peers that are not all linked: topics over several links, by ways that change.

use std::collections::BTreeMap;

use mqtt::Heard;
use mqtt::codec::{Packet, Publish, Qos};

use crate::links::Link;
use crate::rig::{Line, Rig, at, connect, kept, lasting, message, plain};

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// Peers, and links between some of them.
struct Mesh {
    rigs: Vec<Rig>,
    links: BTreeMap<(usize, usize), Link>,
    heard: BTreeMap<(usize, usize), [Heard; 2]>,
}

impl Mesh {
    fn new(count: usize, links: &[(usize, usize)]) -> Self {
        let rigs = NAMES[..count].iter().map(|name| Rig::of(name, mqtt::Bounds::default()));
        let rigs = rigs.collect();
        let mut mesh = Self { rigs, links: BTreeMap::new(), heard: BTreeMap::new() };
        for pair in links {
            mesh.link(*pair);
        }
        mesh.pass_s(2);
        mesh
    }

    fn ring(count: usize) -> Self {
        let links: Vec<_> = (0..count).map(|at| (at, (at + 1) % count)).collect();
        Self::new(count, &links)
    }

    fn link(&mut self, (one, other): (usize, usize)) {
        let heard = self.heard.entry((one, other)).or_default();
        let link = Link::new(&self.rigs[one], &self.rigs[other], [&heard[0], &heard[1]]);
        self.links.insert((one, other), link);
        self.settle();
    }

    fn cut(&mut self, pair: (usize, usize)) {
        let link = self.links.remove(&pair).unwrap();
        link.broken([&self.rigs[pair.0], &self.rigs[pair.1]]);
    }

    /// Carries until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for ((one, other), link) in &mut self.links {
                moved |= link.carry([&self.rigs[*one], &self.rigs[*other]]);
            }
            for rig in &mut self.rigs {
                moved |= rig.sync();
            }
            if !moved {
                return;
            }
        }
    }

    /// Time passes, in steps as the daemon looks at it.
    fn pass_s(&mut self, s: u64) {
        for _ in 0..s {
            self.settle();
            for rig in &mut self.rigs {
                rig.pass_s(1);
            }
            self.settle();
        }
    }

    fn client(&mut self, at: usize, id: &str) -> Line {
        self.rigs[at].connected_as(NAMES[at], &connect(id)).0
    }

    fn subscriber(&mut self, at: usize, filter: &str) -> Line {
        let mut line = self.client(at, "s");
        line.ask_for(filter, crate::rig::at(Qos::ExactlyOnce), self.rigs[at].now);
        self.pass_s(1);
        line.hear(self.rigs[at].now);
        line
    }

    /// Publishes at a peer, and says how many acknowledgements there were when all was carried.
    fn publish(&mut self, at: usize, line: &mut Line, publish: Publish) -> usize {
        let now = self.rigs[at].now;
        line.say(&Packet::Publish(publish), now);
        self.settle();
        line.hear(now).len()
    }

    fn texts(&self, at: usize, line: &mut Line) -> Vec<String> {
        line.texts(self.rigs[at].now)
    }

    fn lost(&self) -> Vec<u64> {
        self.rigs.iter().map(|rig| rig.broker.counters.lost.get()).collect()
    }
}

#[test]
fn in_a_ring_of_five_everybody_hears_everybody_once() {
    let mut mesh = Mesh::ring(5);
    let mut subscribers: Vec<Line> = (0..5).map(|at| mesh.subscriber(at, "plant/#")).collect();
    for from in 0..5 {
        let mut publisher = mesh.client(from, "p");
        for (number, qos) in
            [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate()
        {
            let id = (qos != Qos::AtMostOnce).then(|| publisher.id());
            let sent = message("plant/t", &format!("{from}.{number}"), qos, id);
            let acks = mesh.publish(from, &mut publisher, sent);
            assert_eq!(acks, usize::from(qos != Qos::AtMostOnce), "{from}.{number}");
        }
        for (at, subscriber) in subscribers.iter_mut().enumerate() {
            let expected: Vec<String> = (0..3).map(|number| format!("{from}.{number}")).collect();
            assert_eq!(mesh.texts(at, subscriber), expected, "from {from} at {at}");
        }
    }
    assert_eq!(mesh.lost(), [0; 5]);
    let again: u64 = mesh.rigs.iter().map(|rig| rig.broker.counters.again.get()).sum();
    assert_eq!(again, 0, "each took one way to each");
}

#[test]
fn what_nobody_wants_crosses_no_link_and_a_wish_that_ends_ends_everywhere() {
    let mut mesh = Mesh::ring(5);
    let mut subscriber = mesh.subscriber(2, "plant/+/t");
    let mut publisher = mesh.client(0, "p");
    mesh.publish(0, &mut publisher, plain("other", "x"));
    mesh.publish(0, &mut publisher, plain("plant/3/t", "y"));
    assert_eq!(mesh.texts(2, &mut subscriber), ["y"]);
    let carried = |mesh: &Mesh| -> u64 {
        mesh.rigs.iter().map(|rig| rig.broker.counters.carried.get()).sum()
    };
    assert_eq!(carried(&mesh), 2, "two links, one message");
    subscriber.unsubscribe("plant/+/t", mesh.rigs[2].now);
    mesh.pass_s(1);
    mesh.publish(0, &mut publisher, plain("plant/3/t", "z"));
    assert_eq!(carried(&mesh), 2);
}

#[test]
fn in_a_full_mesh_nobody_tells_wishes_or_passes_anything_on() {
    let links: Vec<_> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    let mut mesh = Mesh::new(5, &links);
    let mut subscriber = mesh.subscriber(2, "t");
    let mut publisher = mesh.client(0, "p");
    mesh.publish(0, &mut publisher, kept("t", "x"));
    assert_eq!(mesh.texts(2, &mut subscriber), ["x"]);
    for rig in &mesh.rigs {
        assert!(rig.broker.ways(10).is_empty(), "everybody is linked");
    }
    let carried: u64 = mesh.rigs.iter().map(|rig| rig.broker.counters.carried.get()).sum();
    assert_eq!(carried, 4, "what is retained goes to each once");
}

#[test]
fn when_a_link_breaks_the_other_way_round_is_taken() {
    let mut mesh = Mesh::ring(5);
    let mut subscriber = mesh.subscriber(1, "t");
    let mut publisher = mesh.client(0, "p");
    mesh.cut((0, 1));
    // Alice still waits for bob's link to come back; what is published meanwhile goes on later.
    let id = publisher.id();
    let acks = mesh.publish(0, &mut publisher, message("t", "1", Qos::AtLeastOnce, Some(id)));
    assert_eq!(acks, 1, "it is on the disk");
    assert!(mesh.texts(1, &mut subscriber).is_empty());
    mesh.pass_s(3);
    let id = publisher.id();
    mesh.publish(0, &mut publisher, message("t", "2", Qos::AtLeastOnce, Some(id)));
    assert_eq!(mesh.texts(1, &mut subscriber), ["1", "2"], "over erin, dave and carol");
    assert_eq!(mesh.rigs[0].broker.counters.moved.get(), 1);
    mesh.link((0, 1));
    mesh.pass_s(1);
    let id = publisher.id();
    mesh.publish(0, &mut publisher, message("t", "3", Qos::AtLeastOnce, Some(id)));
    assert_eq!(mesh.texts(1, &mut subscriber), ["3"]);
    assert_eq!(mesh.lost(), [0; 5]);
}

#[test]
fn what_was_under_way_when_a_link_broke_arrives_by_another_once() {
    let mut mesh = Mesh::ring(5);
    let mut subscriber = mesh.subscriber(2, "t");
    let mut publisher = mesh.client(0, "p");
    // Carol hears it, and nobody hears that she did.
    mesh.links.get_mut(&(0, 1)).unwrap().frozen = true;
    let (first, second) = (publisher.id(), publisher.id());
    let acks = mesh.publish(0, &mut publisher, message("t", "1", Qos::AtLeastOnce, Some(first)));
    assert_eq!(acks, 0, "bob has not said that he has it");
    mesh.cut((0, 1));
    mesh.pass_s(4);
    assert_eq!(mesh.texts(2, &mut subscriber), ["1"], "over erin and dave");
    mesh.publish(0, &mut publisher, message("t", "2", Qos::AtLeastOnce, Some(second)));
    assert_eq!(mesh.texts(2, &mut subscriber), ["2"]);
}

#[test]
fn what_waited_for_a_peer_on_the_way_that_died_goes_the_other_way() {
    let mut mesh = Mesh::ring(5);
    let mut subscriber = mesh.subscriber(2, "t");
    let mut publisher = mesh.client(0, "p");
    mesh.cut((0, 1));
    mesh.cut((1, 2));
    for text in ["1", "2"] {
        let id = publisher.id();
        let sent = message("t", text, Qos::AtLeastOnce, Some(id));
        assert_eq!(mesh.publish(0, &mut publisher, sent), 1, "it is on the disk");
    }
    assert!(mesh.texts(2, &mut subscriber).is_empty(), "bob may come back at once");
    mesh.pass_s(3);
    assert_eq!(mesh.texts(2, &mut subscriber), ["1", "2"]);
    assert_eq!(mesh.lost(), [0; 5]);
}

#[test]
fn for_a_peer_that_is_away_its_last_neighbour_keeps_what_comes() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (mut subscriber, _) = mesh.rigs[2].connected_as("carol", &lasting("s"));
    subscriber.ask_for("t", at(Qos::AtLeastOnce), mesh.rigs[2].now);
    mesh.pass_s(1);
    subscriber.hear(mesh.rigs[2].now);
    mesh.cut((1, 2));
    mesh.pass_s(3);
    let mut publisher = mesh.client(0, "p");
    let id = publisher.id();
    let acks = mesh.publish(0, &mut publisher, message("t", "1", Qos::AtLeastOnce, Some(id)));
    assert_eq!(acks, 1, "bob has it on his disk");
    // He may even start anew in between.
    mesh.cut((0, 1));
    let bob = mesh.rigs.remove(1).restarted();
    mesh.rigs.insert(1, bob);
    mesh.heard.clear();
    mesh.link((0, 1));
    mesh.link((1, 2));
    mesh.pass_s(1);
    assert_eq!(mesh.texts(2, &mut subscriber), ["1"]);
    assert_eq!(mesh.lost(), [0; 3]);
}

#[test]
fn what_is_retained_reaches_everybody_and_late_comers() {
    let mut mesh = Mesh::ring(5);
    let mut subscriber = mesh.subscriber(3, "state/#");
    let mut publisher = mesh.client(0, "p");
    for text in ["1", "2"] {
        mesh.publish(0, &mut publisher, kept("state/a", text));
    }
    assert_eq!(mesh.texts(3, &mut subscriber), ["1", "2"], "each once, though it came two ways");
    for at in 0..5 {
        let mut late = mesh.subscriber(at, "state/a");
        mesh.rigs[at].sync();
        drop(late.hear(mesh.rigs[at].now));
        let mut late = mesh.client(at, "late");
        late.subscribe("state/a", crate::rig::at(Qos::AtMostOnce), mesh.rigs[at].now);
        assert_eq!(mesh.texts(at, &mut late), ["2"], "at {at}");
    }
    // It is cleared at the other end, while one peer is cut off.
    mesh.cut((1, 2));
    mesh.cut((2, 3));
    let mut other = mesh.client(4, "p");
    mesh.publish(4, &mut other, kept("state/a", ""));
    mesh.link((1, 2));
    mesh.pass_s(1);
    for at in 0..5 {
        assert_eq!(mesh.rigs[at].broker.retained_count(), mesh.rigs[0].broker.retained_count());
        let mut late = mesh.client(at, "later");
        late.subscribe("state/a", crate::rig::at(Qos::AtMostOnce), mesh.rigs[at].now);
        assert!(mesh.texts(at, &mut late).is_empty(), "at {at}");
    }
}

#[test]
fn what_is_retained_and_comes_round_late_is_not_heard_again() {
    let mut mesh = Mesh::ring(5);
    let mut subscribers = [mesh.subscriber(2, "state"), mesh.subscriber(1, "state")];
    mesh.links.get_mut(&(1, 2)).unwrap().frozen = true;
    let (mut carol, mut dave) = (mesh.client(2, "p"), mesh.client(3, "p"));
    mesh.publish(2, &mut carol, kept("state", "1"));
    mesh.publish(3, &mut dave, kept("state", "2"));
    mesh.links.get_mut(&(1, 2)).unwrap().frozen = false;
    mesh.settle();
    for (at, subscriber) in [2, 1].into_iter().zip(&mut subscribers) {
        assert_eq!(mesh.texts(at, subscriber), ["1", "2"], "at {at}");
    }
}

#[test]
fn a_group_with_members_far_off_gets_each_message_once() {
    let mut mesh = Mesh::ring(5);
    let mut members = [mesh.subscriber(1, "$share/g/job"), mesh.subscriber(3, "$share/g/job")];
    let mut publisher = mesh.client(0, "p");
    for number in 0..20 {
        let id = publisher.id();
        let sent = message("job", &number.to_string(), Qos::AtLeastOnce, Some(id));
        assert_eq!(mesh.publish(0, &mut publisher, sent), 1);
    }
    let near = mesh.texts(1, &mut members[0]);
    let far = mesh.texts(3, &mut members[1]);
    let mut all: Vec<u32> = near.iter().chain(&far).map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    assert!(!near.is_empty() && !far.is_empty(), "{} and {}", near.len(), far.len());
}

#[test]
fn who_is_far_off_is_online_while_there_is_a_way() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let state = |mesh: &mut Mesh, id: &str| {
        let now = mesh.rigs[0].now;
        let mut line = mesh.client(0, id);
        line.subscribe("$mesh/peers/carol/state", at(Qos::AtMostOnce), now);
        line.texts(now)
    };
    assert_eq!(state(&mut mesh, "1"), ["online"]);
    mesh.cut((1, 2));
    mesh.pass_s(3);
    assert_eq!(state(&mut mesh, "2"), ["offline"]);
}

/// Bob's end of a link to alice, which says what it likes.
fn liar(rig: &Rig) -> Line {
    let mut line = rig.peer_door("bob");
    line.say(&Packet::Connect(Box::new(lasting("$peer"))), rig.now);
    assert!(matches!(line.hear(rig.now)[..], [Packet::ConnAck(_)]));
    line
}

#[test]
fn a_peer_that_tells_nonsense_is_cut_off_and_one_that_forges_is_not_believed() {
    let rig = Rig::new();
    for (topic, payload) in [
        ("$conclave/link-state", &b"no link state"[..]),
        ("$conclave/link-state", b""),
        ("$conclave/heads", b"no heads"),
        ("$conclave/other", b"x"),
    ] {
        let mut line = liar(&rig);
        let said = Publish { payload: payload.into(), ..plain(topic, "") };
        line.say(&Packet::Publish(said), rig.now);
        assert_eq!(line.ended_with(rig.now), Some(mqtt::codec::Reason::ProtocolError), "{topic}");
    }
    let mut line = liar(&rig);
    let denied = rig.broker.counters.denied.get();
    let state = shared::link_state::LinkState {
        node: crate::rig::name("carol"),
        boot: 1,
        sequence: 1,
        at: shared::time::Timestamp::from_s(1),
        links: vec![crate::rig::name("bob")],
        wishes: vec!["#".to_owned()],
    };
    let payload = minicbor::to_vec(&state).unwrap().into();
    let said = Publish { payload, ..plain("$conclave/link-state", "") };
    line.say(&Packet::Publish(said), rig.now);
    assert_eq!(rig.broker.counters.denied.get(), denied + 1, "its notary does not sign for it");
    assert!(rig.broker.ways(1).is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever breaks and heals, everybody has everything once in the end; and in its order, while
    /// nothing breaks.
    #[test]
    fn nothing_is_lost_whatever_breaks(
        chords in proptest::collection::vec((0..6_usize, 0..6_usize), 0..4),
        steps in proptest::collection::vec((0..6_usize, 0..10_usize, 0..3_u64), 1..12),
        breaks in proptest::bool::ANY,
    ) {
        let mut pairs: Vec<(usize, usize)> = (0..5).map(|at| (at, at + 1)).collect();
        pairs.extend(chords.into_iter().filter(|(a, b)| a + 1 < *b));
        pairs.sort_unstable();
        pairs.dedup();
        let mut mesh = Mesh::new(6, &pairs);
        let mut subscribers: Vec<Line> = (0..6).map(|at| mesh.subscriber(at, "t")).collect();
        mesh.pass_s(1);
        let mut publishers: Vec<Line> = (0..6).map(|at| mesh.client(at, "p")).collect();
        let mut sent = Vec::new();
        for (number, (from, pair, s)) in steps.into_iter().enumerate() {
            if breaks && pair < pairs.len() {
                let pair = pairs[pair];
                if mesh.links.contains_key(&pair) { mesh.cut(pair) } else { mesh.link(pair) }
                mesh.pass_s(s);
            }
            let id = publishers[from].id();
            let text = number.to_string();
            let publish = message("t", &text, Qos::AtLeastOnce, Some(id));
            proptest::prop_assert_eq!(mesh.publish(from, &mut publishers[from], publish), 1);
            sent.push(text);
        }
        for pair in pairs {
            if !mesh.links.contains_key(&pair) {
                mesh.link(pair);
            }
        }
        mesh.pass_s(4);
        for (at, subscriber) in subscribers.iter_mut().enumerate() {
            let mut heard = mesh.texts(at, subscriber);
            if breaks {
                heard.sort_by_key(|text| text.parse::<usize>().unwrap());
            }
            proptest::prop_assert_eq!(&heard, &sent, "at {}", at);
        }
    }
}
