//! The payloads: what each kind of frame says, parsed once into a type.

use minicbor::{Decode, Encode};

use super::batch::Post;
use super::broadcast::Broadcast;
use super::circuit::Circuit;
use super::frame::{Frame, FrameError, Kind, frame_into};
use super::pack::Pack;
use super::renewal::Renewal;
use super::spread::Spread;
use super::told::Told;
use super::trace::Trace;
use crate::feed::Part;
use crate::limits::{BROADCAST_BYTES_MAX, MESSAGE_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::name::NodeName;
use crate::refusal::Code;
use crate::statement::cbor;
use crate::time::Timestamp;

/// A payload that cannot be read. Whose fault: the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {kind:?} frame is unreadable")]
pub struct WireError {
    /// Which kind.
    pub kind: Kind,
}

/// HELLO and WELCOME: who, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Greeting {
    /// The lowest version the sender speaks.
    #[n(0)]
    pub version_min: u32,
    /// The highest.
    #[n(1)]
    pub version_max: u32,
    /// The sender's signed presence.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub presence: Vec<u8>,
    /// The number of the sender's feed.
    #[n(3)]
    pub feed_number: u64,
    /// When that feed's head was signed.
    #[n(4)]
    pub feed_at: Timestamp,
}

impl Greeting {
    /// The highest version both speak.
    #[must_use]
    pub fn common_version(&self, min: u32, max: u32) -> Option<u32> {
        let highest = self.version_max.min(max);
        (highest >= self.version_min.max(min)).then_some(highest)
    }
}

/// FEED-ACK, POLICY-ACK: a node has a number and has cut what it bars.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ack {
    /// The feed's number.
    #[n(0)]
    pub number: u64,
    /// Who has it.
    #[n(1)]
    pub node: NodeName,
    /// How many links it closed for it.
    #[n(2)]
    pub cut: u32,
}

/// MESSAGE: a number of the sender's and a body for the receiver's application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The sender's number for it, unique in the sender's run.
    pub id: u64,
    /// What is said.
    pub body: Vec<u8>,
}

/// RECEIPT: what became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Receipt {
    /// The sender's number.
    #[n(0)]
    pub id: u64,
    /// `None`: it is on the receiver's disk. Otherwise why it is not.
    #[n(1)]
    pub refused: Option<Code>,
}

/// A frame's payload as a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The dialler's greeting.
    Hello(Greeting),
    /// The listener's.
    Welcome(Greeting),
    /// Refused, and why.
    Refused(Code),
    /// Send this back.
    Ping(u64),
    /// Sent back.
    Pong(u64),
    /// A part of the feed.
    Feed(Part),
    /// Send what follows this number.
    FeedWant(u64),
    /// A number was applied somewhere.
    FeedAck(Ack),
    /// A signed policy.
    Policy(Vec<u8>),
    /// Send your policy if its number is above this.
    PolicyWant(u64),
    /// A policy was applied somewhere.
    PolicyAck(Ack),
    /// What a clock showed, signed.
    Shown(Vec<u8>),
    /// Signed presences; `true` if these are the last of a list.
    Presences(Vec<Vec<u8>>, bool),
    /// For an application.
    Message(Message),
    /// What became of one, or of a pack.
    Receipt(Receipt),
    /// Bulk data.
    Bulk(Vec<u8>),
    /// Goodbye.
    Bye,
    /// About a circuit through a relay.
    Circuit(Circuit),
    /// About the way to a node.
    Trace(Trace),
    /// About a new certificate.
    Renewal(Renewal),
    /// About queued messages.
    Post(Post),
    /// For whoever listens now.
    Pack(Pack),
    /// For whoever listens now, here and elsewhere.
    Broadcast(Broadcast),
    /// For the same, signed: [`super::Unproven`] reads it.
    Carried(Vec<u8>),
    /// How far such came.
    Told(Told),
    /// About directory and overlay.
    Spread(Spread),
}

#[derive(Encode, Decode)]
#[cbor(transparent)]
struct Bytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

