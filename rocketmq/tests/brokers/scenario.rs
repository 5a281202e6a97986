//! What the tests have in common: names, messages, patience.

use std::time::{Duration, Instant};

use messaging::{Broker, Consumer, Delivery, OutgoingMessage, QueueRef};
use rocketmq::{RocketMqBroker, RocketMqConfig};
use rocketmq_client_rust::{ClientConfig, ClientRuntime, ClientRuntimeConfig, ConsumerAdmin, DefaultMQAdminExt};
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner, ShutdownDeadline};
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const QUEUES: u16 = 8;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

pub fn connect(name_server: &str) -> RocketMqBroker {
    let config = RocketMqConfig { name_server: name_server.to_owned(), ..RocketMqConfig::default() };
    RocketMqBroker::connect(config).unwrap()
}

/// A name no other test has.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::now_v7().simple())
}

pub async fn topic(broker: &RocketMqBroker, name: &str) -> String {
    let topic = unique(name);
    eventually("create the topic", async || broker.create_topics(&[&topic], QUEUES).await).await;
    topic
}

pub fn message(body: impl Into<String>) -> OutgoingMessage {
    tagged("ORDER_CREATE", body)
}

pub fn tagged(tag: &str, body: impl Into<String>) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Uuid::now_v7(),
        business_id: "ORD202601010001".into(),
        event_type: tag.into(),
        ordering_key: "ORD202601010001".into(),
        body: body.into(),
        properties: Vec::new(),
    }
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.clone()).unwrap()
}

/// Polls until that many messages came, over outages too.
pub async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let give_up_at = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.len() < count {
        assert!(Instant::now() < give_up_at, "{} of {count} messages came", received.len());
        received.extend(consumer.poll(1_000, Duration::from_millis(100)).await.unwrap_or_default());
    }
    received
}

pub async fn commit(consumer: &mut dyn Consumer, deliveries: &[Delivery]) {
    let offsets = next_offsets(deliveries);
    consumer.commit(&offsets).await.unwrap();
}

pub fn next_offsets(deliveries: &[Delivery]) -> Vec<(QueueRef, i64)> {
    let mut offsets = std::collections::BTreeMap::new();
    for delivery in deliveries {
        let next = offsets.entry(delivery.queue.clone()).or_insert(0);
        *next = delivery.offset.max(*next - 1) + 1;
    }
    offsets.into_iter().collect()
}

pub async fn eventually<T, E: std::fmt::Debug>(what: &str, attempt: impl AsyncFn() -> Result<T, E>) -> T {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) if Instant::now() > give_up_at => panic!("could not {what}: {error:?}"),
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

pub async fn until_reachable(broker: &RocketMqBroker) {
    eventually("reach the broker", async || broker.is_reachable().await.then_some(()).ok_or("unreachable")).await;
}

/// How many producers of a group the broker knows, by its own account.
pub async fn producers_of(name_server: &str, group: &str, topic: &str) -> usize {
    let plan = RuntimeOwner::plan(RuntimeConfig { thread_name: "producers-of".into(), ..RuntimeConfig::default() });
    let owner = plan.unwrap().build().unwrap();
    let telemetry = TelemetryRuntimeGuard::noop().handle();
    let scope = owner.root_context().component("client");
    let runtime = ClientRuntime::try_new(scope, ClientRuntimeConfig::default(), telemetry).unwrap();
    let mut admin = DefaultMQAdminExt::with_timeout(runtime.clone(), Duration::from_secs(3));
    *admin.client_config_mut() = ClientConfig {
        namesrv_addr: Some(name_server.to_owned().into()),
        instance_name: unique("producers-of").into(),
        ..ClientConfig::default()
    };
    admin.start().await.unwrap();
    // None is an error to the client.
    let known = admin.examine_producer_connection_info(group.to_owned().into(), topic.to_owned().into()).await;
    let _ = runtime.shutdown_until(ShutdownDeadline::after(Duration::from_secs(1))).await;
    // Blocking, which this thread must not do; the test's end takes it along.
    std::mem::forget(owner);
    known.map_or(0, |known| known.connection_set().len())
}
