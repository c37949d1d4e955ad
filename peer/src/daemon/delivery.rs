//! From links to the inbox: in the order of arrival, many commits at once, never unbounded.

use std::sync::Arc;

use peer_core::LinkId;
use tokio::sync::mpsc;

use super::news::News;
use crate::inbox::{Inbox, Incoming};
use shared::refusal::Code;

/// Messages between the driver and the inbox; beyond it the sender is told `quota`.
pub(super) const PARCELS_MAX: usize = 1024;

/// A message on its way into the inbox.
pub(super) struct Parcel {
    pub(super) link: LinkId,
    pub(super) message: Incoming,
}

/// Hands parcels to the inbox until the driver is gone. Handing over keeps the order; waiting for
/// the disk happens beside it, so that many messages share one commit.
pub(super) async fn deliver(
    mut parcels: mpsc::Receiver<Parcel>,
    inbox: Arc<Inbox>,
    news: mpsc::Sender<News>,
) {
    while let Some(parcel) = parcels.recv().await {
        let Parcel { link, message } = parcel;
        let id = message.id;
        let pending = inbox.submit(message).await;
        let news = news.clone();
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
}
