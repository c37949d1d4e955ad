//! The authority as a peer in its own program: it certifies over links, its news are acknowledged
//! to it, and it changes its identity while it runs.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ca_tool::serve::{Serve, Served};
use ca_tool::{Authority, Holder, Surroundings};
use peer::bundle::Bundle;
use peer::daemon::{Courier, Daemon, RenewalRequest, Spread};
use peer_core::{Of, Renewed};
use shared::cert::{NodeCert, request};
use shared::feed::Reason;
use shared::join::{Code, Failure};
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use shared::time::Timestamp;
use shared::wire::{Body, Circuit, Pack, Renewal};
use tests::online::place_of_its_own;
use tests::pipe::Pipe;
use tests::seat::{start, start_authority};
use tests::{Credentials, Ear, Network, Online, Peer, SOON, wait_until};
use tokio::sync::mpsc;

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn at(daemon: &Daemon) -> String {
    daemon.listening.to_string()
}

fn run(test: impl Future<Output = ()>) {
    run_for(SOON * 2, test);
}

fn run_for(bound: Duration, test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(bound, test).await.unwrap() });
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

fn serial_in(network: &Network, node: &str) -> String {
    let credentials = Credentials::of_bundle(&network.bundle(node));
    NodeCert::read(&credentials.chain[0]).unwrap().serial.to_string()
}

#[test]
fn nodes_renew_themselves_again_and_again_and_lose_nothing() {
    const LIFE_S: u32 = 9;
    const PACKS: u32 = 500;
    let network = Network::new();
    network.short_lived(LIFE_S.into());
    let _ = (network.enroll("alice"), network.enroll("bob"), network.enroll("carol"));
    let first = serial_in(&network, "bob");
    run_for(SOON * 4, async {
        let authority = Arc::new(network.authority());
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let known = [(name("alice"), at(&alice))];
        let seat = start_authority(&network, &authority, &known).await;
        certify(Arc::clone(&authority), seat.renewals().await);
        let bob = start(&network.bundle("bob"), "127.0.0.1:0", &known).await;
        let carol = start(&network.bundle("carol"), "127.0.0.1:0", &known).await;
        let mut ears = bob.listen().await;
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            while heard.len() < 2 * PACKS as usize {
                let (from, pack) = ears.next().await.unwrap();
                let items = pack.items().map(|item| String::from_utf8(item.to_vec()).unwrap());
                heard.extend(items.map(|text| format!("{from} {text}")));
            }
            heard.sort();
            heard
        });
        let (a, c) = (alice.courier(name("bob")), carol.courier(name("bob")));
        tokio::join!(talk(a, LIFE_S, PACKS), talk(c, LIFE_S, PACKS));
        let mut all: Vec<String> =
            (0..PACKS).flat_map(|n| [format!("alice {n:04}"), format!("carol {n:04}")]).collect();
        all.sort();
        assert_eq!(heard.await.unwrap(), all);
        for daemon in [carol, bob, seat, alice] {
            daemon.stop().await;
        }
    });
    assert_ne!(serial_in(&network, "bob"), first, "the renewed pair is settled");
    // Whatever was under way when they stopped.
    for node in ["alice", "bob", "carol"] {
        assert!(Bundle::open(&network.bundle(node)).is_ok());
    }
    let renewals = network.ca("log --json").out.matches("\"renew").count();
    assert!(renewals >= 6, "three nodes, at least twice each: {renewals}");
}

