//! The pure node by the hundred: a seeded network with latency, loss and partitions, real
//! certificates and real signatures, no sockets, no clock. A failing seed is printed by its panic.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the bench of a test: what goes wrong here is the test's failure"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use peer_core::{
    Action, Arrival, By, Call, Decision, DialFailure, Direction, Ended, LinkId, Node, Outcome,
    Settings, Signer,
};
use shared::cert::{Attributes, CaSigner, Draft, Kind, Profile, Subject, Usage, Usages};
use shared::feed::{Act, CertRef, Entry, Feed, Head, Reason, RevocationSet, Update};
use shared::id::{InstanceId, Serial};
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName, NodeName};
use shared::time::{Now, Tick, Timestamp};
use shared::verify::{Anchors, Verifier};
use shared::wire::{Body, split};

const START: i64 = 1_800_000_000;

fn network() -> NetworkName {
    NetworkName::parse("mesh.example").unwrap()
}

fn name(index: usize) -> NodeName {
    NodeName::parse(&format!("n{index:03}")).unwrap()
}

fn profile(kind: Kind) -> Profile {
    let node = kind == Kind::Node;
    Profile {
        name: Label::parse("test").unwrap(),
        kind,
        life_s: 86_400,
        life_min_s: 1,
        life_max_s: if node { 90 * 86_400 } else { 400 * 86_400 },
        backdate_s: 300,
        usages: Usages { client: node, server: node },
    }
}

/// An authority in memory.
struct Authority {
    root: CaSigner,
    issuing: CaSigner,
    feed: Feed,
    set: RevocationSet,
    serial: u64,
}

impl Authority {
    fn new() -> Self {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let root =
            CaSigner::new_root(&draft(Subject::Authority, &key, Kind::Root, 1, 300), key).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let der = root.sign(&draft(Subject::Authority, &key, Kind::Issuing, 2, 200)).unwrap();
        let issuing = CaSigner::new(&der, key).unwrap();
        let mut authority = Self {
            root,
            issuing,
            feed: Feed::empty(network()),
            set: RevocationSet::default(),
            serial: 2,
        };
        authority.sign_head(None, Timestamp::from_s(START));
        authority
    }

    fn anchors(&self) -> Anchors {
        Anchors::new(network(), &[self.root.cert().der.clone()]).unwrap()
    }

    fn enroll(&mut self, node: &NodeName) -> (PrivateKey, Vec<Vec<u8>>, CertRef) {
        self.serial += 1;
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let subject = Subject::Node {
            name: node.clone(),
            attributes: Attributes::default(),
            dns: vec![],
            ips: vec![],
        };
        let draft = draft(subject, &key, Kind::Node, self.serial, 1);
        let der = self.issuing.sign(&draft).unwrap();
        let cert = CertRef {
            issuer: self.issuing.cert().key_id,
            serial: draft.serial,
            spki: key.public().spki_hash(),
            not_after: draft.not_after,
        };
        (key, vec![der, self.issuing.cert().der.clone()], cert)
    }

    fn act(&mut self, act: Act, node: &NodeName, cert: CertRef, now: Timestamp) -> Update {
        let before = self.feed.position().number;
        let entry = Entry {
            number: before + 1,
            at: now,
            act,
            node: node.clone(),
            certs: vec![cert],
            reason: if act == Act::Suspend {
                Reason::CertificateHold
            } else {
                Reason::KeyCompromise
            },
            expires: now.plus_s(90 * 86_400),
        };
        self.sign_head(Some(entry), now);
        self.feed.update_since(before).unwrap()
    }

    fn sign_head(&mut self, entry: Option<Entry>, now: Timestamp) {
        self.sign_head_for(entry, now, 30 * 86_400);
    }

