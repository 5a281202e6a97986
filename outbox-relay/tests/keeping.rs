//! What is counted as pending, and what is taken away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use messaging::Topic;
use outbox_relay::cleanup::Cleaner;
use outbox_relay::{RelayConfig, lag};
use support::broker::RecordingBroker;
use support::{Ledger, Message, drain, message, messages, step_until};

#[tokio::test]
async fn the_lag_is_exact_before_while_and_after_a_relay_works() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let empty = lag::measure(&ledger.pool).await.unwrap();
    assert_eq!((empty.head, empty.pending_messages, empty.oldest_unsent_age_ms), (0, 0, None));

    let orders = messages(Topic::OrderCreate, 120, 40);
    ledger.append(&orders).await;
    ledger.append(&messages(Topic::StockSync, 30, 3)).await;
    let before = lag::measure(&ledger.pool).await.unwrap();
    assert_eq!((before.head, before.pending_messages), (150, 150));
    assert_eq!((before.pending_of(Topic::OrderCreate), before.pending_of(Topic::StockSync)), (120, 30));
    assert!(before.oldest_unsent_age_ms.is_some());
    for lane in before.topics.iter().flat_map(|topic| &topic.lanes).filter(|lane| lane.lane < 8) {
        let expected = orders.iter().filter(|message| message.lane == lane.lane).count();
        assert_eq!(lane.pending_messages, expected as i64);
    }

    // The cursors' figures and the broker's agree at every step.
    let config = RelayConfig { max_batch_messages: 4, ..RelayConfig::default() };
    let mut relay = ledger.relay(&broker, config, "relay-1");
    let mut sent = 0;
    while sent < 150 {
        sent += relay.step().await.unwrap().sent as i64;
        assert_eq!(ledger.pending().await, 150 - sent);
    }
    let after = lag::measure(&ledger.pool).await.unwrap();
    assert_eq!((after.pending_messages, after.oldest_unsent_age_ms), (0, None));
    assert_eq!(after.lease_owner.as_deref(), Some("relay-1"));
}

#[tokio::test]
async fn old_rows_go_when_they_are_sent_and_not_before() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let sent = messages(Topic::OrderCreate, 100, 1);
    let head = ledger.append(&sent).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    broker.set_down(true);
    ledger.append(&messages(Topic::OrderCreate, 20, 1)).await;
    ledger.append(&messages(Topic::StockSync, 20, 1)).await;

    let mut cleaner = Cleaner::default();
    let an_hour_s = 3_600;
    assert_eq!(cleaner.run(&ledger.pool, an_hour_s, 7).await.unwrap(), 0, "nothing is that old");
    // The last row sent stays: it is where the cursor stands.
    assert_eq!(cleaner.run(&ledger.pool, 0, 7).await.unwrap(), 99);
    assert_eq!(ledger.outbox_rows().await, 41);
    assert_eq!(ledger.cursor(sent[0].lane).await, head);

    broker.set_down(false);
    drain(&ledger, &mut relay).await;
    assert_eq!(cleaner.run(&ledger.pool, 0, 7).await.unwrap(), 39);
    assert_eq!(broker.ids().len(), 140);
}

#[tokio::test]
async fn only_rows_older_than_the_retention_go() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    ledger.append_recorded(&messages(Topic::OrderCreate, 10, 1), 2).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    ledger.append(&messages(Topic::OrderCreate, 10, 1)).await;
    drain(&ledger, &mut relay).await;
    let hour_seconds = 3_600;
    assert_eq!(Cleaner::default().run(&ledger.pool, hour_seconds, 100).await.unwrap(), 10);
}

#[tokio::test]
async fn parked_messages_stay_until_they_are_resolved() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let large = Message { body: "x".repeat(5_000), ..message(Topic::OrderCreate, "ORD1") };
    ledger.append(&[large.clone(), message(Topic::OrderCreate, "ORD1")]).await;
    ledger.append(&[Message { key: "ORD2".to_owned(), ..message(Topic::OrderCreate, "ORD1") }]).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    step_until(&mut relay, |report| report.parked == 2).await;
    assert_eq!(Cleaner::default().run(&ledger.pool, 0, 100).await.unwrap(), 0);
    assert_eq!(ledger.outbox_rows().await, 3);
}
