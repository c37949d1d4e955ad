//! The hall: one node of the network, as a machine without I/O.
//!
//! Call order. [`Node::new`]; then, as things happen, `handle_arrival` (a greeting was read on a
//! secured connection) and, if it says welcome, `handle_ready` (the link can carry frames),
//! `handle_body` for each frame, `handle_ended` when a link is gone, `handle_dial_failed`,
//! `handle_send`, `handle_pack`, `handle_broadcast`, `handle_ping`, `handle_stored`,
//! `handle_queued` (the outbox has something), `handle_page`, `handle_taken` (the inbox has it),
//! `handle_feed` (an update from a file), `handle_timeout` at [`Node::next_deadline`]. After each
//! call, [`Node::poll_action`] until it gives `None`, performing each action in order.
//!
//! **Invariant:** after any call the table holds no link whose chain the live set bars.

mod arrival;
mod broadcast;
mod carried;
mod digest;
mod discovery;
mod look;
mod meet;
mod newcomers;
mod news;
mod overlay;
mod pack;
mod parked;
mod policy;
mod post;
mod refresh;
mod relay;
mod renewal;
mod talk;
mod time;
mod trace;
mod twins;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use shared::cert::Attributes;
use shared::feed::{ChainIds, Feed, Position};
use shared::id::InstanceId;
use shared::name::{Label, NetworkName, NodeName};
use shared::presence::{Presence, SignedPresence};
use shared::refusal::{Code, Refusal};
use shared::time::{Now, Tick, Timestamp};
use shared::verify::Verifier;
use shared::wire::{Body, Greeting, VERSION};

use crate::action::{Action, Class, Ended, Event, Way};
use crate::broadcasts::Broadcasts;
use crate::circuits::Circuits;
use crate::dialling::{DialFailure, Dialling, Prospect};
use crate::directory::Directory;
use crate::feeding::Feeding;
use crate::gossip::Gossip;
use crate::introducers::Introducers;
use crate::leads::Leads;
use crate::limits::{DIGEST_MS, EVENTS_MAX, LOOK_MS};
use crate::links::{Link, LinkId, LinkView, Links};
use crate::mail::Mail;
use crate::memory::Memory;
use crate::policing::Law;
use crate::post::Post;
use crate::punch::Meetings;
use crate::random::Jitter;
use crate::renewals::Renewals;
use crate::signer::Signer;
use crate::staleness::Staleness;
use crate::topology::Topology;
use crate::traces::Traces;
use crate::trees::Trees;
use crate::twins::Twins;

use parked::Parked;

pub use arrival::{Arrival, Decision};
pub use post::{Intake, Owed, Receiver, Target};
pub use renewal::Expected;
pub use views::NodeView;

/// What a node is told at its start.
pub struct Settings {
    /// The network.
    pub network: NetworkName,
    /// Our name.
    pub node: NodeName,
    /// This run, random.
    pub instance: InstanceId,
    /// How often this bundle was started.
    pub boot: u64,
    /// Where we can be dialled.
    pub addresses: Vec<String>,
    /// The roles of our certificate.
    pub roles: Vec<Label>,
    /// Groups and roles of our certificate, as the policy sees us.
    pub attributes: Attributes,
    /// What the set is asked about ourselves.
    pub own: ChainIds,
    /// Whether a stale feed bars new links (`true`) or is only told (`false`).
    pub refuse_when_stale: bool,
    /// Nodes up to which everybody is linked with everybody.
    pub full_mesh: usize,
    /// Presences kept at most.
    pub directory_max: usize,
    /// Any instant: tick zero in the broadcast machine, which counts in instants.
    pub epoch: Instant,
    /// For jitter.
    pub seed: u64,
}

