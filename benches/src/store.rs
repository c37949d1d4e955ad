//! `store.100k`: what the authority needs to list, show and revoke with a hundred thousand nodes on
//! record, question to answer, without printing; against bare redb reading as many records.
//!
//! The nodes are enrolled one by one as always, sixty-four at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow};
use ca_tool::ask::PAGE;
use ca_tool::{Enrolment, Holder};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use shared::feed::Reason;
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;

use crate::harness::{Effort, Figure, Samples, Side, take_turns};
use crate::world::World;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bare");
/// Who enrols at once: as many as share a transaction.
const CROWD: usize = 64;
/// Nodes that are revoked before the clock starts.
const REVOKED: usize = 1_000;
/// Bytes of a bare record: what a node's has, roughly.
const RECORD_BYTES: usize = 120;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let count = effort.pick(10_000, 100_000);
    let revoked = REVOKED.min(count / 10);
    let world = World::new()?;
    enrol(&world, count)?;
    for index in 0..revoked {
        world.authority.revoke(&name(index)?, Reason::Unspecified)?;
    }
    let bare = Database::create(world.path().join("bare.redb"))?;
    fill(&bare, count)?;
    let (mut shown, mut turned_out) = (revoked, count);
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| ms(|| list(&world, count))),
        Box::new(|| {
            shown = (shown * 31 + 7) % count;
            ms(|| Ok(world.authority.node(&name(shown)?).map(drop)?))
        }),
        Box::new(|| {
            turned_out -= 1;
            ms(|| Ok(world.authority.revoke(&name(turned_out)?, Reason::Unspecified).map(drop)?))
        }),
        Box::new(|| ms(|| scan(&bare, count))),
    ];
    let samples = take_turns(effort.pick(5, 30), &mut sides)?;
    let [listed, shown, turned_out, scanned] = samples.as_slice() else {
        anyhow::bail!("four sides")
    };
    let what = format!("bare redb reading {count} records of {RECORD_BYTES} bytes (ms)");
    let figure = |name: &str, ours: &Samples| {
        let name = format!("store.{}k.{name}_ms", count / 1000);
        Figure::new(&name, "ms", ours).against(&what, ours, scanned)
    };
    Ok(vec![figure("list", listed), figure("show", shown), figure("revoke", turned_out)])
}

fn name(index: usize) -> Result<NodeName> {
    Ok(NodeName::parse(&format!("node-{index}"))?)
}

fn ms(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn enrol(world: &World, count: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let one = || -> Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                let key = PrivateKey::generate(Algorithm::P256)?;
                let wish = Enrolment::new(name(index)?)?;
                world.authority.enroll(&wish, Holder::Private(&key))?;
            }
        };
        let threads: Vec<_> = (0..CROWD).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread died"))?)
    })
}

/// Page by page, as the command does.
fn list(world: &World, count: usize) -> Result<()> {
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = world.authority.nodes_after(after.as_ref(), PAGE)?;
        seen += page.len();
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.node.clone()),
            _ => break,
        }
    }
    if seen < count { Err(anyhow!("only {seen} nodes are listed")) } else { Ok(()) }
}

fn fill(database: &Database, count: usize) -> Result<()> {
    let txn = database.begin_write()?;
    {
        let mut table = txn.open_table(TABLE)?;
        for number in 0..count as u64 {
            table.insert(number, [7; RECORD_BYTES].as_slice())?;
        }
    }
    Ok(txn.commit()?)
}

fn scan(database: &Database, count: usize) -> Result<()> {
    let table = database.begin_read()?.open_table(TABLE)?;
    let mut seen = 0;
    for pair in table.iter()? {
        let (_, value) = pair?;
        seen += usize::from(value.value().len() == RECORD_BYTES);
    }
    if seen == count { Ok(()) } else { Err(anyhow!("only {seen} records")) }
}
