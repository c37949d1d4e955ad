//! Whom to believe: a pure function from what all sources say to one verdict.
//!
//! One vote per *root*, because the followers of a liar would vote for it too; and only holders of
//! the role `time-root`, and what a person configured, speak for a root at all. An offset is
//! accepted if the intervals of more than half of the roots that are *configured* have one place in
//! common; it is the median of those, kept inside that place, so that a wide claim cannot pull it.
//! Without such a majority the midpoint of all clocks (Lundelius and Lynch 1984) keeps the mesh
//! together. Roots that contradict each other without a majority move nobody.
//!
//! A root that has a source of its own believes this before other roots: if roots followed each
//! other's majority, they would drift together and call their own sources liars. Only when a
//! majority of all roots contradicts its source it follows them.
//!
//! **Invariant:** while fewer than half of the configured roots lie, an accepted offset lies in an
//! honest root's interval; while fewer than a third of `n` clocks lie, a midpoint lies between
//! honest clocks. Neither depends on the order of the sources.

mod group;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use shared::name::NodeName;

use crate::interval::Interval;
use crate::limits::STRATUM_MESH;
use crate::measure::{Root, SourceId};
use group::midpoint;
use votes::{Ballot, Count};

/// What a source may say, by its certificate or by who configured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member with the role `time-root`.
    TimeRoot,
    /// A member without.
    Member,
    /// Configured by a person: an outside server, or the disciplined system clock.
    Local,
}

/// What a source says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub id: SourceId,
    /// What it may say.
    pub standing: Standing,
    /// The stratum it claims.
    pub stratum: u8,
    /// The root it claims.
    pub root: Root,
    /// Its clock less ours, in ns.
    pub offset_ns: i64,
    /// How far that may be from the root's true time, in ns; measured and claimed.
    pub distance_ns: u64,
}

impl Candidate {
    /// Where the true time is, if the source is honest.
    #[must_use]
    pub const fn interval(&self) -> Interval {
        Interval::around(self.offset_ns, self.distance_ns)
    }

    fn is_barred(&self) -> bool {
        self.standing == Standing::Member && self.stratum < STRATUM_MESH
    }
}

/// Who asks, and who has a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    /// Our name, to know what hangs on ourselves.
    pub me: NodeName,
    /// Whether our certificate has the role `time-root`.
    pub time_root: bool,
    /// The configured roots besides us: members with the role, and local sources; whether they
    /// answer or not.
    pub roots: BTreeSet<SourceId>,
    /// Whether our own clock counts among the others' in a midpoint: not before it was set.
    pub started: bool,
    /// The source we hang on; it stays so for as long as it agrees.
    pub lead: Option<SourceId>,
}

/// How a source stands after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// `*`: the one we hang on.
    Lead,
    /// `+`: agrees.
    Agrees,
    /// `x`: does not agree.
    False,
    /// `?`: has nothing to say yet, or any more.
    Silent,
    /// `!`: claims what its certificate does not allow.
    Barred,
}

impl Mark {
    /// As one character, for a table.
    #[must_use]
    pub const fn as_char(self) -> char {
        match self {
            Self::Lead => '*',
            Self::Agrees => '+',
            Self::False => 'x',
            Self::Silent => '?',
            Self::Barred => '!',
        }
    }
}

/// The midpoint of all clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Midpoint {
    /// By how much our clock is to move, in ns.
    pub offset_ns: i64,
    /// Where honest clocks are.
    pub place: Interval,
    /// Clocks, ours among them if it counts.
    pub nodes: usize,
    /// How many were left out at each end.
    pub left_out: usize,
    /// Those whose clocks were taken.
    pub taken: Vec<SourceId>,
}

