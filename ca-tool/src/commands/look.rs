//! Commands that look: list, show, crl, feed export, log, doctor.

use ca_tool::ask::client::Door;
use ca_tool::ask::{
    CertificateOf, Diagnose, Facts, Log, LogCheck, NodeOf, Nodes, PAGE, Projections, Recorded,
};
use ca_tool::layout::Layout;
use ca_tool::store::LogRecord;
use ca_tool::{CaError, CertView, NodeView, doctor};
use host::fault::Fault;
use host::files::{self, Mode};
use host::terminal::{Table, escape};
use serde_json::json;
use shared::cert::NodeCert;
use shared::limits::{CRL_BYTES_MAX, FEED_FILE_BYTES_MAX};
use shared::name::NodeName;
use shared::pem;
use shared::time::Timestamp;

use super::{Desk, output};
use crate::cli::{CrlArgs, ExportArgs, LogArgs, ShowArgs};

pub(super) fn list(desk: &Desk<'_>) -> Result<(), Fault> {
    let nodes = nodes(&mut desk.door()?)?;
    if desk.out.is_json() {
        return desk.out.json(&nodes).map_err(output);
    }
    let now = host::clock::wall();
    let mut table =
        Table::new(&["NODE", "STANDING", "SINCE", "ENDS", "PROFILE", "GROUPS", "ROLES"]);
    for node in &nodes {
        let when = |at: Option<Timestamp>| at.map(|at| desk.out.moment(at, now));
        table.row([
            node.node.to_string(),
            standing(node),
            when(node.since).unwrap_or_else(|| "-".to_owned()),
            ends(node, when(node.not_after)),
            node.profile.clone(),
            node.groups.join(","),
            node.roles.join(","),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

/// All machines.
pub(super) fn nodes(door: &mut Door) -> Result<Vec<NodeView>, Fault> {
    let mut nodes = Vec::new();
    loop {
        let after = nodes.last().map(|node: &NodeView| node.node.clone());
        let page = door.ask(Nodes { after })?;
        let more = page.len() == PAGE;
        nodes.extend(page);
        if !more {
            break;
        }
    }
    // The authority's own certificate is no machine; `show authority` shows it.
    nodes.retain(|node| node.node.as_str() != NodeName::AUTHORITY);
    Ok(nodes)
}

pub(super) fn show(desk: &Desk<'_>, args: &ShowArgs) -> Result<(), Fault> {
    let mut door = desk.door()?;
    if let Some(recorded) = door.ask(CertificateOf(args.what.clone()))? {
        return certificate(desk, &recorded);
    }
    let node = NodeName::parse(&args.what).map_err(|_| {
        Fault::failed(format!("no node and no serial {}", escape(&args.what)))
            .hint("see what there is: ca-tool list")
    })?;
    let network = door.ask(Facts)?.network;
    let (node, certs) = door.ask(NodeOf(node))?;
    let value = json!({ "node": node, "certificates": certs });
    let mut lines = vec![
        format!("node        {}.{}", node.node, network),
        format!("standing    {}", since(&node)),
        format!("enrolled    {}", node.enrolled_at),
        format!("profile     {}", node.profile),
        format!("groups      {}", or_dash(&node.groups)),
        format!("roles       {}", or_dash(&node.roles)),
        "certificates".to_owned(),
    ];
    lines.extend(certs.iter().map(cert_line));
    desk.tell(&value, &lines)
}

fn certificate(desk: &Desk<'_>, recorded: &Recorded) -> Result<(), Fault> {
    let der = &recorded.der.0;
    let cert = NodeCert::read(der).map_err(CaError::from)?;
    let value = json!({
        "node": recorded.node, "kind": cert.kind.as_str(),
        "serial": cert.serial.to_string(), "spki": cert.spki.to_string(),
        "not_before": cert.not_before, "not_after": cert.not_after,
        "issued_at": recorded.issued_at, "dns": cert.dns, "ips": cert.ips,
        "pem": *pem::encode(pem::CERTIFICATE, der),
    });
    let lines = [
        format!("{:<12}{}", cert.kind, recorded.node),
        format!("serial      {}", cert.serial),
        format!("key         {} (SHA-256)", cert.spki),
        format!("valid       {} to {}", cert.not_before, cert.not_after),
        pem::encode(pem::CERTIFICATE, der).trim_end().to_owned(),
    ];
    desk.tell(&value, &lines)
}

pub(super) fn crl(desk: &Desk<'_>, args: &CrlArgs) -> Result<(), Fault> {
    desk.door()?.ask(Projections)?;
    let der = files::read_bounded(&Layout::new(&desk.cli.pki).crl(), CRL_BYTES_MAX)?;
    let text = pem::encode(pem::X509_CRL, &der);
    let Some(path) = &args.out else {
        return desk.line(text.trim_end());
    };
    let is_der = path.extension().is_some_and(|end| end == "der" || end == "crl");
    let bytes = if is_der { &der } else { text.as_bytes() };
    files::write_atomic(path, bytes, Mode::Public)?;
    let line = format!("the CRL is in {}", path.display());
    desk.tell(&json!({ "out": path, "form": if is_der { "der" } else { "pem" } }), &[line])
}

pub(super) fn export(desk: &Desk<'_>, args: &ExportArgs) -> Result<(), Fault> {
    let number = desk.door()?.ask(Projections)?;
    let feed = files::read_bounded(&Layout::new(&desk.cli.pki).feed(), FEED_FILE_BYTES_MAX)?;
    files::write_atomic(&args.out, &feed, Mode::Public)?;
    let lines = [
        format!("feed number {number} is in {}", args.out.display()),
        format!("next, on any peer: peer feed import {}", args.out.display()),
    ];
    desk.tell(&json!({ "out": args.out, "number": number }), &lines)
}

pub(super) fn log(desk: &Desk<'_>, args: &LogArgs) -> Result<(), Fault> {
    let mut door = desk.door()?;
    if args.verify {
        let count = door.ask(LogCheck)?;
        let line = format!("the log is whole: {count} records");
        return desk.tell(&json!({ "records": count, "whole": true }), &[line]);
    }
    let mut records = Vec::new();
    loop {
        let after = records.last().map_or(0, |record: &LogRecord| record.seq);
        let page = door.ask(Log { after })?;
        let more = page.len() == PAGE;
        records.extend(page);
        if !more {
            break;
        }
    }
    if desk.out.is_json() {
        let values: Vec<_> = records
            .iter()
            .map(|r| {
                json!({ "seq": r.seq, "at": r.at, "act": r.act, "subject": r.subject,
                "detail": r.detail, "prev": shared::id::hex(&r.prev) })
            })
            .collect();
        return desk.out.json(&values).map_err(output);
    }
    let now = host::clock::wall();
    let mut table = Table::new(&["SEQ", "AT", "ACT", "SUBJECT", "DETAIL"]);
    for record in records {
        let at = desk.out.moment(record.at, now);
        table.row([record.seq.to_string(), at, record.act, record.subject, record.detail]);
    }
    table.print(&desk.out).map_err(output)
}

pub(super) fn doctor(desk: &Desk<'_>) -> Result<(), Fault> {
    let findings = desk.door()?.ask(Diagnose)?;
    let lines: Vec<String> = findings
        .iter()
        .flat_map(|f| {
            let hint = f.hint.as_ref().map(|hint| format!("        {hint}"));
            std::iter::once(format!("{:<7} {}", f.level.as_str(), f.what)).chain(hint)
        })
        .collect();
    desk.tell(&findings, &lines)?;
    match findings.iter().filter(|f| f.level == doctor::Level::Bad).count() {
        0 => Ok(()),
        count => Err(Fault::failed(format!("{count} things are wrong"))),
    }
}

fn standing(node: &NodeView) -> String {
    match &node.reason {
        Some(reason) => format!("{} ({reason})", node.standing),
        None => node.standing.to_string(),
    }
}

fn ends(node: &NodeView, when: Option<String>) -> String {
    let when = when.unwrap_or_else(|| "-".to_owned());
    if node.late { format!("{when}, NOT RENEWED") } else { when }
}

fn since(node: &NodeView) -> String {
    let since = node.since.map(|at| format!(", since {at}")).unwrap_or_default();
    format!("{}{since}", standing(node))
}

fn or_dash(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn cert_line(cert: &CertView) -> String {
    format!("  {}  {} to {}  {}", cert.serial, cert.not_before, cert.not_after, cert.state)
}
