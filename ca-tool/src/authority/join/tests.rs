//! Joining by invitation, without sockets: one use, and every way in which it is none.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};

use shared::feed::Reason;
use shared::join::{InvitationId, JoinString, Proof};
use shared::key::{Algorithm, PrivateKey};

use super::super::tests::{Place, key, name};
use super::*;
use crate::authority::{Enrolment, Invite};

const HERE: Exporter = [1; 32];
const ELSEWHERE: Exporter = [2; 32];
const BOB: &str = "192.0.2.5:40000";

fn invite(authority: &Authority, hold: bool) -> JoinString {
    let wish = Enrolment::new(name("bob")).unwrap();
    let addresses = vec!["192.0.2.1:7443".to_owned()];
    let invite = Invite { wish, open_s: 600, hold, addresses };
    authority.invite(&invite).unwrap().0
}

fn request(string: &JoinString, key: &PrivateKey) -> JoinRequest {
    let csr = request::make(key, "eve").unwrap();
    let proof = string.secret.proof_key().unwrap().prove_request(&HERE, &csr);
    JoinRequest { invitation: string.secret.id().unwrap(), csr, proof }
}

fn join(
    authority: &Authority,
    string: &JoinString,
    key: &PrivateKey,
    from: &str,
) -> Result<Joined, Failure> {
    authority.join(&request(string, key), &HERE, from, &Surroundings::default())
}

fn code(outcome: Result<Joined, Failure>) -> Code {
    outcome.map(|joined| joined.issued.node).unwrap_err().code
}

fn state(authority: &Authority) -> String {
    authority.invitations().unwrap().last().unwrap().state.to_string()
}

fn log_has(authority: &Authority, act: &str, part: &str) -> bool {
    let log = authority.store().log().unwrap();
    log.iter().any(|record| record.act == act && record.detail.contains(part))
}

#[test]
fn whoever_holds_the_secret_becomes_the_invited_and_nobody_else() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, false);
    assert_eq!(JoinString::parse(&string.reveal()), Ok(string.clone()));
    let bob = key();
    let joined = join(&authority, &string, &bob, BOB).unwrap();
    assert_eq!(joined.issued.node, name("bob"), "and not what the request calls itself");
    let grant = Grant::from_bytes(&joined.answer.grant).unwrap();
    let cert = NodeCert::read(&grant.chain[0]).unwrap();
    assert_eq!(cert.public, *bob.public());
    let proof_key = string.secret.proof_key().unwrap();
    assert!(proof_key.admits_grant(&joined.answer.proof, &HERE, &joined.answer.grant));
    assert!(!proof_key.admits_grant(&joined.answer.proof, &ELSEWHERE, &joined.answer.grant));
    assert_eq!(state(&authority), "used");
    assert!(log_has(&authority, "join", BOB));
}

#[test]
fn the_same_key_is_given_the_same_certificate_again_and_another_key_nothing() {
    let (place, authority) = Place::new();
    let string = invite(&authority, false);
    let bob = key();
    let first = join(&authority, &string, &bob, BOB).unwrap();
    let again = join(&authority, &string, &bob, BOB).unwrap();
    assert!(again.again && again.issued.serial == first.issued.serial);
    let refused = join(&authority, &string, &key(), "198.51.100.9:1").unwrap_err();
    assert_eq!(refused.code, Code::UsedInvitation);
    assert!(refused.text.contains(BOB), "{refused}");
    place.later(8 * 86_400);
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::ExpiredInvitation);
}

#[test]
fn a_second_use_is_an_event_with_both_addresses_and_bounded() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, false);
    join(&authority, &string, &key(), BOB).unwrap();
    let thief = "198.51.100.9:1";
    for _ in 0..40 {
        assert!(join(&authority, &string, &key(), thief).is_err());
    }
    let log = authority.store().log().unwrap();
    let events: Vec<_> = log.iter().filter(|record| record.act == "second-use").collect();
    assert_eq!(events.len(), 16);
    assert!(events[0].detail.contains(BOB) && events[0].detail.contains(thief));
    assert_eq!(authority.invitations().unwrap()[0].refused, 16);
}

#[test]
fn a_crowd_with_one_string_gets_one_certificate() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, false);
    let start = Arc::new(Barrier::new(16));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let one = |_| {
            let (start, authority, string) = (Arc::clone(&start), &authority, &string);
            scope.spawn(move || {
                let key = key();
                start.wait();
                join(authority, string, &key, BOB)
            })
        };
        let threads: Vec<_> = (0..16).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let (_, certs) = authority.node(&name("bob")).unwrap();
    assert_eq!(certs.len(), 1);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        let known = [Code::UsedInvitation, Code::NameTaken, Code::Unavailable];
        assert!(known.contains(&refused.code), "{refused}");
    }
}

