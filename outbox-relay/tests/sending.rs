//! What reaches the broker, in which order, and when it counts as sent.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use messaging::{InMemoryBroker, LANES, QUEUES_PER_TOPIC, Topic, lane_parts};
use outbox_relay::{OutboxRelay, RelayConfig, lag};
use support::broker::RecordingBroker;
use support::{Ledger, Message, drain, eventually, message, messages, step_until};
use tokio_util::sync::CancellationToken;

fn small_batches() -> RelayConfig {
    RelayConfig { max_batch_messages: 7, ..RelayConfig::default() }
}

/// The ids that a queue must have got, in order.
fn ids_of_lane(messages: &[Message], lane: i16) -> Vec<uuid::Uuid> {
    messages.iter().filter(|message| message.lane == lane).map(|message| message.id).collect()
}

#[tokio::test]
async fn every_message_reaches_its_queue_once_and_in_order() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let mut all = Vec::new();
    for topic in Topic::ALL {
        all.extend(messages(topic, 100, 30));
    }
    ledger.append(&all[..600]).await;
    ledger.append(&all[600..]).await;

    drain(&ledger, &mut ledger.relay(&broker, small_batches(), "relay-1")).await;

    for lane in 0..LANES {
        let (topic, queue) = lane_parts(lane).unwrap();
        let sent: Vec<_> = broker.queue(topic, queue).iter().map(|message| message.message_id).collect();
        assert_eq!(sent, ids_of_lane(&all, lane), "lane {lane}");
    }
    assert_eq!(broker.most_in_one_queue(), 1, "one batch at a time in a lane");
    assert!(broker.most_queues_at_once() > 1, "many lanes at a time");
}

#[tokio::test]
async fn a_message_carries_what_its_event_knows() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let placed = message(Topic::OrderCreate, "ORD1");
    let position = ledger.append(std::slice::from_ref(&placed)).await;

    drain(&ledger, &mut ledger.relay(&broker, RelayConfig::default(), "relay-1")).await;

    let [sent] = &broker.everything()[..] else { panic!("one message") };
    assert_eq!((sent.message_id, sent.body.as_str()), (placed.id, placed.body.as_str()));
    assert_eq!((sent.ordering_key.as_str(), sent.business_id.as_str()), ("ORD1", "ORD1"));
    let stream_id = format!("test-{position}");
    let correlation_id = format!("request-{position}");
    let position = position.to_string();
    let expected = [
        ("streamId", stream_id.as_str()),
        ("streamVersion", "1"),
        ("position", &position),
        ("correlationId", &correlation_id),
        ("mode", "async"),
    ];
    let actual: Vec<_> = sent.properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(actual, expected);
}

#[tokio::test]
async fn a_message_counts_as_sent_when_the_broker_has_confirmed_it() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let placed = message(Topic::OrderCreate, "ORD1");
    let position = ledger.append(std::slice::from_ref(&placed)).await;
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");

    broker.set_silent(true);
    step_until(&mut relay, |_| broker.ids() == [placed.id]).await;
    assert_eq!(ledger.cursor(placed.lane).await, 0);
    assert_eq!(ledger.pending().await, 1);

    broker.set_silent(false);
    drain(&ledger, &mut relay).await;
    assert_eq!(ledger.cursor(placed.lane).await, position);
    assert_eq!(broker.ids(), [placed.id]);
}

#[tokio::test]
async fn a_slow_queue_holds_up_no_other() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let mut relay = ledger.relay(&broker, RelayConfig::default(), "relay-1");
    let slow = message(Topic::OrderCreate, "ORD1");
    ledger.append(std::slice::from_ref(&slow)).await;
    broker.set_silent(true);
    step_until(&mut relay, |report| report.in_flight == 1 && broker.ids().len() == 1).await;

    let other = message(Topic::StockLock, "7");
    ledger.append(std::slice::from_ref(&other)).await;
    step_until(&mut relay, |report| report.in_flight == 2 && broker.ids().contains(&other.id)).await;
}

#[tokio::test]
async fn a_running_relay_sends_what_is_appended_and_idles_in_between() {
    let (ledger, broker) = (Ledger::new().await, InMemoryBroker::default());
    let names = Topic::ALL.map(Topic::name);
    messaging::Broker::create_topics(&broker, &names, QUEUES_PER_TOPIC).await.unwrap();
    let relay = OutboxRelay::new(
        ledger.pool.clone(),
        std::sync::Arc::new(broker.clone()),
        RelayConfig { poll_interval_ms: 20, ..RelayConfig::default() },
        "relay-1",
    );
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(relay.run(shutdown.clone()));

    for round in 1..=3 {
        ledger.append(&messages(Topic::OrderStatusUpdate, 50, 10)).await;
        eventually("the round was sent", async || broker.stored("order-status-update") == 50 * round).await;
    }

    shutdown.cancel();
    running.await.unwrap();
    let lag = lag::measure(&ledger.pool).await.unwrap();
    assert_eq!((lag.pending_messages, lag.lease_owner), (0, None));
}

#[tokio::test]
async fn a_notified_relay_does_not_wait_for_its_next_poll() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let an_hour = RelayConfig { poll_interval_ms: 3_600_000, lease_ttl_ms: 600_000, ..RelayConfig::default() };
    let running = tokio::spawn(ledger.relay(&broker, an_hour, "relay-1").run(CancellationToken::new()));
    let placed = message(Topic::OrderCreate, "ORD1");
    ledger.append(std::slice::from_ref(&placed)).await;

    eventually("it was sent", async || {
        sqlx::query("select pg_notify($1, '1')").bind(event_store::HEAD_CHANNEL).execute(&ledger.pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        broker.ids() == [placed.id]
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn large_batches_are_sent_in_parts() {
    let (ledger, broker) = (Ledger::new().await, RecordingBroker::new());
    let all = messages(Topic::OrderCreate, 40, 1);
    ledger.append(&all).await;
    let two_bodies = RelayConfig { max_send_bytes: all[0].body.len() * 2, ..RelayConfig::default() };
    drain(&ledger, &mut ledger.relay(&broker, two_bodies, "relay-1")).await;
    let sent = broker.ids_of_key(Topic::OrderCreate, "ORD0");
    assert_eq!(sent, all.iter().map(|message| message.id).collect::<Vec<_>>());
    assert_eq!(broker.largest_send_messages(), 2);
}
