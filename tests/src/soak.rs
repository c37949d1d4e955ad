//! A soak: four daemons send each other queued messages while two of them are killed, ended and
//! started again elsewhere, over and over; and what is left when it is over.
//!
//! Each lane, one node to another, counts its messages: the next one heard must be the next
//! number, so that a loss, a repetition and a change of order all stop the soak at once.
//!
//! **Invariant:** a daemon is only restarted between two requests of its own application, so what
//! was promised is known.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use peer::control::post::{MailOutcome, MailReply, Mailing, Queueing, To};
use peer::control::protocol::{Body, InboxItem};
use peer::control::{Client, Reply, Request};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::Priority;

use crate::{Network, Peer, SOON, wait_until};

/// The first two are restarted in turns; the others run from the start to the end.
const NODES: [&str; 4] = ["bob", "carol", "alice", "dave"];
/// How many of them are restarted.
const RESTARTED: usize = 2;
/// Messages in one request.
const BATCH: u64 = 500;
/// Messages read at once.
const PAGE: u64 = 4000;
/// Octets of a message.
const BYTES: usize = 100;
/// How long nothing may arrive.
const STALLED: Duration = Duration::from_secs(60);

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Messages in all.
    pub messages: u64,
    /// Restarts; each ends three links and makes them again.
    pub restarts: u64,
}

/// The memory of a daemon that ran all the time, in KiB.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Whose.
    pub node: &'static str,
    /// Before the first message, in the middle, and when all queues were empty.
    pub kib: [u64; 3],
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// Messages heard, each once and in order.
    pub messages: u64,
    /// Restarts, of which every other one was `kill -9`.
    pub restarts: u64,
    /// Links that a restart ended and that were made again.
    pub relinked: u64,
    /// From the first message to the last.
    pub took: Duration,
    /// Memory.
    pub memory: Vec<Memory>,
}

/// Runs a soak.
///
/// # Panics
/// If a message is lost, repeated or out of order, nothing arrives for a minute, anything waits in
/// a queue at the end, or a daemon keeps growing.
#[must_use]
pub fn run(size: Size, mut progress: impl FnMut(&str)) -> Report {
    let network = Network::with(&NODES);
    let soak = Soak::start(&network, size);
    let first = soak.memory();
    let begun = Instant::now();
    let mut middle = first;
    std::thread::scope(|scope| {
        for at in 0..NODES.len() {
            let soak = &soak;
            scope.spawn(move || soak.work(at));
        }
        let _guard = Guard(&soak.over);
        for restart in 0..size.restarts {
            soak.reach((restart + 1) * size.messages / (size.restarts + 1));
            if restart == size.restarts / 2 {
                middle = soak.memory();
                progress(&format!("half of it after {:?}", begun.elapsed()));
            }
            soak.restart(restart);
        }
        soak.reach(soak.total());
    });
    let took = begun.elapsed();
    soak.wait_empty();
    let last = soak.memory();
    let memory = |at: usize| Memory { node: NODES[at], kib: [first[at], middle[at], last[at]] };
    let memory: Vec<Memory> = (RESTARTED..NODES.len()).map(memory).collect();
    for Memory { node, kib: [_, middle, last] } in &memory {
        assert!(
            *last <= middle + middle / 2 + 16 * 1024,
            "{node} grew from {middle} to {last} KiB"
        );
    }
    let relinked = size.restarts * (NODES.len() as u64 - 1);
    Report { messages: soak.total(), restarts: size.restarts, relinked, took, memory }
}

struct Soak<'a> {
    network: &'a Network,
    /// Messages of one lane.
    lane: u64,
    stations: Vec<Station>,
    heard: AtomicU64,
    over: AtomicBool,
}

struct Station {
    peer: Mutex<Option<Peer>>,
    address: Mutex<String>,
}

