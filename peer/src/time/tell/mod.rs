//! The clock as a running peer tells it: who asks for the time, and who gets keys for that.
//!
//! What NTP and NTS are, the crate `nts` knows, and whom to believe, the crate `clock`; here are
//! sockets, certificates and the disk. The server remembers no client: whose a cookie is stands in
//! the cookie, sealed by a key of the ring.
//!
//! **Invariant:** every question is held against the live revocation list, so that whoever is out
//! hears nothing from the next one on.

mod door;
mod exchange;
mod face;
mod figures;
mod pair;
mod ring;
mod serve;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::clock::Clock;
use host::fault::Fault;
use nts::limits::COOKIES_MAX;
use nts::records::{self, Offer, Problem, Reader, Request};
use nts::server::{Plain, Rate, Server, Settings};
use nts::{COOKIE_BYTES, Fingerprint, Key, Keys, Session, export};
use rustls::ConnectionCommon;
use shared::id::SpkiHash;
use shared::key::Algorithm;
use shared::verify::{Member, Verifier};
use tls::Clients;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config;
use crate::control::metrics::Metric;
use crate::time::Kept;
use door::Door;
use face::Face;
use figures::Figures;
use pair::KeptPair;
use ring::KeptRing;
use serve::Serving;

/// How often it is looked whether the cookies need another key, and whether there is another
/// certificate.
const LOOK: Duration = Duration::from_secs(60);

/// What a server of time starts with.
pub(crate) struct Opening<'o> {
    /// What `node.yaml` and the command line say.
    pub(crate) config: &'o config::Time,
    /// The clock that is told.
    pub(crate) kept: Kept,
    /// Where the keys of the cookies are kept.
    pub(crate) keys: PathBuf,
    /// The bundle.
    pub(crate) folder: &'o Path,
    /// What this node's certificate is signed with.
    pub(crate) algorithm: Algorithm,
    /// Judges certificates.
    pub(crate) verifier: Arc<Verifier>,
    /// Shakes hands.
    pub(crate) listener: Arc<tls::Listener>,
    /// The daemon's.
    pub(crate) clock: Clock,
}

/// A running server of time.
pub(crate) struct Teller {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    _serving: Serving,
}

/// What its doors share.
pub(super) struct Shared {
    face: Face,
    ring: KeptRing,
    /// What is shown to whoever cannot check the node's own certificate.
    beside: Option<KeptPair>,
    /// Told to look at once.
    woken: Notify,
    verifier: Arc<Verifier>,
    listener: Arc<tls::Listener>,
    clients: Clients,
    clock: Clock,
    figures: Figures,
    /// Where the time is told.
    told_at: SocketAddr,
}

impl Opening<'_> {
    /// The certificate beside the node's own, which one that no program outside can check needs.
    fn beside(&self) -> Result<Option<KeptPair>, Fault> {
        if self.config.ke.is_none() {
            return Ok(None);
        }
        if let Some(files) = &self.config.beside {
            return KeptPair::open(files, self.folder, self.clock.now().wall).map(Some);
        }
        if !self.algorithm.is_post_quantum() {
            return Ok(None);
        }
        let algorithm = self.algorithm.as_str();
        Err(Fault::usage(format!(
            "time.ke: this node's certificate is {algorithm}, which no NTS client reads yet"
        ))
        .hint(
            "name one for them, by any authority that they trust: `certificate: ke.pem` and \
             `key: ke.key` under `time:`;\n\
             or leave time.ke out: peers get their keys over their links",
        ))
    }
}

impl Teller {
    /// Opens the doors that the settings name; `None` if they name none.
    ///
    /// # Errors
    /// [`Fault`] if one of them cannot be opened, or the keys of the cookies cannot be read.
    pub(crate) async fn open(opening: Opening<'_>) -> Result<Option<Self>, Fault> {
        let config = opening.config;
        let Some(listen) = config.listen else { return Ok(None) };
        let beside = opening.beside()?;
        let taken = |at: SocketAddr, error: &std::io::Error| {
            Fault::failed(format!("time cannot listen on {at}: {error}"))
                .hint("choose another IP:PORT, or port 0 for any free one")
        };
        let door = Door::bind(listen).map_err(|error| taken(listen, &error))?;
        let told_at = door.address().map_err(|error| taken(listen, &error))?;
        let shared = Arc::new(Shared {
            face: Face { kept: opening.kept, is_vouched_for: config.local },
            ring: KeptRing::open(opening.keys, wall_s(&opening.clock))?,
            beside,
            woken: Notify::new(),
            verifier: opening.verifier,
            listener: opening.listener,
            clients: config.clients,
            clock: opening.clock,
            figures: Figures::default(),
            told_at,
        });
        let plain = if config.plain { Plain::Answered } else { Plain::Refused };
        let settings = Settings { plain, rate: Some(Rate::default()) };
        let server = Server::new(settings, u64::from_be_bytes(host::random::bytes()?));
        tracing::info!("ntp listens on {told_at}");
        let serving = Serving::start(door, server, Arc::clone(&shared))
            .map_err(|error| Fault::failed(format!("no thread to tell the time with: {error}")))?;
        let mut tasks = vec![tokio::spawn(look(Arc::clone(&shared)))];
        if let Some(ke) = config.ke {
            let listener = TcpListener::bind(ke).await.map_err(|error| taken(ke, &error))?;
            let at = listener.local_addr().map_err(|error| taken(ke, &error))?;
            tracing::info!("nts-ke listens on {at}");
            tasks.push(tokio::spawn(exchange::accept(listener, Arc::clone(&shared))));
        }
        Ok(Some(Self { shared, tasks, _serving: serving }))
    }

