//! Meeting directly: when the two ends of a relayed link try it, and where they may aim.
//!
//! Both connect at the same moment from their listening ports (TCP simultaneous open, RFC 5382 §4),
//! so that each one's first packet opens the way for the other's. The end that was called leads: it
//! offers, measures the round trip, says go, and waits half of it.
//!
//! **Invariant:** what is aimed at came from the other end under its own certificate, at most two
//! addresses in [`PUNCH_PAUSE_MS`], and never one of our own or one that is no single host.

use std::net::{IpAddr, SocketAddr};

use shared::limits::PUNCH_ADDRESSES_MAX;
use shared::time::Tick;

use crate::limits::{
    PUNCH_PAUSE_MS, PUNCH_REST_MAX_MS, PUNCH_REST_MS, PUNCH_TRIES, PUNCH_WAIT_MAX_MS,
};

/// Where one relayed link stands with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Punch {
    tries: u32,
    /// When the end that was called offers again.
    next: Option<Tick>,
    /// Until when the end that dialled hears no other offer.
    deaf_until: Option<Tick>,
    /// When the offer or the answer went out that has no reply yet.
    asked: Option<Tick>,
    targets: Vec<SocketAddr>,
}

impl Punch {
    /// The end that was called begins now.
    pub(crate) const fn begin(&mut self, now: Tick) {
        self.next = Some(now);
    }

    /// Whether an offer is due; it counts as sent from now on.
    pub(crate) fn offer(&mut self, now: Tick) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.asked = Some(now);
        self.next = Some(now.plus_ms(self.pause()));
        self.tries = self.tries.saturating_add(1);
        true
    }

    /// An offer came to the end that dialled; `false` if it comes too soon after the last.
    pub(crate) fn offered(&mut self, targets: Vec<SocketAddr>, now: Tick) -> bool {
        if self.deaf_until.is_some_and(|until| now < until) {
            return false;
        }
        // Half of the other side's pause: its offers may come late, but not in a flood.
        self.deaf_until = Some(now.plus_ms(PUNCH_PAUSE_MS / 2));
        self.asked = Some(now);
        self.targets = targets;
        true
    }

    /// The answer came to the end that was called: how long to wait with the connect.
    pub(crate) fn answered(&mut self, now: Tick) -> Option<u64> {
        let sent = self.asked.take()?;
        Some(now.ms_since(sent).min(PUNCH_WAIT_MAX_MS) / 2)
    }

    /// Go, once for each answer: where to connect to.
    pub(crate) fn go(&mut self) -> Vec<SocketAddr> {
        match self.asked.take() {
            Some(_) => std::mem::take(&mut self.targets),
            None => Vec::new(),
        }
    }

    fn pause(&self) -> u64 {
        let rare = self.tries.saturating_add(1).checked_sub(PUNCH_TRIES);
        rare.map_or(PUNCH_PAUSE_MS, |times| {
            PUNCH_REST_MS.saturating_mul(1 << times.min(8)).min(PUNCH_REST_MAX_MS)
        })
    }
}

/// Where to aim: what the other end says, less what would be pointless or somebody else's trouble.
pub(crate) fn targets(theirs: &[SocketAddr], ours: &[SocketAddr]) -> Vec<SocketAddr> {
    let local = ours.iter().any(|address| address.ip().is_loopback());
    let fit = |address: &&SocketAddr| {
        let one_host = match address.ip() {
            IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast() && !ip.is_unspecified(),
            IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
        };
        one_host && (local || !address.ip().is_loopback()) && !ours.contains(address)
    };
    let mut fit: Vec<SocketAddr> = theirs.iter().filter(fit).copied().collect();
    fit.dedup();
    fit.truncate(PUNCH_ADDRESSES_MAX);
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn three_tries_then_rarely() {
        let mut punch = Punch::default();
        assert!(!punch.offer(at(0)), "nobody began");
        punch.begin(at(0));
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(punch.offer(at(now)));
            assert!(!punch.offer(at(now)));
            let next = punch.next.unwrap().ms();
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses[..4], [PUNCH_PAUSE_MS, PUNCH_PAUSE_MS, PUNCH_REST_MS, 2 * PUNCH_REST_MS]);
        assert_eq!(pauses.last(), Some(&PUNCH_REST_MAX_MS));
    }

    #[test]
    fn half_the_round_trip_and_no_answer_twice() {
        let mut punch = Punch::default();
        punch.begin(at(0));
        assert!(punch.offer(at(100)));
        assert_eq!(punch.answered(at(140)), Some(20));
        assert_eq!(punch.answered(at(150)), None);
        punch.begin(at(200));
        assert!(punch.offer(at(200)));
        assert_eq!(punch.answered(at(1_000_000)), Some(PUNCH_WAIT_MAX_MS / 2));
    }

    #[test]
    fn a_flood_of_offers_is_one_offer_and_go_alone_aims_nowhere() {
        let mut punch = Punch::default();
        assert!(punch.go().is_empty());
        let there = vec![address("192.0.2.7:1")];
        assert!(punch.offered(there.clone(), at(0)));
        assert!(!punch.offered(there.clone(), at(PUNCH_PAUSE_MS / 2 - 1)));
        assert_eq!(punch.go(), there);
        assert!(punch.go().is_empty());
        assert!(punch.offered(there, at(PUNCH_PAUSE_MS / 2)));
        assert!(!punch.offer(at(PUNCH_PAUSE_MS * 2)), "it offers nothing itself");
    }

    #[test]
    fn nobody_is_aimed_at_a_crowd_itself_or_its_own_loopback() {
        let ours = [address("198.51.100.1:7400")];
        let theirs = ["192.0.2.7:1", "198.51.100.1:7400", "127.0.0.1:22", "224.0.0.1:1"];
        let theirs = theirs.map(address);
        assert_eq!(targets(&theirs, &ours), [address("192.0.2.7:1")]);
        let bad = ["255.255.255.255:1", "0.0.0.0:1", "[ff02::1]:1", "[::]:1"].map(address);
        assert!(targets(&bad, &ours).is_empty());
        let here = [address("127.0.0.1:1")];
        assert_eq!(targets(&[address("127.0.0.1:2")], &here).len(), 1);
        let many = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(address);
        assert_eq!(targets(&many, &ours).len(), PUNCH_ADDRESSES_MAX);
    }
}
