//! Links over loopback: the real TLS, the real frames, and everything that must be refused.

mod place;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::feed::Act;
use shared::refusal::{Code, Refusal};
use shared::wire::{Body, Kind, Message};
use tls::{Dialler, Listener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use place::{Place, dialler, listener, name};

const SOON: Duration = Duration::from_secs(5);

/// Both ends of one connection, from `accept` and `dial`.
async fn meet(
    listener: &Listener,
    dialler: &Dialler,
    expected: Option<&str>,
) -> (Result<Secured, Failure>, Result<Secured, Failure>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let listen = async { accept(socket.accept().await.unwrap().0, listener).await };
    let dialling = async {
        match dial(&address, expected.map(name), dialler).await {
            // The listener's refusal comes with the first read.
            Ok(mut secured) => match secured.read_body(Duration::from_millis(300)).await {
                Err(failure) if failure.code.is_some() => Err(failure),
                _ => Ok(secured),
            },
            Err(failure) => Err(failure),
        }
    };
    tokio::join!(listen, dialling)
}

async fn pair(place: &Place) -> (Secured, Secured) {
    let alice = listener(&place.member("alice"), place.verifier());
    let bob = dialler(&place.member("bob"), place.verifier());
    let (a, b) = meet(&alice, &bob, Some("alice")).await;
    (a.unwrap(), b.unwrap())
}

fn outcome(result: Result<Secured, Failure>) -> (Option<Code>, By) {
    let failure = result.err().unwrap();
    assert!(failure.remote.is_some(), "{failure:?}");
    (failure.code, failure.by)
}

struct Forward(mpsc::Sender<(Kind, Bytes)>);

impl Sink for Forward {
    async fn batch(&mut self, frames: Vec<(Kind, Bytes)>) -> Result<(), Refusal> {
        for frame in frames {
            let _ = self.0.send(frame).await;
        }
        Ok(())
    }
}

struct Refusing;

impl Sink for Refusing {
    async fn batch(&mut self, _: Vec<(Kind, Bytes)>) -> Result<(), Refusal> {
        Err(Refusal::new(Code::Policy, "no"))
    }
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn sink() -> (Forward, mpsc::Receiver<(Kind, Bytes)>) {
    let (sender, receiver) = mpsc::channel(16);
    (Forward(sender), receiver)
}

fn message(id: u64, length: usize) -> Bytes {
    Body::Message(Message { id, body: vec![7; length] }).to_frame().into()
}

#[tokio::test]
async fn members_meet_and_speak() {
    let (mut alice, mut bob) = pair(&Place::new()).await;
    assert_eq!((alice.member.node(), bob.member.node()), (&name("bob"), &name("alice")));
    bob.write_body(&Body::Ping(7)).await.unwrap();
    assert_eq!(alice.read_body(SOON).await, Ok(Body::Ping(7)));
    alice.refuse(Code::DuplicateInstance).await;
    let failure = bob.read_body(SOON).await.unwrap_err();
    assert_eq!((failure.code, failure.by), (Some(Code::DuplicateInstance), By::Them));
}

#[tokio::test]
async fn the_listener_s_refusal_is_known_on_both_sides() {
    let place = Place::new();
    let cases = [
        (Code::ForeignAuthority, Place::new().member("bob"), place.verifier()),
        (Code::Expired, place.identity("bob", -60), place.verifier()),
        (Code::Revoked, place.member("bob"), place.verifier_against("bob", Act::Revoke)),
        (Code::Suspended, place.member("bob"), place.verifier_against("bob", Act::Suspend)),
    ];
    for (code, bob, verifier) in cases {
        let alice = listener(&place.member("alice"), verifier);
        let (a, b) = meet(&alice, &dialler(&bob, place.verifier()), None).await;
        assert_eq!(outcome(a), (Some(code), By::Us));
        assert_eq!(outcome(b), (Some(code), By::Them));
    }
}

#[tokio::test]
async fn the_dialler_s_refusal_is_known_on_both_sides() {
    let place = Place::new();
    let cases = [
        (Code::WrongName, place.member("mallory"), place.verifier()),
        (Code::Expired, place.identity("alice", -60), place.verifier()),
        (Code::Revoked, place.member("alice"), place.verifier_against("alice", Act::Revoke)),
        (Code::ForeignAuthority, Place::new().member("alice"), place.verifier()),
    ];
    for (code, alice, verifier) in cases {
        let bob = dialler(&place.member("bob"), verifier);
        let (a, b) = meet(&listener(&alice, place.verifier()), &bob, Some("alice")).await;
        assert_eq!(outcome(a), (Some(code), By::Them));
        assert_eq!(outcome(b), (Some(code), By::Us));
    }
}

#[tokio::test]
async fn without_a_certificate_the_alert_arrives_and_with_a_ticket_store_no_ticket_does() {
    let place = Place::new();
    let alice = listener(&place.member("alice"), place.verifier());
    let (config, _verdict) = dialler(&place.member("bob"), place.verifier()).config(None).unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let member = Arc::new(config.clone());
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    for (config, code) in [(Arc::new(config), Some(Code::NoCertificate)), (member, None)] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let dialling = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect(tls::server_name(), tcp).await.unwrap();
            let read = timeout(Duration::from_millis(300), stream.read_u8()).await;
            assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
            read.ok().map(|read| Failure::of_io(&read.unwrap_err(), Role::Dialler))
        };
        let listen = async { accept(socket.accept().await.unwrap().0, &alice).await };
        let (a, b) = tokio::join!(listen, dialling);
        assert_eq!(a.err().and_then(|failure| failure.code), code);
        assert_eq!(b.and_then(|failure| failure.code), code);
    }
}

