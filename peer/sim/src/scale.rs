//! What is measured of a network of one size, and how.
//!
//! All nodes start at once and know one of a few introducers. When the network is one, it is left
//! alone for a while; then one node after another is revoked, each time told to another node, at
//! one loss after another; then half of the network is cut off while a node is revoked.
//!
//! A time is counted from the moment at which the first node has the news. The share that has it
//! after a time is one of the live nodes: all but those that are out.

use std::collections::BTreeSet;

use peer_core::limits::{DIRECTORY_MAX, PRESENCE_EACH_MS, PRESENCE_MS};
use serde::{Deserialize, Serialize};
use shared::feed::Act;

use crate::gauge;
use crate::wires::{RECORD_OVERHEAD, SEGMENT_OVERHEAD, Weather};
use crate::world::{Plan, World};

/// Nodes up to which everybody knows everybody here, and all start at once.
const EVERYBODY_MAX: usize = 1_024;
/// Presences a node keeps in larger networks: everybody's would be the square of the nodes.
const DIRECTORY: usize = 512;
/// How long those are left alone before they are watched, and how long they are watched, in ms.
const QUIET_MS: u64 = 60_000;
/// Between two starts there, in ms: a hundred machines a second.
const START_EACH_MS: u64 = 10;
/// From one node to another, in ms.
pub const ONE_WAY_MS: u64 = 50;
/// The losses tried, in percent; the first is the one that targets are for.
pub const LOSSES: [u64; 3] = [5, 10, 30];
/// Revocations at each loss.
const TRIALS: usize = 5;
/// Between two of them.
const PAUSE_MS: u64 = 5_000;
/// How long the network may take to become one.
const CONVERGE_MS: u64 = 300_000;
/// How long a revocation may take to be everywhere.
const SPREAD_MS: u64 = 120_000;
/// How long acknowledgements are waited for.
const ACKNOWLEDGE_MS: u64 = 3_000;
/// How long half of the network is cut off: long enough that both halves have noticed.
const PARTITION_MS: u64 = 60_000;

/// Least, mean and most of what nodes have or did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

/// How revocations went at one loss.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revocation {
    /// Segments lost, of a hundred.
    pub loss_percent: u64,
    /// How many were tried.
    pub trials: usize,
    /// Until half of the live nodes had it, in ms: the median of the trials.
    pub p50_ms: f64,
    /// Until 99 % had it: the median of the trials.
    pub p99_ms: f64,
    /// Until all had it: the worst of the trials.
    pub p100_ms: f64,
    /// Until nobody had a link with the revoked node: the worst of the trials.
    pub closed_ms: f64,
    /// Frames about the feed that a node sent for one revocation, its acknowledgement included.
    pub frames_each: f64,
    /// Their bytes, with headers.
    pub bytes_each: f64,
    /// The same of the node that sent most.
    pub bytes_most: f64,
}

/// A node of one half was revoked while the halves could not reach each other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Partition {
    /// How long the halves were apart, in ms.
    pub lasted_ms: f64,
    /// After the heal until half of those had it that had not heard of it, in ms.
    pub p50_ms: f64,
    /// Until 99 % of them had it.
    pub p99_ms: f64,
    /// Until all had it.
    pub p100_ms: f64,
}

/// What a network costs in which nothing happens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    /// How long it was watched, in simulated seconds.
    pub seconds: f64,
    /// Bytes a second that a node sends, with headers.
    pub bytes_s: Spread,
    /// Of one core, in percent, for a node: its thinking and its part of the simulator's, without
    /// TLS and system calls.
    pub cpu_percent: f64,
}

/// Everything about one size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scale {
    /// Nodes.
    pub nodes: usize,
    /// For chance.
    pub seed: u64,
    /// From one node to another, in ms.
    pub one_way_ms: u64,
    /// From the start until every node was connected with every other by some path, in ms.
    pub connected_ms: f64,
    /// Links of a node.
    pub links: Spread,
    /// Nodes that a node knows of.
    pub known: Spread,
    /// What a node holds in memory, in KiB, with its part of the simulator; what was verified is
    /// shared between the nodes here.
    pub memory_kib: f64,
    /// Nothing happens.
    pub idle: Idle,
    /// One for each loss.
    pub revocations: Vec<Revocation>,
    /// Partition and heal.
    pub partition: Partition,
    /// What all of this took on this machine, in seconds of a core.
    pub cost_s: f64,
}

