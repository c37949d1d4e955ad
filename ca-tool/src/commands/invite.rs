//! Invitations: `invite`, `invites`, `uninvite`, `pending`, `approve`, `deny`.

use std::io::IsTerminal as _;

use ca_tool::ask::{Approve, Deny, InviteNode, Invites, Uninvite};
use ca_tool::{Enrolment, InvitationView};
use host::fault::Fault;
use host::terminal::{Table, escape};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::{Desk, output, say};
use crate::cli::{InviteArgs, NodeArgs};

pub(super) fn invite(desk: &Desk<'_>, args: &InviteArgs) -> Result<(), Fault> {
    args.wish.slips().iter().for_each(|slip| say(slip));
    let question = InviteNode {
        wish: Enrolment { life_s: args.life, ..args.wish.wish(&args.node) },
        open_s: args.open,
        hold: args.hold,
        addresses: args.at.clone(),
    };
    let invited = desk.door()?.ask(question)?;
    let view = &invited.invitation;
    if desk.out.is_json() {
        let value = json!({ "string": *invited.string, "invitation": view });
        return desk.out.json(&value).map_err(output);
    }
    if std::io::stdout().is_terminal() {
        desk.line(&code_of(&invited.string)?)?;
    }
    say(&format!("for one machine that becomes {}, until {}; on it:", view.node, view.expires));
    desk.line(&format!("peer join {}", *invited.string))
}

/// The string as a picture for a camera: in capitals it takes the smaller form.
fn code_of(string: &str) -> Result<String, Fault> {
    let code = QrCode::new(string.to_ascii_uppercase())
        .map_err(|error| Fault::failed(format!("no QR code: {error}")))?;
    Ok(code.render::<Dense1x2>().build())
}

pub(super) fn invites(desk: &Desk<'_>) -> Result<(), Fault> {
    let all = desk.door()?.ask(Invites)?;
    print(desk, &all)
}

pub(super) fn pending(desk: &Desk<'_>) -> Result<(), Fault> {
    let mut all = desk.door()?.ask(Invites)?;
    all.retain(|one| one.state == "waiting");
    if all.is_empty() && !desk.out.is_json() {
        return desk.line("nobody waits");
    }
    if desk.out.is_json() {
        return desk.out.json(&all).map_err(output);
    }
    for one in &all {
        let from = escape(one.from.as_deref().unwrap_or("-"));
        let since = one.claimed_at.map(|at| desk.out.moment(at, host::clock::wall()));
        desk.line(&format!("{}  from {from}, {}", one.node, since.unwrap_or_default()))?;
        let key = one.spki.as_deref().unwrap_or("-");
        desk.line(&format!("  key (SHA-256)  {key}"))?;
    }
    say("compare the key with what the machine shows, then: ca-tool approve NODE");
    Ok(())
}

pub(super) fn uninvite(desk: &Desk<'_>, args: &NodeArgs) -> Result<(), Fault> {
    let view = desk.door()?.ask(Uninvite(args.node.clone()))?;
    let line = format!("the invitation of {} is taken back", view.node);
    desk.tell(&view, &[line])
}

pub(super) fn approve(desk: &Desk<'_>, args: &NodeArgs) -> Result<(), Fault> {
    let view = desk.door()?.ask(Approve(args.node.clone()))?;
    let line = format!("{} is let in: it has its certificate within seconds", view.node);
    desk.tell(&view, &[line])
}

pub(super) fn deny(desk: &Desk<'_>, args: &NodeArgs) -> Result<(), Fault> {
    let view = desk.door()?.ask(Deny(args.node.clone()))?;
    desk.tell(&view, &[format!("{} is turned away, and the string is spent", view.node)])
}

fn print(desk: &Desk<'_>, all: &[InvitationView]) -> Result<(), Fault> {
    if desk.out.is_json() {
        return desk.out.json(&all).map_err(output);
    }
    let now = host::clock::wall();
    let mut table = Table::new(&["NODE", "STATE", "MADE", "UNTIL", "FROM", "REFUSED", "GROUPS"]);
    for one in all {
        table.row([
            one.node.to_string(),
            one.state.to_string(),
            desk.out.moment(one.at, now),
            desk.out.moment(one.expires, now),
            escape(one.from.as_deref().unwrap_or("-")),
            one.refused.to_string(),
            one.groups.join(","),
        ]);
    }
    table.print(&desk.out).map_err(output)
}
