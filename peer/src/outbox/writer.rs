//! What is done with the orders to the outbox, one group after the other.
//!
//! Only queueing waits for the disk: that something has arrived may be forgotten in a power cut,
//! because it is then sent again, and the receiver knows it.
//!
//! **Invariant:** numbers rise in the order in which messages are queued.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use peer_core::StreamId;
use redb::{Durability, Error, WriteTransaction};
use shared::name::NodeName;
use shared::receipt::SignedReceipt;
use shared::time::Timestamp;
use shared::wire::Number;
use tokio::sync::oneshot;

use super::table::{self, Fill, Gone, LAST, Open, Queued};
use super::{Draft, Fate, OutboxError, Taken, Watch};
use crate::config::OutboxBounds;
use crate::ledger::Ledger;
use crate::limits::OUTBOX_WATCHES_MAX;
use crate::store::StoreError;

/// Where an answer goes.
type Answer<T> = oneshot::Sender<Result<T, OutboxError>>;

/// Between two complaints about the disk.
const QUIET: Duration = Duration::from_secs(60);

/// What the thread is asked.
pub(crate) enum Order {
    /// Queue messages.
    Put { draft: Draft, watches: Vec<Watch>, answer: Answer<Taken> },
    /// They have arrived.
    Settle { stream: StreamId, through: Number },
    /// The receiver may have no more of them.
    Discard {
        stream: StreamId,
        before: Option<Timestamp>,
        at: Timestamp,
        reason: String,
        tell: Tell,
    },
    /// Drop what is too old, except what is under way: up to these numbers.
    Expire { at: Timestamp, flying: BTreeMap<StreamId, Number>, tell: Tell },
    /// Drop one.
    Remove { number: Number, at: Timestamp, answer: Answer<bool> },
    /// Keep a receipt.
    Keep(Box<SignedReceipt>),
}

/// Who is told that something was dropped.
pub(crate) type Tell = Box<dyn FnOnce(Vec<Notice>) + Send>;

/// Messages were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What is recorded of them.
    pub(crate) gone: Gone,
    /// Whether nothing is left of their stream, up to this number.
    pub(crate) emptied: Option<Number>,
}

/// What waits for the commit.
pub(crate) enum Ready {
    Put(Answer<Taken>, Taken, Vec<(Number, Watch)>),
    Remove(Answer<bool>, bool),
    Tell(Tell, Vec<Notice>),
    Fate(Number, Fate),
}

