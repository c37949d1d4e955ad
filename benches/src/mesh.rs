//! A mesh of daemons in this process, on loopback, each with a bundle the authority wrote.
//!
//! **Invariant:** a full [`Mesh`] is handed out when every daemon is linked with every other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use ca_tool::bundle::{self, NodeSettings};
use ca_tool::{Enrolment, Holder, Surroundings};
use peer::bundle::Bundle;
use peer::control::protocol::Status;
use peer::control::{Client, Reply, Request};
use peer::daemon::{Daemon, FindBy, Start};
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NodeName};
use shared::time::Timestamp;

use crate::world::World;

/// How long a mesh may take to close.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing may change before a mesh counts as settled: where two nodes dialled each other
/// at once, one of the two links goes a moment later.
const SETTLED: Duration = Duration::from_secs(1);

/// One link as a daemon tells of it: with whom, at which address, since when.
pub(crate) type Seen = (NodeName, String, Timestamp);

/// A running daemon.
pub(crate) struct Running {
    pub(crate) name: NodeName,
    pub(crate) address: String,
    folder: PathBuf,
    daemon: Daemon,
}

/// Daemons, each linked with each.
pub(crate) struct Mesh {
    pub(crate) running: Vec<Running>,
}

impl Mesh {
    /// Starts so many and waits until all are linked.
    pub(crate) async fn start(world: &World, count: usize) -> Result<Self> {
        Self::start_with(world, count, &[]).await
    }

    /// The same, where the first has these roles.
    pub(crate) async fn start_with(world: &World, count: usize, roles: &[&str]) -> Result<Self> {
        let mut running: Vec<Running> = Vec::new();
        for index in 0..count {
            let mut wish = Enrolment::new(NodeName::parse(&format!("peer-{index}"))?)?;
            if index == 0 {
                wish.roles =
                    roles.iter().map(|role| Label::parse(role)).collect::<Result<_, _>>()?;
            }
            let known = running.first().map(|one| (one.name.clone(), one.address.clone()));
            let folder = write_bundle_of(world, &wish)?;
            running.push(Running::open(folder, wish.node, known).await?);
        }
        let mesh = Self { running };
        let since = Instant::now();
        let mut before = BTreeSet::new();
        loop {
            let links = mesh.links().await?;
            if links.len() == count * (count - 1) && links == before {
                return Ok(mesh);
            }
            if since.elapsed() > PATIENCE {
                bail!("{count} daemons did not become a full mesh within {PATIENCE:?}");
            }
            before = links;
            tokio::time::sleep(SETTLED).await;
        }
    }

    /// Starts so many of which each keeps a few links, as in a network that is too large for a full
    /// mesh. They find each other while they run.
    pub(crate) async fn sparse(world: &World, count: usize) -> Result<Self> {
        let mut running: Vec<Running> = Vec::new();
        for index in 0..count {
            let wish = Enrolment::new(NodeName::parse(&format!("leaf-{index}"))?)?;
            let folder = write_bundle_of(world, &wish)?;
            let config = folder.join("node.yaml");
            let text = std::fs::read_to_string(&config)?.replace("full-mesh: 64", "full-mesh: 4");
            std::fs::write(&config, text)?;
            let known = running.first().map(|one| (one.name.clone(), one.address.clone()));
            running.push(Running::open(folder, wish.node, known).await?);
        }
        Ok(Self { running })
    }

    /// Every link as both of its ends tell of it.
    pub(crate) async fn links(&self) -> Result<BTreeSet<(NodeName, Seen)>> {
        let mut all = BTreeSet::new();
        for one in &self.running {
            let seen = one.links().await?;
            all.extend(seen.into_iter().map(|link| (one.name.clone(), link)));
        }
        Ok(all)
    }

    /// Ends all daemons.
    pub(crate) async fn stop(self) {
        for one in self.running {
            one.stop().await;
        }
    }
}

impl Running {
    /// Where its bundle is.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// The daemon, for what a program around it would do.
    pub(crate) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Starts a daemon on a bundle, told one other node or none.
    pub(crate) async fn open(
        folder: PathBuf,
        name: NodeName,
        known: Option<(NodeName, String)>,
    ) -> Result<Self> {
        let bundle = Bundle::open(&folder)?;
        let lock = bundle.lock()?;
        let start = Start {
            bundle,
            lock,
            listen: Some("127.0.0.1:0".to_owned()),
            peers: known.into_iter().collect(),
            finding: FindBy::default(),
            mqtt: peer::config::MqttDoors::default(),
            time: peer::config::TimeDoors::default(),
            on_listening: Box::new(|_| {}),
        };
        let daemon = Daemon::start(start).await.map_err(|fault| anyhow!("{fault}"))?;
        Ok(Self { name, address: daemon.listening.to_string(), folder, daemon })
    }

    /// How many nodes it knows, and how many of them it is linked with.
    pub(crate) async fn knows(&self) -> Result<(usize, usize)> {
        let status = self.status().await?;
        Ok((status.known.len(), status.links.len()))
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.daemon.stop().await;
    }

    async fn links(&self) -> Result<Vec<Seen>> {
        let links = self.status().await?.links.into_iter();
        let seen = links.map(|link| (link.node, link.address, link.since));
        // The authority comes and goes; it is no link of the mesh.
        Ok(seen.filter(|(node, ..)| node.as_str() != NodeName::AUTHORITY).collect())
    }

    async fn status(&self) -> Result<Box<Status>> {
        let client = Client::new(&self.folder);
        let reply = tokio::task::spawn_blocking(move || client.ask_one(&Request::Status)).await?;
        let Reply::Status(status) = reply.map_err(|fault| anyhow!("{fault}"))? else {
            bail!("the daemon answered something else");
        };
        Ok(status)
    }
}

/// Enrols a node and writes its bundle.
pub(crate) fn write_bundle(world: &World, name: &NodeName) -> Result<PathBuf> {
    write_bundle_of(world, &Enrolment::new(name.clone())?)
}

/// The same for a wish.
pub(crate) fn write_bundle_of(world: &World, wish: &Enrolment) -> Result<PathBuf> {
    let name = &wish.node;
    let key = PrivateKey::generate(Algorithm::P256)?;
    let issued = world.authority.enroll(wish, Holder::Private(&key))?;
    let folder = world.path().join(format!("{name}.bundle"));
    let grant = world.authority.grant(&issued, &Surroundings::default())?;
    bundle::write(&folder, &grant, &key, &NodeSettings::default())
        .with_context(|| format!("the bundle of {name}"))?;
    // Boxes that hold a round of messages.
    let boxes = "inbox: {messages: 1000000}\noutbox: {messages: 1000000}\n";
    let config = folder.join("node.yaml");
    let text = std::fs::read_to_string(&config)? + boxes;
    std::fs::write(&config, text)?;
    Ok(folder)
}
