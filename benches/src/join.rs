//! `join`, `enrol`, `renew`: a machine that becomes a node by a string, many at once, and one that
//! renews at the authority's door. Real TLS on loopback, and an authority that is online.
//!
//! What is held against them: the same daemon linking without having to join, and the same
//! certificates issued durably without a network.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use ca_tool::serve::{Serve, Served};
use ca_tool::{Authority, Enrolment, Holder, Invite};
use peer::join::{Knock, join, renew};
use shared::cert::request;
use shared::join::JoinString;
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use tokio::runtime::Runtime;

use crate::harness::{Effort, Figure, Samples, Side, rate, take_turns};
use crate::mesh::Running;
use crate::world::World;

/// Clients at once.
const CLIENTS: usize = 16;
/// How long a link may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it stands.
const LOOK: Duration = Duration::from_millis(1);
/// Seconds an invitation stands open: longer than any round.
const OPEN_S: i64 = 3_600;

/// An authority that is online, and names nobody has had yet.
struct Stage {
    authority: Arc<Authority>,
    served: Served,
    folder: tempfile::TempDir,
    next: usize,
}

impl Stage {
    async fn open() -> Result<Self> {
        let (authority, folder) = World::new()?.into_parts();
        let authority = Arc::new(authority);
        let any = "127.0.0.1:0".to_owned();
        let how = Serve {
            listen: any.clone(),
            mesh: any,
            advertise: Vec::new(),
            metrics: None,
            grace_s: 0,
        };
        let served = Served::start(Arc::clone(&authority), &how).await;
        let served = served.map_err(|fault| anyhow!("{fault}"))?;
        Ok(Self { authority, served, folder, next: 0 })
    }

    fn name(&mut self) -> Result<NodeName> {
        self.next += 1;
        Ok(NodeName::parse(&format!("node-{}", self.next))?)
    }

    fn invite(&mut self) -> Result<JoinString> {
        let wish = Enrolment::new(self.name()?)?;
        let addresses = self.served.around().addresses;
        let invite = Invite { wish, open_s: OPEN_S, hold: false, addresses };
        Ok(self.authority.invite(&invite)?.0)
    }
}

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut stage = runtime.block_on(Stage::open())?;
    let mut figures = linked(&runtime, &mut stage, effort)?;
    figures.extend(crowd(&runtime, &mut stage, effort)?);
    figures.extend(renewed(&runtime, &mut stage, effort)?);
    runtime.block_on(stage.served.stop());
    Ok(figures)
}

fn linked(runtime: &Runtime, stage: &mut Stage, effort: Effort) -> Result<Vec<Figure>> {
    let known = stage.folder.path().join("known.bundle");
    let string = stage.invite()?;
    let name = runtime.block_on(join_into(&string, &known))?;
    let (mut joined, mut without) = (Samples::default(), Samples::default());
    for _ in 0..effort.pick(5, 40) {
        let (string, out) = (stage.invite()?, stage.folder.path().join("fresh.bundle"));
        let start = Instant::now();
        let fresh = runtime.block_on(async {
            let fresh = join_into(&string, &out).await?;
            link(&out, fresh, start).await
        })?;
        joined.0.push(fresh);
        std::fs::remove_dir_all(&out)?;
        let start = Instant::now();
        without.0.push(runtime.block_on(link(&known, name.clone(), start))?);
    }
    let what = "the same daemon on a bundle that is there already, until linked (ms)";
    let figure = Figure::new("join.linked_ms", "ms", &joined).with_p99(&joined);
    Ok(vec![figure.against(what, &joined, &without)])
}

async fn join_into(string: &JoinString, out: &Path) -> Result<NodeName> {
    let text = string.reveal();
    let string = JoinString::parse(&text)?;
    let joined = join(&string, Some(out), |_| {}).await.map_err(|fault| anyhow!("{fault}"))?;
    Ok(joined.installed.node)
}

