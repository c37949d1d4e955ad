//! Keys for the time where the node's own certificate is of no use to strangers: another one, from
//! outside, stands beside it, and each client is shown the one that it can check.

use std::path::PathBuf;

use tests::chrony::{Chrony, IN_THE_END};
use tests::hour::Asker;
use tests::outsider::{Kind, write_pair};
use tests::programs::Said;
use tests::teller::{self, BOTH};
use tests::{Credentials, Network, Outsider, Peer, SOON, Teller, wait_until};

const ML_DSA: &str = "ml-dsa-65";
/// What alice's node.yaml says beside her doors.
const BESIDE: &str = "local: true, certificate: ke.pem, key: ke.key";
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];
const DAY_S: i64 = 86_400;

/// A network with alice, who tells the time here, and bob.
struct Case {
    network: Network,
}

impl Case {
    fn new(algorithm: &str) -> Self {
        let network = Network::of("mesh.example", algorithm);
        network.ca("enroll alice --ip 127.0.0.1 --out alice.bundle");
        let _ = network.enroll("bob");
        Self { network }
    }

    fn bundle(&self) -> PathBuf {
        self.network.bundle("alice")
    }

    /// Puts a pair of somebody outside into alice's bundle.
    fn certified_by(&self, outsider: &Outsider, kind: Kind) {
        write_pair(&self.bundle(), &outsider.certify(kind, &HERE, -60, 90 * DAY_S));
    }

    fn alice(&self, time: &str) -> Teller {
        teller::set(&self.bundle(), time);
        Teller::start(&self.bundle(), &BOTH)
    }

    /// Where the root of somebody outside is.
    fn root(&self, outsider: &Outsider, name: &str) -> PathBuf {
        let path = self.network.path().join(name);
        outsider.write_root(&path);
        path
    }

    /// One who asks alice by her name, under these roots.
    fn asks_by_name(&self, alice: &Teller, roots: &str) -> Said {
        let port = alice.exchange.port();
        self.network.peer(&format!("time query localhost:{port} --nts --ca {roots} --json"))
    }
}

fn counts_nts(said: &Said) -> bool {
    said.code == 0 && said.json()["authenticated"] == true
}

#[test]
fn chrony_takes_the_time_in_a_post_quantum_network() {
    let case = Case::new(ML_DSA);
    let Some(chrony) = Chrony::found(case.network.path()) else { return };
    let [outsider, other] = [(); 2].map(|()| Outsider::new());
    let root = case.root(&outsider, "outside.pem");
    case.certified_by(&outsider, Kind::Rsa);
    let alice = case.alice(BESIDE);
    let line = format!("nts ntsport {}", alice.exchange.port());
    assert!(chrony.asks(&root, &line).abs() < 0.05);
    drop(alice);
    case.certified_by(&outsider, Kind::P256);
    let alice = case.alice(BESIDE);
    let line = format!("nts ntsport {}", alice.exchange.port());
    assert!(chrony.hears_nothing(&case.root(&other, "other.pem"), &line));
    assert_eq!(alice.counted("time_questions"), 0);
    let running = chrony.follows(&root, alice.exchange.port());
    wait_until("chrony asks", IN_THE_END, || alice.counted("time_answers_sealed") >= 4);
    let Some(said) = running.report("authdata") else { return };
    let row = said.lines().find(|line| line.starts_with("127.0.0.1")).unwrap_or_default();
    let words: Vec<&str> = row.split_whitespace().collect();
    // Mode, key, type (AES-SIV-CMAC-256) and length of the key.
    assert_eq!(words.get(1..5), Some(&["NTS", "1", "15", "256"][..]), "{said}");
    let said = running.report("ntpdata").unwrap();
    assert!(said.contains("Authenticated   : Yes"), "{said}");
}

#[test]
fn a_member_is_shown_the_nodes_own_at_the_same_port() {
    for algorithm in [ML_DSA, "p256"] {
        let case = Case::new(algorithm);
        case.certified_by(&Outsider::new(), Kind::P256);
        let alice = case.alice(&format!("{BESIDE}, client-certificates: required"));
        let at = alice.exchange;
        let query = |node: &str| {
            case.network.peer(&format!("time query {at} --bundle bob.bundle --node {node} --json"))
        };
        assert!(counts_nts(&query("alice")));
        let refused = query("bob").ended(1);
        assert!(refused.err.contains("wrong-name"), "{}", refused.err);
        teller::set(
            &case.network.bundle("bob"),
            &format!("sources: [{{peer: alice, address: \"{at}\"}}]"),
        );
        let bob = case.network.start("bob", &[]);
        wait_until("bob has the time of alice", SOON, || {
            let said = bob.ask("time sources", &["--json"]).ended(0).json();
            said["name"] == "alice" && said["nts"] == true && said["stratum"] == 10
        });
    }
}

#[test]
fn who_asks_by_a_name_of_the_other_is_shown_the_other() {
    for algorithm in [ML_DSA, "p256"] {
        let case = Case::new(algorithm);
        let outsider = Outsider::new();
        let _ = case.root(&outsider, "outside.pem");
        case.certified_by(&outsider, Kind::P256);
        let alice = case.alice(BESIDE);
        let by_name = case.asks_by_name(&alice, "outside.pem");
        assert!(counts_nts(&by_name), "{by_name:?}");
        let refused = case.asks_by_name(&alice, "bob.bundle/trust.pem").ended(1);
        assert!(refused.err.contains("UnknownIssuer"), "{}", refused.err);
        // Who names nobody and can check both is shown the node's own.
        let query = format!("time query {} --nts --json --ca", alice.exchange);
        let by_address = case.network.peer(&format!("{query} bob.bundle/trust.pem"));
        assert!(counts_nts(&by_address), "{by_address:?}");
        let refused = case.network.peer(&format!("{query} outside.pem")).ended(1);
        assert!(refused.err.contains("UnknownIssuer"), "{}", refused.err);
    }
}

