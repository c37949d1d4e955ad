//! One source, asked: keys are exchanged when that is due, then one question goes over UDP.
//!
//! A question waits on a thread of its own for its answer: a thread is woken a few microseconds
//! after its datagram, a task when the runtime finds the time, and what lies between is an error of
//! the clock.
//!
//! **Invariant:** what a source with NTS says without NTS is never passed on.

mod exchange;
mod system;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::fault::Fault;
use nts::client::{Association, Counters, Protection, Sample};
use shared::pem;
use shared::time::Timestamp;
use shared::verify::{Member, Verified};
use tls::Dialler;
use tokio::sync::mpsc;

use super::Shown;
use super::links::{Keyed, Links};
use crate::config::{Source, Way};
use crate::limits::{TIME_ROOTS_BYTES_MAX, TIME_ROOTS_MAX};
use exchange::exchange;

/// What is needed to exchange keys.
#[derive(Clone)]
pub struct Papers {
    /// As a member, with our certificate.
    pub dialler: Option<Arc<Dialler>>,
    /// The roots of servers outside, DER.
    pub roots: Arc<Vec<Vec<u8>>>,
    /// By what their certificates' dates are judged.
    pub dates: tls::Dates,
    /// Whether the time is known at all; it is, unless this says otherwise.
    pub shown: Option<Arc<Shown>>,
    /// The links with members.
    pub links: Option<Arc<Links>>,
}

/// One source and what was agreed with it.
pub struct Asker {
    source: Source,
    papers: Papers,
    association: Association,
    to: Option<SocketAddr>,
    member: Option<Verified<Member>>,
    /// When keys were asked for last.
    keyed: Timestamp,
    trouble: Option<String>,
}

/// What a turn came to.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// An answer; its two moments of ours are the machine's count.
    pub sample: Option<Sample>,
    /// Cookies that were refused in this turn.
    pub naks: u64,
    /// Answers of which NTS was taken off in this turn.
    pub strips: u64,
    /// The least interval that the server's kisses ask for (RFC 5905 §7.4); 0 for none.
    pub poll_least: u8,
    /// How the source stands now.
    pub standing: Standing,
}

/// How a source stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Whether it is asked with NTS.
    pub nts: bool,
    /// Cookies left.
    pub cookies: usize,
    /// What happened so far.
    pub counters: Counters,
    /// Who it is, if it is a member.
    pub member: Option<Verified<Member>>,
    /// Where it is asked.
    pub to: Option<SocketAddr>,
    /// What went wrong last, if the last turn gave nothing.
    pub trouble: Option<String>,
}

impl Asker {
    /// A source that was never asked.
    #[must_use]
    pub fn new(source: Source, papers: Papers) -> Self {
        let protection = if source.way.has_nts() { Protection::Nts } else { Protection::None };
        let association = Association::new(protection);
        let keyed = Timestamp::default();
        Self { source, papers, association, to: None, member: None, keyed, trouble: None }
    }

    /// Asks once; the next question is meant to come after an interval of `poll`, the power of two
    /// of seconds.
    pub async fn turn(&mut self, poll: u8) -> Turn {
        self.association.set_poll(i8::try_from(poll).unwrap_or(i8::MAX));
        let before = self.association.counters();
        self.trouble = None;
        self.prepare().await;
        let sample = match (&self.source.way, self.to) {
            (Way::System, _) => self.heard(system::ask()),
            (_, Some(to)) => self.ask(to).await,
            (_, None) => None,
        };
        let counters = self.association.counters();
        let standing = Standing {
            nts: self.source.way.has_nts(),
            cookies: self.association.cookies(),
            counters,
            member: self.member.clone(),
            to: self.to,
            trouble: self.trouble.clone(),
        };
        let poll_least = u8::try_from(self.association.poll()).unwrap_or_default();
        let poll_least = if counters.kisses > 0 { poll_least } else { 0 };
        let (naks, strips) = (counters.naks - before.naks, counters.strips - before.strips);
        Turn { sample, naks, strips, poll_least, standing }
    }

