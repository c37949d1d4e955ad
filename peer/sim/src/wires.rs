//! The wires between nodes: each is one TCP connection, seen from its two ends.
//!
//! What the model keeps of TCP: octets arrive in order or not at all; a lost segment costs time, a
//! round trip if enough follows it that the receiver's acknowledgements betray the gap, else the
//! sender's timer; the timer doubles with each loss of the same segment (RFC 6298, RFC 6675).
//! Everything behind a lost segment waits for it. Rates are not limited.
//!
//! **Invariant:** on one wire nothing overtakes.

use std::collections::BTreeMap;

use peer_core::LinkId;

use crate::random::Random;

/// The state of the network.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// From one node to another, in ms.
    pub one_way_ms: u64,
    /// Segments lost, of a hundred.
    pub loss_percent: u64,
}

/// Payload of a segment.
const SEGMENT_BYTES: usize = 1400;
/// Headers of a segment: IPv4 and TCP with timestamps.
pub(crate) const SEGMENT_OVERHEAD: usize = 52;
/// What TLS 1.3 adds to a record.
pub(crate) const RECORD_OVERHEAD: usize = 22;
/// The retransmission timer beyond a round trip, in ms: the least Linux allows.
const TIMER_MS: u64 = 200;
/// Later segments that betray a gap (RFC 5681).
const BETRAYING: usize = 3;
/// Losses of one segment after which the timer no longer doubles.
const DOUBLINGS_MAX: u32 = 6;

impl Weather {
    /// How long so many bytes, written at once, take to be there.
    pub(crate) fn delay(&self, bytes: usize, random: &mut Random) -> u64 {
        let segments = segments(bytes);
        let worst = (0..segments).map(|at| self.lost_ms(segments - 1 - at, random)).max();
        self.one_way_ms + worst.unwrap_or(0)
    }

    /// What the losses of one segment cost that so many follow.
    fn lost_ms(&self, followed_by: usize, random: &mut Random) -> u64 {
        let round_trip = 2 * self.one_way_ms;
        let (mut waited, mut losses) = (0, 0);
        while random.percent(self.loss_percent) {
            let betrayed = losses == 0 && followed_by >= BETRAYING;
            let timer = (round_trip + TIMER_MS) << losses.min(DOUBLINGS_MAX);
            waited += if betrayed { round_trip } else { timer };
            losses += 1;
        }
        waited
    }
}

/// How many segments so many bytes take.
pub(crate) fn segments(bytes: usize) -> usize {
    (bytes + RECORD_OVERHEAD).div_ceil(SEGMENT_BYTES)
}

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// Whose end this is.
    pub(crate) host: usize,
    /// The other end.
    pub(crate) far: LinkId,
    /// Whose that is.
    pub(crate) far_host: usize,
    /// When the last octet sent from here arrives.
    pub(crate) arrives_ms: u64,
}

/// All ends.
#[derive(Debug, Default)]
pub struct Wires {
    ends: BTreeMap<LinkId, Wire>,
    next: u64,
}

impl Wires {
    /// Numbers for the two ends of a new connection.
    pub(crate) const fn number(&mut self) -> (LinkId, LinkId) {
        self.next += 2;
        (LinkId(self.next - 1), LinkId(self.next))
    }

    /// Lays a wire from a host's end to another's.
    pub(crate) fn lay(&mut self, near: (LinkId, usize), far: (LinkId, usize), now_ms: u64) {
        let end = |host, (far, far_host)| Wire { host, far, far_host, arrives_ms: now_ms };
        self.ends.insert(near.0, end(near.1, far));
        self.ends.insert(far.0, end(far.1, near));
    }

    pub(crate) fn get(&self, end: LinkId) -> Option<Wire> {
        self.ends.get(&end).copied()
    }

    /// When something sent now and so long under way arrives: behind all that was sent before.
    pub(crate) fn arrival(&mut self, end: LinkId, now_ms: u64, delay_ms: u64) -> Option<u64> {
        let wire = self.ends.get_mut(&end)?;
        wire.arrives_ms = wire.arrives_ms.max(now_ms + delay_ms);
        Some(wire.arrives_ms)
    }

    pub(crate) fn cut(&mut self, end: LinkId) -> Option<Wire> {
        self.ends.remove(&end)
    }

    /// The ends of one host.
    pub(crate) fn of(&self, host: usize) -> Vec<LinkId> {
        let own = self.ends.iter().filter(|(_, wire)| wire.host == host);
        own.map(|(end, _)| *end).collect()
    }

    /// How many ends lead to a host.
    #[must_use]
    pub fn to(&self, host: usize) -> usize {
        self.ends.values().filter(|wire| wire.far_host == host).count()
    }

    /// With whom each of so many hosts is connected.
    #[must_use]
    pub fn neighbours(&self, hosts: usize) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); hosts];
        for wire in self.ends.values() {
            neighbours[wire.host].push(wire.far_host);
        }
        neighbours
    }

    /// How many connections there ever were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.next / 2
    }
}
