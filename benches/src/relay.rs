//! `relay.connect_ms` and `relay.cut_ms`: a link through a relay beside a direct one.
//!
//! One daemon is the relay, the others are linked with it and with each other. The bench is a node
//! of its own that does nothing to help. It links itself with each of the others, once directly and
//! once through the relay, and the time counts from the first packet until the welcome. Then it is
//! revoked by way of a daemon that is not the relay, and the time counts from the call of `revoke`
//! until its last link is closed. All share this machine's cores and its loopback: what a network
//! between them costs is not in these figures, but in those of the lab.
//!
//! **Invariant:** a round in which a link did not come about, or another ended, fails the run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::cut::{revoke, same_links};
use crate::harness::{Effort, Figure, Samples};
use crate::mesh::{Mesh, Running};
use crate::outcast::{Outcast, PATIENCE};
use crate::world::World;

/// Daemons, the relay among them. Every link through it costs its gate two handshakes of the 32
/// that one address may begin in a second.
const DAEMONS: usize = 4;

/// Before a revocation: the outcast's arrival has spread by then, and the gates have room again.
const SETTLE: Duration = Duration::from_millis(200);

/// What one way gave.
#[derive(Default)]
struct Times {
    connect: Samples,
    cut: Samples,
}

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let world = Arc::new(World::new()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let [direct, relayed] = runtime.block_on(measured(&world, effort.pick(5, 100)))?;
    let figure = |name: &str, ours: &Samples, limit: &Samples, what: &str| {
        Figure::new(name, "ms", ours).with_p99(ours).against(what, ours, limit)
    };
    let connect = "a direct link, until the welcome (ms)";
    let cut = "the same revocation of a node with direct links (ms)";
    Ok(vec![
        figure("relay.connect_ms", &relayed.connect, &direct.connect, connect),
        figure("relay.cut_ms", &relayed.cut, &direct.cut, cut),
        punched(Path::new("docs/lab.json"))?,
    ])
}

/// From a relayed link to a direct one between two NATs, which only the lab has.
fn punched(lab: &Path) -> Result<Figure> {
    let name = "relay.punch_ms";
    let found: BTreeMap<String, f64> = serde_json::from_slice(&std::fs::read(lab)?)?;
    let ms = found.get(name).context("no figure yet: run `make lab`")?;
    let mut figure = Figure::new(name, "ms", &Samples(vec![*ms]));
    figure.command = "make lab".to_owned();
    figure.against = "recorded in docs/lab.json".to_owned();
    Ok(figure)
}

async fn measured(world: &Arc<World>, rounds: usize) -> Result<[Times; 2]> {
    let mesh = Mesh::start_with(world, DAEMONS, &["relay"]).await?;
    let before = mesh.links().await?;
    let [mut direct, mut relayed] = [Times::default(), Times::default()];
    let [relay, others @ ..] = mesh.running.as_slice() else { bail!("no relay") };
    for round in 0..=rounds {
        // One round is not counted, and the side that begins changes by round.
        for turn in [round % 2, (round + 1) % 2] {
            let (times, relay, way) = match turn {
                0 => (&mut direct, None, "direct"),
                _ => (&mut relayed, Some(relay), "relayed"),
            };
            let name = format!("{way}-{round}");
            let (connect, cut) = one_turn(world, &name, others, relay).await?;
            if round > 0 {
                times.connect.0.extend(connect);
                times.cut.0.push(cut);
            }
        }
        same_links(&before, &mesh.links().await?)?;
    }
    mesh.stop().await;
    Ok([direct, relayed])
}

/// Milliseconds for each link to stand, and until the last had ended.
async fn one_turn(
    world: &Arc<World>,
    name: &str,
    others: &[Running],
    relay: Option<&Running>,
) -> Result<(Vec<f64>, f64)> {
    let outcast = Outcast::new(world, name, others, relay).await?;
    let connect = outcast.connect_ms.clone();
    tokio::time::sleep(SETTLE).await;
    let via = others.first().context("no peer")?.address.clone();
    let start = Instant::now();
    let revoking = {
        let (world, node) = (Arc::clone(world), outcast.node.clone());
        tokio::task::spawn_blocking(move || revoke(&world, &node, via))
    };
    let ends = tokio::time::timeout(PATIENCE, outcast.until_cut()).await;
    let last = ends.map_err(|_| anyhow!("a link of {name} still stands"))??;
    let (committed, report) = revoking.await??;
    if last < committed {
        bail!("a link of {name} ended before it was revoked");
    }
    if report.peers.len() != DAEMONS || report.peers.iter().any(|peer| peer.ms.is_none()) {
        bail!("not every daemon has acknowledged: {report:?}");
    }
    Ok((connect, last.duration_since(start).as_secs_f64() * 1e3))
}
