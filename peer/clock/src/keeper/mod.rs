//! The keeper of a node's time: the machine that joins sources, selection, clock and floor.
//!
//! In go configuration, answers, and the machine's count; out come whom to ask, what to keep, and
//! events. The order of calls: any `handle_*`, then [`Keeper::poll_action`] until it is empty, then
//! wait until [`Keeper::next_deadline`] and call [`Keeper::handle_tick`]. Who wants the time holds
//! the [`Face`]; what a server tells others is [`Keeper::served`].
//!
//! **Invariant:** the clock is moved in `steer.rs` only, by a verdict; events are told once for as
//! long as what they tell lasts.

mod round;
mod serve;
mod steer;
mod table;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use shared::id::InstanceId;
use shared::name::NodeName;
use shared::shown::{Contradiction, Proof, Shown, SignedShown};

use crate::discipline::Discipline;
use crate::event::Event;
use crate::face::{Face, Reading, State};
use crate::floor::{Dates, Floor, Ground};
use crate::limits::{
    ACTIONS_MAX, EVENTS_MAX, FLOOR_NS, NAKS, ROUND_NS, SLEEP_ERROR_NS, SLEEP_NS, START_NS,
    STEPS_MAX, SYSTEM_JUMP_NS,
};
use crate::measure::{Exchange, MeasureError, Sample, SourceId, Told};
use crate::moment::{Mono, Utc, signed};
use crate::select::Verdict;
use crate::statements::Statements;
pub use serve::Served;
use steer::Course;
pub use table::Row;
use table::Table;

/// What a keeper begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Our name.
    pub me: NodeName,
    /// What the system clock shows.
    pub system: Utc,
    /// The floor as it was kept.
    pub floor: Floor,
    /// Any number: nodes with different ones do not ask in step.
    pub seed: u64,
}

/// Whom to ask, and who is a root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Whether our own certificate has the role `time-root`.
    pub time_root: bool,
    /// Members and configured sources that can be asked.
    pub sources: BTreeSet<SourceId>,
    /// Members whose certificates have the role `time-root`, whether they can be asked or not.
    pub roots: BTreeSet<NodeName>,
    /// Others whose time statements are remembered.
    pub others: BTreeSet<NodeName>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask this source now.
    Ask(SourceId),
    /// Keep the floor on the disk.
    Keep(Floor),
    /// Tell the sentinel.
    Tell(Event),
}

