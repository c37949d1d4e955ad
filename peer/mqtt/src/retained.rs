//! Retained messages (MQTT 5.0 §3.3.1.3), one for each topic, the last writer's.
//!
//! Writers on two peers are put in order by a hybrid logical clock (Kulkarni et al., 2014): wall
//! time that never runs backwards, a count for what happens within one millisecond, and the peer's
//! name for what happens at once on two. What was cleared is remembered for a while, or a peer that
//! was away would bring it back.
//!
//! **Invariant:** whatever the order in which stamps arrive, the largest stays.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytestring::ByteString;
use minicbor::{Decode, Encode};
use shared::name::NodeName;
use shared::policy::{Filter, matches};
use shared::time::Timestamp;

use crate::limits::{STAMP_AHEAD_MS, TOMBSTONE_MS};
use crate::message::Message;

/// When something was retained, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Stamp {
    /// Milliseconds of wall time, or later.
    #[n(0)]
    pub ms: i64,
    /// Within that millisecond.
    #[n(1)]
    pub count: u32,
    /// The peer.
    #[n(2)]
    pub node: NodeName,
}

/// What stands under a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The message; none if it was cleared.
    pub message: Option<Arc<Message>>,
    /// When.
    pub stamp: Stamp,
}

/// How much is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedBounds {
    /// Messages, those that were cleared included.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Why something is not retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRetained {
    /// There is a later one.
    Older,
    /// There is no room.
    Full,
    /// Its clock is too far ahead: it would win for ever.
    Ahead,
}

/// All of them.
#[derive(Debug)]
pub struct Shelf {
    topics: BTreeMap<ByteString, Retained>,
    bytes: usize,
    bounds: RetainedBounds,
    /// The last stamp that was given or seen.
    last: (i64, u32),
}

impl Shelf {
    /// An empty shelf.
    #[must_use]
    pub const fn new(bounds: RetainedBounds) -> Self {
        Self { topics: BTreeMap::new(), bytes: 0, bounds, last: (i64::MIN, 0) }
    }

    /// A stamp that is later than all that were given or seen.
    pub fn stamp(&mut self, node: &NodeName, now: Timestamp) -> Stamp {
        let (ms, count) = self.last;
        self.last = match count.checked_add(1) {
            Some(next) if ms >= now.ms() => (ms, next),
            None if ms >= now.ms() => (ms.saturating_add(1), 0),
            _ => (now.ms(), 0),
        };
        Stamp { ms: self.last.0, count: self.last.1, node: node.clone() }
    }

    /// Puts something under a topic if it is later than what is there.
    ///
    /// # Errors
    /// [`NotRetained`]; nothing has changed then.
    pub fn put(
        &mut self,
        topic: &ByteString,
        retained: Retained,
        now: Timestamp,
    ) -> Result<(), NotRetained> {
        if retained.stamp.ms > now.ms().saturating_add(STAMP_AHEAD_MS) {
            return Err(NotRetained::Ahead);
        }
        let bytes = |retained: &Retained| {
            let body = retained.message.as_ref().map_or(0, |message| message.bytes());
            topic.len() + AROUND + body
        };
        let before = self.topics.get(topic);
        if before.is_some_and(|before| before.stamp >= retained.stamp) {
            return Err(NotRetained::Older);
        }
        let after = self.bytes - before.map_or(0, bytes) + bytes(&retained);
        let count = self.topics.len() + usize::from(before.is_none());
        // Clearing needs no room that was not there.
        let grows = after > self.bytes || before.is_none();
        if grows && (count > self.bounds.count || after > self.bounds.bytes) {
            return Err(NotRetained::Full);
        }
        self.last = self.last.max((retained.stamp.ms, retained.stamp.count));
        self.bytes = after;
        self.topics.insert(topic.clone(), retained);
        Ok(())
    }

    /// What stands under a topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Retained> {
        self.topics.get(topic)
    }

    /// The messages that a filter matches, in the order of their topics, without those that are
    /// over: those after a topic, as many as have so many bytes, and whether there are more.
    #[must_use]
    pub fn matching(
        &self,
        filter: &Filter,
        after: Option<&ByteString>,
        bytes_max: usize,
        now: Timestamp,
    ) -> (Vec<Arc<Message>>, bool) {
        let text = filter.as_str();
        let wild = text.find(['+', '#']);
        // `a/#` matches `a` too.
        let fixed = text.get(..wild.unwrap_or(text.len())).unwrap_or_default();
        let fixed = if wild.is_some() { fixed.trim_end_matches('/') } else { fixed };
        let from = after.map_or(Bound::Included(fixed), |after| Bound::Excluded(&**after));
        let range = (from, Bound::Unbounded);
        let near = self.topics.range::<str, _>(range).take_while(|(t, _)| t.starts_with(fixed));
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (topic, retained) in near {
            let Some(message) = &retained.message else { continue };
            if !message.is_over(now) && matches(filter, topic, |_| None) {
                if bytes >= bytes_max {
                    return (found, true);
                }
                bytes += message.bytes();
                found.push(Arc::clone(message));
            }
        }
        (found, false)
    }

    /// Forgets what expired, and what was cleared long ago; gives the topics.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<ByteString> {
        let over = |retained: &Retained| match &retained.message {
            Some(message) => message.is_over(now),
            None => retained.stamp.ms.saturating_add(TOMBSTONE_MS) < now.ms(),
        };
        let gone = self.topics.iter().filter(|(_, retained)| over(retained));
        let gone: Vec<ByteString> = gone.map(|(topic, _)| topic.clone()).collect();
        for topic in &gone {
            self.remove(topic);
        }
        gone
    }

    fn remove(&mut self, topic: &ByteString) {
        if let Some(gone) = self.topics.remove(topic) {
            let body = gone.message.as_ref().map_or(0, |message| message.bytes());
            self.bytes -= topic.len() + AROUND + body;
        }
    }

    /// Every topic with what stands under it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ByteString, &Retained)> {
        self.topics.iter()
    }

    /// How many messages of programs there are, without those that were cleared.
    #[must_use]
    pub fn count(&self) -> usize {
        let own = |topic: &ByteString| topic.starts_with('$');
        let all = self.topics.iter();
        all.filter(|(topic, retained)| !own(topic) && retained.message.is_some()).count()
    }
}

