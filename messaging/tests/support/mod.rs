//! A consumer on the broker in memory and a real Postgres, with a handler whose failures are scripted.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use domain::{LockId, Money, OrderId, Quantity};
use messaging::message::{OrderCreate, StockLock, StockRollback};
use messaging::{
    Broker, ConsumerRuntime, Effect, HandleError, Handler, InMemoryBroker, MessageData, OutgoingMessage, Poison,
    QUEUES_PER_TOPIC, ReceivedMessage, RuntimeConfig, StepReport, Topic, inbox, lane_of, lane_parts, outbox_message,
};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub const CONSUMER: &str = "test";
pub const GROUP: &str = "ticket-consumer-group-test";
/// How long a test waits for something that should happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the handler does with a message instead of applying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Transient,
    Failed,
    Poison,
    Panic,
}

type Hook = Box<dyn Fn() + Send + Sync>;

/// Writes each message's number to a table, once, and fails where it is told to.
pub struct Recorder {
    pool: PgPool,
    troubles: Mutex<HashMap<i64, VecDeque<Trouble>>>,
    after_batch: Mutex<Option<Hook>>,
    pub batches: Mutex<Vec<usize>>,
    /// As those who call others.
    pub is_quiet_on_replay: AtomicBool,
}

impl Recorder {
    /// The next tries of this message end like this; then it is applied.
    pub fn trouble(&self, number: i64, troubles: impl IntoIterator<Item = Trouble>) {
        self.troubles.lock().unwrap().insert(number, troubles.into_iter().collect());
    }

    pub fn no_trouble(&self) {
        self.troubles.lock().unwrap().clear();
    }

    pub fn after_batch(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.after_batch.lock().unwrap() = Some(Box::new(hook));
    }

    async fn apply(&self, message: &ReceivedMessage) -> Result<Effect, HandleError> {
        let number = number_of(message)?;
        let trouble = self.troubles.lock().unwrap().get_mut(&number).and_then(VecDeque::pop_front);
        match trouble {
            Some(Trouble::Transient) => return Err(HandleError::Transient("a dependency is away".into())),
            Some(Trouble::Failed) => return Err(HandleError::Failed("it did not work".into())),
            Some(Trouble::Poison) => return Err(HandleError::Poison("it never will".into())),
            Some(Trouble::Panic) => panic!("the handler has a bug"),
            None => {}
        }
        self.write(message, number).await.map_err(|error| HandleError::Transient(error.to_string()))
    }

    async fn write(&self, message: &ReceivedMessage, number: i64) -> Result<Effect, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        if !inbox::claim(&mut transaction, CONSUMER, &[message.message_id]).await?[0] {
            return Ok(Effect::Duplicate);
        }
        sqlx::query("INSERT INTO effect (waiting_key, number) VALUES ($1, $2)")
            .bind(&message.waiting_key)
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Effect::Applied)
    }
}

#[async_trait]
impl Handler for Recorder {
    fn name(&self) -> &'static str {
        CONSUMER
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::OrderCreate, Topic::StockLock, Topic::StockRollback]
    }

    fn is_quiet_on_replay(&self) -> bool {
        self.is_quiet_on_replay.load(Ordering::Relaxed)
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        self.batches.lock().unwrap().push(batch.len());
        let mut stopped = HashSet::new();
        let mut results = Vec::new();
        for message in batch {
            let result = match stopped.contains(&message.waiting_key) {
                true => Err(HandleError::Behind),
                false => self.apply(message).await,
            };
            if result.is_err() {
                stopped.insert(message.waiting_key.clone());
            }
            results.push(result);
        }
        if let Some(hook) = &*self.after_batch.lock().unwrap() {
            hook();
        }
        results
    }
}

/// Says when it was called, and waits to be let through.
pub struct Gated {
    inner: Arc<Recorder>,
    entered: Semaphore,
    gate: Semaphore,
}

impl Gated {
    pub fn new(inner: Arc<Recorder>) -> Gated {
        Gated { inner, entered: Semaphore::new(0), gate: Semaphore::new(0) }
    }

