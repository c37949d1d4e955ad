//! `ca-tool lint` and `ca-tool verify`: judge a certificate from anywhere. No state is needed.

use ca_tool::CaError;
use ca_tool::check::{self, Question};
use host::fault::Fault;
use host::files;
use serde_json::json;
use shared::cert::{Facts, lint};
use shared::limits::{CERT_FILE_BYTES_MAX, CHAIN_CERTS_MAX};
use shared::pem;

use super::Desk;
use crate::cli::{LintArgs, VerifyArgs};

pub(super) fn lint(desk: &Desk<'_>, args: &LintArgs) -> Result<(), Fault> {
    let bytes = files::read_bounded(&args.cert, CERT_FILE_BYTES_MAX)?;
    let named = |what: String| format!("{}: {what}", args.cert.display());
    let certs = pem::certificates(&bytes, CHAIN_CERTS_MAX)
        .map_err(|error| Fault::refused(named(error.to_string())))?;
    let first = certs.first().map_or(&[][..], Vec::as_slice);
    let facts = Facts::read(first)
        .map_err(|error| Fault::refused(named(CaError::from(error).to_string())))?;
    let (kind, findings) = lint::check(&facts);
    let kind = kind.as_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    let listed: Vec<_> =
        findings.iter().map(|f| json!({ "rule": f.rule, "detail": f.detail })).collect();
    let value = json!({ "kind": kind, "subject": facts.subject_text(), "findings": listed });
    let lines: Vec<String> = match findings.as_slice() {
        [] => vec![format!("ok: {article} {kind} certificate that keeps every rule")],
        some => some.iter().map(|f| format!("{}: {}", f.rule, f.detail)).collect(),
    };
    desk.tell(&value, &lines)?;
    match findings.len() {
        0 => Ok(()),
        count => Err(Fault::refused(named(format!(
            "{count} rules broken, as {article} {kind} certificate"
        )))),
    }
}

pub(super) fn verify(desk: &Desk<'_>, args: &VerifyArgs) -> Result<(), Fault> {
    let question = Question {
        roots: &args.roots,
        intermediates: args.inter.as_deref(),
        crls: args.crls.as_deref(),
        leaf: &args.leaf,
        usage: args.usage,
        node: &args.name.node,
        network: args.network.as_ref().or(args.name.network.as_ref()),
        at: args.time.unwrap_or_else(host::clock::wall),
    };
    match check::answer(&question)? {
        Ok(member) => {
            let cert = &member.cert;
            let uri = cert.network.spiffe_of(cert.kind, &cert.node);
            let value = json!({
                "ok": true, "name": uri, "serial": cert.serial.to_string(),
                "not_after": member.not_after,
            });
            desk.tell(&value, &[format!("ok: {uri}, until {}", member.not_after)])
        }
        Err(refusal) => {
            let (code, detail) = (refusal.code.as_str(), host::terminal::escape(&refusal.detail));
            let value = json!({ "ok": false, "code": code, "detail": refusal.detail });
            desk.tell(&value, &[format!("refused ({code}): {detail}")])?;
            Err(Fault::refused(format!("{} is refused: {code}", args.leaf.display())))
        }
    }
}
