//! The time over a way that is longer in one direction: nobody at either end can measure that, so
//! the clock is off by half of it, and says that it may be.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use tests::chronyd::{Asking, Chronyd};
use tests::delay::Delay;
use tests::pipe::Pipe;
use tests::{Network, Peer, SOON, teller, wait_until};

const MS: i64 = 1_000_000;
/// What is left between a clock and the answers that it was set by.
const SLACK_NS: i64 = 10 * MS;

/// How long the way there takes, and the way back.
type Way = (u64, u64);

fn way((there, back): Way) -> [Duration; 2] {
    [there, back].map(Duration::from_millis)
}

/// What a peer knows once it is synchronised and has settled.
struct Known {
    /// Its clock less the truth, which is the system's.
    off_ns: i64,
    bound_ns: i64,
    delay_ns: i64,
}

fn known(peer: &Peer) -> Known {
    let ask = |what: &str| peer.ask(what, &["--json"]).ended(0).json();
    let mut status = Value::Null;
    wait_until("the clock is synchronised", SOON, || {
        status = ask("time");
        status["state"] == "synchronised" && status["bound_ns"].is_i64()
    });
    let source = ask("time sources");
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{status} {source}"));
    Known {
        off_ns: -number(&status["system_ahead_ns"]),
        bound_ns: number(&status["bound_ns"]),
        delay_ns: number(&source["delay_ns"]),
    }
}

/// What holds whichever way the packets took, and however long our own machine held them up.
fn is_honest(known: &Known, (there, back): Way) {
    let Known { off_ns, bound_ns, delay_ns } = *known;
    let total_ns = signed(there + back) * MS;
    assert!(off_ns.abs() <= bound_ns, "{off_ns} is beyond {bound_ns}");
    assert!(delay_ns >= total_ns, "{delay_ns}");
    assert!(bound_ns >= total_ns / 2, "half of a round trip is never known: {bound_ns}");
    is_off_by_half((there, back), off_ns, delay_ns);
}

/// A clock is off by half of what one direction is longer, and at most by half of what this machine
/// was late besides; the rest is what a clock does not learn of one answer. What is late there
/// makes the server seem ahead.
fn is_off_by_half((there, back): Way, off_ns: i64, delay_ns: i64) {
    let [there, back] = [there, back].map(|ms| signed(ms) * MS);
    let missed_ns = (off_ns - (there - back) / 2).abs();
    let late_ns = (delay_ns - there - back) / 2;
    assert!(missed_ns <= late_ns + SLACK_NS, "{off_ns}: {missed_ns} beside, and {late_ns} late");
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap()
}

/// A peer that asks a chrony at the end of such a way, and another chrony that does.
fn asks_chrony(way_ms: Way) -> Option<()> {
    let network = Network::with(&["bob"]);
    let chrony = Chronyd::start(network.path(), Ipv4Addr::new(127, 0, 0, 1), None)?;
    let [there, back] = way(way_ms);
    let delay = Delay::open().to(chrony.address().parse().unwrap(), there, back);
    let bundle = network.bundle("bob");
    teller::set(&bundle, &format!("sources: [{{address: \"{}\", name: far}}]", delay.address()));
    let judge = Asking::start(network.path(), &[delay.address().to_string()])?;
    is_honest(&known(&network.start("bob", &[])), way_ms);
    let mut theirs = None;
    wait_until("chrony follows it", SOON, || {
        theirs = judge.ahead_ns();
        theirs.is_some()
    });
    let (off_ns, delay_ns) = theirs?;
    is_off_by_half(way_ms, off_ns, delay_ns);
    Some(())
}

#[test]
fn a_lopsided_way_moves_a_clock_by_half_of_what_it_is_longer_and_chronys_too() {
    for way_ms in [(30, 30), (60, 0), (0, 60)] {
        let Some(_) = asks_chrony(way_ms) else { return };
    }
}

/// Two peers, NTS, and a way that is held up: authentic, and wrong within what it says.
#[test]
fn nts_does_not_help_against_a_way_that_is_held_up_and_the_bound_does() {
    let network = Network::with(&["bob"]);
    network.ca("enroll hub --roles time-root --out hub.bundle");
    let Some(chrony) = Chronyd::start(network.path(), Ipv4Addr::new(127, 0, 0, 1), None) else {
        return;
    };
    let near = format!("sources: [{{address: \"{}\"}}]", chrony.address());
    teller::set(&network.bundle("hub"), &near);
    // The hub is told of nowhere, so it is asked for the time where it was asked for keys: at the
    // wire's end, and at its port.
    let (way_ms, delay) = ((0, 50), Delay::open());
    let time = format!("127.0.44.9:{}", delay.address().port());
    let hub =
        tests::Teller::start(&network.bundle("hub"), &["--time", &time, "--ke", "127.0.44.9:0"]);
    let _ = known(&hub.peer);
    let [there, back] = way(way_ms);
    let delay = delay.to(hub.time, there, back);
    let wire = Pipe::to(&hub.exchange.to_string());
    let far = format!("sources: [{{peer: hub, address: \"{}\"}}]", wire.address());
    teller::set(&network.bundle("bob"), &far);
    let bob = network.start("bob", &[]);
    let known = known(&bob);
    is_honest(&known, way_ms);
    let sources = bob.ask("time sources", &["--json"]).ended(0).json();
    assert_eq!((&sources["nts"], &sources["mark"]), (&true.into(), &"*".into()), "{sources}");
    drop(delay);
}
