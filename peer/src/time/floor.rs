//! The floor on the disk: the file `floor` of a bundle.
//!
//! `CONCLAVE FLOOR 1`, a line's end, nanoseconds since 1970 as eight octets, one for its ground,
//! and the first four of the SHA-256 of all that. It is written beside and renamed.
//!
//! **Invariant:** a file that is not whole is no floor, and a peer does not start on it: whoever
//! can cut a file could otherwise bring back yesterday.

use std::path::Path;

use clock::floor::{Floor, Ground};
use clock::moment::Utc;
use host::fault::Fault;
use host::files::{self, Mode};
use shared::cert::Facts;
use shared::id::sha256;
use shared::limits::{CERT_FILE_BYTES_MAX, CHAIN_CERTS_MAX};
use shared::pem;
use shared::time::Timestamp;

use crate::bundle::Paths;
use crate::limits::FLOOR_BYTES_MAX;

const TITLE: &[u8] = b"CONCLAVE FLOOR 1\n";
const CHECK_BYTES: usize = 4;
/// 2026-11-01T00:00:00Z, when this was written.
const WRITTEN_NS: i64 = 1_793_491_200_000_000_000;

/// The floor of a program that was just installed: when it was built, as far as its builder says.
#[must_use]
pub fn built() -> Floor {
    let said = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse::<i64>().ok());
    let said_ns = said.map_or(0, |s| s.saturating_mul(1_000_000_000));
    Floor::new(Utc::from_ns(said_ns.max(WRITTEN_NS)))
}

/// Reads the floor that was kept; that of the program, if there is no file yet.
///
/// # Errors
/// [`Fault`] if the file is not whole, or cannot be read.
pub fn read(path: &Path) -> Result<Floor, Fault> {
    let mut floor = built();
    if !path.exists() {
        return Ok(floor);
    }
    let bytes = files::read_bounded(path, FLOOR_BYTES_MAX)?;
    let (at, ground) = parse(&bytes).ok_or_else(|| {
        Fault::failed(format!("{} is not whole", path.display()))
            .hint("if the machine's clock is right: peer time reset-floor BUNDLE")
    })?;
    floor.raise(at, ground);
    Ok(floor)
}

/// What the time is at least, as far as a bundle tells that nobody runs: the system's clock, the
/// floor that was kept, and the beginning of the certificate, which an authority has signed.
#[must_use]
pub fn now(paths: &Paths) -> Timestamp {
    let kept = read(&paths.floor()).unwrap_or_else(|_| built());
    let cert = files::read_bounded(&paths.cert(), CERT_FILE_BYTES_MAX).ok();
    let chain = cert.and_then(|bytes| pem::certificates(&bytes, CHAIN_CERTS_MAX).ok());
    let leaf = chain.and_then(|chain| Facts::read(chain.first()?).ok());
    let begun = leaf.map_or(Timestamp::default(), |leaf| leaf.not_before);
    host::clock::wall().max(Timestamp::from(kept.at())).max(begun)
}

/// Writes the floor.
///
/// # Errors
/// [`Fault`] with what the disk says.
pub fn write(path: &Path, floor: &Floor) -> Result<(), Fault> {
    Ok(files::write_atomic(path, &frame(floor), Mode::Public)?)
}

fn frame(floor: &Floor) -> Vec<u8> {
    let mut bytes = TITLE.to_vec();
    bytes.extend_from_slice(&floor.at().ns().to_be_bytes());
    bytes.push(octet(floor.ground()));
    let check = sha256(&bytes);
    bytes.extend(check.iter().take(CHECK_BYTES));
    bytes
}

fn parse(bytes: &[u8]) -> Option<(Utc, Ground)> {
    let (said, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    let (ns, ground) = said.strip_prefix(TITLE)?.split_first_chunk::<8>()?;
    let [ground] = ground else { return None };
    let is_whole = sha256(said).starts_with(check);
    let ground = GROUNDS.into_iter().find(|known| octet(*known) == *ground)?;
    is_whole.then(|| (Utc::from_ns(i64::from_be_bytes(*ns)), ground))
}

const GROUNDS: [Ground; 4] =
    [Ground::Build, Ground::Synchronised, Ground::Signed, Ground::Certificate];

const fn octet(ground: Ground) -> u8 {
    match ground {
        Ground::Build => 0,
        Ground::Synchronised => 1,
        Ground::Signed => 2,
        Ground::Certificate => 3,
    }
}

/// Where a floor comes from, in words.
#[must_use]
pub const fn word(ground: Ground) -> &'static str {
    match ground {
        Ground::Build => "when this program was made",
        Ground::Synchronised => "when this clock was last synchronised",
        Ground::Signed => "the newest feed or policy",
        Ground::Certificate => "the newest certificate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("floor");
        assert_eq!(read(&path).unwrap(), built(), "nothing was kept yet");
        let mut floor = built();
        assert!(floor.raise(floor.at().plus_ns(5), Ground::Signed));
        write(&path, &floor).unwrap();
        assert_eq!(read(&path).unwrap(), floor);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() <= FLOOR_BYTES_MAX);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(parse(&bad), None, "damaged at {at}");
        }
        std::fs::write(&path, &bytes[1..]).unwrap();
        assert!(read(&path).unwrap_err().hint_text().unwrap().contains("reset-floor"));
    }

    #[test]
    fn what_was_kept_by_an_older_program_does_not_bring_it_down() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("floor");
        write(&path, &Floor::new(Utc::from_ns(5))).unwrap();
        assert_eq!(read(&path).unwrap(), built());
    }
}