/// One node.
pub struct Node {
    settings: Settings,
    signer: Signer,
    verifier: Arc<Verifier>,
    feed: Feed,
    links: Links,
    dialling: Dialling,
    directory: Directory,
    gossip: Gossip,
    topology: Topology,
    /// What somebody wants said to a node with which a link is being made.
    parked: Vec<Parked>,
    /// What waits for a link with a node that may become a neighbour.
    waiting: BTreeMap<NodeName, Vec<Body>>,
    digest_due: Tick,
    digest_news: bool,
    feeding: Feeding,
    law: Law,
    /// The way back of the policy's acknowledgements.
    decrees: Feeding,
    mail: Mail,
    broadcasts: Broadcasts,
    trees: Trees,
    leads: Leads,
    memory: Memory,
    introducers: Introducers,
    traces: Traces,
    renewals: Renewals,
    /// How often our certificate was renewed in this run, and when the one before it ends.
    era: u32,
    past_end: Option<Timestamp>,
    twins: Twins,
    /// Whom we dial only because we remember them and had no link, since when.
    sought: BTreeMap<NodeName, Tick>,
    circuits: Circuits,
    post: Post,
    meetings: Meetings,
    jitter: Jitter,
    presence: Presence,
    presence_bytes: Vec<u8>,
    presence_due: Tick,
    look_due: Tick,
    staleness: Staleness,
    /// Nothing but a floor is known of the time, and somebody is asked for it.
    shut: bool,
    barred: bool,
    /// Nobody is dialled while our feed is stale and we are told to refuse then.
    dials_held: bool,
    actions: VecDeque<Action>,
}

impl Node {
    /// A node that knows the nodes a person configured.
    ///
    /// # Errors
    /// [`Refusal`] if the key gives no signature for the first presence.
    pub fn new(
        settings: Settings,
        signer: Signer,
        verifier: Arc<Verifier>,
        feed: Feed,
        known: BTreeMap<NodeName, String>,
        now: Now,
    ) -> Result<Self, Refusal> {
        let presence = Presence {
            node: settings.node.clone(),
            instance: settings.instance,
            boot: settings.boot,
            sequence: 0,
            at: now.wall,
            addresses: settings.addresses.clone(),
            roles: settings.roles.clone(),
            feed_number: feed.position().number,
            policy_number: 0,
            relays: Vec::new(),
        };
        let mut node = Self {
            jitter: Jitter::new(settings.seed),
            post: Post::new(settings.boot),
            signer,
            verifier,
            feed,
            links: Links::default(),
            dialling: Dialling::new(),
            directory: Directory::new(settings.directory_max, settings.seed),
            gossip: Gossip::new(&settings.node, settings.seed, settings.epoch, now.tick),
            topology: Topology::new(settings.full_mesh),
            parked: Vec::new(),
            waiting: BTreeMap::new(),
            digest_due: now.tick.plus_ms(DIGEST_MS),
            digest_news: false,
            feeding: Feeding::default(),
            law: Law::built_in(),
            decrees: Feeding::default(),
            mail: Mail::default(),
            broadcasts: Broadcasts::default(),
            trees: Trees::default(),
            leads: Leads::new(now.tick),
            memory: Memory::default(),
            introducers: Introducers::default(),
            traces: Traces::default(),
            renewals: Renewals::default(),
            era: 0,
            past_end: None,
            twins: Twins::new(now.tick),
            sought: BTreeMap::new(),
            circuits: Circuits::default(),
            meetings: Meetings::default(),
            presence,
            presence_bytes: Vec::new(),
            presence_due: now.tick,
            look_due: now.tick,
            staleness: Staleness::default(),
            shut: false,
            barred: false,
            dials_held: false,
            actions: VecDeque::new(),
            settings,
        };
        node.sign_presence(now)?;
        node.configure(known, now);
        Ok(node)
    }

    /// The greeting to send now.
    #[must_use]
    pub fn greeting(&self) -> Greeting {
        let position = self.feed.position();
        Greeting {
            version_min: VERSION,
            version_max: VERSION,
            presence: self.presence_bytes.clone(),
            feed_number: position.number,
            feed_at: position.at,
        }
    }

