//! `broadcast.*`: messages of 1 KiB from an application in one of twenty daemons to those that
//! listen in the other nineteen, all in this process. `direct_20`: each is linked with each;
//! `tree_20`: each keeps a few links, and passes on what it hears, signed. What counts is a
//! delivery: one message at one listener, after policy and quota were asked.
//!
//! Against the raw fan-out: the same octets on nineteen bare TLS connections to a counter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use peer::daemon::{Broadcaster, Listener};
use peer::link::Class;
use peer_core::Reach;
use shared::wire::{Kind, Pack};

use crate::handshake::both;
use crate::harness::{Effort, Figure, Side, rate, take_turns};
use crate::mesh::{Mesh, Running};
use crate::pipe::{Meter, Pipe, frame};
use crate::world::World;

/// Daemons, the sender among them.
const NODES: usize = 20;
/// How long twenty daemons may take to find their ways.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a message.
const BYTES: usize = 1024;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let full = runtime.block_on(Mesh::start(&world, NODES))?;
    let sparse = runtime.block_on(Mesh::sparse(&world, NODES))?;
    let heard = Arc::new(Meter::default());
    for one in full.running.iter().skip(1).chain(sparse.running.iter().take(NODES - 1)) {
        let listener = runtime.block_on(one.daemon().listen());
        runtime.spawn(count(listener, Arc::clone(&heard)));
    }
    let (Some(sender), Some(root)) = (full.running.first(), sparse.running.last()) else {
        bail!("no daemon");
    };
    let links = runtime.block_on(settle(root))?;
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
        Box::new(|| {
            let task = spread(root.daemon().broadcaster(), packs, Arc::clone(&heard));
            runtime.block_on(runtime.spawn(task))?
        }),
        Box::new(|| runtime.block_on(runtime.spawn(fan_out(Arc::clone(&pipes), packs)))?),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    drop(sides);
    runtime.block_on(full.stop());
    runtime.block_on(sparse.stop());
    let [direct, tree, raw] = samples.as_slice() else { bail!("three sides") };
    let what = format!("{} bare TLS connections, the same octets (deliveries/s)", NODES - 1);
    let unit = "deliveries/s";
    let few = format!("{what}; the sender has {links} links");
    Ok(vec![
        Figure::new("broadcast.direct_20", unit, direct).against(&what, direct, raw),
        Figure::new("broadcast.tree_20", unit, tree).against(&few, tree, raw),
    ])
}

/// Waits until a daemon has closed the links it does not need and what it says comes to everybody;
/// says how many links it has then.
async fn settle(root: &Running) -> Result<usize> {
    let since = Instant::now();
    let mut before = 0;
    loop {
        let (known, links) = root.knows().await?;
        if known == NODES - 1 && links < NODES - 1 && links == before {
            break;
        }
        anyhow::ensure!(since.elapsed() < PATIENCE, "{links} links, {known} known");
        before = links;
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    let mut broadcaster = root.daemon().broadcaster();
    let mut pack = Pack::default();
    anyhow::ensure!(pack.push(b"anybody?"), "a short message fits");
    let lost = |outcome| anyhow!("not sent: {outcome:?}");
    broadcaster.send(pack).await.map_err(lost)?;
    let reach = broadcaster.next().await.map_err(lost)?.unwrap_or_default();
    anyhow::ensure!(reach.taken as usize == NODES - 1, "{reach:?}");
    Ok(root.knows().await?.1)
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
            came_to_all(&reach)?;
        }
    }
    while let Some(reach) = broadcaster.next().await.map_err(lost)? {
        came_to_all(&reach)?;
    }
    tokio::time::timeout(PATIENCE, heard.reach()).await?;
    Ok(rate(deliveries, start))
}

fn came_to_all(reach: &Reach) -> Result<()> {
    let all = reach.taken as usize == NODES - 1 && reach.missed.is_empty();
    if all { Ok(()) } else { bail!("it did not come to all: {reach:?}") }
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
