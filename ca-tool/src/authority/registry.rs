//! What an authority knows, without any key: nodes, certificates, feed, log.
//!
//! **Invariant:** the folder is private, its lock is ours, and its store belongs to its network.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use host::files::{self, Mode};
use host::lock::FileLock;
use peer::daemon::Urgency;
use serde::{Deserialize, Serialize};
use shared::cert::Usage;
use shared::feed::{Position, Update};
use shared::id::Serial;
use shared::limits::{AHEAD_S, ANCHORS_MAX, CERT_FILE_BYTES_MAX, FEED_FILE_BYTES_MAX};
use shared::name::{Label, NetworkName, NodeName};
use shared::pem;
use shared::time::Timestamp;
use shared::verify::{Anchors, Verifier};

use super::ledger::Ledger;
use crate::error::CaError;
use crate::layout::Layout;
use crate::settings::Settings;
use crate::store::{CertRecord, Intent, META, NodeRecord, Reads, Standing, Store, meta};

/// How long another program may take before we give up.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// An open state folder.
pub struct Registry {
    layout: Layout,
    settings: Mutex<Settings>,
    network: NetworkName,
    feed_life_s: i64,
    store: Store,
    issuing_der: Vec<u8>,
    trust_der: Vec<Vec<u8>>,
    anchors: Arc<Anchors>,
    ledger: Mutex<Ledger>,
    clock: Clock,
    _lock: Option<FileLock>,
}

/// A node as a person or a program sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: NodeName,
    /// `active`, `expired`, `suspended` or `revoked`.
    pub standing: Cow<'static, str>,
    /// Since when it is suspended or revoked.
    pub since: Option<Timestamp>,
    /// Why it is revoked.
    pub reason: Option<Cow<'static, str>>,
    /// When its newest certificate ends.
    pub not_after: Option<Timestamp>,
    /// Whether less than a third of that one's life is left: it was not renewed in time.
    pub late: bool,
    /// How many of its certificates have not expired.
    pub certificates: usize,
    /// Groups.
    pub groups: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// The profile of its certificates, such as `node` or `app`.
    pub profile: String,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
}

/// A certificate as a person or a program sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertView {
    /// Its serial.
    pub serial: String,
    /// SHA-256 of its key.
    pub spki: String,
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// `live`, `expired`, `barred`, or `possibly-issued` for one whose signing was interrupted.
    pub state: Cow<'static, str>,
}

impl Registry {
    /// Opens a state folder; `on_wait` is told who holds it, once, if it is in use.
    ///
    /// # Errors
    /// [`CaError`]; nothing has changed then.
    pub fn open(folder: &Path, on_wait: impl FnOnce(&str)) -> Result<Self, CaError> {
        Self::open_within(folder, LOCK_WAIT, on_wait)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_within(
        folder: &Path,
        wait: Duration,
        on_wait: impl FnOnce(&str),
    ) -> Result<Self, CaError> {
        let layout = Layout::new(folder);
        if layout.settings().symlink_metadata().is_err() {
            return Err(CaError::NoAuthority { path: folder.to_owned() });
        }
        files::check_private_dir(folder)?;
        let lock = FileLock::acquire(&layout.lock(), wait, on_wait)?;
        let settings = Settings::read(&layout.settings())?;
        let store = Store::open(&layout.store())?;
        let clock: Clock = Arc::new(host::clock::wall);
        Self::assemble(layout, settings, store, clock, Some(lock))
    }

    /// The same registry under another clock, for tests and simulations.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(super) fn assemble(
        layout: Layout,
        settings: Settings,
        store: Store,
        clock: Clock,
        lock: Option<FileLock>,
    ) -> Result<Self, CaError> {
        let network = settings.network.clone();
        let view = store.read()?;
        if view.get(META, meta::NETWORK)?.as_deref() != Some(network.as_str().as_bytes()) {
            let what = "the network is not the store's; it cannot be changed".to_owned();
            return Err(CaError::Content { path: layout.settings(), what });
        }
        let trust = files::read_bounded(&layout.trust(), CERT_FILE_BYTES_MAX)?;
        let trust_der = pem::certificates(&trust, ANCHORS_MAX)?;
        let anchors = Anchors::new(network.clone(), &trust_der)?;
        let issuing = files::read_bounded(&layout.issuing_cert(), CERT_FILE_BYTES_MAX)?;
        let issuing_der = pem::certificates(&issuing, 1)?.pop().unwrap_or_default();
        let ledger = Ledger::load(&view, &network, &anchors)?;
        Ok(Self {
            layout,
            feed_life_s: settings.feed_life_s,
            settings: Mutex::new(settings),
            network,
            store,
            issuing_der,
            trust_der,
            anchors: Arc::new(anchors),
            ledger: Mutex::new(ledger),
            clock,
            _lock: lock,
        })
    }

