//! Start-up and its reverse: everything a daemon needs, put together in one order, taken apart in
//! the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use host::clock::Clock;
use host::fault::Fault;
use host::lock::FileLock;
use host::watch::Watcher;
use peer_core::{Node, Settings};
use shared::name::NodeName;
use shared::wire::Greeting;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::authority::Audience;
use super::circuits::Switchboard;
use super::connection::Connector;
use super::control::Desk;
use super::delivery::{PARCELS_MAX, deliver};
use super::driver::Driver;
use super::fabric::DirectFabric;
use super::finding;
use super::interfaces;
use super::lan::Neighbourhood;
use super::listening::{self, accept, bind};
use super::live::Ears;
use super::meeting::Meeting;
use super::news::{NEWS_MAX, News};
use super::posting::Posting;
use super::reload::{Reloader, own_ids, signer};
use super::renewal::Renewing;
use super::saving::Saving;
use super::telling::Telling;
use super::time::{self, Timing};
use crate::bundle::Bundle;
use crate::config::{Lan, MqttDoors, TimeDoors};
use crate::control::Server;
use crate::inbox::Inbox;
use crate::link::{Bounds, Gate};
use crate::mqtt::{Endpoint, Opening, Plans};
use crate::outbox::Outbox;
use crate::state::State;
use crate::time::Kept;

/// How often the bundle's files are looked at: a stat each of four files.
const WATCH: Duration = Duration::from_millis(500);
/// How long a stop may take before what is left is dropped.
const STOP: Duration = Duration::from_secs(3);

/// What a daemon starts with.
pub struct Start {
    /// The bundle, read and checked.
    pub bundle: Bundle,
    /// The proof that no other peer runs on it.
    pub lock: FileLock,
    /// Where to listen instead of where `node.yaml` says.
    pub listen: Option<String>,
    /// Peers to dial besides those of `node.yaml`.
    pub peers: Vec<(NodeName, String)>,
    /// How to find others besides.
    pub finding: FindBy,
    /// Doors for MQTT besides those of `node.yaml`.
    pub mqtt: MqttDoors,
    /// Doors for the time besides those of `node.yaml`.
    pub time: TimeDoors,
    /// Called once, when the socket listens.
    pub on_listening: Box<dyn FnOnce(SocketAddr) + Send>,
}

/// How to find others, besides what `node.yaml` says.
#[derive(Debug, Clone, Default)]
pub struct FindBy {
    /// Addresses to dial without knowing whose they are.
    pub seeds: Vec<String>,
    /// Nothing is announced or asked on the local network, whatever `node.yaml` says.
    pub no_lan: bool,
}

/// Runs until SIGTERM or SIGINT, or until a command says stop.
///
/// # Errors
/// [`Fault`] if something needed at the start is missing or taken.
pub fn run(start: Start) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        // Heard from the first moment on: who reads that it listens may end it at once.
        let signals = hear_signals()?;
        let daemon = Daemon::start(start).await?;
        daemon.until_told(signals).await;
        daemon.stop().await;
        Ok(())
    })
}

/// A running daemon.
pub struct Daemon {
    /// Where it listens; port 0 if nowhere.
    pub listening: SocketAddr,
    watched: Vec<PathBuf>,
    stop: watch::Sender<bool>,
    pub(super) news: mpsc::Sender<News>,
    driver: JoinHandle<()>,
    savers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    _lock: FileLock,
}

