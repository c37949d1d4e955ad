//! Nodes find each other: by an address without a name, by the local network, by what they
//! remember; and strangers learn nothing by it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use peer_core::limits::INTRODUCED_DIALS;
use serde_json::Value;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::{Body, Trace};
use tests::{Credentials, Ear, Network, Peer, SOON, Switch, raw, wait_until};

/// `--peer HOST:PORT` for each.
fn seeds(addresses: &[&str]) -> Vec<String> {
    addresses.iter().flat_map(|at| ["--peer".to_owned(), (*at).to_owned()]).collect()
}

fn start(bundle: &Path, args: &[String]) -> Peer {
    Peer::start_as(&[], bundle, "127.0.0.1:0", args)
}

#[test]
fn an_address_without_a_name_is_enough() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    // Two addresses of one node, and one where nobody is.
    let port = alice.address().rsplit_once(':').unwrap().1;
    let same = format!("localhost:{port}");
    let args = seeds(&[alice.address(), &same, "127.0.0.1:1"]);
    let carol = start(&network.bundle("carol"), &args);
    carol.wait_links(&["alice", "bob"]);
    bob.wait_links(&["alice", "carol"]);
    wait_until("only the empty address is without a name", SOON, || {
        let leads = carol.status()["leads"].clone();
        let leads = leads.as_array().unwrap();
        leads.len() == 1 && leads[0]["address"] == "127.0.0.1:1" && leads[0]["source"] == "told"
    });
}

#[test]
fn our_own_address_is_recognised_and_dropped() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let address = alice.address().to_owned();
    alice.kill();
    let args = seeds(&[&address]);
    let alice = Peer::start_as(&[], &network.bundle("alice"), &address, &args);
    wait_until("the address has proved our own", SOON, || {
        alice.status()["leads"].as_array().unwrap().is_empty()
    });
    assert!(alice.links().is_empty() && alice.status()["events"].as_array().unwrap().is_empty());
}

#[test]
fn an_address_of_another_network_is_not_linked() {
    let (ours, theirs) = (Network::with(&["alice"]), Network::of("other.example", "p256"));
    let _ = theirs.enroll("mallory");
    let mallory = theirs.start("mallory", &[]);
    let alice = start(&ours.bundle("alice"), &seeds(&[mallory.address()]));
    alice.wait_event("foreign-authority", "us");
    assert!(alice.links().is_empty() && mallory.links().is_empty());
}

#[test]
fn a_restarted_node_finds_its_network_although_its_first_peer_is_gone() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let saved = network.bundle("carol").join("directory");
    wait_until("what carol knows is on her disk", SOON, || saved.is_file());
    carol.kill();
    alice.terminate();
    // Carol knew only alice by her settings; bob is where he was.
    let carol = start(&network.bundle("carol"), &[]);
    carol.wait_links(&["bob"]);
    bob.wait_links(&["carol"]);
}

#[test]
fn who_was_revoked_meanwhile_is_not_remembered() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    carol.terminate();
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    network.ca("feed export --out carol.bundle/feed");
    alice.terminate();
    let carol = start(&network.bundle("carol"), &[]);
    wait_until("carol looks for alice", SOON, || {
        let status = carol.status();
        status["known"].as_array().unwrap().iter().any(|known| known["node"] == "alice")
    });
    let known = carol.status()["known"].clone();
    assert!(known.as_array().unwrap().iter().all(|known| known["node"] != "bob"), "{known}");
    assert!(bob.links().is_empty());
}

#[test]
fn a_damaged_directory_costs_only_the_short_cut() {
    let network = Network::with(&["alice", "bob"]);
    std::fs::write(network.bundle("bob").join("directory"), b"CONCLAVE DIRECTORY 1\n\0\0").unwrap();
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
}

#[test]
fn on_one_local_network_nodes_find_each_other_and_a_foreign_one_finds_nobody() {
    let Some(switch) = Switch::with(3) else {
        return skipped("needs root: network namespaces");
    };
    let network = Network::with(&["alice", "bob"]);
    let other = Network::of("mesh.example", "p256");
    let _ = other.enroll("mallory");
    let listen = "0.0.0.0:7400";
    let run = |host, bundle: &Path, args: &[String]| {
        Peer::start_as(&switch.inside(host), bundle, listen, args)
    };
    let mallory = run(2, &other.bundle("mallory"), &[]);
    let alice = run(0, &network.bundle("alice"), &[]);
    let bob = run(1, &network.bundle("bob"), &[]);
    alice.wait_links(&["bob"]);
    bob.wait_links(&["alice"]);
    let address = &alice.status()["links"][0]["address"];
    assert!(address.as_str().unwrap().starts_with(&switch.ip_of(1)), "{address}");
    // The same network by name, another by its root: it was not even dialled.
    assert!(mallory.links().is_empty());
    for peer in [&alice, &bob, &mallory] {
        assert!(peer.status()["events"].as_array().unwrap().is_empty(), "{}", peer.log());
    }
    bob.terminate();
    let quiet = run(1, &network.bundle("bob"), &["--no-lan".to_owned()]);
    // Bob remembers alice, and she him; without that memory he would be alone.
    quiet.wait_links(&["alice"]);
}

