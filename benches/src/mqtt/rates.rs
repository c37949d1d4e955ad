//! `mqtt.q*`, `mqtt.unbatched_64`, `mqtt.fan*`: messages a second through one engine.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::client::Door;
use super::contest::{Contest, Who};
use super::engine::{Engine, Stage};
use super::flow::{Flow, Shape};
use super::packets::Qos;
use crate::harness::{Effort, Figure};

/// Clients on the broad side of a fan.
const FAN: usize = 50;

/// One publisher, one subscriber; plain, and with certificates on both sides.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let bench = Bench::open(effort)?;
    let shapes = [
        ("mqtt.q0_64", Shape::new(Qos::Zero, 64)),
        ("mqtt.q1_64", Shape::new(Qos::One, 64)),
        ("mqtt.q0_1k", Shape::new(Qos::Zero, 1024)),
        ("mqtt.q1_1k", Shape::new(Qos::One, 1024)),
    ];
    let mut figures = Vec::new();
    for (name, shape) in shapes {
        figures.extend(bench.flow(name, shape, |engine| Some(engine.plain()))?);
        figures.extend(bench.flow(&format!("{name}.mtls"), shape, Engine::mutual)?);
    }
    Ok(figures)
}

/// One write a message.
pub(crate) fn measure_unbatched(effort: Effort) -> Result<Vec<Figure>> {
    let shape = Shape::new(Qos::Zero, 64).unbatched();
    Bench::open(effort)?.flow("mqtt.unbatched_64", shape, |engine| Some(engine.plain()))
}

/// One publisher and many subscribers, many publishers and one subscriber.
pub(crate) fn measure_fans(effort: Effort) -> Result<Vec<Figure>> {
    let bench = Bench::open(effort)?;
    let plain = |engine: &Engine| Some(engine.plain());
    let shape = Shape::new(Qos::Zero, 64);
    let mut figures = bench.flow("mqtt.fanout_50", shape.out(FAN), plain)?;
    figures.extend(bench.flow("mqtt.fanin_50", shape.many(FAN), plain)?);
    Ok(figures)
}

struct Bench {
    engines: Contest<Engine>,
    rounds: usize,
    aim: Duration,
    /// Goes last: the engines' folders are in it.
    _stage: Stage,
}

impl Bench {
    fn open(effort: Effort) -> Result<Self> {
        let stage = Stage::new()?;
        let engines = Contest::start(&stage)?;
        Ok(Self { engines, rounds: rounds(effort), aim: aim(effort), _stage: stage })
    }

    fn flow(
        &self,
        name: &str,
        shape: Shape,
        door: impl Fn(&Engine) -> Option<Door>,
    ) -> Result<Vec<Figure>> {
        let open = |engine: &Engine| {
            let door = door(engine);
            door.map(|door| Flow::open(&door, &door, shape, self.aim)).transpose()
        };
        contest(name, self.engines.try_map(open)?, self.rounds)
    }
}

/// How often each takes its turn.
pub(crate) const fn rounds(effort: Effort) -> usize {
    effort.pick(3, 20)
}

/// How long a turn takes.
pub(crate) fn aim(effort: Effort) -> Duration {
    Duration::from_millis(effort.pick(150, 300) as u64)
}

/// Measures flows in turns.
pub(crate) fn contest(name: &str, mut flows: Contest<Flow>, rounds: usize) -> Result<Vec<Figure>> {
    let samples = flows.take_turns(rounds, Flow::round).with_context(|| name.to_owned())?;
    let lost = |who| flows.of_who(who).map_or(0.0, |flow| flow.lost * 100.0);
    let remark = |who| match (lost(who), lost(Who::Ours)) {
        (0.0, 0.0) => String::new(),
        (theirs, ours) => format!(", which lost {theirs:.1} % where ours lost {ours:.1} %"),
    };
    let ours = samples.of_who(Who::Ours).cloned().unwrap_or_default();
    let base = Figure::new(name, "messages/s", &ours);
    samples.figures(&base, remark)
}
