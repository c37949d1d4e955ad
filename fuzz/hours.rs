//! A server and a client of the clock whose secrets are known, so that the corpus gets past them.

use std::net::{IpAddr, Ipv4Addr};

use nts::client::{Association, Protection, QUESTION_RANDOM_BYTES};
use nts::limits::DATAGRAM_BYTES_MAX;
use nts::ntp::{Header, Leap, ReferenceId, Span, Stamp};
use nts::records::{self, Offer, Problem, Reader, Request};
use nts::server::{Asked, Host, Plain, Reading, Server, Settings, Verdict};
use nts::{COOKIE_BYTES, Fingerprint, Key, Keys, Ring, Session};

const NOW_S: u64 = 1_795_000_000;
const NOW_NS: i64 = 1_795_000_000_000_000_000;
const RANDOM: [u8; QUESTION_RANDOM_BYTES] = [5; QUESTION_RANDOM_BYTES];

struct Here;

impl Host for Here {
    fn random(&mut self, room: &mut [u8]) {
        room.fill(4);
    }

    fn admits(&mut self, fingerprint: &Fingerprint) -> bool {
        fingerprint.is_none()
    }

    fn now(&mut self) -> Stamp {
        Stamp::from_unix_ns(NOW_NS)
    }
}

fn ring() -> Ring {
    Ring::new(NOW_S, &[3; 32], 7)
}

fn keys() -> Keys {
    Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) }
}

fn cookie() -> [u8; COOKIE_BYTES] {
    let session = Session { keys: keys(), fingerprint: Fingerprint::NONE, until_s: 0 };
    let mut cookie = [0; COOKIE_BYTES];
    assert!(ring().mint(&session, NOW_S, [6; 16], &mut cookie).is_some());
    cookie
}

/// An association that has just asked, and its question.
fn asking(protection: Protection, cookies: usize) -> (Association, Vec<u8>) {
    let mut association = Association::new(protection);
    association.keyed(keys(), (0..cookies).map(|_| cookie().to_vec()));
    let mut out = [0; DATAGRAM_BYTES_MAX];
    let len = association.ask(NOW_NS, &RANDOM, &mut out);
    let question = len.ok().and_then(|len| out.get(..len));
    (association, question.unwrap_or_default().to_vec())
}

fn told(datagram: &[u8]) -> (Verdict, Vec<u8>) {
    let mut server = Server::new(Settings { plain: Plain::Answered, rate: None }, 1);
    let clock = Reading {
        leap: Leap::Steady,
        stratum: 1,
        precision: -23,
        root_delay: Span::from_ns(0),
        root_dispersion: Span::from_ns(1000),
        reference_id: ReferenceId::new(*b"GPS\0"),
        reference: Stamp::from_unix_ns(NOW_NS),
    };
    let asked = Asked {
        datagram,
        from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: Stamp::from_unix_ns(NOW_NS),
        now_s: NOW_S,
        now_ms: 0,
    };
    let mut out = [0; DATAGRAM_BYTES_MAX];
    let verdict = server.handle(&asked, &clock, &ring(), &mut Here, &mut out);
    let answer = out.get(..verdict.len()).unwrap_or_default().to_vec();
    (verdict, answer)
}

/// What the server makes of a datagram.
#[allow(dead_code, reason = "the corpus needs the conversation only")]
pub(crate) fn answered(datagram: &[u8]) -> Verdict {
    told(datagram).0
}

/// What a client makes of it, with NTS and without.
#[allow(dead_code, reason = "the corpus needs the conversation only")]
pub(crate) fn heard(datagram: &[u8]) {
    for protection in [Protection::Nts, Protection::None] {
        let (mut association, _) = asking(protection, 8);
        if association.hear(datagram, NOW_NS).is_ok() {
            assert!(association.hear(datagram, NOW_NS).is_err(), "an answer counted twice");
        }
    }
}

/// What both say when all is well, and the key exchange before, and the ring's file.
#[allow(dead_code, reason = "the fuzzer needs the two ends only")]
pub(crate) fn conversation() -> [Vec<u8>; 9] {
    let request = records::request();
    let mut reader = Reader::default();
    assert_eq!(reader.take(&request), Ok(true));
    let offer = Offer { server: Some("alice.mesh.example".to_owned()), port: Some(11_123) };
    let asked = Request::read(&reader).ok();
    let granted = asked.map(|asked| records::answer(&asked, &offer, &[cookie()]));
    let (_, question) = asking(Protection::Nts, 8);
    let (_, hungry) = asking(Protection::Nts, 5);
    let plain = Header::question(6, Stamp::from_bits(u64::from_be_bytes([5; 8]))).octets();
    let answer = told(&question).1;
    let mut foreign = question.clone();
    foreign.iter_mut().skip(100).take(4).for_each(|octet| *octet ^= 1);
    let nak = told(&foreign).1;
    let problem = records::problem(Problem::BadRequest);
    let ring = ring().to_octets().to_vec();
    let granted = granted.unwrap_or_default();
    [request, granted, problem, ring, question, hungry, answer, nak, told(&plain).1]
}