/// Milliseconds from a start until a daemon on this bundle has its first link.
async fn link(bundle: &Path, name: NodeName, start: Instant) -> Result<f64> {
    let running = Running::open(bundle.to_owned(), name, None).await?;
    while running.knows().await?.1 == 0 {
        if start.elapsed() > PATIENCE {
            bail!("no link after {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let ms = start.elapsed().as_secs_f64() * 1e3;
    running.stop().await;
    Ok(ms)
}

/// What a machine has made ready before it knocks.
struct Ready {
    string: JoinString,
    csr: Vec<u8>,
}

fn crowd(runtime: &Runtime, stage: &mut Stage, effort: Effort) -> Result<Vec<Figure>> {
    let each = effort.pick(10, 40);
    let (mut online, mut alone) = (Samples::default(), Samples::default());
    for _ in 0..effort.pick(3, 12) {
        let crowd: Vec<Vec<Ready>> = (0..CLIENTS)
            .map(|_| (0..each).map(|_| ready(stage)).collect::<Result<_>>())
            .collect::<Result<_>>()?;
        let start = Instant::now();
        runtime.block_on(async {
            let clients: Vec<_> = crowd.into_iter().map(|one| tokio::spawn(knock(one))).collect();
            for client in clients {
                client.await??;
            }
            anyhow::Ok(())
        })?;
        online.0.push(rate(CLIENTS * each, start));
        alone.0.push(issue(stage, each)?);
    }
    let what = "the same certificates, durable, from 16 threads without a network (certificates/s)";
    let figure = Figure::new("enrol.durable_rate_16", "joins/s", &online);
    Ok(vec![figure.against(what, &online, &alone)])
}

fn ready(stage: &mut Stage) -> Result<Ready> {
    let key = PrivateKey::generate(Algorithm::P256)?;
    Ok(Ready { string: stage.invite()?, csr: request::make(&key, "joining")? })
}

/// Joins one after the other, each on a connection of its own.
async fn knock(all: Vec<Ready>) -> Result<()> {
    for Ready { string, csr } in all {
        let mut door = Knock::at(&string).await.map_err(|fault| anyhow!("{fault}"))?;
        door.ask(&csr, || {}).await.map_err(|fault| anyhow!("{fault}"))?;
    }
    Ok(())
}

fn issue(stage: &mut Stage, each: usize) -> Result<f64> {
    let names: Vec<Vec<NodeName>> = (0..CLIENTS)
        .map(|_| (0..each).map(|_| stage.name()).collect::<Result<_>>())
        .collect::<Result<_>>()?;
    let authority = &stage.authority;
    let start = Instant::now();
    let one = |names: Vec<NodeName>| -> Result<()> {
        for name in names {
            let key = PrivateKey::generate(Algorithm::P256)?;
            authority.enroll(&Enrolment::new(name)?, Holder::Private(&key))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let one = &one;
        let spawn = |some| scope.spawn(move || one(some));
        let threads: Vec<_> = names.into_iter().map(spawn).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread died"))?)
    })?;
    Ok(rate(CLIENTS * each, start))
}

fn renewed(runtime: &Runtime, stage: &mut Stage, effort: Effort) -> Result<Vec<Figure>> {
    let (name, key) = (stage.name()?, PrivateKey::generate(Algorithm::P256)?);
    let issued = stage.authority.enroll(&Enrolment::new(name.clone())?, Holder::Private(&key))?;
    let verifier = Arc::new(stage.authority.verifier()?);
    let identity = tls::Identity { chain: issued.chain, key };
    let dialler = tls::Dialler::new(&identity, verifier, stage.authority.clock())?;
    let around = stage.served.around();
    let address = around.addresses.first().context("no address")?.clone();
    let mut sides: Vec<Side<'_>> = vec![
        Box::new(|| {
            let key = PrivateKey::generate(Algorithm::P256)?;
            let csr = request::make(&key, "renewing")?;
            let start = Instant::now();
            runtime.block_on(renew(std::slice::from_ref(&address), &dialler, &csr))?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        }),
        Box::new(|| {
            let key = PrivateKey::generate(Algorithm::P256)?;
            let start = Instant::now();
            stage.authority.renew(&name, Some(Holder::Private(&key)))?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        }),
    ];
    let samples = take_turns(effort.pick(5, 60), &mut sides)?;
    let [online, alone] = samples.as_slice() else { bail!("two sides") };
    let what = "the same renewal, durable, without a network (ms)";
    let figure = Figure::new("renew.ms", "ms", online).with_p99(online);
    Ok(vec![figure.against(what, online, alone)])
}
