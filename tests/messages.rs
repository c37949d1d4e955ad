//! Queued messages: each arrives once and in order, whoever was away, killed, full or hostile.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tests::{Network, Peer, SOON, programs, wait_until};

/// What an inbox says, message by message.
fn texts(peer: &Peer) -> Vec<String> {
    lines(&peer.inbox()).iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn waiting(peer: &Peer) -> Vec<Value> {
    outbox(peer, "waiting")
}

fn dropped(peer: &Peer) -> Vec<Value> {
    outbox(peer, "dropped")
}

fn outbox(peer: &Peer, what: &str) -> Vec<Value> {
    let said = peer.ask("outbox", &["--json"]).ended(0);
    let items = lines(&said.out);
    items.into_iter().filter_map(|mut item| item.get_mut(what).map(Value::take)).collect()
}

/// `peer send BUNDLE TO --lines …`, fed with numbers.
fn send_numbers(peer: &Peer, to: &str, numbers: std::ops::Range<u32>, rest: &[&str]) {
    let mut command = programs::command("peer", std::path::Path::new("."));
    command.arg("send").arg(peer.bundle()).args([to, "--lines"]).args(rest);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for number in numbers {
        writeln!(input, "{number}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn who_was_away_gets_it_once() {
    let network = Network::with(&["alice", "bob"]);
    let bob = network.start("bob", &[]);
    let said = bob.ask("send", &["alice", "hello", "--ttl", "1h"]).ended(0);
    assert!(said.out.starts_with("queued as 1.1 until "), "{}", said.out);
    assert_eq!(bob.send("alice", "now or never"), 1, "without an option it is not queued");
    let items = waiting(&bob);
    assert_eq!((items.len(), &items[0]["to"]), (1, &Value::from("alice")));
    let alice = network.start("alice", &[&bob]);
    wait_until("it arrives", SOON, || texts(&alice) == ["hello"]);
    wait_until("nothing waits", SOON, || waiting(&bob).is_empty());
    alice.terminate();
    let alice = network.start("alice", &[&bob]);
    bob.wait_links(&["alice"]);
    let said = bob.ask("send", &["alice", "again", "--ttl", "1h"]).ended(0);
    assert!(said.out.starts_with("delivered to alice ("), "{}", said.out);
    assert_eq!(texts(&alice), ["hello", "again"]);
}

#[test]
fn ten_thousand_arrive_once_and_in_order_although_both_sides_are_killed() {
    let network = Network::with(&["alice", "bob"]);
    let config = network.bundle("alice").join("node.yaml");
    let text = std::fs::read_to_string(&config).unwrap() + "inbox: {messages: 20000}\n";
    std::fs::write(&config, text).unwrap();
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    send_numbers(&bob, "alice", 0..4000, &["--ttl", "1h"]);
    alice.kill();
    send_numbers(&bob, "alice", 4000..7000, &["--ttl", "1h"]);
    let alice = network.start("alice", &[&bob]);
    bob.wait_links(&["alice"]);
    bob.kill();
    let bob = network.start("bob", &[&alice]);
    send_numbers(&bob, "alice", 7000..10_000, &["--ttl", "1h"]);
    wait_until("all have arrived", SOON * 3, || waiting(&bob).is_empty());
    let arrived = texts(&alice);
    assert_eq!(arrived.len(), 10_000);
    assert_eq!(arrived, numbers(0..10_000));
}

fn limit(network: &Network, node: &str, line: &str) {
    let config = network.bundle(node).join("node.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + line + "\n").unwrap();
}

#[test]
fn what_is_too_old_goes_with_a_record() {
    let network = Network::with(&["alice", "bob"]);
    let bob = network.start("bob", &[]);
    let _ = bob.ask("send", &["alice", "soon stale", "--ttl", "1s"]).ended(0);
    let _ = bob.ask("send", &["alice", "patient", "--ttl", "1h"]).ended(0);
    wait_until("the first one goes", SOON, || waiting(&bob).len() == 1);
    let gone = dropped(&bob);
    assert_eq!((gone.len(), &gone[0]["reason"]), (1, &Value::from("expired")));
    assert_eq!((&gone[0]["first"], &gone[0]["to"]), (&"1.1".into(), &"alice".into()));
    let alice = network.start("alice", &[&bob]);
    wait_until("the other arrives", SOON, || texts(&alice) == ["patient"]);
}

#[test]
fn a_full_outbox_refuses_its_sender_and_loses_nothing() {
    let network = Network::with(&["alice", "bob", "carol"]);
    limit(&network, "bob", "outbox: {messages: 6}");
    let bob = network.start("bob", &[]);
    for text in ["a", "b", "c"] {
        let _ = bob.ask("send", &["alice", text, "--ttl", "1h"]).ended(0);
    }
    let said = bob.ask("send", &["alice", "too much", "--ttl", "1h"]).ended(3);
    assert_eq!(said.out, "refused (quota)\n", "one receiver has half of the room");
    for text in ["d", "e", "f"] {
        let _ = bob.ask("send", &["carol", text, "--ttl", "1h"]).ended(0);
    }
    let _ = bob.ask("send", &["carol", "too much", "--ttl", "1h"]).ended(3);
    let id = waiting(&bob)[1]["id"].as_str().unwrap().to_owned();
    let _ = bob.ask("outbox drop", &[&id]).ended(0);
    let said = bob.ask("outbox drop", &[&id]).ended(1);
    assert!(said.err.contains("hint:"), "{}", said.err);
    let _ = bob.ask("send", &["alice", "g", "--ttl", "1h"]).ended(0);
    bob.kill();
    let said = network.peer("outbox bob.bundle --json").ended(0);
    assert_eq!(lines(&said.out).len(), 7, "six wait and one was dropped: {}", said.out);
    let bob = network.start("bob", &[]);
    let alice = network.start("alice", &[&bob]);
    wait_until("what was queued arrives", SOON, || texts(&alice) == ["a", "c", "g"]);
}

#[test]
fn a_full_inbox_holds_the_sender_back_until_it_is_read() {
    let network = Network::with(&["alice", "bob"]);
    limit(&network, "alice", "inbox: {messages: 100}");
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    send_numbers(&bob, "alice", 0..250, &["--ttl", "1h"]);
    wait_until("it is full", SOON, || waiting(&bob).iter().any(|item| item["why"] == "quota"));
    let mut arrived = Vec::new();
    wait_until("all are read", SOON * 2, || {
        let page = lines(&alice.ask("inbox", &["--json", "--clear"]).ended(0).out);
        arrived.extend(page.iter().map(|item| item["text"].as_str().unwrap().to_owned()));
        arrived.len() >= 250
    });
    assert_eq!(arrived, numbers(0..250));
    wait_until("nothing waits", SOON, || waiting(&bob).is_empty());
}

#[test]
fn a_receipt_is_signed_kept_and_judged_without_anybody() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let (report, receipt) = (network.path().join("report"), network.path().join("report.receipt"));
    std::fs::write(&report, "all is well").unwrap();
    let (report, receipt) = (report.to_str().unwrap(), receipt.to_str().unwrap());
    let said = bob.ask("send", &["alice", "-f", report, "--receipt-file", receipt]).ended(0);
    assert!(said.out.contains("receipt signed"), "{}", said.out);
    let kept = lines(&bob.ask("outbox receipts", &["--json"]).ended(0).out);
    let says = &kept[0]["says"];
    assert_eq!((kept.len(), &says["to"], &says["id"]), (1, &"alice".into(), &"1.1".into()));
    // Carol was not there, and nobody runs: her bundle has all it takes.
    let judge = |body: &str| {
        network.peer(&format!("receipt verify carol.bundle report.receipt --body {body}"))
    };
    let said = judge("report").ended(0);
    assert!(said.out.starts_with("alice has message 1.1 of bob since "), "{}", said.out);
    std::fs::write(network.path().join("other"), "all is lost").unwrap();
    let _ = judge("other").ended(3);
    let mut forged = std::fs::read(receipt).unwrap();
    let middle = forged.len() - 80;
    forged[middle] ^= 1;
    std::fs::write(receipt, &forged).unwrap();
    let _ = judge("report").ended(3);
    std::fs::write(receipt, b"no receipt").unwrap();
    let _ = judge("report").ended(3);
}

#[test]
fn a_receipt_that_was_lost_is_asked_for_again() {
    let network = Network::with(&["alice", "bob"]);
    let bob = network.start("bob", &[]);
    let _ = bob.ask("send", &["alice", "sign this", "--receipt"]).ended(0);
    // Alice takes it and is killed at once, often before her receipt is sent.
    for _ in 0..3 {
        let alice = network.start("alice", &[&bob]);
        wait_until("she has it", SOON, || texts(&alice) == ["sign this"]);
        alice.kill();
    }
    let alice = network.start("alice", &[&bob]);
    let receipts = || lines(&bob.ask("outbox receipts", &["--json"]).ended(0).out).len();
    wait_until("the receipt comes", SOON, || receipts() == 1);
    assert_eq!(texts(&alice), ["sign this"]);
}

#[test]
fn what_waits_for_a_revoked_node_is_dropped_with_a_record() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    for text in ["one", "two"] {
        let _ = alice.ask("send", &["bob", text, "--ttl", "1h"]).ended(0);
        let _ = alice.ask("send", &["carol", text, "--ttl", "1h"]).ended(0);
    }
    network.ca(&format!("revoke bob --via {}", alice.address()));
    wait_until("bob's queue is gone", SOON, || waiting(&alice).len() == 2);
    let gone = dropped(&alice);
    let expected = ("bob".into(), "revoked".into(), 2.into());
    assert_eq!(
        (&gone[0]["to"], &gone[0]["reason"], &gone[0]["count"]),
        (&expected.0, &expected.1, &expected.2)
    );
    assert!(alice.log().contains("queued messages dropped"));
    let said = alice.ask("send", &["bob", "three", "--ttl", "1h"]).ended(3);
    assert_eq!(said.out, "refused (revoked)\n");
    let carol = network.start("carol", &[&alice]);
    wait_until("carol's arrive", SOON, || texts(&carol) == ["one", "two"]);
}

#[test]
fn a_queue_is_dropped_although_the_revocation_came_while_its_sender_was_dead() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let _ = alice.ask("send", &["bob", "one", "--ttl", "1h"]).ended(0);
    alice.kill();
    // The authority counts in seconds; what was queued before is older than the revocation.
    network.ca("revoke bob");
    network.ca("feed export --out mesh.feed");
    std::fs::copy(network.path().join("mesh.feed"), network.bundle("alice").join("feed")).unwrap();
    let alice = network.start("alice", &[]);
    wait_until("it is dropped", SOON, || waiting(&alice).is_empty());
    assert_eq!(dropped(&alice)[0]["reason"], "revoked");
}

#[test]
fn what_waits_for_a_suspended_node_arrives_when_it_is_resumed() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    network.ca(&format!("suspend bob --via {}", alice.address()));
    alice.wait_links(&[]);
    let said = alice.ask("send", &["bob", "later", "--ttl", "1h"]).ended(0);
    assert!(said.out.starts_with("queued as "), "{}", said.out);
    assert_eq!(alice.send("bob", "now"), 3);
    network.ca(&format!("resume bob --via {}", alice.address()));
    wait_until("it arrives", SOON * 2, || texts(&bob) == ["later"]);
}

