//! What the records of a complete message say, and whether they may say it.

use super::reader::{ReadError, Reader, Record};
use super::write::Problem;
use super::{AES_SIV_CMAC_256, NTPV4, kind};
use crate::limits::{COOKIE_BYTES_MAX, COOKIES_MAX, NAME_BYTES_MAX, OFFERS_MAX};
use crate::octets::Octets;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    protocols: Vec<u16>,
    algorithms: Vec<u16>,
    /// The server that the client would like to ask for the time.
    pub server: Option<String>,
    /// And its port.
    pub port: Option<u16>,
}

impl Request {
    /// Reads a client's message.
    ///
    /// # Errors
    /// What [`super::problem`] should answer with.
    pub fn read(reader: &Reader) -> Result<Self, Problem> {
        reader.finish().map_err(|_| Problem::BadRequest)?;
        let said = Said::collect(reader).map_err(|wrong| match wrong {
            Wrong::UnknownCritical(_) => Problem::UnknownCritical,
            Wrong::Malformed => Problem::BadRequest,
        })?;
        let is_clients = said.error.is_none() && said.warning.is_none() && said.cookies.is_empty();
        let protocols = said.protocols.filter(|_| is_clients).ok_or(Problem::BadRequest)?;
        let algorithms = said.algorithms.unwrap_or_default();
        // Whoever asks for NTPv4 names algorithms, and nobody asks for nothing.
        if protocols.is_empty() || (protocols.contains(&NTPV4) && algorithms.is_empty()) {
            return Err(Problem::BadRequest);
        }
        Ok(Self { protocols, algorithms, server: said.server, port: said.port })
    }

    /// Whether it asks for NTP version 4.
    #[must_use]
    pub fn has_ntpv4(&self) -> bool {
        self.protocols.contains(&NTPV4)
    }

    /// Whether there is a protocol and an algorithm that we have: only then cookies are due.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.has_ntpv4() && self.algorithms.contains(&AES_SIV_CMAC_256)
    }
}

/// What a client gets from a key exchange; the keys come from TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Up to eight.
    pub cookies: Vec<Vec<u8>>,
    /// Where and how to ask with them.
    pub agreed: Agreed,
}

/// Where to ask for the time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Agreed {
    /// The server, if another than the one of the key exchange: a name or an address.
    pub server: Option<String>,
    /// Its port, if not 123.
    pub port: Option<u16>,
}

/// Why a server's message gives nothing. The server's doing, but for `Refused`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GrantError {
    /// Not complete, or too long.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It refuses, with a code.
    #[error("the server refused the key exchange with error {0}")]
    Refused(u16),
    /// It warns of something, with a code that nobody has given a meaning.
    #[error("the server warns with the unknown code {0}")]
    Warned(u16),
    /// A record that is critical and not known here.
    #[error("an unknown critical record of type {0}")]
    UnknownCritical(u16),
    /// Something is there that must not, or is missing, or twice.
    #[error("an answer that is not as RFC 8915 has it")]
    Malformed,
    /// It does not speak NTP version 4.
    #[error("the server does not offer NTPv4")]
    NoProtocol,
    /// It does not have our algorithm.
    #[error("the server does not offer AEAD_AES_SIV_CMAC_256")]
    NoAlgorithm,
    /// It gave no cookie.
    #[error("the server gave no cookie")]
    NoCookie,
}