impl Body {
    /// Parses a frame's payload.
    ///
    /// # Errors
    /// [`WireError`] names the kind.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, WireError> {
        let wrong = WireError { kind: frame.kind };
        let payload = frame.payload;
        let parsed = match frame.kind {
            Kind::Hello => greeting(payload).map(Self::Hello),
            Kind::Welcome => greeting(payload).map(Self::Welcome),
            Kind::Refused => whole(payload).map(Self::Refused),
            Kind::Ping => eight(payload).map(Self::Ping),
            Kind::Pong => eight(payload).map(Self::Pong),
            Kind::Feed => Part::from_bytes(payload).map(Self::Feed),
            Kind::FeedWant => eight(payload).map(Self::FeedWant),
            Kind::FeedAck => whole(payload).map(Self::FeedAck),
            Kind::Policy => {
                (payload.len() <= STATEMENT_BYTES_MAX).then(|| Self::Policy(payload.to_vec()))
            }
            Kind::Shown => {
                (payload.len() <= STATEMENT_BYTES_MAX).then(|| Self::Shown(payload.to_vec()))
            }
            Kind::PolicyWant => eight(payload).map(Self::PolicyWant),
            Kind::PolicyAck => whole(payload).map(Self::PolicyAck),
            Kind::Presences => presences(payload),
            Kind::Message => message(payload).map(Self::Message),
            Kind::Receipt => whole(payload).map(Self::Receipt),
            Kind::Bulk => Some(Self::Bulk(payload.to_vec())),
            // Taken by the endpoint and the clock before anybody asks.
            Kind::Topics | Kind::KeysAsk | Kind::Keys => None,
            Kind::Bye => payload.is_empty().then_some(Self::Bye),
            kind @ (Kind::Trace | Kind::Traced) => Trace::parse(kind, payload).map(Self::Trace),
            Kind::Batch | Kind::Taken | Kind::Claims | Kind::SignedReceipt => {
                Post::parse(frame.kind, payload).map(Self::Post)
            }
            Kind::Pack => Pack::parse(payload).map(Self::Pack),
            Kind::Broadcast => Broadcast::parse(payload).map(Self::Broadcast),
            Kind::Carried => {
                (payload.len() <= BROADCAST_BYTES_MAX).then(|| Self::Carried(payload.to_vec()))
            }
            Kind::Told => Told::parse(payload).map(Self::Told),
            Kind::Gossip | Kind::Digest | Kind::Holds | Kind::Lacks | Kind::Wanted => {
                Spread::parse(frame.kind, payload).map(Self::Spread)
            }
            kind @ (Kind::Renew | Kind::Renewed | Kind::RenewRefused) => {
                Renewal::parse(kind, payload).map(Self::Renewal)
            }
            kind => Circuit::parse(kind, payload).map(Self::Circuit),
        };
        parsed.ok_or(wrong)
    }

    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Welcome(_) => Kind::Welcome,
            Self::Refused(_) => Kind::Refused,
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::Feed(_) => Kind::Feed,
            Self::FeedWant(_) => Kind::FeedWant,
            Self::FeedAck(_) => Kind::FeedAck,
            Self::Policy(_) => Kind::Policy,
            Self::Shown(_) => Kind::Shown,
            Self::PolicyWant(_) => Kind::PolicyWant,
            Self::PolicyAck(_) => Kind::PolicyAck,
            Self::Presences(..) => Kind::Presences,
            Self::Message(_) => Kind::Message,
            Self::Receipt(_) => Kind::Receipt,
            Self::Bulk(_) => Kind::Bulk,
            Self::Bye => Kind::Bye,
            Self::Circuit(circuit) => circuit.kind(),
            Self::Trace(trace) => trace.kind(),
            Self::Renewal(renewal) => renewal.kind(),
            Self::Post(post) => post.kind(),
            Self::Pack(_) => Kind::Pack,
            Self::Broadcast(_) => Kind::Broadcast,
            Self::Carried(_) => Kind::Carried,
            Self::Told(_) => Kind::Told,
            Self::Spread(spread) => spread.kind(),
        }
    }

    /// Appends it to a buffer as a frame.
    ///
    /// # Errors
    /// [`FrameError::Length`] if it is over the bound.
    pub fn write_into(&self, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
        let payload = match self {
            Self::Hello(greeting) | Self::Welcome(greeting) => cbor(|e| e.encode(greeting)?.ok()),
            Self::Refused(code) => cbor(|e| e.encode(code)?.ok()),
            Self::Ping(number)
            | Self::Pong(number)
            | Self::FeedWant(number)
            | Self::PolicyWant(number) => {
                return frame_into(buffer, self.kind(), &number.to_be_bytes());
            }
            Self::Feed(part) => part.to_bytes(),
            Self::FeedAck(ack) | Self::PolicyAck(ack) => cbor(|e| e.encode(ack)?.ok()),
            Self::Presences(list, last) => cbor(|e| {
                e.array(2)?.array(list.len() as u64)?;
                for presence in list {
                    e.bytes(presence)?;
                }
                e.bool(*last)?.ok()
            }),
            Self::Message(message) => {
                let mut payload = message.id.to_be_bytes().to_vec();
                payload.extend_from_slice(&message.body);
                payload
            }
            Self::Receipt(receipt) => cbor(|e| e.encode(receipt)?.ok()),
            Self::Policy(bytes) | Self::Bulk(bytes) | Self::Carried(bytes) | Self::Shown(bytes) => {
                return frame_into(buffer, self.kind(), bytes);
            }
            Self::Bye => Vec::new(),
            Self::Circuit(circuit) => circuit.payload(),
            Self::Trace(trace) => trace.payload(),
            Self::Renewal(renewal) => renewal.payload(),
            Self::Post(post) => post.payload(),
            Self::Pack(pack) => pack.payload(),
            Self::Broadcast(broadcast) => broadcast.payload(),
            Self::Told(told) => told.payload(),
            Self::Spread(spread) => spread.payload(),
        };
        frame_into(buffer, self.kind(), &payload)
    }

    /// It alone as a frame; empty if it is over the bound, which no body made by this crate's
    /// bounded constructors is.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut buffer = Vec::new();
        let _ = self.write_into(&mut buffer);
        buffer
    }
}

