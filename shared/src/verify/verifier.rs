//! The verifier itself: anchors and the live revocation set, shared by every handshake.
//!
//! Path building for a chain that was verified before is skipped (the chain is compared byte for
//! byte by its hash, dates are looked at again); the revocation set is asked every single time.
//!
//! **Invariant:** the set is asked after the path is known and before a member is handed out, so a
//! revocation that has been applied is never missed.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use super::anchors::Anchors;
use crate::cert::{CertError, Facts, NodeCert, Usage};
use crate::feed::{ChainIds, Feed, FeedError, LeafIds, Mark, News, RevocationSet, Status, Update};
use crate::id::sha256_of;
use crate::limits::CALENDAR_DOUBT_MS_MAX;
use crate::name::NodeName;
use crate::presence::SignedPresence;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Chains whose path is remembered, at about 2.5 kB each; more members than that take turns.
const PATHS_MAX: usize = 4096;
/// Presences remembered before those that nobody holds any more are looked for.
const PRESENCES_MIN: usize = 1024;

/// Something that passed the verifier. Nobody else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A member of the network: a node's or an app's certificate whose chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node's certificate.
    pub cert: Arc<NodeCert>,
    /// What the revocation set is asked about.
    pub ids: ChainIds,
    /// From when on every certificate of the chain is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl Member {
    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.cert.node
    }
}

/// The verifier's own state cannot be read: another thread died while it held it. Whose fault:
/// ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verifier's state is unusable")]
pub struct VerifierError;

/// Decides who is a member.
pub struct Verifier {
    ground: RwLock<Arc<Ground>>,
    revoked: RwLock<RevocationSet>,
    doubt: Doubt,
}

/// How wrong the calendar may be, in ms each way: what may still be good is not refused.
#[derive(Debug, Default)]
struct Doubt {
    earlier: AtomicI64,
    later: AtomicI64,
}

impl Doubt {
    /// The earliest and the latest that it may be when the calendar shows `now`.
    fn around(&self, now: Timestamp) -> [Timestamp; 2] {
        let by = |ms: i64| Timestamp::from_ms(now.ms().saturating_add(ms));
        [by(-self.earlier.load(Ordering::Relaxed)), by(self.later.load(Ordering::Relaxed))]
    }
}

/// The roots, and what was verified under them: costly to find out, the same for everybody.
pub(crate) struct Ground {
    anchors: Arc<Anchors>,
    paths: Mutex<BTreeMap<[u8; 32], Arc<Member>>>,
    presences: Mutex<Presences>,
}

impl Ground {
    fn new(anchors: Anchors) -> Self {
        let (paths, presences) = Default::default();
        Self { anchors: Arc::new(anchors), paths, presences }
    }

    /// A presence whose path and signature were verified before; the set and the calendar are to
    /// be asked again.
    pub(crate) fn presence(&self, hash: &[u8; 32]) -> Option<SignedPresence> {
        self.presences.lock().ok()?.by_hash.get(hash).cloned()
    }

    /// Remembers a presence that was verified after this ground was looked up.
    pub(crate) fn remember(&self, hash: [u8; 32], signed: &SignedPresence) {
        let Ok(mut presences) = self.presences.lock() else { return };
        if presences.by_hash.len() >= presences.bound.max(PRESENCES_MIN) {
            presences.by_hash.retain(|_, signed| signed.is_held());
            presences.bound = presences.by_hash.len() * 2;
        }
        presences.by_hash.insert(hash, signed.clone());
    }
}

#[derive(Default)]
struct Presences {
    by_hash: BTreeMap<[u8; 32], SignedPresence>,
    /// How many there may be before the unused are dropped.
    bound: usize,
}

impl Verifier {
    /// A verifier for these roots; nobody is revoked yet.
    #[must_use]
    pub fn new(anchors: Anchors) -> Self {
        Self::with_set(anchors, RevocationSet::default())
    }

    /// A verifier for these roots and this set.
    #[must_use]
    pub fn with_set(anchors: Anchors, set: RevocationSet) -> Self {
        let ground = RwLock::new(Arc::new(Ground::new(anchors)));
        Self { ground, revoked: RwLock::new(set), doubt: Doubt::default() }
    }

