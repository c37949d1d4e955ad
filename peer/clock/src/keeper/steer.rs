//! The course: what a verdict makes of the clock, with patience in both directions.
//!
//! Roots are followed when the same is said several rounds running; when their majority is gone the
//! clock holds over for some minutes before it goes with the mesh. Steps are for the start: the
//! first time that roots are followed, and the first rounds of a mesh without roots. A later
//! correction beyond a step's worth must be asked for several rounds running, is told, and is
//! slewed.

use super::Keeper;
use crate::discipline::Correction;
use crate::event::Event;
use crate::face::{State, UNKNOWN_NS};
use crate::interval::{liars_borne, trimmed};
use crate::limits::{
    CALM_NS, DAZED_NS, DWELL_NS, GATHER_NS, HOME_NS_MAX, MESH_RATE_BACK, MESH_RATE_MAX,
    MESH_RATE_SHARE, MESH_SLEW_NS, POLL_MAX, POLL_MESH_MAX, POLL_MIN, ROUNDS_SAME, SLEW_MAX,
    SLEW_NS, START_NS, START_STEP_NS, STEADY_NS, STEP_NS,
};
use crate::measure::{Leap, Root, SourceId};
use crate::moment::{Mono, Utc};
use crate::select::{Accepted, Midpoint, Outcome, Verdict};

/// What a verdict says to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rooted,
    Isolated,
    NoMajority,
    Alone,
}

/// Whom we hang on, as we tell others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) id: SourceId,
    pub(super) leap: Leap,
    pub(super) stratum: u8,
    pub(super) root: Root,
    pub(super) root_delay_ns: u64,
}

/// Where the clock is going, and since when.
#[derive(Debug)]
pub(super) struct Course {
    begun: Mono,
    state: State,
    /// What was said last, and how many rounds running.
    said: Option<(Kind, u8)>,
    /// Rounds running in which more than a step's worth was asked for.
    large: u8,
    /// Rounds running in which the mesh asked for less than is stepped.
    small: u8,
    told_large: bool,
    told_back: bool,
    told: Option<Kind>,
    last_round: Option<Mono>,
    last_rooted: Option<Mono>,
    meshed: Option<Mono>,
    set_at: Option<Mono>,
    stepped_at: Option<Mono>,
    /// When it was seen that the count may have stood still.
    stood_still: Option<Mono>,
    /// When we were last asked to move by as much as a step at the start.
    restless_at: Option<Mono>,
    /// When we were last asked to move by more than is slewed in time.
    wild_at: Option<Mono>,
    lead: Option<Lead>,
    spread_ns: u64,
    /// Our rate when we went with the mesh.
    mesh_began_with: f64,
}

impl Course {
    pub(super) const fn new(now: Mono) -> Self {
        Self {
            begun: now,
            state: State::Unset,
            said: None,
            large: 0,
            small: 0,
            told_large: false,
            told_back: false,
            told: None,
            last_round: None,
            last_rooted: None,
            meshed: None,
            set_at: None,
            stepped_at: None,
            stood_still: None,
            restless_at: None,
            wild_at: None,
            lead: None,
            spread_ns: 0,
            mesh_began_with: 0.0,
        }
    }

    pub(super) const fn last_round(&self) -> Option<Mono> {
        self.last_round
    }