impl Grant {
    /// Reads a server's message.
    ///
    /// # Errors
    /// Says why there is nothing to ask with.
    pub fn read(reader: &Reader) -> Result<Self, GrantError> {
        reader.finish()?;
        let said = Said::collect(reader).map_err(|wrong| match wrong {
            Wrong::UnknownCritical(kind) => GrantError::UnknownCritical(kind),
            Wrong::Malformed => GrantError::Malformed,
        })?;
        if let Some(code) = said.error {
            return Err(GrantError::Refused(code));
        }
        if let Some(code) = said.warning {
            return Err(GrantError::Warned(code));
        }
        match said.protocols.as_deref() {
            Some([NTPV4]) => {}
            Some([]) => return Err(GrantError::NoProtocol),
            _ => return Err(GrantError::Malformed),
        }
        match said.algorithms.as_deref() {
            Some([AES_SIV_CMAC_256]) => {}
            Some([]) => return Err(GrantError::NoAlgorithm),
            _ => return Err(GrantError::Malformed),
        }
        let cookies: Vec<Vec<u8>> = said.cookies.iter().map(|cookie| cookie.to_vec()).collect();
        if cookies.is_empty() {
            return Err(GrantError::NoCookie);
        }
        Ok(Self { cookies, agreed: Agreed { server: said.server, port: said.port } })
    }
}

enum Wrong {
    UnknownCritical(u16),
    Malformed,
}

/// Everything that either side may say, each at most once but for cookies.
#[derive(Default)]
struct Said<'a> {
    protocols: Option<Vec<u16>>,
    algorithms: Option<Vec<u16>>,
    error: Option<u16>,
    warning: Option<u16>,
    cookies: Vec<&'a [u8]>,
    server: Option<String>,
    port: Option<u16>,
}

impl<'a> Said<'a> {
    fn collect(reader: &'a Reader) -> Result<Self, Wrong> {
        let mut said = Self::default();
        for record in reader.records() {
            said.add(&record)?;
        }
        Ok(said)
    }

    fn add(&mut self, record: &Record<'a>) -> Result<(), Wrong> {
        let must_be_critical = matches!(record.kind, kind::PROTOCOL | kind::ERROR | kind::WARNING);
        if must_be_critical && !record.is_critical {
            return Err(Wrong::Malformed);
        }
        match record.kind {
            kind::PROTOCOL => once(&mut self.protocols, numbers(record.body)),
            kind::ALGORITHM => once(&mut self.algorithms, numbers(record.body)),
            kind::ERROR => once(&mut self.error, number(record.body)),
            kind::WARNING => once(&mut self.warning, number(record.body)),
            kind::COOKIE => self.cookie(record.body),
            kind::SERVER => once(&mut self.server, name(record.body)),
            kind::PORT => once(&mut self.port, number(record.body).filter(|port| *port != 0)),
            other if record.is_critical => Err(Wrong::UnknownCritical(other)),
            _ => Ok(()),
        }
    }

    /// A cookie travels in an extension field, whose length is a multiple of four.
    fn cookie(&mut self, body: &'a [u8]) -> Result<(), Wrong> {
        let fits = (12..=COOKIE_BYTES_MAX).contains(&body.len()) && body.len().is_multiple_of(4);
        if !fits {
            return Err(Wrong::Malformed);
        }
        if self.cookies.len() < COOKIES_MAX {
            self.cookies.push(body);
        }
        Ok(())
    }
}

fn once<T>(place: &mut Option<T>, said: Option<T>) -> Result<(), Wrong> {
    match said {
        Some(said) if place.is_none() => *place = Some(said),
        _ => return Err(Wrong::Malformed),
    }
    Ok(())
}

fn number(body: &[u8]) -> Option<u16> {
    body.try_into().ok().map(u16::from_be_bytes)
}

fn numbers(body: &[u8]) -> Option<Vec<u16>> {
    if !body.len().is_multiple_of(2) || body.len() > OFFERS_MAX * 2 {
        return None;
    }
    let mut octets = Octets::new(body);
    Some(std::iter::from_fn(|| octets.u16()).collect())
}

/// A name or an address: nothing in it that a terminal or a resolver could take for something else.
fn name(body: &[u8]) -> Option<String> {
    let fits = !body.is_empty() && body.len() <= NAME_BYTES_MAX;
    let known = |octet: &u8| octet.is_ascii_alphanumeric() || b".-_:".contains(octet);
    let text = std::str::from_utf8(body).ok().filter(|_| fits && body.iter().all(known));
    text.map(str::to_owned)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
