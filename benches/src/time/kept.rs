//! `time.offset_us.*`: how far the clocks of two peers on one machine are apart.
//!
//! Both read the same oscillator, also from two network namespaces, so what is between them is the
//! error of the way from one to the other: chronyd tells this machine's clock, a hub takes it from
//! there, and a leaf from the hub.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::server::{LOCAL, Server, Stage};
use super::wire::{Place, Wire};
use crate::harness::{Effort, Figure, Samples};

/// How long the two may take until both are synchronised.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Over loopback, and as root over a wire between two network namespaces.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let here = [Place::here(), Place::here()];
    let mut figures = vec![between("time.offset_us.loopback", effort, &here)?];
    if rustix::process::geteuid().is_root() {
        let wire = Wire::lay()?;
        figures.push(between("time.offset_us.veth", effort, wire.ends())?);
    } else {
        crate::report::say("skipped time.offset_us.veth: needs root for network namespaces")?;
    }
    Ok(figures)
}

/// Looks every second, after a while in which they learn each other's rate.
fn between(name: &str, effort: Effort, [near, far]: &[Place; 2]) -> Result<Figure> {
    let stage = Stage::new()?;
    let Some(chrony) = stage.chrony(("chrony", near), LOCAL)? else {
        bail!("chronyd is not installed")
    };
    let outside = format!("sources: [{{address: \"{}\"}}]", chrony.time);
    let hub = stage.ours(("hub", near), &outside, None)?;
    let inside = format!("sources: [{{peer: hub, address: \"{}\"}}]", hub.exchange);
    let leaf = stage.ours(("leaf", far), &inside, Some(&hub))?;
    let begin = Instant::now();
    while !(is_synchronised(&stage, &hub)? && is_synchronised(&stage, &leaf)?) {
        if begin.elapsed() > PATIENCE {
            let says = (status(&stage, &hub)?, status(&stage, &leaf)?);
            bail!("not synchronised after {PATIENCE:?}: {says:?}");
        }
        std::thread::sleep(LOOK);
    }
    std::thread::sleep(LOOK * u32::try_from(effort.pick(5, 120))?);
    let (mut between, mut outside) = (Samples::default(), Samples::default());
    for _ in 0..effort.pick(5, 120) {
        let (one, other) = (ahead_us(&stage, &hub)?, ahead_us(&stage, &leaf)?);
        between.0.push((one - other).abs());
        outside.0.push(other.abs());
        std::thread::sleep(LOOK);
    }
    let whole = "the leaf from the clock that chronyd tells";
    let mut figure = Figure::new(name, "µs", &between).with_p99(&between);
    figure.against = format!("{whole}: {}", crate::report::plain(outside.median()));
    Ok(figure)
}

fn status(stage: &Stage, server: &Server) -> Result<Value> {
    let said =
        Command::new(&stage.peer).arg("time").arg(&server.folder).arg("--json").output()?.stdout;
    serde_json::from_slice(&said).context("what `peer time --json` says")
}

fn is_synchronised(stage: &Stage, server: &Server) -> Result<bool> {
    Ok(status(stage, server)?.get("state").and_then(Value::as_str) == Some("synchronised"))
}

/// By how much this machine's clock is ahead of a peer's.
fn ahead_us(stage: &Stage, server: &Server) -> Result<f64> {
    let said = status(stage, server)?;
    let ahead_ns = said.get("system_ahead_ns").and_then(Value::as_f64);
    Ok(ahead_ns.context("no system_ahead_ns")? / 1e3)
}
