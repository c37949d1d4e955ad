//! `mqtt.latency_*`: from before a publisher's write to after the subscriber's read, at a low rate.
//!
//! One thread does both, one message at a time. At QoS 1 it also acknowledges and waits for the
//! acknowledgement, after the clock has stopped.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::{Client, PATIENCE};
use super::contest::{Contest, Who};
use super::engine::{Engine, Stage};
use super::packets::{self, Qos, Session, TOPIC};
use crate::harness::{Effort, Figure, Samples};

/// Between two messages: 200 a second.
const EVERY: Duration = Duration::from_millis(5);
/// Bytes of a payload.
const BYTES: usize = 64;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let stage = Stage::new()?;
    let engines = Contest::start(&stage)?;
    let (rounds, each) = (effort.pick(3, 20), effort.pick(40, 100));
    let mut figures = Vec::new();
    for (name, qos) in [("mqtt.latency_q0_us", Qos::Zero), ("mqtt.latency_q1_us", Qos::One)] {
        let mut pairs = engines.try_map(|engine| Pair::open(engine, qos).map(Some))?;
        let middles = pairs.take_turns(rounds, |pair| pair.round(each))?;
        let of = |who| pairs.of_who(who).map(|pair| &pair.times);
        let ours = of(Who::Ours).cloned().unwrap_or_default();
        let base = Figure::new(name, "µs", &ours).with_p99(&ours);
        let remark = |who| match of(who) {
            Some(times) => format!(", p99 {:.0}", times.quantile(0.99)),
            None => String::new(),
        };
        figures.extend(middles.figures(&base, remark)?);
    }
    Ok(figures)
}

struct Pair {
    publisher: Client,
    subscriber: Client,
    packet: Vec<u8>,
    qos: Qos,
    /// Of every message after the first round.
    times: Samples,
    is_warm: bool,
}

impl Pair {
    fn open(engine: &Engine, qos: Qos) -> Result<Self> {
        let mut subscriber = Client::connect(&engine.plain(), "subscriber", Session::Clean)?;
        subscriber.subscribe(TOPIC, qos)?;
        let publisher = Client::connect(&engine.plain(), "publisher", Session::Clean)?;
        let packet = packets::publish(qos, 1, BYTES);
        Ok(Self { publisher, subscriber, packet, qos, times: Samples::default(), is_warm: false })
    }

    /// The middle time of a round.
    fn round(&mut self, count: usize) -> Result<f64> {
        let mut times = Samples::default();
        let mut next = Instant::now();
        for _ in 0..count {
            next += EVERY;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            times.0.push(self.message()?);
        }
        if std::mem::replace(&mut self.is_warm, true) {
            self.times.0.extend(&times.0);
        }
        Ok(times.median())
    }

    fn message(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.publisher.write(&self.packet)?;
        let taken = self.subscriber.await_message(start + PATIENCE)?;
        let time = taken.duration_since(start);
        while self.qos == Qos::One && self.publisher.read()?.acks == 0 {
            if start.elapsed() > PATIENCE {
                bail!("no acknowledgement after {PATIENCE:?}");
            }
        }
        Ok(time.as_secs_f64() * 1e6)
    }
}