impl Daemon {
    /// Starts a daemon on the running tokio runtime.
    ///
    /// # Errors
    /// [`Fault`] if something needed at the start is missing or taken.
    pub async fn start(start: Start) -> Result<Self, Fault> {
        let Start { bundle, lock, listen, peers, finding: by, mqtt, time: told_at, on_listening } =
            start;
        tls::warm_up().map_err(|error| Fault::failed(error.to_string()))?;
        let works = time::wind(&bundle)?;
        let clock = Clock::start().showing(works.wall());
        let address = listen.unwrap_or_else(|| bundle.config.listen.clone());
        let (tcp, listening) = bind(&address).await?;
        let extra_peers: BTreeMap<NodeName, String> = peers.into_iter().collect();
        let state = open_state(&bundle)?;
        bundle.settle()?;
        let mut node = new_node(&bundle, &state, &extra_peers, listening, &clock)?;
        super::policy::recall(&bundle, &mut node, clock.now())?;
        node.configure_leads(&seeds_of(&bundle, &by), clock.now());
        let parts = Parts::new(&bundle, node.greeting(), works.wall())?;
        let (inbox, outbox, posting) = open_boxes(&bundle, &state, &parts.news)?;
        posting.recall(&mut node, clock.now())?;
        let (stop, stopped) = watch::channel(false);
        let (parcels, received) = mpsc::channel(PARCELS_MAX);
        let (saving, mut savers) = Saving::begin(&bundle);
        let boxes = (Arc::clone(&inbox), outbox);
        let endpoint = parts.endpoint(&bundle, &mqtt, &node, state.boot(), clock.clone()).await?;
        let kept = time::keep(works, &bundle, &node, &parts.dialler, &stop, &mut savers)?;
        let timing = Timing::new(kept.clone()).shut(&bundle, &mut node);
        let teller = time::tell(&bundle, told_at, &kept, &parts.listener, clock.clone()).await?;
        let doors = (endpoint.clone(), kept.clone(), teller);
        let desk = Desk::new(&bundle, &state, parts.news.clone(), boxes, doors, stop.clone());
        let door = Server::bind(bundle.paths.folder(), &lock)?;
        let watched = bundle.watched();
        let mut others = finders(&bundle, &by, listening, &parts.news);
        let reloader = parts.reloader(bundle, extra_peers, by.seeds);
        let since = clock.now().wall;
        let home = tcp.as_ref().map(|_| listening);
        let rate = reloader.bundle.config.relay.bytes_per_second;
        let connector =
            Arc::new(parts.connector(clock.clone(), home, rate, endpoint.clone(), &kept));
        let driver = Driver {
            node,
            fabric: DirectFabric::new(Arc::clone(&connector)),
            circuits: Switchboard::default(),
            clock,
            news: parts.heard,
            greeting: parts.greeting,
            saving,
            inbox: parcels,
            posting,
            ears: Ears::default(),
            audience: Audience::default(),
            renewal: Renewing::of(&reloader.bundle),
            reloader,
            telling: Telling::default(),
            asked: BTreeMap::new(),
            next_request: 0,
            traffic: BTreeMap::new(),
            pinged: BTreeMap::new(),
            mqtt: endpoint,
            timing,
            listening: listening::told(listening),
            since,
        };
        others.extend([
            tokio::spawn(deliver(received, inbox, parts.news.clone())),
            tokio::spawn(watch_files(Watcher::new(watched.clone()), parts.news.clone())),
            tokio::spawn(door.run(Arc::new(desk))),
        ]);
        others.extend(tcp.map(|tcp| tokio::spawn(accept(tcp, connector))));
        let driver = tokio::spawn(driver.run(stopped));
        on_listening(listening);
        Ok(Self { listening, watched, stop, news: parts.news, driver, savers, others, _lock: lock })
    }

    /// Waits for SIGTERM, SIGINT or a command to stop; SIGHUP reads the bundle again.
    async fn until_told(&self, [mut term, mut int, mut hup]: [Signal; 3]) {
        let mut stopped = self.stop.subscribe();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = hup.recv() => {
                    let _ = self.news.send(News::Reload(self.watched.clone())).await;
                }
            }
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }

    /// Closes every link with a goodbye, saves the feed and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in &self.others {
            task.abort();
        }
        let _ = tokio::time::timeout(STOP, self.driver).await;
        // The driver's end closes the savers' channels: the last is written, then they end.
        for saver in self.savers {
            let _ = tokio::time::timeout(STOP, saver).await;
        }
    }
}

