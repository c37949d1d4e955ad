//! `revoke`, `suspend`, `resume` and `publish`: the acts that the network hears of.

use ca_tool::ask::client::Door;
use ca_tool::ask::{Refresh, Spread, Stand, Standing};
use ca_tool::{News, Publish, Report};
use host::fault::Fault;
use serde_json::json;
use shared::name::NodeName;

use super::{Desk, say};
use crate::cli::{ActArgs, PublishArgs, RevokeArgs};

pub(super) fn revoke(desk: &Desk<'_>, args: &RevokeArgs) -> Result<(), Fault> {
    stand(desk, &args.act, Standing::Revoked(args.reason))
}

pub(super) fn suspend(desk: &Desk<'_>, args: &ActArgs) -> Result<(), Fault> {
    stand(desk, args, Standing::Suspended)
}

pub(super) fn resume(desk: &Desk<'_>, args: &ActArgs) -> Result<(), Fault> {
    stand(desk, args, Standing::Resumed)
}

pub(super) fn publish(desk: &Desk<'_>, args: &PublishArgs) -> Result<(), Fault> {
    let mut door = desk.door()?;
    let number = door.ask(Refresh)?;
    let line = format!("feed number {number} signed again");
    spread(desk, &mut door, None, json!({ "number": number }), line, ("heard", args))
}

fn stand(desk: &Desk<'_>, args: &ActArgs, standing: Standing) -> Result<(), Fault> {
    let mut door = desk.door()?;
    let stood = door.ask(Stand { node: args.node.clone(), standing })?;
    let (node, number, at) = (&args.node, stood.number, stood.at);
    let reason = stood.reason.as_str();
    let done = match standing {
        Standing::Revoked(_) => format!("revoked ({reason})"),
        Standing::Suspended => "suspended".to_owned(),
        Standing::Resumed => "resumed".to_owned(),
    };
    let line = if stood.already {
        format!("{node} was {done} already, at {at}; feed number {number}")
    } else {
        format!("{node} {done}, feed number {number}")
    };
    let value = json!({
        "node": node, "at": at, "number": number, "reason": reason, "already": stood.already,
    });
    let verb = if standing == Standing::Resumed { "heard" } else { "cut" };
    spread(desk, &mut door, Some(node), value, line, (verb, &args.publish))
}

fn spread(
    desk: &Desk<'_>,
    door: &mut Door,
    about: Option<&NodeName>,
    mut value: serde_json::Value,
    line: String,
    (verb, args): (&str, &PublishArgs),
) -> Result<(), Fault> {
    // Nobody in particular is meant: the daily publication, which brings the policy too.
    let news = if about.is_none() { News::Both } else { News::Feed };
    let what = Publish { via: args.via.clone(), about: about.cloned(), news };
    // The act is done and said before anybody is told: what follows may take seconds.
    if !desk.out.is_json() {
        desk.line(&line)?;
    }
    let report = door.ask(Spread(what))?;
    for failure in &report.failures {
        say(&format!("{}: {}", failure.via, failure.why));
    }
    if let Some(object) = value.as_object_mut() {
        let report = serde_json::to_value(&report).unwrap_or_default();
        object.insert("publish".to_owned(), report);
    }
    let mut lines = summary(desk, &report, verb);
    // Where it was there already nobody acknowledges it, and presences tell it late.
    let is_news = report.peers.iter().any(|peer| peer.policy_ms.is_some());
    if news == News::Both && is_news {
        lines.push(super::policy::spread_line(&report));
    }
    desk.tell(&value, &lines)
}

fn summary(desk: &Desk<'_>, report: &Report, verb: &str) -> Vec<String> {
    let absent = |names: &[NodeName]| {
        let (they, returns) = if names.len() == 1 { ("it", "returns") } else { ("they", "return") };
        let word = if verb == "cut" { "be cut" } else { "hear" };
        format!("{} offline: will {word} when {they} {returns}", names.len())
    };
    if report.via.is_none() {
        return vec![
            "no peer was reached: the feed spreads when one next meets the authority".to_owned(),
            format!("next: ca-tool{} publish --via HOST:PORT", desk.pki_flag()),
            format!("or carry it: ca-tool{} feed export --out FILE", desk.pki_flag()),
        ];
    }
    let (count, slowest) = report.acknowledged();
    let slowest = slowest.map(|ms| format!(", slowest {ms} ms")).unwrap_or_default();
    let mut line = format!("{verb} on {count}/{} peers{slowest}", report.peers.len());
    if verb == "heard" {
        line = format!("heard by {count}/{} peers{slowest}", report.peers.len());
    }
    if !report.offline.is_empty() {
        line.push_str(&format!(" ({})", absent(&report.offline)));
    }
    let silent = report.peers.iter().filter(|peer| peer.ms.is_none());
    let silent: Vec<String> = silent.map(|peer| peer.node.to_string()).collect();
    let mut lines = vec![line];
    if !silent.is_empty() {
        lines.push(format!("no acknowledgement from {}", silent.join(", ")));
    }
    lines
}
