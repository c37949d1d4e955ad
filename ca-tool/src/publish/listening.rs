//! Who is expected to hear the news, and who has acknowledged it.
//!
//! **Invariant:** nobody counts as having a number who has not said so in its own name.

use std::collections::BTreeMap;
use std::time::Instant;

use shared::name::NodeName;
use shared::wire::Ack;

use super::{News, PeerReport, Publish, is_ours};

/// Neighbours that are listed: as many as a full mesh has, twice over.
const EXPECTED_MAX: usize = 256;

/// A time in milliseconds and links cut.
type Answer = (u64, u32);

/// What one node has said.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    feed: Option<Answer>,
    policy: Option<Answer>,
    had_policy: bool,
}

/// The numbers that are published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) feed: u64,
    /// 0: there is none to publish.
    pub(crate) policy: u64,
    /// Whether the policy was sent: only then is it acknowledged.
    pub(crate) policy_sent: bool,
}

/// Who is expected, and who has acknowledged.
pub(crate) struct Listening {
    numbers: Numbers,
    news: News,
    start: Instant,
    peers: BTreeMap<NodeName, Answers>,
    early: BTreeMap<NodeName, Answers>,
    pub(crate) all_known: bool,
}

impl Listening {
    pub(crate) fn new(numbers: Numbers, news: News, start: Instant) -> Self {
        let (peers, early) = (BTreeMap::new(), BTreeMap::new());
        Self { numbers, news, start, peers, early, all_known: false }
    }

    /// Expects a node that said it has the policy of that number.
    pub(crate) fn expect(&mut self, node: NodeName, policy: u64, what: &Publish) {
        let wanted = what.about.as_ref() != Some(&node) && !is_ours(&node);
        if wanted && self.peers.len() < EXPECTED_MAX {
            let early = self.early.remove(&node).unwrap_or_default();
            let answers = self.peers.entry(node).or_insert(early);
            answers.had_policy |= policy >= self.numbers.policy;
        }
    }

    pub(crate) fn take_feed(&mut self, ack: &Ack) {
        if ack.number >= self.numbers.feed {
            let answer = self.answer(ack);
            self.note(ack, |answers| answers.feed = answers.feed.or(Some(answer)));
        }
    }

    pub(crate) fn take_policy(&mut self, ack: &Ack) {
        if ack.number >= self.numbers.policy {
            let answer = self.answer(ack);
            self.note(ack, |answers| answers.policy = answers.policy.or(Some(answer)));
        }
    }

    fn answer(&self, ack: &Ack) -> Answer {
        (u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), ack.cut)
    }

    /// An acknowledgement may overtake the list that says who is to be expected.
    fn note(&mut self, ack: &Ack, write: impl FnOnce(&mut Answers)) {
        if let Some(answers) = self.peers.get_mut(&ack.node) {
            write(answers);
        } else if self.early.len() < EXPECTED_MAX || self.early.contains_key(&ack.node) {
            write(self.early.entry(ack.node.clone()).or_default());
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        let waits_for_policy = self.news != News::Feed && self.numbers.policy_sent;
        self.all_known
            && self.peers.values().all(|answers| {
                (self.news == News::Policy || answers.feed.is_some())
                    && (!waits_for_policy || answers.policy.is_some() || answers.had_policy)
            })
    }

    /// Whether the peer we are linked with took anything, going by who has answered.
    pub(crate) fn was_heard(&self) -> bool {
        self.peers.values().any(|answers| answers.feed.or(answers.policy).is_some())
    }

    pub(crate) fn into_peers(self) -> Vec<PeerReport> {
        let report = |(node, answers): (NodeName, Answers)| PeerReport {
            node,
            ms: answers.feed.map(|(ms, _)| ms),
            cut: answers.feed.map_or(0, |(_, cut)| cut),
            has_policy: answers.had_policy || answers.policy.is_some(),
            policy_ms: answers.policy.map(|(ms, _)| ms),
            policy_cut: answers.policy.map_or(0, |(_, cut)| cut),
        };
        self.peers.into_iter().map(report).collect()
    }
}
