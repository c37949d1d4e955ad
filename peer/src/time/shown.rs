//! What this process takes for the time: the mesh clock where it rests on something, else the
//! system's clock, and never before the floor.
//!
//! A clock that nobody has told the time is no better than the system's, which somebody may set
//! right any moment: so that is shown until the keeper has something to rest on.
//!
//! **Invariant:** reading waits for nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use clock::face::{Face, Line, Reading, State, UNKNOWN_NS};
use clock::floor::{Dates, Ground};
use clock::keeper::{Keeper, Start};
use clock::moment::{Mono, Utc};
use clock::select::Outcome;
use host::clock::Wall;
use host::fault::Fault;
use shared::id::InstanceId;
use shared::name::NodeName;
use shared::shown::Shown as Statement;
use shared::time::Timestamp;

use super::floor;

/// The machine's count.
pub(super) fn now() -> Mono {
    Mono::from_ns(host::clock::count_ns())
}

pub(super) fn system() -> Utc {
    Utc::from_ns(host::clock::wall_ns())
}

/// How long the machine has slept since then.
pub(super) struct Sleep {
    before_ns: u64,
}

impl Sleep {
    pub(super) fn watch() -> Self {
        Self { before_ns: host::clock::slept_ns() }
    }

    pub(super) fn ns(&self) -> u64 {
        host::clock::slept_ns().saturating_sub(self.before_ns)
    }
}

/// The time, for everybody.
#[derive(Debug)]
pub struct Shown {
    face: Arc<Face>,
    floor_ns: AtomicI64,
    /// Whether the clock rests, or has rested in this run, on more than itself.
    has_company: AtomicBool,
}

impl Shown {
    fn of(keeper: &Keeper) -> Self {
        let floor_ns = AtomicI64::new(keeper.floor().at().ns());
        Self { face: keeper.face(), floor_ns, has_company: AtomicBool::new(false) }
    }

    /// The clock at this moment.
    pub(super) fn line(&self) -> Line {
        self.face.line()
    }

    /// Time and error now.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.face.reading(now())
    }

    /// What is to be taken for the time.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        Timestamp::from(self.utc())
    }

    fn utc(&self) -> Utc {
        let reading = self.reading();
        if self.rests(&reading) { reading.best } else { system().max(self.floor()) }
    }

    /// The floor, if nothing but it is known of the time: nobody has told it, and the system shows
    /// an earlier day. Dates are compared with it then, and nobody but holders of `time-root` is
    /// asked.
    #[must_use]
    pub fn cold(&self) -> Option<Timestamp> {
        let floor = self.floor();
        let cold = !self.rests(&self.reading()) && system() < floor;
        cold.then(|| Timestamp::from(floor))
    }

    fn floor(&self) -> Utc {
        Utc::from_ns(self.floor_ns.load(Ordering::Relaxed))
    }

    /// How wrong [`Self::wall`] may be, in ms: how much earlier than it says, and how much later.
    pub(super) fn doubt_ms(&self, dates: &Dates) -> [i64; 2] {
        let reading = self.reading();
        match dates {
            Dates::Known { earliest, latest } if self.rests(&reading) => {
                let ms = |ns: i64| ns.max(0).saturating_add(999_999) / 1_000_000;
                [ms(reading.best.ns_from(*earliest)), ms(latest.ns_from(reading.best))]
            }
            // The system's clock knows no error, and below the floor nothing is judged anew.
            Dates::Known { .. } | Dates::Cold { .. } => [0, 0],
        }
    }

    /// Whether the clock rests on more than itself.
    pub(super) fn rests(&self, reading: &Reading) -> bool {
        match reading.state {
            State::Rooted | State::Holding => true,
            // A known error is what is left of a root's word.
            State::Mesh => {
                self.has_company.load(Ordering::Relaxed) || reading.bound_ns != UNKNOWN_NS
            }
            State::Unset => false,
        }
    }

    /// What there is to sign about it; nothing while it rests on nothing.
    pub(super) fn statement(
        &self,
        node: NodeName,
        instance: InstanceId,
        sequence: u64,
    ) -> Option<Statement> {
        let (at, steps) = (now(), self.face.line().steps);
        let reading = self.face.reading(at);
        // A step between the two would make it look like two faces: it waits for the next minute.
        let same = self.face.line().steps == steps;
        (reading.state != State::Unset && same).then(|| Statement {
            node,
            instance,
            sequence,
            steps,
            count_ns: at.ns(),
            utc_ns: reading.best.ns(),
            bound_ns: reading.bound_ns,
        })
    }

    /// Takes over what the keeper knows.
    pub(super) fn look(&self, keeper: &Keeper) {
        self.floor_ns.store(keeper.floor().at().ns(), Ordering::Relaxed);
        let company = match keeper.verdict().map(|verdict| &verdict.outcome) {
            Some(Outcome::Isolated(midpoint)) => midpoint.nodes > 1,
            Some(Outcome::Rooted(_) | Outcome::NoMajority(_)) => true,
            Some(Outcome::Alone) | None => false,
        };
        // Who falls silent takes nothing back.
        self.has_company.fetch_or(company, Ordering::Relaxed);
    }
}

