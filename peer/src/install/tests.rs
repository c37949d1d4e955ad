//! From a request to a bundle that opens, and what is refused on the way.

use std::fs;

use super::*;
use crate::bundle::Bundle;
use crate::fixture::{Authority, node};

fn requested(place: &Path) -> (Requested, shared::key::PublicKey) {
    let made = request(place, &node("carol"), Algorithm::Ed25519).unwrap();
    let der = pem::request(&fs::read(&made.csr).unwrap()).unwrap();
    let public = csr::read(&der).unwrap().public().clone();
    (made, public)
}

#[test]
fn a_request_becomes_a_bundle_that_opens() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new("mesh.example");
    let (made, public) = requested(place.path());
    let file = place.path().join("carol.crt");
    fs::write(&file, authority.certificate_file("carol", &public)).unwrap();
    let peers = [(node("alice"), "127.0.0.1:7400".to_owned())];
    let done = install(&made.bundle, &file, &peers, authority.now).unwrap();
    assert_eq!((done.node.as_str(), done.roots.len()), ("carol", 1));
    let bundle = Bundle::open(&made.bundle).unwrap();
    assert_eq!(bundle.config.peers.len(), 1);
    assert!(bundle.feed.head().is_some());
    // A renewal keeps the settings and the trust.
    fs::write(&file, authority.certificate_file("carol", &public)).unwrap();
    install(&made.bundle, &file, &[], authority.now).unwrap();
    assert_eq!(Bundle::open(&made.bundle).unwrap().config.peers.len(), 1);
}

#[test]
fn a_key_is_never_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let (made, _) = requested(place.path());
    let key = fs::read(made.bundle.join("id/node.key")).unwrap();
    let fault = request(place.path(), &node("carol"), Algorithm::P256).unwrap_err();
    assert!(fault.to_string().contains("exists already"));
    fs::remove_file(&made.csr).unwrap();
    assert!(request(place.path(), &node("carol"), Algorithm::P256).is_err());
    assert_eq!(fs::read(made.bundle.join("id/node.key")).unwrap(), key);
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new("mesh.example");
    let (made, public) = requested(place.path());
    let file = place.path().join("carol.crt");
    let other = PrivateKey::generate(Algorithm::P256).unwrap();
    let whole = authority.certificate_file("carol", &public);
    let foreign = Authority::new("mesh.example");
    for text in [
        authority.certificate_file("carol", other.public()),
        whole.replace(&authority.trust(), ""),
        whole.replace(&authority.trust(), &foreign.trust()),
        whole.replace("-----END CONCLAVE FEED-----", ""),
        "nothing".to_owned(),
    ] {
        fs::write(&file, text).unwrap();
        assert!(install(&made.bundle, &file, &[], authority.now).is_err());
        assert!(!made.bundle.join("node.yaml").exists() && !made.bundle.join("trust.pem").exists());
    }
}

#[test]
fn a_certificate_file_does_not_replace_the_trust() {
    let place = tempfile::tempdir().unwrap();
    let (made, public) = requested(place.path());
    let file = place.path().join("carol.crt");
    let authority = Authority::new("mesh.example");
    fs::write(&file, authority.certificate_file("carol", &public)).unwrap();
    install(&made.bundle, &file, &[], authority.now).unwrap();
    fs::write(&file, Authority::new("mesh.example").certificate_file("carol", &public)).unwrap();
    let fault = install(&made.bundle, &file, &[], host::clock::wall()).unwrap_err();
    assert_eq!(fault.exit() as u8, 3);
    Bundle::open(&made.bundle).unwrap();
}
