//! The desk's part about messages: to one or to many, now or queued, and what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::fault::Fault;
use peer_core::{Outcome, Receiver, StreamId, StreamView, Target};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::Number;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::control::Desk;
use super::news::News;
use super::view::{Answer, Ask};
use crate::control::Replier;
use crate::control::post::{
    GoneItem, MailOutcome, MailReply, Mailing, QueuedItem, Queueing, ReceiptItem,
};
use crate::control::protocol::{Body, Reply};
use crate::limits::{OUTBOX_PAGE, TTL_MAX_S};
use crate::outbox::{Draft, Fate, Gone, Kept, OutboxError, Queued, Taken};

/// A message on its way to one node.
type Waiting = (usize, Result<(Taken, oneshot::Receiver<Fate>), OutboxError>);

impl Desk {
    /// Sends messages to whoever is meant; one reply for each node.
    pub(super) async fn mail(&self, mailing: Mailing, replies: &mut Replier) -> Result<(), Fault> {
        let receivers = self.receivers(mailing.to.clone().into()).await?;
        let until = Instant::now() + Duration::from_millis(mailing.wait_ms);
        let bodies: Vec<Vec<u8>> = mailing.bodies.into_iter().map(|body| body.0).collect();
        if bodies.iter().any(|body| body.len() > shared::limits::MESSAGE_BYTES_MAX) {
            return Err(Fault::usage("a message is too long").hint("send it in pieces: --lines"));
        }
        match mailing.queue {
            Some(queueing) => self.queue(receivers, &bodies, queueing, until, replies).await,
            None => self.send_now(receivers, &bodies, until, replies).await,
        }
    }

