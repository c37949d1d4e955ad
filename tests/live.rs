//! From application to application without a disk: heard in order by whoever listens now, or its
//! sender learns that it was not.

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use peer::bundle::Bundle;
use peer::daemon::{Courier, Daemon, FindBy, Listener, Start};
use peer_core::Outcome;
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::{Body, Pack};
use tests::{Credentials, Ear, Network, SOON};

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

async fn start(bundle: &Path, known: &[(NodeName, String)]) -> Daemon {
    start_on(bundle, "127.0.0.1:0", known).await
}

async fn start_on(bundle: &Path, listen: &str, known: &[(NodeName, String)]) -> Daemon {
    let bundle = Bundle::open(bundle).unwrap();
    let lock = bundle.lock().unwrap();
    let finding = FindBy { no_lan: true, ..FindBy::default() };
    let (listen, peers) = (Some(listen.to_owned()), known.to_vec());
    let on_listening = Box::new(|_| {});
    let mqtt = peer::config::MqttDoors::default();
    let time = peer::config::TimeDoors::default();
    let start = Start { bundle, lock, listen, peers, finding, mqtt, time, on_listening };
    Daemon::start(start).await.unwrap()
}

/// Alice and bob as parts of this program.
async fn pair(network: &Network) -> (Daemon, Daemon) {
    let alice = start(&network.bundle("alice"), &[]).await;
    let known = [(name("alice"), alice.listening.to_string())];
    let bob = start(&network.bundle("bob"), &known).await;
    (alice, bob)
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON * 2, test).await.unwrap() });
}

fn pack(texts: &[String]) -> Pack {
    let mut pack = Pack::default();
    assert!(texts.iter().all(|text| pack.push(text.as_bytes())));
    pack
}

fn texts(pack: &Pack) -> Vec<String> {
    pack.items().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
}

async fn one(courier: &mut Courier, text: &str) -> Result<(), Outcome> {
    courier.send(pack(&[text.to_owned()])).await?;
    courier.finish().await
}

/// Sends the same until it arrives, and takes it off the listener.
async fn meet(courier: &mut Courier, listener: &mut Listener) {
    let begun = Instant::now();
    loop {
        let said = async { (one(courier, "hello").await, ()) };
        let heard = listener.next();
        tokio::pin!(said, heard);
        tokio::select! {
            (outcome, ()) = &mut said => match outcome {
                Ok(()) => panic!("it was taken before anybody took it"),
                Err(outcome) => assert!(begun.elapsed() < SOON, "{outcome:?}"),
            },
            _ = &mut heard => return assert_eq!(said.await.0, Ok(())),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[test]
fn what_is_sent_is_heard_in_order_and_touches_no_disk() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let (alice, bob) = pair(&network).await;
        let mut listener = alice.listen().await;
        let mut courier = bob.courier(name("alice"));
        meet(&mut courier, &mut listener).await;
        let sent: Vec<String> = (0..5000).map(|number| format!("message {number}")).collect();
        let parts = sent.clone();
        let sending = tokio::spawn(async move {
            for part in parts.chunks(50) {
                courier.send(pack(part)).await.unwrap();
            }
            courier.finish().await.unwrap();
        });
        let mut heard = Vec::new();
        while heard.len() < sent.len() {
            let (from, pack) = listener.next().await.unwrap();
            assert_eq!(from, name("bob"));
            heard.extend(texts(&pack));
        }
        sending.await.unwrap();
        assert_eq!(heard, sent);
        let inbox = network.peer("inbox alice.bundle --json").ended(0).out;
        assert_eq!(inbox, "", "nothing was stored");
        bob.stop().await;
        alice.stop().await;
    });
}

#[test]
fn without_a_listener_or_a_link_the_sender_is_told_at_once() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let (alice, bob) = pair(&network).await;
        let mut listener = alice.listen().await;
        let mut courier = bob.courier(name("alice"));
        meet(&mut courier, &mut listener).await;
        drop(listener);
        let deaf = Err(Outcome::Refused(Code::Unreachable));
        assert_eq!(one(&mut courier, "anybody?").await, deaf);
        let nobody = one(&mut bob.courier(name("carol")), "carol?").await;
        assert!(matches!(nobody, Err(Outcome::Unreachable(_))), "{nobody:?}");
        let mut empty = bob.courier(name("alice"));
        empty.send(Pack::default()).await.unwrap();
        assert_eq!(empty.finish().await, Err(Outcome::Refused(Code::Malformed)));
        alice.stop().await;
        let gone = one(&mut courier, "gone?").await;
        assert!(matches!(gone, Err(Outcome::Unreachable(_))), "{gone:?}");
        bob.stop().await;
    });
}

