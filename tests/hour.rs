//! The time, from peers that really run: who hears it, who does not any more, and what chrony says.

use nts::client::{Heard, Refused};
use tests::chrony::{Chrony, IN_THE_END};
use tests::hour::Asker;
use tests::teller::{self, BOTH};
use tests::{Credentials, Network, Peer, SOON, Teller, wait_until};

/// A network with bob and carol, and alice who tells the time on this machine's own address.
struct Case {
    network: Network,
}

impl Case {
    fn new() -> Self {
        let network = Network::new();
        network.ca("enroll alice --ip 127.0.0.1 --out alice.bundle");
        network.ca("enroll bob --out bob.bundle");
        network.ca("enroll carol --out carol.bundle");
        Self { network }
    }

    /// Alice, with this in the section `time:` of her node.yaml, and both doors.
    fn alice(&self, time: &str) -> Teller {
        self.teller(time, &BOTH)
    }

    /// The same with these doors.
    fn teller(&self, time: &str, doors: &[&str]) -> Teller {
        let bundle = self.network.bundle("alice");
        teller::set(&bundle, time);
        Teller::start(&bundle, doors)
    }

    fn credentials(&self, node: &str) -> Credentials {
        Credentials::of_bundle(&self.network.bundle(node))
    }

    /// Something that the authority does, and alice learns.
    fn decided(&self, line: &str, alice: &Teller) {
        self.network.ca(line);
        self.network.ca("feed export --out mesh.feed");
        let file = self.network.path().join("mesh.feed");
        let _ = alice.peer.ask("feed import", &[file.to_str().unwrap()]).ended(0);
    }

    fn trust(&self) -> std::path::PathBuf {
        self.network.bundle("bob").join("trust.pem")
    }
}

fn has_the_time(asker: &mut Asker) {
    let heard = asker.ask();
    let Some(Ok(Heard::Sample(sample))) = heard else { panic!("{heard:?}") };
    assert!(sample.is_authentic && sample.stratum == 10, "{sample:?}");
    assert!(sample.offset_ns().abs() < 50_000_000, "{}", sample.offset_ns());
}

#[test]
fn chrony_takes_the_time_from_a_peer() {
    let case = Case::new();
    let Some(chrony) = Chrony::found(case.network.path()) else { return };
    let alice = case.alice("local: true");
    let line = format!("nts ntsport {}", alice.exchange.port());
    let off = chrony.asks(&case.trust(), &line);
    assert!(off.abs() < 0.05, "{off}");
    let sealed = alice.counted("time_answers_sealed");
    assert!(sealed >= 2, "{sealed}");
    assert_eq!(alice.counted("time_questions"), sealed);
    let running = chrony.follows(&case.trust(), alice.exchange.port());
    let before = alice.counted("time_questions");
    wait_until("chrony asks", IN_THE_END, || alice.counted("time_questions") >= before + 8);
    if let Some(said) = running.report("authdata") {
        let row = said.lines().find(|line| line.starts_with("127.0.0.1")).unwrap_or_default();
        let words: Vec<&str> = row.split_whitespace().collect();
        // Mode, key, type (AES-SIV-CMAC-256) and length of the key.
        assert_eq!(words.get(1..5), Some(&["NTS", "1", "15", "256"][..]), "{said}");
        let said = running.report("ntpdata").unwrap();
        assert!(said.contains("Authenticated   : Yes"), "{said}");
        assert!(said.contains("Stratum         : 10"), "{said}");
    }
}

#[test]
fn nobody_follows_a_clock_that_nobody_vouches_for() {
    let case = Case::new();
    let alice = case.alice("plain: true");
    let mut asker = Asker::keyed(alice.exchange, None);
    let said = asker.ask().unwrap();
    assert!(matches!(said, Err(Refused::Unsynchronised)), "{said:?}");
    let said = Asker::plain(alice.time).ask().unwrap();
    assert!(matches!(said, Err(Refused::Unsynchronised)), "{said:?}");
    assert_eq!((alice.counted("time_answers_sealed"), alice.counted("time_answers_plain")), (1, 1));
}

