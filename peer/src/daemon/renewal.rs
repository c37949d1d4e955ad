//! The node renews its own certificate: a fresh key, asked over a link or at the authority's door,
//! verified whole, put beside the old one, linked with, and only then settled.
//!
//! **Invariant:** the pair there was stays on the disk until somebody has taken the new one in a
//! handshake.
//! **Invariant:** what the authority grants is taken only if it is ours, fits the key, is valid now
//! and does not end before what there is.

use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use peer_core::{Calendar, Event, Renewed, RequestId, Setback, Urgency};
use shared::cert::{NodeCert, request};
use shared::id::sha256;
use shared::join::Grant;
use shared::key::PrivateKey;
use shared::time::{Now, Timestamp};
use tls::Identity;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::authority::Order;
use super::driver::Driver;
use super::fabric::Fabric;
use super::news::News;
use super::start::Daemon;
use crate::bundle::{self, Bundle, BundleError};
use crate::join::{self, RenewError};

/// How a command learns what became of its renewal.
pub(super) type Reply = oneshot::Sender<Result<Timestamp, Fault>>;

/// How the renewal stands, for people.
#[derive(Debug, Clone)]
pub(super) struct RenewalView {
    pub(super) urgency: Urgency,
    /// When it is tried next; none if the certificate is somebody else's affair.
    pub(super) next: Option<Timestamp>,
    pub(super) setback: Option<Setback>,
}

/// A key whose certificate is asked for.
struct Wish {
    key: PrivateKey,
    is_fresh: bool,
    csr: Vec<u8>,
}

enum Step {
    Rest,
    /// Asked over a link.
    Asked(RequestId, Wish),
    /// Asked at the door.
    Door(Wish),
    /// On its way to the disk.
    Writing(Box<Identity>),
}

/// What the driver knows of its renewal.
pub(super) struct Renewing {
    /// None: whoever lent us the identity renews it.
    calendar: Option<Calendar>,
    step: Step,
    keep_key: bool,
    waiting: Vec<Reply>,
    told: Urgency,
    /// Nobody has taken the new certificate in a handshake yet.
    unproved: bool,
}

/// What comes back from beside the loop.
pub(super) enum Errand {
    /// A command wants it renewed now.
    Wanted { keep_key: bool, reply: Reply },
    /// What the door said.
    Door(Result<Grant, RenewError>),
    /// The new pair is beside the old one, or is not.
    Beside(Result<(), String>),
    /// The new pair has taken the old one's place, or has not.
    Settled(Result<(), String>),
}

impl Renewing {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let calendar = (!bundle.is_lent()).then(|| calendar_of(&bundle.cert));
        let (step, waiting) = (Step::Rest, Vec::new());
        let told = Urgency::Fresh;
        Self { calendar, step, keep_key: false, waiting, told, unproved: false }
    }

    fn answer(&mut self, outcome: &Result<Timestamp, String>) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(outcome.clone().map_err(Fault::failed));
        }
    }

    fn is_resting(&self) -> bool {
        matches!(self.step, Step::Rest)
    }

    /// How long there is nothing to begin.
    pub(super) fn wait(&self, now: Timestamp) -> Duration {
        let calendar = self.calendar.as_ref().filter(|_| self.is_resting());
        calendar.map_or(Duration::MAX, |calendar| {
            let wait_ms = calendar.next().ms_since(now);
            Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())
        })
    }
}

/// The same node has the same moments for the same certificate, in whichever run.
fn calendar_of(cert: &NodeCert) -> Calendar {
    calendar_from(cert, cert.not_before)
}

/// The same for one that was granted just now: if it began so long before that it is due already
/// (its issuer is near its end), what is left counts, or it would be renewed without a pause.
fn calendar_of_granted(cert: &NodeCert, now: Timestamp) -> Calendar {
    let calendar = calendar_of(cert);
    if calendar.is_due(now) { calendar_from(cert, now) } else { calendar }
}

fn calendar_from(cert: &NodeCert, from: Timestamp) -> Calendar {
    let hash = sha256(&cert.der);
    let seed = hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Calendar::new(from, cert.not_after, seed)
}

impl Daemon {
    /// Renews this node's certificate now, for a fresh key or for the one there is; gives the end
    /// of the new one.
    ///
    /// # Errors
    /// [`Fault`] if it was not renewed; it is tried again in time.
    pub async fn renew(&self, keep_key: bool) -> Result<Timestamp, Fault> {
        renew(&self.news, keep_key).await
    }
}

/// Asks the driver to renew, and waits for what becomes of it.
pub(super) async fn renew(news: &mpsc::Sender<News>, keep_key: bool) -> Result<Timestamp, Fault> {
    let stopped = || Fault::failed("this peer has stopped");
    let (reply, renewed) = oneshot::channel();
    let errand = Errand::Wanted { keep_key, reply };
    let sent = news.send(News::Order(Order::Renewal(errand))).await;
    sent.map_err(|_| stopped())?;
    renewed.await.map_err(|_| stopped())?
}

