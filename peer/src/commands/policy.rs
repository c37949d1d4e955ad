//! `peer policy`: which one holds, and why somebody may do something or may not.

use host::fault::{Exit, Fault};
use host::terminal::Table;
use peer::control::client::strange;
use peer::control::policy::{PolicyStatus, Why};
use peer::control::{Client, Reply, Request};

use super::{Desk, output};
use crate::cli::{BundleArgs, WhyArgs};

pub(super) fn show(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let Reply::Policy(policy) = Client::new(&args.bundle).ask_one(&Request::Policy)? else {
        return Err(strange());
    };
    if desk.out.is_json() {
        return desk.out.json(&policy).map_err(output);
    }
    desk.line(&headline(&policy))?;
    let mut table = Table::new(&["", "RULE", "DOES", "WHAT", "FROM", "TO"]);
    for (index, rule) in policy.rules.iter().enumerate() {
        let does = if rule.allows { "allow" } else { "deny" };
        let (place, what) = ((index + 1).to_string(), rule.grants.join(", "));
        table.row([&place, &rule.name, does, &what, &rule.from, &rule.to]);
    }
    table.print(&desk.out).map_err(output)?;
    for quota in &policy.quotas {
        let rates = [
            (quota.messages_per_second, "messages/s"),
            (quota.bytes_per_second, "bytes/s"),
            (quota.handshakes_per_minute, "handshakes/min"),
        ];
        let rates = rates.iter().filter_map(|(rate, unit)| Some(format!("{} {unit}", (*rate)?)));
        let rates = rates.collect::<Vec<_>>().join(", ");
        desk.line(&format!("quota {} for {}: {rates}", quota.name, quota.from))?;
    }
    Ok(())
}

fn headline(policy: &PolicyStatus) -> String {
    match policy.at {
        Some(at) => format!("policy {}, signed {at}", policy.number),
        None => "the built-in policy: none was pushed yet".to_owned(),
    }
}

/// Exit 3 if it is denied: scripts ask too.
pub(super) fn why(desk: &Desk, args: &WhyArgs) -> Result<Exit, Fault> {
    let (from, to, action) = (args.from.clone(), args.node.clone(), args.action.clone());
    let request = Request::PolicyWhy { from, to, action };
    let Reply::Why(why) = Client::new(&args.bundle).ask_one(&request)? else {
        return Err(strange());
    };
    if desk.out.is_json() {
        desk.out.json(&why).map_err(output)?;
    } else {
        desk.line(&sentence(&why))?;
    }
    Ok(if why.allowed { Exit::Done } else { Exit::Refused })
}

fn sentence(why: &Why) -> String {
    let Why { from, to, action, number, .. } = why;
    let may = if why.allowed { "may" } else { "may not" };
    let by = match (&why.name, why.rule) {
        (Some(name), Some(rule)) => format!("rule {rule}, {name}, of policy {number}"),
        _ => format!("no rule of policy {number} allows it"),
    };
    format!("{from} {may} {action} {to}: {by}")
}
