//! One connection, from TCP to its last frame: secured, greeted, decided, pumped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use peer_core::{Arrival, By, Decision, DialFailure, Direction, Ended, LinkId};
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::statement::{Topic, Unverified};
use shared::wire::{Body, Frame, Greeting, Kind};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::meeting::Meeting;
use super::news::News;
use crate::limits::{KEY_FRAMES_WAITING_MAX, MQTT_FRAMES_WAITING_MAX};
use crate::link::{self, End, Failure, Gate, Pass, Protocol, Secured, Sink};
use crate::mqtt::Endpoint;
use crate::time::links::{Common, Links};

/// How long a greeting may take once the handshake is done: two round trips and a busy driver.
pub(super) const GREETING: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(super) struct Connector {
    pub(super) clock: host::clock::Clock,
    pub(super) dialler: Arc<tls::Dialler>,
    pub(super) listener: Arc<tls::Listener>,
    pub(super) gate: Gate,
    /// The greeting to send, kept current by the driver.
    pub(super) greeting: watch::Receiver<Greeting>,
    pub(super) news: mpsc::Sender<News>,
    pub(super) next_link: AtomicU64,
    pub(super) meeting: Meeting,
    /// Octets per second of one direction of a circuit through us.
    pub(super) circuit_rate: u64,
    /// The MQTT endpoint, if there is one.
    pub(super) mqtt: Option<Arc<Endpoint>>,
    /// Where members get keys for the time.
    pub(super) hours: Arc<Links>,
    /// Whether we are the authority: any member carries for it.
    pub(super) is_authority: bool,
}

impl Connector {
    /// Asks the gate, before a connection costs a task; a refusal is only counted.
    pub(super) fn enter(&self, remote: SocketAddr) -> Option<Pass> {
        match self.gate.enter(remote.ip(), self.clock.now().tick) {
            Ok(pass) => Some(pass),
            Err(refusal) => {
                self.turned_away(remote.to_string(), Some(refusal.code), true, refusal.detail);
                None
            }
        }
    }

    /// Serves one accepted connection until it ends.
    pub(super) async fn accept(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr, pass: Pass) {
        let greeted = match link::accept(tcp, &self.listener).await {
            Ok(secured) if secured.protocol == Protocol::Circuit => {
                return self.serve_circuit(secured, pass).await;
            }
            Ok(secured) => self.greet_as_listener(secured).await,
            Err(failure) => Err(failure),
        };
        drop(pass);
        match greeted {
            Ok(Some((secured, link))) => self.run(secured, link).await,
            Ok(None) => {}
            Err(failure) => {
                let by_us = failure.by == link::By::Us;
                self.turned_away(remote.to_string(), failure.code, by_us, failure.detail);
            }
        }
    }

    /// Hears a greeting and answers it.
    pub(super) async fn greet_as_listener(
        self: &Arc<Self>,
        mut secured: Secured,
    ) -> Result<Option<(Secured, LinkId)>, Failure> {
        let Body::Hello(greeting) = secured.read_body(GREETING).await? else {
            let failure = not_a_greeting(&secured);
            secured.refuse(Code::Malformed).await;
            return Err(failure);
        };
        check_era(&secured, &self.greeting.borrow())?;
        let (link, decision) = self.decide(&secured, greeting, Direction::In).await?;
        match decision {
            Decision::Welcome(ours) => {
                check_era(&secured, &ours).inspect_err(|failure| self.ended(link, failure))?;
                secured.write_body(&Body::Welcome(*ours)).await.inspect_err(|failure| {
                    self.ended(link, failure);
                })?;
                Ok(Some((secured, link)))
            }
            Decision::Goodbye => {
                secured.write_body(&Body::Bye).await?;
                Ok(None)
            }
            Decision::Refuse(refusal) => {
                secured.refuse(refusal.code).await;
                Ok(None)
            }
        }
    }

