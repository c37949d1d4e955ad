//! `ca-tool policy`: check, test, push, show.

use ca_tool::ask::{Facts, PolicyNow, PolicyPush, Spread};
use ca_tool::policy::{Export, Format, Outcome, Subject, export, to_value, to_yaml};
use ca_tool::{News, PolicyFile, Publish, Report};
use host::fault::Fault;
use host::terminal::Table;
use serde_json::json;
use shared::name::Label;
use shared::policy::Policy;

use super::{Desk, output, say};
use crate::cli::{Engine, PolicyArgs, PolicyCommand, PushArgs};

pub(super) fn run(desk: &Desk<'_>, command: &PolicyCommand) -> Result<(), Fault> {
    match command {
        PolicyCommand::Check(args) => check(desk, args),
        PolicyCommand::Test(args) => test(desk, args),
        PolicyCommand::Push(args) => push(desk, args),
        PolicyCommand::Show => show(desk),
        PolicyCommand::Export(args) => write_for(desk, args.format),
    }
}

fn check(desk: &Desk<'_>, args: &PolicyArgs) -> Result<(), Fault> {
    let file = PolicyFile::read(&args.file)?;
    let tests = file.passed()?;
    let Policy { rules, quotas, .. } = &file.policy;
    let value = json!({
        "file": args.file, "rules": rules.len(), "quotas": quotas.len(), "tests": tests,
    });
    let line = format!(
        "{} is sound: {}, {}, {} passed",
        args.file.display(),
        count(rules.len(), "rule"),
        count(quotas.len(), "quota"),
        count(tests, "test"),
    );
    desk.tell(&value, &[line])
}

fn test(desk: &Desk<'_>, args: &PolicyArgs) -> Result<(), Fault> {
    let outcomes = PolicyFile::read(&args.file)?.outcomes();
    if desk.out.is_json() {
        desk.out.json(&outcomes).map_err(output)?;
    } else {
        print(desk, &outcomes)?;
    }
    match outcomes.iter().filter(|outcome| !outcome.passed).count() {
        0 => Ok(()),
        failed => {
            let what = format!("{failed} of {} failed", count(outcomes.len(), "test"));
            Err(Fault::failed(format!("{}: {what}", args.file.display())))
        }
    }
}

fn print(desk: &Desk<'_>, outcomes: &[Outcome]) -> Result<(), Fault> {
    let mut table = Table::new(&["", "TEST", "EXPECTED", "CAME", "RULE"]);
    for outcome in outcomes {
        table.row([
            if outcome.passed { "ok" } else { "FAILED" }.to_owned(),
            outcome.test.clone(),
            outcome.expected.to_owned(),
            outcome.came.to_owned(),
            outcome.by.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print(&desk.out).map_err(output)
}

fn push(desk: &Desk<'_>, args: &PushArgs) -> Result<(), Fault> {
    // A file that is wrong is said before anybody is asked for a passphrase.
    let file = PolicyFile::read(&args.policy.file)?;
    file.passed()?;
    let mut door = desk.door()?;
    let pushed = door.ask(PolicyPush::of(&file.policy))?;
    let line = format!(
        "policy {} signed: {}, {}",
        pushed.number,
        count(file.policy.rules.len(), "rule"),
        count(file.policy.quotas.len(), "quota")
    );
    // It holds, and is said, before anybody is told: what follows may take seconds.
    if !desk.out.is_json() {
        desk.line(&line)?;
    }
    let what = Publish { via: args.publish.via.clone(), about: None, news: News::Policy };
    let report = door.ask(Spread(what))?;
    for failure in &report.failures {
        say(&format!("{}: {}", failure.via, failure.why));
    }
    let value = json!({ "number": pushed.number, "at": pushed.at, "publish": report });
    desk.tell(&value, &summary(desk, &report))
}

fn summary(desk: &Desk<'_>, report: &Report) -> Vec<String> {
    if report.via.is_none() {
        return vec![
            "no peer was reached: the policy spreads when one next meets the authority".to_owned(),
            format!("next: ca-tool{} publish --via HOST:PORT", desk.pki_flag()),
        ];
    }
    let mut line = spread_line(report);
    if !report.offline.is_empty() {
        let (they, return_) =
            if report.offline.len() == 1 { ("it", "returns") } else { ("they", "return") };
        let absent = report.offline.len();
        line.push_str(&format!(" ({absent} offline: will hear when {they} {return_})"));
    }
    let mut lines = vec![line];
    let silent = report.peers.iter().filter(|peer| !peer.has_policy);
    let silent: Vec<String> = silent.map(|peer| peer.node.to_string()).collect();
    if !silent.is_empty() {
        lines.push(format!("no acknowledgement from {}", silent.join(", ")));
    }
    lines
}

/// On how many peers the policy is.
pub(super) fn spread_line(report: &Report) -> String {
    let (have, slowest) = report.with_policy();
    let slowest = slowest.map(|ms| format!(", slowest {ms} ms")).unwrap_or_default();
    format!("policy {} on {have}/{} peers{slowest}", report.policy, report.peers.len())
}

fn show(desk: &Desk<'_>) -> Result<(), Fault> {
    let policy = PolicyNow::read(&desk.door()?.ask(PolicyNow)?)?;
    let mut value = to_value(&policy);
    if let Some(object) = value.as_object_mut() {
        object.insert("number".to_owned(), json!(policy.number));
        let at = (policy.number > 0).then_some(policy.at);
        object.insert("at".to_owned(), json!(at));
    }
    let head = match policy.number {
        0 => "# the built-in policy: none was pushed".to_owned(),
        number => format!("# policy {number}, signed at {}", policy.at),
    };
    desk.tell(&value, &[head, to_yaml(&policy).trim_end().to_owned()])
}

/// The topics for another engine: its text on stdout, what it leaves out on stderr.
fn write_for(desk: &Desk<'_>, engine: Engine) -> Result<(), Fault> {
    let mut door = desk.door()?;
    let policy = PolicyNow::read(&door.ask(PolicyNow)?)?;
    let network = door.ask(Facts)?.network;
    let nodes = super::look::nodes(&mut door)?;
    let labels = |texts: &[String]| texts.iter().filter_map(|t| Label::parse(t).ok()).collect();
    let active = nodes.iter().filter(|node| node.standing == "active");
    let subjects: Vec<Subject> = active
        .map(|node| Subject {
            node: node.node.clone(),
            groups: labels(&node.groups),
            roles: labels(&node.roles),
        })
        .collect();
    let format = match engine {
        Engine::Mosquitto => Format::Mosquitto,
        Engine::Nats => Format::Nats,
    };
    let Export { text, narrowed } = export(&policy, &network, &subjects, format);
    for what in &narrowed {
        say(&format!("left out: {what}"));
    }
    desk.tell(&json!({ "text": text, "left_out": narrowed }), &[text.trim_end().to_owned()])
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
