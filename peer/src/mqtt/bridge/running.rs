//! One bridge: attempt after attempt, and how it is.
//!
//! **Invariant:** the waits between attempts grow to a bound, and are never the same at two peers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use host::fault::Fault;
use host::terminal::escape;
use mqtt::codec::Packet;
use mqtt::{Door, Half, Side, State, Tally, Terms, span};
use shared::time::{Now, Tick, Timestamp};
use shared::verify::Member;
use tls::Dialler;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::asked::Asked;
use super::line::{self, Papers};
use super::version_words;
use crate::config::Bridge;
use crate::control::bridge::{BridgeState, BridgeStatus};
use crate::limits::{BRIDGE_STEADY, BRIDGE_WAIT_MAX, BRIDGE_WAIT_MIN, MQTT_PIPE_BYTES};
use crate::link::{self, KillSwitch};
use crate::mqtt::serve::{Machine, serve};
use crate::mqtt::{CallError, Caller, Shared};

/// How long our own endpoint may take to answer: it is in this process.
const AT_HOME: Duration = Duration::from_secs(10);

/// See above.
pub(super) struct Running {
    bridge: Bridge,
    folder: PathBuf,
    terms: Arc<Terms>,
    tally: Arc<Tally>,
    papers: Papers,
    asked: Arc<Asked>,
    /// What the engine is asked for.
    filters: Vec<String>,
    view: Mutex<View>,
    /// Told to connect anew, or to leave.
    kick: Notify,
    /// Told to leave, and whether its session here is to end.
    leaving: OnceLock<bool>,
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

impl Running {
    /// Reads what a bridge needs.
    pub(super) fn new(
        bridge: &Bridge,
        mut terms: Terms,
        (folder, asked): (&Path, &Arc<Asked>),
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let papers = Papers::read(bridge, folder)?;
        let filters = terms.incoming.iter().map(|filter| terms.called_there(filter).to_string());
        let filters: Vec<String> = filters.collect();
        terms.retired = asked.begin(&bridge.name, &filters)?;
        terms.password.clone_from(&papers.password);
        Ok(Self {
            bridge: bridge.clone(),
            folder: folder.to_owned(),
            terms: Arc::new(terms),
            tally: Arc::default(),
            papers,
            asked: Arc::clone(asked),
            filters,
            view: Mutex::new(View { waiting: false, since: now, half: None, error: None }),
            kick: Notify::new(),
            leaving: OnceLock::new(),
        })
    }

    /// Whether it is the bridge of these settings.
    pub(super) fn is(&self, bridge: &Bridge) -> bool {
        self.bridge == *bridge
    }

    /// The client identifier of its session here.
    pub(super) fn session(&self) -> &ByteString {
        &self.terms.local_id
    }

    /// Has it ask for everything again.
    pub(super) fn kick(&self) {
        self.kick.notify_one();
    }

    /// Has it end, and its session here too if nobody else has it.
    pub(super) fn leave(&self, for_good: bool) {
        let _ = self.leaving.set(for_good);
        self.kick.notify_one();
    }

    /// Makes this peer's session of it, so that what is said before the engine answers waits.
    pub(super) async fn rest(&self, shared: &Arc<Shared>) {
        let Some((connect, subscribe)) = self.terms.at_rest() else { return };
        let (near, far) = duplex(MQTT_PIPE_BYTES);
        let endpoint = Arc::clone(shared);
        let at_home = tokio::spawn(async move { endpoint.bridge(far).await });
        let subscribed = async {
            let (mut caller, _) = Caller::connect(near, connect).await?;
            caller.say(&Packet::Subscribe(subscribe));
            caller.flush().await?;
            while !matches!(caller.next().await?, Packet::SubAck(_)) {}
            Ok::<(), CallError>(())
        };
        match timeout(AT_HOME, subscribed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(bridge = %self.bridge.name, "no session: {error}"),
            Err(_) => tracing::warn!(bridge = %self.bridge.name, "this peer does not answer"),
        }
        let _ = at_home.await;
    }

    /// Until it is told to leave.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>, dialler: Arc<Dialler>) {
        let (mut wait, mut anew) = (BRIDGE_WAIT_MIN, false);
        while self.leaving.get().is_none() {
            self.turn(false, None, &shared);
            let attempt = self.attempt(&shared, &dialler, anew).await;
            anew = attempt.anew;
            self.say(&attempt);
            if attempt.lasted.is_some_and(|lasted| lasted >= BRIDGE_STEADY) {
                wait = BRIDGE_WAIT_MIN;
                // In so long a time the engine has heard what it is not to send any more.
                if let Err(error) = self.asked.settle(&self.bridge.name, &self.filters) {
                    tracing::warn!(bridge = %self.bridge.name, "{error}");
                }
            }
            self.turn(true, Some(attempt.why), &shared);
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = self.kick.notified() => {}
            }
            wait = (wait * 2).min(BRIDGE_WAIT_MAX);
        }
        if self.leaving.get() == Some(&true) {
            shared.broker.end_bridge(self.session());
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
        let at_home = serve(near, local, shared.clock.clone());
        let there = serve(line.stream, remote.clone(), shared.clock.clone());
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

    /// Ends the connections when another policy comes or it is to leave; a policy that came before
    /// they were there is known already.
    async fn kicked(&self, mut half: Half) {
        loop {
            self.kick.notified().await;
            let why = match (self.leaving.get(), half.is_connected()) {
                (Some(_), _) => "node.yaml has other settings",
                (None, true) => "another policy or certificate holds",
                (None, false) => continue,
            };
            half.handle_failed(why.to_owned());
            return std::future::pending().await;
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

    pub(super) fn status(&self, now: Now) -> BridgeStatus {
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

impl Machine for Half {
    fn handle_bytes(&mut self, buffer: &mut BytesMut, now: Now) {
        let was_up = self.up_since().is_some();
        Self::handle_bytes(self, buffer, now);
        if !was_up && self.up_since().is_some() {
            tracing::info!(bridge = %self.engine(), "up");
        }
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

impl Shared {
    /// Serves the near end of a bridge.
    async fn bridge(&self, pipe: DuplexStream) {
        let (identity, users) = (self.own(), Arc::default());
        let door = Door { identity, users, since: None, peer: false, bridge: true };
        self.client(pipe, door, "a bridge").await;
    }
}

/// Between half and the whole of it: peers whose engine comes back do not come all at once.
fn jittered(wait: Duration) -> Duration {
    let random = host::random::bytes::<4>().map_or(0, u32::from_be_bytes);
    wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}
