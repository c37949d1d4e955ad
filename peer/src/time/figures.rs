//! What of the kept time is counted and measured, for Prometheus. A clock that nobody has told the
//! time has no bound, and so no figure of it.

use clock::face::UNKNOWN_NS;
use clock::keeper::Keeper;
use clock::moment::Mono;
use clock::select::{Mark, Outcome};

use super::ask::Standing;
use crate::control::metrics::Metric;

/// All of them, now.
pub(super) fn metrics<'s>(
    keeper: &Keeper,
    standings: impl Iterator<Item = &'s Standing>,
    now: Mono,
) -> Vec<Metric> {
    let (rows, reading) = (keeper.rows(now), keeper.reading(now));
    let marked = |wanted: &[Mark]| rows.iter().filter(|row| wanted.contains(&row.mark)).count();
    let gauge = |name, what, value: usize| Metric::gauge(name, what, value as u64);
    let mut metrics = vec![
        gauge("time_sources_agreeing", "Sources that agree.", marked(&[Mark::Lead, Mark::Agrees])),
        gauge("time_sources_false", "Sources that do not.", marked(&[Mark::False])),
        gauge("time_sources_silent", "Sources that say nothing.", marked(&[Mark::Silent])),
        gauge("time_sources_barred", "Sources without the role.", marked(&[Mark::Barred])),
        Metric::gauge("time_stratum", "What others are told.", {
            u64::from(keeper.served(now).told.stratum)
        }),
    ];
    if reading.bound_ns != UNKNOWN_NS {
        let what = "How far the truth may be from the clock.";
        metrics.push(Metric::gauge("time_bound_ns", what, reading.bound_ns));
    }
    if let Some(Outcome::Rooted(accepted)) = keeper.verdict().map(|verdict| &verdict.outcome) {
        let what = "By how much the roots last wanted it moved, without its sign.";
        metrics.push(Metric::gauge("time_offset_ns", what, accepted.offset_ns.unsigned_abs()));
    }
    let lead = rows.iter().find(|row| row.mark == Mark::Lead);
    if let Some(known) = lead.and_then(|row| row.estimate.as_ref()) {
        let (distance, jitter) = (known.distance_ns, known.jitter_ns);
        metrics.push(Metric::gauge("time_root_distance_ns", "The lead's, to its root.", distance));
        metrics.push(Metric::gauge("time_jitter_ns", "Of the lead's answers.", jitter));
    }
    metrics.extend(asked(standings));
    metrics
}

fn asked<'s>(standings: impl Iterator<Item = &'s Standing>) -> [Metric; 5] {
    let (mut cookies, mut asked, mut naks, mut strips, mut exchanges) = (0, 0, 0, 0, 0);
    for Standing { cookies: left, counters, .. } in standings {
        cookies += *left as u64;
        asked += counters.asked;
        naks += counters.naks;
        strips += counters.strips;
        exchanges += counters.exchanges;
    }
    [
        Metric::gauge("nts_cookies", "Cookies left for all sources.", cookies),
        Metric::counter("time_asked", "Questions that we asked.", asked),
        Metric::counter("nts_cookies_refused", "Cookies that sources refused.", naks),
        Metric::counter("nts_stripped", "Answers of which NTS was taken off.", strips),
        Metric::counter("nts_keys_asked", "Key exchanges that we began.", exchanges),
    ]
}
