//! `peer join`: from a string to a running node.

use std::io::Read as _;
use std::time::Duration;

use host::fault::Fault;
use peer::join::{self, Joined, Progress};
use serde_json::json;
use shared::join::JoinString;
use shared::name::MemberKind;
use zeroize::Zeroizing;

use super::Desk;
use crate::cli::JoinArgs;

/// Bytes of a string on stdin; the longest has 2,249.
const STDIN_BYTES_MAX: u64 = 16 * 1024;
/// From here on a clock is worth mentioning: presences and messages bear its time.
const SKEW_TOLD: Duration = Duration::from_secs(2);

pub(super) fn join(desk: Desk, args: &JoinArgs) -> Result<(), Fault> {
    let text = Zeroizing::new(args.string.clone());
    let text = if *text == "-" { from_stdin()? } else { text };
    let string = JoinString::parse(&text)
        .map_err(|error| Fault::usage(error.to_string()).hint(error.hint()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed(format!("no runtime: {error}")))?;
    let joined = runtime.block_on(join::join(&string, args.out.as_deref(), told))?;
    drop(runtime);
    let Joined { bundle, installed, ahead_ms } = joined;
    let mut lines = vec![
        format!("joined as {}.{}", installed.node, installed.network),
        format!("bundle {}, certificate until {}", bundle.display(), installed.not_after),
    ];
    // No peer runs as an app: its own program does.
    let is_done = args.no_run || installed.kind == MemberKind::App;
    if is_done {
        lines.push(super::next_with(installed.kind, &bundle));
    }
    let value = json!({
        "node": installed.node, "network": installed.network, "bundle": bundle,
        "not_after": installed.not_after, "clock_ahead_ms": ahead_ms,
    });
    desk.tell(&value, &lines)?;
    if is_done {
        return Ok(());
    }
    super::run::run(desk, &bundle, &args.running)
}

fn told(progress: Progress) {
    match progress {
        Progress::Reached { address, ahead_ms } => {
            super::say(&format!("the authority answers at {address}"));
            if ahead_ms.unsigned_abs() > SKEW_TOLD.as_millis() as u64 {
                let by = host::terminal::duration_words(ahead_ms.abs() / 1000);
                let way = if ahead_ms > 0 { "behind" } else { "ahead of" };
                super::say(&format!("this machine's clock is {by} {way} the authority's"));
            }
        }
        Progress::Waiting { spki } => {
            super::say("waiting for approval; at the authority: ca-tool pending");
            super::say(&format!("this machine's key (SHA-256)  {spki}"));
        }
    }
}

fn from_stdin() -> Result<Zeroizing<String>, Fault> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Fault::failed(format!("stdin: {error}")))?;
    Ok(text)
}
