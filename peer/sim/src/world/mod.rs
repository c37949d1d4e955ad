//! The hall: a network of hosts, performed in simulated time.

mod carry;
mod dial;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peer_core::limits::DIRECTORY_MAX;
use peer_core::{Action, Call, DialFailure, Ended, Event, LinkId, Node, Settings, Signer};
use shared::feed::{Act, Feed};
use shared::id::{InstanceId, sha256};
use shared::key::PrivateKey;
use shared::name::NodeName;
use shared::time::{Now, Tick, Timestamp};
use shared::verify::{Member, Verified, Verifier};
use shared::wire::{Greeting, Pack};

use crate::authority::{Authority, Enrolled, START, network, own_ids};
use crate::host::{Host, address, name};
use crate::queue::Queue;
use crate::random::Random;
use crate::wires::{Weather, Wires};

/// What a network is to be.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Nodes.
    pub size: usize,
    /// For chance.
    pub seed: u64,
    /// How the network is.
    pub weather: Weather,
    /// Nodes that the others are told of, one each, at their start.
    pub introducers: usize,
    /// Over how many ms the starts are spread.
    pub start_ms: u64,
    /// Presences a node keeps at most.
    pub directory_max: usize,
}

impl Plan {
    /// So many nodes on a fast network that know the first, started at once.
    #[must_use]
    pub const fn small(size: usize, seed: u64) -> Self {
        let weather = Weather { one_way_ms: 10, loss_percent: 0 };
        Self { size, seed, weather, introducers: 1, start_ms: 0, directory_max: DIRECTORY_MAX }
    }
}

/// What will happen.
enum Happening {
    /// Octets arrive at an end.
    Octets { to: LinkId, from: LinkId, octets: Vec<u8> },
    /// An end learns that its connection is gone.
    Lost { at: LinkId, ended: Ended },
    /// The dialler has seen the listener's certificate and says HELLO.
    Secured { dial: Dial },
    /// HELLO arrives.
    Hello { dial: Dial, greeting: Greeting },
    /// WELCOME arrives.
    Welcome { dial: Dial, near: LinkId, greeting: Box<Greeting>, server: Verified<Member> },
    /// A dial came to nothing.
    Failed { dial: Dial, failure: Option<DialFailure> },
    /// A host is to look at its clock.
    Wake { host: usize },
}

/// A dial under way.
#[derive(Debug, Clone)]
struct Dial {
    from: usize,
    /// The start of the dialler it belongs to.
    run: u64,
    call: Call,
    to: usize,
}

/// A network of hosts.
pub struct World {
    /// Who signs the feed.
    pub authority: Authority,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The connections.
    pub wires: Wires,
    /// Chance.
    pub random: Random,
    /// How the network is now.
    pub weather: Weather,
    /// Dials of addresses at which there is no member.
    pub knocks: BTreeMap<String, u64>,
    /// Frames and octets sent so far, by their kind's octet.
    pub traffic: BTreeMap<u8, (u64, u64)>,
    /// A host, and when somebody's link with it ended last.
    pub watched: Option<(usize, u64)>,
    /// Who was revoked, or suspended and not resumed.
    pub out: BTreeSet<usize>,
    /// A number of the feed, and how many hosts have come to it since it was set.
    pub awaited: u64,
    /// How many of them.
    pub informed: usize,
    queue: Queue<Happening>,
    by_address: BTreeMap<String, usize>,
    /// What a partition holds up.
    held: Vec<Happening>,
    introducers: usize,
    directory_max: usize,
    seed: u64,
    /// What all hosts' verifiers share.
    verified: Verifier,
    epoch: std::time::Instant,
}

impl World {
    /// A small network on a fast network; see [`Plan::small`].
    #[must_use]
    pub fn new(size: usize, seed: u64) -> Self {
        Self::planned(&Plan::small(size, seed))
    }

    /// The network of a plan.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "any instant will do: only differences count")]
    pub fn planned(plan: &Plan) -> Self {
        let authority = Authority::new();
        let mut world = Self {
            verified: Verifier::new(authority.anchors()),
            epoch: std::time::Instant::now(),
            authority,
            hosts: Vec::with_capacity(plan.size),
            wires: Wires::default(),
            random: Random::new(plan.seed),
            weather: plan.weather,
            knocks: BTreeMap::new(),
            traffic: BTreeMap::new(),
            watched: None,
            out: BTreeSet::new(),
            awaited: 0,
            informed: 0,
            queue: Queue::default(),
            by_address: BTreeMap::new(),
            held: Vec::new(),
            introducers: plan.introducers.max(1),
            directory_max: plan.directory_max,
            seed: plan.seed,
        };
        for _ in 0..plan.size {
            world.run(plan.start_ms / plan.size.max(1) as u64);
            world.add();
        }
        world
    }

    /// One more host; it is told one of the introducers.
    pub fn add(&mut self) -> usize {
        self.add_with_skew(0)
    }