    /// Dials a node and serves the connection until it ends.
    pub(super) async fn dial(self: Arc<Self>, node: NodeName, address: String) {
        let greeted = match link::dial(&address, Some(node.clone()), &self.dialler).await {
            Ok(secured) => self.greet_as_dialler(secured).await,
            Err(failure) => Err(failure),
        };
        match greeted {
            Ok(Some((secured, link))) => self.run(secured, link).await,
            Ok(None) => self.hear(News::DialFailed { node, failure: None }).await,
            Err(failure) => {
                let failure = Some(dial_failure(failure));
                self.hear(News::DialFailed { node, failure }).await;
            }
        }
    }

    /// Says HELLO to whoever answered; `None` if there is a link with it already.
    pub(super) async fn greet_as_dialler(
        self: &Arc<Self>,
        mut secured: Secured,
    ) -> Result<Option<(Secured, LinkId)>, Failure> {
        let ours = self.greeting.borrow().clone();
        check_era(&secured, &ours)?;
        secured.write_body(&Body::Hello(ours)).await?;
        let greeting = match secured.read_body(GREETING).await? {
            Body::Welcome(greeting) => greeting,
            Body::Bye => return Ok(None),
            _ => {
                let failure = not_a_greeting(&secured);
                secured.refuse(Code::Malformed).await;
                return Err(failure);
            }
        };
        let (link, decision) = self.decide(&secured, greeting, Direction::Out).await?;
        match decision {
            Decision::Welcome(_) => Ok(Some((secured, link))),
            Decision::Goodbye => {
                secured.write_body(&Body::Bye).await?;
                Ok(None)
            }
            Decision::Refuse(refusal) => {
                let failure = refused(&refusal, &secured);
                secured.refuse(refusal.code).await;
                Err(failure)
            }
        }
    }

    /// Asks the driver; it has registered the link when it says welcome.
    async fn decide(
        &self,
        secured: &Secured,
        greeting: Greeting,
        direction: Direction,
    ) -> Result<(LinkId, Decision), Failure> {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let (decide, decision) = oneshot::channel();
        let arrival = Arrival {
            link,
            member: secured.member.clone(),
            greeting,
            direction,
            address: secured.remote.to_string(),
            via: secured.via.clone().map(Box::new),
        };
        let kill = secured.kill.clone();
        self.hear(News::Arrived { arrival, kill, decide }).await;
        let decision = decision.await.map_err(|_| stopping(secured))?;
        Ok((link, decision))
    }

    /// Pumps frames until the link ends, then says how.
    pub(super) async fn run(self: &Arc<Self>, secured: Secured, link: LinkId) {
        let (begin, begun) = oneshot::channel();
        let (topics, frames) = mpsc::channel(MQTT_FRAMES_WAITING_MAX);
        let topics = self.mqtt.is_some().then_some(topics);
        let (keys, asked) = mpsc::channel(KEY_FRAMES_WAITING_MAX);
        let common = Common::of(&secured);
        let sink = Inlet { link, news: self.news.clone(), topics, keys, begun: Some(begun) };
        let member = (*secured.member).clone();
        let (queue, pump) = secured.start(sink);
        self.hear(News::Ready { link, queue: queue.clone() }).await;
        // Only now may its frames be heard: the driver knows the queue they are answered on.
        let _ = begin.send(());
        let _hours = common.map(|common| self.hours.join(common, queue.clone(), asked));
        let _peering = self.mqtt.as_ref().map(|mqtt| mqtt.join(&member, queue, frames));
        let ended = match pump.await {
            Ok(end) => describe(end),
            Err(_) => Ended { refused: None, detail: "its task died".to_owned() },
        };
        self.hear(News::Ended { link, ended }).await;
    }

    pub(super) async fn hear(&self, news: News) {
        // The driver is gone only when the daemon stops.
        let _ = self.news.send(news).await;
    }

    fn ended(&self, link: LinkId, failure: &Failure) {
        let refused = failure.code.map(|code| (code, whose(failure.by)));
        let ended = Ended { refused, detail: failure.detail.clone() };
        let _ = self.news.try_send(News::Ended { link, ended });
    }

