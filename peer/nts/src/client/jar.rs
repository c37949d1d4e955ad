//! The cookies of an association: each is used once, so that nobody can follow a machine that
//! changes its address by the cookie that it shows.

use std::collections::VecDeque;

use crate::limits::{COOKIE_BYTES_MAX, COOKIES_MAX, QUESTION_BYTES_MAX};
use crate::sealed::AUTHENTICATOR_BYTES;

const BLANK: [u8; COOKIE_BYTES_MAX] = [0; COOKIE_BYTES_MAX];

/// Up to eight of them.
#[derive(Debug, Default)]
pub(super) struct Jar(VecDeque<Vec<u8>>);

impl Jar {
    /// Adds one; those that fit no field, and those beyond eight, are left out.
    pub(super) fn put(&mut self, cookie: &[u8]) {
        let fits = (12..=COOKIE_BYTES_MAX).contains(&cookie.len());
        if fits && cookie.len().is_multiple_of(4) && self.0.len() < COOKIES_MAX {
            self.0.push_back(cookie.to_vec());
        }
    }

    /// The oldest.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }

    pub(super) fn missing(&self) -> usize {
        COOKIES_MAX.saturating_sub(self.0.len())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many placeholders a question of so many octets takes on: as many as cookies are missing,
/// and no more than keep it whole on its way.
pub(super) fn placeholders(missing: usize, written: usize, cookie_len: usize) -> usize {
    let room = QUESTION_BYTES_MAX.saturating_sub(written + AUTHENTICATOR_BYTES);
    missing.min(room / (4 + cookie_len))
}

/// The body of a placeholder.
pub(super) fn blank(len: usize) -> Option<&'static [u8]> {
    BLANK.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_eight_of_what_fits() {
        let mut jar = Jar::default();
        for len in [0, 8, 13, COOKIE_BYTES_MAX + 4] {
            jar.put(&vec![1; len]);
        }
        assert_eq!((jar.len(), jar.missing()), (0, 8));
        (0..9).for_each(|number| jar.put(&[number; 100]));
        assert_eq!((jar.len(), jar.missing()), (8, 0));
        assert_eq!(jar.take(), Some(vec![0; 100]));
    }

    #[test]
    fn a_question_stays_whole_on_its_way() {
        assert_eq!(placeholders(7, 48 + 36 + 104, 100), 7);
        assert_eq!(placeholders(7, 48 + 36 + 144, 140), 6);
        assert_eq!(placeholders(7, 48 + 36 + 260, 256), 3);
        assert_eq!(placeholders(7, QUESTION_BYTES_MAX, 140), 0);
    }
}