#[test]
fn to_a_group_and_to_everyone_with_a_table() {
    let network = Network::new();
    network.ca("enroll alice --out alice.bundle --groups lab");
    network.ca("enroll bob --out bob.bundle --groups sensors");
    network.ca("enroll carol --out carol.bundle --groups lab,sensors");
    let [alice, bob, carol] = network.trio();
    let said = alice.ask("send", &["--group", "sensors", "restart"]).ended(0);
    let rows: Vec<&str> = said.out.lines().skip(1).map(str::trim).collect();
    assert_eq!(rows, ["bob    delivered", "carol  delivered"]);
    assert_eq!(
        (texts(&bob), texts(&carol)),
        (vec!["restart".to_owned()], vec!["restart".to_owned()])
    );
    carol.terminate();
    alice.wait_links(&["bob"]);
    let said = alice.ask("send", &["--everyone", "hear", "--json"]).ended(1);
    let outcomes: Vec<_> = lines(&said.out).iter().map(|o| o["outcome"].clone()).collect();
    assert_eq!(outcomes, ["delivered", "unreachable"]);
    let said = alice.ask("send", &["--everyone", "queue", "--ttl", "1h", "--json"]).ended(0);
    let outcomes: Vec<_> = lines(&said.out).iter().map(|o| o["outcome"].clone()).collect();
    assert_eq!(outcomes, ["delivered", "queued"]);
    assert_eq!(texts(&bob), ["restart", "hear", "queue"]);
    let said = alice.ask("send", &["--group", "nobody", "x"]).ended(1);
    assert!(said.err.contains("nobody is meant"), "{}", said.err);
}
