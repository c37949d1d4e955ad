//! The inbox as its callers see it.

use super::*;

fn message(from: &str, id: u64, body: &[u8]) -> Incoming {
    Incoming {
        from: NodeName::parse(from).unwrap(),
        instance: InstanceId::new([1; 16]),
        id,
        at: Timestamp::from_s(1_800_000_000),
        body: body.to_vec(),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn what_is_acknowledged_is_there_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("inbox");
    let inbox = Inbox::open(&folder, InboxBounds::default()).unwrap();
    let stored = wait(inbox.put(message("bob", 7, b"hello"))).unwrap();
    assert_eq!(stored, Stored { seq: 1, duplicate: false });
    assert_eq!(*inbox.watch().borrow(), 1);
    drop(inbox);
    let inbox = Inbox::open(&folder, InboxBounds::default()).unwrap();
    let items = inbox.list(0, 10).unwrap();
    assert_eq!((items.len(), items[0].body.as_slice(), items[0].seq), (1, &b"hello"[..], 1));
    assert!(inbox.list(1, 10).unwrap().is_empty());
    let again = wait(inbox.put(message("bob", 7, b"hello"))).unwrap();
    assert_eq!(again, Stored { seq: 1, duplicate: true }, "remembered across the restart");
}

#[test]
fn the_same_message_is_stored_once_even_when_cleared() {
    let place = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(&place.path().join("inbox"), InboxBounds::default()).unwrap();
    for (message, seq) in [
        (message("bob", 1, b"a"), 1),
        (message("bob", 1, b"a"), 1),
        (message("carol", 1, b"a"), 2),
        (message("bob", 2, b"a"), 3),
        (Incoming { instance: InstanceId::new([2; 16]), ..message("bob", 1, b"a") }, 4),
    ] {
        assert_eq!(wait(inbox.put(message)).unwrap().seq, seq);
    }
    assert_eq!(inbox.drop_through_blocking(3).unwrap(), 3);
    assert!(wait(inbox.put(message("carol", 1, b"a"))).unwrap().duplicate);
    assert_eq!(inbox.list(0, 10).unwrap().len(), 1);
    assert_eq!(wait(inbox.put(message("bob", 9, b"a"))).unwrap().seq, 5, "no number twice");
}

#[test]
fn a_full_inbox_says_quota_until_it_is_cleared() {
    let place = tempfile::tempdir().unwrap();
    let inbox =
        Inbox::open(&place.path().join("inbox"), InboxBounds { count: 2, bytes: 1_000 }).unwrap();
    wait(inbox.put(message("bob", 1, b"a"))).unwrap();
    let long = wait(inbox.put(message("bob", 2, &[0; 1_000]))).unwrap_err();
    assert_eq!((&long, long.code()), (&InboxError::Full, Code::Quota), "by bytes");
    wait(inbox.put(message("bob", 2, b"b"))).unwrap();
    assert_eq!(wait(inbox.put(message("bob", 3, b"c"))), Err(InboxError::Full), "by count");
    assert!(wait(inbox.put(message("bob", 2, b"b"))).unwrap().duplicate, "still acknowledged");
    assert_eq!(wait(inbox.drop_through(1)).unwrap(), 1);
    assert_eq!(wait(inbox.put(message("bob", 3, b"c"))).unwrap().seq, 3);
}

#[test]
fn many_at_once_share_a_commit_and_keep_their_order() {
    let place = tempfile::tempdir().unwrap();
    let inbox = Arc::new(Inbox::open(&place.path().join("inbox"), InboxBounds::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for id in 0..500 {
            let inbox = Arc::clone(&inbox);
            tasks.spawn(async move { inbox.put(message("bob", id, b"x")).await.unwrap() });
        }
        while tasks.join_next().await.is_some() {}
    });
    let first = inbox.list(0, INBOX_PAGE).unwrap();
    assert_eq!(first.len(), INBOX_PAGE);
    assert_eq!(inbox.list(first.last().unwrap().seq, usize::MAX).unwrap().len(), 500 - INBOX_PAGE);
}

/// A batch of messages, as it would arrive.
fn batch(prev: u64, sequences: &[u64], receipt: bool) -> Batch {
    use shared::wire::{Body, Item, Page, Post, Priority, split};
    let number = |sequence| Number { boot: u64::from(sequence > 0), sequence };
    let mut page = Page::default();
    for sequence in sequences {
        let body = sequence.to_string();
        assert!(page.push(&Item { number: number(*sequence), receipt, body: body.as_bytes() }));
    }
    let frame = page.into_frame(Priority::Normal, 1, number(prev));
    match Body::parse(&split(&frame).unwrap().unwrap().0) {
        Ok(Body::Post(Post::Batch(batch))) => batch,
        other => panic!("{other:?}"),
    }
}

fn take(inbox: &Inbox, from: &str, batch: Batch) -> (u64, shared::wire::Verdict, usize) {
    let from = NodeName::parse(from).unwrap();
    let parcel = Parcel { from, at: Timestamp::from_s(1), batch };
    let intake = wait(async { inbox.take(parcel).await.unwrap().stored().await }).unwrap();
    (intake.through.sequence, intake.verdict, intake.owed.len())
}

#[test]
fn a_stream_is_taken_once_in_order_and_for_ever() {
    use shared::wire::Verdict::{Gap, Taken};
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("inbox");
    let inbox = Inbox::open(&folder, InboxBounds::default()).unwrap();
    assert_eq!(take(&inbox, "bob", batch(0, &[1, 2], true)), (2, Taken, 2));
    assert_eq!(take(&inbox, "bob", batch(0, &[1, 2], true)), (2, Taken, 0), "nothing new");
    assert_eq!(take(&inbox, "bob", batch(3, &[4], true)), (2, Gap, 0));
    assert_eq!(take(&inbox, "carol", batch(0, &[4], false)), (4, Taken, 0), "another stream");
    wait(inbox.drop_through(u64::MAX)).unwrap();
    drop(inbox);
    let inbox = Inbox::open(&folder, InboxBounds::default()).unwrap();
    assert_eq!(take(&inbox, "bob", batch(0, &[1, 2, 3], false)), (3, Taken, 0));
    let bodies: Vec<_> = inbox.list(0, 10).unwrap().into_iter().map(|item| item.body).collect();
    assert_eq!(bodies, [b"3"]);
    let owed = |from: &str, sequence| {
        let from = NodeName::parse(from).unwrap();
        inbox.owed(&from, &[Number { boot: 1, sequence }]).unwrap().len()
    };
    assert_eq!((owed("bob", 1), owed("bob", 3), owed("carol", 4)), (1, 0, 0));
}

#[test]
fn a_batch_is_taken_as_far_as_there_is_room() {
    use shared::wire::Verdict::{Refused, Taken};
    let place = tempfile::tempdir().unwrap();
    let bounds = InboxBounds { count: 2, bytes: 1000 };
    let inbox = Inbox::open(&place.path().join("inbox"), bounds).unwrap();
    assert_eq!(take(&inbox, "bob", batch(0, &[1, 2, 3], true)), (2, Refused(Code::Quota), 2));
    assert_eq!(take(&inbox, "bob", batch(0, &[3], true)), (2, Refused(Code::Quota), 0));
    wait(inbox.drop_through(1)).unwrap();
    assert_eq!(take(&inbox, "bob", batch(0, &[3], true)), (3, Taken, 1));
}