    async fn receivers(&self, target: Target) -> Result<Vec<Receiver>, Fault> {
        match self.ask(Ask::Receivers(target)).await? {
            Answer::Receivers(receivers) => Ok(receivers),
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }

    async fn send_now(
        &self,
        receivers: Vec<Receiver>,
        bodies: &[Vec<u8>],
        until: Instant,
        replies: &mut Replier,
    ) -> Result<(), Fault> {
        let mut asked = Vec::new();
        for Receiver { node, refused, .. } in receivers {
            let mut answers = Vec::new();
            for body in bodies.iter().filter(|_| refused.is_none()) {
                let ask = Ask::Send { to: node.clone(), body: body.clone() };
                answers.push(self.begin(ask).await?);
            }
            asked.push((node, refused, answers));
        }
        for (node, refused, answers) in asked {
            let reply = answered(node, refused, answers, until).await;
            replies.send(&Reply::Mailed(reply)).await?;
        }
        Ok(())
    }

    async fn queue(
        &self,
        receivers: Vec<Receiver>,
        bodies: &[Vec<u8>],
        queueing: Queueing,
        until: Instant,
        replies: &mut Replier,
    ) -> Result<(), Fault> {
        let begun = Instant::now();
        let ttl_s = queueing.ttl_s.clamp(1, TTL_MAX_S);
        let at = self.kept.wall();
        let expires = at.plus_s(ttl_s);
        let mut putting = JoinSet::new();
        for (index, receiver) in receivers.iter().enumerate() {
            if receiver.refused.is_some() {
                continue;
            }
            let stream = StreamId { to: receiver.node.clone(), priority: queueing.priority };
            let (receipt, bodies) = (queueing.receipt, bodies.to_vec());
            let draft = Draft { stream, at, expires, receipt, bodies };
            putting.spawn(put(Arc::clone(&self.outbox), self.news.clone(), index, draft));
        }
        let mut put: BTreeMap<usize, _> = BTreeMap::new();
        while let Some(done) = putting.join_next().await {
            let (index, result) = done.map_err(|_| Fault::failed("this peer is stopping"))?;
            put.insert(index, result);
        }
        for (index, receiver) in receivers.into_iter().enumerate() {
            let outcome = put.remove(&index);
            let mut reply = fate(receiver, outcome, expires, until, queueing.receipt).await;
            reply.ms = millis(begun);
            replies.send(&Reply::Mailed(reply)).await?;
        }
        Ok(())
    }

    /// What waits, what was dropped.
    pub(super) async fn list_outbox(&self, replies: &mut Replier) -> Result<(), Fault> {
        let Answer::Streams(streams) = self.ask(Ask::Streams).await? else {
            return Err(Fault::failed("the driver answered something else"));
        };
        let streams: BTreeMap<StreamId, StreamView> =
            streams.into_iter().map(|view| (view.stream.clone(), view)).collect();
        let mut reasons: BTreeMap<NodeName, String> = BTreeMap::new();
        let mut after = Vec::new();
        loop {
            let page = self.outbox.list(&after, OUTBOX_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (_, queued) in page {
                let view = streams.get(&queued.stream);
                let to = &queued.stream.to;
                if !reasons.contains_key(to) {
                    reasons.insert(to.clone(), self.absence(to).await?);
                }
                let absence = reasons.get(to).map_or("", String::as_str);
                replies.send(&Reply::Waiting(waiting(&queued, view, absence))).await?;
            }
        }
        for gone in self.outbox.gone()? {
            replies.send(&Reply::Gone(gone_item(gone))).await?;
        }
        Ok(())
    }

    /// Why a node is not linked, in words.
    async fn absence(&self, to: &NodeName) -> Result<String, Fault> {
        let status = self.status().await?;
        let known = status.known.iter().find(|known| known.node == *to);
        let refusal = known.and_then(|known| known.last_refusal.as_ref());
        Ok(match (known, refusal) {
            (_, Some(refusal)) => format!("{}, by {}", refusal.code, refusal.by.as_str()),
            (Some(_), None) => "not reachable".to_owned(),
            (None, None) => "not known here".to_owned(),
        })
    }

    pub(super) async fn list_receipts(&self, replies: &mut Replier) -> Result<(), Fault> {
        let mut after = Number::ZERO;
        loop {
            let page = self.outbox.receipts(after, OUTBOX_PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.number;
            for Kept { number, bytes } in page {
                let item = ReceiptItem { id: number.to_string(), statement: Body(bytes) };
                replies.send(&Reply::Receipt(item)).await?;
            }
        }
    }
}

async fn put(
    outbox: Arc<crate::outbox::Outbox>,
    news: tokio::sync::mpsc::Sender<News>,
    index: usize,
    draft: Draft,
) -> Waiting {
    let stream = draft.stream.clone();
    let (last, mut watches, mut fates) = (draft.bodies.len(), Vec::new(), Vec::new());
    // Only the last is watched: it arrives after all the others.
    for _ in 0..last {
        let (watch, fate) = oneshot::channel();
        watches.push(watch);
        fates.push(fate);
    }
    let taken = match outbox.put(draft, watches).await {
        Ok(taken) => taken,
        Err(error) => return (index, Err(error)),
    };
    if let Some(newest) = taken.numbers.last().copied() {
        let _ = news.send(News::Queued { stream, newest }).await;
    }
    fates.truncate(taken.numbers.len());
    let nothing = || oneshot::channel().1;
    (index, Ok((taken, fates.pop().unwrap_or_else(nothing))))
}

/// Waits until messages have arrived, or for as long as somebody has patience.
async fn fate(
    receiver: Receiver,
    outcome: Option<Result<(Taken, oneshot::Receiver<Fate>), OutboxError>>,
    expires: Timestamp,
    until: Instant,
    receipt: bool,
) -> MailReply {
    let Receiver { node, refused, linked, known } = receiver;
    let mut reply = blank(node, MailOutcome::Refused { code: refused.unwrap_or(Code::Quota) });
    let Some(Ok((taken, fate))) = outcome else { return reply };
    reply.count = taken.numbers.len() as u64;
    reply.id = taken.numbers.last().map(Number::to_string);
    if taken.refused.is_some() {
        return reply;
    }
    let why = match (linked, known) {
        (true, _) => None,
        (false, true) => Some("it is not reachable now".to_owned()),
        (false, false) => Some("no such node is known here".to_owned()),
    };
    let until = if linked { until } else { Instant::now() };
    reply.outcome = match timeout_at(until.into(), fate).await {
        Ok(Ok(Fate::Arrived)) => MailOutcome::Delivered,
        Ok(Ok(Fate::Receipted(bytes))) => {
            reply.receipt = receipt.then_some(Body(bytes));
            MailOutcome::Delivered
        }
        Ok(Ok(Fate::Dropped(why))) => MailOutcome::Dropped { why },
        Ok(Err(_)) | Err(_) => MailOutcome::Queued { until: expires, why },
    };
    reply
}

/// Waits for the answers to messages that were sent at once.
async fn answered(
    node: NodeName,
    refused: Option<Code>,
    answers: Vec<oneshot::Receiver<Answer>>,
    until: Instant,
) -> MailReply {
    let begun = Instant::now();
    let mut reply = match refused {
        Some(code) => blank(node, MailOutcome::Refused { code }),
        None => blank(node, MailOutcome::Delivered),
    };
    for answer in answers {
        let outcome = match timeout_at(until.into(), answer).await {
            Ok(Ok(Answer::Outcome { outcome, .. })) => outcome,
            _ => Outcome::Unreachable("no receipt came in time"),
        };
        reply.outcome = match outcome {
            Outcome::Delivered => {
                reply.count += 1;
                continue;
            }
            Outcome::Refused(code) => MailOutcome::Refused { code },
            Outcome::Unreachable(why) => MailOutcome::Unreachable { why: why.to_owned() },
        };
        break;
    }
    reply.ms = millis(begun);
    reply
}

const fn blank(node: NodeName, outcome: MailOutcome) -> MailReply {
    MailReply { node, outcome, count: 0, id: None, ms: 0, receipt: None }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A message that waits, as it is shown.
#[must_use]
pub fn waiting(queued: &Queued, view: Option<&StreamView>, absence: &str) -> QueuedItem {
    let under_way = view.is_some_and(|view| view.linked && queued.number <= view.sent);
    let why = match view {
        Some(StreamView { trouble: Some(trouble), .. }) => trouble.as_str().to_owned(),
        Some(_) if under_way => "under way".to_owned(),
        Some(StreamView { linked: true, .. }) => "its turn".to_owned(),
        _ => absence.to_owned(),
    };
    QueuedItem {
        id: queued.number.to_string(),
        to: queued.stream.to.clone(),
        priority: queued.stream.priority,
        since: queued.at,
        until: queued.expires,
        bytes: queued.bytes,
        receipt: queued.receipt,
        tries: view.map_or(0, |view| view.tries),
        why,
    }
}

/// Dropped messages, as they are shown.
#[must_use]
pub fn gone_item(gone: Gone) -> GoneItem {
    let Gone { at, to, priority, count, first, last, reason, .. } = gone;
    GoneItem { at, to, priority, count, first: first.to_string(), last: last.to_string(), reason }
}
