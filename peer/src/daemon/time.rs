//! Between the node and the keeper of the time: who is a member, who a root, and what was verified
//! that is dated.
//!
//! **Invariant:** what takes a member away is told to the keeper at once, what brings one within
//! some seconds.

use std::sync::Arc;

use clock::floor::Ground;
use host::clock::Clock;
use host::fault::Fault;
use peer_core::{Event, Node};
use shared::time::{Now, Tick};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::control::Desk;
use super::driver::Driver;
use super::fabric::Fabric;
use super::shown::Sayings;
use crate::bundle::Bundle;
use crate::config::{Source, TimeDoors, Way};
use crate::control::metrics::Metric;
use crate::control::time::{TimeAsk, TimeReply};
use crate::control::{Replier, Reply};
use crate::limits::TIME_ROLL_MS;
use crate::time::tell::{Opening, Teller};
use crate::time::{Clockwork, Keep, Kept, Ordered, Roll, begin};

/// A clock for a bundle, which asks nobody yet.
pub(super) fn wind(bundle: &Bundle) -> Result<Clockwork, Fault> {
    Clockwork::open(&bundle.config.node, &bundle.paths.floor(), bundle.cert.not_before)
}

/// Begins to keep the time of a bundle.
pub(super) fn keep(
    works: Clockwork,
    bundle: &Bundle,
    node: &Node,
    dialler: &Arc<tls::Dialler>,
    stop: &watch::Sender<bool>,
    savers: &mut Vec<JoinHandle<()>>,
) -> Result<Kept, Fault> {
    let keep = Keep {
        folder: bundle.paths.folder().to_owned(),
        evidence: bundle.paths.evidence(),
        sources: bundle.config.time.sources.clone(),
        verifier: Arc::clone(&bundle.verifier),
        dialler: Arc::clone(dialler),
        clock: works.wall(),
    };
    let (kept, tasks) = begin(works, keep, stop.subscribe())?;
    savers.extend(tasks);
    kept.tell(Ordered::Verified(node.position().at, Ground::Signed));
    kept.tell(Ordered::Roll(roll(node)));
    Ok(kept)
}

/// Begins to tell the time, if there is somewhere to.
pub(super) async fn tell(
    bundle: &Bundle,
    doors: TimeDoors,
    kept: &Kept,
    listener: &Arc<tls::Listener>,
    clock: Clock,
) -> Result<Option<Arc<Teller>>, Fault> {
    let config = bundle.config.time.clone().with(doors).map_err(Fault::usage)?;
    let opening = Opening {
        config: &config,
        kept: kept.clone(),
        keys: bundle.paths.nts_keys(),
        folder: bundle.paths.folder(),
        algorithm: bundle.cert.public.algorithm(),
        verifier: Arc::clone(&bundle.verifier),
        listener: Arc::clone(listener),
        clock,
    };
    let teller = Teller::open(opening).await?.map(Arc::new);
    teller.iter().for_each(|teller| kept.links().serve(teller));
    Ok(teller)
}

fn roll(node: &Node) -> Roll {
    Roll { time_root: node.is_time_root(), members: node.time_roll() }
}

/// The driver's end.
pub(super) struct Timing {
    pub(super) kept: Kept,
    pub(super) sayings: Sayings,
    /// The last roll that the keeper took; none if it has to be told again.
    told: Option<Roll>,
    next: Tick,
    shut: bool,
}

impl Timing {
    pub(super) fn new(kept: Kept) -> Self {
        let (sayings, told, next, shut) = Default::default();
        Self { kept, sayings, told, next, shut }
    }

    /// On a floor alone the mesh stays shut, if somebody was named who says what time it is without
    /// being linked: a link with a root needs its certificate to have begun by the floor, and what
    /// raises the floor may have to come over other links.
    pub(super) fn shut(mut self, bundle: &Bundle, node: &mut Node) -> Self {
        // The system's clock is before the floor, or there would be no need for this.
        let asked_directly = |source: &Source| !matches!(source.way, Way::Linked(_) | Way::System);
        self.shut = self.kept.is_cold() && bundle.config.time.sources.iter().any(asked_directly);
        if self.shut {
            warn!("the mesh stays shut until a time source has said what time it is");
            node.shut_until_time();
        }
        self
    }

    /// Other sources may stand in `node.yaml` now, and other files beside it.
    pub(super) fn reloaded(&self, bundle: &Bundle) {
        self.kept.links().teller().iter().for_each(|teller| teller.reload());
        if !self.kept.tell(Ordered::Sources(bundle.config.time.sources.clone())) {
            warn!("not reloaded: node.yaml (time.sources); reload again");
        }
    }
}

impl<F: Fabric> Driver<F> {
    /// What an event means for the time.
    pub(super) fn time_event(&mut self, event: &Event, now: Now) {
        match event {
            Event::FeedApplied { .. } | Event::PolicyApplied { .. } => {
                let at = self.node.position().at;
                self.timing.kept.tell(Ordered::Verified(at, Ground::Signed));
                self.tell_roll(true, now);
            }
            Event::Linked { .. } | Event::Unlinked { .. } | Event::Cut { .. } => {
                self.tell_roll(false, now);
            }
            _ => {}
        }
    }

    /// Tells the keeper who is there, if that has changed or somebody has to be judged again.
    pub(super) fn tell_roll(&mut self, judge: bool, now: Now) {
        let roll = roll(&self.node);
        self.timing.next = now.tick.plus_ms(TIME_ROLL_MS);
        if judge || self.timing.told.as_ref() != Some(&roll) {
            let told = self.timing.kept.tell(Ordered::Roll(roll.clone()));
            self.timing.told = told.then_some(roll);
        }
    }

    /// Some become members without a link.
    pub(super) fn look_at_roll(&mut self, now: Now) {
        if self.timing.next <= now.tick {
            self.tell_roll(false, now);
        }
        if self.timing.shut && !self.timing.kept.is_cold() {
            self.timing.shut = false;
            info!("the time is known: every chain is judged again, and the mesh is open");
            self.node.open_with_time(now);
        }
    }
}

impl Desk {
    pub(super) async fn time_metrics(&self) -> Result<Vec<Metric>, Fault> {
        let replies = self.kept.ask(TimeAsk::Metrics).await?;
        let metrics = replies.into_iter().filter_map(|reply| match reply {
            TimeReply::Metrics(metrics) => Some(metrics),
            _ => None,
        });
        Ok(metrics.flatten().collect())
    }

    pub(super) async fn tell_time(&self, ask: TimeAsk, replies: &mut Replier) -> Result<(), Fault> {
        for reply in self.kept.ask(ask).await? {
            replies.send(&Reply::Time(reply)).await?;
        }
        Ok(())
    }
}