    /// One more host, with a clock that is ahead by so many ms.
    pub fn add_with_skew(&mut self, skew_ms: i64) -> usize {
        let index = self.hosts.len();
        let papers = self.authority.enroll(&name(index));
        let verifier = Arc::new(self.fresh_verifier());
        let mut feed = Feed::empty(network());
        let now = ahead(self.now(), skew_ms);
        let _ = verifier.apply_feed(&mut feed, self.authority.whole_feed(), now.wall).unwrap();
        let node = self.node(index, 1, &papers, (&verifier, feed), now);
        self.by_address.insert(address(index), index);
        let mut host = Host::new(node, papers, verifier);
        host.skew_ms = skew_ms;
        self.hosts.push(host);
        self.settle(index);
        index
    }

    /// A verifier that knows nobody who is out. All share what they verified: one signature is
    /// checked once, not by a thousand nodes.
    fn fresh_verifier(&self) -> Verifier {
        self.verified.sibling().unwrap()
    }

    /// A node at its start.
    fn node(
        &mut self,
        index: usize,
        boot: u64,
        papers: &Enrolled,
        (verifier, feed): (&Arc<Verifier>, Feed),
        now: Now,
    ) -> Node {
        let settings = Settings {
            network: network(),
            node: name(index),
            instance: instance(index, boot),
            boot,
            addresses: vec![address(index)],
            roles: vec![],
            attributes: shared::cert::Attributes::default(),
            own: own_ids(verifier, &papers.chain, now.wall),
            refuse_when_stale: false,
            full_mesh: peer_core::limits::FULL_MESH,
            directory_max: self.directory_max,
            epoch: self.epoch,
            seed: self.seed ^ ((index as u64) << 16) ^ boot,
        };
        let introducer = index % self.introducers;
        let known = if introducer == index { index.checked_sub(1) } else { Some(introducer) };
        let known = known.map(|known| (name(known), address(known))).into_iter().collect();
        let key = PrivateKey::from_pkcs8(papers.key.pkcs8()).unwrap();
        let signer = Signer::new(network(), key, papers.chain.clone());
        Node::new(settings, signer, Arc::clone(verifier), feed, known, now).unwrap()
    }

    /// The true time.
    #[must_use]
    pub fn now(&self) -> Now {
        let ms = self.queue.now_ms();
        let wall = Timestamp::from_ms(START * 1000 + i64::try_from(ms).unwrap());
        Now { tick: Tick::from_ms(ms), wall }
    }

