//! `peer inbox`: through the running peer, or on the files if none runs.

use host::fault::{Exit, Fault};
use host::terminal::escape;
use peer::bundle::Paths;
use peer::config::NodeConfig;
use peer::control::client::strange;
use peer::control::protocol::{Body, InboxItem};
use peer::control::{Client, Reply, Request};
use peer::inbox::Inbox;
use peer::limits::INBOX_PAGE;
use shared::time::Timestamp;

use super::{Desk, output};
use crate::cli::InboxArgs;

pub(super) fn inbox(desk: &Desk, args: &InboxArgs) -> Result<(), Fault> {
    let last = match running(desk, args) {
        Err(fault) if fault.exit() == Exit::NotRunning && !args.follow => {
            return at_rest(desk, args);
        }
        last => last?,
    };
    if args.clear && last > 0 {
        let request = Request::InboxClear { through: last };
        let reply = Client::new(&args.bundle).ask_one(&request)?;
        return if matches!(reply, Reply::Cleared { .. }) { Ok(()) } else { Err(strange()) };
    }
    Ok(())
}

/// Prints what the running peer has; returns the last number printed.
fn running(desk: &Desk, args: &InboxArgs) -> Result<u64, Fault> {
    let request = Request::Inbox { after: 0, max: u64::MAX, follow: args.follow };
    let mut replies = Client::new(&args.bundle).ask(&request)?;
    let mut last = 0;
    while let Some(reply) = replies.next()? {
        let Reply::Item(item) = reply else { return Err(strange()) };
        print(desk, &item)?;
        if desk.out.is_closed() {
            // What was not seen must not be cleared.
            return Ok(last);
        }
        last = item.seq;
    }
    Ok(last)
}

fn at_rest(desk: &Desk, args: &InboxArgs) -> Result<(), Fault> {
    let paths = Paths::of(&args.bundle);
    let config = NodeConfig::read(&paths.config()).map_err(peer::bundle::BundleError::from)?;
    let _lock = paths.lock()?;
    let inbox = Inbox::open(&paths.inbox(), config.inbox)?;
    let mut last = 0;
    loop {
        let page = inbox.list(last, INBOX_PAGE)?;
        if page.is_empty() {
            break;
        }
        for item in page {
            let (seq, from, at) = (item.seq, item.from, item.at);
            print(desk, &InboxItem { seq, from, at, body: Body(item.body) })?;
            if desk.out.is_closed() {
                return Ok(());
            }
            last = seq;
        }
    }
    if args.clear {
        inbox.drop_through_blocking(last)?;
    }
    Ok(())
}

/// A body is shown as text on one line; `--json` has it whole, and as base64 too if it is no text.
fn print(desk: &Desk, item: &InboxItem) -> Result<(), Fault> {
    if desk.out.is_json() {
        let text = std::str::from_utf8(&item.body.0).ok();
        let value = serde_json::json!({
            "seq": item.seq, "from": item.from, "at": item.at, "text": text,
            "base64": text.is_none().then_some(&item.body),
        });
        return desk.out.json(&value).map_err(output);
    }
    let at: Timestamp = item.at;
    let body = escape(&String::from_utf8_lossy(&item.body.0));
    desk.line(&format!(
        "{}  {}  {}: {body}",
        item.seq,
        desk.out.moment(at, host::clock::wall()),
        item.from
    ))
}
