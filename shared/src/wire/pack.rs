//! Packs: messages for whoever listens at this moment, several in one frame and answered as one.
//!
//! Nothing of a pack touches a disk: it is taken whole by the receiver's application, or not at
//! all, and its RECEIPT says which. Fixed octets, because this is the hottest path of all.
//!
//! **Invariant:** a [`Pack`] that was parsed has at least one message, and reads to its last octet.

use super::frame::{HEADER_BYTES, Kind};
use crate::limits::{MESSAGE_BYTES_MAX, PACK_BYTES_MAX};

/// Octets before the messages: the frame's header and the sender's number.
const HEAD_BYTES: usize = HEADER_BYTES + 8;
/// Octets before a message: its length.
const ITEM_BYTES: usize = 4;

/// Messages that travel together, laid out as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The sender's number; zero until it is sent.
    pub id: u64,
    /// How many messages.
    pub count: u32,
    /// The frame, its head still blank.
    frame: Vec<u8>,
}

impl Default for Pack {
    fn default() -> Self {
        Self { id: 0, count: 0, frame: vec![0; HEAD_BYTES] }
    }
}

impl Pack {
    /// Adds a message; `false` if it does not fit any more, or is too long for any.
    #[must_use]
    pub fn push(&mut self, body: &[u8]) -> bool {
        let whole = self.bytes() + ITEM_BYTES + body.len();
        let fits = self.count == 0 || whole <= PACK_BYTES_MAX;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MESSAGE_BYTES_MAX);
        let Some(length) = length.filter(|_| fits) else { return false };
        if self.count == 0 {
            self.frame.reserve(PACK_BYTES_MAX.max(whole));
        }
        self.frame.extend_from_slice(&length.to_be_bytes());
        self.frame.extend_from_slice(body);
        self.count += 1;
        true
    }

    /// Its messages, in order.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = self.octets();
        std::iter::from_fn(move || {
            let (item, rest) = split_item(left)?;
            left = rest;
            Some(item)
        })
    }

    /// Octets of its messages, their lengths included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.frame.len() - HEAD_BYTES
    }

    /// The frame, under a number of the sender's.
    #[must_use]
    pub fn into_frame(mut self, id: u64) -> Vec<u8> {
        let length = u32::try_from(self.frame.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
        let octets = length.into_iter().chain([Kind::Pack.octet()]).chain(id.to_be_bytes());
        for (to, from) in self.frame.iter_mut().zip(octets) {
            *to = from;
        }
        self.frame
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (id, items) = payload.split_first_chunk::<8>()?;
        Self::of_octets(u64::from_be_bytes(*id), items)
    }

    /// A pack of messages laid out as they travel, under a number of the sender's.
    pub(super) fn of_octets(id: u64, items: &[u8]) -> Option<Self> {
        let (mut count, mut left) = (0, items);
        while !left.is_empty() {
            (_, left) = split_item(left)?;
            count += 1;
        }
        (count > 0).then(|| {
            let mut frame = Vec::with_capacity(HEAD_BYTES + items.len());
            frame.extend_from_slice(&[0; HEAD_BYTES]);
            frame.extend_from_slice(items);
            Self { id, count, frame }
        })
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        [&self.id.to_be_bytes()[..], self.octets()].concat()
    }

    /// Its messages as they travel.
    pub(super) fn octets(&self) -> &[u8] {
        self.frame.get(HEAD_BYTES..).unwrap_or_default()
    }
}

fn split_item(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<ITEM_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length).filter(|_| length <= MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Body, split};
    use super::*;

    fn pack(bodies: &[&[u8]]) -> Pack {
        let mut pack = Pack::default();
        assert!(bodies.iter().all(|body| pack.push(body)));
        pack
    }

    fn parse(frame: &[u8]) -> Option<Pack> {
        let (frame, _) = split(frame).ok()??;
        match Body::parse(&frame) {
            Ok(Body::Pack(pack)) => Some(pack),
            _ => None,
        }
    }

    #[test]
    fn a_pack_survives_its_frame() {
        let frame = pack(&[b"one", b"", b"three"]).into_frame(7);
        let read = parse(&frame).unwrap();
        assert_eq!((read.id, read.count, read.bytes()), (7, 3, 12 + 8));
        assert_eq!(read.items().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!(Body::Pack(read).to_frame(), frame);
    }

    #[test]
    fn a_cut_a_longer_and_an_empty_one_are_refused() {
        let whole = pack(&[b"one", b"two"]).into_frame(1);
        let payload = &whole[HEADER_BYTES..];
        for cut in (0..payload.len()).filter(|cut| *cut != 8 + 7) {
            assert!(Pack::parse(&payload[..cut]).is_none(), "{cut}");
        }
        assert!(Pack::parse(&[payload, &[0]].concat()).is_none());
        assert!(Pack::parse(&Pack::default().into_frame(1)[HEADER_BYTES..]).is_none());
        let lie = [&1u64.to_be_bytes()[..], &u32::MAX.to_be_bytes(), b"one"].concat();
        assert!(Pack::parse(&lie).is_none());
    }

    #[test]
    fn the_longest_message_fits_alone_and_its_frame_a_link() {
        let longest = vec![1; MESSAGE_BYTES_MAX];
        let mut pack = pack(&[&longest]);
        assert!(!pack.push(b""), "it is full");
        assert!(parse(&pack.clone().into_frame(1)).is_some());
        assert!(!Pack::default().push(&vec![1; MESSAGE_BYTES_MAX + 1]));
        let mut small = Pack::default();
        while small.push(&[7; 256]) {}
        assert_eq!(small.count as usize, PACK_BYTES_MAX / 260);
    }
}