/// SIGTERM, SIGINT and SIGHUP.
fn hear_signals() -> Result<[Signal; 3], Fault> {
    let deaf = |error: std::io::Error| Fault::failed(format!("signals cannot be heard: {error}"));
    let term = signal(SignalKind::terminate()).map_err(deaf)?;
    let int = signal(SignalKind::interrupt()).map_err(deaf)?;
    let hup = signal(SignalKind::hangup()).map_err(deaf)?;
    Ok([term, int, hup])
}

/// What several rooms share.
struct Parts {
    dialler: Arc<tls::Dialler>,
    listener: Arc<tls::Listener>,
    greeting: watch::Sender<Greeting>,
    greeting_seen: watch::Receiver<Greeting>,
    news: mpsc::Sender<News>,
    heard: mpsc::Receiver<News>,
    is_authority: bool,
}

impl Parts {
    fn new(bundle: &Bundle, greeting: Greeting, clock: tls::Clock) -> Result<Self, Fault> {
        let fault = |error: tls::TlsError| Fault::failed(error.to_string());
        let verifier = &bundle.verifier;
        let dialler = tls::Dialler::new(&bundle.identity, Arc::clone(verifier), Arc::clone(&clock));
        let listener = tls::Listener::new(&bundle.identity, Arc::clone(verifier), clock);
        let (greeting, greeting_seen) = watch::channel(greeting);
        let (news, heard) = mpsc::channel(NEWS_MAX);
        Ok(Self {
            dialler: Arc::new(dialler.map_err(fault)?),
            listener: Arc::new(listener.map_err(fault)?),
            greeting,
            greeting_seen,
            news,
            heard,
            is_authority: bundle.cert.node.as_str() == NodeName::AUTHORITY,
        })
    }

    /// The MQTT endpoint, if it has a door.
    async fn endpoint(
        &self,
        bundle: &Bundle,
        doors: &MqttDoors,
        node: &Node,
        run: u64,
        clock: Clock,
    ) -> Result<Option<Arc<Endpoint>>, Fault> {
        let config = bundle.config.mqtt.clone().with(doors);
        if !config.is_on() && bundle.config.bridges.is_empty() {
            return Ok(None);
        }
        let opening = Opening {
            config: &config,
            node: &bundle.config.node,
            attributes: &bundle.cert.attributes,
            run,
            folder: bundle.paths.folder().to_owned(),
            policy: &node.policy(),
            signer: signer(bundle)?,
            verifier: Arc::clone(&bundle.verifier),
            listener: Arc::clone(&self.listener),
            plans: Plans {
                bridges: &bundle.config.bridges,
                network: &bundle.config.network,
                dialler: Arc::clone(&self.dialler),
            },
            clock,
        };
        Endpoint::open(opening).await.map(|endpoint| Some(Arc::new(endpoint)))
    }

    /// What reads the bundle again.
    fn reloader(
        &self,
        bundle: Bundle,
        extra_peers: BTreeMap<NodeName, String>,
        extra_seeds: Vec<String>,
    ) -> Reloader {
        Reloader {
            bundle,
            dialler: Arc::clone(&self.dialler),
            listener: Arc::clone(&self.listener),
            extra_peers,
            extra_seeds,
        }
    }

    /// What every connection needs; `home` is where we listen.
    fn connector(
        &self,
        clock: Clock,
        home: Option<SocketAddr>,
        circuit_rate: u64,
        mqtt: Option<Arc<Endpoint>>,
        kept: &Kept,
    ) -> Connector {
        Connector {
            clock,
            dialler: Arc::clone(&self.dialler),
            listener: Arc::clone(&self.listener),
            gate: Gate::new(Bounds::default()),
            greeting: self.greeting_seen.clone(),
            news: self.news.clone(),
            next_link: AtomicU64::new(1),
            meeting: Meeting::at(home),
            circuit_rate,
            mqtt,
            hours: Arc::clone(kept.links()),
            is_authority: self.is_authority,
        }
    }
}

