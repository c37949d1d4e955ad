//! What is logged, and the last refusals for `peer status`.
//!
//! Refused peers try again and again: per (who, code) the first line is written at once, then a
//! count each minute (Nebula #1095 wrote 100 MB an hour).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use host::terminal::escape;
use peer_core::{DialFailure, Direction, Event};
use shared::feed::{FeedError, Status};
use shared::name::NodeName;
use shared::refusal::Code;
use shared::time::{Now, Tick, Timestamp};
use tracing::{debug, error, info, warn};

use crate::limits::EVENTS_MAX;
use crate::outbox::Gone;

/// (who, code) pairs counted at once; when all are in use, one line stands for all others.
const PAIRS_MAX: usize = 1024;
/// Between two lines about one pair, in ms.
const QUIET_MS: u64 = 60_000;

/// A refusal, as it is shown.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) at: Timestamp,
    pub(super) node: Option<NodeName>,
    pub(super) address: Option<String>,
    pub(super) code: Code,
    pub(super) by_us: bool,
}

#[derive(Debug)]
struct Pair {
    since: Tick,
    silent: u64,
}

/// Writes the log and remembers the newest refusals.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pairs: BTreeMap<(String, Option<Code>), Pair>,
    recent: VecDeque<Incident>,
}

impl Telling {
    /// The newest refusals, newest last.
    pub(super) fn recent(&self) -> Vec<Incident> {
        self.recent.iter().cloned().collect()
    }

    /// Somebody at the door who never became known to the node.
    pub(super) fn turned_away(
        &mut self,
        address: &str,
        code: Option<Code>,
        by_us: bool,
        detail: &str,
        now: Now,
    ) {
        if let Some(code) = code {
            self.remember(Incident {
                at: now.wall,
                node: None,
                address: Some(address.to_owned()),
                code,
                by_us,
            });
        }
        // The port changes with each attempt; the host is who it is.
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        if let Some(silent) = self.may_tell(host, code, now.tick) {
            let code = code.map_or("none", Code::as_str);
            let detail = escape(detail);
            info!(address, code, by_us, silent, "turned away at the door: {detail}");
        }
    }

    /// A dial that did not become a link.
    pub(super) fn dial_failed(&mut self, node: &NodeName, failure: Option<&DialFailure>, now: Now) {
        let Some(failure) = failure else {
            debug!(%node, "already linked");
            return;
        };
        let by_us = failure.by == peer_core::By::Us;
        if let Some(code) = failure.code {
            self.remember(Incident {
                at: now.wall,
                node: Some(node.clone()),
                address: None,
                code,
                by_us,
            });
        }
        if let Some(silent) = self.may_tell(node.as_str(), failure.code, now.tick) {
            let code = failure.code.map_or("unreachable", Code::as_str);
            let detail = escape(&failure.detail);
            info!(%node, code, by_us, silent, "not linked: {detail}");
        }
    }

    /// A dial of an address without a name that did not become a link.
    pub(super) fn lead_failed(&mut self, address: &str, failure: &DialFailure, now: Now) {
        let by_us = failure.by == peer_core::By::Us;
        if let Some(code) = failure.code {
            let address = Some(address.to_owned());
            self.remember(Incident { at: now.wall, node: None, address, code, by_us });
        }
        if let Some(silent) = self.may_tell(address, failure.code, now.tick) {
            let code = failure.code.map_or("unreachable", Code::as_str);
            let detail = escape(&failure.detail);
            info!(address, code, by_us, silent, "not linked: {detail}");
        }
    }

    /// Something the node tells.
    pub(super) fn event(&mut self, event: &Event, now: Now) {
        match event {
            Event::Linked { node, direction, address, via } => {
                let dialled_by = if *direction == Direction::Out { "us" } else { "them" };
                let path = path(via.as_ref());
                info!(%node, address, dialled_by, path, "linked");
            }
            Event::CircuitMade { from, to } => info!(%from, %to, "they talk through us"),
            Event::CircuitCut { node, mark } => {
                let code = code_of(mark.status);
                info!(%node, %code, feed = mark.number, "its circuit through us is cut");
            }
            Event::CircuitForbidden { from, to } => {
                info!(%from, %to, code = %Code::Policy, "their circuit through us is cut");
            }
            Event::Unlinked { node, why } => info!(%node, "link down: {}", escape(why)),
            Event::Cut { node, mark } => {
                let code = code_of(mark.status);
                info!(%node, %code, since = %mark.at, feed = mark.number, "link cut");
                self.remember_cut(node, code, now);
            }
            Event::Refused { node, address, code, detail } => {
                self.remember(Incident {
                    at: now.wall,
                    node: Some(node.clone()),
                    address: Some(address.clone()),
                    code: *code,
                    by_us: true,
                });
                if let Some(silent) = self.may_tell(node.as_str(), Some(*code), now.tick) {
                    let loud = *code == Code::DuplicateInstance;
                    let detail = escape(detail);
                    if loud {
                        warn!(%node, address, %code, silent, "refused: {detail}");
                    } else {
                        info!(%node, address, %code, silent, "refused: {detail}");
                    }
                }
            }
            Event::Twins { node, .. } => {
                let (at, code, by_us) = (now.wall, Code::DuplicateInstance, true);
                self.remember(Incident {
                    at,
                    node: Some(node.clone()),
                    address: None,
                    code,
                    by_us,
                });
                warn!(%node, "its certificate is alive in two runs: see peer evidence");
            }
            Event::FeedApplied { number, cut } => info!(number, cut, "feed applied"),
            Event::FeedRefused { from, why, serious } => {
                self.refused_news("feed", from, why, *serious, now);
            }
            Event::PolicyApplied { number, cut } => info!(number, cut, "policy applied"),
            Event::PolicyRefused { from, why, serious } => {
                self.refused_news("policy", from, why, *serious, now);
            }
            Event::FeedStale { past: false } => warn!("the feed will be out of date soon"),
            Event::FeedStale { past: true } => warn!("the feed is out of date"),
            Event::SelfBarred { mark } => {
                let code = code_of(mark.status);
                warn!(%code, since = %mark.at, "this node itself is barred from the network");
            }
        }
    }

