//! Broadcast and membership: HyParView (Leitão, Pereira, Rodrigues, DSN 2007) and PlumTree (SRDS
//! 2007) as `iroh-gossip` has them, behind names, ticks and bounds of ours.
//!
//! HyParView keeps a handful of neighbours and an address book, PlumTree a tree among neighbours
//! over which each message travels about once. Neither promises order or history: what must not be
//! missed is repaired by whoever uses this (presences by digests, messages by their sender).
//!
//! The machine inside trusts its neighbours' arithmetic and remembers what they announce without a
//! bound. So control messages have a budget for each neighbour, and after so many octets of them
//! the machine is made anew and joins again.
//!
//! **Invariant:** what is inside grows by at most [`GOSSIP_RENEW_BYTES`] of neighbours' control.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh_gossip::proto::state::MessageKind;
use iroh_gossip::proto::{
    Command, Config, Event, HyparviewConfig, InEvent, Message, OutEvent, PeerData, PlumtreeConfig,
    Scope, State, Timer, TopicId,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use shared::name::NodeName;
use shared::time::Tick;

use crate::bucket::Bucket;
use crate::limits::{
    GOSSIP_ACTIVE, GOSSIP_BYTES_MAX, GOSSIP_CACHE_MS, GOSSIP_CONTROL, GOSSIP_DATA, GOSSIP_GRAFT_MS,
    GOSSIP_NEIGHBOUR_MS, GOSSIP_PASSIVE, GOSSIP_RENEW_BYTES, GOSSIP_SEEN_MS, GOSSIP_SHUFFLE_MS,
};
use crate::whom::Whom;

/// What the machine wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Send a neighbour, or one that may become it, these octets.
    Send(Whom, Vec<u8>),
    /// It is a neighbour now: keep a link.
    Keep(Whom),
    /// It is none any more.
    Release(Whom),
    /// A broadcast arrived from a neighbour, for the first time.
    Heard(Whom, Bytes),
}

pub(crate) struct Gossip {
    me: Whom,
    seed: u64,
    epoch: Instant,
    state: State<Whom, StdRng>,
    timers: BTreeMap<(Tick, u64), Timer<Whom>>,
    timer_count: u64,
    /// For each neighbour: control messages, broadcasts.
    budgets: BTreeMap<Whom, (Bucket, Bucket)>,
    control_bytes: usize,
    /// Whether broadcasts are heard and passed on.
    carries: bool,
    wishes: VecDeque<Wish>,
}

const TOPIC: TopicId = TopicId::from_bytes(*b"conclave: one topic, all members");

impl Gossip {
    /// A machine for this node. `epoch` is any instant: the machine inside counts time from it.
    pub(crate) fn new(me: &NodeName, seed: u64, epoch: Instant, now: Tick) -> Self {
        let me = Whom::of(me);
        let mut gossip = Self {
            me,
            seed,
            epoch,
            state: machine(me, seed),
            timers: BTreeMap::new(),
            timer_count: 0,
            budgets: BTreeMap::new(),
            control_bytes: 0,
            carries: true,
            wishes: VecDeque::new(),
        };
        gossip.handle(InEvent::Command(TOPIC, Command::Join(Vec::new())), now);
        gossip
    }

