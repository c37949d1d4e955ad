//! Bridges: the same topics at an existing MQTT engine (`bridge:` in `node.yaml`).
//!
//! What a bridge says, `mqtt::span` knows. Here it is given its two connections, one to our own
//! endpoint through a pipe in memory, one to the engine, and others when these end. What comes in
//! is published as this peer's own, and what goes out is subscribed as its own: the policy judges
//! both.
//!
//! **Invariant:** the waits between attempts grow to a bound, and are never the same at two peers.

mod line;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use host::fault::Fault;
use host::terminal::escape;
use mqtt::codec::{Packet, Version};
use mqtt::{Door, Half, Side, State, Tally, Terms, span};
use shared::name::NetworkName;
use shared::time::{Now, Tick, Timestamp};
use shared::verify::Member;
use tls::Dialler;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::serve::{Machine, serve};
use super::{Caller, Shared};
use crate::config::Bridge;
use crate::control::bridge::{BridgeState, BridgeStatus};
use crate::limits::{BRIDGE_STEADY, BRIDGE_WAIT_MAX, BRIDGE_WAIT_MIN, MQTT_PIPE_BYTES};
use crate::link::{self, KillSwitch};
use line::Papers;

pub use line::{Checked, check};

/// How long our own endpoint may take to answer: it is in this process.
const AT_HOME: Duration = Duration::from_secs(10);

impl Machine for Half {
    fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        Self::handle_bytes(self, buffer, now);
    }
    fn fill(&mut self, out: &mut Vec<u8>, waker: &Waker, now: Now) -> State {
        Self::fill(self, out, waker, now)
    }
    fn is_held(&mut self, waker: &Waker) -> bool {
        Self::is_held(self, waker)
    }
    fn resume(&mut self, buffer: &mut BytesMut, _: &Waker, now: Now) -> bool {
        Self::resume(self, buffer, now)
    }
    fn next_deadline(&self) -> Option<Tick> {
        Self::next_deadline(self)
    }
    fn handle_timeout(&mut self, now: Now) {
        Self::handle_timeout(self, now);
    }
    fn handle_failed(&mut self, error: &io::Error) {
        if self.side() == Side::Remote && error.kind() != io::ErrorKind::UnexpectedEof {
            Self::handle_failed(self, line::words(&link::failure_of(error)));
        }
    }
    fn handle_closed(&mut self, _: Now) {
        Self::handle_closed(self);
    }
}

/// What bridges start with.
pub(crate) struct Plans<'p> {
    /// What `node.yaml` says of them.
    pub(crate) bridges: &'p [Bridge],
    /// The network, by which what goes out is marked.
    pub(crate) network: &'p NetworkName,
    /// Dials.
    pub(crate) dialler: Arc<Dialler>,
}

/// The bridges of a running peer.
#[derive(Default)]
pub(super) struct Bridges(Vec<Arc<Running>>);

struct Running {
    bridge: Bridge,
    folder: PathBuf,
    terms: Arc<Terms>,
    tally: Arc<Tally>,
    papers: Papers,
    view: Mutex<View>,
    /// Told to connect anew.
    kick: Notify,
}

struct View {
    waiting: bool,
    since: Timestamp,
    /// The connection there is, to look at.
    half: Option<Half>,
    error: Option<String>,
}

/// What became of an attempt.
struct Attempt {
    why: String,
    anew: bool,
    lasted: Option<Duration>,
}

impl Bridges {
    /// Reads what the bridges need, makes their sessions here and begins to connect.
    pub(super) async fn begin(
        plans: Plans<'_>,
        folder: &std::path::Path,
        shared: &Arc<Shared>,
    ) -> Result<(Self, Vec<JoinHandle<()>>), Fault> {
        let (mut all, mut tasks) = (Vec::new(), Vec::new());
        for bridge in plans.bridges {
            let papers = Papers::read(bridge, folder)?;
            let node = shared.own().name.as_ref().clone();
            let terms = bridge.terms(plans.network, &node, papers.password.clone());
            let since = shared.clock.now().wall;
            let view = View { waiting: false, since, half: None, error: None };
            let running = Arc::new(Running {
                bridge: bridge.clone(),
                folder: folder.to_owned(),
                terms: Arc::new(terms),
                tally: Arc::default(),
                papers,
                view: Mutex::new(view),
                kick: Notify::new(),
            });
            running.rest(shared).await;
            let task = Arc::clone(&running).run(Arc::clone(shared), Arc::clone(&plans.dialler));
            tasks.push(tokio::spawn(task));
            all.push(running);
        }
        Ok((Self(all), tasks))
    }

    /// What they may do has changed: they ask for all of it again.
    pub(super) fn kick(&self) {
        for running in &self.0 {
            running.kick.notify_one();
        }
    }

    pub(super) fn status(&self, now: Now) -> Vec<BridgeStatus> {
        self.0.iter().map(|running| running.status(now)).collect()
    }
}

impl Running {
    /// Makes this peer's session of it, so that what is said before the engine answers waits.
    async fn rest(&self, shared: &Arc<Shared>) {
        let Some((connect, subscribe)) = self.terms.at_rest() else { return };
        let (near, far) = duplex(MQTT_PIPE_BYTES);
        let endpoint = Arc::clone(shared);
        let at_home = tokio::spawn(async move { endpoint.bridge(far).await });
        let subscribed = async {
            let (mut caller, _) = Caller::connect(near, connect).await?;
            caller.say(&Packet::Subscribe(subscribe));
            caller.flush().await?;
            while !matches!(caller.next().await?, Packet::SubAck(_)) {}
            Ok::<(), super::CallError>(())
        };
        match timeout(AT_HOME, subscribed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(bridge = %self.bridge.name, "no session: {error}"),
            Err(_) => tracing::warn!(bridge = %self.bridge.name, "this peer does not answer"),
        }
        let _ = at_home.await;
    }

