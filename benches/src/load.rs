//! `load.peers_N.*`: N daemons in one process, on loopback, from their start until each knows all
//! others and nothing moves any more; what they hold in memory then, and what they cost idle.
//!
//! Every daemon is told one other at most: the first. The rest it learns. All share this machine's
//! cores, so N machines would be done sooner; the figures are what one machine with N daemons sees.
//!
//! **Invariant:** nothing is counted before every daemon knows every other.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::harness::{Effort, Figure, Samples, number};
use crate::memory::resident_kib;
use crate::mesh::{Running, write_bundle};
use crate::world::World;

/// The hidden option of the process that holds the daemons; their number follows.
pub(crate) const CHILD: &str = "--load";
/// How long the daemons may take to know one another.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long they are watched doing nothing.
const IDLE: Duration = Duration::from_secs(20);
/// Between two looks at who knows whom.
const LOOK: Duration = Duration::from_millis(250);
/// How many are asked how things are at a time.
const ASKED_AT_ONCE: usize = 8;

/// Measures the group, each size in a process of its own: an allocator does not give back what an
/// earlier size used.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for count in [effort.pick(20, 50), effort.pick(50, 200)] {
        figures.extend(one_size(count)?);
    }
    Ok(figures)
}

fn one_size(count: usize) -> Result<Vec<Figure>> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args([CHILD, &count.to_string()]).output()?;
    if !output.status.success() {
        bail!("{count} daemons: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let mut figures = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(what), Some(unit), Some(value)) = (words.next(), words.next(), words.next())
        else {
            bail!("a line of the child: {line:?}");
        };
        let sample = Samples(vec![value.parse()?]);
        figures.push(Figure::new(&format!("load.peers_{count}.{what}"), unit, &sample));
    }
    Ok(figures)
}

/// Runs in the child: prints `NAME UNIT VALUE` lines.
pub(crate) fn child(count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = runtime.block_on(run(count))?;
    crate::report::print(&lines)
}

async fn run(count: usize) -> Result<String> {
    let world = World::new()?;
    let mut bundles = Vec::with_capacity(count);
    for index in 0..count {
        let name = shared::name::NodeName::parse(&format!("peer-{index}"))?;
        bundles.push((write_bundle(&world, &name)?, name));
    }
    let (before, begin) = (resident_kib()?, Instant::now());
    let mut running: Vec<Running> = Vec::with_capacity(count);
    for (folder, name) in bundles {
        let known = running.first().map(|one| (one.name.clone(), one.address.clone()));
        running.push(Running::open(folder, name, known).await?);
    }
    let links = converge(&running, begin).await?;
    let converged = begin.elapsed();
    let kib = (resident_kib()? - before) / number(count);
    let (cpu, since) = (cpu_seconds(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = (cpu_seconds() - cpu) / since.elapsed().as_secs_f64() / number(count) * 100.0;
    for one in running {
        one.stop().await;
    }
    let (ms, links) = (converged.as_secs_f64() * 1e3, number(links) / number(count));
    Ok(format!(
        "converged_ms ms {ms}\nlinks_each links {links}\nmemory_each KiB {kib}\n\
         idle_cpu_percent_each % {idle}\n"
    ))
}

/// Waits until each knows all others; gives the number of link ends.
async fn converge(running: &[Running], begin: Instant) -> Result<usize> {
    loop {
        let (mut ignorant, mut links) = (0, 0);
        for some in running.chunks(ASKED_AT_ONCE) {
            for one in some {
                let (known, linked) = one.knows().await?;
                ignorant += usize::from(known + 1 < running.len());
                links += linked;
            }
        }
        if ignorant == 0 {
            return Ok(links);
        }
        if begin.elapsed() > PATIENCE {
            bail!("{ignorant} of {} do not know all others after {PATIENCE:?}", running.len());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Two hundred daemons in one process, or thousands of clients of one, need more open files than
/// the usual 1024.
pub(crate) fn raise_open_files() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "seconds of one process")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}
