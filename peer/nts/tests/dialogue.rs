//! Client and server talk in memory: keys, rotation, restart, revocation, and everything hostile.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what goes wrong here is seen by whoever runs it"
)]

use std::net::{IpAddr, Ipv4Addr};

use nts::client::{Association, Heard, NotAsked, Protection, QUESTION_RANDOM_BYTES, Refused};
use nts::limits::{COOKIES_MAX, DATAGRAM_BYTES_MAX, RING_KEYS_MAX, ROTATION_S};
use nts::ntp::{HEADER_BYTES, Header, Leap, Mode, ReferenceId, Span, Stamp};
use nts::records::{Grant, Offer, Reader, Request, answer, request};
use nts::server::{
    Asked, Host, NakReason, Plain, Rate, Reading, Server, Settings, Silence, Verdict,
};
use nts::{COOKIE_BYTES, CookieError, Fingerprint, Key, Keys, Ring, Session};
use proptest::collection::vec;
use proptest::prelude::*;

const START_S: u64 = 1_795_000_000;
const ALICE: Fingerprint = Fingerprint::new([0xA1; 32]);
const BOB: Fingerprint = Fingerprint::new([0xB0; 32]);

/// Random enough: no octets come twice.
#[derive(Default)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(8) {
            self.0 += 1;
            let octets = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut room = [0; N];
        self.roll(&mut room);
        room
    }
}

/// A server with all around it.
struct Side {
    server: Server,
    clock: Reading,
    ring: Ring,
    dice: Dice,
    revoked: Vec<Fingerprint>,
    untold: Vec<Fingerprint>,
    now_s: u64,
}

struct Ears<'a>(&'a mut Dice, &'a [Fingerprint], u64, &'a [Fingerprint]);

impl Host for Ears<'_> {
    fn random(&mut self, room: &mut [u8]) {
        self.0.roll(room);
    }

    fn admits(&mut self, fingerprint: &Fingerprint) -> bool {
        !self.1.contains(fingerprint)
    }

    fn tells(&mut self, fingerprint: &Fingerprint) -> bool {
        !self.3.contains(fingerprint)
    }

    fn now(&mut self) -> Stamp {
        stamp(self.2)
    }
}

fn stamp(now_s: u64) -> Stamp {
    Stamp::from_unix_ns(now_s as i64 * 1_000_000_000)
}

fn reading() -> Reading {
    Reading {
        leap: Leap::Steady,
        stratum: 2,
        precision: -23,
        root_delay: Span::from_ns(1_000_000),
        root_dispersion: Span::from_ns(2_000_000),
        reference_id: ReferenceId::new([127, 0, 0, 1]),
        reference: stamp(START_S - 10),
    }
}

impl Side {
    fn new(settings: Settings) -> Self {
        let mut dice = Dice::default();
        let ring = Ring::new(START_S, &dice.array(), 77);
        let server = Server::new(settings, 5);
        Self {
            server,
            clock: reading(),
            ring,
            dice,
            revoked: vec![],
            untold: vec![],
            now_s: START_S,
        }
    }

    fn with_nts() -> Self {
        Self::new(Settings { plain: Plain::Refused, rate: None })
    }

    fn ask(&mut self, datagram: &[u8]) -> (Verdict, Vec<u8>) {
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let asked = Asked {
            datagram,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: stamp(self.now_s),
            now_s: self.now_s,
            now_ms: (self.now_s - START_S) * 1000,
        };
        let mut host = Ears(&mut self.dice, &self.revoked, self.now_s, &self.untold);
        let verdict = self.server.handle(&asked, &self.clock, &self.ring, &mut host, &mut out);
        assert!(verdict.len() <= datagram.len(), "{verdict:?} for {}", datagram.len());
        (verdict, out[..verdict.len()].to_vec())
    }

