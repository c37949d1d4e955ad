//! The authority online: it lets in whoever was invited, renews members, signs the feed again in
//! time, and answers other `ca-tool` commands.
//!
//! ```text
//!   nodes ─── TLS ─── http ──▶ desk ──▶ Authority ──▶ store
//!   members ─ links ─ mesh ────▲           ▲
//!                        keeper (feed, own certificate, log)
//! ```
//!
//! **Invariant:** while this runs, the folder's lock is held; what is answered is on the disk.

mod counters;
mod desk;
mod http;
mod keeper;
mod limits;
mod mesh;

use std::net::SocketAddr;
use std::sync::Arc;

use host::clock::Clock;
use host::fault::Fault;
use shared::limits::JOIN_ADDRESSES_MAX;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ask::Ground;
use crate::ask::server::{Answering, Server};
use crate::authority::{Authority, Surroundings};
use crate::error::CaError;
use crate::publish::Publish;
use desk::Desk;
use http::Door;
use keeper::Keeper;
use mesh::Mesh;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Where to listen, `HOST:PORT`.
    pub listen: String,
    /// Where nodes reach that, if it is elsewhere: `HOST:PORT`.
    pub advertise: Vec<String>,
    /// Where members link with it, `HOST:PORT`; `none`: it only dials.
    pub mesh: String,
    /// Where Prometheus asks without TLS: a loopback address.
    pub metrics: Option<SocketAddr>,
    /// Seconds after its end for which a certificate may still be renewed.
    pub grace_s: i64,
}

/// An authority that is online.
pub struct Served {
    /// Where it listens.
    pub listening: SocketAddr,
    /// Where members link with it.
    pub mesh: SocketAddr,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    desk: Arc<Desk>,
    peer: Arc<Mesh>,
    stop: watch::Sender<bool>,
    /// Whoever may have an answer under way.
    answering: Vec<JoinHandle<()>>,
    /// Who may be ended at any time.
    others: Vec<JoinHandle<()>>,
}

/// Serves until SIGTERM or SIGINT; `on_start` is told once it answers.
///
/// # Errors
/// [`Fault`] if something needed at the start is missing or taken.
pub fn run(authority: Authority, how: &Serve, on_start: impl FnOnce(&Served)) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let deaf = |error| Fault::failed(format!("signals cannot be heard: {error}"));
        let mut term = signal(SignalKind::terminate()).map_err(deaf)?;
        let mut int = signal(SignalKind::interrupt()).map_err(deaf)?;
        let served = Served::start(Arc::new(authority), how).await?;
        on_start(&served);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let ended = tokio::select! {
            _ = term.recv() => Ok(()),
            _ = int.recv() => Ok(()),
            () = served.is_broken() => Err(Fault::failed("nothing can be recorded any more")
                .hint("make room on the disk, then start it again; nothing is lost")),
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        served.stop().await;
        ended
    })
}

impl Served {
    /// Goes online on the running tokio runtime.
    ///
    /// # Errors
    /// [`Fault`] if an address is taken or the authority's own certificate cannot be made.
    pub async fn start(authority: Arc<Authority>, how: &Serve) -> Result<Self, Fault> {
        make_room();
        tls::warm_up().map_err(|error| Fault::failed(error.to_string()))?;
        let clock = Clock::start();
        let (tcp, listening) = bind(&how.listen).await?;
        let loopback = match how.metrics {
            Some(address) => Some(bind_loopback(address).await?),
            None => None,
        };
        let identity = Arc::new(listener(&authority)?);
        let desk = Arc::new(Desk::new(authority, how.grace_s, clock.clone()));
        desk.meet(|around| around.addresses = addresses(how, listening));
        let peer = Arc::new(Mesh::enter(&desk.authority, &how.mesh).await?);
        keeper::introduce(&desk, &peer, how).await;
        let (stop, stopped) = watch::channel(false);
        let door = Door::new(Arc::clone(&desk), Arc::clone(&identity), clock, stopped.clone());
        let control = Server::bind(desk.authority.layout().folder())?;
        let answers = answering_from(Arc::clone(&desk), Arc::clone(&peer));
        let control = control.run(answers, stopped.clone());
        let mut answering = vec![tokio::spawn(Arc::new(door).keep(tcp)), tokio::spawn(control)];
        let metrics = loopback.as_ref().map(|(_, at)| *at);
        if let Some((tcp, _)) = loopback {
            answering.push(tokio::spawn(http::keep_loopback(tcp, Arc::clone(&desk), stopped)));
        }
        let requests = peer.renewals().await;
        let keeper = Keeper {
            desk: Arc::clone(&desk),
            door: identity,
            peer: Arc::clone(&peer),
            shown: peer.shown.clone(),
            owes_feed: false,
        };
        let others = vec![
            tokio::spawn(keeper.keep(how.clone())),
            tokio::spawn(mesh::certify(Arc::clone(&desk), requests)),
        ];
        let mesh = peer.listening;
        Ok(Self { listening, mesh, metrics, desk, peer, stop, answering, others })
    }