    /// Whether this is the greeting to send now; costs no copy.
    #[must_use]
    pub fn greets_with(&self, greeting: &Greeting) -> bool {
        let position = self.feed.position();
        greeting.presence == self.presence_bytes
            && greeting.feed_number == position.number
            && greeting.feed_at == position.at
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Node::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Tick {
        let dials = !self.barred && !self.dials_held;
        let dial = self.dialling.next_deadline().filter(|_| dials);
        let others = [dial, self.gossip.next_deadline(), self.post.next_deadline()];
        others.into_iter().flatten().fold(self.look_due, Tick::min)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.tick >= self.look_due {
            self.look_due = now.tick.plus_ms(LOOK_MS);
            self.look(now);
        }
        self.gossip.handle_timeout(now.tick);
        self.grant_wishes(now);
        self.dial_due(now);
        self.post_due(now);
    }

    /// Replaces the configured nodes.
    pub fn configure(&mut self, known: BTreeMap<NodeName, String>, now: Now) {
        for gone in self.dialling.configured().into_iter().filter(|node| !known.contains_key(node))
        {
            self.dialling.forget(&gone);
        }
        for (node, address) in known {
            let own = node == self.settings.node;
            let same = self.dialling.iter().any(|(name, prospect)| {
                *name == node && prospect.configured && prospect.addresses.contains(&address)
            });
            if !own && !same {
                self.dialling.configure(node.clone(), address, now.tick);
                if self.links.member_link(&node).is_some() {
                    self.dialling.linked(&node);
                }
            }
        }
    }

    /// Takes a renewed identity: the presence carries it at once, the links stay until others have
    /// taken their places.
    ///
    /// # Errors
    /// [`Refusal`] if the new key gives no signature.
    pub fn replace_identity(
        &mut self,
        signer: Signer,
        own: ChainIds,
        now: Now,
    ) -> Result<(), Refusal> {
        self.begin_era(now);
        self.signer = signer;
        self.settings.own = own;
        self.sign_presence(now)?;
        self.announce(now);
        Ok(())
    }

    /// A link ended, by whatever; a link that [`Action::End`] ended need not be told.
    pub fn handle_ended(&mut self, link: LinkId, ended: Ended, now: Now) {
        let Some(gone) = self.links.remove(link) else { return };
        let node = gone.member.node().clone();
        self.forget_link(link, &node, now);
        let refused = ended.refused.filter(|_| gone.retiring.is_none());
        if let Some((code, by)) = refused {
            let (detail, at) = (ended.detail.clone(), now.wall);
            let failure = DialFailure { code: Some(code), by, detail, at };
            self.dialling.failed(&node, Some(failure), now.tick, &mut self.jitter);
        }
        if gone.retiring.is_none() {
            self.tell(Event::Unlinked { node, why: ended.detail });
        }
    }

    /// A dial did not become a link; `None` means that the other side already has one with us.
    pub fn handle_dial_failed(&mut self, node: &NodeName, failure: Option<DialFailure>, now: Now) {
        self.meetings.called(node);
        if failure.as_ref().is_some_and(|failure| failure.code == Some(Code::WrongName)) {
            self.leads.doubt(node);
        }
        let gone = failure.is_some();
        self.dialling.failed(node, failure, now.tick, &mut self.jitter);
        if gone && self.links.member_link(node).is_none() {
            self.leave_overlay(node, now);
        }
    }

    /// The links, for people.
    #[must_use]
    pub fn links(&self) -> Vec<LinkView> {
        self.links.views()
    }

    /// The nodes we know of, linked or not, for people.
    pub fn prospects(&self) -> impl Iterator<Item = (&NodeName, &Prospect)> {
        self.dialling.iter()
    }

    /// How many other nodes are known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.directory.len()
    }

