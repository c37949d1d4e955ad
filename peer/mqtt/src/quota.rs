//! How much somebody may publish at this peer: the policy's `messages-per-second` and
//! `bytes-per-second`, for all connections of an identity together.
//!
//! What to do with too much is the protocol's affair. A publication of QoS 0 is dropped, as QoS 0
//! may be; MQTT 5 says 0x97 to one of QoS 1 or 2, and its sender still has it. MQTT 3.1.1 has no
//! word for that: an acknowledgement would promise what is not so, and to say nothing breaks off
//! the client's flow. So there the message is taken on credit, and nothing more is read from the
//! connection until it is paid for: nothing is lost, and TCP slows its sender down.
//!
//! **Invariant:** a meter is never deeper in debt than [`QUOTA_DEBT_MS`] pays for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::policy::Rates;
use shared::time::Tick;

use crate::limits::{QUOTA_BYTES_AT_ONCE, QUOTA_DEBT_MS};

/// What one identity has used of its quota.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    messages: Option<Tank>,
    bytes: Option<Tank>,
}

/// A rate a second, and what is used of it in thousandths.
#[derive(Debug)]
struct Tank {
    rate: u64,
    holds: u64,
    used: u64,
    at: Tick,
}

impl Meter {
    /// A meter of which nothing is used; none if there is nothing to count.
    pub(crate) fn of(rates: Rates, now: Tick) -> Option<Self> {
        let messages = rates.messages_per_second.map(|rate| Tank::new(rate, 1, now));
        let bytes = rates.bytes_per_second.map(|rate| Tank::new(rate, QUOTA_BYTES_AT_ONCE, now));
        let counts = messages.is_some() || bytes.is_some();
        counts.then(|| Self(Mutex::new(Inside { messages, bytes })))
    }

    /// Counts a publication, if there is room for it.
    pub(crate) fn take(&self, bytes: usize, now: Tick) -> bool {
        let mut inside = self.lock();
        let bytes = bytes as u64;
        let fits = inside.messages.as_mut().is_none_or(|tank| tank.has(1, now))
            && inside.bytes.as_mut().is_none_or(|tank| tank.has(bytes, now));
        if fits {
            inside.charge(bytes);
        }
        fits
    }

    /// Counts a publication that is taken in any case; says how long it takes to be paid for.
    pub(crate) fn owe(&self, bytes: usize, now: Tick) -> u64 {
        let mut inside = self.lock();
        inside.refill(now);
        inside.charge(bytes as u64);
        inside.tanks().map(|tank| tank.debt_ms()).max().unwrap_or(0)
    }

    /// Whether it never lets anything pass: then to wait is of no use.
    pub(crate) fn is_shut(&self) -> bool {
        self.lock().tanks().any(|tank| tank.rate == 0)
    }

    /// Whether nothing of it is used: to forget it changes nothing.
    pub(crate) fn is_fresh(&self, now: Tick) -> bool {
        let mut inside = self.lock();
        inside.refill(now);
        inside.tanks().all(|tank| tank.used == 0)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn tanks(&mut self) -> impl Iterator<Item = &mut Tank> {
        self.messages.iter_mut().chain(self.bytes.iter_mut())
    }

    fn refill(&mut self, now: Tick) {
        self.tanks().for_each(|tank| tank.refill(now));
    }

    fn charge(&mut self, bytes: u64) {
        if let Some(messages) = &mut self.messages {
            messages.charge(1);
        }
        if let Some(octets) = &mut self.bytes {
            octets.charge(bytes);
        }
    }
}

impl Tank {
    /// A second's worth at once, or `least` if that is more.
    fn new(rate: u32, least: u64, now: Tick) -> Self {
        let rate = u64::from(rate);
        Self { rate, holds: rate.max(least), used: 0, at: now }
    }

    fn refill(&mut self, now: Tick) {
        let back = now.ms_since(self.at).saturating_mul(self.rate);
        self.used = self.used.saturating_sub(back);
        self.at = now;
    }

    /// More at once than it holds passes when it is full, and is paid for afterwards.
    fn has(&mut self, amount: u64, now: Tick) -> bool {
        self.refill(now);
        if self.rate == 0 {
            return false;
        }
        let wanted = self.used.saturating_add(amount.min(self.holds).saturating_mul(1000));
        wanted <= self.holds.saturating_mul(1000)
    }

    fn charge(&mut self, amount: u64) {
        let most = self.holds.saturating_mul(1000) + self.rate.saturating_mul(QUOTA_DEBT_MS);
        self.used = self.used.saturating_add(amount.saturating_mul(1000)).min(most);
    }

    /// How long until there is nothing on credit.
    fn debt_ms(&self) -> u64 {
        let debt = self.used.saturating_sub(self.holds.saturating_mul(1000));
        debt.div_ceil(self.rate.max(1)).min(QUOTA_DEBT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn meter(messages: Option<u32>, bytes: Option<u32>) -> Meter {
        let rates = Rates {
            messages_per_second: messages,
            bytes_per_second: bytes,
            handshakes_per_minute: None,
        };
        Meter::of(rates, at(0)).unwrap()
    }

    #[test]
    fn a_second_at_once_and_then_as_it_comes_back() {
        let meter = meter(Some(10), None);
        assert_eq!((0..20).filter(|_| meter.take(1, at(0))).count(), 10);
        assert!(!meter.take(1, at(99)));
        assert!(meter.take(1, at(100)));
        assert!(!meter.take(1, at(100)));
        assert_eq!((0..20).filter(|_| meter.take(1, at(60_000))).count(), 10);
    }

    #[test]
    fn one_of_any_size_passes_when_nothing_is_used() {
        let meter = meter(None, Some(1_000));
        assert!(meter.take(1_000_000, at(0)), "larger than all it holds");
        assert!(!meter.take(1, at(9_000)));
        assert!(!meter.is_fresh(at(9_000)));
        assert!(meter.is_fresh(at(200_000)));
    }

    #[test]
    fn what_is_taken_on_credit_is_waited_for_and_not_for_ever() {
        let meter = meter(Some(10), None);
        assert_eq!((0..10).map(|_| meter.owe(1, at(0))).max(), Some(0));
        assert_eq!(meter.owe(1, at(0)), 100);
        assert_eq!(meter.owe(1, at(100)), 100);
        assert_eq!((0..10_000).map(|_| meter.owe(1, at(100))).max(), Some(QUOTA_DEBT_MS));
        assert!(!meter.is_shut() && meter.take(1, at(200 + QUOTA_DEBT_MS)));
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_pass() {
        let meter = meter(Some(0), None);
        assert!(meter.is_shut() && !meter.take(1, at(0)) && !meter.take(1, at(1_000_000)));
    }

    #[test]
    fn without_a_rate_there_is_no_meter() {
        assert!(Meter::of(Rates::default(), at(0)).is_none());
        let links = Rates { handshakes_per_minute: Some(1), ..Rates::default() };
        assert!(Meter::of(links, at(0)).is_none());
    }
}