    /// Whether the clock rests on nothing yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Unset
    }

    /// Whether nothing has moved us much lately: while all are moved, those who are asked less
    /// often are behind, and no liars.
    pub(super) fn is_calm(&self, now: Mono) -> bool {
        self.is_quiet(self.restless_at, CALM_NS, now)
    }

    /// Whether the others' rates are rates, and not how they are moved at the start.
    fn is_steady(&self, now: Mono) -> bool {
        self.is_quiet(self.wild_at, STEADY_NS, now)
    }

    fn is_quiet(&self, moved: Option<Mono>, for_ns: u64, now: Mono) -> bool {
        let long_ago = |at: Option<Mono>| at.is_none_or(|at| now.ns_since(at) >= for_ns);
        let begun = self.set_at.is_some() && long_ago(moved);
        begun && (self.state == State::Rooted || long_ago(self.meshed))
    }

    /// The longest interval of questions: where all move each other, by what is known of them.
    pub(super) fn poll_max(&self, now: Mono) -> u8 {
        match self.state {
            State::Rooted => POLL_MAX,
            _ if self.is_steady(now) => POLL_MESH_MAX,
            _ => POLL_MIN,
        }
    }

    /// When the clock was last corrected.
    pub(super) const fn set_at(&self) -> Option<Mono> {
        self.set_at
    }

    /// Whom we hang on, while that is not too long ago.
    pub(super) fn lead(&self, now: Mono) -> Option<&Lead> {
        self.is_fresh(now).then_some(self.lead.as_ref()).flatten()
    }

    /// Whom we hung on last.
    pub(super) fn lead_id(&self) -> Option<&SourceId> {
        self.lead.as_ref().map(|lead| &lead.id)
    }

    /// How far the mesh's clocks are apart, in ns.
    pub(super) const fn spread_ns(&self) -> u64 {
        self.spread_ns
    }

    /// The count may have stood still: when the roots' next answers are there, it is as at the
    /// start.
    pub(super) const fn may_have_stood_still(&mut self, now: Mono) {
        self.stood_still = Some(now);
    }

    fn enter_mesh(&mut self, rate: f64, now: Mono) {
        (self.meshed, self.mesh_began_with) = (Some(now), rate);
    }

    /// Whether the others' clocks are not known anew since we stepped, and they perhaps too.
    fn is_dazed(&self, now: Mono) -> bool {
        self.stepped_at.is_some_and(|at| now.ns_since(at) < DAZED_NS)
    }

    fn is_fresh(&self, now: Mono) -> bool {
        self.last_rooted.is_some_and(|last| now.ns_since(last) < DWELL_NS)
    }

    /// Notes what is said; how many rounds running.
    fn note(&mut self, kind: Kind, now: Mono) -> u8 {
        self.last_round = Some(now);
        let rounds = match self.said {
            Some((last, rounds)) if last == kind => rounds.saturating_add(1),
            _ => 1,
        };
        self.said = Some((kind, rounds));
        rounds
    }
}

impl Keeper {
    /// Moves the clock as a verdict says.
    pub(super) fn steer(&mut self, verdict: &Verdict, now: Mono) {
        let (votes, roots) = verdict.votes;
        match &verdict.outcome {
            Outcome::Rooted(accepted) => {
                let rounds = self.course.note(Kind::Rooted, now);
                let rooted = self.course.state == State::Rooted;
                if rooted || rounds >= ROUNDS_SAME {
                    self.follow(accepted, now);
                }
                if !accepted.contested {
                    self.course.told = None;
                } else if rounds >= ROUNDS_SAME {
                    self.tell_once(Kind::NoMajority, Event::NoMajority { votes, roots });
                }
            }
            Outcome::Isolated(midpoint) => {
                let rounds = self.course.note(Kind::Isolated, now);
                let nodes = midpoint.nodes;
                if !self.is_near_home(midpoint, now) {
                    self.go_with(None, now);
                    if rounds >= ROUNDS_SAME {
                        self.tell_once(Kind::NoMajority, Event::NoMajority { votes, roots });
                    }
                } else if self.go_with(Some(midpoint), now) && rounds >= ROUNDS_SAME {
                    self.tell_once(Kind::Isolated, Event::Isolated { votes, roots, nodes });
                }
            }
            Outcome::NoMajority(group) => {
                let rounds = self.course.note(Kind::NoMajority, now);
                if rounds >= ROUNDS_SAME {
                    self.tell_once(Kind::NoMajority, Event::NoMajority { votes, roots });
                }
                if !self.course.is_waiting() {
                    self.go_with(group.as_ref(), now);
                }
            }
            Outcome::Alone => {
                self.course.note(Kind::Alone, now);
                if self.go_with(None, now) {
                    self.tell_once(Kind::Isolated, Event::Isolated { votes, roots, nodes: 1 });
                }
            }
        }
    }

    /// Follows the roots.
    fn follow(&mut self, accepted: &Accepted, now: Mono) {
        let Accepted { offset_ns, place, .. } = *accepted;
        let clock = self.clock.reading(now);
        let target = clock.best.plus_ns(offset_ns);
        if !self.is_above_floor(target) {
            // What it rests on is not what the roots say, so it holds over, as when they are gone.
            if self.course.state == State::Rooted {
                self.clock.hold(now);
                self.course.state = State::Holding;
            }
            return;
        }
        let wakes = self.course.stood_still.is_some() && offset_ns > 0;
        let first = self.course.last_rooted.is_none() || wakes;
        if !first && !self.is_sure(offset_ns) {
            self.clock.hold(now);
            return;
        }
        let rate = self.rate_of(&accepted.survivors, now);
        let bound_ns = place.reach(offset_ns).min(UNKNOWN_NS - 1);
        let state = State::Rooted;
        let correction = Correction { offset_ns, rate, over_ns: SLEW_NS, bound_ns, state };
        self.correct(correction, first, now);
        self.course.state = State::Rooted;
        self.course.last_rooted = Some(now);
        let new = |seen: &Mono| now.ns_since(*seen) < START_NS;
        self.course.stood_still = self.course.stood_still.filter(new);
        self.course.lead = self.lead_of(&accepted.lead, now);
    }

