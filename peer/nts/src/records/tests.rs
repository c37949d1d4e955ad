//! Messages of a key exchange, right and wrong.

use super::*;
use crate::cookie::COOKIE_BYTES;
use crate::records::{Offer, answer, problem, request};

fn reader(octets: &[u8]) -> Reader {
    let mut reader = Reader::default();
    assert_eq!(reader.take(octets), Ok(true), "{octets:?}");
    reader
}

fn message(records: &[(u16, &[u8])]) -> Reader {
    let mut octets = Vec::new();
    for (kind, body) in records.iter().chain(&[(0x8000, &[][..])]) {
        octets.extend(kind.to_be_bytes());
        octets.extend((body.len() as u16).to_be_bytes());
        octets.extend(*body);
    }
    reader(&octets)
}

type Row = (u16, &'static [u8]);

const PROTOCOL: Row = (0x8001, &[0, 0]);
const ALGORITHM: Row = (0x8004, &[0, 15]);
const COOKIE: Row = (5, &[1; 100]);

#[test]
fn our_request_is_served() {
    let request = Request::read(&reader(&request())).unwrap();
    assert!(request.is_served());
    let cookies = [[1; COOKIE_BYTES], [2; COOKIE_BYTES]];
    let offer = Offer { server: Some("time.mesh.example".to_owned()), port: Some(11_123) };
    let grant = Grant::read(&reader(&answer(&request, &offer, &cookies))).unwrap();
    assert_eq!(grant.cookies, cookies);
    assert_eq!((grant.agreed.server, grant.agreed.port), (offer.server, offer.port));
}

#[test]
fn a_client_with_other_wishes_is_told_what_we_lack() {
    let answered = |records: &[(u16, &[u8])]| {
        let request = Request::read(&message(records)).unwrap();
        Grant::read(&reader(&answer(&request, &Offer::default(), &[[1; COOKIE_BYTES]])))
    };
    assert_eq!(answered(&[(0x8001, &[0x80, 1]), ALGORITHM]), Err(GrantError::NoProtocol));
    assert_eq!(answered(&[PROTOCOL, (4, &[0, 30])]), Err(GrantError::NoAlgorithm));
    assert!(answered(&[(0x8001, &[0x80, 1, 0, 0]), (4, &[0, 17, 0, 15, 0, 30])]).is_ok());
}

#[test]
fn what_is_not_critical_and_not_known_is_passed_over() {
    let request = Request::read(&message(&[PROTOCOL, ALGORITHM, (0x4000, b"whatever")]));
    assert!(request.unwrap().is_served());
}

#[test]
fn what_is_critical_and_not_known_is_error_zero() {
    let refused = Request::read(&message(&[PROTOCOL, (0x8008, &[])]));
    assert_eq!(refused, Err(Problem::UnknownCritical));
    let refused = Grant::read(&message(&[PROTOCOL, ALGORITHM, COOKIE, (0xC000, &[])]));
    assert_eq!(refused, Err(GrantError::UnknownCritical(0x4000)));
}

#[test]
fn bad_requests_are_error_one() {
    let bad: [&[(u16, &[u8])]; 15] = [
        &[],
        &[ALGORITHM],
        &[PROTOCOL],
        &[PROTOCOL, (0x8004, &[])],
        &[(0x8001, &[]), ALGORITHM],
        &[(1, &[0, 0]), ALGORITHM],
        &[(0x8001, &[0]), ALGORITHM],
        &[PROTOCOL, PROTOCOL, ALGORITHM],
        &[PROTOCOL, ALGORITHM, ALGORITHM],
        &[PROTOCOL, ALGORITHM, COOKIE],
        &[PROTOCOL, ALGORITHM, (0x8002, &[0, 1])],
        &[PROTOCOL, ALGORITHM, (0x8003, &[0, 1])],
        &[PROTOCOL, ALGORITHM, (6, b"a b")],
        &[PROTOCOL, ALGORITHM, (6, b"\x1b[2J")],
        &[PROTOCOL, ALGORITHM, (7, &[0, 0])],
    ];
    for records in bad {
        assert_eq!(Request::read(&message(records)), Err(Problem::BadRequest), "{records:?}");
    }
    assert_eq!(Request::read(&Reader::default()), Err(Problem::BadRequest));
    let long = [0; OFFERS_MAX * 2 + 2];
    assert_eq!(Request::read(&message(&[(0x8001, &long)])), Err(Problem::BadRequest));
}

#[test]
fn a_wish_for_a_server_is_heard() {
    let wish = message(&[PROTOCOL, ALGORITHM, (6, b"2001:db8::1"), (7, &[0x11, 0x6C])]);
    let request = Request::read(&wish).unwrap();
    assert_eq!((request.server.as_deref(), request.port), (Some("2001:db8::1"), Some(4460)));
}

#[test]
fn a_refusal_has_its_code() {
    for (which, code) in
        [(Problem::UnknownCritical, 0), (Problem::BadRequest, 1), (Problem::Internal, 2)]
    {
        assert_eq!(Grant::read(&reader(&problem(which))), Err(GrantError::Refused(code)));
    }
    assert_eq!(Grant::read(&message(&[(0x8003, &[0, 9])])), Err(GrantError::Warned(9)));
}

#[test]
fn bad_answers_give_nothing() {
    const LONG: &[u8] = &[1; COOKIE_BYTES_MAX + 4];
    let bad: [(&[Row], GrantError); 9] = [
        (&[], GrantError::Malformed),
        (&[PROTOCOL, COOKIE], GrantError::Malformed),
        (&[PROTOCOL, ALGORITHM], GrantError::NoCookie),
        (&[PROTOCOL, (0x8004, &[0, 15, 0, 16]), COOKIE], GrantError::Malformed),
        (&[PROTOCOL, (0x8004, &[0, 16]), COOKIE], GrantError::Malformed),
        (&[(0x8001, &[0, 1]), ALGORITHM, COOKIE], GrantError::Malformed),
        (&[PROTOCOL, ALGORITHM, (5, &[1; 13])], GrantError::Malformed),
        (&[PROTOCOL, ALGORITHM, (5, LONG)], GrantError::Malformed),
        (&[PROTOCOL, ALGORITHM, COOKIE, (7, &[1])], GrantError::Malformed),
    ];
    for (records, error) in bad {
        assert_eq!(Grant::read(&message(records)), Err(error), "{records:?}");
    }
    assert_eq!(Grant::read(&Reader::default()), Err(GrantError::Read(ReadError::Cut)));
}

#[test]
fn more_than_eight_cookies_are_too_many_to_keep() {
    let records = [&[PROTOCOL, ALGORITHM][..], &[COOKIE; 12]].concat();
    assert_eq!(Grant::read(&message(&records)).unwrap().cookies.len(), COOKIES_MAX);
}
