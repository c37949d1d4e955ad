//! Broadcasts: a pack for whoever listens at every node, the same octets on each of its links.
//!
//! Before a pack's octets stands the sender's run, and its number goes up within a run: so whoever
//! hears a broadcast knows whether it is another one.
//!
//! **Invariant:** a [`Broadcast`] that was parsed has at least one message, and reads to its last
//! octet.

use super::frame::{Kind, frame_into};
use super::pack::Pack;
use crate::id::InstanceId;

/// Octets of the sender's run.
const INSTANCE_BYTES: usize = 16;

/// Messages for everybody who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The sender's run.
    pub instance: InstanceId,
    /// The messages; its number goes up within the run.
    pub pack: Pack,
}

impl Broadcast {
    /// It as a frame; empty if it is over the bound, which no pack is.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let _ = frame_into(&mut frame, Kind::Broadcast, &self.payload());
        frame
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (instance, pack) = payload.split_first_chunk::<INSTANCE_BYTES>()?;
        let pack = Pack::parse(pack)?;
        Some(Self { instance: InstanceId::new(*instance), pack })
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        [&self.instance.as_bytes()[..], &self.pack.payload()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, HEADER_BYTES, split};
    use super::*;
    use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

    fn broadcast(bodies: &[&[u8]]) -> Broadcast {
        let mut pack = Pack::default();
        pack.id = 7;
        assert!(bodies.iter().all(|body| pack.push(body)));
        Broadcast { instance: InstanceId::new([3; 16]), pack }
    }

    fn parse(frame: &[u8]) -> Option<Broadcast> {
        let (frame, _) = split(frame).ok()??;
        match Body::parse(&frame) {
            Ok(Body::Broadcast(broadcast)) => Some(broadcast),
            _ => None,
        }
    }

    #[test]
    fn a_broadcast_survives_its_frame() {
        let said = broadcast(&[b"one", b"", b"three"]);
        let heard = parse(&said.to_frame()).unwrap();
        assert_eq!((heard.instance, heard.pack.id), (said.instance, 7));
        assert_eq!(heard.pack.items().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!(Body::Broadcast(heard).to_frame(), said.to_frame());
    }

    #[test]
    fn a_cut_a_longer_and_an_empty_one_are_refused() {
        let whole = broadcast(&[b"one", b"two"]).to_frame();
        let payload = &whole[HEADER_BYTES..];
        for cut in (0..payload.len()).filter(|cut| *cut != INSTANCE_BYTES + 8 + 7) {
            assert!(Broadcast::parse(&payload[..cut]).is_none(), "{cut}");
        }
        assert!(Broadcast::parse(&[payload, &[0]].concat()).is_none());
        assert!(parse(&broadcast(&[]).to_frame()).is_none());
    }

    #[test]
    fn the_longest_message_fits_and_one_octet_more_is_refused() {
        let longest = broadcast(&[&vec![1; MESSAGE_BYTES_MAX]]);
        assert!(longest.to_frame().len() <= FRAME_BYTES_MAX);
        assert_eq!(parse(&longest.to_frame()).unwrap().pack.count, 1);
        let length = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
        let body = vec![1; MESSAGE_BYTES_MAX + 1];
        let lie = [&[3; 16][..], &7u64.to_be_bytes(), &length, &body].concat();
        assert!(Broadcast::parse(&lie).is_none());
    }
}
