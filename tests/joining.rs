//! One string makes one machine a node, once; whatever else comes with it is told why not.

use std::thread;

use tests::online::place_of_its_own;
use tests::pipe::Pipe;
use tests::programs::Said;
use tests::{Machine, Network, Online, Peer, wait_until};

/// The end of `peer join` that was refused: the code, and what to do.
fn refused(said: Said, code: &str, hint: &str) -> Said {
    let said = said.ended(3);
    assert!(said.err.contains(&format!("refused by the authority ({code})")), "{said:?}");
    assert!(said.err.contains(hint), "{said:?}");
    said
}

/// Certificates that the log knows of, by the name of their node.
fn certified(network: &Network, node: &str) -> usize {
    let log = network.ca("log --json").json();
    let records = log.as_array().unwrap();
    let made = |record: &&serde_json::Value| {
        ["join", "enroll"].contains(&record["act"].as_str().unwrap()) && record["subject"] == node
    };
    records.iter().filter(made).count()
}

fn state(network: &Network, node: &str) -> String {
    let all = network.ca("invites --json").json();
    let mut of_node = all.as_array().unwrap().iter().filter(|one| one["node"] == node);
    of_node.next_back().unwrap()["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_string_makes_a_node_that_runs_and_sees_the_others() {
    let network = Network::with(&["alice"]);
    let online = Online::start(&network);
    let alice = network.start("alice", &[]);
    let machine = Machine::new();
    let said = machine.join(&online.invite("carol --groups lab")).ended(0);
    assert!(
        said.out.starts_with("joined as carol.mesh.example\nbundle ./carol.bundle"),
        "{said:?}"
    );
    assert_eq!(machine.names(), ["carol.bundle"]);
    assert_eq!(state(&network, "carol"), "used");
    assert_eq!(certified(&network, "carol"), 1);
    assert!(network.ca("show carol").out.contains("lab"));
    let known = [("alice".to_owned(), alice.address().to_owned())];
    let carol = Peer::start(&machine.bundle("carol"), "127.0.0.1:0", &known);
    wait_until("carol sees alice", tests::SOON, || carol.links().contains(&"alice".to_owned()));
    wait_until("alice sees carol", tests::SOON, || alice.links().contains(&"carol".to_owned()));
    assert_eq!(carol.send("alice", "here I am"), 0);
}

#[test]
fn an_authority_that_listens_to_no_member_lets_machines_in_and_renews_at_its_door() {
    let network = Network::with(&["alice"]);
    let alice = network.start("alice", &[]);
    let online = Online::serve(network.path(), &place_of_its_own(), &["--mesh", "none"]);
    let machine = Machine::new();
    let _ = machine.join(&online.invite("carol")).ended(0);
    let yaml = std::fs::read_to_string(machine.bundle("carol").join("node.yaml")).unwrap();
    assert!(!yaml.contains("authority: \"0.0.0.0"), "nobody dials it: {yaml}");
    let known = [("alice".to_owned(), alice.address().to_owned())];
    let carol = Peer::start(&machine.bundle("carol"), "127.0.0.1:0", &known);
    assert_eq!(carol.ask("renew", &[]).ended(0).code, 0);
}

#[test]
fn a_used_string_is_of_no_use_elsewhere_and_the_log_knows_both_places() {
    let network = Network::new();
    let online = Online::start(&network);
    let elsewhere = Pipe::from(online.address(), "127.9.9.9");
    let string = online.invite("carol");
    let (first, second) = (Machine::new(), Machine::new());
    let _ = first.join(&string).ended(0);
    // In the same folder there is no key of the string any more: the bundle has it.
    refused(first.join_with(&string, &["--out", "again"]), "used-invitation", "another string");
    let via = string_via(&online, "dave", &elsewhere);
    let _ = first.join(&via).ended(0);
    refused(second.join(&string), "used-invitation", "ca-tool invite");
    assert!(!second.bundle("carol").exists());
    let log = network.ca("log").out;
    let line = log.lines().find(|line| line.contains("second-use")).unwrap();
    assert_eq!(line.matches("from 127.").count(), 2, "{line}");
    assert!(log.contains("from 127.9.9.9:"), "{log}");
    assert_eq!(certified(&network, "carol"), 1);
    let _ = network.ca("log --verify");
}

fn string_via(online: &Online, node: &str, pipe: &Pipe) -> String {
    online.invite_to(node, pipe.address())
}

#[test]
fn of_sixteen_machines_in_two_places_one_becomes_the_node() {
    let network = Network::new();
    let online = Online::start(&network);
    let elsewhere = Pipe::from(online.address(), "127.9.9.9");
    // The same invitation with another address in its string: as if it had been forwarded.
    let string = online.invite("carol");
    let there = readdressed(&string, elsewhere.address());
    let machines: Vec<Machine> = (0..16).map(|_| Machine::new()).collect();
    let ends: Vec<Said> = thread::scope(|scope| {
        let join = |(at, machine): (usize, &'_ Machine)| {
            let string = if at % 2 == 0 { string.clone() } else { there.clone() };
            machine.join(&string)
        };
        let joining: Vec<_> =
            machines.iter().enumerate().map(|one| scope.spawn(move || join(one))).collect();
        joining.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let joined = ends.iter().filter(|said| said.code == 0).count();
    assert_eq!(joined, 1, "{ends:?}");
    for said in ends.into_iter().filter(|said| said.code != 0) {
        refused(said, "used-invitation", "another string");
    }
    let bundles = machines.iter().filter(|machine| machine.bundle("carol").exists()).count();
    assert_eq!((bundles, certified(&network, "carol")), (1, 1));
    let log = network.ca("log").out;
    assert_eq!(log.matches("second-use").count(), 15, "{log}");
    let _ = network.ca("log --verify");
}

/// The string with another address of the same authority in it.
fn readdressed(string: &str, address: &str) -> String {
    let mut string = shared::join::JoinString::parse(string).unwrap();
    string.addresses = vec![address.to_owned()];
    string.reveal().to_string()
}

#[test]
fn a_held_one_is_let_in_by_a_person_also_after_a_restart() {
    let network = Network::new();
    let online = Online::start(&network);
    let machine = Machine::new();
    let joining = machine.begin(&online.invite("carol --hold"));
    joining.wait_said("waiting for approval");
    let key = joining.said().lines().find_map(key_of).unwrap();
    assert!(network.ca("pending").out.contains(&key), "{key}");
    let online = online.killed_and_started();
    assert!(network.ca("pending").out.contains(&key), "{key}");
    let said = network.try_ca("deny dave").ended(1);
    assert!(said.err.contains("dave"), "{said:?}");
    let _ = network.ca("approve carol");
    let _ = joining.ended(0);
    assert!(machine.bundle("carol").join("id/node.crt").is_file());
    assert_eq!(certified(&network, "carol"), 1);
    assert_eq!(network.ca("pending").out, "nobody waits\n");
    drop(online);
}

fn key_of(line: &str) -> Option<String> {
    Some(line.split_once("key (SHA-256)")?.1.trim().to_owned())
}

#[test]
fn a_held_one_is_turned_away_by_a_person() {
    let network = Network::new();
    let online = Online::start(&network);
    let (machine, other) = (Machine::new(), Machine::new());
    let string = online.invite("carol --hold");
    let joining = machine.begin(&string);
    joining.wait_said("waiting for approval");
    // Another machine with the string does not come in between, and is told.
    refused(other.join(&string), "used-invitation", "another string");
    let _ = network.ca("deny carol");
    refused(joining.end(tests::SOON), "denied", "another string");
    refused(machine.join(&string), "denied", "another string");
    assert_eq!((state(&network, "carol"), certified(&network, "carol")), ("denied".to_owned(), 0));
    assert!(!machine.bundle("carol").exists());
}

#[test]
fn one_that_was_taken_back_replaced_or_is_late_says_which() {
    let network = Network::new();
    let online = Online::start(&network);
    let machine = Machine::new();
    let late = online.invite("dave --ttl 10s");
    let taken = online.invite("carol");
    let _ = network.ca("uninvite carol");
    refused(machine.join(&taken), "withdrawn-invitation", "another string");
    let (older, newer) = (online.invite("erin"), online.invite("erin"));
    refused(machine.join(&older), "withdrawn-invitation", "another string");
    let _ = machine.join(&newer).ended(0);
    let said = network.try_ca("uninvite erin");
    assert_eq!(said.code, 1, "{said:?}");
    wait_until("the string is too old", tests::SOON, || state(&network, "dave") == "expired");
    refused(machine.join(&late), "expired-invitation", "another string");
    assert_eq!(certified(&network, "carol") + certified(&network, "dave"), 0);
}

#[test]
fn a_string_of_another_network_tells_this_authority_nothing() {
    let (network, other) = (Network::new(), Network::of("other.example", "p256"));
    let (online, theirs) = (Online::start(&network), Online::start(&other));
    let wire = Pipe::to(online.address());
    // The very name of the network makes no difference: the pin decides.
    let twin = Network::new();
    let twins = Online::start(&twin);
    for authority in [&theirs, &twins] {
        let before = wire.tape().len();
        let machine = Machine::new();
        let string = authority.invite_to("carol", wire.address());
        let said = machine.join(&string).ended(3);
        assert!(said.err.contains("not the authority"), "{said:?}");
        assert!(said.err.contains("nothing was told to it"), "{said:?}");
        assert!(machine.names().is_empty(), "no key is made for a stranger");
        assert!(wire.tape().len() > before, "they did speak");
        let _ = machine.join(&readdressed(&string, authority.address())).ended(0);
    }
    assert!(!network.ca("log").out.contains("refused"));
}

#[test]
fn a_damaged_string_says_what_is_wrong_with_it_and_nobody_is_called() {
    let machine = Machine::new();
    let network = Network::new();
    let online = Online::start(&network);
    let wire = Pipe::to(online.address());
    let string = online.invite_to("carol", wire.address());
    let letter = if string.ends_with('A') { 'B' } else { 'A' };
    let mut mistyped = string.clone();
    mistyped.replace_range(40..41, if &string[40..41] == "A" { "B" } else { "A" });
    let digit = string.replacen(':', ":0", 1);
    for (damaged, what) in [
        (string["conclave:".len()..].to_owned(), "does not begin with conclave:"),
        (string[..string.len() - 5].to_owned(), "cut short"),
        ("conclave:".to_owned(), "cut short"),
        (format!("{string}{letter}"), "too many"),
        (digit, "mistyped"),
        (mistyped, "checksum"),
        (format!("{string}{string}"), "mistyped"),
    ] {
        let said = machine.join(&damaged).ended(2);
        assert!(said.err.contains(what), "{damaged}: {said:?}");
        assert!(said.err.contains("copy it again"), "{said:?}");
    }
    assert_eq!(wire.pieces(), 0);
    // Case and the white space of a mail do not matter.
    let spoken = string.to_ascii_uppercase().replace("CONCLAVE:", "conclave:");
    let folded: Vec<String> =
        spoken.as_bytes().chunks(30).map(|part| String::from_utf8_lossy(part).into()).collect();
    let _ = machine.join(&folded.join(" \n")).ended(0);
}

#[test]
fn an_invitation_outlives_the_authoritys_restart() {
    let network = Network::new();
    let online = Online::start(&network);
    let string = online.invite("carol");
    let mut online = online.killed_and_started();
    online.terminate();
    let machine = Machine::new();
    let joining = machine.begin(&string);
    let address = online.address().to_owned();
    drop(online);
    let said = joining.end(tests::SOON).ended(1);
    assert!(said.err.contains("the string can be used again"), "{said:?}");
    let _again = Online::start_at(&network, &address);
    let _ = machine.join(&string).ended(0);
    assert_eq!(certified(&network, "carol"), 1);
}

#[test]
fn what_stands_where_the_bundle_is_to_be_stays_and_the_string_too() {
    let network = Network::new();
    let online = Online::start(&network);
    let wire = Pipe::to(online.address());
    let string = online.invite_to("carol", wire.address());
    let machine = Machine::new();
    std::fs::create_dir(machine.path().join("mine")).unwrap();
    let said = machine.join_with(&string, &["--out", "mine"]).ended(1);
    assert!(said.err.contains("mine exists already"), "{said:?}");
    assert_eq!((wire.pieces(), machine.names()), (0, vec!["mine".to_owned()]));
    // Without --out the name is only known at the end: what was made is kept.
    std::fs::create_dir(machine.bundle("carol")).unwrap();
    let said = machine.join(&string).ended(1);
    assert!(said.err.contains("give it another name yourself"), "{said:?}");
    std::fs::remove_dir(machine.bundle("carol")).unwrap();
    let _ = machine.join(&string).ended(0);
    assert_eq!(machine.names(), ["carol.bundle", "mine"]);
    assert_eq!(certified(&network, "carol"), 1);
}
