//! `peer send` and `peer ping`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};

use host::fault::{Exit, Fault};
use host::files::FileError;
use host::terminal::{Table, escape};
use peer::control::client::{Replies, strange};
use peer::control::post::{MailOutcome, MailReply, Mailing, Queueing, To};
use peer::control::protocol::{Body, PingReply};
use peer::control::{Client, Reply, Request};
use peer::limits::TTL_S;
use shared::limits::MESSAGE_BYTES_MAX;
use shared::name::NodeName;

use super::{Desk, output};
use crate::cli::{PingArgs, SendArgs};

/// Bytes of lines in one request: in base64 they still fit a line of the control socket, with a
/// last one of the longest.
const LINES_BYTES: usize = 512 * 1024;

pub(super) fn send(desk: &Desk, args: &SendArgs) -> Result<Exit, Fault> {
    let addressed = args.addressed().map_err(Fault::usage)?;
    let queued = args.ttl.is_some() || args.priority.is_some();
    let receipt = args.receipt || args.receipt_file.is_some();
    let queue = (queued || receipt).then(|| Queueing {
        priority: args.priority.unwrap_or_default(),
        ttl_s: args.ttl.unwrap_or(TTL_S),
        receipt,
    });
    let sending = Sending { desk, args, to: addressed.to, queue };
    if args.lines {
        if addressed.text.as_deref().is_some_and(|text| text != "-") {
            return Err(Fault::usage("--lines reads stdin").hint("peer send BUNDLE NODE - --lines"));
        }
        return sending.each_line();
    }
    sending.once(body(args, addressed.text)?)
}

fn body(args: &SendArgs, text: Option<String>) -> Result<Vec<u8>, Fault> {
    let max = MESSAGE_BYTES_MAX as u64 + 1;
    let body = match (&args.file, text) {
        (Some(file), _) => {
            let unread = |error| Fault::from(FileError::from_io("read", file, error));
            let mut body = Vec::new();
            File::open(file).map_err(unread)?.take(max).read_to_end(&mut body).map_err(unread)?;
            body
        }
        (None, Some(text)) if text != "-" => text.into_bytes(),
        _ => {
            let mut body = Vec::new();
            std::io::stdin().lock().take(max).read_to_end(&mut body).map_err(|e| unread(&e))?;
            body
        }
    };
    fits(&body).map(|()| body)
}

fn fits(body: &[u8]) -> Result<(), Fault> {
    if body.len() <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let what = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
    Err(Fault::usage(what).hint("send it in pieces: --lines"))
}

fn unread(error: &std::io::Error) -> Fault {
    Fault::failed(format!("cannot read stdin: {error}"))
}

/// One `peer send`.
struct Sending<'a> {
    desk: &'a Desk,
    args: &'a SendArgs,
    to: To,
    queue: Option<Queueing>,
}

/// What became of the messages of one node, over several requests.
struct Tally {
    count: u64,
    last: MailReply,
}

impl Sending<'_> {
    fn mailing(&self, bodies: Vec<Vec<u8>>) -> Request {
        let bodies = bodies.into_iter().map(Body).collect();
        let (to, queue) = (self.to.clone(), self.queue);
        Request::Mail(Mailing { to, bodies, queue, wait_ms: self.args.wait_ms })
    }

    fn once(&self, body: Vec<u8>) -> Result<Exit, Fault> {
        let mut replies = Client::new(&self.args.bundle).ask(&self.mailing(vec![body]))?;
        let mut all = Vec::new();
        while let Some(reply) = replies.next()? {
            let Reply::Mailed(reply) = reply else { return Err(strange()) };
            all.push(Tally { count: reply.count, last: reply });
        }
        self.tell(&all)
    }

    /// Lines go in batches over one connection: as many as there are, so that none waits.
    fn each_line(&self) -> Result<Exit, Fault> {
        let client = Client::new(&self.args.bundle);
        let mut input = BufReader::with_capacity(LINES_BYTES, std::io::stdin().lock());
        let (mut replies, mut all): (Option<Replies>, BTreeMap<NodeName, Tally>) =
            Default::default();
        loop {
            let bodies = lines(&mut input)?;
            if bodies.is_empty() {
                break;
            }
            let request = self.mailing(bodies);
            let replies = match &mut replies {
                Some(replies) => {
                    replies.ask_again(&request)?;
                    replies
                }
                none => none.insert(client.ask(&request)?),
            };
            while let Some(reply) = replies.next()? {
                let Reply::Mailed(reply) = reply else { return Err(strange()) };
                let count = all.get(&reply.node).map_or(0, |tally| tally.count) + reply.count;
                all.insert(reply.node.clone(), Tally { count, last: reply });
            }
            let bad = |tally: &Tally| {
                !matches!(tally.last.outcome, MailOutcome::Delivered | MailOutcome::Queued { .. })
            };
            // Nothing is left out silently: a line that is refused ends it.
            if all.values().any(bad) {
                break;
            }
        }
        self.tell(&all.into_values().collect::<Vec<_>>())
    }

    fn tell(&self, all: &[Tally]) -> Result<Exit, Fault> {
        let mut worst = Exit::Done;
        let mut table = Table::new(&["NODE", "OUTCOME"]);
        for tally in all {
            let exit = exit_of(&tally.last.outcome);
            if exit as u8 > worst as u8 {
                worst = exit;
            }
            if self.desk.out.is_json() {
                let reply = MailReply { count: tally.count, ..tally.last.clone() };
                self.desk.out.json(&reply).map_err(output)?;
            } else if matches!(self.to, To::Node(_)) {
                self.desk.line(&self.sentence(tally))?;
            } else {
                table.row([tally.last.node.to_string(), outcome_words(&tally.last)]);
            }
            self.keep_receipt(tally.last.receipt.as_ref())?;
        }
        if all.is_empty() && !self.args.lines {
            return Err(Fault::failed("nobody is meant: no such node is known here")
                .hint(format!("peer status {}", self.args.bundle.display())));
        }
        if !table.is_empty() {
            table.print(&self.desk.out).map_err(output)?;
        }
        Ok(worst)
    }

    fn sentence(&self, tally: &Tally) -> String {
        let words = outcome_words(&tally.last);
        match &tally.last.outcome {
            _ if self.args.lines => format!("{} messages, the last one: {words}", tally.count),
            MailOutcome::Delivered => {
                format!("delivered to {} ({} ms){}", tally.last.node, tally.last.ms, signed(tally))
            }
            _ => words,
        }
    }

    fn keep_receipt(&self, receipt: Option<&Body>) -> Result<(), Fault> {
        let Some((file, Body(bytes))) = self.args.receipt_file.as_ref().zip(receipt) else {
            return Ok(());
        };
        Ok(host::files::write_atomic(file, bytes, host::files::Mode::Public)?)
    }
}

