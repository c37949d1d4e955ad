//! A policy's topics as other engines write them, for whoever leaves or bridges to one.
//!
//! Mosquitto's access list and NATS' permissions know users, and no groups, no first match and no
//! second party. So it is worked out for each node, and where their words cannot say the same, they
//! say less: an export never allows what the policy does not.
//!
//! **Invariant:** what is exported for a node is allowed to it by the policy, at every peer.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use shared::name::{Label, NetworkName, NodeName};
use shared::policy::{Effect, Filter, Grant, Policy, Rule, overlaps};

/// For which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An `acl_file`, with `use_identity_as_username true`.
    Mosquitto,
    /// An `authorization` block, with `verify_and_map: true`.
    Nats,
}

/// Who is to be written down.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The node.
    pub node: NodeName,
    /// Its groups.
    pub groups: BTreeSet<Label>,
    /// Its roles.
    pub roles: BTreeSet<Label>,
}

/// The text, and what it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// For the engine.
    pub text: String,
    /// What the policy allows and this does not.
    pub narrowed: Vec<String>,
}

/// Writes a policy down for some nodes of a network.
#[must_use]
pub fn export(
    policy: &Policy,
    network: &NetworkName,
    subjects: &[Subject],
    format: Format,
) -> Export {
    let mut narrowed = BTreeSet::new();
    let users = subjects.iter().map(|subject| {
        let publish = topics(policy, subject, Act::Publish, &mut narrowed);
        let subscribe = topics(policy, subject, Act::Subscribe, &mut narrowed);
        match format {
            Format::Mosquitto => mosquitto(&subject.node, &publish, &subscribe),
            Format::Nats => nats(&subject.node, network, &publish, &subscribe, &mut narrowed),
        }
    });
    let users: String = users.collect();
    let number = policy.number;
    let text = match format {
        Format::Mosquitto => format!(
            "# Topics of policy {number} of {network}. In mosquitto.conf:\n\
             #   use_identity_as_username true\n#   acl_file FILE\n{users}"
        ),
        Format::Nats => format!(
            "# Topics of policy {number} of {network}. In nats-server.conf, with\n\
             #   tls {{ verify_and_map: true, ... }}\n\
             authorization {{\n  users: [\n{users}  ]\n}}\n"
        ),
    };
    Export { text, narrowed: narrowed.into_iter().collect() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Publish,
    Subscribe,
}

impl Act {
    fn filters(self, grant: &Grant) -> Option<&[Filter]> {
        match (self, grant) {
            (Self::Publish, Grant::Publish(filters))
            | (Self::Subscribe, Grant::Subscribe(filters)) => Some(filters),
            _ => None,
        }
    }
}

/// The filters that a node may use at every peer, whatever else stands in the policy.
fn topics(
    policy: &Policy,
    subject: &Subject,
    act: Act,
    narrowed: &mut BTreeSet<String>,
) -> Vec<Filter> {
    let meant = |rule: &&Rule| rule.from.selects(&subject.node, &subject.groups, &subject.roles);
    let mut denied: Vec<Filter> = Vec::new();
    let mut allowed = Vec::new();
    for rule in policy.rules.iter().filter(meant) {
        for filter in rule.grants.iter().filter_map(|grant| act.filters(grant)).flatten() {
            let Some(own) = own(filter, &subject.node) else {
                // What %client stands for only the engine knows; a denial of it denies every one.
                if rule.effect == Effect::Deny {
                    denied.extend(Filter::parse(&filter.as_str().replace("%client", "+")).ok());
                } else {
                    narrowed.insert(format!("{}: %client in {}", rule.name, filter.as_str()));
                }
                continue;
            };
            match rule.effect {
                Effect::Deny => denied.push(own),
                Effect::Allow if !rule.to.any => {
                    narrowed.insert(format!("{}: only at some peers", rule.name));
                }
                Effect::Allow if denied.iter().any(|no| overlaps(no, &own, |_| None)) => {
                    let what = own.as_str();
                    narrowed.insert(format!("{}: {what}, part of which is denied", rule.name));
                }
                Effect::Allow => allowed.push(own),
            }
        }
    }
    allowed
}

/// A filter with a node's own name in it.
fn own(filter: &Filter, node: &NodeName) -> Option<Filter> {
    if filter.as_str().split('/').any(|level| level == "%client") {
        return None;
    }
    let levels = filter.as_str().split('/');
    let own = levels.map(|level| if level == "%node" { node.as_str() } else { level });
    Filter::parse(&own.collect::<Vec<_>>().join("/")).ok()
}

fn mosquitto(node: &NodeName, publish: &[Filter], subscribe: &[Filter]) -> String {
    let mut text = format!("\nuser {node}\n");
    for (word, filters) in [("write", publish), ("read", subscribe)] {
        for filter in filters {
            let _ = writeln!(text, "topic {word} {}", filter.as_str());
        }
    }
    text
}

fn nats(
    node: &NodeName,
    network: &NetworkName,
    publish: &[Filter],
    subscribe: &[Filter],
    narrowed: &mut BTreeSet<String>,
) -> String {
    let mut list = |filters: &[Filter]| {
        let mut subjects = BTreeSet::new();
        for filter in filters {
            match to_subjects(filter.as_str()) {
                Some(more) => subjects.extend(more),
                None => {
                    let what = filter.as_str();
                    narrowed.insert(format!("{what}: no subject of NATS can be that"));
                }
            }
        }
        let quoted: Vec<String> = subjects.iter().map(|subject| format!("{subject:?}")).collect();
        quoted.join(", ")
    };
    let publish = permission(list(publish));
    // What MQTT hears at QoS 1 comes there on subjects of the server's own. Over any other protocol
    // those would be everybody's, so a user comes by MQTT alone; there nobody may ask for them.
    let heard = Some(list(subscribe)).filter(|subjects| !subjects.is_empty());
    let subscribe =
        permission(heard.map_or(String::new(), |subjects| format!("{OWN}, {subjects}")));
    let lines = [
        "    {".to_owned(),
        format!("      user: \"{node}.{network}\""),
        "      allowed_connection_types: [\"MQTT\"]".to_owned(),
        "      permissions: {".to_owned(),
        format!("        publish: {{ {publish} }}"),
        format!("        subscribe: {{ {subscribe} }}"),
        "      }".to_owned(),
        "    }\n".to_owned(),
    ];
    lines.join("\n")
}

/// Where NATS delivers what was subscribed to at QoS 1.
const OWN: &str = "\"$MQTT.sub.>\"";

/// An empty list allows everything there, so whoever may nothing is denied everything.
fn permission(subjects: String) -> String {
    if subjects.is_empty() { "deny: [\">\"]".to_owned() } else { format!("allow: [{subjects}]") }
}

/// The subjects that a filter matches; `a/#` matches `a` too, and `a.>` does not.
fn to_subjects(filter: &str) -> Option<Vec<String>> {
    let strange = |level: &str| {
        level.is_empty() || level.contains(['.', ' ', '*', '>', '"', '\\']) || !level.is_ascii()
    };
    if filter.starts_with('$') || filter.split('/').any(strange) {
        return None;
    }
    let words = filter.split('/').map(|level| match level {
        "+" => "*",
        "#" => ">",
        name => name,
    });
    let subject = words.collect::<Vec<_>>().join(".");
    let above = subject.strip_suffix(".>").map(str::to_owned);
    Some(above.into_iter().chain([subject.clone()]).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::PolicyFile;

    fn subject(name: &str, groups: &[&str]) -> Subject {
        let label = |text: &&str| Label::parse(text).unwrap();
        Subject {
            node: NodeName::parse(name).unwrap(),
            groups: groups.iter().map(label).collect(),
            roles: BTreeSet::new(),
        }
    }

    fn of(rules: &str, format: Format) -> Export {
        let text = format!("rules:\n{rules}quotas: []\ntests: []\n");
        let policy = PolicyFile::parse(&text, Path::new("p")).unwrap().policy;
        let network = NetworkName::parse("mesh.example").unwrap();
        export(&policy, &network, &[subject("bob", &["sensors"]), subject("eve", &[])], format)
    }

    const SENSORS: &str = "  - {name: s, allow: [{publish: [\"plant/%node/#\"]}, {subscribe: \
                           [\"plant/+/t\"]}], from: {groups: [sensors]}, to: any}\n";

    #[test]
    fn each_node_has_its_own_topics_and_nobody_elses() {
        let said = of(SENSORS, Format::Mosquitto);
        let bob = "\nuser bob\ntopic write plant/bob/#\ntopic read plant/+/t\n\nuser eve\n";
        assert!(said.text.ends_with(bob), "{}", said.text);
        assert!(said.narrowed.is_empty());
        let said = of(SENSORS, Format::Nats);
        let bob = "publish: { allow: [\"plant.bob\", \"plant.bob.>\"] }";
        assert!(said.text.contains(bob) && said.text.contains("\"bob.mesh.example\""));
        let heard = "subscribe: { allow: [\"$MQTT.sub.>\", \"plant.*.t\"] }";
        assert!(said.text.contains(heard), "{}", said.text);
        assert_eq!(said.text.matches("allowed_connection_types: [\"MQTT\"]").count(), 2);
        // An empty list would allow eve everything.
        let eve = said.text.split("eve.mesh.example").nth(1).unwrap();
        assert_eq!(eve.matches("{ deny: [\">\"] }").count(), 2, "{eve}");
    }

    #[test]
    fn what_cannot_be_said_is_left_out_and_named() {
        for (rules, named) in [
            (
                "  - {name: no, deny: [{subscribe: [\"a/secret\"]}], from: any, to: any}\n  \
                 - {name: yes, allow: [{subscribe: [\"a/#\"]}], from: any, to: any}\n",
                "yes: a/#, part of which is denied",
            ),
            (
                "  - {name: c, allow: [{subscribe: [\"a/%client\"]}], from: any, to: any}\n",
                "c: %client in a/%client",
            ),
            (
                "  - {name: one, allow: [{subscribe: [\"a\"]}], from: any, to: {nodes: [x]}}\n",
                "one: only at some peers",
            ),
        ] {
            for format in [Format::Mosquitto, Format::Nats] {
                let said = of(rules, format);
                assert!(!said.text.contains("read a") && !said.text.contains("\"a"), "{rules}");
                assert_eq!(said.narrowed, [named]);
            }
        }
        let odd = "  - {name: o, allow: [{publish: [\"a.b/c\"]}], from: any, to: any}\n";
        assert!(of(odd, Format::Mosquitto).text.contains("topic write a.b/c\n"));
        let said = of(odd, Format::Nats);
        assert_eq!(said.narrowed, ["a.b/c: no subject of NATS can be that"]);
    }

    #[test]
    fn an_earlier_permission_outlives_a_later_denial_as_in_the_policy() {
        let rules = "  - {name: y, allow: [{publish: [\"a/b\"]}], from: any, to: any}\n  \
                     - {name: n, deny: [{publish: [\"a/#\"]}], from: any, to: any}\n";
        assert!(of(rules, Format::Mosquitto).text.contains("topic write a/b\n"));
    }
}
