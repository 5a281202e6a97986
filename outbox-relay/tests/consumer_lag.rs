//! How far consumer groups are behind: messages by the broker, age by the ledger.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use messaging::{Broker, InMemoryBroker, QUEUES_PER_TOPIC, QueueRef, Topic};
use outbox_relay::consumer_lag::{ConsumerLag, measure};
use outbox_relay::{OutboxRelay, RelayConfig};
use support::{Ledger, drain, message};

const GROUP: &str = "shop-consumers-order";
const KEY: &str = "ORD1";
const HOUR_MS: i64 = 3_600_000;

/// Three messages of one key, recorded three, two and one hours ago, and sent.
struct Backlog {
    ledger: Ledger,
    broker: InMemoryBroker,
    queue: QueueRef,
}

async fn backlog() -> Backlog {
    let ledger = Ledger::new().await;
    let broker = InMemoryBroker::default();
    broker.create_topics(&[Topic::OrderCreate.name()], QUEUES_PER_TOPIC).await.unwrap();
    let mut lane = 0;
    for hours_ago in [3, 2, 1] {
        let message = message(Topic::OrderCreate, KEY);
        lane = message.lane;
        ledger.append_recorded(&[message], hours_ago).await;
    }
    let broker_port: Arc<dyn Broker> = Arc::new(broker.clone());
    let mut relay = OutboxRelay::new(ledger.pool.clone(), broker_port, RelayConfig::default(), "relay-1");
    drain(&ledger, &mut relay).await;
    let (_, queue) = messaging::lane_parts(lane).unwrap();
    let queue = QueueRef { topic: Topic::OrderCreate.name().into(), broker: "memory".into(), queue };
    Backlog { ledger, broker, queue }
}

impl Backlog {
    async fn lag(&self) -> ConsumerLag {
        measure(&self.ledger.pool, &self.broker, GROUP, Topic::OrderCreate).await
    }

    async fn acknowledge(&self, next_offset: i64) {
        let mut consumer = self.broker.consumer(GROUP, &[Topic::OrderCreate.name()]).await.unwrap();
        consumer.poll(10, Duration::ZERO).await.unwrap();
        consumer.commit(&[(self.queue.clone(), next_offset)]).await.unwrap();
        consumer.close().await;
    }
}

#[tokio::test]
async fn a_group_is_as_old_as_its_oldest_message_without_any_live_member() {
    let backlog = backlog().await;
    for (acknowledged, messages, hours) in [(0, 3, 3), (1, 2, 2), (2, 1, 1)] {
        backlog.acknowledge(acknowledged).await;
        let lag = backlog.lag().await;
        assert_eq!(lag.messages, Some(messages));
        let age_ms = lag.oldest_age_ms.unwrap();
        assert!((hours * HOUR_MS..(hours + 1) * HOUR_MS).contains(&age_ms), "{messages} messages: {age_ms} ms");
    }
    backlog.acknowledge(3).await;
    assert_eq!(backlog.lag().await, ConsumerLag { messages: Some(0), oldest_age_ms: Some(0) });
}

#[tokio::test]
async fn what_was_parked_is_not_taken_for_what_waits() {
    let backlog = backlog().await;
    backlog.acknowledge(2).await;
    let mut too_large = message(Topic::OrderCreate, KEY);
    too_large.body = format!("\"{}\"", "x".repeat(messaging::memory::DEFAULT_MAX_MESSAGE_BYTES));
    backlog.ledger.append(&[too_large]).await;
    let broker_port: Arc<dyn Broker> = Arc::new(backlog.broker.clone());
    let mut relay = OutboxRelay::new(backlog.ledger.pool.clone(), broker_port, RelayConfig::default(), "relay-2");
    backlog.ledger.expire_lease().await;
    drain(&backlog.ledger, &mut relay).await;

    let lag = backlog.lag().await;
    assert_eq!(lag.messages, Some(1));
    assert!((HOUR_MS..2 * HOUR_MS).contains(&lag.oldest_age_ms.unwrap()), "{lag:?}");
}

#[tokio::test]
async fn a_group_that_never_had_a_member_is_behind_all_there_is() {
    let backlog = backlog().await;
    let lag = backlog.lag().await;
    assert_eq!(lag.messages, Some(3));
    assert!(lag.oldest_age_ms.unwrap() >= 3 * HOUR_MS);
}

#[tokio::test]
async fn what_the_broker_cannot_tell_is_unknown_and_not_zero() {
    let backlog = backlog().await;
    let never_created = measure(&backlog.ledger.pool, &backlog.broker, GROUP, Topic::OrderCancel).await;
    assert_eq!(never_created, ConsumerLag { messages: None, oldest_age_ms: None });
    backlog.broker.set_down(true);
    assert_eq!(backlog.lag().await, ConsumerLag { messages: None, oldest_age_ms: None });
}

#[tokio::test]
async fn where_the_oldest_row_is_gone_the_age_is_that_of_the_oldest_that_is_kept() {
    let backlog = backlog().await;
    let oldest = "DELETE FROM store.outbox WHERE position = (SELECT min(position) FROM store.outbox)";
    sqlx::query(oldest).execute(&backlog.ledger.pool).await.unwrap();
    let lag = backlog.lag().await;
    assert_eq!(lag.messages, Some(3));
    assert!((2 * HOUR_MS..3 * HOUR_MS).contains(&lag.oldest_age_ms.unwrap()), "{lag:?}");
}