    /// What both ends get from TLS, and the server's cookies, through the real records.
    fn exchange(&mut self, association: &mut Association, fingerprint: Fingerprint) {
        let keys = Keys { c2s: Key::new(self.dice.array()), s2c: Key::new(self.dice.array()) };
        let session = Session { keys: keys.clone(), fingerprint, until_s: 0 };
        let mut reader = Reader::default();
        assert_eq!(reader.take(&request()), Ok(true));
        let asked = Request::read(&reader).unwrap();
        let mut cookies = [[0; COOKIE_BYTES]; COOKIES_MAX];
        for room in &mut cookies {
            self.ring.mint(&session, self.now_s, self.dice.array(), room).unwrap();
        }
        let mut reader = Reader::default();
        assert_eq!(reader.take(&answer(&asked, &Offer::default(), &cookies)), Ok(true));
        association.exchange_begins((self.now_s - START_S) * 1000);
        association.keyed(keys, Grant::read(&reader).unwrap().cookies);
    }

    fn rotate(&mut self) {
        assert!(self.ring.is_due(self.now_s));
        let secret = self.dice.array();
        self.ring.rotate(self.now_s, &secret);
    }

    fn restart(&mut self) {
        self.ring = Ring::from_octets(&self.ring.to_octets()).unwrap();
        self.server = Server::new(Settings { plain: Plain::Refused, rate: None }, 6);
    }
}

/// A client with its own dice.
struct Client {
    association: Association,
    dice: Dice,
}

impl Client {
    fn of(side: &mut Side, fingerprint: Fingerprint) -> Self {
        let mut association = Association::new(Protection::Nts);
        side.exchange(&mut association, fingerprint);
        Self { association, dice: Dice(1 << 32) }
    }

    fn question(&mut self, now_s: u64) -> Result<Vec<u8>, NotAsked> {
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let random: [u8; QUESTION_RANDOM_BYTES] = self.dice.array();
        let len = self.association.ask(now_s as i64 * 1_000_000_000, &random, &mut out)?;
        Ok(out[..len].to_vec())
    }

    /// One question, its answer if there is one, and what came of it.
    fn poll(&mut self, side: &mut Side) -> (Verdict, Option<Result<Heard, Refused>>) {
        let question = self.question(side.now_s).unwrap();
        let (verdict, told) = side.ask(&question);
        let at_ns = side.now_s as i64 * 1_000_000_000 + 1000;
        let heard = (!verdict.is_empty()).then(|| self.association.hear(&told, at_ns));
        (verdict, heard)
    }

    fn succeeds(&mut self, side: &mut Side) {
        let (verdict, heard) = self.poll(side);
        assert!(matches!(verdict, Verdict::Sealed { .. }), "{verdict:?}");
        let Some(Ok(Heard::Sample(sample))) = heard else { panic!("{heard:?}") };
        assert!(sample.is_authentic);
        assert_eq!((sample.stratum, sample.offset_ns()), (2, -500));
    }
}

#[test]
fn a_conversation_of_a_hundred_questions() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    for _ in 0..100 {
        side.now_s += 16;
        alice.succeeds(&mut side);
        assert_eq!(alice.association.cookies(), COOKIES_MAX);
    }
    assert_eq!(alice.association.counters().samples, 100);
}

#[test]
fn lost_answers_are_made_up_for_by_two() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    (0..7).for_each(|_| drop(alice.question(START_S).unwrap()));
    assert_eq!(alice.association.cookies(), 1);
    let (verdict, _) = alice.poll(&mut side);
    let Verdict::Sealed { cookies, fingerprint, .. } = verdict else { panic!("{verdict:?}") };
    // One more would not have been whole on every way.
    assert_eq!((cookies, fingerprint), (COOKIES_MAX - 1, ALICE));
    assert_eq!(alice.association.cookies(), COOKIES_MAX - 1);
    alice.succeeds(&mut side);
    assert_eq!(alice.association.cookies(), COOKIES_MAX);
}

