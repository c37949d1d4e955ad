//! Contradictions: what a policy says in vain.

use std::collections::BTreeSet;

use super::filter::covers;
use super::rule::{Grant, Rule};
use super::signed::Policy;
use crate::name::Label;

/// A rule that cannot be meant. Whose fault: whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Two rules, or two quotas, of one name.
    #[error("{kind} {name} is there twice")]
    Twice {
        /// `rule` or `quota`.
        kind: &'static str,
        /// The name.
        name: Label,
    },
    /// A rule that never decides, because an earlier one does first.
    #[error("rule {name} never decides: rule {by} comes first and covers it")]
    Shadowed {
        /// The rule.
        name: Label,
        /// The earlier one.
        by: Label,
    },
    /// A rule or quota that means nobody or says nothing that can apply.
    #[error("{name} means nobody, or says something that can never apply")]
    Empty {
        /// Its name.
        name: Label,
    },
}

/// Looks for contradictions; the first is the answer.
///
/// # Errors
/// [`Contradiction`].
pub fn lint(policy: &Policy) -> Result<(), Contradiction> {
    let mut names = BTreeSet::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let name = rule.name.clone();
        if !names.insert(&rule.name) {
            return Err(Contradiction::Twice { kind: "rule", name });
        }
        let nobody = |selector: &super::rule::Selector| !selector.any && selector.len() == 0;
        let vain = rule.grants.is_empty() || rule.grants.iter().any(is_vain);
        if vain || nobody(&rule.from) || nobody(&rule.to) {
            return Err(Contradiction::Empty { name });
        }
        let earlier = policy.rules.iter().take(index);
        if let Some(by) = earlier.into_iter().find(|earlier| shadows(earlier, rule)) {
            return Err(Contradiction::Shadowed { name, by: by.name.clone() });
        }
    }
    let mut names = BTreeSet::new();
    for quota in &policy.quotas {
        if !names.insert(&quota.name) {
            return Err(Contradiction::Twice { kind: "quota", name: quota.name.clone() });
        }
        let nobody = !quota.from.any && quota.from.len() == 0;
        if nobody || quota.rates == super::rule::Rates::default() {
            return Err(Contradiction::Empty { name: quota.name.clone() });
        }
    }
    Ok(())
}

/// A grant that can never apply: no filter, ports in the wrong order, `%` and no word for it.
fn is_vain(grant: &Grant) -> bool {
    match grant {
        Grant::Publish(filters) | Grant::Subscribe(filters) => {
            filters.is_empty() || filters.iter().any(super::filter::Filter::is_strange)
        }
        Grant::Forward(ports) => ports.first == 0 || ports.first > ports.last,
        _ => false,
    }
}

/// Whether the earlier rule decides everything that the later one could.
fn shadows(earlier: &Rule, later: &Rule) -> bool {
    earlier.from.covers(&later.from)
        && earlier.to.covers(&later.to)
        && later.grants.iter().all(|grant| earlier.grants.iter().any(|e| includes(e, grant)))
}

fn includes(earlier: &Grant, later: &Grant) -> bool {
    // `%node` stands for itself here: it means the same in both.
    let own = |name: &str| Some(if name == "%node" { "%node" } else { "%client" });
    match (earlier, later) {
        (Grant::Publish(e), Grant::Publish(l)) | (Grant::Subscribe(e), Grant::Subscribe(l)) => {
            l.iter().all(|later| e.iter().any(|earlier| covers(earlier, later, own)))
        }
        (Grant::Forward(e), Grant::Forward(l)) => e.first <= l.first && l.last <= e.last,
        (earlier, later) => earlier.ask() == later.ask(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::super::rule::{Effect, Ports, Selector};
    use super::*;

    fn rule(name: &str, effect: Effect, grants: Vec<Grant>, from: &[&str]) -> Rule {
        let groups = from.iter().map(|group| Label::parse(group).unwrap()).collect();
        let from = Selector { any: from.is_empty(), groups, ..Selector::default() };
        Rule { name: Label::parse(name).unwrap(), effect, grants, from, to: Selector::everybody() }
    }

    fn check(rules: Vec<Rule>) -> Result<(), Contradiction> {
        lint(&Policy { rules, ..Policy::built_in() })
    }

    #[test]
    fn a_rule_that_never_decides_is_found_and_a_narrower_one_before_is_fine() {
        let all = || rule("all", Effect::Allow, vec![Grant::Connect, Grant::Send], &[]);
        let lab = || rule("lab", Effect::Deny, vec![Grant::Send], &["lab"]);
        assert_eq!(check(vec![lab(), all()]), Ok(()));
        let found = check(vec![all(), lab()]).unwrap_err();
        assert_eq!(found.to_string(), "rule lab never decides: rule all comes first and covers it");
    }

    #[test]
    fn the_same_name_twice_or_a_rule_about_nothing_is_found() {
        let one = || rule("one", Effect::Allow, vec![Grant::Connect], &["lab"]);
        let other = rule("one", Effect::Allow, vec![Grant::Send], &["lab"]);
        assert!(matches!(check(vec![one(), other]), Err(Contradiction::Twice { .. })));
        let strange = vec![Filter::parse("a/%nod").unwrap()];
        for grants in [
            vec![],
            vec![Grant::Publish(vec![])],
            vec![Grant::Forward(Ports { first: 9, last: 5 })],
            vec![Grant::Subscribe(strange)],
        ] {
            let empty = rule("none", Effect::Allow, grants, &[]);
            assert!(matches!(check(vec![empty]), Err(Contradiction::Empty { .. })));
        }
        assert_eq!(lint(&Policy::built_in()), Ok(()));
    }
}
