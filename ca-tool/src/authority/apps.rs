//! Tests: apps beside nodes.

use std::collections::BTreeSet;

use shared::cert::{Facts, Kind, NodeCert, Usage, lint};
use shared::feed::Reason;
use shared::name::{Label, MemberKind};
use shared::refusal::Code;

use super::tests::{Place, enroll, key, name};
use super::{Authority, Enrolment, Holder, Invite, Issued};
use crate::error::CaError;

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn wish(node: &str, change: impl FnOnce(&mut Enrolment)) -> Enrolment {
    let profile = label("app");
    let mut wish = Enrolment { profile, ..Enrolment::new(name(node)).unwrap() };
    change(&mut wish);
    wish
}

fn app(
    authority: &Authority,
    node: &str,
    change: impl FnOnce(&mut Enrolment),
) -> Result<Issued, CaError> {
    authority.enroll(&wish(node, change), Holder::Private(&key()))
}

fn judged(authority: &Authority, issued: &Issued, usage: Usage) -> Result<(), Code> {
    let chain: Vec<&[u8]> = issued.chain.iter().map(Vec::as_slice).collect();
    let verifier = authority.verifier().unwrap();
    let admitted = verifier.admit(&chain, usage, None, authority.now());
    admitted.map(drop).map_err(|refusal| refusal.code)
}

#[test]
fn an_app_is_certified_for_programs_alone_and_renewed_as_one() {
    let (place, authority) = Place::new();
    let given = |wish: &mut Enrolment| {
        wish.groups = BTreeSet::from([label("sensors")]);
        wish.roles = BTreeSet::from([label("meter")]);
    };
    let first = app(&authority, "meter-7", given).unwrap();
    place.later(3_600);
    for issued in [first, authority.renew(&name("meter-7"), None).unwrap()] {
        let facts = Facts::read(&issued.chain[0]).unwrap();
        assert_eq!(lint::check(&facts), (Kind::App, Vec::new()));
        assert_eq!(facts.uris, ["spiffe://mesh.example/app/meter-7"]);
        assert_eq!(facts.extended, Some((false, true, 0)));
        assert!(facts.attributes.has_role("meter"));
        assert_eq!(judged(&authority, &issued, Usage::Program), Ok(()));
        for usage in [Usage::Client, Usage::Server] {
            assert_eq!(judged(&authority, &issued, usage), Err(Code::WrongUsage));
        }
        // What was remembered of it as a program does not make it a peer.
        assert_eq!(judged(&authority, &issued, Usage::Program), Ok(()));
    }
    let view = authority.node(&name("meter-7")).unwrap().0;
    assert_eq!((view.profile.as_str(), &*view.standing), ("app", "active"));
    let node = enroll(&authority, "alice").unwrap();
    for usage in [Usage::Client, Usage::Server, Usage::Program] {
        assert_eq!(judged(&authority, &node, usage), Ok(()));
    }
}

#[test]
fn what_makes_a_peer_is_refused_to_an_app() {
    let (_place, authority) = Place::new();
    for role in ["relay", "rendezvous", "time-root"] {
        let refused = app(&authority, "meter-7", |wish| wish.roles.extend([label(role)]));
        assert!(matches!(refused, Err(CaError::PeerRole { .. })), "{role}");
    }
    let named = app(&authority, "meter-7", |wish| wish.dns.push("x.mesh.example".to_owned()));
    assert!(matches!(named, Err(CaError::AppNames)));
    let placed = app(&authority, "meter-7", |wish| wish.ips.push([127, 0, 0, 1].into()));
    assert!(matches!(placed, Err(CaError::AppNames)));
    let wish = wish("meter-7", |wish| wish.roles.extend([label("relay")]));
    let addresses = vec!["127.0.0.1:1".to_owned()];
    let invited = authority.invite(&Invite { wish, open_s: 60, hold: false, addresses });
    assert!(matches!(invited, Err(CaError::PeerRole { .. })));
}

#[test]
fn an_app_and_a_node_never_share_a_name() {
    let (place, authority) = Place::new();
    enroll(&authority, "alice").unwrap();
    app(&authority, "meter-7", |_| {}).unwrap();
    let invite = |node| {
        let addresses = vec!["127.0.0.1:1".to_owned()];
        let wish = wish(node, |_| {});
        authority.invite(&Invite { wish, open_s: 60, hold: false, addresses }).map(drop)
    };
    for (again, of) in [
        (app(&authority, "alice", |_| {}).map(drop), "alice"),
        (enroll(&authority, "meter-7").map(drop), "meter-7"),
        (invite("alice"), "alice"),
    ] {
        assert!(matches!(again, Err(CaError::AlreadyEnrolled { .. })), "{of}");
    }
    place.later(40 * 86_400);
    for (again, kind) in [
        (app(&authority, "alice", |_| {}).map(drop), MemberKind::Node),
        (enroll(&authority, "meter-7").map(drop), MemberKind::App),
        (invite("alice"), MemberKind::Node),
    ] {
        assert!(matches!(again, Err(CaError::OtherKind { is, .. }) if is == kind));
    }
    authority.revoke(&name("alice"), Reason::Superseded).unwrap();
    place.later(1);
    let issued = app(&authority, "alice", |_| {}).unwrap();
    assert_eq!(NodeCert::read(&issued.chain[0]).unwrap().kind, MemberKind::App);
    assert_eq!(judged(&authority, &issued, Usage::Program), Ok(()));
}

#[test]
fn an_app_is_revoked_like_a_node() {
    let (_place, authority) = Place::new();
    let issued = app(&authority, "meter-7", |_| {}).unwrap();
    authority.revoke(&name("meter-7"), Reason::KeyCompromise).unwrap();
    assert_eq!(judged(&authority, &issued, Usage::Program), Err(Code::Revoked));
}
