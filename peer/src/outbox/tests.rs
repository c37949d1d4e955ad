//! The outbox as its callers see it.

use std::collections::BTreeMap;

use shared::wire::Priority;

use super::*;
use crate::limits::OUTBOX_PAGE;

fn stream(to: &str, priority: Priority) -> StreamId {
    StreamId { to: NodeName::parse(to).unwrap(), priority }
}

fn draft(to: &str, at: i64, ttl: i64, bodies: &[&str]) -> Draft {
    Draft {
        stream: stream(to, Priority::Normal),
        at: Timestamp::from_s(at),
        expires: Timestamp::from_s(at + ttl),
        receipt: false,
        bodies: bodies.iter().map(|body| body.as_bytes().to_vec()).collect(),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn number(boot: u64, sequence: u64) -> Number {
    Number { boot, sequence }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, boot: u64, count: u64, bytes: u64) -> Outbox {
        let bounds = OutboxBounds { count, bytes };
        Outbox::open(&self.0.path().join("outbox.redb"), bounds, boot).unwrap()
    }
}

/// Gives an order and waits until everything before it is done.
fn order(outbox: &Outbox, order: Order) {
    wait(outbox.orders().unwrap().send(order)).ok().unwrap();
    assert!(!wait(outbox.remove(Number::ZERO, Timestamp::default())).unwrap());
}

fn numbers(outbox: &Outbox) -> Vec<String> {
    let list = outbox.list(&[], OUTBOX_PAGE).unwrap();
    list.into_iter().map(|(_, queued)| queued.number.to_string()).collect()
}

fn quiet() -> Tell {
    Box::new(|_| {})
}

#[test]
fn what_was_queued_is_there_after_a_restart_and_its_numbers_go_on() {
    let place = Place::new();
    let outbox = place.open(3, 10, 1000);
    let taken = wait(outbox.put(draft("bob", 0, 60, &["a", "b"]), vec![])).unwrap();
    assert_eq!(taken, Taken { numbers: vec![number(3, 1), number(3, 2)], refused: None });
    drop(outbox);
    let outbox = place.open(4, 10, 1000);
    assert_eq!(outbox.streams().unwrap(), [(stream("bob", Priority::Normal), number(3, 2))]);
    let taken = wait(outbox.put(draft("bob", 0, 60, &["c"]), vec![])).unwrap();
    assert_eq!(taken.numbers, [number(4, 1)]);
    assert_eq!(numbers(&outbox), ["3.1", "3.2", "4.1"]);
}

#[test]
fn a_page_is_what_is_wanted_of_one_stream_and_not_too_old() {
    let place = Place::new();
    let outbox = place.open(1, 100, 1_000_000);
    for (to, ttl, bodies) in
        [("bob", 60, &["a", "b"][..]), ("bob", 5, &["c"]), ("carol", 60, &["d"])]
    {
        wait(outbox.put(draft(to, 0, ttl, bodies), vec![])).unwrap();
    }
    let page = |after, through, now| {
        let want = Want { stream: stream("bob", Priority::Normal), round: 1, after, through };
        let (page, whole) = outbox.page(&want, Timestamp::from_s(now)).unwrap();
        (page.map(|page| (page.count, page.first, page.last)), whole)
    };
    let (all, none) = (number(1, 9), Number::ZERO);
    assert_eq!(page(none, all, 1), (Some((3, number(1, 1), number(1, 3))), true));
    assert_eq!(page(none, all, 5), (Some((2, number(1, 1), number(1, 2))), true), "c is too old");
    assert_eq!(page(number(1, 1), number(1, 2), 1), (Some((1, number(1, 2), number(1, 2))), true));
    assert_eq!(page(number(1, 3), all, 1), (None, true));
    let long = "x".repeat(40_000);
    wait(outbox.put(draft("bob", 0, 60, &[&long, &long]), vec![])).unwrap();
    assert_eq!(page(number(1, 3), all, 1), (Some((1, number(1, 5), number(1, 5))), false));
}

#[test]
fn the_bounds_hold_in_all_and_for_each_and_at_the_edge() {
    let place = Place::new();
    let outbox = place.open(1, 8, 40);
    let put = |to: &str, bodies: &[&str]| {
        let taken = wait(outbox.put(draft(to, 0, 60, bodies), vec![])).unwrap();
        (taken.numbers.len(), taken.refused)
    };
    let bob = NodeName::parse("bob").unwrap();
    assert_eq!(put("bob", &["1", "2", "3", "4", "5"]), (4, Some(OutboxError::FullFor(bob))));
    assert_eq!(put("carol", &["1", "2", "3", "4"]), (4, None));
    assert_eq!(put("dave", &["1"]), (0, Some(OutboxError::Full)));
    let through = number(1, 2);
    order(&outbox, Order::Settle { stream: stream("bob", Priority::Normal), through });
    assert_eq!(put("dave", &["1"]), (1, None));
    let dave = NodeName::parse("dave").unwrap();
    assert_eq!(put("dave", &[&"x".repeat(20)]), (0, Some(OutboxError::FullFor(dave))), "bytes");
}

#[test]
fn what_is_too_old_goes_unless_it_is_under_way() {
    let place = Place::new();
    let outbox = place.open(1, 100, 1000);
    wait(outbox.put(draft("bob", 0, 5, &["a", "b"]), vec![])).unwrap();
    wait(outbox.put(draft("bob", 0, 60, &["c"]), vec![])).unwrap();
    assert!(!outbox.is_due(Timestamp::from_s(4)));
    assert!(outbox.is_due(Timestamp::from_s(5)));
    let flying = BTreeMap::from([(stream("bob", Priority::Normal), number(1, 1))]);
    order(&outbox, Order::Expire { at: Timestamp::from_s(5), flying, tell: quiet() });
    assert_eq!(numbers(&outbox), ["1.1", "1.3"]);
    let flying = BTreeMap::new();
    order(&outbox, Order::Expire { at: Timestamp::from_s(6), flying, tell: quiet() });
    assert_eq!(numbers(&outbox), ["1.3"]);
    let gone: Vec<_> = outbox.gone().unwrap().into_iter().map(|g| (g.first, g.reason)).collect();
    assert_eq!(gone, [(number(1, 2), "expired".to_owned()), (number(1, 1), "expired".to_owned())]);
    assert!(!outbox.is_due(Timestamp::from_s(59)));
}

#[test]
fn a_discarded_queue_leaves_one_record_and_what_came_later() {
    let place = Place::new();
    let outbox = place.open(1, 100, 1000);
    wait(outbox.put(draft("bob", 10, 60, &["a", "b"]), vec![])).unwrap();
    wait(outbox.put(draft("bob", 20, 60, &["c"]), vec![])).unwrap();
    let stream = stream("bob", Priority::Normal);
    let (before, at) = (Some(Timestamp::from_s(15)), Timestamp::from_s(21));
    let (send, told) = std::sync::mpsc::channel();
    let tell: Tell = Box::new(move |notices| send.send(notices).unwrap());
    let reason = "revoked".to_owned();
    order(&outbox, Order::Discard { stream, before, at, reason, tell });
    assert_eq!(numbers(&outbox), ["1.3"]);
    let notices = told.recv().unwrap();
    assert_eq!((notices[0].gone.count, notices[0].emptied), (2, None));
    assert_eq!(outbox.gone().unwrap(), [notices[0].gone.clone()]);
}

#[test]
fn fates_are_told_and_receipts_kept_only_for_what_was_sent() {
    let place = Place::new();
    let outbox = place.open(1, 100, 1000);
    let mut fates = Vec::new();
    for receipt in [false, true] {
        let (watch, fate) = oneshot::channel();
        fates.push(fate);
        let draft = Draft { receipt, ..draft("bob", 0, 60, &["hello"]) };
        wait(outbox.put(draft, vec![watch])).unwrap();
    }
    let through = number(1, 2);
    order(&outbox, Order::Settle { stream: stream("bob", Priority::Normal), through });
    assert_eq!(fates.remove(0).try_recv(), Ok(Fate::Arrived));
    assert!(fates[0].try_recv().is_err(), "it waits for the receipt");
    let bob = NodeName::parse("bob").unwrap();
    assert_eq!(outbox.missing(&bob).unwrap(), [number(1, 2)]);
    assert!(outbox.receipts(Number::ZERO, 10).unwrap().is_empty());
    let (watch, mut fate) = oneshot::channel();
    let taken = wait(outbox.put(draft("bob", 0, 60, &["x"]), vec![watch])).unwrap();
    assert!(wait(outbox.remove(taken.numbers[0], Timestamp::default())).unwrap());
    assert_eq!(fate.try_recv(), Ok(Fate::Dropped("dropped".to_owned())));
}

#[test]
fn a_newer_format_is_refused() {
    let place = Place::new();
    drop(place.open(1, 1, 1));
    let path = place.0.path().join("outbox.redb");
    let database = crate::store::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    txn.open_table(meta).unwrap().insert("format", 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let refused = Outbox::open(&path, OutboxBounds::default(), 1).err();
    assert_eq!(refused, Some(OutboxError::Newer { found: 2, known: 1 }));
}