#[test]
fn a_listener_that_does_not_hear_holds_its_sender_back_and_nobody_else() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let (alice, bob) = pair(&network).await;
        let mut listener = alice.listen().await;
        let mut courier = bob.courier(name("alice"));
        meet(&mut courier, &mut listener).await;
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        for number in numbers.iter().take(peer::limits::PACKS_UNDER_WAY) {
            courier.send(pack(std::slice::from_ref(number))).await.unwrap();
        }
        // One more is held back, while the link goes on.
        let next = &numbers[peer::limits::PACKS_UNDER_WAY];
        let mut held = Box::pin(courier.send(pack(std::slice::from_ref(next))));
        let said = network.peer("ping bob.bundle alice");
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(still_waits(&mut held).await, "it waits");
        let (_, first) = listener.next().await.unwrap();
        assert_eq!(texts(&first), ["0"]);
        held.await.unwrap();
        bob.stop().await;
        alice.stop().await;
    });
}

/// Whether a future still waits after one look.
async fn still_waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[test]
fn a_flood_is_refused_with_quota_and_a_broken_pack_ends_its_link() {
    let network = Network::with(&["alice", "bob"]);
    run(async {
        let alice = start(&network.bundle("alice"), &[]).await;
        let mut listener = alice.listen().await;
        let address = alice.listening.to_string();
        let bob = Credentials::of_bundle(&network.bundle("bob"));
        let flood = tokio::task::spawn_blocking(move || {
            let mut ear = Ear::dial(&address, Some(&bob));
            assert!(matches!(ear.hello(&bob), Some(Body::Welcome(_))));
            for id in 1..=100 {
                ear.say(&pack(&["flood".to_owned()]).into_frame(id));
            }
            let mut refused = 0;
            while refused < 100 - peer::limits::PACKS_WAITING_MAX {
                if let Body::Receipt(receipt) = ear.body().unwrap() {
                    assert_eq!(receipt.refused, Some(Code::Quota));
                    refused += 1;
                }
            }
            let mut broken = pack(&["broken".to_owned()]).into_frame(101);
            broken[16] ^= 1;
            ear.say(&broken);
            ear.listen().code
        });
        assert_eq!(flood.await.unwrap(), Some(Code::Malformed));
        let (from, first) = listener.next().await.unwrap();
        assert_eq!((from, texts(&first)), (name("bob"), vec!["flood".to_owned()]));
        alice.stop().await;
    });
}

#[test]
fn time_goes_on_for_a_peer_that_never_runs_out_of_news() {
    let network = Network::with(&["alice", "bob", "carol"]);
    // One thread for all: whenever the driver has heard some of it, there is more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async {
        let home = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let known = [(name("carol"), home.to_string())];
        let alice = start(&network.bundle("alice"), &known).await;
        let mut listener = alice.listen().await;
        let known = [(name("alice"), alice.listening.to_string())];
        let bob = start(&network.bundle("bob"), &known).await;
        meet(&mut bob.courier(name("alice")), &mut listener).await;
        // Carol was dialled in vain by now, and only alice's clock tells when to dial her again.
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut floods = Vec::new();
        for _ in 0..128 {
            let (mut courier, stop) = (alice.courier(name("nobody")), stop.clone());
            floods.push(tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // An empty one is refused where it is: news, and nothing else.
                    let _ = courier.send(Pack::default()).await;
                }
            }));
        }
        let carol = start_on(&network.bundle("carol"), &home.to_string(), &[]).await;
        meet(&mut carol.courier(name("alice")), &mut listener).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for flood in floods {
            flood.await.unwrap();
        }
        for daemon in [carol, bob, alice] {
            daemon.stop().await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(SOON * 2, test).await.unwrap() });
}