    async fn run(self: Arc<Self>, shared: Arc<Shared>, dialler: Arc<Dialler>) {
        let (mut wait, mut anew) = (BRIDGE_WAIT_MIN, false);
        loop {
            self.turn(false, None, &shared);
            let attempt = self.attempt(&shared, &dialler, anew).await;
            anew = attempt.anew;
            self.say(&attempt);
            if attempt.lasted.is_some_and(|lasted| lasted >= BRIDGE_STEADY) {
                wait = BRIDGE_WAIT_MIN;
            }
            self.turn(true, Some(attempt.why), &shared);
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = self.kick.notified() => {}
            }
            wait = (wait * 2).min(BRIDGE_WAIT_MAX);
        }
    }

    /// One connection, from its beginning to its end.
    async fn attempt(&self, shared: &Arc<Shared>, dialler: &Dialler, anew: bool) -> Attempt {
        let failed = |why| Attempt { why, anew, lasted: None };
        let line = match self.papers.reach(&self.bridge, dialler).await {
            Ok(line) => line,
            Err(failure) => return failed(line::words(&failure)),
        };
        let member = line.member.clone();
        let guest = member.clone().map(|(member, kill)| shared.guests.enter(member, kill));
        // Between the handshake and now it may have been turned out.
        if let Some(why) = Self::judge(member.as_ref(), shared) {
            return failed(why);
        }
        let (terms, tally, began) = (&self.terms, &self.tally, Instant::now());
        let (local, remote) = span(terms, tally, &shared.broker, anew, shared.clock.now());
        self.lock().half = Some(remote.clone());
        let (near, far) = duplex(MQTT_PIPE_BYTES);
        let at_home = serve(near, local, shared.clock);
        let there = serve(line.stream, remote.clone(), shared.clock);
        let both = async { tokio::join!(at_home, there, shared.bridge(far)) };
        tokio::select! {
            _ = Box::pin(both) => {}
            () = self.kicked(remote.clone()) => {}
        }
        drop(guest);
        let why = Self::judge(member.as_ref(), shared).or_else(|| remote.why());
        let up = remote.up_since().is_some();
        Attempt {
            why: why.unwrap_or_default(),
            anew: remote.begins_anew(),
            lasted: up.then(|| began.elapsed()),
        }
    }

    /// Ends the connections when another policy comes; one that came before is known already.
    async fn kicked(&self, mut half: Half) {
        loop {
            self.kick.notified().await;
            if half.up_since().is_some() {
                half.handle_failed("another policy or certificate holds".to_owned());
                return std::future::pending().await;
            }
        }
    }

    /// Why an engine of our authority does not stand any more.
    fn judge(member: Option<&(Member, KillSwitch)>, shared: &Shared) -> Option<String> {
        let (member, _) = member?;
        let judged = shared.verifier.recheck(member, shared.clock.now().wall);
        judged
            .err()
            .map(|refusal| format!("the engine is refused: {}: {}", refusal.code, refusal.detail))
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, waiting: bool, error: Option<String>, shared: &Shared) {
        let mut view = self.lock();
        view.waiting = waiting;
        view.since = shared.clock.now().wall;
        view.half = None;
        view.error = error.or_else(|| view.error.take());
    }

    /// An engine that is away for a day is not worth a line for each attempt.
    fn say(&self, attempt: &Attempt) {
        let known = self.lock().error.as_ref() == Some(&attempt.why);
        let (bridge, why) = (&self.bridge.name, escape(&attempt.why));
        if known && attempt.lasted.is_none() {
            tracing::debug!(%bridge, "{why}");
        } else {
            tracing::info!(%bridge, "down: {why}");
        }
    }

    fn status(&self, now: Now) -> BridgeStatus {
        let (view, tally, bridge) = (self.lock(), &self.tally, &self.bridge);
        let up = view.half.as_ref().and_then(Half::up_since);
        let (state, since) = match (up, view.waiting) {
            (Some(tick), _) => {
                let ms = i64::try_from(now.tick.ms_since(tick)).unwrap_or(i64::MAX);
                (BridgeState::Up, Timestamp::from_ms(now.wall.ms().saturating_sub(ms)))
            }
            (None, true) => (BridgeState::Waiting, view.since),
            (None, false) => (BridgeState::Connecting, view.since),
        };
        let path = |path: &PathBuf| self.folder.join(path).display().to_string();
        BridgeStatus {
            name: escape(&bridge.name),
            url: bridge.url.to_string(),
            version: version_words(bridge.version).to_owned(),
            ca: bridge.ca.as_ref().map(path),
            state,
            since,
            incoming: tally.incoming.get(),
            outgoing: tally.outgoing.get(),
            looped: tally.looped.get(),
            strays: tally.strays.get(),
            unfit: tally.unfit.get(),
            lost: tally.lost.get(),
            refused_here: tally.refused_here.get(),
            refused_there: tally.refused_there.get(),
            refused_filters: tally.refused_filters().iter().map(|text| escape(text)).collect(),
            last_error: view.error.as_deref().map(escape),
        }
    }
}

impl Shared {
    /// Serves the near end of a bridge.
    async fn bridge(&self, pipe: DuplexStream) {
        let (identity, users) = (self.own(), Arc::default());
        let door = Door { identity, users, since: None, peer: false, bridge: true };
        self.client(pipe, door, "a bridge").await;
    }
}

/// What people call a version.
#[must_use]
pub const fn version_words(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    }
}

/// Between half and the whole of it: peers whose engine comes back do not come all at once.
fn jittered(wait: Duration) -> Duration {
    let random = host::random::bytes::<4>().map_or(0, u32::from_be_bytes);
    wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}
