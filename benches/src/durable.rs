//! `issue.durable_N`: certificates a second, each on the disk before its requester has it, from N
//! threads at once; against the commits a second that bare redb makes durable on the same disk.
//!
//! One certificate takes two commits, its intent and its record; requests at once share them.

use std::time::Instant;

use anyhow::{Result, anyhow};
use ca_tool::{Enrolment, Holder};
use redb::{Database, TableDefinition};
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;

use crate::harness::{Effort, Figure, Samples, Side, rate, take_turns};
use crate::world::World;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bare");

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = World::new()?;
    let bare = Database::create(world.path().join("bare.redb"))?;
    let rounds = effort.pick(3, 20);
    let (mut names, mut number) = ((0u64..).map(|n| format!("node-{n}")), 0);
    let names = std::cell::RefCell::new(&mut names);
    let fresh = |count: usize| names.borrow_mut().take(count).collect::<Vec<_>>();
    let (alone, crowd) = (effort.pick(20, 40), effort.pick(40, 100));
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| enrol(&world, &[fresh(alone)])),
        Box::new(|| {
            let threads: Vec<_> = (0..8).map(|_| fresh(crowd)).collect();
            enrol(&world, &threads)
        }),
        Box::new(|| commit(&bare, &mut number, alone)),
    ];
    let samples = take_turns(rounds, &mut sides)?;
    let [one, eight, commits] = samples.as_slice() else { anyhow::bail!("three sides") };
    let what = "bare redb, one small durable commit after the other (commits/s)";
    let figure = |name: &str, ours: &Samples| {
        Figure::new(name, "certificates/s", ours).against(what, ours, commits)
    };
    Ok(vec![figure("issue.durable_1", one), figure("issue.durable_8", eight)])
}

/// Enrols lists of nodes, each list in a thread of its own.
fn enrol(world: &World, threads: &[Vec<String>]) -> Result<f64> {
    let count = threads.iter().map(Vec::len).sum();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = threads
            .iter()
            .map(|names| scope.spawn(|| names.iter().try_for_each(|name| one(world, name))))
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread died"))?)
    })?;
    Ok(rate(count, start))
}

fn one(world: &World, name: &str) -> Result<()> {
    let wish = Enrolment::new(NodeName::parse(name)?)?;
    let key = PrivateKey::generate(Algorithm::P256)?;
    world.authority.enroll(&wish, Holder::Private(&key))?;
    Ok(())
}

fn commit(database: &Database, number: &mut u64, count: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        let txn = database.begin_write()?;
        *number += 1;
        txn.open_table(TABLE)?.insert(*number, [7u8; 600].as_slice())?;
        txn.commit()?;
    }
    Ok(rate(count, start))
}
