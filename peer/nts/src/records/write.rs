//! Writes the messages of a key exchange.

use super::{AES_SIV_CMAC_256, CRITICAL, NTPV4, Request, kind};
use crate::cookie::COOKIE_BYTES;
use crate::limits::COOKIES_MAX;

/// What a server refuses a message with (RFC 8915 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A record that is critical and not known here.
    UnknownCritical,
    /// A message that is not as the standard has it.
    BadRequest,
    /// Something here went wrong.
    Internal,
}

impl Problem {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::UnknownCritical => 0,
            Self::BadRequest => 1,
            Self::Internal => 2,
        }
    }
}

/// What a server tells beside the cookies.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Offer {
    /// Where to ask for the time, if elsewhere than here.
    pub server: Option<String>,
    /// The port to ask at, if not 123.
    pub port: Option<u16>,
}

/// A client's message.
#[must_use]
pub fn request() -> Vec<u8> {
    let mut octets = Vec::new();
    put(&mut octets, kind::PROTOCOL | CRITICAL, &NTPV4.to_be_bytes());
    put(&mut octets, kind::ALGORITHM | CRITICAL, &AES_SIV_CMAC_256.to_be_bytes());
    end(octets)
}

/// A server's answer to a request: what both know, and if that is enough, the cookies.
#[must_use]
pub fn answer(request: &Request, offer: &Offer, cookies: &[[u8; COOKIE_BYTES]]) -> Vec<u8> {
    let mut octets = Vec::new();
    let known =
        |is_known: bool, number: u16| if is_known { number.to_be_bytes().to_vec() } else { vec![] };
    put(&mut octets, kind::PROTOCOL | CRITICAL, &known(request.has_ntpv4(), NTPV4));
    if request.has_ntpv4() {
        let algorithm = known(request.is_served(), AES_SIV_CMAC_256);
        put(&mut octets, kind::ALGORITHM, &algorithm);
    }
    if request.is_served() {
        if let Some(server) = &offer.server {
            put(&mut octets, kind::SERVER | CRITICAL, server.as_bytes());
        }
        if let Some(port) = offer.port {
            put(&mut octets, kind::PORT | CRITICAL, &port.to_be_bytes());
        }
        cookies.iter().take(COOKIES_MAX).for_each(|cookie| put(&mut octets, kind::COOKIE, cookie));
    }
    end(octets)
}

/// A server's refusal.
#[must_use]
pub fn problem(problem: Problem) -> Vec<u8> {
    let mut octets = Vec::new();
    put(&mut octets, kind::ERROR | CRITICAL, &problem.code().to_be_bytes());
    end(octets)
}

fn end(mut octets: Vec<u8>) -> Vec<u8> {
    put(&mut octets, kind::END | CRITICAL, &[]);
    octets
}

fn put(octets: &mut Vec<u8>, kind: u16, body: &[u8]) {
    octets.extend_from_slice(&kind.to_be_bytes());
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    octets.extend_from_slice(&len.to_be_bytes());
    octets.extend(body.iter().take(usize::from(len)));
}