/// Measures a size; `say` hears how far it is.
pub fn measure(nodes: usize, seed: u64, say: &mut dyn FnMut(&str)) -> Scale {
    let before_kib = gauge::resident_kib();
    let mut world = World::planned(&plan(nodes, seed));
    let connected_ms = world.until("one network", CONVERGE_MS, is_one_network_now_and_then());
    say(&format!("{nodes} nodes are one network after {connected_ms} ms"));
    settle(&mut world, nodes);
    let memory_kib = (gauge::resident_kib() - before_kib) / nodes as f64;
    let (links, known) = (links(&world), known(&world));
    say(&format!("links {links:?}, known {known:?}, {memory_kib:.0} KiB a node"));
    let idle = idle(&mut world);
    say(&format!("idle {idle:?}"));
    let mut revocations = Vec::new();
    for loss_percent in LOSSES {
        let revocation = revoke(&mut world, loss_percent);
        say(&format!("{revocation:?}"));
        revocations.push(revocation);
    }
    let partition = partition(&mut world);
    say(&format!("{partition:?}"));
    Scale {
        nodes,
        seed,
        one_way_ms: ONE_WAY_MS,
        connected_ms: connected_ms as f64,
        links,
        known,
        memory_kib,
        idle,
        revocations,
        partition,
        cost_s: gauge::cpu_s(),
    }
}

/// Measures only what a network costs in which nothing happens.
#[must_use]
pub fn measure_idle(nodes: usize, seed: u64) -> Idle {
    let mut world = World::planned(&plan(nodes, seed));
    world.until("one network", CONVERGE_MS, is_one_network_now_and_then());
    settle(&mut world, nodes);
    idle(&mut world)
}

/// From so many ms after the start until twice as many every node signs its presence exactly once:
/// the first time it did so after a third more or less of [`PRESENCE_MS`], because it knew nobody
/// yet; from then on it waits as long as its directory says, a third more or less.
fn idle_ms(nodes: usize) -> u64 {
    if nodes > EVERYBODY_MAX {
        return QUIET_MS;
    }
    let wait_ms = (nodes as u64 * PRESENCE_EACH_MS).max(PRESENCE_MS);
    (PRESENCE_MS + wait_ms) / 3 * 2
}

/// Lets a network come to rest.
fn settle(world: &mut World, nodes: usize) {
    if nodes > EVERYBODY_MAX {
        world.run(idle_ms(nodes));
    } else {
        world.run_to(idle_ms(nodes));
    }
}

/// One in a hundred is an introducer.
fn plan(size: usize, seed: u64) -> Plan {
    let weather = Weather { one_way_ms: ONE_WAY_MS, loss_percent: LOSSES[0] };
    let start_ms = if size > EVERYBODY_MAX { size as u64 * START_EACH_MS } else { 0 };
    let (introducers, directory_max) = ((size / 100).max(3), directory_max(size));
    Plan { size, seed, weather, introducers, start_ms, directory_max }
}

const fn directory_max(size: usize) -> usize {
    if size > EVERYBODY_MAX { DIRECTORY } else { DIRECTORY_MAX }
}

/// Looks twice a simulated second.
fn is_one_network_now_and_then() -> impl Fn(&World) -> bool {
    let looked = std::cell::Cell::new(0);
    move |world| {
        let turn = world.now_ms() / 500;
        looked.replace(turn) != turn && is_one_network(world)
    }
}

/// Whether every running host is connected with every other by some path of links.
#[must_use]
pub fn is_one_network(world: &World) -> bool {
    let live = live(world);
    let Some(first) = live.first() else { return true };
    let neighbours = world.wires.neighbours(world.hosts.len());
    let (mut seen, mut open) = (BTreeSet::from([*first]), vec![*first]);
    while let Some(index) = open.pop() {
        for other in &neighbours[index] {
            if seen.insert(*other) {
                open.push(*other);
            }
        }
    }
    live.iter().all(|index| seen.contains(index))
}

/// Those who run and are not out.
#[must_use]
pub fn live(world: &World) -> Vec<usize> {
    let is_in = |index: &usize| world.hosts[*index].up && !world.out.contains(index);
    (0..world.hosts.len()).filter(is_in).collect()
}

fn links(world: &World) -> Spread {
    spread(live(world).into_iter().map(|index| world.links_of(index) as f64))
}

fn known(world: &World) -> Spread {
    let of = |index: usize| world.hosts[index].node.known();
    spread(live(world).into_iter().map(|index| of(index) as f64))
}

fn idle(world: &mut World) -> Idle {
    let before: Vec<u64> = world.hosts.iter().map(|host| host.sent.bytes).collect();
    let cpu_s = gauge::cpu_s();
    let watched_ms = idle_ms(world.hosts.len());
    world.run(watched_ms);
    let seconds = watched_ms as f64 / 1000.0;
    let hosts = world.hosts.iter().zip(before);
    let rates = hosts.map(|(host, before)| (host.sent.bytes - before) as f64 / seconds);
    let bytes_s = spread(rates);
    let cores = (gauge::cpu_s() - cpu_s) / seconds / world.hosts.len() as f64;
    Idle { seconds, bytes_s, cpu_percent: cores * 100.0 }
}

