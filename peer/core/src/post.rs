//! Queued messages on their way: one stream for each receiver and priority, a window on each.
//!
//! The outbox keeps the messages; here is only how far each stream was sent and how far it was
//! taken. A batch names the number before it, so the receiver takes messages in order and each
//! once, whatever is lost: after a new link, a refusal or silence, the sender goes back to the
//! oldest message that was not acknowledged. Such an attempt is a *round*; answers to an older
//! round still say how far the stream was taken, but their refusals no longer count.
//!
//! **Invariant:** of a stream at most [`WINDOW_BYTES`] and [`WINDOW_BATCHES`] are under way.
//! **Invariant:** only what was sent can be settled by an acknowledgement.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Tick;
use shared::wire::{Number, Priority, Taken, Verdict};

use crate::limits::{
    ACKNOWLEDGE_MS, AGAIN_FIRST_MS, AGAIN_MAX_MS, FULL_MS, WINDOW_BATCHES, WINDOW_BYTES,
};
use crate::links::LinkId;
use crate::random::Jitter;

/// A stream: what goes to one receiver at one priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The receiver.
    pub to: NodeName,
    /// The priority.
    pub priority: Priority,
}

/// Why a stream does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The receiver refused it for now.
    Refused(Code),
    /// The receiver lacks something that was sent before.
    Gap,
    /// The receiver does not acknowledge.
    Silent,
    /// The receiver knows later messages of ours than there are: this bundle is an old copy.
    Behind,
}

impl Trouble {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(code) => code.as_str(),
            Self::Gap => "out of order",
            Self::Silent => "not acknowledged",
            Self::Behind => "the receiver knows later messages: this bundle is an old copy",
        }
    }
}

/// A stream as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    /// Which.
    pub stream: StreamId,
    /// Whether there is a link to send it on.
    pub linked: bool,
    /// Everything up to here was sent on that link.
    pub sent: Number,
    /// How often it began again.
    pub tries: u32,
    /// Why it does not go on.
    pub trouble: Option<Trouble>,
}

/// What the outbox is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Of which stream.
    pub stream: StreamId,
    /// In which round it is asked.
    pub round: u32,
    /// Messages after this number.
    pub after: Number,
    /// And up to this one, which is on the disk.
    pub through: Number,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Messages up to this number have arrived.
    Settle(StreamId, Number),
    /// The receiver will never take this stream.
    Drop(StreamId, Code),
}

#[derive(Debug, Default)]
struct Stream {
    link: Option<LinkId>,
    round: u32,
    /// The newest number in the outbox.
    newest: Number,
    /// The outbox was read up to here in this round.
    cursor: Number,
    /// The last number sent in this round.
    prev: Number,
    /// The greatest number ever sent, by which acknowledgements are bounded.
    sent_max: Number,
    /// Settled up to here.
    floor: Number,
    flights: VecDeque<Flight>,
    bytes: usize,
    loading: bool,
    waits_until: Option<Tick>,
    silent_at: Option<Tick>,
    failures: u32,
    tries: u32,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Flight {
    last: Number,
    bytes: usize,
}

impl Stream {
    fn is_ready(&self) -> bool {
        self.link.is_some()
            && !self.loading
            && self.waits_until.is_none()
            && self.newest > self.cursor
            && self.bytes < WINDOW_BYTES
            && self.flights.len() < WINDOW_BATCHES
    }

    /// Back to the oldest message that is not settled.
    fn rewind(&mut self) {
        self.round = self.round.wrapping_add(1);
        (self.cursor, self.prev) = (self.floor, Number::ZERO);
        self.flights.clear();
        (self.bytes, self.loading, self.silent_at) = (0, false, None);
        self.tries = self.tries.saturating_add(1);
    }

    fn settle(&mut self, through: Number, now: Tick) {
        self.floor = through;
        while self.flights.front().is_some_and(|flight| flight.last <= through) {
            self.bytes -= self.flights.pop_front().map_or(0, |flight| flight.bytes);
        }
        self.failures = 0;
        self.trouble = None;
        self.silent_at = (!self.flights.is_empty()).then(|| now.plus_ms(ACKNOWLEDGE_MS));
        // What was taken in an earlier round need not be read again.
        self.cursor = self.cursor.max(through);
    }

