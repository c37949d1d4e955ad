//! The authority as a peer in its own program: it certifies over links, its news are acknowledged
//! to it, and it changes its identity while it runs.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ca_tool::{Authority, Holder, Surroundings};
use peer::daemon::{Daemon, RenewalRequest, Spread};
use peer_core::{Of, Renewed};
use shared::cert::{NodeCert, request};
use shared::feed::Reason;
use shared::join::{Code, Failure};
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use shared::time::Timestamp;
use shared::wire::{Body, Renewal};
use tests::seat::{start, start_authority};
use tests::{Credentials, Ear, Network, SOON};
use tokio::sync::mpsc;

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn at(daemon: &Daemon) -> String {
    daemon.listening.to_string()
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON * 2, test).await.unwrap() });
}

fn key() -> (PrivateKey, Vec<u8>) {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let csr = request::make(&key, "renewing").unwrap();
    (key, csr)
}

/// Decides as `ca-tool serve` does.
fn certify(authority: Arc<Authority>, mut requests: mpsc::Receiver<RenewalRequest>) {
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let chain: Vec<&[u8]> = request.chain.iter().map(Vec::as_slice).collect();
            let around = Surroundings::default();
            let renewed = authority.renew_presented(&chain, &request.csr, 0, &around);
            assert!(renewed.as_ref().is_ok_and(|(issued, _)| issued.node == request.from));
            let _ = request.reply.send(renewed.map(|(issued, _)| issued.chain));
        }
    });
}

/// Asks until the authority was reached.
async fn ask(daemon: &Daemon, csr: &[u8]) -> Renewed {
    let begun = Instant::now();
    loop {
        match daemon.petition(csr.to_vec()).await {
            Renewed::Unreachable(why) => assert!(begun.elapsed() < SOON, "{why}"),
            other => return other,
        }
    }
}

async fn acknowledged(spread: &mut Spread, of: Of, number: u64) -> NodeName {
    loop {
        let ack = spread.acknowledgements.recv().await.unwrap();
        if (ack.of, ack.number) == (of, number) {
            return ack.node;
        }
    }
}

#[test]
fn a_node_is_certified_over_a_link_and_takes_its_new_certificate() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let authority = Arc::new(network.authority());
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let known = [(name("alice"), at(&alice))];
        let seat = start_authority(&network, &authority, &known).await;
        certify(Arc::clone(&authority), seat.renewals().await);
        let (fresh, csr) = key();
        let Renewed::Granted(chain) = ask(&alice, &csr).await else { panic!() };
        let cert = NodeCert::read(&chain[0]).unwrap();
        assert_eq!((&cert.node, &cert.public), (&name("alice"), fresh.public()));
        alice.replace_identity(tls::Identity { chain, key: fresh }).await.unwrap();
        // On the same link, and again under the new certificate.
        let Renewed::Granted(_) = ask(&alice, &csr).await else { panic!() };
        let foreign = authority.renew(&name("bob"), Some(Holder::Private(&key().0))).unwrap();
        let (another, _) = key();
        let stolen = tls::Identity { chain: foreign.chain, key: another };
        assert!(alice.replace_identity(stolen).await.is_err());
        seat.stop().await;
        alice.stop().await;
    });
}

#[test]
fn a_refusal_is_told_and_without_an_authority_nobody_waits_forever() {
    let network = Network::with(&["alice"]);
    run(async {
        let authority = network.authority();
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let (_, csr) = key();
        let alone = alice.petition(csr.clone()).await;
        assert_eq!(alone, Renewed::Unreachable("the authority is not known here"));
        let seat = start_authority(&network, &authority, &[(name("alice"), at(&alice))]).await;
        let Renewed::Refused(failure) = ask(&alice, &csr).await else { panic!() };
        assert_eq!(failure.code, Code::Unavailable, "nobody certifies");
        let mut requests = seat.renewals().await;
        let (answer, ()) = tokio::join!(ask(&alice, &csr), async {
            let request = requests.recv().await.unwrap();
            assert_eq!((&request.from, request.csr.as_slice()), (&name("alice"), csr.as_slice()));
            let failure = Failure::new(Code::Denied, "not today", Timestamp::from_s(1));
            request.reply.send(Err(failure)).unwrap();
        });
        let Renewed::Refused(failure) = answer else { panic!("{answer:?}") };
        assert_eq!((failure.code, failure.text.as_str()), (Code::Denied, "not today"));
        let (answer, ()) = tokio::join!(ask(&alice, &csr), async {
            let second = alice.petition(csr.clone()).await;
            assert_eq!(second, Renewed::Unreachable("another request is under way"));
            drop(requests.recv().await.unwrap());
        });
        assert!(matches!(answer, Renewed::Refused(f) if f.code == Code::Unavailable));
        assert!(matches!(seat.petition(csr).await, Renewed::Unreachable(_)), "of itself");
        seat.stop().await;
        alice.stop().await;
    });
}

#[test]
fn who_is_not_the_authority_certifies_nobody_and_is_not_believed() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let mut requests = alice.renewals().await;
        let (address, (_, csr)) = (at(&alice), key());
        let bundle = network.bundle("bob");
        let heard = tokio::task::spawn_blocking(move || {
            let credentials = Credentials::of_bundle(&bundle);
            let mut bob = Ear::dial(&address, Some(&credentials));
            assert!(matches!(bob.hello(&credentials), Some(Body::Welcome(_))));
            // Nobody asked for this.
            bob.say(&Body::Renewal(Renewal::Granted { id: 1, chain: vec![vec![1]] }).to_frame());
            bob.say(&Body::Renewal(Renewal::Ask { id: 7, csr }).to_frame());
            loop {
                match bob.body() {
                    Some(Body::Renewal(renewal)) => return renewal,
                    Some(_) => {}
                    None => panic!("no answer"),
                }
            }
        });
        let Renewal::Refused { id, failure } = heard.await.unwrap() else { panic!() };
        assert_eq!((id, failure.code), (7, Code::Unavailable));
        assert!(requests.try_recv().is_err());
        alice.stop().await;
    });
}

#[test]
fn what_the_authority_brings_in_is_acknowledged_to_it() {
    let network = Network::with(&["alice", "bob", "carol"]);
    run(async {
        let authority = network.authority();
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let known = [(name("alice"), at(&alice))];
        let bob = start(&network.bundle("bob"), "127.0.0.1:0", &known).await;
        let seat = start_authority(&network, &authority, &known).await;
        let begun = Instant::now();
        let expected = loop {
            // The same feed again is no news: it only shows who is there.
            let spread = seat.feed(authority.feed_update(0).unwrap()).await.unwrap();
            assert!(!spread.news && begun.elapsed() < SOON);
            if spread.expected.iter().filter(|one| one.linked).count() == 2 {
                break spread.expected;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let names: Vec<&str> = expected.iter().map(|one| one.node.as_str()).collect();
        assert_eq!(names, ["alice", "bob"]);
        authority.revoke(&name("carol"), Reason::KeyCompromise).unwrap();
        let update = authority.feed_update(0).unwrap();
        let mut spread = seat.feed(update).await.unwrap();
        assert!(spread.news);
        let number = spread.number;
        let mut heard = [
            acknowledged(&mut spread, Of::Feed, number).await,
            acknowledged(&mut spread, Of::Feed, number).await,
        ];
        heard.sort();
        assert_eq!(heard, [name("alice"), name("bob")]);
        assert!(seat.policy(b"nonsense".to_vec()).await.is_err());
        for daemon in [seat, bob, alice] {
            daemon.stop().await;
        }
    });
}
