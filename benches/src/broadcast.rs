//! `broadcast.direct_20`: messages of 1 KiB from an application in one of twenty daemons to the
//! applications that listen in the other nineteen, all in this process, each linked with each.
//! What counts is a delivery: one message at one listener, after policy and quota were asked.
//!
//! Against the raw fan-out: the same octets on nineteen bare TLS connections to a counter.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use peer::daemon::{Broadcaster, Listener};
use peer::link::Class;
use shared::wire::{Kind, Pack};

use crate::handshake::both;
use crate::harness::{Effort, Figure, Side, rate, take_turns};
use crate::mesh::Mesh;
use crate::pipe::{Meter, Pipe, frame};
use crate::world::World;

/// Daemons, the sender among them.
const NODES: usize = 20;
/// Bytes of a message.
const BYTES: usize = 1024;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mesh = runtime.block_on(Mesh::start(&world, NODES))?;
    let heard = Arc::new(Meter::default());
    for one in mesh.running.iter().skip(1) {
        let listener = runtime.block_on(one.daemon().listen());
        runtime.spawn(count(listener, Arc::clone(&heard)));
    }
    let Some(sender) = mesh.running.first() else { bail!("no daemon") };
    let (_, bare) = both(&world)?;
    let mut pipes = Vec::new();
    for _ in 1..NODES {
        pipes.push(runtime.block_on(Pipe::bare(&bare))?);
    }
    let pipes = Arc::new(pipes);
    let (rounds, packs) = (effort.pick(3, 30), effort.pick(200, 600));
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| {
            let task = spread(sender.daemon().broadcaster(), packs, Arc::clone(&heard));
            // Spawned, because the thread that blocks is none of the runtime's two.
            runtime.block_on(runtime.spawn(task))?
        }),
        Box::new(|| runtime.block_on(runtime.spawn(fan_out(Arc::clone(&pipes), packs)))?),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    drop(sides);
    runtime.block_on(mesh.stop());
    let [ours, raw] = samples.as_slice() else { bail!("two sides") };
    let what = format!("{} bare TLS connections, the same octets (deliveries/s)", NODES - 1);
    Ok(vec![Figure::new("broadcast.direct_20", "deliveries/s", ours).against(&what, ours, raw)])
}

/// As many messages as fit.
fn full_pack() -> Pack {
    let mut pack = Pack::default();
    while pack.push(&[b'm'; BYTES]) {}
    pack
}

/// The application that listens: looks at each message.
async fn count(mut listener: Listener, heard: Arc<Meter>) {
    while let Some((_, pack)) = listener.next().await {
        let whole = pack.items().filter(|item| item.len() == BYTES).count();
        heard.add(whole as u64);
    }
}

/// The application that sends: writes each message, and learns of each pack that all have taken it.
async fn spread(mut broadcaster: Broadcaster, packs: usize, heard: Arc<Meter>) -> Result<f64> {
    let lost = |outcome| anyhow!("a pack was not sent: {outcome:?}");
    let deliveries = packs * full_pack().count as usize * (NODES - 1);
    let start = Instant::now();
    heard.expect(u64::try_from(deliveries)?);
    for _ in 0..packs {
        if let Some(reach) = broadcaster.send(full_pack()).await.map_err(lost)? {
            anyhow::ensure!(reach.missed.is_empty(), "missed by {:?}", reach.missed);
        }
    }
    while let Some(reach) = broadcaster.next().await.map_err(lost)? {
        anyhow::ensure!(reach.missed.is_empty(), "missed by {:?}", reach.missed);
    }
    heard.reach().await;
    Ok(rate(deliveries, start))
}

/// The same octets on every connection, as fast as each takes them.
async fn fan_out(pipes: Arc<Vec<Pipe>>, packs: usize) -> Result<f64> {
    let pack = full_pack();
    let deliveries = packs * pack.count as usize * pipes.len();
    let start = Instant::now();
    for pipe in &*pipes {
        pipe.arrived.expect(u64::try_from(packs)?);
    }
    for _ in 0..packs {
        let whole = frame(Kind::Bulk, &vec![b'm'; pack.bytes() + 24])?;
        for pipe in &*pipes {
            pipe.near.send(Class::Message, whole.clone()).await?;
        }
    }
    for pipe in &*pipes {
        pipe.arrived.reach().await;
    }
    Ok(rate(deliveries, start))
}
