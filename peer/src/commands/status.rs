//! `peer status`.

use std::path::Path;

use host::fault::Fault;
use host::terminal::{Table, duration_words, escape};
use peer::control::client::strange;
use peer::control::protocol::{CertificateStatus, KnownState, KnownStatus, Status};
use peer::control::{Client, Reply, Request};
use shared::time::Timestamp;

use super::{Desk, output};

pub(super) fn status(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let Reply::Status(status) = Client::new(bundle).ask_one(&Request::Status)? else {
        return Err(strange());
    };
    if desk.out.is_json() {
        return desk.out.json(&status).map_err(output);
    }
    let now = host::clock::wall();
    for line in head(desk, &status, now) {
        desk.line(&line)?;
    }
    if status.evidence > 0 {
        let command = format!("peer evidence {}", bundle.display());
        desk.line(&format!(
            "evidence     {} of copied certificates or two-faced clocks: {command}",
            status.evidence
        ))?;
    }
    links(desk, &status, now)?;
    others(desk, &status, now)?;
    leads(desk, &status, now)?;
    events(desk, &status, now)
}

fn head(desk: &Desk, status: &Status, now: Timestamp) -> [String; 4] {
    let stale = if status.feed.stale { ", stale" } else { "" };
    let signed = status.feed.at.map(|at| format!(", signed {}", desk.out.moment(at, now)));
    let certificate = &status.certificate;
    [
        format!("node         {}.{}", status.node, status.network),
        format!(
            "listening    {}, since {}",
            escape(&status.listening),
            desk.out.moment(status.since, now)
        ),
        certificate_line(desk, certificate, now),
        format!("feed         number {}{}{stale}", status.feed.number, signed.unwrap_or_default()),
    ]
}

/// Loud once less than a third of its life is left.
fn certificate_line(desk: &Desk, certificate: &CertificateStatus, now: Timestamp) -> String {
    let CertificateStatus { not_after, urgency, .. } = certificate;
    let left_s = not_after.ms_since(now) / 1000;
    let left = if left_s > 0 {
        format!("{} left (until {not_after})", duration_words(left_s))
    } else {
        format!("ENDED at {not_after}")
    };
    let loud = if urgency == "late" { ", NOT RENEWED IN TIME" } else { "" };
    let next = certificate.renewal.map(|at| format!(", renewal {}", desk.out.moment(at, now)));
    let setback = certificate.setback.as_ref().map(|why| format!("; last try: {}", escape(why)));
    let (next, setback) = (next.unwrap_or_default(), setback.unwrap_or_default());
    format!("certificate  {left}{loud}{next}{setback}")
}

fn links(desk: &Desk, status: &Status, now: Timestamp) -> Result<(), Fault> {
    if status.links.is_empty() {
        return desk.line("links        none");
    }
    desk.line("")?;
    let columns = ["NODE", "ADDRESS", "DIALLED", "PATH", "SINCE", "CERT", "FEED", "RTT"];
    let mut table = Table::new(&columns);
    for link in &status.links {
        let left_s = link.cert_not_after.ms_since(now) / 1000;
        table.row([
            link.node.to_string(),
            link.address.clone(),
            link.direction.as_str().to_owned(),
            link.path.clone(),
            desk.out.moment(link.since, now),
            if left_s > 0 { duration_words(left_s) } else { "ended".to_owned() },
            link.feed_number.to_string(),
            link.rtt_us.map_or_else(|| "-".to_owned(), |us| format!("{us} µs")),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

fn others(desk: &Desk, status: &Status, now: Timestamp) -> Result<(), Fault> {
    let mut table = Table::new(&["NOT LINKED", "ADDRESS", "STATE", "NEXT TRY"]);
    for known in status.known.iter().filter(|known| known.state != KnownState::Linked) {
        table.row([
            known.node.to_string(),
            known.address.clone().unwrap_or_else(|| "-".to_owned()),
            state(known),
            known.next_try.map_or_else(|| "-".to_owned(), |at| desk.out.moment(at, now)),
        ]);
    }
    if table.is_empty() {
        return Ok(());
    }
    desk.line("")?;
    table.print(&desk.out).map_err(output)
}

fn leads(desk: &Desk, status: &Status, now: Timestamp) -> Result<(), Fault> {
    if status.leads.is_empty() {
        return Ok(());
    }
    desk.line("")?;
    let mut table = Table::new(&["NO NAME YET", "FROM", "STATE", "NEXT TRY"]);
    for lead in &status.leads {
        table.row([
            lead.address.clone(),
            lead.source.clone(),
            lead.last_failure.clone().unwrap_or_else(|| "dialling".to_owned()),
            desk.out.moment(lead.next_try, now),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

fn state(known: &KnownStatus) -> String {
    match &known.last_refusal {
        Some(last) if known.state == KnownState::Refused => {
            format!("refused ({}, by {})", last.code, last.by.as_str())
        }
        _ => known.state.as_str().to_owned(),
    }
}

fn events(desk: &Desk, status: &Status, now: Timestamp) -> Result<(), Fault> {
    if status.events.is_empty() {
        return Ok(());
    }
    desk.line("")?;
    let mut table = Table::new(&["REFUSED", "WHO", "CODE", "BY"]);
    for event in &status.events {
        let at = desk.out.moment(event.at, now);
        let who = event.who.clone();
        table.row([at, who, event.code.to_string(), event.by.as_str().to_owned()]);
    }
    table.print(&desk.out).map_err(output)
}
