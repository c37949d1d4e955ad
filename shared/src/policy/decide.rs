//! The evaluator: a policy compiled once, asked often.
//!
//! **Invariant:** it says what the rules say, read one after the other.

use std::collections::BTreeMap;

use super::filter::{Filter, covers, matches, overlaps};
use super::rule::{Ask, Effect, Grant, Quota, Rates, Rule, Selector};
use super::signed::Policy;
use crate::cert::Attributes;
use crate::limits::POLICY_RULES_MAX;
use crate::name::{Label, NodeName};

/// A node with what its certificate says of it.
#[derive(Debug, Clone, Copy)]
pub struct Who<'w> {
    /// Its name.
    pub node: &'w NodeName,
    /// Its groups and roles.
    pub attributes: &'w Attributes,
}

impl Who<'_> {
    /// Whether it is the authority, by its name and its role.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        let role = self.attributes.has_role(NodeName::AUTHORITY);
        self.node.as_str() == NodeName::AUTHORITY && role
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'r> {
    /// To have a link.
    Connect,
    /// To send messages.
    Send,
    /// To publish on this topic, as this client.
    Publish {
        /// The topic.
        topic: &'r str,
        /// The client's identifier, if it has one.
        client: Option<&'r str>,
    },
    /// To subscribe to this filter, as this client.
    Subscribe {
        /// The filter.
        filter: &'r Filter,
        /// The client's identifier, if it has one.
        client: Option<&'r str>,
    },
    /// To offer files.
    Share,
    /// To fetch files.
    Get,
    /// To reach this TCP port.
    Forward(u16),
    /// To vouch for outside time.
    TimeRoot,
}

impl Request<'_> {
    /// Its kind.
    #[must_use]
    pub const fn ask(&self) -> Ask {
        match self {
            Self::Connect => Ask::Connect,
            Self::Send => Ask::Send,
            Self::Publish { .. } => Ask::Publish,
            Self::Subscribe { .. } => Ask::Subscribe,
            Self::Share => Ask::Share,
            Self::Get => Ask::Get,
            Self::Forward(_) => Ask::Forward,
            Self::TimeRoot => Ask::TimeRoot,
        }
    }
}

/// The answer, and which rule gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Whether it may.
    pub allowed: bool,
    /// The rule's place, from 0, and its name; none: nothing matched.
    pub by: Option<(usize, &'p Label)>,
}

/// Which rules mean a node: found once for each policy and node, then asked often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    node: NodeName,
    from: Mask,
    to: Mask,
}

/// A set of rules by their places.
type Mask = [u64; POLICY_RULES_MAX / 64];

/// A policy ready to be asked.
#[derive(Debug, Clone)]
pub struct Policing {
    number: u64,
    rules: Vec<Rule>,
    quotas: Vec<Quota>,
    /// For each kind of question the rules that say anything about it.
    about: BTreeMap<Ask, Mask>,
}

impl Policing {
    /// Compiles a policy.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let rules = &policy.rules;
        let about = Ask::ALL.into_iter().map(|ask| {
            (ask, mask(rules, |rule| rule.grants.iter().any(|grant| grant.ask() == ask)))
        });
        Self {
            number: policy.number,
            about: about.collect(),
            rules: policy.rules.clone(),
            quotas: policy.quotas.clone(),
        }
    }

    /// The policy's number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Which rules mean this node, as the one who asks and as the one who is asked.
    #[must_use]
    pub fn standing(&self, who: Who<'_>) -> Standing {
        let selected = |selector: &Selector| {
            selector.selects(who.node, &who.attributes.groups, &who.attributes.roles)
        };
        Standing {
            node: who.node.clone(),
            from: mask(&self.rules, |rule| selected(&rule.from)),
            to: mask(&self.rules, |rule| selected(&rule.to)),
        }
    }

    /// Whether `from` may do this with `to`, and by which rule.
    #[must_use]
    pub fn decide(&self, from: &Standing, to: &Standing, request: Request<'_>) -> Decision<'_> {
        let none = [0; POLICY_RULES_MAX / 64];
        let about = self.about.get(&request.ask()).unwrap_or(&none);
        let words = about.iter().zip(&from.from).zip(&to.to).map(|((a, f), t)| a & f & t);
        for (word, mut left) in words.enumerate() {
            while left != 0 {
                let index = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let Some(rule) = self.rules.get(index) else { continue };
                if rule.grants.iter().any(|g| applies(g, rule.effect, &from.node, request)) {
                    let allowed = rule.effect == Effect::Allow;
                    return Decision { allowed, by: Some((index, &rule.name)) };
                }
            }
        }
        Decision { allowed: false, by: None }
    }

    /// How much a node may do.
    #[must_use]
    pub fn rates(&self, who: Who<'_>) -> Rates {
        let meant = |quota: &&Quota| {
            quota.from.selects(who.node, &who.attributes.groups, &who.attributes.roles)
        };
        self.quotas.iter().find(meant).map_or_else(Rates::default, |quota| quota.rates)
    }
}

