//! The authority as a whole, on a real store: rules, crashes, crowds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use host::seal::Cost;
use shared::cert::request;
use shared::feed::{Act, ChainIds, LeafIds, Reason, RevocationSet, Status, read_file};
use shared::key::Algorithm;
use shared::limits::FEED_DELTA_MAX;

use super::*;
use crate::store::Reads;

pub(super) struct Place {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    seconds: Arc<AtomicI64>,
}

const START: i64 = 1_795_000_000;

impl Place {
    pub(super) fn new() -> (Self, Authority) {
        Self::with(Algorithm::P256)
    }

    fn with(algorithm: Algorithm) -> (Self, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let seconds = Arc::new(AtomicI64::new(START));
        let place = Self { _folder: folder, path, seconds };
        let network = NetworkName::parse("mesh.example").unwrap();
        let passphrase = Some(Passphrase::new("a good passphrase").unwrap());
        let clock = place.clock();
        let init = Init { network, algorithm, passphrase, cost: Cost::TEST, clock };
        Authority::init(&place.path, &init).unwrap();
        let authority = place.open();
        (place, authority)
    }

    fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.seconds);
        Arc::new(move || Timestamp::from_s(seconds.load(Ordering::Relaxed)))
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock())()
    }

    pub(super) fn later(&self, s: i64) {
        self.seconds.fetch_add(s, Ordering::Relaxed);
    }

    pub(super) fn open(&self) -> Authority {
        let registry = Registry::open(&self.path, |_| {}).unwrap().with_clock(self.clock());
        registry.unlock(|| Passphrase::new("a good passphrase")).unwrap()
    }
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub(super) fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::P256).unwrap()
}

pub(super) fn enroll(authority: &Authority, node: &str) -> Result<Issued, CaError> {
    let wish = Enrolment::new(name(node)).unwrap();
    authority.enroll(&wish, Holder::Private(&key()))
}

fn judged(authority: &Authority, issued: &Issued) -> Option<Status> {
    let set = RevocationSet::clone(&authority.ledger().unwrap().set);
    judge(&set, authority, issued)
}

fn judge(set: &RevocationSet, authority: &Authority, issued: &Issued) -> Option<Status> {
    let cert = shared::cert::NodeCert::read(&issued.chain[0]).unwrap();
    let leaf = LeafIds {
        issuer: authority.signer().cert().key_id,
        serial: cert.serial,
        spki: cert.spki,
        node: cert.node,
        not_before: cert.not_before,
    };
    set.judge(&ChainIds { leaf, issuers: Vec::new() }).map(|mark| mark.status)
}

#[test]
fn a_name_is_enrolled_once_while_it_lives() {
    let (place, authority) = Place::new();
    let first = enroll(&authority, "bob").unwrap();
    let again = enroll(&authority, "bob").unwrap_err();
    assert!(matches!(again, CaError::AlreadyEnrolled { .. }));
    assert!(again.hint().unwrap().contains("renew bob"));
    place.later(7 * 86_400);
    assert_ne!(enroll(&authority, "bob").unwrap().serial, first.serial, "it had expired");
}

#[test]
fn reserved_names_and_roles_are_refused() {
    let (_place, authority) = Place::new();
    assert!(matches!(enroll(&authority, "authority"), Err(CaError::ReservedName { .. })));
    assert!(authority.renew(&name("authority"), None).is_err());
    assert!(authority.revoke(&name("authority"), Reason::Unspecified).is_err());
    let mut wish = Enrolment::new(name("bob")).unwrap();
    wish.roles.insert(Label::parse("authority").unwrap());
    let refused = authority.enroll(&wish, Holder::Private(&key()));
    assert!(matches!(refused, Err(CaError::ReservedRole { .. })));
}

