//! The desk: answers the commands that come over the control socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use shared::feed::read_file;
use shared::limits::FEED_FILE_BYTES_MAX;
use shared::name::{NetworkName, NodeName};
use shared::time::Timestamp;
use shared::wire::Number;
use tokio::sync::{mpsc, oneshot, watch};

use super::news::News;
use super::view::{Answer, Ask, Snapshot};
use crate::bundle::Bundle;
use crate::control::protocol::{
    Body, By, CertificateStatus, Direction, Event, FeedStatus, InboxItem, KnownState, KnownStatus,
    LastRefusal, LeadStatus, LinkStatus, Outcome, PingReply, Reply, Request, SendReply, Status,
};
use crate::control::{Handler, Replier};
use crate::inbox::Inbox;
use crate::limits::{INBOX_PAGE, PINGS_MAX};
use crate::mqtt::Endpoint;
use crate::outbox::Outbox;
use crate::state::State;
use crate::time::Kept;
use crate::time::tell::Teller;

/// Between two pings of one command: quick enough to watch, slow enough to be no load.
const PING_PAUSE: Duration = Duration::from_millis(200);

/// Who answers commands.
pub(super) struct Desk {
    node: NodeName,
    network: NetworkName,
    boot: u64,
    watched: Vec<PathBuf>,
    evidence: PathBuf,
    pub(super) news: mpsc::Sender<News>,
    inbox: Arc<Inbox>,
    pub(super) outbox: Arc<Outbox>,
    mqtt: Option<Arc<Endpoint>>,
    pub(super) kept: Kept,
    teller: Option<Arc<Teller>>,
    stop: watch::Sender<bool>,
}

impl Desk {
    pub(super) fn new(
        bundle: &Bundle,
        state: &State,
        news: mpsc::Sender<News>,
        (inbox, outbox): (Arc<Inbox>, Arc<Outbox>),
        (mqtt, kept, teller): (Option<Arc<Endpoint>>, Kept, Option<Arc<Teller>>),
        stop: watch::Sender<bool>,
    ) -> Self {
        Self {
            node: bundle.config.node.clone(),
            network: bundle.config.network.clone(),
            boot: state.boot(),
            watched: bundle.watched(),
            evidence: bundle.paths.evidence(),
            news,
            inbox,
            outbox,
            mqtt,
            kept,
            teller,
            stop,
        }
    }