#[test]
fn a_broadcast_is_heard_by_all_that_listen_and_who_does_not_is_named() {
    let network = Network::with(&["alice", "bob", "carol"]);
    run(async {
        let (alice, bob) = pair(&network).await;
        let known = [
            (name("alice"), alice.listening.to_string()),
            (name("bob"), bob.listening.to_string()),
        ];
        let carol = start(&network.bundle("carol"), &known).await;
        let (mut at_bob, mut at_carol) = (bob.listen().await, carol.listen().await);
        meet(&mut alice.courier(name("bob")), &mut at_bob).await;
        meet(&mut alice.courier(name("carol")), &mut at_carol).await;
        let sent: Vec<String> = (0..5000).map(|number| format!("message {number}")).collect();
        let mut broadcaster = alice.broadcaster();
        let parts = sent.clone();
        let sending = tokio::spawn(async move {
            for part in parts.chunks(50) {
                if let Some(reach) = broadcaster.send(pack(part)).await.unwrap() {
                    assert_eq!((reach.taken, reach.missed.len()), (2, 0));
                }
            }
            while let Some(reach) = broadcaster.next().await.unwrap() {
                assert_eq!((reach.taken, reach.missed.len()), (2, 0));
            }
            broadcaster
        });
        let (bobs, carols) = tokio::join!(hear(&mut at_bob, 5000), hear(&mut at_carol, 5000));
        assert!(bobs == sent && carols == sent, "whole and in order");
        let mut broadcaster = sending.await.unwrap();
        drop(at_carol);
        broadcaster.send(pack(&["anybody?".to_owned()])).await.unwrap();
        assert_eq!(hear(&mut at_bob, 1).await, ["anybody?"]);
        let reach = broadcaster.next().await.unwrap().unwrap();
        assert_eq!(reach.taken, 1);
        assert_eq!(reach.missed, [(name("carol"), Code::Unreachable)].into());
        for daemon in [carol, bob, alice] {
            daemon.stop().await;
        }
    });
}

/// Twelve daemons of which each keeps a few links, and who listens at all but the first.
async fn many(network: &Network) -> (Vec<Daemon>, Vec<Listener>) {
    let (mut all, mut listeners): (Vec<Daemon>, Vec<Listener>) = (Vec::new(), Vec::new());
    for number in 0..MANY {
        let bundle = network.bundle(&format!("n{number}"));
        let config = bundle.join("node.yaml");
        let text = std::fs::read_to_string(&config).unwrap();
        let few = text.replace("full-mesh: 64", "full-mesh: 4");
        assert_ne!(few, text);
        std::fs::write(&config, few).unwrap();
        let known = all.first().map(|first| (name("n0"), first.listening.to_string()));
        let daemon = start(&bundle, known.as_slice()).await;
        if number > 0 {
            listeners.push(daemon.listen().await);
        }
        all.push(daemon);
    }
    (all, listeners)
}

const MANY: usize = 12;

#[test]
fn a_broadcast_in_a_large_network_is_passed_on_and_heard_once_by_each() {
    let names: Vec<String> = (0..MANY).map(|number| format!("n{number}")).collect();
    let network = Network::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    run(async {
        let (all, listeners) = many(&network).await;
        let mut broadcaster = all[0].broadcaster();
        let mut tasks = Vec::new();
        for mut listener in listeners {
            tasks.push(tokio::spawn(async move {
                let mut heard: Vec<u32> = Vec::new();
                while heard.last() != Some(&u32::MAX) {
                    let (from, pack) = listener.next().await.unwrap();
                    assert_eq!(from, name("n0"));
                    heard.extend(texts(&pack).iter().map(|text| text.parse::<u32>().unwrap()));
                }
                heard
            }));
        }
        // Until all know each other and have their ways, it does not reach everybody.
        let begun = Instant::now();
        loop {
            broadcaster.send(pack(&["0".to_owned()])).await.unwrap();
            let reach = broadcaster.next().await.unwrap().unwrap();
            if reach.taken as usize == MANY - 1 {
                break;
            }
            assert!(begun.elapsed() < SOON, "{reach:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        for number in 1..=400_u32 {
            let reach = broadcaster.send(pack(&[number.to_string()])).await.unwrap();
            assert!(reach.is_none_or(|reach| reach.taken as usize == MANY - 1));
        }
        broadcaster.send(pack(&[u32::MAX.to_string()])).await.unwrap();
        while let Some(reach) = broadcaster.next().await.unwrap() {
            assert_eq!((reach.taken as usize, reach.missed.len()), (MANY - 1, 0), "{reach:?}");
        }
        for task in tasks {
            let heard = task.await.unwrap();
            let numbers: Vec<u32> = heard.into_iter().skip_while(|number| *number == 0).collect();
            assert_eq!(numbers.len(), 401);
            let sorted = numbers.iter().is_sorted_by(|one, next| one < next);
            assert!(sorted, "each once, and in order");
        }
        for daemon in all {
            daemon.stop().await;
        }
    });
}

async fn hear(listener: &mut Listener, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let (from, pack) = listener.next().await.unwrap();
        assert_eq!(from, name("alice"));
        heard.extend(texts(&pack));
    }
    heard
}
