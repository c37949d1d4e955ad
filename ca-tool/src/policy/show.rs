//! A policy written out again: as YAML that can be pushed, and as JSON.
//!
//! **Invariant:** what [`to_yaml`] writes is read back as the same rules and quotas.

use std::fmt::Write as _;

use serde_json::{Value, json};
use shared::policy::{Effect, Filter, Grant, Policy, Ports, Quota, Rates, Selector};

/// The rules and quotas as the file has them.
#[must_use]
pub fn to_yaml(policy: &Policy) -> String {
    let mut text = String::from(if policy.rules.is_empty() { "rules: []\n" } else { "rules:\n" });
    for rule in &policy.rules {
        let grants: Vec<String> = rule.grants.iter().map(grant).collect();
        let _ = write!(
            text,
            "  - name: {}\n    {}: [{}]\n    from: {}\n    to: {}\n",
            word(rule.name.as_str()),
            effect(rule.effect),
            grants.join(", "),
            selector(&rule.from),
            selector(&rule.to),
        );
    }
    if !policy.quotas.is_empty() {
        text.push_str("quotas:\n");
    }
    for quota in &policy.quotas {
        let name = word(quota.name.as_str());
        let _ = write!(text, "  - name: {name}\n    from: {}\n", selector(&quota.from));
        for (key, rate) in rates(&quota.rates) {
            let _ = writeln!(text, "    {key}: {rate}");
        }
    }
    text
}

/// The same for programs.
#[must_use]
pub fn to_value(policy: &Policy) -> Value {
    let rules: Vec<Value> = policy
        .rules
        .iter()
        .map(|rule| {
            let grants: Vec<Value> = rule.grants.iter().map(grant_value).collect();
            json!({ "name": rule.name, effect(rule.effect): grants,
                "from": selector_value(&rule.from), "to": selector_value(&rule.to) })
        })
        .collect();
    let quotas: Vec<Value> = policy.quotas.iter().map(quota_value).collect();
    json!({ "rules": rules, "quotas": quotas })
}

const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

fn grant(grant: &Grant) -> String {
    let word = grant.ask().as_str();
    match grant {
        Grant::Publish(filters) | Grant::Subscribe(filters) => {
            let filters: Vec<String> = filters.iter().map(|f| quoted(f.as_str())).collect();
            format!("{{{word}: [{}]}}", filters.join(", "))
        }
        Grant::Forward(Ports { first, last }) if first == last => format!("{{{word}: {first}}}"),
        Grant::Forward(Ports { first, last }) => format!("{{{word}: \"{first}-{last}\"}}"),
        _ => word.to_owned(),
    }
}

fn grant_value(grant: &Grant) -> Value {
    let word = grant.ask().as_str();
    match grant {
        Grant::Publish(filters) | Grant::Subscribe(filters) => {
            json!({ word: filters.iter().map(Filter::as_str).collect::<Vec<_>>() })
        }
        Grant::Forward(Ports { first, last }) if first == last => json!({ word: first }),
        Grant::Forward(Ports { first, last }) => json!({ word: format!("{first}-{last}") }),
        _ => json!(word),
    }
}

/// The kinds of names a selector has, those that are there.
fn kinds(selector: &Selector) -> Vec<(&'static str, Vec<&str>)> {
    let all = [
        ("nodes", selector.nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>()),
        ("groups", selector.groups.iter().map(|group| group.as_str()).collect()),
        ("roles", selector.roles.iter().map(|role| role.as_str()).collect()),
    ];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

fn selector(selector: &Selector) -> String {
    if selector.any {
        return "any".to_owned();
    }
    let kinds = kinds(selector).into_iter().map(|(kind, names)| {
        let names: Vec<String> = names.into_iter().map(word).collect();
        format!("{kind}: [{}]", names.join(", "))
    });
    format!("{{{}}}", kinds.collect::<Vec<_>>().join(", "))
}

fn selector_value(selector: &Selector) -> Value {
    if selector.any {
        return json!("any");
    }
    kinds(selector).into_iter().map(|(kind, names)| (kind.to_owned(), json!(names))).collect()
}

fn quota_value(quota: &Quota) -> Value {
    let mut value = json!({ "name": quota.name, "from": selector_value(&quota.from) });
    if let Some(object) = value.as_object_mut() {
        object.extend(rates(&quota.rates).map(|(key, rate)| (key.to_owned(), json!(rate))));
    }
    value
}

fn rates(rates: &Rates) -> impl Iterator<Item = (&'static str, u32)> {
    [
        ("messages-per-second", rates.messages_per_second),
        ("bytes-per-second", rates.bytes_per_second),
        ("handshakes-per-minute", rates.handshakes_per_minute),
    ]
    .into_iter()
    .filter_map(|(key, rate)| rate.map(|rate| (key, rate)))
}

/// A name; in quotes where YAML would take it for something else.
fn word(name: &str) -> String {
    let other = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&name);
    let plain = !other && name.starts_with(|c: char| c.is_ascii_lowercase());
    if plain { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
