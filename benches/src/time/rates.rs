//! `time.nts_rate` and `time.ke_rate`: what one core answers, beside chronyd.

use anyhow::Result;

use super::keys::{address, exchange};
use super::load::Load;
use super::server::{Server, Stage};
use crate::harness::{Effort, Figure, Samples, Side, number, take_turns};

/// The rival, as the table calls it.
const RIVAL: &str = "chronyd 4.3";
/// Addresses that exchanges come from in turn: a server may bound those of one.
const ADDRESSES: usize = 1_024;

/// Questions under NTS.
pub(crate) fn measure_rate(effort: Effort) -> Result<Vec<Figure>> {
    let stage = Stage::new()?;
    let (ours, rival) = stage.rivals()?;
    let count = effort.pick(20_000, 100_000);
    let mut load = Load::open(&ours)?;
    let mut other = rival.as_ref().map(Load::open).transpose()?;
    let mut sides: Vec<Side<'_>> = vec![Box::new(|| load.round(count))];
    if let Some(other) = &mut other {
        sides.push(Box::new(|| other.round(count)));
    }
    let samples = take_turns(effort.pick(2, 11), &mut sides)?;
    Ok(figures("time.nts_rate", "answers/s of one core", &samples))
}

/// Key exchanges: TLS 1.3 without resumption, eight cookies each.
pub(crate) fn measure_exchanges(effort: Effort) -> Result<Vec<Figure>> {
    let stage = Stage::new()?;
    let (ours, rival) = stage.rivals()?;
    let count = effort.pick(200, 2_000);
    let mut sides: Vec<Side<'_>> = vec![Box::new(|| exchanges(&ours, count))];
    if let Some(rival) = &rival {
        sides.push(Box::new(|| exchanges(rival, count)));
    }
    let samples = take_turns(effort.pick(2, 11), &mut sides)?;
    Ok(figures("time.ke_rate", "exchanges/s of one core", &samples))
}

fn exchanges(server: &Server, count: usize) -> Result<f64> {
    let before = server.processor_s()?;
    for at in 0..count {
        let _ = exchange(server, address(at % ADDRESSES))?;
    }
    Ok(number(count) / (server.processor_s()? - before))
}

fn figures(name: &str, unit: &str, samples: &[Samples]) -> Vec<Figure> {
    let [ours, rest @ ..] = samples else { return Vec::new() };
    let figure = Figure::new(name, unit, ours);
    match rest.first() {
        Some(rival) => vec![figure.against(RIVAL, ours, rival)],
        None => vec![Figure { against: format!("{RIVAL}: not installed"), ..figure }],
    }
}