    /// Queued messages were dropped.
    pub(super) fn dropped(&self, gone: &Gone) {
        let (to, reason) = (&gone.to, &gone.reason);
        let (count, first, last) = (gone.count, gone.first, gone.last);
        info!(%to, reason, count, %first, %last, "queued messages dropped");
    }

    /// Files were read again.
    pub(super) fn reloaded(&self, what: &str) {
        info!("reloaded: {what}");
    }

    /// Files could not be read again; what was loaded before stays.
    pub(super) fn not_reloaded(&self, why: &dyn fmt::Display) {
        warn!("not reloaded, the old settings stay: {why}");
    }

    /// What somebody passed on is not believed; a second history is the authority's affair.
    fn refused_news(&mut self, what: &str, from: &NodeName, why: &str, serious: bool, now: Now) {
        if self.may_tell(from.as_str(), None, now.tick).is_none() {
            return;
        }
        if serious {
            warn!(%from, "{what} refused, look at the authority: {why}");
        } else {
            info!(%from, "{what} refused: {why}");
        }
    }

    /// A feed that somebody brought was refused; a second history is the authority's affair.
    pub(super) fn not_imported(&self, error: &FeedError) {
        match error {
            FeedError::Equivocation { .. } | FeedError::Fork { .. } | FeedError::Forgets { .. } => {
                warn!("feed refused, look at the authority: {error}");
            }
            _ => info!("feed refused: {error}"),
        }
    }

    /// The feed could not be saved; it will be fetched again from a peer.
    pub(super) fn not_saved(what: &str, why: &dyn fmt::Display) {
        error!("the {what} could not be written: {why}");
    }

    /// What is known of others could not be saved: after a restart it is learnt anew.
    pub(super) fn not_remembered(why: &dyn fmt::Display) {
        warn!("what is known of others could not be written: {why}");
    }

    fn remember_cut(&mut self, node: &NodeName, code: Code, now: Now) {
        self.remember(Incident {
            at: now.wall,
            node: Some(node.clone()),
            address: None,
            code,
            by_us: true,
        });
    }

    fn remember(&mut self, incident: Incident) {
        if self.recent.len() >= EVENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(incident);
    }

    /// Whether to write a line about this pair now; if so, how many were left out since the last.
    fn may_tell(&mut self, who: &str, code: Option<Code>, now: Tick) -> Option<u64> {
        let key = if self.pairs.len() < PAIRS_MAX {
            (who.to_owned(), code)
        } else {
            self.pairs.retain(|_, pair| now.ms_since(pair.since) < QUIET_MS);
            ("others".to_owned(), code)
        };
        match self.pairs.get_mut(&key) {
            Some(pair) if now.ms_since(pair.since) < QUIET_MS => {
                pair.silent += 1;
                None
            }
            Some(pair) => {
                pair.since = now;
                Some(std::mem::take(&mut pair.silent))
            }
            None => {
                self.pairs.insert(key, Pair { since: now, silent: 0 });
                Some(0)
            }
        }
    }
}

/// How a link goes, in words.
pub(super) fn path(via: Option<&NodeName>) -> String {
    via.map_or_else(|| "direct".to_owned(), |relay| format!("relay via {relay}"))
}

const fn code_of(status: Status) -> Code {
    match status {
        Status::Revoked => Code::Revoked,
        Status::Suspended => Code::Suspended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { tick: Tick::from_ms(ms), wall: Timestamp::from_ms(ms as i64) }
    }

    #[test]
    fn the_first_is_told_then_a_count_each_minute() {
        let mut telling = Telling::default();
        let code = Some(Code::Revoked);
        assert_eq!(telling.may_tell("bob", code, at(0).tick), Some(0));
        for ms in 1..100 {
            assert_eq!(telling.may_tell("bob", code, at(ms).tick), None);
        }
        assert_eq!(telling.may_tell("carol", code, at(100).tick), Some(0));
        assert_eq!(telling.may_tell("bob", code, at(60_000).tick), Some(99));
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let mut telling = Telling::default();
        for i in 0..10_000 {
            telling.turned_away(
                &format!("10.0.{}.{}:1", i / 256, i % 256),
                Some(Code::Quota),
                true,
                "x",
                at(i),
            );
        }
        assert!(telling.pairs.len() <= PAIRS_MAX + Code::ALL.len());
        assert_eq!(telling.recent().len(), EVENTS_MAX);
    }
}
