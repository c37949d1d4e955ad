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
use bytes::Bytes;
use ca_tool::{Enrolment, Holder, Publish, Report};
use peer::link::{Queue, Sink, dial};
use shared::feed::Reason;
use shared::id::InstanceId;
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use shared::presence::Presence;
use shared::refusal::Refusal;
use shared::wire::{Body, Greeting, Kind, VERSION};
use tokio::task::JoinHandle;

use crate::harness::{Effort, Figure, Samples};
use crate::mesh::{Mesh, Running, Seen};
use crate::world::World;

/// How long anything may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(10);

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

fn same_links(
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
    let outcast = Outcast::new(world, round, &mesh.running).await?;
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

fn revoke(world: &World, node: &NodeName, via: String) -> Result<(Instant, Report)> {
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

/// The node that is turned out: a link to every daemon, and when each ended.
struct Outcast {
    node: NodeName,
    ends: Vec<JoinHandle<Instant>>,
    _queues: Vec<Queue>,
}

impl Outcast {
    async fn new(world: &World, round: usize, peers: &[Running]) -> Result<Self> {
        let node = NodeName::parse(&format!("outcast-{round}"))?;
        let key = PrivateKey::generate(Algorithm::P256)?;
        let issued =
            world.authority.enroll(&Enrolment::new(node.clone())?, Holder::Private(&key))?;
        let hello = greeting(world, &node, &key, &issued.chain)?;
        let clock: tls::Clock = Arc::new(host::clock::wall);
        let identity = tls::Identity { chain: issued.chain, key };
        let dialler = tls::Dialler::new(&identity, world.verifier(0)?, clock)?;
        let (mut ends, mut queues) = (Vec::new(), Vec::new());
        for peer in peers {
            let mut secured = dial(&peer.address, Some(peer.name.clone()), &dialler).await?;
            secured.write_body(&Body::Hello(hello.clone())).await?;
            let Body::Welcome(_) = secured.read_body(PATIENCE).await? else {
                bail!("{} does not welcome {node}", peer.name);
            };
            let (queue, pump) = secured.start(Deaf);
            queues.push(queue);
            ends.push(tokio::spawn(async move {
                // However it ended, it ended now.
                let _ = pump.await;
                Instant::now()
            }));
        }
        Ok(Self { node, ends, _queues: queues })
    }

    async fn until_cut(self) -> Result<Instant> {
        let mut last = None;
        for end in self.ends {
            last = last.max(Some(end.await?));
        }
        last.context("there was no link")
    }
}

fn greeting(
    world: &World,
    node: &NodeName,
    key: &PrivateKey,
    chain: &[Vec<u8>],
) -> Result<Greeting> {
    let position = world.authority.feed_position()?;
    let presence = Presence {
        node: node.clone(),
        instance: InstanceId::new(host::random::bytes()?),
        boot: 1,
        sequence: 1,
        at: host::clock::wall(),
        addresses: Vec::new(),
        roles: Vec::new(),
        feed_number: position.number,
        policy_number: 0,
        relays: Vec::new(),
    };
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    Ok(Greeting {
        version_min: VERSION,
        version_max: VERSION,
        presence: presence.sign(world.authority.network(), key, &chain)?,
        feed_number: position.number,
        feed_at: position.at,
    })
}

/// Hears everything and heeds nothing.
struct Deaf;

impl Sink for Deaf {
    async fn batch(&mut self, _: Vec<(Kind, Bytes)>) -> Result<(), Refusal> {
        Ok(())
    }
}
