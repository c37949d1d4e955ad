//! `revoke`, `suspend`, `resume` and `publish`: the acts that the network hears of.

use ca_tool::{Acted, Authority, Outcome};
use host::fault::Fault;
use serde_json::json;
use shared::name::NodeName;

use super::Desk;
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
    spread(desk, &authority, None, json!({ "number": number }), line, args)
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
        Outcome::Already => format!("{node} was {done} already, at {at}; feed number {number}"),
    };
    let value = json!({
        "node": node, "at": at, "number": number, "reason": acted.reason.as_str(),
        "already": acted.outcome == Outcome::Already,
    });
    spread(desk, authority, Some(node), value, line, args)
}

fn spread(
    desk: &Desk<'_>,
    _authority: &Authority,
    _about: Option<&NodeName>,
    value: serde_json::Value,
    line: String,
    _args: &PublishArgs,
) -> Result<(), Fault> {
    desk.tell(&value, &[line])
}