    fn sign_head_for(&mut self, entry: Option<Entry>, now: Timestamp, life_s: i64) {
        let number = self.feed.position().number + u64::from(entry.is_some());
        let hash = entry.as_ref().map_or_else(|| self.feed.hash(), |e| self.feed.hash_with(e));
        let head = Head { number, hash, at: now, next_update: now.plus_s(life_s) };
        let signed = head.sign(&network(), &self.issuing).unwrap();
        let entries = entry.iter().map(Entry::to_bytes).collect();
        let update = Update { snapshot: None, entries, head: signed };
        let anchors = self.anchors();
        let mut news = self.feed.apply(update, &self.set, &anchors, now).unwrap();
        news.apply_to(&mut self.set);
    }
}

fn draft(subject: Subject, key: &PrivateKey, kind: Kind, serial: u64, days: i64) -> Draft {
    let mut random = [7; 16];
    random[8..].copy_from_slice(&serial.to_be_bytes());
    Draft {
        network: network(),
        subject,
        public: key.public().clone(),
        serial: Serial::from_random(random),
        not_before: Timestamp::from_s(START - 300),
        not_after: Timestamp::from_s(START + days * 86_400),
        profile: profile(kind),
    }
}

/// One end of a connection.
#[derive(Clone, Copy)]
struct End {
    node: usize,
    link: LinkId,
}

enum Happening {
    Frame { to: End, bytes: Vec<u8> },
    Lost { at: End },
    Dialled { from: usize, to: NodeName },
    Wake { node: usize },
}

struct Host {
    node: Node,
    chain: Vec<Vec<u8>>,
    cert: CertRef,
    verifier: Arc<Verifier>,
    delivered: Vec<(NodeName, Vec<u8>)>,
    outcomes: Vec<Outcome>,
    wake: u64,
}

/// A network of nodes: an event queue in simulated time.
struct World {
    authority: Authority,
    hosts: Vec<Host>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pairs: BTreeMap<LinkId, End>,
    now_ms: u64,
    sequence: u64,
    next_link: u64,
    random: u64,
    loss_percent: u64,
    /// Hosts on the two sides of a partition cannot reach each other.
    split_at: Option<usize>,
}

impl World {
    fn new(size: usize, seed: u64) -> Self {
        let mut world = Self {
            authority: Authority::new(),
            hosts: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            pairs: BTreeMap::new(),
            now_ms: 0,
            sequence: 0,
            next_link: 1,
            random: seed,
            loss_percent: 0,
            split_at: None,
        };
        for index in 0..size {
            world.add(index);
        }
        world
    }

    /// Every node is told the first one; the rest it finds by presences.
    fn add(&mut self, index: usize) {
        let node = name(index);
        let (key, chain, cert) = self.authority.enroll(&node);
        let verifier = Arc::new(Verifier::new(self.authority.anchors()));
        let mut feed = Feed::empty(network());
        let update = self.authority.feed.update_since(0).unwrap();
        let now = self.now();
        let _ = verifier.apply_feed(&mut feed, update, now.wall).unwrap();
        let refs: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let own = verifier.admit(&refs, Usage::Client, None, now.wall).unwrap().ids.clone();
        let settings = Settings {
            network: network(),
            node: node.clone(),
            instance: InstanceId::new([u8::try_from(index % 251).unwrap(); 16]),
            boot: 1,
            addresses: vec![format!("{node}:7400")],
            roles: vec![],
            own,
            refuse_when_stale: false,
            seed: index as u64,
        };
        let known = if index == 0 {
            BTreeMap::new()
        } else {
            BTreeMap::from([(name(0), format!("{}:7400", name(0)))])
        };
        let signer = Signer::new(network(), key, chain.clone());
        let node = Node::new(settings, signer, Arc::clone(&verifier), feed, known, now).unwrap();
        self.hosts.push(Host {
            node,
            chain,
            cert,
            verifier,
            delivered: vec![],
            outcomes: vec![],
            wake: u64::MAX,
        });
        self.settle(index);
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_ms(START * 1000 + i64::try_from(self.now_ms).unwrap());
        Now { tick: Tick::from_ms(self.now_ms), wall }
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now_ms + ms, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        self.split_at.is_none_or(|at| (a < at) == (b < at))
    }

