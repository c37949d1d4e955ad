//! `memory.idle_link_kib`: what an idle link adds to the process, per side.
//!
//! Each round is a process of its own, because an allocator does not give back what an earlier
//! round used. Both sides of every link live in it, so its growth is halved. What the kernel keeps
//! for a socket is not in it, ours or bare.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::handshake::both;
use crate::harness::{Effort, Figure, Side, number, take_turns};
use crate::pipe::Pipe;
use crate::world::World;

/// The hidden option of such a process; `ours` or `bare` follows.
pub(crate) const CHILD: &str = "--idle-links";
/// Links in one process; few enough for the usual 1024 open files.
const LINKS: usize = 400;
/// Links made before counting begins: whatever is made once is made by then.
const WARM: usize = 20;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let side = |which: &'static str| -> Side<'static> { Box::new(move || start(which)) };
    let samples = take_turns(effort.pick(2, 7), &mut [side("ours"), side("bare")])?;
    let [ours, bare] = samples.as_slice() else { bail!("two sides") };
    let figure = Figure::new("memory.idle_link_kib", "KiB a side", ours);
    Ok(vec![figure.against("bare framed tokio-rustls (KiB)", ours, bare)])
}

fn start(which: &str) -> Result<f64> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args([CHILD, which]).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Makes the links, waits a moment, prints KiB per link and side.
pub(crate) fn child(which: &str) -> Result<()> {
    let world = World::new()?;
    let (ours, bare) = both(&world)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let kib = runtime.block_on(async {
        let mut pipes = Vec::with_capacity(LINKS + WARM);
        let mut before = 0.0;
        for index in 0..LINKS + WARM {
            if index == WARM {
                before = resident_kib()?;
            }
            pipes.push(match which {
                "ours" => Pipe::ours(&ours).await?,
                _ => Pipe::bare(&bare).await?,
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let grown = resident_kib()? - before;
        drop(pipes);
        anyhow::Ok(grown / number(2 * LINKS))
    })?;
    crate::report::print(&format!("{kib}\n"))
}

/// What the process holds, in KiB.
pub(crate) fn resident_kib() -> Result<f64> {
    resident_kib_of("self")
}

/// The same of any process.
pub(crate) fn resident_kib_of(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(text.context("no VmRSS in its status")?.trim().parse()?)
}