    /// A verifier with the same roots and a set of its own, that shares what is verified: for many
    /// nodes in one process.
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn sibling(&self) -> Result<Self, VerifierError> {
        let ground = RwLock::new(self.ground()?);
        Ok(Self { ground, revoked: RwLock::default(), doubt: Doubt::default() })
    }

    /// The roots as they stand.
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn anchors(&self) -> Result<Arc<Anchors>, VerifierError> {
        Ok(Arc::clone(&self.ground()?.anchors))
    }

    pub(crate) fn ground(&self) -> Result<Arc<Ground>, VerifierError> {
        self.ground.read().map(|ground| Arc::clone(&ground)).map_err(|_| VerifierError)
    }

    /// Replaces the roots; what was verified under the old ones is forgotten.
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn replace_anchors(&self, anchors: Anchors) -> Result<(), VerifierError> {
        *self.ground.write().map_err(|_| VerifierError)? = Arc::new(Ground::new(anchors));
        Ok(())
    }

    /// Notes how wrong the times may be by which it is asked to judge: from now on ends are
    /// compared with the earliest that it may be then, and beginnings with the latest. More than
    /// [`CALENDAR_DOUBT_MS_MAX`] is no error of a clock but ignorance, and counts as that much.
    pub fn doubt(&self, earlier_ms: i64, later_ms: i64) {
        let bounded = |ms: i64| ms.clamp(0, CALENDAR_DOUBT_MS_MAX);
        self.doubt.earlier.store(bounded(earlier_ms), Ordering::Relaxed);
        self.doubt.later.store(bounded(later_ms), Ordering::Relaxed);
    }

    /// The earliest and the latest that it may be when the calendar shows `now`.
    #[must_use]
    pub fn around(&self, now: Timestamp) -> [Timestamp; 2] {
        self.doubt.around(now)
    }

    /// Judges a chain (leaf first), as DER.
    ///
    /// The order of the checks is the order of the codes: `no-certificate`, `malformed`,
    /// `wrong-usage`, `foreign-authority`, `expired`, `not-yet-valid`, `wrong-network`, `revoked`,
    /// `suspended`, `wrong-name`.
    ///
    /// # Errors
    /// [`Refusal`] with the code both sides know.
    pub fn admit(
        &self,
        chain: &[&[u8]],
        usage: Usage,
        expected: Option<&NodeName>,
        now: Timestamp,
    ) -> Result<Verified<Member>, Refusal> {
        let member = self.path(chain, usage, now)?;
        self.recheck(&member, now)?;
        if let Some(expected) = expected.filter(|expected| *expected != member.node()) {
            let detail = format!("dialled {expected}, found {}", member.node());
            return Err(Refusal::new(Code::WrongName, detail));
        }
        Ok(Verified(Member::clone(&member)))
    }

    /// Asks the live set and the calendar again about a member that was verified before.
    ///
    /// # Errors
    /// `revoked`, `suspended`, `expired` or `not-yet-valid`.
    pub fn recheck(&self, member: &Member, now: Timestamp) -> Result<(), Refusal> {
        let [earliest, latest] = self.around(now);
        if earliest > member.not_after {
            let detail = format!("its certificate ended at {}", member.not_after);
            return Err(Refusal::new(Code::Expired, detail));
        }
        if latest < member.not_before {
            let detail = format!("its certificate begins at {}", member.not_before);
            return Err(Refusal::new(Code::NotYetValid, detail));
        }
        match self.mark_of(&member.ids).map_err(|e| broken(&e))? {
            Some(mark) => Err(refusal_of(&member.ids, &mark)),
            None => Ok(()),
        }
    }

    /// Asks the live set about a chain.
    ///
    /// # Errors
    /// [`VerifierError`]; the caller refuses then.
    pub fn mark_of(&self, ids: &ChainIds) -> Result<Option<Mark>, VerifierError> {
        self.read_set(|set| set.judge(ids))
    }

    /// Reads the live set.
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn read_set<T>(&self, read: impl FnOnce(&RevocationSet) -> T) -> Result<T, VerifierError> {
        self.revoked.read().map(|set| read(&set)).map_err(|_| VerifierError)
    }

