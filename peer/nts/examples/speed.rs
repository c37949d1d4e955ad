//! How long one question takes, without a socket: `cargo run --release -p nts --example speed`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use nts::client::{Association, Protection, QUESTION_RANDOM_BYTES};
use nts::limits::DATAGRAM_BYTES_MAX;
use nts::ntp::{Header, Leap, ReferenceId, Span, Stamp};
use nts::server::{Asked, Host, Plain, Rate, Reading, Server, Settings};
use nts::{COOKIE_BYTES, Fingerprint, Key, Keys, Ring, Session};

const RUNS: u32 = 500;
const ROUNDS: u32 = 100;
const NOW_S: u64 = 1_795_000_000;

struct Bench(u64);

impl Host for Bench {
    fn random(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
        }
    }

    fn admits(&mut self, _: &Fingerprint) -> bool {
        true
    }

    fn now(&mut self) -> Stamp {
        Stamp::from_unix_ns(NOW_S as i64 * 1_000_000_000)
    }
}

/// The best of many short runs, because the machine has other things to do.
fn per_round(name: &str, mut round: impl FnMut()) {
    let best = (0..RUNS).map(|_| {
        let begin = Instant::now();
        (0..ROUNDS).for_each(|_| round());
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    });
    println!("{name:24} {:6.2} us", best.fold(f64::INFINITY, f64::min));
}

fn main() {
    let keys = Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) };
    let session = Session { keys: keys.clone(), fingerprint: Fingerprint::NONE, until_s: 0 };
    let ring = Ring::new(NOW_S, &[3; 32], 1);
    let mut host = Bench(1);
    let mint = |nonce| {
        let mut cookie = [0; COOKIE_BYTES];
        ring.mint(&session, NOW_S, nonce, &mut cookie).unwrap();
        cookie.to_vec()
    };
    let mut association = Association::new(Protection::Nts);
    association.keyed(keys.clone(), (0..8).map(|nonce| mint([nonce; 16])));
    let mut out = [0; DATAGRAM_BYTES_MAX];
    let random = [7; QUESTION_RANDOM_BYTES];
    let len = association.ask(0, &random, &mut out).unwrap();
    let one = out[..len].to_vec();
    let mut eight = Vec::new();
    for _ in 0..7 {
        let len = association.ask(0, &random, &mut out).unwrap();
        eight = out[..len].to_vec();
    }
    let mut forged = one.clone();
    *forged.last_mut().unwrap() ^= 1;
    let plain = Header::question(6, Stamp::from_bits(1)).octets().to_vec();
    let clock = Reading {
        leap: Leap::Steady,
        stratum: 1,
        precision: -23,
        root_delay: Span::from_ns(0),
        root_dispersion: Span::from_ns(1000),
        reference_id: ReferenceId::new(*b"GPS\0"),
        reference: Stamp::from_bits(1),
    };
    let rate = Some(Rate { burst: 4_000_000, per_s: u32::MAX });
    let mut server = Server::new(Settings { plain: Plain::Answered, rate }, 1);
    for (name, datagram) in [
        ("plain", &plain),
        ("NTS, one cookie", &one),
        ("NTS, as many as fit", &eight),
        ("forged", &forged),
    ] {
        let asked = Asked {
            datagram,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: Stamp::from_bits(1),
            now_s: NOW_S,
            now_ms: 1,
        };
        per_round(name, || {
            std::hint::black_box(server.handle(&asked, &clock, &ring, &mut host, &mut out));
        });
    }
    per_round("a client's question", || {
        association.keyed(keys.clone(), [mint([9; 16])]);
        std::hint::black_box(association.ask(0, &random, &mut out).unwrap());
    });
}