    /// Returns when it has been called.
    pub async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    /// One call, or the next one.
    pub fn let_through(&self) {
        self.gate.add_permits(1);
    }
}

#[async_trait]
impl Handler for Gated {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn topics(&self) -> &'static [Topic] {
        self.inner.topics()
    }

    async fn handle(&self, batch: &[ReceivedMessage]) -> Vec<Result<Effect, HandleError>> {
        self.entered.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.inner.handle(batch).await
    }
}

/// Everything a test needs.
pub struct World {
    pub pool: PgPool,
    pub broker: InMemoryBroker,
    pub handler: Arc<Recorder>,
    pub runtime: ConsumerRuntime,
}

impl World {
    pub async fn new() -> World {
        World::with(quick()).await
    }

    pub async fn with(config: RuntimeConfig) -> World {
        let pool = database().await;
        sqlx::query(
            "CREATE TABLE effect (id bigserial PRIMARY KEY, waiting_key text NOT NULL, number bigint NOT NULL)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let broker = InMemoryBroker::default();
        let names = Topic::ALL.map(Topic::name);
        broker.create_topics(&names, QUEUES_PER_TOPIC).await.unwrap();
        let handler = Arc::new(Recorder {
            pool: pool.clone(),
            troubles: Mutex::default(),
            after_batch: Mutex::default(),
            batches: Mutex::default(),
            is_quiet_on_replay: AtomicBool::new(false),
        });
        let runtime = ConsumerRuntime::new(Arc::new(broker.clone()), pool.clone(), handler.clone(), config);
        World { pool, broker, handler, runtime }
    }

    /// Another member of the group, as after a restart of the process.
    pub fn restart(&mut self) {
        self.take_runtime();
    }

    /// The member, to let it run; one that has not connected takes its place.
    pub fn take_runtime(&mut self) -> ConsumerRuntime {
        let next =
            ConsumerRuntime::new(Arc::new(self.broker.clone()), self.pool.clone(), self.handler.clone(), quick());
        std::mem::replace(&mut self.runtime, next)
    }

    /// Sends an order's message; its number tells it apart.
    pub async fn send(&self, order: &str, number: i64) -> Uuid {
        let message_id = Uuid::now_v7();
        self.send_message(outgoing(message_id, order, number)).await;
        message_id
    }

    pub async fn send_message(&self, message: OutgoingMessage) {
        let topic = Topic::of_event_type(&message.event_type).unwrap();
        let (topic, queue) = lane_parts(lane_of(topic, &message.ordering_key)).unwrap();
        let producer = self.broker.producer().await.unwrap();
        producer.send(topic.name(), queue, &[message]).await.unwrap();
    }

    /// Steps until nothing is left on the broker or in memory, and adds the reports up.
    pub async fn settle(&mut self) -> StepReport {
        let mut sum = StepReport::default();
        let stepping = async {
            loop {
                let report = self.runtime.step().await.unwrap();
                sum.polled += report.polled;
                sum.applied += report.applied;
                sum.duplicate += report.duplicate;
                sum.retried += report.retried;
                sum.dead_lettered += report.dead_lettered;
                sum.behind += report.behind;
                if report.waiting == 0 && self.lag().await == 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, stepping).await.expect("the consumer gets through");
        sum
    }

    /// Steps until a condition holds.
    pub async fn step_until(&mut self, condition: impl AsyncFn(&World) -> bool) {
        let stepping = async {
            while !condition(self).await {
                self.runtime.step().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, stepping).await.expect("it comes to that");
    }

    pub async fn lag(&self) -> i64 {
        let mut lag = 0;
        for topic in self.handler.topics() {
            lag += self.broker.lag(GROUP, topic.name()).await.unwrap().unwrap();
        }
        lag
    }

    /// The numbers applied for an order, in the order they were.
    pub async fn effects(&self, order: &str) -> Vec<i64> {
        sqlx::query_scalar("SELECT number FROM effect WHERE waiting_key = $1 ORDER BY id")
            .bind(order_id(order).as_str())
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// The numbers applied for any order, in the order they were.
    pub async fn all_effects(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT number FROM effect ORDER BY id").fetch_all(&self.pool).await.unwrap()
    }

    /// State and reason of each dead letter, in order.
    pub async fn dead_letters(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT state, reason FROM messaging.dead_letter ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect(what);
    }
}

/// A migrated database of its own.
pub async fn database() -> PgPool {
    let database = tokio::task::spawn_blocking(embedded_postgres::testing::database).await.unwrap();
    let pool = PgPoolOptions::new().max_connections(5).connect(&database.url).await.unwrap();
    event_store::migrate(&pool).await.unwrap();
    pool
}

/// Waits that a test can sit out.
pub fn quick() -> RuntimeConfig {
    RuntimeConfig {
        poll_wait_ms: 20,
        max_attempts: 3,
        backoff_initial_ms: 1,
        backoff_max_ms: 10,
        reconnect_wait_ms: 10,
        reachable_check_every_ms: 20,
        ..RuntimeConfig::default()
    }
}

pub fn order_id(order: &str) -> OrderId {
    OrderId::parse(&format!("ORD20231225{order}")).unwrap()
}

pub fn outgoing(message_id: Uuid, order: &str, number: i64) -> OutgoingMessage {
    let data = OrderCreate {
        order_id: order_id(order),
        user_id: 12345.try_into().unwrap(),
        show_id: 1001.try_into().unwrap(),
        ticket_type_id: 2001.try_into().unwrap(),
        quantity: Quantity::try_from(2).unwrap(),
        total_amount: Money::parse("299.00").unwrap(),
        order_time: number,
        expire_time: number + 1,
    };
    outgoing_of(message_id, &data)
}

/// Locks stock of ticket type 2001 for an order; the number tells it apart.
pub fn stock_lock(order: &str, number: i64) -> OutgoingMessage {
    let data = StockLock {
        lock_id: lock_id(order),
        order_id: order_id(order),
        ticket_type_id: 2001.try_into().unwrap(),
        quantity: Quantity::try_from(2).unwrap(),
        lock_time_seconds: 300,
        expire_time: number,
    };
    outgoing_of(Uuid::now_v7(), &data)
}

/// Gives it back.
pub fn stock_rollback(order: &str, number: i64) -> OutgoingMessage {
    let data = StockRollback {
        lock_id: lock_id(order),
        order_id: order_id(order),
        ticket_type_id: 2001.try_into().unwrap(),
        quantity: Quantity::try_from(2).unwrap(),
        reason: "cancelled".into(),
        rollback_time: number,
    };
    outgoing_of(Uuid::now_v7(), &data)
}

fn lock_id(order: &str) -> LockId {
    LockId::parse(&format!("LOCK20231225{order}")).unwrap()
}

fn number_of(message: &ReceivedMessage) -> Result<i64, Poison> {
    match message.topic {
        Topic::StockLock => message.decode().map(|lock: StockLock| lock.expire_time),
        Topic::StockRollback => message.decode().map(|rollback: StockRollback| rollback.rollback_time),
        _ => message.decode().map(|order: OrderCreate| order.order_time),
    }
}

fn outgoing_of<D: MessageData>(message_id: Uuid, data: &D) -> OutgoingMessage {
    let row = outbox_message(message_id, Utc::now(), data);
    OutgoingMessage {
        message_id,
        business_id: row.business_id,
        event_type: row.event_type,
        ordering_key: row.ordering_key,
        body: row.body,
        properties: Vec::new(),
    }
}

/// The same message with a body nobody understands.
pub fn broken(order: &str) -> OutgoingMessage {
    let mut message = outgoing(Uuid::now_v7(), order, 0);
    message.body = "not json".into();
    message
}

/// A message in a version nobody supports; otherwise nothing is wrong with it.
pub fn unsupported(order: &str, version: &str) -> OutgoingMessage {
    let mut message = outgoing(Uuid::now_v7(), order, 0);
    message.body = message.body.replace(r#""version":"1.0""#, &format!(r#""version":"{version}""#));
    message
}