#[test]
fn a_week_of_rotations_and_restarts_without_a_nak() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    let mut bob = Client::of(&mut side, BOB);
    for day in 1..30 {
        side.now_s += ROTATION_S;
        side.rotate();
        side.restart();
        // A jar is used up and filled again in three hours at most; here in a moment.
        (0..COOKIES_MAX).for_each(|_| alice.succeeds(&mut side));
        // Bob was away for as long as the ring remembers.
        if day % (RING_KEYS_MAX - 1) == 0 {
            (0..COOKIES_MAX).for_each(|_| bob.succeeds(&mut side));
        }
    }
    assert_eq!((alice.association.counters().naks, bob.association.counters().naks), (0, 0));
}

#[test]
fn who_was_away_for_longer_is_told_and_comes_back() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    for _ in 0..RING_KEYS_MAX {
        side.now_s += ROTATION_S;
        side.rotate();
    }
    let (verdict, heard) = alice.poll(&mut side);
    let why = NakReason::Cookie(CookieError::Foreign(77));
    assert!(matches!(verdict, Verdict::Nak { why: told, .. } if told == why), "{verdict:?}");
    assert_eq!(heard, Some(Err(Refused::Nak)));
    let _again = alice.poll(&mut side);
    assert!(alice.association.exchange_due_ms().is_some());
    side.exchange(&mut alice.association, ALICE);
    alice.succeeds(&mut side);
}

#[test]
fn a_lost_ring_costs_one_exchange() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    side.ring = Ring::new(side.now_s, &[9; 32], 0xFFFF_0000);
    let (verdict, _) = alice.poll(&mut side);
    assert!(matches!(verdict, Verdict::Nak { .. }), "{verdict:?}");
    assert!(matches!(alice.poll(&mut side).1, Some(Err(Refused::Nak))));
    side.exchange(&mut alice.association, ALICE);
    alice.succeeds(&mut side);
    assert_eq!(alice.association.exchange_due_ms(), None);
}

#[test]
fn a_revoked_client_gets_no_time_from_the_next_packet_on() {
    let mut side = Side::with_nts();
    let (mut alice, mut bob) = (Client::of(&mut side, ALICE), Client::of(&mut side, BOB));
    alice.succeeds(&mut side);
    side.revoked.push(ALICE);
    for _ in 0..COOKIES_MAX {
        let (verdict, heard) = alice.poll(&mut side);
        assert_eq!(verdict, Verdict::Silence(Silence::NotAdmitted(ALICE)));
        assert_eq!(heard, None);
        bob.succeeds(&mut side);
    }
    assert_eq!(alice.question(START_S), Err(NotAsked::NoCookies));
    // Let in again, the cookies that are left are as good as before; there are none.
    side.revoked.clear();
    side.exchange(&mut alice.association, ALICE);
    alice.succeeds(&mut side);
}

#[test]
fn who_showed_no_certificate_can_be_left_out_at_any_time() {
    let mut side = Side::with_nts();
    let mut stranger = Client::of(&mut side, Fingerprint::NONE);
    stranger.succeeds(&mut side);
    side.revoked.push(Fingerprint::NONE);
    let (verdict, _) = stranger.poll(&mut side);
    assert_eq!(verdict, Verdict::Silence(Silence::NotAdmitted(Fingerprint::NONE)));
}

#[test]
fn a_clock_that_is_for_members_is_none_for_strangers() {
    let mut side = Side::new(Settings { plain: Plain::Answered, rate: None });
    side.untold.push(Fingerprint::NONE);
    Client::of(&mut side, ALICE).succeeds(&mut side);
    let mut stranger = Client::of(&mut side, Fingerprint::NONE);
    let (verdict, heard) = stranger.poll(&mut side);
    assert!(matches!(verdict, Verdict::Sealed { .. }), "{verdict:?}");
    assert_eq!(heard, Some(Err(Refused::Unsynchronised)));
    let question = Header::question(6, Stamp::from_bits(42)).octets();
    let told = Header::read(&side.ask(&question).1).unwrap();
    assert_eq!((told.leap, told.stratum), (Leap::Unknown, 16));
}