#[test]
fn a_node_that_gets_another_address_tells_it_and_nobody_takes_it_for_a_copy() {
    let Some(switch) = Switch::with(2) else {
        return skipped("needs root: network namespaces");
    };
    let network = Network::with(&["alice", "bob"]);
    let run = |host, name: &str| {
        Peer::start_as(&switch.inside(host), &network.bundle(name), "0.0.0.0:7400", &[])
    };
    let [alice, bob] = [run(0, "alice"), run(1, "bob")];
    alice.wait_links(&["bob"]);
    assert!(switch.add_address(1, "10.99.0.77/24"));
    wait_until("alice knows bob's second address", SOON, || {
        alice.ask("whois", &["10.99.0.77:7400"]).out.contains("node         bob")
    });
    assert_eq!(alice.links(), ["bob"]);
    assert_eq!(alice.status()["evidence"], 0);
    assert!(!alice.has_event("duplicate-instance"), "{}", alice.log());
    drop(bob);
}

#[test]
fn with_the_local_network_off_nothing_is_found() {
    let Some(switch) = Switch::with(2) else {
        return skipped("needs root: network namespaces");
    };
    let network = Network::with(&["alice", "bob"]);
    let yaml = network.bundle("bob").join("node.yaml");
    let text = std::fs::read_to_string(&yaml).unwrap();
    assert!(text.contains("\nlan: on\n"), "{text}");
    std::fs::write(&yaml, text.replace("\nlan: on\n", "\nlan: off\n")).unwrap();
    let run = |host, name: &str, args: &[String]| {
        Peer::start_as(&switch.inside(host), &network.bundle(name), "0.0.0.0:7400", args)
    };
    let bob = run(1, "bob", &[]);
    let alice = run(0, "alice", &[]);
    // Nothing to wait for but time: an announcement takes well under a second.
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("three seconds without a link", SOON, || {
        assert!(alice.links().is_empty() && bob.links().is_empty());
        Instant::now() > until
    });
}

#[test]
fn a_rendezvous_introduces_members_and_tells_a_stranger_nothing() {
    let network = Network::with(&["bob", "carol"]);
    network.ca("enroll seed --out seed.bundle --roles rendezvous");
    let seed = network.start("seed", &[]);
    let bob = start(&network.bundle("bob"), &seeds(&[seed.address()]));
    let carol = start(&network.bundle("carol"), &seeds(&[seed.address()]));
    bob.wait_links(&["carol", "seed"]);
    carol.wait_links(&["bob", "seed"]);
    raw::knock(seed.address(), None).assert_refused(Code::NoCertificate);
    let other = Network::with(&["mallory"]);
    let mallory = Credentials::of_bundle(&other.bundle("mallory"));
    raw::knock(seed.address(), Some(&mallory)).assert_refused(Code::ForeignAuthority);
}