#[test]
fn whose_certificate_counts_is_the_networks_affair() {
    let case = Case::new(ML_DSA);
    let outsider = Outsider::new();
    case.certified_by(&outsider, Kind::P256);
    let alice = case.alice(&format!("{BESIDE}, client-certificates: required"));
    let refused = |who: Option<&Credentials>, alert: &str| {
        let refused = Asker::try_keyed(alice.exchange, who).err().unwrap();
        assert!(refused.contains(alert), "{alert}: {refused}");
    };
    refused(None, "CertificateRequired");
    // Not even the shape is a node's.
    refused(Some(&outsider.certify(Kind::P256, &HERE, -60, DAY_S)), "UnsupportedCertificate");
    let foreign = Network::of("mesh.example", ML_DSA);
    refused(Some(&Credentials::of_bundle(&foreign.enroll("bob"))), "UnknownCA");
    // Nor is it enough to have the very pair that is shown.
    let chain = std::fs::read(case.bundle().join("ke.pem")).unwrap();
    let key = std::fs::read(case.bundle().join("ke.key")).unwrap();
    let stolen = Credentials {
        chain: shared::pem::certificates(&chain, 2).unwrap(),
        key: shared::pem::private_key(&key).unwrap().to_vec(),
    };
    refused(Some(&stolen), "UnsupportedCertificate");
    assert_eq!(alice.counted("nts_key_exchanges"), 0);
    let bob = Credentials::of_bundle(&case.network.bundle("bob"));
    let mut asker = Asker::keyed(alice.exchange, Some(&bob));
    assert!(matches!(asker.ask(), Some(Ok(_))));
    case.network.ca("revoke bob");
    case.network.ca("feed export --out mesh.feed");
    let feed = case.network.path().join("mesh.feed");
    let _ = alice.peer.ask("feed import", &[feed.to_str().unwrap()]).ended(0);
    assert_eq!(asker.ask(), None);
    refused(Some(&bob), "CertificateRevoked");
}

#[test]
fn a_renewed_pair_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let case = Case::new(ML_DSA);
    let [old, new] = [(); 2].map(|()| Outsider::new());
    let _ = (case.root(&old, "old.pem"), case.root(&new, "new.pem"));
    case.certified_by(&old, Kind::P256);
    let alice = case.alice(BESIDE);
    assert!(counts_nts(&case.asks_by_name(&alice, "old.pem")));
    let reload = || drop(alice.peer.ask("reload", &[]).ended(0));
    let logs = |what: &str| wait_until(what, SOON, || alice.peer.log().contains(what));
    case.certified_by(&new, Kind::Rsa);
    reload();
    wait_until("the new one is shown", SOON, || counts_nts(&case.asks_by_name(&alice, "new.pem")));
    let _ = case.asks_by_name(&alice, "old.pem").ended(1);
    let good = std::fs::read(case.bundle().join("ke.pem")).unwrap();
    case.certified_by(&old, Kind::P256);
    std::fs::write(case.bundle().join("ke.pem"), good).unwrap();
    reload();
    logs("the certificate of nts-ke stays as it is: ");
    assert!(counts_nts(&case.asks_by_name(&alice, "new.pem")));
    write_pair(&case.bundle(), &new.certify(Kind::P256, &HERE, -1000, 300));
    reload();
    logs("ke.pem ends at ");
    write_pair(&case.bundle(), &new.certify(Kind::P256, &HERE, -7200, -3600));
    reload();
    logs("ke.pem ended at ");
    let refused = case.asks_by_name(&alice, "new.pem").ended(1);
    assert!(refused.err.contains("certificate expired"), "{}", refused.err);
}

#[test]
fn what_cannot_be_shown_is_said_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new("ml-dsa-44");
    let doors = "listen: \"127.0.0.1:0\", ke: \"127.0.0.1:0\"";
    let pair = format!("{doors}, certificate: ke.pem, key: ke.key");
    let fails = |time: &str, code: i32, what: &str, hint: &str| {
        teller::set(&case.bundle(), time);
        let said = Peer::fails(&case.bundle(), "127.0.0.1:0").ended(code);
        let (told, hinted) = (said.err.contains(what), said.err.contains(hint));
        assert!(told && hinted, "{what}, {hint}: {}", said.err);
    };
    let unread = "is ml-dsa-44, which no NTS client reads yet";
    fails(doors, 2, unread, "hint: name one for them");
    let missing = "ke.pem does not exist";
    fails(&pair, 1, missing, "hint: check the path");
    let outsider = Outsider::new();
    case.certified_by(&outsider, Kind::P256);
    let key = case.bundle().join("ke.key");
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    std::fs::set_permissions(&key, mode(0o640)).unwrap();
    fails(&pair, 1, "ke.key is open to other users (mode 0640)", "hint: chmod 600 ");
    let first = std::fs::read(&key).unwrap();
    case.certified_by(&outsider, Kind::P256);
    std::fs::write(&key, first).unwrap();
    let another = "ke.key is the key of another certificate, and not of ";
    fails(&pair, 1, another, "hint: put the key there");
    std::fs::copy(case.bundle().join("id/node.key"), &key).unwrap();
    fails(&pair, 1, "ke.key: not a key for ECDSA, Ed25519 or RSA", "openssl pkey");
    let alone = format!("{doors}, certificate: ke.pem");
    fails(&alone, 1, "its key is missing", "");
    let nowhere = "listen: \"127.0.0.1:0\", certificate: ke.pem, key: ke.key";
    fails(nowhere, 2, "it is shown at time.ke only", "");
}
