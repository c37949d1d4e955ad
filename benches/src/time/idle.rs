//! `time.idle_percent`: what it costs to keep the clock and to be asked for it, with nothing else
//! to do.
//!
//! A hub takes the time from chronyd and a leaf takes it from the hub; counted is all that the
//! hub's process does, its link included. Beside it a chronyd with the same source and nobody who
//! asks. The kernel's ticks of 10 ms would be most of such a figure, so its account in nanoseconds
//! is read, thread by thread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::server::{LOCAL, Server, Stage};
use super::wire::Place;
use crate::harness::{Effort, Figure, Samples, number};

/// A round.
const ROUND: Duration = Duration::from_secs(30);
/// Between two looks: what a thread does after its last one is not counted.
const LOOK: Duration = Duration::from_secs(1);

/// Rounds of half a minute each, after a while in which clocks ask often.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let (stage, here) = (Stage::new()?, Place::here());
    let Some(source) = stage.chrony(("source", &here), LOCAL)? else {
        bail!("chronyd is not installed")
    };
    let asks = format!("sources: [{{address: \"{}\"}}]", source.time);
    let hub = stage.ours(("hub", &here), &asks, None)?;
    let asks = format!("sources: [{{peer: hub, address: \"{}\"}}]", hub.exchange);
    let _leaf = stage.ours(("leaf", &here), &asks, Some(&hub))?;
    let asks = format!("server {} port {}", source.time.ip(), source.time.port());
    let rival = stage.chrony(("rival", &here), &asks)?.context("chronyd ended")?;
    let mut accounts = [&hub, &rival].map(Account::open);
    let mut samples = [(); 2].map(|()| Samples::default());
    let (warming, counted) = (effort.pick(0, 6), effort.pick(1, 10));
    for round in 0..warming + counted {
        let spent = spend(&mut accounts)?;
        for (samples, percent) in samples.iter_mut().zip(spent) {
            samples.0.extend((round >= warming).then_some(percent));
        }
    }
    let [ours, theirs] = &samples;
    let figure = Figure::new("time.idle_percent", "% of a core", ours);
    Ok(vec![figure.against("an idle chronyd 4.3", ours, theirs)])
}

/// Percent of a core that each takes for a round.
fn spend(accounts: &mut [Account<'_>; 2]) -> Result<[f64; 2]> {
    accounts.iter_mut().try_for_each(Account::begin)?;
    let begun = Instant::now();
    while begun.elapsed() < ROUND {
        std::thread::sleep(LOOK);
        accounts.iter_mut().try_for_each(Account::look)?;
    }
    let whole = begun.elapsed().as_secs_f64() * 1e9;
    Ok([0, 1].map(|at| accounts.get(at).map_or(f64::NAN, |each| each.spent_ns() / whole * 100.0)))
}

/// What each thread of a process has taken, as it was seen last.
struct Account<'a> {
    server: &'a Server,
    begun: BTreeMap<u32, u64>,
    seen: BTreeMap<u32, u64>,
}

impl<'a> Account<'a> {
    const fn open(server: &'a Server) -> Self {
        Self { server, begun: BTreeMap::new(), seen: BTreeMap::new() }
    }

    fn begin(&mut self) -> Result<()> {
        self.begun = self.server.threads_ns()?;
        self.seen.clone_from(&self.begun);
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.seen.append(&mut self.server.threads_ns()?);
        Ok(())
    }

    /// Since it began; a thread that is new took all it has taken since.
    fn spent_ns(&self) -> f64 {
        let since = |(id, ns): (&u32, &u64)| ns - self.begun.get(id).unwrap_or(&0);
        let spent: u64 = self.seen.iter().map(since).sum();
        usize::try_from(spent).map_or(f64::NAN, number)
    }
}
