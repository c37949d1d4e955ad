//! What the daemon says of its clock; part of the control protocol.

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use super::metrics::Metric;

/// What commands ask of the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeAsk {
    /// How it is: one [`TimeReply::Status`].
    Status,
    /// Whom it asks: [`TimeReply::Source`] for each.
    Sources,
    /// What is counted and measured: one [`TimeReply::Metrics`].
    Metrics,
    /// Takes the floor back to the time of the build: one [`TimeReply::Floor`].
    ResetFloor,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeReply {
    /// How the clock is.
    Status(Box<TimeStatus>),
    /// One source.
    Source(Box<SourceStatus>),
    /// What is counted and measured.
    Metrics(Vec<Metric>),
    /// The floor.
    Floor(FloorStatus),
}

/// How the clock is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeStatus {
    /// `synchronised`, `holding`, `isolated` or `unset`.
    pub state: String,
    /// The same as a sentence.
    pub says: String,
    /// What it shows, in nanoseconds since 1970.
    pub utc_ns: i64,
    /// How far the truth may be from that, in ns; none if nobody knows.
    pub bound_ns: Option<u64>,
    /// By how much the roots last wanted it moved, in ns.
    pub offset_ns: Option<i64>,
    /// The root that it hangs on.
    pub root: Option<String>,
    /// Its stratum.
    pub stratum: Option<u8>,
    /// What we tell others of ours.
    pub own_stratum: u8,
    /// Roots that answer.
    pub votes: usize,
    /// Roots that there are.
    pub roots: usize,
    /// The system's clock less ours, in ns.
    pub system_ahead_ns: i64,
    /// What it is later than in any case.
    pub floor: FloorStatus,
    /// What happened of late, the newest first.
    pub events: Vec<TimeEvent>,
}

/// The floor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorStatus {
    /// It is later than this.
    pub at: Timestamp,
    /// Why.
    pub ground: String,
}

/// Something that the sentinel would be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeEvent {
    /// When, by our clock.
    pub at: Timestamp,
    /// Its stable name.
    pub code: String,
    /// What it is.
    pub detail: String,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// `*` followed, `+` agrees, `x` does not, `?` silent, `!` claims what it may not.
    pub mark: char,
    /// `root`, `member` or `local`: what it may say.
    pub role: String,
    /// The root that it hangs on.
    pub root: Option<String>,
    /// Its stratum.
    pub stratum: Option<u8>,
    /// Whether it is asked with NTS.
    pub nts: bool,
    /// Cookies left.
    pub cookies: usize,
    /// Cookies that it refused.
    pub naks: u64,
    /// Key exchanges with it.
    pub exchanges: u64,
    /// The interval of questions, in seconds.
    pub poll_s: u64,
    /// Which of the last eight questions were answered, the newest in the lowest bit.
    pub reach: u8,
    /// Its clock less ours, in ns.
    pub offset_ns: Option<i64>,
    /// How far that may be from its root's time, in ns.
    pub bound_ns: Option<u64>,
    /// The shortest round trip, in ns.
    pub delay_ns: Option<u64>,
    /// The deviation of its answers, in ns.
    pub jitter_ns: Option<u64>,
    /// How fast it runs against this machine's count, in parts of 10^9.
    pub skew_ppb: Option<i64>,
    /// Where it is asked.
    pub address: Option<String>,
    /// Why its last question was not answered.
    pub trouble: Option<String>,
}

/// A length in milliseconds, as people read it.
#[must_use]
pub fn ms(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms < 0.1 { format!("{ms:.3} ms") } else { format!("{ms:.2} ms") }
}

/// The same with its sign.
#[must_use]
pub fn plus(ns: i64) -> String {
    let sign = if ns < 0 { '-' } else { '+' };
    format!("{sign}{}", ms(ns.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_for_people() {
        assert_eq!((ms(310_000), plus(40_000)), ("0.31 ms".to_owned(), "+0.040 ms".to_owned()));
        assert_eq!(plus(-1_500_000), "-1.50 ms");
    }
}
