//! Meeting directly: when the two ends of a relayed link try it, and where they may aim.
//!
//! Both connect from their listening ports (TCP simultaneous open, RFC 5382 §4), so that each one's
//! first packet opens the way for the other's. The end that was called leads: it offers, and
//! connects when the answer comes. The other one connects before it answers: its packet opens its
//! own NAT, is dropped at the other one (RFC 5382 REQ-4), and the packet that follows the answer
//! finds a connection that waits for it, on every way. Did it find the listener instead, that one's
//! reply could be lost in a NAT that remembers an earlier try, and would hold the two ports for a
//! minute.
//!
//! Two relayed links may cross, one dialled by each end; then both ends would be each side of the
//! handshake, at the same ports. The smaller name's stays, so it offers nothing on the other one
//! while its own call is under way.
//!
//! **Invariant:** what is aimed at came from the other end under its own certificate, at most two
//! addresses in [`PUNCH_PAUSE_MS`], and never one of our own or one that is no single host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use shared::limits::PUNCH_ADDRESSES_MAX;
use shared::name::NodeName;
use shared::time::Tick;

use crate::limits::{
    PUNCH_PAUSE_MS, PUNCH_REST_MAX_MS, PUNCH_REST_MS, PUNCH_TRIES, PUNCH_YIELD_MS,
};

/// Where one relayed link stands with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Punch {
    tries: u32,
    /// When the end that was called offers again.
    next: Option<Tick>,
    /// Until when the end that dialled hears no other offer.
    deaf_until: Option<Tick>,
    /// Whether an offer went out that has no answer yet.
    asked: bool,
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
        self.asked = true;
        self.next = Some(now.plus_ms(self.pause()));
        self.tries = self.tries.saturating_add(1);
        true
    }

    /// An offer came to the end that dialled; `false` if it comes too soon after the last.
    pub(crate) fn offered(&mut self, now: Tick) -> bool {
        if self.deaf_until.is_some_and(|until| now < until) {
            return false;
        }
        // Half of the other side's pause: its offers may come late, but not in a flood.
        self.deaf_until = Some(now.plus_ms(PUNCH_PAUSE_MS / 2));
        true
    }

    /// The answer came to the end that was called; `false` if it asked for none.
    pub(crate) const fn answered(&mut self) -> bool {
        std::mem::replace(&mut self.asked, false)
    }

    fn pause(&self) -> u64 {
        let rare = self.tries.saturating_add(1).checked_sub(PUNCH_TRIES);
        rare.map_or(PUNCH_PAUSE_MS, |times| {
            PUNCH_REST_MS.saturating_mul(1 << times.min(8)).min(PUNCH_REST_MAX_MS)
        })
    }
}

/// What is known beside the links.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    /// Where the last relay saw our listening port, and where it is.
    pub(crate) seen: Vec<SocketAddr>,
    /// The nodes that a relay is asked for by us, since when.
    calls: BTreeMap<NodeName, Tick>,
}

impl Meetings {
    /// A relay is asked for a node.
    pub(crate) fn call(&mut self, node: &NodeName, now: Tick) {
        self.calls.insert(node.clone(), now);
    }

    /// Our call brought a link, or failed.
    pub(crate) fn called(&mut self, node: &NodeName) {
        self.calls.remove(node);
    }

    /// Whether the offer is left to a link that we are calling for and that will stay.
    pub(crate) fn yields(&self, own: &NodeName, node: &NodeName, now: Tick) -> bool {
        let fresh = |since: &Tick| now < since.plus_ms(PUNCH_YIELD_MS);
        own < node && self.calls.get(node).is_some_and(fresh)
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
    fn an_offer_is_answered_once() {
        let mut punch = Punch::default();
        assert!(!punch.answered(), "nobody asked");
        punch.begin(at(0));
        assert!(punch.offer(at(100)));
        assert!(punch.answered());
        assert!(!punch.answered());
    }

    #[test]
    fn a_flood_of_offers_is_one_offer() {
        let mut punch = Punch::default();
        assert!(punch.offered(at(0)));
        assert!(!punch.offered(at(PUNCH_PAUSE_MS / 2 - 1)));
        assert!(punch.offered(at(PUNCH_PAUSE_MS / 2)));
        assert!(!punch.offer(at(PUNCH_PAUSE_MS * 2)), "it offers nothing itself");
    }

    #[test]
    fn of_two_that_call_each_other_the_larger_name_offers() {
        let [alice, bob] = ["alice", "bob"].map(|name| NodeName::parse(name).unwrap());
        let mut meetings = Meetings::default();
        assert!(!meetings.yields(&alice, &bob, at(0)), "nothing comes");
        meetings.call(&bob, at(0));
        assert!(meetings.yields(&alice, &bob, at(PUNCH_YIELD_MS - 1)));
        assert!(!meetings.yields(&alice, &bob, at(PUNCH_YIELD_MS)), "nothing came");
        meetings.called(&bob);
        assert!(!meetings.yields(&alice, &bob, at(1)), "it is over");
        meetings.call(&alice, at(0));
        assert!(!meetings.yields(&bob, &alice, at(1)), "its own link will not stay");
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
