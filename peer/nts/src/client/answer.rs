//! Whether a datagram is the answer to the open question.

use super::jar::Jar;
use super::{Refused, UNIQUE_BYTES};
use crate::key::Key;
use crate::ntp::{Fields, Header, Kiss, Mode, Stamp};
use crate::sealed::{COOKIE, Malformed, Parts, Room};

/// What an answer under NTS has to be: sealed with this key, and for this question.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    pub(super) key: &'a Key,
    pub(super) unique: &'a [u8; UNIQUE_BYTES],
}

/// The header of the answer to the question that left with `transmit`; with NTS only if it has its
/// proof. Fresh cookies go into the jar.
pub(super) fn read(
    datagram: &[u8],
    transmit: Stamp,
    proof: Option<Proof<'_>>,
    jar: &mut Jar,
) -> Result<Header, Refused> {
    let size = Malformed::Size(datagram.len());
    let header = Header::read(datagram).ok_or(size)?;
    if header.mode != Mode::Server || header.version != 4 {
        return Err(Refused::NotAnAnswer);
    }
    if header.origin != transmit {
        return Err(Refused::OtherQuestion);
    }
    let parts = Parts::read(datagram)?;
    let Some(Proof { key, unique }) = proof else { return Ok(header) };
    let is_ours = parts.unique == Some(&unique[..]);
    let Some(seal) = parts.seal else {
        return Err(match header.kiss() {
            Some(Kiss::NtsNak) if is_ours => Refused::Nak,
            Some(_) => Refused::UnsealedKiss,
            None => Refused::Strip,
        });
    };
    if !is_ours {
        return Err(Refused::OtherQuestion);
    }
    let mut room = Room::new();
    let inside = seal.open(key, &mut room).ok_or(Refused::Forged)?;
    // Whoever sealed it may have put in what is not known here; cookies before it count.
    let fields = Fields::inside(inside).map_while(Result::ok);
    fields.filter(|field| field.kind == COOKIE).for_each(|field| jar.put(field.body));
    Ok(header)
}