    /// Where everything stands.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The roots of the network, DER.
    #[must_use]
    pub fn trust_der(&self) -> &[Vec<u8>] {
        &self.trust_der
    }

    /// The roots of the network as the file `trust.pem`.
    #[must_use]
    pub fn trust_pem(&self) -> String {
        self.trust_der.iter().map(|der| pem::encode(pem::CERTIFICATE, der).to_string()).collect()
    }

    /// The roots, checked.
    #[must_use]
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// The issuing certificate, DER.
    #[must_use]
    pub fn issuing_der(&self) -> &[u8] {
        &self.issuing_der
    }

    /// When the issuing certificate ends.
    ///
    /// # Errors
    /// [`CaError::Cert`] if it cannot be read.
    pub fn issuing_not_after(&self) -> Result<Timestamp, CaError> {
        Ok(shared::cert::Facts::read(&self.issuing_der)?.not_after)
    }

    /// Whether a chain, leaf first, is a member's now.
    #[must_use]
    pub fn is_member(&self, chain: &[Vec<u8>]) -> bool {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let admitted = self
            .verifier()
            .map(|verifier| verifier.admit(&chain, Usage::Program, None, self.now()).is_ok());
        admitted.unwrap_or(false)
    }

    /// The settings as they stand.
    ///
    /// # Errors
    /// [`CaError::Unusable`].
    pub fn settings(&self) -> Result<Settings, CaError> {
        Ok(self.settings.lock().map_err(|_| CaError::Unusable)?.clone())
    }

    /// Remembers a peer that answered.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remember_via(&self, via: &str) -> Result<(), CaError> {
        let mut settings = self.settings.lock().map_err(|_| CaError::Unusable)?;
        let mut next = settings.clone();
        if next.remember(via) {
            next.write(&self.layout.settings())?;
            *settings = next;
        }
        Ok(())
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The clock itself.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    pub(super) const fn feed_life_s(&self) -> i64 {
        self.feed_life_s
    }

