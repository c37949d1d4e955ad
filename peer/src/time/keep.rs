//! The task that owns the keeper: it hears answers and news of members, performs what the keeper
//! wants, and tells others the time.
//!
//! **Invariant:** only this task touches the keeper; a member whose certificate does not stand is
//! no source from the moment on that the feed says so.

mod offers;
mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::event::Event;
use clock::face::{Line, Reading};
use clock::floor::{Floor, Ground};
use clock::keeper::{Action, Keeper, Served};
use clock::limits::DRIFT;
use clock::measure::{Exchange, Leap, Root, SourceId, Told};
use clock::moment::{Mono, Utc};
use host::fault::Fault;
use nts::client::Sample;
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::shown::{Shown, SignedShown};
use shared::time::Timestamp;
use shared::verify::Verifier;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::ask::{self, Asker, Papers, Turn};
use super::links::Links;
use super::shown::{Clockwork, Shown as Face, Sleep, now, system};
use super::{figures, floor, told};
use crate::config::{Source, Way};
use crate::control::time::{SourceStatus, TimeAsk, TimeEvent, TimeReply};
use crate::evidence;
use crate::limits::{TIME_EVENTS_MAX, TIME_HEARD_MAX, TIME_ORDERS_MAX};

/// What the mesh says of who may tell the time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// Whether we may vouch for outside time.
    pub time_root: bool,
    /// Members of the directory, and whether they may.
    pub members: BTreeMap<NodeName, bool>,
}

/// What the keeping task is told.
pub enum Ordered {
    /// A command asks.
    Asked(TimeAsk, oneshot::Sender<Vec<TimeReply>>),
    /// A member has signed what its clock showed.
    Said(Box<SignedShown>),
    /// Something was verified that is dated.
    Verified(Timestamp, Ground),
    /// Members came, went, or changed; or the feed or policy did.
    Roll(Roll),
    /// `node.yaml` names other sources.
    Sources(Vec<Source>),
}

/// What a daemon starts to keep the time with.
pub struct Keep {
    /// The bundle, in which files are named.
    pub folder: PathBuf,
    /// Where proofs against members are kept.
    pub evidence: PathBuf,
    /// Whom a person has chosen to be asked.
    pub sources: Vec<Source>,
    /// Judges members again.
    pub verifier: Arc<Verifier>,
    /// Exchanges keys with members.
    pub dialler: Arc<tls::Dialler>,
    /// By what certificates' dates are judged.
    pub clock: tls::Clock,
}

/// What the process reads the time from, and whom it asks about it.
#[derive(Clone)]
pub struct Kept {
    links: Arc<Links>,
    shown: Arc<Face>,
    served: watch::Receiver<(Served, Mono)>,
    orders: mpsc::Sender<Ordered>,
}

impl Kept {
    /// The links over which keys are exchanged.
    pub(crate) const fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// The clock at this moment, to be read at others near it without a turn of its hand between.
    #[must_use]
    pub fn line(&self) -> Line {
        self.shown.line()
    }

    /// Time and error now.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.shown.reading()
    }

    /// Whether nothing but a floor is known of the time.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.shown.cold().is_some()
    }

    /// What this process takes for the time now.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.shown.wall()
    }

    /// Whether the clock rests on more than itself.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.shown.rests(&self.reading())
    }

    /// What others are told of our clock now.
    #[must_use]
    pub fn served(&self) -> Served {
        let (mut served, at) = self.served.borrow().clone();
        let grown = (now().ns_since(at) as f64 * DRIFT).ceil() as u64;
        served.told.root_dispersion_ns = served.told.root_dispersion_ns.saturating_add(grown);
        served
    }

    /// What there is to sign about our clock; nothing before it rests on something.
    #[must_use]
    pub fn statement(&self, node: NodeName, instance: InstanceId, sequence: u64) -> Option<Shown> {
        self.shown.statement(node, instance, sequence)
    }

    /// Tells the keeper something; `false` if there is no room for it now.
    pub fn tell(&self, order: Ordered) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Asks the keeper.
    ///
    /// # Errors
    /// [`Fault`] if it has stopped.
    pub async fn ask(&self, ask: TimeAsk) -> Result<Vec<TimeReply>, Fault> {
        let stopping = || Fault::failed("this peer is stopping");
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.send(Ordered::Asked(ask, reply)).await;
        sent.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }
}

