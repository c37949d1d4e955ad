//! `peer run`.

use std::path::Path;

use host::fault::Fault;
use host::log::LogFormat;
use peer::config::{MqttDoors, TimeDoors};
use peer::daemon::{self, FindBy, Start};
use serde_json::json;

use super::Desk;
use crate::cli::{Log, RunningArgs};

pub(super) fn run(desk: Desk, bundle: &Path, args: &RunningArgs) -> Result<(), Fault> {
    let format = match args.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    host::log::init(format, "info");
    let (bundle, lock) = peer::late::open(bundle)?;
    let node = bundle.config.node.clone();
    let (named, unnamed): (Vec<_>, Vec<_>) =
        args.peer.iter().cloned().partition(|(name, _)| name.is_some());
    daemon::run(Start {
        bundle,
        lock,
        listen: args.listen.clone(),
        peers: named.into_iter().filter_map(|(name, at)| Some((name?, at))).collect(),
        finding: FindBy {
            seeds: unnamed.into_iter().map(|(_, at)| at).collect(),
            no_lan: args.no_lan,
        },
        mqtt: MqttDoors {
            plain: args.mqtt.clone(),
            tls: args.mqtts.clone(),
            websocket: args.mqtt_ws.clone(),
        },
        time: TimeDoors { listen: args.time, ke: args.ke },
        on_listening: Box::new(move |address| {
            // "none" is a way to listen: through relays.
            let address = if address.port() == 0 { "none".into() } else { address.to_string() };
            let value = json!({ "node": node, "listening": address });
            // A closed stdout must not end a daemon.
            let _ = desk.tell(&value, &[format!("{node} listens on {address}")]);
        }),
    })
}
