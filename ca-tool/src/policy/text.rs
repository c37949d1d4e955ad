//! The YAML forms of a policy. An unknown word is an unknown key: both get a suggestion.
//!
//! **Invariant:** what comes out of here was understood to the last word.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use shared::cert::Attributes;
use shared::name::{Label, NodeName};
use shared::policy::{Ask, Effect, Filter, Grant, Ports, Quota, Rates, Rule, Selector, is_topic};

use super::trial::{Action, Person, Trial};

/// The words for what may be asked, as errors list them.
const ASKS: [&str; Ask::ALL.len()] =
    ["connect", "send", "publish", "subscribe", "share", "get", "forward", "time-root"];

/// A whole file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileText {
    pub(super) rules: Vec<RuleText>,
    #[serde(default)]
    pub(super) quotas: Vec<QuotaText>,
    #[serde(default)]
    pub(super) tests: Vec<TestText>,
}

/// A rule.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RuleText {
    name: Label,
    allow: Option<Vec<GrantText>>,
    deny: Option<Vec<GrantText>>,
    from: SelectorText,
    to: SelectorText,
}

/// A quota.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct QuotaText {
    name: Label,
    from: SelectorText,
    messages_per_second: Option<u32>,
    bytes_per_second: Option<u32>,
    handshakes_per_minute: Option<u32>,
}

/// A test.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct TestText {
    name: Option<String>,
    from: PersonText,
    to: PersonText,
    action: ActionText,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PersonText {
    node: NodeName,
    #[serde(default)]
    groups: BTreeSet<Label>,
    #[serde(default)]
    roles: BTreeSet<Label>,
    client: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Expected {
    allowed: bool,
}

impl RuleText {
    pub(super) fn into_rule(self) -> Result<Rule, String> {
        let Self { name, allow, deny, from, to } = self;
        let (effect, grants) = match (allow, deny) {
            (Some(grants), None) => (Effect::Allow, grants),
            (None, Some(grants)) => (Effect::Deny, grants),
            _ => return Err(format!("rule {name} needs one of allow and deny, not both")),
        };
        let grants = grants.into_iter().map(|grant| grant.0).collect();
        Ok(Rule { name, effect, grants, from: from.0, to: to.0 })
    }
}

impl QuotaText {
    pub(super) fn into_quota(self) -> Quota {
        let Self { messages_per_second, bytes_per_second, handshakes_per_minute, .. } = self;
        let rates = Rates { messages_per_second, bytes_per_second, handshakes_per_minute };
        Quota { name: self.name, from: self.from.0, rates }
    }
}

impl TestText {
    pub(super) fn into_trial(self) -> Trial {
        let person = |text: PersonText| Person {
            node: text.node,
            attributes: Attributes { groups: text.groups, roles: text.roles },
            client: text.client,
        };
        Trial {
            name: self.name,
            from: person(self.from),
            to: person(self.to),
            action: self.action.0,
            expect: self.expect.allowed,
        }
    }
}

/// Something that is a word (`send`) or a word with what it is about (`{forward: 22}`).
trait Worded: Sized {
    const WHAT: &'static str;

    fn alone(ask: Ask) -> Option<Self>;

    fn about<'de, A: MapAccess<'de>>(ask: Ask, map: &mut A) -> Result<Option<Self>, A::Error>;
}

struct WordedVisitor<T>(PhantomData<T>);

fn ask<E: Error>(word: &str) -> Result<Ask, E> {
    let found = Ask::ALL.into_iter().find(|ask| ask.as_str() == word);
    found.ok_or_else(|| E::unknown_field(word, &ASKS))
}

impl<'de, T: Worded> Visitor<'de> for WordedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        let ask = ask(word)?;
        T::alone(ask).ok_or_else(|| E::custom(format!("{word} needs more: {}", example(ask))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let word: String = map.next_key()?.ok_or_else(|| A::Error::custom("an empty action"))?;
        let found = T::about(ask(&word)?, &mut map)?;
        let found = found.ok_or_else(|| A::Error::custom(format!("{word} is a word alone")))?;
        match map.next_key::<String>()? {
            None => Ok(found),
            Some(_) => Err(A::Error::custom("one action to an entry of the list")),
        }
    }
}

/// How an action is written that is more than a word.
const fn example(ask: Ask) -> &'static str {
    match ask {
        Ask::Publish => "{publish: [\"plant/%node/#\"]}",
        Ask::Subscribe => "{subscribe: [\"plant/#\"]}",
        Ask::Forward => "{forward: 22} or {forward: \"8000-8010\"}",
        _ => "a word alone",
    }
}