impl<F: Fabric> Driver<F> {
    /// Begins what is due, and tells of what is late.
    pub(super) fn look_at_renewal(&mut self, now: Now) {
        let Some(calendar) = &self.renewal.calendar else { return };
        let urgency = calendar.urgency(now.wall);
        let due = calendar.is_due(now.wall) && self.renewal.is_resting();
        if urgency != self.renewal.told {
            self.renewal.told = urgency;
            tell(urgency, &self.reloader.bundle.cert);
        }
        if due {
            let keep_key = self.renewal.keep_key || self.reloader.bundle.config.keep_key;
            self.renewal.keep_key = false;
            if let Err(why) = self.begin_renewal(keep_key, now) {
                self.renewal_failed(&why, true, now);
            }
        }
    }

    fn begin_renewal(&mut self, keep_key: bool, now: Now) -> Result<(), String> {
        let wish = wish(&self.reloader.bundle, keep_key)?;
        self.next_request += 1;
        let (request, csr) = (self.next_request, wish.csr.clone());
        self.renewal.step = Step::Asked(request, wish);
        self.node.handle_renew(request, csr, now);
        Ok(())
    }

    /// What the authority said over a link; `false` if it was not this renewal that was answered.
    pub(super) fn renewal_answered(&mut self, request: RequestId, outcome: &Renewed) -> bool {
        let wish = match std::mem::replace(&mut self.renewal.step, Step::Rest) {
            Step::Asked(asked, wish) if asked == request => wish,
            other => {
                self.renewal.step = other;
                return false;
            }
        };
        let now = self.clock.now();
        match outcome {
            Renewed::Granted(chain) => self.take_grant(wish, chain.clone(), now),
            Renewed::Refused(failure) => {
                self.renewal_failed(&refusal(failure), failure.code.is_passing(), now);
            }
            Renewed::Unreachable(why) => self.ask_at_door(wish, why, now),
        }
        true
    }

    /// No link leads to the authority: its door may be open.
    fn ask_at_door(&mut self, wish: Wish, why: &str, now: Now) {
        let addresses = self.reloader.bundle.config.authority.clone();
        if addresses.is_empty() {
            return self.renewal_failed(why, true, now);
        }
        let (dialler, csr) = (Arc::clone(&self.reloader.dialler), wish.csr.clone());
        self.renewal.step = Step::Door(wish);
        let news = self.posting.news.clone();
        tokio::spawn(async move {
            let said = join::renew(&addresses, &dialler, &csr).await;
            let _ = news.send(News::Order(Order::Renewal(Errand::Door(said)))).await;
        });
    }

    pub(super) fn run_errand(&mut self, errand: Errand, now: Now) {
        match errand {
            Errand::Wanted { keep_key, reply } => self.hurry_renewal(keep_key, reply, now),
            Errand::Door(said) => self.hear_door(said, now),
            Errand::Beside(written) => self.hear_beside(written, now),
            Errand::Settled(Ok(())) => info!("the renewed certificate is settled"),
            Errand::Settled(Err(why)) => {
                self.renewal.unproved = true;
                warn!("the renewed certificate is yet to be settled: {why}");
            }
        }
    }

    fn hurry_renewal(&mut self, keep_key: bool, reply: Reply, now: Now) {
        let Some(calendar) = &mut self.renewal.calendar else {
            let fault = Fault::failed("the authority renews its own certificate by itself");
            let _ = reply.send(Err(fault));
            return;
        };
        calendar.hurry(now.wall);
        if self.renewal.is_resting() {
            self.renewal.keep_key = keep_key;
        }
        self.renewal.waiting.push(reply);
        self.look_at_renewal(now);
    }

    fn hear_door(&mut self, said: Result<Grant, RenewError>, now: Now) {
        let Step::Door(wish) = std::mem::replace(&mut self.renewal.step, Step::Rest) else {
            return;
        };
        match said {
            Ok(grant) => {
                let chain = grant.chain.into_iter().map(Vec::from).collect();
                self.take_grant(wish, chain, now);
            }
            Err(RenewError::Refused(failure)) => {
                self.renewal_failed(&refusal(&failure), failure.code.is_passing(), now);
            }
            Err(error) => self.renewal_failed(&error.to_string(), true, now),
        }
    }

    /// Verifies what was granted and puts it beside what there is.
    fn take_grant(&mut self, wish: Wish, chain: Vec<Vec<u8>>, now: Now) {
        let bundle = &self.reloader.bundle;
        let identity = Identity { chain, key: wish.key };
        let fresh = wish.is_fresh.then(|| copy(&identity.key)).transpose();
        let judged = check(bundle, &identity, now.wall).and(fresh);
        let fresh = match judged {
            Ok(fresh) => fresh,
            Err(why) => {
                let why = format!("what the authority granted is of no use: {why}");
                return self.renewal_failed(&why, false, now);
            }
        };
        let (paths, chain) = (bundle.paths.clone(), identity.chain.clone());
        self.renewal.step = Step::Writing(Box::new(identity));
        let write = move || bundle::put_beside(&paths, &chain, fresh.as_ref());
        self.beside_the_loop(write, Errand::Beside);
    }

