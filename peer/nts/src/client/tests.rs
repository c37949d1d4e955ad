//! An association and what it is told, by friend and foe.

use super::*;
use crate::key::Key;
use crate::ntp::{HEADER_BYTES, Mode, ReferenceId, Span};

const NOW_NS: i64 = 1_795_000_000_000_000_000;

fn keys() -> Keys {
    Keys { c2s: Key::new([1; 32]), s2c: Key::new([2; 32]) }
}

fn with_nts() -> Association {
    let mut association = Association::new(Protection::Nts);
    association.exchange_begins(0);
    association.keyed(keys(), vec![vec![9; 100]; 8]);
    association
}

fn ask(association: &mut Association, dice: u8) -> Vec<u8> {
    let mut out = [0; 2048];
    let random = std::array::from_fn(|at| dice.wrapping_add(at as u8));
    let len = association.ask(NOW_NS, &random, &mut out).unwrap();
    out[..len].to_vec()
}

fn header(question: &[u8]) -> Header {
    Header {
        mode: Mode::Server,
        stratum: 1,
        reference_id: ReferenceId::new(*b"GPS\0"),
        origin: Header::read(question).unwrap().transmit,
        receive: Stamp::from_unix_ns(NOW_NS + 1_000_000),
        transmit: Stamp::from_unix_ns(NOW_NS + 1_000_100),
        ..Header::question(4, Stamp::ZERO)
    }
}

fn unique(question: &[u8]) -> &[u8] {
    &question[HEADER_BYTES + 4..HEADER_BYTES + 36]
}

/// An answer with these cookies, sealed with this key.
fn sealed(header: &Header, unique: &[u8], key: &Key, cookies: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [0; 2048];
    let mut sheet = Sheet::new(&mut out);
    header.write(&mut sheet).unwrap();
    put_field(&mut sheet, UNIQUE, unique).unwrap();
    let inside: usize = cookies.iter().map(|cookie| cookie.len() + 4).sum();
    let (signed, field) = sheet.split(AUTHENTICATOR_BYTES + inside).unwrap();
    let mut text = Sheet::new(&mut field[AUTHENTICATOR_BYTES..]);
    cookies.iter().for_each(|cookie| put_field(&mut text, COOKIE, cookie).unwrap());
    seal(key, &[6; 16], signed, field).unwrap();
    let len = sheet.len();
    out[..len].to_vec()
}

fn right(question: &[u8]) -> Vec<u8> {
    sealed(&header(question), unique(question), &keys().s2c, &[vec![8; 100]])
}

fn unsealed(header: &Header, unique: &[u8]) -> Vec<u8> {
    let mut out = [0; 100];
    let mut sheet = Sheet::new(&mut out);
    header.write(&mut sheet).unwrap();
    put_field(&mut sheet, UNIQUE, unique).unwrap();
    let len = sheet.len();
    out[..len].to_vec()
}

fn nak(question: &[u8]) -> Vec<u8> {
    let kiss = Kiss::NtsNak.reference_id();
    let header = Header { stratum: 0, reference_id: kiss, ..header(question) };
    unsealed(&header, unique(question))
}

#[test]
fn a_right_answer_is_a_sample() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    association.sent(NOW_NS + 500);
    let Ok(Heard::Sample(sample)) = association.hear(&right(&question), NOW_NS + 2_000_600) else {
        panic!()
    };
    assert!(sample.is_authentic);
    assert_eq!((sample.t1_ns, sample.t4_ns), (NOW_NS + 500, NOW_NS + 2_000_600));
    assert_eq!((sample.t2_ns, sample.t3_ns), (NOW_NS + 1_000_000, NOW_NS + 1_000_100));
    assert_eq!((sample.offset_ns(), sample.delay_ns()), (-500, 2_000_000));
    assert_eq!((sample.stratum, sample.reference_id.to_string()), (1, "GPS".to_owned()));
    assert_eq!(association.cookies(), 8);
    assert_eq!((association.counters().asked, association.counters().samples), (1, 1));
}

#[test]
fn an_answer_counts_once() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    assert!(association.hear(&right(&question), NOW_NS).is_ok());
    assert_eq!(association.hear(&right(&question), NOW_NS), Err(Refused::NotAsked));
    let _second = ask(&mut association, 2);
    assert_eq!(association.hear(&right(&question), NOW_NS), Err(Refused::OtherQuestion));
}

#[test]
fn an_answer_without_nts_is_never_used() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    let plain = header(&question).octets();
    assert_eq!(association.hear(&plain, NOW_NS), Err(Refused::Strip));
    let named = unsealed(&header(&question), unique(&question));
    assert_eq!(association.hear(&named, NOW_NS), Err(Refused::Strip));
    assert_eq!((association.counters().strips, association.counters().samples), (2, 0));
    assert!(association.hear(&right(&question), NOW_NS).is_ok());
}

