//! `peer feed import` and `peer feed show`.

use std::path::Path;

use host::fault::Fault;
use host::files::FileError;
use peer::bundle::Bundle;
use peer::control::client::strange;
use peer::control::{Client, Reply, Request};
use serde_json::json;

use super::Desk;
use crate::cli::ImportArgs;

pub(super) fn import(desk: &Desk, args: &ImportArgs) -> Result<(), Fault> {
    let path = args.file.canonicalize().map_err(|e| FileError::from_io("open", &args.file, e))?;
    let reply = Client::new(&args.bundle).ask_one(&Request::FeedImport { path })?;
    let Reply::Feed { number, fresh } = reply else { return Err(strange()) };
    let line = if fresh {
        format!("feed number {number} is in force, and goes to every link")
    } else {
        format!("nothing new: feed number {number} was known")
    };
    desk.tell(&json!({ "number": number, "fresh": fresh }), &[line])
}

pub(super) fn show(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let bundle = Bundle::open(bundle)?;
    let Some(head) = bundle.feed.head() else {
        return desk.tell(&json!({ "number": 0 }), &["no feed yet".to_owned()]);
    };
    let entries = bundle.feed.entries().len();
    let stale = host::clock::wall() > head.next_update;
    let value = json!({
        "number": head.number, "hash": head.hash.to_string(), "at": head.at,
        "next_update": head.next_update, "stale": stale, "entries": entries,
    });
    let late = if stale { " (it is late)" } else { "" };
    let lines = [
        format!("number       {}", head.number),
        format!("hash         {}", head.hash),
        format!("signed       {}", head.at),
        format!("next update  {}{late}", head.next_update),
        format!("entries      {entries}"),
    ];
    desk.tell(&value, &lines)
}
