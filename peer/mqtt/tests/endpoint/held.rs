//! Who is waited for, and who is left behind.

use std::task::Waker;

use mqtt::codec::Qos;
use mqtt::limits::{HOLD_MS, OUT_BYTES_HIGH};

use crate::rig::{Line, Rig, at, message, plain};

const BYTES: usize = 50_000;

fn is_held(line: &mut Line) -> bool {
    line.client.is_held(Waker::noop())
}

/// Says messages until it is held; how many.
fn fill(line: &mut Line, rig: &Rig, qos: Qos) -> usize {
    let text = "x".repeat(BYTES);
    let mut said = 0;
    while !is_held(line) {
        let id = (qos != Qos::AtMostOnce).then(|| line.id());
        line.publish(message("t", &text, qos, id), rig.now);
        said += 1;
        assert!(said * BYTES < 100 * OUT_BYTES_HIGH, "nobody is held");
    }
    said
}

fn dropped(rig: &Rig, client: &str) -> u64 {
    let views = rig.broker.views(usize::MAX);
    views.iter().find(|view| view.client == client).unwrap().dropped
}

#[test]
fn whoever_takes_all_it_is_given_loses_nothing_however_many_speak() {
    let mut rig = Rig::new();
    let (mut first, mut second, mut reader) = (rig.client("1"), rig.client("2"), rig.client("r"));
    reader.subscribe("t", at(Qos::AtMostOnce), rig.now);
    let mut said = fill(&mut first, &rig, Qos::AtMostOnce);
    second.publish(plain("t", "and this"), rig.now);
    said += 1;
    let mut heard = 0;
    // Always the first one is quicker, and the second finds it full again.
    for _ in 0..10 {
        heard += reader.messages(rig.now).len();
        rig.now.tick = rig.now.tick.plus_ms(HOLD_MS * 2 / 3);
        said += fill(&mut first, &rig, Qos::AtMostOnce);
        assert!(is_held(&mut second));
        second.wake(rig.now);
        assert!(is_held(&mut second), "it is waited for as long as it goes on");
    }
    heard += reader.messages(rig.now).len();
    assert_eq!((heard, dropped(&rig, "r")), (said, 0));
    assert!(!is_held(&mut second));
    // Now it stops, and holds nobody for long.
    let _ = fill(&mut first, &rig, Qos::AtMostOnce);
    rig.now.tick = rig.now.tick.plus_ms(HOLD_MS - 1);
    first.wake(rig.now);
    assert!(is_held(&mut first));
    rig.now.tick = rig.now.tick.plus_ms(1);
    first.wake(rig.now);
    assert!(!is_held(&mut first));
}

#[test]
fn what_it_reads_beside_does_not_make_up_for_what_it_does_not_acknowledge() {
    let mut rig = Rig::new();
    let (mut publisher, mut other, mut reader) =
        (rig.client("p"), rig.client("o"), rig.client("r"));
    reader.subscribe("t", at(Qos::AtLeastOnce), rig.now);
    reader.subscribe("u", at(Qos::AtMostOnce), rig.now);
    let _ = fill(&mut publisher, &rig, Qos::AtLeastOnce);
    let mut heard = reader.messages(rig.now);
    other.publish(plain("u", &"x".repeat(OUT_BYTES_HIGH)), rig.now);
    assert_eq!(reader.messages(rig.now).len(), 1);
    rig.now.tick = rig.now.tick.plus_ms(HOLD_MS);
    publisher.wake(rig.now);
    assert!(!is_held(&mut publisher), "it acknowledged nothing");
    // With an acknowledgement of enough it is waited for again.
    rig.now.tick = rig.now.tick.plus_ms(HOLD_MS);
    assert!(reader.octets(rig.now).is_empty());
    let _ = fill(&mut publisher, &rig, Qos::AtLeastOnce);
    let enough = heard.drain(..OUT_BYTES_HIGH / 2 / BYTES + 1);
    enough.for_each(|message| reader.ack(message.packet_id.unwrap(), rig.now));
    rig.now.tick = rig.now.tick.plus_ms(HOLD_MS);
    publisher.wake(rig.now);
    assert!(is_held(&mut publisher));
}