    /// The answer to a member who asks for keys over its link.
    pub(crate) fn answer(&self, asked: &[u8], keys: &Keys, member: &Member) -> Vec<u8> {
        let mut reader = Reader::default();
        // What is too long or broken off is answered as such.
        let _ = reader.take(asked);
        let stands = self.shared.verifier.recheck(member, self.shared.clock.now().wall).is_ok();
        let session = exchange::session(keys.clone(), Some(member));
        let granted = match Request::read(&reader) {
            Ok(request) if stands => self.shared.grant(&request, &session, None),
            Ok(_) => Err(Problem::Internal),
            Err(problem) => Err(problem),
        };
        if granted.is_ok() {
            self.shared.figures.exchanged()
        } else {
            self.shared.figures.refused()
        }
        granted.unwrap_or_else(records::problem)
    }

    /// The files may be others now.
    pub(crate) fn reload(&self) {
        self.shared.woken.notify_one();
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> [Metric; 9] {
        self.shared.figures.metrics()
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// Looks at the files.
    fn look(&self) {
        self.ring.look(wall_s(&self.clock));
        self.beside.iter().for_each(|pair| pair.look(self.clock.now().wall));
    }

    /// Whether the holder of a key may have the time now. A list that cannot be read admits nobody.
    fn admits(&self, fingerprint: &Fingerprint) -> bool {
        if fingerprint.is_none() {
            return self.clients != Clients::Certified;
        }
        let key = SpkiHash::new(*fingerprint.octets());
        self.verifier.read_set(|set| set.key_mark(&key).is_none()).unwrap_or(false)
    }

    /// The answer to a request: cookies for a session, if there is something both know. `here` is
    /// the address at which the request was heard, if that is known.
    fn grant(
        &self,
        request: &Request,
        session: &Session,
        here: Option<IpAddr>,
    ) -> Result<Vec<u8>, Problem> {
        let mut cookies = [[0; COOKIE_BYTES]; COOKIES_MAX];
        let (ring, now_s) = (self.ring.read(), wall_s(&self.clock));
        for cookie in &mut cookies {
            let nonce = host::random::bytes().map_err(|_| Problem::Internal)?;
            ring.mint(session, now_s, nonce, cookie).ok_or(Problem::Internal)?;
        }
        let at = self.told_at.ip();
        let elsewhere = !at.is_unspecified() && here.is_none_or(|here| here.to_canonical() != at);
        let offer =
            Offer { server: elsewhere.then(|| at.to_string()), port: Some(self.told_at.port()) };
        Ok(records::answer(request, &offer, &cookies))
    }
}

/// The keys that both ends of a connection come to; what is said `beside` the standard's contexts
/// tells apart several associations of one connection.
fn keys_of<S>(connection: &ConnectionCommon<S>, beside: &[u8]) -> Option<Keys> {
    let export = |context: &[u8]| {
        let context = [context, beside].concat();
        let key = connection.export_keying_material([0; 32], export::LABEL, Some(&context));
        key.ok().map(Key::new)
    };
    Some(Keys { c2s: export(&export::C2S)?, s2c: export(&export::S2C)? })
}

fn wall_s(clock: &Clock) -> u64 {
    u64::try_from(clock.now().wall.s()).unwrap_or_default()
}

async fn look(shared: Arc<Shared>) {
    let mut turn = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = turn.tick() => {}
            () = shared.woken.notified() => {}
        }
        let shared = Arc::clone(&shared);
        // The disk may take its time.
        let _ = tokio::task::spawn_blocking(move || shared.look()).await;
    }
}