/// A source at the table.
struct Seat {
    source: Source,
    orders: mpsc::Sender<u8>,
    standing: ask::Standing,
    /// Its certificate does not stand, so it has no say.
    barred: bool,
    /// Because its dates are over, or not come: it may have another one by now.
    outlived: bool,
    /// Nobody has named it: it is linked with us, and perhaps offers the time.
    invited: bool,
    task: AbortHandle,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task's own.
struct Keeping {
    me: NodeName,
    keep: Keep,
    keeper: Keeper,
    shown: Arc<Face>,
    links: Arc<Links>,
    roll: Roll,
    seats: BTreeMap<SourceId, Seat>,
    heard: mpsc::Sender<(SourceId, Turn)>,
    served: watch::Sender<(Served, Mono)>,
    floor: watch::Sender<Floor>,
    next_probe: Mono,
    sleep: Sleep,
    events: VecDeque<TimeEvent>,
}

/// Begins to keep the time; the task ends when `stop` says so.
///
/// # Errors
/// [`Fault`] if a file with roots cannot be read.
pub fn begin(
    works: Clockwork,
    keep: Keep,
    stop: watch::Receiver<bool>,
) -> Result<(Kept, Vec<tokio::task::JoinHandle<()>>), Fault> {
    let Clockwork { me, keeper, shown, floor } = works;
    let (heard, answers) = mpsc::channel(TIME_HEARD_MAX);
    let (orders, ordered) = mpsc::channel(TIME_ORDERS_MAX);
    let (served, seen) = watch::channel((keeper.served(now()), now()));
    let (floors, saved) = watch::channel(keeper.floor());
    let links = Arc::<Links>::default();
    let kept = Kept { links: Arc::clone(&links), shown: Arc::clone(&shown), served: seen, orders };
    let saver = tokio::spawn(save(saved, floor));
    let mut keeping = Keeping {
        me,
        keeper,
        shown,
        links,
        roll: Roll::default(),
        seats: BTreeMap::new(),
        heard,
        served,
        floor: floors,
        next_probe: now(),
        sleep: Sleep::watch(),
        events: VecDeque::new(),
        keep,
    };
    let sources = std::mem::take(&mut keeping.keep.sources);
    keeping.sit(sources)?;
    Ok((kept, vec![tokio::spawn(keeping.run(answers, ordered, stop)), saver]))
}

/// Writes the newest floor; the last when the task has ended.
async fn save(mut floors: watch::Receiver<Floor>, path: PathBuf) {
    while floors.changed().await.is_ok() {
        let newest = *floors.borrow_and_update();
        let path = path.clone();
        let written = tokio::task::spawn_blocking(move || floor::write(&path, &newest)).await;
        if let Ok(Err(fault)) = written {
            warn!("the floor could not be written: {fault}");
        }
    }
}

impl Keeping {
    async fn run(
        mut self,
        mut answers: mpsc::Receiver<(SourceId, Turn)>,
        mut ordered: mpsc::Receiver<Ordered>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.perform();
        loop {
            let wait = self.keeper.next_deadline().min(self.next_probe).ns_since(now());
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                order = ordered.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                turn = answers.recv() => if let Some((from, turn)) = turn {
                    self.hear(&from, turn);
                },
                () = tokio::time::sleep(Duration::from_nanos(wait)) => {}
            }
            self.keeper.handle_system(system(), self.sleep.ns(), now());
            self.keeper.handle_tick(now());
            self.look_for_offers();
            self.perform();
        }
        self.keeper.handle_stop(now());
        self.perform();
    }

