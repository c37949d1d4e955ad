//! A relay is blind: what it carries is TLS between the two ends, which it can neither read, change
//! nor end itself without being found out.

use shared::refusal::Code;
use tests::mole::Tape;
use tests::{Credentials, Mole, Network, Peer, Plan, SOON, wait_until};

/// What nobody but alice and bob may read: long enough never to appear by chance.
const SECRET: &str = "the-marker-that-no-relay-may-read";

/// Alice and bob listen nowhere and dial a relay that is curious.
fn behind_a_mole(network: &Network) -> (Peer, Peer, Mole) {
    network.ca("enroll rita --out rita.bundle --roles relay");
    let mole = Mole::dig(Credentials::of_bundle(&network.bundle("rita")));
    let known = [("rita".to_owned(), mole.address().to_owned())];
    let start = |node: &str| Peer::start(&network.bundle(node), "none", &known);
    (start("alice"), start("bob"), mole)
}

fn wait_relayed(peer: &Peer, node: &str) {
    wait_until(&format!("{} has {node} through rita", peer.node()), SOON, || {
        let status = peer.status();
        let mut links = status["links"].as_array().unwrap().iter();
        links.any(|link| link["node"] == node && link["path"] == "relay via rita")
    });
}

/// The records of TLS that octets consist of, to the last: their content type and length
/// (RFC 8446 section 5.1).
fn records(mut octets: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, 3, 1 | 3, high, low, rest @ ..] = octets {
        let length = usize::from(*high) << 8 | usize::from(*low);
        assert!(length <= (1 << 14) + 256 && length <= rest.len(), "{kind} of {length}");
        records.push((*kind, length));
        octets = &rest[length..];
    }
    assert!(octets.is_empty(), "no record begins with {:?}", &octets[..octets.len().min(5)]);
    records
}

fn assert_only_tls(octets: &[u8]) {
    let (handshake, spacer, protected) = (22, 20, 23);
    let records = records(octets);
    let kinds: Vec<u8> = records.iter().map(|(kind, _)| *kind).collect();
    // One hello in the clear, the octet that RFC 8446 D.4 asks for, and the rest is protected.
    assert_eq!(kinds.first(), Some(&handshake), "{kinds:?}");
    assert!(kinds.iter().all(|kind| [handshake, spacer, protected].contains(kind)), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == handshake).count(), 1, "{kinds:?}");
    assert!(records.iter().all(|(kind, length)| *kind != spacer || *length == 1), "{records:?}");
    for word in [SECRET, "mesh.example", "spiffe:"] {
        assert!(!contains(octets, word), "it reads {word}");
    }
}

fn contains(octets: &[u8], word: &str) -> bool {
    octets.windows(word.len()).any(|window| window == word.as_bytes())
}

fn length(tapes: &[Tape]) -> usize {
    tapes.iter().map(|tape| tape.asked.len() + tape.called.len()).sum()
}

#[test]
fn what_a_relay_carries_is_tls_and_no_word_of_a_message() {
    let network = Network::with(&["alice", "bob"]);
    let (alice, bob, mole) = behind_a_mole(&network);
    wait_relayed(&alice, "bob");
    wait_relayed(&bob, "alice");
    let (before, text) = (length(&mole.tapes()), SECRET.repeat(600));
    assert_eq!(alice.send("bob", &text), 0);
    assert_eq!(bob.send("alice", &text), 0);
    let queued = alice.ask("send", &["bob", SECRET, "--receipt"]).ended(0);
    assert!(queued.out.contains("receipt signed"), "{}", queued.out);
    assert!(bob.inbox().contains(&text) && alice.inbox().contains(&text));
    assert!(length(&mole.tapes()) > before + 2 * text.len(), "it passed there");
    // It reads well what is meant for itself.
    assert_eq!(alice.send("rita", SECRET), 0);
    assert_eq!(mole.mail(), [SECRET.as_bytes()]);
    alice.terminate();
    wait_until("its circuits end", SOON, || mole.tapes().iter().all(|tape| tape.over));
    for tape in mole.tapes() {
        assert_only_tls(&tape.asked);
        assert_only_tls(&tape.called);
    }
}

#[test]
fn one_changed_octet_ends_the_link_and_nothing_of_it_is_delivered() {
    let network = Network::with(&["alice", "bob"]);
    let (alice, bob, mole) = behind_a_mole(&network);
    wait_relayed(&alice, "bob");
    assert_eq!(alice.send("bob", "before"), 0);
    mole.plan(Plan::Flip);
    assert_ne!(alice.send("bob", "changed"), 0);
    wait_until("the circuit ends at one octet", SOON, || {
        let tapes = mole.tapes();
        tapes.iter().all(|tape| tape.over) && tapes.iter().any(|tape| tape.flipped == 1)
    });
    let inbox = bob.inbox();
    assert!(inbox.contains("before") && !inbox.contains("changed"), "{inbox}");
    mole.plan(Plan::Carry);
    wait_relayed(&alice, "bob");
    wait_relayed(&bob, "alice");
    assert_eq!(alice.send("bob", "after"), 0);
    let inbox = bob.inbox();
    assert!(inbox.contains("after") && !inbox.contains("changed"), "{inbox}");
}

#[test]
fn a_relay_that_answers_itself_is_refused() {
    let network = Network::with(&["alice", "bob"]);
    network.ca("enroll rita --out rita.bundle --roles relay");
    let mole = Mole::dig(Credentials::of_bundle(&network.bundle("rita")));
    mole.plan(Plan::Answer);
    let known = [("rita".to_owned(), mole.address().to_owned())];
    let alice = Peer::start(&network.bundle("alice"), "none", &known);
    let bob = Peer::start(&network.bundle("bob"), "none", &known);
    wait_until("it has answered", SOON, || !mole.answered().is_empty());
    for heard in mole.answered() {
        heard.assert_refused(Code::WrongName);
    }
    let refused = |peer: &Peer, node: &str| {
        let status = peer.status();
        let mut known = status["known"].as_array().unwrap().iter();
        known.any(|known| {
            let refusal = &known["last_refusal"];
            known["node"] == node && refusal["code"] == "wrong-name" && refusal["by"] == "us"
        })
    };
    wait_until("they say why", SOON, || refused(&alice, "bob") || refused(&bob, "alice"));
    assert!(!alice.links().contains(&"bob".to_owned()));
    assert_ne!(alice.send("bob", SECRET), 0);
}

#[test]
fn a_relay_that_calls_in_anothers_name_is_refused() {
    let network = Network::with(&["alice", "bob"]);
    let (alice, bob, mole) = behind_a_mole(&network);
    wait_relayed(&bob, "alice");
    let heard = mole.pretend("bob", "alice");
    heard.assert_refused(Code::WrongName);
    bob.wait_event("wrong-name", "us");
    assert_eq!(alice.send("bob", "still here"), 0);
}
