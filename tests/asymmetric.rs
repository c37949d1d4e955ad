//! The time over a way that is longer in one direction: nobody at either end can measure that, so
//! the clock is off by half of it, and says that it may be.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use tests::chronyd::Chronyd;
use tests::delay::Delay;
use tests::pipe::Pipe;
use tests::{Network, Peer, SOON, teller, wait_until};

const MS: i64 = 1_000_000;

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
    let ask = |what: &str| peer.ask(what, &["--json"]).ended(0);
    let settled =
        |status: &Value| status["state"] == "synchronised" && status["bound_ns"].as_i64().is_some();
    wait_until("the clock is synchronised", SOON, || settled(&ask("time").json()));
    let (status, source) = (ask("time").json(), ask("time sources").json());
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{status} {source}"));
    Known {
        off_ns: -number(&status["system_ahead_ns"]),
        bound_ns: number(&status["bound_ns"]),
        delay_ns: number(&source["delay_ns"]),
    }
}

/// What holds whichever way the packets took.
fn is_honest(known: &Known, (there, back): Way) {
    let total = i64::try_from(there + back).unwrap() * MS;
    let Known { off_ns, bound_ns, delay_ns } = known;
    assert!(off_ns.abs() <= *bound_ns, "{off_ns} is beyond {bound_ns}");
    assert!((total..total + 100 * MS).contains(delay_ns), "{delay_ns}");
    assert!(*bound_ns >= total / 2, "half of a round trip is never known: {bound_ns}");
}

/// A peer that asks a chrony at the end of such a way.
fn asks_chrony(way_ms: Way) -> Option<Known> {
    let network = Network::with(&["bob"]);
    let chrony = Chronyd::start(network.path(), Ipv4Addr::new(127, 0, 0, 1), None)?;
    let [there, back] = way(way_ms);
    let delay = Delay::open().to(chrony.address().parse().unwrap(), there, back);
    let bundle = network.bundle("bob");
    teller::set(&bundle, &format!("sources: [{{address: \"{}\", name: far}}]", delay.address()));
    let known = known(&network.start("bob", &[]));
    is_honest(&known, way_ms);
    Some(known)
}

#[test]
fn a_long_way_moves_nothing_and_a_lopsided_one_half_of_what_it_is_longer() {
    let Some(even) = asks_chrony((30, 30)) else { return };
    assert!(even.off_ns.abs() < 12 * MS, "{}", even.off_ns);
    // Late there, so that the server seems to be ahead; and late back.
    let there = asks_chrony((60, 0)).unwrap();
    assert!((18 * MS..42 * MS).contains(&there.off_ns), "{}", there.off_ns);
    let back = asks_chrony((0, 60)).unwrap();
    assert!((-42 * MS..-18 * MS).contains(&back.off_ns), "{}", back.off_ns);
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
    assert!((-38 * MS..-12 * MS).contains(&known.off_ns), "{}", known.off_ns);
    let sources = bob.ask("time sources", &["--json"]).ended(0).json();
    assert_eq!((&sources["nts"], &sources["mark"]), (&true.into(), &"*".into()), "{sources}");
    drop(delay);
}
