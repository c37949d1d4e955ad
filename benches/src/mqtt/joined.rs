//! `mqtt.mesh_*`: the publisher at one engine, the subscriber at another.
//!
//! Two of our peers, linked as all peers are; two Mosquittos, one of which bridges everything to
//! the other over mutual TLS.

use anyhow::Result;

use super::contest::{Contest, Who};
use super::engine::{Engine, Stage, Task};
use super::flow::{Flow, Shape};
use super::packets::Qos;
use super::rates::{aim, contest, rounds};
use crate::harness::{Effort, Figure};

/// Bytes of a payload.
const BYTES: usize = 64;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let stage = Stage::new()?;
    let pairs =
        Contest::of([(Who::Ours, Some(ours(&stage)?)), (Who::Mosquitto, mosquittos(&stage)?)]);
    let mut figures = Vec::new();
    for (name, qos) in [("mqtt.mesh_q0", Qos::Zero), ("mqtt.mesh_q1", Qos::One)] {
        let flows = pairs.try_map(|[from, to]: &[Engine; 2]| {
            let (from, to) = (from.plain(), to.plain());
            let mut flow = Flow::open(&from, &to, Shape::new(qos, BYTES), aim(effort))?;
            flow.await_join()?;
            Ok(Some(flow))
        })?;
        figures.extend(contest(name, flows, rounds(effort))?);
    }
    Ok(figures)
}

fn ours(stage: &Stage) -> Result<[Engine; 2]> {
    let to = stage.ours(None)?;
    Ok([stage.ours(Some(&to))?, to])
}

fn mosquittos(stage: &Stage) -> Result<Option<[Engine; 2]>> {
    let Some(to) = stage.mosquitto(Task::Carry)? else { return Ok(None) };
    Ok(stage.mosquitto(Task::Bridge(&to))?.map(|from| [from, to]))
}