#[test]
fn another_key_and_another_name_are_refused() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    let (header, unique) = (header(&question), unique(&question));
    let foreign = sealed(&header, unique, &keys().c2s, &[]);
    assert_eq!(association.hear(&foreign, NOW_NS), Err(Refused::Forged));
    let other = sealed(&header, &[0; 32], &keys().s2c, &[]);
    assert_eq!(association.hear(&other, NOW_NS), Err(Refused::OtherQuestion));
    let echo = association.hear(&question, NOW_NS);
    assert_eq!(echo, Err(Refused::NotAnAnswer));
    assert!(association.hear(&right(&question), NOW_NS).is_ok());
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    let answer = right(&question);
    for bit in 0..answer.len() * 8 {
        let mut changed = answer.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(association.hear(&changed, NOW_NS).is_err(), "{bit}");
    }
    for cut in 0..answer.len() {
        assert!(association.hear(&answer[..cut], NOW_NS).is_err(), "{cut}");
    }
    assert_eq!(association.cookies(), 7);
    assert!(association.hear(&answer, NOW_NS).is_ok());
}

#[test]
fn a_forged_nak_changes_nothing_if_the_answer_comes() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    assert_eq!(association.hear(&nak(&question), NOW_NS), Err(Refused::Nak));
    assert_eq!(association.exchange_due_ms(), None);
    assert!(association.hear(&right(&question), NOW_NS).is_ok());
    let _next = ask(&mut association, 2);
    assert_eq!(association.exchange_due_ms(), None);
    assert_eq!(association.counters().naks, 1);
}

#[test]
fn a_nak_and_no_answer_want_new_keys_after_the_wait() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    assert_eq!(association.hear(&nak(&question), NOW_NS), Err(Refused::Nak));
    let second = ask(&mut association, 2);
    assert_eq!(association.exchange_due_ms(), Some(10_000));
    // The old keys go on, and if they were good after all, nothing is wanted.
    assert!(association.hear(&right(&second), NOW_NS).is_ok());
    assert_eq!(association.exchange_due_ms(), None);
}

#[test]
fn a_nak_for_another_question_is_nothing() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    let mut wrong = nak(&question);
    wrong[HEADER_BYTES + 10] ^= 1;
    assert_eq!(association.hear(&wrong, NOW_NS), Err(Refused::UnsealedKiss));
    let _next = ask(&mut association, 2);
    assert_eq!(association.exchange_due_ms(), None);
}

#[test]
fn naks_without_end_are_a_storm_and_exchanges_slow_down() {
    let mut association = with_nts();
    let mut now_ms = 0;
    let mut exchanges = Vec::new();
    for round in 0..200 {
        now_ms += 16_000;
        let (mut out, random) = ([0; 2048], [round; QUESTION_RANDOM_BYTES]);
        if let Ok(len) = association.ask(NOW_NS, &random, &mut out) {
            assert_eq!(association.hear(&nak(&out[..len]), NOW_NS), Err(Refused::Nak));
        }
        if association.exchange_due_ms().is_some_and(|due| due <= now_ms) {
            association.exchange_begins(now_ms);
            association.keyed(keys(), vec![vec![9; 100]; 8]);
            exchanges.push(now_ms / 1000);
        }
        assert_eq!(association.is_nak_storm(), round >= 3, "{round}");
    }
    assert!((5..14).contains(&exchanges.len()), "{exchanges:?}");
    association.keyed(keys(), vec![vec![9; 100]; 8]);
    let question = ask(&mut association, 250);
    assert!(association.hear(&right(&question), NOW_NS).is_ok());
    assert!(!association.is_nak_storm());
}

#[test]
fn without_cookies_there_is_no_question() {
    let mut association = Association::new(Protection::Nts);
    assert_eq!(association.exchange_due_ms(), Some(0));
    let asked = association.ask(NOW_NS, &[0; QUESTION_RANDOM_BYTES], &mut [0; 2048]);
    assert_eq!(asked, Err(NotAsked::NoCookies));
    let mut association = with_nts();
    (0..8).for_each(|dice| assert!(!ask(&mut association, dice).is_empty()));
    assert_eq!(association.exchange_due_ms(), None);
    let asked = association.ask(NOW_NS, &[0; QUESTION_RANDOM_BYTES], &mut [0; 2048]);
    assert_eq!((asked, association.exchange_due_ms()), (Err(NotAsked::NoCookies), Some(10_000)));
    assert_eq!(association.counters().lost, 8);
}

#[test]
fn the_jar_is_filled_by_placeholders() {
    let mut association = with_nts();
    let lengths: Vec<usize> = (0..4).map(|dice| ask(&mut association, dice).len()).collect();
    let whole = HEADER_BYTES + 36 + 104 + AUTHENTICATOR_BYTES;
    assert_eq!(lengths, [whole, whole + 104, whole + 208, whole + 312]);
}

