//! `revoke.cut_ms.peers_N`: from the call of `revoke` until the last link of the revoked node is
//! closed, in a full mesh of N daemons.
//!
//! The revoked node is the bench itself, and does nothing to help: it holds a link to every daemon,
//! never reads the feed, never hangs up, and notes when each connection breaks under it. So the
//! time holds the durable commit, the signature, the way to the first peer (with a handshake), the
//! flood and the last socket's end. All daemons share this machine's cores; on N machines the work
//! of N peers would not queue.
//!
//! **Invariant:** a round in which another link ended, or any did not, fails the run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use ca_tool::{Publish, Report};
use shared::feed::Reason;
use shared::name::NodeName;

use crate::harness::{Effort, Figure, Samples};
use crate::mesh::{Mesh, Seen};
use crate::outcast::{Outcast, PATIENCE};
use crate::world::World;

/// Between the outcast's last link and the revocation: its arrival has spread by then. Long enough
/// also for the daemons' gates, which let one address begin 32 handshakes a second: a round has two
/// with the first daemon.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for peers in [8, 32, 64] {
        let samples = one_size(peers, effort.pick(5, 100))?;
        let name = format!("revoke.cut_ms.peers_{peers}");
        figures.push(Figure::new(&name, "ms", &samples.cut).with_p99(&samples.cut).against(
            "the durable commit of the revocation alone (ms)",
            &samples.cut,
            &samples.commit,
        ));
    }
    Ok(figures)
}

#[derive(Default)]
struct Times {
    cut: Samples,
    commit: Samples,
}

fn one_size(peers: usize, rounds: usize) -> Result<Times> {
    let world = Arc::new(World::new()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mesh = Mesh::start(&world, peers).await?;
        let before = mesh.links().await?;
        let mut times = Times::default();
        for round in 0..=rounds {
            let (cut, commit) = one_round(&world, &mesh, round).await?;
            if round > 0 {
                times.cut.0.push(cut);
                times.commit.0.push(commit);
            }
            same_links(&before, &mesh.links().await?)?;
        }
        mesh.stop().await;
        Ok(times)
    })
}

/// Whether no link of the daemons with each other has changed.
pub(crate) fn same_links(
    before: &BTreeSet<(NodeName, Seen)>,
    after: &BTreeSet<(NodeName, Seen)>,
) -> Result<()> {
    match before.symmetric_difference(after).next() {
        None => Ok(()),
        Some(link) => bail!("a link that is not the revoked node's changed: {link:?}"),
    }
}

/// Milliseconds until the last link had ended, and until the revocation was on the disk.
async fn one_round(world: &Arc<World>, mesh: &Mesh, round: usize) -> Result<(f64, f64)> {
    let outcast = Outcast::new(world, &format!("outcast-{round}"), &mesh.running, None).await?;
    tokio::time::sleep(SETTLE).await;
    let start = Instant::now();
    let revoking = {
        let (world, node) = (Arc::clone(world), outcast.node.clone());
        let via = mesh.running.first().context("no peer")?.address.clone();
        tokio::task::spawn_blocking(move || revoke(&world, &node, via))
    };
    let ends = tokio::time::timeout(PATIENCE, outcast.until_cut()).await;
    let last = ends.map_err(|_| anyhow!("a link of the revoked node still stands"))??;
    let (committed, report) = revoking.await??;
    check(&report, mesh)?;
    let ms = |at: Instant| at.duration_since(start).as_secs_f64() * 1e3;
    Ok((ms(last), ms(committed)))
}

/// Revokes a node and tells one daemon; when it was on the disk, and what came of it.
pub(crate) fn revoke(world: &World, node: &NodeName, via: String) -> Result<(Instant, Report)> {
    world.authority.revoke(node, Reason::KeyCompromise)?;
    let committed = Instant::now();
    let what = Publish { via: vec![via], about: Some(node.clone()), ..Publish::default() };
    Ok((committed, ca_tool::publish(&world.authority, &what)?))
}

/// Every daemon has acknowledged, and has closed one link for it.
fn check(report: &Report, mesh: &Mesh) -> Result<()> {
    let right = report.peers.iter().filter(|peer| peer.ms.is_some() && peer.cut == 1).count();
    if right != mesh.running.len() || report.peers.len() != right {
        bail!("{right} of {} daemons cut exactly one link: {report:?}", mesh.running.len());
    }
    Ok(())
}
