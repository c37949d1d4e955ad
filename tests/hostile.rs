//! Members that do not keep the rules of queued messages: they harm their own streams, and nobody.

use std::process::Command;

use shared::receipt::Receipt;
use shared::refusal::Code;
use shared::wire::{Body, Item, Number, Page, Post, Priority, Taken, Verdict};
use tests::{Credentials, Ear, Network, Peer, SOON, wait_until};

/// A member with bare hands, linked.
fn linked(network: &Network, node: &str, peer: &Peer) -> (Ear, Credentials) {
    let credentials = Credentials::of_bundle(&network.bundle(node));
    let mut ear = Ear::dial(peer.address(), Some(&credentials));
    assert!(matches!(ear.hello(&credentials), Some(Body::Welcome(_))));
    (ear, credentials)
}

fn number(sequence: u64) -> Number {
    Number { boot: 1, sequence }
}

fn batch(prev: u64, sequences: &[u64], round: u32) -> Vec<u8> {
    let mut page = Page::default();
    for sequence in sequences {
        let body = format!("m{sequence}");
        let body = body.as_bytes();
        assert!(page.push(&Item { number: number(*sequence), receipt: false, body }));
    }
    let prev = if prev == 0 { Number::ZERO } else { number(prev) };
    page.into_frame(Priority::Normal, round, prev)
}

/// The answer to one round, among whatever else is said.
fn answer(ear: &mut Ear, round: u32) -> Taken {
    loop {
        match ear.body() {
            Some(Body::Post(Post::Taken(taken))) if taken.round == round => return taken,
            Some(_) => {}
            None => panic!("no answer to round {round}"),
        }
    }
}

/// The next batch that the other side sends, and what else was about queued messages before it.
fn next_batch(ear: &mut Ear) -> shared::wire::Batch {
    loop {
        match ear.body() {
            Some(Body::Post(Post::Batch(batch))) => return batch,
            Some(_) => {}
            None => panic!("no batch came"),
        }
    }
}

fn texts(peer: &Peer) -> Vec<String> {
    let text = |line: &str| {
        let item: serde_json::Value = serde_json::from_str(line).unwrap();
        item["text"].as_str().unwrap().to_owned()
    };
    peer.inbox().lines().map(text).collect()
}

#[test]
fn a_sender_that_replays_reorders_and_skips_is_taken_once_and_in_order() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let carol = network.start("carol", &[&alice]);
    let (mut bob, _) = linked(&network, "bob", &alice);
    bob.say(&batch(0, &[1, 2], 1));
    assert_eq!((answer(&mut bob, 1).through, texts(&alice).len()), (number(2), 2));
    for (frame, round, through, verdict) in [
        (batch(0, &[1, 2], 2), 2, 2, Verdict::Taken),
        (batch(7, &[8], 3), 3, 2, Verdict::Gap),
        (batch(2, &[3, 4], 4), 4, 4, Verdict::Taken),
        (batch(1, &[2, 3], 5), 5, 4, Verdict::Taken),
        (batch(0, &[4, 5, 9], 6), 6, 9, Verdict::Taken),
        (batch(0, &[6, 7], 7), 7, 9, Verdict::Taken),
    ] {
        bob.say(&frame);
        let taken = answer(&mut bob, round);
        assert_eq!((taken.through, taken.verdict), (number(through), verdict), "round {round}");
    }
    assert_eq!(texts(&alice), ["m1", "m2", "m3", "m4", "m5", "m9"]);
    // His own stream ends with the greatest number there is; carol's goes on.
    let mut page = Page::default();
    let last = Number { boot: u64::MAX, sequence: u64::MAX };
    assert!(page.push(&Item { number: last, receipt: false, body: b"the end" }));
    bob.say(&page.into_frame(Priority::Normal, 8, Number::ZERO));
    assert_eq!(answer(&mut bob, 8).through, last);
    bob.say(&batch(0, &[10], 9));
    assert_eq!(answer(&mut bob, 9).through, last);
    carol.wait_links(&["alice"]);
    let said = carol.ask("send", &["alice", "hello", "--ttl", "1h"]).ended(0);
    assert!(said.out.starts_with("delivered"), "{}", said.out);
    assert_eq!(texts(&alice)[6..], ["the end", "hello"]);
}

