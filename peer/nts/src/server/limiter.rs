//! How often an address may ask: a bucket each, in a table of fixed size.
//!
//! A set of four buckets shares a place, and a fifth address takes the fullest one's: whoever
//! floods the table from invented addresses makes it forget, so that others are answered too
//! often, never too seldom. Answers are no longer than questions, so that gains nobody anything.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::limits::{BURST, CALLERS_MAX, QUESTIONS_PER_S};

const WAYS: usize = 4;
/// Tokens are counted in thousandths, so that they grow evenly by the millisecond.
const TOKEN: u64 = 1000;

/// Questions that an address may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// And per second.
    pub per_s: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: BURST, per_s: QUESTIONS_PER_S }
    }
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// A hash of the address; 0 is nobody.
    who: u64,
    tokens: u32,
    at_ms: u64,
}

/// The table.
pub(super) struct Limiter {
    rate: Rate,
    seed: u64,
    sets: Vec<[Bucket; WAYS]>,
}

impl Limiter {
    /// The seed is secret and random, so that nobody can aim at a place.
    pub(super) fn new(rate: Rate, seed: u64) -> Self {
        Self { rate, seed, sets: vec![[Bucket::default(); WAYS]; CALLERS_MAX / WAYS] }
    }

    /// Whether this question is within the rate; counts it if so. The time is that of a clock that
    /// never goes back.
    pub(super) fn admits(&mut self, from: IpAddr, now_ms: u64) -> bool {
        let who = self.name(from);
        let sets = self.sets.len() as u64;
        let Some(set) = self.sets.get_mut((who % sets.max(1)) as usize) else { return true };
        let full = u64::from(self.rate.burst) * TOKEN;
        let level = |bucket: &Bucket| {
            let grown = now_ms.saturating_sub(bucket.at_ms).saturating_mul(self.rate.per_s.into());
            u64::from(bucket.tokens).saturating_add(grown).min(full)
        };
        let known = set.iter().position(|bucket| bucket.who == who);
        let place = known.or_else(|| {
            let fullest = set.iter().enumerate().max_by_key(|(_, bucket)| level(bucket));
            fullest.map(|(at, _)| at)
        });
        let Some(bucket) = place.and_then(|at| set.get_mut(at)) else { return true };
        let tokens = if known.is_some() { level(bucket) } else { full };
        let left = tokens.checked_sub(TOKEN);
        let tokens = u32::try_from(left.unwrap_or(tokens)).unwrap_or(u32::MAX);
        *bucket = Bucket { who, tokens, at_ms: now_ms };
        left.is_some()
    }

    /// IPv4 addresses one by one; of IPv6 the half that a provider gives, because the other half
    /// costs nothing to change.
    fn name(&self, from: IpAddr) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        match from.to_canonical() {
            IpAddr::V4(address) => address.octets().hash(&mut hasher),
            IpAddr::V6(address) => (address.to_bits() >> 64).hash(&mut hasher),
        }
        hasher.finish().max(1)
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn limiter() -> Limiter {
        Limiter::new(Rate { burst: 3, per_s: 2 }, 42)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limiter = limiter();
        let asked: Vec<bool> = (0..5).map(|_| limiter.admits(address(1), 1000)).collect();
        assert_eq!(asked, [true, true, true, false, false]);
        assert!(!limiter.admits(address(1), 1499));
        assert!(limiter.admits(address(1), 1500));
        assert!(!limiter.admits(address(1), 1501));
        assert!(limiter.admits(address(2), 1501));
    }

    #[test]
    fn whoever_was_silent_has_a_burst_again_and_not_more() {
        let mut limiter = limiter();
        assert!(!(0..9).all(|_| limiter.admits(address(1), 0)));
        let asked = (0..9).filter(|_| limiter.admits(address(1), 1 << 40)).count();
        assert_eq!(asked, 3);
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller() {
        let mut limiter = limiter();
        let addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"];
        let admitted = addresses.map(|address| limiter.admits(address.parse().unwrap(), 0));
        assert_eq!(admitted, [true, true, true, false]);
        assert!(limiter.admits("2001:db8:0:1::1".parse().unwrap(), 0));
    }

    #[test]
    fn an_address_in_a_costume_is_the_same() {
        let mut limiter = limiter();
        (0..3).for_each(|_| assert!(limiter.admits(address(0x0A00_0001), 0)));
        assert!(!limiter.admits("::ffff:10.0.0.1".parse().unwrap(), 0));
    }

    #[test]
    fn a_flood_of_addresses_never_silences_others() {
        let mut limiter = limiter();
        for number in 0..200_000 {
            assert!(limiter.admits(address(number), u64::from(number) / 100));
        }
        assert_eq!(limiter.sets.len() * WAYS, CALLERS_MAX);
    }
}