    /// What new nodes are told of the network.
    #[must_use]
    pub fn around(&self) -> Surroundings {
        self.desk.around()
    }

    /// Returns once the disk has failed. What is on it is only known when it is read anew, so one
    /// does not go on; a supervisor starts us again.
    async fn is_broken(&self) {
        let mut looks = tokio::time::interval(limits::LOOK);
        while !self.desk.authority.is_broken() {
            looks.tick().await;
        }
        tracing::error!("the disk has failed: nothing can be recorded any more");
    }

    /// Answers what is under way, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in &self.others {
            task.abort();
        }
        for task in self.answering {
            let _ = tokio::time::timeout(limits::STOP, task).await;
        }
        let desk = Arc::clone(&self.desk);
        let noted = tokio::task::spawn_blocking(move || keeper::note_refusals(&desk)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!("what was refused is not in the log: {error}");
        }
        self.peer.leave().await;
    }
}

/// How commands beside us are answered.
fn answering_from(desk: Arc<Desk>, peer: Arc<Mesh>) -> Answering {
    let runtime = Handle::current();
    Arc::new(move |ask| {
        let authority: &Authority = &desk.authority;
        let publisher = |authority: &Authority, what: &Publish| {
            if what.via.is_empty() {
                // Questions are answered on threads that may wait.
                return runtime.block_on(peer.publish(authority, what));
            }
            crate::publish::publish(authority, what)
        };
        ask.answer(Ground {
            registry: authority,
            authority: Some(authority),
            publisher: &publisher,
            around: &desk.around(),
        })
    })
}

/// Room for every connection that the door lets in.
fn make_room() {
    let (may, wanted) = (host::open_files::raise_limit(), limits::FILES_WANTED);
    if may < wanted {
        tracing::warn!("only {may} files may be open, {wanted} are wanted: raise LimitNOFILE");
    }
}

/// Where nodes reach the door.
fn addresses(how: &Serve, listening: SocketAddr) -> Vec<String> {
    let mut addresses = how.advertise.clone();
    if addresses.is_empty() {
        addresses = reachable(listening);
    }
    addresses.truncate(JOIN_ADDRESSES_MAX);
    addresses
}

/// Where a socket is reached from elsewhere; on a machine that nobody else can reach, from its own
/// programs.
fn reachable(listening: SocketAddr) -> Vec<String> {
    let addresses = peer::daemon::advertised(listening);
    if addresses.is_empty() { vec![format!("127.0.0.1:{}", listening.port())] } else { addresses }
}

/// The certificate shown at the door: ours, the issuing one, and the root, for whoever knows no
/// more of us than its key's hash.
fn listener(authority: &Authority) -> Result<tls::Listener, CaError> {
    let identity = shown(authority)?;
    let verifier = Arc::new(authority.verifier()?);
    tls::Listener::new(&identity, verifier, authority.clock())
        .map_err(|error| CaError::Tls(error.to_string()))
}

fn shown(authority: &Authority) -> Result<tls::Identity, CaError> {
    let (mut chain, key) = authority.certificate()?;
    chain.extend(authority.trust_der().first().cloned());
    Ok(tls::Identity { chain, key })
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), Fault> {
    let taken = |error: std::io::Error| {
        Fault::failed(format!("cannot listen on {address}: {error}"))
            .hint("choose another with --listen HOST:PORT")
    };
    let tcp = TcpListener::bind(address).await.map_err(taken)?;
    let listening = tcp.local_addr().map_err(taken)?;
    Ok((tcp, listening))
}

async fn bind_loopback(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Fault> {
    if !address.ip().is_loopback() {
        return Err(Fault::usage(format!("{address} is no loopback address"))
            .hint("members read the metrics over TLS: https://…/metrics"));
    }
    bind(&address.to_string()).await
}