    fn next_due(&self) -> Option<Tick> {
        match (self.waits_until, self.silent_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Post {
    boot: u64,
    streams: BTreeMap<StreamId, Stream>,
    due: BTreeSet<(Tick, StreamId)>,
}

impl Post {
    /// For a run; numbers of later runs cannot be ours.
    pub(crate) const fn new(boot: u64) -> Self {
        Self { boot, streams: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// The outbox has messages of this stream up to a number.
    pub(crate) fn queued(&mut self, id: &StreamId, newest: Number, link: Option<LinkId>) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.newest = stream.newest.max(newest);
            stream.link = stream.link.or(link);
            return;
        }
        let stream = Stream { newest, link, ..Stream::default() };
        self.streams.insert(id.clone(), stream);
    }

    /// There is a link with a receiver now; one that it replaces counts no more.
    pub(crate) fn linked(&mut self, to: &NodeName, link: LinkId) {
        self.each(to, |stream| {
            stream.rewind();
            stream.link = Some(link);
            (stream.waits_until, stream.failures) = (None, 0);
        });
    }

    /// A link is gone.
    pub(crate) fn unlinked(&mut self, to: &NodeName, link: LinkId) {
        self.each(to, |stream| {
            if stream.link == Some(link) {
                stream.rewind();
                (stream.link, stream.waits_until) = (None, None);
            }
        });
    }

    fn each(&mut self, to: &NodeName, change: impl Fn(&mut Stream)) {
        for priority in Priority::ALL {
            let id = StreamId { to: to.clone(), priority };
            self.change(&id, |stream| change(stream));
        }
    }

    /// Changes a stream and keeps its deadline in the list.
    fn change<T>(&mut self, id: &StreamId, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let stream = self.streams.get_mut(id)?;
        let before = stream.next_due();
        let result = change(stream);
        let after = stream.next_due();
        if before != after {
            before.map(|tick| self.due.remove(&(tick, id.clone())));
            after.map(|tick| self.due.insert((tick, id.clone())));
        }
        Some(result)
    }

    /// What to read next for a receiver: the most urgent stream that has something to send.
    pub(crate) fn want(&mut self, to: &NodeName) -> Option<Want> {
        for priority in Priority::ALL {
            let id = StreamId { to: to.clone(), priority };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.is_ready() {
                stream.loading = true;
                let (round, after, through) = (stream.round, stream.cursor, stream.newest);
                return Some(Want { stream: id, round, after, through });
            }
            // While an urgent one still has to be read, the others wait for it.
            if stream.link.is_some() && stream.loading {
                return None;
            }
        }
        None
    }

    /// What was read: `last` is the last number and `bytes` the size, none if there was nothing
    /// more; `whole` says that nothing is left up to what was asked for. Gives the link and the
    /// number before the batch, unless a new round has begun meanwhile.
    pub(crate) fn read(
        &mut self,
        want: &Want,
        page: Option<(Number, usize)>,
        whole: bool,
        now: Tick,
    ) -> Option<(LinkId, Number)> {
        self.change(&want.stream, |stream| {
            if stream.round != want.round {
                return None;
            }
            stream.loading = false;
            if whole {
                stream.cursor = stream.cursor.max(want.through);
            }
            let (last, bytes) = page?;
            stream.cursor = stream.cursor.max(last);
            stream.sent_max = stream.sent_max.max(last);
            stream.flights.push_back(Flight { last, bytes });
            stream.bytes += bytes;
            stream.silent_at = stream.silent_at.or(Some(now.plus_ms(ACKNOWLEDGE_MS)));
            let prev = std::mem::replace(&mut stream.prev, last);
            Some((stream.link?, prev))
        })?
    }

    /// The link had no room for a batch: begin again from there in a moment.
    pub(crate) fn no_room(&mut self, id: &StreamId, round: u32, now: Tick) {
        self.change(id, |stream| {
            if stream.round == round {
                stream.rewind();
                stream.waits_until = Some(now.plus_ms(FULL_MS));
            }
        });
    }

    /// A receiver says how far it has taken a stream.
    pub(crate) fn taken(
        &mut self,
        to: &NodeName,
        taken: &Taken,
        now: Tick,
        jitter: &mut Jitter,
    ) -> Vec<Effect> {
        let id = StreamId { to: to.clone(), priority: taken.priority };
        let (mut effects, boot) = (Vec::new(), self.boot);
        self.change(&id, |stream| {
            if taken.through.boot > boot {
                return stream.wait(Trouble::Behind, now, jitter);
            }
            let through = taken.through.min(stream.sent_max);
            if through > stream.floor {
                stream.settle(through, now);
                effects.push(Effect::Settle(id.clone(), through));
            }
            if taken.round != stream.round {
                return;
            }
            match taken.verdict {
                Verdict::Taken => {}
                Verdict::Gap => stream.wait(Trouble::Gap, now, jitter),
                Verdict::Refused(code @ Code::Quota) => {
                    stream.wait(Trouble::Refused(code), now, jitter);
                }
                Verdict::Refused(code) => effects.push(Effect::Drop(id.clone(), code)),
            }
        });
        effects
    }

    /// Messages were dropped from the outbox: it has none of a stream up to a number.
    pub(crate) fn emptied(&mut self, id: &StreamId, through: Number) {
        self.change(id, |stream| {
            stream.floor = stream.floor.max(through);
            stream.rewind();
            (stream.waits_until, stream.trouble, stream.tries) = (None, None, 0);
        });
    }

    /// The newest number of a stream.
    pub(crate) fn newest(&self, id: &StreamId) -> Option<Number> {
        self.streams.get(id).map(|stream| stream.newest)
    }

    /// Time has passed: whom to look at again.
    pub(crate) fn overdue(&mut self, now: Tick, jitter: &mut Jitter) -> Vec<NodeName> {
        let mut again = Vec::new();
        while let Some((tick, id)) = self.due.first().cloned().filter(|(tick, _)| *tick <= now) {
            self.due.remove(&(tick, id.clone()));
            again.push(id.to.clone());
            self.change(&id, |stream| {
                if stream.waits_until.take_if(|until| *until <= now).is_none() {
                    stream.wait(Trouble::Silent, now, jitter);
                }
            });
        }
        again.dedup();
        again
    }

    /// Forgets streams that have nothing to send to nobody.
    pub(crate) fn forget(&mut self) {
        self.streams.retain(|_, stream| stream.link.is_some() || stream.newest > stream.floor);
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.due.first().map(|(tick, _)| *tick)
    }

    pub(crate) fn views(&self) -> Vec<StreamView> {
        let view = |(id, stream): (&StreamId, &Stream)| StreamView {
            stream: id.clone(),
            linked: stream.link.is_some(),
            sent: stream.prev,
            tries: stream.tries,
            trouble: stream.trouble,
        };
        self.streams.iter().map(view).collect()
    }
}

impl Stream {
    /// Begins again after a wait that grows.
    fn wait(&mut self, trouble: Trouble, now: Tick, jitter: &mut Jitter) {
        self.rewind();
        let wait = AGAIN_FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(AGAIN_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.waits_until = Some(now.plus_ms(jitter.around(wait)));
        self.trouble = Some(trouble);
    }
}

#[cfg(test)]
mod tests;