#[test]
fn a_batch_that_cannot_be_read_ends_the_link() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let mut backwards = batch(5, &[6], 1);
    backwards[5 + 5 + 15] = 7;
    for frame in [backwards, batch(0, &[], 1)] {
        let (mut bob, _) = linked(&network, "bob", &alice);
        bob.say(&frame);
        let heard = bob.listen();
        assert_eq!(heard.code, Some(Code::Malformed), "{heard:?}");
    }
    assert!(texts(&alice).is_empty());
}

#[test]
fn a_flood_fills_no_more_than_the_inbox_and_delays_nobody() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let config = network.bundle("alice").join("node.yaml");
    let text = std::fs::read_to_string(&config).unwrap() + "inbox: {messages: 300}\n";
    std::fs::write(&config, text).unwrap();
    let alice = network.start("alice", &[]);
    let carol = network.start("carol", &[&alice]);
    carol.wait_links(&["alice"]);
    let (mut bob, _) = linked(&network, "bob", &alice);
    for round in 1..200 {
        let first = u64::from(round) * 100;
        let sequences: Vec<u64> = (first..first + 100).collect();
        bob.say(&batch(0, &sequences, round));
    }
    assert_eq!(answer(&mut bob, 199).verdict, Verdict::Refused(Code::Quota));
    assert_eq!(texts(&alice).len(), 300);
    assert_eq!(carol.links(), ["alice"]);
    let said = carol.ask("ping", &["alice", "--count", "1"]).ended(0);
    assert!(said.out.contains("1 of 1 came back"), "{}", said.out);
    assert!(alice.log().lines().count() < 100, "a full inbox is no news each time");
}

#[test]
fn a_receiver_that_never_acknowledges_gets_a_window_and_no_more() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let carol = network.start("carol", &[&alice]);
    carol.wait_links(&["alice"]);
    let (mut bob, _) = linked(&network, "bob", &alice);
    let long = "x".repeat(50_000);
    for _ in 0..20 {
        let args = ["bob", long.as_str(), "--ttl", "1h", "--wait-ms", "1"];
        let said = alice.ask("send", &args).ended(0);
        assert!(said.out.starts_with("queued"), "{}", said.out);
    }
    let mut bytes = 0;
    while bytes < 512 * 1024 {
        bytes += next_batch(&mut bob).bytes();
    }
    assert!(bytes < 700 * 1024, "{bytes}");
    let said = alice.ask("send", &["carol", "hello", "--ttl", "1h"]).ended(0);
    assert!(said.out.starts_with("delivered"), "nothing else is disturbed: {}", said.out);
    wait_until("it is said", SOON, || {
        alice.ask("outbox", &["--json"]).out.contains("not acknowledged")
    });
}

#[test]
fn a_liar_acknowledges_away_only_what_it_was_sent() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let (mut bob, _) = linked(&network, "bob", &alice);
    for (to, text) in [("bob", "one"), ("carol", "two")] {
        let args = [to, text, "--ttl", "1h", "--wait-ms", "1"];
        let _ = alice.ask("send", &args).ended(0);
    }
    let round = next_batch(&mut bob).round;
    let (priority, verdict) = (Priority::Normal, Verdict::Taken);
    let through = Number { boot: 1, sequence: u64::MAX };
    let taken = Taken { priority, round, through, verdict };
    bob.say(&Body::Post(Post::Taken(taken)).to_frame());
    let waiting = || {
        let said = alice.ask("outbox", &["--json"]).ended(0);
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until("bob's is settled", SOON, || waiting().len() == 1);
    assert!(waiting()[0].contains("carol"), "{:?}", waiting());
    let _ = alice.ask("send", &["bob", "three", "--ttl", "1h", "--wait-ms", "1"]).ended(0);
    assert_eq!(next_batch(&mut bob).items().next().unwrap().body, b"three");
}

