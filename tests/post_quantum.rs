//! A fully post-quantum network, end to end: joined by strings, linked, renewed, suspended and
//! revoked, with no classical key anywhere. Judges from outside look at its certificates in
//! `judges.rs`.

use shared::cert::Facts;
use shared::key::Algorithm;
use tests::{Credentials, Machine, Network, Online, Peer, SOON, wait_until};

const ALGORITHM: &str = "ml-dsa-65";

fn join(authority: &Online, node: &str) -> (Machine, Peer) {
    let machine = Machine::new();
    let _ = machine.join(&authority.invite(node)).ended(0);
    let peer = Peer::start(&machine.bundle(node), "127.0.0.1:0", &[]);
    (machine, peer)
}

fn serial(machine: &Machine, node: &str) -> String {
    let chain = Credentials::of_bundle(&machine.bundle(node)).chain;
    Facts::read(&chain[0]).unwrap().serial.to_string()
}

#[test]
fn a_post_quantum_network_lives_its_whole_life() {
    let network = Network::of("pq.example", ALGORITHM);
    let authority = Online::start(&network);
    let (_alices, alice) = join(&authority, "alice");
    let (bobs, bob) = join(&authority, "bob");
    alice.wait_links(&["authority", "bob"]);
    for der in Credentials::of_bundle(&bobs.bundle("bob")).chain {
        assert_eq!(Facts::read(&der).unwrap().public.algorithm(), Algorithm::MlDsa65);
    }
    assert_eq!(bob.send("alice", "after the quantum computer"), 0);
    assert!(alice.inbox().contains("after the quantum computer"));
    let before = serial(&bobs, "bob");
    network.ca(&format!("renew bob --new-key --out {}", bobs.bundle("bob").display()));
    assert_ne!(serial(&bobs, "bob"), before);
    assert_eq!(bob.send("alice", "renewed"), 0);
    network.ca("suspend bob");
    bob.wait_links(&[]);
    bob.wait_event("suspended", "them");
    network.ca("resume bob");
    wait_until("bob is back", SOON, || bob.links() == ["alice", "authority"]);
    let said = network.ca("revoke bob --reason key-compromise");
    assert!(said.out.contains("cut on 1/1 peers"), "{said:?}");
    bob.wait_links(&[]);
    bob.wait_event("revoked", "them");
    alice.wait_links(&["authority"]);
    assert_ne!(bob.send("alice", "still there?"), 0);
}
