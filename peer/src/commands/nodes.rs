//! `peer nodes` and `peer whois`: the directory, and one of it.

use std::path::Path;

use host::fault::Fault;
use host::terminal::{Table, escape};
use peer::bundle::Bundle;
use peer::control::client::strange;
use peer::control::nodes::{NodeLink, NodeStatus};
use peer::control::protocol::Direction;
use peer::control::{Client, Reply, Request};
use shared::feed::Act;
use shared::time::Timestamp;

use super::{Desk, output};
use crate::cli::WhoisArgs;

pub(super) fn nodes(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let nodes = ask(bundle)?;
    if desk.out.is_json() {
        return nodes.iter().try_for_each(|node| desk.out.json(node).map_err(output));
    }
    let now = host::clock::wall();
    let columns =
        ["NODE", "PATH", "ADDRESSES", "SEEN", "GROUPS", "ROLES", "INSTANCE", "FEED", "POLICY"];
    let mut table = Table::new(&columns);
    for node in &nodes {
        table.row(row(desk, node, now));
    }
    table.print(&desk.out).map_err(output)
}

pub(super) fn whois(desk: &Desk, args: &WhoisArgs) -> Result<(), Fault> {
    let found: Vec<NodeStatus> =
        ask(&args.bundle)?.into_iter().filter(|node| is_meant(node, &args.who)).collect();
    if found.is_empty() {
        return Err(nobody(args));
    }
    if desk.out.is_json() {
        return found.iter().try_for_each(|node| desk.out.json(node).map_err(output));
    }
    let now = host::clock::wall();
    found.iter().flat_map(|node| card(desk, node, now)).try_for_each(|line| desk.line(&line))
}

/// Whoever is out is known to nobody; the feed says why.
fn nobody(args: &WhoisArgs) -> Fault {
    let out = Bundle::open(&args.bundle).ok().and_then(|bundle| {
        let entries = bundle.feed.entries();
        let last = entries.into_iter().rfind(|entry| entry.node.as_str() == args.who)?;
        let act = match last.act {
            Act::Revoke => format!("revoked ({})", last.reason.as_str()),
            Act::Suspend => "suspended".to_owned(),
            Act::Resume => "resumed".to_owned(),
        };
        Some(format!(": {act} at {}, feed number {}", last.at, last.number))
    });
    let what = format!("nobody known is {}{}", escape(&args.who), out.unwrap_or_default());
    Fault::failed(what).hint(format!("who is known: peer nodes {}", args.bundle.display()))
}

pub(super) fn ask(bundle: &Path) -> Result<Vec<NodeStatus>, Fault> {
    let mut replies = Client::new(bundle).ask(&Request::Nodes)?;
    let mut nodes = Vec::new();
    while let Some(reply) = replies.next()? {
        let Reply::Node(node) = reply else { return Err(strange()) };
        nodes.push(*node);
    }
    Ok(nodes)
}

/// A name, an address as it was announced or is linked, or only its host.
fn is_meant(node: &NodeStatus, who: &str) -> bool {
    let link = node.link.iter().map(|link| &link.address);
    let mut addresses = node.addresses.iter().chain(link);
    node.node.as_str() == who
        || addresses.any(|address| {
            let host = address.rsplit_once(':').map_or("", |(host, _)| host);
            address == who || host == who || host == format!("[{who}]")
        })
}

fn row(desk: &Desk, node: &NodeStatus, now: Timestamp) -> [String; 9] {
    let said = node.said.as_ref();
    let certificate = node.certificate.as_ref();
    [
        node.node.to_string(),
        node.path.to_string(),
        listed(&node.addresses),
        node.last_seen.map_or_else(|| "never".to_owned(), |at| desk.out.moment(at, now)),
        listed(certificate.map_or(&[], |certificate| &certificate.groups)),
        listed(said.map_or(&[], |said| &said.roles)),
        said.map_or_else(|| "-".to_owned(), |said| said.instance.chars().take(8).collect()),
        said.map_or_else(|| "-".to_owned(), |said| said.feed_number.to_string()),
        said.map_or_else(|| "-".to_owned(), |said| said.policy_number.to_string()),
    ]
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

fn card(desk: &Desk, node: &NodeStatus, now: Timestamp) -> Vec<String> {
    let seen = node.last_seen.map_or_else(|| "never".to_owned(), |at| desk.out.moment(at, now));
    let mut lines = vec![
        format!("node         {}", node.node),
        format!("path         {}{}", node.path, linked(desk, node.link.as_ref(), now)),
        format!("addresses    {}", listed(&node.addresses)),
        format!("last seen    {seen}"),
    ];
    if let Some(by) = &node.introduced_by {
        lines.push(format!("heard of     through {by}"));
    }
    if let Some(certificate) = &node.certificate {
        lines.push(format!("certificate  serial {}", certificate.serial));
        lines.push(format!("key          SHA-256 {}", certificate.key));
        lines.push(format!(
            "valid        from {} until {}",
            certificate.not_before, certificate.not_after
        ));
        lines.push(format!("groups       {}", listed(&certificate.groups)));
    }
    if let Some(said) = &node.said {
        lines.push(format!("roles        {}", listed(&said.roles)));
        lines.push(format!("instance     {}, start {}", said.instance, said.boot));
        let (feed, policy) = (said.feed_number, said.policy_number);
        lines.push(format!("feed         number {feed}, policy number {policy}"));
    }
    lines
}

fn linked(desk: &Desk, link: Option<&NodeLink>, now: Timestamp) -> String {
    let Some(link) = link else { return String::new() };
    let by = if link.direction == Direction::Out { "dialled by us" } else { "dialled by it" };
    format!(", {by}, {}, since {}", link.address, desk.out.moment(link.since, now))
}
