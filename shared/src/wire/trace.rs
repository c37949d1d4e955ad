//! The way to a node, step by step: a question that travels there, and the answer on its way back.

use minicbor::{Decode, Encode};

use super::frame::Kind;
use crate::limits::TRACE_HOPS_MAX;
use crate::name::NodeName;
use crate::statement::cbor;

/// One step of an answered way. What it says is that node's own word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Hop {
    /// Who passed the question on, or at the end the node that was asked for.
    #[n(0)]
    pub node: NodeName,
    /// The relay that carries its link to the next step, if one does.
    #[n(1)]
    pub via: Option<NodeName>,
    /// How long it waited for the answer of the next step, in ms; 0 at the end.
    #[n(2)]
    pub ms: u32,
}

/// TRACE and TRACED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trace {
    /// Where is this node?
    Ask {
        /// The asker's number for it.
        id: u64,
        /// Who is looked for.
        to: NodeName,
        /// How many steps are left, 1 to [`TRACE_HOPS_MAX`].
        hops: u8,
    },
    /// The way, from whoever was asked to the node itself.
    Found {
        /// The asker's number.
        id: u64,
        /// The steps, at least one.
        path: Vec<Hop>,
    },
}

impl Trace {
    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ask { .. } => Kind::Trace,
            Self::Found { .. } => Kind::Traced,
        }
    }

    pub(super) fn parse(kind: Kind, payload: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(payload);
        let trace = match kind {
            Kind::Trace => {
                let (id, to, hops) = decoder.decode().ok()?;
                Self::Ask { id, to, hops }
            }
            Kind::Traced => {
                let (id, path) = decoder.decode().ok()?;
                Self::Found { id, path }
            }
            _ => return None,
        };
        (decoder.position() == payload.len() && trace.is_bounded()).then_some(trace)
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Ask { id, to, hops } => {
                cbor(|e| e.array(3)?.u64(*id)?.encode(to)?.u8(*hops)?.ok())
            }
            Self::Found { id, path } => cbor(|e| e.array(2)?.u64(*id)?.encode(path)?.ok()),
        }
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Ask { hops, .. } => (1..=TRACE_HOPS_MAX).contains(&usize::from(*hops)),
            Self::Found { path, .. } => (1..=TRACE_HOPS_MAX).contains(&path.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(length: usize) -> Trace {
        let (node, via) = (NodeName::parse("bob").unwrap(), NodeName::parse("rita").ok());
        Trace::Found { id: 7, path: vec![Hop { node, via, ms: 3 }; length] }
    }

    fn ask(hops: u8) -> Trace {
        Trace::Ask { id: 7, to: NodeName::parse("bob").unwrap(), hops }
    }

    #[test]
    fn what_is_asked_and_found_survives_and_nothing_longer() {
        for trace in [ask(1), ask(TRACE_HOPS_MAX as u8), found(1), found(TRACE_HOPS_MAX)] {
            let payload = trace.payload();
            assert_eq!(Trace::parse(trace.kind(), &payload), Some(trace.clone()));
            for cut in 0..payload.len() {
                assert_eq!(Trace::parse(trace.kind(), &payload[..cut]), None);
            }
            let longer = [payload.as_slice(), &[0]].concat();
            assert_eq!(Trace::parse(trace.kind(), &longer), None);
        }
        for trace in [ask(0), ask(TRACE_HOPS_MAX as u8 + 1), found(0), found(TRACE_HOPS_MAX + 1)] {
            assert_eq!(Trace::parse(trace.kind(), &trace.payload()), None, "{trace:?}");
        }
    }
}
