//! What the program around a peer may want of it when that program is the authority: bring in feed
//! and policy and hear who has them, certify for others, and take a new identity.
//!
//! **Invariant:** nobody who listens here holds the driver up: what finds no room is refused or
//! dropped, and whoever asked is told.

use host::fault::Fault;
use peer_core::{Expected, LinkId, Of, Petition, Renewed, RequestId};
use shared::feed::{FeedError, Update};
use shared::id::Serial;
use shared::join::{Code, Failure};
use shared::name::NodeName;
use shared::policy::PolicyError;
use shared::time::Now;
use shared::wire::Ack;
use tls::Identity;
use tokio::sync::{mpsc, oneshot};

use super::driver::Driver;
use super::fabric::Fabric;
use super::news::News;
use super::renewal::Errand;
use super::start::Daemon;
use super::view::{Answer, Ask};
use crate::limits::{ACKNOWLEDGEMENTS_MAX, PUBLISHERS_MAX, RENEWALS_WAITING_MAX};

/// A chain, DER, leaf first; or why there is none.
type Decided = Result<Vec<Vec<u8>>, Failure>;

/// Somebody has a feed or policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which of the two.
    pub of: Of,
    /// Its number.
    pub number: u64,
    /// Who.
    pub node: NodeName,
    /// How many links it closed for it.
    pub cut: u32,
}

/// News on its way to everybody.
#[derive(Debug)]
pub struct Spread {
    /// The number that holds here now.
    pub number: u64,
    /// Whether it was news to this peer; else nobody acknowledges.
    pub news: bool,
    /// How many links of this peer it cut.
    pub cut: u32,
    /// Who is known, and what they had when they last spoke for themselves.
    pub expected: Vec<Expected>,
    /// Who has it, as they say so themselves; of feed and policy, from this moment on. Each node
    /// comes once for a number. What is not taken off in time is lost.
    pub acknowledgements: mpsc::Receiver<Acknowledgement>,
}

/// Why news was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewsError {
    /// The feed does not verify, or is not newer.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The policy does not verify.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// This peer has stopped.
    #[error("this peer has stopped")]
    Stopped,
}

/// A member wants a new certificate.
#[derive(Debug)]
pub struct RenewalRequest {
    /// Who, as its handshake proved.
    pub from: NodeName,
    /// The serial number of the certificate it showed.
    pub serial: Serial,
    /// That certificate and those above it, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The request, PKCS#10, DER: nothing in it is checked.
    pub csr: Vec<u8>,
    /// Where the answer goes: the new chain, leaf first. Dropped, it says `unavailable`.
    pub reply: oneshot::Sender<Decided>,
}

/// What the program around the peer wants.
pub(super) enum Order {
    /// Be this from now on.
    Identity { identity: Box<Identity>, reply: oneshot::Sender<Result<String, Fault>> },
    /// Bring in a feed.
    Feed { update: Box<Update>, reply: oneshot::Sender<Result<Spread, NewsError>> },
    /// Bring in a policy.
    Policy { bytes: Vec<u8>, reply: oneshot::Sender<Result<Spread, NewsError>> },
    /// Hand over what members want certified.
    Certify(mpsc::Sender<RenewalRequest>),
    /// Something about our own renewal.
    Renewal(Errand),
    /// It was decided.
    Decided { link: LinkId, id: u64, decided: Decided },
}

impl Daemon {
    /// Presents another identity of the same node from now on; links stay.
    ///
    /// # Errors
    /// [`Fault`] if it is no valid identity of this node; the old one stays then.
    pub async fn replace_identity(&self, identity: Identity) -> Result<(), Fault> {
        let stopped = || Fault::failed("this peer has stopped");
        let identity = Box::new(identity);
        let order = |reply| Order::Identity { identity, reply };
        self.order(order).await.ok_or_else(stopped)?.map(|_| ())
    }

    /// Brings in a feed, as if a peer had sent it: it is applied here and passed on.
    ///
    /// # Errors
    /// [`NewsError`]; nothing has changed then.
    pub async fn feed(&self, update: Update) -> Result<Spread, NewsError> {
        let update = Box::new(update);
        let spread = self.order(|reply| Order::Feed { update, reply }).await;
        spread.unwrap_or(Err(NewsError::Stopped))
    }

    /// Brings in a signed policy.
    ///
    /// # Errors
    /// [`NewsError`]; nothing has changed then.
    pub async fn policy(&self, bytes: Vec<u8>) -> Result<Spread, NewsError> {
        let spread = self.order(|reply| Order::Policy { bytes, reply }).await;
        spread.unwrap_or(Err(NewsError::Stopped))
    }

    /// Hears what members want certified, if this peer is the node `authority`. There is one who
    /// hears: a later one takes the place.
    pub async fn renewals(&self) -> mpsc::Receiver<RenewalRequest> {
        let (sender, requests) = mpsc::channel(RENEWALS_WAITING_MAX);
        let _ = self.news.send(News::Order(Order::Certify(sender))).await;
        requests
    }