/// A clock that shows the time and is not wound yet: whom it asks comes later.
pub struct Clockwork {
    pub(super) me: NodeName,
    pub(super) keeper: Keeper,
    pub(super) shown: Arc<Shown>,
    pub(super) floor: PathBuf,
}

impl Clockwork {
    /// Reads the floor and begins to count; the time is not before `begun`, when our certificate
    /// began.
    ///
    /// # Errors
    /// [`Fault`] if the floor is not whole.
    pub fn open(me: &NodeName, floor: &Path, begun: Timestamp) -> Result<Self, Fault> {
        let seed = u64::from_be_bytes(host::random::bytes()?);
        let mut kept = floor::read(floor)?;
        kept.raise(begun.into(), Ground::Certificate);
        let start = Start { me: me.clone(), system: system(), floor: kept, seed };
        let keeper = Keeper::new(start, now());
        let shown = Arc::new(Shown::of(&keeper));
        Ok(Self { me: me.clone(), keeper, shown, floor: floor.to_owned() })
    }

    /// What is to be taken for the time, as everybody reads it.
    #[must_use]
    pub fn wall(&self) -> Wall {
        let shown = Arc::clone(&self.shown);
        Arc::new(move || shown.wall())
    }
}

#[cfg(test)]
mod tests {
    use clock::keeper::Members;
    use clock::measure::{Exchange, Leap, Root, SourceId, Told};
    use shared::cert::Usage;
    use shared::key::{Algorithm, PrivateKey};
    use shared::refusal::Code;
    use shared::verify::{Anchors, Verifier};

    use super::*;
    use crate::fixture::Authority;

    fn works(floor: &Path) -> Clockwork {
        Clockwork::open(&NodeName::parse("bob").unwrap(), floor, Timestamp::default()).unwrap()
    }

