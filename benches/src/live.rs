//! `send.memory_256`: messages of 256 bytes from an application in one daemon to one that listens
//! in another, packed, with policy and quotas asked and each pack acknowledged, and no disk.
//! Against the link under it, which carries each message in a frame of its own to a counter.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use peer::daemon::{Courier, Listener};
use peer::link::Class;
use shared::wire::{Kind, Pack};

use crate::handshake::both;
use crate::harness::{Effort, Figure, Side, rate, take_turns};
use crate::mesh::Mesh;
use crate::pipe::{Meter, Pipe, frame};
use crate::world::World;

/// Bytes of a message.
const BYTES: usize = 256;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mesh = runtime.block_on(Mesh::start(&world, 2))?;
    let [to, from] = mesh.running.as_slice() else { bail!("two daemons") };
    let (ours, _) = both(&world)?;
    let pipe = Arc::new(runtime.block_on(Pipe::ours(&ours))?);
    let heard = Arc::new(Meter::default());
    let listener = runtime.block_on(to.daemon().listen());
    runtime.spawn(count(listener, Arc::clone(&heard)));
    let mut courier = Some(from.daemon().courier(to.name.clone()));
    let (rounds, messages) = (effort.pick(5, 40), effort.pick(100_000, 400_000));
    let small = frame(Kind::Message, &[b'm'; BYTES])?;
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| {
            let courier_now = courier.take().context("a courier died")?;
            // Spawned, because the thread that blocks is none of the runtime's two.
            let task = runtime.spawn(carry(courier_now, messages, Arc::clone(&heard)));
            let (back, value) = runtime.block_on(task).context("a task died")??;
            courier = Some(back);
            Ok(value)
        }),
        Box::new(|| {
            let task = runtime.spawn(flow(Arc::clone(&pipe), small.clone(), messages));
            runtime.block_on(task).context("a task died")?
        }),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    drop(sides);
    runtime.block_on(mesh.stop());
    let [ours, link] = samples.as_slice() else { bail!("two sides") };
    let what = format!("our link, {BYTES} B in a frame each (messages/s)");
    Ok(vec![Figure::new("send.memory_256", "messages/s", ours).against(&what, ours, link)])
}

/// The application that listens: looks at each message.
async fn count(mut listener: Listener, heard: Arc<Meter>) {
    while let Some((_, pack)) = listener.next().await {
        let whole = pack.items().filter(|item| item.len() == BYTES).count();
        heard.add(whole as u64);
    }
}

/// The application that sends: writes each message, and waits until each is acknowledged.
async fn carry(mut courier: Courier, count: usize, heard: Arc<Meter>) -> Result<(Courier, f64)> {
    let lost = |outcome| anyhow!("a pack was not taken: {outcome:?}");
    let start = Instant::now();
    heard.expect(u64::try_from(count)?);
    let mut pack = Pack::default();
    for _ in 0..count {
        if !pack.push(&[b'm'; BYTES]) {
            courier.send(std::mem::take(&mut pack)).await.map_err(lost)?;
            let _ = pack.push(&[b'm'; BYTES]);
        }
    }
    courier.send(pack).await.map_err(lost)?;
    courier.finish().await.map_err(lost)?;
    heard.reach().await;
    Ok((courier, rate(count, start)))
}

async fn flow(pipe: Arc<Pipe>, frame: bytes::Bytes, count: usize) -> Result<f64> {
    let start = Instant::now();
    pipe.arrived.expect(u64::try_from(count)?);
    for _ in 0..count {
        pipe.near.send(Class::Message, frame.clone()).await?;
    }
    pipe.arrived.reach().await;
    Ok(rate(count, start))
}