/// Ends the others when one of the threads ends, however it does.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Soak<'a> {
    fn start(network: &'a Network, size: Size) -> Self {
        let lanes = (NODES.len() * (NODES.len() - 1)) as u64;
        let mut peers: Vec<Peer> = Vec::new();
        for node in NODES {
            let known: Vec<&Peer> = peers.iter().collect();
            let peer = network.start(node, &known);
            peers.push(peer);
        }
        for peer in &peers {
            peer.wait_links(&others(peer.node()));
        }
        let station = |peer: Peer| Station {
            address: Mutex::new(peer.address().to_owned()),
            peer: Mutex::new(Some(peer)),
        };
        let stations = peers.into_iter().map(station).collect();
        let (heard, over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { network, lane: size.messages / lanes, stations, heard, over }
    }

    fn total(&self) -> u64 {
        self.lane * (NODES.len() * (NODES.len() - 1)) as u64
    }

    /// The application at a node: sends and reads until all is over.
    fn work(&self, at: usize) {
        let _guard = Guard(&self.over);
        let client = Client::new(&self.network.bundle(NODES[at]));
        let (mut sent, mut heard) = ([0; NODES.len()], [0; NODES.len()]);
        while !self.over.load(Ordering::Relaxed) {
            // While it is held, the daemon is not restarted.
            let peer = self.stations[at].peer.lock().unwrap();
            let mut moved = 0;
            for to in (0..NODES.len()).filter(|to| *to != at) {
                let count = send(&client, NODES[to], sent[to], self.lane);
                sent[to] += count;
                moved += count;
            }
            let count = read(&client, &mut heard);
            self.heard.fetch_add(count, Ordering::Relaxed);
            drop(peer);
            if moved + count == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Waits until so many were heard.
    fn reach(&self, wanted: u64) {
        let (mut last, mut at) = (0, Instant::now());
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            assert!(heard >= wanted || !self.over.load(Ordering::Relaxed), "an application died");
            if heard >= wanted {
                return;
            }
            if heard > last {
                (last, at) = (heard, Instant::now());
            }
            assert!(at.elapsed() < STALLED, "{heard} of {wanted} heard, and nothing moves");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends a daemon, with and without a warning in turns, and starts it on another port.
    fn restart(&self, count: u64) {
        let which = usize::from(count % 2 == 1);
        let (station, node) = (&self.stations[which], NODES[which]);
        let known: Vec<(String, String)> = (0..NODES.len())
            .filter(|other| *other != which)
            .map(|other| {
                let address = self.stations[other].address.lock().unwrap().clone();
                (NODES[other].to_owned(), address)
            })
            .collect();
        {
            let mut held = station.peer.lock().unwrap();
            let old = held.take().unwrap();
            if (count / 2).is_multiple_of(2) {
                old.kill()
            } else {
                old.terminate()
            }
            let peer = Peer::start(&self.network.bundle(node), "127.0.0.1:0", &known);
            *station.address.lock().unwrap() = peer.address().to_owned();
            *held = Some(peer);
        }
        wait_until(&format!("{node} has its links again"), SOON * 2, || {
            let held = station.peer.lock().unwrap();
            held.as_ref().unwrap().links() == others(node)
        });
    }

    fn wait_empty(&self) {
        for station in &self.stations {
            let held = station.peer.lock().unwrap();
            let peer = held.as_ref().unwrap();
            let queues = || peer.ask("outbox", &["--json"]).ended(0).out;
            wait_until(&format!("{}'s queues are empty", peer.node()), SOON, || {
                queues().is_empty()
            });
            assert_eq!(peer.inbox(), "", "{} has read all", peer.node());
        }
    }

    fn memory(&self) -> [u64; NODES.len()] {
        std::array::from_fn(|at| {
            let held = self.stations[at].peer.lock().unwrap();
            resident_kib(held.as_ref().unwrap().pid())
        })
    }
}

fn others(node: &str) -> Vec<&'static str> {
    let mut others: Vec<&str> = NODES.into_iter().filter(|other| *other != node).collect();
    others.sort_unstable();
    others
}

/// Queues the next messages of a lane, as many as there is room for.
fn send(client: &Client, to: &str, sent: u64, lane: u64) -> u64 {
    let until = lane.min(sent + BATCH);
    if sent == until {
        return 0;
    }
    let body = |number: u64| Body(format!("{number:<BYTES$}").into_bytes());
    let bodies = (sent..until).map(body).collect();
    let queue = Some(Queueing { priority: Priority::Normal, ttl_s: 86_400, receipt: false });
    let to = To::Node(NodeName::parse(to).unwrap());
    let request = Request::Mail(Mailing { to, bodies, queue, wait_ms: 0 });
    match client.ask_one(&request).unwrap() {
        Reply::Mailed(MailReply { outcome, count, .. }) => {
            let full = outcome == MailOutcome::Refused { code: Code::Quota };
            assert!(full || count == until - sent, "{count} queued: {outcome:?}");
            count
        }
        other => panic!("not an answer to mail: {other:?}"),
    }
}

/// Reads what has come, checks it and clears it.
fn read(client: &Client, heard: &mut [u64; NODES.len()]) -> u64 {
    let request = Request::Inbox { after: 0, max: PAGE, follow: false };
    let mut replies = client.ask(&request).unwrap();
    let (mut count, mut through) = (0, 0);
    while let Some(reply) = replies.next().unwrap() {
        let Reply::Item(InboxItem { seq, from, body, .. }) = reply else {
            panic!("not a message: {reply:?}");
        };
        let lane = NODES.iter().position(|node| *node == from.as_str()).unwrap();
        let number: u64 = std::str::from_utf8(&body.0).unwrap().trim_end().parse().unwrap();
        assert_eq!(number, heard[lane], "from {from}: the next one is another");
        heard[lane] += 1;
        (count, through) = (count + 1, seq);
    }
    if count > 0 {
        let _ = client.ask_one(&Request::InboxClear { through }).unwrap();
    }
    count
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
