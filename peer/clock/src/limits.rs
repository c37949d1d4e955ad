//! Bounds of the mesh clock, each with its argument.

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Sources asked at once: a full mesh of 64 nodes and what is configured; the midpoint of so many
/// bears 21 liars, and nobody wins by a hundred and first.
pub const SOURCES_MAX: usize = 64;
/// Bytes in the name of an outside source, `HOST:PORT`: as any address.
pub const SOURCE_NAME_BYTES_MAX: usize = shared::limits::ADDRESS_BYTES_MAX;
/// Samples kept of a source: chrony keeps 64 too. At 16 s they are 17 minutes, over which a crystal
/// is a straight line.
pub const SAMPLES_MAX: usize = 64;
/// Samples before a source has a say: two make a line, the third shows that it is none.
pub const SAMPLES_MIN: usize = 3;
/// How far back a line reaches, in ns: over half an hour a crystal is straight to some us.
pub const LINE_NS: u64 = 1_800 * S;
/// But it rests on so many samples at least, however rarely a source is asked.
pub const LINE_SAMPLES: usize = 8;

/// The stratum that means "not synchronised" (RFC 5905 §7.3).
pub const STRATUM_NONE: u8 = 16;
/// The least stratum without the role `time-root`, and that of mesh time: chrony's `local` has 10.
pub const STRATUM_MESH: u8 = 10;

/// The longest distance to a root, in ns: RFC 5905 has 1 s, and a day of hold-over at 15 ppm is
/// 1.3 s. Whoever is further off says nothing that helps.
pub const DISTANCE_NS_MAX: u64 = 1_500 * MS;
/// The longest round trip, in ns: twice around the world and a relay; half of it is the error.
pub const DELAY_NS_MAX: u64 = S;
/// How far below zero a round trip may come out, in ns: the two clocks differ in rate and grain.
pub const DELAY_SLACK_NS: u64 = 10 * US;
/// The least error of any reading, in ns: reading a clock and a kernel's stamp cost about that.
pub const PRECISION_NS: u64 = US;
/// How long the other side may hold a question, in ns: its clock's wander meanwhile is an error.
pub const HELD_NS_MAX: u64 = S;
/// Age of the moment at which a source was last set, in ns: a day at 15 ppm is about the longest
/// distance.
pub const REFERENCE_AGE_NS_MAX: u64 = 86_400 * S;
/// How far that moment may lie ahead of the answer, in ns: a clock is set while it answers.
pub const REFERENCE_AHEAD_NS_MAX: u64 = S;
/// The latest time that is believed at all, in ns since 1970 (the year 2116): sums still fit.
pub const UTC_NS_MAX: i64 = 1 << 62;

/// How much faster or slower any clock may run, in parts of 1: a crystal that is worse is broken,
/// and chrony refuses to correct more too.
pub const RATE_MAX: f64 = 500e-6;
/// How fast a running clock is moved, in parts of 1: programs that measure lengths notice more
/// (RFC 5905 calls 500 ppm the greatest slew of a kernel).
pub const SLEW_MAX: f64 = 500e-6;
/// How fast the error of a clock grows that nobody corrects, in parts of 1: RFC 5905's PHI, the
/// tolerance of a usual crystal.
pub const DRIFT: f64 = 15e-6;
/// Time in which a small correction is spent, in ns: shorter makes noise of it, longer lags.
pub const SLEW_NS: u64 = 8 * S;
/// The same while there is no root, in ns: all move each other, on what was measured up to an
/// interval ago, and a loop that corrects faster than it learns swings.
pub const MESH_SLEW_NS: u64 = 32 * S;

/// A correction that is a step, in ns: RFC 5905's STEPT. Nobody's jitter on a usable path is so
/// long, and 500 ppm take four minutes for it.
pub const STEP_NS: u64 = 128 * MS;
/// What is stepped at the start, in ns: more would be slewed for seconds by each of all who start.
pub const START_STEP_NS: u64 = MS;
/// Steps in one run: the first to the mesh, the first to the roots, and what several nodes need
/// that start at once with dead clocks. Then the clock only slews.
pub const STEPS_MAX: u8 = 8;
/// How long after a step the mesh's midpoint moves us no more, in ns: all step at once when all
/// start at once, and the others are known anew after two answers that are far off and one more.
pub const DAZED_NS: u64 = 24 * S;
/// How long a start waits for roots before the peers alone are believed, in ns: two rounds of
/// questions, a lost one, and handshakes.
pub const START_NS: u64 = 30 * S;
/// How long a mesh without roots that has just begun waits for all of its members, in ns: as long
/// as a start waits, and until the last that starts with us is known.
pub const GATHER_NS: u64 = 90 * S;
/// How long the last rate is trusted when the majority is gone, in ns: 0.1 ppm make 30 us of it, so
/// it is cheaper to wait for a root that restarts than to change whom one follows.
pub const DWELL_NS: u64 = 300 * S;
/// Rounds with news that say the same before it is acted upon, or told: one may be an accident.
pub const ROUNDS_SAME: u8 = 3;
/// The shortest time between two rounds, in ns: answers that come together are judged together.
pub const ROUND_NS: u64 = S;