    /// This run.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.settings.instance
    }

    /// The feed.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Where the feed stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.feed.position()
    }

    fn sign_presence(&mut self, now: Now) -> Result<(), Refusal> {
        self.presence.sequence += 1;
        self.presence.at = now.wall;
        self.presence.feed_number = self.feed.position().number;
        let signed = self.signer.sign(&self.presence);
        self.presence_bytes = signed
            .map_err(|error| Refusal::new(Code::Malformed, format!("own presence: {error}")))?;
        // A third sooner or later: those that started at one moment would all speak at one moment.
        let wait_ms = self.jitter.around(self.presence_ms() / 3 * 4);
        self.presence_due = now.tick.plus_ms(wait_ms);
        Ok(())
    }

    /// Tells everybody where we are: in a small network on each link, and by broadcast, for those
    /// we have no link with. Without a neighbour to broadcast to, digests bring it about. In one
    /// that no directory holds, only those we are linked with: samples take it further.
    fn announce(&mut self, now: Now) {
        let statement = self.presence_bytes.clone();
        let crowded = self.directory.is_crowded();
        if crowded || !self.topology.is_partial() {
            let body = Body::Presences(vec![statement.clone()], false);
            for link in self.ready_links() {
                self.send(link, &body);
            }
        }
        if !crowded {
            self.broadcast_presence(&statement, now);
        }
    }

    fn ready_links(&self) -> Vec<LinkId> {
        let open = |link: &Link| link.ready && link.retiring.is_none();
        self.links.iter().filter(|(_, link)| open(link)).map(|(id, _)| id).collect()
    }

    /// Ends a link by our will and forgets it.
    fn end(&mut self, link: LinkId, way: Way, why: &str, now: Now) {
        let Some(gone) = self.links.remove(link) else { return };
        let node = gone.member.node().clone();
        self.push(Action::End { link, way });
        self.forget_link(link, &node, now);
        if gone.retiring.is_none() {
            self.tell(Event::Unlinked { node, why: why.to_owned() });
        }
    }

    /// What hangs on a link that is gone.
    fn forget_link(&mut self, link: LinkId, node: &NodeName, now: Now) {
        self.feeding.ended(link);
        self.decrees.ended(link);
        self.traces.ended(link);
        self.renewals.ended(link);
        self.post.unlinked(node, link);
        for request in self.mail.ended(link) {
            self.answer(request, crate::Outcome::Unreachable("the link ended before the answer"));
        }
        self.reached_ended(link);
        self.lose_calls(node);
        if self.links.member_link(node).is_none() {
            self.dialling.unlinked(node, now.tick, &mut self.jitter);
            self.leave_overlay(node, now);
            self.look_at_relays(now);
        }
    }

    /// Keeps a verified presence that a neighbour brought, perhaps its own; says whether it was
    /// news.
    fn learn(&mut self, signed: SignedPresence, from: &NodeName, now: Now) -> bool {
        self.memory.keep(&signed, now.tick);
        let presence = Arc::clone(&signed.presence);
        let linked = self.links.member_link(&presence.node).is_some();
        let news = self.directory.keep(signed, linked, now.tick);
        if news {
            let Presence { node, addresses, relays, .. } = &*presence;
            self.introducers.heard(node, from);
            self.dialling.learn(&self.settings.node, node, addresses, relays, now.tick);
            if linked {
                // It may have become known only after it was linked.
                self.dialling.linked(node);
            }
            self.crowd_out();
        }
        news
    }

    fn send(&mut self, link: LinkId, body: &Body) {
        let class = match body {
            Body::Message(_) | Body::Receipt(_) => Class::Message,
            Body::Post(shared::wire::Post::Batch(_) | shared::wire::Post::Receipt(_)) => {
                Class::Message
            }
            _ => Class::Control,
        };
        self.push(Action::Send { link, class, frame: body.to_frame() });
    }

    fn answer(&mut self, request: u64, outcome: crate::Outcome) {
        self.push(Action::Answer { request, outcome });
    }

    fn tell(&mut self, event: Event) {
        // Telling is the only thing that may be left out: everything else is asked for once.
        if self.actions.len() < EVENTS_MAX {
            self.push(Action::Tell(event));
        }
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
