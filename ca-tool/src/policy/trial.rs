//! The tests in a policy file: a question, the answer that is meant, and the one that comes.
//!
//! **Invariant:** a test is asked of the same evaluator that peers use.

use serde::Serialize;
use shared::cert::Attributes;
use shared::name::NodeName;
use shared::policy::{Ask, Filter, Policing, Request, Who};

/// Somebody in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its name.
    pub node: NodeName,
    /// What its certificate would say.
    pub attributes: Attributes,
    /// The client behind it, for `%client`.
    pub client: Option<String>,
}

/// What it wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Anything that needs no more words.
    Bare(Ask),
    /// On this topic.
    Publish(String),
    /// To this filter.
    Subscribe(Filter),
    /// This port.
    Forward(u16),
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What its writer calls it.
    pub name: Option<String>,
    /// Who asks.
    pub from: Person,
    /// Whom.
    pub to: Person,
    /// For what.
    pub action: Action,
    /// Whether it is to be allowed.
    pub expect: bool,
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its place, from 1.
    pub number: usize,
    /// What it is about.
    pub test: String,
    /// `allowed` or `denied`.
    pub expected: &'static str,
    /// Likewise.
    pub came: &'static str,
    /// The rule that decided; none: no rule matched.
    pub by: Option<String>,
    /// Whether both are the same.
    pub passed: bool,
}

impl Action {
    fn request<'a>(&'a self, client: Option<&'a str>) -> Request<'a> {
        match self {
            Self::Publish(topic) => Request::Publish { topic, client },
            Self::Subscribe(filter) => Request::Subscribe { filter, client },
            Self::Forward(port) => Request::Forward(*port),
            Self::Bare(Ask::Send) => Request::Send,
            Self::Bare(Ask::Share) => Request::Share,
            Self::Bare(Ask::Get) => Request::Get,
            Self::Bare(Ask::TimeRoot) => Request::TimeRoot,
            Self::Bare(_) => Request::Connect,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Publish(topic) => format!("publish {topic}"),
            Self::Subscribe(filter) => format!("subscribe {}", filter.as_str()),
            Self::Forward(port) => format!("forward {port}"),
            Self::Bare(ask) => ask.as_str().to_owned(),
        }
    }
}

impl Trial {
    /// Asks the policy.
    #[must_use]
    pub(super) fn run(&self, number: usize, policing: &Policing) -> Outcome {
        let standing =
            |p: &Person| policing.standing(Who { node: &p.node, attributes: &p.attributes });
        let request = self.action.request(self.from.client.as_deref());
        let decision = policing.decide(&standing(&self.from), &standing(&self.to), request);
        Outcome {
            number,
            test: host::terminal::escape(&self.title()),
            expected: word(self.expect),
            came: word(decision.allowed),
            by: decision.by.map(|(_, name)| name.to_string()),
            passed: decision.allowed == self.expect,
        }
    }

    fn title(&self) -> String {
        let about = format!("{}: {} to {}", self.from.node, self.action.words(), self.to.node);
        match &self.name {
            Some(name) => format!("{name} ({about})"),
            None => about,
        }
    }
}

impl Outcome {
    /// The outcome as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { number, test, expected, came, .. } = self;
        format!("test {number}, {test}: expected {expected}, came {came} {}", self.because())
    }

    /// By which rule it was decided.
    #[must_use]
    pub fn because(&self) -> String {
        match &self.by {
            Some(rule) => format!("by rule {rule}"),
            None => "because no rule matches".to_owned(),
        }
    }
}

const fn word(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}
