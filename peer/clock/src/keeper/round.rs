//! One round: everybody is heard, judged, and the course is set by the verdict.

use super::Keeper;
use crate::event::Event;
use crate::interval::Interval;
use crate::measure::SourceId;
use crate::moment::Mono;
use crate::select::{Candidate, Electorate, Verdict, select};

impl Keeper {
    /// Judges what is known now and moves the clock accordingly.
    pub(super) fn round(&mut self, now: Mono) {
        let clock = self.clock.reading(now);
        let candidates = self.table.candidates(&clock, &self.members, now);
        let verdict = select(&self.electorate(), &candidates);
        self.accuse(&verdict, &candidates, now);
        self.steer(&verdict, now);
        self.verdict = Some(verdict);
    }

    fn electorate(&self) -> Electorate {
        let configured = self.members.sources.iter().filter(|id| !matches!(id, SourceId::Peer(_)));
        let roots = self.members.roots.iter().filter(|node| **node != self.me);
        let roots = roots.cloned().map(SourceId::Peer).chain(configured.cloned()).collect();
        Electorate {
            me: self.me.clone(),
            time_root: self.members.time_root,
            roots,
            started: !self.course.is_waiting(),
            lead: self.course.lead_id().cloned(),
        }
    }

    fn accuse(&mut self, verdict: &Verdict, candidates: &[Candidate], now: Mono) {
        for id in self.table.newly_barred(verdict) {
            let claimed = candidates.iter().find(|candidate| candidate.id == id);
            let stratum = claimed.map_or(0, |candidate| candidate.stratum);
            self.tell(Event::BadRole { source_id: id, stratum });
        }
        let place = self.accepted_place(verdict, now);
        let liars: Vec<Event> = self.table.judge(place, candidates).into_iter().map(liar).collect();
        liars.into_iter().for_each(|event| self.tell(event));
    }

    /// Where the truth is, if it is settled enough to accuse anybody by.
    fn accepted_place(&self, verdict: &Verdict, now: Mono) -> Option<Interval> {
        verdict.place().filter(|_| self.course.is_calm(now))
    }
}

fn liar(candidate: &Candidate) -> Event {
    let Candidate { id, offset_ns, distance_ns, .. } = candidate;
    Event::Liar { source_id: id.clone(), offset_ns: *offset_ns, bound_ns: *distance_ns }
}