    /// What is to be done, in order.
    pub(crate) fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// When [`Gossip::handle_timeout`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    pub(crate) fn handle_timeout(&mut self, now: Tick) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            self.handle(InEvent::TimerExpired(timer), now);
        }
    }

    /// Whether broadcasts are heard and passed on. Where none can hold what they tell, the few of
    /// newcomers who do not know that yet end here.
    pub(crate) const fn set_carries(&mut self, carries: bool) {
        self.carries = carries;
    }

    /// There is a link: if nobody is our neighbour yet, this one may bring us in.
    pub(crate) fn handle_link(&mut self, with: Whom, now: Tick) {
        if !self.state.has_active_peers(&TOPIC) {
            self.handle(InEvent::Command(TOPIC, Command::Join(vec![with])), now);
        }
    }

    /// There is no link, or none came about.
    pub(crate) fn handle_gone(&mut self, with: Whom, now: Tick) {
        self.budgets.remove(&with);
        self.handle(InEvent::PeerDisconnected(with), now);
    }

    /// Octets came on a link. `None` if they are no message of the machine.
    pub(crate) fn handle_frame(&mut self, from: Whom, frame: &[u8], now: Tick) -> Option<()> {
        let (message, rest) = postcard::take_from_bytes::<Message<Whom>>(frame).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let full = || (Bucket::full(GOSSIP_CONTROL, now), Bucket::full(GOSSIP_DATA, now));
        let (control, data) = self.budgets.entry(from).or_insert_with(full);
        let control = match message.kind() {
            MessageKind::Control if control.take(GOSSIP_CONTROL, now) => frame.len(),
            MessageKind::Data if self.carries && data.take(GOSSIP_DATA, now) => 0,
            MessageKind::Control | MessageKind::Data => return Some(()),
        };
        self.control_bytes += control;
        self.handle(InEvent::RecvMessage(from, message), now);
        if self.control_bytes > GOSSIP_RENEW_BYTES {
            self.renew(now);
        }
        Some(())
    }

    /// Says something to everybody.
    pub(crate) fn broadcast(&mut self, content: Bytes, now: Tick) {
        self.handle(InEvent::Command(TOPIC, Command::Broadcast(content, Scope::Swarm)), now);
    }

    /// Whether anybody is our neighbour.
    pub(crate) fn is_joined(&self) -> bool {
        self.state.has_active_peers(&TOPIC)
    }

    /// Leaves properly, forgets everything, begins again.
    fn renew(&mut self, now: Tick) {
        self.handle(InEvent::Command(TOPIC, Command::Quit), now);
        self.seed = self.seed.wrapping_add(1);
        self.state = machine(self.me, self.seed);
        self.timers.clear();
        self.control_bytes = 0;
        self.handle(InEvent::Command(TOPIC, Command::Join(Vec::new())), now);
    }

    fn handle(&mut self, event: InEvent<Whom>, now: Tick) {
        let at = self.epoch + Duration::from_millis(now.ms());
        let at = n0_future::time::Instant::from_std(at);
        for event in self.state.handle(event, at, None) {
            match event {
                OutEvent::SendMessage(to, message) => {
                    if let Ok(frame) = postcard::to_stdvec(&message) {
                        self.wishes.push_back(Wish::Send(to, frame));
                    }
                }
                OutEvent::ScheduleTimer(after, timer) => {
                    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.timer_count += 1;
                    self.timers.insert((now.plus_ms(ms.max(1)), self.timer_count), timer);
                }
                OutEvent::EmitEvent(_, Event::NeighborUp(peer)) => {
                    self.wishes.push_back(Wish::Keep(peer));
                }
                OutEvent::EmitEvent(_, Event::NeighborDown(peer))
                | OutEvent::DisconnectPeer(peer) => {
                    self.wishes.push_back(Wish::Release(peer));
                }
                OutEvent::EmitEvent(_, Event::Received(heard)) => {
                    self.wishes.push_back(Wish::Heard(heard.delivered_from, heard.content));
                }
                OutEvent::PeerData(..) => {}
            }
        }
    }
}

