//! A day of renewals in a minute and a half: twenty daemons whose certificates live for half a
//! minute, an authority that serves, and messages all the time. Nothing is lost, nobody's
//! certificate ends, and no link that is in use goes away.
//!
//! `CONCLAVE_DAY_S` asks for more seconds of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peer::control::post::{MailOutcome, MailReply, Mailing, Queueing, To};
use peer::control::protocol::{Body, InboxItem, Status};
use peer::control::{Client, Reply, Request};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::Priority;
use tests::{Machine, Network, Online, Peer, SOON, wait_until};

const NODES: usize = 20;
const LIFE_S: u64 = 30;
/// How far from each other on the ring the two ends of a lane are.
const LANES: [usize; 2] = [1, 7];
/// How often each application sends one message on each of its lanes, and reads.
const TURN: Duration = Duration::from_millis(250);
/// Why links may end while certificates are renewed: another took the place, or nobody used it.
const FINE: [&str; 8] = [
    "a newer link took its place",
    "a direct link took its place",
    "a newcomer needs its place",
    "introduced; it makes room for a newcomer",
    "nobody needs it now",
    "the authority has answered",
    "it said goodbye",
    "the other side closed it",
];

fn lasting() -> Duration {
    let text = std::env::var("CONCLAVE_DAY_S").unwrap_or_else(|_| "90".to_owned());
    Duration::from_secs(text.parse().unwrap())
}

fn node(at: usize) -> String {
    format!("n{:02}", at % NODES)
}

/// One node: its daemon, and the application beside it.
struct Station {
    peer: Peer,
    client: Client,
    /// Whom it sends to, and how many went there.
    sent: Mutex<BTreeMap<String, u64>>,
    /// Of whom it heard how many.
    heard: Mutex<BTreeMap<String, u64>>,
    serials: Mutex<BTreeSet<String>>,
    _machine: Machine,
}

impl Station {
    fn join(online: &Online, at: usize) -> Self {
        let machine = Machine::new();
        let _ = machine.join(&online.invite(&node(at))).ended(0);
        let bundle = machine.bundle(&node(at));
        let peer = Peer::start(&bundle, "127.0.0.1:0", &[]);
        let sent = LANES.map(|step| (node(at + step), 0)).into();
        let heard = LANES.map(|step| (node(at + NODES - step), 0)).into();
        let (sent, heard) = (Mutex::new(sent), Mutex::new(heard));
        let (client, serials) = (Client::new(&bundle), Mutex::default());
        Self { peer, client, sent, heard, serials, _machine: machine }
    }

    fn status(&self) -> Status {
        match self.client.ask_one(&Request::Status).unwrap() {
            Reply::Status(status) => *status,
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn is_linked_with(&self, others: &[String]) -> bool {
        let links = self.status().links;
        others.iter().all(|other| links.iter().any(|link| link.node.as_str() == other))
    }

    /// One message on each lane.
    fn send(&self) {
        for (to, number) in self.sent.lock().unwrap().iter_mut() {
            let queue = Queueing { priority: Priority::Normal, ttl_s: 3600, receipt: false };
            let to = To::Node(NodeName::parse(to).unwrap());
            let bodies = vec![Body(number.to_string().into_bytes())];
            let mailing = Mailing { to, bodies, queue: Some(queue), wait_ms: 0 };
            match self.client.ask_one(&Request::Mail(mailing)).unwrap() {
                Reply::Mailed(MailReply { outcome, count: 1, .. }) => {
                    assert!(!matches!(outcome, MailOutcome::Dropped { .. }), "{outcome:?}");
                }
                other => panic!("not taken: {other:?}"),
            }
            *number += 1;
        }
    }

    /// Reads what has come: of each the next number.
    fn read(&self) {
        let mut replies =
            self.client.ask(&Request::Inbox { after: 0, max: 4000, follow: false }).unwrap();
        let (mut heard, mut last) = (self.heard.lock().unwrap(), None);
        while let Some(reply) = replies.next().unwrap() {
            let Reply::Item(InboxItem { seq, from, body, .. }) = reply else {
                panic!("not a message: {reply:?}");
            };
            let next = heard.get_mut(from.as_str()).unwrap();
            assert_eq!(String::from_utf8(body.0).unwrap(), next.to_string(), "of {from}");
            (*next, last) = (*next + 1, Some(seq));
        }
        if let Some(through) = last {
            let _ = self.client.ask_one(&Request::InboxClear { through }).unwrap();
        }
    }

    /// What must hold at any time.
    fn look(&self) {
        let status = self.status();
        let certificate = &status.certificate;
        let urgency = certificate.urgency.as_str();
        assert_ne!(urgency, "ended", "{}: {:?}", status.node, certificate.setback);
        self.serials.lock().unwrap().insert(certificate.serial.clone());
        for other in self.sent.lock().unwrap().keys() {
            let linked = status.links.iter().any(|link| link.node.as_str() == other);
            assert!(linked, "{} has lost its link with {other}", status.node);
        }
        let now = host::clock::wall();
        for link in &status.links {
            assert!(link.cert_not_after > now, "{} holds on to {}", status.node, link.node);
        }
        // All of them come from one address, which may not knock as often as it likes.
        let refused = status.events.iter().find(|event| event.code != Code::Quota);
        assert!(refused.is_none(), "{}: {refused:?}", status.node);
    }
}

fn start(online: &Online) -> Vec<Station> {
    let half = |from: usize| -> Vec<Station> {
        (from..NODES).step_by(2).map(|at| Station::join(online, at)).collect()
    };
    let (even, odd) = thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        (half(0), odd.join().unwrap())
    });
    let stations: Vec<Station> =
        even.into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]).collect();
    for (at, station) in stations.iter().enumerate() {
        station.send();
        let lanes = LANES.map(|step| node(at + step));
        wait_until(&format!("{} is linked with {lanes:?}", node(at)), SOON * 2, || {
            station.is_linked_with(&lanes)
        });
    }
    stations
}

