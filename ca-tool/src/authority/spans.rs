//! What a node's record says of its certificates is what they say, whatever was done.

use shared::feed::Reason;
use shared::name::NodeName;

use super::tests::{Place, enroll, name};
use super::{Authority, CertView, NodeView};
use crate::store::{NodeRecord, Reads as _, Span};

/// The list and the certificates agree on every node.
fn agrees(authority: &Authority, place: &Place) {
    for seen in authority.nodes().unwrap() {
        let (_, certs) = authority.node(&seen.node).unwrap();
        let recorded: Vec<&CertView> =
            certs.iter().filter(|cert| cert.state != "possibly-issued").collect();
        let ends = recorded.iter().map(|cert| cert.not_after);
        assert_eq!(seen.not_after, ends.clone().max(), "{}", seen.node);
        let living = ends.filter(|end| *end > place.now()).count();
        assert_eq!(seen.certificates, living, "{}", seen.node);
    }
}

fn record(authority: &Authority, node: &NodeName) -> NodeRecord {
    authority.store().read().unwrap().node(node).unwrap().unwrap()
}

fn seen(authority: &Authority, node: &NodeName) -> NodeView {
    authority.node(node).unwrap().0
}

#[test]
fn the_record_says_what_the_certificates_say() {
    let (place, authority) = Place::new();
    let (bob, carol) = (name("bob"), name("carol"));
    enroll(&authority, "bob").unwrap();
    enroll(&authority, "carol").unwrap();
    agrees(&authority, &place);
    for _ in 0..4 {
        place.later(2 * 86_400);
        authority.renew(&bob, None).unwrap();
        agrees(&authority, &place);
    }
    assert_eq!(seen(&authority, &bob).certificates, 4, "the first has ended");
    assert_eq!(record(&authority, &bob).spans.unwrap().len(), 4, "and is not kept");
    assert_eq!(seen(&authority, &carol).standing, "expired");
    authority.suspend(&bob).unwrap();
    agrees(&authority, &place);
    authority.resume(&bob).unwrap();
    authority.revoke(&bob, Reason::KeyCompromise).unwrap();
    agrees(&authority, &place);
    place.later(10);
    enroll(&authority, "bob").unwrap();
    enroll(&authority, "carol").unwrap();
    agrees(&authority, &place);
    place.later(30 * 86_400);
    agrees(&authority, &place);
    assert!(seen(&authority, &bob).not_after.is_some(), "when the last ended is still known");
    drop(authority);
    agrees(&place.open(), &place);
}

#[test]
fn a_record_without_spans_is_taken_from_the_certificates_and_mended_by_the_next() {
    let (place, authority) = Place::new();
    let bob = name("bob");
    enroll(&authority, "bob").unwrap();
    place.later(86_400);
    authority.renew(&bob, None).unwrap();
    let (before, mut old) = (seen(&authority, &bob), record(&authority, &bob));
    assert_eq!(old.spans.take().unwrap().len(), 2);
    authority.store().write(|txn| txn.put_node(&old)).unwrap();
    assert_eq!(seen(&authority, &bob), before);
    agrees(&authority, &place);
    authority.renew(&bob, None).unwrap();
    assert_eq!(record(&authority, &bob).spans.unwrap().len(), 3);
    agrees(&authority, &place);
}

#[test]
fn too_many_for_a_record_are_counted_all_the_same() {
    let (place, authority) = Place::new();
    let bob = name("bob");
    enroll(&authority, "bob").unwrap();
    for _ in 0..70 {
        place.later(1);
        authority.renew(&bob, None).unwrap();
    }
    assert_eq!(record(&authority, &bob).spans, None::<Vec<Span>>);
    assert_eq!(seen(&authority, &bob).certificates, 71);
    place.later(7 * 86_400 - 20);
    agrees(&authority, &place);
    authority.renew(&bob, None).unwrap();
    assert!(record(&authority, &bob).spans.is_some(), "most have ended");
    agrees(&authority, &place);
}
