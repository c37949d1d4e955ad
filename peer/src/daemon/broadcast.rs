//! Broadcasts from an application in the process of a peer to all that listen at other peers now.
//!
//! What is sent is heard at most once by each, and its sender learns how far it came: in a full
//! mesh each node that has not heard it, in a larger one as many of them as those in between name.
//! Nothing waits for a node without a way.
//!
//! **Invariant:** a [`Broadcaster`] has at most [`PACKS_UNDER_WAY`] packs unanswered, so the
//! slowest listener sets the pace, for as long as it answers at all.

use std::collections::VecDeque;

use bytes::Bytes;
use peer_core::{LinkId, Outcome, Reach, RequestId, Spreading};
use shared::refusal::Code;
use shared::wire::Pack;
use tokio::sync::{mpsc, oneshot};

use super::driver::Driver;
use super::fabric::{Carried, Fabric};
use super::live::STOPPED;
use super::news::News;
use super::start::Daemon;
use super::view::{Answer, Ask};
use crate::limits::PACKS_UNDER_WAY;
use crate::link::Class;

impl Daemon {
    /// Somebody who carries messages to the applications that listen at all other nodes.
    #[must_use]
    pub fn broadcaster(&self) -> Broadcaster {
        Broadcaster { news: self.news.clone(), under_way: VecDeque::new(), window: 1 }
    }
}

/// Carries messages to all that listen, several packs at a time.
pub struct Broadcaster {
    news: mpsc::Sender<News>,
    under_way: VecDeque<oneshot::Receiver<Answer>>,
    /// How many may be: the first alone finds the ways that are not needed.
    window: usize,
}

impl Broadcaster {
    /// Sends a pack. While too many are unanswered it waits, and tells how far the one came that it
    /// waited for.
    ///
    /// # Errors
    /// Why an earlier one was not sent.
    pub async fn send(&mut self, pack: Pack) -> Result<Option<Reach>, Outcome> {
        let full = self.under_way.len() >= self.window;
        let earlier = if full { self.next().await? } else { None };
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Broadcast { pack };
        self.news.send(News::Asked { ask, reply }).await.map_err(|_| STOPPED)?;
        self.under_way.push_back(answer);
        Ok(earlier)
    }

    /// How far the oldest unanswered pack came; waits for it. `None`: all are answered.
    ///
    /// # Errors
    /// Why it was not sent.
    pub async fn next(&mut self) -> Result<Option<Reach>, Outcome> {
        let Some(answer) = self.under_way.pop_front() else { return Ok(None) };
        match answer.await {
            Ok(Answer::Reached(reach)) => {
                self.window = (self.window * 2).min(PACKS_UNDER_WAY);
                Ok(Some(reach))
            }
            Ok(Answer::Outcome { outcome, .. }) => Err(outcome),
            _ => Err(STOPPED),
        }
    }
}

impl<F: Fabric> Driver<F> {
    /// Queues one frame on several links: the octets are shared.
    pub(super) fn spread(&mut self, links: &[LinkId], what: Spreading, frame: &Bytes) {
        for link in links {
            let refused = match self.fabric.send(*link, Class::Message, frame.clone()) {
                Carried::Yes => {
                    if let Some(traffic) = self.traffic.get_mut(link) {
                        traffic.sent += 1;
                    }
                    continue;
                }
                Carried::Full => Code::Quota,
                Carried::Gone => Code::Unreachable,
            };
            self.node.handle_unheard(*link, what, refused);
        }
    }

    pub(super) fn reached(&mut self, request: RequestId, reach: Reach) {
        if let Some(waiting) = self.asked.remove(&request) {
            let _ = waiting.reply.send(Answer::Reached(reach));
        }
    }
}
