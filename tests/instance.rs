//! One certificate alive in two places is a copied key, and somebody says so.

use std::path::Path;

use tests::{Network, Peer, SOON, wait_until};

#[test]
fn a_copied_bundle_is_refused_while_the_first_lives() {
    let network = Network::with(&["alice", "bob"]);
    let alice = network.start("alice", &[]);
    copy(&network.bundle("bob"), &network.path().join("copy.bundle"));
    let bob = network.start("bob", &[&alice]);
    bob.wait_links(&["alice"]);
    let known = [("alice".to_owned(), alice.address().to_owned())];
    let copied = Peer::start(&network.path().join("copy.bundle"), "127.0.0.1:0", &known);
    wait_until("somebody tells of duplicate-instance", SOON, || {
        [&alice, &bob, &copied].iter().any(|peer| peer.has_event("duplicate-instance"))
    });
    alice.wait_event("duplicate-instance", "us");
    assert!(alice.links().len() <= 1);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            std::fs::copy(&path, &place).unwrap();
        }
    }
}
