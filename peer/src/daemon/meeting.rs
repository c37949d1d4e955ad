//! Meeting at an agreed moment: where our listening port was seen, and whom we await at it.
//!
//! Of two first packets one may be early enough to find the other side's listener instead of its
//! connection. Both ends agreed who speaks first in the handshake, so such a connection must go to
//! the one who awaits it, and not to the door.
//!
//! A packet may also meet what is left of an earlier connection between the same two ports, and be
//! answered by a reset, or keep ours from being made: for a moment it is tried again.
//!
//! **Invariant:** a place is awaited for [`limits::AWAITED`] at most, and [`limits::AWAITED_MAX`]
//! places at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use shared::name::NodeName;
use tokio::net::TcpStream;
use tokio::sync::{MutexGuard, mpsc, oneshot};
use tokio::time::timeout;

use crate::limits;
use crate::link;

/// What is known of meeting.
#[derive(Default)]
pub(super) struct Meeting {
    /// Where we listen; `None`: nowhere, and then nobody can be met.
    pub(super) home: Option<SocketAddr>,
    /// Whether a relay has seen our listening port.
    seen: AtomicBool,
    finding_out: tokio::sync::Mutex<()>,
    awaited: Mutex<BTreeMap<SocketAddr, Awaited>>,
    /// The try that is under way with each node; it is over when this is dropped.
    tries: Mutex<BTreeMap<NodeName, oneshot::Sender<()>>>,
}

/// Resolves when another try with the same node has begun.
pub(super) type Over = oneshot::Receiver<()>;

/// A place from which somebody may come.
struct Awaited {
    since: Instant,
    handing: mpsc::Sender<TcpStream>,
    /// Until somebody waits for it.
    handed: Option<mpsc::Receiver<TcpStream>>,
}

impl Awaited {
    fn new() -> Self {
        let (handing, handed) = mpsc::channel(1);
        Self { since: Instant::now(), handing, handed: Some(handed) }
    }
}

impl Meeting {
    pub(super) fn at(home: Option<SocketAddr>) -> Self {
        Self { home, ..Self::default() }
    }

    /// Begins a try with a node, which ends the one before: from now on whoever comes from these
    /// places is kept for [`Meeting::meet`].
    pub(super) fn begin(&self, node: &NodeName, addresses: &[SocketAddr]) -> Over {
        let mut awaited = self.awaited();
        awaited.retain(|_, awaited| awaited.since.elapsed() < limits::AWAITED);
        for address in addresses {
            if awaited.len() < limits::AWAITED_MAX {
                awaited.insert(*address, Awaited::new());
            }
        }
        drop(awaited);
        let (ends, over) = oneshot::channel();
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.retain(|_, other| !other.is_closed());
        tries.insert(node.clone(), ends);
        over
    }

    /// Gives an accepted connection to whoever awaits it; gives it back if nobody does.
    pub(super) fn hand_over(&self, tcp: TcpStream, remote: SocketAddr) -> Option<TcpStream> {
        use mpsc::error::TrySendError::{Closed, Full};
        let awaited = self.awaited();
        let fresh = |awaited: &&Awaited| awaited.since.elapsed() < limits::AWAITED;
        let Some(awaited) = awaited.get(&remote).filter(fresh) else { return Some(tcp) };
        match awaited.handing.try_send(tcp) {
            Ok(()) => None,
            Err(Full(tcp) | Closed(tcp)) => Some(tcp),
        }
    }

    /// Waits while the first circuit of all finds out where we are seen: those beside it come from
    /// other ports, and their ends would have no place to be met at.
    pub(super) async fn first(&self) -> Option<MutexGuard<'_, ()>> {
        if self.home.is_none() || self.seen.load(Ordering::Relaxed) {
            return None;
        }
        let first = timeout(limits::FIRST_CIRCUIT, self.finding_out.lock()).await.ok();
        first.filter(|_| !self.seen.load(Ordering::Relaxed))
    }

    /// A relay has seen our listening port.
    pub(super) fn seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    /// A connection with an address: ours, or the one that the other side made meanwhile.
    pub(super) async fn meet(
        &self,
        address: SocketAddr,
        home: SocketAddr,
    ) -> io::Result<TcpStream> {
        let mut handed = {
            let mut awaited = self.awaited();
            let place = awaited.entry(address).or_insert_with(Awaited::new);
            place.handed.take()
        };
        let given = async {
            match &mut handed {
                Some(handed) => handed.recv().await,
                None => None,
            }
        };
        let met = tokio::select! {
            Some(tcp) = given => Ok(tcp),
            met = knock(address, home) => met,
        };
        self.awaited().remove(&address);
        met.inspect(link::hasten)
    }

    fn awaited(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn knock(address: SocketAddr, home: SocketAddr) -> io::Result<TcpStream> {
    let met = timeout(limits::MEET, knock_again(address, home)).await;
    let met = met.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if met.is_err() {
        // Its packet may have come first: then the connection is at our listener.
        tokio::time::sleep(limits::MEET_LATE).await;
    }
    met
}

/// Until somebody is there, or what is in the way has stayed there too long.
async fn knock_again(address: SocketAddr, home: SocketAddr) -> io::Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match link::meet(address, home).await {
            Err(error) if begun.elapsed() < limits::MEET_AGAIN => {
                tracing::debug!(%address, "not met yet: {error}");
                tokio::time::sleep(limits::MEET_PAUSE).await;
            }
            done => return done,
        }
    }
}
