//! A mesh in simulated time: oscillators, a LAN with jitter and asymmetry, liars, partitions.
//!
//! The loop is closed: what a node answers is read off the clock that its keeper moves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use clock::event::Event;
use clock::floor::Floor;
use clock::keeper::{Action, Keeper, Members, Start};
use clock::measure::{Exchange, Leap, OutsideName, Root, SourceId, Told};
use clock::moment::{Mono, Utc};
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::shown::Shown;

use super::crystal::{Crystal, Dice};

pub(crate) const S: u64 = 1_000_000_000;
/// True time at the beginning.
pub(crate) const EPOCH: i64 = 1_800_000_000_000_000_000;
const BASE_NS: f64 = 120_000.0;
const JITTER_NS: f64 = 200_000.0;
const ASYMMETRY_NS: f64 = 20_000.0;
const HELD_NS: u64 = 20_000;

/// What a node says instead of its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lie {
    Nothing,
    /// So much more, in ns.
    Constant(i64),
    /// So much more to some, and so much less to others.
    TwoFaced(i64),
    /// More and more: parts of 1.
    Drag(f64),
}

/// A node as a scenario wants it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) role: bool,
    /// Whether it has a source of its own.
    pub(crate) outside: bool,
    pub(crate) lie: Lie,
    /// What its system clock shows more at the start, in ns.
    pub(crate) system_ns: i64,
}

impl Plan {
    pub(crate) const MEMBER: Self =
        Self { role: false, outside: false, lie: Lie::Nothing, system_ns: 0 };
    pub(crate) const ROOT: Self = Self { role: true, outside: true, ..Self::MEMBER };
    pub(crate) const fn liar(lie: Lie) -> Self {
        Self { lie, ..Self::MEMBER }
    }
}

pub(crate) struct Node {
    pub(crate) keeper: Keeper,
    pub(crate) plan: Plan,
    pub(crate) events: Vec<(u64, Event)>,
    pub(crate) floors: usize,
    crystal: Crystal,
    /// Which part of a torn network it is in.
    pub(crate) part: usize,
    /// What its own source shows more, in ns.
    pub(crate) outside_ns: i64,
    tick_at: Option<u64>,
    shown: i64,
    steps: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Tick(usize),
    Arrive { from: usize, to: Option<usize>, sent: Mono },
    Return { to: usize, from: Option<usize>, sent: Mono, stamps: [i64; 2] },
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: u64,
    dice: Dice,
    queue: BinaryHeap<Reverse<(u64, u64, News)>>,
    told: BTreeMap<u64, Told>,
    count: u64,
}

pub(crate) fn name(at: usize) -> NodeName {
    NodeName::parse(&format!("n{at}")).unwrap()
}

fn outside() -> SourceId {
    SourceId::Outside(OutsideName::parse("gps:123").unwrap())
}