fn whole<'b, T: Decode<'b, ()>>(payload: &'b [u8]) -> Option<T> {
    let mut decoder = minicbor::Decoder::new(payload);
    let value = decoder.decode().ok()?;
    (decoder.position() == payload.len()).then_some(value)
}

fn greeting(payload: &[u8]) -> Option<Greeting> {
    whole(payload).filter(|g: &Greeting| g.presence.len() <= STATEMENT_BYTES_MAX)
}

fn eight(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

fn presences(payload: &[u8]) -> Option<Body> {
    let (list, last): (Vec<Bytes>, bool) = whole(payload)?;
    Some(Body::Presences(list.into_iter().map(|bytes| bytes.0).collect(), last))
}

fn message(payload: &[u8]) -> Option<Message> {
    let (id, body) = payload.split_first_chunk::<8>()?;
    let fits = body.len() <= MESSAGE_BYTES_MAX;
    fits.then(|| Message { id: u64::from_be_bytes(*id), body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    fn samples() -> Vec<Body> {
        let greeting = Greeting {
            version_min: 1,
            version_max: 2,
            presence: vec![1, 2, 3],
            feed_number: 9,
            feed_at: Timestamp::from_s(1),
        };
        let node = NodeName::parse("alice").unwrap();
        vec![
            Body::Hello(greeting.clone()),
            Body::Welcome(greeting),
            Body::Refused(Code::Revoked),
            Body::Ping(7),
            Body::Pong(7),
            Body::Feed(Part::Entry(vec![1])),
            Body::FeedWant(3),
            Body::FeedAck(Ack { number: 4, node, cut: 2 }),
            Body::Presences(vec![vec![1], vec![2, 3]], true),
            Body::PolicyWant(3),
            Body::Shown(vec![7; 40]),
            Body::Message(Message { id: 1, body: b"hello".to_vec() }),
            Body::Receipt(Receipt { id: 1, refused: Some(Code::Quota) }),
            Body::Bulk(vec![0; 10]),
            Body::Bye,
        ]
    }

    #[test]
    fn every_body_survives_its_frame() {
        for body in samples() {
            let frame = body.to_frame();
            let (frame, _) = split(&frame).unwrap().unwrap();
            assert_eq!(Body::parse(&frame), Ok(body));
        }
    }

    #[test]
    fn a_cut_or_longer_payload_is_refused() {
        for body in samples() {
            let kind = body.kind();
            if matches!(kind, Kind::Bulk | Kind::Shown) {
                continue;
            }
            let frame = body.to_frame();
            let payload = &frame[5..];
            let fixed = kind != Kind::Message;
            for cut in 0..payload.len() {
                let cut_frame = Frame { kind, payload: &payload[..cut] };
                assert!(Body::parse(&cut_frame).is_err() || (!fixed && cut >= 8), "{kind:?} {cut}");
            }
            let mut longer = payload.to_vec();
            longer.push(0);
            assert!(Body::parse(&Frame { kind, payload: &longer }).is_err() || !fixed, "{kind:?}");
        }
    }

    #[test]
    fn versions_overlap_or_do_not() {
        let Body::Hello(greeting) = &samples()[0] else { panic!() };
        assert_eq!(greeting.common_version(1, 1), Some(1));
        assert_eq!(greeting.common_version(2, 3), Some(2));
        assert_eq!(greeting.common_version(3, 4), None);
    }
}
