//! `peer request` and `peer install`: a key that never leaves its machine.

use host::fault::Fault;
use host::terminal::escape;
use peer::install;
use serde_json::json;

use super::Desk;
use crate::cli::{InstallArgs, RequestArgs};

pub(super) fn request(desk: &Desk, args: &RequestArgs) -> Result<(), Fault> {
    let made = install::request(&args.out, &args.node, args.algorithm)?;
    let (node, csr) = (&args.node, made.csr.display());
    let lines = [
        format!("the key is in {}, the request in {csr}", made.bundle.display()),
        format!("next, at the authority: ca-tool enroll {node} --csr {csr} --out {node}.crt"),
    ];
    desk.tell(&json!({ "node": node, "bundle": made.bundle, "csr": made.csr }), &lines)
}

pub(super) fn install(desk: &Desk, args: &InstallArgs) -> Result<(), Fault> {
    let done = install::install(&args.bundle, &args.file, &args.peer, host::clock::wall())?;
    let mut lines = vec![
        format!("{}.{} is in {}", done.node, done.network, args.bundle.display()),
        format!("until {}", done.not_after),
    ];
    for root in &done.roots {
        lines.push(format!("it trusts {}: compare at the authority", escape(&root.subject)));
        lines.push(format!("  root key (SHA-256)  {}", root.fingerprint));
    }
    lines.push(super::next_with(done.kind, &args.bundle));
    let roots: Vec<_> = done.roots.iter().map(|root| &root.fingerprint).collect();
    let value = json!({
        "node": done.node, "network": done.network, "not_after": done.not_after, "roots": roots,
    });
    desk.tell(&value, &lines)
}
