//! `mqtt.durable_q1`: QoS 1 to a session whose client is away, so that messages must be kept.
//!
//! The rate is that of PUBACKs. Ours come when the messages are on the disk, synced. Mosquitto with
//! `persistence true` writes its file when it ends or every half hour, and does not sync; NATS
//! writes to its stream at once, and syncs it every two minutes. After every round the client comes
//! back and takes all of them.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::{Client, Door};
use super::contest::{Contest, Who};
use super::engine::{Engine, Stage, Task};
use super::flow::{self, Block, Shape, publish_sure, sized};
use super::packets::{Qos, Session, TOPIC};
use super::rates::{aim, rounds};
use crate::harness::{Effort, Figure, rate};

/// Bytes of a payload.
const BYTES: usize = 64;
/// Messages of the first round.
const FIRST: usize = 2000;
/// Messages of a round at most: what a session may hold.
const MOST: usize = 50_000;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let stage = Stage::new()?;
    let engines = Contest::of([
        (Who::Ours, Some(stage.ours(None)?)),
        (Who::Mosquitto, stage.mosquitto(Task::Keep)?),
        (Who::Nats, stage.nats()?),
    ]);
    let mut kept = engines.try_map(|engine| Kept::open(engine, aim(effort)).map(Some))?;
    let samples = kept.take_turns(rounds(effort), Kept::round)?;
    let ours = samples.of_who(Who::Ours).cloned().unwrap_or_default();
    let base = Figure::new("mqtt.durable_q1", "messages/s", &ours);
    samples.figures(&base, |_| ", which does not sync".to_owned())
}

/// A session whose client is away, and a publisher.
struct Kept {
    door: Door,
    publisher: Client,
    block: Block,
    shape: Shape,
    count: usize,
    aim: Duration,
}

impl Kept {
    fn open(engine: &Engine, aim: Duration) -> Result<Self> {
        let (door, shape) = (engine.plain(), Shape::new(Qos::One, BYTES));
        let mut client = Client::connect(&door, "kept", Session::Kept)?;
        client.subscribe(TOPIC, Qos::One)?;
        client.close()?;
        let publisher = Client::connect(&door, "publisher", Session::Clean)?;
        Ok(Self { door, publisher, block: Block::new(shape), shape, count: FIRST, aim })
    }

    fn round(&mut self) -> Result<f64> {
        let start = Instant::now();
        publish_sure(&mut self.publisher, &self.block, self.shape, self.count)?;
        let rate = rate(self.count, start);
        self.take_all()?;
        self.count = sized(rate, self.aim).min(MOST);
        Ok(rate)
    }

    /// The client comes back, takes what is there, and goes again.
    fn take_all(&self) -> Result<()> {
        let mut clients = [Client::connect(&self.door, "kept", Session::Kept)?];
        let over = AtomicBool::new(true);
        let arrived = flow::receive(&mut clients, Qos::One, self.count, &over)?.count;
        let [mut client] = clients;
        // After the answer, the acknowledgements before it have been handled too.
        client.ping()?;
        if arrived != self.count {
            bail!("{arrived} of {} kept messages came", self.count);
        }
        client.close()
    }
}