    /// Goes with the mesh, or alone; whether the clock is the mesh's now.
    fn go_with(&mut self, midpoint: Option<&Midpoint>, now: Mono) -> bool {
        if self.course.is_waiting() && !self.may_begin(now) {
            return false;
        }
        let midpoint = midpoint.filter(|all| self.are_enough(all, now));
        let midpoint = midpoint.filter(|all| self.is_near_home(all, now));
        if self.course.is_fresh(now) {
            if self.course.state != State::Holding {
                self.clock.hold(now);
                self.course.state = State::Holding;
            }
            return false;
        }
        if self.course.is_dazed(now) {
            return true;
        }
        let offset_ns = midpoint.map_or(0, |midpoint| midpoint.offset_ns);
        let clock = self.clock.reading(now);
        if !self.is_above_floor(clock.best.plus_ns(offset_ns)) {
            return false;
        }
        if self.course.state != State::Mesh {
            self.course.enter_mesh(self.clock.line().rate, now);
        }
        let rate = midpoint.map_or(self.clock.line().rate, |all| self.mesh_rate(&all.taken, now));
        let bound_ns = clock.bound_ns.saturating_add(self.strayed_ns(now));
        let (over_ns, state) = (MESH_SLEW_NS, State::Mesh);
        let correction = Correction { offset_ns, rate, over_ns, bound_ns, state };
        let settling = self.course.last_rooted.is_none() && self.course.small < ROUNDS_SAME;
        let small = offset_ns.unsigned_abs() < START_STEP_NS && midpoint.is_some();
        self.course.small = if small { self.course.small.saturating_add(1) } else { 0 };
        self.correct(correction, settling, now);
        self.course.state = State::Mesh;
        self.course.spread_ns = midpoint.map_or(0, |all| all.place.lo.abs_diff(all.place.hi));
        true
    }

    /// Whether a clock that rests on nothing may begin without roots: not before they had time to
    /// answer, and not with a dead clock while there are roots to wait for.
    fn may_begin(&self, now: Mono) -> bool {
        let roots = self.members.roots.iter().any(|root| *root != self.me);
        let waited = now >= self.course.begun.plus_ns(START_NS);
        waited && !(self.cold && roots)
    }

    /// Whether a midpoint may be gone with while we start. Where all start at once only liars have
    /// a time to give, so we begin with our own unless most are there, and wait for all a while.
    fn are_enough(&self, midpoint: &Midpoint, now: Mono) -> bool {
        let is_peer = |id: &&SourceId| matches!(id, SourceId::Peer(_));
        let known = self.members.sources.iter().filter(is_peer).count();
        match self.course.meshed {
            None if self.course.is_waiting() => midpoint.nodes * 2 > known,
            Some(since) if now.ns_since(since) < GATHER_NS => midpoint.nodes > known,
            _ => true,
        }
    }

    /// Whether a midpoint may be gone with from where we are. Of less than four clocks none may
    /// lie, and a clock that no root ever set is the system's, which somebody may keep: so few do
    /// not draw it away, unless it is known to be wrong.
    fn is_near_home(&self, midpoint: &Midpoint, now: Mono) -> bool {
        let target = self.clock.reading(now).best.plus_ns(midpoint.offset_ns);
        let away_ns = target.ns_from(self.system_at(now)).unsigned_abs();
        let bears = liars_borne(midpoint.nodes) > 0;
        let homeless = self.cold || self.course.last_rooted.is_some();
        bears || homeless || away_ns <= HOME_NS_MAX
    }

    /// What the mesh's rate may have made wrong since the clock was corrected last, in ns.
    fn strayed_ns(&self, now: Mono) -> u64 {
        let line = self.clock.line();
        let strayed = (line.rate - self.course.mesh_began_with).abs();
        let meshed = line.state == State::Mesh && line.bound_ns != UNKNOWN_NS;
        if meshed { (strayed * now.ns_since(line.at) as f64).ceil() as u64 } else { 0 }
    }

