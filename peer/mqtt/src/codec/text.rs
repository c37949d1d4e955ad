//! Text in packets (MQTT 5.0 §1.5.4, §4.7): UTF-8 without NUL; names of topics, and filters.
//!
//! U+FEFF is a character like any other [MQTT-1.5.4-3]; control characters and non-characters are
//! let through (the standard leaves it open), because who shows a text escapes it.

use bytes::Bytes;
use bytestring::ByteString;
use shared::limits::TOPIC_BYTES_MAX;

use super::error::{DecodeError, malformed};
use super::reason::Reason;
use crate::topic::Wanted;

const NUL: DecodeError = malformed("a string with a NUL");
const NOT_UTF8: DecodeError = malformed("a string that is not UTF-8");

/// A string.
pub(super) fn parse(bytes: &[u8]) -> Result<&str, DecodeError> {
    if bytes.contains(&0) {
        return Err(NUL);
    }
    std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)
}

/// The name of a topic, in the buffer it was read into; `bytes` is not empty.
pub(super) fn topic(bytes: Bytes) -> Result<ByteString, DecodeError> {
    check_topic(&bytes)?;
    ByteString::try_from(bytes).map_err(|_| NOT_UTF8)
}

/// Whether octets name a topic, if they are UTF-8: not nothing, not too long, no wildcard, no NUL.
pub(super) fn check_topic(bytes: &[u8]) -> Result<(), DecodeError> {
    let no = |what| Err(DecodeError::new(Reason::TopicNameInvalid, what));
    // Without a branch for each octet, so that many are looked at at once.
    let odd = |found: bool, octet: &u8| found | matches!(octet, 0 | b'+' | b'#');
    if bytes.is_empty() {
        no("a topic without a name")
    } else if bytes.len() > TOPIC_BYTES_MAX {
        no("the name of a topic that is too long")
    } else if !bytes.iter().fold(false, odd) {
        Ok(())
    } else if bytes.contains(&0) {
        Err(NUL)
    } else {
        no("a wildcard in the name of a topic")
    }
}

/// Whether a text is a filter, shared or not.
pub(super) fn check_filter(text: &str) -> Result<(), DecodeError> {
    let known = Wanted::parse(text).map(drop);
    known.ok_or(DecodeError::new(Reason::TopicFilterInvalid, "no topic filter"))
}
