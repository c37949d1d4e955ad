//! The messages of QoS 1 and 2 of one session, from "to be sent" to "acknowledged".
//!
//! One row for both: those under way stand in front, the rest behind. A message's packet identifier
//! follows from its place, so that after a restart it is sent again under the one it had
//! (MQTT 5.0 §4.4), and an acknowledgement finds its message without a search.
//!
//! **Invariant:** at most 65,535 places are under way, so no identifier is used twice at once.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::time::Timestamp;

use crate::codec::{PacketId, Qos};
use crate::limits::QUEUE_COUNT_MAX;
use crate::message::Message;
use crate::receipt::Hold;

/// A message for one session.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Arc<Message>,
    /// The lower of the message's and the subscription's.
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Subscription identifiers.
    pub(crate) ids: Box<[u32]>,
    /// Whether the file has a row of it.
    pub(crate) saved: bool,
    /// Its publisher waits until the session's client has it.
    pub(crate) hold: Option<Hold>,
}

#[derive(Debug)]
enum Slot {
    /// Acknowledged, or expired.
    Over,
    Waiting(Item),
    Sent(Item),
    /// PUBREC came: the message itself is not needed again.
    Released {
        saved: bool,
    },
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Next<'q> {
    Publish { packet_id: PacketId, item: &'q Item, dup: bool },
    Release(PacketId),
}

/// What an acknowledgement changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// The message at this place is over, and its row goes if it has one.
    Over { place: u64, saved: bool },
    /// The message at this place is the client's; PUBREL is next.
    Released { place: u64, saved: bool },
    /// PUBREC came once more.
    Again,
    /// No such identifier is under way.
    Unknown,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The place of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots that were sent in this connection.
    sent: usize,
    /// From which place on nothing was sent before the restart, if that is known.
    unsent: Option<u64>,
    bytes: usize,
    /// Bytes of all queues together.
    total: Total,
}

/// What several queues hold together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Total(Arc<AtomicUsize>);

impl Total {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.lose(self.bytes);
    }
}

impl Queue {
    /// Messages that are not over, roughly: those under way and those that wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts what is in it with others from now on.
    pub(crate) fn share(&mut self, total: &Total) {
        let bytes = self.bytes;
        self.lose(bytes);
        self.total = total.clone();
        self.gain(bytes);
    }

    pub(crate) const fn total(&self) -> &Total {
        &self.total
    }

    fn gain(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lose(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.total.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Appends a message; gives its place.
    pub(crate) fn push(&mut self, item: Item) -> u64 {
        self.gain(item.message.bytes());
        self.slots.push_back(Slot::Waiting(item));
        self.first + self.slots.len() as u64 - 1
    }

    /// Puts back what a file held; places come in order. `None` if it cannot be: a gap that no
    /// queue makes.
    pub(crate) fn recall(&mut self, place: u64, item: Option<Item>) -> Option<()> {
        if self.slots.is_empty() {
            self.first = place;
        }
        let gap = place.checked_sub(self.first + self.slots.len() as u64)?;
        if gap > QUEUE_COUNT_MAX as u64 + IDS {
            return None;
        }
        while self.first + (self.slots.len() as u64) < place {
            self.slots.push_back(Slot::Over);
        }
        let slot = match item {
            Some(item) => {
                self.gain(item.message.bytes());
                // Else it may have been sent before the restart.
                let waits = self.unsent.is_some_and(|unsent| place >= unsent);
                if waits { Slot::Waiting(item) } else { Slot::Sent(item) }
            }
            None => Slot::Released { saved: true },
        };
        self.slots.push_back(slot);
        Some(())
    }

    /// The place from which on nothing was sent in any connection.
    pub(crate) fn unsent(&self) -> u64 {
        let sent = |slot: &Slot| matches!(slot, Slot::Sent(_) | Slot::Released { .. });
        let last = self.slots.iter().rposition(sent);
        self.first + last.map_or(0, |index| index as u64 + 1)
    }

    /// Tells it that place, before a file gives back what it held.
    pub(crate) const fn expect(&mut self, unsent: Option<u64>) {
        self.unsent = unsent;
    }

    /// A new connection: what is under way is sent again from the front.
    pub(crate) const fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What to send next, if the window allows; places that expired are told to `expired`.
    pub(crate) fn next(
        &mut self,
        window: usize,
        now: Timestamp,
        mut expired: impl FnMut(u64, bool),
    ) -> Option<Next<'_>> {
        loop {
            self.trim();
            if self.sent >= window {
                return None;
            }
            let place = self.first + self.sent as u64;
            let slot = self.slots.get_mut(self.sent)?;
            self.sent += 1;
            let lapsed = match slot {
                Slot::Waiting(item) if item.message.is_over(now) => {
                    Some((item.message.bytes(), item.saved))
                }
                _ => None,
            };
            if let Some((bytes, saved)) = lapsed {
                *slot = Slot::Over;
                self.lose(bytes);
                expired(place, saved);
                continue;
            }
            if matches!(slot, Slot::Over) {
                continue;
            }
            return self.send(place);
        }
    }

    fn send(&mut self, place: u64) -> Option<Next<'_>> {
        let packet_id = packet_id(place);
        let index = usize::try_from(place - self.first).ok()?;
        let slot = self.slots.get_mut(index)?;
        let dup = matches!(slot, Slot::Sent(_));
        match std::mem::replace(slot, Slot::Over) {
            Slot::Waiting(item) | Slot::Sent(item) => {
                *slot = Slot::Sent(item);
                let Slot::Sent(item) = slot else { return None };
                Some(Next::Publish { packet_id, item, dup })
            }
            other => {
                *slot = other;
                Some(Next::Release(packet_id))
            }
        }
    }

