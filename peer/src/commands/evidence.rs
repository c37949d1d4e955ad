//! `peer evidence`: what the bundle holds against copied certificates and clocks with two faces,
//! verified.

use std::path::Path;

use host::fault::Fault;
use host::terminal::Table;
use peer::bundle::Bundle;
use peer::evidence::{Piece, Signed, judge, list};
use serde_json::{Value, json};
use shared::time::Timestamp;
use shared::verify::Verifier;

use super::{Desk, output};

pub(super) fn evidence(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let bundle = Bundle::open(bundle)?;
    let verifier = Verifier::new(bundle.reload_trust()?);
    let paths = list(&bundle.paths.evidence())?;
    let pieces = paths.iter().map(|path| judge(path, &verifier)).collect::<Result<Vec<_>, _>>()?;
    if desk.out.is_json() {
        return pieces.iter().try_for_each(|p| desk.out.json(&value(p)).map_err(output));
    }
    if pieces.is_empty() {
        return desk
            .line("no evidence: no certificate was seen in two runs, and no clock with two faces");
    }
    let mut table = Table::new(&["NODE", "SHOWS", "FIRST", "SECOND", "FILE"]);
    for piece in &pieces {
        let mut runs = piece.statements.iter().map(|statement| run(desk, statement));
        table.row([
            named(piece),
            piece.shows.as_str().to_owned(),
            runs.next().unwrap_or_else(|| "unreadable".to_owned()),
            runs.next().unwrap_or_else(|| "unreadable".to_owned()),
            piece.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

fn named(piece: &Piece) -> String {
    let node = piece.statements.iter().find_map(|statement| statement.as_ref().ok());
    node.map_or_else(|| "-".to_owned(), |signed| signed.node().to_string())
}

fn run(desk: &Desk, statement: &Result<Signed, String>) -> String {
    let short = |instance: String| instance.chars().take(8).collect::<String>();
    match statement {
        Ok(Signed::Presence(signed)) => {
            let said = &signed.presence;
            let at = desk.out.moment(said.at, host::clock::wall());
            format!("{}, start {}, {at}", short(said.instance.to_string()), said.boot)
        }
        Ok(Signed::Time(signed)) => {
            let said = &signed.shown;
            let run = short(said.instance.to_string());
            format!("{run}, number {}, {}", said.sequence, showed(said.utc_ns))
        }
        Err(why) => host::terminal::escape(why),
    }
}

const fn showed(utc_ns: i64) -> Timestamp {
    Timestamp::from_ms(utc_ns.div_euclid(1_000_000))
}

fn value(piece: &Piece) -> Value {
    let statement = |statement: &Result<Signed, String>| match statement {
        Ok(Signed::Presence(signed)) => json!({
            "verifies": true, "node": signed.presence.node,
            "instance": signed.presence.instance.to_string(), "boot": signed.presence.boot,
            "sequence": signed.presence.sequence, "at": signed.presence.at,
            "addresses": signed.presence.addresses,
            "serial": signed.member.cert.serial.to_string(),
            "key": signed.member.cert.spki.to_string(),
        }),
        Ok(Signed::Time(signed)) => json!({
            "verifies": true, "node": signed.shown.node,
            "instance": signed.shown.instance.to_string(), "sequence": signed.shown.sequence,
            "count_ns": signed.shown.count_ns, "utc_ns": signed.shown.utc_ns,
            "bound_ns": signed.shown.bound_ns,
            "serial": signed.member.cert.serial.to_string(),
            "key": signed.member.cert.spki.to_string(),
        }),
        Err(why) => json!({ "verifies": false, "why": why }),
    };
    let statements: Vec<Value> = piece.statements.iter().map(statement).collect();
    json!({ "file": piece.path, "shows": piece.shows.as_str(), "statements": statements })
}
