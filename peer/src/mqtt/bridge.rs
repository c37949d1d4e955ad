//! Bridges: the same topics at an existing MQTT engine (`bridge:` in `node.yaml`).
//!
//! What a bridge says, `mqtt::span` knows. Here it is given its two connections, one to our own
//! endpoint through a pipe in memory, one to the engine, and others when these end. What comes in
//! is published as this peer's own, and what goes out is subscribed as its own: the policy judges
//! both.
//!
//! **Invariant:** two bridges of one name are never connected at once.

mod asked;
mod line;
mod running;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::fault::Fault;
use mqtt::codec::Version;
use shared::name::NetworkName;
use shared::time::Now;
use tls::Dialler;
use tokio::task::JoinHandle;

use super::Shared;
use crate::config::Bridge;
use crate::control::bridge::BridgeStatus;
use asked::Asked;
use running::Running;

pub use line::{Checked, check};

/// What bridges start with.
pub(crate) struct Plans<'p> {
    /// What `node.yaml` says of them.
    pub(crate) bridges: &'p [Bridge],
    /// The network, by which what goes out is marked.
    pub(crate) network: &'p NetworkName,
    /// Dials.
    pub(crate) dialler: Arc<Dialler>,
}

/// The bridges of a running peer.
pub(super) struct Bridges {
    network: NetworkName,
    folder: PathBuf,
    dialler: Arc<Dialler>,
    asked: Arc<Asked>,
    all: Mutex<Vec<Task>>,
}

type Task = (Arc<Running>, JoinHandle<()>);

impl Bridges {
    /// Reads what the bridges need, makes their sessions here and begins to connect. Sessions of
    /// bridges that are no more end.
    pub(super) async fn begin(
        plans: Plans<'_>,
        folder: &Path,
        shared: &Arc<Shared>,
    ) -> Result<Self, Fault> {
        let (network, folder) = (plans.network.clone(), folder.to_owned());
        let (dialler, asked) = (plans.dialler, Arc::new(Asked::open(&folder)));
        let bridges = Self { network, folder, dialler, asked, all: Mutex::default() };
        let all = plans.bridges.iter().map(|bridge| bridges.make(bridge, shared));
        let all = all.collect::<Result<Vec<_>, Fault>>()?;
        let kept: Vec<_> = all.iter().map(|running| running.session().clone()).collect();
        shared.broker.end_bridges_but(&kept);
        for running in all {
            running.rest(shared).await;
            bridges.start(running, async {}, shared);
        }
        Ok(bridges)
    }

    /// Takes other settings: what is the same goes on undisturbed. Says whether anything changed.
    ///
    /// # Errors
    /// [`Fault`] if a file that a bridge names cannot be read; nothing has changed then.
    pub(super) fn replace(&self, wanted: &[Bridge], shared: &Arc<Shared>) -> Result<bool, Fault> {
        let fresh = self.fresh(wanted, shared)?;
        let mut gone = self.take_gone(wanted);
        if fresh.is_empty() && gone.is_empty() {
            return Ok(false);
        }
        for running in fresh {
            let same = gone.iter().position(|(old, _)| old.session() == running.session());
            let before = same.map(|at| gone.swap_remove(at));
            let (resting, endpoint) = (Arc::clone(&running), Arc::clone(shared));
            let first = async move {
                if let Some((old, task)) = before {
                    old.leave(false);
                    let _ = task.await;
                }
                resting.rest(&endpoint).await;
            };
            self.start(running, first, shared);
        }
        gone.iter().for_each(|(running, _)| running.leave(true));
        Ok(true)
    }

    fn fresh(&self, wanted: &[Bridge], shared: &Shared) -> Result<Vec<Arc<Running>>, Fault> {
        let all = self.lock();
        let fresh = wanted.iter().filter(|bridge| !all.iter().any(|(known, _)| known.is(bridge)));
        fresh.map(|bridge| self.make(bridge, shared)).collect()
    }

    fn take_gone(&self, wanted: &[Bridge]) -> Vec<Task> {
        let mut all = self.lock();
        let stays = |(running, _): &Task| wanted.iter().any(|bridge| running.is(bridge));
        let (kept, gone) = std::mem::take(&mut *all).into_iter().partition(stays);
        *all = kept;
        gone
    }

    fn make(&self, bridge: &Bridge, shared: &Shared) -> Result<Arc<Running>, Fault> {
        let node = shared.own().name.as_ref().clone();
        let now = shared.clock.now().wall;
        let terms = bridge.terms(&self.network, &node, None);
        let running = Running::new(bridge, terms, (&self.folder, &self.asked), now);
        running.map(Arc::new)
    }

    /// Begins to connect, after something else.
    fn start(
        &self,
        new: Arc<Running>,
        first: impl Future<Output = ()> + Send + 'static,
        shared: &Arc<Shared>,
    ) {
        let (running, shared) = (Arc::clone(&new), Arc::clone(shared));
        let dialler = Arc::clone(&self.dialler);
        let task = tokio::spawn(async move {
            first.await;
            running.run(shared, dialler).await;
        });
        self.lock().push((new, task));
    }

    /// What they may do has changed: they ask for all of it again.
    pub(super) fn kick(&self) {
        self.lock().iter().for_each(|(running, _)| running.kick());
    }

    /// The peer stops.
    pub(super) fn abort(&self) {
        self.lock().iter().for_each(|(_, task)| task.abort());
    }

    pub(super) fn status(&self, now: Now) -> Vec<BridgeStatus> {
        self.lock().iter().map(|(running, _)| running.status(now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What people call a version.
#[must_use]
pub const fn version_words(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    }
}