#[test]
fn a_forged_receipt_ends_the_link_and_is_not_kept() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let alice = network.start("alice", &[]);
    let carol = Credentials::of_bundle(&network.bundle("carol"));
    let (mut bob, credentials) = linked(&network, "bob", &alice);
    let _ = alice.ask("send", &["bob", "sign", "--receipt", "--wait-ms", "1"]).ended(0);
    let batch = next_batch(&mut bob);
    let (through, round) = (batch.last, batch.round);
    let (priority, verdict) = (batch.priority, Verdict::Taken);
    bob.say(&Body::Post(Post::Taken(Taken { priority, round, through, verdict })).to_frame());
    let node = |name: &str| shared::name::NodeName::parse(name).unwrap();
    let receipt = |to: &str, body: &[u8], by: &Credentials| {
        let digest = shared::id::sha256(body);
        let (from, to, at) = (node("alice"), node(to), host::clock::wall());
        let receipt = Receipt { from, to, number: through, digest, at };
        let chain: Vec<&[u8]> = by.chain.iter().map(Vec::as_slice).collect();
        let network = shared::name::NetworkName::parse("mesh.example").unwrap();
        let bytes = receipt.sign(&network, &by.private(), &chain).unwrap();
        Body::Post(Post::Receipt(bytes)).to_frame()
    };
    let receipts = || alice.ask("outbox receipts", &["--json"]).ended(0).out.lines().count();
    // Of another body: signed by the right one, and not what was asked for.
    bob.say(&receipt("bob", b"something else", &credentials));
    let _ = alice.ask("ping", &["bob", "--count", "1"]);
    assert_eq!(receipts(), 0);
    // Carol's, which bob passes off as one between alice and him.
    bob.say(&receipt("carol", b"sign", &carol));
    assert_eq!(bob.listen().code, Some(Code::Malformed));
    // In bob's name, with carol's key.
    let (mut bob, _) = linked(&network, "bob", &alice);
    bob.say(&receipt("bob", b"sign", &carol));
    assert!(bob.listen().code.is_some());
    assert_eq!(receipts(), 0);
    let (mut bob, _) = linked(&network, "bob", &alice);
    bob.say(&receipt("bob", b"sign", &credentials));
    wait_until("the true one is kept", SOON, || receipts() == 1);
}

/// A folder that is a disk of its own, until this goes away.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &std::path::Path, bytes: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_holds_messages_back_and_loses_none() {
    let network = Network::with(&["alice", "bob"]);
    let Some(disk) = SmallDisk::mount(&network.bundle("alice").join("inbox"), "6m") else {
        #[allow(clippy::print_stderr, reason = "a test that is left out says so")]
        {
            eprintln!("SKIPPED a_full_disk: needs root, to mount a small tmpfs");
        }
        return;
    };
    let mut alice = network.start("alice", &[]);
    alice.may_err();
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let ballast = disk.0.join("ballast");
    let long = "x".repeat(60_000);
    let mut sent = 0;
    for _ in 0..10 {
        let _ = bob.ask("send", &["alice", &long, "--ttl", "1h"]).ended(0);
        sent += 1;
    }
    // Whatever is left of the disk goes.
    let _ = std::fs::write(&ballast, vec![7; 8 << 20]);
    for _ in 0..60 {
        let _ = bob.ask("send", &["alice", &long, "--ttl", "1h", "--wait-ms", "1"]).ended(0);
        sent += 1;
    }
    wait_until("it is held back", SOON, || bob.ask("outbox", &["--json"]).out.contains("quota"));
    let _ = alice.status();
    std::fs::remove_file(&ballast).unwrap();
    let mut came = 0;
    wait_until("all arrive", SOON * 2, || {
        came += alice.ask("inbox", &["--json", "--clear"]).out.lines().count();
        came >= sent
    });
    assert_eq!(came, sent);
    wait_until("nothing waits", SOON, || bob.ask("outbox", &["--json"]).out.is_empty());
}