#[test]
fn a_wrong_secret_a_foreign_connection_and_a_changed_request_are_refused() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, false);
    let good = request(&string, &key());
    let around = Surroundings::default();
    let ask =
        |request: &JoinRequest, exporter| code(authority.join(request, exporter, BOB, &around));
    let unknown: InvitationId = shared::join::Secret::new([9; 32]).id().unwrap();
    assert_eq!(
        ask(&JoinRequest { invitation: unknown, ..good.clone() }, &HERE),
        Code::UnknownInvitation
    );
    assert_eq!(ask(&good, &ELSEWHERE), Code::WrongProof);
    let csr = request::make(&key(), "bob").unwrap();
    assert_eq!(ask(&JoinRequest { csr, ..good.clone() }, &HERE), Code::WrongProof);
    let proof: Proof =
        shared::join::Secret::new([9; 32]).proof_key().unwrap().prove_request(&HERE, &good.csr);
    assert_eq!(ask(&JoinRequest { proof, ..good.clone() }, &HERE), Code::WrongProof);
    assert_eq!(state(&authority), "open", "nothing of this spends it");
    assert!(authority.join(&good, &HERE, BOB, &around).is_ok());
}

#[test]
fn a_hostile_request_certifies_nothing_but_its_key() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, false);
    let around = Surroundings::default();
    let ask = |csr: Vec<u8>| {
        let proof = string.secret.proof_key().unwrap().prove_request(&HERE, &csr);
        let request = JoinRequest { invitation: string.secret.id().unwrap(), csr, proof };
        authority.join(&request, &HERE, BOB, &around)
    };
    assert_eq!(code(ask(Vec::new())), Code::Malformed);
    assert_eq!(code(ask(vec![0x30; 1 << 20])), Code::Malformed);
    let mut unproven = request::make(&key(), "bob").unwrap();
    let last = unproven.len() - 1;
    unproven[last] ^= 1;
    assert_eq!(code(ask(unproven)), Code::Malformed);
    let weak = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let params = rcgen::CertificateParams::new(vec!["bob.mesh.example".to_owned()]).unwrap();
    assert_eq!(code(ask(params.serialize_request(&weak).unwrap().der().to_vec())), Code::BadKey);
    let greedy = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["alice.mesh.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let joined = ask(params.serialize_request(&greedy).unwrap().der().to_vec()).unwrap();
    let cert = NodeCert::read(&joined.issued.chain[0]).unwrap();
    assert_eq!((cert.node, cert.attributes.roles.len()), (name("bob"), 0));
}

#[test]
fn the_key_of_another_or_a_revoked_node_does_not_join() {
    let (_place, authority) = Place::new();
    let alices = key();
    let wish = Enrolment::new(name("alice")).unwrap();
    authority.enroll(&wish, Holder::Private(&alices)).unwrap();
    let string = invite(&authority, false);
    assert_eq!(code(join(&authority, &string, &alices, BOB)), Code::BadKey);
    let bobs = key();
    join(&authority, &string, &bobs, BOB).unwrap();
    authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    assert_eq!(code(join(&authority, &string, &bobs, BOB)), Code::Revoked);
    let second = invite(&authority, false);
    assert_eq!(code(join(&authority, &second, &bobs, BOB)), Code::BadKey);
    assert!(join(&authority, &second, &key(), BOB).is_ok(), "a new key under a new invitation");
}

#[test]
fn an_invitation_ends_is_taken_back_and_gives_way_to_a_newer_one() {
    let (place, authority) = Place::new();
    let first = invite(&authority, false);
    let second = invite(&authority, false);
    assert_eq!(code(join(&authority, &first, &key(), BOB)), Code::WithdrawnInvitation);
    place.later(600);
    assert_eq!(code(join(&authority, &second, &key(), BOB)), Code::ExpiredInvitation);
    let third = invite(&authority, false);
    assert_eq!(authority.uninvite(&name("bob")).unwrap().state, "withdrawn");
    assert_eq!(code(join(&authority, &third, &key(), BOB)), Code::WithdrawnInvitation);
    let nobody = authority.uninvite(&name("bob"));
    assert!(matches!(nobody, Err(CaError::NoInvitation { .. })));
    place.later(31 * 86_400);
    let last = invite(&authority, false);
    assert_eq!(authority.invitations().unwrap().len(), 1, "the others are forgotten");
    assert_eq!(code(join(&authority, &first, &key(), BOB)), Code::UnknownInvitation);
    assert!(join(&authority, &last, &key(), BOB).is_ok());
}

#[test]
fn a_held_one_waits_for_a_person_who_says_yes() {
    let (_place, authority) = Place::new();
    let string = invite(&authority, true);
    let bob = key();
    assert!(matches!(authority.approve(&name("bob")), Err(CaError::NoInvitation { .. })));
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Waiting);
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Waiting);
    assert_eq!(code(join(&authority, &string, &key(), "198.51.100.9:1")), Code::UsedInvitation);
    let view = authority.invitations().unwrap().pop().unwrap();
    assert_eq!((view.state.as_ref(), view.from.as_deref()), ("waiting", Some(BOB)));
    assert_eq!(view.spki, Some(bob.public().spki_hash().to_string()));
    authority.approve(&name("bob")).unwrap();
    assert!(join(&authority, &string, &bob, BOB).is_ok());
}

