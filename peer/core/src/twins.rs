//! Twins: two runs of one certificate. What was told already is not told again, and looking into
//! what others pass on is bounded.
//!
//! **Invariant:** each pair of instances is told once, and at most [`TWINS_MAX`] pairs in a run.

use std::collections::BTreeSet;

use shared::id::InstanceId;
use shared::time::Tick;

use crate::bucket::Bucket;
use crate::limits::{TWIN_CHECKS, TWINS_MAX};

#[derive(Debug)]
pub(crate) struct Twins {
    told: BTreeSet<[[u8; 16]; 2]>,
    checks: Bucket,
}

impl Twins {
    pub(crate) const fn new(now: Tick) -> Self {
        Self { told: BTreeSet::new(), checks: Bucket::full(TWIN_CHECKS, now) }
    }

    /// Whether a pair is yet to be told; it counts as told from now on.
    pub(crate) fn is_news(&mut self, a: &InstanceId, b: &InstanceId) -> bool {
        self.told.len() < TWINS_MAX && self.told.insert(pair(a, b))
    }

    /// Whether a contradiction that somebody passed on may be verified: it costs a signature.
    pub(crate) fn may_check(&mut self, a: &InstanceId, b: &InstanceId, now: Tick) -> bool {
        !self.told.contains(&pair(a, b)) && self.checks.take(TWIN_CHECKS, now)
    }
}

fn pair(a: &InstanceId, b: &InstanceId) -> [[u8; 16]; 2] {
    let (a, b) = (*a.as_bytes(), *b.as_bytes());
    if a <= b { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_once_whoever_comes_first_and_pairs_are_bounded() {
        let now = Tick::from_ms(0);
        let mut twins = Twins::new(now);
        let id = |n: u8| InstanceId::new([n; 16]);
        assert!(twins.is_news(&id(1), &id(2)));
        assert!(!twins.is_news(&id(2), &id(1)));
        assert!(!twins.may_check(&id(2), &id(1), now));
        let told = (3..=255).filter(|n| twins.is_news(&id(1), &id(*n))).count();
        assert_eq!(told, TWINS_MAX - 1);
    }

    #[test]
    fn a_flood_of_contradictions_costs_few_signatures() {
        let mut twins = Twins::new(Tick::from_ms(0));
        let id = |n: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            InstanceId::new(bytes)
        };
        let checked =
            (0..10_000).filter(|n| twins.may_check(&id(0), &id(n + 1), Tick::from_ms(*n)));
        assert!(
            checked.count() as u64 <= u64::from(TWIN_CHECKS.burst) + 10_000 / TWIN_CHECKS.every_ms
        );
    }
}
