//! chrony, which we did not write, takes the time from us under NTS, and gives it to us.
//!
//! It never sees the system's clock: `-x` and, where there is `setpriv`, without the capability.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nts::client::Heard;
use nts::server::{NakReason, Plain, Settings, Silence, Verdict};
use nts::{CookieError, Fingerprint};
use tests::hour::{Asker, Clients, Hour, fingerprint_of};
use tests::judge::judge;
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
        Hour::open(HERE, &self.alice, Clients::Any, settings)
    }

    fn trust(&self) -> PathBuf {
        self.network.bundle("bob").join("trust.pem")
    }

    /// A file for chrony, with what all of them have.
    fn conf(&self, text: &str) -> PathBuf {
        let path = self.network.path().join("chrony.conf");
        let pid = self.network.path().join("chrony.pid");
        let all = format!("{text}\ncmdport 0\nbindcmdaddress /\npidfile {}\n", pid.display());
        std::fs::write(&path, all).unwrap();
        path
    }

    /// Asks once with chrony, and returns what it says its clock is off by.
    fn chrony_asks(&self, chronyd: &Path, server: &str) -> Option<f64> {
        let trust = self.trust();
        let conf = self.conf(&format!(
            "server 127.0.0.1 {server} iburst maxsamples 4\nntstrustedcerts {}\nnosystemcert",
            trust.display()
        ));
        let output = command(chronyd, &conf, &["-Q", "-t", "8"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stdout);
        let off = said.split_once("System clock wrong by ")?.1;
        Some(off.split(' ').next().unwrap().parse().unwrap())
    }
}