fn machine(me: Whom, seed: u64) -> State<Whom, StdRng> {
    let membership = HyparviewConfig {
        active_view_capacity: GOSSIP_ACTIVE,
        passive_view_capacity: GOSSIP_PASSIVE,
        shuffle_interval: Duration::from_millis(GOSSIP_SHUFFLE_MS),
        neighbor_request_timeout: Duration::from_millis(GOSSIP_NEIGHBOUR_MS),
        ..HyparviewConfig::default()
    };
    let broadcast = PlumtreeConfig {
        graft_timeout_1: Duration::from_millis(GOSSIP_GRAFT_MS),
        graft_timeout_2: Duration::from_millis(GOSSIP_GRAFT_MS / 2),
        message_cache_retention: Duration::from_millis(GOSSIP_CACHE_MS),
        message_id_retention: Duration::from_millis(GOSSIP_SEEN_MS),
        ..PlumtreeConfig::default()
    };
    // Room for the machine's own header around the largest broadcast.
    let config = Config { membership, broadcast, max_message_size: GOSSIP_BYTES_MAX + 512 };
    State::new(me, PeerData::default(), config, StdRng::seed_from_u64(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::sha256;

    fn node(index: usize) -> NodeName {
        NodeName::parse(&format!("n{index}")).unwrap()
    }

    /// Delivers every wish at once until nothing is left; gives what each heard.
    fn settle(all: &mut [Gossip], now: Tick) -> Vec<Vec<Bytes>> {
        let ids: Vec<Whom> = all.iter().map(|gossip| gossip.me).collect();
        let mut heard = vec![Vec::new(); all.len()];
        loop {
            let mut quiet = true;
            for index in 0..all.len() {
                while let Some(wish) = all[index].poll_wish() {
                    quiet = false;
                    match wish {
                        Wish::Send(to, frame) => {
                            let to = ids.iter().position(|id| *id == to).unwrap();
                            all[to].handle_frame(ids[index], &frame, now).unwrap();
                        }
                        Wish::Heard(_, content) => heard[index].push(content),
                        Wish::Keep(_) | Wish::Release(_) => {}
                    }
                }
            }
            if quiet {
                return heard;
            }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn network(size: usize) -> Vec<Gossip> {
        let epoch = Instant::now();
        let new = |index| Gossip::new(&node(index), index as u64, epoch, Tick::from_ms(0));
        let mut all: Vec<Gossip> = (0..size).map(new).collect();
        for index in 1..size {
            let first = all[0].me;
            all[index].handle_link(first, Tick::from_ms(0));
            settle(&mut all, Tick::from_ms(0));
        }
        all
    }

    #[test]
    fn a_broadcast_reaches_everybody_once() {
        let mut all = network(40);
        assert!(all.iter().all(Gossip::is_joined));
        all[7].broadcast(Bytes::from_static(b"hello"), Tick::from_ms(1));
        let heard = settle(&mut all, Tick::from_ms(1));
        let got = heard.iter().filter(|heard| **heard == [Bytes::from_static(b"hello")]).count();
        assert_eq!(got, 39, "all but the one who said it");
    }

    #[test]
    fn garbage_is_refused_and_a_flood_of_announcements_is_forgotten() {
        let mut all = network(2);
        let from = all[1].me;
        for garbage in [&b""[..], b"\0", &[0xff; 64]] {
            assert_eq!(all[0].handle_frame(from, garbage, Tick::from_ms(2)), None);
        }
        // IHave for what nobody has: {topic, Gossip(IHave([{id, round}; n]))}, as postcard has it.
        let announce = |seed: u32| {
            let mut frame = TOPIC.as_bytes().to_vec();
            frame.extend([1, 3, 100]);
            for index in 0..100_u32 {
                frame.extend(sha256(&(seed * 100 + index).to_be_bytes()));
                frame.extend([0xff, 0xff, 0x03]);
            }
            frame
        };
        let mut timers = 0;
        for ms in 0..60_000 {
            all[0].handle_frame(from, &announce(ms), Tick::from_ms(u64::from(ms))).unwrap();
            all[0].handle_timeout(Tick::from_ms(u64::from(ms)));
            while all[0].poll_wish().is_some() {}
            timers = timers.max(all[0].timers.len());
        }
        assert!(all[0].control_bytes <= GOSSIP_RENEW_BYTES + 4000);
        assert!(timers < 100_000, "{timers} timers");
        let mut all = network(2);
        all[0].broadcast(Bytes::from_static(b"still here"), Tick::from_ms(70_000));
        assert_eq!(settle(&mut all, Tick::from_ms(70_000))[1].len(), 1);
    }
}
