//! A revoked node is out: before it connects, while it talks, with a ticket, after a renewal, and
//! with the other signature of the same certificate. Whoever is not revoked stays linked.

use std::process::Stdio;
use std::time::{Duration, Instant};

use shared::refusal::Code;
use tests::{Credentials, Network, SOON, Trap, programs, raw, wait_until};

#[test]
fn before_it_connects() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(alice.address(), Some(&bob)).assert_refused(Code::Revoked);
    alice.wait_event("revoked", "us");
}

#[test]
fn a_real_peer_learns_that_it_is_revoked() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let bob = network.start("bob", &[&alice]);
    bob.wait_event("revoked", "them");
    assert!(bob.links().is_empty());
    assert_ne!(bob.send("alice", "hello"), 0);
}

#[test]
fn dialling_out_to_it_is_barred_too() {
    let network = Network::with(&["alice", "bob"]);
    let trap = Trap::set(&Credentials::of_bundle(&network.bundle("bob")));
    network.ca("revoke bob");
    network.ca("feed export --out mesh.feed");
    let alice = network.start_dialling("alice", "bob", trap.address());
    let file = network.path().join("mesh.feed");
    let _ = alice.ask("feed import", &[file.to_str().unwrap()]).ended(0);
    alice.wait_feed(1);
    let before = trap.all().len();
    // Long enough for several attempts of the back-off's first steps.
    std::thread::sleep(Duration::from_secs(3));
    let news = trap.all().split_off(before.min(trap.all().len()));
    let talked = news.iter().skip(1).any(|heard| heard.application_bytes > 0);
    assert!(!talked, "{news:?}");
    assert!(alice.links().is_empty());
}

#[test]
fn while_linked_it_is_cut_everywhere_and_the_rest_stay() {
    let network = Network::with(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = network.trio();
    let begun = Instant::now();
    let said = network.ca(&format!("revoke bob --reason key-compromise --via {}", alice.address()));
    assert!(said.out.contains("cut on 2/2 peers"), "{}", said.out);
    assert!(begun.elapsed() < Duration::from_secs(5));
    alice.wait_links(&["carol"]);
    carol.wait_links(&["alice"]);
    bob.wait_links(&[]);
    bob.wait_event("revoked", "them");
    assert_ne!(alice.send("bob", "for nobody"), 0);
    assert_ne!(bob.send("alice", "from nobody"), 0);
    assert!(!alice.inbox().contains("from nobody") && !bob.inbox().contains("for nobody"));
    assert_eq!(carol.send("alice", "still here"), 0);
}

#[test]
fn while_a_transfer_runs() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let mut sender = programs::command("peer", network.path())
        .args(["send", "bob.bundle", "alice", "--lines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = sender.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        (0..200_000).take_while(|n| writeln!(lines, "line {n}").is_ok()).count()
    });
    wait_until("lines arrive", SOON, || alice.inbox().contains("line 1"));
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_links(&[]);
    let arrived = alice.inbox();
    let mut status = None;
    wait_until("the sender ends", SOON, || {
        status = sender.try_wait().unwrap();
        status.is_some()
    });
    assert_ne!(status.unwrap().code(), Some(0));
    assert_eq!(alice.inbox(), arrived, "nothing arrives after the cut");
    writer.join().unwrap();
}

#[test]
fn a_ticket_from_before_is_worth_nothing() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    let keeper = raw::ticket_keeper(&bob);
    let mut ear = raw::Ear::dial_with(alice.address(), &keeper);
    assert!(ear.hello(&bob).is_some(), "before, it is let in");
    drop(ear);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let ear = raw::Ear::dial_with(alice.address(), &keeper);
    assert!(!ear.is_resumed());
    ear.listen().assert_refused(Code::Revoked);
}

#[test]
fn after_a_renewal_the_old_certificate_and_the_old_key_too() {
    let network = Network::with(&["alice", "bob"]);
    let old = Credentials::of_bundle(&network.bundle("bob"));
    network.ca("renew bob --out bob.bundle --new-key");
    let new = Credentials::of_bundle(&network.bundle("bob"));
    assert_ne!(old.chain[0], new.chain[0]);
    let alice = network.start("alice", &[]);
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    for credentials in [&old, &new] {
        raw::knock(alice.address(), Some(credentials)).assert_refused(Code::Revoked);
    }
}

#[test]
fn the_twin_of_its_certificate() {
    let network = Network::with(&["alice", "bob"]);
    let twin = Credentials::of_bundle(&network.bundle("bob")).twin();
    let alice = network.start("alice", &[]);
    let mut ear = raw::Ear::dial(alice.address(), Some(&twin));
    assert!(ear.hello(&twin).is_some(), "the twin is a good certificate");
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    let heard = ear.listen();
    assert!(matches!(heard.code, Some(Code::Revoked) | None), "{heard:?}");
    assert_ne!(heard.end, "silence", "its link was cut");
    raw::knock(alice.address(), Some(&twin)).assert_refused(Code::Revoked);
    let real = Credentials::of_bundle(&network.bundle("bob"));
    raw::knock(alice.address(), Some(&real)).assert_refused(Code::Revoked);
}

#[test]
fn in_the_middle_of_its_handshake() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    let bob = Credentials::of_bundle(&network.bundle("bob"));
    // TLS is done, the greeting is not: the set is looked at again before a link is handed out.
    let mut ear = raw::Ear::dial(alice.address(), Some(&bob));
    network.ca(&format!("revoke bob --via {}", alice.address()));
    alice.wait_feed(1);
    ear.say(&shared::wire::Body::Hello(raw::greeting(&bob, 1)).to_frame());
    let heard = ear.listen();
    assert_eq!(heard.application_bytes, 0, "{heard:?}");
    assert!(alice.links().is_empty());
}
