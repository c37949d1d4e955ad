//! A node as a number: half the SHA-256 of its name, for messages and tables that name many.

use serde::{Deserialize, Serialize};
use shared::id::sha256;
use shared::name::NodeName;

/// A node's number. Names are given by the authority, so nobody can look for two alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Whom([u8; 16]);

impl Whom {
    pub(crate) fn of(node: &NodeName) -> Self {
        let mut half = [0; 16];
        half.iter_mut().zip(sha256(node.as_str().as_bytes())).for_each(|(to, from)| *to = from);
        Self(half)
    }

    /// Where it stands in an order that only the holder of the seed knows.
    pub(crate) fn rank(self, seed: u64) -> u64 {
        let hash = sha256(&[self.0.as_slice(), &seed.to_be_bytes()].concat());
        hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    /// Which of the 256 sums of a digest it counts in.
    pub(crate) const fn sum(self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}
