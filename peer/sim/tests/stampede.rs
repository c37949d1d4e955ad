//! A thousand certificates of one moment are renewed: how many ask at once, whether the authority
//! is there all the time, comes back after a while, or is slower than they are.
//!
//! Only the calendars are real here; the authority is a queue with a bound, as `ca-tool serve` has
//! one, and slower than that is measured to be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the bench of a test")]

use std::collections::BTreeMap;

use peer_core::limits::RENEW_MS;
use peer_core::{Calendar, Urgency};
use shared::time::Timestamp;
use sim::Queue;

const NODES: usize = 1000;
/// Requests that wait at the authority; whoever comes then is told `quota`.
const WAITING_MAX: usize = 256;
/// A certificate costs it this; `docs/benchmarks.json` has it five times as fast.
const SERVICE_MS: u64 = 5;
/// One way, and back.
const ROUND_MS: u64 = 50;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

enum Happening {
    /// A node looks at its calendar.
    Due(usize),
    /// Its request comes to the authority.
    Asked(usize),
    /// It is certified.
    Certified(usize),
    /// It was refused or nobody was there.
    Failed(usize, &'static str),
}

/// What came of it.
#[derive(Debug, Default)]
struct Course {
    /// The most requests in one second.
    per_second: u64,
    /// The most requests at the authority at once.
    at_once: usize,
    /// Requests that it told to come later.
    busy: u64,
    /// Tries that found nobody.
    unanswered: u64,
    /// When the last one was certified, in hundredths of the life.
    last_percent: u64,
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(i64::try_from(ms).unwrap())
}

struct Crowd {
    queue: Queue<Happening>,
    calendars: Vec<Calendar>,
    /// The authority is away between these moments.
    away: (u64, u64),
    waiting: usize,
    free_at: u64,
    seconds: BTreeMap<u64, u64>,
    course: Course,
    renewed: usize,
}

impl Crowd {
    fn new(life_ms: u64, away: (u64, u64)) -> Self {
        let seed = |index: usize| index as u64 * 7919;
        let calendars = (0..NODES).map(|index| Calendar::new(at(0), at(life_ms), seed(index)));
        let mut queue = Queue::default();
        let calendars: Vec<Calendar> = calendars.collect();
        for (index, calendar) in calendars.iter().enumerate() {
            queue.put(u64::try_from(calendar.next().ms()).unwrap(), Happening::Due(index));
        }
        let (seconds, course) = (BTreeMap::new(), Course::default());
        Self { queue, calendars, away, waiting: 0, free_at: 0, seconds, course, renewed: 0 }
    }

    /// Until all are renewed.
    fn run(mut self, life_ms: u64) -> Course {
        while self.renewed < NODES {
            let happening = self.queue.take(life_ms);
            assert!(happening.is_some(), "{} are not renewed in time", NODES - self.renewed);
            happening.into_iter().for_each(|happening| self.happen(happening));
        }
        let last = self.queue.now_ms();
        self.course.last_percent = last * 100 / life_ms;
        self.course
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.queue.now_ms();
        let (gone, back) = self.away;
        match happening {
            Happening::Due(node) if (gone..back).contains(&now) => {
                // The request waits for a link; whoever still waits asks as soon as there is one.
                let patience = now + RENEW_MS;
                if patience < back {
                    self.queue.put(patience, Happening::Failed(node, "nobody answers"));
                } else {
                    self.queue.put(back, Happening::Asked(node));
                }
            }
            Happening::Due(node) => self.queue.put(now + ROUND_MS, Happening::Asked(node)),
            Happening::Asked(node) => self.ask(node, now),
            Happening::Certified(node) => {
                self.waiting -= 1;
                self.renewed += 1;
                assert_ne!(self.calendars[node].urgency(at(now)), Urgency::Ended);
            }
            Happening::Failed(node, why) => self.fail(node, why, now),
        }
    }

    fn ask(&mut self, node: usize, now: u64) {
        let second = self.seconds.entry(now / 1000).or_default();
        *second += 1;
        self.course.per_second = self.course.per_second.max(*second);
        if self.waiting == WAITING_MAX {
            self.course.busy += 1;
            return self.queue.put(now + ROUND_MS, Happening::Failed(node, "busy"));
        }
        self.waiting += 1;
        self.course.at_once = self.course.at_once.max(self.waiting);
        self.free_at = self.free_at.max(now) + SERVICE_MS;
        self.queue.put(self.free_at, Happening::Certified(node));
    }

    fn fail(&mut self, node: usize, why: &str, now: u64) {
        self.course.unanswered += u64::from(why != "busy");
        self.calendars[node].failed(why, true, at(now));
        let next = u64::try_from(self.calendars[node].next().ms()).unwrap();
        self.queue.put(next.max(now), Happening::Due(node));
    }
}

fn course(life_ms: u64, away: (u64, u64)) -> Course {
    Crowd::new(life_ms, away).run(life_ms)
}

/// Between these moments a thousand are due.
fn window(life_ms: u64) -> (u64, u64) {
    let last = life_ms / 3 * 2 - life_ms / 30;
    (last - life_ms / 10, last)
}

#[test]
fn a_thousand_of_one_moment_do_not_ask_at_once() {
    for (life_ms, most) in [(7 * DAY_MS, 2), (DAY_MS, 3), (HOUR_MS, 8)] {
        let course = course(life_ms, (0, 0));
        assert!(course.per_second <= most && course.at_once <= 2, "{course:?}");
        assert_eq!((course.busy, course.unanswered), (0, 0));
        assert!(course.last_percent <= 63, "{course:?}");
    }
}

#[test]
fn an_authority_that_was_away_is_not_overrun_when_it_is_back() {
    // Whoever waits for a link when it comes back asks at once: those of the last twenty seconds.
    for (life_ms, most) in [(7 * DAY_MS, 10), (DAY_MS, 40), (HOUR_MS, 300)] {
        let (first, last) = window(life_ms);
        let soon = course(life_ms, (first, first + (last - first) / 3));
        assert!(soon.per_second <= most && soon.unanswered > 500, "{soon:?}");
        assert!(soon.last_percent <= 63, "{soon:?}");
        // A third of all the time there is to the end: everybody has tried in vain.
        let later = course(life_ms, (first, first + (life_ms - first) / 3));
        assert!(later.per_second <= most && later.unanswered > 5_000, "{later:?}");
        assert!(later.last_percent <= 75, "{later:?}");
    }
}

#[test]
fn whoever_is_told_to_come_later_is_renewed_in_time_all_the_same() {
    let life_ms = 30_000;
    let (first, _) = window(life_ms);
    for away in [(0, 0), (first, first + (life_ms - first) / 3)] {
        let course = course(life_ms, away);
        assert!(course.busy > 100 && course.at_once == WAITING_MAX, "{course:?}");
        assert!(course.last_percent <= 90, "{course:?}");
    }
}