    /// Performs a node's actions.
    fn settle(&mut self, index: usize) {
        while let Some(action) = self.hosts[index].node.poll_action() {
            match action {
                Action::Send { link, frame, .. } => self.carry(link, frame),
                Action::Ping { link, nonce } => self.carry(link, Body::Ping(nonce).to_frame()),
                Action::End { link, .. } => self.hang_up(link),
                Action::Dial(Call::Known { node, .. }) => {
                    let latency = 20 + self.roll(20);
                    self.after(latency, Happening::Dialled { from: index, to: node });
                }
                // A relay's circuits are the shell's: `tests/relay.rs` has them.
                Action::Dial(_) | Action::EndCircuit { .. } => {}
                Action::Deliver { link, from, id, body, .. } => {
                    self.hosts[index].delivered.push((from, body));
                    self.hosts[index].node.handle_stored(link, id, None);
                }
                Action::Answer { outcome, .. } => self.hosts[index].outcomes.push(outcome),
                // The simulated network has names only, and no disk.
                Action::SaveFeed | Action::SaveMemory => {}
                Action::Ponged { .. } | Action::Tell(_) => {}
            }
        }
        let due = self.hosts[index].node.next_deadline().ms().max(self.now_ms + 1);
        if due < self.hosts[index].wake || self.hosts[index].wake <= self.now_ms {
            self.hosts[index].wake = due;
            self.after(due - self.now_ms, Happening::Wake { node: index });
        }
    }

    /// TCP in the large: loss costs a retransmission, order within a link is kept.
    fn carry(&mut self, link: LinkId, bytes: Vec<u8>) {
        let Some(to) = self.pairs.get(&link).copied() else { return };
        let lost = self.roll(100) < self.loss_percent;
        let latency = if lost { 200 } else { 10 };
        self.after(latency, Happening::Frame { to, bytes });
    }

    fn hang_up(&mut self, link: LinkId) {
        if let Some(other) = self.pairs.remove(&link) {
            self.after(10, Happening::Lost { at: other });
        }
    }

