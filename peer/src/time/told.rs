//! What is known of the clock, in the words of the control protocol.

use clock::event::Event;
use clock::face::{State, UNKNOWN_NS};
use clock::floor::Floor;
use clock::keeper::{Keeper, Row};
use clock::measure::{Root, SourceId};
use clock::moment::{Mono, Utc};
use clock::select::{Mark, Outcome, Standing as May};
use shared::time::Timestamp;

use super::ask::Standing;
use super::floor::word;
use crate::control::time::{FloorStatus, SourceStatus, TimeEvent, TimeStatus, ms, plus};

/// How the clock is at a moment, at which the system's shows something.
pub(super) fn status(
    keeper: &Keeper,
    events: Vec<TimeEvent>,
    (now, system): (Mono, Utc),
) -> TimeStatus {
    let (reading, rows) = (keeper.reading(now), keeper.rows(now));
    let lead = rows.iter().find(|row| row.mark == Mark::Lead);
    let rooted = reading.state == State::Rooted;
    let lead = lead.filter(|_| rooted);
    let (votes, roots) = keeper.verdict().map_or((0, 0), |verdict| verdict.votes);
    TimeStatus {
        state: state(reading.state).to_owned(),
        says: says(keeper, &rows, now),
        utc_ns: reading.best.ns(),
        bound_ns: known(reading.bound_ns),
        offset_ns: offset_ns(keeper),
        root: lead.and_then(|row| row.root.as_ref()).map(root),
        stratum: lead.and_then(|row| row.estimate.as_ref()).map(|known| known.told.stratum),
        own_stratum: keeper.served(now).told.stratum,
        votes,
        roots,
        system_ahead_ns: system.ns_from(reading.best),
        floor: floor(&keeper.floor()),
        events,
    }
}

/// The floor.
pub(super) fn floor(floor: &Floor) -> FloorStatus {
    FloorStatus { at: Timestamp::from(floor.at()), ground: word(floor.ground()).to_owned() }
}

/// An event.
pub(super) fn event(event: &Event, at: Utc) -> TimeEvent {
    let (code, detail) = (event.code().to_owned(), event.to_string());
    TimeEvent { at: Timestamp::from(at), code, detail }
}

/// One source.
pub(super) fn source(row: &Row, standing: Option<&Standing>) -> SourceStatus {
    let (estimate, standing) = (row.estimate.as_ref(), standing.cloned().unwrap_or_default());
    SourceStatus {
        name: row.id.to_string(),
        mark: row.mark.as_char(),
        role: role(row.standing).to_owned(),
        root: row.root.as_ref().map(root),
        stratum: estimate.map(|known| known.told.stratum),
        nts: standing.nts,
        cookies: standing.cookies,
        naks: standing.counters.naks,
        exchanges: standing.counters.exchanges,
        poll_s: 1 << row.poll,
        reach: row.reach,
        offset_ns: row.offset_ns,
        bound_ns: estimate.map(|known| known.distance_ns),
        delay_ns: estimate.map(|known| known.delay_ns),
        jitter_ns: estimate.map(|known| known.jitter_ns),
        skew_ppb: estimate.map(|known| (known.rate * 1e9).round() as i64),
        address: standing.to.map(|to| to.to_string()),
        trouble: standing.trouble,
    }
}

/// The clock in one sentence.
fn says(keeper: &Keeper, rows: &[Row], now: Mono) -> String {
    let reading = keeper.reading(now);
    let bound = known(reading.bound_ns).map_or("unknown".to_owned(), |ns| format!("± {}", ms(ns)));
    match reading.state {
        State::Rooted => {
            let lead = rows.iter().find(|row| row.mark == Mark::Lead);
            let stratum = lead.and_then(|row| row.estimate.as_ref());
            let stratum = stratum.map_or(0, |known| known.told.stratum);
            let root = lead.and_then(|row| row.root.as_ref()).map_or_else(String::new, root_named);
            let offset = offset_ns(keeper).unwrap_or(0);
            format!("synchronised to {root} (stratum {stratum}), offset {} {bound}", plus(offset))
        }
        State::Holding => format!("holding over, {bound}: {}", why(keeper, rows)),
        State::Mesh => match keeper.verdict().map(|verdict| &verdict.outcome) {
            Some(Outcome::Isolated(midpoint)) => {
                format!("isolated, mesh time of {} peers", midpoint.nodes)
            }
            _ => format!("isolated, own time alone: {}", why(keeper, rows)),
        },
        State::Unset => format!("not synchronised, because {}", why(keeper, rows)),
    }
}

/// Why there is no majority.
fn why(keeper: &Keeper, rows: &[Row]) -> String {
    let (votes, roots) = keeper.verdict().map_or((0, 0), |verdict| verdict.votes);
    let answering = rows.iter().filter(|row| row.reach != 0).count();
    match keeper.verdict().map(|verdict| &verdict.outcome) {
        _ if rows.is_empty() => "there is nobody to ask".to_owned(),
        _ if answering == 0 => format!("none of {} sources answers", rows.len()),
        Some(Outcome::NoMajority(_)) => {
            format!("{votes} of {roots} roots answer and contradict each other")
        }
        Some(Outcome::Rooted(_)) => "the roots have just begun to answer".to_owned(),
        Some(Outcome::Isolated(_)) => format!("{votes} of {roots} roots answer"),
        Some(Outcome::Alone) | None => {
            format!("{answering} of {} sources answer, and too little is known yet", rows.len())
        }
    }
}

fn offset_ns(keeper: &Keeper) -> Option<i64> {
    match &keeper.verdict()?.outcome {
        Outcome::Rooted(accepted) => Some(accepted.offset_ns),
        Outcome::Isolated(midpoint) => Some(midpoint.offset_ns),
        Outcome::NoMajority(_) | Outcome::Alone => None,
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Rooted => "synchronised",
        State::Holding => "holding",
        State::Mesh => "isolated",
        State::Unset => "unset",
    }
}

const fn role(may: May) -> &'static str {
    match may {
        May::TimeRoot => "root",
        May::Member => "member",
        May::Local => "local",
    }
}

fn root(root: &Root) -> String {
    match root {
        Root::Of(source) => source.to_string(),
        Root::Mesh => "mesh".to_owned(),
    }
}

fn root_named(of: &Root) -> String {
    match of {
        Root::Of(SourceId::Peer(node)) => format!("root {node}"),
        other => root(other),
    }
}

fn known(bound_ns: u64) -> Option<u64> {
    (bound_ns != UNKNOWN_NS).then_some(bound_ns)
}