#[test]
fn a_member_that_names_third_parties_cannot_make_us_flood_them() {
    let network = Network::with(&["alice", "liar"]);
    let alice = network.start("alice", &[]);
    let liar = Credentials::of_bundle(&network.bundle("liar"));
    // The third party: every address of 127/8 on one port, and it counts.
    let third = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = third.local_addr().unwrap().port();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for socket in third.incoming() {
            drop(socket);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let forge = network.forge();
    let lie = |n: usize| {
        let puppet = forge.node(&format!("puppet-{n}"), |_| {});
        let addresses: Vec<String> = (2..10).map(|k| format!("127.0.{n}.{k}:{port}")).collect();
        raw::presence(&puppet, 1, &addresses)
    };
    let mut ear = Ear::dial(alice.address(), Some(&liar));
    assert!(matches!(ear.hello(&liar), Some(Body::Welcome(_))));
    for n in 0..5 {
        let list = (n * 16..n * 16 + 16).map(&lie).collect();
        ear.say(&Body::Presences(list, true).to_frame());
    }
    let burst = INTRODUCED_DIALS.burst;
    wait_until("the budget is spent", SOON, || count.load(Ordering::Relaxed) >= burst);
    let until = Instant::now() + Duration::from_secs(4);
    wait_until("four seconds without a flood", SOON, || {
        assert!(count.load(Ordering::Relaxed) <= burst + 2);
        Instant::now() > until
    });
}

#[test]
fn the_directory_is_shown_and_tells_who_is_behind_an_address() {
    let network = Network::new();
    network.ca("enroll alice --out alice.bundle --groups lab --roles relay");
    for name in ["bob", "carol"] {
        let _ = network.enroll(name);
    }
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    let carol = network.start("carol", &[&alice]);
    alice.wait_links(&["bob", "carol"]);
    let bobs_address = bob.address().to_owned();
    bob.kill();
    wait_until("bob is missed", SOON, || path_to(&alice, "bob") == "unreachable");
    let said = alice.ask("nodes", &[]).ended(0).out;
    let rows: Vec<Vec<&str>> = said.lines().map(|l| l.split_whitespace().collect()).collect();
    let head = ["NODE", "PATH", "ADDRESSES", "SEEN", "GROUPS", "ROLES", "INSTANCE", "FEED"];
    assert_eq!(rows[0][..8], head, "{said}");
    assert_eq!(rows[1][..4], ["alice", "this", "node", alice.address()], "{said}");
    assert_eq!(rows[1][5..7], ["lab", "relay"], "{said}");
    assert_eq!(rows[2][..3], ["bob", "unreachable", &bobs_address], "{said}");
    assert_eq!(rows[3][..3], ["carol", "direct", carol.address()], "{said}");

    let by_address = carol.ask("whois", &[alice.address()]).ended(0).out;
    assert_eq!(by_address, carol.ask("whois", &["alice"]).ended(0).out);
    let facts = network.ca("show alice --json").json();
    for said in ["node         alice", "path         direct, dialled by", "groups       lab"] {
        assert!(by_address.contains(said), "{by_address}");
    }
    let serial = facts["certificates"][0]["serial"].as_str().unwrap();
    assert!(by_address.contains(&format!("serial {serial}")), "{by_address}\n{facts}");
    let by_name = carol.ask("whois", &["bob"]).ended(0).out;
    assert!(by_name.contains("bob"), "{by_name}");
    network.ca(&format!("revoke bob --reason key-compromise --via {}", alice.address()));
    wait_until("nobody knows bob any more", SOON, || {
        carol
            .ask("whois", &["bob"])
            .err
            .contains("nobody known is bob: revoked (key-compromise) at")
    });
    let nobody = carol.ask("whois", &["mallory\u{1b}[31m"]).ended(1);
    assert!(nobody.err.contains("nobody known is mallory\\u{1b}[31m"), "{}", nobody.err);
}

#[test]
fn the_way_to_a_node_is_traced_through_whoever_is_linked_with_it() {
    let network = Network::with(&["alice", "bob", "carol"]);
    // Alice and carol can be reached by nobody; both reach bob.
    for node in ["alice", "carol"] {
        let yaml = network.bundle(node).join("node.yaml");
        let text = std::fs::read_to_string(&yaml).unwrap();
        std::fs::write(&yaml, format!("{text}advertise: [\"127.0.0.1:1\"]\n")).unwrap();
    }
    let bob = network.start("bob", &[]);
    let alice = network.start("alice", &[&bob]);
    let carol = network.start("carol", &[&bob]);
    bob.wait_links(&["alice", "carol"]);
    let said = alice.ask("trace", &["bob"]).ended(0).out;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("1 step, ") && lines[0].ends_with(" µs there and back"), "{said}");
    assert!(lines[1].starts_with(&format!("1  bob  direct, {}", bob.address())), "{said}");
    let said = alice.ask("trace", &["carol"]).ended(0).out;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].starts_with("1  bob  direct, "), "{said}");
    assert!(lines[2].starts_with("2  carol  linked with bob, "), "{said}");
    let way = alice.ask("trace", &["carol", "--json"]).ended(0).json();
    assert_eq!(way["steps"].as_array().unwrap().len(), 2);
    drop(carol);
    let gone = alice.ask("trace", &["carol"]).ended(1);
    assert!(gone.err.contains("no way to carol: "), "{}", gone.err);
    assert!(gone.err.contains("peer whois"), "{}", gone.err);
    assert!(alice.ask("trace", &["nobody"]).ended(1).err.contains("peer nodes"));
    assert!(alice.ask("trace", &["alice"]).ended(1).err.contains("this node itself"));
}

#[test]
fn a_member_that_asks_for_ways_without_end_is_not_answered_without_end() {
    let network = Network::with(&["alice", "carol"]);
    let alice = network.start("alice", &[]);
    let carol = Credentials::of_bundle(&network.bundle("carol"));
    let mut ear = Ear::dial(alice.address(), Some(&carol));
    assert!(matches!(ear.hello(&carol), Some(Body::Welcome(_))));
    let to = NodeName::parse("alice").unwrap();
    for id in 0..500 {
        ear.say(&Body::Trace(Trace::Ask { id, to: to.clone(), hops: 4 }).to_frame());
    }
    ear.say(&Body::Ping(7).to_frame());
    let mut answers = 0;
    wait_until("alice has read it all", SOON, || match ear.body() {
        Some(Body::Trace(Trace::Found { path, .. })) => {
            assert_eq!(path.len(), 1);
            answers += 1;
            false
        }
        body => body == Some(Body::Pong(7)),
    });
    // The burst, and what a slow machine's seconds give back.
    assert!((8..=16).contains(&answers), "{answers}");
}

/// The kind of way from a node to another, as `peer nodes` says.
fn path_to(peer: &Peer, node: &str) -> String {
    let said = peer.ask("nodes", &["--json"]).ended(0).out;
    let nodes = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = nodes.into_iter().find(|known| known["node"] == node);
    found.map_or_else(String::new, |known| known["path"]["kind"].as_str().unwrap().to_owned())
}

fn skipped(why: &str) {
    #[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
    {
        eprintln!("skipped: {why}");
    }
}
