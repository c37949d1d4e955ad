//! The gate before TLS: how many handshakes a stranger may begin, and how many at once.
//!
//! A stranger costs 150 µs of CPU before proving anything, so what is bounded is bounded here, by
//! address (an IPv6 host owns its /64) and overall. Time comes in as an argument.
//!
//! **Invariant:** every [`Pass`] that was given out is counted until it is dropped.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::refusal::{Code, Refusal};
use shared::time::Tick;

use crate::limits;

/// How much the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Handshakes at once from one address.
    pub per_address: usize,
    /// Handshakes at once in all.
    pub overall: usize,
    /// Handshakes one address may begin after a pause.
    pub burst: u32,
    /// And per second thereafter.
    pub per_second: u32,
    /// Addresses remembered.
    pub addresses: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            per_address: limits::GATE_PER_ADDRESS,
            overall: limits::GATE_OVERALL,
            burst: limits::GATE_BURST,
            per_second: limits::GATE_PER_SECOND,
            addresses: limits::GATE_ADDRESSES_MAX,
        }
    }
}

impl Bounds {
    fn full(&self) -> u64 {
        u64::from(self.burst) * 1000
    }
}

/// The gate; clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    bounds: Bounds,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    active: usize,
    swept: Tick,
    addresses: BTreeMap<IpAddr, Bucket>,
}

/// One address: handshakes going on, and thousandths of a handshake it may still begin.
#[derive(Debug)]
struct Bucket {
    active: usize,
    milli: u64,
    at: Tick,
}

/// Leave for one handshake; hold it until the handshake is over.
#[derive(Debug)]
pub struct Pass {
    inside: Arc<Mutex<Inside>>,
    address: IpAddr,
}

impl Gate {
    /// A gate with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, inside: Arc::default() }
    }

    /// Asks leave for one handshake.
    ///
    /// # Errors
    /// `quota`, with the bound that was reached; nothing is counted then.
    pub fn enter(&self, address: IpAddr, now: Tick) -> Result<Pass, Refusal> {
        let address = source_of(address);
        let bounds = &self.bounds;
        let quota = |detail: String| Err(Refusal::new(Code::Quota, detail));
        let mut inside = lock(&self.inside);
        if inside.active >= bounds.overall {
            return quota(format!("{} handshakes are going on", bounds.overall));
        }
        if !inside.has_room(address, bounds, now) {
            return quota(format!("{} addresses are busy", bounds.addresses));
        }
        let fresh = Bucket { active: 0, milli: bounds.full(), at: now };
        let bucket = inside.addresses.entry(address).or_insert(fresh);
        bucket.refill(bounds, now);
        if bucket.active >= bounds.per_address {
            return quota(format!("{} handshakes with {address} are going on", bounds.per_address));
        }
        if bucket.milli < 1000 {
            return quota(format!("{address} begins over {} a second", bounds.per_second));
        }
        bucket.milli -= 1000;
        bucket.active += 1;
        inside.active += 1;
        Ok(Pass { inside: Arc::clone(&self.inside), address })
    }
}

impl Gate {
    /// Whether an address may begin one more now; nothing is counted.
    #[must_use]
    pub fn has_leave(&self, address: IpAddr, now: Tick) -> bool {
        let mut inside = lock(&self.inside);
        inside.addresses.get_mut(&source_of(address)).is_none_or(|bucket| {
            bucket.refill(&self.bounds, now);
            bucket.milli >= 1000
        })
    }
}

impl Inside {
    /// Whether the address is known or can be; a full table is swept once a second at most.
    fn has_room(&mut self, address: IpAddr, bounds: &Bounds, now: Tick) -> bool {
        if self.addresses.contains_key(&address) || self.addresses.len() < bounds.addresses {
            return true;
        }
        if now.ms_since(self.swept) >= 1000 {
            self.swept = now;
            self.addresses.retain(|_, bucket| {
                bucket.refill(bounds, now);
                bucket.active > 0 || bucket.milli < bounds.full()
            });
        }
        self.addresses.len() < bounds.addresses
    }
}

impl Bucket {
    fn refill(&mut self, bounds: &Bounds, now: Tick) {
        let earned = now.ms_since(self.at).saturating_mul(u64::from(bounds.per_second));
        self.milli = self.milli.saturating_add(earned).min(bounds.full());
        self.at = self.at.max(now);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        inside.active = inside.active.saturating_sub(1);
        if let Some(bucket) = inside.addresses.get_mut(&self.address) {
            bucket.active = bucket.active.saturating_sub(1);
        }
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for: itself, or the /64 of an IPv6 host.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn gate() -> Gate {
        let bounds = Bounds { per_address: 2, overall: 3, burst: 4, per_second: 2, addresses: 2 };
        Gate::new(bounds)
    }

    #[test]
    fn two_at_once_per_address_and_three_in_all() {
        let gate = gate();
        let now = Tick::from_ms(0);
        let _first = gate.enter(address(1), now).unwrap();
        let second = gate.enter(address(1), now).unwrap();
        assert_eq!(gate.enter(address(1), now).unwrap_err().code, Code::Quota);
        let _third = gate.enter(address(2), now).unwrap();
        assert_eq!(gate.enter(address(2), now).unwrap_err().code, Code::Quota);
        drop(second);
        assert!(gate.enter(address(2), now).is_ok());
    }

    #[test]
    fn a_burst_empties_the_bucket_and_time_fills_it() {
        let gate = gate();
        for _ in 0..4 {
            drop(gate.enter(address(1), Tick::from_ms(0)).unwrap());
        }
        assert!(gate.enter(address(1), Tick::from_ms(499)).is_err());
        assert!(gate.enter(address(1), Tick::from_ms(500)).is_ok());
        assert!(gate.enter(address(1), Tick::from_ms(500)).is_err());
    }

    #[test]
    fn a_full_table_forgets_whom_it_owes_nothing() {
        let gate = gate();
        let pass = gate.enter(address(1), Tick::from_ms(0)).unwrap();
        drop(gate.enter(address(2), Tick::from_ms(0)).unwrap());
        assert!(gate.enter(address(3), Tick::from_ms(10)).is_err());
        assert!(gate.enter(address(3), Tick::from_ms(1500)).is_ok());
        drop(pass);
    }

    #[test]
    fn neighbours_in_one_64_share_a_bucket() {
        let one = source_of("2001:db8::1".parse().unwrap());
        assert_eq!(one, source_of("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(one, source_of("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(source_of("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }
}