/// The places of the rules that `of` accepts.
fn mask(rules: &[Rule], of: impl Fn(&Rule) -> bool) -> Mask {
    let mut mask = Mask::default();
    for (index, _) in rules.iter().enumerate().filter(|(_, rule)| of(rule)) {
        if let Some(word) = mask.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }
    mask
}

/// Whether a grant is about a request. A subscription is allowed when every topic of it is, and
/// denied when any is.
fn applies(grant: &Grant, effect: Effect, from: &NodeName, request: Request<'_>) -> bool {
    match (grant, request) {
        (Grant::Publish(filters), Request::Publish { topic, client }) => {
            filters.iter().any(|filter| matches(filter, topic, own(from, client)))
        }
        (Grant::Subscribe(filters), Request::Subscribe { filter: asked, client }) => {
            let own = own(from, client);
            filters.iter().any(|filter| match effect {
                Effect::Allow => covers(filter, asked, &own),
                Effect::Deny => overlaps(filter, asked, &own),
            })
        }
        (Grant::Forward(ports), Request::Forward(port)) => ports.contains(port),
        (grant, request) => grant.ask() == request.ask(),
    }
}

/// What `%node` and `%client` stand for; an empty client identifier is none.
fn own<'o>(from: &'o NodeName, client: Option<&'o str>) -> impl Fn(&str) -> Option<&'o str> {
    move |name| match name {
        "%node" => Some(from.as_str()),
        _ => client.filter(|client| !client.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::rule::Ports;
    use super::*;

    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
    const LABELS: [&str; 3] = ["lab", "sensors", "relay"];

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn node(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn rule(name: &str, effect: Effect, grants: Vec<Grant>, from: Selector, to: Selector) -> Rule {
        Rule { name: label(name), effect, grants, from, to }
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        Policy { rules, ..Policy::built_in() }
    }

    #[test]
    fn nothing_matches_is_no_and_the_first_that_matches_decides() {
        let none = Attributes::default();
        let lab = Attributes { groups: BTreeSet::from([label("lab")]), ..Attributes::default() };
        let (alice, bob) = (node("alice"), node("bob"));
        let who = |node, attributes| Who { node, attributes };
        let in_lab = Selector { groups: vec![label("lab")], ..Selector::default() };
        let policing = Policing::new(&policy(vec![
            rule("not-the-lab", Effect::Deny, vec![Grant::Send], in_lab, Selector::everybody()),
            rule(
                "talk",
                Effect::Allow,
                vec![Grant::Send, Grant::Forward(Ports { first: 22, last: 23 })],
                Selector::everybody(),
                Selector::everybody(),
            ),
        ]));
        let ask = |attributes, request| {
            let decision = policing.decide(
                &policing.standing(who(&alice, attributes)),
                &policing.standing(who(&bob, &none)),
                request,
            );
            (decision.allowed, decision.by.map(|(index, _)| index))
        };
        assert_eq!(ask(&none, Request::Send), (true, Some(1)));
        assert_eq!(ask(&lab, Request::Send), (false, Some(0)));
        assert_eq!(ask(&none, Request::Connect), (false, None));
        assert_eq!(ask(&none, Request::Forward(23)), (true, Some(1)));
        assert_eq!(ask(&none, Request::Forward(24)), (false, None));
    }

    /// A wider subscription does not get around a rule that denies a part of it.
    #[test]
    fn a_subscription_that_touches_what_is_denied_is_denied() {
        let filter = |text: &str| Filter::parse(text).unwrap();
        let everybody = Selector::everybody;
        let policing = Policing::new(&policy(vec![
            rule(
                "secret",
                Effect::Deny,
                vec![Grant::Subscribe(vec![filter("secret/#")])],
                everybody(),
                everybody(),
            ),
            rule(
                "all",
                Effect::Allow,
                vec![Grant::Subscribe(vec![filter("#")])],
                everybody(),
                everybody(),
            ),
        ]));
        let (alice, none) = (node("alice"), Attributes::default());
        let alice = policing.standing(Who { node: &alice, attributes: &none });
        for (asked, allowed) in
            [("public/#", true), ("#", false), ("+/#", false), ("+/key", false), ("secret", false)]
        {
            let request = Request::Subscribe { filter: &filter(asked), client: None };
            assert_eq!(policing.decide(&alice, &alice, request).allowed, allowed, "{asked}");
        }
    }

    fn selector() -> impl Strategy<Value = Selector> {
        let nodes = prop::collection::vec(prop::sample::select(&NAMES[..]), 0..2);
        let groups = prop::collection::vec(prop::sample::select(&LABELS[..]), 0..2);
        (any::<bool>(), nodes, groups).prop_map(|(any, nodes, groups)| Selector {
            any,
            nodes: nodes.into_iter().map(node).collect(),
            groups: groups.into_iter().map(label).collect(),
            roles: Vec::new(),
        })
    }

    fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
        let effect = prop_oneof![Just(Effect::Allow), Just(Effect::Deny)];
        let grant = prop_oneof![
            Just(Grant::Connect),
            Just(Grant::Send),
            Just(Grant::Forward(Ports { first: 5, last: 9 })),
            Just(Grant::Publish(vec![Filter::parse("a/%node/#").unwrap()])),
        ];
        let grants = prop::collection::vec(grant, 1..3);
        let rule = (effect, grants, selector(), selector())
            .prop_map(|(effect, grants, from, to)| rule("r", effect, grants, from, to));
        prop::collection::vec(rule, 0..8)
    }

    proptest! {
        /// The evaluator against the rules read aloud.
        #[test]
        fn it_says_what_the_rules_say(
            rules in some_rules(), from in 0..4_usize, to in 0..4_usize, kind in 0..4_usize,
            groups in prop::collection::btree_set(prop::sample::select(&LABELS[..]), 0..3),
        ) {
            let (from, to) = (node(NAMES[from]), node(NAMES[to]));
            let attributes = Attributes {
                groups: groups.into_iter().map(label).collect(), ..Attributes::default()
            };
            let request = [
                Request::Connect, Request::Send, Request::Forward(9),
                Request::Publish { topic: "a/bob/x", client: None },
            ][kind];
            let mut expected = None;
            for (index, rule) in rules.iter().enumerate() {
                let means = |s: &Selector, n: &NodeName| s.any || s.nodes.contains(n)
                    || s.groups.iter().any(|g| attributes.groups.contains(g));
                let says = rule.grants.iter().any(|grant| match (grant, request) {
                    (Grant::Connect, Request::Connect) | (Grant::Send, Request::Send) => true,
                    (Grant::Forward(_), Request::Forward(_)) => true,
                    (Grant::Publish(_), Request::Publish { .. }) => from.as_str() == "bob",
                    _ => false,
                });
                if says && means(&rule.from, &from) && means(&rule.to, &to) {
                    expected = Some((index, rule.effect == Effect::Allow));
                    break;
                }
            }
            let policing = Policing::new(&policy(rules));
            let stands = |node| policing.standing(Who { node, attributes: &attributes });
            let decision = policing.decide(&stands(&from), &stands(&to), request);
            prop_assert_eq!(decision.by.map(|(index, _)| index), expected.map(|(index, _)| index));
            prop_assert_eq!(decision.allowed, expected.is_some_and(|(_, allowed)| allowed));
        }
    }
}
