//! Two ends of a stream, a disk each, and everything that can go wrong between them, by a seed.

use std::collections::VecDeque;

use shared::time::Tick;

use super::*;

/// A batch on its way: what the receiver sees of it.
#[derive(Debug, Clone)]
struct Frame {
    round: u32,
    prev: Number,
    numbers: Vec<Number>,
}

/// The two ends. What the disks hold survives restarts; the rest does not.
struct Bench {
    random: Jitter,
    now: u64,
    boot: u64,
    sequence: u64,
    next_link: u64,
    outbox: Vec<Number>,
    queued: Vec<Number>,
    post: Post,
    link: Option<LinkId>,
    there: VecDeque<Frame>,
    back: VecDeque<Taken>,
    last: Number,
    accepted: Vec<Number>,
    room: usize,
}

fn stream() -> StreamId {
    StreamId { to: NodeName::parse("alice").unwrap(), priority: Priority::Normal }
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            random: Jitter::new(seed),
            now: 0,
            boot: 1,
            sequence: 0,
            next_link: 1,
            outbox: Vec::new(),
            queued: Vec::new(),
            post: Post::new(1),
            link: None,
            there: VecDeque::new(),
            back: VecDeque::new(),
            last: Number::ZERO,
            accepted: Vec::new(),
            room: usize::MAX,
        }
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.random.around(1 << 40) % bound
    }

    fn tick(&self) -> Tick {
        Tick::from_ms(self.now)
    }

    fn queue(&mut self) {
        self.sequence += 1;
        let number = Number { boot: self.boot, sequence: self.sequence };
        self.outbox.push(number);
        self.queued.push(number);
        self.post.queued(&stream(), number, self.link);
    }

    /// A new link; what was under way on the old one is lost, or still arrives.
    fn connect(&mut self, keep: bool) {
        if !keep {
            self.there.clear();
            self.back.clear();
        }
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.link = Some(link);
        self.post.linked(&stream().to, link);
    }

    fn disconnect(&mut self) {
        if let Some(link) = self.link.take() {
            self.post.unlinked(&stream().to, link);
            self.there.clear();
            self.back.clear();
        }
    }

    fn restart_sender(&mut self) {
        self.disconnect();
        (self.boot, self.sequence) = (self.boot + 1, 0);
        self.post = Post::new(self.boot);
        if let Some(newest) = self.outbox.last() {
            self.post.queued(&stream(), *newest, None);
        }
    }

    /// The sender reads its outbox and sends.
    fn pump(&mut self) {
        while let Some(want) = self.post.want(&stream().to) {
            let fits = 1 + usize::try_from(self.roll(5)).unwrap();
            let wanted = |number: &&Number| **number > want.after && **number <= want.through;
            let all: Vec<Number> = self.outbox.iter().filter(wanted).copied().collect();
            let numbers: Vec<Number> = all.iter().take(fits).copied().collect();
            let page = numbers.last().map(|last| (*last, numbers.len() * 1000));
            let whole = numbers.len() == all.len();
            let place = self.post.read(&want, page, whole, self.tick());
            if let Some((_, prev)) = place.filter(|_| !numbers.is_empty()) {
                self.there.push_back(Frame { round: want.round, prev, numbers });
            }
        }
    }

    /// The receiver takes a batch as the inbox does.
    fn receive(&mut self, frame: &Frame) {
        let (mut prev, mut verdict) = (frame.prev, Verdict::Taken);
        for number in &frame.numbers {
            let before = std::mem::replace(&mut prev, *number);
            if *number <= self.last {
                continue;
            }
            if before > self.last {
                verdict = Verdict::Gap;
                break;
            }
            if self.accepted.len() >= self.room {
                verdict = Verdict::Refused(Code::Quota);
                break;
            }
            self.last = *number;
            self.accepted.push(*number);
        }
        let (priority, round, through) = (Priority::Normal, frame.round, self.last);
        self.back.push_back(Taken { priority, round, through, verdict });
    }

    fn hear(&mut self, taken: &Taken) {
        let now = self.tick();
        for effect in self.post.taken(&stream().to, taken, now, &mut self.random) {
            match effect {
                Effect::Settle(_, through) => self.outbox.retain(|number| *number > through),
                Effect::Drop(..) => panic!("nothing is forbidden here"),
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        let now = self.tick();
        self.post.overdue(now, &mut self.random);
    }

    /// One thing goes wrong, or right.
    fn chaos(&mut self) {
        match self.roll(16) {
            0..4 => self.queue(),
            4..7 => self.pump(),
            7 | 8 => self.there.pop_front().iter().for_each(|frame| self.receive(frame)),
            9 | 10 => self.back.pop_front().iter().for_each(|taken| self.hear(taken)),
            11 => {
                let keep = self.roll(2) == 0;
                self.connect(keep);
            }
            12 => match self.roll(8) {
                0 => self.restart_sender(),
                1 => self.disconnect(),
                _ => self.room = self.accepted.len() + usize::try_from(self.roll(20)).unwrap(),
            },
            // A frame comes twice, out of order, or not at all.
            13 if !self.there.is_empty() => match self.roll(3) {
                0 => self.there.extend(self.there.front().cloned()),
                1 => self.there.rotate_left(1),
                _ => drop(self.there.pop_front()),
            },
            14 if !self.back.is_empty() => self.back.rotate_left(1),
            _ => {
                let ms = self.roll(3_000);
                self.pass(ms);
            }
        }
    }

    /// Everything works again; must come to an end.
    fn calm(&mut self) {
        self.room = usize::MAX;
        self.connect(false);
        for _ in 0..10_000 {
            self.pump();
            while let Some(frame) = self.there.pop_front() {
                self.receive(&frame);
            }
            while let Some(taken) = self.back.pop_front() {
                self.hear(&taken);
            }
            if self.outbox.is_empty() {
                return;
            }
            self.pass(500);
        }
    }
}

#[test]
fn each_arrives_once_and_in_order_whatever_happens() {
    for seed in 0..300 {
        let mut bench = Bench::new(seed);
        for _ in 0..600 {
            bench.chaos();
        }
        bench.calm();
        assert_eq!(bench.outbox, [], "seed {seed}");
        assert_eq!(bench.accepted, bench.queued, "seed {seed}");
    }
}

#[test]
fn a_window_is_never_exceeded_by_a_receiver_that_never_acknowledges() {
    let mut bench = Bench::new(7);
    (0..10_000).for_each(|_| bench.queue());
    bench.connect(false);
    bench.pump();
    assert!(bench.there.len() <= WINDOW_BATCHES);
    let bytes: usize = bench.there.iter().map(|frame| frame.numbers.len() * 1000).sum();
    assert!(bytes <= WINDOW_BYTES + 5000, "{bytes}");
    assert!(bench.post.next_deadline().is_some(), "it is looked at again");
    bench.pass(ACKNOWLEDGE_MS);
    assert_eq!(bench.post.views()[0].trouble, Some(Trouble::Silent));
    assert_eq!(bench.outbox.len(), 10_000);
}

#[test]
fn a_liar_settles_no_more_than_it_was_sent() {
    let mut bench = Bench::new(7);
    (0..20).for_each(|_| bench.queue());
    bench.connect(false);
    let want = bench.post.want(&stream().to).unwrap();
    let first = Number { boot: 1, sequence: 3 };
    bench.post.read(&want, Some((first, 3000)), false, bench.tick()).unwrap();
    let through = Number { boot: 1, sequence: u64::MAX };
    let (priority, round, verdict) = (Priority::Normal, want.round, Verdict::Taken);
    bench.hear(&Taken { priority, round, through, verdict });
    assert_eq!(bench.outbox.len(), 17);
    // A number of a later run than this one: we are an old copy, and nothing is settled.
    let through = Number { boot: 2, sequence: 1 };
    bench.hear(&Taken { priority, round, through, verdict });
    assert_eq!(bench.outbox.len(), 17);
    assert_eq!(bench.post.views()[0].trouble, Some(Trouble::Behind));
}

#[test]
fn endless_refusals_cost_less_and_less() {
    let mut bench = Bench::new(7);
    (0..20).for_each(|_| bench.queue());
    bench.connect(false);
    bench.room = 0;
    let mut frames = 0;
    for _ in 0..600 {
        bench.pump();
        frames += bench.there.len();
        while let Some(frame) = bench.there.pop_front() {
            bench.receive(&frame);
        }
        while let Some(taken) = bench.back.pop_front() {
            bench.hear(&taken);
        }
        bench.pass(100);
    }
    assert!(frames < 400, "{frames} in a minute");
    bench.room = usize::MAX;
    bench.calm();
    assert_eq!(bench.accepted, bench.queued);
}

#[test]
fn an_urgent_stream_is_read_first_and_a_full_one_holds_up_nobody() {
    let mut post = Post::new(1);
    let to = stream().to;
    let id = |priority| StreamId { to: to.clone(), priority };
    let number = |sequence| Number { boot: 1, sequence };
    post.queued(&id(Priority::Low), number(1), Some(LinkId(1)));
    post.queued(&id(Priority::High), number(2), Some(LinkId(1)));
    let high = post.want(&to).unwrap();
    assert_eq!(high.stream, id(Priority::High));
    assert_eq!(post.want(&to), None, "until it was read");
    post.read(&high, Some((number(2), WINDOW_BYTES)), true, Tick::from_ms(0)).unwrap();
    post.queued(&id(Priority::High), number(3), None);
    assert_eq!(post.want(&to).unwrap().stream, id(Priority::Low), "its window is full");
}

#[test]
fn what_was_dropped_is_not_waited_for() {
    let mut bench = Bench::new(7);
    (0..5).for_each(|_| bench.queue());
    bench.outbox.clear();
    bench.post.emptied(&stream(), Number { boot: 1, sequence: 5 });
    bench.connect(false);
    bench.pump();
    assert!(bench.there.is_empty());
    bench.queue();
    bench.calm();
    assert_eq!(bench.accepted, [Number { boot: 1, sequence: 6 }]);
}
