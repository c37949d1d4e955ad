//! What is said to make a circuit through a relay, and to leave it for a direct path.
//!
//! Ask, take and ready travel on a circuit's own connections (ALPN `conclave-relay/1`); call,
//! decline and punch on links. After ready a circuit's connection carries no frames any more, only
//! what its two ends say to each other under their own TLS.
//!
//! **Invariant:** an address in here is a socket address, never a name: nobody is made to look up
//! what a stranger writes.

use std::fmt;
use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use super::frame::Kind;
use crate::limits::PUNCH_ADDRESSES_MAX;
use crate::name::NodeName;
use crate::refusal::Code;
use crate::statement::cbor;

/// The right to be one end of one circuit, once; a secret between a relay and the one called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Token(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl Token {
    /// A token of random octets.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the two ends of a relayed link stand with meeting directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Step {
    /// "These are my addresses; say yours." From the end that was called.
    #[n(0)]
    Offer,
    /// "These are mine, and I connect to yours from now on; so do you."
    #[n(1)]
    Answer,
}

/// One frame about circuits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Circuit {
    /// To a relay: connect me with this node.
    Ask(NodeName),
    /// From a relay, on a link: this node wants to talk with you.
    Call {
        /// To be shown when the circuit is taken.
        token: Token,
        /// Who asks.
        from: NodeName,
    },
    /// To a relay: I am the one you called.
    Take(Token),
    /// From a relay: all that follows is the other end's; and the address it sees you at.
    Ready(SocketAddr),
    /// To a relay, on a link: I do not take that call.
    Decline {
        /// The call's.
        token: Token,
        /// Why.
        code: Code,
    },
    /// Between the ends of a relayed link: a direct path is to be tried.
    Punch {
        /// How far.
        step: Step,
        /// Where the sender can perhaps be met.
        addresses: Vec<SocketAddr>,
    },
}

impl Circuit {
    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ask(_) => Kind::CircuitAsk,
            Self::Call { .. } => Kind::CircuitCall,
            Self::Take(_) => Kind::CircuitTake,
            Self::Ready(_) => Kind::CircuitReady,
            Self::Decline { .. } => Kind::CircuitDecline,
            Self::Punch { .. } => Kind::Punch,
        }
    }

    pub(super) fn parse(kind: Kind, payload: &[u8]) -> Option<Self> {
        match kind {
            Kind::CircuitAsk => whole(payload).map(Self::Ask),
            Kind::CircuitCall => {
                let (token, from) = whole(payload)?;
                Some(Self::Call { token, from })
            }
            Kind::CircuitTake => whole(payload).map(Self::Take),
            Kind::CircuitReady => address(&whole::<String>(payload)?).map(Self::Ready),
            Kind::CircuitDecline => {
                let (token, code) = whole(payload)?;
                Some(Self::Decline { token, code })
            }
            Kind::Punch => {
                let (step, texts): (Step, Vec<String>) = whole(payload)?;
                let addresses: Option<Vec<_>> = texts.iter().map(|text| address(text)).collect();
                let addresses = addresses.filter(|list| list.len() <= PUNCH_ADDRESSES_MAX)?;
                Some(Self::Punch { step, addresses })
            }
            _ => None,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Ask(node) => cbor(|e| e.encode(node)?.ok()),
            Self::Call { token, from } => cbor(|e| e.array(2)?.encode(token)?.encode(from)?.ok()),
            Self::Take(token) => cbor(|e| e.encode(token)?.ok()),
            Self::Ready(address) => cbor(|e| e.str(&address.to_string())?.ok()),
            Self::Decline { token, code } => {
                cbor(|e| e.array(2)?.encode(token)?.encode(code)?.ok())
            }
            Self::Punch { step, addresses } => {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                cbor(|e| e.array(2)?.encode(step)?.encode(&texts)?.ok())
            }
        }
    }
}

fn whole<'b, T: Decode<'b, ()>>(payload: &'b [u8]) -> Option<T> {
    let mut decoder = minicbor::Decoder::new(payload);
    let value = decoder.decode().ok()?;
    (decoder.position() == payload.len()).then_some(value)
}

/// A socket address in the one spelling we write ourselves.
fn address(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    (address.to_string() == text && address.port() != 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::parse("bob").unwrap()
    }

    pub(crate) fn samples() -> Vec<Circuit> {
        let token = Token::new([7; 32]);
        let address: SocketAddr = "192.0.2.7:7400".parse().unwrap();
        vec![
            Circuit::Ask(node()),
            Circuit::Call { token, from: node() },
            Circuit::Take(token),
            Circuit::Ready("[2001:db8::1]:80".parse().unwrap()),
            Circuit::Decline { token, code: Code::Policy },
            Circuit::Punch { step: Step::Offer, addresses: vec![address, address] },
            Circuit::Punch { step: Step::Answer, addresses: vec![] },
        ]
    }

    #[test]
    fn each_survives_and_no_cut_or_longer_one_does() {
        for sample in samples() {
            let payload = sample.payload();
            assert_eq!(Circuit::parse(sample.kind(), &payload), Some(sample.clone()));
            for cut in 0..payload.len() {
                assert_eq!(Circuit::parse(sample.kind(), &payload[..cut]), None, "{sample:?}");
            }
            let longer = [payload, vec![0]].concat();
            assert_eq!(Circuit::parse(sample.kind(), &longer), None);
        }
    }

    #[test]
    fn an_address_is_no_name_and_a_token_has_32_octets() {
        for bad in ["localhost:80", "192.0.2.7:0", "192.0.2.7", "192.0.2.7:080", "[::1]", ""] {
            let payload = cbor(|e| e.str(bad)?.ok());
            assert_eq!(Circuit::parse(Kind::CircuitReady, &payload), None, "{bad}");
        }
        for length in [0, 31, 33] {
            let payload = cbor(|e| e.bytes(&vec![1; length])?.ok());
            assert_eq!(Circuit::parse(Kind::CircuitTake, &payload), None, "{length}");
        }
        assert!(!format!("{:?}", Token::new([7; 32])).contains('7'));
    }

    #[test]
    fn two_addresses_are_as_many_as_are_tried() {
        let address: SocketAddr = "192.0.2.7:1".parse().unwrap();
        for (count, fits) in [(0, true), (2, true), (3, false)] {
            let punch = Circuit::Punch { step: Step::Answer, addresses: vec![address; count] };
            assert_eq!(Circuit::parse(Kind::Punch, &punch.payload()).is_some(), fits);
        }
    }
}
