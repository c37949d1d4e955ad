//! Shared subscriptions on one peer.

use mqtt::codec::Qos;

use crate::rig::{Rig, at, kept, lasting, message, plain};

#[test]
fn each_message_goes_to_exactly_one_member_and_to_everybody_else() {
    let rig = Rig::new();
    let mut publisher = rig.client("p");
    let mut members = [rig.client("a"), rig.client("b"), rig.client("c")];
    for member in &mut members {
        member.subscribe("$share/workers/job/+", at(Qos::AtLeastOnce), rig.now);
    }
    let (mut alone, mut plainly) = (rig.client("alone"), rig.client("plainly"));
    alone.subscribe("$share/others/job/#", at(Qos::AtMostOnce), rig.now);
    plainly.subscribe("job/#", at(Qos::AtMostOnce), rig.now);
    for number in 0..30 {
        let id = publisher.id();
        let text = number.to_string();
        publisher.publish(message("job/x", &text, Qos::AtLeastOnce, Some(id)), rig.now);
    }
    let parts: Vec<Vec<String>> = members.iter_mut().map(|m| m.texts(rig.now)).collect();
    assert!(parts.iter().all(|part| part.len() == 10), "{parts:?}");
    let mut all: Vec<u32> = parts.concat().iter().map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    assert_eq!((alone.messages(rig.now).len(), plainly.messages(rig.now).len()), (30, 30));
}

#[test]
fn who_is_connected_comes_before_who_is_away() {
    let rig = Rig::new();
    let (mut away, _) = rig.connected(&lasting("away"));
    let mut here = rig.client("here");
    away.subscribe("$share/g/t", at(Qos::AtLeastOnce), rig.now);
    here.subscribe("$share/g/t", at(Qos::AtLeastOnce), rig.now);
    away.broken(rig.now);
    let mut publisher = rig.client("p");
    for _ in 0..4 {
        let id = publisher.id();
        publisher.publish(message("t", "x", Qos::AtLeastOnce, Some(id)), rig.now);
    }
    assert_eq!(here.messages(rig.now).len(), 4);
    here.broken(rig.now);
    let id = publisher.id();
    publisher.publish(message("t", "kept", Qos::AtLeastOnce, Some(id)), rig.now);
    let (mut away, _) = rig.connected(&lasting("away"));
    assert_eq!(away.texts(rig.now), ["kept"], "it waits for the only one there is");
}

#[test]
fn what_is_retained_is_not_told_to_groups() {
    let rig = Rig::new();
    rig.client("p").publish(kept("t", "x"), rig.now);
    let mut line = rig.client("a");
    line.subscribe("$share/g/t", at(Qos::AtMostOnce), rig.now);
    assert!(line.messages(rig.now).is_empty());
    line.publish(plain("t", "live"), rig.now);
}
