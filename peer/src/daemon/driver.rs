//! The loop: hears news, asks the node, performs its actions. Nothing here waits for a link.
//!
//! **Invariant:** after each piece of news what is due is done and all actions are performed,
//! before the next is heard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use peer_core::{Action, Class, Event, LinkId, Node, Outcome, RequestId, StreamId};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::{Now, Timestamp};
use shared::wire::{Batch, Body, Greeting, HEADER_BYTES, Kind};
use tokio::sync::{mpsc, oneshot, watch};

use super::authority::Audience;
use super::circuits::Switchboard;
use super::delivery::{Parcel, refused};
use super::fabric::{Carried, Fabric};
use super::live::Ears;
use super::news::News;
use super::posting::{Posting, Read, batch_of};
use super::reload::Reloader;
use super::renewal::Renewing;
use super::saving::Saving;
use super::telling::Telling;
use super::time::Timing;
use super::view::{Answer, Ask, Snapshot, Traffic};
use crate::inbox::{self, Incoming};
use crate::link;
use crate::mqtt::Endpoint;
use crate::outbox::Notice;

/// Everything the loop owns or talks to.
pub(super) struct Driver<F> {
    pub(super) node: Node,
    pub(super) fabric: F,
    pub(super) circuits: Switchboard,
    pub(super) clock: host::clock::Clock,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) greeting: watch::Sender<Greeting>,
    pub(super) saving: Saving,
    pub(super) inbox: mpsc::Sender<Parcel>,
    pub(super) posting: Posting,
    pub(super) ears: Ears,
    pub(super) audience: Audience,
    pub(super) renewal: Renewing,
    pub(super) reloader: Reloader,
    pub(super) telling: Telling,
    pub(super) asked: BTreeMap<RequestId, Waiting>,
    pub(super) next_request: RequestId,
    pub(super) traffic: BTreeMap<LinkId, Traffic>,
    pub(super) pinged: BTreeMap<(LinkId, u64), Instant>,
    pub(super) mqtt: Option<Arc<Endpoint>>,
    pub(super) timing: Timing,
    pub(super) listening: String,
    pub(super) since: Timestamp,
}

/// A command that waits for its answer.
pub(super) struct Waiting {
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) since: Instant,
}