    /// PUBACK, or a PUBREC that says no.
    pub(crate) fn finish(&mut self, packet_id: PacketId, qos: Qos) -> Acked {
        let Some((place, slot)) = self.find(packet_id) else { return Acked::Unknown };
        let (bytes, saved) = match slot {
            Slot::Sent(item) if item.qos == qos => (item.message.bytes(), item.saved),
            _ => return Acked::Unknown,
        };
        *slot = Slot::Over;
        self.lose(bytes);
        self.trim();
        Acked::Over { place, saved }
    }

    /// PUBREC.
    pub(crate) fn release(&mut self, packet_id: PacketId) -> Acked {
        let Some((place, slot)) = self.find(packet_id) else { return Acked::Unknown };
        let (bytes, saved) = match slot {
            Slot::Sent(item) if item.qos == Qos::ExactlyOnce => (item.message.bytes(), item.saved),
            Slot::Released { .. } => return Acked::Again,
            _ => return Acked::Unknown,
        };
        *slot = Slot::Released { saved };
        self.lose(bytes);
        Acked::Released { place, saved }
    }

    /// PUBCOMP.
    pub(crate) fn complete(&mut self, packet_id: PacketId) -> Acked {
        let Some((place, slot)) = self.find(packet_id) else { return Acked::Unknown };
        let Slot::Released { saved } = *slot else { return Acked::Unknown };
        *slot = Slot::Over;
        self.trim();
        Acked::Over { place, saved }
    }

    /// The places that have rows, for these to be dropped.
    pub(crate) fn saved(&self) -> impl Iterator<Item = u64> {
        let live = self.slots.iter().enumerate().filter(|(_, slot)| match slot {
            Slot::Waiting(item) | Slot::Sent(item) => item.saved,
            Slot::Released { saved } => *saved,
            Slot::Over => false,
        });
        live.map(|(index, _)| self.first + index as u64)
    }

