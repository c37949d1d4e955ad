//! Which numbers of one run were heard already.
//!
//! **Invariant:** a number that was heard is never new again: what falls out of the window raises
//! its floor.

use std::collections::BTreeSet;

use crate::limits::BROADCAST_WINDOW;

/// What was heard of one run of a node; numbers begin at one.
#[derive(Debug, Default)]
pub(crate) struct Window {
    heard: BTreeSet<u64>,
    /// Up to here everything counts as heard.
    floor: u64,
}

impl Window {
    /// Whether a number was heard, or may have been.
    pub(crate) fn knows(&self, number: u64) -> bool {
        number <= self.floor || self.heard.contains(&number)
    }

    /// Whether a number is new; it counts as heard from now on.
    pub(crate) fn hear(&mut self, number: u64) -> bool {
        if number <= self.floor || !self.heard.insert(number) {
            return false;
        }
        if self.heard.len() > BROADCAST_WINDOW {
            self.floor = self.heard.pop_first().unwrap_or(self.floor);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_and_out_of_order_is_new_twice_and_long_past_is_not() {
        let mut window = Window::default();
        assert!(window.knows(0) && !window.knows(1), "numbers begin at one");
        assert!(window.hear(5) && window.hear(3) && !window.hear(5) && !window.hear(3));
        assert!(window.knows(3) && !window.knows(4) && !window.hear(0));
        let size = BROADCAST_WINDOW as u64;
        assert!((10..10 + size).all(|number| window.hear(number)));
        assert!(window.knows(4), "whether it was heard is not known any more");
        assert!(!window.hear(4) && !window.hear(10) && window.hear(10 + size));
    }
}
