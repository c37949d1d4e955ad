//! chrony, which we did not write, takes the time from us under NTS, and gives it to us.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use nts::client::Heard;
use nts::server::{NakReason, Plain, Settings, Silence, Verdict};
use nts::{CookieError, Fingerprint};
use tests::chrony::{Chrony, IN_THE_END};
use tests::chronyd::Chronyd;
use tests::hour::{Asker, Clients, Hour, fingerprint_of};
use tests::{Credentials, Network, SOON, wait_until};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A network, alice's certificate for this machine's own address, and what else chrony has to have.
struct Case {
    network: Network,
    alice: Credentials,
}

impl Case {
    fn new() -> Self {
        let network = Network::new();
        let _ = network.enroll("bob");
        let alice = network.forge().node("alice", |draft| {
            if let shared::cert::Subject::Node { ips, .. } = &mut draft.subject {
                ips.push(HERE.into());
            }
        });
        Self { network, alice }
    }

    fn hour(&self, settings: Settings) -> Hour {
        Hour::open(HERE, &self.alice, settings)
    }

    fn trust(&self) -> PathBuf {
        self.network.bundle("bob").join("trust.pem")
    }

    fn chrony(&self) -> Option<Chrony> {
        Chrony::found(self.network.path())
    }
}

fn is_sealed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Sealed { .. })
}

#[test]
fn chrony_takes_the_time_from_us() {
    let case = Case::new();
    let Some(chrony) = case.chrony() else { return };
    let hour = case.hour(Settings::default());
    for ahead_s in [0.0, 3.0] {
        hour.turn((ahead_s * 1e9) as i64);
        let line = format!("nts ntsport {}", hour.exchange().port());
        let off = chrony.asks(&case.trust(), &line);
        assert!((off - ahead_s).abs() < 0.1, "{off}");
    }
    let verdicts = hour.verdicts();
    assert!(verdicts.len() >= 4 && verdicts.iter().all(is_sealed), "{verdicts:?}");
}

#[test]
fn chrony_without_nts_hears_nothing_unless_we_want_it() {
    let case = Case::new();
    let Some(chrony) = case.chrony() else { return };
    let hour = case.hour(Settings { plain: Plain::Answered, rate: None });
    // The port of the time is told in the exchange; who does not exchange has to know it.
    let port = Asker::keyed(hour.exchange(), None).port();
    let _ = chrony.asks(&case.trust(), &format!("port {port}"));
    assert!(hour.verdicts().iter().all(|verdict| matches!(verdict, Verdict::Plain { .. })));
    let strict = case.hour(Settings::default());
    let port = Asker::keyed(strict.exchange(), None).port();
    assert!(chrony.hears_nothing(&case.trust(), &format!("port {port}")));
    let silent = Verdict::Silence(Silence::Plain);
    assert!(!strict.verdicts().is_empty());
    assert!(strict.verdicts().iter().all(|verdict| *verdict == silent));
}

#[test]
fn chrony_refuses_a_certificate_that_is_not_ours() {
    let (case, other) = (Case::new(), Case::new());
    let Some(chrony) = case.chrony() else { return };
    let hour = other.hour(Settings::default());
    let line = format!("nts ntsport {}", hour.exchange().port());
    assert!(chrony.hears_nothing(&case.trust(), &line));
    assert_eq!(hour.verdicts(), []);
}

#[test]
fn chrony_survives_that_we_lose_our_keys_and_stops_when_it_is_left_out() {
    let case = Case::new();
    let Some(chrony) = case.chrony() else { return };
    let hour = case.hour(Settings { plain: Plain::Refused, rate: None });
    let _chrony = chrony.follows(&case.trust(), hour.exchange().port());
    let count = |wanted: fn(&Verdict) -> bool| hour.verdicts().iter().filter(|v| wanted(v)).count();
    wait_until("eight answers for chrony", IN_THE_END, || count(is_sealed) >= 8);
    hour.forget();
    let foreign = |verdict: &Verdict| {
        matches!(verdict, Verdict::Nak { why: NakReason::Cookie(CookieError::Foreign(_)), .. })
    };
    wait_until("a negative acknowledgement", IN_THE_END, || count(foreign) >= 1);
    let before = count(is_sealed);
    wait_until("new keys for chrony", IN_THE_END, || count(is_sealed) >= before + 4);
    hour.revoke(Fingerprint::NONE);
    let left_out =
        |verdict: &Verdict| *verdict == Verdict::Silence(Silence::NotAdmitted(Fingerprint::NONE));
    wait_until("silence for chrony", IN_THE_END, || count(left_out) >= 4);
    assert!(hour.verdicts().iter().rev().take(4).all(left_out));
}

#[test]
fn a_member_that_is_revoked_hears_nothing_from_the_next_question_on() {
    let case = Case::new();
    let _ = case.network.enroll("carol");
    let hour = Hour::open_for(Clients::Certified, HERE, &case.alice, Settings::default());
    let [mut bob, mut carol] = ["bob", "carol"].map(|node| {
        let credentials = Credentials::of_bundle(&case.network.bundle(node));
        Asker::keyed(hour.exchange(), Some(&credentials))
    });
    assert!(matches!(bob.ask(), Some(Ok(Heard::Sample(_)))));
    // The same for the other certificate that the same key can have.
    let twin = Credentials::of_bundle(&case.network.bundle("bob")).twin();
    hour.revoke(fingerprint_of(&twin.chain[0]));
    assert_eq!(bob.ask(), None);
    assert!(matches!(carol.ask(), Some(Ok(Heard::Sample(_)))));
    // What is answered is heard before it is written down.
    wait_until("three verdicts", SOON, || hour.verdicts().len() == 3);
    let verdicts = hour.verdicts();
    let silent = |verdict: &&Verdict| matches!(verdict, Verdict::Silence(Silence::NotAdmitted(_)));
    assert_eq!(verdicts.iter().filter(silent).count(), 1);
}

#[test]
fn we_take_the_time_from_chrony() {
    let case = Case::new();
    let Some(chrony) = Chronyd::start(case.network.path(), HERE, Some(&case.alice)) else { return };
    let mut asker = Asker::keyed(chrony.exchange().parse().unwrap(), None);
    for _ in 0..20 {
        let heard = asker.ask().unwrap().unwrap();
        let Heard::Sample(sample) = heard else { panic!("{heard:?}") };
        assert!(sample.is_authentic && sample.stratum == 3, "{sample:?}");
        assert!(sample.offset_ns().abs() < 100_000_000, "{}", sample.offset_ns());
        assert_eq!(asker.association().cookies(), 8);
    }
    drop(chrony);
}