    /// Gives every message that has no row to `save`: from now on it has one.
    pub(crate) fn save_all(&mut self, mut save: impl FnMut(u64, &mut Item)) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Waiting(item) | Slot::Sent(item) = slot
                && !item.saved
            {
                item.saved = true;
                save(self.first + index as u64, item);
            }
        }
    }

    /// Takes out what may be sent elsewhere, and is said to have a way there: all but QoS 2 that
    /// may have arrived.
    pub(crate) fn take_movable(&mut self, has_way: impl Fn(&Message) -> bool) -> Vec<(u64, Item)> {
        let mut moved = Vec::new();
        for (place, slot) in (self.first..).zip(&mut self.slots) {
            let movable = match slot {
                Slot::Waiting(item) => has_way(&item.message),
                Slot::Sent(item) => item.qos < Qos::ExactlyOnce && has_way(&item.message),
                _ => false,
            };
            if movable
                && let Slot::Waiting(item) | Slot::Sent(item) = std::mem::replace(slot, Slot::Over)
            {
                moved.push((place, item));
            }
        }
        self.lose(moved.iter().map(|(_, item)| item.message.bytes()).sum());
        if self.slots.iter().all(|slot| matches!(slot, Slot::Over)) {
            self.first += self.slots.len() as u64;
            self.slots.clear();
            self.sent = 0;
        }
        moved
    }

    fn find(&mut self, packet_id: PacketId) -> Option<(u64, &mut Slot)> {
        let front = u64::from(self::packet_id(self.first).get());
        let index = (u64::from(packet_id.get()) + IDS - front) % IDS;
        let place = self.first + index;
        let index = usize::try_from(index).ok().filter(|index| *index < self.sent)?;
        Some((place, self.slots.get_mut(index)?))
    }

    fn trim(&mut self) {
        while self.sent > 0 && matches!(self.slots.front(), Some(Slot::Over)) {
            self.slots.pop_front();
            self.first += 1;
            self.sent -= 1;
        }
        // An idle session gives back what a burst made it take.
        if self.slots.is_empty() && self.slots.capacity() > 64 {
            self.slots = VecDeque::new();
        }
    }
}

const IDS: u64 = u16::MAX as u64;

