//! `peer outbox` and `peer receipt`: what waits, what was dropped, and what others have signed for.

use std::path::Path;

use host::fault::{Exit, Fault};
use host::terminal::Table;
use peer::bundle::{Bundle, Paths};
use peer::config::NodeConfig;
use peer::control::client::strange;
use peer::control::post::{GoneItem, QueuedItem};
use peer::control::{Client, Reply, Request};
use peer::daemon::{gone_item, waiting};
use peer::limits::OUTBOX_PAGE;
use peer::outbox::Outbox;
use serde_json::json;
use shared::limits::{MESSAGE_BYTES_MAX, STATEMENT_BYTES_MAX};
use shared::receipt::{Receipt, SignedReceipt};

use super::{Desk, output};
use crate::cli::{DropArgs, VerifyArgs};

pub(super) fn outbox(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let (items, gone) = match running(bundle) {
        Err(fault) if fault.exit() == Exit::NotRunning => at_rest(bundle)?,
        listed => listed?,
    };
    if desk.out.is_json() {
        let waiting = items.iter().map(|item| json!({ "waiting": item }));
        let dropped = gone.iter().map(|item| json!({ "dropped": item }));
        return waiting.chain(dropped).try_for_each(|value| desk.out.json(&value).map_err(output));
    }
    show(desk, &items, &gone)
}

type Listed = (Vec<QueuedItem>, Vec<GoneItem>);

fn running(bundle: &Path) -> Result<Listed, Fault> {
    let mut replies = Client::new(bundle).ask(&Request::Outbox)?;
    let (mut items, mut gone) = Listed::default();
    while let Some(reply) = replies.next()? {
        match reply {
            Reply::Waiting(item) => items.push(item),
            Reply::Gone(item) => gone.push(item),
            _ => return Err(strange()),
        }
    }
    Ok((items, gone))
}

fn at_rest(bundle: &Path) -> Result<Listed, Fault> {
    let paths = Paths::of(bundle);
    let config = NodeConfig::read(&paths.config()).map_err(peer::bundle::BundleError::from)?;
    let _lock = paths.lock()?;
    let outbox = Outbox::open(&paths.outbox(), config.outbox, 0)?;
    let (mut items, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = outbox.list(&after, OUTBOX_PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        items.extend(page.iter().map(|(_, queued)| waiting(queued, None, "the peer is stopped")));
    }
    Ok((items, outbox.gone()?.into_iter().map(gone_item).collect()))
}

fn show(desk: &Desk, items: &[QueuedItem], gone: &[GoneItem]) -> Result<(), Fault> {
    let now = host::clock::wall();
    if items.is_empty() {
        desk.line("nothing waits")?;
    } else {
        let columns = ["ID", "TO", "PRIORITY", "BYTES", "SINCE", "UNTIL", "TRIES", "WAITS FOR"];
        let mut table = Table::new(&columns);
        for item in items {
            table.row([
                item.id.clone(),
                item.to.to_string(),
                item.priority.as_str().to_owned(),
                item.bytes.to_string(),
                desk.out.moment(item.since, now),
                item.until.to_string(),
                item.tries.to_string(),
                item.why.clone(),
            ]);
        }
        table.print(&desk.out).map_err(output)?;
    }
    if gone.is_empty() {
        return Ok(());
    }
    desk.line("")?;
    let mut table = Table::new(&["DROPPED", "TO", "PRIORITY", "COUNT", "FIRST", "LAST", "REASON"]);
    for item in gone {
        table.row([
            desk.out.moment(item.at, now),
            item.to.to_string(),
            item.priority.as_str().to_owned(),
            item.count.to_string(),
            item.first.clone(),
            item.last.clone(),
            item.reason.clone(),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

pub(super) fn drop_one(desk: &Desk, args: &DropArgs) -> Result<(), Fault> {
    let id = args.id.to_string();
    let request = Request::OutboxDrop { id: id.clone() };
    let Reply::Cleared { count } = Client::new(&args.bundle).ask_one(&request)? else {
        return Err(strange());
    };
    if count == 0 {
        return Err(Fault::failed(format!("no message {id} waits"))
            .hint(format!("peer outbox {}", args.bundle.display())));
    }
    desk.tell(&json!({ "dropped": id }), &[format!("{id} dropped")])
}

pub(super) fn receipts(desk: &Desk, bundle: &Path) -> Result<(), Fault> {
    let judge = Judge::of(bundle)?;
    let mut replies = Client::new(bundle).ask(&Request::Receipts)?;
    while let Some(reply) = replies.next()? {
        let Reply::Receipt(item) = reply else { return Err(strange()) };
        let receipt = judge.verify(&item.statement.0)?;
        if desk.out.is_json() {
            let value = json!({ "statement": item.statement, "says": described(&receipt) });
            desk.out.json(&value).map_err(output)?;
        } else {
            desk.line(&line_of(&receipt))?;
        }
    }
    Ok(())
}

pub(super) fn verify(desk: &Desk, args: &VerifyArgs) -> Result<(), Fault> {
    let bytes = host::files::read_bounded(&args.file, STATEMENT_BYTES_MAX)?;
    let receipt = Judge::of(&args.bundle)?.verify(&bytes)?;
    if let Some(body) = &args.body {
        let said = host::files::read_bounded(body, MESSAGE_BYTES_MAX)?;
        if !receipt.is_of(&said) {
            let what = format!("the receipt is not about {}", body.display());
            return Err(Fault::refused(what).hint("compare it with the file that was sent"));
        }
    }
    desk.tell(&described(&receipt), &[line_of(&receipt)])
}

/// Who judges receipts: the trust and the feed of a bundle.
pub(super) struct Judge(Bundle);

impl Judge {
    pub(super) fn of(bundle: &Path) -> Result<Self, Fault> {
        Ok(Self(Bundle::open(bundle)?))
    }

    pub(super) fn verify(&self, bytes: &[u8]) -> Result<Receipt, Fault> {
        let (network, now) = (&self.0.config.network, host::clock::wall());
        let signed = SignedReceipt::verify(bytes, network, &self.0.verifier, now);
        let refused = |refusal: shared::refusal::Refusal| {
            Fault::refused(refusal.to_string()).hint("docs/messages.md says what a receipt proves")
        };
        Ok(signed.map_err(refused)?.receipt)
    }
}

/// A receipt in a line.
pub(super) fn line_of(receipt: &Receipt) -> String {
    let Receipt { from, to, number, digest, at } = receipt;
    let digest = shared::id::hex(digest);
    format!("{to} has message {number} of {from} since {at}, SHA-256 {digest}")
}

fn described(receipt: &Receipt) -> serde_json::Value {
    let Receipt { from, to, number, digest, at } = receipt;
    let digest = shared::id::hex(digest);
    json!({ "from": from, "to": to, "id": number.to_string(), "sha256": digest, "at": at })
}
