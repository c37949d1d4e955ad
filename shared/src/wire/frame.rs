//! The frame codec: length, kind, payload.

use crate::limits::FRAME_BYTES_MAX;

/// Bytes before the payload: four of length, one of kind.
pub const HEADER_BYTES: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The dialler's greeting.
    Hello = 1,
    /// The listener's greeting: the link is up.
    Welcome,
    /// A refusal with its code; the connection ends.
    Refused,
    /// Eight octets, to be sent back.
    Ping,
    /// The same eight octets.
    Pong,
    /// A part of the feed.
    Feed,
    /// "Send me what follows this number."
    FeedWant,
    /// "I have this number, and cut so many links."
    FeedAck,
    /// Signed presences of others.
    Presences,
    /// A message for an application.
    Message,
    /// What became of a message.
    Receipt,
    /// Bulk data.
    Bulk,
    /// A clean goodbye.
    Bye,
    /// A signed policy.
    Policy = 32,
    /// "Send me your policy if its number is above this."
    PolicyWant = 33,
    /// "I have the policy of this number, and cut so many links."
    PolicyAck = 34,
    /// Queued messages of one stream.
    Batch = 40,
    /// How far a stream was taken.
    Taken = 41,
    /// "Send me the receipts of these again."
    Claims = 42,
    /// A signed receipt.
    SignedReceipt = 43,
    /// Messages for whoever listens now.
    Pack = 44,
    /// A message of the broadcast machine.
    Gossip = 48,
    /// Sums over a directory.
    Digest = 49,
    /// What a directory holds where the sums differ.
    Holds = 50,
    /// What a directory lacks.
    Lacks = 51,
    /// Whether the sender wants the link kept.
    Wanted = 52,
    /// Messages for whoever listens now, wherever the sender has a link.
    Broadcast = 53,
    /// Signed messages for whoever listens, passed on by who hears them.
    Carried = 54,
    /// How far such came.
    Told = 55,
    /// To a relay: connect me with a node.
    CircuitAsk = 56,
    /// From a relay: a node wants to talk with you.
    CircuitCall = 57,
    /// To a relay: I take the call.
    CircuitTake = 58,
    /// From a relay: what follows is the other end's.
    CircuitReady = 59,
    /// To a relay: I do not take the call.
    CircuitDecline = 60,
    /// Between the ends of a relayed link: let us meet directly.
    Punch = 61,
    /// "Where is this node?"
    Trace = 64,
    /// The way there.
    Traced = 65,
    /// To the authority: certify this key for me.
    Renew = 72,
    /// From the authority: here is the certificate.
    Renewed = 73,
    /// From the authority: no, and why.
    RenewRefused = 74,
    /// Give me keys for asking you about the time (RFC 8915).
    KeysAsk = 75,
    /// Here they are, or why there are none.
    Keys = 76,
    /// What a clock showed, signed.
    Shown = 88,
    /// Octets of the MQTT that two peers speak: the first says at whose endpoint.
    Topics = 80,
}

impl Kind {
    const ALL: [Self; 44] = [
        Self::Hello,
        Self::Welcome,
        Self::Refused,
        Self::Ping,
        Self::Pong,
        Self::Feed,
        Self::FeedWant,
        Self::FeedAck,
        Self::Presences,
        Self::Message,
        Self::Receipt,
        Self::Bulk,
        Self::Bye,
        Self::Policy,
        Self::PolicyWant,
        Self::PolicyAck,
        Self::Batch,
        Self::Taken,
        Self::Claims,
        Self::SignedReceipt,
        Self::Pack,
        Self::Gossip,
        Self::Digest,
        Self::Holds,
        Self::Lacks,
        Self::Wanted,
        Self::Broadcast,
        Self::Carried,
        Self::Told,
        Self::CircuitAsk,
        Self::CircuitCall,
        Self::CircuitTake,
        Self::CircuitReady,
        Self::CircuitDecline,
        Self::Punch,
        Self::Trace,
        Self::Traced,
        Self::Renew,
        Self::Renewed,
        Self::RenewRefused,
        Self::KeysAsk,
        Self::Keys,
        Self::Topics,
        Self::Shown,
    ];

    /// Its octet on the wire.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self as u8
    }

    /// Reads the octet.
    #[must_use]
    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.octet() == octet)
    }
}

/// Why a stream of frames cannot be read on. Whose fault: the peer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is zero or over the bound.
    #[error("a frame announces {length} bytes; 1 to {FRAME_BYTES_MAX} are allowed")]
    Length {
        /// Bytes announced.
        length: u32,
    },
    /// No such kind.
    #[error("a frame of the unknown kind {octet}")]
    Kind {
        /// The octet.
        octet: u8,
    },
}

/// One frame in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'b> {
    /// What it is.
    pub kind: Kind,
    /// Its payload.
    pub payload: &'b [u8],
}

/// Takes the first frame off a buffer: the frame and how many bytes it takes; `None` if the buffer
/// does not hold it whole yet.
///
/// # Errors
/// [`FrameError`] as soon as the header is wrong, however little has arrived.
pub fn split(buffer: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header);
    let whole = length as usize;
    if whole == 0 || whole > FRAME_BYTES_MAX {
        return Err(FrameError::Length { length });
    }
    let Some((octet, rest)) = rest.split_first() else { return Ok(None) };
    let kind = Kind::from_octet(*octet).ok_or(FrameError::Kind { octet: *octet })?;
    Ok(rest.get(..whole - 1).map(|payload| (Frame { kind, payload }, whole + 4)))
}

/// Appends one frame to a buffer.
///
/// # Errors
/// [`FrameError::Length`] if the payload is over the bound; nothing is appended.
pub fn frame_into(buffer: &mut Vec<u8>, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len().saturating_add(1)).unwrap_or(u32::MAX);
    if length as usize > FRAME_BYTES_MAX {
        return Err(FrameError::Length { length });
    }
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.push(kind.octet());
    buffer.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_whole_and_never_early() {
        for kind in Kind::ALL {
            let mut buffer = Vec::new();
            frame_into(&mut buffer, kind, b"payload").unwrap();
            for cut in 0..buffer.len() {
                assert_eq!(split(&buffer[..cut]), Ok(None));
            }
            let (frame, used) = split(&buffer).unwrap().unwrap();
            assert_eq!((frame.kind, frame.payload, used), (kind, &b"payload"[..], buffer.len()));
        }
    }

    #[test]
    fn lengths_at_the_edge() {
        let mut buffer = Vec::new();
        frame_into(&mut buffer, Kind::Bulk, &vec![0; 64 * 1024]).unwrap();
        assert!(split(&buffer).unwrap().is_some());
        assert!(frame_into(&mut buffer, Kind::Bulk, &vec![0; 64 * 1024 + 1]).is_err());
        assert!(matches!(split(&[0, 0, 0, 0]), Err(FrameError::Length { length: 0 })));
        assert!(split(&[0, 1, 0, 1]).unwrap().is_none());
        assert!(matches!(split(&[0, 1, 0, 2]), Err(FrameError::Length { .. })));
        assert!(matches!(split(&[0, 0, 0, 1, 0]), Err(FrameError::Kind { octet: 0 })));
        assert!(matches!(split(&[0, 0, 0, 1, 99]), Err(FrameError::Kind { octet: 99 })));
    }
}