#[test]
fn what_the_profile_or_the_network_forbids_is_refused() {
    let (_place, authority) = Place::new();
    let wish = |change: fn(&mut Enrolment)| {
        let mut wish = Enrolment::new(name("bob")).unwrap();
        change(&mut wish);
        authority.enroll(&wish, Holder::Private(&key())).map(drop)
    };
    let life = |result| matches!(result, Err(CaError::Life { .. }));
    assert!(life(wish(|w| w.life_s = Some(3_599))));
    assert!(life(wish(|w| w.life_s = Some(90 * 86_400 + 1))));
    for dns in ["bob.other.example", "mesh.example", "xmesh.example", "*.mesh.example", ""] {
        let mut named = Enrolment::new(name("bob")).unwrap();
        named.dns.push(dns.to_owned());
        let refused = authority.enroll(&named, Holder::Private(&key()));
        assert!(matches!(refused, Err(CaError::DnsOutside { .. })), "{dns}");
    }
    assert!(wish(|w| w.profile = Label::parse("root").unwrap()).is_err());
    assert!(wish(|w| w.profile = Label::parse("none").unwrap()).is_err());
    wish(|w| {
        w.dns.push("api.bob.mesh.example".to_owned());
        w.ips.push([127, 0, 0, 1].into());
        w.life_s = Some(90 * 86_400);
    })
    .unwrap();
    let cert = authority.renew(&name("bob"), None).unwrap();
    let cert = shared::cert::NodeCert::read(&cert.chain[0]).unwrap();
    assert_eq!(cert.dns, ["api.bob.mesh.example"]);
    assert_eq!(cert.ips.len(), 1);
}

#[test]
fn a_key_belongs_to_one_node_and_dies_with_it() {
    let (place, authority) = Place::new();
    let mine = key();
    let enroll =
        |node: &str| authority.enroll(&Enrolment::new(name(node)).unwrap(), Holder::Private(&mine));
    enroll("bob").unwrap();
    assert!(matches!(enroll("eve"), Err(CaError::KeyInUse { .. })));
    authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    place.later(1);
    assert!(matches!(enroll("bob"), Err(CaError::KeyBarred { .. })));
    assert!(matches!(enroll("eve"), Err(CaError::KeyInUse { .. })));
}

