//! Messages between applications in the processes of two peers: from one that sends to the one
//! that listens now, without a disk.
//!
//! What is sent is taken whole and in order, or its sender learns that it was not: at most once,
//! for data that is worth nothing later. For everything else there is the outbox.
//!
//! **Invariant:** a [`Courier`] has at most [`PACKS_UNDER_WAY`] packs unanswered, so a slow
//! listener holds back its senders and nobody else.

use std::collections::VecDeque;

use peer_core::{AnswerTo, Outcome};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::wire::Pack;
use tokio::sync::{mpsc, oneshot};

use super::driver::Driver;
use super::fabric::Fabric;
use super::news::News;
use super::start::Daemon;
use super::view::{Answer, Ask};
use crate::limits::{PACKS_UNDER_WAY, PACKS_WAITING_MAX};

/// A pack for the one who listens.
pub(super) struct Handed {
    to: AnswerTo,
    from: NodeName,
    pack: Pack,
}

/// Where packs go: to the last who said that it listens.
#[derive(Default)]
pub(super) struct Ears(Option<mpsc::Sender<Handed>>);

impl Daemon {
    /// Listens to what other nodes' applications send now. There is one listener: a later one takes
    /// the place.
    pub async fn listen(&self) -> Listener {
        let (sender, packs) = mpsc::channel(PACKS_WAITING_MAX);
        let news = self.news.clone();
        let _ = news.send(News::Listening(sender)).await;
        Listener { packs, news }
    }

    /// Somebody who carries messages to the application that listens at a node.
    #[must_use]
    pub fn courier(&self, to: NodeName) -> Courier {
        Courier { to, news: self.news.clone(), under_way: VecDeque::new() }
    }
}

/// Hears what others send.
pub struct Listener {
    packs: mpsc::Receiver<Handed>,
    news: mpsc::Sender<News>,
}

impl Listener {
    /// The next messages, and who sent them; `None` when the peer has stopped or somebody else
    /// listens. Its sender learns at this moment that they were taken.
    pub async fn next(&mut self) -> Option<(NodeName, Pack)> {
        let Handed { to, from, pack } = self.packs.recv().await?;
        let _ = self.news.send(News::Handed(to)).await;
        Some((from, pack))
    }
}

/// Carries messages to one node, several packs at a time.
pub struct Courier {
    to: NodeName,
    news: mpsc::Sender<News>,
    under_way: VecDeque<oneshot::Receiver<Answer>>,
}

impl Courier {
    /// Sends a pack; waits while too many are unanswered.
    ///
    /// # Errors
    /// What became of an earlier one, if it was not taken.
    pub async fn send(&mut self, pack: Pack) -> Result<(), Outcome> {
        while self.under_way.len() >= PACKS_UNDER_WAY {
            self.answered().await?;
        }
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Pack { to: self.to.clone(), pack };
        self.news.send(News::Asked { ask, reply }).await.map_err(|_| STOPPED)?;
        self.under_way.push_back(answer);
        Ok(())
    }

    /// Waits until all that was sent is answered.
    ///
    /// # Errors
    /// What became of the first that was not taken.
    pub async fn finish(&mut self) -> Result<(), Outcome> {
        while !self.under_way.is_empty() {
            self.answered().await?;
        }
        Ok(())
    }

    async fn answered(&mut self) -> Result<(), Outcome> {
        let Some(answer) = self.under_way.pop_front() else { return Ok(()) };
        match answer.await {
            Ok(Answer::Outcome { outcome: Outcome::Delivered, .. }) => Ok(()),
            Ok(Answer::Outcome { outcome, .. }) => Err(outcome),
            _ => Err(STOPPED),
        }
    }
}

pub(super) const STOPPED: Outcome = Outcome::Unreachable("this peer has stopped");

impl<F: Fabric> Driver<F> {
    pub(super) fn listen(&mut self, sender: mpsc::Sender<Handed>) {
        self.ears = Ears(Some(sender));
    }

    /// Hands a pack to the one who listens, or says why not.
    pub(super) fn hand(&mut self, to: AnswerTo, from: NodeName, pack: Pack) {
        let sent = self.ears.0.as_ref().map(|ears| ears.try_send(Handed { to, from, pack }));
        let refused = match sent {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(_))) => Code::Quota,
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Code::Unreachable,
        };
        self.node.handle_handed(to, Some(refused));
    }
}