    /// Asks the node `authority` to certify the key of a request (PKCS#10, DER). Nothing of the
    /// answer is verified.
    pub async fn petition(&self, csr: Vec<u8>) -> Renewed {
        let stopped = Renewed::Unreachable("this peer has stopped");
        let (reply, answer) = oneshot::channel();
        let asked = self.news.send(News::Asked { ask: Ask::Renew { csr }, reply }).await;
        match (asked, answer.await) {
            (Ok(()), Ok(Answer::Renewed(outcome))) => outcome,
            _ => stopped,
        }
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.news.send(News::Order(order(reply))).await.ok()?;
        answer.await.ok()
    }
}

/// Who hears of acknowledgements and of members' wishes.
#[derive(Default)]
pub(super) struct Audience {
    publishers: Vec<mpsc::Sender<Acknowledgement>>,
    certifier: Option<mpsc::Sender<RenewalRequest>>,
}

impl Audience {
    pub(super) fn acknowledged(&mut self, of: Of, ack: Ack) {
        self.publishers.retain(|publisher| !publisher.is_closed());
        let Ack { number, node, cut } = ack;
        for publisher in &self.publishers {
            let told = Acknowledgement { of, number, node: node.clone(), cut };
            let _ = publisher.try_send(told);
        }
    }

    fn listen(&mut self) -> mpsc::Receiver<Acknowledgement> {
        let (sender, acknowledgements) = mpsc::channel(ACKNOWLEDGEMENTS_MAX);
        self.publishers.retain(|publisher| !publisher.is_closed());
        if self.publishers.len() >= PUBLISHERS_MAX {
            self.publishers.remove(0);
        }
        self.publishers.push(sender);
        acknowledgements
    }
}

impl<F: Fabric> Driver<F> {
    pub(super) fn obey(&mut self, order: Order, now: Now) {
        match order {
            Order::Identity { identity, reply } => {
                let taken = self.reloader.replace(*identity, &mut self.node, now);
                if let Ok(what) = &taken {
                    self.telling.reloaded(what);
                }
                let _ = reply.send(taken);
            }
            Order::Feed { update, reply } => {
                let _ = reply.send(self.bring_feed(*update, now));
            }
            Order::Policy { bytes, reply } => {
                let _ = reply.send(self.bring_policy(&bytes, now));
            }
            Order::Renewal(errand) => self.run_errand(errand, now),
            Order::Certify(sender) => self.audience.certifier = Some(sender),
            Order::Decided { link, id, decided } => {
                self.node.handle_renewal_answered(link, id, decided);
            }
        }
    }

    fn bring_feed(&mut self, update: Update, now: Now) -> Result<Spread, NewsError> {
        let before = self.node.position();
        let expected = self.node.expected();
        let cut = self.node.handle_feed(update, now)?;
        let position = self.node.position();
        let acknowledgements = self.audience.listen();
        let (number, news) = (position.number, position != before);
        Ok(Spread { number, news, cut, expected, acknowledgements })
    }

    fn bring_policy(&mut self, bytes: &[u8], now: Now) -> Result<Spread, NewsError> {
        let before = self.node.policy().number;
        let expected = self.node.expected();
        let links = self.node.links().len();
        self.node.handle_policy(bytes, now)?;
        let cut = u32::try_from(links.saturating_sub(self.node.links().len())).unwrap_or(u32::MAX);
        let acknowledgements = self.audience.listen();
        let number = self.node.policy().number;
        Ok(Spread { number, news: number != before, cut, expected, acknowledgements })
    }

    /// A member wants a certificate: whoever certifies is asked, and answers when it can.
    pub(super) fn petitioned(&mut self, petition: Petition) {
        let Petition { link, id, from, serial, chain, csr } = petition;
        let (reply, decided) = oneshot::channel();
        let request = RenewalRequest { from, serial, chain, csr, reply };
        let sent = self.audience.certifier.as_ref().map(|certifier| certifier.try_send(request));
        let busy = match sent {
            Some(Ok(())) => {
                let news = self.posting.news.clone();
                tokio::spawn(async move {
                    let lost = |_| Err(failure(Code::Unavailable, "it was not decided"));
                    let decided = decided.await.unwrap_or_else(lost);
                    let _ = news.send(News::Order(Order::Decided { link, id, decided })).await;
                });
                return;
            }
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                failure(Code::Quota, "too many requests are under way")
            }
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                failure(Code::Unavailable, "nobody certifies here now")
            }
        };
        self.node.handle_renewal_answered(link, id, Err(busy));
    }

    pub(super) fn renewed(&mut self, request: RequestId, outcome: Renewed) {
        if self.renewal_answered(request, &outcome) {
            return;
        }
        if let Some(waiting) = self.asked.remove(&request) {
            let _ = waiting.reply.send(Answer::Renewed(outcome));
        }
    }
}

fn failure(code: Code, text: &str) -> Failure {
    Failure::new(code, text, host::clock::wall())
}
