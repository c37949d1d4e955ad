//! The table of sources: what is known of each, and what was told about it.
//!
//! **Invariant:** who is neither a member nor configured is not in it, once that was said.

use std::collections::BTreeMap;

use super::Members;
use crate::face::Reading;
use crate::interval::Interval;
use crate::limits::{MISSES, POLL_MIN, SOURCES_MAX};
use crate::measure::{Root, Sample, SourceId};
use crate::moment::Mono;
use crate::select::{Candidate, Mark, Standing, Verdict};
use crate::source::{Estimate, Source};

/// One source, as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Who.
    pub id: SourceId,
    /// What it may say.
    pub standing: Standing,
    /// How it stands.
    pub mark: Mark,
    /// Which of the last eight questions were answered.
    pub reach: u8,
    /// The interval of questions, as the power of two of seconds.
    pub poll: u8,
    /// The root that it hangs on, if it ever answered.
    pub root: Option<Root>,
    /// What is known of its clock.
    pub estimate: Option<Estimate>,
    /// Its clock less ours, in ns.
    pub offset_ns: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    /// Whether it answered since the last round.
    fresh: bool,
    misses: u8,
    accused: bool,
    barred: bool,
    stripped: bool,
    naks: u32,
}

#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<SourceId, Entry>,
    seed: u64,
}

impl Table {
    pub(super) const fn new(seed: u64) -> Self {
        Self { entries: BTreeMap::new(), seed }
    }

    /// Keeps those on the list, and adds who is new: what is configured and roots before others.
    pub(super) fn keep(&mut self, members: &Members, now: Mono) {
        self.entries.retain(|id, _| members.sources.contains(id));
        let first = |id: &&SourceId| standing(members, id) != Standing::Member;
        let (first, others): (Vec<_>, Vec<_>) = members.sources.iter().partition(first);
        for id in first.into_iter().chain(others) {
            let full = self.entries.len() >= SOURCES_MAX;
            if !full && !self.entries.contains_key(id) {
                let wait = u64::from(share(&mut self.seed)) * 1_000_000;
                self.entries.insert(id.clone(), Entry::new(now.plus_ns(wait)));
            }
        }
    }

    /// Takes a sample; whether it is news.
    pub(super) fn take(&mut self, from: &SourceId, sample: Sample) -> bool {
        let Some(entry) = self.entries.get_mut(from) else { return false };
        if entry.source.take(sample) {
            entry.misses = 0;
        }
        entry.naks = 0;
        entry.fresh = true;
        true
    }

    pub(super) fn poll(&self, of: &SourceId) -> u8 {
        self.entries.get(of).map_or(POLL_MIN, |entry| entry.source.poll())
    }

    /// Notes how often a source wants to be asked at most.
    pub(super) fn slow(&mut self, from: &SourceId, poll_least: u8) {
        if let Some(entry) = self.entries.get_mut(from) {
            entry.source.slow(poll_least);
        }
    }

    /// Notes a refused cookie and counts those since the last answer; none of a stranger.
    pub(super) fn nak(&mut self, from: &SourceId) -> Option<u32> {
        let naks = &mut self.entries.get_mut(from)?.naks;
        *naks = naks.saturating_add(1);
        Some(*naks)
    }

    /// Notes a stripped answer; whether it is the first of this source.
    pub(super) fn strip(&mut self, from: &SourceId) -> bool {
        let Some(entry) = self.entries.get_mut(from) else { return false };
        !std::mem::replace(&mut entry.stripped, true)
    }

    /// Whom to ask now.
    pub(super) fn due(&mut self, now: Mono, poll_max: u8) -> Vec<SourceId> {
        let mut due = Vec::new();
        for (id, entry) in &mut self.entries {
            if entry.source.next() <= now {
                entry.source.ask(now, poll_max, share(&mut self.seed));
                due.push(id.clone());
            }
        }
        due
    }

