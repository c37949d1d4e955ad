//! Three hundred members, connected all of them, ask for renewal in one moment: each is answered,
//! or told to come again and answered then; what was handed out is on record, each once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ca_tool::{Enrolment, Holder};
use shared::cert::{NodeCert, request};
use shared::join::{Failure, Grant, RenewRequest};
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use tests::{Caller, Credentials, Network, Online, SOON};

/// More than wait at a time for a signature.
const MEMBERS: usize = 300;

fn name(index: usize) -> NodeName {
    NodeName::parse(&format!("n{index:03}")).unwrap()
}

/// A member's certificate, made without a command for each.
fn members(network: &Network) -> Vec<Credentials> {
    let authority = network.authority();
    let enroll = |index: usize| {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let wish = Enrolment::new(name(index)).unwrap();
        let issued = authority.enroll(&wish, Holder::Private(&key)).unwrap();
        Credentials { chain: issued.chain, key: key.pkcs8().to_vec() }
    };
    // Half of them beside the other half: certificates share their transactions.
    thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let enroll = &enroll;
            scope.spawn(move || {
                let from = half * MEMBERS / 2;
                (from..from + MEMBERS / 2).map(enroll).collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    })
}

/// What became of one member's renewal: its certificate, and how often it was told to come again.
struct Renewed {
    cert: NodeCert,
    turned_away: u32,
    busy: u32,
}

fn renew(address: &str, from: &str, own: &Credentials, together: &Barrier) -> Renewed {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let csr = request::make(&key, "renewing").unwrap();
    let asked = RenewRequest { csr }.to_bytes();
    let (mut turned_away, mut busy) = (0, 0);
    let mut connected = Caller::from(from, address, Some(own));
    together.wait();
    let begun = Instant::now();
    while begun.elapsed() < SOON * 2 {
        let caller = connected.take().or_else(|| Caller::from(from, address, Some(own)));
        let Some(mut caller) = caller else {
            turned_away += 1;
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let answered = caller.post("/v1/renew", &asked);
        match (answered.status, Failure::from_bytes(&answered.body)) {
            (200, _) => {
                let grant = Grant::from_bytes(&answered.body).unwrap();
                let cert = NodeCert::read(&grant.chain[0]).unwrap();
                assert_eq!(&cert.public, key.public());
                return Renewed { cert, turned_away, busy };
            }
            // Turned away before it was heard.
            (0, _) => turned_away += 1,
            (_, failure) => {
                let failure = failure.unwrap();
                assert!(failure.code.is_passing(), "{failure:?}");
                busy += 1;
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not renewed: turned away {turned_away} times, busy {busy} times");
}

#[test]
fn three_hundred_at_once_are_renewed_each_once() {
    let network = Network::new();
    let members = members(&network);
    let online = Online::start(&network);
    let together = Barrier::new(MEMBERS);
    let renewed: Vec<Renewed> = thread::scope(|scope| {
        let (address, together) = (online.address(), &together);
        // Of one address there are fewer connections than that.
        let ask = |(index, own)| {
            let from = if index % 2 == 0 { "127.0.0.1" } else { "127.0.0.2" };
            scope.spawn(move || renew(address, from, own, together))
        };
        let asking: Vec<_> = members.iter().enumerate().map(ask).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let log = network.ca("log --json").json();
    let records: Vec<&str> = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["act"] == "renew")
        .map(|record| record["detail"].as_str().unwrap())
        .collect();
    assert_eq!(records.len(), MEMBERS);
    let mut serials = BTreeSet::new();
    for (index, one) in renewed.iter().enumerate() {
        assert_eq!(one.cert.node, name(index));
        let serial = one.cert.serial.to_string();
        assert!(records.iter().any(|record| record.contains(&serial)), "{serial}");
        assert!(serials.insert(serial));
        assert!(one.turned_away + one.busy < 100, "{}, {}", one.turned_away, one.busy);
    }
    assert_eq!(network.ca("log --verify").code, 0);
}
