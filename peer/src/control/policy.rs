//! What the daemon says of the policy; part of the control protocol.

use serde::{Deserialize, Serialize};
use shared::name::NodeName;
use shared::policy::{Filter, Grant, Policy, Rates, Request, Selector, is_topic};
use shared::time::Timestamp;

/// What `policy why` may ask, as it is typed.
pub const QUESTIONS: &str =
    "connect, send, share, get, time-root, forward:PORT, publish:TOPIC or subscribe:FILTER";

/// A question about the policy, parsed from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A word alone.
    Plain(Request<'static>),
    /// Publishing on a topic.
    Publish(String),
    /// Subscribing to a filter.
    Subscribe(Filter),
}

impl Question {
    /// Parses a question; `None` if it is none of [`QUESTIONS`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("connect", None) => Some(Self::Plain(Request::Connect)),
            ("send", None) => Some(Self::Plain(Request::Send)),
            ("share", None) => Some(Self::Plain(Request::Share)),
            ("get", None) => Some(Self::Plain(Request::Get)),
            ("time-root", None) => Some(Self::Plain(Request::TimeRoot)),
            ("forward", Some(port)) => port.parse().ok().map(|p| Self::Plain(Request::Forward(p))),
            ("publish", Some(topic)) => is_topic(topic).then(|| Self::Publish(topic.to_owned())),
            ("subscribe", Some(filter)) => Filter::parse(filter).ok().map(Self::Subscribe),
            _ => None,
        }
    }

    /// As the evaluator takes it.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        match self {
            Self::Plain(request) => *request,
            Self::Publish(topic) => Request::Publish { topic, client: None },
            Self::Subscribe(filter) => Request::Subscribe { filter, client: None },
        }
    }
}

/// Whether somebody may do something, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Who asks.
    pub from: NodeName,
    /// Of whom.
    pub to: NodeName,
    /// What.
    pub action: String,
    /// Whether it may.
    pub allowed: bool,
    /// The rule's place, from 1.
    pub rule: Option<usize>,
    /// The rule's name; none: nothing matched.
    pub name: Option<String>,
    /// The policy's number.
    pub number: u64,
}

/// The policy that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its number; 0 is the built-in one.
    pub number: u64,
    /// When it was signed; none for the built-in one.
    pub at: Option<Timestamp>,
    /// The rules, in order.
    pub rules: Vec<RuleStatus>,
    /// The quotas, in order.
    pub quotas: Vec<QuotaStatus>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Whether it allows or denies.
    pub allows: bool,
    /// What.
    pub grants: Vec<String>,
    /// To whom.
    pub from: String,
    /// With whom.
    pub to: String,
}

/// One quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// Its name.
    pub name: String,
    /// Whom it bounds.
    pub from: String,
    /// Messages a second.
    pub messages_per_second: Option<u32>,
    /// Octets a second.
    pub bytes_per_second: Option<u32>,
    /// Links begun a minute.
    pub handshakes_per_minute: Option<u32>,
}

impl From<&Policy> for PolicyStatus {
    fn from(policy: &Policy) -> Self {
        let rules = policy.rules.iter().map(|rule| RuleStatus {
            name: rule.name.to_string(),
            allows: rule.effect == shared::policy::Effect::Allow,
            grants: rule.grants.iter().map(grant).collect(),
            from: selector(&rule.from),
            to: selector(&rule.to),
        });
        let quotas = policy.quotas.iter().map(|quota| {
            let Rates { messages_per_second, bytes_per_second, handshakes_per_minute } =
                quota.rates;
            let (name, from) = (quota.name.to_string(), selector(&quota.from));
            QuotaStatus { name, from, messages_per_second, bytes_per_second, handshakes_per_minute }
        });
        Self {
            number: policy.number,
            at: (policy.number > 0).then_some(policy.at),
            rules: rules.collect(),
            quotas: quotas.collect(),
        }
    }
}

fn grant(grant: &Grant) -> String {
    let list =
        |filters: &[Filter]| filters.iter().map(Filter::as_str).collect::<Vec<_>>().join(" ");
    match grant {
        Grant::Publish(filters) => format!("publish {}", list(filters)),
        Grant::Subscribe(filters) => format!("subscribe {}", list(filters)),
        Grant::Forward(ports) if ports.first == ports.last => format!("forward {}", ports.first),
        Grant::Forward(ports) => format!("forward {}-{}", ports.first, ports.last),
        plain => plain.ask().as_str().to_owned(),
    }
}

fn selector(selector: &Selector) -> String {
    if selector.any {
        return "any".to_owned();
    }
    let nodes = selector.nodes.iter().map(ToString::to_string);
    let groups = selector.groups.iter().map(|group| format!("group {group}"));
    let roles = selector.roles.iter().map(|role| format!("role {role}"));
    nodes.chain(groups).chain(roles).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_of_the_words_or_none() {
        for good in ["connect", "send", "forward:22", "publish:a/b", "subscribe:a/#", "time-root"] {
            assert!(Question::parse(good).is_some(), "{good}");
        }
        for bad in ["", "sned", "forward", "forward:x", "publish:a/+", "subscribe:a#", "send:x"] {
            assert!(Question::parse(bad).is_none(), "{bad}");
        }
    }
}
