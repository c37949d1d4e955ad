//! Commands that look: list, show, crl, feed export, log, doctor.

use ca_tool::{CaError, CertView, NodeView, doctor};
use host::fault::Fault;
use host::files::{self, Mode};
use host::terminal::{Table, escape};
use serde_json::json;
use shared::cert::NodeCert;
use shared::id::Serial;
use shared::name::NodeName;
use shared::pem;
use shared::time::Timestamp;

use super::{Desk, output};
use crate::cli::{CrlArgs, ExportArgs, LogArgs, ShowArgs};

pub(super) fn list(desk: &Desk<'_>) -> Result<(), Fault> {
    let registry = desk.registry()?;
    // The authority's own certificate is no machine; `show authority` shows it.
    let mut nodes = registry.nodes()?;
    nodes.retain(|node| node.node.as_str() != NodeName::AUTHORITY);
    if desk.out.is_json() {
        return desk.out.json(&nodes).map_err(output);
    }
    let now = registry.now();
    let mut table = Table::new(&["NODE", "STANDING", "SINCE", "ENDS", "GROUPS", "ROLES"]);
    for node in &nodes {
        let when = |at: Option<Timestamp>| at.map(|at| desk.out.moment(at, now));
        table.row([
            node.node.to_string(),
            standing(node),
            when(node.since).unwrap_or_else(|| "-".to_owned()),
            when(node.not_after).unwrap_or_else(|| "-".to_owned()),
            node.groups.join(","),
            node.roles.join(","),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

pub(super) fn show(desk: &Desk<'_>, args: &ShowArgs) -> Result<(), Fault> {
    let registry = desk.registry()?;
    let by_serial = Serial::parse(&args.what).map(|serial| registry.certificate(&serial));
    if let Some(cert) = by_serial.transpose()?.flatten() {
        let read = NodeCert::read(&cert.der).map_err(CaError::from)?;
        let value = json!({
            "node": cert.node, "serial": cert.serial.to_string(), "spki": cert.spki.to_string(),
            "not_before": cert.not_before, "not_after": cert.not_after,
            "issued_at": cert.issued_at, "dns": read.dns, "ips": read.ips,
            "pem": *pem::encode(pem::CERTIFICATE, &cert.der),
        });
        let lines = [
            format!("node        {}", cert.node),
            format!("serial      {}", cert.serial),
            format!("key         {} (SHA-256)", cert.spki),
            format!("valid       {} to {}", cert.not_before, cert.not_after),
            pem::encode(pem::CERTIFICATE, &cert.der).trim_end().to_owned(),
        ];
        return desk.tell(&value, &lines);
    }
    let node = NodeName::parse(&args.what).map_err(|_| {
        Fault::failed(format!("no node and no serial {}", escape(&args.what)))
            .hint("see what there is: ca-tool list")
    })?;
    let (node, certs) = registry.node(&node)?;
    let value = json!({ "node": node, "certificates": certs });
    let mut lines = vec![
        format!("node        {}.{}", node.node, registry.network()),
        format!("standing    {}", since(&node)),
        format!("enrolled    {}", node.enrolled_at),
        format!("groups      {}", or_dash(&node.groups)),
        format!("roles       {}", or_dash(&node.roles)),
        "certificates".to_owned(),
    ];
    lines.extend(certs.iter().map(cert_line));
    desk.tell(&value, &lines)
}

pub(super) fn crl(desk: &Desk<'_>, args: &CrlArgs) -> Result<(), Fault> {
    let der = desk.registry()?.crl_der()?;
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
    let registry = desk.registry()?;
    files::write_atomic(&args.out, &registry.feed_file()?, Mode::Public)?;
    let number = registry.feed_position()?.number;
    let lines = [
        format!("feed number {number} is in {}", args.out.display()),
        format!("next, on any peer: peer feed import {}", args.out.display()),
    ];
    desk.tell(&json!({ "out": args.out, "number": number }), &lines)
}

pub(super) fn log(desk: &Desk<'_>, args: &LogArgs) -> Result<(), Fault> {
    let registry = desk.registry()?;
    if args.verify {
        return match registry.store().verify_log()? {
            Ok(count) => {
                let line = format!("the log is whole: {count} records");
                desk.tell(&json!({ "records": count, "whole": true }), &[line])
            }
            Err(fault) => {
                let what = format!("the log is broken at record {}: {}", fault.seq, fault.what);
                Err(Fault::refused(what).hint("compare the state folder with its backup"))
            }
        };
    }
    let records = registry.store().log()?;
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
    let now = registry.now();
    let mut table = Table::new(&["SEQ", "AT", "ACT", "SUBJECT", "DETAIL"]);
    for record in records {
        let at = desk.out.moment(record.at, now);
        table.row([record.seq.to_string(), at, record.act, record.subject, record.detail]);
    }
    table.print(&desk.out).map_err(output)
}

pub(super) fn doctor(desk: &Desk<'_>) -> Result<(), Fault> {
    let registry = desk.registry()?;
    let findings = doctor::examine(&registry)?;
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
    match node.reason {
        Some(reason) => format!("{} ({reason})", node.standing),
        None => node.standing.to_owned(),
    }
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
