//! `peer metrics`.

use host::fault::Fault;
use peer::control::client::strange;
use peer::control::{Client, Reply, Request, metrics};

use super::{Desk, output};
use crate::cli::BundleArgs;

pub(super) fn metrics(desk: &Desk, args: &BundleArgs) -> Result<(), Fault> {
    let Reply::Metrics { metrics: figures } =
        Client::new(&args.bundle).ask_one(&Request::Metrics)?
    else {
        return Err(strange());
    };
    if desk.out.is_json() {
        return desk.out.json(&figures).map_err(output);
    }
    desk.raw(metrics::text(&figures).as_bytes())
}