fn packet_id(place: u64) -> PacketId {
    let id = u16::try_from(place % IDS).unwrap_or_default() + 1;
    NonZeroU16::new(id).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::message;

    const NOW: Timestamp = Timestamp::from_s(1_000);

    fn item(text: &str, qos: Qos) -> Item {
        let message = Arc::new(message("a", text, qos));
        Item { message, qos, retain: false, ids: Box::default(), saved: true, hold: None }
    }

    fn sent(queue: &mut Queue, window: usize) -> Vec<(u16, bool)> {
        let mut all = Vec::new();
        while let Some(next) = queue.next(window, NOW, |_, _| {}) {
            all.push(match next {
                Next::Publish { packet_id, dup, .. } => (packet_id.get(), dup),
                Next::Release(packet_id) => (packet_id.get() + 10_000, false),
            });
        }
        all
    }

    fn id(number: u16) -> PacketId {
        NonZeroU16::new(number).unwrap()
    }

    #[test]
    fn a_window_is_kept_and_moves_with_acknowledgements() {
        let mut queue = Queue::default();
        for text in ["1", "2", "3", "4"] {
            queue.push(item(text, Qos::AtLeastOnce));
        }
        assert_eq!(sent(&mut queue, 2), [(1, false), (2, false)]);
        assert_eq!(queue.finish(id(2), Qos::AtLeastOnce), Acked::Over { place: 1, saved: true });
        assert_eq!(sent(&mut queue, 2), [], "the first is still under way");
        assert_eq!(queue.finish(id(1), Qos::AtLeastOnce), Acked::Over { place: 0, saved: true });
        assert_eq!(queue.finish(id(1), Qos::AtLeastOnce), Acked::Unknown);
        assert_eq!(sent(&mut queue, 2), [(3, false), (4, false)]);
        assert_eq!(queue.finish(id(3), Qos::ExactlyOnce), Acked::Unknown, "the wrong packet");
        assert!(queue.bytes() > 0);
        assert_eq!(queue.finish(id(3), Qos::AtLeastOnce), Acked::Over { place: 2, saved: true });
        assert_eq!(queue.finish(id(4), Qos::AtLeastOnce), Acked::Over { place: 3, saved: true });
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn what_was_under_way_is_sent_again_under_its_identifier() {
        let mut queue = Queue::default();
        for text in ["1", "2", "3"] {
            queue.push(item(text, Qos::ExactlyOnce));
        }
        assert_eq!(sent(&mut queue, 2), [(1, false), (2, false)]);
        assert_eq!(queue.release(id(1)), Acked::Released { place: 0, saved: true });
        assert_eq!(queue.release(id(1)), Acked::Again);
        assert_eq!(queue.complete(id(2)), Acked::Unknown, "no PUBREC yet");
        queue.rewind();
        assert_eq!(sent(&mut queue, 9), [(10_001, false), (2, true), (3, false)]);
        assert_eq!(queue.complete(id(1)), Acked::Over { place: 0, saved: true });
        assert_eq!(queue.saved().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn identifiers_go_round_and_never_meet_one_under_way() {
        let mut queue = Queue::default();
        for _ in 0..3 * 65_535 {
            queue.push(item("x", Qos::AtLeastOnce));
            let now = sent(&mut queue, 3);
            let last = now.last().unwrap().0;
            if queue.len() == 3 {
                let oldest = (u32::from(last) + 65_535 - 1 - 2) % 65_535 + 1;
                let oldest = id(u16::try_from(oldest).unwrap());
                assert!(matches!(queue.finish(oldest, Qos::AtLeastOnce), Acked::Over { .. }));
            }
        }
    }

    #[test]
    fn what_expired_is_passed_over_unless_it_was_sent() {
        let mut queue = Queue::default();
        let mut old = message("a", "old", Qos::AtLeastOnce);
        old.expires = Some(NOW);
        let message = Arc::new(old);
        let qos = Qos::AtLeastOnce;
        let ids = Box::default();
        queue.push(Item { message, qos, retain: false, ids, saved: false, hold: None });
        queue.push(item("new", Qos::AtLeastOnce));
        let mut gone = Vec::new();
        let next = queue.next(9, NOW, |place, saved| gone.push((place, saved)));
        assert!(matches!(next, Some(Next::Publish { .. })));
        assert_eq!(gone, [(0, false)]);
        assert_eq!(queue.finish(id(2), Qos::AtLeastOnce), Acked::Over { place: 1, saved: true });
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn it_comes_back_from_a_file() {
        let mut queue = Queue::default();
        queue.recall(7, Some(item("7", Qos::AtLeastOnce))).unwrap();
        queue.recall(9, None).unwrap();
        queue.recall(10, Some(item("10", Qos::ExactlyOnce))).unwrap();
        assert!(queue.recall(10, None).is_none(), "it is there");
        assert!(queue.recall(u64::MAX, None).is_none(), "no queue is so long");
        assert_eq!(sent(&mut queue, 9), [(8, true), (10_010, false), (11, true)]);
        assert_eq!(queue.push(item("11", Qos::AtLeastOnce)), 11);
    }

    #[test]
    fn what_is_in_it_counts_with_others_until_it_is_gone() {
        let total = Total::default();
        let (mut one, mut other) = (Queue::default(), Queue::default());
        one.push(item("1", Qos::AtLeastOnce));
        for queue in [&mut one, &mut other] {
            queue.share(&total);
            queue.push(item("2", Qos::AtLeastOnce));
        }
        assert_eq!(total.bytes(), one.bytes() + other.bytes());
        sent(&mut one, 9);
        assert!(matches!(one.finish(id(1), Qos::AtLeastOnce), Acked::Over { .. }));
        assert_eq!(total.bytes(), one.bytes() + other.bytes());
        drop(one);
        assert_eq!(total.bytes(), other.bytes());
        drop(other);
        assert_eq!(total.bytes(), 0);
    }

    #[test]
    fn a_hostile_identifier_finds_nothing() {
        let mut queue = Queue::default();
        queue.push(item("1", Qos::AtLeastOnce));
        for number in [1, 2, 65_535] {
            assert_eq!(queue.finish(id(number), Qos::AtLeastOnce), Acked::Unknown, "not sent yet");
        }
        sent(&mut queue, 9);
        for number in [2, 3, 65_535] {
            assert_eq!(queue.finish(id(number), Qos::AtLeastOnce), Acked::Unknown);
            assert_eq!(queue.release(id(number)), Acked::Unknown);
            assert_eq!(queue.complete(id(number)), Acked::Unknown);
        }
    }
}