    /// A time below the floor is not adopted, whoever says it.
    fn is_above_floor(&mut self, target: Utc) -> bool {
        let floor = self.floor.at();
        let good = target >= floor;
        if !good && !self.course.told_back {
            self.tell(Event::Rollback { at: target, floor });
        }
        self.course.told_back = !good;
        good
    }

    /// Whether so large a correction was asked for long enough.
    fn is_sure(&mut self, offset_ns: i64) -> bool {
        if offset_ns.unsigned_abs() <= STEP_NS {
            (self.course.large, self.course.told_large) = (0, false);
            return true;
        }
        self.course.large = self.course.large.saturating_add(1);
        let sure = self.course.large >= ROUNDS_SAME;
        if sure && !std::mem::replace(&mut self.course.told_large, true) {
            self.tell(Event::Step { by_ns: offset_ns, at_once: false });
        }
        sure
    }

    fn correct(&mut self, correction: Correction, may_step: bool, now: Mono) {
        let offset_ns = correction.offset_ns;
        if offset_ns.unsigned_abs() >= START_STEP_NS {
            self.course.restless_at = Some(now);
        }
        if offset_ns.unsigned_abs() as f64 >= MESH_SLEW_NS as f64 * SLEW_MAX {
            self.course.wild_at = Some(now);
        }
        let large = may_step && offset_ns.unsigned_abs() >= START_STEP_NS;
        if large && self.clock.step(now, correction) {
            self.course.stepped_at = Some(now);
            self.tell(Event::Step { by_ns: offset_ns, at_once: true });
        } else {
            self.clock.slew(now, correction);
        }
        self.course.set_at = Some(now);
    }

    /// The rate of those who agree: the middle one, and of two the one nearer to ours.
    fn rate_of(&self, survivors: &[SourceId], now: Mono) -> f64 {
        let ours = self.clock.line().rate;
        let known = survivors.iter().filter_map(|id| self.table.estimate(id, now));
        let mut rates: Vec<f64> = known.map(|estimate| estimate.rate).collect();
        rates.sort_by(f64::total_cmp);
        let (lower, upper) = (rates.len().saturating_sub(1) / 2, rates.len() / 2);
        let middle = [lower, upper].into_iter().filter_map(|at| rates.get(at).copied());
        middle.min_by(|a, b| (a - ours).abs().total_cmp(&(b - ours).abs())).unwrap_or(ours)
    }

    /// Our rate, moved towards the midpoint of all clocks' rates, and a little back to where it
    /// was: what moves all clocks in common looks like a rate, and would move them for ever.
    fn mesh_rate(&self, taken: &[SourceId], now: Mono) -> f64 {
        let (ours, began) = (self.clock.line().rate, self.course.mesh_began_with);
        if !self.course.is_steady(now) {
            return ours;
        }
        let known = taken.iter().filter_map(|id| self.table.estimate(id, now));
        // In parts of 10^15, whole numbers are as exact as the rates are.
        let parts = |rate: f64| (rate * 1e15).round() as i64;
        let rates = known.map(|estimate| parts(estimate.rate)).chain([parts(ours)]);
        let rates: Vec<i64> = rates.collect();
        let liars = liars_borne(rates.len());
        let middle = trimmed(rates, liars).map_or(ours, |place| place.middle() as f64 / 1e15);
        let back = (ours - began) * MESH_RATE_BACK;
        let rate = ours + (middle - ours) * MESH_RATE_SHARE - back;
        rate.clamp(began - MESH_RATE_MAX, began + MESH_RATE_MAX)
    }

    fn lead_of(&self, lead: &SourceId, now: Mono) -> Option<Lead> {
        let estimate = self.table.estimate(lead, now)?;
        let root = match lead {
            SourceId::Peer(_) => estimate.told.root,
            SourceId::Outside(_) | SourceId::System => Root::Of(SourceId::Peer(self.me.clone())),
        };
        let stratum = estimate.told.stratum.saturating_add(1);
        let root_delay_ns = estimate.told.root_delay_ns.saturating_add(estimate.delay_ns);
        let leap = estimate.told.leap;
        Some(Lead { id: lead.clone(), leap, stratum, root, root_delay_ns })
    }

    fn tell_once(&mut self, kind: Kind, event: Event) {
        if self.course.told != Some(kind) {
            self.course.told = Some(kind);
            self.tell(event);
        }
    }
}
