//! A ledger with messages in its outbox, and a broker that writes down what it is sent.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod broker;
pub mod replays;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::{Broker, Topic, lane_of};
use outbox_relay::{OutboxRelay, RelayConfig, Role, StepReport, lag};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use broker::RecordingBroker;

/// A message to put into the outbox, with an event of its own.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: Uuid,
    pub topic: &'static str,
    pub lane: i16,
    pub key: String,
    pub body: String,
}

pub fn message(topic: Topic, key: &str) -> Message {
    let id = Uuid::now_v7();
    let lane = lane_of(topic, key);
    Message { id, topic: topic.name(), lane, key: key.to_owned(), body: format!("{{\"messageId\":\"{id}\"}}") }
}

/// Messages of a topic for so many keys, each key in turn.
pub fn messages(topic: Topic, count: usize, keys: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, &format!("ORD{}", n % keys))).collect()
}

pub struct Ledger {
    pub pool: PgPool,
}

impl Ledger {
    pub async fn new() -> Ledger {
        let url = embedded_postgres::testing::database().url;
        let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        Ledger { pool }
    }

    /// One append. Written here directly, because the relay must not depend on how events come to be;
    /// for one caller at a time.
    pub async fn append(&self, messages: &[Message]) -> i64 {
        self.append_recorded(messages, 0).await
    }

    /// The same, as if it had happened so long ago.
    pub async fn append_recorded(&self, messages: &[Message], hours_ago: i32) -> i64 {
        sqlx::query_scalar(include_str!("append.sql"))
            .bind(messages.iter().map(|message| message.lane).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.topic).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.key.as_str()).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.id).collect::<Vec<_>>())
            .bind(messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>())
            .bind(hours_ago)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub fn relay(&self, broker: &RecordingBroker, config: RelayConfig, holder: &str) -> OutboxRelay {
        OutboxRelay::new(self.pool.clone(), Arc::new(broker.clone()) as Arc<dyn Broker>, config, holder)
    }

    pub async fn outbox_rows(&self) -> i64 {
        sqlx::query_scalar("select count(*) from store.outbox").fetch_one(&self.pool).await.unwrap()
    }

    pub async fn cursor(&self, lane: i16) -> i64 {
        sqlx::query_scalar("select position from relay.cursor where lane = $1")
            .bind(lane)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn pending(&self) -> i64 {
        lag::measure(&self.pool).await.unwrap().pending_messages
    }

    /// As if the holder had been silent for longer than its lease.
    pub async fn expire_lease(&self) {
        sqlx::query("update store.lease set expires_at = '-infinity'").execute(&self.pool).await.unwrap();
    }
}

/// Steps until nothing is pending or parked messages are all that is left.
pub async fn drain(ledger: &Ledger, relay: &mut OutboxRelay) {
    eventually("the outbox is drained", async || {
        relay.step().await.unwrap();
        ledger.pending().await == 0
    })
    .await;
}

/// Steps until the step is as wanted.
pub async fn step_until(relay: &mut OutboxRelay, wanted: impl Fn(&StepReport) -> bool) {
    let relay = &mut *relay;
    eventually("the step", async || wanted(&relay.step().await.unwrap())).await;
}

pub async fn step_until_active(relay: &mut OutboxRelay) {
    step_until(relay, |report| report.role == Role::Active).await;
}

/// Waits for a condition, and fails when it does not come.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}
