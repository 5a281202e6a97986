//! Messages that were sent, and a consumer group whose traces and offsets the test decides about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::{Broker, InMemoryBroker, QUEUES_PER_TOPIC, Topic, inbox, lane_of};
use outbox_relay::{OutboxRelay, RelayConfig, lag};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;
use watch::{Consumer, LagMonitor, MissingConfig, MissingWatch};

pub const TOPIC: Topic = Topic::OrderCreate;
pub const CONSUMER: &str = "order";
pub const GROUP: &str = "shop-consumers-order";

pub struct World {
    pub pool: PgPool,
    pub broker: InMemoryBroker,
    relay: OutboxRelay,
}

impl World {
    pub async fn new() -> Self {
        let url = embedded_postgres::testing::database().url;
        let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
        event_store::migrate(&pool).await.unwrap();
        let broker = InMemoryBroker::default();
        broker.create_topics(&[TOPIC.name()], QUEUES_PER_TOPIC).await.unwrap();
        let port: Arc<dyn Broker> = Arc::new(broker.clone());
        let relay = OutboxRelay::new(pool.clone(), port, RelayConfig::default(), "relay-1");
        Self { pool, broker, relay }
    }

    /// A message an order each, recorded and not sent yet.
    pub async fn record(&self, count: usize) -> Vec<Uuid> {
        self.record_of((0..count).map(|_| format!("ORD{}", Uuid::now_v7())).collect(), body).await
    }

    /// A message of each of these keys.
    pub async fn record_of(&self, keys: Vec<String>, body: impl Fn(&Uuid) -> String) -> Vec<Uuid> {
        let ids: Vec<Uuid> = keys.iter().map(|_| Uuid::now_v7()).collect();
        let _: i64 = sqlx::query_scalar(include_str!("append.sql"))
            .bind(keys.iter().map(|key| lane_of(TOPIC, key)).collect::<Vec<_>>())
            .bind(vec![TOPIC.name(); keys.len()])
            .bind(&keys)
            .bind(&ids)
            .bind(ids.iter().map(body).collect::<Vec<_>>())
            .bind(0)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        ids
    }

    /// The relay works until nothing is left that it can send.
    pub async fn relay_all(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while lag::measure(&self.pool).await.unwrap().pending_messages > 0 {
            self.relay.step().await.unwrap();
            assert!(Instant::now() < deadline, "the relay sent everything within 30 s");
        }
    }

    pub async fn send(&mut self, count: usize) -> Vec<Uuid> {
        let ids = self.record(count).await;
        self.relay_all().await;
        ids
    }

    /// What a projection leaves behind.
    pub async fn claim(&self, ids: &[Uuid]) {
        let mut transaction = self.pool.begin().await.unwrap();
        inbox::claim(&mut transaction, CONSUMER, ids).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// What a processor leaves behind.
    pub async fn claim_in_append(&self, ids: &[Uuid]) {
        sqlx::query(
            "insert into store.command_key (scope, key, created_at)
             select 'inbox:' || $1, id::text, clock_timestamp() from unnest($2::uuid[]) as id",
        )
        .bind(CONSUMER)
        .bind(ids)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// A dead letter, whatever became of it.
    pub async fn give_up(&self, id: Uuid, state: &str) {
        sqlx::query(include_str!("dead_letter.sql"))
            .bind(CONSUMER)
            .bind(TOPIC.name())
            .bind(id)
            .bind(state)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The group moves its offsets behind everything there is, whether it has applied it or not.
    pub async fn acknowledge_all(&self) {
        let mut consumer = self.broker.consumer(GROUP, &[TOPIC.name()]).await.unwrap();
        loop {
            let polled = consumer.poll(1_000, Duration::ZERO).await.unwrap();
            if polled.is_empty() {
                break;
            }
            for delivery in polled {
                consumer.commit(&[(delivery.queue, delivery.offset + 1)]).await.unwrap();
            }
        }
        consumer.close().await;
    }

    /// The group begins again at the first message, as far as the broker knows.
    pub async fn take_back_all(&self) {
        let mut consumer = self.broker.consumer(GROUP, &[TOPIC.name()]).await.unwrap();
        for backlog in self.broker.backlog(GROUP, TOPIC.name()).await.unwrap().unwrap() {
            consumer.commit(&[(backlog.queue, 0)]).await.unwrap();
        }
        consumer.close().await;
    }

    /// As if whoever held one had been silent for longer than it lasts.
    pub async fn end_leases(&self) {
        sqlx::query("update store.lease set expires_at = '-infinity'").execute(&self.pool).await.unwrap();
    }

    pub fn consumers(&self) -> Vec<Consumer> {
        vec![Consumer { name: CONSUMER, group: GROUP.to_owned(), topics: &[TOPIC] }]
    }

    /// A watch that believes what it sees twice.
    pub fn watch(&self) -> MissingWatch {
        self.watch_with(MissingConfig { confirm_after: Duration::ZERO, ..MissingConfig::default() })
    }

    pub fn watch_with(&self, config: MissingConfig) -> MissingWatch {
        MissingWatch::new(self.pool.clone(), Arc::new(self.broker.clone()), self.consumers(), config)
    }

    pub fn monitor(&self) -> LagMonitor {
        LagMonitor::new(self.pool.clone(), Some(Arc::new(self.broker.clone())), self.consumers())
    }
}

pub fn body(id: &Uuid) -> String {
    let data = r#"{"orderId":"ORD202412010001","userId":1,"showId":1,"ticketTypeId":1,"quantity":1,"totalAmount":1.00,"orderTime":0,"expireTime":0}"#;
    format!(
        r#"{{"messageId":"{id}","timestamp":0,"eventType":"ORDER_CREATE","data":{data},"source":"test","version":"1.0"}}"#
    )
}