#[test]
fn time_ends_with_the_certificate() {
    let mut side = Side::with_nts();
    let keys = Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) };
    let until_s = START_S as u32 + 60;
    let session = Session { keys: keys.clone(), fingerprint: ALICE, until_s };
    let mut cookie = [0; COOKIE_BYTES];
    side.ring.mint(&session, START_S, [1; 16], &mut cookie).unwrap();
    let mut alice = Client { association: Association::new(Protection::Nts), dice: Dice(1) };
    alice.association.keyed(keys, [cookie.to_vec()]);
    side.now_s += 60;
    alice.succeeds(&mut side);
    side.now_s += 1;
    let (verdict, _) = alice.poll(&mut side);
    let why = NakReason::Cookie(CookieError::Expired(1));
    assert!(matches!(verdict, Verdict::Nak { why: told, .. } if told == why), "{verdict:?}");
}

#[test]
fn a_clock_that_is_not_synchronised_says_so() {
    let mut side = Side::with_nts();
    side.clock = Reading::unsynchronised(-23);
    let mut alice = Client::of(&mut side, ALICE);
    let question = alice.question(START_S).unwrap();
    let (_, told) = side.ask(&question);
    let header = Header::read(&told).unwrap();
    assert_eq!((header.leap, header.stratum, header.mode), (Leap::Unknown, 16, Mode::Server));
    assert_eq!(alice.association.hear(&told, 0), Err(Refused::Unsynchronised));
    assert_eq!(alice.association.cookies(), COOKIES_MAX);
    // Nor does it claim a stratum when only the leap indicator tells.
    side.clock = Reading { leap: Leap::Unknown, ..reading() };
    let question = alice.question(START_S).unwrap();
    assert_eq!(Header::read(&side.ask(&question).1).unwrap().stratum, 16);
}

#[test]
fn a_stolen_cookie_is_worth_nothing_without_its_keys() {
    let mut side = Side::with_nts();
    let (mut alice, mut bob) = (Client::of(&mut side, ALICE), Client::of(&mut side, BOB));
    let stolen = alice.question(START_S).unwrap();
    let mut own = bob.question(START_S).unwrap();
    let at = HEADER_BYTES + 36 + 4;
    own[at..at + COOKIE_BYTES].copy_from_slice(&stolen[at..at + COOKIE_BYTES]);
    let (verdict, _) = side.ask(&own);
    assert!(matches!(verdict, Verdict::Nak { why: NakReason::Forged, .. }), "{verdict:?}");
}

#[test]
fn nothing_but_the_whole_question_is_answered() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    let _lost = alice.question(START_S).unwrap();
    let question = alice.question(START_S).unwrap();
    for bit in 0..question.len() * 8 {
        let mut changed = question.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (verdict, told) = side.ask(&changed);
        assert!(matches!(verdict, Verdict::Nak { .. } | Verdict::Silence(_)), "{bit}: {verdict:?}");
        assert!(told.is_empty() || Header::read(&told).unwrap().stratum == 0);
    }
    for cut in 0..question.len() {
        let (verdict, _) = side.ask(&question[..cut]);
        assert!(matches!(verdict, Verdict::Silence(_)), "{cut}: {verdict:?}");
    }
    assert!(matches!(side.ask(&question).0, Verdict::Sealed { cookies: 2, .. }));
}

#[test]
fn damage_on_the_way_never_becomes_a_plain_answer() {
    let mut side = Side::new(Settings { plain: Plain::Answered, rate: None });
    let mut alice = Client::of(&mut side, ALICE);
    let question = alice.question(START_S).unwrap();
    for bit in 0..question.len() * 8 {
        let mut changed = question.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (verdict, _) = side.ask(&changed);
        assert!(matches!(verdict, Verdict::Nak { .. } | Verdict::Silence(_)), "{bit}: {verdict:?}");
    }
    // Cut down to what is a question without NTS, it gets an answer that the client does not use.
    let (verdict, told) = side.ask(&question[..HEADER_BYTES]);
    assert_eq!(verdict, Verdict::Plain { len: HEADER_BYTES });
    assert_eq!(alice.association.hear(&told, 0), Err(Refused::Strip));
}