    fn obey(&mut self, order: Ordered) {
        match order {
            Ordered::Asked(ask, reply) => {
                let _ = reply.send(self.answer(&ask));
            }
            Ordered::Said(said) => self.keeper.handle_statement(*said),
            Ordered::Verified(at, ground) => self.keeper.handle_verified(at.into(), ground),
            Ordered::Roll(roll) => {
                self.roll = roll;
                self.next_probe = now();
                self.judge();
            }
            Ordered::Sources(sources) => match self.sit(sources) {
                Ok(()) => info!("reloaded: node.yaml (time.sources)"),
                Err(fault) => warn!("not reloaded, the old sources stay: {fault}"),
            },
        }
    }

    fn answer(&mut self, ask: &TimeAsk) -> Vec<TimeReply> {
        match ask {
            TimeAsk::Status => {
                let events = self.events.iter().rev().cloned().collect();
                let status = told::status(&self.keeper, events, (now(), system()));
                vec![TimeReply::Status(Box::new(status))]
            }
            TimeAsk::Sources => self.sources(),
            TimeAsk::Metrics => {
                let standings = self.seats.values().map(|seat| &seat.standing);
                vec![TimeReply::Metrics(figures::metrics(&self.keeper, standings, now()))]
            }
            TimeAsk::ResetFloor => {
                self.keeper.reset_floor();
                vec![TimeReply::Floor(told::floor(&self.keeper.floor()))]
            }
        }
    }

    fn sources(&self) -> Vec<TimeReply> {
        let rows = self.keeper.rows(now());
        let known = |row: &clock::keeper::Row| -> SourceStatus {
            told::source(row, self.seats.get(&row.id).map(|seat| &seat.standing))
        };
        rows.iter().map(|row| TimeReply::Source(Box::new(known(row)))).collect()
    }

    /// Takes another list of sources; those that are on both stay as they are.
    fn sit(&mut self, sources: Vec<Source>) -> Result<(), Fault> {
        let mut seats = BTreeMap::new();
        for source in sources {
            let id = source.id.clone();
            let before = self.seats.remove(&id).filter(|seat| seat.source == source);
            let seat = match before {
                Some(seat) => seat,
                None => self.seat(source)?,
            };
            seats.insert(id, seat);
        }
        // Whoever was invited stays, unless a person has named it now.
        let before = std::mem::take(&mut self.seats);
        for (id, seat) in before.into_iter().filter(|(_, seat)| seat.invited) {
            seats.entry(id).or_insert(seat);
        }
        self.seats = seats;
        self.judge();
        Ok(())
    }

    fn seat(&self, source: Source) -> Result<Seat, Fault> {
        let roots = match &source.way {
            Way::Outside { ca: Some(path) } => ask::roots_of(&self.keep.folder.join(path))?,
            Way::Outside { ca: None } => ask::system_roots()?,
            Way::System | Way::Plain | Way::Member(_) | Way::Linked(_) => Vec::new(),
        };
        let (clock, verifier) = (Arc::clone(&self.keep.clock), Arc::clone(&self.keep.verifier));
        let papers = Papers {
            dialler: Some(Arc::clone(&self.keep.dialler)),
            roots: Arc::new(roots),
            dates: Arc::new(move || verifier.around(clock())),
            shown: Some(Arc::clone(&self.shown)),
            links: Some(Arc::clone(&self.links)),
        };
        let (orders, heard_orders) = mpsc::channel(1);
        let (id, heard) = (source.id.clone(), self.heard.clone());
        let asker = Asker::new(source.clone(), papers);
        let asking = ask::run(asker, heard_orders, heard, move |turn| (id.clone(), turn));
        let task = tokio::spawn(asking).abort_handle();
        let standing = ask::Standing::default();
        let [barred, outlived, invited] = [false; 3];
        Ok(Seat { source, orders, standing, barred, outlived, invited, task })
    }

