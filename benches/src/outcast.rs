//! A node that is turned out: it holds links, directly or through a relay, and does not help.
//!
//! **Invariant:** every link it was asked for was welcomed, and the end of each is noted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use ca_tool::{Enrolment, Holder};
use peer::link::{Queue, Relay, Secured, Sink, dial, dial_through, reach};
use shared::id::InstanceId;
use shared::key::{Algorithm, PrivateKey};
use shared::name::NodeName;
use shared::presence::Presence;
use shared::refusal::Refusal;
use shared::wire::{Body, Circuit, Greeting, Kind, VERSION};
use tokio::task::JoinHandle;

use crate::mesh::Running;
use crate::world::World;

/// How long anything may take before the run has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A link to each of some daemons, and when each ended.
pub(crate) struct Outcast {
    pub(crate) node: NodeName,
    /// For each link: milliseconds from the first packet until the welcome.
    pub(crate) connect_ms: Vec<f64>,
    ends: Vec<JoinHandle<Instant>>,
    /// Dropped, they would close the links.
    queues: Vec<Queue>,
}

impl Outcast {
    /// Enrols a node and links it with each of these, through a relay if one is given.
    pub(crate) async fn new(
        world: &World,
        name: &str,
        peers: &[Running],
        relay: Option<&Running>,
    ) -> Result<Self> {
        let node = NodeName::parse(name)?;
        let key = PrivateKey::generate(Algorithm::P256)?;
        let issued =
            world.authority.enroll(&Enrolment::new(node.clone())?, Holder::Private(&key))?;
        let hello = greeting(world, &node, &key, &issued.chain)?;
        let clock: tls::Clock = Arc::new(host::clock::wall);
        let identity = tls::Identity { chain: issued.chain, key };
        let dialler = tls::Dialler::new(&identity, world.verifier(0)?, clock)?;
        let (connect_ms, ends, queues) = Default::default();
        let mut outcast = Self { node, connect_ms, ends, queues };
        for peer in peers {
            let start = Instant::now();
            let mut secured = connect(peer, relay, &dialler).await?;
            secured.write_body(&Body::Hello(hello.clone())).await?;
            let Body::Welcome(_) = secured.read_body(PATIENCE).await? else {
                bail!("{} does not welcome {name}", peer.name);
            };
            outcast.connect_ms.push(start.elapsed().as_secs_f64() * 1e3);
            outcast.hold(secured);
        }
        Ok(outcast)
    }

    fn hold(&mut self, secured: Secured) {
        let (queue, pump) = secured.start(Deaf);
        self.queues.push(queue);
        self.ends.push(tokio::spawn(async move {
            // However it ended, it ended now.
            let _ = pump.await;
            Instant::now()
        }));
    }

    /// Waits until no link is left; when the last ended.
    pub(crate) async fn until_cut(self) -> Result<Instant> {
        let mut last = None;
        for end in self.ends {
            last = last.max(Some(end.await?));
        }
        last.context("there was no link")
    }
}

async fn connect(
    peer: &Running,
    relay: Option<&Running>,
    dialler: &tls::Dialler,
) -> Result<Secured> {
    let Some(relay) = relay else {
        return Ok(dial(&peer.address, Some(peer.name.clone()), dialler).await?);
    };
    let relay = Relay { node: &relay.name, address: &relay.address, any: false, home: None };
    let tunnel = reach(relay, Circuit::Ask(peer.name.clone()), dialler).await?;
    Ok(dial_through(tunnel, peer.name.clone(), dialler).await?)
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