    fn dialled(&mut self, from: usize, to: &NodeName) {
        let failed = |detail: &str, code| DialFailure {
            code,
            by: By::Neither,
            detail: detail.to_owned(),
            at: Timestamp::from_s(START),
        };
        let found = (0..self.hosts.len()).find(|index| name(*index) == *to);
        let Some(at) = found.filter(|at| self.reachable(from, *at)) else {
            let now = self.now();
            self.hosts[from].node.handle_dial_failed(to, Some(failed("no route", None)), now);
            return self.settle(from);
        };
        // The handshake: each side's verifier judges the other's chain.
        let now = self.now();
        let judge = |verifier: &Verifier, chain: &[Vec<u8>], usage| {
            let refs: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
            verifier.admit(&refs, usage, None, now.wall)
        };
        let server = judge(&self.hosts[from].verifier, &self.hosts[at].chain, Usage::Server);
        let client = judge(&self.hosts[at].verifier, &self.hosts[from].chain, Usage::Client);
        let (Ok(server), Ok(client)) = (server, client) else {
            let code = Some(shared::refusal::Code::Revoked);
            self.hosts[from].node.handle_dial_failed(to, Some(failed("refused", code)), now);
            return self.settle(from);
        };
        let (near, far) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        let hello = self.hosts[from].node.greeting();
        let arrival = |link, member, greeting, direction| Arrival {
            link,
            member,
            greeting,
            direction,
            address: "simulated:1".to_owned(),
            via: None,
        };
        let decision =
            self.hosts[at].node.handle_arrival(arrival(far, client, hello, Direction::In), now);
        let Decision::Welcome(welcome) = decision else {
            self.hosts[from].node.handle_dial_failed(to, None, now);
            self.settle(at);
            return self.settle(from);
        };
        self.pairs.insert(near, End { node: at, link: far });
        self.pairs.insert(far, End { node: from, link: near });
        let decision = self.hosts[from]
            .node
            .handle_arrival(arrival(near, server, *welcome, Direction::Out), now);
        if matches!(decision, Decision::Welcome(_)) {
            self.hosts[at].node.handle_ready(far, now);
            self.hosts[from].node.handle_ready(near, now);
        } else {
            self.hang_up(near);
            self.pairs.remove(&far);
            self.hosts[from].node.handle_dial_failed(to, None, now);
        }
        self.settle(at);
        self.settle(from);
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, sequence))) = self.queue.pop() else { return false };
        self.now_ms = at;
        let now = self.now();
        match self.happenings.remove(&sequence).unwrap() {
            Happening::Frame { to, bytes } => {
                let (frame, _) = split(&bytes).unwrap().unwrap();
                let body = Body::parse(&frame).unwrap();
                self.hosts[to.node].node.handle_body(to.link, body, now).unwrap();
                self.settle(to.node);
            }
            Happening::Lost { at } => {
                self.pairs.remove(&at.link);
                let ended = Ended { refused: None, detail: "closed".to_owned() };
                self.hosts[at.node].node.handle_ended(at.link, ended, now);
                self.settle(at.node);
            }
            Happening::Dialled { from, to } => self.dialled(from, &to),
            Happening::Wake { node } => {
                if self.hosts[node].wake <= self.now_ms {
                    self.hosts[node].node.handle_timeout(now);
                    self.settle(node);
                }
            }
        }
        true
    }

    /// Runs until a condition holds; says how long it took, in simulated ms.
    fn until(&mut self, what: &str, bound_ms: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now_ms;
        while !holds(self) {
            assert!(self.now_ms - begin <= bound_ms, "{what}: not within {bound_ms} ms");
            // All that happens in one moment, then a look.
            let moment = self.now_ms;
            while self.now_ms == moment {
                assert!(self.step(), "{what}: nothing happens any more");
            }
        }
        self.now_ms - begin
    }

    fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now_ms = end;
    }

    fn links_of(&self, index: usize) -> usize {
        self.hosts[index].node.links().len()
    }

    fn is_full_mesh(&self, of: impl Fn(usize) -> bool) -> bool {
        let members = (0..self.hosts.len()).filter(|i| of(*i)).count();
        (0..self.hosts.len()).filter(|i| of(*i)).all(|i| self.links_of(i) + 1 == members)
    }

    fn has_link(&self, a: usize, b: usize) -> bool {
        self.hosts[a].node.links().iter().any(|link| link.node == name(b))
    }

    /// The authority tells one node.
    fn publish(&mut self, act: Act, whom: usize, at: usize) {
        let (cert, now) = (self.hosts[whom].cert, self.now());
        let update = self.authority.act(act, &name(whom), cert, now.wall);
        self.hosts[at].node.handle_feed(update, now).unwrap();
        self.settle(at);
    }
}

#[test]
fn twenty_nodes_that_know_one_address_become_a_full_mesh() {
    for seed in 0..5 {
        let mut world = World::new(20, seed);
        world.until(&format!("seed {seed}: full mesh"), 30_000, |w| w.is_full_mesh(|_| true));
    }
}

#[test]
fn a_revocation_cuts_exactly_the_right_links_and_stays() {
    for seed in 0..5 {
        let mut world = World::new(16, seed);
        world.loss_percent = 5;
        world.until("full mesh", 60_000, |w| w.is_full_mesh(|_| true));
        world.publish(Act::Revoke, 7, 0);
        let took = world.until("all have cut 7", 2_000, |w| {
            (0..16).filter(|i| *i != 7).all(|i| !w.has_link(i, 7))
        });
        assert!(took <= 1_000, "seed {seed}: {took} ms");
        assert!(world.is_full_mesh(|i| i != 7), "seed {seed}: another link was cut");
        world.run(60_000);
        assert_eq!(world.links_of(7), 0, "seed {seed}: the revoked node came back");
        assert!(world.is_full_mesh(|i| i != 7));
    }
}

#[test]
fn a_suspended_node_comes_back_when_it_is_resumed() {
    let mut world = World::new(6, 1);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.publish(Act::Suspend, 3, 0);
    world.until("cut", 1_000, |w| (0..6).all(|i| i == 3 || !w.has_link(i, 3)));
    world.run(10_000);
    assert_eq!(world.links_of(3), 0);
    world.publish(Act::Resume, 3, 1);
    world.until("back", 60_000, |w| w.is_full_mesh(|_| true));
}