    pub(super) fn ledger(&self) -> Result<MutexGuard<'_, Ledger>, CaError> {
        self.ledger.lock().map_err(|_| CaError::Unusable)
    }

    /// The feed's number and when its head was signed.
    ///
    /// # Errors
    /// [`CaError::Unusable`].
    pub fn feed_position(&self) -> Result<Position, CaError> {
        Ok(self.ledger()?.feed.position())
    }

    /// By when the feed wants to be signed again.
    ///
    /// # Errors
    /// [`CaError::Unusable`].
    pub fn feed_next_update(&self) -> Result<Timestamp, CaError> {
        Ok(self.ledger()?.feed.head().map_or_else(Timestamp::default, |head| head.next_update))
    }

    /// What a holder of the feed at `number` needs; 0 for a newcomer.
    ///
    /// # Errors
    /// [`CaError::Damaged`] if there is no signed head.
    pub fn feed_update(&self, number: u64) -> Result<Update, CaError> {
        let update = self.ledger()?.feed.update_since(number);
        update.ok_or_else(|| CaError::Damaged("the feed has no head".to_owned()))
    }

    /// The whole feed as a file.
    ///
    /// # Errors
    /// As [`Registry::feed_update`].
    pub fn feed_file(&self) -> Result<Vec<u8>, CaError> {
        self.feed_update(0).map(shared::feed::write_file)
    }

    /// The newest CRL, DER.
    ///
    /// # Errors
    /// What the disk says.
    pub fn crl_der(&self) -> Result<Vec<u8>, CaError> {
        let der = self.store.read()?.get(META, meta::CRL)?;
        der.ok_or_else(|| CaError::Damaged("there is no CRL".to_owned()))
    }

    /// A verifier that knows who is out: the same that peers use.
    ///
    /// # Errors
    /// [`CaError::Unusable`], or what is wrong with the roots.
    pub fn verifier(&self) -> Result<Verifier, CaError> {
        let anchors = Anchors::new(self.network.clone(), &self.trust_der)?;
        Ok(Verifier::with_set(anchors, self.ledger()?.set.clone()))
    }

    /// All nodes, by name.
    ///
    /// # Errors
    /// What the disk says.
    pub fn nodes(&self) -> Result<Vec<NodeView>, CaError> {
        self.nodes_after(None, usize::MAX)
    }

    /// At most `max` nodes by name, those after one of them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn nodes_after(
        &self,
        after: Option<&NodeName>,
        max: usize,
    ) -> Result<Vec<NodeView>, CaError> {
        let view = self.store.read()?;
        let now = self.now();
        view.nodes_after(after, max, |record| view_of(&view, record, now))
    }

    /// One node and its certificates, newest first.
    ///
    /// # Errors
    /// [`CaError::NotEnrolled`].
    pub fn node(&self, node: &NodeName) -> Result<(NodeView, Vec<CertView>), CaError> {
        let view = self.store.read()?;
        let record = view.node(node)?.ok_or_else(|| CaError::NotEnrolled { node: node.clone() })?;
        let now = self.now();
        let state = |serial: &Serial, not_after: Timestamp, live| -> Result<_, CaError> {
            let barred = view.bar(serial)?.is_some();
            Ok(if barred {
                "barred"
            } else if not_after <= now {
                "expired"
            } else {
                live
            })
        };
        let mut certs: Vec<CertView> = Vec::new();
        for cert in view.certs_of(node)? {
            certs.push(CertView {
                state: state(&cert.serial, cert.not_after, "live")?.into(),
                serial: cert.serial.to_string(),
                spki: cert.spki.to_string(),
                not_before: cert.not_before,
                not_after: cert.not_after,
                issued_at: cert.issued_at,
            });
        }
        for intent in view.intents()?.into_iter().filter(|intent| intent.node == *node) {
            certs.push(CertView {
                state: state(&intent.serial, intent.not_after, "possibly-issued")?.into(),
                serial: intent.serial.to_string(),
                spki: intent.spki.to_string(),
                not_before: intent.at,
                not_after: intent.not_after,
                issued_at: intent.at,
            });
        }
        certs.sort_by_key(|cert| std::cmp::Reverse(cert.issued_at));
        Ok((view_of(&view, record, now)?, certs))
    }

    /// A certificate by its serial.
    ///
    /// # Errors
    /// What the disk says.
    pub fn certificate(&self, serial: &Serial) -> Result<Option<CertRecord>, CaError> {
        self.store.read()?.cert(serial)
    }

    /// Whether the disk has failed under the store: nothing is recorded until it is opened anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.store.is_broken()
    }

    /// Certificates whose signing was interrupted: they may exist somewhere.
    ///
    /// # Errors
    /// What the disk says.
    pub fn leftovers(&self) -> Result<Vec<Intent>, CaError> {
        Ok(self.store.read()?.intents()?.into_iter().filter(|intent| intent.leftover).collect())
    }

    /// Refuses to act when the clock stands before what was recorded: a certificate or head dated
    /// wrongly cannot be taken back.
    pub(super) fn check_clock(&self, reads: &impl Reads, now: Timestamp) -> Result<(), CaError> {
        let newest = crate::store::newest(reads)?;
        if newest > now.plus_s(AHEAD_S) {
            return Err(CaError::ClockBehind { now, newest });
        }
        Ok(())
    }

    /// Marks intents of an interrupted run: their certificates may exist, so they stay on record
    /// and a revocation of the node names them. Those that have expired by now are forgotten.
    pub(super) fn note_leftovers(&self) -> Result<(), CaError> {
        let now = self.now();
        let due = |intent: &Intent| !intent.leftover || intent.not_after <= now;
        if !self.store.read()?.intents()?.iter().any(due) {
            return Ok(());
        }
        self.store.write(|txn| {
            for mut intent in txn.intents()?.into_iter().filter(due) {
                if intent.not_after <= now {
                    txn.remove_intent(&intent.serial)?;
                    continue;
                }
                intent.leftover = true;
                txn.put_intent(&intent)?;
                let detail = format!("serial {}: signing was interrupted", intent.serial);
                txn.log(now, "possibly-issued", intent.node.as_str(), detail)?;
            }
            Ok(())
        })
    }

    /// Whether the files beside the store show what the store holds.
    ///
    /// # Errors
    /// What the disk says.
    pub fn projections_are_current(&self) -> Result<bool, CaError> {
        let feed = files::read_bounded(&self.layout.feed(), FEED_FILE_BYTES_MAX);
        let crl = files::read_bounded(&self.layout.crl(), shared::limits::CRL_BYTES_MAX);
        let feed_is =
            feed.is_ok_and(|bytes| Some(bytes) == self.ledger().ok().and_then(|l| l.file()));
        Ok(feed_is && crl.ok() == Some(self.crl_der()?))
    }

    /// Writes them if they do not.
    ///
    /// # Errors
    /// As [`Registry::projections_are_current`].
    pub fn mend_projections(&self) -> Result<(), CaError> {
        if self.projections_are_current()? { Ok(()) } else { self.write_projections() }
    }

    /// Writes `feed/feed` and `crl.der` as the store has them.
    pub(super) fn write_projections(&self) -> Result<(), CaError> {
        files::write_atomic(&self.layout.feed(), &self.feed_file()?, Mode::Public)?;
        Ok(files::write_atomic(&self.layout.crl(), &self.crl_der()?, Mode::Public)?)
    }
}

