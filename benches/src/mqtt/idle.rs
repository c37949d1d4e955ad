//! `mqtt.session_kib`: what an idle session adds to its engine.
//!
//! Each round is a process of its own, because an allocator does not give back what an earlier
//! round used. What the kernel keeps for the socket is not in it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::Client;
use super::contest::{Contest, Who};
use super::engine::{Engine, Stage, Task};
use super::packets::Qos;
use crate::harness::{Effort, Figure, number};
use crate::load::raise_open_files;

/// Sessions that are there before counting begins: whatever is made once is made by then.
const WARM: usize = 50;
/// Between two looks; a size that does not change between them is taken.
const LOOK: Duration = Duration::from_millis(300);
/// How long a size may go on changing.
const PATIENCE: Duration = Duration::from_secs(10);

type Start = fn(&Stage) -> Result<Option<Engine>>;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    raise_open_files()?;
    let stage = Stage::new()?;
    let ours: Start = |stage| stage.ours(None).map(Some);
    let mosquitto: Start = |stage| stage.mosquitto(Task::Carry);
    let all = [(Who::Ours, ours), (Who::Mosquitto, mosquitto), (Who::Nats, Stage::nats)];
    let mut found = Vec::new();
    for (who, start) in all {
        found.push((who, start(&stage)?.map(|_| start)));
    }
    let count = effort.pick(500, 2000);
    let mut starts = Contest::of(found);
    let samples = starts.take_turns(effort.pick(1, 5), |start| {
        let engine = start(&stage)?;
        engine.map_or(Ok(f64::NAN), |engine| each(&engine, count))
    })?;
    let ours = samples.of_who(Who::Ours).cloned().unwrap_or_default();
    samples.figures(&Figure::new("mqtt.session_kib", "KiB", &ours), |_| String::new())
}

/// KiB for each of so many sessions with a subscription.
fn each(engine: &Engine, count: usize) -> Result<f64> {
    let connect = |index| {
        let mut client = Client::idle(&engine.plain(), &format!("idle-{index}"))?;
        client.subscribe(&format!("house/{index}/set"), Qos::One)?;
        anyhow::Ok(client)
    };
    let warm: Vec<Client> = (0..WARM).map(connect).collect::<Result<_>>()?;
    let before = settled(engine)?;
    let idle: Vec<Client> = (WARM..WARM + count).map(connect).collect::<Result<_>>()?;
    let grown = settled(engine)? - before;
    drop((warm, idle));
    Ok(grown / number(count))
}

/// What it holds, once that does not change any more.
fn settled(engine: &Engine) -> Result<f64> {
    let (since, mut before) = (Instant::now(), engine.resident_kib()?);
    loop {
        std::thread::sleep(LOOK);
        let now = engine.resident_kib()?;
        if (now - before).abs() < 64.0 {
            return Ok(now);
        }
        if since.elapsed() > PATIENCE {
            bail!("its size does not settle");
        }
        before = now;
    }
}