#[test]
fn a_held_one_waits_for_a_person_who_says_no_or_nothing() {
    let (place, authority) = Place::new();
    let string = invite(&authority, true);
    let bob = key();
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Waiting);
    authority.deny(&name("bob")).unwrap();
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Denied);
    let string = invite(&authority, true);
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Waiting);
    place.later(6 * 86_400);
    assert!(authority.approve(&name("bob")).is_err());
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::ExpiredInvitation);
}

#[test]
fn a_crash_at_the_claim_leaves_the_string_to_the_same_key() {
    let (place, authority) = Place::new();
    let string = invite(&authority, false);
    let bob = key();
    authority.dies_after_intent.store(true, Ordering::Relaxed);
    assert_eq!(code(join(&authority, &string, &bob, BOB)), Code::Unavailable);
    drop(authority);
    let authority = place.open();
    assert_eq!(state(&authority), "interrupted");
    assert_eq!(code(join(&authority, &string, &key(), BOB)), Code::UsedInvitation);
    let joined = join(&authority, &string, &bob, BOB).unwrap();
    assert!(!joined.again);
    assert_eq!(state(&authority), "used");
}

#[test]
fn invitations_survive_a_restart_and_no_secret_is_in_the_store() {
    let (place, authority) = Place::new();
    let string = invite(&authority, false);
    let store = std::fs::read(authority.layout().store()).unwrap();
    let key_bytes = string.secret.proof_key().unwrap();
    for secret in [string.secret.as_bytes(), key_bytes.as_bytes()] {
        assert!(!store.windows(32).any(|window| window == secret));
    }
    drop(authority);
    assert!(join(&place.open(), &string, &key(), BOB).is_ok());
}

#[test]
fn who_may_not_be_enrolled_is_not_invited() {
    let (_place, authority) = Place::new();
    let invite = |node: &str, open_s| {
        let wish = Enrolment::new(name(node)).unwrap();
        authority.invite(&Invite { wish, open_s, hold: false, addresses: Vec::new() }).map(drop)
    };
    assert!(matches!(invite("authority", 60), Err(CaError::ReservedName { .. })));
    assert!(invite("bob", 9).is_err() && invite("bob", 91 * 86_400).is_err());
    let wish = Enrolment::new(name("bob")).unwrap();
    authority.enroll(&wish, Holder::Private(&key())).unwrap();
    assert!(matches!(invite("bob", 60), Err(CaError::AlreadyEnrolled { .. })));
    authority.suspend(&name("bob")).unwrap();
    assert!(matches!(invite("bob", 60), Err(CaError::Suspended { .. })));
}

#[test]
fn a_certificate_renews_until_its_grace_is_over_and_never_after_a_revocation() {
    let (place, authority) = Place::new();
    let around = Surroundings::default();
    let enrolled = |node: &str| {
        let wish = Enrolment::new(name(node)).unwrap();
        authority.enroll(&wish, Holder::Private(&key())).unwrap().chain
    };
    let renew = |chain: &[Vec<u8>], grace_s| {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let csr = request::make(&key(), "eve").unwrap();
        let renewed = authority.renew_presented(&chain, &csr, grace_s, &around);
        renewed.map(|(issued, _)| issued.node).map_err(|failure| failure.code)
    };
    let (bob, carol) = (enrolled("bob"), enrolled("carol"));
    assert_eq!(renew(&bob, 0), Ok(name("bob")));
    assert_eq!(renew(&[], 0), Err(Code::NoCertificate));
    assert_eq!(renew(&bob[..1], 0), Err(Code::NoCertificate), "without its issuer");
    place.later(8 * 86_400);
    assert_eq!(renew(&bob, 86_399), Err(Code::TooLate));
    assert_eq!(renew(&bob, 2 * 86_400), Ok(name("bob")));
    authority.suspend(&name("carol")).unwrap();
    assert_eq!(renew(&carol, 2 * 86_400), Err(Code::Suspended));
    authority.resume(&name("carol")).unwrap();
    assert_eq!(renew(&carol, 2 * 86_400), Ok(name("carol")));
    authority.revoke(&name("carol"), Reason::Unspecified).unwrap();
    assert_eq!(renew(&carol, 2 * 86_400), Err(Code::Revoked));
}

#[test]
fn every_algorithm_joins() {
    for algorithm in Algorithm::ALL {
        let (_place, authority) = Place::new();
        let string = invite(&authority, false);
        let key = PrivateKey::generate(algorithm).unwrap();
        assert!(join(&authority, &string, &key, BOB).is_ok(), "{algorithm}");
    }
}
