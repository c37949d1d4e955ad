//! `peer trace`: the way to a node, step by step.

use host::fault::Fault;
use host::terminal::escape;
use peer::control::client::strange;
use peer::control::nodes::{NodeStatus, Step, Way};
use peer::control::{Client, Reply, Request};

use super::{Desk, output};
use crate::cli::TraceArgs;

pub(super) fn trace(desk: &Desk, args: &TraceArgs) -> Result<(), Fault> {
    let nodes = super::nodes::ask(&args.bundle)?;
    let request = Request::Trace { to: args.node.clone() };
    let Reply::Way(way) = Client::new(&args.bundle).ask_one(&request)? else {
        return Err(strange());
    };
    if let Some(why) = &way.why {
        return Err(unknown(args, &nodes, why));
    }
    if desk.out.is_json() {
        return desk.out.json(&way).map_err(output);
    }
    lines(&nodes, &way).iter().try_for_each(|line| desk.line(line))
}

fn lines(nodes: &[NodeStatus], way: &Way) -> Vec<String> {
    let count = way.steps.len();
    let steps = if count == 1 { "step" } else { "steps" };
    let mut lines = vec![format!("{count} {steps}, {} µs there and back", way.us)];
    let mut by = first(nodes, way.steps.first());
    for (at, step) in way.steps.iter().enumerate() {
        lines.push(format!("{}  {}  {by}", at + 1, step.node));
        let via = step.via.as_ref().map_or_else(String::new, |via| format!(" through {via}"));
        by = format!("linked with {}{via}, {} ms", step.node, step.ms);
    }
    lines
}

/// Our own link to the first step.
fn first(nodes: &[NodeStatus], step: Option<&Step>) -> String {
    let known = step.and_then(|step| nodes.iter().find(|node| node.node == step.node));
    let Some((known, link)) = known.and_then(|node| Some((node, node.link.as_ref()?))) else {
        return "linked with us".to_owned();
    };
    let rtt = link.rtt_us.map_or_else(String::new, |us| format!(", {us} µs"));
    format!("{}, {}{rtt}", known.path, link.address)
}

/// What is known here of a node that nobody leads to.
fn unknown(args: &TraceArgs, nodes: &[NodeStatus], why: &str) -> Fault {
    let node = &args.node;
    let fault = Fault::failed(format!("no way to {node}: {}", escape(why)));
    let bundle = args.bundle.display();
    match nodes.iter().find(|known| known.node == *node) {
        Some(_) => fault.hint(format!("what is known of it: peer whois {bundle} {node}")),
        None => fault.hint(format!("who is known: peer nodes {bundle}")),
    }
}