    pub(super) const fn node(&self) -> &NodeName {
        &self.node
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, Fault> {
        self.begin(ask).await?.await.map_err(|_| stopping())
    }

    /// Asks without waiting for the answer.
    pub(super) async fn begin(&self, ask: Ask) -> Result<oneshot::Receiver<Answer>, Fault> {
        let (reply, answer) = oneshot::channel();
        self.news.send(News::Asked { ask, reply }).await.map_err(|_| stopping())?;
        Ok(answer)
    }

    pub(super) async fn status(&self) -> Result<Status, Fault> {
        match self.ask(Ask::Status).await? {
            Answer::Status(snapshot) => Ok(self.describe(*snapshot)),
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }

    fn describe(&self, snapshot: Snapshot) -> Status {
        let (serial, not_after) = snapshot.certificate;
        let now = snapshot.now;
        let position = snapshot.position;
        Status {
            node: self.node.clone(),
            network: self.network.clone(),
            instance: snapshot.instance.to_string(),
            boot: self.boot,
            listening: snapshot.listening,
            since: snapshot.since,
            certificate: CertificateStatus {
                serial: serial.to_string(),
                not_after,
                days_left: not_after.ms_since(now.wall).div_euclid(86_400_000),
                urgency: snapshot.renewal.urgency.as_str().to_owned(),
                renewal: snapshot.renewal.next,
                setback: snapshot.renewal.setback.map(|last| last.why),
            },
            feed: FeedStatus {
                number: position.number,
                at: snapshot.next_update.map(|_| position.at),
                next_update: snapshot.next_update,
                stale: snapshot.stale,
            },
            links: snapshot.links.iter().map(|(view, traffic)| link(view, traffic)).collect(),
            known: snapshot.known.iter().map(|(node, p)| known(node, p, now)).collect(),
            leads: snapshot.leads.iter().filter_map(|(at, l)| lead(at, l, now)).collect(),
            evidence: crate::evidence::list(&self.evidence).map_or(0, |list| list.len()),
            events: snapshot.events.iter().rev().map(event).collect(),
        }
    }

    async fn send(&self, to: NodeName, body: Vec<u8>, wait_ms: u64) -> Result<SendReply, Fault> {
        let asked = self.ask(Ask::Send { to, body });
        let answer = tokio::time::timeout(Duration::from_millis(wait_ms), asked).await;
        match answer {
            Ok(answer) => match answer? {
                Answer::Outcome { outcome, after } => Ok(SendReply {
                    outcome: describe_outcome(outcome),
                    ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                }),
                _ => Err(Fault::failed("the driver answered something else")),
            },
            Err(_) => {
                let why = "no receipt came in time".to_owned();
                Ok(SendReply { outcome: Outcome::Unreachable { why }, ms: wait_ms })
            }
        }
    }

    async fn ping(&self, to: &NodeName, seq: u32) -> Result<PingReply, Fault> {
        match self.ask(Ask::Ping { to: to.clone() }).await? {
            Answer::Outcome { outcome, after } => {
                let why = match describe_outcome(outcome) {
                    Outcome::Delivered => None,
                    Outcome::Refused { code } => Some(code.to_string()),
                    Outcome::Unreachable { why } => Some(why),
                };
                let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                Ok(PingReply { seq, rtt_us: why.is_none().then_some(us), why })
            }
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }

    async fn inbox(
        &self,
        mut after: u64,
        max: u64,
        follow: bool,
        replies: &mut Replier,
    ) -> Result<(), Fault> {
        let mut newest = self.inbox.watch();
        let mut left = if follow { u64::MAX } else { max };
        loop {
            let page = usize::try_from(left).unwrap_or(INBOX_PAGE).min(INBOX_PAGE);
            let items = if page == 0 { Vec::new() } else { self.inbox.list(after, page)? };
            let more = !items.is_empty();
            for item in items {
                after = item.seq;
                left = left.saturating_sub(1);
                let (seq, from, at) = (item.seq, item.from, item.at);
                let body = Body(item.body);
                replies.send(&Reply::Item(InboxItem { seq, from, at, body })).await?;
            }
            if !more && !follow {
                return Ok(());
            }
            if !more && newest.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn tell_mqtt(&self, replies: &mut Replier) -> Result<(), Fault> {
        let endpoint = self.mqtt.as_ref().ok_or_else(no_mqtt)?;
        replies.send(&Reply::Mqtt(Box::new(endpoint.status()))).await?;
        Ok(())
    }

    async fn tell_metrics(&self, replies: &mut Replier) -> Result<(), Fault> {
        let mut metrics = self.time_metrics().await?;
        metrics.extend(self.teller.iter().flat_map(|teller| teller.metrics()));
        replies.send(&Reply::Metrics { metrics }).await?;
        Ok(())
    }

    async fn tell_bridges(&self, replies: &mut Replier) -> Result<(), Fault> {
        for bridge in self.mqtt.iter().flat_map(|mqtt| mqtt.bridges()) {
            replies.send(&Reply::Bridge(Box::new(bridge))).await?;
        }
        Ok(())
    }

    async fn import(&self, path: &std::path::Path) -> Result<(u64, bool), Fault> {
        let bytes = host::files::read_bounded(path, FEED_FILE_BYTES_MAX)?;
        let update = read_file(&bytes).ok_or_else(|| {
            Fault::failed(format!("{} is not a feed file", path.display()))
                .hint("make one with `ca-tool feed export --out FILE`")
        })?;
        let before = self.status().await?.feed;
        match self.ask(Ask::Feed(Box::new(update))).await? {
            Answer::Fed { outcome: Ok(_), number } => {
                let after = self.status().await?.feed;
                Ok((number, after.number > before.number || after.at > before.at))
            }
            Answer::Fed { outcome: Err(error), .. } => {
                Err(Fault::refused(error.to_string()).hint("ask the authority for its newest feed"))
            }
            _ => Err(Fault::failed("the driver answered something else")),
        }
    }
}

fn no_mqtt() -> Fault {
    Fault::failed("this peer speaks no MQTT")
        .hint("run it with `--mqtt 127.0.0.1:1883`, or have an `mqtt:` section in node.yaml")
}

fn stopping() -> Fault {
    Fault::failed("this peer is stopping")
}

impl Handler for Desk {
    async fn handle(&self, request: Request, replies: &mut Replier) -> Result<(), Fault> {
        match request {
            Request::Status => {
                let status = Box::new(self.status().await?);
                replies.send(&Reply::Status(status)).await?;
            }
            Request::Trace { to } => {
                let way = self.trace(to).await?;
                replies.send(&Reply::Way(way)).await?;
            }
            Request::Nodes => self.nodes(replies).await?,
            Request::Policy => {
                let policy = self.policy().await?;
                replies.send(&Reply::Policy(policy)).await?;
            }
            Request::PolicyWhy { from, to, action } => {
                let why = self.why(from, to, action).await?;
                replies.send(&Reply::Why(why)).await?;
            }
            Request::Send { to, body, wait_ms } => {
                let sent = self.send(to, body.0, wait_ms).await?;
                replies.send(&Reply::Sent(sent)).await?;
            }
            Request::Mail(mailing) => self.mail(mailing, replies).await?,
            Request::Outbox => self.list_outbox(replies).await?,
            Request::OutboxDrop { id } => {
                let number = Number::parse(&id).ok_or_else(|| Fault::usage("not a number"))?;
                let found = self.outbox.remove(number, self.kept.wall()).await?;
                replies.send(&Reply::Cleared { count: u64::from(found) }).await?;
            }
            Request::Time(ask) => self.tell_time(ask, replies).await?,
            Request::Mqtt => self.tell_mqtt(replies).await?,
            Request::Metrics => self.tell_metrics(replies).await?,
            Request::Bridges => self.tell_bridges(replies).await?,
            Request::Receipts => self.list_receipts(replies).await?,
            Request::Ping { to, count } => {
                for seq in 1..=count.min(PINGS_MAX) {
                    if seq > 1 {
                        tokio::time::sleep(PING_PAUSE).await;
                    }
                    let pong = self.ping(&to, seq).await?;
                    replies.send(&Reply::Pong(pong)).await?;
                }
            }
            Request::Inbox { after, max, follow } => {
                self.inbox(after, max, follow, replies).await?;
            }
            Request::InboxClear { through } => {
                let count = self.inbox.drop_through(through).await?;
                replies.send(&Reply::Cleared { count }).await?;
            }
            Request::FeedImport { path } => {
                let (number, fresh) = self.import(&path).await?;
                replies.send(&Reply::Feed { number, fresh }).await?;
            }
            Request::Renew { keep_key } => {
                let not_after = super::renewal::renew(&self.news, keep_key).await?;
                replies.send(&Reply::Renewed { not_after }).await?;
            }
            Request::Reload => {
                let reload = News::Reload(self.watched.clone());
                let stopping = |_| Fault::failed("this peer is stopping");
                self.news.send(reload).await.map_err(stopping)?;
            }
            Request::Stop => {
                let _ = self.stop.send(true);
            }
        }
        Ok(())
    }
}

pub(super) fn describe_outcome(outcome: peer_core::Outcome) -> Outcome {
    match outcome {
        peer_core::Outcome::Delivered => Outcome::Delivered,
        peer_core::Outcome::Refused(code) => Outcome::Refused { code },
        peer_core::Outcome::Unreachable(why) => Outcome::Unreachable { why: why.to_owned() },
    }
}

fn link(view: &peer_core::LinkView, traffic: &super::view::Traffic) -> LinkStatus {
    LinkStatus {
        node: view.node.clone(),
        address: view.address.clone(),
        direction: match view.direction {
            peer_core::Direction::Out => Direction::Out,
            peer_core::Direction::In => Direction::In,
        },
        path: super::telling::path(view.via.as_ref()),
        since: view.since,
        cert_not_after: view.cert_not_after,
        feed_number: view.feed_number,
        rtt_us: traffic.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        sent: traffic.sent,
        received: traffic.received,
    }
}

fn known(node: &NodeName, prospect: &peer_core::Prospect, now: shared::time::Now) -> KnownStatus {
    let state = match prospect.standing() {
        peer_core::Standing::Linked => KnownState::Linked,
        peer_core::Standing::Refused => KnownState::Refused,
        peer_core::Standing::Unreachable => KnownState::Unreachable,
        peer_core::Standing::Dialling | peer_core::Standing::Waiting => KnownState::Dialling,
    };
    let last_refusal = prospect.last_failure.as_ref().and_then(|failure| {
        Some(LastRefusal {
            code: failure.code?,
            by: if failure.by == peer_core::By::Us { By::Us } else { By::Them },
            at: failure.at,
            detail: host::terminal::escape(&failure.detail),
        })
    });
    let wait_ms = prospect.next_try().ms_since(now.tick);
    let next = Timestamp::from_ms(now.wall.ms().saturating_add_unsigned(wait_ms));
    KnownStatus {
        node: node.clone(),
        address: prospect.addresses.first().cloned(),
        state,
        last_refusal,
        next_try: (state != KnownState::Linked).then_some(next),
    }
}

/// Only what is still without a name.
fn lead(address: &str, lead: &peer_core::Lead, now: shared::time::Now) -> Option<LeadStatus> {
    if lead.node.is_some() {
        return None;
    }
    let failure = lead.last_failure.as_ref();
    let said = |failure: &peer_core::DialFailure| {
        failure.code.map_or_else(
            || host::terminal::escape(&failure.detail),
            |code| code.as_str().to_owned(),
        )
    };
    let wait_ms = lead.next_try().ms_since(now.tick);
    Some(LeadStatus {
        address: address.to_owned(),
        source: if lead.source == peer_core::Source::Told { "told" } else { "found" }.to_owned(),
        last_failure: failure.map(said),
        next_try: Timestamp::from_ms(now.wall.ms().saturating_add_unsigned(wait_ms)),
    })
}

fn event(incident: &super::telling::Incident) -> Event {
    let address = incident.address.clone().unwrap_or_default();
    Event {
        at: incident.at,
        who: incident.node.as_ref().map_or(address, ToString::to_string),
        code: incident.code,
        by: if incident.by_us { By::Us } else { By::Them },
    }
}