/// What a topic costs in memory besides its text and its message.
const AROUND: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Qos;
    use crate::message::message;

    const NOW: Timestamp = Timestamp::from_s(1_000_000);
    const BOUNDS: RetainedBounds = RetainedBounds { count: 100, bytes: 10_000 };

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn put(shelf: &mut Shelf, topic: &str, text: &str) -> Result<(), NotRetained> {
        let stamp = shelf.stamp(&node("alice"), NOW);
        let message = Some(Arc::new(message(topic, text, Qos::AtMostOnce)));
        shelf.put(&topic.into(), Retained { message, stamp }, NOW)
    }

    fn found(shelf: &Shelf, filter: &str) -> Vec<String> {
        let filter = Filter::parse(filter).unwrap();
        let (all, more) = shelf.matching(&filter, None, usize::MAX, NOW);
        // The same one by one.
        let (mut singly, mut after) = (Vec::new(), None);
        loop {
            let (next, more) = shelf.matching(&filter, after.as_ref(), 1, NOW);
            after = next.last().map(|message| message.topic.clone());
            singly.extend(next);
            if !more {
                break;
            }
        }
        assert_eq!((&singly, more), (&all, false));
        all.iter().map(|message| message.topic.to_string()).collect()
    }

    #[test]
    fn filters_find_what_they_match() {
        let mut shelf = Shelf::new(BOUNDS);
        for topic in ["a", "a/b", "a/b/c", "a/d", "ab/c", "$SYS/x", "/a"] {
            put(&mut shelf, topic, "x").unwrap();
        }
        assert_eq!(found(&shelf, "a/#"), ["a", "a/b", "a/b/c", "a/d"]);
        assert_eq!(found(&shelf, "a/+"), ["a/b", "a/d"]);
        assert_eq!(found(&shelf, "a/b"), ["a/b"]);
        assert_eq!(found(&shelf, "+/b/+"), ["a/b/c"]);
        assert_eq!(found(&shelf, "#"), ["/a", "a", "a/b", "a/b/c", "a/d", "ab/c"]);
        assert_eq!(found(&shelf, "$SYS/#"), ["$SYS/x"]);
        assert_eq!(found(&shelf, "/+"), ["/a"]);
    }

    #[test]
    fn the_latest_stays_whatever_the_order() {
        let stamp = |ms, count, name| Stamp { ms, count, node: node(name) };
        let stamps = [stamp(1, 0, "alice"), stamp(1, 0, "bob"), stamp(1, 1, "alice")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            let mut shelf = Shelf::new(BOUNDS);
            for index in order {
                let stamp = stamps[index].clone();
                let _ = shelf.put(&"t".into(), Retained { message: None, stamp }, NOW);
            }
            assert_eq!(shelf.get("t").unwrap().stamp, stamps[2]);
        }
    }

    #[test]
    fn a_clock_that_runs_ahead_does_not_win_for_ever() {
        let mut shelf = Shelf::new(BOUNDS);
        let stamp = |ms| Stamp { ms, count: 0, node: node("mallory") };
        let far = Retained { message: None, stamp: stamp(NOW.ms() + STAMP_AHEAD_MS + 1) };
        assert_eq!(shelf.put(&"t".into(), far, NOW), Err(NotRetained::Ahead));
        let near = Retained { message: None, stamp: stamp(NOW.ms() + STAMP_AHEAD_MS) };
        shelf.put(&"t".into(), near, NOW).unwrap();
        put(&mut shelf, "t", "later, although our clock is behind").unwrap();
        assert!(shelf.get("t").unwrap().message.is_some());
    }

    #[test]
    fn there_is_a_bound_and_clearing_is_always_possible() {
        let mut shelf = Shelf::new(RetainedBounds { count: 2, bytes: 10_000 });
        put(&mut shelf, "a", "x").unwrap();
        put(&mut shelf, "b", "x").unwrap();
        assert_eq!(put(&mut shelf, "c", "x"), Err(NotRetained::Full));
        put(&mut shelf, "b", "another").unwrap();
        assert_eq!(put(&mut shelf, "b", &"x".repeat(10_000)), Err(NotRetained::Full));
        let stamp = shelf.stamp(&node("alice"), NOW);
        shelf.put(&"a".into(), Retained { message: None, stamp }, NOW).unwrap();
        assert_eq!((found(&shelf, "#"), shelf.count()), (vec!["b".to_owned()], 1));
        let later = Timestamp::from_ms(NOW.ms() + TOMBSTONE_MS + 1);
        assert_eq!(shelf.sweep(later), ["a"]);
        put(&mut shelf, "c", "x").unwrap();
    }
}
