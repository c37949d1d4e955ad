//! `peer time` and what belongs to it.

use std::sync::Arc;

use clock::limits::POLL_MIN;
use clock::measure::{OutsideName, SourceId};
use host::fault::Fault;
use host::kernel::{Kept, Unkept};
use host::terminal::{Table, escape};
use nts::client::Sample;
use peer::bundle::{Bundle, Paths};
use peer::config::{NTP_PORT, Source, Way, with_port};
use peer::control::client::strange;
use peer::control::time::{FloorStatus, SourceStatus, TimeAsk, TimeReply, TimeStatus, ms, plus};
use peer::control::{Client, Reply, Request};
use peer::limits::{TIME_QUERIES, TIME_QUERY_PAUSE};
use peer::time::ask::{Asker, Papers, Turn, roots_of, system_roots};
use peer::time::floor;
use serde_json::json;
use shared::time::Timestamp;

use super::{Desk, output};
use crate::cli::{BundleArgs, QueryArgs, TimeArgs, TimeCommand};

/// A system clock that is off by more is worth a word, in ns: a step, as RFC 5905 has it.
const WORTH_A_WORD_NS: i64 = 128_000_000;

pub(super) fn time(desk: &Desk, args: &TimeArgs) -> Result<(), Fault> {
    match (&args.act, &args.bundle) {
        (Some(TimeCommand::Sources(args)), _) => sources(desk, args),
        (Some(TimeCommand::Query(args)), _) => query(desk, args),
        (Some(TimeCommand::Check(args)), _) => check(desk, args),
        (Some(TimeCommand::ResetFloor(args)), _) => reset_floor(desk, args),
        (None, Some(bundle)) => status(desk, &BundleArgs { bundle: bundle.clone() }),
        (None, None) => Ok(()),
    }
}

fn status(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let status = ask_status(args)?;
    let mut lines = vec![status.says.clone()];
    let ahead = status.system_ahead_ns;
    if ahead.abs() > WORTH_A_WORD_NS {
        lines.push(format!("the system's clock is {} ahead", plus(ahead)));
    }
    for event in &status.events {
        lines.push(format!("{}  {}: {}", event.at, event.code, escape(&event.detail)));
    }
    desk.tell(&status, &lines)
}

fn ask_status(args: &BundleArgs) -> Result<TimeStatus, Fault> {
    match Client::new(&args.bundle).ask_one(&Request::Time(TimeAsk::Status))? {
        Reply::Time(TimeReply::Status(status)) => Ok(*status),
        _ => Err(strange()),
    }
}

fn sources(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let mut replies = Client::new(&args.bundle).ask(&Request::Time(TimeAsk::Sources))?;
    let mut table = Table::new(&[
        "", "NAME", "ROLE", "ROOT", "STRATUM", "NTS", "POLL", "REACH", "OFFSET", "BOUND", "DELAY",
        "JITTER", "SKEW",
    ]);
    let mut troubles = Vec::new();
    while let Some(reply) = replies.next()? {
        let Reply::Time(TimeReply::Source(source)) = reply else { return Err(strange()) };
        let trouble = source.trouble.as_deref().map(escape);
        troubles.extend(trouble.map(|why| format!("{}: {why}", source.name)));
        if desk.out.is_json() {
            desk.out.json(&source).map_err(output)?;
        } else {
            table.row(row(&source));
        }
    }
    if desk.out.is_json() {
        return Ok(());
    }
    if table.is_empty() {
        return desk.line("nobody is asked: name `time: {sources: …}` in node.yaml");
    }
    table.print(&desk.out).map_err(output)?;
    troubles.iter().try_for_each(|why| desk.line(why))
}

fn row(source: &SourceStatus) -> [String; 13] {
    let none = || "-".to_owned();
    let length = |ns: Option<u64>| ns.map_or_else(none, ms);
    let nts = if source.nts { format!("{}/{}", source.cookies, source.naks) } else { none() };
    [
        source.mark.to_string(),
        source.name.clone(),
        source.role.clone(),
        source.root.clone().unwrap_or_else(none),
        source.stratum.map_or_else(none, |stratum| stratum.to_string()),
        nts,
        format!("{} s", source.poll_s),
        format!("{:o}", source.reach),
        source.offset_ns.map_or_else(none, plus),
        length(source.bound_ns),
        length(source.delay_ns),
        length(source.jitter_ns),
        source.skew_ppb.map_or_else(none, |ppb| format!("{:+.2} ppm", ppb as f64 / 1e3)),
    ]
}

