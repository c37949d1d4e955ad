//! Policy files: what is understood, what is refused and how it is said.

use shared::policy::{Effect, Grant, Ports};

use super::*;

const RULE: &str = "rules:\n  - {name: all, allow: [connect, send], from: any, to: any}\n";

fn read(text: &str) -> Result<PolicyFile, CaError> {
    PolicyFile::parse(text, Path::new("policy.yaml"))
}

fn said(text: &str) -> (String, String) {
    let error = read(text).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn the_shipped_policy_is_the_built_in_one() {
    let shipped = PolicyFile::shipped().unwrap();
    let built_in = Policy::built_in();
    assert_eq!(
        (shipped.policy.rules.clone(), shipped.policy.quotas.clone()),
        (built_in.rules, built_in.quotas)
    );
    assert!(shipped.passed().unwrap() > 3);
}

const EVERYTHING: &str = r#"
rules:
  - name: sensors
    allow: [{publish: ["plant/%node/#"]}, {subscribe: "plant/#"}, {forward: 22},
      {forward: "8000-8010"}, share, get, time-root]
    from: {nodes: [alice], groups: [sensors], roles: [relay]}
    to: any
  - name: true-lab
    deny: [connect, send]
    from: {groups: ["on", "1"]}
    to: {nodes: [bob]}
quotas:
  - {name: chatty, from: {groups: [lab]}, messages-per-second: 100, bytes-per-second: 1000000,
     handshakes-per-minute: 60}
tests:
  - {from: {node: eve, groups: [sensors]}, to: {node: bob},
     action: {publish: plant/eve/t}, expect: allowed}
  - {from: {node: eve, groups: [sensors]}, to: {node: bob},
     action: {publish: plant/bob/t}, expect: denied}
  - {from: {node: alice}, to: {node: bob}, action: {subscribe: "plant/+/t"}, expect: allowed}
  - {from: {node: alice}, to: {node: bob}, action: {forward: 8005}, expect: allowed}
  - {from: {node: alice}, to: {node: bob}, action: {forward: 8011}, expect: denied}
  - {from: {node: x, groups: ["on"]}, to: {node: bob}, action: send, expect: denied}
"#;

#[test]
fn every_word_is_understood_and_written_out_again() {
    let file = read(EVERYTHING).unwrap();
    assert_eq!(file.passed().unwrap(), 6);
    let [sensors, lab] = file.policy.rules.as_slice() else { panic!("two rules") };
    assert_eq!(lab.effect, Effect::Deny);
    assert_eq!(sensors.grants.len(), 7);
    assert!(sensors.grants.contains(&Grant::Forward(Ports { first: 8000, last: 8010 })));
    assert_eq!(file.policy.quotas[0].rates.messages_per_second, Some(100));
    let again = read(&to_yaml(&file.policy)).unwrap();
    assert_eq!(again.policy, file.policy);
    let value = to_value(&file.policy);
    assert_eq!(value["rules"][1]["deny"][0], "connect");
    assert_eq!(value["quotas"][0]["handshakes-per-minute"], 60);
}

#[test]
fn a_mistyped_word_has_its_place_and_its_neighbour() {
    for (wrong, right) in [
        ("frm: any", "from"),
        ("from: {group: [lab]}", "groups"),
        ("from: any, deny: [conect]", "connect"),
        ("from: any, deny: [{publsh: [\"a/#\"]}]", "publish"),
    ] {
        let (what, hint) = said(&format!("rules:\n  - {{name: all, {wrong}, to: any}}\n"));
        assert!(what.starts_with("policy.yaml:2:"), "{what}");
        assert_eq!(hint, format!("did you mean `{right}`?"), "{what}");
    }
    let (what, hint) = said(&format!("{RULE}quota: []\n"));
    assert!(what.starts_with("policy.yaml:3:1: unknown key quota"), "{what}");
    assert_eq!(hint, "did you mean `quotas`?");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let rule = |rest: &str| said(&format!("rules:\n  - {{name: all, {rest}}}\n")).0;
    for (wrong, why) in [
        ("from: any, to: any", "one of allow and deny"),
        ("allow: [send], deny: [send], from: any, to: any", "one of allow and deny"),
        ("allow: [publish], from: any, to: any", "publish needs more"),
        ("allow: [{send: 1}], from: any, to: any", "a word alone"),
        ("allow: [{forward: 22, publish: a}], from: any, to: any", "one action to an entry"),
        ("allow: [{forward: 0}], from: any, to: any", "TCP port"),
        ("allow: [{forward: \"9-5\"}], from: any, to: any", "TCP port"),
        ("allow: [{publish: [\"a/#/b\"]}], from: any, to: any", "`#` is the last"),
        ("allow: [{publish: [\"a/%nod\"]}], from: any, to: any", "never apply"),
        ("allow: [send], from: all, to: any", "any, or {nodes"),
        ("allow: [send], from: {}, to: any", "means nobody"),
        ("allow: [], from: any, to: any", "never apply"),
        ("allow: [send], from: any", "missing field"),
    ] {
        let what = rule(wrong);
        assert!(what.contains(why) && what.starts_with("policy.yaml"), "{wrong}: {what}");
    }
    let second = "  - {name: b, deny: [send], from: {groups: [lab]}, to: any}\n";
    let (what, hint) = said(&format!("{RULE}{second}"));
    assert!(what.ends_with("rule b never decides: rule all comes first and covers it"), "{what}");
    assert!(hint.contains("move the rule up"));
}

#[test]
fn a_failing_test_says_which_what_and_why() {
    let test = |expect: &str| {
        let to = "to: {node: alice}";
        format!("{RULE}tests:\n  - {{from: {{node: bob}}, {to}, action: send, expect: {expect}}}\n")
    };
    assert_eq!(read(&test("allowed")).unwrap().passed().unwrap(), 1);
    let failed = read(&test("denied")).unwrap().passed().unwrap_err();
    assert_eq!(
        failed.to_string(),
        "policy.yaml: 1 of 1 tests failed: test 1, bob: send to alice: expected denied, came \
         allowed by rule all"
    );
    assert_eq!(failed.hint().unwrap(), "see all: ca-tool policy test policy.yaml");
    let none = test("allowed").replace("action: send", "name: files, action: get");
    let outcomes = read(&none).unwrap().outcomes();
    assert_eq!(outcomes[0].because(), "because no rule matches");
    assert_eq!(outcomes[0].test, "files (bob: get to alice)");
    assert!(said(&test("maybe")).0.contains("allowed or denied"));
}