/// One revocation after another at a loss.
pub fn revoke(world: &mut World, loss_percent: u64) -> Revocation {
    world.weather.loss_percent = loss_percent;
    world.run(PAUSE_MS);
    let trials: Vec<Trial> = (0..TRIALS).map(|_| trial(world)).collect();
    let median = |of: fn(&Trial) -> f64| {
        let mut values: Vec<f64> = trials.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let worst = |of: fn(&Trial) -> f64| trials.iter().map(of).fold(0.0, f64::max);
    let mean = |of: fn(&Trial) -> f64| trials.iter().map(of).sum::<f64>() / TRIALS as f64;
    Revocation {
        loss_percent,
        trials: TRIALS,
        p50_ms: median(|trial| share(&trial.learnt_ms, 50)),
        p99_ms: median(|trial| share(&trial.learnt_ms, 99)),
        p100_ms: worst(|trial| share(&trial.learnt_ms, 100)),
        closed_ms: worst(|trial| trial.closed_ms),
        frames_each: mean(|trial| trial.frames_each),
        bytes_each: mean(|trial| trial.bytes.mean),
        bytes_most: worst(|trial| trial.bytes.max),
    }
}

struct Trial {
    /// When each live node had it, in order.
    learnt_ms: Vec<f64>,
    closed_ms: f64,
    frames_each: f64,
    bytes: Spread,
}

fn trial(world: &mut World) -> Trial {
    let (whom, at) = two_of(world);
    for host in &mut world.hosts {
        (host.sent.feed_frames, host.sent.feed_bytes) = (0, 0);
    }
    let begin = world.now_ms();
    world.watched = Some((whom, begin));
    let number = world.publish(Act::Revoke, whom, at);
    let live = live(world);
    reach(world, &live, number);
    world.until("nobody has a link with it", SPREAD_MS, |w| w.wires.to(whom) == 0);
    let closed_ms = world.watched.map_or(0, |(_, last)| last - begin) as f64;
    let learnt_ms = learnt(world, &live, begin);
    world.run(ACKNOWLEDGE_MS);
    let header = (RECORD_OVERHEAD + SEGMENT_OVERHEAD) as u64;
    let sent = |index: &usize| world.hosts[*index].sent;
    let bytes = |index| sent(index).feed_bytes + header * sent(index).feed_frames;
    let frames: u64 = live.iter().map(|index| sent(index).feed_frames).sum();
    Trial {
        learnt_ms,
        closed_ms,
        frames_each: frames as f64 / live.len() as f64,
        bytes: spread(live.iter().map(|index| bytes(index) as f64)),
    }
}

/// Runs until all of these have a number of the feed.
fn reach(world: &mut World, nodes: &[usize], number: u64) {
    world.informed = 0;
    world.awaited = number;
    let has = |w: &World, index: &usize| w.hosts[*index].number >= number;
    let lacking = nodes.iter().filter(|index| !has(world, index)).count();
    world.until("all have the news", SPREAD_MS, |w| {
        w.informed >= lacking && nodes.iter().all(|index| has(w, index))
    });
}

/// After how many ms each of these had what it has, in order.
fn learnt(world: &World, nodes: &[usize], begin: u64) -> Vec<f64> {
    let after = |index: &usize| world.hosts[*index].learnt_ms.saturating_sub(begin) as f64;
    let mut times: Vec<f64> = nodes.iter().map(after).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The time after which so many of a hundred have it.
fn share(times: &[f64], percent: usize) -> f64 {
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).copied().unwrap_or(f64::NAN)
}

/// Two live nodes by chance: whom to revoke, and whom to tell.
fn two_of(world: &mut World) -> (usize, usize) {
    let live = live(world);
    let whom = world.random.index(live.len());
    let at = (whom + 1 + world.random.index(live.len() - 1)) % live.len();
    (live[whom], live[at])
}

/// Half of the network hears of a revocation only when it can reach the other half again.
pub fn partition(world: &mut World) -> Partition {
    world.weather.loss_percent = LOSSES[0];
    world.run(PAUSE_MS);
    let sides: Vec<u8> = (0..world.hosts.len()).map(|_| world.random.below(2) as u8).collect();
    world.divide(|index| sides[index]);
    world.run(PARTITION_MS / 2);
    let (whom, _) = two_of(world);
    let tell = live(world).into_iter().find(|index| sides[*index] != sides[whom]);
    let number = world.publish(Act::Revoke, whom, tell.unwrap());
    world.run(PARTITION_MS / 2);
    let far: Vec<usize> = live(world).into_iter().filter(|i| sides[*i] == sides[whom]).collect();
    let begin = world.now_ms();
    world.heal(PARTITION_MS);
    reach(world, &far, number);
    let times = learnt(world, &far, begin);
    Partition {
        lasted_ms: PARTITION_MS as f64,
        p50_ms: share(&times, 50),
        p99_ms: share(&times, 99),
        p100_ms: share(&times, 100),
    }
}

fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let (mut count, mut sum, mut min, mut max) = (0.0, 0.0, f64::INFINITY, 0.0_f64);
    for value in values {
        (count, sum, min, max) = (count + 1.0, sum + value, value.min(min), value.max(max));
    }
    Spread { mean: sum / count, min, max }
}
