//! What a message carries between peers besides itself: who said it, when it was retained, for
//! which group it is, and, if it goes on from peer to peer, for whom and under which number.
//!
//! It is the first user property of every PUBLISH between peers; what programs put there stands
//! behind it, so nothing that they write can be taken for it.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use minicbor::{Decode, Encode};
use shared::name::NodeName;
use shared::time::Timestamp;

use crate::limits::ENVELOPE_BYTES_MAX;
use crate::retained::Stamp;
use crate::seen::Number;

/// The property's identifier (MQTT 5.0 §2.2.2.2) and its name.
const USER: u8 = 0x26;
const NAME: &[u8] = b"~";

/// See above.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Envelope {
    /// Who said it, if not the peer itself, and since when that one's certificate is valid.
    #[n(0)]
    pub(crate) by: Option<(NodeName, Timestamp)>,
    /// When it was retained.
    #[n(1)]
    pub(crate) stamp: Option<Stamp>,
    /// For one member of this group only, by its whole filter.
    #[n(2)]
    pub(crate) share: Option<String>,
    /// For these peers; for whoever gets it if it names none.
    #[n(3)]
    pub(crate) to: Vec<NodeName>,
    /// What tells it from others, and links that it has crossed.
    #[n(4)]
    pub(crate) number: Option<(Number, u8)>,
    /// It was not said now: two peers compare what they have retained.
    #[n(5)]
    pub(crate) old: bool,
}

impl Envelope {
    /// Itself and the properties behind it.
    pub(crate) fn before(&self, properties: &[u8]) -> Bytes {
        // An empty one says nothing; text, because a user property is text.
        let text = if *self == Self::default() {
            String::new()
        } else {
            let mut hex = String::new();
            for octet in minicbor::to_vec(self).unwrap_or_default() {
                hex.extend([octet >> 4, octet & 15].map(|nibble| char::from(b'a' + nibble)));
            }
            hex
        };
        let mut out = BytesMut::with_capacity(6 + text.len() + properties.len());
        out.put_u8(USER);
        out.put_u16(1);
        out.put_slice(NAME);
        out.put_u16(u16::try_from(text.len()).unwrap_or_default());
        out.put_slice(text.as_bytes());
        out.put_slice(properties);
        out.freeze()
    }

    /// Takes one off the properties of a message from a peer.
    pub(crate) fn split(properties: &Bytes) -> Option<(Self, Bytes)> {
        let head = properties.get(..6)?;
        let [USER, 0, 1, b'~', high, low] = *head else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > ENVELOPE_BYTES_MAX {
            return None;
        }
        let text = properties.get(6..6 + length)?;
        let rest = properties.slice(6 + length..);
        if text.is_empty() {
            return Some((Self::default(), rest));
        }
        let nibble = |letter: u8| letter.checked_sub(b'a').filter(|nibble| *nibble < 16);
        let (pairs, odd) = text.as_chunks::<2>();
        let octets = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
        let bytes = octets.collect::<Option<Vec<u8>>>().filter(|_| odd.is_empty())?;
        Some((minicbor::decode(&bytes).ok()?, rest))
    }

    /// The group it is for.
    pub(crate) fn group(&self) -> Option<ByteString> {
        self.share.as_deref().map(ByteString::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_off_as_it_was_put_on() {
        let node = NodeName::parse("alice").unwrap();
        let stamp = Some(Stamp { ms: 1, count: 2, node: node.clone() });
        let share = Some("$share/g/a/#".to_owned());
        let number = Some((Number { origin: node.clone(), boot: 1, sequence: 2 }, 3));
        let (by, to) = (Some((node.clone(), Timestamp::from_s(9))), vec![node.clone(), node]);
        let whole = Envelope { by, stamp, share, to, number, old: true };
        let forged = Envelope { share: Some("x".to_owned()), ..Envelope::default() };
        for envelope in [Envelope::default(), whole] {
            // A program's property of the same name stays where it is.
            let theirs = forged.before(b"");
            let bytes = envelope.before(&theirs);
            assert_eq!(Envelope::split(&bytes), Some((envelope, theirs)));
        }
    }

    #[test]
    fn what_is_none_is_refused_at_every_octet() {
        let stamp = Stamp { ms: 1, count: 2, node: NodeName::parse("a").unwrap() };
        let bytes = Envelope { stamp: Some(stamp), ..Envelope::default() }.before(b"");
        for cut in 0..bytes.len() {
            assert!(Envelope::split(&bytes.slice(..cut)).is_none(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 0x80;
            assert!(Envelope::split(&Bytes::from(wrong)).is_none(), "{at}");
        }
    }
}
