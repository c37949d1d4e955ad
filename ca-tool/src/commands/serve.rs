//! `ca-tool serve`.

use ca_tool::Registry;
use ca_tool::serve::{self, Serve};
use host::fault::Fault;
use host::log::LogFormat;
use serde_json::json;

use super::{Desk, PROMPT, say};
use crate::cli::{Log, ServeArgs};

pub(super) fn run(desk: &Desk<'_>, args: &ServeArgs) -> Result<(), Fault> {
    let format = match args.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    host::log::init(format, "info");
    let registry = Registry::open(&desk.cli.pki, |holder| say(&format!("waiting for {holder}")))?;
    let network = registry.network().clone();
    let source = desk.passphrase();
    let authority = registry.unlock(|| source.ask(PROMPT))?;
    let how = Serve {
        listen: args.listen.clone(),
        advertise: args.advertise.clone(),
        mesh: args.mesh.clone(),
        metrics: args.metrics,
        grace_s: args.grace,
    };
    serve::run(authority, &how, |served| {
        // Nowhere, if it only dials.
        let mesh = (served.mesh.port() != 0).then(|| served.mesh.to_string());
        let value = json!({
            "network": network, "listening": served.listening.to_string(),
            "mesh": mesh, "metrics": served.metrics,
            "addresses": served.around().addresses,
        });
        let mut lines = vec![format!("the authority of {network} answers on {}", served.listening)];
        lines.extend(served.metrics.map(|at| format!("metrics on http://{at}/metrics")));
        // A closed stdout must not end an authority.
        let _ = desk.tell(&value, &lines);
    })
}