#[test]
fn without_nts_there_is_no_answer() {
    let case = Case::new();
    let alice = case.alice("local: true");
    assert_eq!(Asker::plain(alice.time).ask(), None);
    assert_eq!((alice.counted("time_questions"), alice.counted("time_dropped")), (1, 1));
}

#[test]
fn where_a_certificate_is_required_chrony_hears_so_and_a_member_gets_keys() {
    let case = Case::new();
    let alice = case.alice("local: true, client-certificates: required");
    let refused = Asker::try_keyed(alice.exchange, None).err().unwrap();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    has_the_time(&mut Asker::keyed(alice.exchange, Some(&case.credentials("bob"))));
    assert_eq!(alice.counted("nts_key_exchanges_refused"), 1);
    let Some(chrony) = Chrony::found(case.network.path()) else { return };
    let line = format!("nts ntsport {}", alice.exchange.port());
    assert!(chrony.hears_nothing(&case.trust(), &line));
    assert!(alice.counted("nts_key_exchanges_refused") > 1);
    assert_eq!(alice.counted("time_questions"), 1);
}

#[test]
fn a_certificate_that_is_shown_must_stand_even_where_none_is_required() {
    let case = Case::new();
    let alice = case.alice("local: true");
    let stranger = Credentials::self_signed("bob");
    let foreign = Network::with(&["bob"]);
    let foreign = Credentials::of_bundle(&foreign.bundle("bob"));
    let forge = case.network.forge();
    let (ended, early) = (forge.dated("dave", -7200, -3600), forge.dated("dave", 3600, 7200));
    drop(forge);
    for (credentials, alert) in [
        (stranger, "UnknownCA"),
        (foreign, "UnknownCA"),
        (ended, "CertificateExpired"),
        (early, "CertificateUnknown"),
    ] {
        let refused = Asker::try_keyed(alice.exchange, Some(&credentials)).err().unwrap();
        assert!(refused.contains(alert), "{alert}: {refused}");
    }
    assert_eq!(alice.counted("nts_key_exchanges"), 0);
    has_the_time(&mut Asker::keyed(alice.exchange, None));
}

#[test]
fn whoever_is_revoked_hears_nothing_from_the_next_question_on() {
    let case = Case::new();
    let alice = case.alice("local: true, client-certificates: required");
    let [bob, carol] = ["bob", "carol"].map(|node| case.credentials(node));
    let mut asks = Asker::keyed(alice.exchange, Some(&bob));
    let mut other = Asker::keyed(alice.exchange, Some(&carol));
    (0..3).for_each(|_| has_the_time(&mut asks));
    case.decided("revoke bob", &alice);
    assert_eq!(asks.ask(), None);
    has_the_time(&mut other);
    let refused = Asker::try_keyed(alice.exchange, Some(&bob)).err().unwrap();
    assert!(refused.contains("CertificateRevoked"), "{refused}");
    assert_eq!(alice.counted("time_not_admitted"), 1);
    case.decided("suspend carol", &alice);
    assert_eq!(other.ask(), None);
    case.decided("resume carol", &alice);
    has_the_time(&mut other);
}

#[test]
fn a_restart_turns_nobody_away() {
    let case = Case::new();
    let alice = case.alice("local: true");
    let mut asker = Asker::keyed(alice.exchange, None);
    has_the_time(&mut asker);
    let chrony = Chrony::found(case.network.path());
    let running = chrony.map(|chrony| chrony.follows(&case.trust(), alice.exchange.port()));
    if running.is_some() {
        wait_until("chrony asks", IN_THE_END, || alice.counted("time_questions") >= 4);
    }
    let alice = alice.again();
    has_the_time(&mut asker);
    if running.is_some() {
        wait_until("chrony asks on", IN_THE_END, || alice.counted("time_questions") >= 8);
    }
    assert_eq!((alice.counted("nts_naks"), alice.counted("nts_key_exchanges")), (0, 0));
    // Lost keys are what that would be like.
    std::fs::remove_file(case.network.bundle("alice").join("nts.keys")).unwrap();
    let alice = alice.again();
    assert!(matches!(asker.ask(), Some(Err(Refused::Nak))));
    assert!(alice.counted("nts_naks") >= 1);
    has_the_time(&mut Asker::keyed(alice.exchange, None));
}