fn signed(tally: &Tally) -> &'static str {
    if tally.last.receipt.is_some() { ", receipt signed" } else { "" }
}

const fn exit_of(outcome: &MailOutcome) -> Exit {
    match outcome {
        MailOutcome::Delivered | MailOutcome::Queued { .. } => Exit::Done,
        MailOutcome::Refused { .. } | MailOutcome::Dropped { .. } => Exit::Refused,
        MailOutcome::Unreachable { .. } => Exit::Failed,
    }
}

fn outcome_words(reply: &MailReply) -> String {
    match &reply.outcome {
        MailOutcome::Delivered => "delivered".to_owned(),
        MailOutcome::Queued { until, why } => {
            let id = reply.id.as_deref().unwrap_or("-");
            let why = why.as_ref().map(|why| format!(": {}", escape(why))).unwrap_or_default();
            format!("queued as {id} until {until}{why}")
        }
        MailOutcome::Refused { code } => format!("refused ({code})"),
        MailOutcome::Unreachable { why } => format!("unreachable: {}", escape(why)),
        MailOutcome::Dropped { why } => format!("dropped ({})", escape(why)),
    }
}

/// The lines that are there, up to a request's worth; none at the end. Waits only for the first.
fn lines(input: &mut BufReader<impl Read>) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.is_empty() || (bytes < LINES_BYTES && input.buffer().contains(&b'\n')) {
        let mut line = Vec::new();
        let max = MESSAGE_BYTES_MAX as u64 + 2;
        Read::by_ref(input).take(max).read_until(b'\n', &mut line).map_err(|e| unread(&e))?;
        if line.is_empty() {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        fits(&line)?;
        bytes += line.len() + 16;
        found.push(line);
    }
    Ok(found)
}

pub(super) fn ping(desk: &Desk, args: &PingArgs) -> Result<(), Fault> {
    let request = Request::Ping { to: args.node.clone(), count: args.count };
    let mut replies = Client::new(&args.bundle).ask(&request)?;
    let mut times = Vec::new();
    while let Some(reply) = replies.next()? {
        let Reply::Pong(pong) = reply else { return Err(strange()) };
        times.extend(pong.rtt_us);
        desk.tell(&pong, &[pong_line(args.node.as_str(), &pong)])?;
    }
    times.sort_unstable();
    let (Some(least), Some(most)) = (times.first(), times.last()) else {
        return Err(Fault::failed(format!("{} does not answer", args.node))
            .hint(format!("peer status {}", args.bundle.display())));
    };
    if desk.out.is_json() {
        return Ok(());
    }
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let (sent, came) = (args.count, times.len());
    let line = format!("{came} of {sent} came back: {least} / {median} / {most} µs");
    desk.out.line(&line).map_err(output)
}

fn pong_line(node: &str, pong: &PingReply) -> String {
    match (pong.rtt_us, &pong.why) {
        (Some(us), _) => format!("{node} {}: {us} µs", pong.seq),
        (None, Some(why)) => format!("{node} {}: {}", pong.seq, escape(why)),
        (None, None) => format!("{node} {}: no answer", pong.seq),
    }
}