    /// All are asked now.
    pub(super) fn hurry(&mut self, now: Mono) {
        self.entries.values_mut().for_each(|entry| entry.source.hurry(now));
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.entries.values().map(|entry| entry.source.next()).min()
    }

    pub(super) fn estimate(&self, id: &SourceId, now: Mono) -> Option<Estimate> {
        self.entries.get(id)?.source.estimate(now)
    }

    /// What all have to say, relative to our clock.
    pub(super) fn candidates(
        &self,
        clock: &Reading,
        members: &Members,
        now: Mono,
    ) -> Vec<Candidate> {
        let candidate = |(id, entry): (&SourceId, &Entry)| {
            let estimate = entry.source.estimate(now)?;
            Some(Candidate {
                id: id.clone(),
                standing: standing(members, id),
                stratum: estimate.told.stratum,
                offset_ns: estimate.utc.ns_from(clock.best),
                distance_ns: estimate.distance_ns,
                root: estimate.told.root,
            })
        };
        self.entries.iter().filter_map(candidate).collect()
    }

    /// Those who claim what they may not, and were not told of.
    pub(super) fn newly_barred(&mut self, verdict: &Verdict) -> Vec<SourceId> {
        let mut found = Vec::new();
        for (id, entry) in &mut self.entries {
            let barred = verdict.marks.get(id) == Some(&Mark::Barred);
            if barred && !entry.barred {
                found.push(id.clone());
            }
            entry.barred = barred;
        }
        found
    }

    /// Compares those who answered with what was accepted; whom to accuse.
    pub(super) fn judge<'c>(
        &mut self,
        place: Option<Interval>,
        candidates: &'c [Candidate],
    ) -> Vec<&'c Candidate> {
        let mut accused = Vec::new();
        for candidate in candidates {
            let Some(entry) = self.entries.get_mut(&candidate.id) else { continue };
            let fresh = std::mem::take(&mut entry.fresh);
            let Some(place) = place.filter(|_| fresh) else { continue };
            if place.meets(candidate.interval()) {
                entry.misses = entry.misses.saturating_sub(1);
                entry.accused &= entry.misses > 0;
                continue;
            }
            entry.misses = (entry.misses + 1).min(MISSES);
            if entry.misses == MISSES && !entry.accused {
                entry.accused = true;
                accused.push(candidate);
            }
        }
        accused
    }

    pub(super) fn rows(
        &self,
        clock: &Reading,
        verdict: Option<&Verdict>,
        members: &Members,
        now: Mono,
    ) -> Vec<Row> {
        let row = |(id, entry): (&SourceId, &Entry)| {
            let estimate = entry.source.estimate(now);
            let marked = verdict.and_then(|verdict| verdict.marks.get(id)).copied();
            let mark = estimate.as_ref().and(marked).unwrap_or(Mark::Silent);
            Row {
                id: id.clone(),
                standing: standing(members, id),
                mark,
                reach: entry.source.reach(),
                poll: entry.source.poll(),
                root: estimate.as_ref().map(|estimate| estimate.told.root.clone()),
                offset_ns: estimate.as_ref().map(|estimate| estimate.utc.ns_from(clock.best)),
                estimate,
            }
        };
        self.entries.iter().map(row).collect()
    }
}

impl Entry {
    fn new(first: Mono) -> Self {
        Self {
            source: Source::new(first),
            fresh: false,
            misses: 0,
            accused: false,
            barred: false,
            stripped: false,
            naks: 0,
        }
    }
}

fn standing(members: &Members, id: &SourceId) -> Standing {
    match id {
        SourceId::Peer(node) if members.roots.contains(node) => Standing::TimeRoot,
        SourceId::Peer(_) => Standing::Member,
        SourceId::Outside(_) | SourceId::System => Standing::Local,
    }
}

/// A number out of 256 (SplitMix64; Steele, Lea, Flood 2014). Not for secrets.
fn share(seed: &mut u64) -> u8 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 56) as u8
}