/// Sends a pack every now and then, for more than two lives of a certificate.
async fn talk(mut courier: Courier, life_s: u32, packs: u32) {
    let begun = Instant::now();
    let one = |number: u32| {
        let mut pack = Pack::default();
        assert!(pack.push(format!("{number:04}").as_bytes()));
        pack
    };
    // Until there is a link at all.
    while let Err(why) = async {
        courier.send(one(0)).await?;
        courier.finish().await
    }
    .await
    {
        assert!(begun.elapsed() < SOON, "{why:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut turn =
        tokio::time::interval(Duration::from_millis(u64::from(life_s) * 2500 / u64::from(packs)));
    for number in 1..packs {
        turn.tick().await;
        courier.send(one(number)).await.unwrap();
    }
    courier.finish().await.unwrap();
}

#[test]
fn a_node_that_slept_past_its_end_is_let_in_within_the_grace_and_a_suspended_one_is_not() {
    let network = Network::new();
    network.short_lived(2);
    let _ = (network.enroll("bob"), network.enroll("carol"));
    network.ca("suspend carol");
    let first = serial_in(&network, "bob");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let authority = Arc::new(network.authority());
    let how = Serve {
        listen: "127.0.0.1:0".to_owned(),
        advertise: Vec::new(),
        mesh: "127.0.0.1:0".to_owned(),
        metrics: None,
        grace_s: 3600,
    };
    let served = runtime.block_on(Served::start(authority, &how)).unwrap();
    let over = || {
        let credentials = Credentials::of_bundle(&network.bundle("carol"));
        NodeCert::read(&credentials.chain[0]).unwrap().not_after < host::clock::wall()
    };
    wait_until("the certificates have ended", SOON, over);
    network.short_lived(3600);
    for node in ["bob", "carol"] {
        let path = network.bundle(node).join("node.yaml");
        let yaml = std::fs::read_to_string(&path).unwrap();
        let address = format!("authority: [\"{}\"]", served.listening);
        std::fs::write(path, yaml.replace("authority: []", &address)).unwrap();
    }
    let bob = network.start("bob", &[]);
    assert_eq!(bob.status()["certificate"]["urgency"], "fresh");
    assert_ne!(serial_in(&network, "bob"), first);
    let carol = Peer::fails(&network.bundle("carol"), "127.0.0.1:0");
    assert!(carol.err.contains("suspended"), "{}", carol.err);
    runtime.block_on(served.stop());
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
fn any_neighbour_carries_to_the_authority_and_to_nobody_else() {
    let network = Network::with(&["alice", "carol", "dave"]);
    run(async {
        let authority = Arc::new(network.authority());
        let alice = start(&network.bundle("alice"), "127.0.0.1:0", &[]).await;
        let known = [(name("alice"), at(&alice))];
        // Neither can be dialled: both are linked with alice, who is no relay.
        let seat = start_authority(&network, &authority, &known).await;
        certify(Arc::clone(&authority), seat.renewals().await);
        let carol = start(&network.bundle("carol"), "none", &known).await;
        for _ in 0..2 {
            let (fresh, csr) = key();
            let Renewed::Granted(chain) = ask(&carol, &csr).await else { panic!() };
            let cert = NodeCert::read(&chain[0]).unwrap();
            assert_eq!((&cert.node, &cert.public), (&name("carol"), fresh.public()));
        }
        let (bundle, address) = (network.bundle("dave"), at(&alice));
        let refused = tokio::task::spawn_blocking(move || {
            let dave = Credentials::of_bundle(&bundle);
            let mut ear = Ear::dial_relay(&address, Some(&dave));
            ear.say(&Body::Circuit(Circuit::Ask(name("carol"))).to_frame());
            ear.body()
        });
        assert_eq!(refused.await.unwrap(), Some(Body::Refused(shared::refusal::Code::Policy)));
        for daemon in [carol, seat, alice] {
            daemon.stop().await;
        }
    });
}

#[test]
fn a_person_sees_what_is_left_and_renews_at_once() {
    let network = Network::with(&["alice"]);
    let before: serde_json::Value =
        serde_json::from_str(&network.peer("cert alice.bundle --json").ended(0).out).unwrap();
    assert_eq!((&before["running"], &before["urgency"]), (&false.into(), &"fresh".into()));
    let steps: Vec<_> =
        before["chain"].as_array().unwrap().iter().map(|s| s["of"].clone()).collect();
    assert_eq!(steps, ["node", "issuing", "root"]);
    assert_eq!(before["breaks"].as_array().unwrap().len(), 4);
    let _ = network.peer("renew alice.bundle").ended(4);
    let authority = Arc::new(network.authority());
    let alice = network.start("alice", &[]);
    let alone = alice.ask("renew", &[]).ended(1);
    assert!(alone.err.contains("not renewed"), "{}", alone.err);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let known = [(name("alice"), alice.address().to_owned())];
    let seat = runtime.block_on(async {
        let seat = start_authority(&network, &authority, &known).await;
        certify(Arc::clone(&authority), seat.renewals().await);
        seat
    });
    wait_until("the authority is linked", SOON, || alice.ask("renew", &["--keep-key"]).code == 0);
    let after: serde_json::Value =
        serde_json::from_str(&alice.ask("cert", &["--json"]).ended(0).out).unwrap();
    assert_eq!(
        (&after["running"], &after["spki"]),
        (&true.into(), &before["spki"]),
        "the key stays"
    );
    assert_ne!(after["serial"], before["serial"]);
    assert!(after["renewal"].is_string());
    let _ = alice.ask("renew", &[]).ended(0);
    let fresh: serde_json::Value =
        serde_json::from_str(&alice.ask("cert", &["--json"]).ended(0).out).unwrap();
    assert_ne!(fresh["spki"], after["spki"], "a fresh key");
    assert!(alice.ask("cert", &[]).ended(0).out.contains("nobody links with this node"));
    assert!(alice.ask("status", &[]).ended(0).out.contains("renewal"));
    runtime.block_on(seat.stop());
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

#[test]
fn who_renews_in_the_middle_of_a_handshake_is_refused_by_nobody() {
    let network = Network::with(&["alice", "bob"]);
    for bob_dials in [true, false] {
        run(async {
            let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let home = if bob_dials { "127.0.0.1:0".to_owned() } else { nowhere.to_string() };
            let wire = if bob_dials { None } else { Some(Pipe::to(&home)) };
            let alice = match &wire {
                Some(wire) => network.start_dialling("alice", "bob", wire.address()),
                None => network.start("alice", &[]),
            };
            let wire = wire.unwrap_or_else(|| Pipe::to(alice.address()));
            wire.hold();
            let known = bob_dials.then(|| (name("alice"), wire.address().to_owned()));
            let bob = start(&network.bundle("bob"), &home, known.as_slice()).await;
            wait_until("somebody calls", SOON, || wire.come() > 0);
            let authority = network.authority();
            let (key, _) = key();
            let issued = authority.renew(&name("bob"), Some(Holder::Private(&key))).unwrap();
            let identity = tls::Identity { chain: issued.chain, key };
            bob.replace_identity(identity).await.unwrap();
            wire.let_go();
            alice.wait_links(&["bob"]);
            assert_eq!(alice.status()["events"], serde_json::json!([]));
            bob.stop().await;
        });
    }
}

#[test]
fn whoever_is_not_renewed_in_time_is_named_late_where_people_and_programs_look() {
    let network = Network::new();
    network.short_lived(12);
    let place = place_of_its_own().replace(":0", ":9464");
    let _online = Online::serve(network.path(), "127.0.0.1:0", &["--metrics", &place]);
    let _ = network.enroll("bob");
    let seen = || {
        let list = network.ca("list").out;
        let line = list.lines().find(|line| line.starts_with("bob")).unwrap();
        (line.contains("NOT RENEWED"), metric(&place, "conclave_ca_nodes_late "))
    };
    assert_eq!(seen(), (false, 0));
    wait_until("bob is late", SOON, || seen() == (true, 1));
    let ended = || network.ca("list").out.contains("expired");
    wait_until("bob's certificate has ended", SOON, ended);
    assert_eq!(seen(), (false, 0), "it is not late any more, it is out");
}

/// A figure of the authority's, as Prometheus on its machine reads it.
fn metric(address: &str, name: &str) -> u32 {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