    fn hear(&mut self, from: &SourceId, turn: Turn) {
        let Turn { sample, naks, strips, poll_least, standing } = turn;
        let Some(seat) = self.seats.get_mut(from) else { return };
        let met = standing.member.is_some() && seat.standing.member != standing.member;
        if let Some(trouble) = &standing.trouble {
            debug!(source = %from, "no answer: {}", host::terminal::escape(trouble));
        }
        seat.standing = standing;
        if met {
            self.judge();
        }
        if self.seats.get(from).is_none_or(|seat| seat.barred) {
            return;
        }
        self.keeper.handle_poll_least(from, poll_least);
        (0..naks).for_each(|_| self.keeper.handle_nak(from));
        (0..strips.min(1)).for_each(|_| self.keeper.handle_strip(from));
        let Some(sample) = sample else { return };
        let (exchange, told) = self.read(from, &sample);
        if let Err(error) = self.keeper.handle_answer(from, exchange, told, now()) {
            debug!(source = %from, "an answer that teaches nothing: {error}");
        }
    }

    fn read(&self, from: &SourceId, sample: &Sample) -> (Exchange, Told) {
        let mono = |ns: i64| Mono::from_ns(ns.unsigned_abs());
        let exchange = Exchange {
            sent: mono(sample.t1_ns),
            received_there: Utc::from_ns(sample.t2_ns),
            sent_there: Utc::from_ns(sample.t3_ns),
            received: mono(sample.t4_ns),
        };
        let told = Told {
            leap: match sample.leap {
                nts::ntp::Leap::Steady => Leap::None,
                nts::ntp::Leap::Insert => Leap::Insert,
                nts::ntp::Leap::Delete => Leap::Delete,
                nts::ntp::Leap::Unknown => Leap::Unknown,
            },
            stratum: sample.stratum,
            root_delay_ns: sample.root_delay.to_ns().unsigned_abs(),
            root_dispersion_ns: sample.root_dispersion.to_ns().unsigned_abs(),
            reference: Utc::from_ns(sample.reference_ns),
            root: self.root_of(from, sample.reference_id.octets()),
        };
        (exchange, told)
    }

    /// The root that a source names. A member's word is four octets; which root they stand for is
    /// found among those that there are, and what stands for none has no vote.
    fn root_of(&self, from: &SourceId, reference_id: [u8; 4]) -> Root {
        let SourceId::Peer(node) = from else { return Root::Of(from.clone()) };
        if reference_id == Root::Mesh.reference_id() {
            return Root::Mesh;
        }
        let known = self.roll.members.iter().filter(|(_, root)| **root).map(|(node, _)| node);
        let all = known.chain([node, &self.me]).cloned().map(SourceId::Peer);
        let mut named = all.filter(|id| id.reference_id() == reference_id);
        named.next().map_or(Root::Of(SourceId::System), Root::Of)
    }

    /// Does what the keeper wants.
    fn perform(&mut self) {
        while let Some(action) = self.keeper.poll_action() {
            match action {
                Action::Ask(id) => {
                    if let Some(seat) = self.seats.get(&id) {
                        let _ = seat.orders.try_send(self.keeper.poll(&id));
                    }
                }
                Action::Keep(floor) => {
                    let _ = self.floor.send(floor);
                }
                Action::Tell(event) => self.tell(&event),
            }
        }
        self.shown.look(&self.keeper);
        let at = now();
        let [earlier, later] = self.shown.doubt_ms(&self.keeper.dates(system(), at));
        self.keep.verifier.doubt(earlier, later);
        self.served.send_replace((self.keeper.served(at), at));
    }

    fn tell(&mut self, event: &Event) {
        let code = event.code();
        match event {
            Event::Step { .. } | Event::Isolated { .. } => info!(code, "{event}"),
            _ => warn!(code, "{event}"),
        }
        if let Event::TwoFaced { node, statements } | Event::Copied { node, statements } = event {
            let twins = (node.clone(), statements.clone());
            tokio::spawn(evidence::keep_one(twins, self.keep.evidence.clone()));
        }
        if self.events.len() >= TIME_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(told::event(event, self.keeper.reading(now()).best));
    }
}
