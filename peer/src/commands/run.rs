//! `peer run`.

use host::fault::Fault;
use host::log::LogFormat;
use peer::bundle::Bundle;
use peer::daemon::{self, Start};
use serde_json::json;

use super::Desk;
use crate::cli::{Log, RunArgs};

pub(super) fn run(desk: Desk, args: &RunArgs) -> Result<(), Fault> {
    let format = match args.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    host::log::init(format, "info");
    let bundle = Bundle::open(&args.bundle)?;
    let lock = bundle.lock()?;
    let node = bundle.config.node.clone();
    daemon::run(Start {
        bundle,
        lock,
        listen: args.listen.clone(),
        peers: args.peer.clone(),
        on_listening: Box::new(move |address| {
            let value = json!({ "node": node, "listening": address.to_string() });
            // A closed stdout must not end a daemon.
            let _ = desk.tell(&value, &[format!("{node} listens on {address}")]);
        }),
    })
}
