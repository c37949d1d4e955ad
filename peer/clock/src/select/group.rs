//! The midpoint of all clocks (Lundelius and Lynch 1984): the f least and greatest are left out.
//!
//! Claims play no part in it, only what was measured: no stratum, no distance, no name can give a
//! clock more weight. **Invariant:** with n > 3f clocks the result lies between honest ones.

use super::{Candidate, Midpoint, Standing};
use crate::interval::{liars_borne, trimmed};

/// The midpoint of the members among these clocks, and of ours (at 0) if it counts.
pub(super) fn midpoint<'c>(
    candidates: impl Iterator<Item = &'c Candidate>,
    with_ours: bool,
) -> Option<Midpoint> {
    let members: Vec<&Candidate> = candidates.filter(|c| c.standing != Standing::Local).collect();
    if members.is_empty() {
        return None;
    }
    let ours = with_ours.then_some(0);
    let offsets: Vec<i64> = members.iter().map(|c| c.offset_ns).chain(ours).collect();
    let (nodes, left_out) = (offsets.len(), liars_borne(offsets.len()));
    let place = trimmed(offsets, left_out)?;
    let taken = members.iter().filter(|c| (place.lo..=place.hi).contains(&c.offset_ns));
    let taken = taken.map(|c| c.id.clone()).collect();
    Some(Midpoint { offset_ns: place.middle(), place, nodes, left_out, taken })
}