fn query(desk: &Desk, args: &QueryArgs) -> Result<(), Fault> {
    let (source, papers) = asked(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    let mut asker = Asker::new(source, papers);
    let best = runtime.block_on(async {
        let mut best: Option<(Sample, Turn)> = None;
        let mut last = Turn::default();
        for number in 0..TIME_QUERIES {
            if number > 0 {
                tokio::time::sleep(TIME_QUERY_PAUSE).await;
            }
            last = asker.turn(POLL_MIN).await;
            let shorter = |sample: &Sample| {
                best.as_ref().is_none_or(|(before, _)| sample.delay_ns() < before.delay_ns())
            };
            match last.sample {
                Some(sample) if shorter(&sample) => best = Some((sample, last.clone())),
                Some(_) => {}
                // No keys or nobody there: the next try would end the same way.
                None if best.is_none() => break,
                None => {}
            }
        }
        best.ok_or(last)
    });
    match best {
        Ok((sample, turn)) => tell_sample(desk, &sample, &turn),
        Err(turn) => {
            let why = turn.standing.trouble.unwrap_or_else(|| "no answer".to_owned());
            Err(Fault::failed(escape(&why)).hint("with --nts the port is that of the key exchange"))
        }
    }
}

fn asked(args: &QueryArgs) -> Result<(Source, Papers), Fault> {
    let clock: tls::Clock = Arc::new(host::clock::wall);
    let mut papers = Papers {
        dialler: None,
        roots: Arc::default(),
        dates: Arc::new(|| [host::clock::wall(); 2]),
        shown: None,
        links: None,
    };
    let way = match (&args.bundle, &args.node) {
        (Some(bundle), Some(node)) => {
            let bundle = Bundle::open(bundle)?;
            let dialler = tls::Dialler::new(&bundle.identity, Arc::clone(&bundle.verifier), clock);
            let dialler = dialler.map_err(|error| Fault::failed(error.to_string()))?;
            papers.dialler = Some(Arc::new(dialler));
            Way::Member(node.clone())
        }
        _ if args.nts => {
            let roots = args.ca.as_deref().map_or_else(system_roots, roots_of)?;
            papers.roots = Arc::new(roots);
            Way::Outside { ca: args.ca.clone() }
        }
        _ => Way::Plain,
    };
    let usual = if way == Way::Plain { NTP_PORT } else { nts::export::PORT };
    let wrong = || Fault::usage(format!("{} is not HOST or HOST:PORT", escape(&args.server)));
    let address = with_port(&args.server, usual).ok_or_else(wrong)?;
    let id = SourceId::Outside(OutsideName::parse(&args.server).ok_or_else(wrong)?);
    Ok((Source { id, address, way }, papers))
}

fn tell_sample(desk: &Desk, sample: &Sample, turn: &Turn) -> Result<(), Fault> {
    // The moments are the machine's count: what the system's clock showed then.
    let shift = host::clock::wall_ns() - i64::try_from(host::clock::count_ns()).unwrap_or(0);
    let offset_ns = sample.offset_ns().saturating_sub(shift);
    let delay_ns = sample.delay_ns().unsigned_abs();
    let distance_ns = sample.root_delay.to_ns() / 2 + sample.root_dispersion.to_ns();
    let bound_ns = delay_ns / 2 + distance_ns.unsigned_abs();
    let how = if sample.is_authentic { "NTS" } else { "NTP, not authenticated" };
    let at = turn.standing.to.map(|to| to.to_string()).unwrap_or_default();
    let value = json!({
        "server": at,
        "offset_ns": offset_ns,
        "bound_ns": bound_ns,
        "delay_ns": delay_ns,
        "stratum": sample.stratum,
        "reference": sample.reference_id.to_string(),
        "authenticated": sample.is_authentic,
        "cookies": turn.standing.cookies,
    });
    let (offset, bound, delay) = (plus(offset_ns), ms(bound_ns), ms(delay_ns));
    let (stratum, root) = (sample.stratum, sample.reference_id);
    let lines = [
        format!("{at}: offset {offset} ± {bound} against the system's clock"),
        format!("stratum {stratum}, root {root}, round trip {delay}, {how}"),
    ];
    desk.tell(&value, &lines)
}

fn check(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let paths = Paths::of(&args.bundle);
    let floor = floor::read(&paths.floor())?;
    let wall = host::clock::wall();
    let at = Timestamp::from(floor.at());
    let mut said = Vec::new();
    if wall < at {
        said.push(format!("the system's clock shows {wall}, and it is later than {at}"));
    }
    match Bundle::open(&args.bundle) {
        Ok(_) => {}
        Err(error) => said.push(format!("the bundle does not stand at this time: {error}")),
    }
    let kept = match ask_status(args) {
        Ok(status) => {
            let ahead = status.system_ahead_ns;
            if ahead.abs() > WORTH_A_WORD_NS {
                said.push(format!("the system's clock is {} ahead of the mesh's", plus(ahead)));
            }
            Some(status.says)
        }
        Err(_) => None,
    };
    let kernel = host::kernel::kept();
    let error_ns = kernel.as_ref().ok().map(|kept| kept.error_ns);
    let floor = FloorStatus { at, ground: floor::word(floor.ground()).to_owned() };
    let value = json!({
        "system": wall,
        "system_error_ns": error_ns,
        "floor": floor,
        "clock": kept,
        "wrong": said,
    });
    let mut lines = vec![
        format!("system       {wall}, {}", kept_by(&kernel)),
        format!("floor        {at}, {}", floor.ground),
        format!("clock        {}", kept.as_deref().unwrap_or("this peer does not run")),
    ];
    lines.extend(said.iter().map(|wrong| format!("WRONG        {}", escape(wrong))));
    desk.tell(&value, &lines)?;
    if said.is_empty() {
        return Ok(());
    }
    Err(Fault::failed("the time is not right here").hint("set the system's clock, or run the peer"))
}

/// What the kernel says of the system's clock.
fn kept_by(kernel: &Result<Kept, Unkept>) -> String {
    match kernel {
        Ok(kept) => format!("kept within {}", ms(kept.error_ns)),
        Err(why) => why.to_string(),
    }
}

fn reset_floor(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let said = match Client::new(&args.bundle).ask_one(&Request::Time(TimeAsk::ResetFloor)) {
        Ok(Reply::Time(TimeReply::Floor(floor))) => floor,
        Ok(_) => return Err(strange()),
        Err(_) => {
            let paths = Paths::of(&args.bundle);
            let _lock = paths.lock()?;
            let floor = floor::built();
            floor::write(&paths.floor(), &floor)?;
            let ground = floor::word(floor.ground()).to_owned();
            FloorStatus { at: Timestamp::from(floor.at()), ground }
        }
    };
    let line = format!("the floor is {} now: {}", said.at, said.ground);
    desk.tell(&said, &[line])
}
