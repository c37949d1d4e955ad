//! What a node says back about a broadcast that others carry: how far it came behind it.
//!
//! Each answers whoever it had it from, once its own application and everybody it passed it on to
//! have answered: so the counts run together at the sender. They are what those in between say.
//!
//! **Invariant:** a [`Told`] that was parsed names at most [`MISSED_TOLD_MAX`] nodes and is the one
//! encoding of what it says.

use minicbor::{Decode, Encode};

use crate::id::InstanceId;
use crate::limits::MISSED_TOLD_MAX;
use crate::name::NodeName;
use crate::refusal::Code;
use crate::statement::cbor;

/// Which broadcast: its number goes up within a run of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct BroadcastId {
    /// The sender's run.
    #[n(0)]
    pub instance: InstanceId,
    /// The sender's number.
    #[n(1)]
    pub number: u64,
}

/// TOLD: what became of a broadcast behind whoever says it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Told {
    /// It came from another first: this way is not needed for its sender.
    #[n(0)]
    Had(#[n(0)] BroadcastId),
    /// It came this far.
    #[n(1)]
    Reached {
        /// Which.
        #[n(0)]
        broadcast: BroadcastId,
        /// How many nodes' applications have taken it.
        #[n(1)]
        taken: u32,
        /// Some who have not, and why.
        #[n(2)]
        missed: Vec<(NodeName, Code)>,
    },
    /// Whoever brought a run's broadcasts is gone: this way is needed again.
    #[n(2)]
    Again(#[n(0)] InstanceId),
}

impl Told {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let told: Self = minicbor::decode(payload).ok()?;
        let bounded = match &told {
            Self::Reached { missed, .. } => missed.len() <= MISSED_TOLD_MAX,
            Self::Had(_) | Self::Again(_) => true,
        };
        (bounded && told.payload() == payload).then_some(told)
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(missed: usize) -> [Told; 3] {
        let instance = InstanceId::new([3; 16]);
        let broadcast = BroadcastId { instance, number: u64::MAX };
        let name = |at: usize| NodeName::parse(&format!("n{at}")).unwrap();
        let missed = (0..missed).map(|at| (name(at), Code::Quota)).collect();
        let reached = Told::Reached { broadcast, taken: u32::MAX, missed };
        [Told::Had(broadcast), reached, Told::Again(instance)]
    }

    #[test]
    fn what_is_told_survives_and_anything_shorter_or_longer_is_refused() {
        for told in samples(MISSED_TOLD_MAX) {
            let payload = told.payload();
            assert_eq!(Told::parse(&payload), Some(told));
            for cut in 0..payload.len() {
                assert_eq!(Told::parse(&payload[..cut]), None, "{cut}");
            }
            assert_eq!(Told::parse(&[&payload[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn more_names_and_another_encoding_are_refused() {
        let [_, many, again] = samples(MISSED_TOLD_MAX + 1);
        assert_eq!(Told::parse(&many.payload()), None);
        let payload = again.payload();
        // The same array, its length unsaid.
        let wordy = [&[0x9f], &payload[1..], &[0xff]].concat();
        assert_eq!(Told::parse(&wordy), None);
    }
}
