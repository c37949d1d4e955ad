//! When a key exchange is wanted, and how long to wait before the next.

use crate::limits::{EXCHANGE_WAIT_MAX_MS, EXCHANGE_WAIT_MS};

/// The wait grows by half with each exchange and begins anew with the first authentic answer: not
/// with an exchange that went well, or a server whose cookies are worth nothing would be asked for
/// new ones again and again (RFC 8915 §5.7 forbids just that).
#[derive(Debug)]
pub(super) struct Exchange {
    is_wanted: bool,
    not_before_ms: u64,
    wait_ms: u64,
}

impl Exchange {
    pub(super) const fn new(is_wanted: bool) -> Self {
        Self { is_wanted, not_before_ms: 0, wait_ms: EXCHANGE_WAIT_MS }
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.is_wanted.then_some(self.not_before_ms)
    }

    pub(super) const fn begins(&mut self, now_ms: u64) {
        self.not_before_ms = now_ms.saturating_add(self.wait_ms);
        let longer = self.wait_ms + self.wait_ms / 2;
        self.wait_ms = if longer < EXCHANGE_WAIT_MAX_MS { longer } else { EXCHANGE_WAIT_MAX_MS };
    }

    pub(super) const fn set_wanted(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
    }

    /// An authentic answer came.
    pub(super) const fn succeeded(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
        self.wait_ms = EXCHANGE_WAIT_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_an_hour_and_begins_anew_with_an_answer() {
        let mut exchange = Exchange::new(true);
        assert_eq!(exchange.due_ms(), Some(0));
        let mut waits = Vec::new();
        for _ in 0..20 {
            exchange.begins(1000);
            waits.push(exchange.due_ms().unwrap() - 1000);
            exchange.set_wanted(false);
            exchange.set_wanted(true);
        }
        assert_eq!(waits[..4], [10_000, 15_000, 22_500, 33_750]);
        assert_eq!(waits.last(), Some(&EXCHANGE_WAIT_MAX_MS));
        exchange.succeeded(false);
        assert_eq!(exchange.due_ms(), None);
        exchange.set_wanted(true);
        exchange.begins(5_000_000);
        assert_eq!(exchange.due_ms(), Some(5_010_000));
    }
}
