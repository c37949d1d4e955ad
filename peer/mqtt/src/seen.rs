//! Messages that came over more than one link, told apart from repetitions by who gave them their
//! numbers: origin, run and sequence.
//!
//! **Invariant:** of two with the same number one is new.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use shared::name::NodeName;

use crate::limits::{SEEN_PEERS_MAX, SEEN_WINDOW};

/// The number of a message in the network.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Number {
    /// The peer that gave it.
    #[n(0)]
    pub(crate) origin: NodeName,
    /// How often that one has been started.
    #[n(1)]
    pub(crate) boot: u64,
    #[n(2)]
    pub(crate) sequence: u64,
}

/// See above.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<NodeName, Window>);

/// What came of one run of a peer: the latest, and which of those before it.
#[derive(Debug)]
struct Window {
    boot: u64,
    latest: u64,
    bits: Box<[u64]>,
}

impl Seen {
    /// Whether it is new; from now on it is not. One from before the window, or from an earlier
    /// run, is: better twice than never.
    pub(crate) fn is_new(&mut self, number: &Number) -> bool {
        let room = self.0.len() < SEEN_PEERS_MAX;
        if !room && !self.0.contains_key(&number.origin) {
            return true;
        }
        let window = self.0.entry(number.origin.clone()).or_insert_with(|| Window::of(number.boot));
        if number.boot > window.boot {
            *window = Window::of(number.boot);
        }
        number.boot < window.boot || window.is_new(number.sequence)
    }
}

impl Window {
    fn of(boot: u64) -> Self {
        let words = usize::try_from(SEEN_WINDOW / 64).unwrap_or(1);
        Self { boot, latest: 0, bits: vec![0; words].into_boxed_slice() }
    }

    fn is_new(&mut self, sequence: u64) -> bool {
        if sequence > self.latest {
            let from = self.latest.max(sequence.saturating_sub(SEEN_WINDOW)) + 1;
            for place in from..=sequence {
                self.set(place, false);
            }
            self.latest = sequence;
        } else if self.latest - sequence >= SEEN_WINDOW {
            return true;
        }
        !self.set(sequence, true)
    }

    /// Sets the bit of a sequence number; gives what it was.
    fn set(&mut self, sequence: u64, value: bool) -> bool {
        let place = sequence % SEEN_WINDOW;
        let index = usize::try_from(place / 64).unwrap_or_default();
        let Some(word) = self.bits.get_mut(index) else { return false };
        let bit = 1 << (place % 64);
        let was = *word & bit != 0;
        *word = if value { *word | bit } else { *word & !bit };
        was
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn number(boot: u64, sequence: u64) -> Number {
        Number { origin: NodeName::parse("alice").unwrap(), boot, sequence }
    }

    #[test]
    fn a_later_run_begins_anew_and_an_earlier_one_is_believed() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&number(1, 5)) && !seen.is_new(&number(1, 5)));
        assert!(seen.is_new(&number(2, 5)) && !seen.is_new(&number(2, 5)));
        assert!(seen.is_new(&number(1, 5)) && seen.is_new(&number(1, 5)));
        let other = Number { origin: NodeName::parse("bob").unwrap(), ..number(2, 5) };
        assert!(seen.is_new(&other));
    }

    #[test]
    fn what_lies_before_the_window_is_rather_taken_twice() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&number(1, 1)));
        assert!(seen.is_new(&number(1, SEEN_WINDOW)));
        assert!(!seen.is_new(&number(1, 1)), "the last in it");
        assert!(seen.is_new(&number(1, SEEN_WINDOW + 1)));
        assert!(seen.is_new(&number(1, 1)));
        assert!(seen.is_new(&number(1, u64::MAX)) && !seen.is_new(&number(1, u64::MAX)));
    }

    proptest! {
        #[test]
        fn within_the_window_it_is_a_set(all in prop::collection::vec(1..5_000_u64, 1..400)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for sequence in all {
                prop_assert_eq!(seen.is_new(&number(1, sequence)), model.insert(sequence));
            }
        }
    }
}