pub(super) struct Writer {
    bounds: OutboxBounds,
    fill: Fill,
    /// The last commit failed: what was counted for it is wrong.
    recount: bool,
    boot: u64,
    sequence: u64,
    soonest: Arc<AtomicI64>,
    watches: BTreeMap<Number, Watch>,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) const fn new(
        bounds: OutboxBounds,
        fill: Fill,
        boot: u64,
        soonest: Arc<AtomicI64>,
    ) -> Self {
        Self {
            bounds,
            fill,
            recount: false,
            boot,
            sequence: 0,
            soonest,
            watches: BTreeMap::new(),
            complained: None,
        }
    }

    fn order(
        &mut self,
        open: &mut Open<'_>,
        order: Order,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Error> {
        match order {
            Order::Put { draft, watches, answer } => {
                let taken = self.put(open, &draft)?;
                let watched = taken.numbers.iter().copied().zip(watches).collect();
                ready.push(Ready::Put(answer, taken, watched));
            }
            Order::Settle { stream, through } => self.settle(open, &stream, through, ready)?,
            Order::Discard { stream, before, at, reason, tell } => {
                let old = |found: &Queued| before.is_none_or(|before| found.at <= before);
                let notice = self.drop(open, (&stream, LAST), (at, &reason), old, ready)?;
                ready.push(Ready::Tell(tell, notice.into_iter().collect()));
            }
            Order::Expire { at, flying, tell } => {
                let notices = self.expire(open, at, &flying, ready)?;
                ready.push(Ready::Tell(tell, notices));
            }
            Order::Remove { number, at, answer } => {
                let found = open.find(number)?;
                if let Some(stream) = &found {
                    let it = |found: &Queued| found.number == number;
                    self.drop(open, (stream, number), (at, "dropped"), it, ready)?;
                }
                ready.push(Ready::Remove(answer, found.is_some()));
            }
            Order::Keep(signed) => {
                let (said, bytes) = (&signed.receipt, &signed.bytes);
                if open.keep(&said.to, said.number, &said.digest, bytes)? {
                    ready.push(Ready::Fate(said.number, Fate::Receipted(bytes.clone())));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, open: &mut Open<'_>, draft: &Draft) -> Result<Taken, Error> {
        let mut taken = Taken { numbers: Vec::with_capacity(draft.bodies.len()), refused: None };
        let Draft { stream, at, expires, receipt, bodies } = draft;
        for body in bodies {
            let bytes = body.len() as u64;
            if let Err(error) = self.room(&stream.to, bytes) {
                taken.refused = Some(error);
                break;
            }
            self.sequence += 1;
            let number = Number { boot: self.boot, sequence: self.sequence };
            let record = table::record(*at, *expires, *receipt, body);
            open.insert(&table::key(stream, number), &record)?;
            self.fill.add(&stream.to, bytes);
            taken.numbers.push(number);
        }
        self.fill.soonest = self.fill.soonest.min(expires.ms());
        Ok(taken)
    }

    fn room(&self, to: &NodeName, bytes: u64) -> Result<(), OutboxError> {
        let OutboxBounds { count, bytes: bytes_max } = self.bounds;
        let fits = |(held, size): (u64, u64), share: u64| {
            held < (count / share).max(1) && size + bytes <= bytes_max / share
        };
        if !fits((self.fill.count, self.fill.bytes), 1) {
            return Err(OutboxError::Full);
        }
        let own = self.fill.each.get(to).copied().unwrap_or_default();
        if !fits(own, 2) {
            return Err(OutboxError::FullFor(to.clone()));
        }
        Ok(())
    }

    fn settle(
        &mut self,
        open: &mut Open<'_>,
        stream: &StreamId,
        through: Number,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Error> {
        let (mut count, mut bytes, mut owed) = (0, 0, Vec::new());
        let watches = &self.watches;
        open.take(stream, through, |found, body| {
            (count, bytes) = (count + 1, bytes + found.bytes);
            if found.receipt {
                owed.push((found.clone(), shared::id::sha256(body)));
            } else if watches.contains_key(&found.number) {
                ready.push(Ready::Fate(found.number, Fate::Arrived));
            }
            true
        })?;
        for (found, digest) in owed {
            open.await_receipt(&found, &digest)?;
        }
        self.fill.remove(&stream.to, count, bytes);
        Ok(())
    }

    /// Drops messages with a record.
    fn drop(
        &mut self,
        open: &mut Open<'_>,
        (stream, through): (&StreamId, Number),
        (at, reason): (Timestamp, &str),
        is_so: impl Fn(&Queued) -> bool,
        ready: &mut Vec<Ready>,
    ) -> Result<Option<Notice>, Error> {
        let mut gone: Option<Gone> = None;
        open.take(stream, through, |found, _| {
            if !is_so(found) {
                return false;
            }
            ready.push(Ready::Fate(found.number, Fate::Dropped(reason.to_owned())));
            let gone = gone.get_or_insert_with(|| blank(found, at, reason));
            (gone.count, gone.last) = (gone.count + 1, found.number);
            gone.bytes += found.bytes;
            true
        })?;
        let Some(gone) = gone else { return Ok(None) };
        self.fill.remove(&stream.to, gone.count, gone.bytes);
        open.record(&gone)?;
        let through = Number { boot: self.boot, sequence: self.sequence };
        let emptied = open.is_empty(stream)?.then_some(through);
        Ok(Some(Notice { gone, emptied }))
    }

    fn expire(
        &mut self,
        open: &mut Open<'_>,
        at: Timestamp,
        flying: &BTreeMap<StreamId, Number>,
        ready: &mut Vec<Ready>,
    ) -> Result<Vec<Notice>, Error> {
        let (streams, soonest) = open.expired(at)?;
        self.fill.soonest = soonest;
        let mut notices = Vec::new();
        for stream in streams {
            let flown = flying.get(&stream).copied().unwrap_or_default();
            let old = |found: &Queued| found.expires <= at && found.number > flown;
            notices.extend(self.drop(open, (&stream, LAST), (at, "expired"), old, ready)?);
            if flown > Number::ZERO {
                // What is under way is looked at again.
                self.fill.soonest = self.fill.soonest.min(at.ms().saturating_add(1000));
            }
        }
        open.give_up(at)?;
        Ok(notices)
    }

    fn watch(&mut self, watched: Vec<(Number, Watch)>) {
        self.watches.retain(|_, watch| !watch.is_closed());
        for (number, watch) in watched {
            if self.watches.len() < OUTBOX_WATCHES_MAX {
                self.watches.insert(number, watch);
            }
        }
    }
}

fn blank(found: &Queued, at: Timestamp, reason: &str) -> Gone {
    Gone {
        at,
        to: found.stream.to.clone(),
        priority: found.stream.priority,
        count: 0,
        bytes: 0,
        first: found.number,
        last: found.number,
        reason: reason.to_owned(),
    }
}

impl Ledger for Writer {
    type Order = Order;
    type Ready = Ready;

    fn apply(
        &mut self,
        txn: &WriteTransaction,
        group: Vec<Order>,
        ready: &mut Vec<Ready>,
    ) -> Result<Durability, Error> {
        let mut open = Open::new(txn)?;
        if self.recount {
            self.fill = open.count()?;
            self.recount = false;
        }
        let lasting = |order: &Order| !matches!(order, Order::Settle { .. });
        let durability =
            if group.iter().any(lasting) { Durability::Immediate } else { Durability::None };
        for order in group {
            self.order(&mut open, order, ready)?;
        }
        Ok(durability)
    }

    fn done(&mut self, ready: Vec<Ready>) {
        self.soonest.store(self.fill.soonest, Ordering::Relaxed);
        for ready in ready {
            match ready {
                Ready::Put(answer, taken, watched) => {
                    self.watch(watched);
                    drop(answer.send(Ok(taken)));
                }
                Ready::Remove(answer, found) => drop(answer.send(Ok(found))),
                Ready::Tell(tell, notices) => tell(notices),
                Ready::Fate(number, fate) => {
                    if let Some(watch) = self.watches.remove(&number) {
                        let _ = watch.send(fate);
                    }
                }
            }
        }
    }

    fn failed(&mut self, ready: Vec<Ready>, error: &StoreError) {
        self.recount = true;
        if self.complained.is_none_or(|since| since.elapsed() >= QUIET) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "outbox: nothing is queued");
        }
        let wrong = OutboxError::from(error.clone());
        for ready in ready {
            match ready {
                Ready::Put(answer, ..) => drop(answer.send(Err(wrong.clone()))),
                Ready::Remove(answer, _) => drop(answer.send(Err(wrong.clone()))),
                Ready::Tell(..) | Ready::Fate(..) => {}
            }
        }
    }
}