impl<F: Fabric> Driver<F> {
    /// Runs until it is told to stop; then every link is closed with a goodbye.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let now = self.clock.now();
            let wait = self.node.next_deadline().until(now.tick).min(self.renewal.wait(now.wall));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news),
                    None => break,
                },
                () = tokio::time::sleep(wait) => {}
            }
            self.look_at_time();
            self.perform();
        }
        for view in self.node.links() {
            self.fabric.end(view.id, peer_core::Way::Close);
        }
        self.perform();
        if let Some(endpoint) = self.mqtt.take() {
            endpoint.close().await;
        }
        let _ = self.saving.memory.send(self.node.remembered());
        // Closed queues drain by themselves; a link that does not is cut when the fabric goes.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    /// What is due is done after each piece of news: news may come without a pause.
    fn look_at_time(&mut self) {
        let now = self.clock.now();
        self.look_at_roll(now);
        self.look_at_sayings(now);
        if self.node.next_deadline() <= now.tick {
            self.node.handle_timeout(now);
            self.posting.look(&self.node, now);
            self.look_at_renewal(now);
        } else if self.renewal.wait(now.wall).is_zero() {
            self.look_at_renewal(now);
        }
    }

    fn hear(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Arrived { arrival, kill, decide } => {
                let link = arrival.link;
                self.fabric.register(link, kill);
                let decision = self.node.handle_arrival(arrival, now);
                if !matches!(decision, peer_core::Decision::Welcome(_)) {
                    self.fabric.forget(link);
                }
                if decide.send(decision).is_err() {
                    self.gone(link, "its connection ended before the greeting", now);
                }
            }
            News::Ready { link, queue } => {
                self.fabric.open(link, queue);
                self.traffic.insert(link, Traffic::default());
                self.node.handle_ready(link, now);
            }
            News::Bodies { link, bodies } => self.hear_bodies(link, bodies, now),
            News::Ended { link, ended } => {
                self.forget(link);
                self.node.handle_ended(link, ended, now);
            }
            News::DialFailed { node, failure } => {
                self.telling.dial_failed(&node, failure.as_ref(), now);
                self.node.handle_dial_failed(&node, failure, now);
            }
            News::Finding(finding) => self.hear_finding(finding, now),
            News::TurnedAway { address, code, by_us, detail } => {
                self.telling.turned_away(&address, code, by_us, &detail, now);
            }
            News::Circuit(news) => self.hear_circuit(news, now),
            News::Listening(ears) => self.listen(ears),
            News::Order(order) => self.obey(order, now),
            News::Stored { link, id, refused } => self.node.handle_stored(link, id, refused),
            News::Handed(to) => self.node.handle_handed(to, None),
            News::Asked { ask, reply } => self.asked(ask, reply, now),
            News::Taken { .. }
            | News::Queued { .. }
            | News::Page { .. }
            | News::Unread(_)
            | News::Dropped(_)
            | News::Missing { .. }
            | News::Claimed { .. } => self.hear_post(news, now),
            News::Reload(changed) => self.reload(&changed, now),
        }
    }

    fn hear_post(&mut self, news: News, now: Now) {
        let node = &mut self.node;
        match news {
            News::Taken { link, from, priority, round, intake } => {
                node.handle_taken(link, &from, priority, round, &intake);
            }
            News::Queued { stream, newest } => node.handle_queued(&stream, newest, now),
            News::Page { want, page, whole } => {
                node.handle_page(&want, page.map(|page| *page), whole, now);
            }
            News::Unread(want) => node.handle_unread(&want, now),
            News::Missing { to, numbers } => node.handle_missing(&to, &numbers),
            News::Claimed { link, from, owed } => node.handle_claimed(link, &from, &owed),
            News::Dropped(notices) => notices.iter().for_each(|notice| self.dropped(notice)),
            _ => {}
        }
    }

    fn dropped(&mut self, notice: &Notice) {
        let Notice { gone, emptied } = notice;
        self.telling.dropped(gone);
        if let Some(through) = emptied {
            let (to, priority) = (gone.to.clone(), gone.priority);
            self.node.handle_emptied(&StreamId { to, priority }, *through);
        }
    }

    fn hear_bodies(&mut self, link: LinkId, bodies: Vec<Body>, now: Now) {
        if let Some(traffic) = self.traffic.get_mut(&link) {
            traffic.received += bodies.len() as u64;
        }
        for body in bodies {
            if let Err(refusal) = self.node.handle_body(link, body, now) {
                let frame = Bytes::from(Body::Refused(refusal.code).to_frame());
                self.fabric.send(link, link::Class::Control, frame);
                self.fabric.end(link, peer_core::Way::Close);
                self.forget(link);
                return;
            }
        }
    }

    fn gone(&mut self, link: LinkId, detail: &str, now: Now) {
        self.forget(link);
        let ended = peer_core::Ended { refused: None, detail: detail.to_owned() };
        self.node.handle_ended(link, ended, now);
    }

    fn forget(&mut self, link: LinkId) {
        self.fabric.forget(link);
        self.traffic.remove(&link);
        self.pinged.retain(|(of, _), _| *of != link);
    }

    fn perform(&mut self) {
        while let Some(action) = self.node.poll_action() {
            self.act(action);
        }
        let node = &self.node;
        self.greeting.send_if_modified(|current| {
            let changed = !node.greets_with(current);
            if changed {
                *current = node.greeting();
            }
            changed
        });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { link, class, frame } => self.send(link, class, frame),
            Action::Spread { links, what, frame } => self.spread(&links, what, &frame.into()),
            Action::End { link, way } => {
                self.fabric.end(link, way);
                self.forget(link);
            }
            Action::Dial(call) => self.fabric.dial(call),
            Action::EndCircuit { circuit, code } => self.circuits.end(circuit, code),
            Action::SaveFeed => {
                let _ = self.saving.feed.send(self.node.feed().clone());
            }
            Action::SavePolicy => {
                let _ = self.saving.policy.send(self.node.policy_statement().unwrap_or_default());
            }
            Action::SaveMemory => {
                let _ = self.saving.memory.send(self.node.remembered());
            }
            Action::Deliver { link, from, instance, id, body } => {
                let at = self.clock.now().wall;
                let message = Incoming { from, instance, id, at, body };
                let parcel = Parcel::Message { link, message };
                if self.inbox.try_send(parcel).is_err() {
                    self.node.handle_stored(link, id, Some(Code::Quota));
                }
            }
            Action::Hand { to, from, pack } => self.hand(to, from, pack),
            Action::Store { link, from, batch } => self.store(link, from, batch),
            Action::Load(want) => self.posting.load(&mut self.node, want, self.clock.now()),
            Action::Settle { stream, through } => self.posting.settle(stream, through),
            Action::Discard { stream, code, before } => {
                self.posting.discard(stream, code, before, self.clock.now().wall);
            }
            Action::Receipted(signed) => self.posting.keep(signed),
            Action::Missing(to) => self.posting.read(Read::Missing(to)),
            Action::Claimed { link, from, numbers } => {
                self.posting.read(Read::Claimed { link, from, numbers });
            }
            Action::Ping { link, nonce } => {
                self.pinged.insert((link, nonce), Instant::now());
                self.send(link, Class::Control, Body::Ping(nonce).to_frame());
            }
            Action::Ponged { link, nonce } => self.ponged(link, nonce),
            Action::Answer { request, outcome } => self.answer(request, outcome),
            Action::Reached { request, reach } => self.reached(request, reach),
            Action::Traced { request, path } => self.traced(request, path),
            Action::Acknowledged { of, ack } => self.audience.acknowledged(of, ack),
            Action::Renew(petition) => self.petitioned(*petition),
            Action::Shown { link, bytes } => self.hear_shown(link, bytes, self.clock.now()),
            Action::Renewed { request, outcome } => self.renewed(request, outcome),
            Action::Tell(event) => self.tell(&event),
        }
    }

    fn store(&mut self, link: LinkId, from: NodeName, batch: Batch) {
        let (priority, round) = (batch.priority, batch.round);
        let parcel = inbox::Parcel { from: from.clone(), at: self.clock.now().wall, batch };
        if self.inbox.try_send(Parcel::Batch { link, parcel }).is_err() {
            self.node.handle_taken(link, &from, priority, round, &refused());
        }
    }

    pub(super) fn send(&mut self, link: LinkId, class: Class, frame: Vec<u8>) {
        let (message, batch) = (frame_id(&frame), batch_of(&frame));
        let signed = frame.get(4) == Some(&Kind::SignedReceipt.octet());
        let queue = match class {
            Class::Control => link::Class::Control,
            Class::Message => link::Class::Message,
        };
        match self.fabric.send(link, queue, Bytes::from(frame)) {
            Carried::Yes => {
                if let Some(traffic) = self.traffic.get_mut(&link) {
                    traffic.sent += 1;
                }
            }
            Carried::Gone => {}
            Carried::Full => match (message, batch) {
                (Some(id), _) => self.node.handle_overflow(link, id),
                (_, Some((priority, round))) => {
                    let now = self.clock.now();
                    self.node.handle_batch_overflow(link, priority, round, now);
                }
                // It is asked for again.
                _ if signed => {}
                _ => {
                    self.fabric.end(link, peer_core::Way::Cut);
                    self.gone(link, "it does not take what it is sent", self.clock.now());
                }
            },
        }
    }

    fn ponged(&mut self, link: LinkId, nonce: u64) {
        let Some(sent) = self.pinged.remove(&(link, nonce)) else { return };
        if let Some(traffic) = self.traffic.get_mut(&link) {
            traffic.rtt = Some(sent.elapsed());
        }
    }

    fn answer(&mut self, request: RequestId, outcome: Outcome) {
        if let Some(waiting) = self.asked.remove(&request) {
            let after = waiting.since.elapsed();
            let _ = waiting.reply.send(Answer::Outcome { outcome, after });
        }
    }

    fn asked(&mut self, ask: Ask, reply: oneshot::Sender<Answer>, now: Now) {
        match ask {
            Ask::Status => {
                let snapshot = self.snapshot(now);
                let _ = reply.send(Answer::Status(Box::new(snapshot)));
            }
            Ask::Nodes => {
                let _ = reply.send(Answer::Nodes(self.nodes(now), now));
            }
            Ask::Trace { to } => {
                let request = self.wait_for(reply);
                self.node.handle_trace(request, &to, now);
            }
            Ask::Send { to, body } => {
                let request = self.wait_for(reply);
                self.node.handle_send(request, &to, body, now);
            }
            Ask::Pack { to, pack } => {
                let request = self.wait_for(reply);
                self.node.handle_pack(request, &to, pack, now);
            }
            Ask::Broadcast { pack } => {
                let request = self.wait_for(reply);
                self.node.handle_broadcast(request, pack, now);
            }
            Ask::Ping { to } => {
                let request = self.wait_for(reply);
                self.node.handle_ping(request, &to, now);
            }
            Ask::Receivers(target) => {
                let _ = reply.send(Answer::Receivers(self.node.receivers(&target)));
            }
            Ask::Streams => {
                let _ = reply.send(Answer::Streams(self.node.streams()));
            }
            Ask::Policy => {
                let _ = reply.send(Answer::Policy(Box::new(self.node.policy())));
            }
            Ask::Why { from, to, question } => {
                let _ = reply.send(Answer::Why(self.why(&from, &to, &question).map(Box::new)));
            }
            Ask::Renew { csr } => {
                let request = self.wait_for(reply);
                self.node.handle_renew(request, csr, now);
            }
            Ask::Feed(update) => {
                let outcome = self.node.handle_feed(*update, now);
                if let Err(error) = &outcome {
                    self.telling.not_imported(error);
                }
                let number = self.node.position().number;
                let _ = reply.send(Answer::Fed { outcome, number });
            }
        }
    }

    fn wait_for(&mut self, reply: oneshot::Sender<Answer>) -> RequestId {
        self.next_request += 1;
        self.asked.insert(self.next_request, Waiting { reply, since: Instant::now() });
        self.next_request
    }

    fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot {
            instance: self.node.instance(),
            listening: self.listening.clone(),
            since: self.since,
            position: self.node.position(),
            next_update: self.node.feed().head().map(|head| head.next_update),
            stale: self.node.is_stale(now),
            links: self
                .node
                .links()
                .into_iter()
                .map(|view| {
                    let traffic = self.traffic.get(&view.id).copied().unwrap_or_default();
                    (view, traffic)
                })
                .collect(),
            leads: self
                .node
                .leads()
                .map(|(address, lead)| (address.clone(), lead.clone()))
                .collect(),
            known: self
                .node
                .prospects()
                .map(|(node, prospect)| (node.clone(), prospect.clone()))
                .collect(),
            events: self.telling.recent(),
            certificate: self.reloader.certificate(),
            renewal: self.renewal_view(now),
            now,
        }
    }

    fn reload(&mut self, changed: &[PathBuf], now: Now) {
        let before = self.reloader.certificate();
        match self.reloader.reload(changed, &mut self.node, now) {
            Ok(what) if what.is_empty() => {}
            Ok(what) => {
                self.telling.reloaded(&what);
                if let Some(mqtt) = &self.mqtt {
                    match self.reloader.signer() {
                        Ok(signer) => {
                            let policy = self.node.policy();
                            mqtt.set_identity(self.reloader.attributes(), &policy, signer);
                        }
                        Err(fault) => self.telling.not_reloaded(&fault),
                    }
                }
                self.reload_bridges();
                self.timing.reloaded(&self.reloader.bundle);
            }
            Err(fault) => self.telling.not_reloaded(&fault),
        }
        if self.reloader.certificate() != before {
            self.replaced_by_hand();
        }
    }

    fn reload_bridges(&self) {
        let bridges = &self.reloader.bundle.config.bridges;
        match &self.mqtt {
            Some(mqtt) => match mqtt.set_bridges(bridges) {
                Ok(true) => self.telling.reloaded("node.yaml (bridge)"),
                Ok(false) => {}
                Err(fault) => self.telling.not_reloaded(&fault),
            },
            None if bridges.is_empty() => {}
            None => self.telling.not_reloaded(&"a first bridge needs a start of this peer"),
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.keep_evidence(event);
        self.prove_renewal(event);
        match (&self.mqtt, event) {
            (Some(mqtt), Event::FeedApplied { .. }) => mqtt.judge(),
            (Some(mqtt), Event::PolicyApplied { .. }) => mqtt.set_policy(&self.node.policy()),
            _ => {}
        }
        let now = self.clock.now();
        self.time_event(event, now);
        self.telling.event(event, now);
    }
}

/// The number of a message's or pack's frame, so that its sender can be told when it finds no room.
fn frame_id(frame: &[u8]) -> Option<u64> {
    let kind = frame.get(4).copied().and_then(Kind::from_octet)?;
    let id = frame.get(HEADER_BYTES..HEADER_BYTES + 8)?;
    matches!(kind, Kind::Message | Kind::Pack)
        .then(|| id.try_into().ok().map(u64::from_be_bytes))
        .flatten()
}