#[test]
fn kisses_need_a_seal_and_then_are_heeded() {
    let mut association = with_nts();
    let question = ask(&mut association, 1);
    let kiss = |kiss: Kiss, question: &[u8]| Header {
        stratum: 0,
        reference_id: kiss.reference_id(),
        ..header(question)
    };
    let deny = kiss(Kiss::Deny, &question);
    let unsealed = unsealed(&deny, unique(&question));
    assert_eq!(association.hear(&unsealed, NOW_NS), Err(Refused::UnsealedKiss));
    assert!(!association.is_refused());
    let rate = sealed(&kiss(Kiss::Rate, &question), unique(&question), &keys().s2c, &[]);
    let poll = association.poll();
    assert_eq!(association.hear(&rate, NOW_NS), Ok(Heard::Kiss(Kiss::Rate)));
    assert_eq!(association.poll(), poll + 1);
    association.set_poll(POLL_MIN);
    assert_eq!(association.poll(), poll + 1);
    let question = ask(&mut association, 2);
    let deny = sealed(&kiss(Kiss::Deny, &question), unique(&question), &keys().s2c, &[]);
    assert_eq!(association.hear(&deny, NOW_NS), Ok(Heard::Kiss(Kiss::Deny)));
    let asked = association.ask(NOW_NS, &[0; QUESTION_RANDOM_BYTES], &mut [0; 2048]);
    assert_eq!((asked, association.exchange_due_ms()), (Err(NotAsked::Refused), None));
}

/// Whoever is on the way can say so without a seal: that makes a source slow, not silent.
#[test]
fn without_nts_a_refusal_is_a_request_to_ask_seldom() {
    for refusal in [Kiss::Deny, Kiss::Restricted] {
        let mut association = Association::new(Protection::None);
        let question = ask(&mut association, 1);
        let reference_id = refusal.reference_id();
        let kiss = Header { stratum: 0, reference_id, ..header(&question) };
        let mut octets = vec![0; HEADER_BYTES];
        kiss.write(&mut Sheet::new(&mut octets)).unwrap();
        assert_eq!(association.hear(&octets, NOW_NS), Ok(Heard::Kiss(refusal)));
        association.set_poll(POLL_MIN);
        assert_eq!((association.is_refused(), association.poll()), (false, POLL_MAX));
        assert!(!ask(&mut association, 2).is_empty());
    }
}

#[test]
fn a_server_without_time_gives_none() {
    let refused = |change: fn(Header) -> Header| {
        let mut association = with_nts();
        let question = ask(&mut association, 1);
        let header = change(header(&question));
        association.hear(&sealed(&header, unique(&question), &keys().s2c, &[]), NOW_NS)
    };
    let unsynchronised = Err(Refused::Unsynchronised);
    assert_eq!(refused(|header| Header { leap: Leap::Unknown, ..header }), unsynchronised);
    assert_eq!(refused(|header| Header { stratum: 16, ..header }), unsynchronised);
    assert!(refused(|header| Header { stratum: 15, ..header }).is_ok());
    let near = |header| Header { root_dispersion: Span::from_ns(15_999_000_000), ..header };
    assert!(refused(near).is_ok());
    let far = |header| Header { root_dispersion: Span::from_ns(16_000_000_000), ..header };
    assert_eq!(refused(far), Err(Refused::TooFar));
    let long = |header| Header { root_delay: Span::from_ns(32_000_000_000), ..header };
    assert_eq!(refused(long), Err(Refused::TooFar));
    assert_eq!(refused(|header| Header { receive: Stamp::ZERO, ..header }), Err(Refused::Stamps));
    let early = |header: Header| Header { transmit: Stamp::from_unix_ns(NOW_NS), ..header };
    assert_eq!(refused(early), Err(Refused::Stamps));
}

#[test]
fn without_nts_the_random_origin_is_all_there_is() {
    let mut association = Association::new(Protection::None);
    assert_eq!(association.exchange_due_ms(), None);
    let question = ask(&mut association, 1);
    assert_eq!(question.len(), HEADER_BYTES);
    let wrong = Header { origin: Stamp::ZERO, ..header(&question) }.octets();
    assert_eq!(association.hear(&wrong, NOW_NS), Err(Refused::OtherQuestion));
    let Ok(Heard::Sample(sample)) = association.hear(&header(&question).octets(), NOW_NS) else {
        panic!()
    };
    assert!(!sample.is_authentic);
}

#[test]
fn a_dead_clock_learns_the_year() {
    let mut association = Association::new(Protection::None);
    let mut out = [0; 48];
    association.ask(0, &[3; QUESTION_RANDOM_BYTES], &mut out).unwrap();
    let year_2040_ns = 2_208_988_800_000_000_000;
    let stamp = Stamp::from_unix_ns(year_2040_ns);
    let answer = Header { receive: stamp, transmit: stamp, ..header(&out) };
    let Ok(Heard::Sample(sample)) = association.hear(&answer.octets(), 1000) else { panic!() };
    assert_eq!(sample.t2_ns, year_2040_ns);
}

proptest::proptest! {
    #[test]
    fn no_tail_behind_the_right_header_is_believed(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        words in 0usize..8,
    ) {
        let mut association = with_nts();
        let question = ask(&mut association, 1);
        let answer = right(&question);
        let kept = HEADER_BYTES + 36 + words * 4;
        let made_up = [&answer[..kept], &tail].concat();
        proptest::prop_assert!(association.hear(&made_up, NOW_NS).is_err());
        proptest::prop_assert!(association.hear(&answer, NOW_NS).is_ok());
    }
}