#[test]
fn without_nts_there_is_an_answer_only_if_it_is_wanted() {
    let question = Header::question(6, Stamp::from_bits(42)).octets();
    assert_eq!(Side::with_nts().ask(&question).0, Verdict::Silence(Silence::Plain));
    let mut side = Side::new(Settings { plain: Plain::Answered, rate: None });
    let (verdict, told) = side.ask(&question);
    assert_eq!(verdict, Verdict::Plain { len: HEADER_BYTES });
    let header = Header::read(&told).unwrap();
    assert_eq!((header.origin, header.receive), (Stamp::from_bits(42), stamp(START_S)));
    assert_eq!((header.poll, header.version, header.stratum), (6, 4, 2));
    let mut old = question;
    old[0] = 0x1B;
    assert_eq!(Header::read(&side.ask(&old).1).unwrap().version, 3);
    for first in [0x23 ^ 0x07, 0x24, 0x25, 0x26, 0x27, 0x21] {
        old[0] = first;
        assert!(matches!(side.ask(&old).0, Verdict::Silence(Silence::NotAQuestion(_))));
    }
    for version in [0, 1, 2, 5, 6, 7] {
        old[0] = version << 3 | 3;
        assert_eq!(side.ask(&old).0, Verdict::Silence(Silence::Version(version)));
    }
}

#[test]
fn who_asks_too_often_hears_nothing() {
    let rate = Some(Rate { burst: 4, per_s: 1 });
    let mut side = Side::new(Settings { plain: Plain::Refused, rate });
    let mut alice = Client::of(&mut side, ALICE);
    (0..4).for_each(|_| alice.succeeds(&mut side));
    assert_eq!(alice.poll(&mut side).0, Verdict::Silence(Silence::TooOften));
    side.now_s += 1;
    alice.succeeds(&mut side);
}

#[test]
fn a_small_buffer_is_no_answer() {
    let mut side = Side::with_nts();
    let mut alice = Client::of(&mut side, ALICE);
    let question = alice.question(START_S).unwrap();
    let asked = Asked {
        datagram: &question,
        from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: stamp(START_S),
        now_s: START_S,
        now_ms: 0,
    };
    for len in 0..question.len() {
        let mut host = Ears(&mut side.dice, &side.revoked, START_S, &[]);
        let mut out = vec![0; len];
        let verdict = side.server.handle(&asked, &side.clock, &side.ring, &mut host, &mut out);
        assert_eq!(verdict, Verdict::Silence(Silence::NoRoom), "{len}");
    }
}

proptest! {
    #[test]
    fn no_octets_make_it_say_more_than_it_heard(octets in vec(any::<u8>(), 0..300)) {
        let mut side = Side::new(Settings { plain: Plain::Answered, rate: None });
        let (verdict, _) = side.ask(&octets);
        let is_sealed = matches!(verdict, Verdict::Sealed { .. });
        prop_assert!(!is_sealed);
    }

    #[test]
    fn nor_do_fields_in_disorder(order in vec(0usize..5, 0..12), len in 1u16..70) {
        let mut side = Side::with_nts();
        let mut alice = Client::of(&mut side, ALICE);
        let question = alice.question(START_S).unwrap();
        let at = HEADER_BYTES + 36 + 4 + COOKIE_BYTES;
        let more = vec![0; usize::from(len * 4).max(4) - 4];
        let unknown = [&[0x12, 0x34][..], &(len * 4).to_be_bytes(), &more].concat();
        let blank = [&[3, 4, 0, 144][..], &[0; COOKIE_BYTES]].concat();
        let fields = question[HEADER_BYTES..].split_at(36);
        let (unique, (cookie, seal)) = (fields.0, fields.1.split_at(at - HEADER_BYTES - 36));
        let fields = [unique, cookie, seal, &unknown, &blank];
        let mut datagram = question[..HEADER_BYTES].to_vec();
        order.iter().for_each(|field| datagram.extend_from_slice(fields[*field]));
        let (verdict, _) = side.ask(&datagram);
        prop_assert_eq!(matches!(verdict, Verdict::Sealed { .. }), order == [0, 1, 2]);
    }
}