fn view_of(view: &impl Reads, mut record: NodeRecord, now: Timestamp) -> Result<NodeView, CaError> {
    let spans = view.spans_of(&mut record)?;
    let newest = spans.iter().max_by_key(|span| span.not_after);
    let not_after = newest.map(|span| span.not_after);
    let urgency = newest.map(|span| Urgency::of(span.not_before, span.not_after, now));
    let is_active = matches!(record.standing, Standing::Active);
    let late = is_active && urgency == Some(Urgency::Late);
    let certificates = spans.iter().filter(|span| span.not_after > now).count();
    let (standing, since, reason) = match record.standing {
        Standing::Active if certificates == 0 => ("expired", not_after, None),
        Standing::Active => ("active", None, None),
        Standing::Suspended(since) => ("suspended", Some(since), None),
        Standing::Revoked(at, reason) => ("revoked", Some(at), Some(reason.as_str())),
    };
    let text = |labels: Vec<Label>| labels.into_iter().map(String::from).collect();
    Ok(NodeView {
        node: record.node,
        standing: standing.into(),
        since,
        reason: reason.map(Cow::Borrowed),
        not_after,
        late,
        certificates,
        groups: text(record.terms.groups),
        roles: text(record.terms.roles),
        profile: record.terms.profile.into(),
        enrolled_at: record.enrolled_at,
    })
}