fn open_state(bundle: &Bundle) -> Result<State, Fault> {
    match bundle.boot {
        Some(boot) => Ok(State::counted(boot)),
        None => Ok(State::open(&bundle.paths.state())?),
    }
}

/// What came and what is to go, and the threads that write both.
fn open_boxes(
    bundle: &Bundle,
    state: &State,
    news: &mpsc::Sender<News>,
) -> Result<(Arc<Inbox>, Arc<Outbox>, Posting), Fault> {
    let config = &bundle.config;
    let inbox = Arc::new(Inbox::open(&bundle.paths.inbox(), config.inbox)?);
    let outbox = Outbox::open(&bundle.paths.outbox(), config.outbox, state.boot())?;
    let outbox = Arc::new(outbox);
    let posting = Posting::start(Arc::clone(&outbox), Arc::clone(&inbox), news.clone());
    let posting =
        posting.map_err(|error| Fault::failed(format!("no thread for the outbox: {error}")))?;
    Ok((inbox, outbox, posting))
}

fn new_node(
    bundle: &Bundle,
    state: &State,
    extra_peers: &BTreeMap<NodeName, String>,
    listening: SocketAddr,
    clock: &Clock,
) -> Result<Node, Fault> {
    let now = clock.now();
    let own = own_ids(bundle, now)?;
    let config = &bundle.config;
    let addresses = if listening.port() == 0 {
        Vec::new()
    } else if config.advertise.is_empty() {
        interfaces::advertised(listening)
    } else {
        config.advertise.clone()
    };
    let mut known = config.peers.clone();
    known.extend(extra_peers.clone());
    let settings = Settings {
        network: config.network.clone(),
        node: config.node.clone(),
        instance: shared::id::InstanceId::new(host::random::bytes()?),
        boot: state.boot(),
        addresses,
        roles: bundle.cert.attributes.roles.iter().cloned().collect(),
        attributes: bundle.cert.attributes.clone(),
        own,
        refuse_when_stale: config.stale == crate::config::Stale::Refuse,
        full_mesh: config.full_mesh,
        directory_max: peer_core::limits::DIRECTORY_MAX,
        epoch: std::time::Instant::now(),
        seed: u64::from_be_bytes(host::random::bytes()?),
    };
    let signer = signer(bundle)?;
    let (verifier, feed) = (Arc::clone(&bundle.verifier), bundle.feed.clone());
    let mut node = Node::new(settings, signer, verifier, feed, known, now)
        .map_err(|refusal| Fault::failed(refusal.to_string()))?;
    node.set_circuit_bounds(config.relay.bounds);
    Ok(node)
}

fn seeds_of(bundle: &Bundle, finding: &FindBy) -> Vec<String> {
    let mut seeds = bundle.config.seeds.clone();
    seeds.extend(finding.seeds.iter().cloned());
    seeds
}

/// The tasks that find others: one hears the local network, one watches our own addresses, one
/// recalls the last run.
fn finders(
    bundle: &Bundle,
    by: &FindBy,
    listening: SocketAddr,
    news: &mpsc::Sender<News>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![tokio::spawn(finding::recall(bundle.paths.directory(), news.clone()))];
    let nowhere = listening.port() == 0;
    if !nowhere && listening.ip().is_unspecified() && bundle.config.advertise.is_empty() {
        tasks.push(tokio::spawn(interfaces::watch(listening, news.clone())));
    }
    // What is announced is a port; whoever listens nowhere has none to announce.
    let lan = if by.no_lan || nowhere { &Lan::Off } else { &bundle.config.lan };
    if let Some(near) = Neighbourhood::enter(lan, listening, Arc::clone(&bundle.verifier)) {
        tasks.push(tokio::spawn(near.listen(news.clone())));
    }
    tasks
}

async fn watch_files(mut watcher: Watcher, news: mpsc::Sender<News>) {
    let mut turn = tokio::time::interval(WATCH);
    loop {
        turn.tick().await;
        let changed = watcher.changed();
        if !changed.is_empty() {
            let _ = news.send(News::Reload(changed)).await;
        }
    }
}