/// Shortest interval of questions, as the power of two of seconds: 4 s.
pub const POLL_MIN: u8 = 2;
/// Interval after the first minute unless jitter asks for another: 16 s, the design's.
pub const POLL_USUAL: u8 = 4;
/// Longest interval: 1024 s, as in NTP.
pub const POLL_MAX: u8 = 10;
/// Longest interval while there is no root: all correct each other, and who is late is behind.
pub const POLL_MESH_MAX: u8 = 4;
/// Questions at once when a source is new.
pub const BURST: u8 = 4;
/// The time between those, in ns.
pub const BURST_NS: u64 = 500 * MS;
/// How long a new source is asked at the shortest interval, in ns.
pub const WARM_NS: u64 = 60 * S;
/// Samples that the line should rest on: with more a longer interval does, with fewer the crystal
/// wanders faster than it is looked at (chrony's `polltarget`, doubled for the runs test's sake).
pub const POLL_TARGET: usize = 16;
/// How much a crystal's rate changes with the temperature between two questions, in parts of 1. The
/// interval grows only while this makes less than half a round trip, which nobody sees anyway.
pub const WANDER: f64 = 1e-6;

/// Answers in a row that miss the accepted interval before a source is called a liar: the prototype
/// raised no false alarm with three.
pub const MISSES: u8 = 3;
/// How long the rates of a mesh without roots are not taken over after its clocks were moved fast,
/// in ns: some answers at the shortest interval, for a line that has none of it.
pub const STEADY_NS: u64 = 120 * S;
/// How long nobody is accused after the clock was asked to move by a millisecond, in ns: others are
/// moved too, and 500 ppm take four minutes for what is not stepped.
pub const CALM_NS: u64 = 600 * S;
/// NAKs without an answer between them that are a storm: a ring that was lost costs one or two,
/// until new keys are there, and a whole jar of cookies that opens nothing is no such accident.
/// Counted in a row and not in a time, because a source is asked at intervals from 4 to 1024 s.
pub const NAKS: u32 = 8;
/// How far the system clock may jump against the count of nanoseconds, in ns, before it is told.
pub const SYSTEM_JUMP_NS: u64 = S;
/// A sleep of the machine, in ns: less is the grain of two counts read one after the other.
pub const SLEEP_NS: u64 = S / 10;
/// How wrong the count may be after a sleep, in ns: most machines count it by a clock that shows
/// seconds, read at both ends.
pub const SLEEP_ERROR_NS: u64 = 2 * S;
/// How far from the system clock so few clocks that none of them bears a liar may draw one that no
/// root ever set, in ns: as much as dates are judged with, and more than clocks that somebody sets
/// are apart.
pub const HOME_NS_MAX: u64 = 10 * S;

/// Events that wait to be fetched: more in one go are repetitions, and the oldest are dropped.
pub const EVENTS_MAX: usize = 256;
/// Orders that wait to be fetched: one for each source, and what is kept.
pub const ACTIONS_MAX: usize = 2 * SOURCES_MAX;
/// Time statements kept of one node to compare a new one with: the last minutes, and one more way
/// than a node is heard by.
pub const STATEMENTS_MAX: usize = 4;
/// Nodes whose time statements are kept, at a few hundred bytes each.
pub const SPEAKERS_MAX: usize = 256;
/// Between two orders to keep the floor, in ns: what a crash forgets.
pub const FLOOR_NS: u64 = 300 * S;
/// The part of the way that a rate goes towards the others' in a round: all go it at once, and on
/// what was measured over minutes, so a whole way would swing.
pub const MESH_RATE_SHARE: f64 = 0.05;
/// The part of the way that it goes back to the rate that the mesh began with: a fortieth of the
/// other, which leaves a fortieth of a crystal's error to be slewed, 12 us.
pub const MESH_RATE_BACK: f64 = MESH_RATE_SHARE / 40.0;
/// How far a mesh without roots may run from the rate that it began with, in parts of 1: two usual
/// crystals are not further apart.
pub const MESH_RATE_MAX: f64 = 2.0 * DRIFT;
