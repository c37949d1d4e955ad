//! `peer send` and `peer ping`.

use std::io::{BufRead as _, Read as _};

use host::fault::{Exit, Fault};
use host::terminal::escape;
use peer::control::client::strange;
use peer::control::protocol::{Body, Outcome, PingReply, SendReply};
use peer::control::{Client, Reply, Request};
use shared::limits::MESSAGE_BYTES_MAX;

use super::{Desk, output};
use crate::cli::{PingArgs, SendArgs};

pub(super) fn send(desk: &Desk, args: &SendArgs) -> Result<Exit, Fault> {
    let client = Client::new(&args.bundle);
    if args.lines {
        if args.text != "-" {
            return Err(Fault::usage("--lines reads stdin").hint(format!(
                "peer send {} {} - --lines",
                args.bundle.display(),
                args.node
            )));
        }
        return each_line(desk, args, &client);
    }
    let body = if args.text == "-" { stdin()? } else { args.text.clone().into_bytes() };
    one(desk, args, &client, body)
}

fn each_line(desk: &Desk, args: &SendArgs, client: &Client) -> Result<Exit, Fault> {
    let mut input = std::io::stdin().lock();
    let mut worst = Exit::Done;
    loop {
        let mut line = Vec::new();
        let max = MESSAGE_BYTES_MAX as u64 + 2;
        (&mut input).take(max).read_until(b'\n', &mut line).map_err(|e| unread(&e))?;
        if line.is_empty() {
            return Ok(worst);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let exit = one(desk, args, client, line)?;
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
}

fn one(desk: &Desk, args: &SendArgs, client: &Client, body: Vec<u8>) -> Result<Exit, Fault> {
    if body.len() > MESSAGE_BYTES_MAX {
        let what = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
        return Err(Fault::usage(what).hint("send it in pieces: --lines"));
    }
    let request = Request::Send { to: args.node.clone(), body: Body(body), wait_ms: args.wait_ms };
    let Reply::Sent(reply) = client.ask_one(&request)? else { return Err(strange()) };
    let (line, exit) = told(args.node.as_str(), &reply);
    desk.tell(&reply, &[line])?;
    Ok(exit)
}

fn told(node: &str, reply: &SendReply) -> (String, Exit) {
    match &reply.outcome {
        Outcome::Delivered => (format!("delivered to {node} ({} ms)", reply.ms), Exit::Done),
        Outcome::Refused { code } => (format!("refused ({code})"), Exit::Refused),
        Outcome::Unreachable { why } => (format!("unreachable: {}", escape(why)), Exit::Failed),
    }
}

fn stdin() -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    let max = MESSAGE_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(max).read_to_end(&mut body).map_err(|e| unread(&e))?;
    Ok(body)
}

fn unread(error: &std::io::Error) -> Fault {
    Fault::failed(format!("cannot read stdin: {error}"))
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
