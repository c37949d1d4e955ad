//! `send.durable_256`: messages of 256 bytes from one daemon to another, queued in batches over the
//! control socket, until the sender knows that the last one, and so each, is on the receiver's
//! disk. Against bare redb on the same disk: each message written once, in commits of a batch.

use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use peer::control::post::{MailOutcome, Mailing, Queueing, To};
use peer::control::protocol::Body;
use peer::control::{Client, Reply, Request};
use redb::{Database, TableDefinition};
use shared::name::NodeName;
use shared::wire::Priority;

use crate::harness::{Effort, Figure, Side, rate, take_turns};
use crate::mesh::Mesh;
use crate::world::World;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bare");

/// Bytes of a message.
const BYTES: usize = 256;
/// Messages in one request, as many as `peer send --lines` would put there.
const BATCH: usize = 2000;
/// How long the last one may take, in milliseconds.
const WAIT_MS: u64 = 60_000;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mesh = runtime.block_on(Mesh::start(&world, 2))?;
    let [to, from] = mesh.running.as_slice() else { bail!("two daemons") };
    let pair = Pair {
        from: Client::new(from.folder()),
        to: Client::new(to.folder()),
        name: to.name.clone(),
    };
    let bare = Database::create(world.path().join("bare.redb"))?;
    let (rounds, batches) = (effort.pick(3, 10), effort.pick(10, 50));
    let mut key = 0;
    let mut sides: Vec<Side<'_>> =
        vec![Box::new(|| pair.send(batches)), Box::new(|| commit(&bare, &mut key, batches))];
    let samples = take_turns(rounds, &mut sides)?;
    drop(sides);
    runtime.block_on(mesh.stop());
    let [ours, bare] = samples.as_slice() else { bail!("two sides") };
    let what = format!("bare redb, each written once, {BATCH} a commit (messages/s)");
    let figure = Figure::new("send.durable_256", "messages/s", ours).against(&what, ours, bare);
    Ok(vec![figure])
}

struct Pair {
    from: Client,
    to: Client,
    name: NodeName,
}

impl Pair {
    /// Sends so many batches; the receiver's inbox is emptied beforehand.
    fn send(&self, batches: usize) -> Result<f64> {
        let fault = |fault: host::fault::Fault| anyhow!("{fault}");
        self.to.ask_one(&Request::InboxClear { through: u64::MAX }).map_err(fault)?;
        let request = self.request(BATCH, 0);
        let start = Instant::now();
        let mut replies = self.from.ask(&request).map_err(fault)?;
        for _ in 1..batches {
            replies.ask_again(&request).map_err(fault)?;
        }
        replies.ask_again(&self.request(1, WAIT_MS)).map_err(fault)?;
        match replies.next().map_err(fault)?.context("no answer")? {
            Reply::Mailed(mailed) if mailed.outcome == MailOutcome::Delivered => {}
            other => bail!("the last message: {other:?}"),
        }
        Ok(rate(batches * BATCH + 1, start))
    }

    fn request(&self, count: usize, wait_ms: u64) -> Request {
        let bodies = vec![Body(vec![b'm'; BYTES]); count];
        let queue = Some(Queueing { priority: Priority::Normal, ttl_s: 3600, receipt: false });
        Request::Mail(Mailing { to: To::Node(self.name.clone()), bodies, queue, wait_ms })
    }
}

fn commit(database: &Database, key: &mut u64, batches: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..batches {
        let txn = database.begin_write()?;
        let mut table = txn.open_table(TABLE)?;
        for _ in 0..BATCH {
            *key += 1;
            table.insert(*key, [7u8; BYTES].as_slice())?;
        }
        drop(table);
        txn.commit()?;
    }
    Ok(rate(batches * BATCH, start))
}
