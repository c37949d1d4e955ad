//! The feed as a file: a first line that says what it is, then parts with their lengths.

use super::staging::{Part, Staging, Update};
use crate::limits::FRAME_BYTES_MAX;

/// The first line; the number is the format's version.
const MAGIC: &[u8] = b"conclave-feed 1\n";

/// Writes a feed as a file.
#[must_use]
pub fn write_file(update: Update) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for part in update.into_parts() {
        let bytes = part.to_bytes();
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}

/// Reads a feed file; nothing in it is verified yet. `None` if it is not one, is cut short, or has
/// bytes after its head.
#[must_use]
pub fn read_file(bytes: &[u8]) -> Option<Update> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut staging = Staging::default();
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if length > FRAME_BYTES_MAX {
            return None;
        }
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        if let Some(update) = staging.take(Part::from_bytes(part)?).ok()? {
            return rest.is_empty().then_some(update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_back_and_never_in_part() {
        let update = Update {
            snapshot: Some((vec![1; 9], vec![vec![2; 99], vec![3; 5]])),
            entries: vec![vec![4; 40]],
            head: vec![5; 70],
        };
        let bytes = write_file(update.clone());
        assert_eq!(read_file(&bytes), Some(update));
        for cut in 0..bytes.len() {
            assert_eq!(read_file(&bytes[..cut]), None);
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(read_file(&longer), None);
    }
}