/// An offset that a majority of the roots vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// By how much our clock is to move, in ns.
    pub offset_ns: i64,
    /// Where the true time is if the majority is honest.
    pub place: Interval,
    /// The source whose root we name as ours.
    pub lead: SourceId,
    /// Those that the offset is the median of.
    pub survivors: Vec<SourceId>,
    /// Whether it is only our own source's, and as many other roots contradict it.
    pub contested: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Follow the roots.
    Rooted(Accepted),
    /// Too few roots answer: follow the midpoint of all.
    Isolated(Midpoint),
    /// The roots contradict each other without a majority: hold over. The midpoint is that of those
    /// who are no party, to stay together.
    NoMajority(Option<Midpoint>),
    /// Nobody is there.
    Alone,
}

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub outcome: Outcome,
    /// How each source stands.
    pub marks: BTreeMap<SourceId, Mark>,
    /// Roots that voted, and how many are configured.
    pub votes: (usize, usize),
}

impl Verdict {
    /// Where the truth is by this verdict, if it says so.
    #[must_use]
    pub const fn place(&self) -> Option<Interval> {
        match &self.outcome {
            Outcome::Rooted(accepted) => Some(accepted.place),
            Outcome::Isolated(midpoint) => Some(midpoint.place),
            Outcome::NoMajority(_) | Outcome::Alone => None,
        }
    }
}

/// Judges what all sources say. Of two candidates with one name the first in order counts.
#[must_use]
pub fn select(electorate: &Electorate, candidates: &[Candidate]) -> Verdict {
    let mut heard: Vec<&Candidate> = candidates.iter().collect();
    heard.sort_by(|a, b| order(a).cmp(&order(b)));
    heard.dedup_by(|a, b| a.id == b.id);
    let (barred, heard): (Vec<_>, Vec<_>) = heard.into_iter().partition(|c| c.is_barred());
    let ballot = Ballot::of(electorate, &heard);
    let outcome = match ballot.count() {
        Count::Majority(mut accepted) => {
            let kept = electorate.lead.as_ref().filter(|lead| accepted.survivors.contains(lead));
            accepted.lead = kept.cloned().unwrap_or(accepted.lead);
            Outcome::Rooted(accepted)
        }
        Count::Contradiction => {
            let parties = ballot.speakers();
            let others: Vec<_> = heard.iter().filter(|c| !parties.contains(&&c.id)).collect();
            Outcome::NoMajority(midpoint(others.into_iter().copied(), electorate.started))
        }
        Count::TooFew => match midpoint(heard.iter().copied(), electorate.started) {
            Some(midpoint) => Outcome::Isolated(midpoint),
            None => Outcome::Alone,
        },
    };
    let votes = (ballot.votes().len(), ballot.configured());
    let mut marks = marks(&outcome, &heard, &ballot);
    marks.extend(barred.iter().map(|candidate| (candidate.id.clone(), Mark::Barred)));
    Verdict { outcome, marks, votes }
}

type Order<'c> = (&'c SourceId, i64, u64, u8, &'c Root);

fn order(candidate: &Candidate) -> Order<'_> {
    let Candidate { id, stratum, root, offset_ns, distance_ns, .. } = candidate;
    (id, *offset_ns, *distance_ns, *stratum, root)
}

fn marks(outcome: &Outcome, heard: &[&Candidate], ballot: &Ballot) -> BTreeMap<SourceId, Mark> {
    let mark = |candidate: &&Candidate| {
        let agrees = |good| if good { Mark::Agrees } else { Mark::False };
        match outcome {
            Outcome::Rooted(accepted) if accepted.lead == candidate.id => Mark::Lead,
            Outcome::Rooted(accepted) => agrees(accepted.place.meets(candidate.interval())),
            Outcome::Isolated(midpoint) => agrees(midpoint.place.meets(candidate.interval())),
            Outcome::NoMajority(_) => agrees(!ballot.speakers().contains(&&candidate.id)),
            Outcome::Alone => Mark::Silent,
        }
    };
    heard.iter().map(|candidate| (candidate.id.clone(), mark(candidate))).collect()
}

#[cfg(test)]
mod tests;