    /// Tells of somebody at the door; left out when the driver is busy: a flood of strangers must
    /// not delay the members.
    pub(super) fn turned_away(
        &self,
        address: String,
        code: Option<Code>,
        by_us: bool,
        detail: String,
    ) {
        let _ = self.news.try_send(News::TurnedAway { address, code, by_us, detail });
    }
}

/// Where a link's frames go: parsed here, on the link's own task, then to the driver.
struct Inlet {
    link: LinkId,
    news: mpsc::Sender<News>,
    /// Where MQTT between peers goes, if it is spoken here.
    topics: Option<mpsc::Sender<Bytes>>,
    /// Where keys for the time are asked for and handed out.
    keys: mpsc::Sender<(Kind, Bytes)>,
    begun: Option<oneshot::Receiver<()>>,
}

impl Sink for Inlet {
    async fn batch(&mut self, frames: Vec<(Kind, Bytes)>) -> Result<(), Refusal> {
        if let Some(begun) = self.begun.take() {
            let _ = begun.await;
        }
        let (topics, frames): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|(kind, _)| *kind == Kind::Topics);
        for (_, payload) in topics {
            if let Some(endpoint) = &self.topics {
                let _ = endpoint.send(payload).await;
            }
        }
        let (keys, frames): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|(kind, _)| matches!(kind, Kind::KeysAsk | Kind::Keys));
        for frame in keys {
            let _ = self.keys.send(frame).await;
        }
        if frames.is_empty() {
            return Ok(());
        }
        let bodies = frames
            .iter()
            .map(|(kind, payload)| Body::parse(&Frame { kind: *kind, payload }))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
        let link = self.link;
        let _ = self.news.send(News::Bodies { link, bodies }).await;
        Ok(())
    }
}

/// A failure as the node hears of it.
pub(super) fn dial_failure(failure: Failure) -> DialFailure {
    let (by, at) = (whose(failure.by), host::clock::wall());
    DialFailure { code: failure.code, by, detail: failure.detail, at }
}

const fn whose(by: link::By) -> By {
    match by {
        link::By::Us => By::Us,
        link::By::Them => By::Them,
        link::By::Neither => By::Neither,
    }
}

fn describe(end: End) -> Ended {
    let plain = |detail: &str| Ended { refused: None, detail: detail.to_owned() };
    match end {
        End::Closed => plain("the other side closed it"),
        End::Killed => plain("it was cut"),
        End::Drained => plain("it was closed"),
        End::Lost(detail) => Ended { refused: None, detail },
        End::Refused { code, by, detail } => {
            Ended { refused: Some((code, whose(by))), detail: format!("refused: {detail}") }
        }
    }
}

/// A greeting is signed by the certificate of its handshake: where ours was renewed in between, the
/// connection is of no use, and nobody has refused anybody.
fn check_era(secured: &Secured, ours: &Greeting) -> Result<(), Failure> {
    let said = Unverified::parse(Topic::Presence, &ours.presence).ok();
    let leaf = said.as_ref().and_then(|said| said.chain().first());
    if leaf.is_none_or(|leaf| *leaf == secured.shown) {
        return Ok(());
    }
    Err(Failure {
        code: None,
        by: link::By::Neither,
        detail: "our certificate was renewed meanwhile".to_owned(),
        remote: Some(secured.remote),
    })
}

fn not_a_greeting(secured: &Secured) -> Failure {
    Failure {
        code: Some(Code::Malformed),
        by: link::By::Us,
        detail: "the first frame is no greeting".to_owned(),
        remote: Some(secured.remote),
    }
}

pub(super) fn refused(refusal: &Refusal, secured: &Secured) -> Failure {
    Failure {
        code: Some(refusal.code),
        by: link::By::Us,
        detail: refusal.detail.clone(),
        remote: Some(secured.remote),
    }
}

fn stopping(secured: &Secured) -> Failure {
    Failure {
        code: None,
        by: link::By::Neither,
        detail: "this peer is stopping".to_owned(),
        remote: Some(secured.remote),
    }
}