#[test]
fn what_is_no_request_for_keys_is_told_so() {
    let case = Case::new();
    let alice = case.alice("local: true");
    let bad = [0x80, 2, 0, 2, 0, 1, 0x80, 0, 0, 0];
    let critical = [0x80, 2, 0, 2, 0, 0, 0x80, 0, 0, 0];
    let end = [0x80, 0, 0, 0];
    let unknown = [&[0xC0, 0, 0, 0][..], &end].concat();
    let say = |octets: &[u8]| Asker::say(alice.exchange, b"ntske/1", octets).unwrap();
    assert_eq!(say(&end), bad);
    assert_eq!(say(&unknown), critical);
    assert_eq!(say(&[0; 5000]), bad);
    let other = Asker::say(alice.exchange, b"conclave/1", &end).unwrap_err().to_string();
    assert!(other.contains("NoApplicationProtocol"), "{other}");
    assert_eq!(alice.counted("nts_key_exchanges_refused"), 4);
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let case = Case::new();
    let bundle = case.network.bundle("bob");
    let text = std::fs::read_to_string(bundle.join("node.yaml")).unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    for (time, said) in [
        ("{ke: \"127.0.0.1:0\"}".to_owned(), "keys are of no use without time.listen"),
        ("{listen: \"localhost:123\"}".to_owned(), "is not an IP address and a port"),
        (format!("{{listen: \"{at}\"}}"), "time cannot listen on"),
        ("{listen: \"192.0.2.1:0\"}".to_owned(), "time cannot listen on 192.0.2.1:0"),
    ] {
        std::fs::write(bundle.join("node.yaml"), format!("{text}\ntime: {time}\n")).unwrap();
        let said_it = Peer::fails(&bundle, "127.0.0.1:0");
        assert!(said_it.err.contains(said), "{time}: {}", said_it.err);
    }
}

#[test]
fn members_get_their_keys_over_their_link() {
    let case = Case::new();
    let alice =
        case.teller("local: true, client-certificates: required", &["--time", "127.0.0.1:0"]);
    let carol = case.network.start("carol", &[]);
    let bundle = case.network.bundle("bob");
    let text = std::fs::read_to_string(bundle.join("node.yaml")).unwrap();
    let sources = "time: {sources: [{peer: alice}, {peer: carol}]}";
    std::fs::write(bundle.join("node.yaml"), format!("{text}\n{sources}\n")).unwrap();
    let bob = case.network.start("bob", &[&alice.peer, &carol]);
    bob.wait_links(&["alice", "carol"]);
    let source = |name: &str| {
        let said = bob.ask("time sources", &["--json"]).ended(0).out;
        let rows =
            said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.into_iter().find(|row| row["name"] == name).unwrap()
    };
    wait_until("bob has the time of alice", SOON, || source("alice")["stratum"] == 10);
    assert_eq!(source("alice")["nts"], true);
    // Carol asks too once she is linked with alice, although nobody has named alice to her.
    wait_until("two got keys", SOON, || alice.counted("nts_key_exchanges") == 2);
    assert_eq!(alice.counted("nts_naks"), 0);
    assert_eq!(alice.counted("time_questions"), alice.counted("time_answers_sealed"));
    wait_until("bob heard that carol tells nothing", SOON, || {
        source("carol")["trouble"] == "carol does not tell the time"
    });
    // Revoked, it has cookies left, and they open nothing any more.
    case.decided("revoke bob", &alice);
    wait_until("bob asks in vain", SOON, || alice.counted("time_not_admitted") >= 1);
    assert_eq!(alice.counted("nts_key_exchanges"), 2);
}
