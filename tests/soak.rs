//! Twenty thousand messages and twenty restarts: the soak of `make soak`, made small.

use tests::soak::{Size, run};

#[test]
fn every_message_arrives_once_and_in_order_whatever_is_restarted() {
    let report = run(Size { messages: 20_000, restarts: 20 }, |_| {});
    assert!(report.messages > 19_900 && report.relinked == 60, "{report:?}");
}