    #[test]
    fn who_was_told_nothing_shows_the_systems_clock_and_never_less_than_the_floor() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("floor");
        let mut works = works(&path);
        let wall = works.wall();
        assert!((wall().ms() - host::clock::wall().ms()).abs() < 60_000);
        let ahead = system().plus_ns(86_400_000_000_000);
        works.keeper.handle_verified(ahead, Ground::Signed);
        works.shown.look(&works.keeper);
        assert_eq!(wall(), Timestamp::from(ahead));
        floor::write(&path, &works.keeper.floor()).unwrap();
        assert_eq!(self::works(&path).wall()(), Timestamp::from(ahead), "after a start too");
    }

    #[test]
    fn only_a_clock_that_rests_on_something_knows_how_wrong_it_is() {
        let place = tempfile::tempdir().unwrap();
        let works = works(&place.path().join("floor"));
        let shown = &works.shown;
        let (best, s) = (shown.reading().best, 1_000_000_000);
        let (earliest, latest) = (best.plus_ns(-3 * s), best.plus_ns(5 * s));
        let dates = Dates::Known { earliest, latest };
        assert_eq!(shown.doubt_ms(&dates), [0, 0], "it rests on nothing");
        assert_eq!(shown.doubt_ms(&Dates::Cold { floor: latest }), [0, 0]);
    }

    /// A beginning is compared with the latest that it may be, and an end with the earliest.
    #[test]
    fn what_may_still_be_good_by_the_clocks_error_is_not_refused() {
        let authority = Authority::new("mesh.example");
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let chain = authority.chain("bob", key.public());
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let root = shared::pem::certificates(authority.trust().as_bytes(), 1).unwrap();
        let new = || Verifier::new(Anchors::new(authority.network.clone(), &root).unwrap());
        let (begins, ends) = (authority.now.plus_s(-300), authority.now.plus_s(7 * 86_400));
        let known = new();
        let judge = |verifier: &Verifier, at: Timestamp| {
            let said = verifier.admit(&chain, Usage::Client, None, at);
            said.map(|_| ()).map_err(|refusal| refusal.code)
        };
        assert_eq!(judge(&known, authority.now), Ok(()));
        // Whether its path was verified before or not, on either side of either date.
        for known in [true, false].map(|is_known| is_known.then_some(&known)) {
            for (doubt, at, said) in [
                ([0, 0], begins.plus_s(-2), Err(Code::NotYetValid)),
                ([9_000, 0], begins.plus_s(-2), Err(Code::NotYetValid)),
                ([0, 3_000], begins.plus_s(-2), Ok(())),
                ([0, 3_000], begins.plus_s(-4), Err(Code::NotYetValid)),
                ([0, 0], ends.plus_s(2), Err(Code::Expired)),
                ([0, 9_000], ends.plus_s(2), Err(Code::Expired)),
                ([3_000, 0], ends.plus_s(2), Ok(())),
                ([3_000, 0], ends.plus_s(4), Err(Code::Expired)),
                ([i64::MAX, i64::MAX], ends.plus_s(60), Err(Code::Expired)),
                ([i64::MIN, i64::MIN], authority.now, Ok(())),
            ] {
                let new = new();
                let verifier = known.unwrap_or(&new);
                verifier.doubt(doubt[0], doubt[1]);
                assert_eq!(judge(verifier, at), said, "{doubt:?}, {at}");
            }
        }
    }

    /// Alone a clock rests on nothing but itself, and the system's may be set right meanwhile.
    #[test]
    fn own_time_alone_is_no_reason_to_leave_the_systems_clock() {
        let place = tempfile::tempdir().unwrap();
        let mut works = works(&place.path().join("floor"));
        let later = now().plus_ns(600_000_000_000);
        works.keeper.handle_members(Members::default(), later);
        works.keeper.handle_tick(later.plus_ns(60_000_000_000));
        works.shown.look(&works.keeper);
        assert_eq!(works.keeper.reading(later).state, State::Mesh);
        assert!(!works.shown.has_company.load(Ordering::Relaxed));
        assert!((works.shown.wall().ms() - host::clock::wall().ms()).abs() < 60_000);

        // With others it knows how wrong it may be: rounded up, and never negative.
        works.shown.has_company.store(true, Ordering::Relaxed);
        let best = works.shown.reading().best;
        let (earliest, latest) = (best.plus_ns(-3_000_000_000), best.plus_ns(60_000_000_000));
        let [earlier, later] = works.shown.doubt_ms(&Dates::Known { earliest, latest });
        assert!((3_000..4_000).contains(&earlier), "{earlier}");
        assert!((59_000..=60_000).contains(&later), "{later}");
        let [earlier, _] = works.shown.doubt_ms(&Dates::Known { earliest: latest, latest });
        assert_eq!(earlier, 0);
    }

    const S: u64 = 1_000_000_000;

    /// What it shows, in days from the system's, when a root that is a year ahead has fallen
    /// silent for so many seconds.
    fn silent_for(seconds: u64) -> (State, i64) {
        let place = tempfile::tempdir().unwrap();
        let mut works = works(&place.path().join("floor"));
        let (begun, year) = (now(), 365 * 86_400 * 1_000_000_000);
        let root = NodeName::parse("root").unwrap();
        let source = SourceId::Peer(root.clone());
        let (sources, roots) = ([source.clone()].into(), [root].into());
        works.keeper.handle_members(Members { sources, roots, ..Members::default() }, begun);
        for turn in 1..8 {
            let sent = begun.plus_ns(turn * S);
            let utc = system().plus_ns(year + (turn * S) as i64);
            let received = sent.plus_ns(300_000);
            let exchange = Exchange { sent, received_there: utc, sent_there: utc, received };
            let told = Told {
                leap: Leap::None,
                stratum: 1,
                root_delay_ns: 0,
                root_dispersion_ns: 1_000,
                reference: utc,
                root: Root::Of(source.clone()),
            };
            works.keeper.handle_answer(&source, exchange, told, received).unwrap();
            works.shown.look(&works.keeper);
        }
        for turn in 8..8 + seconds {
            works.keeper.handle_tick(begun.plus_ns(turn * S));
            works.shown.look(&works.keeper);
        }
        let days = (works.shown.wall().ms() - host::clock::wall().ms()) / 86_400_000;
        (works.keeper.reading(begun.plus_ns((8 + seconds) * S)).state, days)
    }

    #[test]
    fn what_a_root_told_is_not_given_up_when_it_falls_silent() {
        assert_eq!(silent_for(0), (State::Rooted, 365));
        assert_eq!(silent_for(120), (State::Holding, 365));
        assert_eq!(silent_for(1_000), (State::Mesh, 365));
    }
}