fn command(chronyd: &Path, conf: &Path, more: &[&str]) -> Command {
    let mut words = vec![chronyd.display().to_string()];
    let is_root = rustix::process::geteuid().is_root();
    if is_root && Path::new("/usr/bin/setpriv").exists() {
        words.splice(0..0, ["setpriv", "--bounding-set=-sys_time"].map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["-x", "-U", "-u", "root", "-f"]).arg(conf).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server of chrony's, ended by its own id.
struct Chrony(Child);

impl Drop for Chrony {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_ports() -> (u16, u16) {
    let (tcp, udp) = (TcpListener::bind((HERE, 0)).unwrap(), UdpSocket::bind((HERE, 0)).unwrap());
    (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port())
}

fn is_sealed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Sealed { .. })
}

#[test]
fn chrony_takes_the_time_from_us() {
    let Some(chronyd) = judge(&["chronyd"]) else { return };
    let case = Case::new();
    let hour = case.hour(Settings::default());
    for ahead_s in [0.0, 3.0] {
        hour.turn((ahead_s * 1e9) as i64);
        let line = format!("nts ntsport {}", hour.exchange().port());
        let off = case.chrony_asks(&chronyd, &line).unwrap();
        assert!((off - ahead_s).abs() < 0.1, "{off}");
    }
    let verdicts = hour.verdicts();
    assert!(verdicts.len() >= 4 && verdicts.iter().all(is_sealed), "{verdicts:?}");
}

#[test]
fn chrony_without_nts_hears_nothing_unless_we_want_it() {
    let Some(chronyd) = judge(&["chronyd"]) else { return };
    let case = Case::new();
    let hour = case.hour(Settings { plain: Plain::Answered, rate: None });
    // The port of the time is told in the exchange; who does not exchange has to know it.
    let port = Asker::keyed(hour.exchange(), None).port();
    assert!(case.chrony_asks(&chronyd, &format!("port {port}")).is_some());
    assert!(hour.verdicts().iter().all(|verdict| matches!(verdict, Verdict::Plain { .. })));
    let strict = case.hour(Settings::default());
    let port = Asker::keyed(strict.exchange(), None).port();
    assert_eq!(case.chrony_asks(&chronyd, &format!("port {port}")), None);
    let silent = Verdict::Silence(Silence::Plain);
    assert!(!strict.verdicts().is_empty());
    assert!(strict.verdicts().iter().all(|verdict| *verdict == silent));
}

#[test]
fn chrony_refuses_a_certificate_that_is_not_ours() {
    let Some(chronyd) = judge(&["chronyd"]) else { return };
    let (case, other) = (Case::new(), Case::new());
    let hour = other.hour(Settings::default());
    let line = format!("nts ntsport {}", hour.exchange().port());
    assert_eq!(case.chrony_asks(&chronyd, &line), None);
    assert_eq!(hour.verdicts(), []);
}

#[test]
fn chrony_survives_that_we_lose_our_keys_and_stops_when_it_is_left_out() {
    let Some(chronyd) = judge(&["chronyd"]) else { return };
    let case = Case::new();
    let hour = case.hour(Settings { plain: Plain::Refused, rate: None });
    let conf = case.conf(&format!(
        "server 127.0.0.1 nts ntsport {} minpoll -2 maxpoll -2\nntstrustedcerts {}\nnosystemcert",
        hour.exchange().port(),
        case.trust().display()
    ));
    let _chrony = Chrony(command(&chronyd, &conf, &["-d"]).spawn().unwrap());
    let count = |wanted: fn(&Verdict) -> bool| hour.verdicts().iter().filter(|v| wanted(v)).count();
    wait_until("eight answers for chrony", SOON, || count(is_sealed) >= 8);
    hour.forget();
    let foreign = |verdict: &Verdict| {
        matches!(verdict, Verdict::Nak { why: NakReason::Cookie(CookieError::Foreign(_)), .. })
    };
    wait_until("a negative acknowledgement", SOON, || count(foreign) >= 1);
    let before = count(is_sealed);
    wait_until("new keys for chrony", SOON, || count(is_sealed) >= before + 4);
    hour.revoke(Fingerprint::NONE);
    let left_out =
        |verdict: &Verdict| *verdict == Verdict::Silence(Silence::NotAdmitted(Fingerprint::NONE));
    wait_until("silence for chrony", SOON, || count(left_out) >= 4);
    assert!(hour.verdicts().iter().rev().take(4).all(left_out));
}

#[test]
fn a_member_that_is_revoked_hears_nothing_from_the_next_question_on() {
    let case = Case::new();
    let _ = case.network.enroll("carol");
    let hour = Hour::open(HERE, &case.alice, Clients::Certified, Settings::default());
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
    let verdicts = hour.verdicts();
    let silent = |verdict: &&Verdict| matches!(verdict, Verdict::Silence(Silence::NotAdmitted(_)));
    assert_eq!((verdicts.len(), verdicts.iter().filter(silent).count()), (3, 1));
}

#[test]
fn we_take_the_time_from_chrony() {
    let Some(chronyd) = judge(&["chronyd"]) else { return };
    let case = Case::new();
    let folder = case.network.path();
    let chain = case.alice.chain.iter().map(|der| shared::pem::encode("CERTIFICATE", der));
    let chain: String = chain.map(|pem| pem.to_string()).collect();
    std::fs::write(folder.join("chain.pem"), chain).unwrap();
    let key = shared::pem::encode("PRIVATE KEY", &case.alice.key);
    std::fs::write(folder.join("key.pem"), key.as_bytes()).unwrap();
    let (exchange, port) = free_ports();
    let conf = case.conf(&format!(
        "local stratum 3\nallow 127.0.0.0/8\nbindaddress 127.0.0.1\nport {port}\n\
         ntsport {exchange}\nntsserverkey {0}/key.pem\nntsservercert {0}/chain.pem",
        folder.display()
    ));
    let chrony = Chrony(command(&chronyd, &conf, &["-d"]).spawn().unwrap());
    let exchange = SocketAddr::from((HERE, exchange));
    wait_until("chrony's door", SOON, || {
        TcpStream::connect_timeout(&exchange, Duration::from_secs(1)).is_ok()
    });
    let mut asker = Asker::keyed(exchange, None);
    for _ in 0..20 {
        let heard = asker.ask().unwrap().unwrap();
        let Heard::Sample(sample) = heard else { panic!("{heard:?}") };
        assert!(sample.is_authentic && sample.stratum == 3, "{sample:?}");
        assert!(sample.offset_ns().abs() < 100_000_000, "{}", sample.offset_ns());
        assert_eq!(asker.association().cookies(), 8);
    }
    drop(chrony);
}
