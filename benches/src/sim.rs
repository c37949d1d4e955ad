//! `sim.*` and `idle.*`: what the simulator says of networks that are larger than any machine here.
//!
//! A thousand nodes run here, in a process of their own, as in `load`. Ten thousand take a quarter
//! of an hour and six gigabytes: their figures are taken from docs/scale.json, and say so. The
//! curves with all their figures are in docs/scale.md; these are the ones that have targets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sim::scale::{self, Idle, Scale};

use crate::harness::{Effort, Figure, Samples};

/// The hidden option of the process that simulates; `spread:SIZE` or `idle:SIZE` follows.
pub(crate) const CHILD: &str = "--sim";
const SEED: u64 = 1;
/// The size that is not simulated here.
const RECORDED: usize = 10_000;
/// The loss that targets are for, in percent.
const LOSS: u64 = 5;

/// Measures revocations in a size, and quotes those in a larger one.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let nodes = effort.pick(100, 1_000);
    let scale: Scale = serde_json::from_slice(&start(&format!("spread:{nodes}"))?)?;
    let mut figures = figures(&scale)?;
    if effort == Effort::Full {
        figures.extend(recorded(Path::new("docs"), RECORDED)?);
    }
    Ok(figures)
}

/// What `make sim` found at a size, with its command.
fn recorded(folder: &Path, nodes: usize) -> Result<Vec<Figure>> {
    let all = sim::report::read(folder)?;
    let command = format!("make sim SIZES={nodes}");
    let scale = all.get(&nodes).with_context(|| format!("no figures yet: run `{command}`"))?;
    let mut figures = figures(scale)?;
    for figure in &mut figures {
        figure.command = format!("{command} SEED={}", scale.seed);
        figure.against = "recorded in docs/scale.json".to_owned();
    }
    Ok(figures)
}

fn figures(scale: &Scale) -> Result<Vec<Figure>> {
    let nodes = scale.nodes;
    let at_loss = scale.revocations.iter().find(|r| r.loss_percent == LOSS);
    let revocation = at_loss.context("no revocation at the loss of the targets")?;
    let times =
        [("p50", revocation.p50_ms), ("p99", revocation.p99_ms), ("p100", revocation.p100_ms)];
    let time = |(share, ms)| figure(&format!("sim.revoke_ms.nodes_{nodes}.{share}"), "ms", ms);
    let bytes =
        figure(&format!("sim.bytes_per_node.nodes_{nodes}"), "bytes", revocation.bytes_each);
    Ok(times.into_iter().map(time).chain([bytes]).collect())
}

/// Measures what a node costs in a network of a thousand in which nothing happens.
pub(crate) fn measure_idle(effort: Effort) -> Result<Vec<Figure>> {
    let nodes = effort.pick(100, 1_000);
    let idle: Idle = serde_json::from_slice(&start(&format!("idle:{nodes}"))?)?;
    Ok(vec![
        figure("idle.cpu_percent", "% of a core", idle.cpu_percent),
        figure("idle.bytes_s", "bytes/s", idle.bytes_s.mean),
    ])
}

fn figure(name: &str, unit: &str, value: f64) -> Figure {
    Figure::new(name, unit, &Samples(vec![value]))
}

fn start(what: &str) -> Result<Vec<u8>> {
    let output = Command::new(std::env::current_exe()?).args([CHILD, what]).output()?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Runs in the child: prints what was measured as JSON.
pub(crate) fn child(what: &str) -> Result<()> {
    let (kind, nodes) = what.split_once(':').context("KIND:SIZE is missing")?;
    let nodes: usize = nodes.parse()?;
    let json = match kind {
        "idle" => serde_json::to_string(&scale::measure_idle(nodes, SEED))?,
        _ => serde_json::to_string(&scale::measure(nodes, SEED, &mut |_| {}))?,
    };
    crate::report::print(&json)
}
