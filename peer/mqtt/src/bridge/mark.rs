//! Where a message has been: a path of marks against loops.
//!
//! Whatever crosses a bridge is marked with where it comes from, by a user property that travels
//! with it through peers and engines alike. So a message is not carried to where it has been, by
//! whichever bridge of whichever peer it would go.

use bytes::Bytes;

use crate::codec::{push_user_property, user_properties};
use crate::limits::{BRIDGE_HOPS_MAX, PROPERTIES_MAX};

/// The name of the user property.
pub(super) const VIA: &str = "conclave-via";
/// Properties that are not among those passed on: expiry, and an alias.
const OTHERS: usize = 2;

/// Why a message is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has been there, or in too many places.
    Looped,
    /// It has no room for another mark.
    Full,
}

/// The properties of a message on its way between two places.
pub(super) fn pass(properties: &Bytes, from: &str, to: &str) -> Result<Bytes, Unfit> {
    let (mut been, mut hops) = (false, 0);
    let count = user_properties(properties, |name, value| {
        if name == VIA {
            been |= value == to;
            hops += 1;
        }
    });
    if been || hops >= BRIDGE_HOPS_MAX {
        return Err(Unfit::Looped);
    }
    if count + OTHERS >= PROPERTIES_MAX {
        return Err(Unfit::Full);
    }
    let mut marked = Vec::with_capacity(properties.len() + VIA.len() + from.len() + 5);
    marked.extend_from_slice(properties);
    push_user_property(&mut marked, VIA, from);
    Ok(marked.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_to_where_it_has_been() {
        let there = pass(&Bytes::new(), "mesh", "engine").unwrap();
        assert_eq!(pass(&there, "engine", "mesh"), Err(Unfit::Looped));
        let on = pass(&there, "engine", "other").unwrap();
        for place in ["mesh", "engine"] {
            assert_eq!(pass(&on, "other", place), Err(Unfit::Looped), "{place}");
        }
        assert!(pass(&on, "other", "engine-2").is_ok(), "another that is named alike");
    }

    #[test]
    fn a_path_ends_somewhere_and_so_does_the_room_for_it() {
        let mut path = Bytes::new();
        for hop in 0..BRIDGE_HOPS_MAX {
            path = pass(&path, &format!("e{hop}"), "new").unwrap();
        }
        assert_eq!(pass(&path, "last", "new"), Err(Unfit::Looped));
        let mut many = Vec::new();
        for _ in 0..PROPERTIES_MAX - OTHERS {
            push_user_property(&mut many, "a", "b");
        }
        assert_eq!(pass(&many.into(), "mesh", "engine"), Err(Unfit::Full));
    }
}