#[test]
fn a_partition_learns_of_the_revocation_when_it_heals() {
    let mut world = World::new(10, 3);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.split_at = Some(5);
    for link in world.pairs.keys().copied().collect::<Vec<_>>() {
        let Some(end) = world.pairs.get(&link).copied() else { continue };
        let from = world.pairs.get(&end.link).map(|e| e.node).unwrap();
        if !world.reachable(from, end.node) {
            world.pairs.remove(&end.link);
            world.pairs.remove(&link);
            world.after(1, Happening::Lost { at: end });
            let back = End { node: from, link };
            world.after(1, Happening::Lost { at: back });
        }
    }
    world.run(5_000);
    // Node 8 is on the far side; the near side learns of its revocation, the far side cannot.
    world.publish(Act::Revoke, 8, 0);
    world.run(5_000);
    assert!(world.has_link(9, 8), "the far side has not heard of it");
    world.split_at = None;
    world.until("healed and cut", 60_000, |w| w.is_full_mesh(|i| i != 8) && w.links_of(8) == 0);
}

#[test]
fn messages_arrive_and_the_revoked_hear_nothing() {
    let mut world = World::new(4, 9);
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    let now = world.now();
    world.hosts[1].node.handle_send(1, &name(2), b"hello".to_vec(), now);
    world.settle(1);
    world.run(1_000);
    assert_eq!(world.hosts[2].delivered, vec![(name(1), b"hello".to_vec())]);
    assert_eq!(world.hosts[1].outcomes, vec![Outcome::Delivered]);
    world.publish(Act::Revoke, 2, 0);
    world.run(1_000);
    let now = world.now();
    world.hosts[1].node.handle_send(2, &name(2), b"secret".to_vec(), now);
    world.settle(1);
    world.run(1_000);
    assert_eq!(world.hosts[2].delivered.len(), 1);
    assert_eq!(
        world.hosts[1].outcomes.last(),
        Some(&Outcome::Refused(shared::refusal::Code::Revoked))
    );
}

#[test]
fn a_stale_feed_is_told_or_ends_the_links_as_the_settings_say() {
    for refuse in [false, true] {
        let mut world = World::new(3, 4);
        world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
        let now = world.now();
        assert!(!world.hosts[0].node.is_stale(now.wall));
        for host in &mut world.hosts {
            host.node.set_refuse_when_stale(refuse);
        }
        // Certificates live a day here, the feed's promise 30: the promise is made shorter.
        world.authority.sign_head_for(None, now.wall, 600);
        let update = world.authority.feed.update_since(0).unwrap();
        world.hosts[0].node.handle_feed(update, now).unwrap();
        world.settle(0);
        world.run(590_000);
        assert!(world.is_full_mesh(|_| true), "refuse {refuse}: fresh");
        world.run(20_000);
        assert_eq!(world.is_full_mesh(|_| true), !refuse, "refuse {refuse}: stale");
    }
}

/// Half as many again as this fabric is meant for: bounded, and a revocation reaches everybody. All
/// know only one, who may make each of them dial a third of its links: two thirds of 256 is the
/// largest full mesh that one introducer can bring about.
#[test]
fn a_hundred_and_fifty_nodes_link_and_hear_of_a_revocation() {
    let mut world = World::new(150, 42);
    world.loss_percent = 2;
    world.until("full mesh", 30_000, |w| w.is_full_mesh(|_| true));
    world.publish(Act::Revoke, 120, 0);
    let took = world.until("all have cut it", 1_000, |w| {
        w.links_of(120) == 0 && (0..150).all(|i| i == 120 || w.links_of(i) == 148)
    });
    assert!(took <= 1_000, "{took} ms");
}

/// The same seed gives the same run.
#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| {
        let mut world = World::new(8, seed);
        world.loss_percent = 10;
        world.run(10_000);
        (world.sequence, world.next_link, world.random)
    };
    assert_eq!(trace(5).1, trace(5).1);
    assert_eq!(trace(5), trace(5));
}
