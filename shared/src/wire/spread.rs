//! What is said to keep the directory whole and the overlay connected.
//!
//! Gossip carries a message of the broadcast machine, opaque here. A digest is 256 sums over the
//! statements a directory holds, by node name; who holds other statements answers with their
//! numbers where the sums differ, and each sends what the other lacks. So two directories that
//! agree cost 2 KiB, and two that differ in one statement a few hundred octets more.
//!
//! **Invariant:** nothing parsed here is longer than the frame it came in.

use super::frame::Kind;
use crate::limits::SPREAD_IDS_MAX;

/// Sums in a digest.
pub const DIGEST_SUMS: usize = 256;

/// The number of a statement: the first eight octets of its SHA-256.
pub type StatementId = u64;

/// One frame about directory and overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// A message of the broadcast machine.
    Gossip(Vec<u8>),
    /// The sums over what the sender's directory holds.
    Digest(Vec<u64>),
    /// What the sender holds where the sums differ: each list of a sum whole.
    Holds(Vec<(u8, Vec<StatementId>)>),
    /// What the sender lacks and the receiver said it holds.
    Lacks(Vec<StatementId>),
    /// Whether the sender wants this link kept although nothing is said on it.
    Wanted(bool),
}

impl Spread {
    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Gossip(_) => Kind::Gossip,
            Self::Digest(_) => Kind::Digest,
            Self::Holds(_) => Kind::Holds,
            Self::Lacks(_) => Kind::Lacks,
            Self::Wanted(_) => Kind::Wanted,
        }
    }

    pub(super) fn parse(kind: Kind, payload: &[u8]) -> Option<Self> {
        match kind {
            Kind::Gossip => Some(Self::Gossip(payload.to_vec())),
            Kind::Digest => {
                numbers(payload).filter(|sums| sums.len() == DIGEST_SUMS).map(Self::Digest)
            }
            Kind::Holds => holds(payload).map(Self::Holds),
            Kind::Lacks => {
                numbers(payload).filter(|ids| ids.len() <= SPREAD_IDS_MAX).map(Self::Lacks)
            }
            Kind::Wanted => match payload {
                [0] => Some(Self::Wanted(false)),
                [1] => Some(Self::Wanted(true)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Gossip(bytes) => bytes.clone(),
            Self::Digest(numbers) | Self::Lacks(numbers) => octets(numbers),
            Self::Holds(lists) => {
                let mut out = Vec::new();
                for (sum, ids) in lists {
                    out.push(*sum);
                    let count = u16::try_from(ids.len()).unwrap_or(u16::MAX);
                    out.extend_from_slice(&count.to_be_bytes());
                    out.extend(octets(ids.get(..usize::from(count)).unwrap_or_default()));
                }
                out
            }
            Self::Wanted(wanted) => vec![u8::from(*wanted)],
        }
    }
}

fn octets(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn numbers(payload: &[u8]) -> Option<Vec<u64>> {
    let (chunks, rest) = payload.as_chunks::<8>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect())
}

fn holds(mut payload: &[u8]) -> Option<Vec<(u8, Vec<StatementId>)>> {
    let mut lists: Vec<(u8, Vec<StatementId>)> = Vec::new();
    while let Some(([sum, high, low], rest)) = payload.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])) * 8;
        let (ids, rest) = rest.split_at_checked(length)?;
        // In rising order, so that no sum is answered twice.
        if lists.last().is_some_and(|(last, _)| last >= sum) {
            return None;
        }
        lists.push((*sum, numbers(ids)?));
        payload = rest;
    }
    payload.is_empty().then_some(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Spread> {
        vec![
            Spread::Gossip(vec![1, 2, 3]),
            Spread::Digest((0..DIGEST_SUMS as u64).collect()),
            Spread::Holds(vec![(0, vec![]), (7, vec![1, u64::MAX])]),
            Spread::Lacks(vec![3, 4]),
            Spread::Wanted(true),
            Spread::Wanted(false),
        ]
    }

    #[test]
    fn everything_survives_its_payload() {
        for sample in samples() {
            assert_eq!(Spread::parse(sample.kind(), &sample.payload()), Some(sample));
        }
    }

    #[test]
    fn what_is_cut_doubled_or_too_long_is_refused() {
        let digest = Spread::Digest(vec![0; DIGEST_SUMS]).payload();
        assert_eq!(Spread::parse(Kind::Digest, &digest[..digest.len() - 8]), None);
        assert_eq!(Spread::parse(Kind::Digest, &digest[..digest.len() - 1]), None);
        let holds = Spread::Holds(vec![(7, vec![1, 2])]).payload();
        for cut in 1..holds.len() {
            assert_eq!(Spread::parse(Kind::Holds, &holds[..cut]), None, "{cut}");
        }
        let twice = [holds.clone(), holds].concat();
        assert_eq!(Spread::parse(Kind::Holds, &twice), None);
        let many = octets(&vec![0; SPREAD_IDS_MAX + 1]);
        assert_eq!(Spread::parse(Kind::Lacks, &many), None);
        assert_eq!(Spread::parse(Kind::Wanted, &[2]), None);
        assert_eq!(Spread::parse(Kind::Wanted, &[]), None);
    }
}