/// The applications beside every other station, until it is over.
fn work(stations: &[Station], which: usize, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let turn = Instant::now();
        for station in stations.iter().skip(which).step_by(2) {
            station.send();
            station.read();
        }
        thread::sleep(TURN.saturating_sub(turn.elapsed()));
    }
}

/// Ends the others when one of the threads ends, however it does.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn live(stations: &[Station]) {
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        for which in 0..2 {
            let over = &over;
            scope.spawn(move || {
                let _guard = Guard(over);
                work(stations, which, over);
            });
        }
        let _guard = Guard(&over);
        while begun.elapsed() < lasting() && !over.load(Ordering::Relaxed) {
            let turn = Instant::now();
            stations.iter().for_each(Station::look);
            thread::sleep(Duration::from_secs(1).saturating_sub(turn.elapsed()));
        }
    });
}

/// All that was sent is heard.
fn assert_heard(stations: &[Station]) {
    for (at, station) in stations.iter().enumerate() {
        for step in LANES {
            let sent = stations[(at + NODES - step) % NODES].sent.lock().unwrap()[&node(at)];
            let from = node(at + NODES - step);
            wait_until(&format!("{} hears {sent} of {from}", node(at)), SOON, || {
                station.read();
                station.heard.lock().unwrap()[&from] == sent
            });
        }
    }
}

/// No link ended but for another one, and nobody complained; gives how often a renewal was late,
/// which on a machine that does other things besides may be.
fn late_in(log: &str) -> u64 {
    let mut late = 0;
    for line in log.lines() {
        let is_late = line.contains("less than a third") || line.contains("not renewed");
        late += u64::from(is_late);
        assert!(is_late || !line.contains(" WARN "), "{line}");
        if let Some((_, why)) = line.split_once("link down: ") {
            assert!(FINE.iter().any(|fine| why.contains(fine)), "{line}");
        }
    }
    late
}

#[test]
fn a_day_of_renewals_loses_no_message_and_no_link() {
    let network = Network::new();
    network.short_lived(LIFE_S);
    let online = Online::start(&network);
    let stations = start(&online);
    live(&stations);
    assert_heard(&stations);
    let lives = lasting().as_secs() / LIFE_S;
    let log = network.ca("log --json").json();
    let (mut renewals, mut late) = (0, 0);
    for (at, station) in stations.iter().enumerate() {
        let of = |record: &&serde_json::Value| {
            record["act"] == "renew" && record["subject"] == node(at).as_str()
        };
        let renewed = log.as_array().unwrap().iter().filter(of).count() as u64;
        // Between 53 % and 63 % of a life each.
        let usual = lives * 3 / 2 - 1..=lives * 2 + 2;
        assert!(usual.contains(&renewed), "{} was renewed {renewed} times", node(at));
        let shown = network.ca(&format!("show {} --json", node(at))).json().to_string();
        let status = station.status();
        assert!(shown.contains(&status.certificate.serial), "{shown}");
        for serial in station.serials.lock().unwrap().iter() {
            assert!(shown.contains(serial), "{serial} is not in {shown}");
        }
        renewals += renewed;
        late += late_in(&station.peer.log());
    }
    assert!(late * 5 < renewals, "{late} times late in {renewals} renewals");
    let list = network.ca("list --json").json().to_string();
    assert!(!list.contains("expired"), "{list}");
}