/// The machine.
#[derive(Debug)]
pub struct Keeper {
    me: NodeName,
    members: Members,
    clock: Discipline,
    floor: Floor,
    /// Whether the system clock was below the floor at the start.
    cold: bool,
    system: (Mono, Utc),
    asleep_ns: u64,
    table: Table,
    course: Course,
    verdict: Option<Verdict>,
    /// After news.
    next_round: Option<Mono>,
    /// Without any.
    quiet_round: Mono,
    next_keep: Mono,
    statements: Statements,
    said: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Keeper {
    /// A keeper that shows the system's time, or the floor if that is later, and rests on nothing.
    #[must_use]
    pub fn new(start: Start, now: Mono) -> Self {
        let Start { me, system, floor, seed } = start;
        let cold = floor.is_cold(system);
        let mut keeper = Self {
            me,
            members: Members::default(),
            clock: Discipline::new(now, system.max(floor.at())),
            floor,
            cold,
            system: (now, system),
            asleep_ns: 0,
            table: Table::new(seed),
            course: Course::new(now),
            verdict: None,
            next_round: None,
            quiet_round: now.plus_ns(START_NS),
            next_keep: now.plus_ns(FLOOR_NS),
            statements: Statements::default(),
            said: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        if cold {
            keeper.tell(Event::Rollback { at: system, floor: floor.at() });
        }
        keeper
    }

    /// Takes another list of whom to ask and of who is a root. Who is not on it any more is
    /// forgotten at once.
    pub fn handle_members(&mut self, members: Members, now: Mono) {
        self.table.keep(&members, now);
        self.statements.keep(|node| {
            members.others.contains(node)
                || members.roots.contains(node)
                || members.sources.contains(&SourceId::Peer(node.clone()))
        });
        self.members = members;
        self.handle_tick(now);
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// [`MeasureError`], if nothing is learnt from it.
    pub fn handle_answer(
        &mut self,
        from: &SourceId,
        exchange: Exchange,
        told: Told,
        now: Mono,
    ) -> Result<(), MeasureError> {
        let sample = Sample::take(exchange, told)?;
        if self.table.take(from, sample) {
            let soonest = self.course.last_round().map_or(now, |last| last.plus_ns(ROUND_NS));
            self.next_round = Some(soonest.max(now));
        }
        self.handle_tick(now);
        Ok(())
    }

    /// The interval at which a source is asked, as the power of two of seconds.
    #[must_use]
    pub fn poll(&self, of: &SourceId) -> u8 {
        self.table.poll(of)
    }

    /// Notes the least interval that a server wants, as the power of two of seconds.
    pub fn handle_poll_least(&mut self, from: &SourceId, poll_least: u8) {
        self.table.slow(from, poll_least);
    }

    /// Notes that a server refused a cookie.
    pub fn handle_nak(&mut self, from: &SourceId) {
        if let Some(naks) = self.table.nak(from).filter(|naks| *naks == NAKS) {
            self.tell(Event::NakStorm { source_id: from.clone(), naks });
        }
    }

    /// Notes that a question with NTS was answered without.
    pub fn handle_strip(&mut self, from: &SourceId) {
        if self.table.strip(from) {
            self.tell(Event::Strip { source_id: from.clone() });
        }
    }

    /// Takes what a member has signed about its clock, from whomever it came.
    pub fn handle_statement(&mut self, said: SignedShown) {
        if said.shown.steps > STEPS_MAX {
            return;
        }
        let Some(Proof { node, shows, statements }) = self.statements.take(said) else { return };
        self.tell(match shows {
            Contradiction::Twice => Event::Copied { node, statements },
            Contradiction::TwoTimes => Event::TwoFaced { node, statements },
        });
    }

    /// What we sign about our own clock, once a minute; nothing before it was set.
    pub fn statement(&mut self, instance: InstanceId, now: Mono) -> Option<Shown> {
        let reading = self.clock.reading(now);
        if reading.state == State::Unset {
            return None;
        }
        self.said += 1;
        Some(Shown {
            node: self.me.clone(),
            instance,
            sequence: self.said,
            steps: self.clock.line().steps,
            count_ns: now.ns(),
            utc_ns: reading.best.ns(),
            bound_ns: reading.bound_ns,
        })
    }

    /// Notes what the system clock shows, which is never set here, and how long the machine has
    /// slept since it started. After a sleep the count may be wrong by the grain of what counted
    /// meanwhile; and where the system clock jumps against it, one of them stood still. So all are
    /// asked at once; and a clock that stood still may be stepped forward, as at the start.
    pub fn handle_system(&mut self, system: Utc, asleep_ns: u64, now: Mono) {
        let (then, before) = self.system;
        let expected = before.plus_ns(signed(now.ns_since(then)));
        self.system = (now, system);
        let jump_ns = system.ns_from(expected);
        let slept = asleep_ns.saturating_sub(self.asleep_ns) > SLEEP_NS;
        self.asleep_ns = asleep_ns;
        if slept {
            self.clock.doubt(SLEEP_ERROR_NS);
        }
        if slept || jump_ns.unsigned_abs() > SYSTEM_JUMP_NS {
            self.table.hurry(now);
            self.course.may_have_stood_still(now);
        }
        if jump_ns < -signed(SYSTEM_JUMP_NS) {
            self.tell(Event::Rollback { at: system, floor: expected });
        }
    }

    /// What the system clock shows, as far as was seen.
    fn system_at(&self, now: Mono) -> Utc {
        let (then, system) = self.system;
        system.plus_ns(signed(now.ns_since(then)))
    }

    /// Notes a date that was verified: a certificate's notBefore, a feed's thisUpdate.
    pub fn handle_verified(&mut self, at: Utc, ground: Ground) {
        if self.floor.raise(at, ground) {
            self.act(Action::Keep(self.floor));
        }
    }

    /// Takes the floor back to the time of the build, on a person's word.
    pub fn reset_floor(&mut self) {
        self.floor.reset();
        self.act(Action::Keep(self.floor));
    }

    /// Does what is due.
    pub fn handle_tick(&mut self, now: Mono) {
        let poll_max = self.course.poll_max(now);
        for due in self.table.due(now, poll_max) {
            self.act(Action::Ask(due));
        }
        let quiet = now >= self.quiet_round;
        if quiet || self.next_round.is_some_and(|at| at <= now) {
            self.next_round = None;
            self.quiet_round = now.plus_ns(START_NS);
            self.round(now);
        }
        if now >= self.next_keep {
            self.next_keep = now.plus_ns(FLOOR_NS);
            self.raise_floor(now);
        }
    }

    /// Notes that this is the end: the floor is raised a last time.
    pub fn handle_stop(&mut self, now: Mono) {
        self.raise_floor(now);
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.events.pop_front().map(Action::Tell).or_else(|| self.actions.pop_front())
    }

    /// When to call [`Self::handle_tick`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Mono {
        let others = [self.next_round, self.table.next(), Some(self.quiet_round)];
        others.into_iter().flatten().fold(self.next_keep, Mono::min)
    }

    /// What everybody reads the time from.
    #[must_use]
    pub fn face(&self) -> Arc<Face> {
        self.clock.face()
    }

    /// Time and error at a moment.
    #[must_use]
    pub fn reading(&self, now: Mono) -> Reading {
        self.clock.reading(now)
    }

    /// What certificate dates are to be judged by.
    #[must_use]
    pub fn dates(&self, system: Utc, now: Mono) -> Dates {
        self.floor.dates(&self.clock.reading(now), system)
    }

    /// The floor.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// What the last round came to.
    #[must_use]
    pub const fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The sources as a table, in the order of their names.
    #[must_use]
    pub fn rows(&self, now: Mono) -> Vec<Row> {
        self.table.rows(&self.clock.reading(now), self.verdict.as_ref(), &self.members, now)
    }

    fn raise_floor(&mut self, now: Mono) {
        let reading = self.clock.reading(now);
        let rooted = reading.state == State::Rooted;
        if rooted && self.floor.raise(reading.earliest(), Ground::Synchronised) {
            self.act(Action::Keep(self.floor));
        }
    }

    fn act(&mut self, action: Action) {
        if self.actions.len() < ACTIONS_MAX {
            self.actions.push_back(action);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests;