#[test]
fn a_request_for_an_authority_gives_a_plain_node() {
    let (_place, authority) = Place::new();
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["root.mesh.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let csr = params.serialize_request(&pair).unwrap();
    let proven = request::read(csr.der()).unwrap();
    let wish = Enrolment::new(name("carol")).unwrap();
    let issued = authority.enroll(&wish, Holder::Proven(&proven)).unwrap();
    let cert = shared::cert::NodeCert::read(&issued.chain[0]).unwrap();
    assert_eq!((cert.node.as_str(), cert.dns.len()), ("carol", 0));
    let facts = shared::cert::Facts::read(&issued.chain[0]).unwrap();
    assert_eq!(shared::cert::lint::check(&facts).1, []);
}

#[test]
fn renewal_keeps_the_terms_and_revocation_hits_every_certificate() {
    let (place, authority) = Place::new();
    let mut wish = Enrolment::new(name("bob")).unwrap();
    wish.groups.insert(Label::parse("lab").unwrap());
    let first = authority.enroll(&wish, Holder::Private(&key())).unwrap();
    place.later(86_400);
    let second = authority.renew(&name("bob"), None).unwrap();
    let third = authority.renew(&name("bob"), Some(Holder::Private(&key()))).unwrap();
    let cert = shared::cert::NodeCert::read(&third.chain[0]).unwrap();
    assert!(cert.attributes.groups.contains(&Label::parse("lab").unwrap()));
    let acted = authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    assert_eq!((acted.outcome, acted.number), (Outcome::Done, 1));
    for issued in [&first, &second, &third] {
        assert_eq!(judged(&authority, issued), Some(Status::Revoked));
    }
    assert_eq!(authority.store().read().unwrap().bars().unwrap().len(), 3);
    let entry = authority.ledger().unwrap().feed.entries().pop().unwrap();
    assert_eq!(entry.certs[0].not_after, third.not_after, "newest first");
    assert!(entry.certs.iter().all(|cert| cert.not_after <= entry.expires));
    let again = authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    assert_eq!(again.outcome, Outcome::Already);
    assert_eq!((again.number, again.reason), (1, Reason::KeyCompromise));
    assert!(matches!(authority.renew(&name("bob"), None), Err(CaError::Revoked { .. })));
}

#[test]
fn a_certificate_of_half_a_minute_is_not_due_when_it_is_made() {
    let (place, authority) = Place::new();
    let path = authority.layout().profile("node");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shipped = include_str!("../../../pki/profiles/node.yaml");
    let text = shipped.replace("life: 7d", "life: 30s").replace("life-min: 1h", "life-min: 30s");
    std::fs::write(&path, text).unwrap();
    let now = authority.now();
    let short = enroll(&authority, "bob").unwrap();
    assert_eq!(short.not_before.s(), now.plus_s(-2).s(), "a twelfth, not five minutes");
    assert_eq!(short.not_after.s(), now.plus_s(30).s());
    std::fs::write(&path, shipped).unwrap();
    assert_eq!(enroll(&authority, "carol").unwrap().not_before.s(), now.plus_s(-300).s());
    // Near the issuer's end every certificate is short, whatever its profile says.
    let left_s = authority.signer().cert().not_after.s() - now.s();
    place.later(left_s - 120);
    let last = enroll(&authority, "dave").unwrap();
    assert_eq!(last.not_before.s(), authority.now().plus_s(-10).s());
    assert_eq!(last.not_after.s(), authority.signer().cert().not_after.s());
}

#[test]
fn a_revoked_name_starts_again_with_certificates_that_begin_later() {
    let (_place, authority) = Place::new();
    let old = enroll(&authority, "bob").unwrap();
    authority.suspend(&name("bob")).unwrap();
    authority.revoke(&name("bob"), Reason::Superseded).unwrap();
    let new = enroll(&authority, "bob").unwrap();
    assert_eq!(judged(&authority, &old), Some(Status::Revoked));
    assert_eq!(judged(&authority, &new), None, "neither the revocation nor the hold before it");
    assert_eq!(new.not_before, Timestamp::from_s(START + 1));
    authority.revoke(&name("bob"), Reason::Superseded).unwrap();
    assert_eq!(judged(&authority, &new), Some(Status::Revoked), "by serial, in the same second");
}

#[test]
fn a_hold_is_lifted_and_a_revocation_is_not() {
    let (_place, authority) = Place::new();
    let bob = enroll(&authority, "bob").unwrap();
    assert!(matches!(authority.resume(&name("bob")), Err(CaError::NotSuspended { .. })));
    assert_eq!(authority.suspend(&name("bob")).unwrap().outcome, Outcome::Done);
    assert_eq!(authority.suspend(&name("bob")).unwrap().outcome, Outcome::Already);
    assert_eq!(judged(&authority, &bob), Some(Status::Suspended));
    assert!(matches!(authority.renew(&name("bob"), None), Err(CaError::Suspended { .. })));
    assert!(matches!(enroll(&authority, "bob"), Err(CaError::Suspended { .. })));
    assert_eq!(authority.store().read().unwrap().bars().unwrap().len(), 1);
    authority.resume(&name("bob")).unwrap();
    assert_eq!(judged(&authority, &bob), None);
    assert!(authority.store().read().unwrap().bars().unwrap().is_empty());
    authority.suspend(&name("bob")).unwrap();
    authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    for refused in [authority.suspend(&name("bob")), authority.resume(&name("bob"))] {
        assert!(matches!(refused, Err(CaError::Revoked { .. })));
    }
    let bars = authority.store().read().unwrap().bars().unwrap();
    assert_eq!(bars[0].reason, Reason::Unspecified);
    assert!(matches!(authority.suspend(&name("eve")), Err(CaError::NotEnrolled { .. })));
}

#[test]
fn a_peer_believes_the_feed_after_a_restart_too() {
    for algorithm in Algorithm::ALL {
        let (place, authority) = Place::with(algorithm);
        let bob = enroll(&authority, "bob").unwrap();
        authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
        drop(authority);
        let authority = place.open();
        authority.refresh_feed().unwrap();
        let mut feed = shared::feed::Feed::empty(authority.network().clone());
        let file = std::fs::read(authority.layout().feed()).unwrap();
        let anchors = authority.anchors();
        let mut set = RevocationSet::default();
        feed.apply(read_file(&file).unwrap(), &set.clone(), anchors, authority.now())
            .unwrap()
            .apply_to(&mut set);
        assert_eq!(judge(&set, &authority, &bob), Some(Status::Revoked));
        assert_eq!(feed.position(), authority.feed_position().unwrap());
    }
}

#[test]
fn a_crash_between_intent_and_certificate_forgets_nothing() {
    let (place, authority) = Place::new();
    authority.dies_after_intent.store(true, Ordering::Relaxed);
    let lost = key();
    let wish = Enrolment::new(name("bob")).unwrap();
    assert!(authority.enroll(&wish, Holder::Private(&lost)).is_err());
    drop(authority);
    let authority = place.open();
    let leftovers = authority.leftovers().unwrap();
    assert_eq!(leftovers.len(), 1);
    assert_eq!(leftovers[0].spki, lost.public().spki_hash());
    let wish = Enrolment::new(name("eve")).unwrap();
    let stolen = authority.enroll(&wish, Holder::Private(&lost));
    assert!(matches!(stolen, Err(CaError::KeyInUse { .. })));
    enroll(&authority, "bob").unwrap();
    authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    let entry = authority.ledger().unwrap().feed.entries().pop().unwrap();
    assert_eq!(entry.certs.len(), 2, "the certificate and the one that may exist");
    assert!(entry.certs.iter().any(|cert| cert.serial == leftovers[0].serial));
    assert_eq!(authority.store().verify_log().unwrap(), Ok(5));
    drop(authority);
    assert_eq!(place.open().store().log().unwrap().len(), 5, "noted once");
}

#[test]
fn a_node_that_never_got_its_certificate_can_be_revoked() {
    let (place, authority) = Place::new();
    authority.dies_after_intent.store(true, Ordering::Relaxed);
    assert!(enroll(&authority, "bob").is_err());
    drop(authority);
    let authority = place.open();
    assert!(matches!(authority.suspend(&name("bob")), Err(CaError::NotEnrolled { .. })));
    authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    assert_eq!(authority.ledger().unwrap().feed.entries()[0].certs.len(), 1);
    enroll(&authority, "bob").unwrap();
    place.later(8 * 86_400);
    drop(authority);
    assert!(place.open().leftovers().unwrap().is_empty(), "expired, and forgotten");
}

#[test]
fn files_beside_the_store_are_mended() {
    let (place, authority) = Place::new();
    enroll(&authority, "bob").unwrap();
    let old = std::fs::read(authority.layout().feed()).unwrap();
    authority.revoke(&name("bob"), Reason::Unspecified).unwrap();
    let feed = authority.layout().feed();
    let new = std::fs::read(&feed).unwrap();
    assert_ne!(old, new);
    std::fs::write(&feed, old).unwrap();
    std::fs::remove_file(authority.layout().crl()).unwrap();
    assert!(!authority.projections_are_current().unwrap());
    drop(authority);
    let authority = place.open();
    assert!(authority.projections_are_current().unwrap());
    assert_eq!(std::fs::read(&feed).unwrap(), new, "the very head that was committed");
}

#[test]
fn sixteen_threads_at_once_repeat_nothing() {
    let (_place, authority) = Place::new();
    let serials: BTreeSet<Serial> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..16)
            .map(|thread| {
                let authority = &authority;
                scope.spawn(move || {
                    (0..8)
                        .map(|n| enroll(authority, &format!("n{thread}-{n}")).unwrap().serial)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(serials.len(), 128);
    assert_eq!(authority.nodes().unwrap().len(), 129, "and the authority itself");
    assert!(authority.store().read().unwrap().intents().unwrap().is_empty());
    assert_eq!(authority.store().verify_log().unwrap(), Ok(130));
}

#[test]
fn a_node_that_is_revoked_while_threads_renew_it_stays_out() {
    let (_place, authority) = Place::new();
    enroll(&authority, "bob").unwrap();
    let issued: Vec<Issued> = std::thread::scope(|scope| {
        let renewing = scope.spawn(|| {
            let mut issued = Vec::new();
            loop {
                match authority.renew(&name("bob"), None) {
                    Ok(one) => issued.push(one),
                    Err(CaError::Revoked { .. }) => return issued,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        std::thread::yield_now();
        authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
        renewing.join().unwrap()
    });
    for one in &issued {
        assert_eq!(judged(&authority, one), Some(Status::Revoked));
    }
}

#[test]
fn a_snapshot_keeps_revocations_and_holds_and_forgets_the_expired() {
    let (place, authority) = Place::new();
    let bob = enroll(&authority, "bob").unwrap();
    let held = enroll(&authority, "held").unwrap();
    enroll(&authority, "turned").unwrap();
    authority.revoke(&name("bob"), Reason::KeyCompromise).unwrap();
    authority.suspend(&name("held")).unwrap();
    for _ in 0..FEED_DELTA_MAX / 2 {
        authority.suspend(&name("turned")).unwrap();
        authority.resume(&name("turned")).unwrap();
    }
    let entries = authority.ledger().unwrap().feed.entries();
    assert!(entries.len() < 8, "pairs of holds and resumes are gone: {}", entries.len());
    assert!(authority.ledger().unwrap().feed.base() > 0);
    drop(authority);
    let authority = place.open();
    assert_eq!(judged(&authority, &bob), Some(Status::Revoked));
    assert_eq!(judged(&authority, &held), Some(Status::Suspended));
    place.later(91 * 86_400);
    for _ in 0..FEED_DELTA_MAX / 2 {
        authority.suspend(&name("turned")).unwrap();
        authority.resume(&name("turned")).unwrap();
    }
    let entries = authority.ledger().unwrap().feed.entries();
    assert!(entries.iter().all(|entry| entry.node != name("bob")), "expired");
    assert!(entries.iter().any(|e| e.node == name("held") && e.act == Act::Suspend), "on hold");
}

#[test]
fn a_clock_that_fell_back_signs_nothing() {
    let (place, authority) = Place::new();
    place.later(-301);
    assert!(matches!(enroll(&authority, "bob"), Err(CaError::ClockBehind { .. })));
    let acted = authority.revoke(&name("bob"), Reason::Unspecified);
    assert!(matches!(acted, Err(CaError::ClockBehind { .. })));
    place.later(1);
    enroll(&authority, "bob").unwrap();
}

#[test]
fn nothing_outlives_its_issuer() {
    let (place, authority) = Place::new();
    place.later(2 * 31_536_000 - 86_400);
    let bob = enroll(&authority, "bob").unwrap();
    assert_eq!(bob.not_after, authority.signer().cert().not_after);
    place.later(86_400);
    assert!(matches!(enroll(&authority, "eve"), Err(CaError::IssuerExpired { .. })));
}

#[test]
fn the_identity_is_renewed_when_two_thirds_have_passed() {
    let (place, authority) = Place::new();
    let first = authority.identity().unwrap();
    place.later(19 * 86_400);
    let second = authority.identity().unwrap();
    assert_eq!(first.chain, second.chain);
    assert_eq!((first.boot, second.boot), (1, 2));
    place.later(2 * 86_400);
    assert_ne!(authority.identity().unwrap().chain, first.chain);
    std::fs::remove_file(authority.layout().identity_key()).unwrap();
    let made = authority.identity().unwrap();
    assert_ne!(made.key.public(), first.key.public());
    let cert = shared::cert::NodeCert::read(&made.chain[0]).unwrap();
    assert!(cert.attributes.has_role(AUTHORITY_ROLE));
    assert!(cert.usages.server && cert.usages.client);
}

#[test]
fn a_wrong_passphrase_and_a_folder_without_authority_are_refused() {
    let (place, authority) = Place::new();
    drop(authority);
    let refused = Authority::open(&place.path, || Passphrase::new("another passphrase"));
    assert!(matches!(refused, Err(CaError::Seal(_))));
    let nowhere = place.path.join("nowhere");
    assert!(matches!(Registry::open(&nowhere, |_| {}), Err(CaError::NoAuthority { .. })));
    let network = NetworkName::parse("mesh.example").unwrap();
    let again = Authority::init(&place.path, &Init::new(network, Algorithm::P256, None));
    assert!(matches!(again, Err(CaError::Exists { .. })));
}

fn quiet(label: &str) -> shared::policy::Policy {
    let mut draft = shared::policy::Policy::built_in();
    draft.rules[0].name = Label::parse(label).unwrap();
    draft
}

#[test]
fn policies_are_numbered_kept_and_on_the_record() {
    let (place, authority) = Place::new();
    assert_eq!(authority.policy().unwrap(), None);
    let same = authority.push_policy(&shared::policy::Policy::built_in()).unwrap_err();
    assert!(matches!(same, CaError::PolicySame { number: 0 }));
    let first = authority.push_policy(&quiet("one")).unwrap();
    place.later(60);
    let second = authority.push_policy(&quiet("two")).unwrap();
    assert_eq!((first.policy.number, second.policy.number), (1, 2));
    assert!(first.policy.at < second.policy.at);
    let again = authority.push_policy(&quiet("two")).unwrap_err();
    assert!(matches!(again, CaError::PolicySame { number: 2 }));
    drop(authority);
    let authority = place.open();
    assert_eq!(authority.policy().unwrap(), Some(second));
    assert_eq!(authority.push_policy(&quiet("one")).unwrap().policy.number, 3);
    let log = authority.store().log().unwrap();
    let acts: Vec<&str> = log.iter().filter(|r| r.act == "policy").map(|r| &*r.detail).collect();
    assert_eq!(acts.len(), 3);
    assert!(acts[2].starts_with("number 3, rules 1, quotas 0, SHA-256 "), "{acts:?}");
    assert!(authority.store().verify_log().unwrap().is_ok());
}

#[test]
fn a_policy_that_contradicts_itself_changes_nothing() {
    let (_place, authority) = Place::new();
    let mut draft = quiet("one");
    draft.rules.push(draft.rules[0].clone());
    assert!(matches!(authority.push_policy(&draft), Err(CaError::Policy(_))));
    assert_eq!(authority.policy().unwrap(), None);
    assert!(authority.store().log().unwrap().iter().all(|record| record.act != "policy"));
}

#[test]
fn a_bundle_carries_the_policy_there_is() {
    let (place, authority) = Place::new();
    let write = |node: &str| {
        let key = key();
        let wish = Enrolment::new(name(node)).unwrap();
        let issued = authority.enroll(&wish, Holder::Private(&key)).unwrap();
        let path = place.path.with_file_name(node);
        let settings = crate::bundle::NodeSettings::default();
        let grant = authority.grant(&issued, &Surroundings::default()).unwrap();
        crate::bundle::write(&path, &grant, &key, &settings).unwrap();
        std::fs::read(path.join("policy")).ok()
    };
    assert_eq!(write("alice"), None);
    let pushed = authority.push_policy(&quiet("one")).unwrap();
    assert_eq!(write("bob"), Some(pushed.bytes));
}