impl World {
    pub(crate) fn new(seed: u64, plans: &[Plan]) -> Self {
        let mut dice = Dice::new(seed);
        let roots: BTreeSet<NodeName> =
            plans.iter().enumerate().filter(|(_, p)| p.role).map(|(at, _)| name(at)).collect();
        let build = Utc::from_ns(EPOCH - 86_400 * 1_000_000_000);
        let mut nodes = Vec::new();
        for (at, plan) in plans.iter().enumerate() {
            let mut crystal = Crystal::new(15.0, Dice::new(dice.next()));
            let others = (0..plans.len()).filter(|other| *other != at);
            let mut sources: BTreeSet<SourceId> = others.map(|o| SourceId::Peer(name(o))).collect();
            if plan.outside {
                sources.insert(outside());
            }
            let near = dice.around(50e6) as i64;
            let system = Utc::from_ns(EPOCH + near + plan.system_ns);
            let (floor, seed) = (Floor::new(build), dice.next());
            let now = crystal.count(0);
            let mut keeper = Keeper::new(Start { me: name(at), system, floor, seed }, now);
            let members = Members {
                time_root: plan.role,
                sources,
                roots: roots.clone(),
                ..Members::default()
            };
            keeper.handle_members(members, now);
            nodes.push(Node {
                keeper,
                plan: plan.clone(),
                events: Vec::new(),
                floors: 0,
                crystal,
                part: 0,
                outside_ns: 0,
                tick_at: None,
                shown: i64::MIN,
                steps: 0,
            });
        }
        let (queue, told) = (BinaryHeap::new(), BTreeMap::new());
        let mut world = Self { nodes, now: 0, dice, queue, told, count: 0 };
        (0..plans.len()).for_each(|at| world.settle(at));
        world
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, id, news))) = self.queue.pop() else { break };
            self.now = at;
            self.happen(id, news);
        }
        self.now = end;
    }

    fn happen(&mut self, id: u64, news: News) {
        match news {
            News::Tick(at) => {
                let node = &mut self.nodes[at];
                if node.tick_at != Some(self.now) {
                    return;
                }
                node.tick_at = None;
                let now = node.crystal.count(self.now);
                node.keeper.handle_tick(now);
                self.settle(at);
            }
            News::Arrive { from, to, sent } => self.answer(from, to, sent),
            News::Return { to, from, sent, stamps: [received_there, sent_there] } => {
                let told = self.told.remove(&id).unwrap();
                let node = &mut self.nodes[to];
                let now = node.crystal.count(self.now);
                let stamp = Utc::from_ns;
                let (received_there, sent_there) = (stamp(received_there), stamp(sent_there));
                let exchange = Exchange { sent, received_there, sent_there, received: now };
                let source = from.map_or_else(outside, |from| SourceId::Peer(name(from)));
                let _ = node.keeper.handle_answer(&source, exchange, told, now);
                self.settle(to);
            }
        }
    }

    /// `to` (or an outside server) has a question of `from`.
    fn answer(&mut self, from: usize, to: Option<usize>, sent: Mono) {
        let (first, told) = match to {
            Some(to) if self.nodes[to].part != self.nodes[from].part => return,
            Some(to) => self.said(to, from),
            None => {
                let utc = EPOCH + self.now as i64 + self.nodes[from].outside_ns;
                (utc, outside_told(utc))
            }
        };
        let stamps = [first, first + HELD_NS as i64];
        let back = self.delay(to.unwrap_or(99), from);
        let id = self.push(HELD_NS + back, News::Return { to: from, from: to, sent, stamps });
        self.told.insert(id, told);
    }

    fn said(&mut self, who: usize, asker: usize) -> (i64, Told) {
        let t = self.now;
        let node = &mut self.nodes[who];
        let now = node.crystal.count(t);
        let mut told = node.keeper.served(now).told;
        let honest = node.keeper.face().reading(now).best.ns();
        let more = match node.plan.lie {
            Lie::Nothing => 0,
            Lie::Constant(ns) => ns,
            Lie::TwoFaced(ns) => {
                if asker.is_multiple_of(2) {
                    ns
                } else {
                    -ns
                }
            }
            Lie::Drag(rate) => (t as f64 * rate) as i64,
        };
        if node.plan.lie != Lie::Nothing {
            (told.leap, told.root_delay_ns, told.root_dispersion_ns) = (Leap::None, 0, 1_000);
            told.reference = Utc::from_ns(honest + more);
            (told.stratum, told.root) = (10, Root::Mesh);
            if node.plan.role {
                (told.stratum, told.root) = (1, Root::Of(SourceId::Peer(name(who))));
            }
        }
        (honest + more, told)
    }

    fn delay(&mut self, from: usize, to: usize) -> u64 {
        let asymmetry = Dice::new((from * 100 + to) as u64).unit() * ASYMMETRY_NS;
        (BASE_NS + asymmetry + self.dice.unit().powi(4) * JITTER_NS) as u64
    }

    fn push(&mut self, wait: u64, news: News) -> u64 {
        self.count += 1;
        self.queue.push(Reverse((self.now + wait, self.count, news)));
        self.count
    }

    /// Does what a keeper wants done, and comes back when it wants to be called.
    fn settle(&mut self, at: usize) {
        let t = self.now;
        let now = self.nodes[at].crystal.count(t);
        while let Some(action) = self.nodes[at].keeper.poll_action() {
            match action {
                Action::Ask(id) => {
                    let to = match id {
                        SourceId::Peer(node) => node.as_str()[1..].parse().ok(),
                        _ => None,
                    };
                    let wait = self.delay(at, to.unwrap_or(99));
                    self.push(wait, News::Arrive { from: at, to, sent: now });
                }
                Action::Keep(_) => self.nodes[at].floors += 1,
                Action::Tell(event) => self.nodes[at].events.push((t, event)),
            }
        }
        let wait = self.nodes[at].keeper.next_deadline().ns_since(now).max(1_000);
        let due = t + wait + wait / 10_000 + 1;
        let pending = self.nodes[at].tick_at.filter(|pending| *pending > t && *pending <= due);
        if pending.is_none() {
            self.nodes[at].tick_at = Some(due);
            self.push(due - t, News::Tick(at));
        }
    }

    /// What the node's clock is off from the truth, in ns; it never goes back.
    pub(crate) fn error_ns(&mut self, at: usize) -> i64 {
        let node = &mut self.nodes[at];
        let now = node.crystal.count(self.now);
        let reading = node.keeper.face().reading(now);
        let steps = node.keeper.face().line().steps;
        let back = steps == node.steps && reading.best.ns() < node.shown;
        assert!(!back, "node {at} ran backwards");
        (node.shown, node.steps) = (reading.best.ns(), steps);
        reading.best.ns() - EPOCH - self.now as i64
    }

    pub(crate) fn reading(&mut self, at: usize) -> clock::face::Reading {
        let node = &mut self.nodes[at];
        node.keeper.reading(node.crystal.count(self.now))
    }

    pub(crate) fn served(&mut self, at: usize) -> clock::keeper::Served {
        let node = &mut self.nodes[at];
        node.keeper.served(node.crystal.count(self.now))
    }

    pub(crate) fn statement(&mut self, at: usize) -> Option<Shown> {
        let node = &mut self.nodes[at];
        let now = node.crystal.count(self.now);
        node.keeper.statement(InstanceId::new([at as u8; 16]), now)
    }

    pub(crate) fn honest(&self) -> Vec<usize> {
        let honest = |at: &usize| self.nodes[*at].plan.lie == Lie::Nothing;
        (0..self.nodes.len()).filter(honest).collect()
    }

    /// Whom a node called a liar, without its own sources.
    pub(crate) fn liars(&self, at: usize) -> Vec<usize> {
        let liar = |event: &Event| match event {
            Event::Liar { source_id: SourceId::Peer(node), .. } => node.as_str()[1..].parse().ok(),
            _ => None,
        };
        let events = self.nodes[at].events.iter();
        let liars: BTreeSet<usize> = events.filter_map(|(_, event)| liar(event)).collect();
        liars.into_iter().collect()
    }

    /// The codes of what a node told, in order.
    pub(crate) fn codes(&self, at: usize) -> Vec<&'static str> {
        self.nodes[at].events.iter().map(|(_, event)| event.code()).collect()
    }
}

fn outside_told(utc: i64) -> Told {
    Told {
        leap: Leap::None,
        stratum: 1,
        root_delay_ns: 10_000,
        root_dispersion_ns: 10_000,
        reference: Utc::from_ns(utc),
        root: Root::Of(outside()),
    }
}
