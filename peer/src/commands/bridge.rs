//! `peer bridge status` and `peer bridge check`.

use std::path::Path;

use host::fault::Fault;
use host::terminal::{Table, escape};
use mqtt::codec::{Qos, Version};
use peer::bundle::Bundle;
use peer::config::{Bridge, EngineUrl};
use peer::control::bridge::BridgeStatus;
use peer::control::client::strange;
use peer::control::{Client, Reply, Request};
use peer::mqtt::{Checked, check, version_words};
use serde_json::json;

use super::{Desk, output};
use crate::cli::{BridgeCheckArgs, BundleArgs};

pub(super) fn status(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let mut replies = Client::new(&args.bundle).ask(&Request::Bridges)?;
    let mut bridges = Vec::new();
    while let Some(reply) = replies.next()? {
        let Reply::Bridge(bridge) = reply else { return Err(strange()) };
        bridges.push(*bridge);
    }
    if desk.out.is_json() {
        return desk.out.json(&bridges).map_err(output);
    }
    if bridges.is_empty() {
        return desk.line("no bridges; `bridge:` in node.yaml names engines (docs/mqtt.md)");
    }
    let mut table = Table::new(&["NAME", "URL", "STATE", "SINCE", "IN", "OUT", "DROPPED"]);
    for bridge in &bridges {
        let since = desk.out.moment(bridge.since, host::clock::wall());
        let (incoming, outgoing) = (bridge.incoming.to_string(), bridge.outgoing.to_string());
        let state = bridge.state.as_str();
        let dropped = dropped(bridge);
        table.row([&bridge.name, &bridge.url, state, &since, &incoming, &outgoing, &dropped]);
    }
    table.print(&desk.out).map_err(output)?;
    for bridge in &bridges {
        let name = &bridge.name;
        for refused in &bridge.refused_filters {
            desk.line(&format!("{name}: {refused}"))?;
        }
        if let Some(error) = &bridge.last_error {
            desk.line(&format!("{name}: last error: {error}"))?;
        }
    }
    Ok(())
}

/// What was not carried, by its reasons.
fn dropped(bridge: &BridgeStatus) -> String {
    let reasons = [
        (bridge.looped, "loops"),
        (bridge.strays, "strays"),
        (bridge.unfit, "unfit"),
        (bridge.lost, "too slow"),
        (bridge.refused_here, "denied here"),
        (bridge.refused_there, "denied there"),
    ];
    let named = reasons.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = named.map(|(count, why)| format!("{count} {why}")).collect();
    if words.is_empty() { "0".to_owned() } else { words.join(", ") }
}

pub(super) fn try_out(desk: &Desk, args: &BridgeCheckArgs) -> Result<(), Fault> {
    let bundle = Bundle::open(&args.bundle)?;
    let bridge = named(&bundle, args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    let checked = runtime.block_on(check(&bridge, &bundle))?;
    describe(desk, &bridge, &checked)
}

/// The bridge of a name, or one to a URL, with what the command line says of it.
fn named(bundle: &Bundle, args: &BridgeCheckArgs) -> Result<Bridge, Fault> {
    let known = bundle.config.bridges.iter().find(|bridge| bridge.name == args.engine);
    let mut bridge = match known {
        Some(bridge) => bridge.clone(),
        None if args.engine.contains("://") => {
            Bridge::to(EngineUrl::parse(&args.engine).map_err(Fault::usage)?)
        }
        None => {
            let what = format!("no bridge in node.yaml is named {}", escape(&args.engine));
            return Err(Fault::usage(what).hint("name one, or mqtts://HOST:PORT"));
        }
    };
    if let Some(path) = &args.ca {
        bridge.ca = Some(absolute(path)?);
    }
    if let Some(name) = &args.server_name {
        bridge.server_name.clone_from(name);
    }
    if args.v311 {
        bridge.version = Version::V311;
    }
    Ok(bridge)
}

/// On the command line a path begins where the person is.
fn absolute(path: &Path) -> Result<std::path::PathBuf, Fault> {
    let wrong = |error| Fault::failed(format!("{}: {error}", path.display()));
    std::path::absolute(path).map_err(wrong)
}

fn describe(desk: &Desk, bridge: &Bridge, checked: &Checked) -> Result<(), Fault> {
    let granted = &checked.ack.granted;
    let version = version_words(checked.version);
    let cert = checked.cert.as_ref().map(|cert| {
        let name = cert.network.dns_of(&cert.node);
        json!({ "name": name, "serial": cert.serial.to_string(), "not_after": cert.not_after })
    });
    let qos = granted.qos_max.unwrap_or(Qos::ExactlyOnce).bits();
    let value = json!({
        "url": bridge.url.to_string(),
        "version": version,
        "tls": bridge.url.tls,
        "certificate": cert,
        "receive_max": granted.receive_max,
        "packet_bytes_max": granted.packet_bytes_max,
        "qos_max": qos,
        "retain": !granted.no_retain,
        "wildcards": !granted.no_wildcards,
        "shared": !granted.no_shared,
    });
    let mut lines = vec![format!("{} speaks MQTT {version} with us", bridge.url)];
    lines.push(match (&checked.cert, bridge.url.tls) {
        (Some(cert), _) => format!(
            "TLS 1.3; its certificate is {}'s, {}, valid until {}",
            cert.network.dns_of(&cert.node),
            cert.serial,
            cert.not_after,
        ),
        (None, true) => {
            format!("TLS 1.3; its certificate is {}'s, by other roots", bridge.server_name)
        }
        (None, false) => "no TLS: whoever is on the way may read and change everything".to_owned(),
    });
    if checked.version == Version::V5 {
        let bound = |value: Option<u64>| value.map_or("its own".to_owned(), |max| max.to_string());
        lines.push(format!(
            "receive maximum {}, packets of {} bytes, QoS up to {qos}",
            bound(granted.receive_max.map(u64::from)),
            bound(granted.packet_bytes_max.map(u64::from)),
        ));
        let yes = |no: bool| if no { "no" } else { "yes" };
        lines.push(format!(
            "retained {}, wildcards {}, shared subscriptions {}",
            yes(granted.no_retain),
            yes(granted.no_wildcards),
            yes(granted.no_shared),
        ));
    } else {
        lines.push("MQTT 3.1.1 tells no bounds, and no topic may go both ways".to_owned());
    }
    desk.tell(&value, &lines)
}
