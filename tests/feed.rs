//! The feed goes forward only, has one author and one history, by file and by link.

use shared::feed::{Head, Part, Update, read_file, write_file};
use shared::wire::Body;
use tests::{Credentials, Network, Peer, SOON, raw, wait_until};

/// A network whose authority has revoked two nodes, with the feed after each.
fn with_two_feeds() -> (Network, Vec<u8>, Vec<u8>) {
    let network = Network::with(&["alice", "bob", "carol", "dora"]);
    network.ca("revoke bob");
    let first = export(&network);
    network.ca("revoke carol");
    let second = export(&network);
    (network, first, second)
}

fn export(network: &Network) -> Vec<u8> {
    network.ca("feed export --out mesh.feed");
    std::fs::read(network.path().join("mesh.feed")).unwrap()
}

fn import(peer: &Peer, feed: &[u8]) -> i32 {
    let file = peer.bundle().with_file_name("handed.feed");
    std::fs::write(&file, feed).unwrap();
    peer.ask("feed import", &[file.to_str().unwrap()]).code
}

#[test]
fn an_older_feed_is_refused() {
    let (network, first, second) = with_two_feeds();
    let alice = network.start("alice", &[]);
    assert_eq!(import(&alice, &second), 0);
    alice.wait_feed(2);
    assert_ne!(import(&alice, &first), 0, "a step back");
    assert_eq!(alice.feed_number(), 2);
    let carol = Credentials::of_bundle(&network.bundle("carol"));
    raw::knock(alice.address(), Some(&carol)).assert_refused(shared::refusal::Code::Revoked);
}

#[test]
fn a_second_history_under_one_number_is_refused() {
    let (network, _, second) = with_two_feeds();
    let alice = network.start("alice", &[]);
    assert_eq!(import(&alice, &second), 0);
    assert_ne!(import(&alice, &fork(&network, &second)), 0);
    assert_eq!(alice.feed_number(), 2);
    let log = alice.log();
    assert!(log.contains("WARN"), "equivocation is told to the operator: {log}");
}

/// The feed with another last entry, signed by the authority's own key.
fn fork(network: &Network, feed: &[u8]) -> Vec<u8> {
    let mut update = read_file(feed).unwrap();
    let authority = network.authority();
    let position = authority.feed_position().unwrap();
    let head = Head {
        number: position.number,
        hash: shared::id::ChainHash::new([7; 32]),
        at: host::clock::wall(),
        next_update: host::clock::wall().plus_s(86_400),
    };
    update.head = head.sign(authority.network(), authority.signer()).unwrap();
    write_file(update)
}

#[test]
fn a_feed_of_another_authority_is_refused() {
    let (network, other) = (Network::with(&["alice"]), Network::with(&["bob"]));
    other.ca("revoke bob");
    let alice = network.start("alice", &[]);
    assert_ne!(import(&alice, &export(&other)), 0);
    assert_eq!(alice.feed_number(), 0);
}

#[test]
fn a_damaged_feed_is_refused_wherever_the_damage_is() {
    let (network, _, second) = with_two_feeds();
    let alice = network.start("alice", &[]);
    for at in (0..second.len()).step_by(second.len() / 24 + 1) {
        let mut damaged = second.clone();
        damaged[at] ^= 1;
        assert_ne!(import(&alice, &damaged), 0, "byte {at}");
        assert_ne!(import(&alice, &second[..at]), 0, "cut at {at}");
    }
    assert_eq!(alice.feed_number(), 0);
    assert_eq!(import(&alice, &second), 0);
}

#[test]
fn a_member_cannot_sign_a_feed() {
    let (network, _, second) = with_two_feeds();
    let dora = Credentials::of_bundle(&network.bundle("dora"));
    let alice = network.start("alice", &[]);
    let mut ear = raw::Ear::dial(alice.address(), Some(&dora));
    assert!(ear.hello(&dora).is_some());
    let update =
        Update { head: signed_by(&network, &dora, &second), ..read_file(&second).unwrap() };
    for part in update.into_parts() {
        ear.say(&Body::Feed(part).to_frame());
    }
    ear.say(&Body::Ping(1).to_frame());
    wait_until("the link is used or dropped", SOON, || {
        ear.body().is_none_or(|b| b == Body::Pong(1))
    });
    assert_eq!(alice.feed_number(), 0);
    assert!(!alice.has_event("revoked"));
}

/// The same head, under a node's signature and chain.
fn signed_by(network: &Network, node: &Credentials, feed: &[u8]) -> Vec<u8> {
    use shared::statement::{Topic, Unverified, sign};
    let authority = network.authority();
    let real = read_file(feed).unwrap().head;
    let public = &authority.signer().cert().public;
    let parsed = Unverified::parse(Topic::FeedHead, &real).unwrap();
    let payload = parsed.verify(authority.network(), public).unwrap();
    let chain: Vec<&[u8]> = node.chain.iter().map(Vec::as_slice).collect();
    let key = node.private();
    sign(Topic::FeedHead, authority.network(), &key, &chain, payload).unwrap()
}

#[test]
fn a_member_may_pass_on_the_real_one() {
    let (network, _, second) = with_two_feeds();
    let dora = Credentials::of_bundle(&network.bundle("dora"));
    let alice = network.start("alice", &[]);
    let mut ear = raw::Ear::dial(alice.address(), Some(&dora));
    assert!(ear.hello(&dora).is_some());
    let parts: Vec<Part> = read_file(&second).unwrap().into_parts();
    for part in parts {
        ear.say(&Body::Feed(part).to_frame());
    }
    alice.wait_feed(2);
}
