//! What is done with the orders to the inbox, one group after the other.
//!
//! **Invariant:** the last number of a stream is written with the message that has it.

use std::time::{Duration, Instant};

use peer_core::Intake;
use redb::{Durability, Error, WriteTransaction};
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::{Batch, Number, Verdict};
use tokio::sync::{oneshot, watch};

use super::table::{self, Fill, Open};
use super::{InboxError, Incoming, Parcel, Stored};
use crate::config::InboxBounds;
use crate::ledger::Ledger;
use crate::limits::{INBOX_OWED_MAX, INBOX_SEEN_EXTRA, INBOX_STREAMS_MAX};
use crate::store::StoreError;

/// Where an answer goes.
type Answer<T> = oneshot::Sender<Result<T, InboxError>>;

/// Between two complaints about the disk.
const QUIET: Duration = Duration::from_secs(60);

/// What the thread is asked.
pub(super) enum Order {
    Put { message: Incoming, answer: Answer<Stored> },
    Take { parcel: Parcel, answer: Answer<Intake> },
    Drop { through: u64, answer: Answer<u64> },
}

/// An answer that waits for the commit.
pub(super) enum Ready {
    Put(Answer<Stored>, Result<Stored, InboxError>),
    Take(Answer<Intake>, Intake),
    Drop(Answer<u64>, u64),
}

pub(super) struct Writer {
    bounds: InboxBounds,
    /// How full it is, and how full it will be with the commit under way.
    fill: Fill,
    next: Fill,
    tell: watch::Sender<u64>,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) const fn new(bounds: InboxBounds, fill: Fill, tell: watch::Sender<u64>) -> Self {
        Self { bounds, fill, next: fill, tell, complained: None }
    }

    fn order(&mut self, open: &mut Open<'_>, order: Order) -> Result<Ready, Error> {
        Ok(match order {
            Order::Put { message, answer } => Ready::Put(answer, self.put(open, message)?),
            Order::Take { parcel, answer } => Ready::Take(answer, self.take(open, &parcel)?),
            Order::Drop { through, answer } => {
                let (count, bytes) = open.remove(through)?;
                self.next.count = self.next.count.saturating_sub(count);
                self.next.bytes = self.next.bytes.saturating_sub(bytes);
                Ready::Drop(answer, count)
            }
        })
    }

    fn put(
        &mut self,
        open: &mut Open<'_>,
        message: Incoming,
    ) -> Result<Result<Stored, InboxError>, Error> {
        if let Some(stored) = open.known(&message)? {
            return Ok(Ok(stored));
        }
        let record = table::record(message.from.as_str(), message.at, &message.body);
        let Some(seq) = self.room(record.len()) else { return Ok(Err(InboxError::Full)) };
        open.insert(seq, &record)?;
        open.remember(seq, &table::key(&message))?;
        Ok(Ok(Stored { seq, duplicate: false }))
    }

    /// Takes the messages of a batch that are next in their stream; each once, none out of order.
    fn take(&mut self, open: &mut Open<'_>, parcel: &Parcel) -> Result<Intake, Error> {
        let Parcel { from, at, batch } = parcel;
        let stream = table::stream_key(from, batch.priority);
        let known = open.last(&stream)?;
        if known.is_none() && open.streams()? >= INBOX_STREAMS_MAX {
            return Ok(refused(Number::ZERO));
        }
        let before = known.unwrap_or_default();
        let mut intake = Intake { through: before, verdict: Verdict::Taken, owed: Vec::new() };
        self.take_items(open, (from.as_str(), *at), batch, &mut intake)?;
        if intake.through > before {
            open.advance(&stream, intake.through)?;
        }
        for owed in &intake.owed {
            open.owe(from, owed)?;
        }
        Ok(intake)
    }

    fn take_items(
        &mut self,
        open: &mut Open<'_>,
        (from, at): (&str, Timestamp),
        batch: &Batch,
        intake: &mut Intake,
    ) -> Result<(), Error> {
        let mut prev = batch.prev;
        for item in batch.items() {
            let before = std::mem::replace(&mut prev, item.number);
            if item.number <= intake.through {
                continue;
            }
            if before > intake.through {
                intake.verdict = Verdict::Gap;
                break;
            }
            let record = table::record(from, at, item.body);
            let Some(seq) = self.room(record.len()) else {
                intake.verdict = Verdict::Refused(Code::Quota);
                break;
            };
            open.insert(seq, &record)?;
            intake.through = item.number;
            if item.receipt {
                let digest = shared::id::sha256(item.body);
                intake.owed.push(peer_core::Owed { number: item.number, digest, at });
            }
        }
        Ok(())
    }

    /// The number of the next message, if there is room for so many bytes.
    fn room(&mut self, bytes: usize) -> Option<u64> {
        let Fill { count, bytes: held, last } = self.next;
        let bytes = held.saturating_add(bytes as u64);
        if count >= self.bounds.count || bytes > self.bounds.bytes {
            return None;
        }
        let last = last.saturating_add(1);
        self.next = Fill { count: count + 1, bytes, last };
        Some(last)
    }
}

const fn refused(through: Number) -> Intake {
    Intake { through, verdict: Verdict::Refused(Code::Quota), owed: Vec::new() }
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
        self.next = self.fill;
        let mut open = Open::new(txn)?;
        for order in group {
            ready.push(self.order(&mut open, order)?);
        }
        open.number(self.next.last)?;
        open.forget(self.bounds.count.saturating_add(INBOX_SEEN_EXTRA), INBOX_OWED_MAX)?;
        Ok(Durability::Immediate)
    }

    fn done(&mut self, ready: Vec<Ready>) {
        self.fill = self.next;
        let newest = self.fill.last;
        self.tell.send_if_modified(|last| std::mem::replace(last, newest) != newest);
        ready.into_iter().for_each(Ready::answer);
    }

    fn failed(&mut self, ready: Vec<Ready>, error: &StoreError) {
        if self.complained.is_none_or(|since| since.elapsed() >= QUIET) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "inbox: nothing is stored");
        }
        ready.into_iter().for_each(|ready| ready.refuse(&InboxError::from(error.clone())));
    }
}

impl Ready {
    /// An asker that has gone does not want the answer.
    fn answer(self) {
        match self {
            Self::Put(answer, result) => drop(answer.send(result)),
            Self::Take(answer, intake) => drop(answer.send(Ok(intake))),
            Self::Drop(answer, count) => drop(answer.send(Ok(count))),
        }
    }

    fn refuse(self, error: &InboxError) {
        match self {
            Self::Put(answer, _) => drop(answer.send(Err(error.clone()))),
            Self::Take(answer, _) => drop(answer.send(Err(error.clone()))),
            Self::Drop(answer, _) => drop(answer.send(Err(error.clone()))),
        }
    }
}