#[tokio::test]
async fn a_silent_handshake_is_cut() {
    let place = Place::new();
    let alice = listener(&place.member("alice"), place.verifier());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let patience = Patience { handshake: Duration::from_millis(50), ..Patience::default() };
    let tcp = socket.accept().await.unwrap().0;
    let failure = accept_with(tcp, &alice, patience).await.err().unwrap();
    assert_eq!((failure.code, failure.by), (None, By::Us));
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn noise_instead_of_a_handshake_is_refused_in_bounds() {
    let place = Place::new();
    let alice = listener(&place.member("alice"), place.verifier());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut noise = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let failure = accept(socket.accept().await.unwrap().0, &alice).await.err().unwrap();
    assert_eq!((failure.code, failure.by), (Some(Code::Malformed), By::Us));
}

#[tokio::test]
async fn garbage_before_the_link_gets_one_error_frame() {
    let (mut alice, mut bob) = pair(&Place::new()).await;
    bob.stream.write_all(&[0xff; 32]).await.unwrap();
    let (a, b) = tokio::join!(alice.read_body(SOON), bob.read_body(SOON));
    assert_eq!(a.map_err(|f| (f.code, f.by)), Err((Some(Code::Malformed), By::Us)));
    assert_eq!(b.map_err(|f| (f.code, f.by)), Err((Some(Code::Malformed), By::Them)));
    let end = bob.read_body(SOON).await.unwrap_err();
    assert_eq!(end.code, None);
}

#[tokio::test]
async fn garbage_on_a_link_gets_one_error_frame() {
    let (alice, mut bob) = pair(&Place::new()).await;
    let (into, mut received) = sink();
    let (queue, task) = alice.start(into);
    bob.write_body(&Body::Ping(1)).await.unwrap();
    bob.stream.write_all(&[0, 0, 0, 1, 99]).await.unwrap();
    assert_eq!(received.recv().await.unwrap().0, Kind::Ping);
    let failure = bob.read_body(SOON).await.unwrap_err();
    assert_eq!((failure.code, failure.by), (Some(Code::Malformed), By::Them));
    drop(bob);
    let end = task.await.unwrap();
    assert!(matches!(end, End::Refused { code: Code::Malformed, by: By::Us, .. }), "{end:?}");
    assert_eq!(queue.push(Class::Control, message(1, 1)), Err(QueueError::Closed));
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_and_a_close_drains() {
    let (alice, bob) = pair(&Place::new()).await;
    let (into, mut received) = sink();
    let (queue, sender) = alice.start(into);
    let (into, mut arrived) = sink();
    let (_back, receiver) = bob.start(into);
    let count = 5000;
    let sending = async {
        for id in 0..count {
            let length = if id % 50 == 0 { 60 * 1024 } else { (id % 300) as usize };
            queue.push_wait(Class::Message, message(id, length)).await.unwrap();
        }
        queue.close();
    };
    let receiving = async {
        for id in 0..count {
            let (kind, payload) = arrived.recv().await.unwrap();
            assert_eq!((kind, &payload[..8]), (Kind::Message, &id.to_be_bytes()[..]));
        }
    };
    tokio::join!(sending, receiving);
    assert_eq!(receiver.await.unwrap(), End::Closed);
    assert_eq!(sender.await.unwrap(), End::Drained);
    assert!(received.recv().await.is_none());
}

#[tokio::test]
async fn a_sink_that_refuses_ends_the_link_with_its_code() {
    let (alice, mut bob) = pair(&Place::new()).await;
    let (_queue, task) = alice.start(Refusing);
    bob.write_body(&Body::Ping(1)).await.unwrap();
    let failure = bob.read_body(SOON).await.unwrap_err();
    assert_eq!((failure.code, failure.by), (Some(Code::Policy), By::Them));
    drop(bob);
    let end = task.await.unwrap();
    assert!(matches!(end, End::Refused { code: Code::Policy, by: By::Us, .. }));
}

#[tokio::test]
async fn a_cut_frees_a_writer_whose_peer_never_reads() {
    let (alice, mut bob) = pair(&Place::new()).await;
    let kill = alice.kill.clone();
    let (queue, task) = alice.start(sink().0);
    let stuck = async {
        loop {
            queue.push_wait(Class::Bulk, message(1, 60 * 1024)).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_millis(300), stuck).await.is_err());
    assert!(queue.bytes() > 0);
    kill.kill();
    let end = timeout(Duration::from_millis(200), task).await;
    assert_eq!(end.unwrap().unwrap(), End::Killed);
    assert_eq!(queue.bytes(), 0);
    assert_eq!(queue.push(Class::Control, message(1, 1)), Err(QueueError::Closed));
    // RST: the peer's kernel says so, and no close_notify or FIN came.
    let error = loop {
        if let Err(error) = bob.stream.read(&mut [0; 65536]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_cut_frees_a_reader_and_a_sink_that_waits() {
    let (alice, mut bob) = pair(&Place::new()).await;
    let kill = alice.kill.clone();
    let (into, received) = sink();
    let (_queue, task) = alice.start(into);
    for id in 0..40 {
        bob.write_body(&Body::Ping(id)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    kill.kill();
    let end = timeout(Duration::from_millis(200), task).await;
    assert_eq!(end.unwrap().unwrap(), End::Killed);
    drop(received);
    let (mut alice, _bob) = pair(&Place::new()).await;
    alice.kill.kill();
    assert!(alice.read_body(SOON).await.unwrap_err().code.is_none());
}
