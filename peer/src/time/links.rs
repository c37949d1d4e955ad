//! Keys for the time over the links that there are: no door, no second handshake, and whoever loses
//! its link by a revocation has lost these too.
//!
//! The messages are those of RFC 8915 §4, in frames. Both ends of a link may ask, so the exporter's
//! contexts have one octet more than the standard's: who asks, the dialler or the listener.
//!
//! **Invariant:** a line is there as long as its link.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use nts::records::{Grant, GrantError, Problem, Reader, problem, request};
use nts::{Key, Keys, export};
use shared::name::NodeName;
use shared::verify::{Member, Verified};
use shared::wire::{Kind, frame_into};
use tls::Role;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tell::Teller;
use crate::config::NTP_PORT;
use crate::limits::TIME_EXCHANGE;
use crate::link::{Class, Queue, Secured};

/// The octet for the dialler's questions.
const DIALLERS: u8 = 0;
/// The octet for the listener's questions.
const LISTENERS: u8 = 1;

/// What an exchange gives.
pub(super) struct Keyed {
    pub(super) keys: Keys,
    pub(super) cookies: Vec<Vec<u8>>,
    pub(super) to: SocketAddr,
    pub(super) member: Option<Verified<Member>>,
}

/// The links over which keys can be exchanged.
#[derive(Default)]
pub struct Links {
    lines: Mutex<BTreeMap<NodeName, Vec<Arc<Line>>>>,
    teller: OnceLock<Weak<Teller>>,
}

/// What both ends of a link have in common, taken before it moves.
pub(crate) struct Common {
    member: Verified<Member>,
    /// For our questions.
    ours: Keys,
    /// For those of the other end.
    theirs: Keys,
    /// The other end's address, unless a relay carries the link.
    at: Option<IpAddr>,
}

/// One link.
struct Line {
    common: Common,
    queue: Queue,
    waiting: Mutex<Option<oneshot::Sender<Bytes>>>,
}

/// A link that is up; gone with the value.
pub(crate) struct Joined {
    links: Arc<Links>,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    /// Of a connection that was greeted; none if TLS gives no keys.
    pub(crate) fn of(secured: &Secured) -> Option<Self> {
        let keys = |octet: u8| {
            let key = |context: &[u8]| {
                let context = [context, &[octet]].concat();
                secured.export(export::LABEL, &context).map(Key::new)
            };
            Some(Keys { c2s: key(&export::C2S)?, s2c: key(&export::S2C)? })
        };
        let (ours, theirs) = match secured.role {
            Role::Dialler => (DIALLERS, LISTENERS),
            Role::Listener => (LISTENERS, DIALLERS),
        };
        let at = secured.via.is_none().then(|| secured.remote.ip());
        Some(Self { member: secured.member.clone(), ours: keys(ours)?, theirs: keys(theirs)?, at })
    }
}

impl Links {
    /// From now on who asks gets keys.
    pub(crate) fn serve(&self, teller: &Arc<Teller>) {
        let _ = self.teller.set(Arc::downgrade(teller));
    }

    /// Who gives keys, if anybody does.
    pub(crate) fn teller(&self) -> Option<Arc<Teller>> {
        self.teller.get().and_then(Weak::upgrade)
    }

    /// A link is up; these are its frames of ours.
    pub(crate) fn join(
        self: &Arc<Self>,
        common: Common,
        queue: Queue,
        frames: mpsc::Receiver<(Kind, Bytes)>,
    ) -> Joined {
        let node = common.member.node().clone();
        let line = Arc::new(Line { common, queue, waiting: Mutex::default() });
        lock(&self.lines).entry(node).or_default().push(Arc::clone(&line));
        let task = tokio::spawn(hear(Arc::clone(self), Arc::clone(&line), frames));
        Joined { links: Arc::clone(self), line, task }
    }

    /// With whom there are links.
    pub(super) fn nodes(&self) -> Vec<NodeName> {
        lock(&self.lines).keys().cloned().collect()
    }

    /// Asks a member for keys over the newest link with it.
    ///
    /// # Errors
    /// What was wrong, for people.
    pub(super) async fn exchange(&self, node: &NodeName) -> Result<Keyed, String> {
        let line = lock(&self.lines).get(node).and_then(|lines| lines.last().cloned());
        let line = line.ok_or_else(|| format!("there is no link with {node}"))?;
        let (answer, answered) = oneshot::channel();
        *lock(&line.waiting) = Some(answer);
        line.say(Kind::KeysAsk, &request());
        let answer = timeout(TIME_EXCHANGE, answered).await;
        let answer = answer.map_err(|_| "no keys came in time")?;
        let answer = answer.map_err(|_| "the link ended, or it was asked again")?;
        let grant = match read(&answer) {
            Err(GrantError::Refused(_)) => return Err(format!("{node} does not tell the time")),
            read => read.map_err(|error| error.to_string())?,
        };
        let said = grant.agreed.server.as_deref().map(str::parse::<IpAddr>);
        let at =
            said.transpose().map_err(|_| "it tells the time at something that is no address")?;
        let at = at.or(line.common.at).ok_or("a relay carries the link, and it says no address")?;
        Ok(Keyed {
            keys: line.common.ours.clone(),
            cookies: grant.cookies,
            to: SocketAddr::new(at, grant.agreed.port.unwrap_or(NTP_PORT)),
            member: Some(line.common.member.clone()),
        })
    }

    fn answer(&self, line: &Line, asked: &[u8]) -> Vec<u8> {
        match self.teller() {
            Some(teller) => teller.answer(asked, &line.common.theirs, &line.common.member),
            None => problem(Problem::Internal),
        }
    }
}

impl Line {
    /// What finds no room is asked for again.
    fn say(&self, kind: Kind, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 5);
        if frame_into(&mut frame, kind, payload).is_ok() {
            let _ = self.queue.push(Class::Message, Bytes::from(frame));
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.task.abort();
        let mut lines = lock(&self.links.lines);
        let node = self.line.common.member.node();
        if let Some(of_node) = lines.get_mut(node) {
            of_node.retain(|line| !Arc::ptr_eq(line, &self.line));
            if of_node.is_empty() {
                lines.remove(node);
            }
        }
        // Whoever waits for an answer need not wait on.
        lock(&self.line.waiting).take();
    }
}

async fn hear(links: Arc<Links>, line: Arc<Line>, mut frames: mpsc::Receiver<(Kind, Bytes)>) {
    while let Some((kind, payload)) = frames.recv().await {
        if kind == Kind::KeysAsk {
            line.say(Kind::Keys, &links.answer(&line, &payload));
        } else if let Some(waiting) = lock(&line.waiting).take() {
            // Keys that nobody asked for are nobody's.
            let _ = waiting.send(payload);
        }
    }
}

fn read(answer: &[u8]) -> Result<Grant, GrantError> {
    let mut reader = Reader::default();
    reader.take(answer)?;
    Grant::read(&reader)
}