    /// Exchanges keys if that is due, or resolves a name.
    async fn prepare(&mut self) {
        match self.source.way {
            Way::System => return,
            Way::Plain => {
                match exchange::resolve(&self.source.address).await {
                    Ok(to) => self.to = Some(to),
                    Err(error) => self.trouble = Some(error),
                }
                return;
            }
            Way::Outside { .. } | Way::Member(_) | Way::Linked(_) => {}
        }
        let now_ms = host::clock::count_ns() / 1_000_000;
        let [_, wall] = (self.papers.dates)();
        if self.member.as_ref().is_some_and(|member| is_aged(member, self.keyed, wall)) {
            self.association.want_keys();
        }
        if self.association.exchange_due_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return;
        }
        self.association.exchange_begins(now_ms);
        self.keyed = wall;
        match exchange(&self.source, &self.papers).await {
            Ok(Keyed { keys, cookies, to, member }) => {
                self.association.keyed(keys, cookies);
                (self.to, self.member) = (Some(to), member);
            }
            Err(error) => self.trouble = Some(error),
        }
    }

    async fn ask(&mut self, to: SocketAddr) -> Option<Sample> {
        let mut association = std::mem::replace(&mut self.association, idle());
        let asking = tokio::task::spawn_blocking(move || {
            let heard = wire::ask(&mut association, to);
            (association, heard)
        });
        let (association, heard) = asking.await.ok()?;
        self.association = association;
        self.heard(heard)
    }

    fn heard(&mut self, heard: Result<Sample, String>) -> Option<Sample> {
        match heard {
            Ok(sample) => Some(sample),
            Err(error) => {
                self.trouble.get_or_insert(error);
                None
            }
        }
    }
}

/// Whether a server's certificate is so near its end that it has been renewed, though answers under
/// the keys of the old one still come: those are worth nothing when it has ended. Asked for a few
/// times, if the server is late.
fn is_aged(member: &Member, keyed: Timestamp, wall: Timestamp) -> bool {
    let life_ms = member.not_after.ms().saturating_sub(member.not_before.ms());
    let left_ms = member.not_after.ms().saturating_sub(wall.ms());
    let since_ms = wall.ms().abs_diff(keyed.ms());
    left_ms < life_ms / 8 && since_ms >= life_ms.unsigned_abs() / 16
}

/// What stands in an association's place while it is on its thread.
fn idle() -> Association {
    Association::new(Protection::None)
}

/// Asks whenever told to; ends when nobody tells any more.
pub(super) async fn run<T>(
    mut asker: Asker,
    mut orders: mpsc::Receiver<u8>,
    heard: mpsc::Sender<T>,
    wrap: impl Fn(Turn) -> T,
) {
    while let Some(poll) = orders.recv().await {
        let turn = asker.turn(poll).await;
        if heard.send(wrap(turn)).await.is_err() {
            return;
        }
    }
}

/// Reads roots from a file.
///
/// # Errors
/// [`Fault`] if there are none in it.
pub fn roots_of(path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    let bytes = host::files::read_bounded(path, TIME_ROOTS_BYTES_MAX)?;
    let roots = pem::certificates(&bytes, TIME_ROOTS_MAX);
    roots.map_err(|error| Fault::failed(format!("{}: {error}", path.display())))
}

/// The system's roots, from where systems have them.
///
/// # Errors
/// [`Fault`] if they are nowhere.
pub fn system_roots() -> Result<Vec<Vec<u8>>, Fault> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    let mut places = named.into_iter().chain(usual.map(PathBuf::from));
    let found = places.find(|path| path.exists()).ok_or_else(|| {
        Fault::failed("this system has no file with root certificates")
            .hint("name one: `ca: FILE` in node.yaml, or --ca FILE")
    })?;
    roots_of(&found)
}
