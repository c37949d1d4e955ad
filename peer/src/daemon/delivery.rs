//! From links to the inbox: in the order of arrival, many commits at once, never unbounded.

use std::sync::Arc;

use peer_core::{Intake, LinkId};
use shared::refusal::Code;
use shared::wire::{Number, Verdict};
use tokio::sync::mpsc;

use super::news::News;
use crate::inbox::{self, Inbox, Incoming};

/// Messages and batches between the driver and the inbox; beyond it the sender is told `quota`.
pub(super) const PARCELS_MAX: usize = 1024;

/// Something on its way into the inbox.
pub(super) enum Parcel {
    /// A message that waits for its receipt.
    Message { link: LinkId, message: Incoming },
    /// Queued messages of one stream.
    Batch { link: LinkId, parcel: inbox::Parcel },
}

/// Hands parcels to the inbox until the driver is gone. Handing over keeps the order; waiting for
/// the disk happens beside it, so that many messages share one commit.
pub(super) async fn deliver(
    mut parcels: mpsc::Receiver<Parcel>,
    inbox: Arc<Inbox>,
    news: mpsc::Sender<News>,
) {
    while let Some(parcel) = parcels.recv().await {
        match parcel {
            Parcel::Message { link, message } => put(&inbox, link, message, news.clone()).await,
            Parcel::Batch { link, parcel } => take(&inbox, link, parcel, news.clone()).await,
        }
    }
}

async fn put(inbox: &Inbox, link: LinkId, message: Incoming, news: mpsc::Sender<News>) {
    let id = message.id;
    let pending = inbox.submit(message).await;
    tokio::spawn(async move {
        let stored = match pending {
            Ok(pending) => pending.stored().await,
            Err(error) => Err(error),
        };
        // The sender learns that there is no room; why stands in our own log.
        let refused = stored.is_err().then_some(Code::Quota);
        let _ = news.send(News::Stored { link, id, refused }).await;
    });
}

async fn take(inbox: &Inbox, link: LinkId, parcel: inbox::Parcel, news: mpsc::Sender<News>) {
    let (from, priority) = (parcel.from.clone(), parcel.batch.priority);
    let round = parcel.batch.round;
    let pending = inbox.take(parcel).await;
    tokio::spawn(async move {
        let intake = match pending {
            Ok(pending) => pending.stored().await,
            Err(error) => Err(error),
        };
        let intake = intake.unwrap_or_else(|_| refused());
        let _ = news.send(News::Taken { link, from, priority, round, intake }).await;
    });
}

/// Nothing was taken, for now.
pub(super) const fn refused() -> Intake {
    let verdict = Verdict::Refused(Code::Quota);
    Intake { through: Number::ZERO, verdict, owed: Vec::new() }
}
