//! The doctor: looks for what is wrong, or will be soon, and says what to type.
//!
//! It reads and changes nothing, and needs no passphrase.
//!
//! **Invariant:** every finding that is not good has a hint.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use host::terminal::duration_words;
use serde::{Deserialize, Serialize};
use shared::cert::CaCert;
use shared::limits::AHEAD_S;
use shared::time::Timestamp;

use crate::authority::Registry;
use crate::error::CaError;

/// Authorities are looked after this long before they end: replacing one takes planning.
const AUTHORITY_SOON_S: i64 = 90 * 86_400;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Will be wrong.
    Soon,
    /// Is wrong.
    Bad,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Soon => "soon",
            Self::Bad => "WRONG",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

fn finding(level: Level, what: impl Into<String>, hint: &str) -> Finding {
    let hint = (level != Level::Good).then(|| hint.to_owned());
    Finding { level, what: what.into(), hint }
}

/// Looks at everything.
///
/// # Errors
/// What the disk says; what is merely wrong is a finding.
pub fn examine(registry: &Registry) -> Result<Vec<Finding>, CaError> {
    let now = registry.now();
    let mut findings = modes(registry);
    findings.push(clock(registry.store().newest()?, now));
    for root in registry.anchors().roots() {
        let hint = "plan a new network, or a second root in trust.pem, before then";
        findings.push(ends("the root", root.not_after, now, AUTHORITY_SOON_S, hint));
    }
    let issuing = CaCert::read(registry.issuing_der())?;
    let hint = "nothing can be issued after it; plan its successor";
    findings.push(ends("the issuing certificate", issuing.not_after, now, AUTHORITY_SOON_S, hint));
    findings.push(feed(registry, now)?);
    findings.push(projections(registry)?);
    findings.push(match registry.store().verify_log()? {
        Ok(count) => finding(Level::Good, format!("the log is whole: {count} records"), ""),
        Err(at) => finding(
            Level::Bad,
            format!("the log is broken at record {}: {}", at.seq, at.what),
            "compare the state folder with its backup",
        ),
    });
    findings.extend(nodes(registry, now)?);
    for intent in registry.leftovers()? {
        findings.push(finding(
            Level::Soon,
            format!("a certificate for {} may exist unrecorded: {}", intent.node, intent.serial),
            &format!(
                "it ends at {}; `ca-tool revoke {}` bars it too",
                intent.not_after, intent.node
            ),
        ));
    }
    Ok(findings)
}

fn modes(registry: &Registry) -> Vec<Finding> {
    let layout = registry.layout();
    let secrets = [
        layout.folder().to_owned(),
        layout.keyring(),
        layout.root_key(),
        layout.issuing_key(),
        layout.identity_key(),
        layout.store(),
    ];
    let loose: Vec<Finding> = secrets.iter().filter_map(|path| loose(path)).collect();
    if loose.is_empty() {
        return vec![finding(Level::Good, "keys and store are private", "")];
    }
    loose
}

fn loose(path: &Path) -> Option<Finding> {
    let about = path.symlink_metadata().ok()?;
    let mode = about.permissions().mode() & 0o7777;
    let wanted = if about.is_dir() { 700 } else { 600 };
    (mode & 0o077 != 0).then(|| {
        finding(
            Level::Bad,
            format!("{} is open to other users (mode {mode:04o})", path.display()),
            &format!("chmod {wanted} {}", path.display()),
        )
    })
}

fn clock(newest: Timestamp, now: Timestamp) -> Finding {
    if newest > now.plus_s(AHEAD_S) {
        let what = format!("the clock shows {now}, the newest record is of {newest}");
        return finding(Level::Bad, what, "set the clock right");
    }
    finding(Level::Good, format!("the clock shows {now}, after the newest record"), "")
}

fn ends(what: &str, at: Timestamp, now: Timestamp, soon_s: i64, hint: &str) -> Finding {
    let level = match at.ms_since(now) / 1000 {
        ..=0 => Level::Bad,
        left if left < soon_s => Level::Soon,
        _ => Level::Good,
    };
    let left = duration_words(at.ms_since(now) / 1000);
    let text = match level {
        Level::Bad => format!("{what} ended at {at}, {left} ago"),
        _ => format!("{what} ends at {at}, in {left}"),
    };
    finding(level, text, hint)
}

fn feed(registry: &Registry, now: Timestamp) -> Result<Finding, CaError> {
    let position = registry.feed_position()?;
    let due = registry.feed_next_update()?;
    let third_s = due.ms_since(position.at) / 3000;
    let what = format!("the promise of feed number {}", position.number);
    Ok(ends(&what, due, now, third_s, "ca-tool publish"))
}

fn projections(registry: &Registry) -> Result<Finding, CaError> {
    if registry.projections_are_current()? {
        return Ok(finding(Level::Good, "feed/feed and crl.der are current", ""));
    }
    let what = "feed/feed or crl.der is older than the store";
    Ok(finding(Level::Bad, what, "any command that opens the keys mends it: ca-tool publish"))
}

fn nodes(registry: &Registry, now: Timestamp) -> Result<Vec<Finding>, CaError> {
    let mut findings = Vec::new();
    let mut good = 0_usize;
    for node in registry.nodes()? {
        let Some(at) = node.not_after else { continue };
        let own = node.node.as_str() == shared::name::NodeName::AUTHORITY;
        match node.standing.as_ref() {
            // The authority renews its own certificate when it uses it.
            _ if own => {}
            "active" => {
                let (_, certs) = registry.node(&node.node)?;
                let life_s = certs.first().map_or(0, |c| c.not_after.ms_since(c.not_before) / 1000);
                let what = format!("{}'s certificate", node.node);
                let hint = format!("ca-tool renew {0} --out {0}.bundle", node.node);
                let found = ends(&what, at, now, life_s / 3, &hint);
                if found.level == Level::Good { good += 1 } else { findings.push(found) }
            }
            "expired" => findings.push(finding(
                Level::Soon,
                format!("{}'s certificate ended at {at}", node.node),
                &format!("renew it, or say that it is gone: ca-tool revoke {}", node.node),
            )),
            _ => {}
        }
    }
    findings.push(finding(Level::Good, format!("{good} nodes have time left"), ""));
    Ok(findings)
}