    /// Verifies an update, applies it to the feed and at once to the live set.
    ///
    /// # Errors
    /// [`FeedError`]; nothing has changed then.
    pub fn apply_feed(
        &self,
        feed: &mut Feed,
        update: Update,
        now: Timestamp,
    ) -> Result<News, FeedError> {
        let unusable = |_| FeedError::Malformed("the verifier's state is unusable");
        let anchors = self.anchors().map_err(unusable)?;
        let mut news =
            self.read_set(|set| feed.apply(update, set, &anchors, now)).map_err(unusable)??;
        if news.concerns_somebody() {
            let mut set = self.revoked.write().map_err(|_| unusable(VerifierError))?;
            news.apply_to(&mut set);
        }
        Ok(news)
    }

    fn path(&self, chain: &[&[u8]], usage: Usage, now: Timestamp) -> Result<Arc<Member>, Refusal> {
        let ground = self.ground().map_err(|e| broken(&e))?;
        let anchors = &ground.anchors;
        anchors.look_at(chain)?;
        let lengths: Vec<u8> =
            chain.iter().flat_map(|cert| (cert.len() as u64).to_be_bytes()).collect();
        let mut parts = vec![lengths.as_slice()];
        parts.extend_from_slice(chain);
        let key = sha256_of(&parts);
        let known = ground.paths.lock().map_err(|_| broken(&VerifierError))?.get(&key).cloned();
        if let Some(member) = known.filter(|member| member.cert.allows(usage)) {
            return Ok(member);
        }
        let member = Arc::new(build(anchors, chain, usage, self.around(now), now)?);
        let mut paths = ground.paths.lock().map_err(|_| broken(&VerifierError))?;
        if paths.len() >= PATHS_MAX {
            paths.clear();
        }
        paths.insert(key, Arc::clone(&member));
        Ok(member)
    }
}

fn build(
    anchors: &Anchors,
    chain: &[&[u8]],
    usage: Usage,
    [earliest, latest]: [Timestamp; 2],
    now: Timestamp,
) -> Result<Member, Refusal> {
    let Some((leaf, above)) = chain.split_first() else {
        return Err(Refusal::new(Code::NoCertificate, "no certificate was presented"));
    };
    let refused = |error: CertError| {
        let code = match error {
            CertError::Shape(_) => Code::WrongUsage,
            // A key or extension of no kind we use: nothing our authority ever signed.
            CertError::Key(_) => Code::ForeignAuthority,
            _ => Code::Malformed,
        };
        Refusal::new(code, error.to_string())
    };
    let facts = Facts::read(leaf).map_err(refused)?;
    let issuer_dn = facts.issuer_dn.clone();
    let cert = NodeCert::from_facts(facts).map_err(refused)?;
    // Of the times that it may be, the one nearest to the leaf's life: its issuers' are longer.
    let at = now.max(cert.not_before.min(latest)).min(cert.not_after.max(earliest));
    let path = anchors.path(&cert, issuer_dn, above, usage, at)?;
    if cert.network != *anchors.network() {
        let detail = format!("it belongs to {}, not to {}", cert.network, anchors.network());
        return Err(Refusal::new(Code::WrongNetwork, detail));
    }
    if !cert.allows(usage) {
        let detail = "it is an app's: it may use a peer's doors, and be no peer";
        return Err(Refusal::new(Code::WrongUsage, detail));
    }
    let leaf = LeafIds {
        issuer: path.leaf_issuer,
        serial: cert.serial,
        spki: cert.spki,
        node: cert.node.clone(),
        not_before: cert.not_before,
    };
    Ok(Member {
        cert: Arc::new(cert),
        ids: ChainIds { leaf, issuers: path.issuers },
        not_before: path.not_before,
        not_after: path.not_after,
    })
}

fn refusal_of(ids: &ChainIds, mark: &Mark) -> Refusal {
    let leaf = &ids.leaf;
    match mark.status {
        Status::Revoked => Refusal::new(
            Code::Revoked,
            format!("{} ({}) was revoked at {}", leaf.node, leaf.serial, mark.at),
        ),
        Status::Suspended => Refusal::new(
            Code::Suspended,
            format!("{} ({}) is suspended since {}", leaf.node, leaf.serial, mark.at),
        ),
    }
}

fn broken(error: &VerifierError) -> Refusal {
    Refusal::new(Code::Policy, error.to_string())
}
