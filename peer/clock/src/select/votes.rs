//! The votes of the roots, and how they are counted.
//!
//! A root speaks for itself; if it cannot be heard, another holder of the role that hangs on it
//! speaks for it. If several do and have nothing in common, it has no vote. What hangs on ourselves
//! is no vote, nor is what claims a root that nobody configured.
//!
//! **Invariant:** a root has one vote, however many speak for it.

use std::collections::BTreeMap;

use super::{Accepted, Candidate, Electorate, Standing};
use crate::interval::{Interval, deepest, hull, median};
use crate::limits::STRATUM_MESH;
use crate::measure::{Root, SourceId};

/// One root's vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    /// Where it says that the true time is.
    pub(crate) place: Interval,
    /// Its best guess.
    pub(crate) offset_ns: i64,
    /// Whether a person here configured it.
    local: bool,
    /// Who spoke for it.
    speakers: Vec<SourceId>,
}

/// What the votes come to.
pub(super) enum Count {
    Majority(Accepted),
    Contradiction,
    TooFew,
}

/// The votes of one round.
pub(super) struct Ballot {
    votes: Vec<Vote>,
    configured: usize,
    configured_local: usize,
    own_first: bool,
}

impl Ballot {
    pub(super) fn of(electorate: &Electorate, heard: &[&Candidate]) -> Self {
        let mut by_root: BTreeMap<SourceId, Vec<&Candidate>> = BTreeMap::new();
        for candidate in heard {
            if let Some(root) = root_of(electorate, candidate) {
                by_root.entry(root).or_default().push(candidate);
            }
        }
        let votes = by_root.iter().filter_map(|(root, speakers)| vote(root, speakers)).collect();
        let is_local = |root: &&SourceId| !matches!(root, SourceId::Peer(_));
        let configured_local = electorate.roots.iter().filter(is_local).count();
        let configured = electorate.roots.len();
        Self { votes, configured, configured_local, own_first: electorate.time_root }
    }

    pub(super) fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// Roots that could vote; a root's own sources are together one.
    pub(super) const fn configured(&self) -> usize {
        if self.own_first && self.configured_local > 0 {
            self.configured - self.configured_local + 1
        } else {
            self.configured
        }
    }

    pub(super) fn speakers(&self) -> Vec<&SourceId> {
        self.votes.iter().flat_map(|vote| &vote.speakers).collect()
    }

    pub(super) fn count(&self) -> Count {
        let (local, others): (Vec<&Vote>, Vec<&Vote>) =
            self.votes.iter().partition(|vote| vote.local);
        if !self.own_first || local.is_empty() {
            return count(&self.votes.iter().collect::<Vec<_>>(), self.configured());
        }
        match count(&local, self.configured_local) {
            Count::Majority(own) => self.own_against(own, &others),
            Count::Contradiction => Count::Contradiction,
            Count::TooFew => count(&others, self.configured()),
        }
    }

    /// A root with a source of its own: that is enough, unless a majority contradicts it. One that
    /// is contradicted by as many says so and goes on: if it stopped, a single liar would stop all
    /// roots that start one after the other.
    fn own_against(&self, own: Accepted, others: &[&Vote]) -> Count {
        let (with, against): (Vec<&Vote>, Vec<&Vote>) =
            others.iter().partition(|vote| vote.place.meets(own.place));
        let depth = |votes: &[&Vote]| {
            let clipped = votes.iter().map(|vote| vote.place).collect::<Vec<_>>();
            deepest(&clipped).first().map_or(0, |overlap| overlap.depth)
        };
        let (with, opposed) = (depth(&with) + 1, depth(&against));
        if with > opposed {
            return Count::Majority(own);
        }
        match count(&against, self.configured()) {
            Count::Majority(theirs) => Count::Majority(theirs),
            _ => Count::Majority(Accepted { contested: true, ..own }),
        }
    }
}

/// The root that a candidate may speak for.
fn root_of(electorate: &Electorate, candidate: &Candidate) -> Option<SourceId> {
    let root = match candidate.standing {
        Standing::Member => return None,
        Standing::Local => candidate.id.clone(),
        Standing::TimeRoot if candidate.stratum >= STRATUM_MESH => return None,
        Standing::TimeRoot => match &candidate.root {
            Root::Of(root) => root.clone(),
            Root::Mesh => return None,
        },
    };
    let is_peer = matches!(root, SourceId::Peer(_));
    let fits = is_peer == (candidate.standing == Standing::TimeRoot);
    let ours = root == SourceId::Peer(electorate.me.clone());
    (fits && !ours && electorate.roots.contains(&root)).then_some(root)
}

fn vote(root: &SourceId, speakers: &[&Candidate]) -> Option<Vote> {
    let local = !matches!(root, SourceId::Peer(_));
    if let Some(itself) = speakers.iter().find(|candidate| candidate.id == *root) {
        let (place, speakers) = (itself.interval(), vec![itself.id.clone()]);
        return Some(Vote { place, offset_ns: itself.offset_ns, local, speakers });
    }
    let mut places = speakers.iter().map(|candidate| candidate.interval());
    let first = places.next()?;
    let place = places.try_fold(first, Interval::common)?;
    let offset_ns = median(speakers.iter().map(|candidate| candidate.offset_ns).collect())?;
    let speakers = speakers.iter().map(|candidate| candidate.id.clone()).collect();
    Some(Vote { place, offset_ns: place.nearest(offset_ns), local, speakers })
}

/// Counts votes against so many that could be given.
fn count(votes: &[&Vote], configured: usize) -> Count {
    let places: Vec<Interval> = votes.iter().map(|vote| vote.place).collect();
    let deepest = deepest(&places);
    let Some(first) = deepest.first() else { return Count::TooFew };
    if first.depth <= configured / 2 {
        return if first.depth < votes.len() { Count::Contradiction } else { Count::TooFew };
    }
    if deepest.len() > 1 {
        return Count::Contradiction;
    }
    let survivors: Vec<&Vote> =
        votes.iter().copied().filter(|vote| vote.place.holds(first.place)).collect();
    accept(&survivors, first.place, configured).map_or(Count::TooFew, Count::Majority)
}

fn accept(survivors: &[&Vote], place: Interval, configured: usize) -> Option<Accepted> {
    let offset_ns = median(survivors.iter().map(|vote| vote.offset_ns).collect())?;
    let offset_ns = place.nearest(offset_ns);
    let places: Vec<Interval> = survivors.iter().map(|vote| vote.place).collect();
    let liars = configured.saturating_sub(1) / 2;
    let honest = survivors.len().saturating_sub(liars).max(1);
    let place = hull(&places, honest)?;
    let lead = survivors.iter().min_by_key(|vote| vote.offset_ns.abs_diff(offset_ns))?;
    let lead = lead.speakers.first()?.clone();
    let survivors = survivors.iter().flat_map(|vote| vote.speakers.clone()).collect();
    Some(Accepted { offset_ns, place, lead, survivors, contested: false })
}