struct GrantText(Grant);

impl Worded for GrantText {
    const WHAT: &'static str = "an action such as send, or {publish: [\"plant/#\"]}";

    fn alone(ask: Ask) -> Option<Self> {
        Some(Self(match ask {
            Ask::Connect => Grant::Connect,
            Ask::Send => Grant::Send,
            Ask::Share => Grant::Share,
            Ask::Get => Grant::Get,
            Ask::TimeRoot => Grant::TimeRoot,
            Ask::Publish | Ask::Subscribe | Ask::Forward => return None,
        }))
    }

    fn about<'de, A: MapAccess<'de>>(ask: Ask, map: &mut A) -> Result<Option<Self>, A::Error> {
        Ok(match ask {
            Ask::Publish => Some(Grant::Publish(map.next_value::<Filters>()?.0)),
            Ask::Subscribe => Some(Grant::Subscribe(map.next_value::<Filters>()?.0)),
            Ask::Forward => Some(Grant::Forward(map.next_value::<PortsText>()?.0)),
            _ => None,
        }
        .map(Self))
    }
}

impl<'de> Deserialize<'de> for GrantText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordedVisitor(PhantomData))
    }
}

struct ActionText(Action);

impl Worded for ActionText {
    const WHAT: &'static str = "an action such as send, or {publish: plant/bob/t}";

    fn alone(ask: Ask) -> Option<Self> {
        let bare = !matches!(ask, Ask::Publish | Ask::Subscribe | Ask::Forward);
        bare.then_some(Self(Action::Bare(ask)))
    }

    fn about<'de, A: MapAccess<'de>>(ask: Ask, map: &mut A) -> Result<Option<Self>, A::Error> {
        Ok(match ask {
            Ask::Publish => {
                let topic: String = map.next_value()?;
                if !is_topic(&topic) {
                    return Err(A::Error::custom("a test publishes on one topic, no wildcards"));
                }
                Some(Action::Publish(topic))
            }
            Ask::Subscribe => {
                let filter: String = map.next_value()?;
                Some(Action::Subscribe(Filter::parse(&filter).map_err(A::Error::custom)?))
            }
            Ask::Forward => Some(Action::Forward(map.next_value()?)),
            _ => None,
        }
        .map(Self))
    }
}

impl<'de> Deserialize<'de> for ActionText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordedVisitor(PhantomData))
    }
}

/// One filter, or a list of them.
struct Filters(Vec<Filter>);

struct FiltersVisitor;

impl<'de> Visitor<'de> for FiltersVisitor {
    type Value = Filters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of topic filters such as [\"plant/%node/#\"]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Filters, E> {
        Ok(Filters(vec![Filter::parse(text).map_err(E::custom)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Filters, A::Error> {
        let mut filters = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            filters.push(Filter::parse(&text).map_err(A::Error::custom)?);
        }
        Ok(Filters(filters))
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FiltersVisitor)
    }
}

/// `22`, or `"8000-8010"`.
struct PortsText(Ports);

struct PortsVisitor;

impl Visitor<'_> for PortsVisitor {
    type Value = PortsText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a TCP port from 1 to 65535, or two such as \"8000-8010\"")
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<PortsText, E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(port), &self);
        let port = u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        Ok(PortsText(Ports { first: port, last: port }))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PortsText, E> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse().ok().filter(|port: &u16| *port > 0);
        let ports = port(first).zip(port(last)).filter(|(first, last)| first <= last);
        let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        let (first, last) = ports.ok_or_else(wrong)?;
        Ok(PortsText(Ports { first, last }))
    }
}

impl<'de> Deserialize<'de> for PortsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor)
    }
}

/// `any`, or who is meant.
struct SelectorText(Selector);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Meant {
    #[serde(default)]
    nodes: Vec<NodeName>,
    #[serde(default)]
    groups: Vec<Label>,
    #[serde(default)]
    roles: Vec<Label>,
}

struct SelectorVisitor;

impl<'de> Visitor<'de> for SelectorVisitor {
    type Value = SelectorText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any, or {nodes: […], groups: […], roles: […]}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SelectorText, E> {
        match text {
            "any" => Ok(SelectorText(Selector::everybody())),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SelectorText, A::Error> {
        let Meant { nodes, groups, roles } = Meant::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SelectorText(Selector { any: false, nodes, groups, roles }))
    }
}

impl<'de> Deserialize<'de> for SelectorText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectorVisitor)
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "allowed" => Ok(Self { allowed: true }),
            "denied" => Ok(Self { allowed: false }),
            _ => Err(D::Error::custom("expect is allowed or denied")),
        }
    }
}
