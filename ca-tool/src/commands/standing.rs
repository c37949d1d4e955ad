//! `revoke`, `suspend`, `resume` and `publish`: the acts that the network hears of.

use ca_tool::{Acted, Authority, News, Outcome, Publish, Report};
use host::fault::Fault;
use serde_json::json;
use shared::name::NodeName;

use super::{Desk, say};
use crate::cli::{ActArgs, PublishArgs, RevokeArgs};

pub(super) fn revoke(desk: &Desk<'_>, args: &RevokeArgs) -> Result<(), Fault> {
    let authority = desk.authority()?;
    let acted = authority.revoke(&args.act.node, args.reason)?;
    let reason = acted.reason.as_str();
    told(desk, &authority, &acted, &format!("revoked ({reason})"), &args.act.publish)
}

pub(super) fn suspend(desk: &Desk<'_>, args: &ActArgs) -> Result<(), Fault> {
    let authority = desk.authority()?;
    let acted = authority.suspend(&args.node)?;
    told(desk, &authority, &acted, "suspended", &args.publish)
}

pub(super) fn resume(desk: &Desk<'_>, args: &ActArgs) -> Result<(), Fault> {
    let authority = desk.authority()?;
    let acted = authority.resume(&args.node)?;
    told(desk, &authority, &acted, "resumed", &args.publish)
}

pub(super) fn publish(desk: &Desk<'_>, args: &PublishArgs) -> Result<(), Fault> {
    let authority = desk.authority()?;
    let number = authority.refresh_feed()?;
    let line = format!("feed number {number} signed again");
    spread(desk, &authority, None, json!({ "number": number }), line, ("heard", args))
}

fn told(
    desk: &Desk<'_>,
    authority: &Authority,
    acted: &Acted,
    done: &str,
    args: &PublishArgs,
) -> Result<(), Fault> {
    let Acted { node, number, at, .. } = acted;
    let line = match acted.outcome {
        Outcome::Done => format!("{node} {done}, feed number {number}"),
        Outcome::Already => {
            // Signed again, so that peers that have it acknowledge it again.
            authority.refresh_feed()?;
            format!("{node} was {done} already, at {at}; feed number {number}")
        }
    };
    let value = json!({
        "node": node, "at": at, "number": number, "reason": acted.reason.as_str(),
        "already": acted.outcome == Outcome::Already,
    });
    let verb = if done == "resumed" { "heard" } else { "cut" };
    spread(desk, authority, Some(node), value, line, (verb, args))
}

fn spread(
    desk: &Desk<'_>,
    authority: &Authority,
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
    let report = ca_tool::publish(authority, &what)?;
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