    /// The simulated time.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.queue.now_ms()
    }

    /// The time as a host's clock shows it.
    #[must_use]
    pub fn now_at(&self, index: usize) -> Now {
        ahead(self.now(), self.hosts[index].skew_ms)
    }

    /// How many things happened or will: two runs that agree in it went the same way.
    #[must_use]
    pub const fn happenings(&self) -> u64 {
        self.queue.count()
    }

    /// Performs a node's actions, and notes what became of it.
    pub fn settle(&mut self, index: usize) {
        while let Some(action) = self.hosts[index].node.poll_action() {
            self.act(index, action);
        }
        self.write(index);
        let now_ms = self.now_ms();
        let host = &mut self.hosts[index];
        let number = host.node.position().number;
        if number != host.number {
            let informed = host.number < self.awaited && number >= self.awaited;
            (host.number, host.learnt_ms) = (number, now_ms);
            self.informed += usize::from(informed && !self.out.contains(&index));
        }
        let due = host.node.next_deadline().ms().max(now_ms + 1);
        if due < host.wake_ms || host.wake_ms <= now_ms {
            host.wake_ms = due;
            self.queue.put(due, Happening::Wake { host: index });
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Send { link, frame, .. } => self.batch(index, link, &frame),
            Action::Ping { link, nonce } => self.ping(index, link, nonce),
            Action::End { link, way } => self.end(index, link, way),
            Action::Dial(call) => self.dial(index, call),
            Action::Deliver { link, from, id, body, .. } => {
                self.hosts[index].delivered.push((from, body));
                self.hosts[index].node.handle_stored(link, id, None);
            }
            Action::Answer { outcome, .. } => self.hosts[index].outcomes.push(outcome),
            Action::Tell(event) => self.note(index, event),
            // There is no disk.
            Action::SaveFeed | Action::SavePolicy | Action::SaveMemory | Action::Ponged { .. } => {}
            // Nothing is queued in here: `peer/core/src/post/tests.rs` has streams.
            Action::Store { .. } | Action::Load(_) | Action::Settle { .. } => {}
            Action::Discard { .. } | Action::Receipted(_) => {}
            Action::Missing(_) | Action::Claimed { .. } | Action::Shown { .. } => {}
            Action::Spread { links, frame, .. } => {
                links.into_iter().for_each(|link| self.batch(index, link, &frame));
            }
            Action::Hand { to, from, pack } => {
                let host = &mut self.hosts[index];
                host.delivered.extend(pack.items().map(|body| (from.clone(), body.to_vec())));
                host.node.handle_handed(to, None);
            }
            Action::Reached { reach, .. } => self.hosts[index].reached.push(reach),
            // Nobody asks for ways in here: `peer/core/tests` has them.
            Action::Traced { .. } => {}
            // No authority is a node in here, and no certificate ends: `tests/renewal.rs` has both.
            Action::Acknowledged { .. } | Action::Renew(_) | Action::Renewed { .. } => {}
            // A relay's circuits are the shell's: `tests/relay.rs` has them.
            Action::EndCircuit { .. } => {}
        }
    }

    fn note(&mut self, index: usize, event: Event) {
        match event {
            Event::Refused { node, code, .. } => self.hosts[index].refused.push((node, code)),
            Event::Unlinked { .. } => self.hosts[index].unlinked += 1,
            _ => {}
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Octets { to, from, octets } => self.arrive(to, from, octets),
            Happening::Lost { at, ended } => self.lose(at, ended),
            Happening::Secured { dial } => self.say_hello(dial),
            Happening::Hello { dial, greeting } => self.hear_hello(dial, greeting),
            Happening::Welcome { dial, near, greeting, server } => {
                self.hear_welcome(dial, near, *greeting, server);
            }
            Happening::Failed { dial, failure } => self.hear_failed(&dial, failure),
            Happening::Wake { host } => self.wake(host),
        }
    }

    fn wake(&mut self, index: usize) {
        let host = &self.hosts[index];
        if host.up && host.wake_ms <= self.now_ms() {
            let now = self.now_at(index);
            self.hosts[index].node.handle_timeout(now);
            self.settle(index);
        }
    }

    /// Runs until a condition holds; says how long it took, in simulated ms.
    ///
    /// # Panics
    /// If it does not hold in time.
    pub fn until(&mut self, what: &str, bound_ms: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now_ms();
        while !holds(self) {
            assert!(self.now_ms() - begin <= bound_ms, "{what}: not within {bound_ms} ms");
            // All that happens in one moment, then a look.
            let moment = self.queue.next_ms();
            let moment = moment.unwrap_or_else(|| panic!("{what}: nothing happens any more"));
            while let Some(happening) = self.queue.take(moment) {
                self.happen(happening);
            }
        }
        self.now_ms() - begin
    }

    /// Runs for so many simulated ms.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ms() + ms;
        while let Some(happening) = self.queue.take(end) {
            self.happen(happening);
        }
        self.queue.advance_to(end);
    }

    /// Runs until so many simulated ms have passed since the beginning.
    pub fn run_to(&mut self, ms: u64) {
        self.run(ms.saturating_sub(self.now_ms()));
    }

    /// How many links a host has.
    #[must_use]
    pub fn links_of(&self, index: usize) -> usize {
        self.hosts[index].node.links().len()
    }

    /// Whether a host has a link with another.
    #[must_use]
    pub fn has_link(&self, a: usize, b: usize) -> bool {
        self.hosts[a].is_linked_with(&name(b))
    }

    /// Whether everybody of these is linked with everybody else and nobody more.
    pub fn is_full_mesh(&self, of: impl Fn(usize) -> bool) -> bool {
        let members = (0..self.hosts.len()).filter(|i| of(*i)).count();
        (0..self.hosts.len()).filter(|i| of(*i)).all(|i| self.links_of(i) + 1 == members)
    }

    /// Whether everybody of these is linked with everybody else of these.
    pub fn is_full_mesh_among(&self, of: impl Fn(usize) -> bool) -> bool {
        let members: Vec<usize> = (0..self.hosts.len()).filter(|index| of(*index)).collect();
        let linked = |a: &usize, b: &usize| a == b || self.has_link(*a, *b);
        members.iter().all(|a| members.iter().all(|b| linked(a, b)))
    }

    /// The authority tells one node; gives the number of the entry.
    ///
    /// # Panics
    /// If the node refuses it.
    pub fn publish(&mut self, act: Act, whom: usize, at: usize) -> u64 {
        let (cert, now) = (self.hosts[whom].cert(), self.now());
        let update = self.authority.act(act, &name(whom), cert, now.wall);
        let now = self.now_at(at);
        match act {
            Act::Resume => self.out.remove(&whom),
            _ => self.out.insert(whom),
        };
        self.hosts[at].node.handle_feed(update, now).unwrap();
        self.settle(at);
        self.hosts[at].number
    }

    /// A host wants everybody to hear something.
    ///
    /// # Panics
    /// If it is longer than a message may be.
    pub fn broadcast(&mut self, from: usize, body: &[u8]) {
        let (now, request) = (self.now_at(from), self.happenings());
        let mut pack = Pack::default();
        assert!(pack.push(body));
        self.hosts[from].node.handle_broadcast(request, pack, now);
        self.settle(from);
    }

    /// A host wants a message sent.
    pub fn send(&mut self, from: usize, to: &NodeName, body: &[u8]) {
        let (now, request) = (self.now_at(from), self.happenings());
        self.hosts[from].node.handle_send(request, to, body.to_vec(), now);
        self.settle(from);
    }
}

fn ahead(mut now: Now, skew_ms: i64) -> Now {
    now.wall = Timestamp::from_ms(now.wall.ms() + skew_ms);
    now
}

fn instance(index: usize, boot: u64) -> InstanceId {
    let hash = sha256(format!("{index} {boot}").as_bytes());
    InstanceId::from_slice(&hash[..16]).unwrap()
}