    fn hear_beside(&mut self, written: Result<(), String>, now: Now) {
        let Step::Writing(identity) = std::mem::replace(&mut self.renewal.step, Step::Rest) else {
            return;
        };
        let written = written.map_err(|why| format!("it could not be written: {why}"));
        let taken = written.and_then(|()| {
            let taken = self.reloader.replace(*identity, &mut self.node, now);
            taken.map_err(|fault| fault.to_string())
        });
        match taken {
            Ok(what) => {
                info!("renewed: {what}");
                self.renewal.unproved = true;
                self.restart_calendar(|cert| calendar_of_granted(cert, now.wall));
            }
            Err(why) => self.renewal_failed(&why, true, now),
        }
    }

    /// Somebody has put another certificate there.
    pub(super) fn replaced_by_hand(&mut self) {
        self.restart_calendar(calendar_of);
    }

    fn restart_calendar(&mut self, calendar: impl Fn(&NodeCert) -> Calendar) {
        let cert = &self.reloader.bundle.cert;
        if self.renewal.calendar.is_some() {
            self.renewal.calendar = Some(calendar(cert));
        }
        self.renewal.told = Urgency::Fresh;
        let until = cert.not_after;
        self.renewal.answer(&Ok(until));
    }

    /// Somebody has linked with us: the new certificate has proved itself.
    pub(super) fn prove_renewal(&mut self, event: &Event) {
        if !matches!(event, Event::Linked { .. }) || !self.renewal.unproved {
            return;
        }
        self.renewal.unproved = false;
        let paths = self.reloader.bundle.paths.clone();
        let leaf = self.reloader.bundle.cert.der.clone();
        self.beside_the_loop(move || bundle::settle_as(&paths, &leaf), Errand::Settled);
    }

    fn renewal_failed(&mut self, why: &str, passing: bool, now: Now) {
        let Some(calendar) = &mut self.renewal.calendar else { return };
        calendar.failed(why, passing, now.wall);
        let next = calendar.next();
        let why = host::terminal::escape(why);
        if calendar.urgency(now.wall) >= Urgency::Late {
            warn!(%next, "not renewed: {why}");
        } else {
            info!(%next, "not renewed: {why}");
        }
        self.renewal.answer(&Err(format!("not renewed: {why}")));
    }

    fn beside_the_loop<E: Into<BundleError>>(
        &self,
        write: impl FnOnce() -> Result<(), E> + Send + 'static,
        errand: fn(Result<(), String>) -> Errand,
    ) {
        let news = self.posting.news.clone();
        tokio::spawn(async move {
            let write =
                move || write().map_err(|error| Into::<BundleError>::into(error).to_string());
            let done = tokio::task::spawn_blocking(write).await;
            let done = done.unwrap_or_else(|error| Err(error.to_string()));
            let _ = news.send(News::Order(Order::Renewal(errand(done)))).await;
        });
    }

    pub(super) fn renewal_view(&self, now: Now) -> RenewalView {
        let cert = &self.reloader.bundle.cert;
        let calendar = self.renewal.calendar.as_ref();
        let usual = || Urgency::of(cert.not_before, cert.not_after, now.wall);
        RenewalView {
            urgency: calendar.map_or_else(usual, |calendar| calendar.urgency(now.wall)),
            next: calendar.map(Calendar::next),
            setback: calendar.and_then(Calendar::setback).cloned(),
        }
    }
}

fn tell(urgency: Urgency, cert: &NodeCert) {
    let until = cert.not_after;
    match urgency {
        Urgency::Fresh | Urgency::Due => {}
        Urgency::Late => {
            warn!(%until, "less than a third of the certificate's life is left: see peer cert");
        }
        Urgency::Ended => warn!(%until, "the certificate has ended: nobody links with this node"),
    }
}

fn refusal(failure: &shared::join::Failure) -> String {
    format!("refused by the authority ({}): {}", failure.code, failure.text)
}

fn copy(key: &PrivateKey) -> Result<PrivateKey, String> {
    PrivateKey::from_pkcs8(key.pkcs8()).map_err(|error| error.to_string())
}

fn wish(bundle: &Bundle, keep_key: bool) -> Result<Wish, String> {
    let key = if keep_key {
        copy(&bundle.identity.key)?
    } else {
        let algorithm = bundle.cert.public.algorithm();
        PrivateKey::generate(algorithm).map_err(|error| error.to_string())?
    };
    let csr = request::make(&key, bundle.cert.node.as_str()).map_err(|error| error.to_string())?;
    Ok(Wish { key, is_fresh: !keep_key, csr })
}

/// Whether an identity may take the place of the bundle's.
fn check(bundle: &Bundle, identity: &Identity, now: Timestamp) -> Result<(), String> {
    let cert = bundle.check_successor(identity, now).map_err(|error| error.to_string())?;
    if cert.not_after < bundle.cert.not_after {
        return Err(format!("it ends at {}, before the one there is", cert.not_after));
    }
    Ok(())
}
