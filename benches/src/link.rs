//! `link.*`: bulk, messages and pings through a link's queue and sink, against the bare framed
//! connection over tokio-rustls; and that over plain TCP, to show where the rest of the time goes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use peer::link::Class;
use shared::wire::Kind;
use tokio::runtime::Runtime;

use crate::handshake::both;
use crate::harness::{Effort, Figure, Samples, Side, number, rate, take_turns};
use crate::pipe::{Pipe, frame};
use crate::world::World;

/// Bytes of a chunk of bulk.
const CHUNK_BYTES: usize = 64 * 1024;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (ours, bare) = both(&world)?;
    let pipes = runtime.block_on(async {
        anyhow::Ok([Pipe::ours(&ours).await?, Pipe::bare(&bare).await?, Pipe::tcp().await?])
    })?;
    let bench = Bench { runtime, pipes: pipes.map(Arc::new), rounds: effort.pick(5, 40) };
    let mib = number(CHUNK_BYTES) / 1e6;
    let chunks = effort.pick(500, 1500);
    let bulk = bench.flow(Class::Bulk, frame(Kind::Bulk, &[7; CHUNK_BYTES])?, chunks, mib)?;
    let messages = effort.pick(50_000, 200_000);
    let small = bench.flow(Class::Message, frame(Kind::Message, &[7; 64])?, messages, 1.0)?;
    let large = bench.flow(Class::Message, frame(Kind::Message, &[7; 1024])?, messages / 4, 1.0)?;
    let pings = bench.pings(effort.pick(100, 500))?;
    let figures = [
        figures("link.bulk", "MB/s", &bulk)?,
        figures("link.messages_64", "messages/s", &small)?,
        figures("link.messages_1k", "messages/s", &large)?,
        figures("link.ping_us", "µs", &pings)?,
    ];
    Ok(figures.into_iter().flatten().collect())
}

fn figures(name: &str, unit: &str, samples: &[Samples]) -> Result<[Figure; 2]> {
    let [ours, bare, tcp] = samples else { anyhow::bail!("three sides") };
    let framed = format!("bare framed tokio-rustls ({unit})");
    Ok([
        Figure::new(name, unit, ours).against(&framed, ours, bare),
        Figure::new(&format!("{name}.tcp"), unit, tcp).against(&framed, tcp, bare),
    ])
}

struct Bench {
    runtime: Runtime,
    pipes: [Arc<Pipe>; 3],
    rounds: usize,
}

impl Bench {
    /// A frame sent so many times: units a second until the last has arrived.
    fn flow(&self, class: Class, frame: Bytes, count: usize, units: f64) -> Result<Vec<Samples>> {
        self.turns(|pipe| {
            let frame = frame.clone();
            async move {
                let start = Instant::now();
                pipe.arrived.expect(u64::try_from(count)?);
                for _ in 0..count {
                    pipe.near.send(class, frame.clone()).await?;
                }
                pipe.arrived.reach().await;
                Ok(rate(count, start) * units)
            }
        })
    }

    /// One ping after the other: the middle time of a round.
    fn pings(&self, count: usize) -> Result<Vec<Samples>> {
        let ping = frame(Kind::Ping, &[0; 8])?;
        self.turns(|pipe| {
            let ping = ping.clone();
            async move {
                let mut times = Samples::default();
                for _ in 0..count {
                    let start = Instant::now();
                    pipe.answered.expect(1);
                    pipe.near.send(Class::Control, ping.clone()).await?;
                    pipe.answered.reach().await;
                    times.0.push(start.elapsed().as_secs_f64() * 1e6);
                }
                Ok(times.median())
            }
        })
    }

    fn turns<F>(&self, run: impl Fn(Arc<Pipe>) -> F) -> Result<Vec<Samples>>
    where
        F: Future<Output = Result<f64>> + Send + 'static,
    {
        let run = &run;
        let side = |pipe: &Arc<Pipe>| -> Side<'_> {
            let pipe = Arc::clone(pipe);
            // Spawned, because the thread that blocks is none of the runtime's two.
            Box::new(move || {
                let task = self.runtime.spawn(run(Arc::clone(&pipe)));
                self.runtime.block_on(task).context("a task died")?
            })
        };
        let mut sides: Vec<Side<'_>> = self.pipes.iter().map(side).collect();
        take_turns(self.rounds, &mut sides)
    }
}
